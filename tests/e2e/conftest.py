import pytest

from tests.support.workshop import Workshop


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return Workshop(tmp_path)


@pytest.fixture
def recorded(workshop):
    """A program that writes down how it was called."""
    path = workshop.directory / "record"
    program = workshop.program(record=str(path))
    workshop.benchmark()
    return program, path
