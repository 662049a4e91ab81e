"""The command line, the tools for agents, and what is read from JSON, each as a whole: nothing changes unseen."""

import argparse
import json
import os
import re
from importlib import import_module
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel

import benchmarking
from benchmarking.cli import lab
from benchmarking.cli.commands import COMMANDS
from tests.support import golden

PACKAGE = Path(benchmarking.__file__).parent


def type_of(action):
    name = getattr(action.type, "__name__", type(action.type).__name__)
    return "" if action.type is None else f" {name}"


def described(parser, indent=""):
    for action in parser._actions:
        default = repr(action.default).replace(str(Path.home()), "~").replace(str(Path.cwd()), ".")
        name = "/".join(action.option_strings) or action.dest
        must = " required" if action.required else ""
        kind = type(action).__name__.strip("_")
        yield f"{indent}{name} {kind} {action.nargs} {default}{type_of(action)}{must} {action.metavar}"
        if isinstance(action, argparse._SubParsersAction):
            for choice, other in action.choices.items():
                yield f"{indent}  {choice}"
                yield from described(other, f"{indent}    ")
        elif action.choices is not None:
            yield f"{indent}  {', '.join(map(str, action.choices))}"
    for group in parser._mutually_exclusive_groups:
        names = [one.option_strings[0] for one in group._group_actions]
        yield f"{indent}one of {', '.join(names)}{' (required)' if group.required else ''}"


@pytest.mark.parametrize("name", lab.SUMMARIES)
def test_the_arguments_of_a_command_of_the_lab(name):
    parser = lab.command_parser(name, f"mlbench lab {name}")
    golden.check("\n".join(described(parser)) + "\n", f"arguments/lab_{name}.txt")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_arguments_of_a_command(name, monkeypatch):
    for variable in [one for one in os.environ if one.startswith(("ML_BENCHMARK", "MLBENCH", "XDG_"))]:
        monkeypatch.delenv(variable)
    parser = COMMANDS[name].load().make_parser(f"mlbench {name}")
    golden.check("\n".join(described(parser)) + "\n", f"arguments/{name}.txt")


def test_the_tools_for_agents(tmp_path):
    pytest.importorskip("mcp")
    from benchmarking.cli import mcp
    from benchmarking.cli.agent_tools import Allowed, AtHand

    server = mcp.make_server(Allowed((tmp_path,)), AtHand())
    tools = anyio.run(server.list_tools)
    shown = {one.name: pruned(one.input_schema) for one in tools}
    golden.check(json.dumps(shown, indent=1) + "\n", "arguments/tools.json")


def models():
    """Every model of the package whose schema is an interface to files, programs or other hosts."""
    paths = [path for path in PACKAGE.rglob("*.py") if "frameworks" not in path.relative_to(PACKAGE).parts]
    bases_of = {
        path: re.findall(r"^class (\w+)\((.*)\):", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in paths
    }
    kinds, count = {"BaseModel"}, 0
    while len(kinds) > count:  # those of those, too
        count = len(kinds)
        classes = [one for found in bases_of.values() for one in found]
        kinds |= {name for name, bases in classes if kinds & {*re.split(r"\W+", bases)}}
    for path, found in bases_of.items():
        if kinds & {name for name, _ in found}:
            import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    pending = [*BaseModel.__subclasses__()]
    for one in pending:
        pending += one.__subclasses__()
        if one.__module__.startswith("benchmarking.") and ".frameworks." not in one.__module__:
            yield one


def pruned(value):
    """Without words, and without the models inside, which have entries of their own."""
    if isinstance(value, dict):
        left_out = {"title", "description", "$defs"} if "type" in value or "anyOf" in value else {}
        return {key: pruned(one) for key, one in value.items() if key not in left_out}
    return [*map(pruned, value)] if isinstance(value, list) else value


def test_what_is_read_from_json():
    found = {
        f"{one.__module__}.{one.__qualname__}": {
            "settings": {key: value for key, value in one.model_config.items() if value not in ("", None)},
            "schema": pruned(one.model_json_schema()),
        }
        for one in models()
    }
    assert len(found) > 20
    golden.check(json.dumps(found, indent=1, sort_keys=True, default=str) + "\n", "arguments/json.json")
