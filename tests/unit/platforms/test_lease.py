"""The lease on a device, in this machine's own shell."""

import os
import subprocess
import time

import pytest

from benchmarking.errors import DeviceBusyError
from benchmarking.platforms.remote.lease import MARGIN_S, Lease
from benchmarking.platforms.remote.shell import RemoteShell
from tests.support.local_connection import LocalConnection


@pytest.fixture
def lease(tmp_path):
    return Lease(RemoteShell(LocalConnection()), str(tmp_path), "me")


@pytest.mark.parametrize(("minutes", "is_removed"), [(4, False), (7, True)])
def test_a_lease_whose_maker_died_is_removed_after_minutes(lease, tmp_path, minutes, is_removed):
    (tmp_path / "lease").mkdir()
    before = time.time() - 60 * minutes
    os.utime(tmp_path / "lease", (before, before))
    with pytest.raises(DeviceBusyError, match="in use by the machine somebody"):
        lease.take()
    assert (tmp_path / "lease").exists() != is_removed


@pytest.mark.parametrize("run_s", [0, 5000.5])
def test_a_renewed_lease_lasts_beyond_the_run(lease, tmp_path, run_s):
    lease.take()
    (tmp_path / "lease/owner").write_text("me 5\n")
    before = int(time.time())
    subprocess.run(["sh", "-e", "-c", lease.renewal(run_s)], check=True)
    owner, until = (tmp_path / "lease/owner").read_text().split()
    assert owner == "me"
    assert before <= int(until) - int(run_s) - MARGIN_S <= time.time()
    assert [one.name for one in (tmp_path / "lease").iterdir()] == ["owner"]
