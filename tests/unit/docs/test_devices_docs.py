"""docs/devices.md says what happens on devices: its commands, its limits, its messages."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.cli.harness_arguments import parse
from benchmarking.driver import conditions, health, session
from benchmarking.platforms.remote import remote_platform, staging

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/devices.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarking").rglob("*.py"))
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.startswith("python harness.py")])
def test_each_command_is_accepted(command):
    options = parse(shlex.split(command)[2:])
    assert (ROOT / options.benchmark_file).exists()
    assert f"`{options.platform}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_devices_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (command,) = [one for one in COMMANDS if "benchmarking.devices" in one]
    argv = [sys.executable, *shlex.split(command)[1:], "--platform", "host"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    header, host = done.stdout.splitlines()
    example = re.findall(r"```text\n(.*?)\n", TEXT)[0]
    assert header.split() == example.split() == ["platform", "device", "hash", "state"]
    assert host.split()[0] == "host"
    assert host.split()[3] == "ready"


def test_limits_are_those_of_the_program():
    for text in (
        f"moved by {conditions.WARMED_CELSIUS:g} °C or more",
        f"below {conditions.LOW_BATTERY_PERCENT} % and not charging",
        f"above {conditions.LOAD_FACTOR} per core",
        f"temperature within {conditions.STEADY_CELSIUS:g} °C",
        f"load within {conditions.STEADY_LOAD} per core",
        f"a band of {health.LEAST_BAND:.0%}".replace("%", " %"),
        f"`{remote_platform.DIRECTORY_NAME}` below `--android_dir`",
    ):
        assert text in TEXT.replace("\n", " "), text
    words = {3: "three", 5: "five", 50: "fifty", 7: "a week", 2: "two seconds", 4: "four deviations"}
    for text in (
        f"{words[conditions.STEADY_READINGS]} readings, {words[conditions.READING_INTERVAL_S]} apart",
        f"{words[health.BAND_DEVIATIONS]}",
        f"its last {words[health.KEPT]}",
        f"there are {words[health.NEEDED]} results",
        f"more than {words[session.RECOVERIES]} times",
        f"kept for {words[staging.KEPT_DAYS]}",
    ):
        assert text in TEXT.replace("\n", " "), text


def test_the_messages_are_the_programs():
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \|$", TEXT.partition("| message |")[2].partition("\n\n")[0], re.M
    )
    own = [
        row for row in rows if row not in ("---", "No space left on device", "Host key verification failed")
    ]
    assert len(own) == 7
    for row in own:
        words = row.removesuffix(" ...").replace("lacks torch", "lacks {missing")
        assert words in SOURCES, row
