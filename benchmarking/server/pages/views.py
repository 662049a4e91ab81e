"""What the pages show, as frozen data: templates, ``.json``, ``.csv`` and the report are made of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommitView:
    sha: str
    time: int
    """Unix seconds."""
    position: int
    """Its place in the order of the commits."""
    branch: str = ""
    author: str = ""
    subject: str = ""


@dataclass(frozen=True)
class SeriesName:
    """What a series is about."""

    key: str
    model: str
    test: str
    """The identifier."""
    metric: str
    type: str
    framework: str
    backend: str
    device: str
    """The name."""
    device_hash: str
    settings: str
    unit: str
    lower_is_better: bool = True

    @property
    def where(self) -> str:
        """Everything but the model, for people."""
        parts = (self.test, self.type, self.framework, self.backend, self.device, self.settings)
        return " · ".join(one for one in parts if one)


@dataclass(frozen=True)
class PointView:
    """A commit in a series."""

    commit: CommitView
    value: float
    low: float | None
    high: float | None
    """The interval of the median."""
    ratio: float | None
    """Divided by the control."""
    ratio_low: float | None
    ratio_high: float | None
    control: str | None
    """The control's commit."""
    verdict: str
    tainted: tuple[str, ...]
    run: str
    """The uid of the result."""


@dataclass(frozen=True)
class ChangeView:
    kind: str
    """``step`` or ``creep``."""
    last_good: CommitView
    first_bad: CommitView
    before: float
    after: float
    deviations: float
    """By how many standard deviations of the scatter."""

    @property
    def ratio(self) -> float:
        return self.after / self.before if self.before else 1.0


@dataclass(frozen=True)
class BreakView:
    """From this commit on, something else than the code differs."""

    commit: CommitView
    what: str
    """``torch 2.12.0 → 2.13.0``."""


@dataclass(frozen=True)
class LineView:
    """A series that is drawn with the others."""

    name: SeriesName
    points: tuple[PointView, ...]
    """Oldest first."""


@dataclass(frozen=True)
class SeriesView:
    line: LineView
    changes: tuple[ChangeView, ...] = ()
    """Newest first."""
    breaks: tuple[BreakView, ...] = ()
    overlays: tuple[LineView, ...] = ()
    relative: bool = False
    """Whether each series is drawn divided by its own median."""
    zoom: tuple[int, int] | None = None
    """The first and the last position that are asked for; None: the newest points."""
