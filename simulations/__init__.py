"""Populations, data sets, engines and the demo: composes everything, and nothing imports it."""
