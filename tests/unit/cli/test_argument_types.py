import argparse
from pathlib import Path

import pytest

from benchmarking.cli import argument_types, devices, harness_arguments, history, repo_driver_arguments
from benchmarking.cli.argument_types import core_mask, path, suggestion
from benchmarking.cli.options import benchmark_file

TOO_LONG = "a" * 5000
HARNESS = ("--benchmark_file=b.json",)
LOOP = (*HARNESS, "--repo_dir=r", "--exec_dir=e")


def options_that_take(parser, *types):
    return [action.option_strings[0] for action in parser._actions if action.type in types]


PATH_TYPES = (
    path,
    argument_types.picture,
    argument_types.comma_separated_paths,
    benchmark_file,
)
PATH_OPTIONS = {
    "harness": [
        "--benchmark_file",
        "--program",
        "--save_spec",
        "--shared_libs",
        "--model_cache",
        "--root_model_dir",
        "--plot",
        "--local_reporter",
        "--junit",
        "--markdown",
    ],
    "repo_driver": [
        "--repo_dir",
        "--remote_repository",
        "--commit_file",
        "--exec_dir",
        "--frameworks_dir",
        "--status_file",
        "--log_file",
    ],
    "history": ["--local_reporter", "--plot"],
}
PARSERS = {
    "harness": harness_arguments.make_parser,
    "repo_driver": repo_driver_arguments.make_parser,
    "history": history.make_parser,
}
EVERY_PATH_OPTION = [(program, option) for program, options in PATH_OPTIONS.items() for option in options]


def parse_one(program, option, text):
    """The value of an option; the others that are required are there, too."""
    required = {"harness": HARNESS, "repo_driver": LOOP, "history": ("show", "--local_reporter=x")}[program]
    found = PARSERS[program]().parse_known_args([*required, f"{option}={text}"])[0]
    value = getattr(found, option.removeprefix("--"))
    return str(value[0] if isinstance(value, tuple) else value)


@pytest.mark.parametrize("program", PARSERS)
def test_no_path_is_taken_as_it_is(program):
    parser = PARSERS[program]()
    types = (*PATH_TYPES, argument_types.path_or_name)
    assert sorted(options_that_take(parser, *types)) == sorted(PATH_OPTIONS[program])
    assert options_that_take(parser, Path) == []
    names_a_path = ("FILE", "DIRECTORY", "FILE,...")
    devices_own = {"--android_dir", "--remote_dir"}
    shown = {one.option_strings[0] for one in parser._actions if one.metavar in names_a_path}
    assert shown - devices_own <= set(PATH_OPTIONS[program])


@pytest.mark.parametrize(("program", "option"), EVERY_PATH_OPTION)
def test_a_tilde_is_the_home_directory(monkeypatch, program, option):
    monkeypatch.setenv("HOME", "/home/ann")
    assert parse_one(program, option, "~/x.svg") == "/home/ann/x.svg"


@pytest.mark.parametrize(("program", "option"), EVERY_PATH_OPTION)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("~nosuchuser/x.svg", "the home directory in '~nosuchuser/x.svg' is unknown"),
        (f"~/{TOO_LONG}.svg", "is too long"),
        ("~/a\0b.svg", "cannot be a path"),
    ],
    ids=["nosuchuser", "too long", "NUL"],
)
def test_a_path_that_cannot_be_is_one_line(capsys, program, option, text, reason):
    with pytest.raises(SystemExit) as end:
        parse_one(program, option, text)
    message = capsys.readouterr().err
    assert (end.value.code, message.count("\n")) == (2, 1)
    assert option in message
    assert reason in message
    assert len(message) < 200


def test_a_loop_of_links_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for text in (tmp_path / "loop", tmp_path / "loop/x"):
        with pytest.raises(argparse.ArgumentTypeError, match="is a loop of links"):
            path(str(text))


def test_an_empty_path_is_not_the_current_directory():
    with pytest.raises(argparse.ArgumentTypeError, match="the path is empty"):
        path("")


def test_a_path_below_a_file_or_of_others_is_left_to_whoever_opens_it(tmp_path):
    (tmp_path / "file").write_text("")
    assert path(str(tmp_path / "file/below")) == tmp_path / "file/below"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--platf", "x"], "there is no option '--platf'; did you mean --platform?"),
        (["--benchmark-file", "x"], "there is no option '--benchmark-file'; did you mean --benchmark_file?"),
        (["-program", "x"], "there is no option '-program'; did you mean --program?"),
        (["--Validate"], "there is no option '--Validate'; did you mean --validate?"),
        (["--zzzz=1"], "there is no option '--zzzz'; --help shows all options"),
        ([*HARNESS, "stray"], "unexpected argument 'stray'; every value follows its option"),
        ([], "the following arguments are required: --benchmark_file"),
        (
            [*HARNESS, "--when_busy", "wat"],
            "argument --when_busy: 'wat' is not one of wait, fail; did you mean wait?",
        ),
        ([*HARNESS, "--framework", "x"], "argument --framework: 'x' is not one of caffe2"),
        ([*HARNESS, "--timeout", "soon"], "argument --timeout: invalid number value: 'soon'"),
        (
            [*HARNESS, "--operators", "bytype"],
            "argument --operators: 'bytype' is neither a number nor all nor by_type; did you mean by_type?",
        ),
        ([*HARNESS, "--seed"], "argument --seed: expected one argument"),
        ([*HARNESS, "--\x1b[31mred"], "there is no option '--\\x1b[31mred'; did you mean --seed?"),
    ],
)
def test_wrong_usage_is_one_line_with_a_suggestion(capsys, argv, message):
    with pytest.raises(SystemExit) as end:
        harness_arguments.parse(argv)
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert shown.count("\n") == 1
    assert shown.startswith(f"harness.py: error: {message.split('; did')[0]}")
    if "did you mean" in message and "\x1b" not in argv[-1]:
        assert shown == f"harness.py: error: {message}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*LOOP, "--brnch", "x"], "there is no option '--brnch'; did you mean --branch?"),
        (
            [*LOOP, "--local_reportr", "x"],
            "there is no option '--local_reportr'; did you mean --local_reporter?",
        ),
        (["--exec_dri", "x"], "there is no option '--exec_dri'; did you mean --exec_dir?"),
        (
            [*LOOP, "--when_busy", "wat"],
            "argument --when_busy: 'wat' is not one of wait, fail; did you mean wait?",
        ),
        (["--repo_dir=r", "--exec_dir=e"], "the following arguments are required: --benchmark_file"),
    ],
)
def test_the_loop_speaks_in_its_own_name(capsys, argv, message):
    with pytest.raises(SystemExit) as end:
        repo_driver_arguments.parse(argv)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"repo_driver.py: error: {message}\n"


@pytest.mark.parametrize(
    ("main", "argv", "message"),
    [
        (
            history.main,
            ["shw"],
            "history: error: argument {show,changes}: 'shw' is not one of show, changes; did you mean show?",
        ),
        (
            history.main,
            ["show", "--nett", "x"],
            "history: error: there is no option '--nett'; did you mean --net?",
        ),
        (
            devices.main,
            ["lst"],
            "devices: error: argument {list,check}: 'lst' is not one of list, check; did you mean list?",
        ),
    ],
)
def test_the_other_programs_do_the_same(capsys, main, argv, message):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"benchmarking.{message}\n"


def test_values_that_look_like_options_are_values():
    argv = [*HARNESS, "--seed", "-3", "--program=-odd", "--info", "- --x y"]
    options = harness_arguments.parse(argv)
    assert (options.seed, options.program, options.info) == (-3, Path("-odd"), "- --x y")


def test_nothing_is_suggested_where_nothing_is_close():
    assert suggestion("xyz", ["alpha", "beta"]) == ""


def test_what_is_written_rightly_is_not_suggested():
    assert suggestion("bencher", ["bencher", "open_metrics"]) == ""
    assert suggestion("--max-seconds", ["--max_seconds"]) == "; did you mean --max_seconds?"


@pytest.mark.parametrize(
    ("text", "mask"),
    [("0", 1), ("0-3,6", 0b1001111), ("0xf", 0xF), ("0XF0", 0xF0), ("3,3", 8), ("4095", 1 << 4095)],
)
def test_cores(text, mask):
    assert core_mask(text) == mask


@pytest.mark.parametrize(
    "text", ["", "garbage", "0x0", "-1", "3-1", "0,,1", "0x", "0-99999999999", "4096", "0x1" + "0" * 2000]
)
def test_invalid_sets_of_cores_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="neither a list of cores"):
        core_mask(text)


def test_shared_libraries_are_paths_too(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert harness_arguments.parse([*HARNESS, "--shared_libs", "~/a.so, b.so"]).shared_libs == (
        "/home/ann/a.so",
        "b.so",
    )


def test_a_long_value_is_quoted_in_part():
    assert argument_types.quoted("x" * 60) == f"'{'x' * 60}'"
    assert argument_types.quoted("x" * 61) == f"'{'x' * 60}...'"
    assert argument_types.quoted("a\x1b\n") == r"'a\x1b\n'"


@pytest.mark.parametrize("text", ["0-4095", "4095", "0x" + "f" * 1024])
def test_the_last_core_can_be_named(text):
    assert core_mask(text) >> 4095 == 1


@pytest.mark.parametrize(
    "text",
    ["4096", "0-4096", "0x1" + "0" * 1024, "0x0", "3-1", "", "-1", "1,,2", "9" * 5000, "0-" + "9" * 30],
)
def test_cores_that_no_machine_has(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is neither a list of cores"):
        core_mask(text)


def test_the_number_of_operators_has_a_bound():
    assert argument_types.operator_choice("999999") == 999_999
    for text in ("1000000", "-1", "\u00b2", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="is neither a number nor all nor by_type"):
            argument_types.operator_choice(text)


@pytest.mark.parametrize("type_", [argument_types.positive_int, argument_types.job_number])
def test_what_is_no_number_is_said_in_words(capsys, type_):
    parser = argument_types.Parser("x", "", "")
    parser.add_argument("job", type=type_)
    with pytest.raises(SystemExit):
        parser.parse(["seven"])
    assert capsys.readouterr().err == "x: error: argument job: invalid whole number value: 'seven'\n"
