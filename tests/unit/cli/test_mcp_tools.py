"""The tools of ``mlbench mcp`` with a client in this process: what each asks for, and what becomes of errors,
of the time and of a request that is cancelled.
"""

import json
import threading
from datetime import date
from pathlib import Path

import pytest

mcp = pytest.importorskip("mcp")
import anyio  # noqa: E402

from benchmarking import __version__  # noqa: E402
from benchmarking.cli import agent_answers, agent_tools  # noqa: E402
from benchmarking.cli import mcp as program  # noqa: E402
from benchmarking.cli.agent_answers import BisectAnswer, RegressionsAnswer  # noqa: E402
from benchmarking.cli.agent_tools import Allowed, AtHand, Tools  # noqa: E402
from benchmarking.cli.wiring import default_results  # noqa: E402
from benchmarking.errors import DeviceError, ExitStatus  # noqa: E402
from benchmarking.records.tree import Selection  # noqa: E402
from benchmarking.results.documents import Document  # noqa: E402
from tests.support.sample_results import JUDGED, having  # noqa: E402

DOCUMENT = Document((having(JUDGED, run_uid="uid"),), ExitStatus.OK, 1.0, (), ())


class Agent:
    """Calls tools of a server whose command lines are only written down."""

    def __init__(self, directory, monkeypatch):
        self.directory = directory
        self.monkeypatch = monkeypatch
        self.asked = []
        self.work = lambda cancellation: None
        agent = self

        def mlbench(tools, arguments, timeout_s, cancellation):
            agent.asked.append(([*arguments], timeout_s))
            agent.work(cancellation)
            return tools.remember(DOCUMENT), DOCUMENT

        monkeypatch.setattr(Tools, "mlbench", mlbench)

    def server(self, commands=True):
        return program.make_server(Allowed((self.directory,), commands), AtHand())

    def call(self, name, *, commands=True, **arguments):
        """The answer, or the text of the error."""

        async def call():
            async with mcp.Client(self.server(commands)) as client:
                return answer_of(await client.call_tool(name, arguments))

        return anyio.run(call)

    def instead(self, module, name, answer):
        """Writes down the arguments of a function."""

        def take(*arguments):
            self.asked.append(arguments)
            return answer

        self.monkeypatch.setattr(module, name, take)


def answer_of(answer):
    if answer.is_error:
        return answer.content[0].text
    assert json.loads(answer.content[0].text) == answer.structured_content
    return answer.structured_content


@pytest.fixture
def agent(tmp_path, monkeypatch):
    for name in ("a.onnx", "b.tflite", "base", "head"):
        (tmp_path / name).touch()
    return Agent(tmp_path, monkeypatch)


def test_the_server_says_what_it_is_and_has_five_tools(agent):
    async def look():
        async with mcp.Client(agent.server()) as client:
            tools = (await client.list_tools()).tools
            return client.server_info, client.instructions, {one.name: one.description for one in tools}

    info, instructions, tools = anyio.run(look)
    assert (info.name, info.version) == ("mlbench", __version__)
    assert instructions == program.INSTRUCTIONS
    assert tools.keys() == {"run", "compare", "explain_verdict", "list_regressions", "bisect"}
    assert all(tools.values())


def test_models_are_run(agent):
    answer = agent.call("run", files=["a.onnx", "b.tflite"])
    assert (answer["run"], len(answer["tests"])) == ("uid", 1)
    models = [str(agent.directory / one) for one in ("a.onnx", "b.tflite")]
    assert agent.asked.pop() == (["run", *models], 1800)
    agent.call("run", files=["a.onnx"], framework="all", backend="cpu,cuda", threads=2, timeout_s=7)
    options = ["--framework=all", "--backend=cpu,cuda", "--threads=2"]
    assert agent.asked == [(["run", models[0], *options], 7)]


def test_two_command_lines_are_compared_if_that_is_allowed(agent):
    assert agent.call("compare", base="./old x", head="./new y")["run"] == "uid"
    assert agent.asked.pop() == (["compare", "./old x", "./new y"], 1800)
    limits = {"minimum_effect": 0.01, "target_change": 0.05, "max_seconds": 9}
    agent.call("compare", base="a", head="b", framework="generic", timeout_s=7, **limits)
    words = ["--minimum_effect=0.01", "--target_change=0.05", "--framework=generic", "--max_seconds=9.0"]
    assert agent.asked.pop() == (["compare", "a", "b", *words], 7)
    said = agent.call("compare", commands=False, base="a", head="b")
    assert said.endswith("the user can allow them with --allow_commands")
    assert agent.asked == []


def test_two_programs_that_run_a_model_are_files_that_are_allowed(agent):
    agent.call("compare", commands=False, base="base", head="head", files=["a.onnx"])
    words = [str(agent.directory / one) for one in ("base", "head", "a.onnx")]
    assert agent.asked.pop() == (["compare", *words], 1800)
    for one in ("base", "head", "files"):
        arguments = {"base": "base", "head": "head", "files": ["a.onnx"]}
        arguments[one] = "/etc/passwd" if one != "files" else ["a.onnx", "/etc/passwd"]
        assert "is outside of" in agent.call("compare", **arguments)
    assert agent.asked == []


def test_a_verdict_is_explained(agent):
    async def call():
        async with mcp.Client(agent.server()) as client:
            await client.call_tool("compare", {"base": "a", "head": "b"})
            for arguments in ({}, {"run": "uid"}, {"run": "x"}, {"document": "nonesuch"}):
                yield answer_of(await client.call_tool("explain_verdict", arguments))

    async def collect():
        return [one async for one in call()]

    last, named, unknown, missing = anyio.run(collect)
    assert last == named
    assert (last["run"], len(last["explanations"])) == ("uid", 1)
    assert unknown.endswith("there is no run 'x' in this session")
    assert missing.endswith("there is no nonesuch")


def test_regressions_are_those_that_were_asked_for(agent):
    answer = RegressionsAnswer(results="here", regressions=[], left_out=0)
    agent.instead(agent_answers, "regressions_answer", answer)
    assert agent.call("list_regressions") == answer.model_dump()
    assert agent.asked.pop() == (default_results(), Selection(since=date.min, limit=1000))
    chosen = {"nets": ["a", "b"], "since": "2026-03-31", "operators": True}
    agent.call("list_regressions", results=".", **chosen)
    selection = Selection(nets=("a", "b"), since=date(2026, 3, 31), operators=True, limit=1000)
    assert agent.asked.pop() == (agent.directory, selection)
    assert agent.call("list_regressions", since="2026-02-30").endswith("'2026-02-30' is not a day")
    assert "since" in agent.call("list_regressions", since="tomorrow")
    assert "is outside of" in agent.call("list_regressions", results="/etc")
    assert agent.asked == []


def test_a_commit_is_searched_if_command_lines_are_allowed(agent):
    answer = BisectAnswer(found=False, commit="", subject="", author="", note="n", change=None, probes=[])
    agent.instead(agent_tools, "bisected", answer)
    assert agent.call("bisect", good="g", bad="b", command="c") == answer.model_dump()
    tools, *rest, _ = agent.asked.pop()
    assert isinstance(tools, Tools)
    assert rest == [agent.directory, ("g", "b"), "c", "", [], 1800]
    (agent.directory / "engine").mkdir()
    limits = {"minimum_effect": 0.01, "target_change": 0.05, "max_seconds": 9}
    more = {"build": "make", "repository": "engine", "format": "process", "timeout_s": 7}
    agent.call("bisect", good="g", bad="b", command="c", **limits, **more)
    words = ["--format=process", "--minimum_effect=0.01", "--target_change=0.05", "--max_seconds=9.0"]
    assert agent.asked.pop()[1:-1] == (agent.directory / "engine", ("g", "b"), "c", "make", words, 7)
    said = agent.call("bisect", commands=False, good="g", bad="b", command="c")
    assert said.endswith("the user can allow them with --allow_commands")
    assert "is outside of" in agent.call("bisect", good="g", bad="b", command="c", repository="/")
    assert agent.asked == []


def test_an_error_of_the_work_is_the_answer_and_the_next_request_is_served(agent):
    def fail(cancellation):
        raise DeviceError("the device is gone")

    async def call():
        async with mcp.Client(agent.server()) as client:
            agent.work = fail
            said = answer_of(await client.call_tool("run", {"files": ["a.onnx"]}))
            agent.work = lambda cancellation: None
            return said, answer_of(await client.call_tool("run", {"files": ["a.onnx"]}))

    said, answer = anyio.run(call)
    assert said.endswith("the device is gone")
    assert answer["run"] == "uid"


def test_the_time_is_told_while_the_work_goes_on(agent, monkeypatch):
    monkeypatch.setattr(program, "PROGRESS_S", 0.01)
    told = threading.Event()
    agent.work = lambda cancellation: told.wait(60)
    reports = []

    async def progress(*report):
        reports.append(report)
        if len(reports) == 2:
            told.set()

    async def call():
        async with mcp.Client(agent.server()) as client:
            return await client.call_tool("run", {"files": ["a.onnx"]}, progress_callback=progress)

    assert answer_of(anyio.run(call))["run"] == "uid"
    assert len(reports) >= 2
    for elapsed_s, total, text in reports:
        assert (total, text) == (None, f"{elapsed_s:g} s")


def test_a_request_that_is_cancelled_ends_its_work_and_the_next_waits_for_that(agent):
    started, ended = threading.Event(), []

    def work(cancellation):
        if not started.is_set():
            started.set()
            ended.append(cancellation.wait(60))
        else:
            ended.append("next")

    agent.work = work

    async def call():
        async with mcp.Client(agent.server()) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "run", {"files": ["a.onnx"]})
                while not started.is_set():
                    await anyio.sleep(0.001)
                group.cancel_scope.cancel()
            return answer_of(await client.call_tool("run", {"files": ["a.onnx"]}))

    assert anyio.run(call)["run"] == "uid"
    assert ended == [True, "next"]


def test_one_request_is_served_at_a_time(agent):
    running, most = [], []

    def work(cancellation):
        running.append(1)
        cancellation.wait(0.02)
        most.append(len(running))
        running.pop()

    agent.work = work

    async def call():
        async with mcp.Client(agent.server()) as client, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(client.call_tool, "run", {"files": ["a.onnx"]})

    anyio.run(call)
    assert most == [1, 1, 1]


@pytest.fixture
def started(monkeypatch):
    """Calls ``main``; gives its status, what is allowed, and how the server was run."""
    taken = []

    class Server:
        def run(self, transport):
            taken.append(transport)

    def make_server(allowed, at_hand):
        taken.append(allowed)
        return Server()

    monkeypatch.setattr(program, "make_server", make_server)

    def started(*argv):
        taken.clear()
        return program.main(argv, "mlbench mcp"), taken

    return started


def test_the_server_is_started_for_the_working_directory(started, tmp_path, monkeypatch, capsys):
    (tmp_path / "more").mkdir()
    (tmp_path / "link").symlink_to("more")
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    here = Path(tmp_path).resolve()
    assert started() == (ExitStatus.OK, [Allowed((here,)), "stdio"])
    status, taken = started("--allow", "link", "--allow", "/", "--allow_commands")
    assert (status, taken[0]) == (ExitStatus.OK, Allowed((here, here / "more", Path("/")), commands=True))
    for one in ("file", "nonesuch"):
        assert started("--allow", one) == (ExitStatus.BAD_USAGE, [])
        assert capsys.readouterr().err == f"mlbench mcp: --allow: there is no directory {one}\n"
