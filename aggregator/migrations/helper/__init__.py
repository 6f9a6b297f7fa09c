"""The helper's schema."""
