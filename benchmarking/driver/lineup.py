"""Which arms a test has on a device: backends of one framework, or of several."""

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
"""What a program says of its backends; None: it does not say anything."""


@dataclass(frozen=True)
class ChosenArm:
    """One backend of one framework."""

    name: str
    """In tables: ``mkl``; with several frameworks ``caffe2/mkl``, or ``caffe2`` on its usual backend."""
    bench: Bench
    """With its framework, program and backend."""
    case: TestCase
    """With the model in a format that the framework runs."""
    missing: str = ""
    """Why the device lacks what was named; empty: nothing is known against it."""

    @property
    def framework(self) -> FrameworkBase:
        return self.bench.plan.framework


@dataclass(frozen=True)
class Lineup:
    """The arms of a test."""

    arms: tuple[ChosenArm, ...]
    reference: str
    """The name of the arm that the others are compared with."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """What the device lacks, or what cannot run the test, by its name: why."""


@dataclass(frozen=True)
class DeviceBackends:
    """On which backends of one framework the tests run on a device."""

    chosen: tuple[str, ...]
    reference: str
    missing: Mapping[str, str] = field(default_factory=dict)
    """Of those that were chosen by name: what the device lacks, and why."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Where all were asked for: what the device lacks, and why."""


@dataclass(frozen=True)
class FoundBackends:
    """What the programs say of their backends on a device."""

    statuses: Mapping[str, Statuses]
    """By framework that runs there."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """By framework that does not: why, and how to get it."""

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
        return Lineup(tuple(arms), reference_among(arms, wanted.reference), unavailable)

    def _of_contender(
        self, bench: Bench, case: TestCase, contender: Contender, names: tuple[str, ...] | None
    ) -> tuple[list[ChosenArm], Mapping[str, str]]:
        """Its arms, and which backends it lacks.

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
            raise CaseError(f"it has none of the backends that were asked for: {', '.join(names) or 'all'}")
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
        """Those that the test runs on, and why not on the others. A name may follow its framework's."""
        own = [one.rpartition("/")[2] for one in names if one.rpartition("/")[0] in ("", framework.name)]
        statuses = self.statuses.get(framework.name)
        if statuses is None:  # whether each can be used, its own first run tells
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


def reference_among(arms: Sequence[ChosenArm], wanted: str | None) -> str:
    """The arm of this name, or of this framework or backend; else of the first framework.

    Of a framework it is the backend ``default`` where that is among them, else the first one.
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
        CaseError: all backends of a single framework are wanted, and its program does not tell them.
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
            raise ProgramError(f"programs of the framework {bench.plan.framework.name} do not")
        return statuses
    except CaseError as error:
        if wanted.names:
            return None
        raise ProgramError(
            f"--backend all: the program does not tell which backends it has ({error}); "
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
    """The backends that the tests run on which ask for an engine of the program; None: for any of them.

    Raises:
        CaseError: there are none.
    """
    if statuses is None:  # whether each can be used, its own first run tells
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
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ProgramError(f"--backend all: the program has none here: {told or 'it names none at all'}")
    reference = wanted.reference or _usual_reference(available)
    if reference in available:
        return DeviceBackends(available, reference, unavailable=reasons)
    why = reasons.pop(reference, f"the program has no such backend; it has {', '.join(available)}")
    return DeviceBackends((reference, *available), reference, {reference: why}, reasons)


def _reasons(unavailable: Sequence[BackendStatus]) -> dict[str, str]:
    """By name; of a backend that several engines could have, each engine's."""
    by_name: dict[str, dict[str, str]] = {}
    for one in unavailable:
        by_name.setdefault(one.name, {})[one.engine] = one.reason or "the program does not say why"
    return {
        name: "; ".join(f"engine {engine}: {why}" for engine, why in reasons.items())
        if len(reasons) > 1
        else next(iter(reasons.values()))
        for name, reasons in by_name.items()
    }


def _usual_reference(names: Sequence[str]) -> str:
    return USUAL_REFERENCE if USUAL_REFERENCE in names else names[0]
