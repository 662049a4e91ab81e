"""Treatment against control as a user starts it: verdicts, reports, exit statuses, programs that misbehave."""

import json
import signal
import subprocess

import psutil
import pytest

from tests.support.workshop import COMMIT, OLDER, error_test

OPERATORS = {"ID_0_Conv_one": 1.0, "ID_1_FC_two": 1.0, "ID_2_Relu_three": 1.0}


@pytest.fixture
def compare(workshop):
    """Runs the harness on two made-up programs; gives its document and its process."""

    def run(*arguments, treatment=None, control=None, environment=None, **more):
        control = control or {}
        info = {
            "treatment": {**COMMIT, "program": str(workshop.worker_program("treatment", **treatment or {}))},
            "control": {**OLDER, "program": str(workshop.worker_program("control", **control))},
        }
        environment = {"COPIED_PROGRAM": json.dumps(control), **(environment or {})}
        arguments = ("--info", json.dumps(info), *arguments)
        return workshop.json(*arguments, environment=environment, **more)

    workshop.benchmark({"commands": {"caffe2": {"run_individual": "true"}}})
    return run


def verdicts(result):
    return {one["type"]: one["decision"]["verdict"] for one in result["types"] if "decision" in one}


def test_where_a_device_computes_its_own_clock_decides(compare):
    """By the wall the two are as fast; by the device's clock the treatment takes 5 % longer."""
    document, done = compare(
        *("--canary", "off"), treatment={"device_ns": 9_450_000}, control={"device_ns": 9_000_000}
    )
    assert done.returncode == 5, done.stderr
    result = document["results"][0]
    assert verdicts(result)["NET_DELAY"] == "regressed"
    assert result["meta"]["sampling"]["clock"] == "device"
    net = result["types"][0]
    for arm in ("", "control_"):
        assert len(net[f"{arm}device_values"]) == len(net[f"{arm}values"])
    assert net["device_values"][0] == pytest.approx(9450, rel=0.1)


def test_several_threads_are_timed_by_the_wall_whatever_their_cpu_time(compare):
    facts = {"facts": {"threads": 2}}
    document, _ = compare("--canary", "off", treatment=facts, control=facts)
    sampling = document["results"][0]["meta"]["sampling"]
    assert (sampling["clock"], sampling["clock_reason"]) == ("wall", "2 threads compute")


def test_identical_programs_are_unchanged(compare):
    document, done = compare(treatment={"operators": OPERATORS}, control={"operators": OPERATORS})
    assert done.returncode == 0, done.stderr
    (result,) = document["results"]
    assert verdicts(result)["NET_DELAY"] == "unchanged"
    assert "canary on " in done.stderr
    sampling = result["meta"]["sampling"]
    assert (sampling["level"], sampling["clock"]) == ("iteration", "cpu")
    assert sampling["canary"].startswith("the control compared with its own copy: unchanged")
    net = result["types"][0]
    assert len(net["values"]) == sampling["pairs"] * sampling["rounds"] == len(net["control_values"])
    assert len(net["cpu_values"]) == len(net["values"])
    assert len(sampling["conditions"]) == sampling["pairs"]
    assert {one["first"] for one in sampling["conditions"]} == {"treatment", "control"}
    assert net["summary"]["p50"] == pytest.approx(10_000, rel=0.02)


def test_a_slower_program_is_confirmed_with_its_operator(compare, workshop):
    slower = {name: 1.3 if name == "ID_1_FC_two" else 1.0 for name in OPERATORS}
    document, done = compare(
        *("--markdown", workshop.directory / "m.md", "--junit", workshop.directory / "j.xml"),
        treatment={"factor": 1.1, "operators": slower},
        control={"operators": OPERATORS},
    )
    assert done.returncode == 5, done.stderr
    first, verified, confirmed = document["results"]
    assert [one["meta"]["run_type"] for one in document["results"]] == ["benchmark", "verify", "regress"]
    assert verdicts(first)["NET_DELAY"] == verdicts(first)["ID_1_FC_two"] == "regressed"
    assert set(verdicts(verified)) == {"NET_DELAY", "ID_1_FC_two"}
    for one in verified["types"]:
        if one["type"] in verdicts(verified):
            assert one["confirmation"]["verdict"] == "regressed"
            assert one["confirmation"]["first"] != one["confirmation"]["second"]
    assert [one["type"] for one in confirmed["types"] if one.get("regressed")] == ["NET_DELAY", "ID_1_FC_two"]
    assert "**regressed**: NET_DELAY, ID_1_FC_two" in (workshop.directory / "m.md").read_text()
    assert "ID_1_FC_two" in (workshop.directory / "j.xml").read_text()


def test_a_faster_program_is_improved(compare):
    document, done = compare("--canary", "off", treatment={"factor": 0.9})
    assert done.returncode == 0
    assert verdicts(document["results"][0])["NET_DELAY"] == "improved"


@pytest.mark.parametrize(("fail_on", "status"), [("regressed", 0), ("inconclusive", 8), ("never", 0)])
def test_what_cannot_be_decided_is_inconclusive(compare, fail_on, status):
    noisy = {"noise": (0.5, 0.5)}
    document, done = compare(
        *("--canary", "off", "--alpha", "0.0001", "--max_pairs", "14", "--fail_on", fail_on),
        treatment=noisy,
        control=noisy,
    )
    assert done.returncode == status, done.stderr
    (result,) = document["results"]
    assert verdicts(result) == {"NET_DELAY": "inconclusive"}
    assert "can go unnoticed" in result["types"][0]["decision"]["reason"]


def test_never_means_that_a_regression_is_reported_but_not_by_the_exit_status(compare):
    document, done = compare("--canary", "off", "--fail_on", "never", treatment={"factor": 1.1})
    assert done.returncode == 0
    assert document["results"][-1]["types"][0]["regressed"] == 1


def test_programs_with_other_settings_are_not_judged(compare):
    document, done = compare("--canary", "off", treatment={"factor": 1.5, "facts": {"threads": 4}})
    assert done.returncode == 0
    decision = document["results"][0]["types"][0]["decision"]
    assert (decision["verdict"], decision["reason"]) == (
        "not comparable",
        "the two programs ran with threads 4 and 1",
    )
    _, done = compare(*("--canary", "off", "--fail_on", "inconclusive"), treatment={"facts": {"threads": 4}})
    assert done.returncode == 8


def test_a_canary_that_alarms_voids_the_verdicts(compare):
    control = {"copy_factor": 1.2}
    document, done = compare(treatment={"factor": 1.1}, control=control)
    assert done.returncode == 0, done.stderr
    assert len(document["results"]) == 1
    decision = document["results"][0]["types"][0]["decision"]
    assert decision["verdict"] == "inconclusive"
    assert decision["reason"].startswith("void, because the control differs from its own copy")


def test_a_canary_that_cannot_be_run_is_reported_and_has_no_other_effect(compare):
    document, done = compare(treatment={"factor": 1.1}, environment={"COPIED_PROGRAM": "{"})
    assert done.returncode == 5, done.stderr
    assert "the canary could not be run" in document["results"][0]["meta"]["sampling"]["canary"]


def test_wall_time_on_a_busy_machine_is_not_trusted_to_be_unchanged(compare):
    busy = {"wait_share": 0.2, "tells_cpu_time": False}
    document, _ = compare("--canary", "off", treatment=busy, control=busy)
    (result,) = document["results"]
    decision = result["types"][0]["decision"]
    assert decision["verdict"] == "inconclusive"
    assert "waited for a core for 17 % of the time" in decision["reason"]
    assert result["meta"]["sampling"]["clock_reason"] == "the program does not report its CPU time"
    busy["tells_cpu_time"] = True
    document, _ = compare("--canary", "off", treatment=busy, control=busy)
    assert verdicts(document["results"][0]) == {"NET_DELAY": "unchanged"}


@pytest.mark.parametrize(
    ("fault", "limit_s", "message"),
    [
        ({"dies_at": 20}, "100", "treatment: the program ended with exit status 9"),
        ({"hangs_at": 20}, "6", "treatment: the program did not answer within 6 s"),
        (
            {"garbage_at": 20},
            "100",
            "treatment: the program's answer does not follow the worker protocol: not a JSON object",
        ),
    ],
)
def test_a_worker_that_fails_in_the_middle_is_reported_and_its_samples_are_kept(
    compare, fault, limit_s, message
):
    arguments = ("--canary", "off", "--timeout", limit_s)
    document, done = compare(*arguments, treatment={"operators": OPERATORS, **fault})
    assert done.returncode == 3, done.stderr
    (result,) = document["results"]
    assert message in result["failure"]["message"]
    assert 0 < len(result["types"][0]["values"]) < 20
    if "dies_at" in fault:
        assert "out of luck" in result["failure"]["evidence"]
    left = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    assert not any("treatment.py" in line and "--worker" in line for line in left)


def test_two_programs_that_do_not_fit_into_memory_are_measured_one_after_the_other(compare, workshop):
    huge = {"rss_bytes": 2**50}
    document, done = compare("--canary", "off", "--ab_mode", "iteration", treatment=huge, control=huge)
    assert done.returncode == 3
    assert "do not fit into" in document["results"][0]["failure"]["message"]


def test_a_program_without_the_protocol_is_measured_as_whole_processes(workshop):
    workshop.benchmark()
    program = str(workshop.program())
    info = {"treatment": {**COMMIT, "program": program}, "control": {**OLDER, "program": program}}
    arguments = ("--info", json.dumps(info), "--canary", "off", "--ab_pairs", "8")
    document, done = workshop.json(*arguments)
    assert done.returncode == 0, done.stderr
    (result,) = document["results"]
    sampling = result["meta"]["sampling"]
    assert (sampling["level"], sampling["pairs"]) == ("process", 8)
    assert "does not speak the worker protocol" in sampling["level_reason"]
    assert verdicts(result) == {"NET_DELAY": "unchanged"}
    document, done = workshop.json(*arguments, "--ab_mode", "iteration")
    assert done.returncode == 3
    assert "does not speak the worker protocol" in document["results"][0]["failure"]["message"]


def test_a_larger_error_than_the_controls_is_a_regression(workshop):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n")
    workshop.benchmark(error_test())
    outputs = {"outputs": {"out": [1.0, 2.5]}}
    info = {
        "treatment": {**COMMIT, "program": str(workshop.program("wrong", **outputs))},
        "control": {**OLDER, "program": str(workshop.program("right", outputs={"out": [1.0, 2.0]}))},
    }
    document, done = workshop.json("--info", json.dumps(info))
    assert done.returncode == 5, done.stderr
    assert document["results"][-1]["types"][0]["regressed"] == 1


def test_an_interrupted_comparison_leaves_nothing(compare, workshop):
    hanging = {"hangs_at": 10}
    info = {
        "treatment": {**COMMIT, "program": str(workshop.worker_program("treatment", **hanging))},
        "control": {**OLDER, "program": str(workshop.worker_program("control"))},
    }
    command = workshop.command("--info", json.dumps(info), "--canary", "off", "--json")

    def alive(text):
        # Not by the processes' own methods: one that ends meanwhile makes them raise.
        return [
            one for one in psutil.process_iter(["cmdline"]) if text in " ".join(one.info["cmdline"] or ())
        ]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as harness:
        try:
            while not alive(str(workshop.directory / "treatment.py") + " "):
                assert harness.poll() is None
            harness.send_signal(signal.SIGINT)
            assert harness.wait(30) == 130
        finally:
            harness.kill()
    assert not alive(str(workshop.directory))


@pytest.mark.parametrize(
    ("option", "value"), [("alpha", "0.7"), ("max_pairs", "3"), ("target_change", "0"), ("beta", "2")]
)
def test_odd_values_are_reported(workshop, option, value):
    workshop.benchmark()
    done = subprocess.run(
        workshop.command(f"--{option}", value),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"--{option}" in done.stderr
    assert "Traceback" not in done.stderr
