"""The job of ``ci/gitlab``: its script in a merge request's checkout, against GitLab's API on loopback."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from benchmarking.cli import comment
from benchmarking.files.pull_requests import GITLAB_TOKEN
from tests.support import hosting_api
from tests.support.hosting_api import STRANGER, TOKEN
from tests.support.small_repository import BUILD, make_repository, write_mlbench

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "ci/gitlab/compare.sh"
MARKER = comment.MARKER.format("Speed")


@pytest.fixture
def api():
    with hosting_api.running() as server:
        yield server


def run(api, tmp_path, head_us, **more):
    """The job of a merge request, in a fresh clone of its head."""
    work = tmp_path / f"job{len(list(tmp_path.iterdir()))}"
    commits = make_repository(work / "origin", 100, head_us)
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{work}/origin", work / "clone"], check=True
    )
    mlbench = write_mlbench(work)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME")},
        **{f"XDG_{name}_HOME": str(tmp_path / "user") for name in ("STATE", "CACHE", "DATA")},
        "CI_API_V4_URL": api.url,
        "CI_MERGE_REQUEST_IID": "5",
        "CI_MERGE_REQUEST_PROJECT_ID": "12",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": commits[0],
        "CI_JOB_URL": "https://gitlab.example/jobs/1",
        "MLBENCH": str(mlbench),
        "COMMAND": "./benchmark",
        "BUILD": BUILD,
        "TITLE": "Speed",
        "FAIL_ON": "regressed",
        **more,
    }
    done = subprocess.run(
        ["bash", SCRIPT], cwd=work / "clone", env=environment, capture_output=True, text=True, check=False
    )
    return done, work / "clone/.mlbench/output"


def test_a_merge_request_is_commented_once(api, tmp_path):
    imitation = api.add(f"{MARKER}\nall is well", STRANGER)
    done, output = run(api, tmp_path, 150, **{GITLAB_TOKEN: TOKEN})
    assert done.returncode == 5, done.stderr
    assert {one.name for one in output.iterdir()} >= {"results.json", "report.md", "junit.xml"}
    _, body = api.bodies
    assert body.startswith(f"{MARKER}\n### Speed\n\n**1 regressed**")
    assert "[The job](https://gitlab.example/jobs/1)" in body
    done, _ = run(api, tmp_path, 100, **{GITLAB_TOKEN: TOKEN})
    assert done.returncode == 0, done.stderr
    assert "**1 unchanged**" in api.bodies[1]
    assert len(api.bodies) == 2
    assert imitation["body"] == f"{MARKER}\nall is well"
    assert ("PUT", "/projects/12/merge_requests/5/notes/1001") in api.requests


def test_without_a_token_there_are_the_artifacts(api, tmp_path):
    done, output = run(api, tmp_path, 100, BUILD=f'{BUILD} && [ -z "${{{GITLAB_TOKEN}:-}}" ]')
    assert done.returncode == 0, done.stderr
    assert api.requests == []
    assert "**1 unchanged**" in (output / "report.md").read_text()


def test_the_template_hands_every_input_to_the_script():
    header, jobs = yaml.safe_load_all((ROOT / "ci/gitlab/compare.yml").read_text(encoding="utf-8"))
    (job,) = jobs.values()
    values = [one["value"] for one in job["variables"].values()]
    used = {text[len("$[[ inputs.") : -len(" ]]")] for text in [*values, job["image"], job["stage"]]}
    # A command with $(nproc) or $i in it is for bash.
    assert not any(one["expand"] for one in job["variables"].values())
    assert used == {*header["spec"]["inputs"]}


def test_the_documented_lines_use_the_templates_inputs():
    header, _ = yaml.safe_load_all((ROOT / "ci/gitlab/compare.yml").read_text(encoding="utf-8"))
    (block,) = [
        one.partition("```")[0]
        for one in (ROOT / "docs/ci.md").read_text(encoding="utf-8").split("```yaml\n")
        if one.startswith("include")
    ]
    (include,) = yaml.safe_load(block)["include"]
    assert include["inputs"].keys() <= header["spec"]["inputs"].keys()
    assert (ROOT / include["file"]).is_file()
