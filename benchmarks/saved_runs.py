"""How long do two branches among many saved results take to compare? How often do runs of one program differ?

    python benchmarks/saved_runs.py tree DIRECTORY [--results 100000] [--series 100]
    python benchmarks/saved_runs.py simulate
    python benchmarks/saved_runs.py record FILE [--runs 60]
    python benchmarks/saved_runs.py judge FILE

tree: writes results of two branches to DIRECTORY, unless it has results, and times the first comparison,
which reads them all, the next ones, and that after one more result. simulate: made-up runs of one program,
with noise of several kinds. record: real runs of two nets, one after another; a line of JSON for each goes to
FILE. judge: every twelve of these runs in a row are compared, each with each; beside it, how often the
intervals within two runs are disjoint.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarking.records.comparison import CHANGED, Sides, judge, run_to_run_scatter  # noqa: E402
from benchmarking.records.tree import History  # noqa: E402
from benchmarking.results import documents  # noqa: E402
from benchmarking.results.model import Result  # noqa: E402
from benchmarking.statistics import summaries  # noqa: E402
from tests.support.sample_results import DELAY, having  # noqa: E402

DAY_S = 86_400
NETS = (
    ("lenet/lenet.json", [[1, 1, 28, 28], [8, 1, 28, 28]]),
    ("squeezenet/squeezenet_synthetic.json", [[1, 3, 30, 30], [1, 3, 64, 64], [1, 3, 96, 96]]),
)


# --- the tree -----------------------------------------------------------------------------------------------


def saved_result(series: int, commit: int, generator: random.Random) -> Result:
    branch = "main" if commit % 2 == 0 else "feature"
    values = tuple(1000 * (1 + series) * generator.gauss(1, 0.02) for _ in range(50))
    net = replace(DELAY.types[0], values=values, pairs=(0,) * 50, summary=summaries.summarize(values))
    return having(
        DELAY,
        net=f"net{series % 25}",
        framework=("caffe2", "onnxruntime")[series // 25 % 2],
        identifier=f"delay-{series // 50}",
        commit=f"{commit + 1:040x}",
        commit_time=1_700_000_000 + commit * DAY_S // 2,
        time=1_700_000_000 + commit * DAY_S // 2 + series,
        run_uid=f"{commit:032x}",
        branch=branch,
        types=(net,),
    )


def write_tree(root: Path, results: int, series: int) -> None:
    """Without flushing each file to disk, as ``History.save`` does; all runs of a series have its samples."""
    generator = random.Random(1)
    for one in range(series):
        first = saved_result(one, 0, generator)
        files = {
            "meta.txt": documents.dumps(documents.meta_json(first)),
            "NET_DELAY.txt": documents.dumps(documents.type_json(first.types[0])),
        }
        p50 = first.types[0].summary.p50
        for commit in range(results // series):
            result = saved_result(one, commit, generator)
            provenance = result.provenance
            year, month, day = time.gmtime(provenance.commit_time)[:3]
            parts = (
                result.device.name,
                result.test.framework,
                result.test.net,
                "delay",
                result.test.identifier,
            )
            directory = root.joinpath(*parts, str(year), str(month), str(day), provenance.commit, "0")
            directory.mkdir(parents=True)
            changes = {
                first.provenance.commit: provenance.commit,
                str(first.provenance.commit_time): str(provenance.commit_time),
                first.provenance.run_uid: provenance.run_uid,
                f'"{first.provenance.branch}"': f'"{provenance.branch}"',
                f'"p50": {p50}': f'"p50": {p50 * generator.gauss(1, 0.012)}',
            }
            for name, text in files.items():
                for before, after in changes.items():
                    text = text.replace(before, after)
                (directory / name).write_text(text)


def time_comparisons(root: Path, results: int, series: int) -> None:
    if not any(root.glob("*/*/*")):
        write_tree(root, results, series)
    for what in ("first", "second", "third"):
        compare(root, what)
    generator = random.Random(2)
    History(root).save(saved_result(0, results // series, generator))
    compare(root, "after one more result")


def compare(root: Path, what: str) -> None:
    argv = [
        sys.executable,
        "-m",
        "benchmarking",
        "compare",
        "main",
        "feature",
        "--results",
        str(root),
        "--json",
    ]
    before, started = os.times(), time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    wall_s = time.monotonic() - started
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    rows = json.loads(done.stdout)["series"]
    findings = Counter(row["finding"] for row in rows)
    print(
        f"{what}: {wall_s:.2f} s, {cpu_s:.2f} s of CPU time (load {os.getloadavg()[0]:.1f}); "
        f"{len(rows)} series: {dict(findings)}",
        flush=True,
    )


# --- made-up runs -------------------------------------------------------------------------------------------


def noise(kind: str, generator: np.random.Generator, runs: int) -> np.ndarray:
    if kind == "Student's t, 3":
        return generator.standard_t(3, runs)
    if kind == "lognormal":
        return generator.lognormal(0, 0.7, runs)
    if kind == "a tenth at another level":
        return generator.normal(size=runs) + 8 * (generator.random(runs) < 0.1)
    if kind == "drifting (AR 0.5)":
        values = generator.normal(size=runs + 20)
        for place in range(1, len(values)):
            values[place] += 0.5 * values[place - 1]
        return values[20:]
    return np.asarray(getattr(generator, kind)(size=runs))


def simulate(repetitions: int) -> None:
    """The share of comparisons in which a series was marked, alone and as one of 50."""
    generator = np.random.default_rng(1)
    kinds = (
        "normal",
        "laplace",
        "Student's t, 3",
        "lognormal",
        "drifting (AR 0.5)",
        "a tenth at another level",
    )
    print(f"false alarms in %, of {repetitions} comparisons: one series; any of 50 series")
    for runs in (8, 12, 20, 50):
        for kind in kinds:
            sides = [made_up(kind, generator, runs) for _ in range(repetitions)]
            alone = [judge([one])[0].finding in CHANGED for one in sides]
            among = [
                any(one.finding in CHANGED for one in judge(sides[first : first + 50]))
                for first in range(0, repetitions, 50)
            ]
            print(f"{runs} runs, {kind}: {100 * np.mean(alone):.2f}; {100 * np.mean(among):.1f}", flush=True)


def made_up(kind: str, generator: np.random.Generator, runs: int) -> Sides:
    values = np.exp(7 + 0.01 * noise(kind, generator, runs)).tolist()
    base, head = generator.choice(runs, 2, replace=False)
    return Sides((values[base],), (values[head],), scatter=run_to_run_scatter(values))


# --- real runs ----------------------------------------------------------------------------------------------


def record(file: Path, runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        suite = write_suite(Path(name))
        for _ in range(runs):
            argv = [sys.executable, "-m", "benchmarking", "run", suite, "--json", "--log_level", "error"]
            done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True)
            found = {}
            for one in json.loads(done.stdout)["results"]:
                summary = one["types"][0]["summary"]
                interval = summary["median_interval"]
                found[f"{one['meta']['net_name']} {one['meta']['identifier']}"] = {
                    "p50_us": summary["p50"],
                    "low_us": interval["low"],
                    "high_us": interval["high"],
                }
            line = {"time": time.time(), "load": os.getloadavg()[0], "runs": found}
            with file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def write_suite(directory: Path) -> str:
    for name, shapes in NETS:
        source = ROOT / "specifications/models/caffe2" / name
        benchmark = json.loads(source.read_text())
        for one in benchmark["model"]["files"].values():
            if not one["location"].startswith(("http", "/")):
                one["location"] = str(source.parent / one["location"])
        test = {"identifier": "delay-{ID}", "metric": "delay", "iter": 50, "warmup": 5}
        commands = {"caffe2": {"run_individual": "false"}}
        inputs = {"data": {"shapes": shapes, "type": "float"}}
        benchmark["tests"] = [{**test, "commands": commands, "inputs": inputs}]
        (directory / source.name).write_text(json.dumps(benchmark))
    suite = directory / "suite.json"
    suite.write_text(json.dumps({"meta": {}, "benchmarks": [Path(name).name for name, _ in NETS]}))
    return str(suite)


def judge_recorded(file: Path, size: int = 12) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    total: Counter[str] = Counter()
    for name in lines[0]["runs"]:
        counts: Counter[str] = Counter()
        runs = [line["runs"][name] for line in lines]
        for first in range(0, len(runs) - size + 1, size):
            group = runs[first : first + size]
            scatter = run_to_run_scatter([one["p50_us"] for one in group])
            pairs = [*combinations(group, 2)]
            sides = [Sides((one["p50_us"],), (other["p50_us"],), scatter=scatter) for one, other in pairs]
            counts["pairs"] += len(pairs)
            counts["disjoint"] += sum(
                one["low_us"] > other["high_us"] or other["low_us"] > one["high_us"] for one, other in pairs
            )
            counts["marked alone"] += sum(judge([one])[0].finding in CHANGED for one in sides)
            counts["marked among all pairs"] += sum(one.finding in CHANGED for one in judge(sides))
        scatter = run_to_run_scatter([one["p50_us"] for one in runs])
        deviation = "" if scatter is None else f", two runs differ by {100 * scatter.deviation:.1f} %"
        print(f"{name}: {len(runs)} runs{deviation}: {dict(counts)}")
        total += counts
    loads = [one["load"] for one in lines]
    print(f"all: {dict(total)}; load {min(loads):.1f} to {max(loads):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("tree", "simulate", "record", "judge"))
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--repetitions", type=int, default=20_000)
    arguments = parser.parse_args()
    if arguments.what == "simulate":
        simulate(arguments.repetitions)
    elif arguments.path is None:
        parser.error("give a path")
    elif arguments.what == "tree":
        time_comparisons(arguments.path, arguments.results, arguments.series)
    elif arguments.what == "record":
        record(arguments.path, arguments.runs)
    else:
        judge_recorded(arguments.path)


if __name__ == "__main__":
    main()
