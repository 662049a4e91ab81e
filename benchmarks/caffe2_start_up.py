"""How long does the Caffe2 program take from its start to the end of its first iteration, and what takes the
time?

    python benchmarks/caffe2_start_up.py [--runs 9]

It uses Squeezenet (1x3x224x224, one thread), with a separate process each time; each stage is the median over
the runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "benchmarking/frameworks/caffe2/program"
MODEL = ROOT / "specifications/models/caffe2/squeezenet"
STAGES = """
import gc, json, sys, time
gc.disable()
times = [("Python itself", time.time())]
def done(stage):
    times.append((stage, time.time()))
sys.path.insert(0, sys.argv[1])
import numpy
done("import numpy")
import torch
done("import torch")
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file
init, net = (net_file.read(path, "net") for path in sys.argv[2:4])
done("protobuf, reading the nets")
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import engines
engine = engines.make("torch", 1, 0, "builtin")
done("the engine")
data = numpy.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=numpy.float32)
loaded = engine.load(init, net, {"data": data}, frozenset())
done("init net, packing, rehearsal")
loaded.run()
done("first iteration")
print(json.dumps(times))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    stages: dict[str, list[float]] = {}
    totals, processes = [], []
    nets = [str(MODEL / "synthetic_init_net.pb"), str(MODEL / "predict_net.pb")]
    program = [sys.executable, str(PROGRAM), "--init_net", nets[0], "--net", nets[1], "--iter", "1"]
    program += ["--input", "data", "--input_dims", "1,3,224,224", "--engine", "torch"]
    for _ in range(runs):
        start = time.time()
        command = [sys.executable, "-c", STAGES, str(ROOT), *nets]
        times = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        previous = start
        for name, moment in times:
            stages.setdefault(name, []).append(moment - previous)
            previous = moment
        totals.append(previous - start)
        start = time.time()
        subprocess.run(program, capture_output=True, check=True)
        processes.append(time.time() - start)
    for name, seconds in stages.items():
        print(f"{name:30} {statistics.median(seconds) * 1000:6.0f} ms")
    print(f"{'to the first iteration':30} {statistics.median(totals) * 1000:6.0f} ms")
    print(f"{'the whole process, its end too':30} {statistics.median(processes) * 1000:6.0f} ms")


if __name__ == "__main__":
    main()
