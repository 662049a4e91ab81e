"""docs/server.md says what the server does."""

import re
import shlex

import pytest

from benchmarking.cli.commands import COMMANDS
from benchmarking.server import admission, bodies, foreign
from benchmarking.server.accounts import Auth, Scope
from tests.support.doc_examples import DOCS

TEXT = (DOCS / "server.md").read_text(encoding="utf-8")


def test_every_format_and_every_way_to_authenticate_is_described():
    assert set(re.findall(r"^\| [^|]+ \(`([a-z_]+)`\) \|", TEXT, re.MULTILINE)) == set(foreign.READERS)
    assert {one for one in Auth if f"| `{one}` |" in TEXT} == set(Auth)
    assert all(f"`{one}`" in TEXT for one in Scope)


def test_the_limits_are_those_of_the_code():
    limits = (
        f"{bodies.LARGEST_BODY // 2**20} MiB; {bodies.LARGEST_ANONYMOUS_BODY // 2**20} MiB",
        f"{bodies.MOST_KEYS:,} keys, {bodies.MOST_CONTAINERS:,} objects and lists, {bodies.MOST_ITEMS:,} items",
        f"{admission.MOST_TYPES:,}; {admission.MOST_SAMPLES:,}",
        f"{admission.LONGEST_NAME} characters",
        f"{admission.LONGEST_TEXT:,} characters",
    )
    assert [one for one in limits if one not in TEXT] == []


@pytest.mark.parametrize("line", re.findall(r"^mlbench (.*)$", TEXT, re.MULTILINE))
def test_the_commands_are_accepted(line):
    command, *arguments = shlex.split(line)
    COMMANDS[command].load().make_parser(f"mlbench {command}").parse(arguments)
