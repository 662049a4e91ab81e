"""Which devices the conditions of a submission mean."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from benchmarking.dispatch.ledger import LabDevice
from benchmarking.dispatch.targets import Target, _number, choose
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


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8", 8.0),
        (" 8.5 ", 8.5),
        ("8B", 8.0),
        ("8k", 8e3),
        ("8 MB", 8e6),
        ("8MiB", 8e6),
        ("8gb", 8e9),
        ("8T", 8e12),
        ("8x", None),
        ("-8", None),
        ("8.", None),
        ("", None),
    ],
)
def test_a_number_with_its_unit(text, number):
    if number is None:
        with pytest.raises(UsageError, match=r"is not a number as in 8 or 8GB$"):
            _number(text)
    else:
        assert _number(text) == number


EXACT = replace(PIXEL, facts={"memory_bytes": 8, "logical_cores": 4, "model": "Pixel 6", "rooted": True})


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        *(("memory>=8", True), ("memory>=9", False), ("memory<=8", True), ("memory<=7", False)),
        *(("memory>8", False), ("memory>7", True), ("memory<8", False), ("memory<9", True)),
        *(("memory=8", True), ("memory!=8", False), ("memory=9", False), ("memory!=9", True)),
        *(("CORES>=4", True), ("cores > 4", False), ("logical_cores=4", True), ("model>1", False)),
        *(("nonesuch!=x", True), ("nonesuch=x", False)),
        *(("labels=fast", True), ("LABEL!=fast", False), ("label=slow", False), ("label!=slow", True)),
        *(("platform=android", True), ("hash=03c7d67c7200", True), ("name=Pixel*", True)),
        *(("host=attic", False), ("state=ready", True), ("state!=ready", False)),
        *(("kitchen", True), ("03c7d67c7200", True), ("room*", True), ("Pixel 6", True), ("rooted", False)),
    ],
)
def test_each_kind_of_condition(text, fits):
    assert Target.of(text).fits(EXACT) is fits


def test_the_name_of_a_target():
    assert str(Target.of(" a , ,b>=1 ")) == "a,b>=1"
    assert Target.of(" a , ,b>=1 ").conditions == ("a", "b>=1")
    assert str(Target.of(" ")) == "any device"


def test_which_queue_is_the_shortest():
    """A job that runs counts as one that waits; among equals, one that nobody uses."""

    def one(hash_, waiting=0, running="", state="ready"):
        return replace(PIXEL, hash=hash_, waiting=waiting, running=running, state=state)

    for devices, chosen in (
        ([one("a", 1, "job"), one("b", 1)], "b"),
        ([one("a", 2), one("b", 0, "job")], "b"),
        ([one("a", 0, "job"), one("b", 1)], "a"),
        ([one("a", state="in use"), one("b")], "b"),
        ([one("a", 1), one("b", 0, state="in use")], "b"),
    ):
        assert choose(devices, Target.of(""), every=False)[0].hash == chosen


def test_so_many_devices_are_named():
    many = [replace(PIXEL, name=f"n{number}", state="bad") for number in range(6)]
    with pytest.raises(NoDeviceError) as raised:
        choose(many, Target.of("android"), every=True)
    states = ", ".join(f"n{number} is bad" for number in range(5))
    assert str(raised.value) == f"no device can be used for android now ({states})"
    many = [replace(PIXEL, name="x" * 100 + str(number // 2)) for number in range(8)]
    known = ", ".join("x" * 100 + str(number) for number in range(4))[:300]
    with pytest.raises(UsageError) as raised:
        choose(many, Target.of("linux"), every=True)
    assert str(raised.value) == f"no device can be used for linux (the lab has {known})"
