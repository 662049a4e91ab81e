"""The lab's ledger, files, pages and deliveries on a real PostgreSQL, without agents: rows are theirs."""

import hashlib
import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event

import pytest
from fastapi.testclient import TestClient

from benchmarking.dispatch import blobs, following, ledger
from benchmarking.dispatch.database import Database, LabError, Link, QuotaError
from benchmarking.dispatch.following import Following, worst_status
from benchmarking.dispatch.ledger import LabJob, Ledger, packed, unpacked
from benchmarking.dispatch.request import BUILD, MEASURE, PROTOCOL, RESERVE
from benchmarking.errors import ExitStatus, RunCancelledError, UsageError
from benchmarking.programs.process import Cancellation
from benchmarking.results import documents
from benchmarking.server.app import make_app
from benchmarking.server.lab import delivery
from benchmarking.server.store import open_store, sqlite_url
from tests.support import golden
from tests.support.sample_results import DELAY, ERROR, having

# --- devices and jobs ---------------------------------------------------------------------------------------


def test_the_devices_with_who_uses_them(lab):
    assert [(one.key, one.state, one.waiting, one.running) for one in lab.read("devices")] == [
        ("android:Pixel-60", "in use", 0, ""),
        ("host:attic0", "ready", 0, ""),
        ("host:cellar0", "bad", 0, ""),
    ]
    first, second, _ = lab.submit("ann", "attic"), lab.submit("bob", "attic"), lab.submit("bob", "Pixel-6")
    lab.start(*first)
    attic = lab.device("attic")
    assert (attic.waiting, attic.running) == (1, f"job {first[0]} of ann")
    assert (attic.labels, attic.facts, attic.reason) == (["fast"], {"n": 1}, "")
    assert lab.device("cellar").reason == "why"
    assert second != first


@pytest.mark.parametrize(("silent_s", "state"), [(80, "ready"), (95, "away")])
def test_an_agent_that_says_nothing_is_away_with_its_devices(lab, silent_s, state):
    lab.sql("UPDATE agent SET seen = now() - make_interval(secs => %s) WHERE host = 'attic'", silent_s)
    lab.sql("UPDATE device SET seen = now() - make_interval(secs => %s) WHERE host = 'attic'", silent_s)
    assert lab.device("attic").state == state
    assert lab.device("cellar").state == "bad"


def test_a_device_that_its_agent_sees_no_more_is_away(lab):
    lab.sql("UPDATE device SET seen = now() - interval '6 minutes' WHERE name = 'attic'")
    assert lab.device("attic").state == "away"


def test_a_submission_is_a_job_on_each_device_and_turns_are_fair(lab):
    one, other = lab.submit("ann", "cellar", "attic")
    again = lab.submit("ann", "attic")
    late = lab.submit("bob", "attic")
    rounds = dict(lab.sql("SELECT id, round FROM job"))
    assert [rounds[job] for job in (one, other, *again, *late)] == [0, 0, 1, 0]
    priorities = dict(lab.sql("SELECT id, priority FROM procrastinate_jobs"))
    assert {job: -priority for job, priority in priorities.items()} == rounds
    jobs = lab.read("jobs")
    assert [job.id for job in jobs] == sorted(rounds, reverse=True)
    found = jobs[-1]
    assert (found.id, found.device_name, found.platform, found.device) == (one, "attic", "host", "attic0")
    assert (found.title, found.person, found.kind, found.tests) == ("title of ann", "ann", MEASURE, 2)
    assert [job.id for job in lab.read("jobs", limit=2)] == [*late, *again]
    assert [job.id for job in lab.read("jobs", ids=[one])] == [one]
    assert lab.read("jobs", ids=[]) == []


def test_a_long_title_is_cut(lab):
    for length in (500, 501):
        lab.submit("ann", "attic", title="x" * length)
    assert [one.title for one in lab.read("jobs")] == ["x" * 500] * 2


def test_a_title_is_the_name_of_a_file_and_may_be_no_text(lab):
    lab.submit("ann", "attic", title="caf\udce9\n.json")
    assert lab.read("jobs")[0].title == "caf??.json"


def test_the_second_of_two_who_submit_under_one_name_at_once_has_the_jobs_of_the_first(lab):
    first = lab.submit("ann", "attic", "cellar")
    lab.submissions = 0
    assert lab.submit("ann", "attic", "cellar") == first
    assert len(lab.read("jobs")) == 2
    lab.sql("INSERT INTO submission (id, person, title) VALUES ('s2', 'ann', 'without jobs')")
    with pytest.raises(LabError, match="duplicate key"):
        lab.submit("ann", "attic")
    assert len(lab.read("jobs")) == 2


def test_how_long_a_run_took_and_who_is_asked(lab):
    (job,) = lab.submit("ann", "attic")
    assert lab.read("of_submission", "s1") == [job]
    assert lab.read("of_submission", "other") == []
    lab.start(job)
    (running,) = lab.read("jobs")
    lab.end(job)
    lab.sql("UPDATE run SET ended = started + interval '90 seconds'")
    (done,) = lab.read("jobs")
    assert (running.run_s, done.run_s) == (0.0, 90.0)


def test_the_program_of_a_build(lab):
    (job,) = lab.submit("ann", "attic")
    lab.start(job)
    assert lab.read("program", job) is None
    lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 2, 'attic')", job)
    for attempt, digit in ((1, "a"), (2, "b")):
        file = json.dumps({"sha256": digit * 64, "size_bytes": 1})
        lab.sql("UPDATE run SET program = %s WHERE attempt = %s", file, attempt)
    with lab.database.connected() as connection:
        assert Ledger(connection).program(job).sha256 == "b" * 64
        lab.sql("UPDATE run SET program = '{}' WHERE attempt = 2")
        with pytest.raises(
            blobs.PackedFileError, match=f"^job {job}: the lab has something else than a program$"
        ):
            Ledger(connection).program(job)


def test_the_next_round_comes_after_what_is_done(lab):
    for _ in range(2):
        (job,) = lab.submit("ann", "attic")
        lab.start(job)
        lab.end(job)
    (job,) = lab.submit("bob", "attic")
    assert lab.sql("SELECT round FROM job WHERE id = %s", job) == [(1,)]


def test_the_states_of_a_job(lab):
    job, cancelled, failed = (
        *lab.submit("ann", "attic"),
        *lab.submit("ann", "attic"),
        *lab.submit("ann", "attic"),
    )

    def state(number=job):
        (found,) = lab.read("jobs", ids=[number])
        return found.state, found.is_over, found.attempt, found.host, found.tests_done

    assert state() == ("waiting", False, 0, "", 0)
    (waiting,) = lab.read("jobs", ids=[job])
    assert waiting.since == waiting.created.timestamp()
    lab.start(job)
    for number, test in enumerate(("0", "0", "1")):
        lab.result(job, number, test)
    assert state() == ("running", False, 1, "attic", 2)
    (running,) = lab.read("jobs", ids=[job])
    assert running.since == running.started.timestamp()
    lab.end(job, 5, "slower")
    assert state() == ("done", True, 1, "attic", 2)
    (done,) = lab.read("jobs", ids=[job])
    assert (done.since, done.exit_status, done.problem) == (done.ended.timestamp(), 5, "slower")
    assert lab.read("cancel", cancelled)
    assert not lab.read("cancel", job)
    assert not lab.read("cancel", 999)
    assert state(cancelled) == ("cancelled", True, 0, "", 0)
    lab.start(failed, host="cellar")
    lab.end(failed, status="failed")
    assert state(failed)[:2] == ("failed", True)


def test_the_last_attempt_counts(lab):
    (job,) = lab.submit("ann", "attic")
    lab.start(job, attempt=1)
    lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 2, 'cellar')", job)
    (found,) = lab.read("jobs", ids=[job])
    assert (found.attempt, found.host) == (2, "cellar")


def test_everybody_who_uses_the_lab(lab):
    (job,) = lab.submit("ann", "attic")
    lab.submit("bob", "attic")
    lab.start(job)
    lab.sql("UPDATE run SET started = now() - interval '2 hours'")
    lab.sql("INSERT INTO blob (sha256, person, size_bytes) VALUES ('a', 'cem', 7), ('b', 'cem', 5)")
    people = [
        (one.person, one.waiting, one.running, round(one.hours, 1), one.file_bytes)
        for one in lab.read("people")
    ]
    assert people == [("ann", 0, 1, 2.0, 0), ("bob", 1, 0, 0, 0), ("cem", 0, 0, 0, 12)]


# --- results ------------------------------------------------------------------------------------------------


def test_results_are_read_after_what_is_known(lab):
    (job,) = lab.submit("ann", "attic")
    lab.start(job)
    assert lab.read("newest_result", job) is None
    lab.result(job, 0, "first")
    lab.result(job, 1, "second", ERROR)
    assert [(number, test) for number, test, _ in lab.read("results", job, -1)] == [
        (0, "first"),
        (1, "second"),
    ]
    ((number, _, result),) = lab.read("results", job, 0)
    assert (number, result.test) == (1, ERROR.test)
    assert lab.read("newest_result", job) == (1, 1)
    lab.sql("UPDATE result SET document = 'nonsense' WHERE number = 1")
    with pytest.raises(LabError, match=f"job {job}: the lab has something else than a result: "):
        lab.read("results", job, 0)


def test_a_result_is_as_large_as_it_may_be(monkeypatch):
    line = json.dumps(documents.result_json(DELAY)).encode()
    monkeypatch.setattr(ledger, "LARGEST_RESULT_BYTES", len(line))
    assert unpacked(packed(line)).test == DELAY.test
    with pytest.raises(ValueError, match="it is larger than"):
        unpacked(packed(line + b" "))
    with pytest.raises(ValueError, match="end-of-stream"):
        unpacked(packed(line)[:-9])


def test_the_log_goes_on_where_it_was_read(lab):
    (job,) = lab.submit("ann", "attic")
    for attempt, number, text in ((0, 0, "a"), (1, 0, "b"), (1, 1, "c"), (2, 0, "d")):
        lab.sql("INSERT INTO log VALUES (%s, %s, %s, %s)", job, attempt, number, text)
    assert "".join(text for _, text in lab.read("log", job)) == "abcd"
    shown = []
    seen = Following(lab.database, [job], lambda _: None, lambda one, text: shown.append((one.id, text)))
    with lab.database.connected() as connection:
        for _ in range(2):
            seen.look(Ledger(connection))
    assert shown == [(job, "a"), (job, "b"), (job, "c"), (job, "d")]
    assert lab.read("log", job, (1, 0)) == [((1, 1), "c"), ((2, 0), "d")]


def test_a_submitter_sees_each_result_once_and_the_log(lab, caplog):
    caplog.set_level("INFO")
    (job,) = lab.submit("ann", "attic")
    reported, log = [], []
    with lab.database.connected() as connection:
        seen = Following(
            lab.database, [job], lambda new: reported.append(len(new)), lambda _, text: log.append(text)
        )
        look = Ledger(connection)
        seen.look(look)
        lab.sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", job)
        seen.look(look)  # taken, but no host has begun it
        lab.start(job)
        lab.result(job, 0, "first")
        lab.sql("INSERT INTO log VALUES (%s, 1, 0, 'begun')", job)
        seen.look(look)
        assert (reported, log) == ([], ["begun"])  # the test may have more results
        lab.result(job, 1, "first")
        lab.result(job, 2, "second")
        seen.look(look)
        assert reported == [2]
        lab.end(job, problem="odd")
        seen.look(look)
        seen.look(look)
    assert (reported, len(seen.results), log) == ([2, 1], 3, ["begun"])
    assert [one.getMessage() for one in caplog.records if "attic" in one.getMessage()] == [
        f"job {job} on attic: waiting",
        f"job {job} on attic: running on attic",
        f"job {job} on attic: done: odd",
    ]


def test_states_may_be_logged_for_those_who_look_closely_only(lab, caplog):
    caplog.set_level("DEBUG")
    (job,) = lab.submit("ann", "attic")
    with lab.database.connected() as connection:
        Following(lab.database, [job], lambda _: None, state_level=logging.DEBUG).look(Ledger(connection))
    assert [one.levelname for one in caplog.records if "attic" in one.getMessage()] == ["DEBUG"]


def test_following_ends_with_the_jobs_or_a_cancellation(lab, monkeypatch):
    monkeypatch.setattr(following, "LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(following, "RETRY_S", 0.01)
    (job,) = lab.submit("ann", "attic")
    with Cancellation() as cancellation:
        lab.start(job)
        lab.end(job)
        (found,) = Following(lab.database, [job], lambda _: None).until_over(cancellation)
        assert found.state == "done"
        cancellation.set()
        (other,) = lab.submit("ann", "attic")
        for database in (lab.database, Database("postgresql://nobody@127.0.0.1:1/nothing")):
            with pytest.raises(RunCancelledError):
                Following(database, [other], lambda _: None).until_over(cancellation)


@pytest.mark.parametrize(
    ("jobs", "status"),
    [
        ([("done", 0), ("done", 5)], None),
        ([("done", 1), ("cancelled", None)], ExitStatus.INTERRUPTED),
        ([("done", 0), ("failed", None)], ExitStatus.DEVICE_FAILED),
        ([("done", 3), ("done", 4)], ExitStatus.DEVICE_FAILED),
        ([("done", 5), ("done", 3)], ExitStatus.BENCHMARK_FAILED),
        ([("done", 2), ("done", 4)], ExitStatus.BAD_USAGE),
        ([("done", 1), ("done", 2)], ExitStatus.INTERNAL_ERROR),
        ([("done", 7), ("done", 0)], ExitStatus.BENCHMARK_FAILED),
        ([("done", 7), ("done", 4)], ExitStatus.DEVICE_FAILED),
    ],
)
def test_the_gravest_status_of_several_jobs(jobs, status):
    now = datetime.now(UTC)
    texts = ("s", "title", "ann", MEASURE, "host", "attic0", "attic", "done")
    one = LabJob(1, *texts, now, now, now, "attic", 1, 0, "", 2, 2)
    assert worst_status([replace(one, state=state, exit_status=code) for state, code in jobs]) == status
    assert worst_status([replace(one, kind=RESERVE, state="done", exit_status=None)]) is None
    # A build that did not get far enough to say whether its commit can be built.
    assert worst_status([replace(one, kind=BUILD, exit_status=None)]) is ExitStatus.DEVICE_FAILED


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_is_sent_once_in_parts_and_fetched_once(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "PART_BYTES", 4)
    path = tmp_path / "program"
    path.write_bytes(b"0123456789")
    path.chmod(0o755)
    file = blobs.described(path)
    assert (file.size_bytes, file.executable) == (10, True)
    assert file.sha256 == hashlib.sha256(b"0123456789").hexdigest()
    kept = tmp_path / "kept"
    with lab.database.connected() as connection:
        name = rf"the file {file.sha256[:12]} "
        with pytest.raises(blobs.PackedFileError, match=rf"^the lab does not have {name}any more: submit"):
            blobs.fetch(connection, file, kept)
        assert blobs.send(connection, path, file, "ann")
        assert not blobs.send(connection, path, file, "bob")
        assert lab.sql("SELECT number, length(content) FROM blob_part ORDER BY 1") == [(0, 4), (1, 4), (2, 2)]
        found = blobs.fetch(connection, file, kept)
        assert (found.read_bytes(), found.stat().st_mode & 0o777) == (b"0123456789", 0o400)
        lab.sql("DELETE FROM blob_part WHERE number = 1")
        assert blobs.fetch(connection, file, kept) == found
        found.unlink()
        with pytest.raises(blobs.PackedFileError, match=rf"^{name}is damaged in the lab, and was"):
            blobs.fetch(connection, file, kept)
        assert lab.sql("SELECT 1 FROM blob") == []
    assert [one for one in kept.rglob("*") if one.is_file()] == []


def test_a_file_that_is_there_needs_no_further_room(lab, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = blobs.described(path)
    lab.sql("UPDATE setting SET value = 10 WHERE name = 'blob_quota_bytes'")
    with lab.database.connected() as connection:
        assert blobs.send(connection, path, file, "ann")
        lab.sql("UPDATE blob SET used = now() - interval '1 day'")
        assert not blobs.send(connection, path, file, "ann")
        assert lab.sql("SELECT used > now() - interval '1 hour' FROM blob") == [(True,)]
        path.write_bytes(b"0")
        with (
            pytest.raises(QuotaError, match="quota: ann may keep no more files"),
            Link(lab.database).used() as one,
        ):
            blobs.send(one, path, blobs.described(path), "ann")


def test_who_may_not_remove_a_damaged_file_learns_who_can(lab, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = blobs.described(path)
    with lab.database.connected() as connection:
        blobs.send(connection, path, file, "ann")
        lab.sql("UPDATE blob_part SET content = 'damaged'")
        with connection.transaction(force_rollback=True):
            connection.execute("CREATE ROLE reader NOLOGIN")
            connection.execute("GRANT USAGE ON SCHEMA lab TO reader")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA lab TO reader")
            connection.execute("SET ROLE reader")
            with pytest.raises(blobs.PackedFileError) as caught, connection.transaction():
                blobs.fetch(connection, file, tmp_path / "kept")
    assert str(caught.value) == (
        f"the file {file.sha256} is damaged in the lab, and this account may not remove it: ask the owner of "
        "the lab's tables to remove its row of lab.blob"
    )


@pytest.mark.parametrize("size", [0, 9, 11])
def test_a_job_with_a_wrong_size_costs_nobody_else_the_file(lab, tmp_path, monkeypatch, size):
    monkeypatch.setattr(blobs, "PART_BYTES", 4)
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = blobs.described(path)
    with lab.database.connected() as connection:
        blobs.send(connection, path, file, "ann")
        with pytest.raises(blobs.PackedFileError, match=r"has another size than the job says: submit again$"):
            blobs.fetch(connection, file.model_copy(update={"size_bytes": size}), tmp_path)
        assert blobs.fetch(connection, file, tmp_path / "kept").read_bytes() == b"0123456789"


def test_an_interrupted_transfer_is_continued(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "PART_BYTES", 4)
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = blobs.described(path)
    with lab.database.connected() as connection:
        blobs.send(connection, path, file, "ann")
        lab.sql("UPDATE blob SET complete = false")
        lab.sql("DELETE FROM blob_part WHERE number = 2")
        assert blobs.send(connection, path, file, "ann")
        assert blobs.fetch(connection, file, tmp_path / "kept").read_bytes() == b"0123456789"
        lab.sql("UPDATE blob SET complete = false")
        for content in (b"another text", b"0123456788", b"0123456780", b"0123456781"):
            path.write_bytes(content)
            with pytest.raises(blobs.PackedFileError, match="changed while it was sent: submit again"):
                blobs.send(connection, path, file, "ann")
        digests = {
            hashlib.sha256(content).hexdigest() > file.sha256 for content in (b"0123456780", b"0123456788")
        }
        assert len(digests) == 2


def test_files_that_nobody_needs_are_removed(lab, tmp_path):
    names = {}
    with lab.database.connected() as connection:
        for name in ("old", "needed", "new"):
            (tmp_path / name).write_text(name)
            names[name] = blobs.described(tmp_path / name)
            blobs.send(connection, tmp_path / name, names[name], "ann")
        (job,) = lab.submit("ann", "attic")
        lab.sql(
            "UPDATE procrastinate_jobs SET args = jsonb_set(args, '{job,files}', %s::jsonb) WHERE id = %s",
            *(json.dumps({"a": names["needed"].model_dump()}), job),
        )
        lab.sql("UPDATE blob SET used = now() - interval '8 days' WHERE sha256 <> %s", names["new"].sha256)
        assert blobs.remove_unused(connection, 9) == 0
        assert blobs.remove_unused(connection, 7) == 1
    left = {sha for (sha,) in lab.sql("SELECT sha256 FROM blob")}
    assert left == {names["needed"].sha256, names["new"].sha256}


# --- the server ---------------------------------------------------------------------------------------------


def test_what_ended_is_delivered_once(lab, tmp_path, caplog):
    first, second, third = (
        *lab.submit("ann", "attic"),
        *lab.submit("bob", "cellar"),
        *lab.submit("cem", "Pixel-6"),
    )
    for place, job in enumerate((first, second, third)):
        lab.start(job)
        lab.result(job, 0, "0", having(DELAY, uid=f"u{place}"))
    lab.end(first)
    lab.end(second)
    lab.sql("UPDATE result SET document = 'nonsense' WHERE job = %s", second)
    store = open_store(sqlite_url(tmp_path / "results.db"))
    assert [row[:1] + row[2:] for row in lab.read("undelivered")] == [(first, "ann"), (second, "bob")]
    assert delivery.deliver(store, lab.database) == 1
    assert f"job {second} of the lab: job {second}: the lab has something else than a result" in caplog.text
    assert delivery.deliver(store, lab.database) == 0
    assert store.result("u0").test == DELAY.test
    lab.end(third)
    ending = Event()
    delivery.keep_delivering(store, lab.database, ending.set, delivery.Delivery(), ending)
    assert store.result("u2") is not None
    store.close()


@pytest.fixture
def pages(lab, tmp_path):
    store = open_store(sqlite_url(tmp_path / "results.db"))
    yield TestClient(make_app(store, lab=lab.database), base_url="http://localhost")
    store.close()


ADDRESSES = ("lab", "lab/job/1", "lab/job/2", "lab/devices.json", "lab/jobs.json", "lab/jobs.csv")


def test_the_pages_of_the_lab(lab, pages):
    first, second = (*lab.submit("ann", "attic"), *lab.submit("bob", "Pixel-6", tests=1))
    lab.submit("bob", "attic", kind=RESERVE, tests=0)
    lab.start(first)
    lab.result(first, 0, "0")
    lab.result(first, 1, "1", ERROR)
    lab.sql("INSERT INTO log VALUES (%s, 1, 0, 'begun\\n'), (%s, 1, 1, 'ended <b>')", first, first)
    lab.end(first)
    lab.start(second)
    lab.end(second, None, "the device is gone", status="failed")
    texts = []
    for address in ADDRESSES:
        answer = pages.get(f"/{address}", headers={"Accept": "text/html"})
        text = re.sub(r"\?v=[0-9a-f]{12}", "?v=DIGEST", answer.text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+\d\d:\d\d|Z)?", "TIME", text)
        text = re.sub(r'(name="token" value=")[^"]*', r"\1TOKEN", text)
        lines = [line.strip() for line in text.splitlines()]
        texts += [
            f"--- {address} {answer.status_code} {answer.headers['content-type']}",
            *filter(None, lines),
        ]
    golden.check("\n".join(texts) + "\n", "server/lab.txt")


def test_the_reference_lists_the_tables_of_the_lab_and_not_its_pages(pages):
    paths = {one for one in pages.app.openapi()["paths"] if one.startswith("/lab")}
    assert paths == {"/lab/devices.json", "/lab/jobs.json", "/lab/jobs.csv"}


def test_results_of_a_job_lead_to_the_project_that_takes_them(lab, pages):
    (job,) = lab.submit("ann", "attic")
    lab.start(job)
    lab.result(job, 0, "0")
    assert "/run/" not in pages.get(f"/lab/job/{job}").text  # they are taken once it is over
    lab.end(job)
    of_default, of_other = (pages.get(f"{root}/lab/job/{job}").text for root in ("", "/p/other"))
    assert (
        re.findall('href="([^"]*/run/[^"]*)"', of_other)
        == re.findall('href="(/run/[^"]*)"', of_default)
        != []
    )


def test_the_end_of_a_long_log_is_shown_and_a_job_that_is_not_there_is_not(lab, pages, monkeypatch):
    from benchmarking.server.lab import routes

    monkeypatch.setattr(routes, "LONGEST_LOG", 3)
    (job,) = lab.submit("ann", "attic")
    lab.sql("INSERT INTO log VALUES (%s, 1, 0, 'qwertzuiop')", job)
    text = pages.get(f"/lab/job/{job}").text
    assert "iop" in text
    assert "uiop" not in text
    assert [pages.get(f"/lab/job/{one}").status_code for one in (job + 1, 2**53, 2**63, -(2**63) - 1)] == [
        404
    ] * 4


def test_a_device_is_reserved_and_released_in_the_browser(lab, pages):
    text = pages.get("/lab").text
    token = re.search(r'name="token" value="([^"]+)"', text)[1]
    form = {"device": "host:attic0", "hours": "1.5", "token": token}
    answer = pages.post("/lab/reserve", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/lab/job/1")
    # A reservation has no tests.
    assert "0 of 0" not in pages.get("/lab").text + pages.get("/lab/job/1").text
    ((arguments,),) = lab.sql("SELECT args FROM procrastinate_jobs")
    assert (arguments["job"]["duration_s"], arguments["job"]["protocol"]) == (5400, PROTOCOL)
    (job,) = lab.read("jobs")
    assert (job.title, job.kind, job.device_name, job.tests) == ("reserved for 1.5 h", RESERVE, "attic", 0)
    answer = pages.post("/lab/job/1/cancel", data={"token": token}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/lab/job/1")
    assert lab.read("jobs")[0].state == "cancelled"
    for status, changes in (
        (404, {"device": "host:nonesuch"}),
        (403, {"token": "x" * 200}),
        (422, {"token": "x" * 201}),
        (422, {"device": "x" * 201}),
        (422, {"hours": "0"}),
        (422, {"hours": "721"}),
    ):
        assert pages.post("/lab/reserve", data=form | changes).status_code == status
    assert pages.post("/lab/job/9/cancel", data={"token": token}).status_code == 404
    assert len(lab.read("jobs")) == 1


# --- the database -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://ann:s3cret@db.example/lab", "db.example/lab"),
        ("postgres://db/lab", "db/lab"),
        ("postgresql+psycopg:///lab", "this machine/lab"),
    ],
)
def test_a_database_has_a_name_without_secrets(url, name):
    assert Database(url).name == name


@pytest.mark.parametrize("password", ["s%cret", "s3/cret", "s3cret%", "x@["])
def test_a_password_that_makes_no_url_is_not_shown(password):
    with pytest.raises(UsageError) as caught:
        Database(f"postgresql://ann:{password}@db.example/lab")
    assert str(caught.value) == (
        "the URL of the lab's database cannot be read: in a password, % is %25, / is %2F, @ is %40"
    )
    Database("postgresql://ann:s%25%2Fcret@db.example/lab")


def test_what_is_no_url_of_postgresql_is_refused():
    with pytest.raises(UsageError, match="has a URL as in postgresql://"):
        Database("sqlite:///lab.db")


def test_a_database_without_tables_or_of_another_version_is_one_line(server, lab):
    postgres, _ = server
    empty = Database(postgres.database())
    with pytest.raises(
        LabError, match=r'relation "setting" does not exist; mlbench lab init makes the tables'
    ):
        empty.check()
    lab.database.check()
    lab.sql("UPDATE setting SET value = 99 WHERE name = 'protocol'")
    with pytest.raises(LabError, match="has the version 99, and this program has 1: update the older"):
        lab.database.check()
    lab.sql("DELETE FROM setting WHERE name = 'protocol'")
    with pytest.raises(LabError, match="has the version none"):
        lab.database.check()


def test_so_many_jobs_of_a_person_may_wait(lab):
    lab.sql("UPDATE setting SET value = 2 WHERE name = 'job_quota'")
    first, _ = (lab.submit("ann", "attic")[0] for _ in range(2))
    lab.submit("bob", "attic")
    with pytest.raises(QuotaError, match="too many of your jobs are waiting"):
        lab.submit("ann", "attic")
    lab.start(first)
    lab.submit("ann", "attic")


def test_quotas_are_set_again(lab):
    lab.database.initialize(blob_quota_bytes=7, job_quota=3)
    assert dict(lab.sql("SELECT name, value FROM setting")) == {
        "protocol": PROTOCOL,
        "blob_quota_bytes": 7,
        "job_quota": 3,
    }
