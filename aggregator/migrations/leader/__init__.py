"""The leader's schema."""
