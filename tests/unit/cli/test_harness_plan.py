"""From the arguments to the run: every option arrives where it has its effect.

Nothing is measured here: the sessions are taken where they would start.
"""

import json
import logging
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarking.cli import harness
from benchmarking.cli.declared import declarations
from benchmarking.cli.options import HarnessOptions
from benchmarking.driver import session as session_module
from benchmarking.driver.plan import Comparing, ManyBackends
from benchmarking.driver.settings import USUAL_TIMEOUT_S
from benchmarking.errors import ExitStatus, Fault, UsageError
from benchmarking.files.held_directory import HeldDirectory
from benchmarking.platforms import platforms
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import Discovery, PlatformOptions
from benchmarking.programs.process import Cancellation
from benchmarking.statistics.sequential import FALSE_ALARMS_PER_RUN, SequentialPlan
from tests.support.workshop import COMMIT, OLDER, Workshop, error_test

TOKEN = "t0ken"
INFO = json.dumps({"treatment": COMMIT, "control": OLDER})
PAST = json.dumps({"treatment": COMMIT, "regression_commits": [OLDER]})


@dataclass
class Started:
    """What a run would have begun with."""

    status: int
    select: Any = None
    sessions: Any = ()
    cases: Any = ()
    fail_on: str = ""

    @property
    def plan(self):
        return self.sessions[0].plan

    @property
    def platform_options(self):
        return self.select.options

    @property
    def reporters(self):
        return {one.name: one for one in self.sessions[0].publisher._reporters}


@pytest.fixture(scope="module")
def hosts():
    with Cancellation() as cancellation:
        yield HostPlatform.discover(PlatformOptions(cancellation=cancellation)).devices * 2


@pytest.fixture
def start(tmp_path, monkeypatch, hosts):
    """Calls ``main`` with one delay and one error test and two devices."""
    for kind in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.chdir(tmp_path)
    workshop = Workshop(tmp_path)
    (tmp_path / "golden.txt").write_text("1\n")
    workshop.benchmark({}, error_test())
    workshop.program("program")
    workshop.program("other")
    (tmp_path / "a.so").write_text("")

    def start(*argv, benchmark="tiny.json"):
        started = Started(0)

        def select(platform, devices, excluded, options):
            started.select = SimpleNamespace(
                platform=platform, devices=devices, excluded=excluded, options=options
            )
            return Discovery(hosts, {})

        def run_sessions(sessions, cases):
            started.sessions, started.cases = sessions, cases
            return ()

        def exit_status(results, *, fail_on, **_):
            started.fail_on = fail_on
            return ExitStatus.OK

        monkeypatch.setattr(platforms, "select", select)
        monkeypatch.setattr(session_module, "run_sessions", run_sessions)
        monkeypatch.setattr(session_module, "exit_status", exit_status)
        started.status = harness.main(["--benchmark_file", benchmark, *map(str, argv)])
        return started

    return start


def test_what_a_killed_run_left_is_removed_first(start, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "benchmark-run-killed/output").mkdir(parents=True)
    with HeldDirectory("benchmark-run-") as held:
        assert start().status == 0
        assert held.path.is_dir()
    assert not (tmp_path / "benchmark-run-killed").exists()


def comparing(name):
    return lambda started: getattr(started.plan.comparing, name)


def sequential(name):
    return lambda started: getattr(started.plan.comparing.plan, name)


def planned(name):
    return lambda started: getattr(started.plan, name)


def on_platform(name):
    return lambda started: getattr(started.platform_options, name)


def health(started):
    check = started.sessions[0].health_check
    return check and check.strictness


def of_reporters(name, attribute):
    def value(started):
        reporter = started.reporters.get(name)
        return reporter and getattr(reporter, attribute)

    return value


TABLE = {
    "platform": (["--platform", "host/mkl"], lambda one: one.select.platform, "host/mkl"),
    "devices": (["--devices", "a,b"], lambda one: one.select.devices, ("a", "b")),
    "excluded_devices": (["--excluded_devices", "c"], lambda one: one.select.excluded, ("c",)),
    "android_dir": (["--android_dir", "/data/x"], on_platform("android_dir"), "/data/x"),
    "remote_dir": (["--remote_dir", "/srv"], on_platform("remote_dir"), "/srv"),
    "remote_python": (["--remote_python", "python3.12"], on_platform("remote_python"), "python3.12"),
    "remove_staged": (["--remove_staged"], on_platform("remove_staged"), True),
    "affinity": (["--affinity", "0-2"], on_platform("affinity_mask"), 7),
    "set_frequency": (["--set_frequency", "max"], on_platform("frequency"), "max"),
    "recovery_limit": (["--recovery_limit", "7"], on_platform("recovery_limit_s"), 7.0),
    "info": (["--info", INFO], lambda one: one.plan.control and one.plan.control.commit, "old"),
    "python": (["--python", sys.executable], lambda one: one.plan.treatment.program.python, sys.executable),
    "program": (["--program", "program.py"], lambda one: one.plan.treatment.program.path.name, "program.py"),
    "shared_libs": (
        ["--shared_libs", "a.so"],
        lambda one: [p.name for p in one.plan.shared_libraries],
        ["a.so"],
    ),
    "backend": (["--backend", "mkl"], planned("backend"), "mkl"),
    "allow_code": (["--allow_code"], planned("allow_code"), True),
    "timeout": (["--timeout", "7"], planned("timeout_s"), 7.0),
    "run_type": (["--run_type", "verify"], planned("run_type"), "verify"),
    "regressed_types": (
        ["--run_type", "regress", "--regressed_types", '["NET_DELAY"]'],
        planned("regressed_types"),
        ("NET_DELAY",),
    ),
    "cooldown": (["--cooldown", "9"], planned("cooldown_s"), 9.0),
    "seed": (["--seed", "-5"], planned("seed"), -5),
    "ab_mode": (["--ab_mode", "process"], comparing("mode"), "process"),
    "ab_pairs": (["--ab_pairs", "9"], comparing("fixed_pairs"), 9),
    "max_seconds": (["--max_seconds", "33"], comparing("max_seconds"), 33.0),
    "clock": (["--clock", "wall"], comparing("clock"), "wall"),
    "canary": (["--canary", "off"], comparing("canary"), False),
    "max_pairs": (["--max_pairs", "60"], sequential("max_pairs"), 60),
    "minimum_effect": (["--minimum_effect", "0.02"], sequential("minimum_effect"), 0.02),
    "target_change": (["--target_change", "0.06"], sequential("target_change"), 0.06),
    "alpha": (["--alpha", "0.001"], sequential("alpha"), 0.001),
    "comparisons": (["--comparisons", "1000"], sequential("alpha"), SequentialPlan().for_run(1000).alpha),
    "beta": (["--beta", "0.04"], sequential("beta"), 0.04),
    "model_cache": (["--model_cache", "kept"], lambda one: one.sessions[0].cache._directory.name, "kept"),
    "reboot": (["--reboot", "run"], lambda one: one.sessions[0].reboot, "run"),
    "when_busy": (["--when_busy", "fail"], lambda one: one.sessions[0].locks.when_busy, "fail"),
    "health_check": (["--health_check", "require"], health, "require"),
    "detector": (
        ["--info", PAST, "--local_reporter", "out", "--detector", "change_points"],
        lambda one: one.sessions[0].regression_check.detector,
        "change_points",
    ),
    "fail_on": (["--fail_on", "inconclusive"], lambda one: one.fail_on, "inconclusive"),
    "local_reporter": (["--local_reporter", "out"], lambda one: list(one.reporters), ["local", "log"]),
    "remote_reporter": (
        ["--remote_reporter", "example.org/x|y"],
        of_reporters("remote", "_url"),
        "https://example.org/x",
    ),
    "remote_access_token": (
        ["--remote_reporter", "example.org/x|y", "--remote_access_token", TOKEN],
        of_reporters("remote", "_token"),
        TOKEN,
    ),
    "allow_http": (
        ["--remote_reporter", "http://example.org/x|y", "--remote_access_token", TOKEN, "--allow_http"],
        of_reporters("remote", "_url"),
        "http://example.org/x",
    ),
    "screen_reporter": (["--screen_reporter"], lambda one: list(one.reporters), ["screen"]),
    "operators": (["--operators", "all"], of_reporters("screen", "_operators"), "all"),
    "junit": (["--junit", "j.xml"], lambda one: list(one.reporters), ["junit", "log"]),
    "markdown": (["--markdown", "m.md"], lambda one: list(one.reporters), ["markdown", "log"]),
    "export": (["--export", "bencher:b.json"], lambda one: list(one.reporters), ["export", "log"]),
    "json": (["--json"], lambda one: list(one.reporters), ["json", "log"]),
    "json_lines": (["--json_lines"], lambda one: list(one.reporters), ["JSON lines", "log"]),
}
ELSEWHERE = {
    "more_files": "test_commands.py",
    "input": "test_model_files.py",
    "threads": "test_model_files.py",
    "save_spec": "test_model_files.py",
    "benchmark_file": "test_the_benchmark_file_says_what_is_run",
    "framework": "test_several_frameworks",
    "root_model_dir": "test_the_root_of_the_models",
    "allow_commands": "test_shell_commands_are_taken_with_the_tests",
    "reference_backend": "test_several_backends",
    "plot": "test_the_picture",
    "blocks": "test_several_backends",
    "backend_tolerance": "test_several_backends",
    "validate": "test_validate.py",
    "log_level": "test_the_level_of_the_log",
}


def test_no_option_is_left_out():
    assert {one.name for one in fields(HarnessOptions)} == {*TABLE, *ELSEWHERE}


@pytest.mark.parametrize("name", TABLE)
def test_the_option_arrives(start, name):
    argv, value, expected = TABLE[name]
    started = start(*argv)
    assert started.status == 0
    assert value(started) == expected
    without = start()
    assert without.status == 0
    assert value(without) != expected


def test_the_defaults_of_a_run(start):
    started = start()
    plan = started.plan
    assert plan.control is None
    assert plan.comparing == Comparing(plan=SequentialPlan().for_run(2))
    assert (plan.backend, plan.backends, plan.run_type, plan.cooldown_s) == (None, None, "benchmark", None)
    assert (plan.shared_libraries, plan.regressed_types, plan.user_meta) == ((), (), {})
    assert (plan.timeout_s, plan.limit_s(started.cases[0])) == (None, 300.0)
    assert list(started.reporters) == ["local", "screen"]
    assert len(started.sessions) == 2


def test_the_bound_of_false_alarms_is_that_of_the_run(start, tmp_path):
    """Of each delay test on each device; error tests raise none."""
    Workshop(tmp_path).benchmark(*({"identifier": str(number)} for number in range(8)), error_test())
    plan = start().plan.comparing.plan
    assert plan == SequentialPlan().for_run(16)
    assert 2 * plan.alpha**2 * 16 == pytest.approx(FALSE_ALARMS_PER_RUN)


def test_every_device_has_the_same_plan_and_its_own_session(start):
    first, second = start().sessions
    assert first.plan is second.plan
    assert first.publisher is second.publisher


def test_the_benchmark_file_says_what_is_run(start, tmp_path):
    Workshop(tmp_path).benchmark({"identifier": "another"}, name="second")
    assert [one.identifier for one in start(benchmark="second.json").cases] == ["another"]


def test_the_root_of_the_models(start, tmp_path):
    text = (tmp_path / "tiny.json").read_text().replace('"location": "', '"location": "//')
    (tmp_path / "tiny.json").write_text(text)
    case, _ = start("--root_model_dir", tmp_path / "models").cases
    assert case.model_files["init"].value == str(tmp_path / "models/init_net.pb")


def test_shell_commands_are_taken_with_the_tests(start, tmp_path):
    Workshop(tmp_path).benchmark({"preprocess": {"commands": ["true"]}}, timeout=7)
    (refused,) = start().cases
    assert refused.refusal is not None
    (allowed,) = start("--allow_commands").cases
    assert (allowed.refusal, allowed.shell.before) == (None, ("true",))
    assert start().plan.limit_s(allowed) == 7
    assert start("--timeout", "9").plan.limit_s(allowed) == 9


def test_several_backends(start):
    argv = ("--reference_backend", "mkl", "--blocks", "9", "--backend_tolerance", "0.02")
    plan = start("--backend", "default, mkl", *argv).plan
    assert plan.backend is None
    assert plan.backends == ManyBackends(("default", "mkl"), "mkl", 9, 0.02)
    assert start("--backend", "all").plan.backends == ManyBackends()


def test_several_frameworks(start, monkeypatch):
    plan = start("--framework", "caffe2,onnxruntime", "--reference_backend", "onnxruntime").plan
    assert (plan.framework.name, plan.backend) == ("caffe2", None)
    assert (plan.backends.names, plan.backends.reference) == (None, "onnxruntime")
    assert [one.framework.name for one in plan.backends.contenders] == ["caffe2", "onnxruntime"]
    programs = [one.arm.program.path.name.partition("-")[0] for one in plan.backends.contenders]
    assert programs == ["caffe2_benchmark", "onnxruntime_benchmark"]
    everything = start("--framework", "all", "--backend", "all").plan.backends
    assert everything.names == ()
    assert [one.framework.name for one in everything.contenders] == ["caffe2"], (
        "those with a format of a test"
    )

    def require(*modules):
        if "onnxruntime" in modules:
            raise ModuleNotFoundError(name="onnxruntime")

    monkeypatch.setattr(harness, "require", require)
    backends = start("--framework", "onnxruntime,caffe2").plan.backends
    assert [one.framework.name for one in backends.contenders] == ["caffe2"]
    assert "the package onnxruntime is missing; install" in backends.unusable["onnxruntime"]
    assert "-m pip install" in backends.unusable["onnxruntime"]


def test_the_picture(start):
    """There is nothing to draw where nothing was run."""
    started = start("--backend", "all", "--plot", "m.svg", "--json")
    assert list(started.reporters) == ["plot", "json", "log"]
    assert started.status == ExitStatus.REPORTER_FAILED


def test_the_operators_in_a_markdown_table(start):
    def shown(*argv):
        return start("--markdown", "m.md", *argv).reporters["markdown"]._operators

    assert (shown("--operators", "3"), shown()) == (3, 0)


def test_what_info_says_and_the_command_line_leaves_open(start):
    info = {
        "treatment": COMMIT | {"program": "program.py"},
        "control": OLDER | {"program": "other.py"},
        "run_type": "verify",
        "regressed_types": ["NET_DELAY"],
        "meta": {"branch": "main"},
        "shared_libs": ["a.so"],
    }
    plan = start("--info", json.dumps(info)).plan
    arms = [(one.commit, one.commit_time, one.program.path.name) for one in (plan.treatment, plan.control)]
    assert arms == [("abc", COMMIT["commit_time"], "program.py"), ("old", OLDER["commit_time"], "other.py")]
    assert (plan.run_type, plan.regressed_types, plan.user_meta) == (
        "verify",
        ("NET_DELAY",),
        {"branch": "main"},
    )
    assert [one.name for one in plan.shared_libraries] == ["a.so"]
    beaten = start("--info", json.dumps(info), "--run_type", "regress", "--regressed_types", '["x"]').plan
    assert (beaten.run_type, beaten.regressed_types) == ("regress", ("x",))


def test_the_history_that_regressions_are_looked_for_in(start, tmp_path):
    check = start("--info", PAST, "--local_reporter", "out").sessions[0].regression_check
    assert check.history.root == Path("out")
    assert [one.commit for one in check.commits] == ["old"]
    assert start().sessions[0].regression_check.history is None


def test_the_recorded_command_has_no_token(start):
    plan = start("--remote_reporter", "example.org/x|y", "--remote_access_token", TOKEN).plan
    assert plan.command[0] == "harness.py"
    assert plan.command[-2:] == ("--remote_access_token", "***")


def test_a_token_is_not_sent_over_plain_http_unless_that_is_allowed(start, capsys):
    argv = ("--remote_reporter", "http://example.org/x|y", "--remote_access_token", TOKEN)
    assert start(*argv).status == 2
    assert "--allow_http" in capsys.readouterr().err


def test_more_pairs_than_are_judged_are_not_measured(start, capsys):
    assert start("--ab_pairs", "1001").status == 2
    assert "--ab_pairs 1001: at most 1000 pairs are judged" in capsys.readouterr().err
    assert comparing("fixed_pairs")(start("--ab_pairs", "1000")) == 1000


def test_programs_in_python_are_run_by_python(start, tmp_path):
    (tmp_path / "binary").write_text("")
    assert start("--program", "program.py").plan.treatment.program.needs_python
    assert not start("--program", "binary").plan.treatment.program.needs_python


@pytest.mark.parametrize("level", ["debug", "warning"])
def test_the_level_of_the_log(start, level):
    logger = logging.getLogger("benchmarking")
    before = logger.level
    try:
        start("--log_level", level)
        assert logger.level == getattr(logging, level.upper())
    finally:
        logger.setLevel(before)


def test_the_timeout_that_the_help_names_is_the_usual_one():
    assert declarations(HarnessOptions)["timeout"].usual.endswith(f" or {USUAL_TIMEOUT_S:g}")


# --- parts --------------------------------------------------------------------------------------------------


def test_a_run_that_fails_is_told_to_the_reporters(start, monkeypatch):
    aborted = []

    def fails(*_):
        raise ValueError("odd")

    def abort(group, error, duration_s):
        aborted.append((str(error), duration_s < 3600))

    monkeypatch.setattr(harness, "_measure", fails)
    monkeypatch.setattr("benchmarking.reporters.reporters.ReporterGroup.abort", abort)
    assert start().status == ExitStatus.INTERNAL_ERROR
    assert aborted == [("odd", True)]


def cases(*identifiers):
    return tuple(
        SimpleNamespace(model=SimpleNamespace(name="m"), metric="delay", identifier=one)
        for one in identifiers
    )


def info_with(*names):
    tests = [SimpleNamespace(net=net, metric=metric, identifier=one) for net, metric, one in names]
    return SimpleNamespace(tests=tests)


def test_which_tests_are_chosen():
    both = cases("a", "b")
    assert harness.chosen_cases(both, info_with()) == both
    assert harness.chosen_cases(both, info_with(("m", "delay", "b"), ("m", "delay", "c"))) == both[1:]
    assert harness.chosen_cases((), info_with(("m", "delay", "b"))) == ()
    for name in (("other", "delay", "a"), ("m", "error", "a"), ("m", "delay", "c")):
        with pytest.raises(
            UsageError, match=r"^--info: \$\.tests: the benchmark file has none of these tests$"
        ):
            harness.chosen_cases(both, info_with(name))


def test_why_nobody_runs_a_test():
    def framework(name, *messages):
        faults = [Fault("s.json", "$.x", one) for one in messages]
        return SimpleNamespace(name=name, formats=("tflite",), check=lambda case: faults)

    def case_of(*formats):
        return SimpleNamespace(
            in_first_format_of=lambda formats: None,
            specification=Path("s.json"),
            json_path="$.t",
            model=SimpleNamespace(format_names=formats),
        )

    case = case_of("tflite", "onnx")
    able, unable, other = framework("able"), framework("one", "no a", "no b"), framework("two", "no c")
    assert harness._why_nobody_runs(case, [unable, able]) == ()
    assert [one.message for one in harness._why_nobody_runs(case, [unable])] == ["no a", "no b"]
    assert harness._why_nobody_runs(case, [unable, other]) == (
        Fault("s.json", "$.t", "none of the frameworks can run it: one: no a; two: no c"),
    )
    advice = "; give --framework onnxruntime or openvino, or --framework all"
    assert harness._why_nobody_runs(case_of("onnx"), [unable]) == (Fault("s.json", "$.x", f"no a{advice}"),)
    assert harness._why_nobody_runs(case_of("unheard-of"), [unable]) == (Fault("s.json", "$.x", "no a"),)


def test_frameworks_that_cannot_be_used_here_are_named(monkeypatch):
    problems = {
        "a": ModuleNotFoundError("No module named 'onnx'", name="onnx"),
        "b": UsageError("no program"),
        "c": None,
    }

    def arm(name, version, options, framework):
        if problem := problems[framework.name]:
            raise problem
        return f"arm of {framework.name}"

    monkeypatch.setattr(harness, "_arm", arm)
    frameworks = [SimpleNamespace(name=name) for name in problems]
    many = harness._with_contenders(ManyBackends(()), None, SimpleNamespace(treatment=None), frameworks)
    assert [(one.framework.name, one.arm) for one in many.contenders] == [("c", "arm of c")]
    assert (many.unusable["b"], many.unusable["a"][:27]) == ("no program", "the package onnx is missing")
    with pytest.raises(UsageError, match=r"^no framework that runs this can be used here: b: no program$"):
        harness._with_contenders(ManyBackends(()), None, SimpleNamespace(treatment=None), frameworks[1:2])
    problems["a"] = ModuleNotFoundError("No module", name="benchmarking.nonesuch")
    with pytest.raises(ModuleNotFoundError):
        harness._with_contenders(ManyBackends(()), None, SimpleNamespace(treatment=None), frameworks)


def test_two_documents_do_not_share_stdout(start, capsys):
    assert start("--json", "--json_lines").status == ExitStatus.BAD_USAGE
    assert "--json and --json_lines both write to stdout: choose one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--run_type", "regress"], "--run_type regress confirms a regression: give its types with"),
        (["--regressed_types", '["x"]'], "--regressed_types needs --run_type verify or regress"),
        (["--input", "a:1,2"], "--input needs a model file, as in mlbench run model.onnx"),
        (["--threads", "2"], "--threads needs a model file, as in mlbench run model.onnx"),
    ],
)
def test_options_that_need_others(start, capsys, argv, message):
    assert start(*argv).status == ExitStatus.BAD_USAGE
    assert message in capsys.readouterr().err
