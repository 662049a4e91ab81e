"""``mlbench mcp``: a server of the Model Context Protocol on stdin and stdout, for agents.

Annotations are evaluated here, because the schemas of the tools are made from them.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from benchmarking import __version__
from benchmarking.cli.argument_types import Parser, path
from benchmarking.cli.running import run_command
from benchmarking.errors import BenchmarkError, ExitStatus, UsageError
from benchmarking.packages import require

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from benchmarking.cli.agent_tools import Allowed, AtHand

Answer = TypeVar("Answer")

PROGRESS_S = 2.0
LONGEST_TIMEOUT_S = 6 * 3600
INSTRUCTIONS = """\
Benchmarks of ML models and programs, with verdicts that hold on noisy machines. Base and head of a
comparison run in turn. 'inconclusive' does not mean 'unchanged'. Another load on the machine makes every
comparison take longer. Times are in microseconds, changes are fractions (0.05: 5 % slower)."""


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Serve run, compare, explain_verdict, list_regressions and bisect to agents, by the\n"
        "Model Context Protocol on stdin and stdout. Files outside of the current directory are refused.",
        epilog=f"exit status: {ExitStatus.OK} when the agent closes the connection",
    )
    parser.add_argument(
        "--allow",
        action="append",
        type=path,
        default=[],
        metavar="DIRECTORY",
        help="a further directory whose files may be read and run; may be repeated",
    )
    parser.add_argument(
        "--allow_commands",
        action="store_true",
        help="also run command lines that the agent gives: compare of commands, and bisect",
    )
    return parser


def _main(arguments: argparse.Namespace) -> ExitStatus:
    require("mcp")
    from benchmarking.cli.agent_tools import Allowed, AtHand
    from benchmarking.programs import ending_signals

    for directory in arguments.allow:
        if not directory.is_dir():
            raise UsageError(f"--allow: there is no directory {directory}")
    directories = tuple(one.resolve() for one in (Path(), *arguments.allow))
    at_hand = AtHand()
    with ending_signals.handled(at_hand.end):
        make_server(Allowed(directories, arguments.allow_commands), at_hand).run("stdio")
    return ExitStatus.OK


def make_server(allowed: "Allowed", at_hand: "AtHand") -> "MCPServer":
    import anyio
    import anyio.to_thread
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from pydantic import Field

    from benchmarking.cli import agent_answers
    from benchmarking.cli.agent_answers import BisectAnswer, ExplanationAnswer, RegressionsAnswer, RunAnswer
    from benchmarking.cli.agent_tools import Tools, bisected, option_words
    from benchmarking.cli.wiring import default_results
    from benchmarking.programs.process import Cancellation
    from benchmarking.records.tree import Selection

    server = MCPServer("mlbench", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    tools = Tools(allowed)
    one_at_a_time = anyio.Lock()

    Seconds = Annotated[float, Field(gt=0, le=LONGEST_TIMEOUT_S)]  # noqa: N806 - a type
    Share = Annotated[float, Field(gt=0, lt=10)]  # noqa: N806 - a type
    Text = Annotated[str, Field(max_length=4000)]  # noqa: N806 - a type

    async def measured(context: Context, work: Callable[[Cancellation], Answer]) -> Answer:
        """Runs the work in a thread, tells the time, and ends its processes when the request is cancelled.

        Raises:
            ToolError: the work says what is wrong.
        """
        async with one_at_a_time:
            with Cancellation() as cancellation, at_hand.work(cancellation):
                try:
                    async with anyio.create_task_group() as group:
                        group.start_soon(tell_time, context)
                        group.start_soon(end_with_request, cancellation)
                        answer = await anyio.to_thread.run_sync(work, cancellation)
                        group.cancel_scope.cancel()
                except* BenchmarkError as errors:
                    raise ToolError(str(errors.exceptions[0])) from errors
        return answer

    async def tell_time(context: Context) -> None:
        started = time.monotonic()
        while True:
            await anyio.sleep(PROGRESS_S)
            elapsed_s = round(time.monotonic() - started)
            await context.report_progress(elapsed_s, None, f"{elapsed_s} s")

    async def end_with_request(cancellation: Cancellation) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancellation.set()

    @server.tool()
    async def run(
        context: Context,
        files: Annotated[list[Text], Field(min_length=1, max_length=100)],
        framework: Text | None = None,
        backend: Text | None = None,
        threads: Annotated[int, Field(ge=1, le=1024)] | None = None,
        timeout_s: Seconds = 1800,
    ) -> RunAnswer:
        """Measure model files (.onnx, .tflite, .pt2, .pt, .xml, .pte) or specifications (.json).

        framework: caffe2, onnxruntime, openvino, litert, pytorch, executorch, or 'all' for every one that is
        installed and can run the model. backend: a backend of it, or several with commas between them.
        """

        def work(cancellation: Cancellation) -> RunAnswer:
            words = [str(allowed.benchmark(one)) for one in files]
            words += option_words({"framework": framework, "backend": backend, "threads": threads})
            return agent_answers.run_answer(*tools.mlbench(["run", *words], timeout_s, cancellation))

        return await measured(context, work)

    @server.tool()
    async def compare(
        context: Context,
        base: Text,
        head: Text,
        files: Annotated[list[Text], Field(max_length=100)] = [],  # noqa: B006 - becomes a schema
        framework: Text | None = None,
        minimum_effect: Share | None = None,
        target_change: Share | None = None,
        max_seconds: Seconds | None = None,
        timeout_s: Seconds = 1800,
    ) -> RunAnswer:
        """Is HEAD slower than BASE? Both run in turn until it is clear.

        With files (a model or a specification), base and head are two benchmark programs that run it.
        Without, they are two command lines, which the user has to allow. minimum_effect: the smallest change
        that counts (0.01: 1 %); target_change: the change that has to be found; max_seconds: the longest time
        for each test.
        """

        def work(cancellation: Cancellation) -> RunAnswer:
            if files:
                words = [str(allowed.path(base)), str(allowed.path(head))]
                words += [str(allowed.benchmark(one)) for one in files]
            else:
                allowed.require_commands()
                words = [base, head]
            options = {"minimum_effect": minimum_effect, "target_change": target_change}
            words += option_words({**options, "framework": framework, "max_seconds": max_seconds})
            return agent_answers.run_answer(*tools.mlbench(["compare", *words], timeout_s, cancellation))

        return await measured(context, work)

    @server.tool()
    async def explain_verdict(context: Context, run: Text = "", document: Text = "") -> ExplanationAnswer:
        """How the verdicts of a comparison were reached, what they mean and what to do next.

        run: as compare answered it; by default the last. document: in place of it, a file that --json wrote.
        """
        return await measured(
            context, lambda _: agent_answers.explanation_answer(*tools.known(run, document))
        )

    @server.tool()
    async def list_regressions(
        context: Context,
        results: Text = "",
        nets: list[Text] = [],  # noqa: B006 - becomes a schema
        since: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None,
        operators: bool = False,
    ) -> RegressionsAnswer:
        """The regressions in saved results, the newest first: confirmed, and steps and drifts of the level.

        results: a directory of --local_reporter; by default that of mlbench run. since: a day (2026-03-31).
        """

        def work(_: Cancellation) -> RegressionsAnswer:
            directory = allowed.path(results) if results else default_results()
            day = _day(since) if since else date.min
            selection = Selection(nets=tuple(nets), since=day, operators=operators, limit=1000)
            return agent_answers.regressions_answer(directory, selection)

        return await measured(context, work)

    @server.tool()
    async def bisect(
        context: Context,
        good: Text,
        bad: Text,
        command: Text,
        build: Text = "",
        repository: Text = ".",
        format: Text | None = None,  # noqa: A002 - the option's name
        minimum_effect: Share | None = None,
        target_change: Share | None = None,
        max_seconds: Seconds | None = None,
        timeout_s: Seconds = 1800,
    ) -> BisectAnswer:
        """Which commit between good and bad made the command slower? The user has to allow command lines.

        Each probe is a checkout outside of the repository, in which build (a line for sh) and then command
        run; it is compared with the good commit. format: how the times are read ('process': whole processes).
        timeout_s: of each build and each comparison.
        """

        def work(cancellation: Cancellation) -> BisectAnswer:
            allowed.require_commands()
            options = {"format": format, "minimum_effect": minimum_effect, "target_change": target_change}
            words = option_words({**options, "max_seconds": max_seconds})
            directory = allowed.path(repository)
            return bisected(tools, directory, (good, bad), command, build, words, timeout_s, cancellation)

        return await measured(context, work)

    return server


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a day") from error
