"""``mlbench compare --base REQUIREMENTS --head REQUIREMENTS FILE``: two Python environments."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli import compare_programs
from benchmarking.cli.argument_types import quoted
from benchmarking.cli.compare_request import Request
from benchmarking.cli.options import MODEL_SUFFIXES, TOKEN_VARIABLE, benchmark_file, is_model
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.cli.wiring import made_directories
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.frameworks.frameworks import FRAMEWORKS, make_framework

if TYPE_CHECKING:
    from benchmarking.frameworks.own_program import OwnProgramFramework
    from benchmarking.programs.made_environments import EnvironmentMaker, Wanted


@dataclass(frozen=True)
class _Side:
    """What one of the two options means: an environment that is there, or requirements."""

    text: str
    python: Path | None = None
    wanted: tuple[Wanted, ...] = ()

    @classmethod
    def of(cls, name: str, text: str) -> _Side:
        """
        Raises:
            UsageError: it is neither.
        """
        from benchmarking.programs.made_environments import PYTHON, Wanted

        path = Path(text).expanduser()
        for python in (path, path / PYTHON):
            if python.suffix != ".whl" and python.is_file() and os.access(python, os.X_OK):
                return cls(text, python=python.absolute())
        try:
            words = shlex.split(text)
            if len(words) == 1 and os.sep in text and not re.search(r"\.whl$|@", text):
                raise UsageError(f"there is no Python {quoted(text)}")
            if not words:
                raise UsageError("there is no requirement")
            return cls(text, wanted=tuple(map(Wanted.parse, words)))
        except (ValueError, UsageError) as error:
            raise UsageError(f"--{name}: {error}") from error

    def version(
        self, stack: ExitStack, maker: EnvironmentMaker, framework: OwnProgramFramework
    ) -> dict[str, Any]:
        """As --info describes it."""
        from benchmarking.programs.made_environments import PYTHON, Wanted

        if self.python is not None:
            return {"python": str(self.python)}
        names = {one.name for one in self.wanted}
        # Any version of these will do.
        needed = [Wanted(name, name, exact=True) for name in framework.needed_packages if name not in names]
        directory = stack.enter_context(maker.environment([*self.wanted, *needed], self.text))
        return {
            "python": str(directory / PYTHON),
            "commit": directory.name,
            "commit_time": int(time.time()),
        }


def compare(request: Request) -> ExitStatus:
    from benchmarking.programs.made_environments import EnvironmentMaker
    from benchmarking.programs.process import Cancellation

    if not (request.base and request.head and request.names):
        raise UsageError(
            "two environments need --base, --head and the model or the specification to run: "
            "--base onnxruntime==1.20.1 --head onnxruntime==1.32.0 model.onnx"
        )
    sides = [_Side.of(name, text) for name, text in (("base", request.base), ("head", request.head))]
    framework = _framework(request, sides)
    with ExitStack() as stack:
        with Cancellation() as cancellation, cancelled_by_signals(cancellation):
            directories = made_directories("environments")
            maker = EnvironmentMaker(directories, _python(request), cancellation, (TOKEN_VARIABLE,))
            base, head = (one.version(stack, maker, framework) for one in sides)
        return compare_programs.run(request, request.names, base=base, head=head, framework=framework.name)


def _python(request: Request) -> str:
    python = request.python or sys.executable
    found = shutil.which(python)
    if found is None:
        raise UsageError(f"--python: there is no program {quoted(python)}")
    return str(Path(found).absolute())


def _framework(request: Request, sides: Sequence[_Side]) -> OwnProgramFramework:
    """The framework of the option, or else that of the required runtime, or of the model's format.

    Raises:
        UsageError: there is none.
    """
    from benchmarking.frameworks.own_program import OwnProgramFramework

    wanted = {one.name for side in sides for one in side.wanted}
    path = benchmark_file(request.names[0])
    format_ = MODEL_SUFFIXES[path.suffix.lower()] if is_model(path) else None
    named = request.options.get("framework")
    candidates = [
        one
        for name in FRAMEWORKS
        if isinstance(one := make_framework(name), OwnProgramFramework)
        and (named is None or name == named)
        and (format_ is None or format_ in one.formats)
        and (not wanted or wanted & {*one.runtime_packages})
    ]
    if candidates:
        return candidates[0]
    what = ", ".join(sorted(wanted)) or "these environments"
    runs = f" runs {quoted(path.name)}" if format_ else ""
    raise UsageError(
        f"none of the frameworks with {what} as its runtime{runs or ' is known'}; "
        "--framework names another, mlbench run --help shows all"
    )
