"""The work of ``mlbench mcp``: each tool is a command line of ``mlbench`` in a process of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from benchmarking import bounds
from benchmarking.cli.agent_answers import BisectAnswer, Probe
from benchmarking.cli.options import TOKEN_VARIABLE, is_model
from benchmarking.continuous.bisection import bisect, threshold
from benchmarking.errors import BuildError, ExitStatus, UsageError
from benchmarking.packages import ROOT
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import RepoBase, RepoOptions, Revision
from benchmarking.repos.repos import make_repo
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import Verdict
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks

MOST_DOCUMENTS = 20
"""So many runs can be explained afterwards."""
LARGEST_DOCUMENT_BYTES = 2**26
MOST_COMMITS = 10_000
LONGEST_EVIDENCE = 2000


@dataclass(frozen=True)
class Allowed:
    """Where tools may read files and run programs."""

    directories: tuple[Path, ...]
    """The working directory first; all resolved."""
    commands: bool = False
    """Whether tools may run command lines of the agent."""

    def path(self, text: str) -> Path:
        """
        Raises:
            UsageError: it is outside, or there is no such thing.
        """
        path = (self.directories[0] / text).resolve()
        self._require_inside(path)
        if not path.exists():
            raise UsageError(f"there is no {text}")
        return path

    def _require_inside(self, path: Path) -> None:
        if not any(path.is_relative_to(one) for one in self.directories):
            raise UsageError(
                f"{path} is outside of {self.directories[0]}; the user can allow it with --allow DIRECTORY"
            )

    def require_commands(self) -> None:
        """
        Raises:
            UsageError: the user has not allowed them.
        """
        if not self.commands:
            raise UsageError("command lines are not run; the user can allow them with --allow_commands")

    def benchmark(self, text: str) -> Path:
        """A model, or a specification whose files are allowed, too. Raises as ``path``."""
        path = self.path(text)
        if not is_model(path):
            for case in expand(read_benchmarks(path), None):
                files = [*case.model_files.values(), *case.golden_files.values()]
                files += [one for formats in case.formats.values() for one in formats.values()]
                files += [one.file for one in case.inputs if one.file is not None]
                for location in files:
                    if not location.is_url:
                        self._require_inside(location.path)
        return path


class AtHand:
    """The work that a signal has to end before the server may: its processes would outlive the server."""

    def __init__(self) -> None:
        self._cancellation: Cancellation | None = None
        self._is_ending = False

    @contextmanager
    def work(self, cancellation: Cancellation) -> Iterator[None]:
        """Ends the process in place of returning, once a signal has come."""
        self._cancellation = cancellation
        try:
            yield
        finally:
            self._cancellation = None
            if self._is_ending:
                os._exit(ExitStatus.INTERRUPTED)

    def end(self, number: int, frame: FrameType | None) -> None:
        """By a signal; the second does not wait any more."""
        if self._cancellation is None or self._is_ending:
            os._exit(ExitStatus.INTERRUPTED)
        self._is_ending = True
        self._cancellation.set()


@dataclass
class Tools:
    allowed: Allowed
    documents: OrderedDict[str, Document] = field(default_factory=OrderedDict)
    """Of the last runs, by the identifier of the run."""
    runs: int = 0
    """How many there were, also those whose documents are not kept any more."""

    def mlbench(
        self, arguments: Sequence[str], timeout_s: float, cancellation: Cancellation
    ) -> tuple[str, Document]:
        """The identifier of a run, and what ``--json`` printed.

        Raises:
            UsageError: it printed nothing; says why.
            RunCancelledError: the run was cancelled, and all its processes have ended.
        """
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = Command(
            (sys.executable, "-m", "benchmarking", *arguments, "--json"), {"PYTHONPATH": path}, timeout_s
        )
        outcome = process.run(
            command,
            cancellation,
            directory=self.allowed.directories[0],
            hidden_environment=(TOKEN_VARIABLE,),
            termination_grace_s=10.0,
        )
        if outcome.timed_out:
            raise UsageError(f"it had not ended after {timeout_s:g} s")
        try:
            document = documents.read(Document, outcome.stdout)
        except ValueError as error:
            raise UsageError(outcome.stderr.strip()[-LONGEST_EVIDENCE:] or str(error)) from error
        return self.remember(document), document

    def remember(self, document: Document) -> str:
        run = document.results[0].provenance.run_uid if document.results else f"run-{self.runs}"
        self.runs += 1
        self.documents[run] = document
        while len(self.documents) > MOST_DOCUMENTS:
            self.documents.popitem(last=False)
        return run

    def known(self, run: str, document: str) -> tuple[str, Document]:
        """A run of this session, by default the last; or the file that ``--json`` wrote.

        Raises:
            UsageError: there is none.
        """
        if document:
            path = self.allowed.path(document)
            try:
                return document, documents.read(Document, bounds.read_file(path, LARGEST_DOCUMENT_BYTES))
            except (OSError, ValueError) as error:
                raise UsageError(f"{document} is not a document of --json: {error}") from error
        if not run and self.documents:
            run = next(reversed(self.documents))
        if run not in self.documents:
            raise UsageError(f"there is no run {run!r} in this session" if run else "nothing was run yet")
        return run, self.documents[run]


def option_words(options: Mapping[str, object]) -> list[str]:
    """Those that were given."""
    return [f"--{name}={value}" for name, value in options.items() if value is not None]


@dataclass(frozen=True)
class Bisection:
    """Compares commits of a repository with a good one, by a command in a checkout of each."""

    tools: Tools
    command: str
    build: str
    options: Sequence[str]
    timeout_s: float
    cancellation: Cancellation
    work: Path
    probes: list[Probe] = field(default_factory=list)

    def find(self, repo: RepoBase, good_name: str, bad_name: str) -> BisectAnswer:
        """
        Raises:
            BenchmarkError: the commits are unknown, or the good one cannot be built.
            RunCancelledError: it was cancelled.
        """
        good, bad = repo.resolve(good_name), repo.resolve(bad_name)
        if not repo.is_ancestor(good.commit, bad.commit):
            raise UsageError(f"{good_name} is not an ancestor of {bad_name}")
        commits = repo.commits_after(good.commit, bad.commit)
        if not 0 < len(commits) <= MOST_COMMITS:
            raise UsageError(f"there are {len(commits)} commits from {good_name} to {bad_name}")
        base = self._launcher(repo, good)
        bad_change, verdict = self._probe(repo, base, bad)
        if bad_change is None or verdict is not Verdict.REGRESSED:
            return self._answer(None, bad_change, f"the bad commit is not slower: {self.probes[-1].verdict}")
        limit = threshold(1 + bad_change)

        def is_bad(revision: Revision) -> bool | None:
            change, _ = self._probe(repo, base, revision)
            return None if change is None else 1 + change > limit

        narrowed = bisect(commits, is_bad)
        return self._answer(narrowed.culprit, bad_change, narrowed.note)

    def _probe(self, repo: RepoBase, base: Path, revision: Revision) -> tuple[float | None, Verdict | None]:
        """The change against the good commit, and the verdict; None where it cannot be measured."""
        try:
            head = self._launcher(repo, revision)
            arguments = ["compare", shlex.quote(str(base)), shlex.quote(str(head)), *self.options]
            _, document = self.tools.mlbench(arguments, self.timeout_s, self.cancellation)
        except (BuildError, UsageError) as error:
            self._note(revision, None, str(error))
            return None, None
        net = document.results[-1].net if document.results else None
        if net is None or net.ratio is None:
            failure = document.results[-1].failure if document.results else None
            self._note(revision, None, failure.message if failure else "nothing was measured")
            return None, None
        self._note(revision, net.ratio - 1, str(net.verdict))
        return net.ratio - 1, net.verdict

    def _launcher(self, repo: RepoBase, revision: Revision) -> Path:
        """Checks out and builds the commit.

        Raises:
            BuildError: it cannot be built.
            BenchmarkError: it cannot be checked out.
        """
        checkout, launcher = self.work / f"{revision.short}-checkout", self.work / revision.short
        repo.check_out(revision.commit, checkout)
        if self.build:
            outcome = process.run(
                Command(("sh", "-e", "-c", self.build), timeout_s=self.timeout_s),
                self.cancellation,
                directory=checkout,
                hidden_environment=(TOKEN_VARIABLE,),
            )
            if outcome.exit_code != 0:
                raise BuildError(f"{revision.short} cannot be built: {outcome.tail(5)}")
        # bash becomes the program if there is only one, and the CPU time of that is known best.
        line = f"exec {'bash' if shutil.which('bash') else 'sh'} -c {shlex.quote(self.command)}"
        text = f"#!/bin/sh\ncd {shlex.quote(str(checkout))} || exit 126\n{line}\n"
        launcher.write_text(text, encoding="utf-8")
        launcher.chmod(0o700)
        return launcher

    def _note(self, revision: Revision, change: float | None, verdict: str) -> None:
        text = verdict[:LONGEST_EVIDENCE]
        self.probes.append(
            Probe(commit=revision.commit, subject=revision.subject, change=change, verdict=text)
        )

    def _answer(self, culprit: Revision | None, change: float | None, note: str) -> BisectAnswer:
        return BisectAnswer(
            found=culprit is not None,
            commit=culprit.commit if culprit else "",
            subject=culprit.subject if culprit else "",
            author=culprit.author if culprit else "",
            note=note,
            change=change,
            probes=self.probes,
        )


def bisected(
    tools: Tools,
    repository: Path,
    names: tuple[str, str],
    command: str,
    build: str,
    options: Sequence[str],
    timeout_s: float,
    cancellation: Cancellation,
) -> BisectAnswer:
    """``names``: of the good and the bad commit. Raises as ``Bisection.find``."""
    with TemporaryDirectory(prefix="benchmark-bisect-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        with make_repo(None, RepoOptions(repository, work / "repository", cancellation)) as repo:
            search = Bisection(tools, command, build, options, timeout_s, cancellation, work)
            return search.find(repo, *names)
