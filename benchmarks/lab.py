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
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.postgresql import PostgreSQL  # noqa: E402
from tests.support.small_lab import OVER, SmallLab, small_lab  # noqa: E402

STAND_IN = ROOT / "tests" / "support" / "small_lab.py"

DEVICES = {name: [f"{name}{number}" for number in range(4)] for name in ("a", "b")}
"""By agent."""
TRANSFER_BYTES = 200 * 2**20


def faults(arguments: argparse.Namespace) -> None:
    generator = random.Random(arguments.seed)
    with (
        tempfile.TemporaryDirectory() as name,
        PostgreSQL() as server,
        small_lab(server.database(), Path(name), 10.0) as lab,
    ):
        begin(lab, DEVICES)
        devices = [device for several in DEVICES.values() for device in several]
        suite = lab.suite(arguments.job_s)
        for number in range(0, arguments.jobs, len(devices)):
            lab.submit(suite, devices[: arguments.jobs - number], f"person {number % 3}")
        kills = crashes = 0
        limit = time.monotonic() + arguments.limit_s
        while lab.count(OVER) < arguments.jobs and time.monotonic() < limit:
            time.sleep(arguments.kill_every_s * generator.uniform(0.5, 1.5))
            victim = generator.choice([*DEVICES])
            lab.kill(victim)
            kills += 1
            if crashes < 2 and lab.count(OVER) > (crashes + 1) * arguments.jobs / 3:
                server.stop(signal.SIGQUIT)
                time.sleep(1)
                server.start()
                crashes += 1
            lab.start(victim)
        report(lab, arguments, kills, crashes)


def begin(lab: SmallLab, devices: Mapping[str, Sequence[str]]) -> None:
    for name, several in devices.items():
        lab.start(name, *several)
    lab.until("SELECT count(*) FROM device", sum(map(len, devices.values())))


def report(lab: SmallLab, arguments: argparse.Namespace, kills: int, crashes: int) -> None:
    with lab.database.connected() as connection:
        states = Counter(row[0] for row in connection.execute("SELECT status::text FROM procrastinate_jobs"))
        recorded = Counter(row[0] for row in connection.execute("SELECT job FROM result"))
        ((duration_s,),) = connection.execute(
            "SELECT extract(epoch FROM max(ended) - min(started))::float FROM run"
        ).fetchall()
    devices = sum(map(len, DEVICES.values()))
    work_s = arguments.jobs * arguments.job_s / devices
    programs = len((lab.directory / "spans").read_text().splitlines())
    print(
        f"{arguments.jobs} jobs of {arguments.job_s:g} s on {devices} devices, "
        f"{kills} kills of an agent, {crashes} of PostgreSQL, load {os.getloadavg()[0]:.1f}"
    )
    print(f"  states                       {dict(states)}")
    print(f"  without a result (lost)      {arguments.jobs - len(recorded)}")
    print(f"  recorded more than once      {sum(count > 1 for count in recorded.values())}")
    print(f"  programs run                 {programs} (more than the jobs: begun again after a kill)")
    print(f"  two programs at once         {lab.runs_at_once()}")
    print(f"  duration                     {duration_s:.1f} s, {duration_s / work_s:.2f} times the work")


def figures(arguments: argparse.Namespace) -> None:
    import psutil

    from benchmarking.dispatch import blobs

    with (
        tempfile.TemporaryDirectory() as name,
        PostgreSQL() as server,
        small_lab(server.database(), Path(name), 60.0) as lab,
    ):
        begin(lab, {"a": DEVICES["a"]})
        print(f"load {os.getloadavg()[0]:.1f}")
        for count in (1, 50):
            suite = lab.suite(0.0, [str(number) for number in range(count)])
            waits_ms, whole_ms = empty_jobs(lab, suite, arguments.repeats)
            alone_ms = statistics.median(alone(lab, suite) for _ in range(arguments.repeats))
            print(f"  submit to start    median {waits_ms:.0f} ms")
            more_ms = (whole_ms - alone_ms) / count
            print(f"  {count:2} empty tests     median {whole_ms:.0f} ms, of which the process takes")
            print(f"                     {alone_ms:.0f} ms without a lab: {more_ms:.1f} ms more per test")
        process = psutil.Process(lab.agents["a"].pid)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(arguments.idle_s)
        after = process.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        share = used_s / (time.monotonic() - began)
        memory = process.memory_info().rss / 1e6
        print(f"  an idle agent      {share:.2%} of a core over {arguments.idle_s:g} s, {memory:.0f} MB")
        path = lab.directory / "large"
        path.write_bytes(random.Random(1).randbytes(TRANSFER_BYTES))
        file = blobs.described(path)
        with lab.database.connected() as connection:
            for what, action in (
                ("sent", lambda: blobs.send(connection, path, file, "somebody")),
                ("sent again", lambda: blobs.send(connection, path, file, "somebody")),
                ("fetched", lambda: blobs.fetch(connection, file, lab.directory / "cache")),
                (
                    "fetched again",
                    lambda: blobs.fetch(connection, file, lab.directory / "cache"),
                ),
            ):
                began = time.monotonic()
                action()
                seconds = time.monotonic() - began
                print(f"  200 MiB {what:<13} {seconds:6.2f} s, {TRANSFER_BYTES / seconds / 1e6:.0f} MB/s")


def empty_jobs(lab: SmallLab, suite: Path, repeats: int) -> tuple[float, float]:
    """The medians of the times from submit to start, and from submit to the end, in milliseconds."""
    with lab.database.connected() as connection:
        (before,) = connection.execute("SELECT coalesce(max(id), 0) FROM job").fetchone() or (0,)
    done = lab.count(OVER)
    for number in range(repeats):
        lab.submit(suite, [DEVICES["a"][number % 4]])
        lab.until(OVER, done + number + 1)
    with lab.database.connected() as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM started - created), extract(epoch FROM ended - created)"
            " FROM run JOIN job ON job.id = run.job WHERE job.id > %s",
            [before],
        ).fetchall()
    waits, whole = (statistics.median(map(float, column)) * 1000 for column in zip(*rows, strict=True))
    return waits, whole


def alone(lab: SmallLab, suite: Path) -> float:
    """The time of the same process without a lab, in milliseconds."""
    words = ["stand_in", f"--devices={DEVICES['a'][0]}", f"--benchmark_file={suite}", "--info={}"]
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-S", STAND_IN, *words],
        env=lab.environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return (time.monotonic() - began) * 1000


def main() -> None:
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
