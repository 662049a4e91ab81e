#!/usr/bin/env python3
"""A benchmark program without a framework: behaves as its own arguments and environment tell.

It understands the arguments that the harness composes for Caffe2 and prints observer lines. What else it
does is told by the environment variable OBSERVER_PROGRAM, a JSON object, or by the file of the same name
with `.json` beside it. Its "on" tells by backend what is different there.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time


def behaviour() -> dict:
    beside = pathlib.Path(__file__).with_suffix(".json")
    if beside.is_file():
        return json.loads(beside.read_text())
    return json.loads(os.environ.get("OBSERVER_PROGRAM", "{}"))


def arguments() -> dict[str, str]:
    words = sys.argv[1:]
    pairs: dict[str, str] = {}
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        pairs[name.lstrip("-")] = value if equals else words.pop(0)
    return pairs


def print_block(lines: list[str]) -> None:
    for line in ["Delay Start", *lines, "Delay End"]:
        print(f"[I observer.cc:1] Caffe2Observer {line}", file=sys.stderr)


def list_backends(how: dict) -> int:
    """By name, why each is not available; "" where it is."""
    if "backends" not in how:
        print("unknown flag --list_backends", file=sys.stderr)
        return 1
    told = [
        {"name": name, "engine": "made up", "available": not reason, "reason": reason}
        for name, reason in how["backends"].items()
    ]
    print(json.dumps({"backends": told}))
    return 0


def main() -> int:
    how = behaviour()
    if "--list_backends" in sys.argv:
        return list_backends(how)
    given = arguments()
    how |= how.get("on", {}).get(given.get("backend"), {})
    if "keep_inputs" in how:
        kept = pathlib.Path(how["keep_inputs"])
        kept.mkdir(exist_ok=True)
        for number, path in enumerate(given["input_file"].split(",")):
            shutil.copy(path, kept / f"{number}.npy")
    if "record" in how:
        with pathlib.Path(how["record"]).open("a") as stream:
            stream.write(
                json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}) + "\n"
            )
    if how.get("fork_stubborn_child"):
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code])
        if "child_pid_file" in how:
            pathlib.Path(how["child_pid_file"]).write_text(str(child.pid))
    if how.get("ignore_terminate"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how.get("started_file"):
        path = pathlib.Path(how["started_file"])
        path.with_suffix(".part").write_text(str(os.getpid()))
        path.with_suffix(".part").rename(path)  # whoever waits for it finds it whole
    started = time.time()
    time.sleep(how.get("sleep_s", 0))
    if "spans" in how:
        with pathlib.Path(how["spans"]).open("a") as stream:
            stream.write(json.dumps({"started": started, "ended": time.time()}) + "\n")
    if how.get("hang"):
        time.sleep(600)
    if how.get("crash"):
        print("something terrible happened", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    for _ in range(how.get("garbage_megabytes", 0)):
        sys.stdout.write("garbage " * 131072 + "\n")
    sys.stdout.flush()
    if "error" in how:
        print(f"caffe2_benchmark: error: {how['error']}", file=sys.stderr)
        return 1
    if "facts" in how:
        print("caffe2_benchmark facts " + json.dumps(how["facts"]), file=sys.stderr)
    for name, (kernel, own) in how.get("kernels", {}).items():
        line = {"type": name, "metric": "kernel", "kernel": kernel, "own": own}
        print(f"Caffe2Observer {json.dumps(line)}", file=sys.stderr)
    delay_us = how.get("delay_us", 100.0)
    if "drifts" in how:
        count = pathlib.Path(__file__).with_suffix(f".{given.get('backend')}.runs")
        number = len(count.read_text()) if count.exists() else 0
        count.write_text("x" * (number + 1))
        delay_us *= how["drifts"][number]
    iterations = int(given["iter"]) - how.get("missing_samples", 0)
    for number in range(iterations):
        print_block([f"NET_DELAY - {delay_us + number} (us)"])
        if given.get("run_individual") in ("true", "1"):
            print_block(
                [
                    f"ID_0_Conv_c - {delay_us * 0.75} (us)",
                    f"ID_1_Relu_r - {delay_us * 0.25} (us)",
                    f"NET_DELAY - {delay_us * 1.1} (us)",
                ]
            )
    if "output_folder" in given:
        folder = pathlib.Path(given["output_folder"])
        for blob in given["output"].split(","):
            values = how.get("outputs", {}).get(blob, [0.0])
            (folder / f"{blob}.txt").write_text("".join(f"{value}\n" for value in values))
    return how.get("exit_code", 0)


if __name__ == "__main__":
    sys.exit(main())
