"""``mlbench doctor``: what this machine does to measurements, and the smallest change that it can show."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.cli import devices
from benchmarking.cli.argument_types import Parser
from benchmarking.cli.options import HarnessOptions
from benchmarking.cli.running import cancelled_by_signals, run_command
from benchmarking.cli.wiring import platform_options
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError
from benchmarking.packages import install_command, installed_version
from benchmarking.platforms.platforms import platform_names
from benchmarking.results.plain_text import plain
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from benchmarking.driver.noise import NoiseFigure
    from benchmarking.driver.survey import FoundDevice
    from benchmarking.platforms.host.examination import Finding
    from benchmarking.platforms.platform_base import PlatformOptions
    from benchmarking.programs.process import Cancellation

WIDTH = 80
MARKS = {"good": "", "harmful": "!", "unknown": "?"}
STYLES = {"good": "", "harmful": "yellow", "unknown": "dim"}
COLUMN_WIDTHS = (1, 15, 24, None)
NOISE_WIDTHS = (1, 15, 20, 20, 20)
CLOCKS = {"cpu": "CPU time", "wall": "wall time"}


@dataclass(frozen=True)
class Runtime:
    name: str
    title: str
    version: str | None
    """None: it is not installed."""
    install: str
    telemetry: str
    """As in ``OwnProgramFramework.telemetry``."""


@dataclass(frozen=True)
class Report:
    machine: str
    findings: Sequence[Finding]
    runtimes: Sequence[Runtime]
    devices: Sequence[FoundDevice]
    noise: Sequence[NoiseFigure] | None = None
    noise_unknown: str = ""
    """Why there is no noise figure."""


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Show what this machine does to measurements and how to mend it, the runtimes and\n"
        "devices, and the smallest change that can be found here, which takes a minute.",
        epilog=f"exit status: {ExitStatus.OK}, whatever was found",
    )
    parser.add_argument("--quick", action="store_true", help="do not measure the smallest change")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    return parser


def _main(arguments: argparse.Namespace) -> ExitStatus:
    from benchmarking.programs.process import Cancellation

    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        report = _examined(cancellation, quick=arguments.quick)
    if arguments.json:
        streams.show(json.dumps(asdict(report), indent=2) + "\n")
    else:
        _show(report)
    return ExitStatus.OK


def _examined(cancellation: Cancellation, *, quick: bool) -> Report:
    from benchmarking.driver.survey import survey
    from benchmarking.platforms.host import examination, facts

    options = platform_options(HarnessOptions(benchmark_file=Path()), cancellation)
    findings = examination.examine(examination.look())
    noise, unknown = (None, "it was not measured (--quick)") if quick else _noise(options, cancellation)
    return Report(
        machine=facts.device_name(),
        findings=findings,
        runtimes=_runtimes(),
        devices=[row for name in platform_names() for row in survey(name, options, check=False)],
        noise=noise,
        noise_unknown=unknown,
    )


def _noise(options: PlatformOptions, cancellation: Cancellation) -> tuple[Sequence[NoiseFigure] | None, str]:
    from benchmarking.driver import noise
    from benchmarking.platforms.host.host import HostPlatform

    (host,) = HostPlatform.discover(options).devices
    streams.show_message(
        f"measuring the smallest change that can be found here: {max(noise.DURATIONS_S):g} s ..."
    )
    try:
        return noise.measure(host, cancellation, noise.DURATIONS_S), ""
    except RunCancelledError:
        raise
    except BenchmarkError as error:
        return None, str(error)


def _runtimes() -> Sequence[Runtime]:
    from benchmarking.frameworks.frameworks import framework_names, make_framework
    from benchmarking.frameworks.own_program import OwnProgramFramework

    found = []
    for framework in map(make_framework, framework_names()):
        if isinstance(framework, OwnProgramFramework):
            version = installed_version(framework.program_modules[0])
            install = install_command(framework.name)
            found.append(Runtime(framework.name, framework.title, version, install, framework.telemetry))
    return found


def _show(report: Report) -> None:
    from benchmarking.terminal.console import PlainConsole, rendered

    stream = streams.standard_output()
    console = PlainConsole(stream, None if stream.isatty() else WIDTH)
    shown = rendered(console, *_shown(report))
    advice = [f"{plain(line)}\n" for line in _advice(report)]
    streams.show("".join([shown, *advice]), is_styled=True)


def _shown(report: Report) -> Iterator[RenderableType]:
    yield f"{report.machine}\n"
    yield _table(
        ("", "this machine", "", "what it does to numbers"),
        [(one.state, (MARKS[one.state], one.name, one.value, one.effect)) for one in report.findings],
    )
    yield _table(
        ("", "runtime", "version", "its telemetry"),
        [
            ("good", ("", one.title, one.version, one.telemetry or "none known"))
            if one.version
            else ("unknown", ("", one.title, "not installed", ""))
            for one in report.runtimes
        ],
    )
    yield _table(
        ("", "platform", "state", "device"),
        [("unknown" if one.state == "none" else "good", ("", *_device(one))) for one in report.devices],
    )
    if report.noise is None:
        yield f"  smallest change that can be found: unknown: {report.noise_unknown}\n"
        return
    yield _table(
        ("", "smallest change", *(f"in {one.duration_s:g} s" for one in report.noise)),
        [
            (
                "good",
                ("", f"by {CLOCKS[clock]}", *(_change(one.smallest_change[clock]) for one in report.noise)),
            )
            for clock in report.noise[0].smallest_change
        ],
        NOISE_WIDTHS,
    )
    yield "  95 % of such changes are found; smaller ones need more time (--max_seconds).\n"


def _table(
    header: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    widths: Sequence[int | None] = COLUMN_WIDTHS,
) -> RenderableType:
    """``rows``: each with the state of what it shows."""
    from benchmarking.terminal.console import borderless_table

    table = borderless_table("bold", gap=1)
    for title, width in zip(header, widths, strict=False):
        table.add_column(title, width=width, overflow="fold")
    for state, cells in rows:
        table.add_row(*cells, style=STYLES[state])
    if widths is COLUMN_WIDTHS:
        table.add_row()
    return table


def _device(row: FoundDevice) -> tuple[str, str, str]:
    return row.platform, row.state, ", ".join(filter(None, [row.device, row.reason, *devices.details(row)]))


def _change(smallest: float | None) -> str:
    return "none: too few pairs" if smallest is None else f"{100 * smallest:.2g} %"


def _advice(report: Report) -> Iterator[str]:
    """Commands are not folded: they are to be pasted."""
    mended = {one.name: one.advice for one in report.findings if one.advice}
    mended |= {one.title: (one.install,) for one in report.runtimes if one.version is None}
    if mended:
        yield "how to mend it"
    for name, ways in mended.items():
        yield f"  {name}"
        yield from (f"    {way}" for way in ways)
