"""The harness on real devices of the lab: a real adbd and a real sshd, and what can befall them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.waiting import LIMIT_S, wait_until
from tests.support.workshop import COMMIT, ROOT, Workshop, error_test

BIG_BYTES = 250_000_000


@pytest.fixture(scope="module")
def android(lab):
    return lab.android("phone")


@pytest.fixture(scope="module")
def board(lab):
    return lab.linux("board", banner=True)


@pytest.fixture(params=["android", "linux"])
def device(request):
    """A device, and the arguments that choose it."""
    host = request.getfixturevalue("android" if request.param == "android" else "board")
    yield host
    host.mend()


def chosen(*hosts):
    kind = "android" if hasattr(hosts[0], "serial") else "linux"
    addresses = ",".join(f"{one.address}:5555" if kind == "android" else one.address for one in hosts)
    return "--platform", kind, "--devices", addresses


def home(host):
    """Where our files on the device are, as this machine sees them."""
    return host.data / "ml-benchmark" if hasattr(host, "serial") else host.home / ".cache/ml-benchmark"


def staged(host):
    return {path: path.stat().st_mtime_ns for path in (home(host) / "files").rglob("*") if path.is_file()}


def left_runs(host):
    """Directories of runs, but for those of failed tests, which are kept."""
    return [one for one in (home(host) / "runs").iterdir() if not (one / "kept").exists()]


def net_delays(document):
    return [one["types"][0]["values"] for one in document["results"]]


# --- what it is for -----------------------------------------------------------------------------------------


def test_delays_and_errors_come_from_the_device(workshop, device):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n")
    workshop.benchmark({}, error_test())
    document, done = workshop.json("--program", workshop.shell_program(), *chosen(device))
    assert done.returncode == 0, done.stderr
    delay, error = document["results"]
    assert delay["types"][0]["values"] == [120.5, 121.5, 122.5]
    assert error["types"][0]["error"]["max_absolute"] == 0
    assert delay["meta"]["device"]["kernel"]
    assert delay["meta"]["conditions_before"].keys() >= {"load_1_min", "memory_available_bytes"}
    assert left_runs(device) == []
    assert not (home(device) / "lease").exists()


def test_lines_of_logcat_are_parsed_and_nobody_s_log_is_cleared(workshop, android):
    workshop.benchmark()
    subprocess.run(["bash", "-c", f"echo 'mine, from before' >> {android.directory}/upper/data/log/main"])
    program = workshop.shell_program("log")
    for _ in range(2):
        document, done = workshop.json("--program", program, *chosen(android))
        assert done.returncode == 0, done.stderr
        assert net_delays(document) == [[120.5, 121.5, 122.5]]


def test_a_phone_is_named_by_model_and_serial_number(workshop, lab, android):
    twin = lab.android("twin")
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program(), *chosen(android, twin))
    document, done = workshop.json(*arguments)
    assert done.returncode == 0, done.stderr
    names = [one["meta"]["platform"] for one in document["results"]]
    assert sorted(names) == ["Lab-amd64-LABPHONE", "Lab-amd64-LABTWIN"]
    document, _ = workshop.json(*arguments, "--excluded_devices", "labphone")
    assert [one["meta"]["platform_hash"] for one in document["results"]] == ["LABTWIN"]
    twin.stop()


def test_a_second_run_stages_nothing_and_another_program_only_itself(workshop, device):
    workshop.benchmark()
    program = workshop.shell_program()
    workshop.json("--program", program, *chosen(device))
    before = staged(device)
    assert len(before) == 3
    workshop.json("--program", program, *chosen(device))
    assert staged(device) == before
    workshop.json("--program", workshop.shell_program("sleep=0"), *chosen(device))
    assert len(staged(device).items() - before.items()) == 1
    assert len(staged(device)) == 3
    workshop.json("--program", program, "--remove_staged", *chosen(device))
    assert staged(device) == {}


def test_a_damaged_file_on_the_device_is_brought_again(workshop, device):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program(), *chosen(device))
    workshop.json(*arguments)
    for path in staged(device):
        path.write_text("nonsense")
    _, done = workshop.json(*arguments)
    assert done.returncode == 0, done.stderr


def test_the_default_program_runs_on_a_linux_machine_that_has_what_it_needs(workshop, board):
    names = [("error", "golden-0"), ("delay", "delay-5")]
    tests = [{"net": "lenet", "metric": metric, "identifier": identifier} for metric, identifier in names]
    info = json.dumps({"treatment": COMMIT, "tests": tests})
    document, done = workshop.json(
        *(*chosen(board), "--remote_python", sys.executable, "--info", info),
        benchmark=ROOT / "specifications/benchmarks/caffe2/quickstart.json",
    )
    assert done.returncode == 0, done.stderr
    error, delay = document["results"]
    assert error["types"][0]["error"]["max_absolute"] < 1e-6
    assert delay["types"][0]["summary"]["p50"] > 0


@pytest.mark.parametrize(
    ("framework", "module"),
    [
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("litert", "ai_edge_litert"),
        ("pytorch", "torch"),
    ],
)
def test_a_runtime_that_a_linux_machine_has_is_measured_there(workshop, board, framework, module):
    pytest.importorskip(module)
    document, done = workshop.json(
        *(*chosen(board), "--remote_python", sys.executable, "--framework", framework),
        benchmark=ROOT / f"specifications/benchmarks/{framework}/quickstart.json",
    )
    assert done.returncode == 0, done.stderr
    error, delay = (
        next(one for one in document["results"] if one["meta"]["metric"] == metric)
        for metric in ("error", "delay")
    )
    assert error["types"][0]["error"]["max_absolute"] < 1e-4
    assert len(delay["types"]) > 1, "operators are timed, too"


@pytest.mark.parametrize(("net_us", "status", "verdict"), [(1000, 0, "unchanged"), (1100, 5, "regressed")])
def test_treatment_and_control_run_iterations_in_turn_on_the_device(
    workshop, device, net_us, status, verdict
):
    workshop.benchmark()
    info = {
        name: {"commit": name, "commit_time": 1, "program": str(workshop.shell_worker(name, time_us))}
        for name, time_us in (("treatment", net_us), ("control", 1000))
    }
    document, done = workshop.json("--info", json.dumps(info), *chosen(device))
    assert done.returncode == status, done.stderr
    (first, *_) = document["results"]
    sampling = first["meta"]["sampling"]
    assert (sampling["level"], sampling["clock"], sampling["core"]) == ("iteration", "cpu", 1)
    assert sampling["canary"].startswith("the control compared with its own copy: unchanged")
    assert first["types"][0]["decision"]["verdict"] == verdict
    assert left_runs(device) == []


def test_a_link_that_is_cut_while_iterations_run_costs_the_case(workshop, lab):
    host = lab.android("spoken-to")
    workshop.benchmark()
    program = str(workshop.shell_worker("program", 1000))
    info = {name: {"commit": name, "commit_time": 1, "program": program} for name in ("treatment", "control")}
    arguments = ("--json", "--info", json.dumps(info), "--canary", "off", "--recovery_limit", "1")
    harness = subprocess.Popen(
        workshop.command(*arguments, "--ab_pairs", "200", *chosen(host)),
        cwd=workshop.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: host.processes("--worker true"))
    host.cut()
    document, status, err = finished(harness)
    assert status == 4, err
    assert document["results"][0]["failure"]["kind"] == "device lost"
    host.mend()
    # A device may not see for hours that the link of an idle worker is gone.
    _, done = workshop.json("--program", workshop.shell_program(), *chosen(host))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not host.processes("--worker true"))
    host.stop()


def test_what_a_linux_machine_lacks_is_named(workshop, board):
    workshop.benchmark()
    done = workshop.run("--screen_reporter", *chosen(board), "--remote_python", "/usr/bin/python3")
    assert done.returncode == 3
    assert ") lacks torch" in " ".join(done.stdout.split())
    done = workshop.run("--screen_reporter", *chosen(board), "--remote_python", "snake")
    assert "'snake' does not exist" in done.stdout


# --- failures of the program --------------------------------------------------------------------------------


def test_a_failed_run_is_kept_on_the_device_and_named(workshop, device):
    workshop.benchmark()
    document, done = workshop.json("--program", workshop.shell_program("exit=7"), *chosen(device))
    assert done.returncode == 3
    failure = document["results"][0]["failure"]
    assert "exit status 7" in failure["message"]
    assert "no luck" in failure["evidence"]
    kept = failure["evidence"].rpartition(": ")[2].strip()
    assert (home(device) / "runs" / Path(kept).name / "kept").exists()
    workshop.json("--program", workshop.shell_program(), *chosen(device))
    assert (home(device) / "runs" / Path(kept).name / "kept").exists()


def test_a_program_that_hangs_is_ended_on_the_device(workshop, device):
    workshop.benchmark()
    program = workshop.shell_program("sleep=600.25")
    document, done = workshop.json("--program", program, "--timeout", "1", *chosen(device))
    assert done.returncode == 3
    assert document["results"][0]["failure"]["error"] == "ProgramTimeoutError"
    assert device.processes("600.25") == []


def test_nothing_goes_on_running_when_the_harness_is_killed(workshop, device):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program("sleep=600.5"), *chosen(device))
    with subprocess.Popen(workshop.command(*arguments), cwd=workshop.directory) as harness:
        wait_until(lambda: device.processes("600.5"))
        harness.send_signal(signal.SIGKILL)
    wait_until(lambda: not device.processes("600.5"))
    _, done = workshop.json("--program", workshop.shell_program(), *chosen(device))
    assert done.returncode == 0, done.stderr
    assert left_runs(device) == []


def test_an_interrupted_run_leaves_nothing(workshop, device):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program("sleep=600.75"), *chosen(device))
    with subprocess.Popen(workshop.command(*arguments), cwd=workshop.directory) as harness:
        wait_until(lambda: device.processes("600.75"))
        harness.send_signal(signal.SIGINT)
        assert harness.wait(30) == 130
    assert device.processes("600.75") == []
    assert not (home(device) / "lease").exists()


# --- failures of devices ------------------------------------------------------------------------------------


def grow_model(benchmark, size_bytes):
    """The benchmark's model gets an init net of this size."""
    path = benchmark.with_name("init_net.pb")
    with path.open("wb") as stream:
        stream.truncate(size_bytes)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "md5").hexdigest()
    spec = json.loads(benchmark.read_text())
    spec["model"]["files"]["init"]["md5"] = digest
    benchmark.write_text(json.dumps(spec))


class Phases:
    """A harness that is in the middle of a push, a run or a pull."""

    def __init__(self, workshop, host):
        self.workshop, self.host = workshop, host

    def start(self, phase, *arguments):
        (self.workshop.directory / "golden.txt").write_text("1.0\n2.0\n")
        path = self.workshop.benchmark(error_test() if phase == "pull" else {})
        grow_model(path, BIG_BYTES if phase == "push" else 10)
        behaviour = {"push": "", "run": "sleep=3.125", "pull": "big_output=60000000"}[phase]
        program = self.workshop.shell_program(behaviour)
        harness = subprocess.Popen(
            self.workshop.command("--json", "--program", program, *chosen(self.host), *arguments),
            cwd=self.workshop.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        temporary = Path(os.environ["TMPDIR"])
        reached = {
            "push": lambda: any(one.stat().st_size for one in (home(self.host) / "files").glob(".part-*")),
            "run": lambda: self.host.processes("sleep 3.125"),
            "pull": lambda: self._pulls(temporary),
        }[phase]
        wait_until(lambda: harness.poll() is not None or reached())
        assert harness.poll() is None, harness.communicate()
        return harness

    def _pulls(self, temporary):
        if hasattr(self.host, "serial"):
            return any(one.stat().st_size for one in temporary.glob("benchmark-run-*/.part-*"))
        return self.host.processes("/output/big")


@pytest.fixture
def phases(workshop, device):
    return Phases(workshop, device)


def finished(harness):
    out, err = harness.communicate(timeout=LIMIT_S)
    assert "Traceback" not in err, err
    return json.loads(out), harness.returncode, err


@pytest.mark.parametrize("phase", ["push", "run", "pull"])
def test_a_daemon_that_dies_costs_nothing_as_it_comes_back(phases, device, phase):
    harness = phases.start(phase)
    if hasattr(device, "serial"):
        device.kill("adbd")
    else:
        device.stop()
        device.start()
    document, status, err = finished(harness)
    assert status == 0, err
    assert "run again, because the device was lost" in str(document["results"][0]["warnings"])
    assert "is lost" in err
    assert left_runs(device) == []


@pytest.mark.parametrize("kind", ["android", "linux"])
def test_a_link_that_is_cut_costs_the_case_in_bounded_time(lab, workshop, kind):
    """In the middle of a push, a run and a pull, each on a device of its own, at the same time."""
    cut = []
    for phase in ("push", "run", "pull"):
        host = getattr(lab, kind)(f"{kind}-{phase}")
        (workshop.directory / phase).mkdir()
        own = Phases(Workshop(workshop.directory / phase), host)
        harness = own.start(phase, "--recovery_limit", "1")
        host.cut()
        cut.append((own, harness))
    for own, harness in cut:
        document, status, err = finished(harness)
        assert status == 4, err
        (result,) = document["results"]
        assert result["failure"]["kind"] == "device lost"
        assert own.host.address in result["failure"]["message"]
        own.host.mend()
    for own, _ in cut:  # which take their own leases up again, and end what still runs
        _, done = own.workshop.json("--program", own.workshop.shell_program(), *chosen(own.host))
        assert done.returncode == 0, done.stderr
        assert own.host.processes("sleep 3.125") == []
        assert left_runs(own.host) == []
        own.host.stop()


@pytest.mark.parametrize("phase", ["push", "run", "pull"])
def test_a_device_that_reboots_runs_the_case_again(workshop, android, phase):
    harness = Phases(workshop, android).start(phase)
    android.reboot()
    document, status, err = finished(harness)
    assert status == 0, err
    assert "run again" in str(document["results"][0]["warnings"])
    assert left_runs(android) == []


def test_the_others_continue_when_a_device_disappears(workshop, lab, android):
    other = lab.android("other")
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    arguments = ("--program", workshop.shell_program("sleep=2.125"), *chosen(android, other))
    harness = subprocess.Popen(
        workshop.command("--screen_reporter", "--recovery_limit", "1", *arguments),
        cwd=workshop.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: other.processes("sleep 2.125"))
    other.stop()
    out, err = harness.communicate(timeout=LIMIT_S)
    assert harness.returncode == 4, err
    assert "Lab-amd64-LABPHONE    2       0        0" in out
    assert "Lab-amd64-LABOTHER    0       0        2  tiny first, tiny second" in out


@pytest.mark.parametrize("kind", ["android", "linux"])
def test_a_full_disk_is_told(workshop, lab, kind):
    small = getattr(lab, kind)(f"small-{kind}", disk_size="3m")
    workshop.benchmark()
    document, done = workshop.json("--program", workshop.shell_program("fill"), *chosen(small))
    assert done.returncode == 3
    assert "No space left on device" in document["results"][0]["failure"]["evidence"]
    grow_model(workshop.benchmark(), 5_000_000)
    document, done = workshop.json("--program", workshop.shell_program(), *chosen(small))
    assert done.returncode == 4
    assert "No space left on device" in document["results"][0]["failure"]["message"]
    assert not list((home(small) / "files").glob(".part-*"))
    small.stop()


def test_a_full_disk_on_this_machine_is_reported_as_such(workshop, device):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n")
    workshop.benchmark(error_test())
    program = workshop.shell_program("big_output=5000000")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", os.environ["TMPDIR"]], check=True)
    try:
        document, done = workshop.json("--program", program, *chosen(device))
    finally:
        subprocess.run(["umount", os.environ["TMPDIR"]], check=True)
    assert done.returncode == 4, done.stderr
    message = document["results"][0]["failure"]["message"]
    assert "No space left on device" in message
    assert os.environ["TMPDIR"] in message
    assert "is lost" not in done.stderr


def test_a_slow_lossy_link_is_slow_and_nothing_else(workshop, lab, device):
    """A megabyte there, a run, a megabyte back."""
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n")
    grow_model(workshop.benchmark({}, error_test()), 1_000_000)
    with lab.wire(device, 25, 0.01) as address:
        platform, way = ("android", f"{address}:5555") if hasattr(device, "serial") else ("linux", address)
        document, done = workshop.json(
            *("--program", workshop.shell_program("big_output=1000000"), "--platform", platform),
            *("--devices", way),
        )
    assert done.returncode == 0, done.stderr
    assert document["results"][0]["types"][0]["values"] == [120.5, 121.5, 122.5]
    assert document["results"][1]["types"][0]["error"]["max_absolute"] == 0


# --- more than one user -------------------------------------------------------------------------------------


def test_two_harness_processes_take_turns(workshop, device):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program("sleep=600.25"), *chosen(device))
    with subprocess.Popen(workshop.command(*arguments)) as first:
        wait_until(lambda: device.processes("sleep 600.25"))
        document, done = workshop.json(*arguments, "--when_busy", "fail")
        assert done.returncode == 4
        assert f"in use by process {first.pid}" in document["results"][0]["failure"]["message"]
        arguments = ("--program", workshop.shell_program(), *chosen(device))
        with subprocess.Popen(workshop.command(*arguments), stderr=subprocess.PIPE, text=True) as second:
            assert any("waiting until it is free" in line for line in second.stderr)
            (pid,) = device.pids("sleep 600.25")
            os.kill(pid, signal.SIGTERM)
            assert first.wait() == 0
            second.communicate()
            assert second.returncode == 0


def test_another_machine_s_lease_is_respected_until_it_expires(workshop, device):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program(), "--when_busy", "fail", *chosen(device))
    lease = home(device) / "lease"
    lease.mkdir(parents=True)
    (lease / "owner").write_text(f"lab-7 {int(time.time()) + 600}\n")
    document, done = workshop.json(*arguments)
    assert done.returncode == 4
    assert "in use by the machine lab-7" in document["results"][0]["failure"]["message"]
    (lease / "owner").write_text(f"lab-7 {int(time.time()) - 1}\n")
    _, done = workshop.json(*arguments)
    assert done.returncode == 0, done.stderr
    assert not lease.exists()


# --- who is let in ------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_reported_and_never_accepted(workshop, lab, board):
    workshop.benchmark()
    known = lab.known_hosts.read_text()
    lab.known_hosts.write_text("")
    try:
        done = workshop.run("--program", workshop.shell_program(), *chosen(board))
    finally:
        lab.known_hosts.write_text(known)
    assert done.returncode == 4
    assert "Host key verification failed: its host key is unknown; connect once by hand" in done.stderr


def test_a_wrong_user_is_reported(workshop, board):
    workshop.benchmark()
    done = workshop.run(
        *("--program", workshop.shell_program(), "--platform", "linux"),
        *("--devices", f"nobody@{board.address}"),
    )
    assert done.returncode == 4
    assert "Permission denied" in done.stderr
    assert "try ssh-copy-id" in done.stderr


def test_devices_are_shown_and_checked(workshop, lab, android, board):
    def show(command, *devices):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarking.devices", command, "--json"),
                *("--platform", "android,linux", "--devices", ",".join(devices)),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout), done.returncode

    phone, machine = f"{android.address}:5555", board.address
    rows, status = show("check", phone, machine)
    assert status == 0
    assert [(one["platform"], one["state"]) for one in rows] == [("android", "ready"), ("linux", "ready")]
    assert rows[0]["device"] == "Lab-amd64-LABPHONE"
    assert rows[0]["conditions"]["battery_percent"] == 87
    assert all("the reference took" in one["health"] for one in rows)
    workshop.benchmark()
    program = workshop.shell_program("sleep=600.875")
    with subprocess.Popen(workshop.command("--program", program, *chosen(android))) as harness:
        wait_until(lambda: android.processes("600.875"))
        rows, status = show("list", phone, "nosuch.invalid")
        harness.terminate()
    assert status == 0
    assert [one["state"] for one in rows] == ["in use", "unusable"]
    assert f"by process {harness.pid} of " in rows[0]["reason"]
    rows, status = show("check", "10.77.0.249:5555", "nosuch.invalid")
    assert status == 4
    assert [one["state"] for one in rows] == ["unusable", "unusable"]


def test_one_machine_that_cannot_be_reached_costs_its_own_cases_only(workshop, board):
    workshop.benchmark()
    done = workshop.run(
        *("--screen_reporter", "--program", workshop.shell_program(), "--platform", "linux"),
        *("--devices", f"{board.address},nosuch.invalid"),
    )
    assert done.returncode == 4
    assert "all tests are missing on nosuch.invalid: " in done.stdout
    assert "1 passed" in done.stdout


# --- the conditions -----------------------------------------------------------------------------------------


def test_programs_run_on_the_cores_of_affinity_only(workshop, device):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program("sleep=600.5"), "--affinity", "1", *chosen(device))
    with subprocess.Popen(workshop.command(*arguments)) as harness:
        wait_until(lambda: device.processes("sleep 600.5"))
        (pid,) = device.pids("sleep 600.5")
        assert os.sched_getaffinity(pid) == {1}
        os.kill(pid, signal.SIGTERM)
        assert harness.wait() == 0
    document, done = workshop.json(
        "--program", workshop.shell_program(), "--affinity", "0-99", *chosen(device)
    )
    assert done.returncode == 4
    assert "--affinity" in document["results"][0]["failure"]["message"]


def test_the_frequency_is_held_and_given_back_even_after_a_kill(workshop, android):
    workshop.benchmark()
    arguments = ("--set_frequency", "1200000", *chosen(android))
    program = workshop.shell_program("sleep=600.5")
    with subprocess.Popen(workshop.command("--program", program, *arguments)) as harness:
        wait_until(lambda: android.processes("600.5"))
        assert android.frequency("scaling_min_freq") == android.frequency("scaling_max_freq") == "1200000"
        harness.send_signal(signal.SIGKILL)
    _, done = workshop.json("--program", workshop.shell_program(), *chosen(android))
    assert done.returncode == 0, done.stderr
    assert android.frequency("scaling_min_freq") == "300000"
    assert android.frequency("scaling_max_freq") == "1800000"


def test_a_run_during_which_the_device_is_throttled_is_tainted(workshop, android):
    workshop.benchmark()
    arguments = ("--program", workshop.shell_program("sleep=1.75"), *chosen(android))
    with subprocess.Popen(
        workshop.command("--json", *arguments), stdout=subprocess.PIPE, text=True
    ) as harness:
        wait_until(lambda: android.processes("sleep 1.75"))
        android.set_frequency_limit(1_200_000)
        android.set_battery(level=86, temperature=30, powered=False)
        document = json.loads(harness.stdout.read())
    android.set_frequency_limit(1_800_000)
    android.set_battery(level=87, temperature=28.5, powered=True)
    assert set(document["results"][0]["meta"]["tainted"]) >= {
        "the limit of the CPU's frequency went from 1800 to 1200 MHz",
        "charging ended",
    }  # this machine's own load may taint it as well


def test_a_reboot_before_the_first_test(workshop, android):
    workshop.benchmark()
    before = (android.directory / "boot_id").read_text()
    _, done = workshop.json("--program", workshop.shell_program(), "--reboot", *chosen(android))
    assert done.returncode == 0, done.stderr
    assert (android.directory / "boot_id").read_text() != before


def test_health_and_cooldown(workshop, device):
    workshop.benchmark()
    """The time to cool down is so short that the device cannot be known to be steady."""
    arguments = ("--health_check", "--cooldown", "0.01", "--program", workshop.shell_program())
    document, done = workshop.json(*arguments, *chosen(device))
    assert done.returncode == 0, done.stderr
    assert "not steady after 0.01 s: too few readings" in document["results"][0]["meta"]["tainted"]
    (history,) = (workshop.directory / "XDG_STATE_HOME/ml-benchmark-platform/health").iterdir()
    ((_, seconds),) = json.loads(history.read_text())
    assert seconds > 0
