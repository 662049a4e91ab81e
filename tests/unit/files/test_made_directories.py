import threading

import pytest

from benchmarking.errors import BuildError, RunCancelledError, StorageError
from benchmarking.files.made_directories import MANIFEST, MadeDirectories
from benchmarking.programs.process import Cancellation


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def directories(tmp_path):
    return MadeDirectories(tmp_path / "made")


class Maker:
    """Counts how often it made something."""

    def __init__(self, error=None):
        self.error = error
        self.made = []

    def __call__(self, directory):
        directory.mkdir()
        (directory / "file").write_text("x" * 1000)
        self.made.append(directory)
        if self.error:
            raise self.error


def using(directories, cancellation, maker, name="a"):
    return directories.using(name, f"the {name}", {"from": name}, maker, cancellation)


def test_a_directory_is_made_once(directories, cancellation):
    maker = Maker()
    for _ in range(2):
        with using(directories, cancellation, maker) as directory:
            assert (directory / "file").exists()
    assert maker.made == [directory]
    (made,) = directories.all()
    assert (made.name, made.title, made.facts) == ("a", "the a", {"from": "a"})
    assert 1000 <= made.size_bytes() < 2000


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (BuildError("x"), BuildError),
        (OSError(28, "full"), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_could_not_be_made_leaves_nothing(directories, cancellation, error, raised):
    with pytest.raises(raised), using(directories, cancellation, Maker(error)):
        raise AssertionError("there is nothing to use")
    assert directories.all() == []
    assert [path.name for path in directories.directory.iterdir()] == ["a.lock"]


def test_what_a_killed_process_left_is_made_again(directories, cancellation):
    with using(directories, cancellation, Maker()) as directory:
        (directory / "left").touch()
    (directory.parent / MANIFEST).write_text("{")
    with using(directories, cancellation, maker := Maker()) as directory:
        assert not (directory / "left").exists()
    assert len(maker.made) == 1


def test_one_process_makes_it_and_the_others_wait(directories, cancellation):
    maker = Maker()

    def use():
        with using(directories, cancellation, maker) as directory:
            assert (directory / "file").exists()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(maker.made) == 1


def test_only_what_nobody_uses_is_removed(directories, cancellation):
    with using(directories, cancellation, Maker()) as directory:
        assert not directories.remove("a")
        assert directory.exists()
    assert directories.remove("a")
    assert directories.all() == []
    assert not directory.exists()


def test_waiting_ends_with_the_run(directories, cancellation):
    started, end = threading.Event(), threading.Event()

    def make(directory):
        directory.mkdir()
        started.set()
        end.wait(60)

    def use():
        with using(directories, cancellation, make):
            pass

    thread = threading.Thread(target=use)
    thread.start()
    started.wait(60)
    with Cancellation() as other:
        other.set()
        with pytest.raises(RunCancelledError), using(directories, other, make):
            pass
    end.set()
    thread.join()


def test_a_cache_that_cannot_be_written_is_said(tmp_path, cancellation):
    (tmp_path / "file").touch()
    directories = MadeDirectories(tmp_path / "file" / "made")
    with (
        pytest.raises(StorageError, match=r"cannot lock .*a\.lock: Not a directory"),
        using(directories, cancellation, Maker()),
    ):
        pass


def test_a_place_that_is_taken_is_said(tmp_path, directories):
    (tmp_path / "made").write_text("a file")
    with pytest.raises(StorageError, match=r"made/name: (Not a directory|File exists)$"):
        directories._make(tmp_path / "made/name/content", Maker())
