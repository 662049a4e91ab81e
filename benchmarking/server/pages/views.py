"""What the pages show, as frozen data: templates, ``.json``, ``.csv`` and the report are made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CommitView:
    sha: str
    time: int
    """Unix seconds."""
    position: int
    """Its place in the order of the commits: in its repository, or among those that are shown."""
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
class Varying:
    """Which columns a table of series needs besides the model."""

    names: tuple[str, ...]
    """The properties in which the series differ."""
    common: str
    """The others, for people."""

    @classmethod
    def of(cls, names: Collection[SeriesName]) -> Varying:
        return cls.of_properties({one: {getattr(name, one) for name in names} for one in _PROPERTIES})

    @classmethod
    def of_properties(cls, values: Mapping[str, Collection[str]]) -> Varying:
        """
        Args:
            values: maps each property to all that it is.
        """
        common = (next(iter(found)) for found in values.values() if len(found) == 1)
        return cls(
            tuple(one for one, found in values.items() if len(found) > 1),
            " · ".join(one for one in common if one),
        )


_PROPERTIES = ("test", "type", "framework", "backend", "device", "settings")


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
    is_of_ratios: bool = False
    """``before`` and ``after`` are relative to the first control, not in the unit of the series."""

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
    zoom: tuple[int | None, int | None] | None = None
    """The first and the last position that are asked for, None where it is open; None: the newest points."""
    branch: str = ""
    """Only its commits are shown; empty: those of all."""


# --- overview and commit ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StripBar:
    """How many series changed at a commit."""

    commit: CommitView
    slower: int
    faster: int
    measured: int


@dataclass(frozen=True)
class MeasuredRow:
    """A series at one commit."""

    name: SeriesName
    point: PointView


# --- matrix -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    column: str
    key: str
    """The series."""
    value: float
    ratio: float | None
    """Divided by the value in the reference column."""
    tainted: bool


@dataclass(frozen=True)
class MatrixRow:
    model: str
    detail: str
    """The test, and what else differs from other rows of the model."""
    unit: str
    cells: tuple[Cell | None, ...]
    """In the order of the columns."""


@dataclass(frozen=True)
class MatrixView:
    columns: tuple[str, ...]
    reference: str
    rows: tuple[MatrixRow, ...]
    after: str | None
    """The last model, if there are more: ``after`` of the next page."""


# --- compare ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SideView:
    """One side of a comparison."""

    asked: str
    kind: str
    """``commit``, ``run``, ``device``, ``backend`` or ``framework``."""
    key: str
    label: str
    """For people."""
    commit: CommitView | None = None


@dataclass(frozen=True)
class ComparedRow:
    name: SeriesName
    """Of the series of B."""
    base: float
    head: float
    base_ratio: float | None
    """To the control. If both are known, they are what is compared."""
    head_ratio: float | None
    base_tainted: bool
    head_tainted: bool
    finding: str
    evidence: str
    ratio: float | None
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True)
class CompareView:
    base: SideView
    head: SideView
    rows: tuple[ComparedRow, ...]
    """The most significant first."""
    only_base: int
    """The number of series that only A has."""
    only_head: int
    geometric_mean: float | None
    """Of the ratios of all rows."""


# --- run ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConditionRow:
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class TypeRow:
    """The net, an operator, or an output."""

    name: str
    kernel: str
    fell_back: bool
    """The kernel is not one of the backend."""
    median: float
    low: float | None
    high: float | None
    p99: float
    control: float | None
    share: float | None
    """The fraction of the time of all operators."""
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    verdict: str
    unit: str
    series: str = ""
    """The key of its series, if it has one."""


@dataclass(frozen=True)
class Bar:
    """Of a histogram, in its coordinates."""

    x: float
    width: float
    up: float
    """The height for the treatment."""
    down: float
    """For the control."""


@dataclass(frozen=True)
class RunView:
    uid: str
    """Of the result."""
    run: str
    """Of the call of the harness."""
    model: str
    test: str
    where: str
    """Framework, backend and device, for people."""
    time: int
    status: str
    verdict: str
    reason: str
    commit: str
    control: str | None
    tainted: tuple[str, ...]
    failure: str
    evidence: str
    notes: tuple[str, ...]
    """Warnings, and how it was measured."""
    whole: tuple[TypeRow, ...]
    """The net or the outputs."""
    operators: tuple[TypeRow, ...]
    conditions: tuple[ConditionRow, ...]
    histogram: tuple[Bar, ...]
    histogram_ends: tuple[float, float] | None
    samples: tuple[int, int]
    """The number of the treatment's and of the control's."""
    command: str
    """Repeats it, in a shell."""
    program_command: str
    facts: tuple[tuple[str, str], ...]
    siblings: tuple[tuple[str, str], ...] = ()
    """Uid and label of the other results of the same call."""
