import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarking.errors import ProgramExitError, ProgramOutputError, UsageError
from benchmarking.files import arrays
from benchmarking.frameworks import tensor_file
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.framework_base import BackendStatus, Invocation
from benchmarking.frameworks.kit import tensors
from benchmarking.programs.command import Command, Outcome
from benchmarking.specs.expand import InputBlob
from benchmarking.specs.location import Location
from benchmarking.specs.model import OutputSpec
from tests.support.cases import case

ROOT = Path(__file__).parents[4]
FRAMEWORK = Caffe2()


def npy_header(shape, kind="<f8"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text


def compose(one, **changes):
    values = {
        "case": one,
        "launcher": ("program",),
        "model_files": {"init": "i.pb", "predict": "p.pb"},
        "input_files": {},
    }
    return FRAMEWORK.compose(Invocation(**(values | changes)))


def test_the_whole_command_line():
    one = case(
        commands={"caffe2": {"run_individual": True, "backend": "eigen", "threads": 2}},
        inputs=(InputBlob("data", (1, 3, 224, 224), "float"), InputBlob("im_info", (1, 3), "float")),
        golden_files={"a": Location("/a"), "b": Location("/b")},
    )
    command = compose(
        one,
        input_files={"data": "d.txt", "im_info": "i.txt"},
        output_directory="/out",
        shared_libraries=("/l1/a.so", "/l2/b.so", "/l1/c.so"),
        backend="mkl",
        timeout_s=5.0,
    )
    assert command.argv == (
        *("program", "--init_net", "i.pb", "--net", "p.pb", "--input", "data,im_info"),
        *("--input_dims", "1,3,224,224;1,3", "--input_type", "float", "--iter", "3", "--warmup", "1"),
        *("--input_file", "d.txt,i.txt", "--run_individual", "true", "--backend", "mkl", "--threads", "2"),
        *("--output", "a,b", "--output_folder", "/out", "--text_output", "true"),
    )
    assert command.environment == {"LD_LIBRARY_PATH": "/l1:/l2"}
    assert command.timeout_s == 5.0


def test_a_worker_has_the_whole_command_line_and_its_flag():
    files = {"init": "i.pb", "predict": "p.pb"}
    invocation = Invocation(case(), ("program",), files, {}, shared_libraries=("/l/a.so",), timeout_s=5.0)
    run = FRAMEWORK.compose(invocation)
    for forks, mode in ((False, "true"), (True, "fork")):
        command = FRAMEWORK.compose_worker(invocation, forks=forks, layout_seed=7)
        assert command.argv == (*run.argv, "--worker", mode)
        assert command.timeout_s == 5.0
        assert command.environment == {"LD_LIBRARY_PATH": "/l", "PYTHONHASHSEED": "7"}


def test_types_are_a_list_only_where_they_differ():
    inputs = (InputBlob("a", (1,), "float"), InputBlob("b", (1,), "int"))
    argv = compose(case(inputs=inputs)).argv
    assert argv[argv.index("--input_type") + 1] == "float;int"


@pytest.mark.parametrize(
    ("changes", "json_path", "part"),
    [
        ({"framework": "onnx"}, "$.model.format", "'onnx' cannot be run"),
        ({"files": ("init",)}, "$.model.files.predict", "missing"),
        ({"inputs": (InputBlob("x", (1,), "complex"),)}, "$.tests[0].inputs.x.type", "float, uint8_t, int"),
        ({"inputs": (InputBlob("x;y", (1,), "float"),)}, "$.tests[0].inputs.x;y", "semicolon"),
        ({"golden_files": {"x,y": Location("/z")}}, "$.tests[0].output_files.x,y", "comma"),
        ({"commands": {"caffe2": {"iter": "7"}}}, "$.tests[0].commands.caffe2.iter", "--iter is composed"),
        (
            {"commands": {"caffe2": {"worker": True}}},
            "$.tests[0].commands.caffe2.worker",
            "--worker is composed",
        ),
        (
            {"inputs": (InputBlob("a", (1,), "float", Location("/a")), InputBlob("b", (1,), "float"))},
            "$.tests[0].input_files",
            "name files for all inputs or for none",
        ),
    ],
)
def test_faults(changes, json_path, part):
    (fault,) = FRAMEWORK.check(case(**changes))
    assert fault.json_path == json_path
    assert part in fault.message


BLOCK = "Caffe2Observer Delay Start\nCaffe2Observer NET_DELAY - 1 (us)\nCaffe2Observer Delay End\n"
OPERATORS = BLOCK.replace("NET_DELAY - 1 (us)", "ID_0_Conv_c - 1 (us)\nCaffe2Observer NET_DELAY - 1 (us)")


def outcome(text, exit_code=0):
    return Outcome(Command(("program",)), exit_code, "", text, 0.1)


def test_operators_have_to_be_complete_where_they_are_asked_for():
    one = case(commands={"caffe2": {"run_individual": "true"}})
    assert len(FRAMEWORK.parse(outcome((BLOCK + OPERATORS) * 3), one).measurements) == 2
    with pytest.raises(ProgramOutputError, match="0 of 3 samples of each operator"):
        FRAMEWORK.parse(outcome(BLOCK * 3), one)
    with pytest.raises(ProgramOutputError, match="2 of 3 samples of the operator ID_0_Conv_c"):
        FRAMEWORK.parse(outcome((BLOCK + OPERATORS) * 2 + BLOCK), one)


def test_a_signal_is_named():
    with pytest.raises(ProgramExitError, match="signal 6"):
        FRAMEWORK.parse(outcome("", -6), case())


@pytest.mark.parametrize(
    "blob", ["softmax", "gpu_0/softmax", ".x", "a b", "ünï", "x%y", "x" * 200, "x" * 201]
)
def test_output_names_are_those_of_the_program(blob):
    assert FRAMEWORK.output_file(blob) == tensors.file_name(blob, ".txt")


@pytest.mark.parametrize("blob", ["x" * 1000, "\N{PILE OF POO}" * 100, "StatefulPartitionedCall/" * 20])
def test_an_output_with_a_long_name_can_be_written(tmp_path, blob):
    """File systems count 255 bytes."""
    names = [FRAMEWORK.output_file(f"{blob}{end}") for end in ("", "1", "2")]
    assert names[0] == tensors.file_name(blob, ".txt")
    for name in names:
        (tmp_path / name).write_text(name)
    assert len([*tmp_path.iterdir()]) == 3


def test_the_program_is_built_once_and_always_the_same(tmp_path):
    first = Caffe2(tmp_path / "one").default_program()
    second = Caffe2(tmp_path / "two").default_program()
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.path.name == second.path.name
    assert first.needs_python
    before = first.path.stat().st_mtime_ns
    assert Caffe2(tmp_path / "one").default_program().path.stat().st_mtime_ns == before
    assert "__main__.py" in zipfile.ZipFile(first.path).namelist()
    done = subprocess.run(
        [sys.executable, first.path, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("caffe2_benchmark ")


def test_several_processes_build_it_at_once(tmp_path):
    code = (
        "import sys, pathlib; from benchmarking.frameworks.caffe2.caffe2 import Caffe2; "
        f"print(Caffe2(pathlib.Path({str(tmp_path)!r})).default_program().path)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    paths = {process.communicate()[0].strip() for process in processes}
    assert len(paths) == 1
    assert zipfile.ZipFile(paths.pop()).testzip() is None
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot build"):
        Caffe2(tmp_path / "file").default_program()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no number"),
        (b"1 2\n3 four\n", "line 2 has b'four'"),
        (b"1\n2,5\n", "line 2 has b'2,5'"),
        (b"1\n" * 1_000_000 + b"x", "line 1000001 has b'x'"),
        (b"x" * 5_000_000, "line 1 has b'xxx"),
        (b"\x93NUMPY broken", "not a tensor"),
        (npy_header("(1000000000000,)"), "not a tensor"),
        (npy_header("(9" + "0" * 400 + ",)"), "not a tensor"),
        (npy_header("(-1,)"), "not a tensor"),
        (npy_header("(1,)", "|O"), "not a tensor"),
        (npy_header("(1,)", "<c16") + bytes(16), "it contains complex128 instead of numbers"),
        (npy_header("(1,)", "<U1") + b"1\0\0\0", "instead of numbers"),
        (npy_header("(" * 4000), "not a tensor"),
    ],
)
def test_files_that_are_not_tensors(tmp_path, content, part):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ProgramOutputError, match=part) as caught:
        FRAMEWORK.read_tensor(path)
    assert len(str(caught.value)) < 1000


def test_only_a_file_is_a_tensor(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ProgramOutputError, match="not a regular file"):
            FRAMEWORK.read_tensor(path)
    with pytest.raises(ProgramOutputError, match="Is a directory"):
        FRAMEWORK.read_tensor(tmp_path)
    monkeypatch.setattr(arrays, "LARGEST_BYTES", 3)
    (tmp_path / "large").write_text("1\n2\n")
    with pytest.raises(ProgramOutputError, match="larger than 3 bytes"):
        FRAMEWORK.read_tensor(tmp_path / "large")


@pytest.mark.parametrize("between", ["\n", " ", "\r\n", "\n\n\t "])
def test_text_is_read_in_blocks_of_whole_words(tmp_path, monkeypatch, between):
    monkeypatch.setattr(tensor_file, "BLOCK_BYTES", 7)
    values = [number * 1.5 for number in range(-50, 50)]
    (tmp_path / "x").write_text(between + between.join(map(str, values)))
    assert FRAMEWORK.read_tensor(tmp_path / "x").tolist() == values


def test_numpy_files_are_tensors_too(tmp_path):
    import numpy as np

    np.save(tmp_path / "x.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert FRAMEWORK.read_tensor(tmp_path / "x.npy").tolist() == [0, 1, 2, 3, 4, 5]


def test_so_is_the_array_of_an_archive_that_is_called_like_the_output(tmp_path):
    import numpy as np

    np.savez(tmp_path / "golden.npz", score=np.ones((1, 2)), boxes=np.zeros(3))
    np.savez(tmp_path / "single.npz", anything=np.arange(2))
    np.savez(tmp_path / "object.npz", score=np.array([{}], dtype=object))
    assert FRAMEWORK.read_tensor(tmp_path / "golden.npz", "score").tolist() == [1, 1]
    assert FRAMEWORK.read_tensor(tmp_path / "single.npz", "score").tolist() == [0, 1]
    with pytest.raises(
        ProgramOutputError, match="it has the arrays 'score', 'boxes', and none is called 'mask'"
    ):
        FRAMEWORK.read_tensor(tmp_path / "golden.npz", "mask")
    with pytest.raises(ProgramOutputError, match="NumPy cannot read it"):
        FRAMEWORK.read_tensor(tmp_path / "object.npz", "score")
    (tmp_path / "damaged.npz").write_bytes(b"PK damaged")
    with pytest.raises(ProgramOutputError, match=r"it is not an \.npz file"):
        FRAMEWORK.read_tensor(tmp_path / "damaged.npz", "score")


def test_the_answer_of_a_model_is_what_the_specification_says_or_the_nets_external_outputs():
    models = ROOT / "specifications/models/caffe2"
    predict = {"predict": models / "faster_rcnn_head/predict_net.pb"}
    assert FRAMEWORK.outputs(case(), predict) == ("score_nms", "bbox_nms", "class_nms")
    said = case().model.model_copy(update={"outputs": {"other": OutputSpec()}})
    assert FRAMEWORK.outputs(case(model=said), predict) == ("other",)
    assert FRAMEWORK.outputs(case(), {"predict": Path(__file__)}) == ()


def test_other_outputs_than_the_golden_ones_can_be_wanted():
    argv = compose(case(), output_directory="/out", outputs=("a", "b")).argv
    assert argv[argv.index("--output") + 1] == "a,b"


def listed(stdout, **more):
    command = FRAMEWORK.compose_backend_list(("program",), ("/l/a.so",))
    return FRAMEWORK.parse_backend_list(Outcome(command, more.pop("exit_code", 0), stdout, "", 0.1, **more))


def test_the_list_of_backends():
    command = FRAMEWORK.compose_backend_list(("program",), ("/l/a.so",))
    assert (command.argv, command.environment) == (("program", "--list_backends"), {"LD_LIBRARY_PATH": "/l"})
    told = [
        {"name": "nnpack", "engine": "torch", "available": True, "reason": "", "later": 1},
        {"name": "opengl", "engine": "torch", "available": False, "reason": "no EGL device"},
    ]
    assert listed(json.dumps({"backends": told})) == (
        BackendStatus("nnpack", available=True, engine="torch"),
        BackendStatus("opengl", available=False, reason="no EGL device", engine="torch"),
    )


def test_a_reason_is_a_short_harmless_line():
    told = [{"name": "x", "available": False, "reason": "\x1b[31m\n\u202e" * 1000}]
    (status,) = listed(json.dumps({"backends": told}))
    assert status.reason.isprintable()
    assert len(status.reason) == 1000


@pytest.mark.parametrize(
    "stdout",
    [
        *(
            "",
            "usage: program",
            "{}",
            '{"backends": [{"name": "nnpack"}]}',
            "[]",
            '{"backends":' + "[" * 9000,
        ),
        '{"backends": [{"name": "\\u001b[31m", "available": true}]}',
        '{"backends": [{"name": "", "available": true}]}',
        '{"backends": [{"name": "\\ud800", "available": true}]}',
        '{"backends": [{"name": "x", "engine": "\\n", "available": true}]}',
        '{"backends": [{"name": "x", "available": ' + "9" * 5000 + "}]}",
    ],
)
def test_another_list_is_refused_with_the_evidence(stdout):
    with pytest.raises(ProgramOutputError, match="--list_backends") as caught:
        listed(stdout)
    assert stdout[:1000] in caught.value.evidence
    assert str(caught.value).isprintable()
    with pytest.raises(ProgramExitError):
        listed(stdout, exit_code=1)


def test_why_our_program_ended_is_in_the_message():
    outcome = Outcome(compose(case()), 2, "", "x\ncaffe2_benchmark: error: --backend: no such\ny", 0.1)
    with pytest.raises(ProgramExitError, match=r"exit status 2: --backend: no such$"):
        FRAMEWORK.parse(outcome, case())


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("caffe2_benchmark: error: first\ncaffe2_benchmark: error: last  \n", ": last"),
        ("x caffe2_benchmark: error: elsewhere", ""),
        ("caffe2_benchmark: error: \x1b[31m\u202e", ": ?[31m?"),
        ("caffe2_benchmark: error: " + "x " * 1_000_000, ": " + "x " * 500),
        ("\n".join(["caffe2_benchmark: error: " + " " * 100_000 + "x"] * 10), ": x"),
    ],
    ids=["last", "elsewhere", "control", "long", "spaces"],
)
def test_the_reason_is_one_short_line(stderr, reason):
    with pytest.raises(ProgramExitError) as caught:
        FRAMEWORK.parse(Outcome(compose(case()), 2, "", stderr, 0.1), case())
    assert str(caught.value) == f"the program ended with exit status 2{reason}"


def test_the_reason_for_too_few_samples_is_reported():
    with pytest.raises(ProgramOutputError) as caught:
        FRAMEWORK.parse(outcome(BLOCK.replace("1 (us)", "0,5 (us)") * 3), case())
    assert str(caught.value) == (
        "the program printed 0 of 3 samples of the net; 3 observer lines cannot be read; the first is line 2: "
        "'0,5' is not a number; it has a decimal comma: run the program with LC_ALL=C: "
        "Caffe2Observer NET_DELAY - 0,5 (us)"
    )
