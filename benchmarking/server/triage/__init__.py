"""Regressions with a life: found, owned, explained, closed."""
