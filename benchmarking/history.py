"""``python -m benchmarking.history show|changes``: what the results of many commits show together."""

from benchmarking.start import run

if __name__ == "__main__":
    run("benchmarking.history", "benchmarking.cli.history")
