"""Files of the later form of specifications, with everything that they have; written for this test."""

import copy
import json

import pytest

from benchmarking.errors import SpecificationError
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks

CAFFE2_LINE = (
    "{program} --net {files.predict} --init_net {files.init} --warmup {warmup} --iter {iter} "
    '--input "a/data" --input_dims "1,3,8,8" --input_type float --run_individual true'
)
LATER = {
    "model": {
        "name": "tiny",
        "category": "CNN",
        "kind": "deployment",
        "format": "caffe2",
        "files": {
            "init": {"filename": "init.pb", "location": "{MODEL_DIR}/init.pb", "md5": ""},
            "predict": {"filename": "predict.pb", "location": "https://host/predict.pb", "md5": ""},
        },
        "cooldown": 30,
        "timeout": 500,
        "batch_size": "4",
        "total_images": 1000,
        "images_per_iter": "{total_images}/{repeat}",
        "log_output": "true",
        "dataset_dir": "{DATA}/images",
    },
    "tests": [
        {
            "identifier": "{ID}",
            "metric": "delay",
            "iter": 50,
            "warmup": 1,
            "commands": [CAFFE2_LINE],
            "platform_args": {"taskset": "f0", "sleep_before_run": 40},
        },
        {
            "identifier": "files-{ID}",
            "metric": "delay",
            "iter": 5,
            "arguments": "{program} --batch={batch_size} --in '{input_files.images}' "
            "--out {output_files.softmax} --to {TGTDIR} --net {files.predict}",
            "input_files": {"images": {"filename": "i.pb", "location": "https://host/i.pb", "md5": "a" * 32}},
            "output_files": {"softmax": {"filename": "s.txt", "location": "{TGTDIR}/s.txt"}},
            "log_output": "true",
        },
        {
            "identifier": "power",
            "metric": "power",
            "iter": 1000,
            "commands": ["{program} --nobody_knows {THIS}"],
            "collection_time": 310,
            "voltage": 4.2,
            "method": "software",
        },
        {
            "identifier": "accuracy",
            "metric": "accuracy",
            "iter": 1,
            "commands": [CAFFE2_LINE],
            "input_files": {"images": {"filename": "i.pb", "location": "{HOSTDIR}/i.pb"}},
            "preprocess": {"commands": ["awk '{print > \"{HOSTDIR}/{INDEX}\"}'"]},
            "postprocess": {"commands": ["{FAIPEPROOT}/compare.py --name {name}"]},
        },
        {
            "identifier": "shell",
            "metric": "delay",
            "iter": 1,
            "commands": [CAFFE2_LINE],
            "preprocess": {"commands": ["true"]},
        },
    ],
}


def cases_of(tmp_path, spec):
    file = tmp_path / "b.json"
    file.write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return expand(read_benchmarks(file), tmp_path / "models")


def changed_test(number, **changes):
    spec = copy.deepcopy(LATER)
    spec["tests"] = [spec["tests"][number] | changes]
    return spec


def test_everything_in_a_file_is_read_as_it_means(tmp_path):
    whole, files, power, accuracy, shell = cases_of(tmp_path, LATER)
    assert whole.template.command.words[:5] == (
        *("{program}", "--net", "{files.predict}", "--init_net", "{files.init}"),
    )
    assert whole.template.options["run_individual"] == "true"
    assert whole.template.options["input"] == "a/data"
    assert (whole.iterations, whole.warmup) == (50, 1)
    assert (whole.affinity_mask, whole.cooldown_s, whole.timeout_s) == (0xF0, 40, 500)
    assert whole.model_files["init"].path == tmp_path / "models/init.pb"
    assert files.template.input_files["images"].location.value == "https://host/i.pb"
    assert files.template.input_files["images"].md5 == "a" * 32
    assert files.template.output_files == {"softmax": "s.txt"}
    assert files.template.variables["batch_size"] == "4"
    assert (files.identifier, files.cooldown_s) == ("files-1", 30)
    assert [case.refusal for case in (whole, files)] == [None, None]
    assert "power is not supported" in power.refusal
    assert "accuracy is not supported" in accuracy.refusal
    assert "shell commands before or after it are not run; --allow_commands permits them" in shell.refusal


def test_a_file_of_nothing_that_is_run_needs_none_of_its_files(tmp_path):
    file = tmp_path / "b.json"
    file.write_text(json.dumps(changed_test(2)))
    (case,) = expand(read_benchmarks(file), None)
    assert case.refusal is not None


@pytest.mark.parametrize("dict_first", [True, False])
def test_commands_twice_are_a_command_line_and_options(tmp_path, dict_first):
    both = ['"commands": {"tflite": {"num_threads": "4"}}', f'"commands": {json.dumps([CAFFE2_LINE])}']
    text = json.dumps(changed_test(0)).replace(both[1], ", ".join(both if dict_first else reversed(both)))
    (case,) = cases_of(tmp_path, text)
    assert case.commands == {"tflite": {"num_threads": "4"}}
    assert case.template.command.words[0] == "{program}"


@pytest.mark.parametrize(
    "twice",
    [
        '"commands": ["{program}"], "commands": ["{program} x"]',
        '"commands": {}, "commands": {}',
        '"commands": {}, "commands": ["{program}"], "commands": ["{program}"]',
        '"commands": {}, "commands": ["{program}"], "arguments": "{program}"',
        '"commands": {}, "commands": ["{program}"], "iter": 1, "iter": 1',
    ],
)
def test_other_keys_that_come_twice_are_a_fault(tmp_path, twice):
    with pytest.raises(SpecificationError, match="is given twice in one object"):
        cases_of(tmp_path, "{" + twice + "}")


def test_each_repetition_is_a_test_with_its_number(tmp_path):
    spec = changed_test(0, identifier="{INDEX}-{ID}", commands=["{program} {INDEX} {repeat}"])
    spec["model"]["repeat"] = 3
    cases = cases_of(tmp_path, spec)
    assert [case.identifier for case in cases] == ["0-0", "1-1", "2-2"]
    assert [case.template.variables["INDEX"] for case in cases] == ["0", "1", "2"]


PLAIN = {"identifier": "{ID}", "metric": "delay", "iter": 1}


def test_tests_without_a_command_line_have_the_conditions_too(tmp_path):
    spec = copy.deepcopy(LATER)
    inputs = {"data": {"shapes": [[1], [2]]}}
    spec["tests"] = [PLAIN | {"inputs": inputs, "platform_args": {"taskset": "0x3"}}]
    spec["model"]["repeat"] = 2
    cases = cases_of(tmp_path, spec)
    assert [case.inputs[0].shape for case in cases] == [(1,), (2,), (1,), (2,)]
    assert {(case.affinity_mask, case.timeout_s, case.template) for case in cases} == {(3, 500, None)}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"commands": ["{program} 'x"]}, 'commands[0]: "{program} \'x" cannot be split into words'),
        ({"commands": ["rm -rf {program}"]}, "commands[0]: the command line has to begin with {program}"),
        (
            {"commands": ["{program} {files.graph}"]},
            "commands[0]: {files.graph} is unknown; known are",
        ),
        ({"commands": ["{program} {HOSTDIR}"]}, "commands[0]: {HOSTDIR} is unknown"),
        ({"commands": ["{program} \0"]}, "commands[0]: a program's argument cannot contain a NUL"),
        ({"commands": []}, "commands: []: list should have at least 1 item"),
        ({"commands": ["{program}" * 100_000]}, 'commands[0]: "{program}{program}'),
        ({"commands": [1]}, "commands[0]: a string is expected, not 1"),
        ({"commands": 1}, "commands: an object is expected, not 1"),
        ({"platform_args": {"taskset": "0"}}, "platform_args.taskset: the mask has no core in it"),
        ({"platform_args": {"taskset": "g"}}, 'platform_args.taskset: "g" is not a hexadecimal mask'),
        ({"platform_args": {"taskset": "f" * 65}}, "platform_args.taskset: "),
        ({"platform_args": {"taksset": "f"}}, "platform_args.taksset: unknown key 'taksset'; did you mean"),
        ({"input_files": {"x": ["a", "b"]}}, "input_files.x: a whole command line takes one file"),
        (
            {"input_files": {"x": {"filename": "a", "location": "a", "md": ""}}},
            "input_files.x.md: unknown key 'md'; did you mean 'md5'?",
        ),
        (
            {"output_files": {"x": "out.txt"}},
            "output_files.x.location: an output of a command line has to be in",
        ),
        (
            {"output_files": {"x": {"filename": "x", "location": "{TGTDIR}/../x"}}},
            "output_files.x.location: an output",
        ),
        (
            {"output_files": {"x": {"filename": "x", "location": "{TGTDIR}/.."}}},
            "output_files.x.location: an",
        ),
        ({"collection_time": -1}, "collection_time: -1: should be greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_a_fault_with_its_place(tmp_path, changes, fault):
    with pytest.raises(SpecificationError) as caught:
        cases_of(tmp_path, changed_test(0, **changes))
    (found,) = caught.value.faults
    assert f"{found.json_path}: {found.message}".startswith(f"$.tests[0].{fault}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"commands": [CAFFE2_LINE, CAFFE2_LINE]}, "it has 2 command lines; a test runs one"),
        ({"metric": "error"}, "a whole command line needs the metric delay, not error"),
    ],
)
def test_what_is_not_run_costs_its_own_test(tmp_path, changes, reason):
    (case,) = cases_of(tmp_path, changed_test(0, **changes))
    assert case.refusal.startswith(reason)


def test_few_lines_do_not_become_more_than_memory_holds(tmp_path):
    spec = changed_test(0)
    spec["model"]["repeat"] = 10**9
    with pytest.raises(SpecificationError, match="1000000000 cases"):
        cases_of(tmp_path, spec)


def test_a_suite_adds_words_to_every_command_line(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(LATER))
    suite = {"meta": {"group": "MKL", "command_args": "--backend mkl --tag 'a b'"}, "benchmarks": ["b.json"]}
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    whole, *_ = expand(read_benchmarks(tmp_path / "suite.json"), tmp_path)
    assert whole.template.command.words[-4:] == ("--backend", "mkl", "--tag", "a b")
    assert Caffe2().backend(whole, None) == "mkl"
    (refused,) = cases_of(tmp_path, {"model": LATER["model"] | suite["meta"], "tests": [PLAIN]})
    assert refused.refusal.startswith("command_args needs a command line")
