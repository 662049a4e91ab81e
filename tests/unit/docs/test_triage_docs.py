"""The tables of docs/triage.md have what the code has."""

import json
import re
from pathlib import Path

from benchmarking.server.triage import findings, notices
from benchmarking.server.triage.decisions import DECISIONS, decision
from benchmarking.server.triage.life import Source, State

PAGE = (Path(__file__).parents[3] / "docs/triage.md").read_text(encoding="utf-8")


def first_column(heading):
    rows = PAGE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in row.split("|")[1].strip().split(", ")}


def test_states_evidence_and_decisions():
    assert first_column("state") == set(State)
    assert first_column("evidence") == set(Source)
    assert first_column("decision") == set(DECISIONS)


def test_the_examples_are_accepted():
    bodies = [json.loads(one) for one in re.findall(r"-d '(.+)'", PAGE)]
    made = bodies[0]
    assert decision(made["decision"], reason=made["reason"])
    assert notices.check_url(bodies[1]["url"])
    assert set(bodies[1]["kinds"]) <= set(notices.KINDS)


def test_the_numbers():
    assert f"up to {notices.MOST_ATTEMPTS} times" in PAGE
    assert f"more than {findings.NEWEST} runs old" in PAGE
    assert findings.SETTLED == 3
