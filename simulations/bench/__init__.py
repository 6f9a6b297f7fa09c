"""Benchmarks: measured then and there, peers in the same run. Timings are figures, never pass or fail of a test."""
