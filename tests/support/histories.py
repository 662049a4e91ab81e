"""Results of many commits, made by hand, for the results server."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarking.results.model import NET_DELAY, Comparison, Device, Result, RunType
from tests.support.sample_results import PASSED, delays, having

DAY_S = 86_400
START = 1_750_000_000


def commit_of(position: int) -> str:
    return f"{position:040x}"


def result(
    position: int,
    delay_us: float,
    *,
    operators: Mapping[str, float] | None = None,
    net: str = "squeezenet",
    device: str = "0123456789ab",
    run_type: RunType = "benchmark",
    control: int | None = None,
    ratio: float | None = None,
    regressed: Sequence[str] = (),
    time: int | None = None,
    tainted: bool = False,
    start: int = START,
) -> Result:
    """A run of the commit at the position; each is an hour after the one before.

    Args:
        ratio: of the net to the control.
        regressed: the types whose regression is confirmed, each with this ratio.
        time: of the run; the default is half an hour after the commit.
    """
    moment = start + position * 3600
    types = [delays(NET_DELAY, delay_us), *(delays(name, one) for name, one in (operators or {}).items())]
    if ratio is not None:
        types = [
            replace(one, comparison=Comparison(10, ratio, None), regressed=one.type in regressed)
            for one in types
        ]
    uid = f"{net}-{device}-{position}-{run_type}-{control}-{'-'.join(regressed)}-{time or 0}"
    return having(
        replace(
            PASSED,
            test=replace(PASSED.test, net=net, device=device),
            device=Device(device, tainted=("busy",) if tainted else ()),
        ),
        commit=commit_of(position),
        commit_time=moment,
        position=position,
        control_commit=None if control is None else commit_of(control),
        control_commit_time=None if control is None else start + control * 3600,
        control_position=control,
        run_type=run_type,
        time=time or moment + 1800,
        uid="".join(one if one.isalnum() else "-" for one in uid)[:64],
        run_uid=f"run-{position}",
        types=tuple(types),
    )


def levels(*levels_us: float, runs: int = 20, scatter: float = 0.004, seed: int = 5) -> Iterator[float]:
    """Delays around each of the levels in turn."""
    source = random.Random(seed)
    return (level * source.gauss(1, scatter) for level in levels_us for _ in range(runs))
