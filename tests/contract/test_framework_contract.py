"""The requirements on every framework, for any program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarking.errors import ProgramExitError, ProgramOutputError, ProgramTimeoutError
from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.frameworks import FRAMEWORKS
from benchmarking.programs.command import Command, Outcome
from benchmarking.results.model import NET_DELAY
from tests.support import doc_examples
from tests.support.cases import case

LINE = doc_examples.module_of("writing_a_framework.md")

BLOCK = "Caffe2Observer Delay Start\nCaffe2Observer NET_DELAY - {} (us)\nCaffe2Observer Delay End\n"


@dataclass(frozen=True)
class Subject:
    framework: Any
    model_keys: tuple[str, ...]
    sample_output: str
    """Of three iterations: 10.5, 11 and 10 microseconds."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Below ``commands`` in the specification, where the framework cannot do without."""


SUBJECTS = {
    "caffe2": Subject(
        FRAMEWORKS["caffe2"](), ("init", "predict"), "".join(BLOCK.format(one) for one in (10.5, 11.0, 10.0))
    ),
    "onnxruntime": Subject(
        FRAMEWORKS["onnxruntime"](), ("model",), "".join(BLOCK.format(one) for one in (10.5, 11.0, 10.0))
    ),
    "generic": Subject(
        FRAMEWORKS["generic"](),
        ("model",),
        "".join(f"took {one} us\n" for one in (10.5, 11.0, 10.0)),
        {
            "command": "{program} {files.model} --runs {iter} --backend {backend} --save {output_files.softmax}",
            "pattern": r"took (?P<value>[\d.]+) (?P<unit>\w+)",
        },
    ),
    "litert": Subject(
        FRAMEWORKS["litert"](), ("model",), "".join(BLOCK.format(one) for one in (10.5, 11.0, 10.0))
    ),
    "openvino": Subject(
        FRAMEWORKS["openvino"](),
        ("model", "weights"),
        "".join(BLOCK.format(one) for one in (10.5, 11.0, 10.0)),
    ),
    "executorch": Subject(
        FRAMEWORKS["executorch"](), ("model",), "".join(BLOCK.format(one) for one in (10.5, 11.0, 10.0))
    ),
    "pytorch": Subject(
        FRAMEWORKS["pytorch"](), ("model",), "".join(BLOCK.format(one) for one in (10.5, 11.0, 10.0))
    ),
    "line": Subject(LINE.LineFramework(), ("model",), LINE.SAMPLE_OUTPUT),
}


def test_every_framework_is_under_contract():
    assert set(SUBJECTS) >= set(FRAMEWORKS)


@pytest.fixture(params=sorted(SUBJECTS))
def subject(request):
    return SUBJECTS[request.param]


def case_of(subject, **changes):
    model_format = next(iter(subject.framework.formats), subject.framework.name)
    values = {"commands": {subject.framework.name: subject.options}} | changes
    return case(model_format, subject.model_keys, **values)


def invocation(subject, one, **changes):
    values = {
        "case": one,
        "launcher": ("/device/python", "/device/program"),
        "model_files": {key: f"/device/it's a {key}" for key in subject.model_keys},
        "input_files": {},
        "timeout_s": 12.0,
    }
    return Invocation(**(values | changes))


def outcome(exit_code=0, stdout="", stderr=""):
    return Outcome(Command(("program",), timeout_s=1.0), exit_code, stdout, stderr, 0.1)


def test_a_valid_case_has_no_faults(subject):
    assert list(subject.framework.check(case_of(subject))) == []


def test_faults_have_a_place(subject):
    one = case_of(subject, model_files={})
    faults = list(subject.framework.check(one))
    assert faults
    assert all(fault.file == "tiny.json" and fault.json_path.startswith("$") for fault in faults)


def test_a_command_is_the_launcher_and_a_list_of_arguments(subject):
    command = subject.framework.compose(invocation(subject, case_of(subject)))
    assert command.argv[:2] == ("/device/python", "/device/program")
    assert all(isinstance(argument, str) for argument in command.argv)
    for key in subject.model_keys:
        assert f"/device/it's a {key}" in command.argv
    assert command.timeout_s == 12.0


@pytest.mark.parametrize("forks", [False, True])
def test_a_worker_is_started_as_any_run_or_there_is_none(subject, forks):
    started = invocation(subject, case_of(subject))
    worker = subject.framework.compose_worker(started, forks=forks)
    if worker is None:
        return
    run = subject.framework.compose(started)
    assert worker != run
    assert worker.argv[:2] == ("/device/python", "/device/program")
    assert {f"/device/it's a {key}" for key in subject.model_keys} <= set(worker.argv)
    assert worker.timeout_s == run.timeout_s
    assert run.environment.items() <= worker.environment.items()
    assert worker != subject.framework.compose_worker(started, forks=not forks)


def test_the_command_lines_backend_wins(subject):
    one = case_of(subject, commands={subject.framework.name: {**subject.options, "backend": "eigen"}})
    assert subject.framework.backend(one, None) == "eigen"
    assert subject.framework.backend(one, "mkl") == "mkl"
    assert "eigen" in subject.framework.compose(invocation(subject, one)).argv
    argv = subject.framework.compose(invocation(subject, one, backend="mkl")).argv
    assert "mkl" in argv
    assert "eigen" not in argv


def test_outputs_are_asked_for_where_they_are_wanted(subject):
    one = case_of(subject, golden_files={"softmax": None})
    argv = subject.framework.compose(invocation(subject, one, output_directory="/device/out")).argv
    file = f"/device/out/{subject.framework.output_file('softmax')}"
    assert {"/device/out", file} & set(argv)
    assert not {"/device/out", file} & set(subject.framework.compose(invocation(subject, one)).argv)


def test_samples_come_in_time_order_in_microseconds(subject):
    report = subject.framework.parse(outcome(stdout=subject.sample_output), case_of(subject))
    net = report.measurements[0]
    assert (net.type, net.unit, net.values) == (NET_DELAY, "us", (10.5, 11.0, 10.0))


@pytest.mark.parametrize("iterations", [2, 4])
def test_another_number_of_samples_is_an_error_with_the_log(subject, iterations):
    with pytest.raises(ProgramOutputError, match=rf"\b3 of {iterations} samples") as caught:
        subject.framework.parse(
            outcome(stdout=subject.sample_output), case_of(subject, iterations=iterations)
        )
    assert subject.sample_output.splitlines()[-1] in caught.value.evidence


def test_a_program_that_failed_is_an_error_with_the_log(subject):
    with pytest.raises(ProgramExitError, match=r"ended with (exit )?status 7") as caught:
        subject.framework.parse(outcome(exit_code=7, stderr="the reason"), case_of(subject))
    assert "the reason" in caught.value.evidence
    with pytest.raises(ProgramTimeoutError):
        subject.framework.parse(outcome(exit_code=None), case_of(subject))


@pytest.mark.parametrize("blob", ["softmax", "gpu_0/softmax", "../x", ".hidden", "a b", "ü"])
def test_output_files_stay_in_their_directory(subject, blob):
    name = subject.framework.output_file(blob)
    assert "/" not in name
    assert not name.startswith(".")
    assert name != subject.framework.output_file(blob + "x")


def test_tensors_are_read_flat(subject, tmp_path):
    path = tmp_path / "tensor.txt"
    path.write_text("1.5\n-2\n3e-3\n")
    assert subject.framework.read_tensor(path).tolist() == [1.5, -2.0, 0.003]
    path.write_text("1.5\nnonsense\n")
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(ProgramOutputError):
            subject.framework.read_tensor(wrong)
