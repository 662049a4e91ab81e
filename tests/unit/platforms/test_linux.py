from dataclasses import replace

import pytest

from benchmarking.errors import NoDeviceError, RunCancelledError
from benchmarking.platforms.linux.linux import _directory
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.platforms import PLATFORMS, select
from benchmarking.platforms.remote.system import Answers
from tests.support.local_connection import LocalConnection, LocalLinux

ANSWERS = Answers("home=/home/ann\ncache=/home/ann/.cache\n")


@pytest.mark.parametrize(
    ("chosen", "directory"),
    [
        (None, "/home/ann/.cache/ml-benchmark"),
        ("~", "/home/ann"),
        ("~/bench", "/home/ann/bench"),
        ("/srv/~/bench", "/srv/~/bench"),
        ("~bob/bench", "~bob/bench"),
    ],
)
def test_the_home_directory_in_remote_dir_is_that_of_the_machine(chosen, directory):
    assert _directory(chosen, ANSWERS) == directory


class Boards(LocalLinux):
    """Notes which connections are closed; ``broken`` answers nothing that makes sense."""

    closed: list

    @classmethod
    def _connection(cls, destination, options):
        connection = LocalConnection(destination, greeting="exit 3" if destination == "broken" else "")
        connection.close = lambda: cls.closed.append(destination)
        return connection


@pytest.fixture
def boards(monkeypatch):
    monkeypatch.setattr(Boards, "closed", [], raising=False)
    monkeypatch.setattr(type(PLATFORMS), "__getitem__", lambda *_: Boards)
    return Boards


def test_the_connection_to_a_machine_that_cannot_be_used_is_closed(boards):
    with pytest.raises(NoDeviceError):
        select("linux", ["broken"], [], PlatformOptions())
    assert boards.closed == ["broken"]


def test_the_connection_to_a_machine_that_is_excluded_is_closed(boards, monkeypatch):
    with pytest.raises(NoDeviceError):
        select("linux", ["board"], ["board"], PlatformOptions())
    assert boards.closed == ["board"]
    boards.closed.clear()
    assert len(select("linux", ["board"], [], PlatformOptions()).devices) == 1
    assert boards.closed == []


@pytest.mark.parametrize(
    ("named", "excluded", "unusable"),
    [
        (["board", "broken"], [], ["broken"]),
        (["board", "broken"], ["broken"], []),
        (["board", "nonesuch"], [], ["nonesuch"]),
    ],
)
def test_what_is_missing_is_said_once_with_its_reason(boards, monkeypatch, named, excluded, unusable):
    """``elsewhere`` is seen, but not asked for."""

    def discover(options):
        found = LocalLinux.discover.__func__(boards, replace(options, devices=("board",)))
        return replace(found, unusable={"broken": "broken: the reason", "elsewhere": "elsewhere: unplugged"})

    monkeypatch.setattr(boards, "discover", discover)
    found = select("linux", named, excluded, PlatformOptions())
    assert [one.answers_to("board") for one in found.devices] == [True]
    assert list(found.unusable) == unusable
    assert found.unusable.get("broken", "broken: the reason") == "broken: the reason"
    assert found.unusable.get("nonesuch", "'nonesuch' was not found").startswith("'nonesuch' was not found")
    if not excluded:
        everything = select("linux", [], ["elsewhere"], PlatformOptions())
        assert list(everything.unusable) == ["broken"]


def test_after_a_cancellation_no_connection_is_left(boards, monkeypatch):
    connect = boards._connection.__func__

    def connection(cls, destination, options):
        one = connect(cls, destination, options)
        one.failures = [RunCancelledError("cancelled")] if destination == "second" else []
        return one

    monkeypatch.setattr(boards, "_connection", classmethod(connection))
    with pytest.raises(RunCancelledError):
        select("linux", ["first", "second", "third"], [], PlatformOptions())
    assert sorted(boards.closed) == ["first", "second", "third"]
