"""A program on a device, with everything that it needs for a case."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.driver.bench import Bench
from benchmarking.driver.plan import Arm
from benchmarking.errors import CaseError
from benchmarking.files.held_directory import HeldDirectory
from benchmarking.frameworks import data_files
from benchmarking.frameworks.framework_base import FrameworkBase, Invocation, ProgramReport
from benchmarking.platforms.platform_base import PlatformBase, StagedFiles
from benchmarking.programs.command import Command
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation
from benchmarking.programs.workers import WorkerSource
from benchmarking.specs.expand import TestCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNLIMITED_S = 24 * 3600.0
"""The time limit of a program's answer, if no other limit is given."""


@dataclass(frozen=True)
class LocalFiles:
    """All files that a case reads, as verified local files."""

    model: Mapping[str, Path]
    inputs: Mapping[str, Path]
    golden: Mapping[str, Path]
    beside: tuple[Path, ...] = ()
    """What files of the model refer to, in the same directory."""


@dataclass(frozen=True)
class ReadyArm:
    """The treatment or the control of one case, staged on the device."""

    case: TestCase
    command: Command
    invocation: Invocation
    output_names: tuple[str, ...]
    """Maps the names in the test to those in the model's own file, if they differ (``Invocation.outputs``).
    """
    staged: StagedFiles
    platform: PlatformBase
    framework: FrameworkBase
    cancellation: Cancellation

    def run(self) -> ProgramReport:
        return self.framework.parse(self.platform.run(self.command, self.cancellation), self.case)

    def workers(self) -> WorkerSource:
        return WorkerSource(self._start_worker, self.invocation.timeout_s or UNLIMITED_S)

    def _start_worker(self, forks: bool, layout_seed: int) -> AbstractContextManager[LiveProgram] | None:
        command = self.framework.compose_worker(self.invocation, forks=forks, layout_seed=layout_seed)
        # The time limit applies to a single answer; all of them together may take longer.
        if command is None:
            return None
        command = replace(command, timeout_s=None, affinity_mask=self.case.affinity_mask)
        return self.platform.start(command, self.cancellation)

    def outputs(self) -> dict[str, NDArray[np.float64]]:
        """The values that the last run wrote, flattened, by the name of the blob in the test."""
        with HeldDirectory("benchmark-run-") as directory:
            self.platform.fetch_outputs(self.staged, directory.path)
            return {
                name: self.framework.read_tensor(directory.path / self.framework.output_file(blob))
                for name, blob in zip(self.output_names, self.invocation.outputs, strict=True)
            }


def local_files(bench: Bench, case: TestCase) -> LocalFiles:
    """Raises:
    CaseError: one cannot be had.
    """
    if case.refusal is not None:
        raise CaseError(case.refusal)
    named = case.template.input_files if case.template else {}
    model = dict(bench.cache.resolve(case).files)
    beside: list[Path] = []
    for key, names in data_files.named_in(case.model.format, model).items():
        model[key], *data = bench.cache.with_data(case, key, names)
        beside += data
    return LocalFiles(
        model=model,
        beside=tuple(beside),
        inputs={
            **{
                blob.name: path
                for blob in case.inputs
                if (path := bench.cache.input_file(blob, case)) is not None
            },
            **{name: bench.cache.local_file(file.location, case, file.md5) for name, file in named.items()},
        },
        golden={blob: bench.cache.local_file(location, case) for blob, location in case.golden_files.items()},
    )


def make_ready(
    bench: Bench, stack: ExitStack, case: TestCase, files: LocalFiles, arm: Arm, outputs: tuple[str, ...]
) -> ReadyArm:
    """``outputs``: the blobs that the program writes."""
    plan = bench.plan
    staged = stack.enter_context(
        bench.platform.stage(
            [
                arm.program.path,
                *plan.shared_libraries,
                *files.model.values(),
                *files.beside,
                *files.inputs.values(),
            ]
        )
    )
    invocation = Invocation(
        case=case,
        launcher=bench.platform.launcher(arm.program, staged),
        model_files={key: staged.paths[path] for key, path in files.model.items()},
        input_files={blob: staged.paths[path] for blob, path in files.inputs.items()},
        output_directory=staged.output_directory if outputs or case.template else None,
        outputs=names_in_model(plan.framework, case, files, outputs),
        shared_libraries=tuple(staged.paths[path] for path in plan.shared_libraries),
        backend=plan.backend,
        allow_code=plan.allow_code,
        timeout_s=plan.limit_s(case),
    )
    _check_cores(bench, case)
    return ReadyArm(
        case=case,
        command=replace(plan.framework.compose(invocation), affinity_mask=case.affinity_mask),
        invocation=invocation,
        output_names=outputs,
        staged=staged,
        platform=bench.platform,
        framework=plan.framework,
        cancellation=bench.cancellation,
    )


def names_in_model(
    framework: FrameworkBase, case: TestCase, files: LocalFiles, outputs: tuple[str, ...]
) -> tuple[str, ...]:
    """Maps these outputs to their names in the model's own file, which may differ in another format.

    Names that the file does not have are matched by their order, if it has the same number of outputs.
    """
    own = framework.model_outputs(files.model) if case.formats else ()
    return outputs if set(outputs) <= set(own) or len(own) != len(outputs) else own


def _check_cores(bench: Bench, case: TestCase) -> None:
    """
    Raises:
        CaseError: the specification names cores that the device does not have.
    """
    cores = bench.platform.device.facts.get("logical_cores")
    mask = case.affinity_mask
    if mask is not None and isinstance(cores, int) and mask >> cores:
        raise CaseError(
            f"the specification requests the cores of the mask {mask:x}; {bench.platform.device.name} has "
            f"the cores 0 to {cores - 1}"
        )
