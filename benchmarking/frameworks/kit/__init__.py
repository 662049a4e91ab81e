"""The common part of this project's benchmark programs: flags, inputs, clocks, the worker protocol, output.

A program is a ``Program`` and the models that it loads; the kit does the rest. It stands alone: it runs on
Python 3.8 and newer with numpy, and imports nothing else of this project.
"""
