"""Runs on the devices of other hosts: a queue in PostgreSQL, and an agent on each host."""

LAB_VARIABLE = "ML_BENCHMARK_LAB"
"""The environment variable with the URL of the lab's database. No program that is measured may see it."""
