"""Regressions for other programs: a feed, a badge, a line of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from benchmarking.results.plain_text import plain

ATOM = "http://www.w3.org/2005/Atom"
SVG = "http://www.w3.org/2000/svg"
CHARACTER_WIDTH = 6.6
"""Of the badge's font, on average; ``textLength`` makes it exact."""


@dataclass(frozen=True)
class Entry:
    """A change of a regression, for a feed."""

    address: str
    number: int
    """Of the event, unique."""
    time: float
    """Unix seconds."""
    title: str
    text: str
    author: str


def atom(title: str, page: str, feed: str, entries: Sequence[Entry]) -> bytes:
    """An Atom feed (RFC 4287).

    Args:
        page, feed: the addresses of the page that the feed follows, and of the feed itself.
        entries: the newest first.
    """
    Xml.register_namespace("", ATOM)
    root = Xml.Element(f"{{{ATOM}}}feed")
    _text(root, "id", page)
    _text(root, "title", title)
    _text(root, "updated", _moment(entries[0].time if entries else 0.0))
    Xml.SubElement(root, f"{{{ATOM}}}link", {"rel": "self", "href": feed})
    Xml.SubElement(root, f"{{{ATOM}}}link", {"rel": "alternate", "href": page})
    for one in entries:
        entry = Xml.SubElement(root, f"{{{ATOM}}}entry")
        _text(entry, "id", f"{one.address}#event-{one.number}")
        _text(entry, "title", one.title)
        _text(entry, "updated", _moment(one.time))
        _text(Xml.SubElement(entry, f"{{{ATOM}}}author"), "name", one.author)
        Xml.SubElement(entry, f"{{{ATOM}}}link", {"rel": "alternate", "href": one.address})
        _text(entry, "summary", one.text)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + _bytes(root)


def badge(label: str, message: str, *, is_good: bool) -> bytes:
    """A picture of two words for a README."""
    label, message = plain(label), plain(message)
    widths = [round(len(one) * CHARACTER_WIDTH) + 12 for one in (label, message)]
    whole = {"width": str(sum(widths)), "height": "20", "role": "img", "aria-label": f"{label}: {message}"}
    root = Xml.Element("svg", {"xmlns": SVG, **whole})
    Xml.SubElement(root, "title").text = f"{label}: {message}"
    left = 0
    for text, width, color in zip(
        (label, message), widths, ("#444c56", "#0b4f9e" if is_good else "#9a3a06"), strict=True
    ):
        box = {"x": str(left), "width": str(width), "height": "20", "fill": color}
        Xml.SubElement(root, "rect", box)
        words = Xml.SubElement(
            root,
            "text",
            {
                "x": str(left + 6),
                "y": "14",
                "fill": "#fff",
                "font-family": "Verdana, DejaVu Sans, sans-serif",
                "font-size": "11",
                "textLength": str(width - 12),
                "lengthAdjust": "spacingAndGlyphs",
            },
        )
        words.text = text
        left += width
    return _bytes(root)


def _bytes(root: Xml.Element) -> bytes:
    return Xml.tostring(root, encoding="unicode").encode()


def _text(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, f"{{{ATOM}}}{name}").text = plain(text)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
