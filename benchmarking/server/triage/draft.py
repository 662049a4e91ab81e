"""The regressions that one search touches: collected in memory, written at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection

from benchmarking.server.triage import records
from benchmarking.server.triage.findings import Located
from benchmarking.server.triage.grouping import Placed, place
from benchmarking.server.triage.life import (
    Absorbed,
    Event,
    Found,
    Indicator,
    IndicatorKey,
    Regression,
    Traced,
    after,
)
from benchmarking.server.triage.records import Change


@dataclass
class _Entry:
    was: Placed | None
    """As it is in the database; None: it is new."""
    commit: int
    regression: Regression
    absorbed_by: _Entry | None = None

    @property
    def heir(self) -> _Entry:
        """Who has its indicators in the end: who has absorbed it may have been absorbed, too."""
        return self if self.absorbed_by is None else self.absorbed_by.heir

    def is_free(self, taken: Set[int], rows: Mapping[int, int]) -> bool:
        """Whether it can be written now.

        Args:
            taken: the commits that have a regression.
            rows: maps the identity of each entry that is in the database to its row.
        """
        if self.absorbed_by is not None:
            return id(self.heir) in rows
        return self.commit not in taken or (self.was is not None and self.was.commit == self.commit)

    def write(self, connection: Connection, project: int, change: Change, rows: dict[int, int]) -> bool:
        """Returns whether people see a difference; adds the row of what is new."""
        if self.was is None:
            rows[id(self)] = records.add(connection, project, self.commit, self.regression, change)
            return True
        if self.absorbed_by is not None:
            records.merge(connection, project, self.was.row, rows[id(self.heir)], change)
            return True
        is_moved = self.commit != self.was.commit
        if is_moved:
            records.move(connection, project, self.was, self.commit, change)
        return records.save(connection, project, self.was, self.regression, change) or is_moved


class Draft:
    def __init__(self, known: Sequence[Placed]) -> None:
        self._entries = [_Entry(one, one.commit, one.regression) for one in known]

    def trace(self, late: int, cause: int, keys: frozenset[IndicatorKey]) -> None:
        """The indicators of the commit ``late`` belong to the commit ``cause``."""
        source = self._at(late)
        if source is None or not keys & source.regression.indicators.keys():
            return
        target = self._at(cause)
        is_all = source.regression.indicators.keys() <= keys
        if is_all and target is None:
            source.commit = cause
        elif is_all and target is not None:
            target.regression = after(target.regression, Absorbed(source.regression))
            source.absorbed_by = target
        else:
            source.regression = after(source.regression, Traced(keys))
            if target is None:
                self._entries.append(_Entry(None, cause, Regression(owner=source.regression.owner)))

    def add(self, located: Located) -> None:
        entries = self._present()
        where = place(located, [Placed(row, one.commit, one.regression) for row, one in enumerate(entries)])
        if where.row is None:
            entry = _Entry(None, located.commit, Regression())
            self._entries.append(entry)
        else:
            entry = entries[where.row]
            if where.is_moved:
                entry.commit = located.commit
        self._withdraw(located, entry)
        entry.regression = after(entry.regression, Found(located.indicator))

    def _withdraw(self, located: Located, chosen: _Entry) -> None:
        """With more points, the same step may be found at a commit near the one where it was found first."""
        key = located.indicator.key
        for one in self._present():
            known = one.regression.indicators.get(key)
            is_same = known is not None and known.source.is_advice and one.commit in located.near
            if is_same and one is not chosen and located.indicator.source.is_advice:
                self.trace(one.commit, chosen.commit, frozenset({key}))

    def open_indicators(self, series: int) -> list[tuple[int, Indicator]]:
        """Those of the series, with the commits of their regressions, that are open."""
        return [
            (one.commit, indicator)
            for one in self._present()
            if one.regression.is_open
            for indicator in one.regression.indicators.values()
            if indicator.key.series == series
        ]

    def apply(self, commit: int, event: Event) -> None:
        entry = self._at(commit)
        if entry is not None:
            entry.regression = after(entry.regression, event)

    def save(self, connection: Connection, project: int, change: Change) -> bool:
        """Writes the differences. Returns whether people see any.

        A commit has one regression at each moment: who goes to a commit waits until it is free, and if
        several wait for each other, one of them steps aside.
        """
        rows = {id(one): one.was.row for one in self._entries if one.was is not None}
        taken = {one.was.commit for one in self._entries if one.was is not None}
        waiting = sorted(
            (one for one in self._entries if one.was is not None or one.absorbed_by is None),
            key=lambda one: (one.absorbed_by is not None, one.was is None),
        )
        aside: list[int] = []
        is_changed = False
        while waiting:
            entry = next((one for one in waiting if one.is_free(taken, rows)), None)
            if entry is None:
                stuck = next(one.was for one in waiting if one.was is not None and one.was.commit in taken)
                aside.append(records.step_aside(connection, project, stuck.row))
                taken.remove(stuck.commit)
                continue
            waiting.remove(entry)
            if entry.was is not None:
                taken.discard(entry.was.commit)
            is_changed |= entry.write(connection, project, change, rows)
            if entry.absorbed_by is None:
                taken.add(entry.commit)
        records.forget_aside(connection, aside)
        return is_changed

    def _present(self) -> list[_Entry]:
        return [one for one in self._entries if one.absorbed_by is None]

    def _at(self, commit: int) -> _Entry | None:
        return next((one for one in self._present() if one.commit == commit), None)
