import pytest

from benchmarking.cli import cache
from benchmarking.cli.wiring import made_directories
from benchmarking.programs.process import Cancellation


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An environment and a build, as a comparison leaves them; they can be used again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def make(directory):
        directory.mkdir()
        (directory / "file").write_bytes(bytes(3 * 2**20))

    with Cancellation() as cancellation:

        def using(kind, name, title):
            return made_directories(kind).using(name, title, {}, make, cancellation)

        with using("environments", "runtime-1.0-0123abcd", "runtime==1.0"):
            pass
        with using("commits", "project-4567-89ef", "4567 of /project, make\x1b[31m bench"):
            pass
        yield using


def test_all_that_is_kept_is_shown(kept, capsys):
    assert cache.main(["list"], "mlbench cache") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "size", "last", "used", "made", "from"]
    assert lines[1].split()[:3] == ["runtime-1.0-0123abcd", "3", "MiB"]
    assert lines[1].endswith("runtime==1.0")
    assert lines[2].startswith("project-4567-89ef")
    assert "\x1b" not in lines[2]


def test_what_is_named_is_removed(kept, capsys):
    assert cache.main(["remove", "project-4567-89ef"], "mlbench cache") == 0
    assert [one.name for one in made_directories("environments").all()] == ["runtime-1.0-0123abcd"]
    assert made_directories("commits").all() == []
    assert cache.main(["remove", "--all"], "mlbench cache") == 0
    assert cache.main(["list"], "mlbench cache") == 0
    assert capsys.readouterr().out == "nothing is kept\n"


def test_what_is_used_stays(kept, capsys):
    with kept("environments", "runtime-1.0-0123abcd", "runtime==1.0") as directory:
        assert cache.main(["remove", "--all"], "mlbench cache") == 4
        assert directory.exists()
    assert capsys.readouterr().err == "runtime-1.0-0123abcd: a comparison uses it\n"
    assert made_directories("commits").all() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "x"], "list takes neither names nor --all: it shows everything that is kept"),
        (["list", "--all"], "list takes neither names nor --all: it shows everything that is kept"),
        (["remove"], "remove needs the names of what to remove, or --all"),
        (["remove", "x", "--all"], "remove needs the names of what to remove, or --all"),
        (["remove", "runtime-1.0"], "there is no 'runtime-1.0'; did you mean runtime-1.0-0123abcd?"),
        (["remove", "../x"], "there is no '../x'; list shows all"),
    ],
)
def test_what_is_wrong_is_said(kept, capsys, arguments, message):
    assert cache.main(arguments, "mlbench cache") == 2
    assert capsys.readouterr().err == f"mlbench cache: {message}\n"
