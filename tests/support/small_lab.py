"""A lab of small agents: a real queue and real agents, whose harness is a stand-in that sleeps.

    python tests/support/small_lab.py agent NAME DEVICE...
    python tests/support/small_lab.py submit DEVICE FILE

The stand-in takes the device's lock as the harness does, and writes down from when until when each of its
tests ran.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

DIRECTORY, URL, LOST_AFTER_S = (f"SMALL_LAB_{name}" for name in ("DIRECTORY", "URL", "LOST_AFTER_S"))
LOCKS = "SMALL_LAB_LOCKS"
"""The directory of the devices' locks: hosts have their own."""
BUILDS = "SMALL_LAB_BUILDS"
"""The platform for which an agent builds."""
MARK = "SMALL_LAB_AGENT"
OVER = (
    "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('succeeded', 'failed', 'cancelled', 'aborted')"
)
RESULTS = "SELECT count(*) FROM result"


class SmallLab:
    """``url``: of an empty database."""

    def __init__(self, url: str, directory: Path, lost_after_s: float) -> None:
        from benchmarking.dispatch.database import Database

        self.directory, self.url = directory, url
        self.database = Database(url)
        self.database.initialize(job_quota=10**6)
        values = {DIRECTORY: directory, URL: url, LOST_AFTER_S: lost_after_s}
        self.environment = os.environ | {name: str(value) for name, value in values.items()}
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *devices: str, prefix: Sequence[str] = (), **environment: str) -> None:
        """
        Args:
            devices: their names; as before, if there are none.
            prefix: of the command line.
        """
        known = self.directory / f"{name}.devices"
        if devices:
            known.write_text(json.dumps(devices))
        with self.log(name).open("ab") as log:
            self.agents[name] = subprocess.Popen(
                [*prefix, sys.executable, __file__, "agent", name, *json.loads(known.read_text())],
                env=self.environment | environment,
                stdout=log,
                stderr=log,
            )

    def submitter(self, device: str, file: Path) -> subprocess.Popen[str]:
        """Submits a job with this file, and prints its results as they come."""
        return subprocess.Popen(
            [sys.executable, __file__, "submit", device, str(file)],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.directory.glob("*.log"))

    def kill(self, name: str) -> None:
        self.agents[name].kill()
        self.agents[name].wait()

    def end(self, name: str) -> None:
        self.agents[name].terminate()
        self.agents[name].wait()

    def count(self, text: str) -> int:
        """-1: the database does not answer."""
        from benchmarking.dispatch.database import LabError

        try:
            with self.database.connected() as connection:
                row = connection.execute(text).fetchone()
        except LabError:
            return -1
        return int(row[0]) if row else -1

    def until(self, text: str, wanted: int, limit_s: float = 200.0) -> None:
        limit = time.monotonic() + limit_s
        while self.count(text) < wanted:
            if time.monotonic() > limit:
                raise AssertionError(f"{text} did not reach {wanted}: {self.logs()}")
            time.sleep(0.05)

    def submit(self, suite: Path, devices: Sequence[str], person: str = "somebody") -> list[int]:
        """A job for each device."""
        return submit(self.database, suite, devices, person)

    def suite(self, seconds: float, tests: Sequence[str] = ("0",), padding: int = 0) -> Path:
        """How long each test takes, and how much larger the file is than it has to be."""
        from benchmarking.results import documents
        from tests.support.sample_results import PASSED

        path = self.directory / "suite.json"
        result = documents.result_json(PASSED)
        path.write_text(json.dumps({"seconds": seconds, "tests": tests, "result": result}) + " " * padding)
        return path

    def runs_at_once(self) -> int:
        """How often two programs ran on one device, by their own times."""
        spans = defaultdict(list)
        for line in (self.directory / "spans").read_text().splitlines():
            one = json.loads(line)
            spans[one["device"]].append((one["started"], one["ended"]))
        return sum(
            after[0] < before[1] for runs in spans.values() for before, after in pairwise(sorted(runs))
        )

    def programs(self) -> list:
        """The processes that agents started."""
        import psutil

        mark = f"{self.directory}/"
        found = psutil.process_iter(["environ", "status"])
        return [
            one
            for one in found
            if (one.info["environ"] or {}).get(MARK, "").startswith(mark)
            and one.info["status"] != psutil.STATUS_ZOMBIE
        ]

    def submit_build(self, script: str, person: str = "somebody") -> int:
        """On any host that builds."""
        return submit_build(self.database, self.directory, script, person)

    def close(self) -> None:
        for process in self.agents.values():
            process.terminate()
            process.send_signal(signal.SIGCONT)
        for process in self.agents.values():
            process.wait()


@contextmanager
def small_lab(url: str, directory: Path, lost_after_s: float) -> Iterator[SmallLab]:
    one = SmallLab(url, directory, lost_after_s)
    try:
        yield one
    finally:
        one.close()


def submit(database, suite: Path, devices: Sequence[str], person: str) -> list[int]:
    from benchmarking.dispatch import blobs
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.request import BENCHMARK, MEASURE, PROTOCOL, MeasureJob
    from benchmarking.results.model import new_uid
    from benchmarking.specs.run_info import TestName

    file = blobs.described(suite)
    content = json.loads(suite.read_text())
    tests, meta = content["tests"], content["result"]["meta"]
    with database.connected() as connection:
        ledger = Ledger(connection)
        known = {one.hash: one for one in ledger.devices()}
        blobs.send(connection, suite, file, person)
        numbers = []
        for device in devices:
            job = MeasureJob(
                protocol=PROTOCOL,
                submission=new_uid(),
                person=person,
                platform="host",
                device=device,
                files={BENCHMARK: file},
                options={},
                info={},
                tests=[
                    TestName(net=meta["net_name"], metric=meta["metric"], identifier=one) for one in tests
                ],
            )
            numbers += ledger.submit(database, "short", MEASURE, [(known[device], job)], len(tests))
    return numbers


def submit_build(database, directory: Path, script: str, person: str) -> int:
    from benchmarking.dispatch.ledger import Ledger
    from benchmarking.dispatch.packing import Package
    from benchmarking.dispatch.request import BUILD, PROTOCOL, BuildJob
    from benchmarking.results.model import new_uid

    for name, content in (("source/file", "source"), ("scripts/build.sh", script)):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    package = Package(directory)
    job = BuildJob(
        protocol=PROTOCOL,
        submission=new_uid(),
        person=person,
        platform="host",
        source=package.add_tree("source", directory / "source"),
        scripts=package.add_tree("scripts", directory / "scripts"),
        script="build.sh",
        files=package.files,
    )
    with database.connected() as connection:
        ledger = Ledger(connection)
        host = next(one for one in ledger.devices() if not one.measures)
        package.send(connection, person)
        (number,) = ledger.submit(database, "build", BUILD, [(host, job)], 0)
    return number


def _submit(device: str, path: str) -> None:
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.following import Following
    from benchmarking.programs.process import Cancellation

    database = Database(os.environ[URL])
    numbers = submit(database, Path(path), [device], "somebody")
    print(*numbers, flush=True)

    def report(results: Sequence[object]) -> None:
        print(*(one.test.identifier for one in results), flush=True)

    with Cancellation() as cancellation:
        Following(database, numbers, report).until_over(cancellation)


def _agent(name: str, devices: Sequence[str]) -> None:
    from benchmarking.dispatch.agent import Agent
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.job_run import Host
    from benchmarking.dispatch.request import BUILD
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.programs import leftovers
    from benchmarking.programs.process import Tether
    from benchmarking.terminal import streams

    streams.log_to_stderr("info")
    directory = Path(os.environ[DIRECTORY]) / name
    directory.mkdir(exist_ok=True)
    mark = f"{directory} "
    leftovers.end_marked(MARK, lambda one: one.startswith(mark))
    builds = tuple(filter(None, [os.environ.get(BUILDS)]))
    found = [
        *(FoundDevice("host", f"device {one}", one) for one in devices),
        *(FoundDevice(BUILD, f"builder for {one}", one) for one in builds),
    ]
    with (directory / "lock").open("a") as lock:
        host = Host(
            name=name,
            identity=name,
            directory=directory,
            tether=Tether(lock.fileno(), MARK, mark),
            builds=builds,
            harness=(sys.executable, "-S", __file__, "stand_in"),
        )
        one = Agent(
            Database(os.environ[URL]), host, lambda: found, lost_after_s=float(os.environ[LOST_AFTER_S])
        )

        async def until_signal() -> None:
            end = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
            await one.run(end)

        asyncio.run(until_signal())


def _stand_in(words: Sequence[str]) -> None:
    arguments = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
    directory, device = Path(os.environ[DIRECTORY]), arguments["devices"]
    suite = json.loads(Path(arguments["benchmark_file"]).read_text())
    chosen = json.loads(arguments["info"]).get("tests")
    tests = [one["identifier"] for one in chosen] if chosen else suite["tests"]
    locks = Path(os.environ.get(LOCKS, directory))
    with (locks / f"{device}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for test in tests:
            started = time.time()
            time.sleep(suite["seconds"])
            span = {"device": device, "test": test, "started": started, "ended": time.time()}
            with (directory / "spans").open("a") as stream:
                stream.write(json.dumps(span) + "\n")
            suite["result"]["meta"]["identifier"] = test
            print(json.dumps({"result": suite["result"]}), flush=True)
    print(json.dumps({"end": {"exit_status": 0, "duration_s": 0.1, "problems": []}}), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["agent", name, *devices]:
            _agent(name, devices)
        case ["submit", device, path]:
            _submit(device, path)
        case ["stand_in", *words]:
            _stand_in(words)
