#!/usr/bin/env python3
"""A benchmark program with the worker protocol whose times are made up, as the file beside it says.

``<name>.json`` beside ``<name>.py``: factor, noise (standard deviations of logarithms: of a process, of an iteration),
operators ({name: factor}), dies_at / hangs_at / garbage_at (number of an iteration of a process), facts, rss_bytes,
copy_factor (for a file whose name begins with "copy-of-"), wait_share (time spent waiting for a core), device_ns (of an
iteration, without its noise; the wall and the CPU do not see it).
"""

import json
import math
import os
import random
import sys
import time
from pathlib import Path

NET_NS = 10_000_000


def configuration():
    path = Path(__file__)
    settings = path.with_suffix(".json")
    if path.name.startswith("copy-of-") and not settings.exists():
        return json.loads(os.environ["COPIED_PROGRAM"]) | {"copied": True}
    return json.loads(settings.read_text())


def answer(value):
    print(json.dumps(value), flush=True)


def main():
    flags = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    config = configuration()
    if flags.get("--worker") != "true":
        sys.exit("only --worker true is known here")
    chance = random.Random(f"{config.get('seed', 0)} {os.getpid()}")
    process_noise, noise = config.get("noise", (0.002, 0.005))
    factor = config.get("factor", 1.0) * (config.get("copy_factor", 1.0) if config.get("copied") else 1.0)
    own = factor * math.exp(chance.gauss(0, process_noise))
    operators = config.get("operators", {})
    facts = {"engine": "made up", "threads": 1, **config.get("facts", {})}
    answer(
        {
            "protocol": 1,
            "ready": True,
            "rss_bytes": config.get("rss_bytes", 10_000_000),
            "cpu_resolution_ns": 1,
            "operators": list(operators),
            "facts": facts,
        }
    )
    for number, line in enumerate(map(str.strip, sys.stdin)):
        if line == "quit":
            return
        if number == config.get("dies_at"):
            print("out of luck", file=sys.stderr)
            sys.exit(9)
        if number == config.get("hangs_at"):
            time.sleep(600.375)
        if number == config.get("garbage_at"):
            print("one moment please", flush=True)
            continue
        cpu_ns = NET_NS * own * math.exp(chance.gauss(0, noise))
        waited_ns = round(cpu_ns * config.get("wait_share", 0))
        sample = {
            "wall_ns": cpu_ns + waited_ns,
            "cpu_ns": cpu_ns if config.get("tells_cpu_time", True) else None,
            "run_delay_ns": waited_ns,
            "involuntary_switches": 0,
        }
        if line == "run" and "device_ns" in config:
            sample["device_ns"] = config["device_ns"] * math.exp(chance.gauss(0, noise))
        if line == "run operators":
            share = NET_NS / max(len(operators), 1)
            sample["operators"] = {
                name: share * one * math.exp(chance.gauss(0, process_noise) + chance.gauss(0, noise))
                for name, one in operators.items()
            }
        answer(sample)


if __name__ == "__main__":
    main()
