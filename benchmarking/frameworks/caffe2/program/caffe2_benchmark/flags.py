"""The command line, in the manner of gflags: ``--name value`` and ``--name=value``."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple, Union

from .errors import UsageError

FlagValue = Union[str, int, bool]


@dataclass(frozen=True)
class Flag:
    default: FlagValue
    meaning: str


FLAGS: Dict[str, Flag] = {
    "init_net": Flag("", "NetDef file that fills the weights"),
    "net": Flag("", "NetDef file of the net that is timed"),
    "input": Flag("", "names of the blobs to feed, separated by commas"),
    "input_dims": Flag("", "their shapes: 1,3,224,224;1,10"),
    "input_type": Flag(
        "float", "float, uint8_t or int: one for all, or one for each, separated by semicolons"
    ),
    "input_file": Flag("", "their values: text, .npy or BlobProto files, separated by commas"),
    "output": Flag("", "names of the blobs to write, separated by commas; * for all"),
    "output_folder": Flag("", "where to write them"),
    "text_output": Flag(False, "write text, one number per line, instead of BlobProto"),
    "iter": Flag(10, "how often the net is run and timed"),
    "warmup": Flag(0, "how often the net is run before that"),
    "run_individual": Flag(False, "time each operator, too, in a second run of each iteration"),
    "backend": Flag(
        "builtin",
        "what computes the operators: builtin (or default), or another that --list_backends tells of",
    ),
    "backend_options": Flag(
        "", "switches of the backend, separated by commas; cuda has channels_last, tf32 and autotune"
    ),
    "engine": Flag(
        "auto", "what runs the net: torch, native (real Caffe2), or auto: native where it can be imported"
    ),
    "optimize": Flag(
        "none", "none: operator by operator as the net says; fuse: as a deployed runtime would run it"
    ),
    "threads": Flag(1, "threads that an operator may use"),
    "seed": Flag(0, "of the noise that inputs without a file are filled with, and of random fills"),
    "worker": Flag(
        "false",
        "true: run an iteration for each line of stdin; fork: fork a process that does so, again and again",
    ),
    "summary": Flag(
        False, "print the net as a table (shapes, parameters, FLOPs, bytes) instead of timing it"
    ),
    "list_backends": Flag(
        False, "print, as JSON, the backends of both engines, and why those that are not there are missing"
    ),
    "help": Flag(False, "show this text"),
    "version": Flag(False, "show the version"),
}

CHOICES = {"optimize": ("none", "fuse"), "worker": ("false", "true", "fork")}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NEED_NO_VALUE = ("summary", "list_backends", "help", "version")


@dataclass(frozen=True)
class Settings:
    """The value of every flag."""

    init_net: str
    net: str
    input: str
    input_dims: str
    input_type: str
    input_file: str
    output: str
    output_folder: str
    text_output: bool
    iter: int
    warmup: int
    run_individual: bool
    backend: str
    backend_options: str
    engine: str
    optimize: str
    threads: int
    seed: int
    worker: str
    summary: bool
    list_backends: bool
    help: bool
    version: bool


def parse(arguments: Sequence[str]) -> Settings:
    """Raises:
    UsageError: a flag is unknown, or its value is wrong.
    """
    values: Dict[str, FlagValue] = {name: flag.default for name, flag in FLAGS.items()}
    words: List[str] = list(arguments)
    while words:
        name, value, words = _next_flag(words)
        values[name] = _convert(name, value)
    for name, choices in CHOICES.items():
        if values[name] not in choices:
            raise UsageError("--%s: %r is not one of %s" % (name, values[name], ", ".join(choices)))
    for name, minimum in (("iter", 0), ("warmup", 0), ("threads", 1)):
        if int(values[name]) < minimum:
            raise UsageError("--%s: %s is less than %d" % (name, values[name], minimum))
    return Settings(**values)  # type: ignore[arg-type]


def _next_flag(words: List[str]) -> Tuple[str, str, List[str]]:
    word, rest = words[0], words[1:]
    if not word.startswith("-"):
        raise UsageError("%r is not a flag; flags begin with --" % word)
    name, equals, value = word.lstrip("-").partition("=")
    if name not in FLAGS:
        close = difflib.get_close_matches(name, FLAGS, n=1)
        hint = "did you mean --%s?" % close[0] if close else "--help lists the flags"
        raise UsageError("unknown flag --%s; %s" % (name, hint))
    if equals:
        return name, value, rest
    if name in _NEED_NO_VALUE:
        return name, "true", rest
    if not rest:
        raise UsageError("--%s needs a value" % name)
    return name, rest[0], rest[1:]


def _convert(name: str, text: str) -> FlagValue:
    kind = type(FLAGS[name].default)
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise UsageError("--%s: %r is neither true nor false" % (name, text))
        return _BOOLEANS[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise UsageError("--%s: %r is not a whole number" % (name, text)) from None
    return text


def help_text() -> str:
    lines = ["caffe2_benchmark: runs a Caffe2 net and prints how long each iteration took", ""]
    lines += [
        "  --%-15s %s (default: %s)" % (name, flag.meaning, _shown(flag.default))
        for name, flag in FLAGS.items()
    ]
    return "\n".join(lines)


def _shown(value: FlagValue) -> str:
    return str(value).lower() if value != "" else "none"
