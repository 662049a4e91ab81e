"""``python -m benchmarking.devices``: shows every device that can be found, or why it cannot be used."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking import start
from benchmarking.cli.argument_types import Parser, comma_separated, quoted
from benchmarking.cli.options import HarnessOptions
from benchmarking.cli.running import cancelled_by_signals, guarded
from benchmarking.cli.wiring import platform_options
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.platforms.platforms import find_platform, platform_names
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.programs.process import Cancellation


PROGRAM = "python -m benchmarking.devices"


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    arguments = make_parser(program).parse(sys.argv[1:] if argv is None else argv)
    streams.log_to_stderr()
    return guarded(program.removeprefix("python -m "), lambda: _main(arguments))


def make_parser(program: str = PROGRAM) -> Parser:
    parser = Parser(
        program,
        description="Show every device that can be found, with its properties or the reason why it cannot be "
        "used.",
        epilog=f"exit status: {ExitStatus.OK}, but {ExitStatus.DEVICE_FAILED} where check found a device "
        "that cannot be used, or none at all",
    )
    parser.add_argument(
        "command",
        choices=("list", "check"),
        metavar="{list,check}",
        help="list: show the devices. check: also run a short reference computation on each and compare it "
        "with the device's own history",
    )
    add_search_options(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    return parser


def add_search_options(parser: Parser) -> None:
    parser.add_argument(
        "--platform",
        type=comma_separated,
        default=platform_names(),
        metavar="PLATFORM,...",
        help=f"only search these: {', '.join(platform_names())} (default: all)",
    )
    parser.add_argument(
        "--devices",
        type=comma_separated,
        default=(),
        metavar="DEVICE,...",
        help="addresses that cannot be discovered: host:port of an Android device, a Linux machine as "
        "named for ssh",
    )


def _main(arguments: argparse.Namespace) -> ExitStatus:
    from benchmarking.programs.process import Cancellation

    _refuse_unsearched(arguments.platform, arguments.devices)
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        rows = search(
            arguments.platform,
            arguments.devices,
            cancellation,
            network=True,
            check=arguments.command == "check",
        )
    if arguments.json:
        streams.show(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    else:
        _show(rows)
    states = {row.state for row in rows} - {"none"}
    sound = states and states <= {"ready", "in use"}
    return ExitStatus.OK if sound or arguments.command == "list" else ExitStatus.DEVICE_FAILED


def _refuse_unsearched(platforms: Sequence[str], devices: Sequence[str]) -> None:
    """
    Raises:
        UsageError: one of the addresses would not be looked at.
    """
    kinds = {find_platform(name).name for name in platforms}
    android_too = "android" in kinds
    searched = {one for kind in kinds for one in addresses_for(kind, devices, android_too=android_too)}
    for one in devices:
        if one not in searched:
            raise UsageError(
                f"--devices: {quoted(one)} is not searched with --platform {','.join(platforms)}: host:port "
                "is of the platform android, anything else of linux"
            )


def search(
    platforms: Sequence[str],
    addresses: Sequence[str],
    cancellation: Cancellation,
    *,
    network: bool = False,
    check: bool = False,
) -> list[FoundDevice]:
    """Every device of these platforms that this machine can reach, with the defaults of a run.

    Args:
        network: also searches the network.
        check: also checks the health of each.
    """
    from benchmarking.driver.survey import survey

    options = platform_options(HarnessOptions(benchmark_file=Path()), cancellation)
    options = replace(options, search_network=network)
    names = {name: find_platform(name).name for name in platforms}
    found: list[FoundDevice] = []
    for name, kind in names.items():
        devices = addresses_for(kind, addresses, android_too="android" in names.values())
        found += survey(name, replace(options, devices=devices), check=check)
    return found


def addresses_for(platform: str, devices: Sequence[str], *, android_too: bool) -> tuple[str, ...]:
    """``host:port`` is the address of an Android device, unless it contains a user or Android devices are not
    searched.
    """
    from benchmarking.platforms.android.discovery import is_network_address

    def is_android(text: str) -> bool:
        return android_too and is_network_address(text) and "@" not in text

    if platform not in ("android", "linux"):
        return ()
    return tuple(one for one in devices if is_android(one) == (platform == "android"))


def _show(rows: Sequence[FoundDevice]) -> None:
    from rich.text import Text

    from benchmarking.terminal.console import show_table

    if not rows:
        streams.show("no device found\n")
        return
    styles = {"ready": "green", "in use": "yellow", "none": "dim"}
    show_table(
        ("platform", "device", "hash", "state", ""),
        [
            (
                row.platform,
                row.device,
                row.hash,
                Text(row.state, styles.get(row.state, "bold red")),
                ", ".join(filter(None, [row.reason, row.health or "", *details(row)])),
            )
            for row in rows
        ],
    )


def details(row: FoundDevice) -> list[str]:
    """What matters of a device."""
    facts, conditions = row.facts, row.conditions
    system = (
        f"Android {facts['android_version']}"
        if "android_version" in facts
        else f"kernel {facts.get('kernel')}"
    )
    texts = [system if facts else "", str(facts.get("abi", facts.get("cpu_model", "")))]
    cores, memory = facts.get("logical_cores"), facts.get("memory_bytes")
    texts += [f"{cores} cores"] if cores else []
    texts += [f"{memory / 2**30:.1f} GiB"] if isinstance(memory, int) else []
    for name, form in {
        "temperature_celsius": "{:.0f} °C",
        "battery_percent": "battery {} %",
        "load_1_min": "load {:.1f}",
    }.items():
        if name in conditions:
            texts.append(form.format(conditions[name]))
    return texts


if __name__ == "__main__":
    start.run("benchmarking.devices", "benchmarking.cli.devices")
