"""The shell commands that a specification runs on this machine before and after a test, if allowed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarking.driver.arms import LocalFiles
from benchmarking.driver.bench import Bench
from benchmarking.errors import CaseError
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.results.plain_text import plain
from benchmarking.specs.expand import TestCase

HOST_DIRECTORY = "HOSTDIR"
"""The placeholder of a directory on this machine for the commands of one test."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*(?:\.[^{}\s]+)?)\}")


@contextmanager
def around(bench: Bench, case: TestCase, files: LocalFiles | None) -> Iterator[None]:
    """Runs the commands of a test in a directory of their own, the last ones also after a failure.

    Args:
        files: what ``{files.KEY}`` stands for.

    Raises:
        CaseError: a command failed; its output is the evidence.
    """
    shell = case.shell
    if shell is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-commands-", ignore_cleanup_errors=True) as directory:
        values = {
            **shell.variables,
            HOST_DIRECTORY: directory,
            **{f"files.{key}": str(path) for key, path in (files.model if files else {}).items()},
        }
        _run(bench, case, shell.before, values, directory)
        try:
            yield
        except BaseException as error:
            try:
                _run(bench, case, shell.after, values, directory)
            except CaseError as later:  # the first failure is the reason; neither hides the other
                error.add_note(f"afterwards, {later}\n{later.evidence}".rstrip())
            raise
        _run(bench, case, shell.after, values, directory)


def _run(
    bench: Bench, case: TestCase, commands: Sequence[str], values: Mapping[str, str], directory: str
) -> None:
    limit_s = bench.plan.limit_s(case)
    for text in commands:
        script = _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)
        outcome = process.run(
            Command(("sh", "-c", script), timeout_s=limit_s),
            bench.cancellation,
            directory=Path(directory),
            hidden_environment=bench.plan.secrets,
        )
        if outcome.exit_code != 0:
            how = "took too long" if outcome.timed_out else f"ended with exit status {outcome.exit_code}"
            raise CaseError(f"the shell command {plain(script[:200])!r} {how}", outcome.tail())
