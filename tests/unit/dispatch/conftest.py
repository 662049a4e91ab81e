import pytest

from benchmarking.dispatch.database import Database
from tests.support.lab_tables import LabTables
from tests.support.postgresql import PostgreSQL, why_not


@pytest.fixture(scope="session")
def server():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PostgreSQL() as found:
        template = Database(found.database())
        assert template.initialize()
        assert not template.initialize()
        yield found, template


@pytest.fixture
def lab(server):
    postgres, template = server
    return LabTables(Database(postgres.database(template._url.rpartition("/")[2])))
