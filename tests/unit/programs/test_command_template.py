"""Command lines with placeholders, without a shell."""

import pytest

from benchmarking.programs.command_template import CommandTemplate


def filled(text, launcher=("/device/program",), **values):
    return CommandTemplate.parse(text).fill(
        launcher, {name.replace("__", "."): one for name, one in values.items()}
    )


def test_words_are_split_as_a_shell_splits_them():
    assert filled("""{program} --layer="1,224" 'a b' c\\ d""") == (
        "/device/program",
        "--layer=1,224",
        "a b",
        "c d",
    )


def test_what_is_filled_in_stays_one_word():
    hostile = "x; rm -rf / $(id) 'y' {iter} \\1"
    assert filled("{program} --graph={files.graph}{iter}", files__graph=hostile, iter="3") == (
        "/device/program",
        f"--graph={hostile}3",
    )


def test_a_program_of_several_words_is_several_or_quoted():
    launcher = ("python3", "/a b/program.py")
    assert filled("{program} -c '{program} x'", launcher) == (*launcher, "-c", "python3 '/a b/program.py' x")
    assert filled("{program} --binary={program}", ("/a b",)) == ("/a b", "--binary=/a b")


def test_placeholders_are_named_once_and_other_braces_mean_themselves():
    template = CommandTemplate.parse("""{program} '{files.a b}' {iter} {iter} '{"threads": 1}' {} {1}""")
    assert template.placeholders == ("program", "files.a b", "iter")
    values = {"files.a b": "m", "iter": "2"}
    assert template.fill(("p",), values) == ("p", "m", "2", "2", '{"threads": 1}', "{}", "{1}")


def test_a_placeholder_without_a_value_is_an_error():
    with pytest.raises(KeyError, match="nonesuch"):
        filled("{program} {nonesuch}")


@pytest.mark.parametrize("text", ["", "  ", "{program} 'x", '{program} "x', "{program} \\"])
def test_what_is_not_a_command_line_is_one_line(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        CommandTemplate.parse(text)
