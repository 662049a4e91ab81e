import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from benchmarking.cli.history import main
from benchmarking.cli.wiring import default_results
from benchmarking.records.series import Point, Series, SeriesKey
from benchmarking.records.tree import History
from benchmarking.reporters import history_plot
from benchmarking.results.model import Program, TestKey
from examples.history_demo.make_results import STEP_AT, commits, make_results
from tests.support import golden
from tests.support.sample_results import AB, DELAY, ERROR, NASTY_NAME, REGRESSED, delays, having

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    make_results(directory)
    return directory


@pytest.fixture
def run(capsys):
    def run(command, directory, *options, status=0):
        assert main([command, "--local_reporter", str(directory), *map(str, options)]) == status
        return capsys.readouterr()

    return run


def commit(number):
    return {"commit": f"{number:040x}", "commit_time": DELAY.provenance.commit_time + number * 3600}


def save(directory, results=(DELAY,), count=1, **changes):
    history = History(directory)
    for number in range(count):
        for result in results:
            history.save(having(result, **commit(number), **changes))
    return history


# --- what a user sees ---------------------------------------------------------------------------------------


def test_the_changes_of_many_commits(demo, run):
    golden.check(run("changes", demo).out, "history/changes.txt")


def test_a_line_per_commit(demo, run):
    golden.check(run("show", demo, "--net", "squeezenet", "--since", "2026-01-29").out, "history/show.txt")


def test_notes_operators_errors_and_names_that_bite(tmp_path, run):
    tainted = having(AB, tainted=("load 9.0",))
    save(tmp_path, (tainted, ERROR, REGRESSED), count=2)
    names = dict.fromkeys(("net", "identifier", "name"), NASTY_NAME)
    History(tmp_path).save(having(DELAY, types=(delays(NASTY_NAME, 5.0),), **names))
    golden.check(run("show", tmp_path, "--type", "all").out, "history/show_everything.txt")


@pytest.mark.parametrize("program", [{}, {"engine": "torch", "backend": "mkl"}])
def test_the_backend_is_told_once(tmp_path, run, program):
    save(tmp_path, backend="mkl", program=Program(facts=program))
    heading = run("show", tmp_path).out.splitlines()[0]
    assert heading.count("backend mkl") == 1


def test_the_step_is_at_the_commit_that_made_it(demo, run):
    document = json.loads(run("changes", demo, "--net", "squeezenet", "--json").out)
    (series,) = document["series"]
    (change,) = series["changes"]
    numbers = {one.hash: number for number, one in enumerate(commits())}
    assert abs(numbers[change["first_bad"]] - STEP_AT) <= 1
    assert numbers[change["last_good"]] == numbers[change["first_bad"]] - 1
    assert change["ratio"] == pytest.approx(1.03, abs=0.01)
    assert change["kind"] == "step"
    assert len(series["levels"]) == len(series["points"]) == len(commits()) - 1
    assert series["changes_of"] == "ratio"


def test_the_creep_is_found_and_what_did_not_change_is_not(demo, run):
    series = {one["net_name"]: one for one in json.loads(run("changes", demo, "--json").out)["series"]}
    assert [one["kind"] for one in series["mobilenet"]["changes"]] == []
    assert "creep" in [one["kind"] for one in series["lenet"]["changes"]]
    assert all(one["ratio"] > 1 for one in series["lenet"]["changes"])


def test_too_few_commits_are_reported(tmp_path, run):
    save(tmp_path, count=3)
    assert run("changes", tmp_path).out == (
        "0 of 1 series changed; too short to judge, with fewer than 16 commits: 1\n"
    )


def test_the_newest_are_compared_with_as_many_of_the_oldest(tmp_path, run):
    for number in range(20):
        values = replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, p50=1.0 + (number >= 10)))
        History(tmp_path).save(having(DELAY, types=(values,), **commit(number)))
    assert "the newest 10 commits compared with the oldest 10: +100" in run("changes", tmp_path).out


def test_an_error_that_grew_is_a_change(tmp_path, run):
    for number in range(20):
        size = 1e-6 if number < 10 else 1e-3
        one = replace(ERROR.types[0], error=replace(ERROR.types[0].error, max_absolute=size))
        History(tmp_path).save(having(ERROR, types=(one,), **commit(number)))
    (series,) = json.loads(run("changes", tmp_path, "--json").out)["series"]
    (change,) = series["changes"]
    assert change["first_bad"] == commit(10)["commit"]
    assert (change["before"], change["after"], change["deviations"]) == (1e-6, 1e-3, "Infinity")
    assert "max error" in run("changes", tmp_path).out


# --- which results ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--net", "a b"), 1),
        (("--net", "a b,a-b"), 2),
        (("--platform", "phone 1"), 1),
        (("--identifier", "other"), 1),
        (("--metric", "error"), len(ERROR.types)),
        (("--metric", "delay"), 5),
        (("--type", AB.types[1].type), 5),
        ((), 5 + len(ERROR.types)),
        (("--type", "all"), 4 * len(DELAY.types) + len(AB.types) + len(ERROR.types)),
    ],
)
def test_filters(tmp_path, run, options, count):
    save(tmp_path, net="a b")
    save(tmp_path, net="a-b")
    save(tmp_path, name="phone 1")
    save(tmp_path, identifier="other")
    save(tmp_path, (AB, ERROR))
    assert len(json.loads(run("show", tmp_path, *options, "--json").out)["series"]) == count


def test_the_newest_commits_or_those_since_a_day(tmp_path, run):
    save(tmp_path, count=30)  # from 2023-11-14 21:56 on, one each hour
    save(tmp_path, count=30)  # and again: still one point for a commit

    def shown(*options):
        (series,) = json.loads(run("show", tmp_path, *options, "--json").out)["series"]
        return [int(one["commit"], 16) for one in series["points"]]

    assert shown() == list(range(30))
    assert shown("--limit", 7) == list(range(23, 30))
    assert shown("--since", "2023-11-15") == list(range(3, 30))
    assert shown("--since", "2023-11-15", "--limit", "1") == [29]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_picture(demo, run, tmp_path, kind):
    pictures = [tmp_path / f"{name}.{kind}" for name in ("one", "two")]
    for path in pictures:
        run("changes", demo, "--plot", path)
    one, two = (path.read_bytes() for path in pictures)
    assert one == two
    assert one.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    if kind == "svg":
        for name in (b"squeezenet", b"lenet", b"mobilenet", b"treatment/control", b"2026-01-05"):
            assert name in one
        # What became slower at once, and what did by and by, in matplotlib's red and orange.
        assert [colour in one for colour in (b"#d62728", b"#ff7f0e")] == [True, True]


def test_each_level_is_a_line_and_each_change_another():
    axes = Figure().subplots()
    points = tuple(Point(f"c{number}", number, 1.0 + (number >= 20)) for number in range(40))
    key = SeriesKey(TestKey("net", "delay", "0", "caffe2", None, "device"), "NET_DELAY", "host")
    history_plot._draw_series(axes, Series(key, "", points))
    lines = [(line.get_color(), *line.get_xdata(), *line.get_ydata()) for line in axes.lines[2:]]
    assert lines[:2] == [("black", -0.5, 19.5, 1.0, 1.0), ("black", 19.5, 39.5, 2.0, 2.0)]
    assert lines[2][:2] == ("tab:red", 19.5)


def test_names_that_bite_can_be_drawn(tmp_path, run):
    History(tmp_path).save(having(DELAY, net=f"{NASTY_NAME} $\\frac$", name=NASTY_NAME))
    run("show", tmp_path, "--plot", tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size > 1000


def test_matplotlib_is_only_loaded_to_draw(demo):
    code = (
        "import sys\nfrom benchmarking.cli.history import main\n"
        f"main(['changes', '--local_reporter', {str(demo)!r}])\nprint('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_without_a_directory_it_is_the_harnesss_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["show"]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "ml-benchmark-platform/results") in error
    assert "--local_reporter" in error
    root = default_results()
    root.mkdir()
    save(root)
    assert main(["show"]) == 0
    assert f"{0:012x}" in capsys.readouterr().out


def test_runs_without_a_commit_are_shown_by_their_time(tmp_path, run):
    history = History(tmp_path)
    for time in (0, 40, 100):
        commit_time = DELAY.provenance.commit_time + time
        history.save(having(DELAY, commit="interactive", commit_time=commit_time))
    rows = [line.split() for line in run("show", tmp_path).out.splitlines() if "interactive" in line]
    assert [row[2] for row in rows] == ["21:56:40", "21:57:20", "21:58:20"]


def test_builds_without_a_commit_are_shown_by_their_whole_name(tmp_path, run):
    result = having(
        DELAY, commit="caffe2_benchmark-1f0c5a3b9d72", control_commit="caffe2_benchmark-8f1c2d3e4a5b"
    )
    History(tmp_path).save(result)
    shown = run("show", tmp_path).out
    assert "caffe2_benchmark-1f0c5a3b9d72" in shown


def test_without_a_command_the_message_names_both(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "arguments are required: {show,changes}" in capsys.readouterr().err


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_damaged_and_foreign_files_are_skipped_and_reported(tmp_path, run, caplog):
    history = save(tmp_path, count=8)
    runs = sorted(tmp_path.rglob("meta.txt"), key=lambda path: json.loads(path.read_text())["commit"])
    runs = [path.parent for path in runs]
    case = runs[0].parents[4]
    (runs[0] / "NET_DELAY.txt").write_text("{")
    (runs[1] / "NET_DELAY.txt").write_text('{"type": "NET_DELAY"}')
    (runs[2] / "meta.txt").write_bytes(b"\xff")
    (runs[3] / "meta.txt").write_text("[]")
    (runs[4] / "meta.txt").unlink()
    changes = json.loads((runs[5] / "meta.txt").read_text())
    (runs[5] / "meta.txt").write_text(json.dumps(changes | {"commit_time": 10**18}))
    (runs[6] / "meta.txt").write_text(json.dumps(changes | {"layout_version": 99}))
    (tmp_path / "notes.md").write_text("mine")
    (case / "backup").mkdir()
    (case / "2023" / "x").write_text("")
    (tmp_path / ".failures" / "some").mkdir(parents=True)
    (series,) = json.loads(run("show", tmp_path, "--json").out)["series"]
    assert [one["commit"] for one in series["points"]] == [commit(7)["commit"]]
    for path in (*runs[:7], tmp_path / "notes.md", case / "backup", case / "2023" / "x"):
        assert sum(str(path) in record.getMessage() for record in caplog.records) == 1, path
    assert len(caplog.records) == 10
    assert ".failures" not in caplog.text
    assert history.root == tmp_path


def set_at(value, place, new):
    *path, last = place
    for part in path:
        value = value[part]
    value[last] = new


@pytest.mark.parametrize(
    ("place", "new"),
    [
        (("values",), 5),
        (("values", 0), "many"),
        (("values", 0), 10**400),
        (("pairs",), {"1": 2}),
        (("pairs",), ["Infinity"]),
        (("summary", "count"), "Infinity"),
        (("summary", "count"), 1.5),
        (("summary", "p50"), None),
        (("summary", "p50"), float("inf")),
        (("summary",), []),
        (("comparison", "ratio"), [1]),
        (("comparison", "ratio_interval"), {"low": 1}),
        (("type",), {"a": 1}),
        (("unit",), None),
        (("cost",), {"parameters": "many"}),
        (("decision",), {"verdict": "so-so"}),
    ],
)
def test_a_file_with_anything_in_it_costs_itself(tmp_path, run, caplog, place, new):
    save(tmp_path, (AB,), count=2)
    damaged = sorted(tmp_path.rglob("NET_DELAY.txt"))[0]
    value = json.loads(damaged.read_text())
    set_at(value, place, new)
    damaged.write_text(json.dumps(value))
    (series,) = json.loads(run("show", tmp_path, "--json").out)["series"]
    assert len(series["points"]) == 1
    (record,) = caplog.records
    assert str(damaged.parent) in record.getMessage()
    assert "NET_DELAY.txt" in record.getMessage()


@pytest.mark.parametrize("name", ["meta.txt", "NET_DELAY.txt"])
@pytest.mark.parametrize("what", ["fifo", "device", "directory", "huge", "deep", "link to nothing", "a list"])
def test_foreign_files_are_skipped(tmp_path, run, caplog, name, what):
    save(tmp_path, count=2)
    path = sorted(tmp_path.rglob(name))[0]
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "link to nothing":
        path.symlink_to("nonesuch")
    elif what == "huge":
        with path.open("wb") as stream:
            stream.truncate(10 * 2**40)
    else:
        path.write_text("[" * 100_000 if what == "deep" else "[1]")
    (series,) = json.loads(run("show", tmp_path, "--json").out)["series"]
    assert len(series["points"]) == 1
    assert [str(path.parent) in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("size", [1e308, -1e308, 5e-324, 0.0, -1.0, math.inf, math.nan])
def test_numbers_that_nothing_takes(tmp_path, run, size):
    types = (replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, p50=size)),)
    save(tmp_path, (DELAY,), count=20)
    save(tmp_path, (replace(DELAY, types=types),), count=9)
    for command in ("show", "changes"):
        assert run(command, tmp_path).out
        assert json.loads(run(command, tmp_path, "--json").out)
    run("show", tmp_path, "--plot", tmp_path / "x.svg")


def test_nothing_that_others_chose_drives_the_terminal(tmp_path, run, caplog):
    bites = "\x1b[31m\u202e\u2028"
    names = (
        "net",
        "metric",
        "identifier",
        "name",
        "backend",
        "framework",
        "commit",
        "control_commit",
    )
    result = having(
        AB,
        **dict.fromkeys(names, bites),
        program=Program(facts={"engine": bites}),
        types=(replace(AB.types[0], unit=bites),),
    )
    run_directory = History(tmp_path).save(result)
    (run_directory.parent / bites).mkdir()
    shown = run("show", tmp_path, "--type", "all").out + run("changes", tmp_path, "--type", "all").out
    run("show", tmp_path, "--type", "all", "--plot", tmp_path / "x.svg")
    said = shown + caplog.text + (tmp_path / "x.svg").read_text()
    assert caplog.records
    assert not set(bites) & set(said) - set("[31m")


def test_a_damaged_second_run_leaves_the_first(tmp_path, run):
    save(tmp_path)
    save(tmp_path)
    (second,) = tmp_path.rglob("1/NET_DELAY.txt")
    second.write_text("garbage")
    (series,) = json.loads(run("show", tmp_path, "--json").out)["series"]
    assert len(series["points"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--net", "nonesuch"), "no saved results match"),
        (("--plot", "/nonesuch/x.svg"), "--plot: cannot write /nonesuch/x.svg: No such file or directory"),
    ],
)
def test_errors_are_one_line(tmp_path, run, options, message):
    save(tmp_path)
    error = run("show", tmp_path, *options, status=2).err
    assert error.startswith("benchmarking.history: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_directory_that_is_none_and_one_that_is_empty(tmp_path, run):
    assert "there is no directory" in run("show", tmp_path / "nonesuch", status=2).err
    assert "no saved results match" in run("show", tmp_path, status=2).err


def test_too_many_series_for_a_picture(tmp_path, run):
    types = tuple(delays(f"ID_{number}_Conv_c", 5.0) for number in range(51))
    save(tmp_path, (replace(DELAY, types=types),))
    options = ("--type", "all", "--plot", tmp_path / "x.png")
    assert "51 series are too many" in run("show", tmp_path, *options, status=2).err


@pytest.mark.parametrize(
    "options",
    [
        ("--since", "yesterday"),
        ("--limit", "0"),
        ("--plot", "x.pdf"),
        ("--metr", "delay"),
        ("--since", "2026-02-30"),
    ],
)
def test_wrong_options(tmp_path, capsys, options):
    with pytest.raises(SystemExit) as caught:
        main(["show", "--local_reporter", str(tmp_path), *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_the_module_is_a_program(demo):
    argv = [sys.executable, "-m", "benchmarking.history", "changes", "--local_reporter", str(demo)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 3 series changed" in done.stdout
    help_text = subprocess.run(
        [*argv[:3], "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "exit status" in help_text


def test_the_newest_commits_for_other_programs(tmp_path, run):
    save(tmp_path, count=3)
    file = tmp_path / "bencher.json"
    run("show", tmp_path, "--export", f"bencher:{file}")
    assert len(json.loads(file.read_text())) == 1
