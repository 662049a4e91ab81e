"""Models that torch runs: answers, errors, and what is known of operators."""

import io
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from benchmarking.frameworks.kit import costs
from benchmarking.frameworks.kit.errors import BenchmarkProgramError, ModelError
from benchmarking.frameworks.kit.flags import parse
from benchmarking.frameworks.kit.job import Job
from benchmarking.frameworks.pytorch.program import dispatched, loading, model_file, torch_model
from benchmarking.frameworks.pytorch.program.backends import Backend
from benchmarking.frameworks.pytorch.program.pytorch_program import PyTorchProgram, PyTorchSettings

ROOT = Path(__file__).parents[4]
LENET = ROOT / "specifications/models/pytorch/lenet/lenet.pt2"
DATA = ("--input", "data", "--input_dims", "2,1,28,28")
PAIR = ("--input", "a,b", "--input_dims", "2,3,4,4;2,3,4,4")


class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, a, b):
        hidden = torch.relu(self.conv(a + b))
        return {"hidden": hidden, "mean": hidden.mean((2, 3))}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    path = tmp_path_factory.mktemp("pair") / "pair.pt"
    example = torch.zeros(2, 3, 4, 4)
    torch.jit.save(torch.jit.trace(Pair().eval(), (example, example), strict=False), str(path))
    return path


@pytest.fixture(scope="module", autouse=True)
def without_onednn_graph():
    """The Caffe2 program fuses with it; its tests may have run in this process."""
    was_enabled = torch.jit.onednn_fusion_enabled()
    torch.jit.enable_onednn_fusion(False)
    yield
    torch.jit.enable_onednn_fusion(was_enabled)


@pytest.fixture(autouse=True)
def as_before():
    """The program changes its own process; in that of the tests it is changed back."""
    threads, environment = torch.get_num_threads(), dict(os.environ)
    yield
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(environment)


def job(path, *flags):
    return Job(PyTorchProgram(), parse(PyTorchSettings, ["--model", str(path), *flags]))


def test_the_graph_answers_and_names_its_operators():
    ready = job(LENET, *DATA, "--threads", "2")
    loaded = ready.load()
    loaded.run()
    assert loaded.output_names() == ("softmax",)
    np.testing.assert_allclose(loaded.output("softmax").sum(1), [1, 1], rtol=1e-5)
    assert torch.get_num_threads() == 2
    assert ready.facts["precision"] == "f32"
    assert list(ready.kernels)[:2] == ["ID_0_Conv2d_conv1", "ID_1_MaxPool2d_pool"]
    assert ready.kernels["ID_0_Conv2d_conv1"].kernel.startswith("aten::")
    assert ready.kernels["ID_0_Conv2d_conv1"].kernel.endswith(("convolution", "_forward", "slow_conv2d"))
    assert len(loaded.run_operators()) == len(loaded.operator_names) == len(ready.kernels)
    operators = {one.name: one for one in loaded.operators()}
    assert costs.total([*operators.values()]).parameters == 431_080
    assert costs.cost(operators["ID_6_Relu_relu"]).bytes == 2 * 2 * 500 * 4
    assert costs.cost(operators["ID_4_Flatten_flatten"]).bytes == 0  # a view


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input", "data", "--input_dims", "2,1,28,27"), "'data' has the shape [2, 1, 28, 27]; the model has ["),
        (("--input", "data", "--input_dims", "2000,1,28,28"), "dimension 0 (s"),
        ((*DATA, "--input_type", "double"), "--input_type: 'data' is float64; use float for it"),
        (("--input", "data,x", "--input_dims", "2,1,28,28;1"), "has no input 'x'; it has 'data'"),
        (("--input", "", "--input_dims", ""), "the model's input 'data' is not fed"),
        ((*DATA, "--output", "a,b"), "has no output 'a'; it has softmax"),
        ((*DATA, "--backend_options", "tf32"), "the backend eager has no option 'tf32'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(flags, message):
    with pytest.raises(BenchmarkProgramError) as caught:
        job(LENET, *flags).load()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_channels_last_is_reported_where_it_ran():
    ready = job(LENET, *DATA, "--backend", "channels_last")
    loaded = ready.load()
    loaded.run()
    assert loaded.output("softmax").shape == (2, 10)
    assert ready.kernels["ID_0_Conv2d_conv1"].own
    assert not ready.kernels["ID_5_Linear_fc3"].own
    assert ready.facts["backend_summary"].startswith("channels_last: ")


def test_a_graph_is_frozen_for_its_shapes():
    eager, frozen = (job(LENET, *DATA, "--backend", name).load() for name in ("eager", "frozen"))
    for loaded in (eager, frozen):
        loaded.run()
    assert frozen.output_names() == ("softmax",)
    np.testing.assert_allclose(frozen.output("softmax"), eager.output("softmax"), rtol=1e-5)
    assert len(frozen.run_operators()) == len(frozen.operator_names) > 0


@pytest.mark.parametrize("backend", ["eager", "frozen", "channels_last"])
def test_torchscript_runs_where_the_user_allows_code(pair, backend):
    ready = job(pair, *PAIR, "--allow_code", "true", "--backend", backend)
    loaded = ready.load()
    loaded.run()
    assert loaded.output_names() == ("hidden", "mean")
    np.testing.assert_allclose(loaded.output("hidden").mean((2, 3)), loaded.output("mean"), rtol=1e-5)
    assert len(loaded.run_operators()) == len(ready.kernels) >= 4
    assert costs.total(loaded.operators()).flops > 2 * 2 * 4 * 16 * 27


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (PAIR, "pair.pt is TorchScript, which is code: it is not run without the option --allow_code"),
        (("--input", "a", "--input_dims", "2,3,4,4", "--allow_code", "true"), "the model's input 'b' is not fed"),
        (("--input", "a,b", "--input_dims", "2,3,4,4;2,3,5,4", "--allow_code", "true"), "cannot run pair: RuntimeError: The size of tensor"),
        ((*PAIR, "--allow_code", "true", "--backend", "inductor"), "--backend inductor does not run TorchScript files"),
    ],
)  # fmt: skip
def test_what_torchscript_cannot_do_is_one_line(pair, flags, message):
    with pytest.raises(BenchmarkProgramError) as caught:
        job(pair, *flags).load()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def changed(path, name, content):
    with zipfile.ZipFile(LENET) as archive, zipfile.ZipFile(path, "w") as target:
        for one in archive.namelist():
            target.writestr(one, content if one.endswith(name) else archive.read(one))
    return path


@pytest.mark.parametrize("name", ["data/sample_inputs/model.pt", "data/weights/model_weights_config.json", "models/model.json", "archive_version"])  # fmt: skip
def test_a_hostile_or_damaged_package_is_one_line_and_runs_nothing(tmp_path, name):
    trap = tmp_path / "trap"
    buffer = io.BytesIO()
    torch.save(Evil(str(trap)), buffer)
    path = changed(tmp_path / "net.pt2", name, buffer.getvalue())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarking.frameworks.pytorch.program", "--model", str(path), *DATA],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert not trap.exists()
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pytorch_benchmark: error: ")


def test_an_output_that_numpy_lacks_is_one_line():
    made = torch_model.Call(lambda x: x.to_sparse(), (torch.ones(2),), {}, ("y",), renamed=False)
    loaded = torch_model.TorchModel("net", made, Backend("eager", "eager", "cpu", tf32=False), set())
    loaded.run()
    with pytest.raises(ModelError, match=r"^PyTorch .* cannot run net: unsupported memory format"):
        loaded.output("y")


def test_a_model_that_passes_its_input_on_costs_nothing():
    seen = dispatched.Seen((), (), (), {})
    assert costs.cost(seen.together("net")) == (0, 0, 0)


def test_logging_is_as_before_when_a_model_is_loaded():
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with loading._without_warnings():
            assert logging.root.manager.disable == logging.CRITICAL
        assert logging.root.manager.disable == logging.CRITICAL
    finally:
        logging.disable(disabled)
    with loading._without_warnings():
        assert logging.root.manager.disable >= logging.WARNING
    assert logging.root.manager.disable == disabled


def lenet_with(path, **records):
    with zipfile.ZipFile(LENET) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            name = info.filename.partition("/")[2]
            target.writestr(info.filename, records.pop(name, source.read(info)))
        for name, content in records.items():
            target.writestr(f"lenet/{name}", content)
    return str(path)


@pytest.mark.parametrize("record", ["extra/a.json", "archive_format"])
def test_json_of_a_package_is_limited_before_it_is_unpacked(tmp_path, record, monkeypatch):
    monkeypatch.setattr(model_file, "LARGEST_JSON", 1_000_000)
    path = lenet_with(tmp_path / "net.pt2", **{record: b" " * 1_000_000})
    assert Path(path).stat().st_size < 1_000_000
    with pytest.raises(ModelError, match=r"net\.pt2 has more than \d+ MB of JSON$"):
        loading.require_plain(path)


def test_a_package_of_another_format_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"net\.pt2 is damaged: its format is not pt2$"):
        loading.require_plain(lenet_with(tmp_path / "net.pt2", archive_format=b"pt3"))
