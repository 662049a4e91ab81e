"""What a device says, taken apart: never more than a fact that is missing."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarking.platforms.android.android import _own_conditions
from benchmarking.platforms.remote.remote_platform import _answers_by_file
from benchmarking.platforms.remote.system import Answers, lasting_facts, moving_facts, processor_zones
from benchmarking.repos.repo_base import without_password

FILES = (
    *("/proc/loadavg", "/proc/stat", "/proc/meminfo", "/sys/class/thermal/thermal_zone0/temp"),
    *("/sys/class/thermal/thermal_zone0/type", "/proc/cpuinfo", "/x/scaling_cur_freq", "/x/cpuinfo_max_freq"),
)
WORDS = st.sampled_from(
    [
        *("cpu", "MemTotal:", "MemAvailable:", "1", "0.5", "-1", "9" * 5000, "1.2.3", "nan", "inf", "1e999"),
        *(
            "x",
            "\u00b2",
            "\u0663",
            ":",
            "=",
            "level",
            "temperature",
            "Thermal Status",
            "mValue=1.2.3, mType=3,",
        ),
        "mValue=36.5, mType=3,",
    ]
)


def facts(text):
    answers = Answers(text)
    return {
        **lasting_facts(answers),
        **moving_facts(answers, processor_zones(answers)),
        **_own_conditions(answers),
    }


@given(st.lists(st.tuples(st.sampled_from((*FILES, "")), st.lists(WORDS, max_size=9).map(" ".join))))
def test_any_answer_is_facts(lines):
    facts("\n".join(f"{path}:{words}" if path else words for path, words in lines))


def test_a_number_that_is_not_one_is_missing_and_the_others_stay():
    text = "\n".join(
        [
            "/proc/loadavg:0.5 1.2.3 inf 1/2 3",
            "/proc/meminfo:MemTotal: x kB",
            f"/proc/meminfo:MemAvailable: {'9' * 5000} kB",
            "/proc/stat:cpu 1 2 x 4 5 6 7 8",
            f"/x/scaling_cur_freq:{'9' * 5000}",
            "/y/scaling_cur_freq:1000",
            f"level: {'9' * 5000}",
            "temperature: 250",
            "mValue=1.2.3, mType=3, mValue=36.5, mType=3,",
        ]
    )
    found = facts(text)
    assert found["load_1_min"] == 0.5
    assert found["cpu_khz"] == 1000
    assert found["cpu_steal_s"] == 0.08
    assert found["battery_temperature_celsius"] == 25
    assert found["skin_temperature_celsius"] == 36.5
    assert not found.keys() & {"load_5_min", "load_15_min", "memory_bytes", "memory_available_bytes"}
    assert "battery_percent" not in found


def test_long_texts_are_taken_apart_at_once():
    for piece in ("./", "./x\0", "\0", " 1\n", "://", "a", "a://b", " "):
        _answers_by_file(piece * 300_000)
        Answers(piece * 300_000)
        without_password(piece * 300_000)


def test_passwords_are_left_out_of_addresses():
    text = "cannot fetch https://me:secret@host/x and ssh://git@host:22/y from me@host or http://host/@x"
    assert without_password(text) == (
        "cannot fetch https://host/x and ssh://host:22/y from me@host or http://host/@x"
    )
