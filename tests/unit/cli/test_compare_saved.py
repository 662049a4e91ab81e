import json
import random
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarking.cli.commands import main
from benchmarking.records import index
from benchmarking.records.saved_comparison import compare_versions, newest
from benchmarking.records.tree import History
from benchmarking.reporters import saved_report
from benchmarking.results.model import Comparison, Interval, Verdict
from benchmarking.statistics import summaries
from tests.support import golden
from tests.support.repositories import GitRemote
from tests.support.sample_results import DELAY, NASTY_NAME, decided, having, on_device

OLD, NEW = "1" * 40, "2" * 40
VERDICTS = {
    "squeezenet": Verdict.REGRESSED,
    "resnet50": Verdict.UNCHANGED,
    "vgg16": Verdict.INCONCLUSIVE,
}


def result(net, commit, value_us, day, **changes):
    delay = replace(DELAY.types[0], values=(), pairs=(), summary=summaries.summarize([value_us]))
    time = 1_700_000_000 + 86_400 * day
    values = {"net": net, "commit": commit, "commit_time": time, "time": time, "types": (delay,)}
    return having(DELAY, **values | changes)


def save_all(root):
    """Series with each kind of evidence, and a series that only one commit has."""
    history, generator = History(root), random.Random(1)
    for net in ("mobilenet", "shufflenet"):
        for day in range(20):
            history.save(result(net, f"{day:040x}", 1000 * generator.gauss(1, 0.005), day))
    heads = {
        "mobilenet": 1000,
        "shufflenet": 900,
        "lenet": 200,
        "squeezenet": 1020,
        "resnet50": 1001,
        "vgg16": 1000,
    }
    for net, value_us in heads.items():
        history.save(result(net, OLD, 1000, 100, branch="main", run_uid="a" * 32))
        head = result(net, NEW, value_us, 101, branch="feature", run_uid="b" * 32)
        if verdict := VERDICTS.get(net):
            ratio = value_us / 1000
            comparison = Comparison(12, ratio, Interval(ratio - 0.01, ratio + 0.01, 0.96))
            compared = decided(replace(head.types[0], comparison=comparison), verdict, "because")
            head = having(replace(head, types=(compared,)), control_commit=OLD, control_commit_time=0)
        history.save(head)
    history.save(result("vgg19", NEW, 1000, 101))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    save_all(root)
    return root


@pytest.fixture
def compare(capfd, saved):
    def compare(*argv, status=0, results=saved):
        assert main(["compare", *map(str, argv), "--results", str(results)]) == status
        return capfd.readouterr()

    return compare


# --- what a user sees ---------------------------------------------------------------------------------------


def shown(root, width):
    with index.opened(root) as opened:
        sides = [(one, newest(opened.of_commit(one))) for one in (OLD, NEW)]
        return saved_report.show(compare_versions(opened, *sides), width)


def test_in_80_columns(saved):
    text = shown(saved, 80)
    assert max(map(len, text.splitlines())) <= 80
    golden.check(text, "compare/saved_80.txt")


def test_in_a_pipe_and_with_status_5(compare, saved):
    assert compare(OLD, NEW, status=5).out == shown(saved, 160)


def test_the_files_and_the_document(compare, tmp_path):
    files = tmp_path / "summary.md", tmp_path / "junit.xml"
    printed = compare(OLD, NEW, "--markdown", files[0], "--junit", files[1], "--json", status=5).out
    golden.check(files[0].read_text(), "compare/saved.md")
    golden.check(files[1].read_text(), "compare/saved.xml")
    golden.check(printed, "compare/saved.json")
    document = json.loads(printed)
    assert document["exit_status"] == 5
    assert [row["finding"] for row in document["series"]] == [
        *("slower", "faster", "no difference seen", "no difference seen"),
        *("cannot be told", "cannot be told"),
    ]
    cases = ElementTree.fromstring(files[1].read_text()).iter("testcase")
    outcomes = {case.get("name").split()[0]: [child.tag for child in case] for case in cases}
    assert outcomes["squeezenet"] == ["failure"]
    assert outcomes["vgg16"] == outcomes["lenet"] == ["skipped"]
    assert outcomes["shufflenet"] == ["system-out"]


def test_for_other_programs(compare, tmp_path):
    file = tmp_path / "metrics.txt"
    compare(OLD, NEW, "--export", f"open_metrics:{file}", status=5)
    labels = 'net="squeezenet",test="delay-0",device="Linux-x86_64-Example",framework="caffe2"'
    assert f"benchmark_delay_seconds{{{labels}}} 0.00102\n" in file.read_text()
    assert f"benchmark_relative_ratio{{{labels}}} 1.02\n" in file.read_text()


def test_names_of_others_are_harmless(tmp_path, compare):
    history = History(tmp_path)
    for commit in (OLD, NEW):
        history.save(having(result(NASTY_NAME, commit, 1000, 1), identifier=NASTY_NAME, backend=NASTY_NAME))
    file = tmp_path / "summary.md"
    printed = compare(OLD, NEW, "--markdown", file, results=tmp_path).out
    assert "\x1b" not in printed
    assert "<b>" not in file.read_text()
    assert "@team" not in file.read_text()


# --- what is compared ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("main", "feature"), ("a" * 32, "b" * 8), (OLD[:6], "feature")])
def test_commits_runs_and_branches(compare, names):
    rows = json.loads(compare(*names, "--json", status=5).out)["series"]
    assert len(rows) == 6


@pytest.mark.parametrize(
    ("options", "status"),
    [(("--fail_on", "never"), 0), (("--fail_on", "inconclusive"), 5)],
)
def test_what_the_exit_status_reflects(compare, options, status):
    compare(OLD, NEW, *options, status=status)


def test_what_cannot_be_told_may_have_its_own_status(tmp_path, compare):
    for commit in (OLD, NEW):
        History(tmp_path).save(result("lenet", commit, 1000, 1))
    compare(OLD, NEW, results=tmp_path)
    compare(OLD, NEW, "--fail_on", "inconclusive", results=tmp_path, status=8)


def test_slower_by_the_scatter_is_no_failure(compare):
    compare(NEW, OLD)


def test_a_branch_of_a_repository(tmp_path, compare):
    repository = GitRemote(tmp_path / "repository")
    commits = [repository.commit({"file": str(number)}) for number in range(3)]
    repository.run("git", "checkout", "--quiet", "-b", "other")
    commits.append(repository.commit({"file": "other"}))
    root = tmp_path / "saved"
    root.mkdir()
    for number, value_us in ((0, 1000), (1, 2000), (3, 3000)):
        History(root).save(result("lenet", commits[number], value_us, number))
    names = ("master", "other", "--repository", repository.directory)
    (row,) = json.loads(compare(*names, "--json", results=root).out)["series"]
    assert (row["base"], row["head"]) == (2000, 3000)
    assert "no commit, branch or tag" in compare("no-such", "other", *names[2:], results=root, status=2).err
    old = repository.run("git", "rev-list", "--max-parents=0", "HEAD")
    other_root = tmp_path / "other"
    other_root.mkdir()
    History(other_root).save(result("lenet", old[::-1], 1, 1))
    assert "no saved result is of a commit of 'master'" in compare(*names, results=other_root, status=2).err


def test_by_device(tmp_path, compare):
    other = on_device(DELAY, "other device", "feedbeef")
    for day in range(10):
        one = result("lenet", f"{day:040x}", 1000 + day % 2, day)
        History(tmp_path).save(one)
        History(tmp_path).save(replace(one, test=replace(one.test, device="feedbeef"), device=other.device))
    for names in ((DELAY.device.name, "other device"), (DELAY.test.device, "feedbeef")):
        printed = compare(*names, "--by", "device", results=tmp_path).out
        assert "no difference seen: 1" in printed
    error = compare("x", "other device", "--by", "device", results=tmp_path, status=2).err
    assert "there are no saved results of the device 'x'" in error
    assert "other device" in error


# --- wrong usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("main", "nothing"), "'nothing' is neither a program nor a saved commit, run or branch"),
        (("0000", NEW), "'0000' is the beginning of 20 commits"),
        ((OLD, "0" * 39 + "1", "model.onnx"), "no files"),
        ((OLD,), "give BASE and HEAD"),
        ((OLD, NEW, "--format", "process"), "--format is for programs"),
        ((OLD, NEW, "--minimum_effect", "0.05"), "--minimum_effect is for what runs"),
        ((OLD, NEW, "--alpha", "0.05"), "--alpha is for what runs"),
        ((OLD, NEW, "--operators", "all"), "--operators is for what runs"),
        ((OLD, NEW, "--local_reporter", "x"), "--local_reporter is for what runs"),
        ((OLD, NEW, "--remote_reporter", "a/b|c"), "--remote_reporter is for what runs"),
        ((OLD, NEW, "--canary", "off"), "--canary is for what runs"),
        ((OLD, NEW, "--junit", "x", "--markdown", "./x"), "--markdown and --junit both write x"),
        ((OLD, NEW, "--backend", "mkl"), "--backend is for programs"),
        ((OLD, "f" * 40, "--by", "device"), "there are no saved results of the device"),
    ],
)
def test_wrong_usage(compare, names, message):
    error = compare(*names, status=2).err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_in_common(tmp_path, compare):
    History(tmp_path).save(result("lenet", OLD, 1, 1))
    History(tmp_path).save(result("squeezenet", NEW, 1, 1))
    assert "have no series in common" in compare(OLD, NEW, results=tmp_path, status=2).err
    assert "no saved results in" in compare(OLD, NEW, results=tmp_path / "none", status=2).err


def test_a_report_that_cannot_be_written(compare, tmp_path):
    error = compare(OLD, NEW, "--markdown", tmp_path / "none" / "x.md", status=6).err
    assert "--markdown: cannot write" in error


def test_two_names_that_are_no_programs_are_saved_runs(saved, capfd, monkeypatch):
    monkeypatch.setattr("benchmarking.cli.compare_saved.default_results", lambda: saved)
    assert main(["compare", OLD, NEW]) == 5
    assert "squeezenet" in capfd.readouterr().out
    assert main(["compare", "true", "no-such-program"]) == 2
    assert "HEAD 'no-such-program' is none: give two commands, or" in capfd.readouterr().err
