"""Measurements and results as pure data, on which everything else builds."""
