import getpass
import os
import pwd

import pytest

from benchmarking.errors import StorageError
from benchmarking.files import user

VARIABLES = (
    "HOME",
    "LOGNAME",
    "USER",
    "LNAME",
    "USERNAME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    user._private_directory.cache_clear()
    yield directory
    user._private_directory.cache_clear()


@pytest.fixture
def nameless(monkeypatch):
    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_user_with_a_name_has_it():
    assert user.user_name() == getpass.getuser()


def test_a_user_without_a_name_is_a_number(nameless):
    assert user.user_name() == f"uid {os.getuid()}"


@pytest.mark.parametrize("kind", ["cache", "data", "state"])
def test_the_home_directory_is_used_also_before_it_is_made(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    directory = user.user_directory(kind)
    assert directory.is_relative_to(tmp_path / "home")
    assert directory.name == user.APPLICATION


def no_home(tmp_path, monkeypatch):
    pass


def home_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))


def home_cannot_be_written(tmp_path, monkeypatch):
    """/proc refuses root, too."""
    monkeypatch.setenv("HOME", "/proc")


def home_is_relative(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "somewhere")


@pytest.mark.parametrize("home", [no_home, home_is_a_file, home_cannot_be_written, home_is_relative])
@pytest.mark.parametrize("kind", ["cache", "data", "state"])
def test_without_a_home_that_can_be_written_there_is_a_private_directory(
    nameless, temporary, tmp_path, monkeypatch, caplog, home, kind
):
    home(tmp_path, monkeypatch)
    directory = user.user_directory(kind)
    assert directory == temporary / f"{user.APPLICATION}-{os.getuid()}" / kind
    assert directory.parent.stat().st_mode & 0o777 == 0o700
    assert user.user_directory(kind) == directory
    assert caplog.text.count("cannot be written") == 1


def test_a_private_directory_may_be_read_by_others(nameless, temporary):
    path = temporary / f"{user.APPLICATION}-{os.getuid()}"
    path.mkdir()
    path.chmod(0o755)
    assert user.user_directory("state") == path / "state"


def planted_link(path):
    path.symlink_to(path.parent)


def open_to_all(path):
    path.mkdir()
    path.chmod(0o777)


@pytest.mark.parametrize("plant", [planted_link, open_to_all, lambda path: path.write_text("")])
def test_a_directory_that_others_could_have_planted_is_refused(nameless, temporary, plant):
    plant(temporary / f"{user.APPLICATION}-{os.getuid()}")
    with pytest.raises(StorageError):
        user.user_directory("state")
