"""Thousands of simulated devices that speak the real protocol: real keys, stores, ledgers, seals and signatures."""
