"""The helper: run by the privacy office, it opens rounds, holds the other half of every sum, and can say no."""
