"""docs/options.md: its tables are made from the declarations; ``UPDATE_GOLDEN=1`` writes them."""

import os
import re
from pathlib import Path

import pytest

from benchmarking.cli import harness_arguments, repo_driver_arguments
from benchmarking.cli.declared import declarations, described
from benchmarking.cli.options import HarnessOptions
from benchmarking.cli.repo_driver_options import RepoDriverOptions

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "options.md"
TABLE = re.compile(r"(<!-- (harness\.py|repo_driver\.py): (.+?) -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)
PROGRAMS = {
    "harness.py": (HarnessOptions, harness_arguments.make_parser()),
    "repo_driver.py": (RepoDriverOptions, repo_driver_arguments.make_parser()),
}


def table(program, group):
    options, parser = PROGRAMS[program]
    lines = ["| option | example | what it does |", "|---|---|---|"]
    for name, declared in declarations(options).items():
        if declared.group == group:
            example = f"`{declared.example}`".replace("|", r"\|") if declared.example else ""
            text = described(declared, getattr(options, name, None))
            choices = parser._option_string_actions[f"--{name}"].choices
            text += f". Choices: {', '.join(f'`{choice}`' for choice in choices)}" if choices else ""
            text += f". Only on {' and '.join(declared.platforms)}" if declared.platforms else ""
            text += f". [More]({declared.page})" if declared.page else ""
            text = re.sub(r"(?<![\w`])(--\w+)", r"`\1`", text.replace("<", r"\<").replace("|", r"\|"))
            lines.append(f"| `--{name}` | {example} | {text} |")
    return "\n".join(lines) + "\n"


def test_the_tables_are_current():
    text = PAGE.read_text(encoding="utf-8")
    current = TABLE.sub(lambda found: found[1] + table(found[2], found[3]) + found[5], text)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(current, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == current, "run this test with UPDATE_GOLDEN=1"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_group_has_its_table(program):
    tables = {found[3] for found in TABLE.finditer(PAGE.read_text(encoding="utf-8")) if found[2] == program}
    groups = {declared.group for declared in declarations(PROGRAMS[program][0]).values()}
    assert tables == groups


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_example_is_accepted(program):
    options, parser = PROGRAMS[program]
    argv = [f"--{name}={one.example}" for name, one in declarations(options).items() if one.example]
    parser.parse([*argv, "--exec_dir=e"] if program == "repo_driver.py" else argv)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_has_an_example_but_switches_and_secrets(program):
    options, parser = PROGRAMS[program]
    for name, declared in declarations(options).items():
        takes_value = parser._option_string_actions[f"--{name}"].nargs != 0
        assert bool(declared.example) == (takes_value and declared.variable is None), name
