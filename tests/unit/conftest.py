import pytest

from tests.support.postgresql import PostgreSQL, why_not


@pytest.fixture(scope="session")
def postgres():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PostgreSQL() as server:
        yield server
