"""Which arms a test has where several frameworks are compared."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from benchmarking.driver.arms import LocalFiles, names_in_model
from benchmarking.driver.lineup import FoundBackends
from benchmarking.driver.plan import Arm, Contender, ManyBackends, RunPlan
from benchmarking.errors import CaseError
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.framework_base import BackendStatus
from benchmarking.frameworks.onnxruntime.onnxruntime import OnnxRuntime
from benchmarking.programs.command import Program
from benchmarking.specs.location import Location
from benchmarking.specs.model import FileSpec, FormatSpec, ModelSpec
from tests.support.cases import case


def available(*names):
    return tuple(BackendStatus(name, available=True) for name in names)


CAFFE2, ONNXRUNTIME = (
    Contender(kind(), Arm("abc", 1, Program(Path(kind.name)))) for kind in (Caffe2, OnnxRuntime)
)
STATUSES = {
    "caffe2": (*available("default", "mkl"), BackendStatus("cuda", available=False, reason="no card")),
    "onnxruntime": available("basic", "default"),
}
KEYS = {"caffe2": ("init", "predict"), "onnx": ("model",)}


@dataclass(frozen=True)
class Bench:
    """What a lineup looks at."""

    plan: RunPlan = field(
        default_factory=lambda: RunPlan(CAFFE2.framework, CAFFE2.arm, None, ("harness.py",), seed=1)
    )

    def planned(self, plan):
        return Bench(plan)


def test_case(*formats):
    specs = {
        name: FormatSpec(
            files={key: FileSpec(filename=f"{key}.pb", location=key, md5="0" * 32) for key in KEYS[name]}
        )
        for name in formats
    }
    model = ModelSpec(name="tiny", formats=specs).in_format(formats[0])
    locations = {name: {key: Location(f"/models/{key}") for key in KEYS[name]} for name in formats}
    return case(model=model, model_files=locations[formats[0]], formats=locations)


test_case.__test__ = False
BOTH = test_case("caffe2", "onnx")


def lineup(names=None, reference=None, tested=BOTH, **more):
    wanted = ManyBackends(names, reference, contenders=(CAFFE2, ONNXRUNTIME))
    bench = Bench()
    found = FoundBackends(**{"statuses": STATUSES, **more})
    return found.lineup(Bench(replace(bench.plan, backends=wanted)), tested)


def arms(line):
    return [arm.name for arm in line.arms]


def test_each_framework_has_its_own_program_backend_and_format():
    line = lineup()
    assert (arms(line), line.reference, line.unavailable) == (["caffe2", "onnxruntime"], "caffe2", {})
    plans = [arm.bench.plan for arm in line.arms]
    assert [plan.framework.name for plan in plans] == ["caffe2", "onnxruntime"]
    assert [plan.treatment.program.path.name for plan in plans] == ["caffe2", "onnxruntime"]
    assert [plan.backend for plan in plans] == [None, None]
    assert [arm.case.model.format for arm in line.arms] == ["caffe2", "onnx"]
    assert [set(arm.case.model_files) for arm in line.arms] == [{"init", "predict"}, {"model"}]


def test_all_backends_of_all_frameworks():
    line = lineup(())
    assert arms(line) == ["caffe2/default", "caffe2/mkl", "onnxruntime/basic", "onnxruntime/default"]
    assert [arm.bench.plan.backend for arm in line.arms] == ["default", "mkl", "basic", "default"]
    assert (line.reference, line.unavailable) == ("caffe2/default", {"caffe2/cuda": "no card"})


@pytest.mark.parametrize(
    ("names", "expected", "unavailable"),
    [
        (("default",), ["caffe2/default", "onnxruntime/default"], {}),
        (("basic", "default"), ["caffe2/default", "onnxruntime/basic", "onnxruntime/default"], {}),
        (("caffe2/mkl", "onnxruntime/basic"), ["caffe2/mkl", "onnxruntime/basic"], {}),
        (("default", "caffe2/default"), ["caffe2/default", "onnxruntime/default"], {}),
        (
            ("default", "cuda12", "caffe2/fast"),
            ["caffe2/default", "onnxruntime/default"],
            dict.fromkeys(("cuda12", "caffe2/fast"), "no framework that runs here has it"),
        ),
        (
            ("mkl", "cuda"),
            ["caffe2/mkl"],
            {
                "caffe2/cuda": "no card",
                "onnxruntime": "it has none of the requested backends: mkl, cuda",
            },
        ),
    ],
)
def test_backends_that_are_named(names, expected, unavailable):
    line = lineup(names)
    assert (arms(line), line.unavailable) == (expected, unavailable)


def test_a_program_that_does_not_list_its_backends_has_those_of_its_framework():
    assert arms(lineup(("default", "mkl"), statuses={"caffe2": None, "onnxruntime": None})) == [
        "caffe2/default",
        "caffe2/mkl",
        "onnxruntime/default",
    ]


@pytest.mark.parametrize(
    ("wanted", "reference"),
    [
        (None, "caffe2/default"),
        ("caffe2/mkl", "caffe2/mkl"),
        ("onnxruntime", "onnxruntime/default"),
        ("basic", "onnxruntime/basic"),
        ("mkl", "caffe2/mkl"),
        ("litert", "caffe2/default"),  # it cannot run this test
    ],
)
def test_the_reference(wanted, reference):
    assert lineup((), wanted).reference == reference


def test_what_cannot_run_a_test_is_a_line_with_its_reason():
    line = lineup((), tested=test_case("onnx"))
    assert (arms(line), line.reference) == (
        ["onnxruntime/basic", "onnxruntime/default"],
        "onnxruntime/default",
    )
    assert line.unavailable == {"caffe2": "'onnx' cannot be run by the framework caffe2"}
    missing = {"caffe2": "the package torch is missing"}
    line = lineup((), statuses={"onnxruntime": STATUSES["onnxruntime"]}, unusable=missing)
    assert (len(line.arms), line.unavailable) == (2, missing)
    with pytest.raises(
        CaseError, match=r"none of the frameworks can run this test: caffe2: .*; onnxruntime: "
    ):
        lineup(("mkl",), tested=test_case("onnx"))


class Renaming(OnnxRuntime):
    """Its files have other names for their outputs."""

    own = ()

    def model_outputs(self, model_files):
        return self.own


@pytest.mark.parametrize(
    ("own", "formats", "expected"),
    [
        (("Identity", "Identity_1"), BOTH.formats, ("Identity", "Identity_1")),
        (("b", "a", "c"), BOTH.formats, ("a", "b")),
        (("Identity",), BOTH.formats, ("a", "b")),  # what the program says of that is clearer
        ((), BOTH.formats, ("a", "b")),
        (("Identity", "Identity_1"), {}, ("a", "b")),  # its only format: the names are mistakes
    ],
)
def test_outputs_that_another_format_names_otherwise_are_matched_by_their_order(own, formats, expected):
    framework = Renaming()
    framework.own = own
    tested = replace(BOTH, formats=formats)
    assert names_in_model(framework, tested, LocalFiles({}, {}, {}), ("a", "b")) == expected
