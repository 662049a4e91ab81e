"""Pure functions on numbers: summaries, sequential tests, change points."""
