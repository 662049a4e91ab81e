"""The parser of every program, and the conversion of options from text."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarking import __version__
from benchmarking.errors import ExitStatus
from benchmarking.reporters.settings import EXPORT_FORMATS, OPERATOR_WORDS, Export, OperatorChoice
from benchmarking.terminal import streams

PICTURES = (".svg", ".png")
MOST_CORES = 4096
SHOWN_CHARACTERS = 60
"""The number of characters of a value that a message quotes."""
_NEGATIVE_NUMBER = re.compile(r"-\d+$|-\d*\.\d+$")
_OTHER_SPELLINGS = str.maketrans("-", "_")


class Parser(argparse.ArgumentParser):
    """Reports wrong usage in one line with a suggestion, and ends the process with status 2."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        self.refuse_unknown_options(argv)
        known, unexpected = self.parse_known_intermixed_args(argv)
        if unexpected:
            self.error(f"unexpected argument {quoted(unexpected[0])}; every value follows its option")
        return known

    def refuse_unknown_options(self, argv: Sequence[str], *others: Parser) -> None:
        """Checks the names first, because an argument that seems missing may only have a misspelled name.

        ``others``: parsers whose options are also accepted.
        """
        known = {option for parser in (self, *others) for option in parser._option_string_actions}
        for argument in argv:
            if argument == "--":
                return
            name = argument.split("=", 1)[0]
            is_option = name.startswith("-") and name != "-" and " " not in name
            if is_option and name not in known and not _NEGATIVE_NUMBER.match(name):
                advice = suggestion(name, known) or "; --help shows all options"
                self.error(f"there is no option {quoted(name)}{advice}")

    def error(self, message: str) -> NoReturn:
        program = self.prog.removeprefix("python -m ")
        streams.show_message(f"{program}: error: {message}")
        raise SystemExit(int(ExitStatus.BAD_USAGE))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = tuple(map(str, action.choices))
        advice = suggestion(str(value), names)
        raise argparse.ArgumentError(action, f"{quoted(str(value))} is not one of {', '.join(names)}{advice}")


def exit_statuses(meanings: Mapping[ExitStatus, str]) -> str:
    """The end of a help text."""
    return "\n".join(["exit status:", *(f"  {status:>3}  {meaning}" for status, meaning in meanings.items())])


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?``, or empty if no name is similar."""
    spellings = {one.lstrip("-").translate(_OTHER_SPELLINGS): one for one in known}
    wanted = name.lstrip("-").lower().translate(_OTHER_SPELLINGS)
    close = [one for one in spellings if len(wanted) > 2 and one.startswith(wanted)]
    if name in spellings.values():
        return ""  # something else is wrong
    close += difflib.get_close_matches(wanted, spellings, n=1)
    return f"; did you mean {spellings[close[0]]}?" if close else ""


def quoted(text: str) -> str:
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
    return repr(shown)


def path(text: str) -> Path:
    """The path of a file or a directory; ``~`` and ``~user`` are home directories, as in a shell."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    try:
        found = Path(text).expanduser()
        os.lstat(found)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"the home directory in {quoted(text)} is unknown") from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} cannot be a path") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError(f"the path {quoted(text)} is too long") from None
    try:
        found.resolve()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is a loop of links") from None
    except OSError:
        pass  # the current directory does not exist any more, which ``guarded`` reports
    return found  # whether the path has to exist is checked by its reader


path.__name__ = "path"


def picture(text: str) -> Path:
    found = path(text)
    if found.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{quoted(text)} does not end in {' or '.join(PICTURES)}")
    return found


def exports(text: str) -> tuple[Export, ...]:
    """As in ``bencher:results.json,open_metrics:metrics.txt``."""
    return tuple(map(_export, text.split(",")))


def _export(text: str) -> Export:
    name, colon, file = text.strip().partition(":")
    for known in EXPORT_FORMATS:
        if colon and name == known:
            return Export(known, path(file))
    raise argparse.ArgumentTypeError(
        f"{quoted(text)} is not FORMAT:FILE, with the format {', '.join(EXPORT_FORMATS)}"
        f"{suggestion(name, EXPORT_FORMATS)}"
    )


def path_or_name(text: str) -> str:
    """A name, an address, or a path from the home directory."""
    return str(path(text)) if text.startswith("~") else text


def comma_separated(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def comma_separated_paths(text: str) -> tuple[str, ...]:
    return tuple(str(path(part)) for part in comma_separated(text))


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def job_number(text: str) -> int:
    value = positive_int(text)
    if value >= 2**63:
        raise argparse.ArgumentTypeError(f"{text[:30]} is not the number of a job")
    return value


def positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def core_mask(text: str) -> int:
    """Cores as ``0-3,6``, or a mask as ``0xf``: bit 0 is core 0."""
    try:
        mask = int(text, 16) if text.lower().startswith("0x") else _mask_of_list(text)
    except ValueError:
        mask = 0
    if not 0 < mask < 1 << MOST_CORES:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is neither a list of cores, as in 0-3,6, nor a mask, as in 0xf"
        )
    return mask


def _mask_of_list(text: str) -> int:
    mask = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores = range(int(first), int(last or first) + 1)
        if not cores or cores[-1] >= MOST_CORES:
            raise ValueError
        for core in cores:
            mask |= 1 << core
    return mask


def affinity(text: str) -> str:
    core_mask(text)
    return text


def frequency(text: str) -> str:
    if text not in ("min", "max") and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is neither a number of kilohertz nor min nor max")
    return text


def operator_choice(text: str) -> OperatorChoice:
    for word in OPERATOR_WORDS:
        if text == word:
            return word
    if text.isdecimal() and len(text) <= 6:
        return int(text)
    advice = suggestion(text, OPERATOR_WORDS)
    raise argparse.ArgumentTypeError(f"{quoted(text)} is neither a number nor all nor by_type{advice}")


positive_int.__name__ = "whole number"  # argparse shows the name where the text is no number
job_number.__name__ = "whole number"
positive_float.__name__ = "number"


def command(text: str) -> tuple[str, ...]:
    """A command line, which no shell will read."""
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a command: {error}") from error
    if not argv:
        raise argparse.ArgumentTypeError("the command is empty; give a program")
    return (path_or_name(argv[0]), *argv[1:])
