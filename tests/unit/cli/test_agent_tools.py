"""The work of the tools for agents, in the process of the tests: which files they may read, which command line
of ``mlbench`` they run, and how they find a commit.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.cli.agent_tools import LONGEST_EVIDENCE, Allowed, AtHand, Tools, bisected, option_words
from benchmarking.cli.options import TOKEN_VARIABLE
from benchmarking.errors import BuildError, ExitStatus, UnknownCommitError, UsageError
from benchmarking.packages import ROOT
from benchmarking.programs import ending_signals
from benchmarking.programs.process import Cancellation
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import NET_DELAY, Verdict
from tests.support.sample_results import FAILED, JUDGED, having
from tests.support.small_repository import make_repository

EMPTY = Document((), ExitStatus.OK, 1.0, (), ())


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


# --- what is allowed ----------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path):
    for one in ("work", "more", "outside"):
        (tmp_path / one).mkdir()
        (tmp_path / one / "file").touch()
    return Allowed((tmp_path / "work", tmp_path / "more"))


def test_paths_begin_in_the_working_directory(places, tmp_path):
    assert places.path("file") == tmp_path / "work/file"
    assert places.path(".") == tmp_path / "work"
    assert places.path("../more/file") == tmp_path / "more/file"
    assert places.path(str(tmp_path / "more")) == tmp_path / "more"


def test_paths_end_in_the_directories_that_are_allowed(places, tmp_path):
    (tmp_path / "work/link").symlink_to(tmp_path / "outside/file")
    for one in ("../outside/file", "link", str(tmp_path), "../workshop"):
        with pytest.raises(UsageError) as caught:
            places.path(one)
        assert str(caught.value).endswith(
            f" is outside of {tmp_path}/work; the user can allow it with --allow DIRECTORY"
        )
    with pytest.raises(UsageError, match=r"^there is no ./nonesuch$"):
        places.path("./nonesuch")


def test_command_lines_have_to_be_allowed(places):
    with pytest.raises(UsageError, match=r"--allow_commands$"):
        places.require_commands()
    replace(places, commands=True).require_commands()


@pytest.mark.parametrize("kind", ["files", "input_files", "output_files"])
def test_the_files_of_a_specification_have_to_be_allowed_too(places, tmp_path, kind):
    def specification(location):
        files = {"m": {"filename": "m.onnx", "location": "m.onnx", "md5": "0" * 32}}
        test = {"identifier": "a", "metric": "error", "iter": 1, "input_files": {"x": "x.txt"}}
        test["output_files"] = {"y": "y.txt"}
        if kind == "files":
            files["m"]["location"] = location
        else:
            test[kind] = dict.fromkeys(test[kind], location)
        inputs = {"x": {"shapes": [[1]], "type": "float"}}
        model = {"name": "m", "format": "onnx", "inputs": inputs, "files": files}
        path = tmp_path / "work/spec.json"
        path.write_text(json.dumps({"model": model, "tests": [test]}))
        return path

    path = specification("inside.txt")
    assert places.benchmark("spec.json") == path
    specification("https://example.com/one")
    assert places.benchmark("spec.json") == path
    specification(str(tmp_path / "outside/file"))
    with pytest.raises(UsageError, match=r"outside/file is outside of"):
        places.benchmark("spec.json")


def test_a_model_is_not_read(places, tmp_path):
    (tmp_path / "work/m.onnx").write_bytes(b"\xff")
    assert places.benchmark("m.onnx") == tmp_path / "work/m.onnx"


# --- command lines of mlbench -------------------------------------------------------------------------------


@pytest.fixture
def tools(tmp_path):
    (tmp_path / "work").mkdir(exist_ok=True)
    return Tools(Allowed((tmp_path / "work",), commands=True))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A script takes the place of Python; ``printed`` is what it prints."""
    (tmp_path / "printed").write_text(documents.dumps(documents.document_json(EMPTY)))

    def make(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\nprinted={tmp_path}/printed said={tmp_path}/said\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return tmp_path / "said"

    return make


def test_a_tool_is_a_command_line_of_mlbench(tools, stand_in, cancellation, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    monkeypatch.setenv("PYTHONPATH", "/users/own")
    said = stand_in(
        f'printf "%s\\n" "$@" > "$said"; echo "$PYTHONPATH:$PWD:${TOKEN_VARIABLE}" >> "$said"; cat "$printed"'
    )
    assert tools.mlbench(["run", "a b"], 60.0, cancellation) == ("run-0", EMPTY)
    *arguments, environment = said.read_text().splitlines()
    assert arguments == ["-m", "benchmarking", "run", "a b", "--json"]
    assert environment == f"{ROOT}:/users/own:{tmp_path}/work:"
    assert tools.documents == {"run-0": EMPTY}
    monkeypatch.delenv("PYTHONPATH")
    tools.mlbench(["run"], 60.0, cancellation)
    assert said.read_text().splitlines()[-1] == f"{ROOT}:{tmp_path}/work:"


def test_a_run_that_fails_has_a_document_too(tools, stand_in, cancellation):
    stand_in('cat "$printed"; exit 3')
    assert tools.mlbench(["run"], 60.0, cancellation)[1] == EMPTY


def test_without_a_document_the_program_says_why(tools, stand_in, cancellation):
    stand_in('echo "mlbench run: no such file" >&2; exit 2')
    with pytest.raises(UsageError, match=r"^mlbench run: no such file$"):
        tools.mlbench(["run"], 60.0, cancellation)
    stand_in(f'printf "%0{LONGEST_EVIDENCE + 9}d" 7 >&2')
    with pytest.raises(UsageError, match=f"^0{{{LONGEST_EVIDENCE - 1}}}7$"):
        tools.mlbench(["run"], 60.0, cancellation)
    stand_in("true")
    with pytest.raises(UsageError, match=r"^.+$"):
        tools.mlbench(["run"], 60.0, cancellation)
    assert not tools.documents


def test_a_run_is_known_by_its_own_identifier(tools):
    document = Document((having(JUDGED, run_uid="uid"),), ExitStatus.OK, 1.0, (), ())
    run = tools.remember(document)
    assert run == "uid"
    assert tools.known(run, "") == (run, document)
    with pytest.raises(UsageError, match=r"^there is no run 'x' in this session$"):
        tools.known("x", "")
    assert tools.remember(EMPTY) == "run-1"
    assert tools.known("", "") == ("run-1", EMPTY)
    assert tools.known(run, "") == (run, document)


def test_the_last_twenty_runs_are_known(tools):
    with pytest.raises(UsageError, match=r"^nothing was run yet$"):
        tools.known("", "")
    results = [having(JUDGED, run_uid=f"uid-{number}") for number in range(21)]
    for one in results:
        tools.remember(Document((one,), ExitStatus.OK, 1.0, (), ()))
    assert list(tools.documents) == [f"uid-{number}" for number in range(1, 21)]


def test_runs_without_results_are_not_taken_for_each_other(tools):
    failed = [replace(EMPTY, duration_s=float(number)) for number in range(25)]
    names = [tools.remember(one) for one in failed]
    assert len({*names}) == 25
    assert list(tools.documents.values()) == failed[5:]
    assert tools.known("", "") == (names[-1], failed[-1])


def test_a_document_of_another_session_is_known_by_its_file(tools, tmp_path):
    (tmp_path / "work/d.json").write_text(documents.dumps(documents.document_json(EMPTY)))
    tools.remember(Document((JUDGED,), ExitStatus.OK, 1.0, (), ()))
    assert tools.known("x", "d.json") == ("d.json", EMPTY)
    for one, problem in (("..", "is outside of"), (".", r"^\. is not a document of --json: ")):
        with pytest.raises(UsageError, match=problem):
            tools.known("", one)


def test_options_that_were_not_given_are_left_out():
    assert option_words({"a": 0, "b": None, "c": "x y", "d": False}) == ["--a=0", "--c=x y", "--d=False"]


# --- bisection ----------------------------------------------------------------------------------------------


class Comparing(Tools):
    """In the place of ``mlbench compare``: runs both commands, and compares the number that each prints."""

    def mlbench(self, arguments, timeout_s, cancellation):
        self.asked = [*getattr(self, "asked", ()), (tuple(arguments), timeout_s)]
        name, *launchers = arguments[:3]
        assert name == "compare"
        base, head = (Path(one).stat() and run(one, cancellation) for one in launchers)
        if head == "broken":
            raise UsageError("HEAD: the program ended with exit status 1")
        document = Document((self.compared(base, head),), ExitStatus.OK, 1.0, (), ())
        return self.remember(document), document

    @staticmethod
    def compared(base, head):
        if head == "failed":
            return FAILED
        net = JUDGED.types[0]
        assert net.type == NET_DELAY
        ratio = int(head) / int(base)
        verdict = Verdict.REGRESSED if ratio > 1.05 else Verdict.UNCHANGED
        net = replace(
            net,
            comparison=replace(net.comparison, ratio=ratio),
            decision=replace(net.decision, verdict=verdict),
        )
        return having(JUDGED, types=(net,))


def run(launcher, cancellation):
    from benchmarking.programs import process
    from benchmarking.programs.command import Command

    return process.run(Command((launcher,)), cancellation).stdout.strip()


class Search:
    def __init__(self, directory, cancellation):
        self.directory, self.cancellation = directory, cancellation
        (directory / "work").mkdir()
        self.tools = Comparing(Allowed((directory / "work",), commands=True))

    def repository(self, *values):
        self.commits = make_repository(self.directory / "engine", *values)
        return self.commits

    def find(
        self,
        good=0,
        bad=-1,
        build="",
        command="sed -n 's/.*NET_DELAY - //p' benchmark.in | cut -d' ' -f1 | head -1",
        options=(),
    ):
        names = tuple(self.commits[one] if isinstance(one, int) else one for one in (good, bad))
        return bisected(
            self.tools, self.directory / "engine", names, command, build, options, 50.0, self.cancellation
        )


@pytest.fixture
def search(tmp_path, cancellation):
    return Search(tmp_path, cancellation)


def test_the_commit_that_made_it_slower_is_found(search, tmp_path):
    commits = search.repository(100, 100, 101, 150, 150, 151)
    found = search.find(options=["--canary=off"])
    assert (found.found, found.commit, found.subject) == (True, commits[3], "150 us")
    assert (found.author, found.note, found.change) == ("x <x@x>", "", pytest.approx(0.51))
    assert [one.commit for one in found.probes] == [commits[one] for one in (5, 2, 3)]
    assert [one.change for one in found.probes] == pytest.approx([0.51, 0.01, 0.5])
    assert [one.verdict for one in found.probes] == ["regressed", "unchanged", "regressed"]
    for arguments, timeout_s in search.tools.asked:
        assert (arguments[3:], timeout_s) == (("--canary=off",), 50.0)
        assert not Path(arguments[1]).exists()
        assert tmp_path not in Path(arguments[1]).parents
    bases = {arguments[1] for arguments, _ in search.tools.asked}
    assert [Path(one).name for one in bases] == [commits[0][:12]]


def test_a_bad_commit_that_is_not_slower_has_no_culprit(search):
    commits = search.repository(100, 150, 100)
    found = search.find()
    assert (found.found, found.commit, found.subject, found.author) == (False, "", "", "")
    assert found.note == "the bad commit is not slower: unchanged"
    assert found.change == pytest.approx(0)
    assert [one.commit for one in found.probes] == [commits[2]]


def test_commits_that_cannot_be_measured_are_passed_over_and_named(search):
    commits = search.repository(100, 100, "broken", 150)
    found = search.find()
    assert (found.commit, found.note) == (
        commits[3],
        f"or one of {commits[2][:12]}, which could not be measured",
    )
    assert [(one.change, one.verdict) for one in found.probes if one.commit == commits[2]] == [
        (None, "HEAD: the program ended with exit status 1")
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [("broken", "HEAD: the program ended with exit status 1"), ("failed", FAILED.failure.message)],
)
def test_a_bad_commit_that_cannot_be_measured_is_no_answer(search, value, why):
    search.repository(100, value)
    found = search.find()
    assert (found.found, found.change) == (False, None)
    assert found.note == f"the bad commit is not slower: {why}"


def test_each_commit_is_built_in_its_checkout(search, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    commits = search.repository(100, 150)
    build = f'test -z "${TOKEN_VARIABLE}"\ncp benchmark.in built'
    found = search.find(
        build=build, command="sh built | sed -n 's/.*NET_DELAY - //p' | cut -d' ' -f1 | head -1"
    )
    assert found.commit == commits[1]


def test_a_build_that_fails_is_not_the_end_unless_it_is_that_of_the_good_commit(search):
    commits = search.repository(100, 150, 151)
    build = "! grep -q 'NET_DELAY - 150' benchmark.in || { echo no such header >&2; exit 1; }"
    found = search.find(build=build)
    assert (found.commit, found.found) == (commits[2], True)
    (probe,) = [one for one in found.probes if one.commit == commits[1]]
    assert probe.verdict.startswith(f"{commits[1][:12]} cannot be built: ")
    assert probe.verdict.endswith("no such header")
    with pytest.raises(BuildError, match=f"^{commits[1][:12]} cannot be built: "):
        search.find(good=1, build=build)
    with pytest.raises(BuildError):
        search.find(build="false\ntrue")


def test_commits_that_are_not_in_order(search):
    commits = search.repository(100, 150)
    with pytest.raises(UsageError, match=f"^{commits[1]} is not an ancestor of {commits[0]}$"):
        search.find(good=1, bad=0)
    with pytest.raises(UsageError, match=f"^there are 0 commits from {commits[0]} to {commits[0]}$"):
        search.find(good=0, bad=0)
    with pytest.raises(UnknownCommitError):
        search.find(bad="nonesuch")


class _ExitedError(Exception):
    pass


@pytest.fixture
def exits(monkeypatch):
    """The statuses with which the process would have ended."""
    statuses = []

    def leave(status):
        statuses.append(int(status))
        raise _ExitedError

    monkeypatch.setattr(os, "_exit", leave)
    return statuses


def working(cancellation, *signals):
    """Gets these signals while it works."""
    at_hand = AtHand()
    with ending_signals.handled(at_hand.end), at_hand.work(cancellation):
        for number in signals:
            signal.raise_signal(number)
        assert cancellation.is_set


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_work_and_then_the_server(exits, cancellation, number):
    with pytest.raises(_ExitedError):
        working(cancellation, number)
    assert exits == [130]


def test_the_second_signal_ends_the_server_at_once(exits, cancellation):
    with pytest.raises(_ExitedError) as caught:
        working(cancellation, signal.SIGTERM, signal.SIGTERM)
    # Not only at the end of the work.
    assert isinstance(caught.value.__context__, _ExitedError)
    assert exits == [130, 130]


def test_a_signal_between_two_works_ends_the_server(exits, cancellation):
    before = signal.getsignal(signal.SIGTERM)
    at_hand = AtHand()
    with ending_signals.handled(at_hand.end):
        with at_hand.work(cancellation):
            pass
        with pytest.raises(_ExitedError):
            signal.raise_signal(signal.SIGTERM)
    assert not cancellation.is_set
    assert exits == [130]
    assert signal.getsignal(signal.SIGTERM) == before
