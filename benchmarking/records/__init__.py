"""Reads saved results: the local reporter's tree, and the series in it."""
