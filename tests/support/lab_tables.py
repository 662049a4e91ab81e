"""The tables of a lab without agents: their rows are written by the test."""

import json

from benchmarking.dispatch.ledger import Ledger, packed
from benchmarking.dispatch.request import MEASURE, PROTOCOL, RESERVE, MeasureJob, ReserveJob
from benchmarking.results import documents
from tests.support.sample_results import DELAY


class LabTables:
    """Two devices of one host and one of another."""

    def __init__(self, database):
        self.database = database
        with database.connected() as connection:
            for host, protocol in (("attic", PROTOCOL), ("cellar", PROTOCOL)):
                connection.execute(
                    "INSERT INTO agent (host, identity, version, protocol, free_bytes)"
                    " VALUES (%s, %s, '1', %s, 5)",
                    [host, host, protocol],
                )
            for platform, name, host, state in (
                ("host", "attic", "attic", "ready"),
                ("android", "Pixel-6", "attic", "in use"),
                ("host", "cellar", "cellar", "bad"),
            ):
                connection.execute(
                    "INSERT INTO device (platform, hash, host, name, state, reason, labels, facts)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                    [platform, f"{name}0", host, name, state, "why" * (state == "bad"), ["fast"], '{"n": 1}'],
                )

    def sql(self, text, *values):
        with self.database.connected() as connection:
            found = connection.execute(text, values)
            return found.fetchall() if found.description else None

    def device(self, name):
        return next(one for one in self.read("devices") if one.name == name)

    def read(self, name, *arguments, **options):
        with self.database.connected() as connection:
            found = getattr(Ledger(connection), name)(*arguments, **options)
            return found if found is None or isinstance(found, bool | tuple) else list(found)

    def submit(self, person, *names, kind=MEASURE, tests=2, title=""):
        self.submissions = getattr(self, "submissions", 0) + 1
        common = {"protocol": PROTOCOL, "submission": f"s{self.submissions}", "person": person}
        requests = []
        for one in map(self.device, names):
            job = (
                ReserveJob(**common, duration_s=60.0)
                if kind == RESERVE
                else MeasureJob(
                    **common, platform=one.platform, device=one.hash, files={}, options={}, info={}, tests=[]
                )
            )
            requests.append((one, job))
        return self.read("submit", self.database, title or f"title of {person}", kind, requests, tests)

    def start(self, job, attempt=1, host="attic"):
        self.sql("UPDATE procrastinate_jobs SET status = 'doing', attempts = %s WHERE id = %s", attempt, job)
        self.sql("INSERT INTO run (job, attempt, host) VALUES (%s, %s, %s)", job, attempt, host)

    def result(self, job, number, test, result=DELAY, attempt=1):
        line = json.dumps(documents.result_json(result)).encode()
        self.sql(
            "INSERT INTO result (job, number, attempt, test, document) VALUES (%s, %s, %s, %s, %s)",
            *(job, number, attempt, test, packed(line)),
        )

    def end(self, job, exit_status=0, problem="", attempt=1, status="succeeded"):
        self.sql(f"UPDATE procrastinate_jobs SET status = '{status}' WHERE id = %s", job)
        self.sql(
            "UPDATE run SET ended = now(), exit_status = %s, problem = %s WHERE (job, attempt) = (%s, %s)",
            *(exit_status, problem, job, attempt),
        )
