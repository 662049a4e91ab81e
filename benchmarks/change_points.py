"""Does the history find the changes that people see, without false alarms elsewhere?

    python benchmarks/change_points.py DIRECTORY [--stability]
    python benchmarks/change_points.py --controls

DIRECTORY contains `sap_hana_series_dev.csv.gz` (key, i, median) and `sap_hana_annotations_dev.json` (for each
key, the change points that each annotator marked). They are read in place; without them the script reports
this and ends.

Scoring: a consensus point is a place that at least half of a series' annotators, and at least two if there
are two, marked within 5 versions of it. A found point is right if it is within 5 of a consensus point that no
other point has matched. F1 is over the points of all series together. Series without any consensus point are
quiet; points found in them are false alarms, counted per 1,000 of their versions.

`--controls` needs no data: it generates ratios to controls that change every week, and shows the effect of
the errors of the controls' own runs, with and without the larger gate near them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarking.records.series import Levels, Point, levels  # noqa: E402
from benchmarking.statistics import change_points  # noqa: E402

MARGIN = 5
SERIES_FILE = "sap_hana_series_dev.csv.gz"
ANNOTATIONS_FILE = "sap_hana_annotations_dev.json"

Detector = Callable[[Sequence[float]], list[int]]
"""Maps a series to the indexes at which new levels begin."""


@dataclass(frozen=True)
class Annotated:
    values: tuple[float, ...]
    annotations: tuple[tuple[int, ...], ...]
    """The points of each annotator."""
    consensus: tuple[int, ...]


# --- the detectors ------------------------------------------------------------------------------------------


def ours(values: Sequence[float]) -> list[int]:
    return [one.index for one in change_points.find_change_points(values)]


def ours_with_creep(values: Sequence[float]) -> list[int]:
    steps = change_points.find_change_points(values)
    creeps = change_points.find_creep(values, steps)
    return sorted({one.index for one in steps} | {one.first_bad for one in creeps})


def old_rule(values: Sequence[float], *, spread: float, runs: int = 20) -> list[int]:
    """Above the p90 of the earlier runs' p90s, twice in a row; reported once for each stretch.

    The series hold medians only. ``spread`` 1 takes p90 of the medians for the bound, 2 adds as much again:
    what p90 of p90s is where samples within a run vary as much as the runs.
    """
    found, above = [], 0
    for index in range(3, len(values)):
        past = values[max(0, index - runs) : index]
        middle = median(past)
        bound = middle + spread * (float(np.percentile(past, 90)) - middle)
        above = above + 1 if values[index] > bound else 0
        if above == 2:
            found.append(index - 1)
    return found


def perfherder(values: Sequence[float], *, window: int = 12, threshold: float = 7.0) -> list[int]:
    """Mozilla's rule: Welch's t of the runs before and after, weighted linearly by nearness, above a
    threshold.

    Of a stretch above it, the place of the largest t.
    """
    series = np.asarray(values)
    t = np.array([_weighted_t(series, index, window) for index in range(len(series))])
    found, index = [], 0
    while index < len(t):
        if t[index] <= threshold:
            index += 1
            continue
        end = next((one for one in range(index, len(t)) if t[one] <= threshold), len(t))
        found.append(index + int(np.argmax(t[index:end])))
        index = end
    return found


def _weighted_t(series: NDArray[np.float64], index: int, window: int) -> float:
    before, after = series[max(0, index - window) : index], series[index : index + window]
    if min(len(before), len(after)) < 2:
        return 0.0
    weights = np.arange(window, 0, -1) / window
    (mean_before, error_before), (mean_after, error_after) = (
        _weighted_mean(side, weights[: len(side)]) for side in (before[::-1], after)
    )
    difference = abs(mean_after - mean_before)
    error = math.sqrt(error_before + error_after)
    return difference / error if error else (math.inf if difference else 0.0)


def _weighted_mean(side: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """The mean and its squared error."""
    mean = float(np.average(side, weights=weights))
    variance = float(np.average((side - mean) ** 2, weights=weights)) * len(side) / (len(side) - 1)
    return mean, variance / len(side)


# --- scoring ------------------------------------------------------------------------------------------------


def consensus(annotations: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The place that most annotators marked, then the next of the remaining places, as long as there are
    enough.
    """
    left = [(point, who) for who, points in enumerate(annotations) for point in set(points)]
    needed = max(len(annotations) / 2, min(2, len(annotations)))
    found = []
    while left:
        agreeing = {
            center: {who for point, who in left if abs(point - center) <= MARGIN}
            for center in sorted({point for point, _ in left})
        }
        center = max(agreeing, key=lambda one: len(agreeing[one]))
        if len(agreeing[center]) < needed:
            break
        found.append(int(median(point for point, _ in left if abs(point - center) <= MARGIN)))
        left = [(point, who) for point, who in left if abs(point - center) > MARGIN]
    return tuple(sorted(found))


def matches(found: Iterable[int], wanted: Iterable[int]) -> int:
    """The number of points in ``wanted`` that are found, each by another point."""
    free = set(found)
    count = 0
    for point in sorted(wanted):
        near = [one for one in free if abs(one - point) <= MARGIN]
        if near:
            free.remove(min(near, key=lambda one: (abs(one - point), one)))
            count += 1
    return count


@dataclass(frozen=True)
class Score:
    precision: float
    recall: float
    f1: float
    false_alarms: float
    """Per 1,000 versions of quiet series."""


def score(found: Mapping[str, Sequence[int]], data: Mapping[str, Annotated]) -> Score:
    """Of the series that ``data`` holds."""
    right = sum(matches(found[key], one.consensus) for key, one in data.items())
    told = sum(len(found[key]) for key in data)
    wanted = sum(len(one.consensus) for one in data.values())
    quiet = [key for key, one in data.items() if not one.consensus]
    versions = sum(len(data[key].values) for key in quiet)
    return Score(
        precision=right / told if told else math.nan,
        recall=right / wanted,
        f1=2 * right / (told + wanted),
        false_alarms=1000 * sum(len(found[key]) for key in quiet) / versions,
    )


def annotators_against_the_others(data: Mapping[str, Annotated]) -> float:
    """The F1 of one annotator compared with the consensus of the others."""
    right = told = wanted = 0
    for one in data.values():
        for number, own in enumerate(one.annotations):
            others = one.annotations[:number] + one.annotations[number + 1 :]
            if len(others) >= 2:
                agreed = consensus(others)
                right += matches(own, agreed)
                told += len(own)
                wanted += len(agreed)
    return 2 * right / (told + wanted)


# --- the run ------------------------------------------------------------------------------------------------


def read(directory: Path) -> dict[str, Annotated]:
    for name in (SERIES_FILE, ANNOTATIONS_FILE):
        if not (directory / name).is_file():
            sys.exit(f"there is no {directory / name}: name the directory of the annotated series")
    values: defaultdict[str, list[float]] = defaultdict(list)
    with gzip.open(directory / SERIES_FILE, "rt", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            values[row["key"]].append(float(row["median"]))
    notes = json.loads((directory / ANNOTATIONS_FILE).read_text(encoding="utf-8"))
    data = {}
    for key in sorted(values):
        annotations = tuple(tuple(sorted(points)) for points in notes[key]["annotations"].values())
        data[key] = Annotated(tuple(values[key]), annotations, consensus(annotations))
    return data


def run(name: str, detector: Detector, data: Mapping[str, Annotated], known: str = "") -> None:
    started = time.perf_counter()
    found = {key: detector(one.values) for key, one in data.items()}
    seconds = time.perf_counter() - started
    whole = score(found, data)
    halves = [score(found, dict(list(data.items())[start::2])) for start in (0, 1)]
    either = " | ".join(f"{half.f1:.2f} {half.false_alarms:.2f}" for half in halves)
    print(
        f"{name:34} {whole.f1:5.3f} {whole.precision:9.2f} {whole.recall:6.2f} {whole.false_alarms:8.2f}"
        f"   {either} {seconds * 1000 / len(data):8.0f} ms   {known}",
        flush=True,
    )


# --- controls that follow the weeks -------------------------------------------------------------------------

CONTROLLED_COMMITS = 200
CONTROLLED_SERIES = 40
STEP = 1.03
CREEP_PER_COMMIT = 0.0005


def controlled(true_levels: Sequence[float], week: int, noise: float, random: np.random.Generator) -> Levels:
    """Each commit's ratio to the first commit of its week, and the ratio of that commit to its parent, as in
    the loop.
    """
    points = []
    for number in range(1, len(true_levels)):
        control = number - (number % week or 1)
        ratio = true_levels[number] / true_levels[control] * math.exp(random.normal(0, noise))
        name = f"c{control}"
        points.append(Point(f"c{number}", number, 1.0, ratio, None, name, control))
    return levels(points)


def run_controls() -> None:
    print(
        f"{CONTROLLED_SERIES} series of {CONTROLLED_COMMITS} commits; noise of one ratio, commits of a week"
    )
    print("gate  noise week   false per 1000   found +3 %   found creep of .05 % a commit")
    for gate in (0.0, change_points.LINK_DEVIATIONS):
        with patch.object(change_points, "LINK_DEVIATIONS", gate):
            for noise in (0.003, 0.005, 0.01):
                for week in (7, 14, 50):
                    print(f"{gate:4} {noise:6.1%} {week:4}   {_controls_line(week, noise)}", flush=True)


def _controls_line(week: int, noise: float) -> str:
    random = np.random.default_rng(week)
    numbers = range(CONTROLLED_COMMITS)
    false = steps = creeps = 0
    for _ in range(CONTROLLED_SERIES):
        quiet = controlled([1.0] * CONTROLLED_COMMITS, week, noise, random)
        found = change_points.find_change_points(quiet.values, quiet.links)
        false += len(found) + len(change_points.find_creep(quiet.values, found, quiet.links))
        at = int(random.integers(50, 150))
        stepped = controlled([1.0 if one < at else STEP for one in numbers], week, noise, random)
        found = change_points.find_change_points(stepped.values, stepped.links)
        steps += any(abs(one.index + 1 - at) <= MARGIN for one in found)
        creeping = controlled([math.exp(CREEP_PER_COMMIT * one) for one in numbers], week, noise, random)
        found = change_points.find_change_points(creeping.values, creeping.links)
        creeps += bool(found or change_points.find_creep(creeping.values, found, creeping.links))
    rate = 1000 * false / (CONTROLLED_SERIES * CONTROLLED_COMMITS)
    return f"{rate:14.2f} {steps / CONTROLLED_SERIES:12.0%} {creeps / CONTROLLED_SERIES:12.0%}"


VARIATIONS = {
    "MAXIMUM_P": (1e-5, 1e-7),
    "MINIMUM_DEVIATIONS": (1.0, 4.0),
    "MINIMUM_EFFECT": (0.005, 0.02),
    "MINIMUM_RUNS": (4, 16),
    "NEIGHBOURHOOD": (12, 50),
    "_CANDIDATE_P": (1e-2, 1e-4),
    "_WINDOW": (200, 800),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--stability", action="store_true", help="also with each parameter changed")
    parser.add_argument("--controls", action="store_true", help="made-up ratios to changing controls")
    arguments = parser.parse_args()
    if arguments.controls:
        run_controls()
        return
    if arguments.directory is None:
        parser.error("name the directory of the annotated series, or --controls")
    data = read(arguments.directory)
    points = sum(len(one.consensus) for one in data.values())
    quiet = sum(not one.consensus for one in data.values())
    versions = sum(len(one.values) for one in data.values())
    print(f"{len(data)} series of {versions} versions, {points} consensus points, {quiet} quiet series")
    print(f"one annotator against the others: F1 {annotators_against_the_others(data):.2f} (quoted .52)")
    print(f"{'':34} {'F1':>5} precision recall per 1000   F1 and per 1000 of either half, time of a series")
    run("old rule, p90 of the medians", lambda one: old_rule(one, spread=1), data, "quoted .12, 9.1")
    run("old rule, p90 of p90s estimated", lambda one: old_rule(one, spread=2), data, "quoted .12, 9.1")
    run("Perfherder, t > 7", perfherder, data, "quoted .60, 1.0")
    run("change points", ours, data)
    run("change points and creep", ours_with_creep, data)
    if arguments.stability:
        for name, values in VARIATIONS.items():
            for value in values:
                with patch.object(change_points, name, value):
                    run(f"  {name} = {value:g}", ours, data)


if __name__ == "__main__":
    main()
