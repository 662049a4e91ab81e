"""``python -m benchmarking.devices list|check``: which devices there are, and how they are."""

from benchmarking.start import run

if __name__ == "__main__":
    run("benchmarking.devices", "benchmarking.cli.devices")
