"""Two commands are compared: what is learnt from one run of each, and what the harness is then given."""

import hashlib
import json
import shlex
from pathlib import Path

import pytest

from benchmarking.cli import harness
from benchmarking.cli.compare_commands import Side, compare, compare_sides
from benchmarking.cli.compare_request import Request
from benchmarking.cli.options import TOKEN_VARIABLE
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks
from benchmarking.specs.run_info import read_run_info

OBSERVER = "Caffe2Observer Delay Start\nCaffe2Observer NET_DELAY - {} (us)\nCaffe2Observer Delay End\n"


def observed(*times_us):
    return "".join(OBSERVER.format(one) for one in times_us)


class Compared:
    """Two programs, and what the harness was given while its files were there."""

    def __init__(self, directory):
        self.directory = directory
        self.options = self.command = self.info = self.case = None
        self.files = {}

    def program(self, name, script):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def printing(self, name, text):
        return self.program(name, f"printf %s {shlex.quote(text)}")

    def request(self, *names, options=None, reading=None):
        return Request(
            names=names,
            options={"timeout": None, **(options or {})},
            reading=reading or {},
            base=None,
            head=None,
            python=None,
            repository=None,
            build="",
            build_timeout_s=1.0,
            command=("mlbench", "compare", *names),
        )

    def perform(self, options, command):
        """In the place of the harness."""
        self.options, self.command = options, command
        directory = options.benchmark_file.parent
        self.files = {one.name: one.read_text() for one in directory.iterdir()}
        (self.case,) = expand(read_benchmarks(options.benchmark_file), None)
        self.info = json.loads(options.info)
        assert read_run_info(options.info).control
        return ExitStatus.REGRESSION_CONFIRMED

    def launcher(self, arm):
        return self.files[Path(self.info[arm]["program"]).name]


@pytest.fixture
def compared(tmp_path, monkeypatch):
    one = Compared(tmp_path)
    monkeypatch.setattr(harness, "perform", one.perform)
    monkeypatch.chdir(tmp_path)
    return one


def test_the_harness_is_given_both_commands(compared):
    compared.printing("old", observed(1, 2, 3))
    compared.printing("new", observed(4, 5, 6))
    request = compared.request("./old 'a b'", "./new c", options={"seed": 7})
    assert compare(request) == ExitStatus.REGRESSION_CONFIRMED
    options = compared.options
    assert (options.framework, options.ab_mode, options.seed) == ("generic", "process", 7)
    assert compared.command == request.command
    assert compared.launcher("control").endswith(f"exec {compared.directory}/old 'a b'\n")
    assert compared.launcher("treatment").endswith(f"exec {compared.directory}/new c\n")
    assert compared.files["commands.txt"] == (
        f"base: {compared.directory}/old 'a b'\nhead: {compared.directory}/new c\n"
    )
    case = compared.case
    assert (case.model.name, case.metric, case.identifier) == ("old and new", "delay", "observer")
    assert (case.iterations, case.model.format) == (3, "command")
    (file,) = case.model.files.values()
    assert file.md5 == hashlib.md5(compared.files["commands.txt"].encode()).hexdigest()
    assert case.commands["generic"] == {"command": "{program}", "format": "observer"}
    # Nothing is left.
    assert not options.benchmark_file.parent.exists()


@pytest.mark.parametrize(("given", "pairs"), [(None, 1000), (8, 8)])
def test_time_is_the_limit_unless_pairs_are(compared, given, pairs):
    compared.printing("program", observed(1))
    assert compare(compared.request("./program", "./program", options={"max_pairs": given}))
    assert compared.options.max_pairs == pairs


def test_what_is_known_of_the_commits_is_passed_on(compared):
    compared.printing("program", observed(1))
    sides = [
        Side.of(name, "./program", compared.directory, commit=commit * 40, commit_time=number)
        for number, (name, commit) in enumerate((("base", "a"), ("head", "b")))
    ]
    compare_sides(compared.request(), *sides)
    assert [compared.info[arm]["commit"] for arm in ("control", "treatment")] == ["a" * 40, "b" * 40]
    assert [compared.info[arm]["commit_time"] for arm in ("control", "treatment")] == [0, 1]


def test_two_programs_of_one_name_have_that_name(compared):
    for one in ("a", "b"):
        compared.printing(f"{one}/bench", observed(1))
    compare(compared.request("a/bench", "b/bench"))
    assert compared.case.model.name == "bench"


def test_a_command_runs_in_its_directory(compared):
    (compared.directory / "a").mkdir()
    (compared.directory / "a/text").write_text(observed(1, 2))
    compare_sides(
        compared.request(),
        *(Side.of(name, "cat text", compared.directory / "a") for name in ("base", "head")),
    )
    assert (compared.case.identifier, compared.case.iterations) == ("observer", 2)


@pytest.mark.parametrize("reading", [{}, {"format": "auto"}])
def test_programs_that_print_no_times_are_timed_as_processes(compared, reading):
    compare(compared.request("true", "true", reading=reading))
    assert compared.case.commands["generic"]["format"] == "process"
    assert compared.case.iterations == 1


def test_the_way_of_reading_that_was_asked_for_is_used(compared):
    for one in ("old", "new"):
        compared.printing(one, "took 5 ms\ntook 6 ms\nslept 9 ms\n")
    reading = {"pattern": r"took (?P<value>\S+) ms", "unit": "ms"}
    compare(compared.request("./old", "./new", reading=reading))
    assert compared.case.commands["generic"] == {"command": "{program}", **reading}
    assert (compared.case.identifier, compared.case.iterations) == ("printed", 2)


@pytest.mark.parametrize(
    ("outputs", "reading", "message"),
    [
        (("", observed(1)), {"format": "observer"}, "BASE printed no times that can be read so"),
        ((observed(1), ""), {"format": "observer"}, "HEAD printed no times that can be read so"),
        ((observed(1), observed(1, 2)), {}, "BASE printed 1 times, and HEAD 2"),
        (("", ""), {"format": "nonesuch"}, "--format: 'nonesuch' is not one of "),
        (("", ""), {"pattern": "x(?P<value>.)"}, "--unit: missing: the unit of the times"),
    ],
)
def test_what_cannot_be_compared(compared, outputs, reading, message):
    for name, text in zip(("old", "new"), outputs, strict=True):
        compared.printing(name, text)
    with pytest.raises(UsageError) as caught:
        compare(compared.request("./old", "./new", reading=reading))
    assert str(caught.value).startswith(message)
    assert compared.options is None


@pytest.mark.parametrize(
    ("names", "side"),
    [
        (("sh -c 'echo moaned >&2; exit 3'", "true"), "BASE"),
        (("true", "sh -c 'echo moaned >&2; exit 3'"), "HEAD"),
    ],
)
def test_a_command_that_fails_is_shown_with_its_output(compared, names, side):
    with pytest.raises(UsageError) as caught:
        compare(compared.request(*names))
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"{side}: the program ended with exit status 3: /")
    assert first.endswith("/sh -c 'echo moaned >&2; exit 3'")
    assert rest == ["--- end of stderr ---", "moaned"]


def test_a_command_has_the_time_that_the_user_gave(compared):
    with pytest.raises(UsageError, match=r"^BASE: the program ran longer than 0\.2 s and was killed"):
        compare(compared.request("sleep 60", "true", options={"timeout": 0.2}))


def test_a_command_does_not_see_the_token(compared, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    program = compared.program("program", f'test -z "${TOKEN_VARIABLE}"')
    compare(compared.request(str(program), str(program)))
    assert compared.options is not None


@pytest.mark.parametrize("option", ["threads", "framework", "ab_mode"])
def test_options_of_models_are_refused_before_anything_runs(compared, option):
    program = compared.program("program", "touch ran")
    with pytest.raises(UsageError, match=f"^--{option} needs a model or a specification$"):
        compare(compared.request(str(program), str(program), options={option: 1}))
    assert not (compared.directory / "ran").exists()
