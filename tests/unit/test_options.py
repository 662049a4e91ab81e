from pathlib import Path

import pytest

from benchmarking.cli import harness_arguments
from benchmarking.cli.declared import declarations
from benchmarking.cli.options import TOKEN_VARIABLE, HarnessOptions, access_token, mask_secrets
from benchmarking.reporters.settings import Export

OTHER_VALUES = {
    "benchmark_file": Path("b.json"),
    "framework": "caffe2",
    "platform": "host/mkl",
    "info": '{"treatment": "a \'quoted\' \\"text\\""}',
    "input": "x:0:1,3;y:",
    "threads": 3,
    "save_spec": Path("made.json"),
    "model_cache": Path("/cache dir"),
    "root_model_dir": Path("models"),
    "program": Path("-odd name"),
    "python": "/envs/new one/bin/python",
    "shared_libs": ("a.so", "b c.so"),
    "backend": "mkl",
    "reference_backend": "nnpack",
    "blocks": 9,
    "backend_tolerance": 0.01,
    "plot": Path("matrix.svg"),
    "devices": ("one", "two 2"),
    "excluded_devices": ("three",),
    "android_dir": "/data/local/other tmp",
    "remote_dir": "/srv/bench",
    "remote_python": "python3.12",
    "remove_staged": True,
    "affinity": "0-3,6",
    "set_frequency": "max",
    "cooldown": 60.0,
    "reboot": "run",
    "when_busy": "fail",
    "recovery_limit": 30.0,
    "health_check": "require",
    "timeout": 12.5,
    "allow_commands": True,
    "allow_code": True,
    "run_type": "regress",
    "regressed_types": ("NET_DELAY", 'ID_0_"x",y'),
    "ab_mode": "process",
    "ab_pairs": 7,
    "max_pairs": 60,
    "max_seconds": 30.0,
    "minimum_effect": 0.02,
    "target_change": 0.05,
    "comparisons": 24,
    "alpha": 0.001,
    "beta": 0.01,
    "clock": "wall",
    "canary": "off",
    "fail_on": "inconclusive",
    "seed": -3,
    "detector": "change_points",
    "local_reporter": Path("out"),
    "remote_reporter": "example.org/end|category",
    "allow_http": True,
    "screen_reporter": True,
    "operators": 12,
    "junit": Path("j.xml"),
    "markdown": Path("m.md"),
    "export": (Export("bencher", Path("b.json")), Export("open_metrics", Path("m.txt"))),
    "json": True,
    "json_lines": True,
    "validate": True,
    "log_level": "debug",
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_every_option_survives_the_way_through_an_argument_list(name):
    options = HarnessOptions(**{"benchmark_file": Path("x.json"), name: OTHER_VALUES[name]})
    assert harness_arguments.parse(options.to_argv()) == options


def test_all_options_together_survive():
    options = HarnessOptions(**OTHER_VALUES)
    assert harness_arguments.parse(options.to_argv()) == options


def test_no_option_was_forgotten_here():
    assert {*declarations(HarnessOptions)} == {*OTHER_VALUES, "remote_access_token"}


def test_the_token_goes_to_children_by_environment_only(monkeypatch):
    options = HarnessOptions(benchmark_file=Path("x.json"), remote_access_token="s3cret")
    assert not any("s3cret" in argument for argument in options.to_argv())
    assert "s3cret" not in repr(options)
    monkeypatch.setenv(declarations(HarnessOptions)["remote_access_token"].variable, "s3cret")
    assert access_token(harness_arguments.parse(options.to_argv())) == "s3cret"


def test_the_option_beats_the_environment(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "from environment")
    assert access_token(HarnessOptions(benchmark_file=Path("x"), remote_access_token="given")) == "given"
    assert access_token(HarnessOptions(benchmark_file=Path("x"))) == "from environment"


@pytest.mark.parametrize(
    "argv",
    [
        ["--remote_access_token", "s3cret", "--json"],
        ["--remote_access_token=s3cret", "--json"],
        ["--remote_reporter", "host/end?token=s3cret|x"],
    ],
)
def test_a_recorded_command_line_holds_no_token(argv):
    assert not any("s3cret" in argument for argument in mask_secrets(argv, "s3cret"))
    assert len(mask_secrets(argv, "s3cret")) == len(argv)


def test_the_token_is_masked_before_it_is_known():
    assert mask_secrets(["--remote_access_token", "other"], None) == ("--remote_access_token", "***")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--benchmark_file", "x", "--platf", "host"],
        ["--benchmark_file", "x", "--framework", "nonesuch"],
        ["--benchmark_file", "x", "--run_type", "nonesuch"],
        ["--benchmark_file", "x", "--ab_pairs", "0"],
        ["--benchmark_file", "x", "--timeout", "nan"],
        ["--benchmark_file", "x", "--timeout", "-1"],
        ["--benchmark_file", "x", "--regressed_types", "NET_DELAY"],
        ["--benchmark_file", "x", "--regressed_types", "[1]"],
    ],
)
def test_wrong_arguments_end_with_status_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        harness_arguments.parse(argv)
    assert end.value.code == 2
    assert "harness.py: error:" in capsys.readouterr().err


def test_the_specifications_usage_still_works():
    options = harness_arguments.parse(
        [
            "--android_dir",
            "/data",
            "--backend",
            "mkl",
            "--benchmark_file",
            "b.json",
            "--devices",
            "a,b",
            "--excluded_devices",
            "c",
            "--framework",
            "caffe2",
            "--info",
            "{}",
            "--local_reporter",
            "out",
            "--model_cache",
            "cache",
            "--platform",
            "host",
            "--program",
            "p",
            "--regressed_types",
            "[]",
            "--remote_reporter",
            "d/e|c",
            "--remote_access_token",
            "t",
            "--root_model_dir",
            "r",
            "--run_type",
            "verify",
            "--screen_reporter",
            "--shared_libs",
            "x.so,y.so",
            "--timeout",
            "30",
        ]
    )
    assert options.devices == ("a", "b")
    assert options.shared_libs == ("x.so", "y.so")
    assert options.timeout == 30.0
