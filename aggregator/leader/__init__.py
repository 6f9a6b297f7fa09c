"""The leader: takes masked reports, asks the helper for the other half, and releases noisy sums."""
