import pytest

from benchmarking.server.store import open_store, sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """Of an empty database; a test that uses it runs on both."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "results.db")
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def store(database_url):
    with_schema = open_store(database_url)
    yield with_schema
    with_schema.close()
