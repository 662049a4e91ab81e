import logging
import subprocess
import sys

import pytest

from benchmarking.errors import BuildError, UsageError
from benchmarking.files.made_directories import MadeDirectories
from benchmarking.programs import made_environments
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.made_environments import PYTHON, EnvironmentMaker, Wanted, find_uv
from benchmarking.programs.process import Cancellation
from tests.support.wheels import write_wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A directory of wheels, the only place from which packages come."""
    directory = tmp_path / "index"
    directory.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(directory))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for version in ("1.0", "2.0"):
        write_wheel(directory, "runtime", version, f"VERSION = {version!r}\n", needs=["helper"])
    write_wheel(directory, "helper", "3.1", "VERSION = '3.1'\n")
    return directory


@pytest.fixture(params=["uv", "pip"])
def tool(request, monkeypatch):
    if request.param == "pip":
        monkeypatch.setattr(made_environments, "find_uv", lambda: None)
    elif find_uv() is None:
        pytest.skip("uv is not installed")
    return request.param


@pytest.fixture
def maker(tmp_path):
    with Cancellation() as cancellation:
        yield EnvironmentMaker(MadeDirectories(tmp_path / "made"), sys.executable, cancellation)


def made(maker, *words):
    with maker.environment([Wanted.parse(one) for one in words], " ".join(words)) as directory:
        return directory


def versions(directory):
    code = "import runtime, helper; print(runtime.VERSION, helper.VERSION)"
    return subprocess.check_output([directory / PYTHON, "-c", code], text=True).split()


def test_an_environment_has_what_was_asked_for_and_is_made_once(index, maker, tool, caplog):
    caplog.set_level(logging.INFO)
    first = made(maker, "runtime==1.0")
    assert versions(first) == ["1.0", "3.1"]
    assert first.name.startswith("runtime-1.0-")
    caplog.clear()
    for wheel in index.iterdir():  # what names its version is not even resolved again
        wheel.unlink()
    assert made(maker, "runtime==1.0") == first
    assert caplog.messages == []


def test_a_range_is_resolved_again_each_time(index, maker, tool):
    first = made(maker, "runtime")
    assert versions(first) == ["2.0", "3.1"]
    assert made(maker, "runtime>1") == first  # the same versions
    write_wheel(index, "runtime", "2.1", "VERSION = '2.1'\n", needs=["helper"])
    again = made(maker, "runtime")
    assert versions(again) == ["2.1", "3.1"]
    assert again != first


def test_wheels_are_known_by_their_content(index, maker, tool, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    path = write_wheel(wheels, "runtime", "7.0", "VERSION = '7.0'\n", needs=["helper"])
    first = made(maker, str(path))
    assert versions(first) == ["7.0", "3.1"]
    assert made(maker, str(path)) == first
    write_wheel(wheels, "runtime", "7.0", "VERSION = '7.0'\n", needs=["helper>1"])
    assert made(maker, str(path)) != first


def test_what_cannot_be_resolved_is_one_line_with_the_last_words(index, maker, tool):
    with pytest.raises(BuildError) as error:
        made(maker, "runtime==9.9")
    text = str(error.value)
    assert text.startswith("no environment with runtime==9.9: ")
    assert "runtime" in text.removeprefix("no environment with runtime==9.9: ")
    assert len(text.splitlines()) == 1
    assert maker.directories.all() == []


def test_passwords_are_not_shown(index, maker, tool):
    url = "runtime@https://me:secret@localhost:1/runtime-1.0-py3-none-any.whl"
    with pytest.raises(BuildError) as error:
        made(maker, url)
    assert str(error.value).startswith("no environment with runtime@https://localhost:1/")
    assert "secret" not in str(error.value)


def test_a_limit_ends_what_takes_too_long(index, maker, tool, monkeypatch):
    monkeypatch.setattr(made_environments, "LIMIT_S", 0.01)
    with pytest.raises(BuildError, match=r"runtime: not finished after 0\.01 s"):
        made(maker, "runtime")


@pytest.mark.parametrize(
    ("word", "name", "exact"),
    [
        ("onnxruntime==1.20.1", "onnxruntime", True),
        ("ai_edge_litert==2.*", "ai-edge-litert", False),
        ("torch>=2", "torch", False),
        ("openvino", "openvino", False),
    ],
)
def test_a_requirement_is_known_by_its_name(word, name, exact):
    wanted = Wanted.parse(word)
    assert (wanted.name, wanted.exact) == (name, exact)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--index-url=x", "'--index-url=x' is neither a requirement, as in onnxruntime==1.20.1, nor a wheel"),
        ("-r", "'-r' is neither a requirement"),
        ("a b", "'a b' is neither a requirement"),
        ("x.whl", "'x.whl' is not a wheel: "),
        ("/nonesuch/x-1-py3-none-any.whl", "cannot read '/nonesuch/x-1-py3-none-any.whl': No such file"),
    ],
)
def test_anything_else_is_refused(word, message):
    with pytest.raises(UsageError) as error:
        Wanted.parse(word)
    assert str(error.value).startswith(message)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "exit status 3"),
        ("a\n\n b \nc\nd\ne\n", "b c d e"),
        (
            "Looking in https://me:secret@x/\nERROR: no first\nERROR: no such\nWARNING: a newer pip",
            "ERROR: no such",
        ),
        ("https://me:secret@x/ is away", "https://x/ is away"),
        (f"begin{'x' * 600}", "x" * 600),
    ],
)
def test_the_last_words_of_an_installer(output, words):
    outcome = Outcome(Command(("pip",)), 3, output, "", 1.0)
    assert made_environments._last_words(outcome) == words
