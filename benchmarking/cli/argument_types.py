"""What an option's text becomes, for the parsers of both programs."""

from __future__ import annotations

import argparse
from pathlib import Path

PICTURES = (".svg", ".png")


def comma_separated(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(PICTURES)}")
    return path


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def core_mask(text: str) -> int:
    """Cores as ``0-3,6``, or a mask as ``0xf``: bit 0 is core 0."""
    try:
        if text.lower().startswith("0x"):
            mask = int(text, 16)
        else:
            mask = 0
            for part in text.split(","):
                first, _, last = part.partition("-")
                cores = range(int(first), int(last or first) + 1)
                if not cores:
                    raise ValueError
                for core in cores:
                    mask |= 1 << core
    except ValueError:
        mask = 0
    if mask <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cores, as in 0-3,6, and no mask, as in 0xf")
    return mask


def affinity(text: str) -> str:
    core_mask(text)
    return text


def frequency(text: str) -> str:
    if text not in ("min", "max") and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of kilohertz nor min nor max")
    return text


positive_int.__name__ = "whole number"  # argparse shows the name where the text is no number
positive_float.__name__ = "number"
