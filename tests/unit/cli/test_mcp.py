"""``mlbench mcp``: an agent speaks to it over stdin and stdout, with the client of the mcp package."""

import json
import os
import shutil
import sys
import tomllib
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import jsonschema
import psutil
import pytest

mcp = pytest.importorskip("mcp")
import anyio  # noqa: E402
from mcp import ClientSession, StdioServerParameters, stdio_client  # noqa: E402

from benchmarking.cli import agent_answers  # noqa: E402
from benchmarking.cli.agent_tools import Allowed, Tools  # noqa: E402
from benchmarking.cli.commands import COMMANDS  # noqa: E402
from benchmarking.errors import ExitStatus, UsageError  # noqa: E402
from benchmarking.programs.process import Cancellation  # noqa: E402
from benchmarking.records.tree import History, Selection  # noqa: E402
from benchmarking.results import documents  # noqa: E402
from benchmarking.results.documents import Document  # noqa: E402
from examples.history_demo.make_results import STEP_AT, commits, make_results  # noqa: E402
from tests.support.sample_results import REGRESSED, RUNS, having  # noqa: E402
from tests.support.small_repository import BENCHMARK, make_repository  # noqa: E402

ROOT = Path(__file__).parents[3]
LENET = ROOT / "specifications/models/caffe2/lenet"
TOOLS = {"run", "compare", "explain_verdict", "list_regressions", "bisect"}


@asynccontextmanager
async def connected(directory, *arguments):
    """A session with a server whose working directory this is."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        **{f"XDG_{kind}_HOME": str(directory.parent / "user") for kind in ("STATE", "CACHE", "DATA")},
    }
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "benchmarking", "mcp", *arguments],
        env=environment,
        cwd=str(directory),
    )
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        await session.initialize()
        yield session


async def called(session, name, **arguments):
    """The answer, which satisfies the tool's schema; or the text of its error."""
    (tool,) = [one for one in (await session.list_tools()).tools if one.name == name]
    jsonschema.validate(arguments, tool.input_schema)
    answer = await session.call_tool(name, arguments)
    if answer.is_error:
        return answer.content[0].text
    jsonschema.validate(answer.structured_content, tool.output_schema)
    assert json.loads(answer.content[0].text) == answer.structured_content
    return answer.structured_content


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "work"
    path.mkdir()
    return path


def write_program(path, us):
    path.write_text(BENCHMARK.format(us=us))
    path.chmod(0o755)


def test_an_agent_compares_explains_and_finds_the_commit(directory):
    commits = make_repository(directory / "engine", 100, 100, 101, 150, 150, 151)
    for name, us in (("base", 100), ("head", 150)):
        write_program(directory / name, us)

    async def agent():
        async with connected(directory, "--allow_commands") as session:
            tools = {one.name for one in (await session.list_tools()).tools}
            assert tools == TOOLS
            assert "nothing was run yet" in await called(session, "explain_verdict")
            compared = await called(session, "compare", base="./base", head="./head")
            (test,) = compared["tests"]
            assert (compared["exit_status"], test["verdict"]) == (5, "regressed")
            assert test["change"] == pytest.approx(0.5)
            assert (test["control_median_us"], test["median_us"]) == (100, 150)
            explained = await called(session, "explain_verdict", run=compared["run"])
            (explanation,) = explained["explanations"]
            assert [one["stage"] for one in explanation["stages"]] == ["benchmark", "verify", "regress"]
            assert "bisect" in explanation["advice"]
            assert "there is no run 'x'" in await called(session, "explain_verdict", run="x")
            found = await called(
                session,
                "bisect",
                good=commits[0],
                bad=commits[-1],
                repository="engine",
                build="cp benchmark.in benchmark && chmod +x benchmark",
                command="./benchmark",
            )
            assert (found["found"], found["commit"], found["subject"]) == (True, commits[3], "150 us")
            assert found["change"] == pytest.approx(0.51)
            assert [one["commit"] for one in found["probes"]] == [commits[5], commits[2], commits[3]]
            fine = await called(
                session,
                "bisect",
                good=commits[0],
                bad=commits[1],
                repository="engine",
                command="sh benchmark.in",
            )
            assert not fine["found"]
            assert fine["note"].startswith("the bad commit is not slower")

    anyio.run(agent)
    assert not (directory / "engine/benchmark").exists()


def test_models_are_run_in_the_working_directory_only(directory, tmp_path):
    shutil.copytree(LENET, directory / "lenet")
    outside = tmp_path / "outside"
    shutil.copytree(LENET, outside)
    (directory / "link").symlink_to(outside)
    specification = json.loads((directory / "lenet/lenet.json").read_text())
    specification["model"]["files"]["predict"]["location"] = str(outside / "lenet_predict_net.pb")
    (directory / "hostile.json").write_text(json.dumps(specification))

    async def agent():
        async with connected(directory) as session:
            for name in (
                "../outside/lenet.json",
                str(outside / "lenet.json"),
                "link/lenet.json",
                "hostile.json",
            ):
                said = await called(session, "run", files=[name])
                assert "the user can allow it with --allow DIRECTORY" in said, name
            assert "there is no nonesuch.json" in await called(session, "run", files=["nonesuch.json"])
            for name, arguments in {
                "compare": {"base": "true", "head": "true"},
                "bisect": {"good": "a", "bad": "b", "command": "true"},
            }.items():
                assert "--allow_commands" in await called(session, name, **arguments)
            assert "is outside" in await called(session, "list_regressions", results="/etc")
            assert "is outside" in await called(session, "explain_verdict", document="/etc/passwd")
            said = await called(session, "list_regressions", since="2026-13-99")
            assert "'2026-13-99' is not a day" in said

    anyio.run(agent)


def test_a_model_runs(directory):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from tests.support import onnx_models

    onnx.save(onnx_models.linear(), directory / "linear.onnx")

    async def agent():
        async with connected(directory) as session:
            answer = await called(session, "run", files=["linear.onnx"], framework="onnxruntime")
            (test,) = answer["tests"]
            assert (test["outcome"], test["framework"]) == ("passed", "onnxruntime")
            assert test["median_us"] > 0
            assert test["verdict"] is None
            said = await called(session, "run", files=["linear.onnx"], framework="onnxruntme")
            assert "onnxruntime" in said

    anyio.run(agent)


def test_progress_and_cancellation(directory):
    (directory / "slow").write_text("#!/bin/sh\ntouch started\nsleep 300\n")
    (directory / "slow").chmod(0o755)

    async def agent():
        reports = []
        moved = anyio.Event()

        async def progress(done, total, message):
            reports.append((done, total, message))
            if (directory / "started").exists():
                moved.set()

        async with connected(directory, "--allow_commands") as session:
            async with anyio.create_task_group() as group:
                arguments = {"base": "./slow", "head": "./slow"}
                group.start_soon(session.call_tool, "compare", arguments, None, progress)
                with anyio.fail_after(60):
                    await moved.wait()
                group.cancel_scope.cancel()
            with anyio.fail_after(60):
                while any("sleep 300" in " ".join(one.cmdline()) for one in children()):
                    await anyio.sleep(0.1)
            # The server is free for the next request.
            assert "nothing was run yet" in await called(session, "explain_verdict")
        assert reports[0][2].endswith(" s")

    anyio.run(agent)


def children():
    found = []
    for one in psutil.Process().children(recursive=True):
        try:
            one.cmdline()
        except psutil.Error:
            continue
        found.append(one)
    return found


def test_a_limit_of_time_ends_a_run(directory):
    tools = Tools(Allowed((directory,), commands=True))
    with Cancellation() as cancellation, pytest.raises(UsageError, match=r"it had not ended after 0\.2 s"):
        tools.mlbench(["compare", "sleep 60", "sleep 60"], 0.2, cancellation)


@pytest.mark.parametrize("run", RUNS)
def test_every_kind_of_result_has_an_answer(run):
    results, summary = RUNS[run]
    document = Document(tuple(results), summary.exit_status, 1.0, (), summary.problems)
    answer = agent_answers.run_answer("x", document)
    assert answer.exit_status == summary.exit_status
    text = answer.model_dump_json() + agent_answers.explanation_answer("x", document).model_dump_json()
    assert "NaN" not in text
    assert "\\u001b" not in text


def test_answers_are_bounded():
    (result, *_), _ = RUNS["judged"]
    many = tuple(
        replace(
            result,
            test=replace(result.test, identifier=f"{number} {'x' * 5000}"),
            warnings=("y" * 5000,) * 100,
        )
        for number in range(500)
    )
    answer = agent_answers.run_answer("x", Document(many, ExitStatus.OK, 1.0, (), ("z" * 5000,) * 500))
    assert (len(answer.tests), answer.left_out) == (50, 450)
    assert len(answer.model_dump_json()) < 1_000_000


def test_only_the_last_runs_are_kept(directory):
    tools = Tools(Allowed((directory,)))
    results, summary = RUNS["judged"]
    for _ in range(30):
        tools.remember(Document(tuple(results), summary.exit_status, 1.0, (), ()))
        tools.remember(Document((), summary.exit_status, 1.0, (), ()))
    assert len(tools.documents) <= 20


def test_a_document_can_be_explained(directory):
    results, summary = RUNS["judged"]
    document = Document(tuple(results), summary.exit_status, 1.0, (), ())
    (directory / "d.json").write_text(documents.dumps(documents.document_json(document)))
    tools = Tools(Allowed((directory,)))
    assert agent_answers.explanation_answer(*tools.known("", "d.json")).explanations
    (directory / "d.json").write_text("{}")
    with pytest.raises(UsageError, match=r"d\.json is not a document of --json"):
        tools.known("", "d.json")


def test_regressions_come_from_the_saved_results(tmp_path):
    make_results(tmp_path)
    answer = agent_answers.regressions_answer(tmp_path, Selection())
    slower = [one for one in answer.regressions if one.net == "squeezenet" and one.kind == "step"]
    assert commits()[STEP_AT].hash in [one.first_bad for one in slower]
    assert all(one.change > 0 for one in slower)
    moments = [one.first_bad_time for one in answer.regressions]
    assert moments == sorted(moments, reverse=True)


def test_a_confirmed_regression_is_listed(tmp_path):
    for stage in ("benchmark", "regress"):
        History(tmp_path).save(having(REGRESSED, run_type=stage))
    (found,) = agent_answers.regressions_answer(tmp_path, Selection()).regressions
    assert (found.kind, found.first_bad) == ("verdict", REGRESSED.provenance.commit)
    assert found.last_good == REGRESSED.provenance.control_commit


def test_the_documented_configurations_start_the_server():
    text = (ROOT / "docs/mcp.md").read_text(encoding="utf-8")
    lines = [block.partition("```")[0] for block in text.split("```json\n")[1:]]
    servers = [next(iter(json.loads(one).values()))["mlbench"] for one in lines]
    servers.append(
        tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])["mcp_servers"]["mlbench"]
    )
    assert len(servers) == 3
    for server in servers:
        assert server["command"] == "mlbench"
        name, *arguments = server["args"]
        COMMANDS[name].load().make_parser("mlbench mcp").parse(arguments)
    assert all(f"| `{name}` |" in text for name in TOOLS)
