"""How fast is the results server, and how much memory does it need?

    python benchmarks/server.py fill DATABASE [--series 2000] [--commits 500] [--operators 20]
    python benchmarks/server.py ingest DATABASE [--count 500] [--writers 8]
    python benchmarks/server.py import DATABASE [--results 100000]
    python benchmarks/server.py start DATABASE
    python benchmarks/server.py pages DATABASE [--clients 8] [--seconds 60] [--writes]
    python benchmarks/server.py visible DATABASE [--count 20]
    python benchmarks/server.py paint DATABASE
    python benchmarks/server.py hostile DATABASE
    python benchmarks/server.py report DATABASE
    python benchmarks/server.py runs DATABASE

DATABASE is a URL as that of ``mlbench serve``. ``fill`` writes a million points of made-up results straight
into the tables. ``import`` writes a tree of made-up results, and imports it twice. The others start a server:
``pages`` asks for each page, or with several clients for one after the other, with --writes while another
process adds results; ``visible`` posts results and waits until a page shows them; ``paint`` opens the pages
in headless Chromium; ``hostile`` sends bodies that are to be refused. ``report`` writes the report in a file
and opens it. ``runs`` stores real runs of one program (benchmarks/measured/saved_runs.jsonl) as if they were
commits, and counts how often the page that compares two of twelve in a row calls something slower or faster.
Every line is a JSON document, with the load of the machine before it.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import func, insert, select, text, update  # noqa: E402

from benchmarking.errors import ExitStatus  # noqa: E402
from benchmarking.records.comparison import CHANGED  # noqa: E402
from benchmarking.records.tree import History as Tree  # noqa: E402
from benchmarking.results import documents  # noqa: E402
from benchmarking.results.documents import Document  # noqa: E402
from benchmarking.results.model import Interval  # noqa: E402
from benchmarking.server import packing, tables  # noqa: E402
from benchmarking.server.importing import import_tree  # noqa: E402
from benchmarking.server.ingest import ingest  # noqa: E402
from benchmarking.server.pages.compare import compared  # noqa: E402
from benchmarking.server.pages.reading import reader_of  # noqa: E402
from benchmarking.server.pages.report import report_html  # noqa: E402
from benchmarking.server.store import Store, open_store  # noqa: E402
from tests.support.made_up_results import FIRST_COMMIT, HOUR, History, sha  # noqa: E402

DEVICES = 10
BACKENDS = ("default", "xnnpack", "onednn", "cuda")
ROWS = 5000
MOST_REQUESTS = 5000
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
        for name in () if store.is_sqlite else ("run", "result"):  # their numbers were given here
            connection.execute(text(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))"))
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
    """Of series that are known."""
    seed = time.time_ns() % 60_000

    def one_by_one(given: list[Any]) -> None:
        for one in given:
            ingest(store, [one])

    def by_the_hundred(given: list[Any]) -> None:
        for start in range(0, len(given), 100):
            ingest(store, given[start : start + 100])

    def at_once(given: list[Any]) -> None:
        in_threads(lambda number: one_by_one(given[number::writers]), writers)

    by_the_hundred(new_results(80, seed))
    steps = {"one by one": one_by_one, "by the hundred": by_the_hundred, f"{writers} writers": at_once}
    for number, (step, work) in enumerate(steps.items()):
        given = new_results(count, seed + 1 + number)
        started, cpu = time.perf_counter(), time.process_time()
        work(given)
        cpu_ms = 1000 * (time.process_time() - cpu) / count
        per_second = count / (time.perf_counter() - started)
        show(step=step, results=count, per_second=per_second, cpu_ms=cpu_ms)


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


@dataclass(frozen=True)
class Server:
    address: str
    pid: int

    @property
    def peak_mib(self) -> float:
        return self._memory("VmHWM")

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, name: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.address + path, timeout=60) as answer:
            return bytes(answer.read())

    def post(self, body: bytes, **headers: str) -> int:
        request = urllib.request.Request(f"{self.address}/api/v1/results", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def serving(url: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarking", "serve", "--port", "0", "--no_import", "--database", url]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(one for one in process.stderr if "http://" in one)
        yield Server(line.split()[2].rstrip("/"), process.pid)
    finally:
        process.terminate()
        process.wait(60)


def paths_of(url: str) -> list[str]:
    """An address of each page."""
    store = open_store(url)
    with store.reading() as connection:
        key = connection.scalar(select(tables.series.c.key).limit(1))
        uid = connection.scalar(select(tables.results.c.uid).order_by(tables.results.c.id.desc()).limit(1))
        found = select(tables.commits.c.sha).order_by(tables.commits.c.time.desc()).limit(2)
        newest, before = connection.scalars(found.where(tables.commits.c.author == "")).all()
    store.close()
    return [
        *("/", "/matrix", f"/compare?a={before}&b={newest}", f"/series/{key}", f"/run/{uid}"),
        *(f"/commit/{newest}", "/regressions", "/devices", "/search?q=net"),
    ]


def measure_start(url: str) -> None:
    started = time.perf_counter()
    with serving(url) as server:
        server.get("/health")
        seconds = time.perf_counter() - started
        show(step="start to the first answer", seconds=seconds, peak_mib=server.peak_mib)


def measure_pages(url: str, clients: int, seconds: float, writes: bool) -> None:
    paths = paths_of(url)
    with serving(url) as server:
        for path in paths:
            server.get(path)
        if clients == 1:
            for path in paths:
                cpu = server.cpu_s
                # An address of its own each time: the server remembers what it made a moment ago.
                mark = "&" if "?" in path else "?"
                own = [f"{path}{mark}measured={number}" for number in range(MOST_REQUESTS)]
                times, failures = ask(server, own, 1, seconds / len(paths))
                cpu_ms = 1000 * (server.cpu_s - cpu) / len(times)
                show_times(times, failures, path=path.partition("?")[0], cpu_ms=cpu_ms)
            return
        ending = multiprocessing.Event()
        writer = multiprocessing.Process(target=keep_writing, args=(url, ending))
        if writes:
            writer.start()
        show_times(*ask(server, paths, clients, seconds), clients=clients, writes=writes)
        if writes:
            ending.set()
            writer.join()
        show(step="memory of the server", peak_mib=server.peak_mib)


def show_times(times: list[float], failures: list[str], **about: Any) -> None:
    show(
        **about,
        requests=len(times),
        median_ms=statistics.median(times),
        p95_ms=percentile(times, 0.95),
        failures=failures[:3],
    )


def ask(server: Server, paths: Sequence[str], clients: int, seconds: float) -> tuple[list[float], list[str]]:
    times: list[float] = []
    failures: list[str] = []
    end = time.monotonic() + seconds

    def one_client(number: int) -> None:
        for path in itertools.cycle([*paths[number:], *paths[:number]]):
            if time.monotonic() > end:
                return
            started = time.perf_counter()
            try:
                server.get(path)
            except OSError as error:
                failures.append(str(error))
            times.append(1000 * (time.perf_counter() - started))

    in_threads(one_client, clients)
    return times, failures


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def keep_writing(url: str, ending: Any) -> None:
    """In batches of 50, as an import does."""
    store = open_store(url)
    seed, count = time.time_ns() % 60_000, 0
    started = time.perf_counter()
    while not ending.is_set():
        given = new_results(400, seed)
        seed = (seed + 1) % 65_536
        for start in range(0, len(given), 50):
            if not ending.is_set():
                count += ingest(store, given[start : start + 50]).accepted
    show(step="the writer", results=count, per_second=count / (time.perf_counter() - started))


def document(*results: Any) -> bytes:
    whole = Document(results, ExitStatus.OK, 1.0, (), ())
    return documents.dumps(documents.document_json(whole)).encode()


def measure_visible(url: str, count: int) -> None:
    with serving(url) as server:
        announced, shown = [], []
        stream = urllib.request.urlopen(f"{server.address}/events", timeout=60)
        for one in new_results(count, time.time_ns() % 60_000):
            body = gzip.compress(document(one))
            started = time.perf_counter()
            server.post(body, **{"Content-Encoding": "gzip"})
            while b"results" not in stream.readline():
                pass
            announced.append(time.perf_counter() - started)
            server.get(f"/run/{one.provenance.uid}")
            server.get("/")
            shown.append(time.perf_counter() - started)
            time.sleep(1)
        stream.close()
        show(
            step="a posted result is visible",
            announced_s=statistics.median(announced),
            shown_s=statistics.median(shown),
            longest_s=max(shown),
        )


@contextmanager
def chromium() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for one in ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-dev-shm-usage"):
        options.add_argument(f"--{one}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


PAINT = "return performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)[0]"
LOADED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


def measure_paint(url: str, times: int = 7) -> None:
    paths = paths_of(url)
    with serving(url) as server, chromium() as driver:
        for path in paths:
            found = [opened(driver, f"{server.address}{path}", PAINT) for _ in range(times)]
            show(
                step="first paint", path=path.partition("?")[0], median_ms=statistics.median(found), of=found
            )


def opened(driver: Any, address: str, script: str) -> float:
    driver.get("about:blank")
    driver.get(address)
    while not (found := driver.execute_script(script)):
        time.sleep(0.05)
    return round(float(found))


def measure_report(store: Store) -> None:
    started = time.perf_counter()
    with store.reading() as connection:
        text = report_html(reader_of(connection), "A report")
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as directory, chromium() as driver:
        file = Path(directory, "report.html")
        file.write_text(text)
        found = [opened(driver, file.as_uri(), LOADED) for _ in range(5)]
    packed = len(gzip.compress(text.encode()))
    show(step="report", bytes=len(text.encode()), gzipped=packed, seconds=seconds, open_ms=found)


def post_at_once(server: Server, body: bytes, count: int, headers: dict[str, str]) -> list[int]:
    statuses: list[int] = []
    in_threads(lambda number: statuses.append(server.post(body, **headers)), count)
    return statuses


def measure_hostile(url: str) -> None:
    given = new_results(1, 7)[0]
    deep = b"[" * 1025 + b"]" * 1025
    bodies = {
        "40 MB": b" " * 40_000_000,
        "40 MB, no end": b'{"results": [' + b"0," * 20_000_000,
        "gzip bomb": gzip.compress(bytes(2**30), 9),
        "2 M keys": b"{" + b",".join(b'"%d":0' % one for one in range(2_000_000)) + b"}",
        "many objects": b"[" + b"{}," * 1_300_000 + b"{}]",
        "many numbers": b'{"results": [' + b"1," * 1_900_000 + b"1]}",
        "many facts": b'{"results": [{"meta": {"device": {'
        + b",".join(b'"%d": []' % one for one in range(190_000))
        + b"}}}]}",
        "1,025 levels": deep,
        "a large document": document(*[replace(given)] * 60)[: 4 * 2**20],
    }
    with serving(url) as server:
        server.get("/")
        before = server.peak_mib
        for name, body in bodies.items():
            headers = {"Content-Encoding": "gzip"} if name == "gzip bomb" else {}
            started = time.perf_counter()
            statuses = post_at_once(server, body, 4, headers)
            seconds = time.perf_counter() - started
            show(step="four at once", body=name, statuses=statuses, seconds=seconds, peak_mib=server.peak_mib)
        server.get("/")
        show(step="hostile bodies", before_mib=before, peak_mib=server.peak_mib)


def count_false_alarms(store: Store, size: int = 12) -> None:
    file = ROOT / "benchmarks" / "measured" / "saved_runs.jsonl"
    lines = [json.loads(line)["runs"] for line in file.read_text().splitlines()]
    (template,) = History(
        nets=1, backends=("default",), devices=1, commits=1, failed=0, tainted=0, operators=0
    )
    for number, runs in enumerate(lines):
        ingest(store, [measured_run(template, number, *one) for one in runs.items()])
    pages = marked = 0
    with store.reading() as connection:
        reader = reader_of(connection)
        for first in range(len(lines) - size + 1):
            for one, other in itertools.combinations(range(first, first + size), 2):
                counts = compared(reader, sha(one), sha(other)).counts
                pages += 1
                marked += any(counts[finding] for finding in CHANGED)
    show(step="two of twelve runs in a row", series=len(lines[0]), comparisons=pages, marked=marked)


def measured_run(template: Any, number: int, name: str, run: dict[str, float]) -> Any:
    net = template.types[0]
    summary = replace(
        net.summary, p50=run["p50_us"], median_interval=Interval(run["low_us"], run["high_us"], 0.95)
    )
    origin = replace(
        template.provenance,
        commit=sha(number),
        commit_time=FIRST_COMMIT + number * HOUR,
        position=number,
        uid=f"run-{number}-{name}".replace(" ", "-"),
        run_uid=f"run-{number}",
    )
    test = replace(template.test, net=name, identifier=name)
    return replace(template, test=test, provenance=origin, types=(replace(net, summary=summary),))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    of_server = {
        "start": lambda given: measure_start(given.where),
        "pages": lambda given: measure_pages(given.where, given.clients, given.seconds, given.writes),
        "visible": lambda given: measure_visible(given.where, min(given.count, 20)),
        "paint": lambda given: measure_paint(given.where),
        "hostile": lambda given: measure_hostile(given.where),
    }
    of_store = {
        "fill": lambda store, given: fill(store, given.series, given.commits, given.operators),
        "ingest": lambda store, given: measure_ingest(store, given.count, given.writers),
        "import": lambda store, given: measure_import(store, given.results),
        "report": lambda store, given: measure_report(store),
        "runs": lambda store, given: count_false_alarms(store),
    }
    parser.add_argument("step", choices=(*of_store, *of_server))
    parser.add_argument("where", metavar="DATABASE", help="its URL")
    parser.add_argument("--writes", action="store_true", help="another process adds results meanwhile")
    for name, default in {
        "series": 2000,
        "commits": 500,
        "operators": 20,
        "count": 500,
        "writers": 8,
        "results": 100_000,
        "clients": 1,
        "seconds": 30,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if given.step in of_server:
        of_server[given.step](given)
        return
    store = open_store(given.where)
    of_store[given.step](store, given)
    store.close()


if __name__ == "__main__":
    main()
