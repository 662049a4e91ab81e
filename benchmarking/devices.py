"""``python -m benchmarking.devices list|check``: lists the devices and their state."""

from benchmarking.start import run

if __name__ == "__main__":
    run("benchmarking.devices", "benchmarking.cli.devices")
