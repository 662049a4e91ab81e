import pytest

from benchmarking.dispatch.database import Database
from tests.support.lab_tables import LabTables


@pytest.fixture(scope="session")
def server(postgres):
    template = Database(postgres.database())
    assert template.initialize()
    assert not template.initialize()
    return postgres, template


@pytest.fixture
def lab(server):
    postgres, template = server
    return LabTables(Database(postgres.database(template._url.rpartition("/")[2])))
