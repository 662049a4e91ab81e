"""How fast is the results server, and how much memory does it need?

    python benchmarks/server.py fill DATABASE [--series 2000] [--commits 500] [--operators 20]
    python benchmarks/server.py ingest DATABASE [--count 500] [--writers 8]
    python benchmarks/server.py import DATABASE [--results 100000]
    python benchmarks/server.py start DATABASE
    python benchmarks/server.py pages ADDRESS PATH... [--clients 8] [--seconds 60]

DATABASE is a URL as that of ``mlbench serve``. ``fill`` writes a million points of made-up results straight
into the tables. ``import`` writes a tree of made-up results, and imports it twice. ``pages`` asks a running
server.
Every line is a JSON document, with the load of the machine before it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import func, insert, select, text, update  # noqa: E402

from benchmarking.records.tree import History as Tree  # noqa: E402
from benchmarking.server import packing, tables  # noqa: E402
from benchmarking.server.importing import import_tree  # noqa: E402
from benchmarking.server.ingest import ingest  # noqa: E402
from benchmarking.server.store import Store, open_store  # noqa: E402
from tests.support.made_up_results import FIRST_COMMIT, HOUR, History, sha  # noqa: E402

DEVICES = 10
BACKENDS = ("default", "xnnpack", "onednn", "cuda")
ROWS = 5000
KINDS = 64
"""The number of different blobs: their content is not random, and their size is that of real ones."""


def show(**numbers: Any) -> None:
    rounded = {name: round(one, 3) if isinstance(one, float) else one for name, one in numbers.items()}
    print(json.dumps({"load": round(os.getloadavg()[0], 1), **rounded}), flush=True)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


# --- a million points ---------------------------------------------------------------------------------------


def fill(store: Store, series: int, commits: int, operators: int) -> None:
    """One commit after the other, as they come; the series themselves are made by ``ingest``."""
    started = time.perf_counter()
    nets = max(1, series // (DEVICES * len(BACKENDS)))
    made = History(nets, BACKENDS, DEVICES, commits=2, operators=operators, tainted=0, failed=0)
    given = list(made)
    for start in range(0, len(given), 500):
        ingest(store, given[start : start + 500])
    packed = [packing.pack(one) for one in given[-KINDS:]]
    show(step="two commits by ingest", results=len(given), seconds=time.perf_counter() - started)
    with store.reading() as connection:
        known = connection.execute(select(tables.series)).all()
        stored = connection.execute(select(tables.results.c.id, tables.results.c.document_id))
        documents = {row.id: row.document_id for row in stored}
        next_result = (connection.scalar(select(func.max(tables.results.c.id))) or 0) + 1
        next_run = (connection.scalar(select(func.max(tables.runs.c.id))) or 0) + 1
    generator = random.Random(2)
    for number in range(2, commits):
        when = FIRST_COMMIT + number * HOUR
        about = {"project_id": 1, "sha": sha(number), "time": when, "position": number, "branch": "main"}
        ratios = [1 + 0.01 * generator.gauss() for _ in known]
        verdicts = [
            "regressed" if one > 1.03 else "improved" if one < 0.97 else "unchanged" for one in ratios
        ]
        with store.writing() as connection:
            commit = connection.execute(
                insert(tables.commits).values(**about).returning(tables.commits.c.id)
            ).scalar_one()
            run = {
                "id": next_run,
                "uid": f"run-{number}",
                "project_id": 1,
                "commit_id": commit,
                "time": when + 600,
            }
            connection.execute(insert(tables.runs), [run])
            results, points = [], []
            for place, (one, ratio, verdict) in enumerate(zip(known, ratios, verdicts, strict=True)):
                blobs = packed[place % len(packed)]
                common = {
                    "commit_id": commit,
                    "time": when + 600,
                    "run_type": "benchmark",
                    "verdict": verdict,
                }
                results.append(
                    common
                    | {
                        "id": next_result + place,
                        "uid": f"{number:08x}{place:08x}",
                        "run_id": next_run,
                        "project_id": 1,
                        "device_id": one.device_id,
                        "document_id": documents[one.last_result_id],
                        **{
                            name: getattr(one, name)
                            for name in ("net", "metric", "identifier", "framework", "backend")
                        },
                        "status": "passed",
                        "outcome": verdict,
                        "tainted": "",
                        "failure": "",
                        "regressed": "{}",
                        "detail": blobs.detail,
                        "operators": blobs.operators,
                        "samples": None,
                    }
                )
                value = one.reference * ratio
                points.append(
                    common
                    | {
                        "series_id": one.id,
                        "commit_time": when,
                        "result_id": next_result + place,
                        "position": number,
                        "value": value,
                        "low": value * 0.995,
                        "high": value * 1.005,
                        "ratio": ratio,
                        "ratio_low": ratio - 0.01,
                        "ratio_high": ratio + 0.01,
                        "tainted": False,
                    }
                )
            for start in range(0, len(results), ROWS):
                connection.execute(insert(tables.results), results[start : start + ROWS])
                connection.execute(insert(tables.points), points[start : start + ROWS])
            summary = {
                "commit_id": commit,
                "project_id": 1,
                "measured": len(known),
                "regressed": verdicts.count("regressed"),
                "improved": verdicts.count("improved"),
                "log_ratio_sum": sum(map(math.log, ratios)),
                "ratios": len(known),
                "log_level_sum": sum(map(math.log, ratios)),
                "levels": len(known),
            }
            connection.execute(insert(tables.commit_summaries), [summary])
            if number == commits - 1:
                for place, (one, ratio, verdict) in enumerate(zip(known, ratios, verdicts, strict=True)):
                    newest = {
                        "last_result_id": next_result + place,
                        "last_commit_id": commit,
                        "last_position": number,
                        "last_commit_time": when,
                        "last_time": when + 600,
                        "last_value": one.reference * ratio,
                        "last_ratio": ratio,
                        "last_verdict": verdict,
                        "points": commits,
                        "scatter": 0.01,
                    }
                    connection.execute(
                        update(tables.series).where(tables.series.c.id == one.id).values(newest)
                    )
        next_result, next_run = next_result + len(known), next_run + 1
    with store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    show(
        step="fill",
        points=len(known) * commits,
        series=len(known),
        seconds=time.perf_counter() - started,
        bytes=size(store),
    )


def size(store: Store) -> int:
    if store.is_sqlite:
        return Path(str(store.engine.url.database)).stat().st_size
    with store.reading() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")))


# --- ingest and import --------------------------------------------------------------------------------------


def new_results(count: int, seed: int) -> list[Any]:
    made = History(nets=10, backends=BACKENDS, devices=2, commits=count // 80 + 1, operators=20, seed=seed)
    return list(islice(made, count))


def measure_ingest(store: Store, count: int, writers: int) -> None:
    seed = time.time_ns() % 2**32 % 60_000
    given = new_results(count, seed)
    started = time.perf_counter()
    for one in given:
        ingest(store, [one])
    show(step="one by one", results=count, per_second=count / (time.perf_counter() - started))
    given = new_results(count, seed + 1)
    started = time.perf_counter()
    for start in range(0, count, 100):
        ingest(store, given[start : start + 100])
    show(step="by the hundred", results=count, per_second=count / (time.perf_counter() - started))
    given = new_results(count, seed + 2)

    def write(own: list[Any]) -> None:
        for one in own:
            ingest(store, [one])

    threads = [threading.Thread(target=write, args=(given[number::writers],)) for number in range(writers)]
    started = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    show(step=f"{writers} writers", results=count, per_second=count / (time.perf_counter() - started))


def measure_import(store: Store, count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree = Tree(Path(directory))
        started = time.perf_counter()
        for one in islice(
            History(nets=10, backends=BACKENDS, commits=count // 80 + 1, operators=2, samples=10), count
        ):
            tree.save(one) if one.failure is None else tree.save_failure(one)
        show(step="a tree is written", results=count, seconds=time.perf_counter() - started)
        for step in ("first import", "second import"):
            started = time.perf_counter()
            done = import_tree(store, Path(directory), lambda: False)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            seconds = time.perf_counter() - started
            show(step=step, **vars(done), seconds=seconds, per_second=count / seconds, peak_mib=peak)


# --- a running server ---------------------------------------------------------------------------------------


def measure_start(url: str) -> None:
    command = [sys.executable, "-m", "benchmarking", "serve", "--port", "0", "--no_import", "--database", url]
    started = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        line = next(one for one in server.stderr or () if "http://" in one)
        address = line.split()[2]
        with urllib.request.urlopen(f"{address}health", timeout=60) as answer:
            answer.read()
        show(
            step="start to the first answer",
            seconds=time.perf_counter() - started,
            peak_mib=peak_of(server.pid),
        )
    finally:
        server.terminate()
        server.wait(60)


def peak_of(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure_pages(address: str, paths: list[str], clients: int, seconds: float) -> None:
    for path in paths:
        times: list[float] = []
        failures: list[str] = []
        end = time.monotonic() + seconds

        def ask(
            path: str = path, times: list[float] = times, failures: list[str] = failures, end: float = end
        ) -> None:
            while time.monotonic() < end:
                started = time.perf_counter()
                try:
                    with urllib.request.urlopen(address + path, timeout=60) as answer:
                        answer.read()
                except OSError as error:
                    failures.append(str(error))
                times.append(1000 * (time.perf_counter() - started))

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        show(
            path=path,
            clients=clients,
            requests=len(times),
            median_ms=statistics.median(times),
            p95_ms=percentile(times, 0.95),
            failures=failures[:3],
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("fill", "ingest", "import", "start", "pages"))
    parser.add_argument("where", help="the URL of the database, or the address of a server")
    parser.add_argument("paths", nargs="*", help="of pages, each with a slash at its beginning")
    for name, default in {
        "series": 2000,
        "commits": 500,
        "operators": 20,
        "count": 500,
        "writers": 8,
        "results": 100_000,
        "clients": 1,
        "seconds": 10,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if given.step == "start":
        measure_start(given.where)
        return
    if given.step == "pages":
        measure_pages(given.where.rstrip("/"), given.paths, given.clients, given.seconds)
        return
    store = open_store(given.where)
    if given.step == "fill":
        fill(store, given.series, given.commits, given.operators)
    elif given.step == "ingest":
        measure_ingest(store, given.count, given.writers)
    else:
        measure_import(store, given.results)
    store.close()


if __name__ == "__main__":
    main()
