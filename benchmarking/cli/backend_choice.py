"""Decides whether a run compares several backends, and which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import quoted, suggestion
from benchmarking.cli.declared import declarations
from benchmarking.cli.options import ALL, BACKENDS, HarnessOptions
from benchmarking.errors import UsageError

if TYPE_CHECKING:
    from benchmarking.driver.plan import ManyBackends
    from benchmarking.frameworks.framework_base import FrameworkBase
    from benchmarking.specs.run_info import RunInfo


def several(options: HarnessOptions, info: RunInfo, run_type: str) -> ManyBackends | None:
    """None: the tests run on one backend of one framework.

    Raises:
        UsageError: the options do not fit together.
    """
    from benchmarking.driver.plan import ManyBackends

    text = options.backend or ""
    names = tuple(one.strip() for one in text.split(","))
    if options.backend is not None and not all(names):
        raise UsageError(f"--backend {text!r}: a name is empty; use the form --backend default,nnpack")
    if len(names) == 1 and names != (ALL,) and not options.compares_frameworks:
        _refuse_options_of_several(options)
        return None
    _check_names(names, text, None if options.compares_frameworks else options.reference_backend)
    _refuse_other_comparisons(options, info, run_type)
    return ManyBackends(
        names=None if options.backend is None else () if names == (ALL,) else names,
        reference=options.reference_backend,
        blocks=options.blocks,
        tolerance=options.backend_tolerance,
    )


def _refuse_options_of_several(options: HarnessOptions) -> None:
    for name, declared in declarations(HarnessOptions).items():
        if declared.group == BACKENDS and getattr(options, name) is not None:
            raise UsageError(
                f"--{name} needs several backends or frameworks: --backend a,b, --framework a,b, or all"
            )


def _refuse_other_comparisons(options: HarnessOptions, info: RunInfo, run_type: str) -> None:
    option, what = "--backend", "backends"
    if options.compares_frameworks:
        option, what = "--framework", "frameworks"
        if options.program or info.treatment.program:
            raise UsageError(
                "--framework: several frameworks run their own programs: name one framework together with"
                " --program "
                "and the program of --info, or leave that out"
            )
    if info.control or info.regression_commits:
        raise UsageError(
            f"{option}: several {what} are compared with each other, not with the control or the "
            f"regression_commits of --info: name one {what[:-1]}, or leave those out"
        )
    if run_type != "benchmark":
        raise UsageError(f"{option}: a run of type {run_type} is on one {what[:-1]}: name the suspicious one")


def check_names(options: HarnessOptions, info: RunInfo, frameworks: Sequence[FrameworkBase]) -> None:
    """Checks the names of the backends. The user's own program may have other backends than the framework's.

    Raises:
        UsageError: there is no such backend, or its name is nearly that of one.
    """
    chosen = {"backend": options.backend or "", "reference_backend": options.reference_backend or ""}
    for option, text in chosen.items():
        for name in filter(None, (one.strip() for one in text.split(","))):
            if name == ALL or (len(frameworks) > 1 and name in options.frameworks):
                continue
            of_framework, _, backend = name.rpartition("/")
            asked = [one for one in frameworks if of_framework in ("", one.name)]
            known = tuple(dict.fromkeys(backend for one in asked for backend in one.backends))
            if backend in known or any(not one.backends for one in asked):
                continue
            advice = "" if _is_variant(backend, known) else suggestion(backend, known)
            if options.program is None and info.treatment.program is None:
                advice = advice or f"; {'it has' if len(frameworks) == 1 else 'there are'} {', '.join(known)}"
            if advice:
                who = of_framework or options.framework
                raise UsageError(f"--{option}: {_has_no(who)} backend {quoted(name)}{advice}")


def _has_no(frameworks: str) -> str:
    several = "," in frameworks or frameworks == ALL
    return "none of the frameworks has a" if several else f"{frameworks} has no"


def _is_variant(name: str, known: Sequence[str]) -> bool:
    """Whether the name is that of a known backend with a prefix or suffix, as in ``cuda12`` or ``my_mkl``."""
    return any(name.startswith(one) or name.endswith(one) for one in known)


def _check_names(names: tuple[str, ...], text: str, reference: str | None) -> None:
    if len(set(names)) < len(names):
        raise UsageError(f"--backend {text}: give each backend once, as in --backend default,nnpack")
    if names == (ALL,):
        return
    if ALL in names:
        raise UsageError(f"--backend {text}: all cannot be combined with other names")
    if reference not in (None, *names):
        raise UsageError(f"--reference_backend {reference} is not among those of --backend {text}")
