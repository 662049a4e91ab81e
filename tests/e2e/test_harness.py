"""The harness as a user starts it: runs from end to end, A/B, regressions, errors against golden values."""

import json
import re
import shutil
import time
import xml.etree.ElementTree as ElementTree

import pytest

from tests.support.workshop import COMMIT, OLDER, ROOT, error_test, records


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


def ab_info(workshop, **more):
    treatment = workshop.program("treatment", delay_us=220, record=str(workshop.directory / "record"))
    control = workshop.program("control", delay_us=200, record=str(workshop.directory / "record"))
    return json.dumps(
        {"treatment": COMMIT | {"program": str(treatment)}, "control": OLDER | {"program": str(control)}}
        | more
    )


def test_ab_runs_pairs_and_keeps_their_samples_apart(workshop):
    workshop.benchmark()
    document, done = workshop.json(
        "--info",
        ab_info(workshop),
        "--ab_pairs",
        "6",
        "--seed",
        "1",
        "--ab_mode",
        "process",
        "--canary",
        "off",
    )
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
        '{"treatment": {"commit": "a", "commit_time": 9007199254740993}}': "$.treatment.commit_time",
        '{"treatment": {"commit": "a"}}': "$.treatment: commit and commit_time go together",
        "@nonesuch": "nonesuch",
    }.items():
        done = workshop.run("--info", text)
        assert done.returncode == 2
        assert part in done.stderr
        assert "Traceback" not in done.stderr


def test_two_programs_are_compared_without_a_commit(workshop):
    workshop.benchmark()
    info = {
        name: {"program": str(workshop.program(name, delay_us=delay))}
        for name, delay in (("treatment", 220), ("control", 200))
    }
    arguments = ("--info", json.dumps(info), "--ab_pairs", "1", "--local_reporter", workshop.results)
    before = int(time.time())
    document, done = workshop.json(*arguments)
    assert done.returncode == 0, done.stderr
    meta = document["results"][0]["meta"]
    assert re.fullmatch(r"treatment\.py-[0-9a-f]{12}", meta["commit"])
    assert re.fullmatch(r"control\.py-[0-9a-f]{12}", meta["control_commit"])
    assert meta["commit_time"] >= before
    assert len(list(workshop.results.rglob(meta["commit"]))) == 1
    again, _ = workshop.json(*arguments)
    assert again["results"][0]["meta"]["commit"] == meta["commit"]


def test_a_control_that_fails_does_not_lose_the_treatment(workshop):
    workshop.benchmark()
    info = json.loads(ab_info(workshop))
    workshop.program("control", exit_code=7)
    document, done = workshop.json("--info", json.dumps(info), "--ab_pairs", "1", "--seed", "2")
    assert done.returncode == 3
    result = document["results"][0]
    assert result["failure"]["message"] == "control: the program ended with exit status 7"


def test_a_suspicion_is_verified_and_confirmed(workshop):
    workshop.benchmark()
    commits = [{"commit": f"c{number}", "commit_time": 1521400000 + number} for number in (4, 3, 2, 1)]
    for commit in commits:
        info = json.dumps({"treatment": commit | {"program": str(workshop.program("good", delay_us=100))}})
        assert workshop.run("--info", info, "--local_reporter", workshop.results).returncode == 0

    def run(delay_us):
        program = workshop.program("newest", delay_us=delay_us)
        info = {"treatment": COMMIT | {"program": str(program)}, "regression_commits": commits}
        options = ("--local_reporter", workshop.results, "--junit", "j.xml", "--markdown", "m.md")
        return workshop.json("--info", json.dumps(info), *options)

    document, done = run(100)
    assert ([one["meta"]["run_type"] for one in document["results"]], done.returncode) == (["benchmark"], 0)
    document, done = run(150)
    assert [one["meta"]["run_type"] for one in document["results"]] == ["benchmark", "verify", "regress"]
    assert [one["types"][0].get("regressed") for one in document["results"]] == [None, None, 1]
    assert done.returncode == 5
    (case,) = ElementTree.parse(workshop.directory / "j.xml").getroot().findall(".//testcase")
    assert case.find("failure").get("message") == "regressed: NET_DELAY"
    assert [line.split(":")[0] for line in case.find("system-out").text.splitlines()] == [
        "benchmark",
        "verify",
        "regress",
    ]
    assert (workshop.directory / "m.md").read_text().count("| delay 0") == 1
    assert "1 regressed in" in done.stderr


def test_the_detector_of_change_points_reports_a_step_once_enough_runs_show_it(workshop):
    """By the p90s of the earlier runs, the newest is as usual: six of them are as slow."""
    workshop.benchmark()
    commits = [{"commit": f"c{number}", "commit_time": 1521400000 + number} for number in range(19)]
    program = str(workshop.program(delay_us=1000))
    for number, commit in enumerate(commits):
        info = {"treatment": commit | {"program": program}}
        if number == 0:
            workshop.json("--info", json.dumps(info), "--local_reporter", workshop.results)
            (first,) = workshop.results.glob("*/caffe2/tiny/delay/0/2018/3/18/c0")
            continue
        copy = first.with_name(commit["commit"])
        shutil.copytree(first, copy)
        meta = json.loads((copy / "0/meta.txt").read_text())
        (copy / "0/meta.txt").write_text(json.dumps(meta | commit))
        types = json.loads((copy / "0/NET_DELAY.txt").read_text())
        types["summary"]["p50"] = (1000 if number < 13 else 1050) + number % 3
        types["summary"]["p90"] = 1060
        (copy / "0/NET_DELAY.txt").write_text(json.dumps(types))
    program = str(workshop.program("newest", delay_us=1050))
    info = {"treatment": COMMIT | {"program": program}, "regression_commits": commits[::-1]}
    run_types = {}
    for detector in ("p50_p90", "change_points"):
        options = ("--info", json.dumps(info), "--local_reporter", workshop.results, "--detector", detector)
        document, done = workshop.json(*options)
        run_types[detector] = [one["meta"]["run_type"] for one in document["results"]], done.returncode
    assert run_types["p50_p90"] == (["benchmark"], 0)
    assert run_types["change_points"] == (["benchmark", "verify", "regress"], 5)
    assert "a step from" in done.stderr


def test_an_error_larger_than_the_controls_is_a_regression_of_its_own(workshop):
    (workshop.directory / "golden.txt").write_text("1.0\n2.0\n4.0\n")
    workshop.benchmark(error_test())

    def run(treatment, control):
        outputs = {"treatment": treatment, "control": control}
        arms = {
            name: {"program": str(workshop.program(name, outputs={"out": [1.0, value, 4.0]}))}
            for name, value in outputs.items()
        }
        info = {
            "treatment": COMMIT | arms["treatment"],
            "control": OLDER | arms["control"],
            "regression_commits": [OLDER],
        }
        document, done = workshop.json("--info", json.dumps(info), "--local_reporter", workshop.results)
        return [one["meta"]["run_type"] for one in document["results"]], done.returncode

    assert run(2.001, 2.001) == (["benchmark"], 0)
    assert run(2.000001, 2.0) == (["benchmark"], 0)
    assert run(2.001, 2.0) == (["benchmark", "verify", "regress"], 5)


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
    failure = document["results"][0]["failure"]
    assert failure["error"] == error
    if error == "CaseError":
        golden = workshop.directory / "golden.txt"
        assert failure["message"] == f"the output 'out' has 2 values, but the golden file {golden} has 3"


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


def test_nets_that_are_the_wrong_way_round_are_said_to_be(workshop):
    lenet = ROOT / "specifications/models/caffe2/lenet"
    spec = json.loads((lenet / "lenet.json").read_text())
    files = spec["model"]["files"]
    files["init"], files["predict"] = files["predict"], files["init"]
    for one in files.values():
        one["location"] = str(lenet / one["location"])
    delay = {
        "identifier": "d",
        "metric": "delay",
        "iter": 1,
        "inputs": {"data": {"shapes": [[1, 1, 28, 28]]}},
    }
    swapped = workshop.directory / "swapped.json"
    swapped.write_text(json.dumps(spec | {"tests": [delay]}))
    document, done = workshop.json(benchmark=swapped)
    assert done.returncode == 3
    message = document["results"][0]["failure"]["message"]
    assert message.startswith(
        "the program ended with exit status 1: --init_net and --net are the wrong way round"
    )
