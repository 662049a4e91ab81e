"""What ``mlbench compare`` runs for two commits, two environments or two programs; nothing is measured here."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarking.cli import compare_commits, compare_environments, compare_programs, harness
from benchmarking.cli.compare_request import Request
from benchmarking.cli.options import TOKEN_VARIABLE
from benchmarking.errors import BuildError, ExitStatus, UsageError
from benchmarking.frameworks.frameworks import make_framework
from benchmarking.programs import made_environments
from benchmarking.programs.made_environments import PYTHON, Wanted
from benchmarking.programs.process import Cancellation
from tests.support.small_repository import make_repository

NOTHING = Request((), {}, {}, None, None, None, None, "", 60.0, ("mlbench", "compare"))


def request(**changes):
    return Request(**{**vars(NOTHING), **changes})


@pytest.fixture(autouse=True)
def own_directories(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# --- two commits --------------------------------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch):
    found = []
    monkeypatch.setattr(
        compare_commits, "compare_sides", lambda *asked: found.append(asked) or ExitStatus.INCONCLUSIVE
    )
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"base": None},
        {"head": None},
        {"names": ()},
        {"names": ("a", "b")},
        {"repository": None},
    ],
)
def test_what_two_commits_need(changes):
    whole = {"base": "main~1", "head": "main", "names": ("true",), "repository": Path()}
    with pytest.raises(UsageError, match=r"^two commits need --base, --head and a command in quotes"):
        compare_commits.compare(request(**whole | changes))


def test_each_commit_is_built_in_a_checkout_of_its_own(compared, tmp_path, monkeypatch, caplog):
    repository = tmp_path / "a  project!"
    old, new = make_repository(repository, 100, 150)
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    build = f"sh -c 'cp benchmark.in built; echo ${{{TOKEN_VARIABLE}-hidden}} >>built'"
    asked = request(base="main~1", head="main", names=("cat built",), repository=repository, build=build)
    with caplog.at_level("INFO"):
        assert compare_commits.compare(asked) == ExitStatus.INCONCLUSIVE
    ((given, base, head),) = compared
    assert given is asked
    assert [(one.name, one.argv[1:], one.version["commit"]) for one in (base, head)] == [
        ("base", ("built",), old),
        ("head", ("built",), new),
    ]
    assert base.version["commit_time"] <= head.version["commit_time"]
    for side, us in ((base, "100"), (head, "150")):
        built = (side.directory / "built").read_text()
        assert (f" {us} (us)" in built, built.endswith("hidden\n")) == (True, True)
        assert re.fullmatch(rf"a-project--{side.version['commit'][:8]}\w*-\w{{8}}", side.directory.name)
    said = [re.sub(r"[0-9a-f]{7,}|\d+\.\d", "X", one) for one in caplog.messages]
    assert said == ["building X (100 us)", "built in X s", "building X (150 us)", "built in X s"]
    compare_commits.compare(asked)
    assert len(caplog.messages) == 4  # both are kept
    assert not (repository / "built").exists()
    manifests = [
        json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("*.json") if path.is_file()
    ]
    found = [(one["title"], one["facts"].get("commit")) for one in manifests if "title" in one]
    made = shlex.join(shlex.split(build))
    assert sorted(found, key=str) == sorted(
        [
            (f"what is read of {repository}", None),
            *((f"{commit[:12]} of {repository}, {made}", commit) for commit in (old, new)),
        ],
        key=str,
    )


def test_what_a_killed_comparison_left_at_work_is_ended_first(tmp_path):
    """It would write into the checkout while that is checked out again."""
    directory = tmp_path / "checkout"
    marked = {**os.environ, compare_commits.BUILD_VARIABLE: str(directory)}
    repo = SimpleNamespace(check_out=lambda _, directory: directory.mkdir(), hidden_environment=())
    build = ("sh", "-c", f'echo "${compare_commits.BUILD_VARIABLE}" > seen')
    with subprocess.Popen(["sleep", "600"], env=marked) as left, Cancellation() as cancellation:
        builder = compare_commits._Builder(repo, tmp_path, build, 60.0, cancellation)
        builder._make(SimpleNamespace(commit="c0ffee", short="c0ffee", subject="coffee"), directory)
        assert left.wait() == -signal.SIGTERM
    assert (directory / "seen").read_text() == f"{directory}\n"


def test_nothing_is_built_without_a_build(compared, tmp_path, caplog):
    make_repository(tmp_path / "project", 100)
    asked = request(base="main", head="HEAD", names=("cat benchmark.in",), repository=tmp_path / "project")
    with caplog.at_level("INFO"):
        compare_commits.compare(asked)
    ((_, base, head),) = compared
    assert base.directory == head.directory
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("build", "timeout_s", "message"),
    [
        ("sh -c 'echo why; exit 7'", 60.0, r"\w+ cannot be built: sh -c .* ended with exit status 7\n.*why"),
        ("sleep 60", 0.2, r"\w+ cannot be built: sleep 60 was not finished after 0.2 s\n"),
        (
            "/nonesuch/make",
            60.0,
            r"\w+ cannot be built: cannot start '/nonesuch/make': there is no such file",
        ),
    ],
)
def test_a_commit_that_cannot_be_built(compared, tmp_path, build, timeout_s, message):
    make_repository(tmp_path / "project", 100)
    asked = request(base="main", head="main", names=("true",), repository=tmp_path / "project", build=build)
    with pytest.raises(BuildError, match=f"(?s)^{message}"):
        compare_commits.compare(request(**{**vars(asked), "build_timeout_s": timeout_s}))
    assert compared == []


def test_what_is_no_build_and_no_repository(tmp_path):
    asked = {"base": "a", "head": "b", "names": ("true",), "repository": tmp_path}
    with pytest.raises(UsageError, match=r"^--build: \S+ open\S is not a command: No closing quotation"):
        compare_commits.compare(request(**asked, build="'an open"))
    with pytest.raises(UsageError, match="--repository"):
        compare_commits.compare(request(**asked))


@pytest.mark.parametrize(
    ("name", "shown"), [("plain-1.0_x", "plain-1.0_x"), ("two  words!", "two-words-"), ("x" * 61, "x" * 60)]
)
def test_the_name_of_a_project(name, shown):
    assert compare_commits._project(Path("/some") / name) == shown


# --- two environments ---------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path):
    """One that is there."""
    python = tmp_path / "there" / PYTHON
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path / "there"


@pytest.fixture
def run(monkeypatch):
    found = []

    def run(*asked, **versions):
        found.append((asked, versions))
        return ExitStatus.INCONCLUSIVE

    monkeypatch.setattr(compare_programs, "run", run)
    return found


@pytest.fixture
def made(monkeypatch, tmp_path):
    """What would be installed."""
    found = []

    @contextmanager
    def environment(maker, requirements, title):
        found.append((maker.python, maker.secrets, [one.text for one in requirements], title))
        yield tmp_path / f"made-{len(found)}"

    monkeypatch.setattr(made_environments.EnvironmentMaker, "environment", environment)
    return found


@pytest.mark.parametrize("changes", [{"base": None}, {"head": ""}, {"names": ()}])
def test_what_two_environments_need(changes):
    whole = {"base": "onnxruntime==1", "head": "onnxruntime==2", "names": ("model.onnx",)}
    with pytest.raises(UsageError, match=r"^two environments need --base, --head and the model"):
        compare_environments.compare(request(**whole | changes))


def test_environments_are_made_or_there(environment, run, made):
    asked = request(base=str(environment), head="onnxruntime==1.2 numpy", names=("m.onnx", "n.onnx"))
    before = int(time.time())
    assert compare_environments.compare(asked) == ExitStatus.INCONCLUSIVE
    (((given, names), versions),) = run
    assert (given, names) == (asked, ("m.onnx", "n.onnx"))
    assert before <= versions["head"].pop("commit_time") <= time.time()
    assert versions == {
        "base": {"python": str(environment / PYTHON)},
        "head": {"python": str(environment.parent / "made-1" / PYTHON), "commit": "made-1"},
        "framework": "onnxruntime",
    }
    needed = make_framework("onnxruntime").needed_packages
    assert made == [
        (
            sys.executable,
            (TOKEN_VARIABLE,),
            ["onnxruntime==1.2", "numpy", *(one for one in needed if one not in ("onnxruntime", "numpy"))],
            "onnxruntime==1.2 numpy",
        )
    ]


def test_the_python_that_makes_them(monkeypatch, tmp_path):
    program = tmp_path / "python9"
    program.write_text("")
    with pytest.raises(UsageError, match=r"^--python: there is no program 'python9'$"):
        compare_environments._python(request(python="python9"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compare_environments._python(request(python="python9")) == str(program)
    assert compare_environments._python(request()) == sys.executable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/no/such/python", "--base: there is no Python '/no/such/python'"),
        ("", "--base: there is no requirement"),
        ("'open", "--base: No closing quotation"),
        ("=1", "--base: '=1' is neither a requirement"),
        ("./x.whl", "--base: 'x.whl' is not a wheel"),
    ],
)
def test_what_is_no_environment(text, message):
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        compare_environments._Side.of("base", text)


def test_what_is_an_environment(environment, monkeypatch):
    side = compare_environments._Side.of("base", str(environment / PYTHON))
    assert (side.python, side.wanted) == (environment / PYTHON, ())
    monkeypatch.chdir(environment)
    assert compare_environments._Side.of("base", ".").python == environment / PYTHON
    plain = environment / "file"
    plain.write_text("")
    with pytest.raises(UsageError, match="there is no Python"):
        compare_environments._Side.of("base", str(plain))
    wheel = environment / "one-1-py3-none-any.whl"
    wheel.write_text("")
    wheel.chmod(0o755)
    for text in (str(wheel), f"'one @ {wheel.as_uri()}'", f"one@{wheel.as_uri()}"):
        found = compare_environments._Side.of("base", text)
        assert (found.text, found.python, [one.name for one in found.wanted]) == (text, None, ["one"])


@pytest.mark.parametrize(
    ("name", "wanted", "option", "framework"),
    [
        ("m.onnx", "onnxruntime==1", None, "onnxruntime"),
        ("m.onnx", "openvino==1 numpy", None, "openvino"),
        ("m.onnx", "numpy", "openvino", None),
        ("m.ONNX", "", None, "onnxruntime"),
        ("m.tflite", "", None, "litert"),
        ("m.onnx", "", "openvino", "openvino"),
        ("s.json", "openvino>1", None, "openvino"),
        ("s.json", "", "litert", "litert"),
    ],
)
def test_which_framework_runs_a_model_in_an_environment(name, wanted, option, framework):
    options = {"framework": option} if option else {}
    side = compare_environments._Side("text", wanted=tuple(map(Wanted.parse, wanted.split())))
    asked = request(names=(name,), options=options)
    if framework:
        assert compare_environments._framework(asked, [side]).name == framework
    else:
        with pytest.raises(UsageError):
            compare_environments._framework(asked, [side])


@pytest.mark.parametrize(
    ("name", "wanted", "options", "message"),
    [
        (
            "m.onnx",
            "zlib alpha",
            {},
            "none of the frameworks with alpha, zlib as its runtime runs 'm.onnx'; ",
        ),
        ("s.json", "alpha", {}, "none of the frameworks with alpha as its runtime is known; "),
        (
            *("m.onnx", "", {"framework": "litert"}),
            "none of the frameworks with these environments as its runtime runs 'm.onnx'; ",
        ),
    ],
)
def test_no_framework_runs_it(name, wanted, options, message):
    side = compare_environments._Side("text", wanted=tuple(map(Wanted.parse, wanted.split())))
    with pytest.raises(UsageError) as raised:
        compare_environments._framework(request(names=(name,), options=options), [side])
    advice = "--framework names another, mlbench run --help shows all"
    assert str(raised.value) == f"{message}{advice}"


# --- two programs -------------------------------------------------------------------------------------------


@pytest.fixture
def performed(monkeypatch):
    found = []
    monkeypatch.setattr(harness, "perform", lambda *asked: found.append(asked) or ExitStatus.INCONCLUSIVE)
    return found


def test_programs_become_an_ab_run(performed):
    asked = request(names=("old", "new", "a.tflite", "b.tflite"), options={"seed": 7})
    assert compare_programs.compare(asked) == ExitStatus.INCONCLUSIVE
    ((options, command),) = performed
    assert command == asked.command
    assert options.benchmark_files == (Path("a.tflite"), Path("b.tflite"))
    assert (options.framework, options.seed) == ("litert", 7)
    assert json.loads(options.info) == {"treatment": {"program": "new"}, "control": {"program": "old"}}


def test_the_framework_of_two_programs(performed):
    versions = {"base": {"python": "a"}, "head": {"python": "b"}}
    for options, given, expected in (
        ({}, "openvino", "openvino"),
        ({"framework": "generic"}, "openvino", "generic"),
        ({}, None, harness.HarnessOptions.framework),
    ):
        compare_programs.run(request(options=options), ["s.json"], **versions, framework=given)
        assert performed[-1][0].framework == expected
    with pytest.raises(UsageError, match=r"^--format is for commands"):
        compare_programs.run(request(reading={"format": "json"}), ["s.json"], **versions)
