from dataclasses import fields
from pathlib import Path

import pytest

from benchmarking.cli.repo_driver_arguments import parse, split_token
from benchmarking.cli.repo_driver_options import RepoDriverOptions

REQUIRED = ("--exec_dir=e", "--repo_dir=r", "--benchmark_file=b.json")
EVERYTHING = RepoDriverOptions(
    exec_dir=Path("e"),
    repo_dir=Path("it's $(r)"),
    repo="hg",
    remote_repository="https://example.org/x y",
    branch="-odd",
    commit="abc",
    commit_file=Path("f"),
    base_commit="def",
    regression=True,
    step=3,
    max_pending=4,
    merged_commits=True,
    retry_failed=True,
    frameworks_dir=Path("d"),
    platforms=("host/mkl", "gpu"),
    build_timeout=1.5,
    same_host=True,
    interval=0.0,
    status_file=Path("s"),
    run_timeout=2.5,
    lab="",
    build_here=True,
    on="label=fast,memory>=8GB",
    notify=("mail", 'it\'s "quoted" $(x)'),
    log_file=Path("l"),
    log_level="debug",
    harness_arguments=("--benchmark_file", "b $(x).json", "--devices=a,b", "--json"),
)


def test_every_option_comes_back_from_its_arguments():
    options, harness_options = parse(EVERYTHING.to_argv())
    assert options == EVERYTHING
    assert harness_options.benchmark_file == Path("b $(x).json")
    assert harness_options.devices == ("a", "b")
    default = RepoDriverOptions(exec_dir=Path("e"))
    same = {
        one.name for one in fields(default) if getattr(default, one.name) == getattr(EVERYTHING, one.name)
    }
    assert same == {"exec_dir", "framework", "once", "status"}, "an option that this test does not set"


def test_what_the_specification_shows_is_accepted():
    argv = [
        "--exec_dir",
        "e",
        "--framework",
        "caffe2",
        "--frameworks_dir",
        "d",
        "--platforms",
        "a,b",
        "--repo_dir",
        "r",
        "--benchmark_file",
        "b",
    ]
    options, _ = parse(argv)
    assert options.platforms == ("a", "b")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--repo_dir=r", "--benchmark_file=b"), "required: --exec_dir"),
        (("--exec_dir=e", "--benchmark_file=b"), "required: --repo_dir"),
        (("--exec_dir=e", "--repo_dir=r"), "required: --benchmark_file"),
        ((*REQUIRED, "--platf", "x"), "there is no option '--platf'"),
        ((*REQUIRED, "--step=0"), "less than 1"),
        ((*REQUIRED, "--interval=-1"), "is not a number above 0"),
        ((*REQUIRED, "--notify=a 'b"), "is not a command"),
        ((*REQUIRED, "--run_type=verify"), "--run_type is set by the loop itself"),
        ((*REQUIRED, "--program", "x"), "--program is set by the loop itself"),
        ((*REQUIRED, "--validate"), "--validate is set by the loop itself"),
        ((*REQUIRED, "--platform", "gpu"), "--platform is set by the loop itself"),
        ((*REQUIRED, "--info={}"), "--info is set by the loop itself"),
        ((*REQUIRED, "--regressed_types", "NET DELAY"), "--regressed_types is set by the loop itself"),
    ],
)
def test_wrong_arguments_are_reported(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_token_is_taken_out():
    assert split_token(["--a", "--remote_access_token", "s", "b"]) == (("--a", "b"), "s")
    assert split_token(["--remote_access_token=s=t"]) == ((), "s=t")
    assert split_token(["--a"]) == (("--a",), None)
