"""Every option does what it says."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from benchmarking.specs.run_info import program_commit
from tests.support.workshop import COMMIT, option, records


def test_backend_reaches_the_program_and_the_meta_and_beats_the_specification(workshop, recorded):
    program, record = recorded
    workshop.benchmark(
        {"commands": {"caffe2": {"backend": "eigen"}}}, commands={"caffe2": {"backend": "mkl"}}
    )
    document, _ = workshop.json("--program", program)
    assert document["results"][0]["meta"]["backend"] == "eigen"
    document, _ = workshop.json("--program", program, "--backend", "nnpack")
    assert document["results"][0]["meta"]["backend"] == "nnpack"
    assert [option(one, "backend") for one in records(record)] == ["eigen", "nnpack"]


def test_info_chooses_tests(workshop, recorded):
    program, _ = recorded
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    names = [{"net": "tiny", "metric": "delay", "identifier": one} for one in ("second", "third")]
    info = {"treatment": COMMIT, "run_type": "regress", "regressed_types": ["NET_DELAY"]}
    document, done = workshop.json("--program", program, "--info", json.dumps({**info, "tests": names}))
    assert [one["meta"]["identifier"] for one in document["results"]] == ["second"]
    assert done.returncode == 5
    done = workshop.run("--program", program, "--info", json.dumps({**info, "tests": names[1:]}))
    assert done.returncode == 2
    assert "--info: $.tests: the benchmark file has none of these tests" in done.stderr


def test_program_is_what_runs_and_info_wins(workshop, recorded):
    program, record = recorded
    workshop.json("--program", program)
    assert len(records(record)) == 1
    info = json.dumps({"treatment": COMMIT | {"program": str(program)}})
    workshop.json("--info", info, "--program", workshop.program("other"))
    assert len(records(record)) == 2


def environment(workshop, name):
    """A Python that says by a variable which one it is."""
    path = workshop.directory / f"envs/{name}/bin/python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nENVIRONMENT_NAME={name} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_python_runs_the_program_and_each_arm_may_have_its_own(workshop, recorded):
    program, record = recorded
    new, old = (environment(workshop, name) for name in ("new", "old"))
    workshop.json("--program", program, "--python", new)
    info = json.dumps({"treatment": {"python": new}, "control": {"python": old}})
    arguments = ("--program", program, "--ab_pairs", "1", "--canary", "off", "--ab_mode", "process")
    document, done = workshop.json(*arguments, "--info", info)
    assert "TypeError" not in done.stderr
    assert new in document["results"][0]["meta"]["program_command"]
    ran = [one["environment"].get("ENVIRONMENT_NAME") for one in records(record)]
    assert ran[0] == "new"
    assert sorted(ran[1:]) == ["new", "old"]
    assert program_commit(program).rpartition("-")[2] in document["results"][0]["meta"]["commit"]


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("nonesuch", "--python: there is no program 'nonesuch'"),
        ("true", "true' does not run as Python 3.8 or newer"),
    ],
)
def test_what_is_not_a_python_is_one_line(workshop, recorded, python, message):
    done = workshop.run("--program", recorded[0], "--python", python)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_program_that_python_does_not_run_needs_none(workshop):
    workshop.benchmark()
    done = workshop.run("--program", "/bin/true", "--python", sys.executable)
    assert done.returncode == 2
    assert "is not run by Python: remove this setting" in done.stderr


def test_shared_libs_are_in_front_of_the_library_path(workshop, recorded):
    program, record = recorded
    libraries = workshop.directory / "my libraries"
    libraries.mkdir()
    (libraries / "a.so").write_text("")
    workshop.json(
        "--program", program, "--shared_libs", libraries / "a.so", environment={"LD_LIBRARY_PATH": "/users"}
    )
    assert records(record)[0]["environment"]["LD_LIBRARY_PATH"] == f"{libraries}:/users"


def test_timeout_kills_the_program_and_its_stubborn_children(workshop):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    child = workshop.directory / "child"
    program = workshop.program(
        hang=True, ignore_terminate=True, fork_stubborn_child=True, child_pid_file=str(child)
    )
    document, done = workshop.json("--program", program, "--timeout", "1")
    assert done.returncode == 3
    assert [one["failure"]["error"] for one in document["results"]] == ["ProgramTimeoutError"] * 2
    assert "--timeout" in document["results"][0]["failure"]["message"]
    assert not psutil.pid_exists(int(child.read_text())) or (
        psutil.Process(int(child.read_text())).status() == psutil.STATUS_ZOMBIE
    )


@pytest.mark.parametrize("run_type", ["benchmark", "verify"])
def test_run_type_is_recorded(workshop, run_type):
    workshop.benchmark()
    document, done = workshop.json("--program", workshop.program(), "--run_type", run_type)
    assert document["results"][0]["meta"]["run_type"] == run_type
    assert done.returncode == 0


def test_a_confirmed_regression_is_marked_and_sets_the_exit_status(workshop):
    workshop.benchmark({"commands": {"caffe2": {"run_individual": True}}})
    document, done = workshop.json(
        "--program", workshop.program(), "--run_type", "regress", "--regressed_types", '["ID_0_Conv_c"]'
    )
    assert {one["type"]: one.get("regressed") for one in document["results"][0]["types"]} == {
        "NET_DELAY": None,
        "ID_0_Conv_c": 1,
        "ID_1_Relu_r": None,
    }
    assert done.returncode == 5


def test_devices_and_excluded_devices(workshop):
    workshop.benchmark()
    document, _ = workshop.json("--program", workshop.program())
    meta = document["results"][0]["meta"]
    for device in (meta["platform"], meta["platform_hash"]):
        assert workshop.run("--program", workshop.program(), "--devices", device).returncode == 0
        assert workshop.run("--program", workshop.program(), "--excluded_devices", device).returncode == 4
    done = workshop.run("--program", workshop.program(), "--devices", "nonesuch")
    assert done.returncode == 4
    assert "nonesuch" in done.stderr


def test_root_model_dir(workshop):
    models = workshop.directory / "models"
    models.mkdir()
    for name in ("init", "predict"):
        (workshop.directory / f"{name}_net.pb").rename(models / f"{name}_net.pb")
    path = workshop.benchmark()
    path.write_text(path.read_text().replace('"location": "', '"location": "//'))
    assert workshop.run("--program", workshop.program()).returncode == 2
    assert workshop.run("--program", workshop.program(), "--root_model_dir", models).returncode == 0
    cached = workshop.directory / "cache/caffe2/tiny"
    assert len(list(cached.glob("init_net_*.pb"))) == 1


def test_platform_names(workshop):
    workshop.benchmark()
    for platform in ("cpu", "host/mkl"):
        assert workshop.run("--program", workshop.program(), "--platform", platform).returncode == 0
    done = workshop.run("--program", workshop.program(), "--platform", "hst")
    assert done.returncode == 2
    assert "did you mean 'host'" in done.stderr


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a GPU")
def test_a_platform_without_a_device_is_an_infrastructure_failure(workshop):
    workshop.benchmark()
    done = workshop.run("--program", workshop.program(), "--platform", "gpu")
    assert done.returncode == 4
    assert "GPU" in done.stderr


def test_android_dir_is_reported_as_unused_here(workshop):
    workshop.benchmark()
    done = workshop.run("--program", workshop.program(), "--android_dir", "/data")
    assert done.returncode == 0
    assert "--android_dir: the platform host does not use this option" in done.stderr


def test_validate_checks_without_running(workshop, recorded):
    program, record = recorded
    done = workshop.run("--program", program, "--validate")
    assert (done.returncode, record.exists()) == (0, False)
    assert "no faults" in done.stdout
    workshop.benchmark({"itr": 3}, {"metric": "speed"}, format="onnx")
    done = workshop.run("--validate")
    assert done.returncode == 2
    assert "did you mean 'iter'" in done.stderr
    assert "$.tests[1].metric" in done.stderr


def test_what_the_framework_cannot_run_is_a_fault_for_validate_and_for_a_run(workshop, recorded):
    program, record = recorded
    workshop.benchmark(
        {"commands": {"caffe2": {"iter": 7}}}, {"inputs": {"x": {"shapes": [[1]], "type": "double"}}}
    )
    for arguments in (("--validate",), ("--program", program)):
        done = workshop.run(*arguments)
        assert (done.returncode, done.stdout, record.exists()) == (2, "", False)
        places = [line.split(": ")[2] for line in done.stderr.splitlines()]
        assert places == ["$.tests[0].commands.caffe2.iter", "$.tests[1].inputs.x.type"]
    workshop.benchmark(format="onnx")
    done = workshop.run("--validate")
    assert (done.returncode, done.stdout) == (2, "")
    assert "$.model.format: 'onnx' cannot be run by the framework caffe2" in done.stderr


def test_the_token_reaches_the_server_and_nothing_else(workshop, recorded):
    program, record = recorded
    bodies = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"count": len(json.loads(bodies[-1]["logs"]))}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = f"http://127.0.0.1:{server.server_port}/endpoint|perf"
    for arguments, environment in (
        (["--remote_access_token", "s3cr3t-token"], {}),
        ([], {"BENCHMARK_REMOTE_ACCESS_TOKEN": "s3cr3t-token"}),
    ):
        done = workshop.run(
            *("--program", program, "--remote_reporter", target, "--local_reporter", workshop.results),
            *("--screen_reporter", "--json", "--log_level", "debug", *arguments),
            environment=environment,
        )
        assert done.returncode == 0, done.stderr
        assert "s3cr3t" not in done.stdout + done.stderr
    server.shutdown()
    assert [body["access_token"] for body in bodies] == ["s3cr3t-token"] * 2
    assert all("s3cr3t" not in body["logs"] for body in bodies)
    assert "s3cr3t" not in record.read_text()
    for path in workshop.directory.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path


def test_junit_and_markdown(workshop):
    workshop.benchmark({"identifier": "a|b"})
    done = workshop.run("--program", workshop.program(), "--junit", "j.xml", "--markdown", "m.md")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "<testcase" in (workshop.directory / "j.xml").read_text()
    assert r"a\|b" in (workshop.directory / "m.md").read_text()


def test_health_and_cooldown(workshop):
    """The time to cool down is so short that this machine cannot be known to be steady."""
    workshop.benchmark()
    arguments = ("--program", workshop.program(), "--health_check", "--cooldown", "0.01")
    document, done = workshop.json(*arguments)
    assert done.returncode == 0, done.stderr
    assert "not steady after 0.01 s: too few readings" in document["results"][0]["meta"]["tainted"]
    (history,) = (workshop.directory / "XDG_STATE_HOME/ml-benchmark-platform/health").iterdir()
    ((_, seconds),) = json.loads(history.read_text())
    assert seconds > 0
