from benchmarking.platforms.platform_base import DeviceInfo
from benchmarking.platforms.remote.identity import Way, devices_of


def way(address, digest="X", boot="a", *, is_own=False):
    facts = {} if boot is None else {"boot_id": boot}
    return Way(address, DeviceInfo(f"name-{digest}", digest, facts), is_own=is_own)


def hashes(*ways):
    return [(device.hash, [one.address for one in group]) for device, group in devices_of(ways)]


def test_ways_to_one_device_are_one():
    assert hashes(way("a"), way("b"), way("c", "Y")) == [("X", ["a", "b"]), ("Y", ["c"])]


def test_another_boot_is_another_device():
    assert hashes(way("a"), way("b", boot="b"), way("c")) == [("X-a", ["a", "c"]), ("X-b", ["b"])]


def test_places_are_devices_whatever_they_say():
    assert hashes(way("usb:1", is_own=True), way("usb:2", is_own=True)) == [
        *(("X-usb-1", ["usb:1"]), ("X-usb-2", ["usb:2"])),
    ]


def test_an_unknown_boot_is_believed():
    assert hashes(way("a", boot=None), way("b")) == [("X", ["a", "b"])]


def test_names_differ_too_and_can_be_names_of_folders():
    ways = (way("h o/st:1"), way("h o/st:2", boot="b"))
    names = [device.name for device, _ in devices_of(ways)]
    assert names == ["name-X-h-o-st-1", "name-X-h-o-st-2"]


def test_a_place_and_an_address_may_be_one_device():
    assert hashes(way("usb:1", is_own=True), way("10.0.0.1:5555")) == [("X", ["usb:1", "10.0.0.1:5555"])]
