import unicodedata

import pytest

from benchmarking.results.plain_text import json_words, last_line, plain, plain_lines, similar


@pytest.mark.parametrize(
    "number",
    [
        *(*range(0x20), *range(0x7F, 0xA0)),
        *(0x61C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029),
        *(*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xFFF9, 0xE0001, 0xD800),
        *(0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0),
    ],
    ids=hex,
)
def test_what_drives_a_terminal_or_cannot_be_seen_is_replaced(number):
    assert plain(f"a{chr(number)}b") == ("a b" if number == 9 else "a?b")


def test_no_character_of_unicode_slips_through():
    for number in range(0x110000):
        shown = plain(chr(number))
        assert len(shown) == 1
        assert shown.isprintable()
        assert unicodedata.category(shown) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


@pytest.mark.parametrize("text", ["", "net-1 größe 模型 → é ❤️", "µs ± 5 %"])
def test_letters_of_all_the_world_stay(text):
    assert plain(text) == text


def test_blanks_are_blanks():
    assert plain("a\tb\N{NO-BREAK SPACE}c") == "a b c"


def test_only_a_line_feed_ends_a_line():
    assert plain_lines("one\r\ntwo\n\nthree\u2028four\x0bfive\rsix\n") == "one\ntwo\n\nthree?four?five?six\n"


def test_ascii_has_something_similar_for_everything_that_we_print():
    assert similar("µs 5 °C größe 模…▁▂▃▄▅▆▇█ plain") == "us 5 ?C gro?e ?~__.-=*## plain"


@pytest.mark.parametrize(
    ("of_pydantic", "expected"),
    [
        ("Input should be a valid tuple", "Input should be a list"),
        ("Input should be a valid list", "Input should be a list"),
        ("Input should be a valid dictionary", "Input should be an object"),
        ("Input should be a dictionary or an instance of Document", "Input should be an object"),
        ("Input should be a valid dictionary or object to extract fields from", "Input should be an object"),
        ("Input should be a valid dictionary or instance of Version", "Input should be an object"),
        ("Input should be a valid string", "Input should be a valid string"),
    ],
)
def test_faults_are_in_the_words_of_json(of_pydantic, expected):
    assert json_words(of_pydantic) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "no answer"),
        (" \n\t\n", "no answer"),
        ("first\n second \n\n", "second"),
        ("a\x1b[2J\u202eb", "a?[2J?b"),
        ("x" * 400 + "y" * 500 + "\n", "y" * 500),
    ],
)
def test_the_last_line_is_short_and_harmless(text, shown):
    assert last_line(text) == shown


def test_what_is_said_in_place_of_a_last_line():
    assert last_line("\n", "nothing") == "nothing"
