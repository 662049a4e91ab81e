"""From the arguments of ``mlbench compare`` to the module that compares, and what that is asked for."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarking.cli import compare
from benchmarking.errors import ExitStatus


@pytest.fixture
def asked(monkeypatch):
    """Calls ``main``; gives its status, the module, and the request that it would get."""
    taken = []

    def take(name):
        return SimpleNamespace(
            compare=lambda request: taken.append((name, request)) or ExitStatus.INCONCLUSIVE
        )

    monkeypatch.setattr(compare, "import_module", take)

    def asked(*argv):
        taken.clear()
        status = compare.main(argv, "mlbench compare")
        return (status, *(taken[0] if taken else (None, None)))

    return asked


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (["true", "echo x"], "commands"),
        (["no such", "./thing"], "commands"),
        (["./none", "/no/such"], "commands"),
        (["../none", "'none'"], "commands"),
        (["'open", ""], "commands"),
        (["a", "b", "c"], "programs"),
        (["a", "b", "c", "d"], "programs"),
        (["saved-a", "saved-b"], "saved"),
        (["feature/a", "feature/b"], "saved"),
        (["true", "saved-b", "--results=x"], "saved"),
        (["true", "true", "--by", "device"], "saved"),
        (["--base=x", "--head=y", "file"], "environments"),
        (["--base=x", "file"], "environments"),
        (["--head=y", "--python=p", "file"], "environments"),
        (["--base=x", "--head=y", "--repository=.", "true"], "commits"),
        (["--build=make", "--repository=.", "true"], "commits"),
        (["true", "false", "--repository=."], "saved"),
        (["true", "false", "more", "--repository=."], "commits"),
    ],
)
def test_the_kind_of_the_comparison(asked, argv, kind):
    status, module, request = asked(*argv)
    assert (status, module) == (ExitStatus.INCONCLUSIVE, f"benchmarking.cli.compare_{kind}")
    assert request.command == ("mlbench", "compare", *argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give BASE and HEAD"),
        (["true"], "give BASE and HEAD"),
        (["true", "true", "--build=make"], "--build needs --repository"),
        (["true", "true", "--python=p"], "--python makes environments"),
        (["--base=x", "--repository=.", "--python=p", "true"], "--python makes environments"),
        (["--base=x", "--head=y", "file", "--by=device"], "--by is for saved runs"),
        (["true", "main"], "BASE 'true' is a command, HEAD 'main' is none: give two commands, or "),
        (["main", "sh -c x"], "HEAD 'sh -c x' is a command, BASE 'main' is none: give two commands, or "),
    ],
)
def test_what_is_no_comparison(asked, capsys, argv, message):
    assert asked(*argv) == (ExitStatus.BAD_USAGE, None, None)
    assert capsys.readouterr().err.startswith(f"mlbench compare: {message}")


def test_a_directory_is_no_program_and_a_file_here_is_meant_as_one(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    assert asked("docs", "main")[1] == "benchmarking.cli.compare_saved"
    (tmp_path / "old").write_text("")
    (tmp_path / "new").write_text("")
    assert asked("old", "new")[1] == "benchmarking.cli.compare_commands"


def test_what_is_asked_for(asked):
    _, _, request = asked(
        *("true", "true", "--format", "hyperfine", "--unit", "ms", "--net", "n", "--pattern", "p"),
        *("--json_path", "j", "--seed", "5", "--threads", "2", "--canary", "off"),
    )
    assert request.names == ("true", "true")
    assert request.reading == {
        "format": "hyperfine",
        "unit": "ms",
        "net": "n",
        "pattern": "p",
        "json_path": "j",
    }
    assert request.build_timeout_s is None
    assert {name: request.options[name] for name in ("seed", "threads", "canary")} == {
        "seed": 5,
        "threads": 2,
        "canary": "off",
    }


def test_what_is_not_asked_for(asked):
    _, _, request = asked(
        "--base=x", "--head=y", "--repository=r", "--build=make all", "--build_timeout=7", "true"
    )
    assert (request.base, request.head, request.repository) == ("x", "y", Path("r"))
    assert (request.build, request.build_timeout_s, request.python) == ("make all", 7.0, None)
    assert request.reading == {}
    assert not {"threads", "framework", "by"} & {*request.options}
    assert (request.options["seed"], request.options["json"]) == (None, False)


def test_models_are_no_benchmark_programs(capsys):
    """They were run as programs: the canary, and then the test, failed with 'is not executable'."""
    assert compare.main(["a.onnx", "b.onnx", "c.onnx"], "mlbench compare") == ExitStatus.BAD_USAGE
    assert capsys.readouterr().err == (
        "mlbench compare: BASE: 'a.onnx' is a model: give two benchmark programs, and the model that they run"
        " after them\n"
    )


@pytest.mark.parametrize("more", [["true", "true"], ["--repository=.", "--base=a", "--head=b", "true"]])
def test_a_limit_of_builds_without_a_build_is_refused(capsys, more):
    assert compare.main(["--build_timeout", "60", *more], "mlbench compare") == ExitStatus.BAD_USAGE
    assert capsys.readouterr().err == "mlbench compare: --build_timeout needs --build\n"
