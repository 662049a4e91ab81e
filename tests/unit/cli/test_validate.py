"""Whatever can be known to be wrong is one line, before a device is looked for; and --validate sees all of it."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarking.cli import harness
from benchmarking.platforms import platforms
from tests.support.workshop import COMMIT, OLDER, Workshop, records

SELECT = platforms.select
INFO = json.dumps({"treatment": COMMIT, "control": OLDER})

WRONG = {
    "info": (["--info", "nonsense"], "--info: not JSON: "),
    "info without a treatment": (["--info", "{}"], "--info: $.treatment: "),
    "info in a file": (["--info", "@nonesuch"], "--info: cannot read 'nonesuch': No such file or directory"),
    "platform": (["--platform", "hst"], "--platform: there is no platform 'hst'; did you mean 'host'?"),
    "alpha": (["--alpha", "0.9"], "--alpha 0.9: must be a probability between 0 and 0.5"),
    "target_change": (
        ["--target_change", "0.005", "--minimum_effect", "0.01"],
        "--target_change 0.005: must be greater than",
    ),
    "max_pairs": (["--max_pairs", "2"], "--max_pairs 2: with --alpha"),
    "backend": (["--backend", "mkk"], "--backend: caffe2 has no backend 'mkk'; did you mean mkl?"),
    "one of several": (
        ["--backend", "default,opngl"],
        "--backend: caffe2 has no backend 'opngl'; did you mean opengl?",
    ),
    "backend unlike any": (["--backend", "tpu"], "--backend: caffe2 has no backend 'tpu'; it has default, "),
    "reference": (
        ["--backend", "all", "--reference_backend", "mkk"],
        "--reference_backend: caffe2 has no backend 'mkk'",
    ),
    "typing error for the user's program": (
        ["--program", "program.py", "--backend", "mkk"],
        "--backend: caffe2 has no backend 'mkk'; did you mean mkl?",
    ),
    "empty backend": (["--backend", ""], "--backend '': a name is empty"),
    "plot without backends": (["--plot", "x.svg"], "--plot needs several backends"),
    "backends and control": (
        ["--backend", "a,b", "--info", INFO],
        "--backend: several backends are compared",
    ),
    "frameworks and control": (
        ["--framework", "caffe2,onnxruntime", "--info", INFO],
        "--framework: several frameworks are compared with each other, not with the control",
    ),
    "frameworks and a program": (
        ["--framework", "all", "--program", "x"],
        "--framework: several frameworks run their own programs",
    ),
    "frameworks in a verification": (
        ["--framework", "caffe2,onnxruntime", "--run_type", "verify"],
        "--framework: a run of type verify is on one framework",
    ),
    "a backend that none has": (
        ["--framework", "caffe2,onnxruntime", "--backend", "mkk"],
        "--backend: none of the frameworks has a backend 'mkk'; did you mean mkl?",
    ),
    "a reference that is none": (
        ["--framework", "caffe2,onnxruntime", "--reference_backend", "onnxruntime/mkl"],
        "--reference_backend: onnxruntime has no backend 'onnxruntime/mkl'; there are default, ",
    ),
    "program": (["--program", "nonesuch"], "--program: there is no file 'nonesuch'"),
    "program of info": (
        ["--info", json.dumps({"treatment": COMMIT | {"program": "~nosuchuser/x"}})],
        "--info: $.treatment.program: there is no file '~nosuchuser/x'",
    ),
    "shared_libs": (["--shared_libs", "nonesuch"], "--shared_libs: there is no file 'nonesuch'"),
    "run_type": (["--run_type", "regress"], "--run_type regress confirms a regression: give its types"),
    "regressed_types": (["--regressed_types", '["x"]'], "--regressed_types needs --run_type"),
    "history without results": (
        ["--info", json.dumps({"treatment": COMMIT, "regression_commits": [OLDER]})],
        "--info: regression_commits are looked up in the results of --local_reporter",
    ),
    "remote_reporter": (
        ["--remote_reporter", "nonsense"],
        "--remote_reporter: 'nonsense' does not have the form",
    ),
    "junit": (["--junit", "nonesuch/j.xml"], "--junit: cannot write to"),
    "export": (["--export", "bencher:nonesuch/b.json"], "--export: cannot write to"),
    "markdown": (["--markdown", "."], "--markdown: . is a directory; give a file"),
    "local_reporter": (["--local_reporter", "tiny.json"], "--local_reporter: cannot write to tiny.json"),
    "benchmark_file": (["--benchmark_file", "nonesuch.json"], "there is no file 'nonesuch.json'"),
}


@pytest.fixture
def call(tmp_path, monkeypatch):
    for kind in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.chdir(tmp_path)
    workshop = Workshop(tmp_path)
    workshop.benchmark()
    workshop.program()

    def nothing_is_looked_for(*_):
        raise AssertionError("a device is looked for")

    monkeypatch.setattr(platforms, "select", nothing_is_looked_for)
    return lambda *argv: harness.main(["--benchmark_file", "tiny.json", *argv])


@pytest.mark.parametrize("mode", [["--validate"], []], ids=["validate", "run"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_one_line(call, capsys, name, mode):
    argv, message = WRONG[name]
    assert call(*argv, *mode) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"harness.py: {message}")
    assert shown.err.count("\n") == 1


def test_devices_that_are_not_there_are_named_and_are_no_fault(call, caplog, monkeypatch):
    monkeypatch.setattr(platforms, "select", SELECT)
    assert call("--validate", "--devices", "nobody") == 0
    assert "--devices: no device of platform host can be used: 'nobody' was not found" in caplog.text


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--platform", "android"),
        ("--platform", "host/mkl", "--backend", "mkl"),
        ("--backend", "default, opengl,cuda", "--plot", "x.svg"),
        ("--backend", "all"),
        ("--program", "program.py", "--backend", "tpu"),
        ("--program", "program.py", "--backend", "cuda12"),
        ("--info", INFO, "--alpha", "0.05"),
        ("--json", "--remote_reporter", "example.org/x|y"),
    ],
)
def test_what_is_right_passes(call, capsys, argv):
    assert call(*argv, "--validate") == 0
    assert "no faults; 1 benchmark with 1 test" in capsys.readouterr().out


def test_faults_of_a_specification_that_cannot_be_run_are_found(call, capsys, tmp_path):
    Workshop(tmp_path).benchmark(format="onnx")
    assert call("--validate") == 2
    fault = "$.model.format: 'onnx' cannot be run by the framework caffe2"
    shown = capsys.readouterr().err
    assert f"{fault}; give --framework onnxruntime or openvino, or --framework all\n" in shown
    assert shown.count("\n") == 1


LATER_LINE = (
    "{program} --net {files.predict} --init_net {files.init} --iter {iter} --warmup {warmup} --text 'a b'"
)


def test_a_command_line_of_the_later_form_is_run_as_it_means(tmp_path):
    workshop = Workshop(tmp_path)
    power = {"identifier": "p", "metric": "power", "iter": 1, "commands": ["{program}"], "voltage": 4.2}
    files = {key: {"filename": key, "location": f"{key}_net.pb"} for key in ("init", "predict")}
    spec = {
        "model": {"name": "tiny", "format": "caffe2", "files": files, "timeout": 60, "cooldown": 0},
        "tests": [
            {
                "identifier": "{ID}",
                "metric": "delay",
                "iter": 3,
                "commands": [LATER_LINE],
                "platform_args": {"taskset": "1"},
            },
            power,
        ],
    }
    benchmark = tmp_path / "tiny.json"
    benchmark.write_text(json.dumps(spec))
    program = workshop.program(record=str(tmp_path / "calls"))
    checked = workshop.run("--validate")
    assert checked.returncode == 0
    assert checked.stdout.splitlines() == [
        f"{benchmark}: no faults; 1 benchmark with 2 tests, of which 1 is not run",
        f"  {benchmark}: $.tests[1]: the metric power is not supported; only delay and error are",
    ]
    document, done = workshop.json(
        "--program", program, environment={"XDG_STATE_HOME": str(tmp_path / "state")}
    )
    assert done.returncode == 3
    delay, refused = document["results"]
    assert refused["failure"]["message"] == "the metric power is not supported; only delay and error are"
    assert delay["meta"]["program_command"].startswith("taskset 1 ")
    argv = records(tmp_path / "calls")[-1]["argv"]
    assert argv[0::2] == ["--net", "--init_net", "--iter", "--warmup", "--text"]
    assert argv[5::4] == ["3", "a b"]
    digest = hashlib.md5(b"init").hexdigest()
    assert argv[3].endswith(f"init_{digest}")
    assert (
        f"no md5 for files of the model; these were measured: init {digest}, predict " in delay["warnings"][0]
    )
    assert delay["meta"]["model_md5"]["init"] == digest
    assert refused["warnings"] == []


def test_values_that_are_made_here_are_what_the_program_gets(tmp_path):
    """Of random values, of an image and of an array of another shape; the same file in each run of a program."""
    workshop = Workshop(tmp_path)
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    np.savez(tmp_path / "all.npz", array=np.arange(4))
    inputs = {
        "noise": {"shapes": [[2, 3]], "random": {"minimum": 1, "maximum": 2, "seed": 5}},
        "picture": {"shapes": [[1, 3, 2, 2]], "image": {"layout": "NCHW"}},
        "array": {"shapes": [[2, 2]], "type": "int32"},
    }
    files = {"picture": "red.png", "array": "all.npz"}
    workshop.benchmark({"inputs": inputs, "input_files": files})
    program = workshop.program(record=str(tmp_path / "calls"), keep_inputs=str(tmp_path / "kept"))
    _, done = workshop.json("--program", program, environment={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert done.returncode == 0, done.stderr
    noise, picture, array = (np.load(path) for path in sorted((tmp_path / "kept").iterdir()))
    assert noise.shape == (2, 3)
    assert 1 <= noise.min() < noise.max() <= 2
    assert picture[0].tolist() == [[[1, 1]] * 2, [[0, 0]] * 2, [[0, 0]] * 2]
    assert array.tolist() == [[0, 1], [2, 3]]
    (tmp_path / "red.png").write_bytes(b"nothing")
    document, done = workshop.json(
        "--program", program, environment={"XDG_STATE_HOME": str(tmp_path / "state")}
    )
    assert "red.png: not an image that can be read" in document["results"][0]["failure"]["message"]


def test_shell_commands_are_run_if_the_user_allows_them(tmp_path):
    workshop = Workshop(tmp_path)
    log = tmp_path / "log"
    write = f"printf '%s ' {{name}} {{INDEX}} {{batch_size}} $BENCHMARK_REMOTE_ACCESS_TOKEN >> {log}; pwd >> {log}"
    files = {key: {"filename": key, "location": f"{key}_net.pb"} for key in ("init", "predict")}
    workshop.benchmark(
        {"identifier": "good", "preprocess": {"commands": ["touch {HOSTDIR}/here", write]}},
        {"identifier": "bad", "preprocess": {"commands": ["echo no >&2; exit 3"]}},
        files=files,
        batch_size=4,
        postprocess={
            "commands": [f"cat {{files.init}} >> {log}; ls {{HOSTDIR}} >> {log}; awk '{{print $1}}' {log}"]
        },
    )
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "BENCHMARK_REMOTE_ACCESS_TOKEN": "hidden"}
    program = workshop.program()
    document, done = workshop.json("--program", program, environment=environment)
    assert (done.returncode, log.exists()) == (3, False)
    assert {"--allow_commands permits them" in one["failure"]["message"] for one in document["results"]} == {
        True
    }
    document, done = workshop.json("--program", program, "--allow_commands", environment=environment)
    good, bad = document["results"]
    assert good["failure"] is None
    assert bad["failure"]["message"] == "the shell command 'echo no >&2; exit 3' ended with exit status 3"
    assert "no" in bad["failure"]["evidence"]
    first, rest = log.read_text().splitlines()[:2]
    assert first.startswith("tiny 0 4 /")
    assert not Path(first.split()[-1]).exists()
    assert rest == "inithere"


def test_devices_that_were_found_are_let_go_of(call, monkeypatch):
    closed = []
    device = SimpleNamespace(close=lambda: closed.append(True))
    found = SimpleNamespace(devices=[device], unusable={})
    monkeypatch.setattr(platforms, "select", lambda *_: found)
    assert call("--validate", "--devices", "board") == 0
    assert closed == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--junit", "x", "--markdown", "./x"], "--junit and --markdown both write x"),
        (["--junit", "a/../x", "--export", "bencher:x"], "--junit and --export both write x"),
        (["--export", "bencher:x,open_metrics:x"], "--export and --export both write x"),
    ],
)
def test_two_reports_in_one_file_are_refused(call, capsys, arguments, message):
    assert call("--validate", *arguments) == 2
    assert capsys.readouterr().err == f"harness.py: {message}: give each a file of its own\n"


@pytest.mark.parametrize("arguments", [["--allow_http"], ["--remote_access_token", "s3cret"]])
@pytest.mark.parametrize("reporter", [[], ["--remote_reporter", "http://127.0.0.1:9/x|y"]])
def test_what_is_only_for_a_server_is_named_without_one(call, caplog, arguments, reporter):
    assert call("--validate", *arguments, *reporter) == 0
    said = [] if reporter else [f"{arguments[0]} has no effect: without --remote_reporter nothing is sent"]
    assert [one for one in caplog.messages if "no effect" in one] == said
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(("history", "messages"), [([], 1), ([OLDER], 0)])
def test_a_detector_without_a_history_is_named(call, caplog, history, messages):
    info = json.dumps({"treatment": COMMIT, "regression_commits": history})
    assert call("--validate", "--info", info, "--detector", "p50_p90", "--local_reporter", "x") == 0
    said = [one for one in caplog.messages if one.startswith("--detector: ")]
    assert said == ["--detector: --info has no regression_commits by which it could judge"] * messages
