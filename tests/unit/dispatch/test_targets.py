"""Which devices the conditions of a submission mean."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from benchmarking.dispatch.ledger import LabDevice
from benchmarking.dispatch.targets import Target, choose
from benchmarking.errors import NoDeviceError, UsageError

PIXEL = LabDevice(
    platform="android",
    hash="03c7d67c7200",
    name="Pixel-6 #1",
    host="kitchen",
    state="ready",
    reason="",
    labels=("fast", "room 3"),
    facts={"abi": "arm64-v8a", "model": "Pixel 6", "memory_bytes": 8 * 10**9, "android_version": 14},
    seen=datetime.now(UTC),
)
BOARD = replace(
    PIXEL, platform="linux", hash="e844a8ea3d68", name="board", labels=(), facts={"architecture": "aarch64"}
)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", (True, True)),
        ("android", (True, False)),
        ("Pixel-6 #1", (True, False)),
        ("pixel*", (True, False)),
        ("arm64", (True, True)),
        ("aarch64,linux", (False, True)),
        ("hash=03c7*", (True, False)),
        ("fast", (True, False)),
        ("label=room 3", (True, False)),
        ("label!=fast", (False, True)),
        ("memory>=8GB", (True, False)),
        ("memory>=8.5GB", (False, False)),
        ("android_version>13,android_version<=14", (True, False)),
        ("nonesuch>1", (False, False)),
        ("nonesuch=x", (False, False)),
        ("model=Pixel 6", (True, False)),
        ("host=kitchen", (True, True)),
    ],
)
def test_every_condition_has_to_hold(text, fits):
    target = Target.of(text)
    assert (target.fits(PIXEL), target.fits(BOARD)) == fits


@pytest.mark.parametrize("text", ["cores>=many", "cores>", ">=8", "a<b<c"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UsageError, match=r"is not a (number|condition)"):
        Target.of(text)


def test_the_shortest_queue_is_chosen():
    busy, idle = replace(PIXEL, waiting=1, running="job 1"), replace(PIXEL, hash="2", running="job 2")
    away, used = (
        replace(PIXEL, hash="3", state="away"),
        replace(PIXEL, hash="4", state="in use", running="job 3"),
    )
    builds = replace(PIXEL, platform="build", hash="android", name="builder for android")
    devices = [away, busy, used, idle, builds]
    assert choose(devices, Target.of("android"), every=False) == [idle]
    assert choose(devices, Target.of("android"), every=True) == [busy, used, idle]


def test_the_reason_why_there_is_none():
    with pytest.raises(UsageError, match=r"no device can be used for linux \(the lab has Pixel-6 #1\)"):
        choose([PIXEL], Target.of("linux"), every=False)
    with pytest.raises(NoDeviceError, match=r"no device can be used for android now \(Pixel-6 #1 is away\)"):
        choose([replace(PIXEL, state="away")], Target.of("android"), every=False)
    with pytest.raises(UsageError, match=r"^the lab has no devices: mlbench lab agent, on a host, serves"):
        choose([], Target.of(""), every=True)
