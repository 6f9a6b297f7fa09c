"""The main job, end to end, with real processes: consent, collect, train, sum, release, personalise."""
