"""Files of other tools as results: what they measured, in microseconds where it is a time.

A reader is one small function: it takes the parsed file and yields what was measured.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from benchmarking.bounds import parse_json
from benchmarking.errors import UsageError
from benchmarking.results import unix_time
from benchmarking.results.model import (
    NET_DELAY,
    Device,
    Fact,
    Failure,
    FailureKind,
    Interval,
    Program,
    Provenance,
    Result,
    TestKey,
    TypeResult,
)
from benchmarking.server.ingest import HIGHER_IS_BETTER
from benchmarking.specs.run_info import INTERACTIVE_COMMIT
from benchmarking.statistics import summaries

MICROSECONDS = {
    "ns": 1e-3,
    "nanosecond": 1e-3,
    "us": 1.0,
    "µs": 1.0,
    "microsecond": 1.0,
    "ms": 1e3,
    "millisecond": 1e3,
    "s": 1e6,
    "sec": 1e6,
    "second": 1e6,
}
_RATES = re.compile(
    r"(/s|/sec|per_second|per second|ops|throughput|fps|qps|samples/s|b/s|i/s)", re.IGNORECASE
)


@dataclass(frozen=True)
class Context:
    """What the user says of files that do not say it themselves."""

    format: str | None = None
    commit: str | None = None
    commit_time: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Commit:
    sha: str
    time: int
    branch: str = ""
    author: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Measured:
    """One benchmark of a file."""

    name: str
    values: Sequence[float]
    """In ``unit``; a single one is a summary that the tool made."""
    unit: str
    measure: str = ""
    """What else than a time was measured."""
    detail: str = ""
    """What distinguishes it from others of the same name, such as its parameters."""
    interval: tuple[float, float] | None = None
    higher_is_better: bool = False
    commit: Commit | None = None
    time: int | None = None
    device: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    failure: str = ""


Reader = Callable[[Any], Iterator[Measured]]


def read(content: bytes, context: Context) -> list[Result]:
    """
    Raises:
        UsageError: the form of the file is not known, or it is damaged.
    """
    form, document = _recognized(content, context.format)
    try:
        found = list(READERS[form](document))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"it is not of the form {form}, or damaged: {what}") from error
    if not found:
        raise UsageError(f"it has the form {form} and nothing that was measured")
    run = hashlib.sha256(content).hexdigest()[:32]
    return [_result(one, form, context, f"{run[:20]}{number:012x}", run) for number, one in enumerate(found)]


def _recognized(content: bytes, form: str | None) -> tuple[str, Any]:
    if form is not None and form not in READERS:
        raise UsageError(f"there is no format {form!r}; these are read: {', '.join(READERS)}")
    text = content.removeprefix(b"\xef\xbb\xbf").strip()
    if b":::MLLOG" in text[:4096]:
        return "loadgen", text.decode("utf-8", "replace")
    if text.startswith(b"window.BENCHMARK_DATA"):
        text = text.partition(b"=")[2].strip().removesuffix(b";")
    try:
        document = parse_json(text)
    except ValueError as error:
        raise UsageError(f"it is not JSON: {error}") from error
    found = form or next((name for name, fits in _SIGNS.items() if fits(document)), None)
    if found is None:
        raise UsageError(f"its form is not known; these are read: {', '.join(READERS)}")
    return found, document


# --- readers ------------------------------------------------------------------------------------------------


def _bencher(document: Any) -> Iterator[Measured]:
    """The metric format of Bencher; latencies are nanoseconds."""
    for name, measures in document.items():
        for measure, one in measures.items():
            low, high = one.get("lower_value"), one.get("upper_value")
            interval = (float(low), float(high)) if low is not None and high is not None else None
            unit = "ns" if measure == "latency" else measure
            yield Measured(
                name,
                [float(one["value"])],
                unit,
                "" if measure == "latency" else measure,
                interval=interval,
                higher_is_better=measure == "throughput",
            )


def _github_action(document: Any) -> Iterator[Measured]:
    """github-action-benchmark: the list that it reads, and the history that it keeps."""
    if isinstance(document, list):
        yield from map(_github_bench, document)
        return
    for suite, entries in document["entries"].items():
        for entry in entries:
            about = entry["commit"]
            author = about.get("author") or about.get("committer") or {}
            commit = Commit(
                about["id"],
                _seconds(about["timestamp"]),
                author=author.get("name", ""),
                subject=about.get("message", "").partition("\n")[0],
            )
            for bench in entry["benches"]:
                one = _github_bench(bench)
                yield replace(one, detail=suite, commit=commit, time=int(entry["date"]) // 1000)


def _github_bench(bench: Any) -> Measured:
    value, unit = float(bench["value"]), str(bench["unit"])
    time_unit = unit.removesuffix("/iter").removesuffix("/op")
    width = _width(str(bench.get("range") or ""), value, unit)
    return Measured(
        str(bench["name"]),
        [value],
        time_unit if time_unit in MICROSECONDS else unit,
        interval=(value - width, value + width) if width else None,
        higher_is_better=time_unit not in MICROSECONDS and bool(_RATES.search(unit)),
    )


def _width(spread: str, value: float, unit: str) -> float | None:
    """The half of an interval, in the unit of the value."""
    found = re.search(r"([0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*(%?)", spread, re.IGNORECASE)
    if found is None:
        return None
    width = float(found[1].replace(",", ""))
    if found[2]:  # Benchmark.js
        return abs(value) * width / 100
    if unit == "iter/sec" and spread.startswith("stddev"):  # pytest-benchmark: in seconds per iteration
        return value * value * width
    return width


def _google_benchmark(document: Any) -> Iterator[Measured]:
    context = document.get("context", {})
    groups: dict[str, list[Any]] = {}
    for one in document["benchmarks"]:
        if one.get("run_type", "iteration") == "iteration":
            groups.setdefault(one.get("run_name") or one["name"], []).append(one)
    for name, runs in groups.items():
        failures = [str(one.get("error_message", "failed")) for one in runs if one.get("error_occurred")]
        good = [one for one in runs if not one.get("error_occurred")]
        yield Measured(
            name,
            [float(one["real_time"]) for one in good],
            good[0].get("time_unit", "ns") if good else "ns",
            device=str(context.get("host_name", "")),
            time=_seconds(context["date"]) if "date" in context else None,
            facts={"cpu_cores": context.get("num_cpus")} if "num_cpus" in context else {},
            failure=failures[0] if failures else "",
        )


def _hyperfine(document: Any) -> Iterator[Measured]:
    for one in document["results"]:
        codes = [code for code in one.get("exit_codes") or [] if code != 0]
        yield Measured(
            one["command"],
            [float(value) for value in one.get("times") or [one["mean"]]],
            "s",
            detail=", ".join(f"{name}={value}" for name, value in (one.get("parameters") or {}).items()),
            failure=_failed(codes[0]) if codes else "",
        )


def _failed(code: int | None) -> str:
    return "ended by a signal" if code is None else f"exit status {code}"


def _pytest_benchmark(document: Any) -> Iterator[Measured]:
    about, machine = document.get("commit_info") or {}, document.get("machine_info") or {}
    sha = about.get("id", "unversioned")
    time = _seconds(document["datetime"]) if "datetime" in document else None
    commit = None
    if sha != "unversioned":
        when = about.get("time") or document.get("datetime")
        commit = Commit(sha, _seconds(when), branch=about.get("branch") or "")
    for one in document["benchmarks"]:
        stats = one["stats"]
        yield Measured(
            one["fullname"],
            [float(value) for value in stats.get("data") or [stats["median"]]],
            "s",
            commit=commit,
            time=time,
            device=machine.get("node", ""),
            facts={"python": machine.get("python_version")},
        )


def _asv(document: Any) -> Iterator[Measured]:
    """A result file of asv, version 2: one series for each combination of the parameters."""
    columns = document["result_columns"]
    commit = Commit(document["commit_hash"], int(document["date"]) // 1000)
    machine = document.get("params", {}).get("machine", "")
    environment = document.get("env_name", "")
    for name, row in document["results"].items():
        known = dict(zip(columns, row, strict=False))
        values, parameters = known.get("result"), known.get("params") or []
        samples = known.get("samples") or []
        labels = [", ".join(one) for one in itertools.product(*parameters)]
        for index, value in enumerate(values if values is not None else [None] * len(labels)):
            if isinstance(value, str) or (value is not None and math.isnan(value)):
                continue  # skipped by the benchmark
            own = samples[index] if index < len(samples) and samples[index] else [value]
            is_time = name.rpartition(".")[2].startswith(("time_", "timeraw_"))
            yield Measured(
                name,
                [] if value is None else [float(one) for one in own],
                "s" if is_time else "",
                "" if is_time else "value",
                detail=labels[index] if index < len(labels) else "",
                commit=commit,
                time=int(document.get("date", 0)) // 1000,
                device=machine,
                facts={"environment": environment},
                failure="" if value is not None else "the benchmark failed",
            )


def _conbench(document: Any) -> Iterator[Measured]:
    for one in document if isinstance(document, list) else [document]:
        stats, tags = one["stats"], one.get("tags") or {}
        github, unit = one.get("github") or {}, stats["unit"]
        time = _seconds(one["timestamp"]) if one.get("timestamp") else None
        sha = github.get("commit")
        detail = ", ".join(f"{key}={value}" for key, value in sorted(tags.items()) if key != "name")
        yield Measured(
            tags.get("name", "benchmark"),
            [float(value) for value in stats["data"]],
            unit,
            detail=detail,
            higher_is_better=unit not in MICROSECONDS and bool(_RATES.search(unit)),
            commit=Commit(sha, time or 0) if sha and time is not None else None,
            time=time,
            device=(one.get("machine_info") or {}).get("name", ""),
        )


def _lnt(document: Any) -> Iterator[Measured]:
    """Format version 2 of LNT; of its measures, ``score`` is better when it is higher."""
    machine, run = document["machine"], document["run"]
    time = _seconds(run["end_time"]) if run.get("end_time") else None
    sha = run.get("llvm_project_revision") or run.get("git_sha") or run.get("revision")
    units = {"execution_time": "s", "compile_time": "s"}
    for test in document["tests"]:
        for measure, given in test.items():
            if measure == "name" or not isinstance(given, int | float | list):
                continue
            yield Measured(
                test["name"],
                [float(value) for value in (given if isinstance(given, list) else [given])],
                units.get(measure, ""),
                "" if measure == "execution_time" else measure,
                detail="" if measure == "execution_time" else measure,
                higher_is_better=measure.startswith("score"),
                commit=Commit(str(sha), time) if sha and time is not None else None,
                time=time,
                device=machine["name"],
            )


def _loadgen(text: Any) -> Iterator[Measured]:
    """``mlperf_log_detail.txt``: nanoseconds, and a run that is not valid is no evidence."""
    lines = (line.partition(":::MLLOG")[2] for line in text.splitlines() if ":::MLLOG" in line)
    entries = {one["key"]: one["value"] for one in map(parse_json, lines) if "key" in one}
    scenario = str(entries.get("effective_scenario", "run"))
    validity = entries.get("result_validity", "VALID")
    latencies = {
        key: float(value)
        for key, value in entries.items()
        if re.fullmatch(r"result_[0-9.]+_percentile_latency_ns", key)
    }
    median = entries.get("result_50.00_percentile_latency_ns", entries.get("result_mean_latency_ns"))
    if median is not None:
        yield Measured(
            scenario,
            [float(median)],
            "ns",
            facts={**latencies, "validity": validity},
            failure="" if validity == "VALID" else f"LoadGen calls the run {validity}",
        )


def _pytorch_hud(document: Any) -> Iterator[Measured]:
    for one in document:
        metric, model = one["metric"], one["model"]
        about = one["benchmark"]
        runners = one.get("runners") or [{}]
        unit = {"latency(ms)": "ms", "latency": "ms", "duration": "s"}.get(metric["name"], metric["name"])
        detail = ", ".join(filter(None, (about.get("name"), about.get("mode"), about.get("dtype"))))
        yield Measured(
            model["name"],
            [float(value) for value in metric["benchmark_values"]],
            unit,
            "" if unit in MICROSECONDS else metric["name"],
            detail=detail,
            higher_is_better=bool(_RATES.search(metric["name"])),
            device=runners[0].get("name") or runners[0].get("type") or "",
        )


READERS: dict[str, Reader] = {
    "google_benchmark": _google_benchmark,
    "pytest_benchmark": _pytest_benchmark,
    "hyperfine": _hyperfine,
    "asv": _asv,
    "lnt": _lnt,
    "conbench": _conbench,
    "github_action_benchmark": _github_action,
    "pytorch_hud": _pytorch_hud,
    "loadgen": _loadgen,
    "bencher": _bencher,
}


def _has(document: Any, *names: str) -> bool:
    return isinstance(document, dict) and all(name in document for name in names)


def _first(document: Any, *path: str) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document[0] if isinstance(document, list) and document else None


_SIGNS: dict[str, Callable[[Any], bool]] = {
    "google_benchmark": lambda one: _has(_first(one, "benchmarks"), "real_time"),
    "pytest_benchmark": lambda one: _has(_first(one, "benchmarks"), "fullname", "stats"),
    "hyperfine": lambda one: _has(_first(one, "results"), "command"),
    "asv": lambda one: _has(one, "result_columns", "results", "commit_hash"),
    "lnt": lambda one: _has(one, "machine", "run", "tests"),
    "conbench": lambda one: _has(next(iter(one), None) if isinstance(one, list) else one, "stats"),
    "github_action_benchmark": lambda one: (
        _has(one, "entries")
        or (isinstance(one, list) and bool(one) and _has(one[0], "name", "unit", "value"))
    ),
    "pytorch_hud": lambda one: isinstance(one, list) and _has(next(iter(one), None), "benchmark", "metric"),
    "bencher": lambda one: (
        isinstance(one, dict)
        and bool(one)
        and all(isinstance(measures, dict) for measures in one.values())
        and all(_has(value, "value") for measures in one.values() for value in measures.values())
    ),
}


# --- results ------------------------------------------------------------------------------------------------


def _seconds(moment: Any) -> int:
    """Unix seconds of a number of them, or of a date; without a zone, in UTC."""
    if isinstance(moment, int | float):
        return unix_time.bounded(int(moment))
    read = datetime.fromisoformat(str(moment).strip())
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())


def _result(one: Measured, form: str, context: Context, uid: str, run: str) -> Result:
    factor = MICROSECONDS.get(one.unit)
    unit = "us" if factor else one.unit
    values = tuple(value * (factor or 1.0) for value in one.values)
    interval = one.interval and (one.interval[0] * (factor or 1.0), one.interval[1] * (factor or 1.0))
    is_delay = bool(factor) and not one.measure
    commit = one.commit
    if context.commit is not None and context.commit_time is not None:
        commit = Commit(context.commit, context.commit_time)
    time = one.time if one.time is not None else commit.time if commit else context.commit_time or 0
    device = context.device or one.device or "unknown"
    facts = {name: value for name, value in one.facts.items() if value is not None}
    if one.higher_is_better:
        facts[HIGHER_IS_BETTER] = True
    name = NET_DELAY if is_delay else one.measure or "value"
    failed = Failure(FailureKind.CASE, "BenchmarkFailed", one.failure) if one.failure or not values else None
    return Result(
        TestKey(
            net=one.name,
            metric="delay" if is_delay else one.measure or one.unit or "value",
            identifier=one.detail or one.name,
            framework=form,
            backend=None,
            device=hashlib.sha256(device.encode()).hexdigest()[:12],
        ),
        Provenance(
            time=time,
            commit=commit.sha if commit else INTERACTIVE_COMMIT,
            commit_time=commit.time if commit else time,
            control_commit=None,
            control_commit_time=None,
            run_type="benchmark",
            command=(),
            group=None,
            run_uid=run,
            uid=uid,
            branch=commit.branch if commit else "",
            author=commit.author if commit else "",
            subject=commit.subject if commit else "",
        ),
        Device(device),
        Program(facts=facts),
        types=() if failed else (_type(name, unit, values, interval),),
        failure=failed,
    )


def _type(
    name: str, unit: str, values: tuple[float, ...], interval: tuple[float, float] | None
) -> TypeResult:
    summary = summaries.summarize(values)
    if interval is not None:
        summary = replace(summary, median_interval=Interval(*interval, confidence=math.nan))
    return TypeResult(name, unit, summary, values if len(values) > 1 else ())
