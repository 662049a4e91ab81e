"""What an agent runs at once, and what not."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarking.dispatch.agent import Agent, _is_elsewhere
from benchmarking.dispatch.database import Database
from benchmarking.dispatch.job_run import Host, JobOutcome, JobRun
from benchmarking.dispatch.request import PROTOCOL, FilesJob
from benchmarking.programs.process import Tether

REQUEST = FilesJob(protocol=PROTOCOL, submission="s", person="p", platform="host", files={})


class Counted(JobRun):
    """Tells how many run at once."""

    both = threading.Barrier(2)
    running = 0
    most = 0

    def run(self):
        Counted.running += 1
        Counted.most = max(Counted.most, Counted.running)
        if not self.host.builds:
            self.both.wait(60)
        Counted.running -= 1

    def _perform(self):
        return JobOutcome(None)


def most_at_once(tmp_path, builds, alone):
    async def two():
        host = Host("desk", "1", tmp_path, Tether(0, "", ""), builds=builds)
        agent = Agent(Database("postgresql://nowhere/lab"), host, list)
        lock = asyncio.Lock() if alone else None
        contexts = [SimpleNamespace(job=SimpleNamespace(id=number, attempts=0)) for number in range(2)]
        await asyncio.gather(*(agent._perform(one, REQUEST, Counted, lock) for one in contexts))

    Counted.most = 0
    asyncio.run(two())
    return Counted.most


def test_a_host_that_builds_does_one_thing_at_a_time(tmp_path: Path):
    assert most_at_once(tmp_path, ("host",), alone=True) == 1
    assert most_at_once(tmp_path, (), alone=True) == 2


@pytest.mark.parametrize(
    ("platform", "elsewhere"),
    [("android", True), ("linux", True), ("host", False), ("gpu/cuda12", False), ("nonesuch", False)],
)
def test_what_is_measured_on_this_machine(platform, elsewhere):
    assert _is_elsewhere(platform) == elsewhere
