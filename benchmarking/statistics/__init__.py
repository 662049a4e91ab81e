"""Pure functions of numbers: summaries, sequential tests, change points."""
