"""The time that devices take compared with doing the same by hand: a test, a push, a second run, many devices
at once.

    python benchmarks/devices.py [overhead] [push] [many] [--rounds 5]

Uses the real adbd and sshd of tests/device_lab, so it needs Linux, root and the packages of its install.sh.
What is compared is done in turn, in one run; medians are shown, with the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarking.platforms.android.android import AndroidPlatform  # noqa: E402
from benchmarking.platforms.linux.linux import LinuxPlatform  # noqa: E402
from benchmarking.platforms.platform_base import PlatformOptions  # noqa: E402
from benchmarking.platforms.remote.remote_platform import RemotePlatform  # noqa: E402
from tests.device_lab.lab import AndroidDevice, DeviceLab, Host, LinuxHost, why_not  # noqa: E402
from tests.support.workshop import Workshop  # noqa: E402

TESTS = 21
MODEL_BYTES = 100_000_000
DEVICES = 8
SLEEP_S = 5


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def in_turn(rounds: int, **functions: Callable[[], object]) -> dict[str, float]:
    """The median seconds of each."""
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            samples[name].append(timed(function))
    return {name: statistics.median(values) for name, values in samples.items()}


def quiet(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def chosen(*hosts: Host) -> tuple[str, ...]:
    android = isinstance(hosts[0], AndroidDevice)
    addresses = ",".join(f"{one.address}:5555" if android else one.address for one in hosts)
    return "--platform", "android" if android else "linux", "--devices", addresses


@contextmanager
def bare_commands(lab: DeviceLab, host: Host) -> Iterator[tuple[str, ...]]:
    """The command that runs a shell script on a device by hand, over a connection that is open already."""
    if isinstance(host, AndroidDevice):
        with lab.adb_server(host):
            yield ("adb", "-s", f"{host.address}:5555", "shell")
        return
    control = ("ssh", "-o", f"ControlPath={lab.directory}/by-hand", host.address)
    quiet(*control[:-1], "-o", "ControlMaster=yes", "-f", "-N", host.address)
    yield control
    quiet(*control[:-1], "-O", "exit", host.address)


def overhead(lab: DeviceLab, host: Host, workshop: Workshop, rounds: int) -> None:
    """A further test when nothing has to be staged, compared with the bare program."""
    program = workshop.shell_program()
    for count in (1, TESTS):
        shapes = {"inputs": {"data": {"shapes": [[1, 2]] * count, "type": "float"}}}
        workshop.benchmark(shapes, name=f"tests_{count}")

    def harness(count: int) -> None:
        argv = workshop.command(
            *("--program", program, "--local_reporter", workshop.directory / "results", *chosen(host)),
            benchmark=workshop.directory / f"tests_{count}.json",
        )
        quiet(*argv)

    harness(1)  # stages
    with bare_commands(lab, host) as by_hand:
        medians = in_turn(
            rounds,
            bare=lambda: quiet(*by_hand, "true"),
            one=lambda: harness(1),
            many=lambda: harness(TESTS),
        )
    further = (medians["many"] - medians["one"]) / (TESTS - 1)
    print(
        f"{host.name}: a further test {further * 1e3:.0f} ms; a bare command {medians['bare'] * 1e3:.0f} ms;"
    )
    print(f"{host.name}: so the harness's own {(further - medians['bare']) * 1e3:.0f} ms (reach: under 150)")


def home_of(host: Host) -> Path:
    if not isinstance(host, LinuxHost):
        raise TypeError(f"{host.name} has no home directory")
    return host.home


def discovered(host: Host) -> RemotePlatform:
    kind: type[RemotePlatform] = AndroidPlatform if isinstance(host, AndroidDevice) else LinuxPlatform
    (device,) = kind.discover(PlatformOptions(devices=(chosen(host)[-1],))).devices
    if not isinstance(device, RemotePlatform):
        raise TypeError(f"{host.name} is not driven from here")
    return device


def push(lab: DeviceLab, host: Host, workshop: Workshop, rounds: int) -> None:
    """Transfers a model that the device lacks, with the hashes of both sides, compared with the usual client;
    then again.
    """
    model = workshop.directory / "model"
    device = discovered(host)

    def ours() -> None:
        with device.stage([model]):
            pass

    def fresh_model() -> None:
        model.write_bytes(os.urandom(MODEL_BYTES))

    with device.hold(), bare_commands(lab, host) as by_hand:
        if isinstance(host, AndroidDevice):
            client, target = "adb push", "/data/local/tmp/by_hand"
            theirs = (*by_hand[:3], "push", str(model), target)
        else:
            client, target = "scp", f"{host.address}:{home_of(host)}/by_hand"
            options = ("-F", str(lab.ssh_configuration), *by_hand[1:3])
            theirs = ("scp", "-q", *options, str(model), target)
        connection, place = device._shell.connection, f"{device._staging.directory}/by_us"
        samples: dict[str, list[float]] = {name: [] for name in ("transfer", "ours", "theirs", "again")}
        for _ in range(rounds):
            fresh_model()
            samples["theirs"].append(timed(lambda: quiet(*theirs)))
            samples["transfer"].append(timed(lambda: connection.push(model, place, cancellation=None)))
            samples["ours"].append(timed(ours))
            samples["again"].append(timed(ours))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    speed = {name: f"{MODEL_BYTES / 1e6 / seconds:.0f} MB/s" for name, seconds in medians.items()}
    ratio = {name: f"{medians['theirs'] / medians[name]:.2f}" for name in ("transfer", "ours")}
    print(
        f"{host.name}: 100 MB by {client} {speed['theirs']}; our transfer {speed['transfer']} (ratio "
        f"{ratio['transfer']}), staged with both sides' hashes {speed['ours']} (ratio {ratio['ours']}); "
        f"staged again in {medians['again'] * 1e3:.0f} ms"
    )


def second_run(host: Host, workshop: Workshop) -> None:
    """The files that a second run of the harness copies to the device."""
    workshop.benchmark()
    if isinstance(host, AndroidDevice):
        files = host.data / "ml-benchmark/files"
    else:
        files = home_of(host) / ".cache/ml-benchmark/files"
    argv = workshop.command("--program", workshop.shell_program(), "--json", *chosen(host))
    seen = []
    for _ in range(2):
        quiet(*argv)
        seen.append({path: path.stat().st_mtime_ns for path in files.rglob("*") if path.is_file()})
    brought = len(seen[1].items() - seen[0].items())
    print(f"{host.name}: the first run brought {len(seen[0])} files, the second {brought}")


def many(lab: DeviceLab, workshop: Workshop, rounds: int) -> None:
    """A program that sleeps, on one device and on many at once."""
    hosts = [lab.android(f"phone{number}") for number in range(DEVICES)]
    workshop.benchmark()
    program = workshop.shell_program(f"sleep={SLEEP_S}", name="sleeper")

    def harness(*chosen_hosts: Host) -> None:
        quiet(*workshop.command("--program", program, "--json", *chosen(*chosen_hosts)))

    harness(*hosts)
    medians = in_turn(rounds, one=lambda: harness(hosts[0]), all=lambda: harness(*hosts))
    print(
        f"a program that sleeps {SLEEP_S} s: on one device {medians['one']:.2f} s, on {DEVICES} at once "
        f"{medians['all']:.2f} s, ratio {medians['all'] / medians['one']:.2f} (reach: at most 1.20)"
    )
    for one in hosts:
        one.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=["overhead", "push", "many", []], help="all by default")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    what = arguments.what or ["overhead", "push", "many"]
    if reason := why_not():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as directory, DeviceLab() as lab:
        for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            os.environ[variable] = f"{directory}/{variable}"
        os.environ["PATH"] = f"{lab.programs}{os.pathsep}{os.environ['PATH']}"
        workshop = Workshop(Path(directory))
        for host in (lab.android("adbd"), lab.linux("sshd")):
            if "overhead" in what:
                overhead(lab, host, workshop, arguments.rounds)
            if "push" in what:
                push(lab, host, workshop, arguments.rounds)
                second_run(host, workshop)
        if "many" in what:
            many(lab, workshop, max(1, arguments.rounds // 2))


if __name__ == "__main__":
    main()
