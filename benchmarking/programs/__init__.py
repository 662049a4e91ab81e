"""A program, and how to talk to it: commands, processes, the worker protocol."""
