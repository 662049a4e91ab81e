"""Chooses the arms of a test on a device: backends of one framework, or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarking.driver.bench import Bench
from benchmarking.driver.plan import Contender, ManyBackends
from benchmarking.errors import CaseError, ProgramError
from benchmarking.frameworks.framework_base import BackendStatus, FrameworkBase
from benchmarking.specs.expand import TestCase

USUAL_REFERENCE = "default"
Statuses = tuple[BackendStatus, ...] | None
"""The program's list of its backends; None: it does not report any."""


@dataclass(frozen=True)
class ChosenArm:
    """One backend of one framework."""

    name: str
    """The name in tables: ``mkl``; with several frameworks ``caffe2/mkl``, or ``caffe2`` on its usual
    backend.
    """
    bench: Bench
    """With its framework, program and backend."""
    case: TestCase
    """With the model in a format that the framework runs."""
    missing: str = ""
    """The reason why the device lacks it; empty: no reason is known."""

    @property
    def framework(self) -> FrameworkBase:
        return self.bench.plan.framework


@dataclass(frozen=True)
class Lineup:
    """The arms of a test."""

    arms: tuple[ChosenArm, ...]
    reference: str
    """The name of the arm with which the others are compared."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Maps the name of what the device lacks, or what cannot run the test, to the reason."""


@dataclass(frozen=True)
class DeviceBackends:
    """The backends of one framework on which the tests run on a device."""

    chosen: tuple[str, ...]
    reference: str
    missing: Mapping[str, str] = field(default_factory=dict)
    """For backends chosen by name: those that the device lacks, with the reason."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """If all were requested: those that the device lacks, with the reason."""


@dataclass(frozen=True)
class FoundBackends:
    """The reports of the programs about their backends on a device."""

    statuses: Mapping[str, Statuses]
    """By framework that runs there."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Maps the framework that does not run there to the reason, and how to get it."""

    def lineup(self, bench: Bench, case: TestCase) -> Lineup:
        """Raises:
        CaseError: nothing can run the test.
        """
        wanted = bench.plan.backends or ManyBackends()
        if not wanted.contenders:
            return self._of_one_framework(bench, case, wanted)
        arms: list[ChosenArm] = []
        unavailable = dict(self.unusable)
        for contender in wanted.contenders:
            name = contender.framework.name
            if name in self.unusable:
                continue
            try:
                own_arms, lacking = self._of_contender(bench, case, contender, wanted.names)
            except CaseError as error:
                unavailable[name] = str(error)
            else:
                arms += own_arms
                unavailable |= {f"{name}/{backend}": why for backend, why in lacking.items()}
        if not arms:
            reasons = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
            raise CaseError(f"none of the frameworks can run this test: {reasons}")
        unavailable |= _found_nowhere(wanted.names or (), [*unavailable, *(arm.name for arm in arms)])
        return Lineup(tuple(arms), reference_among(arms, wanted.reference), unavailable)

    def _of_contender(
        self, bench: Bench, case: TestCase, contender: Contender, names: tuple[str, ...] | None
    ) -> tuple[list[ChosenArm], Mapping[str, str]]:
        """The arms of one framework, and the backends that it lacks.

        Raises:
            CaseError: it cannot run the test, or has none of the backends.
        """
        framework = contender.framework
        own_case = case.in_first_format_of(framework.formats)
        faults = framework.check(own_case)
        if faults:
            raise CaseError(faults[0].message)
        own = bench.planned(replace(bench.plan, framework=framework, treatment=contender.arm, backend=None))
        if names is None:
            return [ChosenArm(framework.name, own, own_case)], {}
        chosen, lacking = self._backends_of(framework, own_case, names)
        if not chosen:
            raise CaseError(f"it has none of the requested backends: {', '.join(names) or 'all'}")
        arms = [
            ChosenArm(
                f"{framework.name}/{backend}", own.planned(replace(own.plan, backend=backend)), own_case
            )
            for backend in chosen
        ]
        return arms, lacking

    def _of_one_framework(self, bench: Bench, case: TestCase, wanted: ManyBackends) -> Lineup:
        plan = bench.plan
        statuses = self.statuses.get(plan.framework.name)
        backends = of_engine(wanted, statuses, plan.framework.engine(case))
        arms = [
            ChosenArm(name, bench.planned(replace(plan, backend=name)), case, backends.missing.get(name, ""))
            for name in backends.chosen
        ]
        return Lineup(tuple(arms), backends.reference, backends.unavailable)

    def _backends_of(
        self, framework: FrameworkBase, case: TestCase, names: Sequence[str]
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """The backends on which the test runs, and the reasons against the others. A name may follow its
        framework's.
        """
        own = dict.fromkeys(
            backend for one in names for of, _, backend in [one.rpartition("/")] if of in ("", framework.name)
        )
        statuses = self.statuses.get(framework.name)
        if statuses is None:  # whether each can be used is shown by its own first run
            known = framework.backends
            return tuple(name for name in own if not known or name in known), {}
        engine = framework.engine(case)
        of_it = [one for one in statuses if engine in (None, one.engine or engine)]
        available = tuple(dict.fromkeys(one.name for one in of_it if one.available))
        lacking = _reasons([one for one in of_it if one.name not in available])
        if not names:
            return available, lacking
        lacking = {name: why for name, why in lacking.items() if name in own}
        return tuple(name for name in own if name in available), lacking


def _found_nowhere(names: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """The requested backends of which nothing else is said, with the reason.

    Args:
        known: as ``framework/backend``, or a framework that has none of them.
    """
    told = {*known, *(one.rpartition("/")[2] for one in known if "/" in one)}
    reason = "no framework that runs here has it"
    return {name: reason for name in names if name not in told and name.rpartition("/")[0] not in known}


def reference_among(arms: Sequence[ChosenArm], wanted: str | None) -> str:
    """The arm with this name, or with this framework or backend; otherwise an arm of the first framework.

    For a framework it is the backend ``default`` if that is among the arms, otherwise the first.
    """
    by_name = {arm.name: arm for arm in arms}
    if wanted in by_name:
        return wanted
    candidates = [arm for arm in arms if arm.framework.name == wanted]
    candidates += [arm for arm in arms if arm.bench.plan.backend == wanted and wanted is not None]
    first = (candidates or arms)[0].framework.name
    names = [arm.name for arm in candidates or arms if arm.framework.name == first]
    usual = f"{first}/{USUAL_REFERENCE}"
    return usual if usual in names else names[0]


def find_backends(bench: Bench) -> FoundBackends:
    """Asks the programs on the device.

    Raises:
        CaseError: all backends of a single framework are wanted, and its program does not list them.
        DeviceError: the device does not answer.
        RunCancelledError: the run was cancelled.
    """
    wanted = bench.plan.backends or ManyBackends()
    if not wanted.contenders:
        return FoundBackends({bench.plan.framework.name: _of_single(bench, wanted)})
    statuses: dict[str, Statuses] = {}
    unusable = dict(wanted.unusable)
    for contender in wanted.contenders:
        own = bench.planned(replace(bench.plan, framework=contender.framework, treatment=contender.arm))
        try:
            statuses[contender.framework.name] = _ask(own)
        except CaseError as error:
            unusable[contender.framework.name] = str(error)
    return FoundBackends(statuses, unusable)


def _of_single(bench: Bench, wanted: ManyBackends) -> Statuses:
    try:
        statuses = _ask(bench)
        if statuses is None:
            raise ProgramError(f"programs of the framework {bench.plan.framework.name} do not list them")
        return statuses
    except CaseError as error:
        if wanted.names:
            return None
        raise ProgramError(
            f"--backend all: the program does not list its backends ({error}); "
            "name them, as in --backend default,nnpack",
            error.evidence,
        ) from error


def _ask(bench: Bench) -> Statuses:
    platform, plan = bench.platform, bench.plan
    program = plan.treatment.program
    with platform.stage([program.path, *plan.shared_libraries]) as staged:
        command = plan.framework.compose_backend_list(
            platform.launcher(program, staged), tuple(staged.paths[path] for path in plan.shared_libraries)
        )
        if command is None:
            return None
        outcome = platform.run(replace(command, timeout_s=plan.limit_s()), bench.cancellation)
        return plan.framework.parse_backend_list(outcome)


def of_engine(wanted: ManyBackends, statuses: Statuses, engine: str | None) -> DeviceBackends:
    """The backends for tests that request an engine of the program; None: for any engine.

    Raises:
        CaseError: there are none.
    """
    if statuses is None:  # whether each can be used is shown by its own first run
        names = wanted.names or ()
        return DeviceBackends(names, wanted.reference or _usual_reference(names))
    return choose(wanted, [one for one in statuses if engine in (None, one.engine or engine)])


def choose(wanted: ManyBackends, statuses: Sequence[BackendStatus]) -> DeviceBackends:
    available = tuple(dict.fromkeys(one.name for one in statuses if one.available))
    reasons = _reasons([one for one in statuses if one.name not in available])
    if wanted.names:
        missing = {name: reasons[name] for name in wanted.names if name in reasons}
        return DeviceBackends(wanted.names, wanted.reference or _usual_reference(wanted.names), missing)
    if not available:
        reasons_text = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ProgramError(
            f"--backend all: the program has none on this device: {reasons_text or 'it lists none at all'}"
        )
    reference = wanted.reference or _usual_reference(available)
    if reference in available:
        return DeviceBackends(available, reference, unavailable=reasons)
    why = reasons.pop(reference, f"the program has no such backend; it has {', '.join(available)}")
    return DeviceBackends((reference, *available), reference, {reference: why}, reasons)


def _reasons(unavailable: Sequence[BackendStatus]) -> dict[str, str]:
    """By name; for a backend that several engines could have, the reason of each engine."""
    by_name: dict[str, dict[str, str]] = {}
    for one in unavailable:
        by_name.setdefault(one.name, {})[one.engine] = one.reason or "the program gives no reason"
    return {
        name: "; ".join(f"engine {engine}: {why}" for engine, why in reasons.items())
        if len(reasons) > 1
        else next(iter(reasons.values()))
        for name, reasons in by_name.items()
    }


def _usual_reference(names: Sequence[str]) -> str:
    return USUAL_REFERENCE if USUAL_REFERENCE in names else names[0]
