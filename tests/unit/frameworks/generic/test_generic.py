"""Any program that prints how long it took."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.errors import ProgramOutputError, ProgramStartError
from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.generic import json_path
from benchmarking.frameworks.generic.generic import Generic
from benchmarking.frameworks.onnxruntime.onnxruntime import OnnxRuntime
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.command_template import CommandTemplate
from benchmarking.specs.expand import InputBlob
from benchmarking.specs.later_form import InputFile, TemplateRun
from benchmarking.specs.location import Location
from tests.support.cases import case

COMMAND = "{program} --graph={files.graph}"
GENERIC = Generic()


def case_of(options=None, **changes):
    commands = {"generic": {"command": COMMAND} | (options or {})}
    return case("any", ("graph",), **({"commands": commands} | changes))


def faults(options=None, **changes):
    return [
        f"{one.json_path.removeprefix('$.tests[0].commands.generic')}: {one.message}"
        for one in GENERIC.check(case_of(options, **changes))
    ]


def argv(command, **changes):
    values = {
        "case": case_of({"command": command, "threads": 2}),
        "launcher": ("python3", "/program.py"),
        "model_files": {"graph": "/a graph"},
        "input_files": {"data": "/data.npy"},
    }
    return GENERIC.compose(Invocation(**(values | changes))).argv


def parsed(text, options, iterations=3, stream="stdout"):
    outcome = Outcome(
        Command(("program",)), 0, **({"stdout": "", "stderr": ""} | {stream: text}), duration_s=0.1
    )
    return GENERIC.parse(outcome, case_of(options, iterations=iterations))


def times(report):
    return {one.type: pytest.approx(one.values) for one in report.measurements}


# --- what can be run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "benchmark {files.graph}"}, ".command: its first word has to be {program}, the program that"),
        ({"command": "{program} 'x"}, ".command: \"{program} 'x\" cannot be split into words: No closing quotation"),
        ({"command": ""}, ".command: a command needs at least one word"),
        ({"command": "{program} {files.grahp}"}, ".command: {files.grahp} has no value; known are"),
        ({"command": "{program} {input_files.x}"}, ".command: {input_files.x} has no value"),
        ({"comand": "x"}, ".comand: the framework generic has no such option; did you mean command?"),
        ({"format": "nonesuch"}, ".format: 'nonesuch' is not one of process, observer, google_benchmark, hyperf"),
        ({"format": "jmh", "pattern": "(?P<value>.)"}, ".pattern: format and pattern exclude each other"),
        ({"format": "jmh", "unit": "s"}, ".unit: only pattern and json_path use it"),
        ({"pattern": "took ("}, ".pattern: it is not a Python regular expression: missing )"),
        ({"pattern": "took .*"}, ".pattern: it has no group (?P<value>...), which is the time"),
        ({"pattern": r"(?P<value>(\d+,)+)"}, ".pattern: a group is repeated in it, which may take forever"),
        ({"pattern": r"(?P<value>(a|aa){2,})"}, ".pattern: a group is repeated in it, which may take forever"),
        ({"pattern": r"(?P<value>\d+)"}, ".unit: missing: the unit of the times, one of ns, us, ms, s"),
        ({"json_path": "a"}, ".unit: missing: the unit of the times, one of ns, us, ms, s"),
        ({"json_path": "a[x]", "unit": "s"}, ".json_path: 'a[x]' is not a path such as results[0].times[*] (see character 2)"),
        ({"json_path": "a", "unit": "min"}, ".unit: 'min' is not one of ns, us, ms, s"),
    ],
)  # fmt: skip
def test_a_fault_names_its_place(options, message):
    found = faults(options)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_whole_process_is_one_iteration():
    options = {"format": "process"}
    assert faults(options, iterations=2) == [".format: a whole process is one iteration; the test has 2"]
    assert faults(options, iterations=1) == []


def test_a_command_has_to_be_there():
    assert faults(commands={}) == [
        ".command: missing: how the program is called, as in {program} --model={files.model}"
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": "observer"},
        {"pattern": r"(?P<value>[\d()*]+) (?P<unit>\w+)"},
        {"pattern": r"\)+(?P<value>\d+)(?:ms)?", "unit": "ms"},
        {"json_path": "$", "unit": "ns"},
        {"command": "{program} {iter} {warmup} {threads} {backend} {output_files.any}"},
    ],
)
def test_what_is_right_has_no_fault(options):
    assert faults(options) == []


def test_outputs_that_are_compared_have_a_place_in_the_command():
    golden = {"golden_files": {"y": Location("/y.txt")}}
    assert faults({"command": "{program} {output_files.y}"}, **golden) == []
    assert faults({"command": "{program}"}, **golden) == [
        ".command: it has no {output_files.y}: the program needs to know where to write this output"
    ]


def test_inputs_with_files_have_a_place():
    fed = (InputBlob("data", (1, 3), "float", Location("/data.npy")),)
    assert faults({"command": "{program} {input_files.data}"}, inputs=fed) == []


# --- the command ----------------------------------------------------------------------------------------------


def test_everything_is_filled_in():
    command = "{program} --graph={files.graph} -n {iter} -w {warmup} -t{threads} {input_files.data} {output_files.y}"
    expected = ("python3", "/program.py", "--graph=/a graph", "-n", "3", "-w", "1", "-t2", "/data.npy")
    assert argv(command) == (*expected, "/dev/null")
    wanted = argv(command, output_directory="/out", outputs=("y",))
    assert wanted == (*expected, "/out/y.txt")


def test_a_backend_without_a_place_fails():
    assert argv("{program} {backend}", backend="gpu")[2:] == ("gpu",)
    with pytest.raises(ProgramStartError, match=r"the command has no \{backend\} for the backend gpu"):
        argv("{program}", backend="gpu")


def test_answers_are_the_outputs_that_the_command_names():
    one = case_of({"command": "{program} {output_files.y}"})
    model = one.model.model_copy(update={"outputs": {"x": None, "y": None}})
    outputs = GENERIC.outputs(
        case_of({"command": "{program} {output_files.y}"}, model=model), {"graph": Path("x")}
    )
    assert outputs == ("y",)


# --- what it printed ------------------------------------------------------------------------------------------

GOOGLE = {
    "context": {"num_cpus": 2},
    "benchmarks": [
        *({"name": "BM_Net/1", "run_name": "BM_Net/1", "run_type": "iteration", "real_time": one, "time_unit": "ms"} for one in (1.5, 2, 1e-3)),
        {"name": "BM_Net/1_mean", "run_name": "BM_Net/1", "run_type": "aggregate", "real_time": 9, "time_unit": "ms"},
    ],
}  # fmt: skip
HYPERFINE = {
    "results": [{"command": "net 1", "mean": 2.0, "times": [1.0, 2.0, 3.0], "exit_codes": [0, 0, 0]}]
}
PYPERF = {
    "benchmarks": [{"runs": [{"warmups": [[1, 9.0]]}, {"values": [1e-5, 2e-5]}, {"values": [3e-5]}]}],
    "metadata": {"name": "net", "unit": "second"},
    "version": "1.0",
}
PYTEST = {"benchmarks": [{"fullname": "test_net.py::test_net", "stats": {"data": [1e-5, 2e-5, 3e-5]}}]}
JMH = [
    {
        "benchmark": "org.Net.run",
        "mode": "avgt",
        "primaryMetric": {"scoreUnit": "us/op", "rawData": [[10.0, 20.0], [30.0]]},
    }
]


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("google_benchmark", GOOGLE, (1500, 2000, 1)),
        ("hyperfine", HYPERFINE, (1e6, 2e6, 3e6)),
        ("pyperf", PYPERF, (10, 20, 30)),
        ("pytest_benchmark", PYTEST, (10, 20, 30)),
        ("jmh", JMH, (10, 20, 30)),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_of_well_known_programs(name, document, expected, indent):
    text = f"Running net {{\n[1/1] {{x}}.{json.dumps(document, indent=indent)}\ndone\n"
    text = text if indent else text.replace(".", ".\n", 1)
    assert times(parsed(text, {"format": name})) == {"NET_DELAY": expected}


def test_text_of_onnxruntime_perf_test():
    verbose = "Setting intra_op_num_threads to 1\niteration:1,time_cost:0.00712\niteration:2,time_cost:7e-05\n\nSession creation time cost: 0.02 s\nAverage inference time cost total: 3.5 ms\n"
    report = parsed(verbose, {"format": "onnxruntime_perf_test"}, iterations=2)
    assert times(report) == {"NET_DELAY": (7120, 70)}
    mean = parsed(verbose.replace("iteration:", ""), {"format": "onnxruntime_perf_test"}, iterations=2)
    assert times(mean) == {"NET_DELAY": (3500,)}
    assert mean.warnings == (
        "the program prints only the mean of its iterations: their distribution is unknown",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("INFO: Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 58147.4, Inference (avg): 63743.2", 63743.2),
        ("Average inference timings in us: Warmup: 83235, Init: 38467, Inference: 79760.9", 79760.9),
        ("Average inference timings in us: Warmup: 2331.42, Init: 896, no stats: 2177.1", 2177.1),
    ],
)  # fmt: skip
def test_text_of_benchmark_model(line, expected):
    text = f"INFO: count=3 first=9 curr=9 min=9 max=9 avg=9 std=0\n{line}\nNote: as the tool\n"
    assert times(parsed(text, {"format": "benchmark_model"}, stream="stderr")) == {"NET_DELAY": (expected,)}


def test_a_pattern_has_names_and_units():
    text = "x: 1.5 ms, y: 2 us\nx: 2.5 ms\ny: 3 us\nx: 4 ms\n"
    report = parsed(text, {"pattern": r"(?P<name>\w): (?P<value>[\d.]+) (?P<unit>\w+)", "net": "x"})
    assert times(report) == {"NET_DELAY": (1500, 2500, 4000), "y": (2, 3)}


def test_a_json_path_finds_all_numbers():
    text = 'log\n{"a": {"b-c": [{"t": 1}, {"t": 2.5}, {"u": 0}, {"t": 3}]}}\n'
    options = {"json_path": '$.a["b-c"][*].t', "unit": "us"}
    assert times(parsed(text, options)) == {"NET_DELAY": (1, 2.5, 3)}


def test_by_default_observer_lines_are_read():
    block = "Caffe2Observer Delay Start\nCaffe2Observer NET_DELAY - 2 (us)\nCaffe2Observer Delay End\n"
    assert times(parsed(block, {}, iterations=1)) == {"NET_DELAY": (2,)}


@pytest.mark.parametrize(
    ("options", "text", "message"),
    [
        ({}, "", "printed 0 of 3 samples"),
        ({"format": "hyperfine"}, "{" * 100_000, "printed 0 of 3 samples"),
        ({"format": "hyperfine"}, "{\n" * 10_000, "printed 0 of 3 samples"),
        ({"format": "hyperfine"}, '{"results": [{"times": ["a"]}]}', "'a' is not a number"),
        ({"format": "hyperfine"}, '{"results": [{"times": [true]}]}', "True is found where a time is expected"),
        ({"format": "hyperfine"}, '{"results": [{"times": [-1]}]}', "'-1' is not a delay"),
        ({"format": "hyperfine"}, '{"results": [{"times": [1]}]}', "printed 1 of 3 samples"),
        ({"format": "pytest_benchmark"}, json.dumps(PYTEST).replace(", 2e-05", ""), "printed 2 of 3 samples"),
        ({"format": "jmh"}, json.dumps(JMH).replace("us/op", "ops/s"), "delays in 'ops'; known units are"),
        ({"format": "benchmark_model"}, "count=3", "printed 0 of 3 samples"),
        ({"pattern": r"(?P<value>\w+)", "unit": "s"}, "1,5", "printed 2 of 3 samples"),
        ({"pattern": r"(?P<value>[\d,]+)", "unit": "s"}, "1,5", "'1,5' is not a number; it has a decimal comma"),
        ({"pattern": r"(?P<value>\d+)(?P<unit>\w*)"}, "15", "delays in ''; known units are"),
        ({"pattern": r"(?P<name>\w) (?P<value>\d)", "unit": "s"}, "x 1\ny 2", "benchmarks x, y: give the name of the whole net in the option net"),
        ({"pattern": r"(?P<name>\w) (?P<value>\d)", "unit": "s", "net": "z"}, "x 1\ny 2", "benchmarks x, y: none of them is 'z'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(options, text, message):
    with pytest.raises(ProgramOutputError) as caught:
        parsed(text, options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_lines_are_passed_over_by_a_pattern():
    options = {"pattern": r"took (?P<value>\d+)", "unit": "us"}
    text = f"took 1\n{'x' * 5000} took 2\ntook 3\n"
    assert times(parsed(text, options, iterations=2)) == {"NET_DELAY": (1, 3)}


@pytest.mark.parametrize("path", ["a.", "a[", "a[1", "a..b", "[a]", "a b", "[-1]", '["a]', "$$"])
def test_what_is_not_a_json_path_is_one_line(path):
    with pytest.raises(ValueError, match=r"^[^\n]+is not a path such as[^\n]+$"):
        json_path.parse(path)


def later_case(line, **changes):
    """A test of the later form of specifications, which has its whole command line itself."""
    run = TemplateRun(
        CommandTemplate.parse(line),
        {"batch_size": "4"},
        {"image": InputFile(Location("/image"))},
        {"answer": "answer.txt"},
    )
    values = {"template": run, "inputs": (), "commands": {}}
    return case("tflite", ("graph",), **(values | changes))


def test_a_command_line_of_the_later_form():
    one = later_case(
        '{program} --graph={files.graph} --num_runs={iter} --warmup_runs={warmup} --shape="1,2" {batch_size}'
        " {input_files.image} {output_files.answer} {TGTDIR}"
    )
    assert list(GENERIC.check(one)) == []
    files = {"model_files": {"graph": "/a graph"}, "input_files": {"image": "/i"}, "output_directory": "/out"}
    invocation = Invocation(case=one, launcher=("/benchmark_model",), **files)
    assert GENERIC.compose(invocation).argv == (
        *("/benchmark_model", "--graph=/a graph", "--num_runs=3", "--warmup_runs=1", "--shape=1,2", "4"),
        *("/i", "/out/answer.txt", "/out"),
    )
    with pytest.raises(ProgramStartError, match="no place for the backend gpu"):
        GENERIC.compose(replace(invocation, backend="gpu"))
    printed = (
        "Inference timings in us: Init: 896, First inference: 9, Warmup (avg): 9, Inference (avg): 2177.1"
    )
    report = GENERIC.parse(Outcome(Command(()), 0, printed, "", 0.1), one)
    assert times(report) == {"NET_DELAY": (2177.1,)}


def test_no_other_program_is_called_with_it():
    one = later_case("{program} --graph={files.graph}")
    faults = [fault.message for fault in OnnxRuntime().check(one)]
    assert "command lines of other programs are run by the framework generic" in faults
