import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.errors import ProgramOutputError
from benchmarking.frameworks import program_output
from benchmarking.frameworks.kit.output import Observer
from benchmarking.results.model import Kernel

PREFIXES = [
    "",
    "[I net_observer_reporter_print.cc:30] ",
    "I0319 21:22:01.123456 12345 net_observer_reporter_print.cc:30] ",
    "03-19 21:22:01.123  1234  5678 I native  : [I net_observer_reporter_print.cc:30] ",
    "I/native  ( 1234): ",
    "03-19 21:22:01.123 I/native(1234): ",
]


def block(*values, prefix=""):
    lines = ["Delay Start", *(f"{name} - {value}" for name, value in values), "Delay End"]
    return "".join(f"{prefix}Caffe2Observer {line}\n" for line in lines)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_prefixes_and_line_ends(prefix, end):
    text = (block(("NET_DELAY", "12.5 (us)"), prefix=prefix) * 2).replace("\n", end)
    log = program_output.parse(text)
    assert log.net_us == (12.5, 12.5)
    assert log.damaged_count == 0


@pytest.mark.parametrize(
    "colour", ["\x1b[32m", "\x1b[1;38;5;208m", "\x1b[0K", "\x1b[m\x1b[?25l", "\x1b[4:3m"]
)
@pytest.mark.parametrize(
    "line", ["NET_DELAY - 12.5 (us)", '{"type": "NET", "metric": "latency", "value": 12.5}']
)
def test_colours_are_read_through(colour, line):
    if line.startswith("{"):
        body = f"{colour}I 1 {colour}Caffe2Observer {colour}" + line.replace(
            "}", f', "unit": "us"}}{colour}\x1b[0m\n'
        )
    else:
        body = block(("NET_DELAY", "12.5 (us)"), prefix=f"{colour}I 1] ").replace("\n", "\x1b[0m\n")
    log = program_output.parse(body)
    assert (log.net_us, log.damaged_count) == ((12.5,), 0)


@pytest.mark.parametrize(
    ("text", "value_us"),
    [
        ("0.013994\t(m)", 13.994),
        ("2 (ms)", 2000),
        ("3.5 (us)", 3.5),
        ("1500 (ns)", 1.5),
        ("0.5 (s)", 500_000),
        ("1e-2 (ms)", 10),
    ],
)
def test_units(text, value_us):
    assert program_output.parse(block(("NET_DELAY", text))).net_us == (pytest.approx(value_us),)


def test_an_unknown_unit_is_reported():
    with pytest.raises(ProgramOutputError, match="'fortnights'"):
        program_output.parse(block(("NET_DELAY", "1 (fortnights)")))


def test_blocks_with_operators_give_no_sample_of_the_net():
    net = block(("NET_DELAY", "10 (us)"))
    operators = block(("ID_10_Relu_r", "2 (us)"), ("ID_2_Conv_a - b", "7 (us)"), ("NET_DELAY", "11 (us)"))
    log = program_output.parse((net + "noise\n" + operators) * 3)
    assert log.net_us == (10.0,) * 3
    assert list(log.operators_us) == ["ID_2_Conv_a - b", "ID_10_Relu_r"]
    assert log.operators_us["ID_10_Relu_r"] == (2.0,) * 3


def test_the_json_format():
    lines = [
        '{"type": "NET","unit": "us","metric": "latency","value": "17.088000"}',
        '{"type": "ID_0_Conv_y","unit": "us","metric": "latency","value": "9.1"}',
        '{"type": "NET_","unit": "percent","metric": "cpu_percent","value": "91.789560"}',
        '{"type": "ID_0_Conv_y","unit": "","metric": "tensor_shapes","info_string": "[[1, 3, 8, 8, ]]"}',
    ]
    log = program_output.parse("".join(f"I0601 x] Caffe2Observer {line}\n" for line in lines * 2))
    assert log.net_us == (17.088, 17.088)
    assert log.operators_us == {"ID_0_Conv_y": (9.1, 9.1)}
    assert log.damaged_count == 0


@pytest.mark.parametrize("cut", range(1, 3))
def test_a_block_that_is_cut_off_is_missing(cut):
    text = block(("NET_DELAY", "1 (us)")) + "".join(block(("NET_DELAY", "2 (us)")).splitlines(True)[:cut])
    assert program_output.parse(text).net_us == (1.0,)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x (us)", "'x' is not a number: "),
        ("101,5 (us)", "'101,5' is not a number; it has a decimal comma: run the program with LC_ALL=C: "),
        ("-1 (us)", "'-1' is not a delay: "),
        ("nan (us)", "'nan' is not a delay: "),
        ("inf (us)", "'inf' is not a delay: "),
        ("1e308 (s)", "'1e308' is not a delay: "),
        ("1e-320 (us)", "'1e-320' is not a delay: "),
        ("12", ""),
        ("12 us", ""),
    ],
)
def test_a_damaged_line_costs_itself_and_is_shown(value, problem):
    text = block(("NET_DELAY", "1 (us)")) + block(("NET_DELAY", value)) + block(("NET_DELAY", "3 (us)"))
    log = program_output.parse(text)
    assert log.net_us == (1.0, 3.0)
    assert [str(one) for one in log.damaged_lines] == [f"line 5: {problem}Caffe2Observer NET_DELAY - {value}"]
    assert log.warnings() == (
        f"1 observer lines cannot be read; the first is line 5: {problem}Caffe2Observer NET_DELAY - {value}",
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"type": "NET", "metric": "latency", "unit": "us", "value": "10,5"}', "has a decimal comma"),
        ('{"type": "NET", "metric": "latency", "unit": "us", "value": 1e999}', "1e999 is too large"),
        ('{"type": "NET", "metric": "latency", "unit": "us", "value": NaN}', "NaN is not a JSON number"),
        ('{"type": "NET", "metric": "latency", "unit": "us", "value": ' + "9" * 4000 + "}", "too large"),
        ('{"type": "NET", "metric": "latency", "unit": "us", "value": "1"', "it is not JSON"),
        ('{"type": "\\ud800", "metric": "latency", "unit": "us", "value": "1"}', "half of a character"),
        ('{"type": "' + "x" * 1001 + '", "metric": "latency", "unit": "us", "value": "1"}', "does not name"),
        ('{"type": "", "metric": "latency", "unit": "us", "value": "1"}', "does not name"),
        ('{"type": ["NET"], "metric": "latency", "unit": "us", "value": "1"}', "does not name"),
        (
            '{"type": "NET", "metric": "cost", "parameters": 1, "bytes": 1, "flops": ' + "9" * 400 + "}",
            "large",
        ),
        ('{"type": "NET", "metric": "cost", "parameters": 1, "bytes": 1, "flops": ' + "9" * 20 + "}", ""),
        ('{"type": "NET", "metric": "cost", "parameters": 1, "bytes": 1, "flops": true}', ""),
        ('{"a":' * 5000, "nested deeper"),
        ('{"metric": "warning", "text": 1}', ""),
    ],
)
def test_numbers_and_names_have_bounds(line, problem):
    log = program_output.parse(f"x\x1b[31m\x07\u202e Caffe2Observer {line}\n")
    assert (log.net_us, log.operators_us, log.costs, log.damaged_count) == ((), {}, {}, 1)
    (damaged,) = log.damaged_lines
    assert problem in damaged.problem
    assert bool(problem) == bool(damaged.problem)
    assert str(damaged).isprintable()
    assert len(str(damaged)) < 400


def test_of_very_many_damaged_lines_the_first_are_kept():
    log = program_output.parse("Caffe2Observer x\n" * 100_000)
    assert log.damaged_count == 100_000
    assert [one.number for one in log.damaged_lines] == [1, 2, 3, 4, 5]


def test_lines_keep_their_numbers_among_others_and_whatever_ends_them():
    text = "a\r\nb\rc\nCaffe2Observer x\n\n\rCaffe2Observer y\rcaffe2 z"
    assert [one.number for one in program_output.parse(text).damaged_lines] == [4, 7]


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "Caffe2Observer ",
            "Caffe2Observer x - a (",
            "x - a (",
            " - ",
            "(",
            ")",
            " ",
            "\x1b[",
            "\x1b[0",
            "0,",
        ),
        *("caffe2_benchmark facts {", '{"a":', "[", "caffe2_benchmark: error: ", "Delay Start", "9", '"'),
    ],
)
@pytest.mark.parametrize("head", ["Caffe2Observer ", "caffe2_benchmark facts ", "Caffe2Observer x - "])
@pytest.mark.parametrize("end", ["", " (us)", "}"])
def test_a_very_long_line_is_read_at_once(head, piece, end):
    """Anything that is not linear takes hours here."""
    log = program_output.parse(head + piece * 1_000_000 + end + "\n" + block(("NET_DELAY", "1 (us)")))
    assert log.net_us == (1.0,)


def test_other_text_may_stand_anywhere_between():
    lines = (
        block(("ID_0_Conv_c", "7 (us)"), ("NET_DELAY", "8 (us)")) + block(("NET_DELAY", "9 (us)"))
    ).splitlines()
    generator = random.Random(3)
    for _ in range(200):
        lines.insert(
            generator.randrange(len(lines) + 1), generator.choice(["garbage", "NET_DELAY - 5 (us)", "{", ""])
        )
    log = program_output.parse("\n".join(lines))
    assert (log.net_us, log.operators_us) == ((9.0,), {"ID_0_Conv_c": (7.0,)})


def test_streams_are_read_apart_and_the_richer_one_wins():
    good = block(("NET_DELAY", "1 (us)")) * 2
    broken = "Caffe2Observer Delay Start\n"
    log = program_output.richest((broken, good, 'x caffe2_benchmark facts {"engine": "torch", "list": [1]}'))
    assert log.net_us == (1.0, 1.0)
    assert log.facts == {"engine": "torch", "list": "[1]"}


def test_where_nothing_is_read_the_stream_with_the_damage_is_shown():
    log = program_output.richest(("", "Caffe2Observer x\n", ""))
    assert log.damaged_count == 1


@pytest.mark.parametrize("program", ["caffe2_benchmark", "onnxruntime_benchmark"])
def test_what_our_program_writes_is_read_back(program):
    stream = io.StringIO()
    observer = Observer(stream, program)
    observer.facts({"engine": "torch", "threads": 1})
    observer.model_name("a - (net)")
    observer.net_iteration(12_345)
    observer.operator_iteration([("ID_0_Conv_fire2/squeeze1x1", 7_001), ("ID_1_Relu_x (y)", 5)])
    log = program_output.parse(stream.getvalue())
    assert log.net_us == (12.345,)
    assert log.operators_us == {"ID_0_Conv_fire2/squeeze1x1": (7.001,), "ID_1_Relu_x (y)": (0.005,)}
    assert log.facts == {"engine": "torch", "threads": 1}
    assert log.damaged_count == 0


def test_what_computed_each_operator_is_read_in_the_order_of_the_net():
    lines = [
        '{"type": "ID_10_Relu_r", "metric": "kernel", "kernel": "relu", "own": false}',
        '{"type": "ID_2_Conv_c", "metric": "kernel", "kernel": "jit:avx512_core", "own": true}',
        '{"type": "ID_3_Conv_d", "metric": "kernel", "kernel": "jit:avx512_core"}',
        '{"type": "ID_4_Conv_e", "metric": "kernel", "kernel": "x", "own": "yes"}',
        '{"metric": "kernel", "kernel": "x", "own": true}',
    ]
    text = "".join(f"Caffe2Observer {line}\n" for line in lines)
    log = program_output.richest((block(("NET_DELAY", "1 (us)")), text))
    assert list(log.kernels.items()) == [
        ("ID_2_Conv_c", Kernel("jit:avx512_core", own=True)),
        ("ID_10_Relu_r", Kernel("relu", own=False)),
    ]
    assert [one.number for one in program_output.parse(text).damaged_lines] == [3, 4, 5]
    assert log.net_us == (1.0,)


pieces = st.sampled_from(
    [
        "Caffe2Observer ",
        "Delay Start",
        "Delay End",
        "NET_DELAY",
        " - ",
        "1.5",
        " (us)",
        " (m)",
        "{",
        "}",
        '"type"',
        "\n",
        "ID_0_",
    ]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=60).map("".join))
def test_any_text_is_read_or_refused_but_never_a_crash(text):
    try:
        log = program_output.parse(text)
    except ProgramOutputError:
        return
    assert all(value >= 0 for value in log.net_us)


def test_times_of_a_device_belong_to_the_iterations_before_them():
    net = 'Caffe2Observer {"type": "NET", "metric": "latency", "unit": "us", "value": "%d"}'
    device = 'Caffe2Observer {"type": "NET", "metric": "device_latency", "unit": "ms", "value": "%s"}'
    (measurement,) = program_output.parse(
        "\n".join([net % 10, device % 0.008, net % 11, device % 0.009])
    ).measurements()
    assert measurement.values == (10, 11)
    assert measurement.device_values == (8, 9)
    (measurement,) = program_output.parse("\n".join([net % 10, device % 0.008, net % 11])).measurements()
    assert (measurement.values, measurement.device_values) == ((10, 11), ())
    assert [one.number for one in program_output.parse(device % "many").damaged_lines] == [1]


def test_a_programs_own_warnings_are_kept_short_and_few():
    lines = [
        f'Caffe2Observer {{"metric": "warning", "text": "{number} {"x" * 2000}"}}' for number in range(30)
    ]
    warnings = program_output.richest(["\n".join(lines), lines[0]]).warnings()
    assert [one[:2].strip() for one in warnings] == [str(number) for number in range(20)]
    assert {len(one) for one in warnings} == {1000}
