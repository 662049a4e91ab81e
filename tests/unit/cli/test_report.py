"""``mlbench report``: one file, from a directory of saved results."""

import re
from pathlib import Path

import pytest

from benchmarking.cli.commands import main
from benchmarking.cli.report import make_parser
from benchmarking.errors import ExitStatus
from benchmarking.records.tree import History
from tests.support.made_up_results import History as MadeUp


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    history = History(root)
    for result in MadeUp(nets=2, backends=("mkl",), devices=1, commits=12, operators=1, samples=8, steps=0.2):
        if result.failure is None:
            history.save(result)
    return root


def test_everything_is_in_one_file(tree, tmp_path, capsys):
    file = tmp_path / "report.html"
    assert main(["report", str(tree), "--html", str(file), "--title", "Nightly <b>"]) == ExitStatus.OK
    text = file.read_text(encoding="utf-8")
    assert "Nightly &lt;b&gt;" in text
    assert len(re.findall(r'href="#series-[0-9a-f]{16}"', text)) >= 2
    assert not re.search(r'(src|href|action)="(?!#|data:,")', text)
    policy = re.search(r'content="(default-src[^"]*)"', text).group(1)
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 4
    assert capsys.readouterr().out == f"{file}: 0.1 MB\n"


def test_only_the_newest_commits(tree, tmp_path):
    file = tmp_path / "report.html"
    assert main(["report", str(tree), "--html", str(file), "--limit", "3"]) == ExitStatus.OK
    assert "of 3 commits" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("is_there", [True, False])
def test_without_results_there_is_no_report(tmp_path, capsys, is_there):
    root = tmp_path / "results"
    if is_there:
        root.mkdir()
    assert main(["report", str(root), "--html", str(tmp_path / "report.html")]) == ExitStatus.BAD_USAGE
    assert str(root) in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_cannot_be_written(tree, tmp_path, capsys):
    file = tmp_path / "none" / "report.html"
    assert main(["report", str(tree), "--html", str(file)]) == ExitStatus.BAD_USAGE
    assert f"cannot write {file}: No such file or directory" in capsys.readouterr().err


def test_the_example_of_the_documentation_is_a_command():
    docs = (Path(__file__).parents[3] / "docs" / "server.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^mlbench report (.*)$", docs, re.MULTILINE)
    arguments = make_parser("mlbench report").parse(line.split())
    assert (arguments.path.name, arguments.html.name) == ("results", "report.html")
