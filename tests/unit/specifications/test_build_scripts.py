"""The build scripts, with a small real cmake project in Caffe2's place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "specifications/frameworks/caffe2"
needs_compiler = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("cc")), reason="cmake and a C compiler are needed"
)
CMAKE = """
cmake_minimum_required(VERSION 3.10)
project(small C)
add_executable(caffe2_benchmark main.c)
file(WRITE "${CMAKE_BINARY_DIR}/options" "${BLAS} ${USE_CUDA} ${ANDROID_ABI} ${ANDROID_TOOLCHAIN}")
"""


@pytest.fixture
def repository(tmp_path):
    directory = tmp_path / "a repo's $(touch pwned)"
    directory.mkdir()
    (directory / "CMakeLists.txt").write_text(CMAKE)
    (directory / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("one"); return 0; }\n')
    return directory


def build(script, *arguments, **environment):
    return subprocess.run(
        [SCRIPTS / script / "build.sh", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_script_passes_shellcheck():
    checker = Path(sys.executable).with_name("shellcheck")
    if not checker.is_file():
        pytest.skip("shellcheck is installed by requirements-dev.txt")
    scripts = [*ROOT.glob("specifications/**/*.sh"), *ROOT.glob("examples/**/*.sh"), ROOT / ".ci/run"]
    assert len(scripts) > 10
    done = subprocess.run([checker, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs_compiler
@pytest.mark.parametrize(
    ("script", "options"), [(".", " OFF"), ("host", "Eigen OFF"), ("host/mkl", "MKL OFF")]
)
def test_builds(repository, tmp_path, script, options):
    destination = tmp_path / "out of it" / "caffe2_benchmark"
    done = build(script, repository, destination)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([destination], capture_output=True, text=True, check=True).stdout == "one\n"
    (configured,) = repository.glob("build/*/options")
    assert configured.read_text().rstrip() == options
    assert list(destination.parent.iterdir()) == [destination]
    assert not list(tmp_path.rglob("pwned"))


@needs_compiler
def test_the_next_build_compiles_only_what_has_changed(repository, tmp_path):
    plain = repository.rename(tmp_path / "plain")  # make itself compiles all below a name with a $
    assert build("host", plain, tmp_path / "program").returncode == 0
    (compiled,) = plain.glob("build/*/**/main.c.o")
    before = compiled.stat().st_mtime_ns
    assert build("host", plain, tmp_path / "program").returncode == 0
    assert compiled.stat().st_mtime_ns == before


@needs_compiler
def test_what_another_place_has_configured_is_not_trusted(repository, tmp_path):
    assert build("host", repository, tmp_path / "program").returncode == 0
    moved = repository.rename(tmp_path / "moved")
    done = build("host", moved, tmp_path / "program")
    assert done.returncode == 0, done.stderr
    assert "configuring again" in done.stderr


@needs_compiler
def test_a_failed_build_leaves_what_was_there(repository, tmp_path):
    destination = tmp_path / "program"
    destination.write_text("the last one")
    (repository / "main.c").write_text("does not compile")
    done = build("host", repository, destination)
    assert done.returncode == 1
    assert "build.sh: caffe2_benchmark could not be built" in done.stderr
    assert destination.read_text() == "the last one"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([repository.name, "program"])


@pytest.mark.parametrize("script", [".", "host", "host/mkl", "gpu", "linux", "mac"])
def test_wrong_arguments_are_reported_in_one_line(script, tmp_path):
    assert build(script).stderr == "build.sh: usage: build.sh <repo_dir> <destination>\n"
    assert "is no Caffe2: it has no CMakeLists.txt" in build(script, tmp_path, tmp_path / "x").stderr


@pytest.mark.parametrize("script", ["android", "android/clang"])
def test_android_needs_its_ndk(script, tmp_path):
    done = build(script, tmp_path, tmp_path / "x", ANDROID_NDK="")
    assert done.returncode == 1
    assert done.stderr == "build.sh: ANDROID_NDK does not name the directory of an Android NDK: ''\n"


@needs_compiler
def test_android_is_configured_with_the_ndk(repository, tmp_path):
    toolchain = tmp_path / "ndk/build/cmake/android.toolchain.cmake"
    toolchain.parent.mkdir(parents=True)
    toolchain.write_text("set(FROM_NDK ON)\n")
    ndk = str(tmp_path / "ndk")
    done = build("android/clang", repository, tmp_path / "x", ANDROID_NDK=ndk, ANDROID_ABI="armeabi-v7a")
    assert done.returncode == 0, done.stderr
    assert (repository / "build/android-clang-armeabi-v7a/options").read_text() == " OFF armeabi-v7a clang"
