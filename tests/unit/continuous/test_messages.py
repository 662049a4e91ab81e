"""What the loop says, to people and to programs."""

import json
import logging
import math
import os
import threading
from dataclasses import asdict, replace

import pytest

from benchmarking.continuous import messages, notification
from benchmarking.continuous.activities import Activities, age, read
from benchmarking.continuous.notification import Notifier
from benchmarking.continuous.overview import now_lines, overview_lines
from benchmarking.continuous.state import Culprit, Overview, Pending, Position, Run, RunStatus, Suspect
from benchmarking.errors import CaseError, RunCancelledError, StorageError
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import TestKey
from tests.support import golden

NASTY = "\x1b]0;owned\x07\x1b[31mred \u202eevil\r\nforged line"
COMMIT = Revision("1" * 40, 1772442000, f"Ann {NASTY} <ann@example.org>", f"subject {NASTY}")
KEY = TestKey("net", "delay", "first", "caffe2", None, "hash")


def run(status):
    return Run("host", COMMIT, status, "why")


def test_names_that_others_chose_are_harmless():
    culprit = Culprit("host", "2" * 40, Suspect(KEY, "label", f"Conv {NASTY}", 2.0), "3" * 40, COMMIT)
    lines = [*messages.culprit_lines([culprit]), messages.run_line(run(RunStatus.MEASURED), 1)]
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_every_status_has_its_word():
    assert set(messages.WORDS) == set(RunStatus)


ANN = Revision("a1" * 20, 1772442000, "Ann <ann@example.org>", "faster pooling")
TWICE, DOUBLE = (Suspect(KEY, "label", name, 2.0) for name in ("NET_DELAY", "ID_0_Conv"))
OTHERS = [Suspect(KEY, "label", name, ratio) for name, ratio in (("a", 3.5), ("b", None), ("c", math.inf))]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            Run("host", ANN, RunStatus.MEASURED, "of no interest", build_s=0.0, run_s=3.4),
            "a1a1a1a1a1a1  host  built  before  measured  3.40 s  ok              7 left  faster pooling",
        ),
        (
            Run(
                "gpu", ANN, RunStatus.FAILED, "headline\ndelay-0: lost\ndelay-1: lost", build_s=61, run_s=0.25
            ),
            (
                "a1a1a1a1a1a1  gpu  built  61.0 s  measured  250 ms  FAILED          7 left  faster pooling\n"
                "    delay-0: lost\n"
                "    delay-1: lost"
            ),
        ),
        (
            Run("host", ANN, RunStatus.BUILD_FAILED, "exit status 1\nno such header", build_s=1.25),
            (
                "a1a1a1a1a1a1  host  built  1.25 s      not measured  BUILD FAILED    7 left  faster pooling\n"
                "    exit status 1\n"
                "    no such header"
            ),
        ),
        (
            Run("host", ANN, RunStatus.REGRESSED, "1 test", run_s=12, suspects=(TWICE, *OTHERS)),
            (
                "a1a1a1a1a1a1  host  built  before  measured  12.0 s  REGRESSED       7 left  faster pooling\n"
                "    c +infinite, a +250.0 %, NET_DELAY +100.0 %, 1 more"
            ),
        ),
        (
            Run("host", replace(ANN, subject=""), RunStatus.SKIPPED),
            "a1a1a1a1a1a1  host  built  before      not measured  skipped         7 left  (no subject)",
        ),
        (
            Run("host", replace(ANN, subject="x" * 61), RunStatus.KNOWN),
            f"a1a1a1a1a1a1  host  built  before      not measured  known           7 left  {'x' * 59}…",
        ),
    ],
)
def test_the_line_of_a_run(run, expected):
    assert messages.run_line(run, 7) == expected


def test_the_lines_of_a_regression():
    found = [
        Culprit("host", ANN.commit, TWICE, "b2" * 20, ANN, "a note"),
        Culprit("host", "c3" * 20, DOUBLE, "b2" * 20, ANN, "a note"),
        Culprit("gpu", ANN.commit, OTHERS[1], None, ANN),
    ]
    assert list(messages.culprit_lines(found)) == [
        "a1a1a1a1a1a1 made host slower: faster pooling (Ann <ann@example.org>, 2026-03-02 09:00)",
        "    NET_DELAY +100.0 %, ID_0_Conv +100.0 % compared with b2b2b2b2b2b2",
        "    a note",
        "a1a1a1a1a1a1 made gpu slower: faster pooling (Ann <ann@example.org>, 2026-03-02 09:00)",
        "    b",
    ]
    assert list(messages.culprit_lines(found[1:2]))[-1] == "    found by bisection from c3c3c3c3c3c3"


def test_the_whole_status():
    """With more commits to come than are shown, and a regression of which the origin is not known yet."""
    regressed = Run("gpu", ANN, RunStatus.REGRESSED, build_s=1.5, run_s=61, finished_at=1772445600.0)
    explained = replace(regressed, platform="host")
    failed = Run(
        "host", replace(COMMIT, subject="broken"), RunStatus.FAILED, "lost", finished_at=1772449200.0
    )
    commits = [replace(ANN, commit=f"{number:040d}", commit_time=1772442000 + number) for number in range(12)]
    pending = [Pending("board", commits[0], "the board is away\nsince noon")]
    pending += [Pending("host", one) for one in commits[1:]]
    overview = Overview(
        "nets.json",
        {"main": Position("d4" * 20, is_done=True), "next": Position("e5" * 20, is_done=False)},
        {("host", RunStatus.MEASURED): 7, ("host", RunStatus.FAILED): 1, ("gpu", RunStatus.REGRESSED): 2},
        recent=[failed, regressed],
        failed=[failed],
        regressed=[regressed, explained],
        culprits=[Culprit("host", ANN.commit, TWICE, "b2" * 20, ANN)],
        pending=pending,
    )
    golden.check("\n".join(overview_lines(overview)), "continuous/status.txt")
    assert not any("and " in one for one in overview_lines(replace(overview, pending=pending[:10])))
    nothing = Overview("nets.json", {}, {}, (), (), (), (), ())
    assert list(overview_lines(nothing)) == ["nets.json", "", ""]


def test_the_lines_of_what_is_passed_over_and_put_off():
    assert messages.skipped([ANN]) == "a1a1a1a1a1a1 is skipped"
    assert messages.skipped([ANN, COMMIT, COMMIT]) == "3 commits are skipped: a1a1a1a1a1a1 to 111111111111"
    assert messages.behind_step([ANN], 3).startswith("1 commit is newer than the last step of 3")
    assert messages.behind_step([ANN, ANN], 3).startswith("2 commits are newer than the last step of 3")
    error = CaseError("the device is gone\nfor good", "adb: no device")
    assert messages.put_off("host", error, ANN, 30.0) == (
        "host: a1a1a1a1a1a1: the device is gone; trying again in 30 s\n    for good\n    adb: no device"
    )
    assert messages.put_off("everything", StorageError(""), None, math.inf) == "everything: "


# --- events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, RunStatus.MEASURED, []),
        (None, RunStatus.FAILED, ["test_failure"]),
        (RunStatus.MEASURED, RunStatus.BUILD_FAILED, ["build_failure"]),
        (RunStatus.REGRESSED, RunStatus.FAILED, ["test_failure"]),
        (RunStatus.FAILED, RunStatus.FAILED, []),
        (RunStatus.BUILD_FAILED, RunStatus.BUILD_FAILED, []),
        (RunStatus.BUILD_FAILED, RunStatus.INCONCLUSIVE, ["works_again build"]),
        (RunStatus.BUILD_FAILED, RunStatus.FAILED, ["works_again build", "test_failure"]),
        (RunStatus.FAILED, RunStatus.REGRESSED, ["works_again test"]),
    ],
)
def test_what_begins_to_fail_and_what_works_again_is_an_event(before, now, expected):
    events = list(messages.change_events(run(before) if before else None, run(now)))
    assert [f"{one['event']} {one.get('what', '')}".strip() for one in events] == expected
    assert all(one["commit"]["commit"] == COMMIT.commit and one["platform"] == "host" for one in events)
    json.dumps(events)


def test_a_regression_names_its_tests_by_their_whole_identity():
    culprit = Culprit("host", COMMIT.commit, Suspect(KEY, "a label", "NET_DELAY", 2.0), None, COMMIT)
    event = messages.regression_event(run(RunStatus.REGRESSED), [culprit])
    (test,) = event["culprits"][0]["types"]
    assert test == {"test": "a label", **asdict(KEY), "type": "NET_DELAY", "ratio": 2.0}


# --- activities ---------------------------------------------------------------------------------------------


class Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.found = []
        self.came = threading.Event()

    def emit(self, record):
        self.found.append(record.getMessage())
        self.came.set()


@pytest.fixture
def told():
    handler = Messages()
    logger = logging.getLogger("benchmarking.continuous.activities")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_long_activities_are_logged_with_their_age(tmp_path, told):
    with Activities(tmp_path / "now.json", reported_every_s=0.02) as doing:
        with doing.during("building", COMMIT, "host"):
            assert told.came.wait(30)
        assert read(tmp_path / "now.json") == []
    assert told.found[0] == "building 111111111111 for host: 0 s so far"
    assert not (tmp_path / "now.json").exists()


def test_the_status_shows_what_goes_on(tmp_path):
    path = tmp_path / "now.json"
    with Activities(path) as doing, doing.during("measuring", COMMIT, "host"):
        with doing.during("building", COMMIT, "gpu"):
            found = read(path)
            assert [(one.what, one.platform) for one in found] == [("measuring", "host"), ("building", "gpu")]
            assert next(now_lines(found)).startswith("now measuring 111111111111 for host: ")
        assert [one.what for one in read(path)] == ["measuring"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"pid": "x", "activities": []}',
        '{"pid": PID, "activities": [1]}',
        '{"pid": PID, "activities": [["building", "1", "host", "soon"]]}',
        '{"pid": PID, "activities": [["building", "1", "host", 1000]]}',  # before this process began
        '{"pid": 999999999, "activities": [["building", "1", "host", 9999999999]]}',
        '{"pid": 1e300, "activities": [["building", "1", "host", 9999999999]]}',
    ],
)
def test_what_a_killed_loop_has_left_is_not_shown(tmp_path, content):
    path = tmp_path / "now.json"
    path.write_text(content.replace("PID", str(os.getpid())))
    assert read(path) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3900, "1 h 5 min")]
)
def test_an_age(seconds, text):
    assert age(seconds) == text


# --- the user's own command ---------------------------------------------------------------------------------


@pytest.fixture
def notify():
    with Cancellation() as cancellation:
        yield lambda *argv: Notifier(argv, cancellation).notify({"event": "works_again", "what": "ünï"})


def test_the_command_gets_the_event_as_one_line_of_json(notify, tmp_path, caplog):
    notify("sh", "-c", 'cat > "$0"', str(tmp_path / "event"))
    (line,) = (tmp_path / "event").read_text().splitlines()
    assert json.loads(line) == {"event": "works_again", "what": "ünï"}
    notify()
    assert caplog.text == ""


def test_a_command_that_fails_is_logged_and_stops_nothing(notify, monkeypatch, caplog):
    notify("sh", "-c", "echo no mail today; exit 3")
    assert "--notify: sh ended with exit status 3\n--- end of stdout ---\nno mail today" in caplog.text
    caplog.clear()
    notify("/nonesuch/mail")
    assert "--notify: /nonesuch/mail could not be run: " in caplog.text
    caplog.clear()
    monkeypatch.setattr(notification, "LIMIT_S", 0.1)
    notify("sleep", "60")
    assert "--notify: sleep was killed" in caplog.text


def test_a_command_that_is_cancelled_has_told_nobody(caplog):
    with Cancellation() as cancellation:
        cancellation.set()
        with pytest.raises(RunCancelledError):
            Notifier(("true",), cancellation).notify({"event": "works_again"})
    assert caplog.text == ""
