"""``python -m benchmarking COMMAND``, which is installed as ``mlbench COMMAND``."""

from benchmarking.start import mlbench

if __name__ == "__main__":
    mlbench()
