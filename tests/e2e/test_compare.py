"""mlbench compare: two commands of the user's."""

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.cli.compare import make_parser
from benchmarking.results import documents
from benchmarking.results.model import Verdict

ROOT = Path(__file__).parents[2]
EXACT = ["--canary", "off", "--max_pairs", "12", "--json"]
LENET = "specifications/models/caffe2/lenet/lenet.json"
PRINTS = """import json, random, sys
times = [float(sys.argv[1]) * random.uniform(1, 1.01) for _ in range(5)]
print("a greeting")
print(json.dumps({"results": [{"command": "x", "times": times}]}))
"""


@pytest.fixture(autouse=True)
def own_directories(workshop):
    """Nobody else's lock of this machine is waited for."""


@pytest.fixture
def prints(tmp_path):
    """A command whose times, in hyperfine's form, are those of its argument, in seconds."""
    path = tmp_path / "prints.py"
    path.write_text(PRINTS)
    return lambda seconds: f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {seconds}"


def compare(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "benchmarking", "compare", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def only_result(done):
    results = documents.read(documents.Document, done.stdout).results
    return results[-1]


@pytest.mark.parametrize(
    ("base", "head", "status", "verdict"),
    [(0.1, 0.15, 5, Verdict.REGRESSED), (0.15, 0.1, 0, Verdict.IMPROVED), (0.1, 0.1, 0, Verdict.UNCHANGED)],
)
def test_the_times_that_both_print_are_compared(prints, base, head, status, verdict):
    done = compare(prints(base), prints(head), *EXACT)
    assert done.returncode == status, done.stderr
    result = only_result(done)
    assert (result.test.identifier, result.verdict) == ("hyperfine", verdict)
    assert result.net.ratio == pytest.approx(head / base, rel=0.02)
    assert result.net.summary.p50 == pytest.approx(head * 1e6, rel=0.02)


def test_whole_processes_are_timed_where_nothing_known_is_printed(tmp_path):
    done = compare("sleep 0.05", "sleep 0.05", "--ab_pairs", "2", *EXACT, cwd=tmp_path)
    assert done.returncode in (0, 8), done.stderr
    result = only_result(done)
    assert result.test.identifier == "process"
    assert min(result.net.values + result.net.control_values) >= 50_000
    assert "no md5" not in done.stderr


def test_a_command_runs_in_the_current_directory_and_no_shell_reads_it(tmp_path):
    (tmp_path / "here").write_text("took 5 us\n")
    command = "cat here '$HOME;x' /dev/null"
    done = compare(command, command, *EXACT, cwd=tmp_path)
    assert done.returncode == 2
    assert "BASE: the program ended with exit status 1: /" in done.stderr
    assert "cat here '$HOME;x' /dev/null\n" in done.stderr
    pattern = ("--pattern", "took (?P<value>[0-9.]+) us", "--unit", "us", "--ab_pairs", "2")
    done = compare("cat here", "cat here", *pattern, *EXACT, cwd=tmp_path)
    assert only_result(done).net.values == (5.0, 5.0), done.stderr


def test_the_cpu_time_decides_where_the_command_computes(tmp_path):
    (tmp_path / "compute.py").write_text("import sys\nfor n in range(int(sys.argv[1])): pass\n")
    python = f"{shlex.quote(sys.executable)} -S compute.py"
    done = compare(f"{python} 3000000", f"{python} 6000000", *EXACT, cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    result = only_result(done)
    assert (result.sampling.clock, result.test.identifier) == ("cpu", "process")
    assert result.net.clock_summary.p50 == statistics.median(result.net.cpu_values)
    assert result.net.clock_summary.p50 <= result.net.summary.p50
    assert result.net.ratio > 1.3


@pytest.mark.parametrize("arguments", [["--clock", "wall"], ["--format", "process", "--clock", "cpu"]])
def test_the_clock_can_be_chosen(tmp_path, arguments):
    done = compare("sleep 0.02", "sleep 0.02", *arguments, "--ab_pairs", "2", *EXACT, cwd=tmp_path)
    sampling = only_result(done).sampling
    assert (sampling.clock, sampling.clock_reason) == (arguments[-1], "requested by --clock")


def test_all_documents_that_are_printed_count(tmp_path):
    document = '{"results": [{"command": "x", "times": [0.1, 0.2]}]}'
    (tmp_path / "two").write_text(f"{document}\nsome text {{\n{document}\n")
    done = compare("cat two", "cat two", "--ab_pairs", "2", *EXACT, cwd=tmp_path)
    result = only_result(done)
    assert result.test.identifier == "hyperfine"
    assert result.net.values == pytest.approx((100e3, 200e3) * 4)


def test_garbage_is_no_reason_to_stop(tmp_path):
    (tmp_path / "garbage").write_bytes(
        bytes(range(256)) * 1000 + b'\n{"results": [{"times": ["x"]}]}\n{{{[[['
    )
    done = compare("cat garbage", "cat garbage", "--ab_pairs", "2", *EXACT, cwd=tmp_path)
    assert only_result(done).test.identifier == "process", done.stderr


def test_a_command_that_hangs_is_ended(tmp_path):
    done = compare("sleep 600", "true", "--timeout", "0.5", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mlbench compare: BASE: the program ran longer than 0.5 s"), done.stderr


def test_a_command_that_fails_later_is_a_failed_test(tmp_path):
    (tmp_path / "fails.sh").write_text("echo x >> runs; test $(wc -l < runs) -lt 4 || exit 7\n")
    done = compare("sh fails.sh", "true", *EXACT, cwd=tmp_path)
    assert done.returncode == 3
    assert only_result(done).failure.message == "control: the program ended with exit status 7"


def test_two_builds_at_one_path_are_two_versions(tmp_path):
    program = tmp_path / "program"
    commits = []
    for text in ("#!/bin/sh\ntrue\n", "#!/bin/sh\ntrue\ntrue\n"):
        program.write_text(text)
        program.chmod(0o755)
        done = compare(program, program, "--ab_pairs", "2", *EXACT, cwd=tmp_path)
        commits.append(only_result(done).provenance.commit)
    assert len(set(commits)) == 2
    assert all(one.startswith("head-") for one in commits)


def test_two_programs_run_a_specification(workshop):
    programs = [workshop.worker_program(name, factor=one) for name, one in (("old", 1.0), ("new", 1.2))]
    done = compare(*programs, workshop.benchmark(), *EXACT, cwd=workshop.directory)
    assert done.returncode == 5, done.stderr
    result = only_result(done)
    assert (result.verdict, result.sampling.level) == (Verdict.REGRESSED, "iteration")
    assert result.net.ratio == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nonesuch-x", "true"],
            "mlbench compare: HEAD 'true' is a command, BASE 'nonesuch-x' is none: give",
        ),
        (["./nonesuch-x", "true"], "mlbench compare: BASE: there is no program './nonesuch-x'"),
        (["true", "sh '"], 'mlbench compare: HEAD: "sh \'" is not a command: No closing quotation'),
        (["true", ""], "mlbench compare: HEAD: there is no program ''"),
        (["true"], "mlbench compare: give BASE and HEAD: two commands in quotes, two benchmark pr"),
        (["true", "false"], "mlbench compare: HEAD: the program ended with exit status 1: "),
        (["true", "true", "--format", "jmh"], "mlbench compare: BASE printed no times that can be read so"),
        (
            ["true", "true", "--format", "jhm"],
            "mlbench compare: --format: 'jhm' is not one of process, observer, ",
        ),
        (
            ["true", "true", "--pattern", "x"],
            "mlbench compare: --pattern: it has no group (?P<value>...), which is the time",
        ),
        (["true", "true", "--framework", "caffe2"], "mlbench compare: --framework needs a model or a spec"),
        (["a.pyz", "b.pyz", "c.onnx"], "mlbench compare: there is no file '"),
        (
            ["true", "true", LENET, "--net", "x"],
            "mlbench compare: --net is for commands: it says how the tim",
        ),
        (
            ["--base", "x", "--head", "y", LENET, "--by", "device"],
            "mlbench compare: --by is for saved runs",
        ),
        (["true", "true", "--build", "make"], "mlbench compare: --build needs --repository"),
        (["true", "true", "--python", "x"], "mlbench compare: --python makes environments: it needs --base"),
        (["true", "true", "--devices", "x"], "mlbench compare: error: there is no option '--devices'"),
    ],
)
def test_what_cannot_be_compared_is_said_first(arguments, message):
    done = compare(*arguments)
    assert done.stderr.startswith(message)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_command_that_prints_no_times(prints):
    done = compare(prints(0.1), "echo x", "--format", "hyperfine")
    assert "HEAD printed no times that can be read so" in done.stderr


def test_every_documented_command_is_understood():
    commands = re.findall(r"```sh\nmlbench compare (.*?)\n```", (ROOT / "docs/compare.md").read_text("utf-8"))
    assert len(commands) == 4
    for command in commands:
        make_parser("mlbench compare").parse(shlex.split(command))


def test_the_documented_command():
    command, *_ = re.findall(
        r"```sh\nmlbench compare (.*?)\n```", (ROOT / "docs/compare.md").read_text("utf-8")
    )
    done = compare(*shlex.split(command), "--ab_pairs", "2", "--canary", "off", "--json")
    assert done.returncode in (0, 8), done.stderr
    assert json.loads(done.stdout)["results"][0]["meta"]["identifier"] == "printed"
