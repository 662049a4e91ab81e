"""The program as it is started from a shell, or else by its flags."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, text_format

from benchmarking.frameworks import program_output
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import (
    blob_file,
    caffe2_net_descriptor,
    messages,
    net_file,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import (
    Caffe2Program,
    Caffe2Settings,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.kit import flags, tensors
from benchmarking.frameworks.kit.errors import UsageError
from tests.support.forked_program import run_caffe2

ROOT = Path(__file__).parents[5]
PROGRAM = ROOT / "benchmarking/frameworks/caffe2/program"
KIT = ROOT / "benchmarking/frameworks/kit"
REAL_MODELS = ROOT.parent / "shared/caffe2/models"


@pytest.fixture
def workshop(tmp_path):
    """Nets and the program in one directory."""

    class Workshop:
        directory = tmp_path

        def net(self, name, *operators, text=False):
            net = messages.NetDef(name=name)
            for type_, inputs, outputs, arguments in operators:
                definition = net.op.add(type=type_)
                definition.input.extend(inputs)
                definition.output.extend(outputs)
                for key, value in arguments.items():
                    argument = definition.arg.add(name=key)
                    if isinstance(value, list):
                        (argument.floats if isinstance(value[0], float) else argument.ints).extend(value)
                    elif isinstance(value, float):
                        argument.f = value
                    else:
                        argument.i = value
            path = tmp_path / f"{name}.pb"
            content = text_format.MessageToString(net).encode() if text else net.SerializeToString()
            path.write_bytes(content)
            return str(path)

        def run(self, *arguments):
            return run_caffe2(*arguments, directory=tmp_path)

    return Workshop()


FILL = ("GivenTensorFill", [], ["w"], {"shape": [2, 3], "values": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
BIAS = ("ConstantFill", [], ["b"], {"shape": [2], "value": 0.5})
FC = ("FC", ["gpu_0/x", "w", "b"], ["y"], {})
RELU = ("Relu", ["y"], ["gpu_0/out"], {})


def arguments(workshop, *more, text=False):
    init = workshop.net("init", FILL, BIAS, text=text)
    predict = workshop.net("predict", FC, RELU, text=text)
    return ["--init_net", init, "--net", predict, "--input", "gpu_0/x", "--input_dims", "1,3", *more]


@pytest.mark.parametrize("form", ["directory", "zipapp"])
def test_a_run_from_a_shell(workshop, form):
    program = PROGRAM
    if form == "zipapp":
        program = Caffe2(workshop.directory).default_program().path
    flags = ("--iter=4", "--warmup", 2, "--run_individual", "true", "--threads", 1)
    argv = [sys.executable, program, *arguments(workshop, *flags)]
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = program_output.parse(done.stderr)
    assert len(log.net_us) == 4
    assert {name: len(values) for name, values in log.operators_us.items()} == {
        "ID_0_FC_y": 4,
        "ID_1_Relu_gpu_0/out": 4,
    }
    assert log.facts["engine"] == "torch"
    assert log.facts["threads"] == 1
    assert log.damaged_count == 0


@pytest.mark.parametrize("text", [False, True], ids=["binary net", "text net"])
def test_inputs_from_every_kind_of_file_and_outputs_of_odd_names(workshop, text):
    values = np.array([[1.0, -2.0, 0.25]], dtype=np.float32)
    np.save(workshop.directory / "x.npy", values)
    (workshop.directory / "x.txt").write_text("1\n-2\n0.25\n")
    (workshop.directory / "x.pb").write_bytes(blob_file.to_proto("x", values).SerializeToString())
    expected = np.maximum(values @ np.array([[1, 2, 3], [4, 5, 6]]).T + 0.5, 0).reshape(-1)
    for name in ("x.npy", "x.txt", "x.pb"):
        done = workshop.run(
            *arguments(workshop, "--input_file", name, "--iter", 1, "--output", "gpu_0/out,y", text=text),
            *("--output_folder", "new/folder", "--text_output", "true"),
        )
        assert done.returncode == 0, done.stderr
        written = np.loadtxt(workshop.directory / "new/folder/gpu_0%2Fout.txt")
        np.testing.assert_allclose(written, expected, rtol=1e-6)


def test_outputs_as_messages_and_all_of_them(workshop):
    done = workshop.run(*arguments(workshop, "--iter", 1, "--output", "*", "--output_folder", "out"))
    assert done.returncode == 0, done.stderr
    files = sorted(path.name for path in (workshop.directory / "out").iterdir())
    assert files == ["b.pb", "gpu_0%2Fout.pb", "gpu_0%2Fx.pb", "w.pb", "y.pb"]
    blob = messages.BlobProto.FromString((workshop.directory / "out/w.pb").read_bytes())
    np.testing.assert_array_equal(blob_file.from_proto(blob.tensor), [[1, 2, 3], [4, 5, 6]])


def test_noise_is_the_same_for_the_same_seed_and_text_comes_back_as_it_was(workshop):
    def output(*more):
        common = ("--iter", 1, "--output", "gpu_0/x", "--output_folder", "out", "--text_output", "true")
        assert workshop.run(*arguments(workshop, *common, *more)).returncode == 0
        return (workshop.directory / "out/gpu_0%2Fx.txt").read_text()

    first = output()
    assert first == output()
    assert first != output("--seed", 1)
    settings = flags.parse(Caffe2Settings, ["--input", "gpu_0/x", "--input_dims", "1,3"])
    exact = tensors.inputs(Caffe2Program(), settings)["gpu_0/x"].reshape(-1)
    assert [np.float32(line) for line in first.split()] == exact.tolist()


def test_wrong_flags_end_with_status_2(workshop):
    for words, part in {
        ("--itre", "3"): "did you mean --iter?",
        ("--iter", "x"): "not a whole number",
        ("--iter",): "needs a value",
        ("--run_individual", "maybe"): "neither true nor false",
        ("iter",): "not a flag",
        ("--threads", "0"): "less than 1",
        (): "--net is missing",
        ("--net", "x", "--caffe2_threadpool_force_inline", "True", "--threads", "2"): "leaves one thread",
    }.items():
        done = workshop.run(*words)
        assert done.returncode == 2, words
        assert part in done.stderr
        assert done.stderr.count("\n") == 1


def test_wrong_nets_and_data_end_with_status_1_and_one_line(workshop):
    (workshop.directory / "empty.pb").write_bytes(b"")
    (workshop.directory / "garbage.pb").write_bytes(os.urandom(100))
    (workshop.directory / "short.txt").write_text("1 2\n")
    predict = workshop.net("predict", FC)
    odd = workshop.net("odd", ("Foo", [], ["a"], {}), ("Bar", [], ["b"], {}), ("Relu", ["a"], ["c"], {}))
    init = workshop.net("init", FILL, BIAS)
    damaged = workshop.net("damaged", ("Relu", ["gpu_0/x"], ["name"], {}))
    Path(damaged).write_bytes(Path(damaged).read_bytes().replace(b"name", b"na\xffe"))
    cases = [
        (["--net", "missing.pb"], "cannot read missing.pb"),
        (["--net", "empty.pb"], "not a net"),
        (["--net", "garbage.pb"], "not a net"),
        (["--net", damaged], r"the name b'na\xffe' is not UTF-8 text"),
        (["--init_net", predict, "--net", init], "--init_net and --net are the wrong way round"),
        (["--net", odd], "does not know: Bar, Foo"),
        (["--net", predict], "'gpu_0/x', 'w', 'b', which is not fed"),
        (arguments(workshop, "--input_dims", "1,4"), "operator 0, FC 'y', failed: the weights do not fit"),
        (arguments(workshop, "--input_dims", "9999999,9999999"), "does not fit into memory"),
        (arguments(workshop, "--input_dims", "99999999999999999999"), "does not fit into memory"),
        (arguments(workshop, "--input_type", "int"), "int32"),
        (arguments(workshop, "--input_file", "short.txt"), "has 2 values"),
        (arguments(workshop, "--input_file", "missing.txt"), "cannot read missing.txt"),
        (arguments(workshop, "--output", "nonesuch"), "there is no blob 'nonesuch'"),
        (
            arguments(workshop, "--output", "y", "--output_folder", "/dev/null/x"),
            "--output_folder: cannot write",
        ),
    ]
    for words, part in cases:
        done = workshop.run(*words)
        assert done.returncode == 1, (words, done.stderr)
        assert part in done.stderr
        assert "Traceback" not in done.stderr
    for words in (["--backend", "glow"], ["--engine", "nonesuch"], ["--input_dims", "1,x"]):
        done = workshop.run(*arguments(workshop, *words))
        assert done.returncode == 2
        assert words[0] in done.stderr


def test_flags_take_both_forms():
    settings = flags.parse(Caffe2Settings, ["--iter=7", "-warmup", "2", "--run_individual", "1"])
    assert (settings.iter, settings.warmup, settings.run_individual) == (7, 2, True)
    with pytest.raises(UsageError):
        flags.parse(Caffe2Settings, ["--run_individual"])


def test_the_proto_and_its_compiled_form_agree(tmp_path):
    """UPDATE_GOLDEN=1 writes the compiled form again."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    package = PROGRAM / "caffe2_benchmark"
    target = tmp_path / "set"
    assert protoc.main(["protoc", f"-I{package}", f"--descriptor_set_out={target}", "caffe2_net.proto"]) == 0
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    if os.environ.get("UPDATE_GOLDEN"):
        text = base64.b64encode(zlib.compress(file.SerializeToString(deterministic=True), 9)).decode()
        lines = "\n".join(f'    "{text[start : start + 100]}"' for start in range(0, len(text), 100))
        (package / "caffe2_net_descriptor.py").write_text(
            '"""The compiled form of ``caffe2_net.proto``: its FileDescriptorProto, compressed, in base64."""\n\n'
            f"DESCRIPTOR = (\n{lines}\n)\n"
        )
    known = zlib.decompress(base64.b64decode(caffe2_net_descriptor.DESCRIPTOR))
    assert descriptor_pb2.FileDescriptorProto.FromString(known) == file


def python38():
    """An interpreter that runs: one from a version manager on the PATH may only report that it is missing."""
    candidates = [*Path.home().glob(".pyenv/versions/3.8.*/bin/python"), shutil.which("python3.8")]
    for one in filter(None, candidates):
        if subprocess.run([one, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(one)
    return None


@pytest.mark.skipif(python38() is None, reason="there is no Python 3.8 on this machine")
def test_it_is_valid_python_3_8(tmp_path):
    for path in [*PROGRAM.rglob("*.py"), *KIT.rglob("*.py")]:
        target = tmp_path / "compiled.pyc"
        code = f"import py_compile; py_compile.compile({str(path)!r}, {str(target)!r}, doraise=True)"
        subprocess.run([python38(), "-c", code], check=True)
    subprocess.run([python38(), PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)


def needs_real(name):
    reason = "the real models are not part of this repository"
    return pytest.mark.skipif(not (REAL_MODELS / name).is_dir(), reason=reason)


def run_real(name, inputs, output):
    folder = REAL_MODELS / name
    engine = TorchEngine(threads=1, seed=0, backend="builtin")
    init, predict = (net_file.read(str(folder / f"{key}_net.pb"), key) for key in ("init", "predict"))
    loaded = engine.load(init, predict, {blob: np.load(folder / file) for blob, file in inputs.items()})
    loaded.run()
    return loaded.output(output), np.load(folder / "output.npy")


@needs_real("squeezenet")
def test_squeezenet_as_real_caffe2_runs_it():
    output, expected = run_real("squeezenet", {"data": "input.npy"}, "softmaxout")
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)


@needs_real("style_transfer")
def test_style_transfer_as_real_caffe2_runs_it():
    """Pixels are truncated to bytes: a value at the edge may fall to either side."""
    inputs = {"data_int8_bgra": "input.npy", "__CAFFE2_STYLIZER_NOISE__": "noise.npy"}
    output, expected = run_real("style_transfer", inputs, "styled_int8_bgra")
    difference = np.abs(output.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("optimize", ["none", "fuse"])
def test_weights_that_others_read_too_stay_readable(optimize):
    """Convolutions pack their weights; another operator gets them as they were."""
    init = text_format.Parse(
        """op { type: "GaussianFill" output: "w" arg { name: "shape" ints: [4, 4, 1, 1] } }""",
        messages.NetDef(),
    )
    net = text_format.Parse(
        """op { type: "Conv" input: ["x", "w"] output: "a" arg { name: "kernel" i: 1 } }
           op { type: "Conv" input: ["a", "w"] output: "b" arg { name: "kernel" i: 1 } }
           op { type: "Mul" input: ["b", "x"] output: "c" }
           op { type: "Reshape" input: "w" output: ["m", "old"] arg { name: "shape" ints: [4, 4] } }
           op { type: "FC" input: ["x", "m", "bias"] output: "d" }""",
        messages.NetDef(),
    )
    x = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    inputs = {"x": x, "bias": np.zeros(4, dtype=np.float32)}
    engine = TorchEngine(threads=1, seed=0, backend="builtin", optimize=optimize)
    loaded = engine.load(init, net, inputs, frozenset({"w"}))
    loaded.run()
    weight = loaded.output("w").reshape(4, 4)
    np.testing.assert_allclose(loaded.output("d")[0], weight @ x.reshape(4), rtol=1e-5)
    np.testing.assert_allclose(
        loaded.output("c").reshape(4), weight @ weight @ x.reshape(4) * x.reshape(4), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("optimize", "label"), [("none", "operator 0, Conv 'y'"), ("fuse", "operator 0, Conv+Relu 'z'")]
)
@pytest.mark.parametrize(
    ("weight", "bias", "part"),
    [
        ((4, 2, 3, 3), (4,), r"weights of shape \[4, 2, 3, 3\] in 1 groups do not fit 1 channels"),
        ((4, 1, 5, 5), (4,), r"the weights' kernel is not \[3, 3\]"),
        ((4, 1, 3, 3), (5,), "the bias does not have 4 values"),
    ],
)
def test_weights_that_do_not_fit_are_reported_with_the_operator(optimize, label, weight, bias, part):
    init = messages.NetDef()
    for name, shape in (("w", weight), ("b", bias)):
        init.op.add(type="GaussianFill", output=[name]).arg.add(name="shape", ints=shape)
    net = text_format.Parse(
        """op { type: "Conv" input: ["x", "w", "b"] output: "y" arg { name: "kernel" i: 3 } }
           op { type: "Relu" input: "y" output: "z" }""",
        messages.NetDef(),
    )
    engine = TorchEngine(threads=1, seed=0, backend="builtin", optimize=optimize)
    with pytest.raises(NetError, match=f"^{re.escape(label)}, failed: {part}"):
        engine.load(init, net, {"x": np.zeros((1, 1, 8, 8), dtype=np.float32)})


def test_unknown_operators_of_nets_inside_are_among_those_that_are_named():
    net = text_format.Parse(
        """op { type: "Foo" output: "a" }
           op { type: "If" input: "c" arg { name: "then_net" n { op { type: "Bar" output: "b" } } } }""",
        messages.NetDef(),
    )
    engine = TorchEngine(threads=1, seed=0, backend="builtin")
    with pytest.raises(NetError, match=r"does not know: Bar, Foo$"):
        engine.load(None, net, {"c": np.array([True])})


def test_a_blob_that_is_there_in_name_only_is_named_where_it_is_read():
    """Dropout leaves its mask unwritten in test mode."""
    net = text_format.Parse(
        """op { type: "Dropout" input: "x" output: ["y", "mask"] arg { name: "is_test" i: 1 } }
           op { type: "Copy" input: "mask" output: "z" }""",
        messages.NetDef(),
    )
    engine = TorchEngine(threads=1, seed=0, backend="builtin")
    with pytest.raises(
        NetError, match=r"^operator 1, Copy 'z', reads 'mask', which no operator has written$"
    ):
        engine.load(None, net, {"x": np.zeros(2, dtype=np.float32)})


CONV_WEIGHT = ("GivenTensorFill", [], ["w"], {"shape": [1, 1, 1, 1], "values": [2.0]})
CONV_BIAS = ("ConstantFill", [], ["b"], {"shape": [1], "value": 0.5})


@pytest.mark.parametrize(
    ("backend", "kernel", "summary"),
    [
        ("builtin", "onednn:", "builtin: 2 of 2 operators"),
        ("onednn", "onednn:", "onednn: 1 of 1 convolutions and FCs"),
        ("mkl", "mkl:", "mkl: 1 of 1 convolutions and FCs"),
        ("nnpack", "aten::_nnpack_spatial_convolution", "nnpack: 1 of 1 convolutions"),
    ],
)
def test_it_reports_the_kernel_of_each_operator(workshop, backend, kernel, summary):
    if why_not := TorchEngine.why_unavailable(backend):
        pytest.skip(why_not)
    conv = ("Conv", ["x", "w", "b"], ["y"], {"kernel": 1})
    nets = ["--init_net", workshop.net("init", CONV_WEIGHT, CONV_BIAS)]
    nets += ["--net", workshop.net("predict", conv, RELU)]
    done = workshop.run(*nets, "--input", "x", "--input_dims", "1,1,8,8", "--iter", 2, "--backend", backend)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line.split(" ", 1)[1]) for line in done.stderr.splitlines() if '"kernel"' in line]
    assert [one["type"] for one in told] == ["ID_0_Conv_y", "ID_1_Relu_gpu_0/out"]
    assert told[0]["kernel"].startswith(kernel)
    assert [one["own"] for one in told] == [True, backend == "builtin"]
    log = program_output.parse(done.stderr)
    assert log.facts["backend_summary"] == summary
    assert log.facts["backend_operators"] == (2 if backend == "builtin" else 1)
    assert len(log.net_us) == 2
    assert log.damaged_count == 0


def test_a_backend_that_computes_nothing_is_an_error(workshop):
    done = workshop.run(*arguments(workshop, "--backend", "nnpack"))
    assert done.returncode == 1
    assert done.stderr.startswith(
        "caffe2_benchmark: error: --backend nnpack computed none of the model's 2 operators ("
    )
    assert done.stderr.count("\n") == 1


def test_an_operator_that_the_backend_gives_up_is_reported_with_the_reason(workshop):
    odd = ("Conv", ["x", "w", "b"], ["y"], {"kernel": 1, "pad": 1})
    even = ("Conv", ["y", "w", "b"], ["z"], {"kernel": 1})
    nets = [
        "--init_net",
        workshop.net("init", CONV_WEIGHT, CONV_BIAS),
        "--net",
        workshop.net("predict", odd, even),
    ]
    done = workshop.run(*nets, "--input", "x", "--input_dims", "1,1,8,8", "--iter", 1, "--backend", "nnpack")
    assert done.returncode == 0, done.stderr
    assert "caffe2_benchmark: ID_0_Conv_y is not computed by nnpack: NNPACK refuses it\n" in done.stderr
    assert '"backend_summary": "nnpack: 1 of 2 convolutions, 1 fell back"' in done.stderr


def test_the_backends_are_listed_with_what_those_that_are_missing_need(workshop):
    done = workshop.run("--list_backends")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told) == ["backends"]
    by_name = {(one["engine"], one["name"]): one for one in told["backends"]}
    assert {name for _, name in by_name} | {"builtin"} == set(Caffe2.backends)
    assert by_name["torch", "default"] == {
        "engine": "torch",
        "name": "default",
        "available": True,
        "reason": "",
    }
    assert {name for engine, name in by_name if engine == "native"} == {
        "default",
        "eigen",
        "nnpack",
        "mkl",
        "cuda",
    }
    for one in by_name.values():
        assert one["available"] == (one["reason"] == "")
        assert "\n" not in one["reason"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--backend", "eigen"], "--backend eigen: only real Caffe2 has it; "),
        (["--backend", "eigen", "--engine", "torch"], "(docs/caffe2.md says how to get it)"),
        (
            ["--backend", "onednn", "--backend_options", "tf16"],
            "--backend_options: no backend has the option 'tf16'; known are channels_last, tf32, autotune",
        ),
        (
            ["--backend", "glow"],
            "the engine torch has no backend 'glow'; it has builtin, default, onednn, mkl, ",
        ),
    ],
)
def test_backends_that_are_not_there_end_with_status_2_and_one_line(workshop, words, part):
    done = workshop.run(*arguments(workshop, *words))
    assert done.returncode == 2
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_gpu_cuda_says_what_it_needs(workshop):
    if not TorchEngine.why_unavailable("cuda"):
        pytest.skip("here is a GPU")
    done = workshop.run(*arguments(workshop, "--backend", "cuda"))
    assert done.returncode == 2
    why_not = TorchEngine.why_unavailable("cuda")
    assert done.stderr == f"caffe2_benchmark: error: --backend cuda: {why_not}\n"
