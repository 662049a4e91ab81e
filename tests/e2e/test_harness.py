"""The harness as a user starts it: real processes, real files."""

import json
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

COMMIT = {"commit": "abc", "commit_time": 1521500000}
OLDER = {"commit": "old", "commit_time": 1521400000}


def records(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def option(record, name):
    argv = record["argv"]
    return argv[argv.index(f"--{name}") + 1]


@pytest.fixture
def recorded(workshop):
    """A program that writes down how it was called."""
    path = workshop.directory / "record"
    program = workshop.program(record=str(path))
    workshop.benchmark()
    return program, path


def test_one_run_from_end_to_end(workshop):
    workshop.benchmark(
        {
            "inputs": {"data": {"shapes": [[1, 2], [3, 4]], "type": "float"}},
            "commands": {"caffe2": {"run_individual": "true"}},
        }
    )
    info = json.dumps(
        {"treatment": COMMIT | {"program": str(workshop.program(delay_us=200))}, "meta": {"branch": "x"}}
    )
    document, done = workshop.json("--info", info, "--local_reporter", workshop.results)
    assert done.returncode == 0, done.stderr
    assert [result["meta"]["identifier"] for result in document["results"]] == ["0", "1"]
    net, conv, relu = document["results"][0]["types"]
    assert net["values"] == [200.0, 201.0, 202.0]
    assert (conv["type"], conv["values"]) == ("ID_0_Conv_c", [150.0] * 3)
    assert relu["summary"]["p50"] == 50.0
    meta = document["results"][0]["meta"]
    assert (meta["commit"], meta["commit_time"], meta["user"]) == ("abc", 1521500000, {"branch": "x"})
    (directory,) = workshop.results.glob("*/caffe2/tiny/delay/1/2018/3/19/abc/0")
    assert json.loads((directory / "NET_DELAY.txt").read_text())["summary"]["p50"] == 201.0
    assert json.loads((directory / "meta.txt").read_text())["net_name"] == "tiny"
    assert not list((workshop.directory / "temporary").iterdir())


def test_without_a_reporter_the_screen_shows_and_the_data_directory_keeps(workshop):
    workshop.benchmark()
    done = workshop.run("--program", workshop.program())
    assert done.returncode == 0
    assert "tiny delay 0" in done.stdout
    assert "101 us" in done.stdout
    assert str(workshop.directory / "XDG_DATA_HOME") in done.stdout
    assert "\x1b" not in done.stdout
    assert list((workshop.directory / "XDG_DATA_HOME").rglob("NET_DELAY.txt"))


# --- every option does what it says -------------------------------------------------------------------------


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


def test_program_is_what_runs_and_info_wins(workshop, recorded):
    program, record = recorded
    workshop.json("--program", program)
    assert len(records(record)) == 1
    info = json.dumps({"treatment": COMMIT | {"program": str(program)}})
    workshop.json("--info", info, "--program", workshop.program("other"))
    assert len(records(record)) == 2


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


def test_a_confirmed_regression_is_marked_and_tells_by_its_exit_status(workshop):
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


def test_android_dir_is_told_to_have_no_use_here(workshop):
    workshop.benchmark()
    done = workshop.run("--program", workshop.program(), "--android_dir", "/data")
    assert done.returncode == 0
    assert "--android_dir: the platform host has no use for it" in done.stderr


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


# --- A/B ----------------------------------------------------------------------------------------------------


def ab_info(workshop, **more):
    treatment = workshop.program("treatment", delay_us=220, record=str(workshop.directory / "record"))
    control = workshop.program("control", delay_us=200, record=str(workshop.directory / "record"))
    return json.dumps(
        {"treatment": COMMIT | {"program": str(treatment)}, "control": OLDER | {"program": str(control)}}
        | more
    )


def test_ab_runs_pairs_and_keeps_their_samples_apart(workshop):
    workshop.benchmark()
    document, done = workshop.json("--info", ab_info(workshop), "--ab_pairs", "6", "--seed", "1")
    assert done.returncode == 0, done.stderr
    (net,) = document["results"][0]["types"]
    assert net["pairs"] == net["control_pairs"] == [pair for pair in range(6) for _ in range(3)]
    assert net["values"] == [220.0, 221.0, 222.0] * 6
    assert net["control_values"] == [200.0, 201.0, 202.0] * 6
    assert net["comparison"]["ratio"] == pytest.approx(221 / 201)
    assert net["diff_summary"]["p50"] == 20.0
    assert document["results"][0]["meta"]["control_commit"] == "old"
    assert document["results"][0]["meta"]["random_seed"] == 1
    assert len(records(workshop.directory / "record")) == 12


def test_info_from_a_file_and_faults_of_info(workshop):
    workshop.benchmark()
    (workshop.directory / "info.json").write_text(ab_info(workshop))
    assert workshop.run("--info", "@info.json", "--ab_pairs", "1").returncode == 0
    for text, part in {
        "{": "not JSON",
        '{"treatment": {"commit": 1}}': "$.treatment.commit",
        '{"treatment": {"commit": "a", "commit_time": 1, "program": "/nonesuch"}}': "$.treatment.program",
        '{"treatment": {"commit": "a", "commit_time": 1767225600000}}': "$.treatment.commit_time",
        '{"treatment": {"commit": "a", "commit_time": -1}}': "$.treatment.commit_time",
        "@nonesuch": "nonesuch",
    }.items():
        done = workshop.run("--info", text)
        assert done.returncode == 2
        assert part in done.stderr
        assert "Traceback" not in done.stderr


def test_a_control_that_fails_does_not_lose_the_treatment(workshop):
    workshop.benchmark()
    info = json.loads(ab_info(workshop))
    workshop.program("control", exit_code=7)
    document, done = workshop.json("--info", json.dumps(info), "--ab_pairs", "1", "--seed", "2")
    assert done.returncode == 3
    result = document["results"][0]
    assert result["failure"]["message"].startswith("control: ")
    assert "7" in result["failure"]["message"]


# --- regressions --------------------------------------------------------------------------------------------


def test_a_suspicion_is_verified_and_confirmed(workshop):
    workshop.benchmark()
    commits = [{"commit": f"c{number}", "commit_time": 1521400000 + number} for number in (4, 3, 2, 1)]
    for commit in commits:
        info = json.dumps({"treatment": commit | {"program": str(workshop.program("good", delay_us=100))}})
        assert workshop.run("--info", info, "--local_reporter", workshop.results).returncode == 0

    def run(delay_us):
        program = workshop.program("newest", delay_us=delay_us)
        info = {"treatment": COMMIT | {"program": str(program)}, "regression_commits": commits}
        return workshop.json("--info", json.dumps(info), "--local_reporter", workshop.results)

    document, done = run(100)
    assert ([one["meta"]["run_type"] for one in document["results"]], done.returncode) == (["benchmark"], 0)
    document, done = run(150)
    assert [one["meta"]["run_type"] for one in document["results"]] == ["benchmark", "verify", "regress"]
    assert [one["types"][0].get("regressed") for one in document["results"]] == [None, None, 1]
    assert done.returncode == 5


# --- errors -------------------------------------------------------------------------------------------------


def error_test(tolerance=None):
    test = {"metric": "error", "output_files": {"out": "golden.txt"}}
    return test | ({"tolerance": tolerance} if tolerance else {})


def test_the_error_against_golden_values(workshop):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n4.0\n")
    workshop.benchmark(error_test({"atol": 0.6}))
    document, done = workshop.json("--program", workshop.program(outputs={"out": [1.0, 2.5, 4.0]}))
    assert done.returncode == 0
    (out,) = document["results"][0]["types"]
    assert out["type"] == "out"
    assert out["error"]["max_absolute"] == 0.5
    assert out["diff_summary"]["p100"] == 0.5
    assert "values" not in out


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([1.0, 3.0, 4.0], "ToleranceError"),
        ([1.0, 2.0], "CaseError"),
        (["nonsense"], "ProgramOutputError"),
        (["nan", 2, 4], "ToleranceError"),
    ],
)
def test_outputs_that_are_wrong_fail_the_case(workshop, outputs, error):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n4.0\n")
    workshop.benchmark(error_test({"atol": 0.6}))
    document, done = workshop.json("--program", workshop.program(outputs={"out": outputs}))
    assert done.returncode == 3
    assert document["results"][0]["failure"]["error"] == error


@pytest.mark.parametrize(("control_outputs", "error"), [([1.0, 2.0, 5.0], None), ([1.0, 2.0], "control: ")])
def test_the_controls_error_stands_beside_and_its_failure_loses_nothing(workshop, control_outputs, error):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n4.0\n")
    workshop.benchmark(error_test())
    programs = {
        "treatment": workshop.program("treatment", outputs={"out": [1.0, 2.5, 4.0]}),
        "control": workshop.program("control", outputs={"out": control_outputs}),
    }
    info = {name: {"commit": name, "commit_time": 1, "program": str(path)} for name, path in programs.items()}
    document, done = workshop.json("--info", json.dumps(info))
    (result,) = document["results"]
    assert result["types"][0]["error"]["max_absolute"] == 0.5
    if error is None:
        assert result["types"][0]["control_error"]["max_absolute"] == 1.0
        assert done.returncode == 0
    else:
        assert result["failure"]["message"].startswith(error)
        assert done.returncode == 3


@pytest.mark.parametrize(
    ("behaviour", "part"),
    [
        ({"exit_code": 7}, "exit status 7"),
        ({"crash": True}, "signal 11"),
        ({"missing_samples": 1}, "2 of 3 samples of the net"),
        ({"garbage_megabytes": 200, "missing_samples": 3}, "0 of 3"),
    ],
)
def test_a_program_that_fails_costs_its_own_case_and_shows_its_log(workshop, behaviour, part):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    document, done = workshop.json(
        "--program", workshop.program(**behaviour), "--local_reporter", workshop.results
    )
    assert done.returncode == 3
    assert len(document["results"]) == 2
    assert part in document["results"][0]["failure"]["message"]
    assert document["results"][0]["failure"]["evidence"]
    assert len(list((workshop.results / ".failures").rglob("failure.json"))) == 2
    assert not list(workshop.results.glob("[!.]*"))


def test_much_garbage_around_good_samples_does_no_harm(workshop):
    workshop.benchmark()
    assert workshop.run("--program", workshop.program(garbage_megabytes=1024)).returncode == 0


def test_a_model_that_cannot_be_had_costs_its_own_cases(workshop):
    good = workshop.benchmark(name="good")
    bad = workshop.benchmark(name="bad")
    bad.write_text(bad.read_text().replace("init_net.pb", "missing.pb"))
    suite = workshop.directory / "suite.json"
    suite.write_text(json.dumps({"benchmarks": [bad.name, good.name]}))
    document, done = workshop.json("--program", workshop.program(), benchmark=suite)
    assert done.returncode == 3
    assert [one["failure"] is None for one in document["results"]] == [False, True]


def test_a_reporter_that_fails_is_told_and_the_others_deliver(workshop):
    workshop.benchmark()
    document, done = workshop.json(
        "--program", workshop.program(), "--remote_reporter", "http://127.0.0.1:9/x|y", "--junit", "j.xml"
    )
    assert done.returncode == 6
    assert document["exit_status"] == 6
    assert "remote" in document["problems"][0]
    assert (workshop.directory / "j.xml").exists()


def test_destinations_are_checked_before_anything_runs(workshop, recorded):
    program, record = recorded
    (workshop.directory / "file").write_text("")
    for option_name in ("--local_reporter", "--junit", "--markdown"):
        done = workshop.run("--program", program, option_name, "file/below")
        assert done.returncode == 2
        assert option_name in done.stderr
    assert not record.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_finished_and_leaves_nothing_behind(workshop, number):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"}, {"identifier": "third"})
    started = workshop.directory / "started"
    quick = workshop.program()
    arguments = ("--program", quick, "--local_reporter", workshop.results, "--json", "--junit", "j.xml")
    process = subprocess.Popen(
        workshop.command(*arguments),
        cwd=workshop.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(workshop.results.rglob("NET_DELAY.txt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    quick.with_suffix(".json").write_text(
        json.dumps({"hang": True, "fork_stubborn_child": True, "started_file": str(started)})
    )
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    document = json.loads(output)
    assert document["exit_status"] == 130
    assert 1 <= len(document["results"]) <= 2
    assert all(one["failure"] is None for one in document["results"])
    assert (workshop.directory / "j.xml").exists()
    assert not list((workshop.directory / "temporary").iterdir())
    assert not psutil.pid_exists(int(started.read_text()))


def test_two_harnesses_at_once_do_not_share_a_run_directory(workshop):
    workshop.benchmark()
    info = json.dumps({"treatment": COMMIT | {"program": str(workshop.program())}})
    command = workshop.command("--info", info, "--local_reporter", workshop.results)
    processes = [subprocess.Popen(command, cwd=workshop.directory, stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.wait(timeout=60) == 0
        process.stderr.close()
    runs = sorted(path.name for path in workshop.results.glob("*/caffe2/tiny/delay/0/2018/3/19/abc/*"))
    assert runs == ["0", "1", "2", "3"]


def test_names_with_quotes_and_blanks_go_through(workshop):
    name = 'we\'re "odd"; $HOME `x`'
    benchmark = workshop.benchmark({"identifier": "a 'b' $c;{ID}"}, name=name.replace("/", ""))
    document, done = workshop.json(
        "--program", workshop.program("pro gram's"), "--local_reporter", workshop.results, benchmark=benchmark
    )
    assert done.returncode == 0, done.stderr
    assert document["results"][0]["meta"]["net_name"] == name
    assert list(workshop.results.rglob("NET_DELAY.txt"))


def test_a_disk_that_is_full_is_told(workshop):
    """/dev/full refuses every byte."""
    workshop.benchmark()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            workshop.command("--program", workshop.program(), "--json", "--local_reporter", workshop.results),
            cwd=workshop.directory,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert "json reporter failed" in done.stderr
    assert list(workshop.results.rglob("NET_DELAY.txt"))


def test_a_python_without_the_requirements_is_told_what_to_install(workshop):
    workshop.benchmark()
    command = workshop.command()
    done = subprocess.run([command[0], "-S", *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is missing; install the requirements with" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option_name", ["--json", "--screen_reporter"])
def test_a_closed_stdout_is_told_before_anything_runs(workshop, recorded, option_name):
    program, record = recorded
    command = workshop.command("--program", program, option_name)
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 2
    assert "stdout is closed" in done.stderr
    assert not record.exists()


def test_help_tells_the_exit_statuses(workshop):
    workshop.benchmark()
    done = workshop.run("--help")
    assert done.returncode == 0
    for status in ("2", "3", "4", "5", "6", "130"):
        assert f"\n  {status:>3}  " in done.stdout
