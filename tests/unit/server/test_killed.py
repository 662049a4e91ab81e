"""Servers and writers that are killed at random: nothing that was acknowledged is lost, nothing is stored twice."""

import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests
from sqlalchemy import func, select

from benchmarking.server import tables
from benchmarking.server.running import listen
from benchmarking.server.store import open_store
from tests.support.made_up_results import History
from tests.unit.server.test_app import document

ROOT = Path(__file__).parents[3]
WRITERS = 8
ROUNDS = 3
WRITER = """
import sys, time, urllib.request
address, *files = sys.argv[1:]
for file in files:
    body = open(file, "rb").read()
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(address, body), timeout=20).read()
            break
        except OSError:
            time.sleep(0.05)
    print(file, flush=True)
"""


class Server:
    """A process that is killed and started again on the same port."""

    def __init__(self, url, log):
        with listen("127.0.0.1", 0) as free:
            self.port = free.getsockname()[1]
        self.command = [
            *(sys.executable, "-m", "benchmarking", "serve", "--no_import"),
            *("--port", str(self.port), "--database", url),
        ]
        self.log = log
        self.start()

    def start(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(self.command, env=environment, stderr=self.log)
        for _ in range(600):
            try:
                return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=20).raise_for_status()
            except requests.RequestException:
                time.sleep(0.1)
        raise AssertionError("it does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_nothing_is_lost_or_doubled(database_url, tmp_path):
    generator = random.Random(1)
    results = list(
        History(nets=2, backends=("default",), devices=2, commits=12, operators=2, samples=5, failed=0)
    )
    files = []
    for number, one in enumerate(results):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_bytes(document(one))
    acknowledged = []

    def read(writer):
        acknowledged.extend(line.strip() for line in writer.stdout)

    with (tmp_path / "log").open("wb") as log:
        server = Server(database_url, log)
        address = f"http://127.0.0.1:{server.port}/api/v1/results"
        try:
            for round_number in range(ROUNDS):
                writers = []
                for number in range(WRITERS):
                    # Neighbours send the same results: whoever is second is told that they are known.
                    own = files[number // 2 :: WRITERS // 2]
                    command = [sys.executable, "-S", "-c", WRITER, address, *map(str, own)]
                    writers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                readers = [threading.Thread(target=read, args=(one,)) for one in writers]
                for one in readers:
                    one.start()
                if round_number < ROUNDS - 1:
                    time.sleep(generator.uniform(0.5, 1.5))
                    for one in generator.sample(writers, WRITERS // 2):
                        one.kill()
                    server.kill()
                    server.start()
                    time.sleep(generator.uniform(0.1, 0.5))
                    for one in writers:
                        one.kill()
                for one in writers:
                    one.wait(120)
                for one in readers:
                    one.join()
        finally:
            server.kill()
    assert set(acknowledged) == {str(one) for one in files}
    store = open_store(database_url)
    with store.reading() as connection:
        uids = connection.scalars(select(tables.results.c.uid)).all()
        counted = connection.scalar(select(func.sum(tables.series.c.points)))
        measured = connection.scalar(select(func.sum(tables.commit_summaries.c.measured)))
        points = connection.scalar(select(func.count()).select_from(tables.points))
    store.close()
    assert sorted(uids) == sorted(one.provenance.uid for one in results)
    assert (counted, measured, points) == (len(results),) * 3
    assert not re.search(rb"Traceback|a bug of", (tmp_path / "log").read_bytes())
