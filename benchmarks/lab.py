"""A lab under fire: many short jobs over 8 devices of 2 agents, which are killed again and again.

    python benchmarks/lab.py faults --jobs 1000
    python benchmarks/lab.py figures

``faults`` counts the jobs that are lost or recorded twice, and the programs that ran on one device at once,
by their own times. ``figures`` measures the time from submit to start, the transfer of files, and what an
idle agent takes. A stand-in for the harness takes the device's lock, sleeps and prints a result. Both need
PostgreSQL and the extra ``lab``.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

MARK = "LAB_BENCHMARK_AGENT"
DIRECTORY, URL, JOB_S, LOST_AFTER_S = (
    f"LAB_BENCHMARK_{name}" for name in ("DIRECTORY", "URL", "JOB_S", "LOST_AFTER_S")
)
AGENTS = ("a", "b")
DEVICES_PER_AGENT = 4
TRANSFER_BYTES = 200 * 2**20


def stand_in(words: list[str]) -> None:
    arguments = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
    directory, device = Path(os.environ[DIRECTORY]), arguments["devices"]
    with (directory / f"{device}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = time.time()
        time.sleep(float(os.environ[JOB_S]))
        span = {"device": device, "started": started, "ended": time.time()}
        with (directory / "spans").open("a") as stream:
            stream.write(json.dumps(span) + "\n")
    print(json.dumps({"result": {"meta": {"net_name": "net", "metric": "delay", "identifier": "0"}}}))
    print(json.dumps({"end": {"exit_status": 0, "duration_s": 0.1, "problems": []}}), flush=True)


def agent(name: str) -> None:
    import asyncio

    from benchmarking.dispatch.agent import Agent
    from benchmarking.dispatch.database import Database
    from benchmarking.dispatch.job_run import Host
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.programs import leftovers
    from benchmarking.programs.process import Tether
    from benchmarking.terminal import streams

    streams.log_to_stderr("info")
    directory = Path(os.environ[DIRECTORY]) / name
    directory.mkdir(exist_ok=True)
    mark = str(directory)
    leftovers.end_marked(MARK, mark.__eq__)
    numbers = range(DEVICES_PER_AGENT)
    devices = [FoundDevice("host", f"device {name}{number}", f"{name}{number}") for number in numbers]
    with (directory / "lock").open("a") as lock:
        host = Host(
            name=name,
            directory=directory,
            tether=Tether(lock.fileno(), MARK, mark),
            harness=(sys.executable, "-S", __file__, "stand_in"),
        )
        one = Agent(
            Database(os.environ[URL]), host, lambda: devices, lost_after_s=float(os.environ[LOST_AFTER_S])
        )

        async def until_signal() -> None:
            end = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
            await one.run(end)

        asyncio.run(until_signal())


class Bench:
    """A database and two agents."""

    def __init__(self, url: str, directory: Path, job_s: float, lost_after_s: float) -> None:
        from benchmarking.dispatch.database import Database

        self.directory = directory
        self.database = Database(url)
        self.database.initialize(job_quota=10**6)
        values = {DIRECTORY: directory, URL: url, JOB_S: job_s, LOST_AFTER_S: lost_after_s}
        self.environment = os.environ | {name: str(value) for name, value in values.items()}
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.agents[name] = subprocess.Popen(
                [sys.executable, __file__, "agent", name], env=self.environment, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        self.agents[name].kill()
        self.agents[name].wait()

    def count(self, text: str) -> int:
        from benchmarking.dispatch.database import LabError

        try:
            with self.database.connected() as connection:
                row = connection.execute(text).fetchone()
        except LabError:
            return -1
        return int(row[0]) if row else -1

    def until(self, text: str, wanted: int, limit_s: float) -> None:
        limit = time.monotonic() + limit_s
        while self.count(text) < wanted:
            if time.monotonic() > limit:
                raise SystemExit(f"{text} did not reach {wanted}; see {self.directory}")
            time.sleep(0.05)

    def submit(self, count: int) -> None:
        """The same number of jobs for each device."""
        from benchmarking.dispatch import blobs
        from benchmarking.dispatch.ledger import Ledger
        from benchmarking.dispatch.request import BENCHMARK, MEASURE, PROTOCOL, MeasureJob
        from benchmarking.specs.run_info import TestName

        path = self.directory / "suite.json"
        path.write_text("{}")
        file = blobs.described(path)
        with self.database.connected() as connection:
            ledger = Ledger(connection)
            devices = ledger.devices()
            blobs.send(connection, path, file, "somebody")
            for number in range(count):
                device = devices[number % len(devices)]
                job = MeasureJob(
                    protocol=PROTOCOL,
                    submission=f"submission {time.time()} {number}",
                    person=f"person {number % 3}",
                    platform=device.platform,
                    device=device.hash,
                    files={BENCHMARK: file},
                    options={},
                    info={},
                    tests=[TestName(net="net", metric="delay", identifier="0")],
                )
                ledger.submit(self.database, "short", MEASURE, [(device, job)], 1)

    def close(self) -> None:
        for process in self.agents.values():
            process.terminate()
        for process in self.agents.values():
            process.wait()


OVER = (
    "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('succeeded', 'failed', 'cancelled', 'aborted')"
)
DEVICES = "SELECT count(*) FROM device"


def faults(arguments: argparse.Namespace) -> None:
    from tests.support.postgresql import PostgreSQL

    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name, PostgreSQL() as server:
        bench = Bench(server.database(), Path(name), arguments.job_s, 10.0)
        for one in AGENTS:
            bench.start(one)
        bench.until(DEVICES, len(AGENTS) * DEVICES_PER_AGENT, 120)
        bench.submit(arguments.jobs)
        started = time.monotonic()
        kills = crashes = 0
        limit = started + arguments.limit_s
        while bench.count(OVER) < arguments.jobs and time.monotonic() < limit:
            time.sleep(arguments.kill_every_s * generator.uniform(0.5, 1.5))
            victim = generator.choice(AGENTS)
            bench.kill(victim)
            kills += 1
            if crashes < 2 and bench.count(OVER) > (crashes + 1) * arguments.jobs / 3:
                server.stop(signal.SIGQUIT)
                time.sleep(1)
                server.start()
                crashes += 1
            bench.start(victim)
        duration_s = time.monotonic() - started
        report(bench, arguments, duration_s, kills, crashes)
        bench.close()


def report(bench: Bench, arguments: argparse.Namespace, duration_s: float, kills: int, crashes: int) -> None:
    spans = [json.loads(line) for line in (bench.directory / "spans").read_text().splitlines()]
    by_device: dict[str, list[tuple[float, float]]] = {}
    for one in spans:
        by_device.setdefault(one["device"], []).append((one["started"], one["ended"]))
    at_once = sum(
        after[0] < before[1] for runs in by_device.values() for before, after in pairwise(sorted(runs))
    )
    with bench.database.connected() as connection:
        states = Counter(row[0] for row in connection.execute("SELECT status::text FROM procrastinate_jobs"))
        recorded = Counter(row[0] for row in connection.execute("SELECT job FROM result"))
    work_s = arguments.jobs * arguments.job_s / (len(AGENTS) * DEVICES_PER_AGENT)
    print(
        f"{arguments.jobs} jobs of {arguments.job_s:g} s on {len(by_device)} devices, "
        f"{kills} kills of an agent, {crashes} of PostgreSQL, load {os.getloadavg()[0]:.1f}"
    )
    print(f"  states                       {dict(states)}")
    print(f"  without a result (lost)      {arguments.jobs - len(recorded)}")
    print(f"  recorded more than once      {sum(count > 1 for count in recorded.values())}")
    print(f"  programs run                 {len(spans)} (more than the jobs: begun again after a kill)")
    print(f"  two programs at once         {at_once}")
    print(f"  duration                     {duration_s:.1f} s, {duration_s / work_s:.2f} times the work")


def figures(arguments: argparse.Namespace) -> None:
    import psutil

    from benchmarking.dispatch import blobs
    from tests.support.postgresql import PostgreSQL

    with tempfile.TemporaryDirectory() as name, PostgreSQL() as server:
        bench = Bench(server.database(), Path(name), 0.0, 60.0)
        bench.start("a")
        bench.until(DEVICES, DEVICES_PER_AGENT, 120)
        print(f"load {os.getloadavg()[0]:.1f}")
        waits_s, whole_s = [], []
        for number in range(arguments.repeats):
            bench.submit(1)
            bench.until(OVER, number + 1, 120)
        with bench.database.connected() as connection:
            for wait, whole in connection.execute(
                "SELECT extract(epoch FROM started - created), extract(epoch FROM ended - created)"
                " FROM run JOIN job ON job.id = run.job"
            ):
                waits_s.append(float(wait))
                whole_s.append(float(whole))
        print(f"  submit to start    median {statistics.median(waits_s) * 1000:.0f} ms")
        print(f"  an empty job       median {statistics.median(whole_s) * 1000:.0f} ms, with its process")
        process = psutil.Process(bench.agents["a"].pid)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(arguments.idle_s)
        after = process.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        share = used_s / (time.monotonic() - began)
        memory = process.memory_info().rss / 1e6
        print(f"  an idle agent      {share:.2%} of a core over {arguments.idle_s:g} s, {memory:.0f} MB")
        path = bench.directory / "large"
        path.write_bytes(random.Random(1).randbytes(TRANSFER_BYTES))
        file = blobs.described(path)
        with bench.database.connected() as connection:
            for what, action in (
                ("sent", lambda: blobs.send(connection, path, file, "somebody")),
                ("sent again", lambda: blobs.send(connection, path, file, "somebody")),
                ("fetched", lambda: blobs.fetch(connection, file, bench.directory / "cache")),
                ("fetched again", lambda: blobs.fetch(connection, file, bench.directory / "cache")),
            ):
                began = time.monotonic()
                action()
                seconds = time.monotonic() - began
                print(f"  200 MiB {what:<13} {seconds:6.2f} s, {TRANSFER_BYTES / seconds / 1e6:.0f} MB/s")
        bench.close()


def main() -> None:
    if sys.argv[1:2] == ["stand_in"]:
        return stand_in(sys.argv[2:])
    if sys.argv[1:2] == ["agent"]:
        return agent(sys.argv[2])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("faults", "figures"))
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--job_s", type=float, default=0.1)
    parser.add_argument("--kill_every_s", type=float, default=5.0)
    parser.add_argument("--limit_s", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--idle_s", type=float, default=60.0)
    arguments = parser.parse_args()
    return {"faults": faults, "figures": figures}[arguments.what](arguments)


if __name__ == "__main__":
    main()
