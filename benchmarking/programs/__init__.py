"""Programs, and how to communicate with them: commands, processes, the worker protocol."""
