"""A command line of the two that are compared, as a shell in its directory would find it."""

import errno
import hashlib
import os

import pytest

from benchmarking.cli.compare_commands import Side
from benchmarking.errors import UsageError


def test_a_program_is_found_on_the_path_or_from_the_directory(tmp_path, monkeypatch):
    for name in ("here", "bin/there"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert Side.of("base", "./here 'a b'", tmp_path).argv == (f"{tmp_path}/here", "a b")
    assert Side.of("base", f"{tmp_path}/here", tmp_path / "bin").argv == (f"{tmp_path}/here",)
    side = Side.of("base", "there x/y", tmp_path, version="1")
    assert (side.argv, side.directory) == ((f"{tmp_path}/bin/there", "x/y"), tmp_path)
    monkeypatch.chdir(tmp_path)
    assert Side.of("head", "there").directory == tmp_path


IS_A_MODEL = (
    "is a model, and no program: give two commands, or two benchmark programs and the model that they run"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 'b", "HEAD: 'a \\'b' is not a command: No closing quotation"),
        ("", "HEAD: there is no program ''"),
        ("here", "HEAD: there is no program 'here'"),
        ("./nonesuch", "HEAD: there is no program './nonesuch'"),
        (
            "./here",
            "HEAD: './here' is not executable; try chmod +x, or begin with the program that runs it",
        ),
        ("m.onnx", f"HEAD: 'm.onnx' {IS_A_MODEL}"),
    ],
)
def test_what_is_no_command(tmp_path, text, message):
    for name in ("here", "m.onnx"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError) as error:
        Side.of("head", text, tmp_path)
    assert str(error.value).replace('"', "'").replace("'a 'b'", "'a \\'b'") == message


def test_the_launcher_is_the_command_with_the_hash_of_its_program(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    side = Side.of("base", "./program 'a b'", tmp_path)
    (tmp_path / "launchers").mkdir()
    first = side.write_launcher(tmp_path / "launchers")
    text = first.read_text()
    assert first.name == "base"
    assert first.stat().st_mode & 0o777 == 0o700
    assert text.endswith(f"exec {program} 'a b'\n")
    assert os.popen(str(first)).read() == f"{tmp_path}\n"
    program.write_text("#!/bin/sh\npwd -P\n")
    assert side.write_launcher(tmp_path / "launchers").read_text() != text


def test_a_program_that_may_be_executed_but_not_read_is_known_by_its_file(tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o711)
    side = Side.of("base", str(program))

    def refuse(*_):  # to root every file is readable
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    first = side.write_launcher(tmp_path).read_text()
    assert first == side.write_launcher(tmp_path).read_text()
    os.utime(program, ns=(1, 1))
    assert first != side.write_launcher(tmp_path).read_text()
    program.unlink()
    with pytest.raises(UsageError, match=f"^BASE: {program}: No such file or directory$"):
        side.write_launcher(tmp_path)
