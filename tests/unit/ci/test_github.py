"""The action of ``ci/github``, run as GitHub's runner does, against its API on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarking.cli import comment
from tests.support import hosting_api
from tests.support.actions_runner import Runner
from tests.support.hosting_api import STRANGER, TOKEN, rate_limit
from tests.support.small_repository import BENCHMARK, BUILD, clone, make_repository, write_mlbench

ROOT = Path(__file__).parents[3]
CI = ROOT / "ci"
ACTION = CI / "github/action.yml"
COMMENT_ACTION = CI / "github/comment/action.yml"
MARKER = comment.MARKER.format("Benchmarks")
SHA = "c0ffee" * 6 + "c0ff"


@pytest.fixture(scope="module", autouse=True)
def _private(tmp_path_factory):
    """The locks of the host are those of this module, so that other tests do not wait for them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("user")))
        yield


@pytest.fixture(scope="module")
def mlbench(tmp_path_factory):
    return write_mlbench(tmp_path_factory.mktemp("tool"))


@pytest.fixture
def api():
    with hosting_api.running() as server:
        yield server


@pytest.fixture
def run(api, mlbench, tmp_path):
    """Runs the action for a pull request whose base and head take these times."""

    def run(base_us=100, head_us=100, *, token=TOKEN, action=ACTION, event=None, **inputs):
        work = tmp_path / f"job{len(list(tmp_path.iterdir()))}"
        origin = work / "origin"
        make_repository(origin, base_us, head_us)
        (work / "event.json").write_text(
            json.dumps(event or {"pull_request": {"number": 5, "head": {"sha": SHA}}})
        )
        environment = {
            **{name: os.environ[name] for name in os.environ if name.startswith("XDG_")},
            "GITHUB_API_URL": api.url,
            "GITHUB_REPOSITORY": "ada/engine",
            "GITHUB_RUN_ID": "42",
            "GITHUB_EVENT_PATH": str(work / "event.json"),
        }
        workspace = work / "workspace"
        runner = Runner(
            workspace,
            {"token": token, "workspace": str(workspace)},
            environment,
            lambda path, ref: clone(origin, path, ref),
        )
        if action == ACTION:
            inputs = {"command": "./benchmark", "build": BUILD, **inputs}
        return runner.run(action, mlbench=str(mlbench), **inputs)

    return run


def test_a_slower_head_fails_the_job_and_is_commented_once(run, api):
    ended = run(100, 150)
    assert ended.exit_status == 5, ended.log
    assert ended.outputs["verdict"] == "regressed"
    (body,) = api.bodies
    assert body.startswith(f"{MARKER}\n### Benchmarks\n\n**1 regressed**")
    assert "+50.0" in body
    assert "[The job](https://github.com/ada/engine/actions/runs/42)" in body
    assert ended.summary.startswith("### Benchmarks\n\n**1 regressed**")
    assert "a regression was confirmed" in ended.log
    # The next push is fine again: the same comment says so.
    ended = run(100, 100)
    assert (ended.exit_status, ended.outputs["verdict"]) == (0, "fine"), ended.log
    (body,) = api.bodies
    assert body.startswith(f"{MARKER}\n### Benchmarks\n\n**1 unchanged**")


def test_a_fork_without_a_token_has_the_summary(run, api):
    api.read_only = True
    ended = run()
    assert ended.exit_status == 0, ended.log
    assert "::notice::the comment could not be written" in ended.log
    assert "Resource not accessible by integration" in ended.log
    assert "**1 unchanged**" in ended.summary
    assert api.bodies == []
    ended = run(token="")
    assert ended.exit_status == 0
    assert "the environment has no GITHUB_TOKEN" in ended.log


def test_what_fails_the_job_can_be_chosen(run, api):
    assert run(100, 150, fail_on="never", comment="false").exit_status == 0
    assert api.requests == []


def test_another_base(run):
    """The branch itself: compared with itself, head is not slower."""
    ended = run(100, 150, base="main", comment="false")
    assert ended.exit_status == 0, ended.log
    assert "**1 unchanged**" in ended.summary


def test_what_does_not_build_fails_the_job(run, api):
    ended = run(build="echo building; false")
    assert ended.exit_status != 0
    assert "building" in ended.log
    assert api.requests == []


def test_a_benchmark_that_fails_fails_the_job(run, api):
    ended = run(command="./nonesuch")
    assert ended.exit_status == 2
    assert "BASE" in ended.log
    assert "the comparison failed" in ended.log
    assert "::notice::there are no results to comment on" in ended.log
    assert ended.outputs["verdict"] == "failed"


def test_the_code_of_the_pull_request_does_not_see_the_token(run):
    ended = run(build=f"{BUILD} && ! env | grep -v ^BUILD= | grep {TOKEN}", comment="false")
    assert ended.exit_status == 0, ended.log
    assert TOKEN not in ended.log


def test_each_side_is_installed_into_its_own_environment(run):
    install = 'bin=$(dirname "$(command -v python)") && cp benchmark.in "$bin/installed" && chmod +x "$bin/installed"'
    ended = run(100, 150, install=install, build="", command="installed", comment="false")
    assert ended.exit_status == 5, ended.log
    assert "+50.0" in ended.summary


def test_text_of_others_is_no_script(run, tmp_path):
    """Inputs with every sign that a shell knows arrive as they are."""
    title = "Speed (a/b), 1:2"
    ended = run(command=f"./benchmark '$(touch {tmp_path}/pwned)'", title=title, comment="false")
    assert ended.exit_status == 0, ended.log
    assert not (tmp_path / "pwned").exists()
    assert ended.summary.startswith(f"### {title}\n")


@pytest.fixture(scope="module")
def document(mlbench, tmp_path_factory):
    """What a comparison left, in which head is slower."""
    directory = tmp_path_factory.mktemp("document")
    for name, us in (("base", 100), ("head", 150)):
        (directory / name).write_text(BENCHMARK.format(us=us))
        (directory / name).chmod(0o755)
    argv = [mlbench, "compare", directory / "base", directory / "head", "--json"]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 5, done.stderr
    return done.stdout


def fork_event(owner="mallory", branch="fix", sha=SHA):
    repository = {"owner": {"login": owner}}
    run = {
        "head_sha": sha,
        "head_branch": branch,
        "head_repository": repository,
        "html_url": "https://x/runs/1",
    }
    return {"workflow_run": run}


def pull_request(of="mallory:fix", sha=SHA, number=8):
    return {"of": of, "number": number, "head": {"sha": sha}}


def test_the_second_workflow_comments_for_a_fork(run, api, document, tmp_path):
    file = tmp_path / "results.json"
    file.write_bytes(document)
    api.pull_requests = [
        pull_request(sha="0" * 40, number=7),
        pull_request(),
        pull_request("ada:fix", number=9),
    ]
    ended = run(action=COMMENT_ACTION, event=fork_event(), document=str(file))
    assert ended.exit_status == 0, ended.log
    assert ("POST", "/repos/ada/engine/issues/8/comments") in api.requests
    (body,) = api.bodies
    assert "**1 regressed**" in body
    assert "[The job](https://x/runs/1)" in body


def test_results_of_an_older_commit_are_not_commented(run, api, document, tmp_path):
    file = tmp_path / "results.json"
    file.write_bytes(document)
    api.pull_requests = [pull_request(sha="0" * 40)]
    ended = run(action=COMMENT_ACTION, event=fork_event(branch="a&b=c#d/é"), document=str(file))
    assert ended.exit_status == 0
    assert "no comment: no open pull request is at the commit that was measured" in ended.log
    assert api.bodies == []


HOSTILE = (
    "<img src=x onerror=alert(1)> <!-- mlbench: Benchmarks --> @ada #1 GH-2 https://evil.example www.evil.example "
    "[a](https://evil.example) ![b](https://evil.example/x.png) `code` | \x1b[31m \u202e"
)


def test_hostile_results_are_text(run, api, document, tmp_path):
    value = json.loads(document)
    for result in value["results"]:
        result["meta"]["net_name"] = HOSTILE
        result["warnings"] = [HOSTILE, "line\n/close\n# title"]
    value["problems"] = [HOSTILE]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(value))
    api.pull_requests = [pull_request()]
    ended = run(action=COMMENT_ACTION, event=fork_event(), document=str(file))
    assert ended.exit_status == 0, ended.log
    (body,) = api.bodies
    assert body.count("<!--") == body.count("-->") == 1
    text = body.removeprefix(MARKER).replace("https://x/runs/1", "")
    assert "<img" not in text
    for reference in (
        "@ada",
        "#1",
        "GH-2",
        "://evil",
        "www.evil",
        "[a](",
        "![b]",
        "\x1b",
        "\u202e",
        "\n/close",
        "\n# ",
    ):
        assert reference not in text, reference


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1, 2", b"\xff\xfe", b"[" * 10_000, b'{"results": [{"meta": {}}]}']
)
def test_results_that_are_none_are_one_line(run, api, content, tmp_path):
    file = tmp_path / "results.json"
    file.write_bytes(content)
    api.pull_requests = [pull_request()]
    ended = run(action=COMMENT_ACTION, event=fork_event(), document=str(file))
    assert ended.exit_status == 2
    assert ended.log.count("\n") == 1
    assert api.bodies == []


def test_the_scripts_pass_shellcheck():
    checker = Path(sys.executable).with_name("shellcheck")
    if not checker.is_file():
        pytest.skip("shellcheck is installed by requirements-dev.txt")
    scripts = list(CI.rglob("*.sh"))
    assert len(scripts) == 7
    done = subprocess.run([checker, "-x", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert all(os.access(one, os.X_OK) for one in scripts)


def test_an_old_python_is_reported(tmp_path):
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && exec echo Python 3.8.10\nexit 1\n')
    python.chmod(0o755)
    done = subprocess.run(
        [CI / "install.sh", tmp_path / "tool", ROOT],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr == "mlbench needs Python 3.11 or newer as python3; here it is \n"
        or "3.8.10" in done.stderr
    )


def test_the_workflows_use_the_actions_inputs():
    documented = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in documented.split("```yaml\n")[1:]]
    forks = [path.read_text(encoding="utf-8") for path in (CI / "github/forks").iterdir()]
    steps = []
    for text in [*blocks, *forks]:
        workflow = yaml.safe_load(text)
        for job in workflow.get("jobs", {}).values():
            steps += [step for step in job["steps"] if "ml-benchmark-platform" in step["uses"]]
    assert len(steps) == 3
    for step in steps:
        directory = step["uses"].partition("@")[0].partition("ml-benchmark-platform/")[2]
        inputs = yaml.safe_load((ROOT / directory / "action.yml").read_text(encoding="utf-8"))["inputs"]
        assert step["with"].keys() <= inputs.keys()
    assert all(len(block.splitlines()) <= 5 for block in blocks)


def test_rate_limits_are_waited_for(run, api, document, tmp_path):
    file = tmp_path / "results.json"
    file.write_bytes(document)
    api.pull_requests = [pull_request()]
    api.refusals = [rate_limit(), (429, {"Retry-After": "0"}), (502, {})]
    ended = run(action=COMMENT_ACTION, event=fork_event(), document=str(file))
    assert ended.exit_status == 0, ended.log
    assert len(api.bodies) == 1


def test_strangers_comments_are_left_alone(run, api, document, tmp_path):
    file = tmp_path / "results.json"
    file.write_bytes(document)
    api.pull_requests = [pull_request()]
    for number in range(150):
        api.add(f"comment {number}", STRANGER)
    imitation = api.add(f"{MARKER}\nall is well", STRANGER)
    own = api.add(f"{MARKER}\nold")
    other = api.add(f"{comment.MARKER.format('Memory')}\nold")
    ended = run(action=COMMENT_ACTION, event=fork_event(), document=str(file))
    assert ended.exit_status == 0, ended.log
    assert (imitation["body"], other["body"]) == (
        f"{MARKER}\nall is well",
        f"{comment.MARKER.format('Memory')}\nold",
    )
    assert "**1 regressed**" in own["body"]
    assert len(api.comments) == 153


def test_a_comment_is_not_too_long(run, api, document, tmp_path):
    value = json.loads(document)
    value["problems"] = [f"problem {number} {'é' * 100}" for number in range(2000)]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(value))
    api.pull_requests = [pull_request()]
    ended = run(action=COMMENT_ACTION, event=fork_event(), document=str(file))
    assert ended.exit_status == 0, ended.log
    (body,) = api.bodies
    assert 60_000 < len(body.encode()) <= 65_536
    assert body.endswith(comment.LEFT_OUT)
