"""Whether a run is on several backends, and on which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import quoted, suggestion
from benchmarking.cli.declared import declarations
from benchmarking.cli.options import BACKENDS, HarnessOptions
from benchmarking.driver.settings import BACKEND_TOLERANCE
from benchmarking.errors import UsageError

if TYPE_CHECKING:
    from benchmarking.driver.plan import ManyBackends
    from benchmarking.frameworks.framework_base import FrameworkBase
    from benchmarking.specs.run_info import RunInfo

ALL = "all"


def several(options: HarnessOptions, info: RunInfo, run_type: str) -> ManyBackends | None:
    """None: the tests run on one.

    Raises:
        UsageError: the options do not fit together.
    """
    from benchmarking.driver.plan import ManyBackends

    text = options.backend or ""
    names = tuple(one.strip() for one in text.split(","))
    if options.backend is not None and not all(names):
        raise UsageError(f"--backend {text!r}: a name is empty; name backends as in --backend default,nnpack")
    if len(names) == 1 and names != (ALL,):
        for name, declared in declarations(HarnessOptions).items():
            if declared.group == BACKENDS and getattr(options, name) is not None:
                raise UsageError(f"--{name} goes with several backends: --backend a,b or --backend all")
        return None
    _check_names(names, text, options.reference_backend)
    if info.control or info.regression_commits:
        raise UsageError(
            "--backend: several backends are compared with each other, not with the control or the "
            "regression_commits of --info: name one backend, or leave those out"
        )
    if run_type != "benchmark":
        raise UsageError(f"--backend: a run of type {run_type} is on one backend: name the suspicious one")
    return ManyBackends(
        names=() if names == (ALL,) else names,
        reference=options.reference_backend,
        blocks=options.blocks,
        tolerance=options.backend_tolerance or BACKEND_TOLERANCE,
    )


def check_names(options: HarnessOptions, info: RunInfo, framework: FrameworkBase) -> None:
    """Whether the backends can be meant. A program of the user's own may have others than the framework's.

    Raises:
        UsageError: there is no such backend, or its name is nearly that of one.
    """
    chosen = {"backend": options.backend or "", "reference_backend": options.reference_backend or ""}
    for option, text in chosen.items():
        for name in filter(None, (one.strip() for one in text.split(","))):
            if name == ALL or name in framework.backends or not framework.backends:
                continue
            advice = "" if _is_variant(name, framework.backends) else suggestion(name, framework.backends)
            if options.program is None and info.treatment.program is None:
                advice = advice or f"; it has {', '.join(framework.backends)}"
            if advice:
                raise UsageError(f"--{option}: {framework.name} has no backend {quoted(name)}{advice}")


def _is_variant(name: str, known: Sequence[str]) -> bool:
    """As in ``cuda12`` or ``my_mkl``: the name of a backend with something before or behind it."""
    return any(name.startswith(one) or name.endswith(one) for one in known)


def _check_names(names: tuple[str, ...], text: str, reference: str | None) -> None:
    if len(set(names)) < len(names):
        raise UsageError(f"--backend {text}: name each backend once, as in --backend default,nnpack")
    if names == (ALL,):
        return
    if ALL in names:
        raise UsageError(f"--backend {text}: all stands alone")
    if reference not in (None, *names):
        raise UsageError(f"--reference_backend {reference} is not among those of --backend {text}")
