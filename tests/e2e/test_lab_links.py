"""An agent in a network of its own, whose link to the lab is slow, loses packets, and is cut at every stage."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_lab_faults import (
    JOBS,
    RESULTS,
    RUNS,
    TEST_S,
    TESTS,
    WAITING,
    WORKERS,
    announce,
    assert_whole,
    locked,
)
from tests.support.postgresql import PostgreSQL, why_not
from tests.support.small_lab import small_lab

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LOST_AFTER_S = 3.0
CUT_S = LOST_AFTER_S
"""Twice the time after which a silent link is taken for broken."""
DELAY_MS, LOSS = 10, 0.01
SERVER, HOST = "10.79.0.1", "10.79.0.2"
WIRE = Path(__file__).parents[1] / "device_lab/wire.py"


class Link:
    def __init__(self, wire, prefix):
        self.wire, self.prefix = wire, prefix

    @contextmanager
    def cut(self):
        """Packets get lost, and nobody is told."""
        self.wire.send_signal(signal.SIGSTOP)
        yield
        time.sleep(CUT_S)
        self.wire.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def namespaces():
    """Of the server and of the host."""
    names = [f"mlbench-{os.getpid()}-{name}" for name in ("server", "host")]
    if os.geteuid() or not Path("/dev/net/tun").exists():
        pytest.skip("network namespaces need root")
    for name in names:
        if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
            pytest.skip("there can be no network namespaces here")
    for name in names:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield names
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture(scope="module")
def link(namespaces):
    server, host = namespaces
    command = [sys.executable, WIRE, server, SERVER, host, HOST, str(DELAY_MS), str(LOSS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as wire:
        wire.stdout.readline()
        yield Link(wire, ("ip", "netns", "exec", host))
        wire.kill()


@pytest.fixture(scope="module")
def server(namespaces):
    with PostgreSQL(namespaces[0]) as one:
        yield one


@pytest.fixture
def lab(server, tmp_path):
    """This process and a second host reach the server without the link."""
    with small_lab(server.database(), tmp_path, LOST_AFTER_S) as one:
        announce(one, "desk", "phone")
        yield one


def start(lab, server, link):
    name = urlsplit(lab.url).path.strip("/")
    over_the_link = f"postgresql://{server.user}@{SERVER}:{server.port}/{name}"
    lab.start("desk", "phone", prefix=link.prefix, SMALL_LAB_URL=over_the_link)


@pytest.mark.parametrize("stage", ["queue", "staging", "run", "report"])
def test_a_link_that_is_cut_loses_nothing(lab, server, link, stage):
    start(lab, server, link)
    lab.until(WORKERS, 1)
    suite = lab.suite(TEST_S, TESTS, padding=2**20)
    if stage == "queue":
        with link.cut():
            lab.submit(suite, ["phone"])
    elif stage == "staging":
        lab.submit(suite, ["phone"])
        lab.until(RUNS, 1)
        with link.cut():
            pass
    elif stage == "run":
        lab.submit(suite, ["phone"])
        lab.until(RESULTS, 1)
        with link.cut():
            pass
    else:
        lab.submit(suite, ["phone"])
        lab.until(RUNS, 1)
        with locked(lab, "result"):
            lab.until(WAITING, 1)
            with link.cut():
                pass
    assert_whole(lab)
    assert lab.agents["desk"].poll() is None


def test_a_host_whose_link_is_cut_loses_its_job_to_another(lab, server, link):
    announce(lab, "other", "phone")
    lab.submit(lab.suite(TEST_S, TESTS), ["phone"])
    lab.until(JOBS, 1)
    start(lab, server, link)
    lab.until(RESULTS, 1)
    with link.cut():
        lab.start("other", "phone")
        lab.until("SELECT count(*) FROM run WHERE host = 'other'", 1)
    assert assert_whole(lab).attempt == 1
    lab.until("SELECT count(*) FROM agent WHERE host = 'desk' AND seen > now() - interval '3 seconds'", 1)
