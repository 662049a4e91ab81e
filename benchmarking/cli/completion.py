"""``mlbench completion bash|zsh``: a shell completion script, generated from the parsers of all commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from benchmarking.cli import harness_arguments
from benchmarking.cli.argument_types import Parser
from benchmarking.cli.running import run_command
from benchmarking.errors import ExitStatus
from benchmarking.terminal import streams

FUNCTION = """\
_mlbench() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=
  if [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
  if [[ $current == = ]]; then previous=${COMP_WORDS[COMP_CWORD-1]} current=; fi
  if [[ $COMP_CWORD -eq 1 ]]; then previous=; fi
  case "$([[ $COMP_CWORD -eq 1 ]] || echo "${COMP_WORDS[1]}") $previous" in
%s
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _mlbench mlbench
"""
ZSH = "autoload -Uz compinit bashcompinit\n(( $+functions[compdef] )) || compinit\nbashcompinit\n"


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def _main(arguments: argparse.Namespace) -> ExitStatus:
    streams.show((ZSH if arguments.shell == "zsh" else "") + FUNCTION % "\n".join(_cases()))
    return ExitStatus.OK


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Print a shell completion script for mlbench.",
        epilog='bash: add to ~/.bashrc:  eval "$(mlbench completion bash)"\n'
        'zsh: add to ~/.zshrc:  eval "$(mlbench completion zsh)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell")
    return parser


def _cases() -> list[str]:
    """The entries of the shell's ``case``: a command, the previous word, and the words that may follow."""
    from benchmarking.cli.commands import COMMANDS

    cases = [_case("", "", [*COMMANDS, "--help", "--version"])]
    for name, command in COMMANDS.items():
        actions = list(command.load().make_parser(f"mlbench {name}")._actions)
        if name == "watch":
            actions += harness_arguments.make_parser()._actions
        words = [option for action in actions for option in action.option_strings]
        for action in actions:
            values = [str(choice) for choice in action.choices or ()]
            for option in action.option_strings if values else ():
                cases.append(_case(name, option, values))
            words += [] if action.option_strings else values
        cases.append(_case(name, None, sorted(set(words))))
    return cases


def _case(command: str, previous: str | None, words: Sequence[str]) -> str:
    """``previous`` None: any word."""
    pattern = shlex.quote(f"{command} ") + ("*" if previous is None else previous)
    return f"    {pattern}) words={shlex.quote(' '.join(words))} ;;"
