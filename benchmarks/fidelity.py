"""Is a known delay measured correctly, and do the operators' times add up to the net's?

    python benchmarks/fidelity.py

1. A program whose iterations are known to take a given time (it spins on the clock, and prints what it saw
   by the observer's protocol) is run by the harness: what it reports is compared with the known delay.
2. Squeezenet (1x3x224x224, one thread) is run with run_individual: the sum of the operators' medians beside
   the median of the whole net.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KNOWN_US = (200, 2_000, 20_000)
SPINNER = """#!{python}
import sys, time
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
wanted_ns = int(arguments["--delay_us"]) * 1000
clock = time.perf_counter_ns
for _ in range(int(arguments["--iter"])):
    start = clock()
    while clock() - start < wanted_ns:
        pass
    elapsed = clock() - start
    print("Caffe2Observer Delay Start", file=sys.stderr)
    print("Caffe2Observer NET_DELAY - %.3f (us)" % (elapsed / 1000), file=sys.stderr)
    print("Caffe2Observer Delay End", file=sys.stderr)
"""
SPECIFICATION = ROOT / "specifications/models/caffe2/squeezenet/squeezenet_synthetic.json"


def harness(directory: Path, benchmark: dict[str, Any], *arguments: str) -> list[dict[str, dict[str, float]]]:
    """The summary of each type of each test."""
    path = directory / "benchmark.json"
    path.write_text(json.dumps(benchmark))
    command = [sys.executable, str(ROOT / "harness.py"), "--benchmark_file", str(path), "--json"]
    command += ["--model_cache", str(directory / "cache"), "--log_level", "error", *arguments]
    results = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["results"]
    return [{one["type"]: one["summary"] for one in result["types"]} for result in results]


def synthetic_squeezenet() -> dict[str, object]:
    """Its model, with locations that hold in any directory."""
    model: dict[str, Any] = json.loads(SPECIFICATION.read_text())["model"]
    for file in model["files"].values():
        file["location"] = str(SPECIFICATION.parent / file["location"])
    return model


def test(**more: object) -> dict[str, object]:
    inputs = {"data": {"shapes": [[1, 3, 224, 224]]}}
    return {"identifier": "{ID}", "metric": "delay", "iter": 50, "warmup": 5, "inputs": inputs, **more}


def main() -> None:
    model = synthetic_squeezenet()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        spinner = directory / "spinner"
        spinner.write_text(SPINNER.format(python=sys.executable))
        spinner.chmod(0o755)
        tests = [test(commands={"caffe2": {"delay_us": delay_us}}) for delay_us in KNOWN_US]
        summaries = harness(directory, {"model": model, "tests": tests}, "--program", str(spinner))
        for known_us, types in zip(KNOWN_US, summaries, strict=True):
            p50 = types["NET_DELAY"]["p50"]
            print(f"known {known_us:6d} us: measured {p50:10.2f} us, off by {p50 / known_us - 1:+.3%}")

        individual = test(commands={"caffe2": {"run_individual": "true"}})
        (types,) = harness(directory, {"model": model, "tests": [individual]})
        net = types.pop("NET_DELAY")["p50"]
        total = sum(summary["p50"] for summary in types.values())
        print(f"squeezenet: net {net:.0f} us, its {len(types)} operators {total:.0f} us ({total / net:.1%})")


if __name__ == "__main__":
    main()
