"""Runs on the devices of other hosts: a queue in PostgreSQL, and an agent on each host."""
