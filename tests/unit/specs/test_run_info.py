import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.errors import UsageError
from benchmarking.results import unix_time
from benchmarking.specs.run_info import (
    INTERACTIVE_COMMIT,
    RunInfo,
    is_program_commit,
    program_commit,
    read_run_info,
)

COMPLETE = {
    "treatment": {"commit": "abc", "commit_time": 2, "program": "new"},
    "control": {"commit": "def", "commit_time": 1, "program": "old"},
    "regression_commits": [{"commit": "x", "commit_time": 0}],
    "run_type": "verify",
    "regressed_types": ["NET_DELAY"],
    "meta": {"branch": "main", "number": 1, "share": 0.5, "flag": True, "none": None},
    "shared_libs": ["a.so"],
}


def test_everything_that_the_contract_lists(tmp_path):
    info = read_run_info(json.dumps(COMPLETE))
    assert (info.treatment.program, info.control.commit, info.run_type) == ("new", "def", "verify")
    assert info.regression_commits[0].commit == "x"
    assert info.meta == COMPLETE["meta"]
    (tmp_path / "info.json").write_text(json.dumps(COMPLETE))
    assert read_run_info(f"@{tmp_path / 'info.json'}") == info


@pytest.mark.parametrize("time", [-1, 0, 253_402_300_800, unix_time.FIRST_SECOND, unix_time.LAST_SECOND])
def test_commits_of_any_time(time):
    info = read_run_info(json.dumps({"treatment": {"commit": "a", "commit_time": time, "position": 7}}))
    assert (info.treatment.commit_time, info.treatment.position) == (time, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("commit_time", unix_time.FIRST_SECOND - 1),
        ("commit_time", unix_time.LAST_SECOND + 1),
        ("commit_time", 1.5),
        ("position", -1),
        ("position", "1"),
    ],
)
def test_invalid_times_and_positions(name, value):
    with pytest.raises(UsageError, match=rf"\$\.treatment\.{name}"):
        read_run_info(json.dumps({"treatment": {"commit": "a", "commit_time": 1, name: value}}))


@pytest.mark.parametrize("name", ["program", "python"])
def test_a_path_may_hold_bytes_that_are_not_utf_8_other_text_may_not(name):
    path = os.fsdecode(b"/programs/\xff")
    assert getattr(read_run_info(json.dumps({"treatment": {name: path}})).treatment, name) == path
    with pytest.raises(UsageError, match=r"\$\.treatment\.commit: .*string"):
        read_run_info(json.dumps({"treatment": {"commit": path, "commit_time": 1}}))
    with pytest.raises(UsageError, match="half of a character"):
        read_run_info(json.dumps({"treatment": {name: "\ud800"}}))


def test_only_the_treatment_is_required():
    info = read_run_info('{"treatment": {"commit": "a", "commit_time": 1}}')
    assert (info.control, info.regression_commits, info.run_type) == (None, [], None)


def test_every_fault_is_reported_with_its_place():
    wrong = COMPLETE | {"treatment": {"commit": "", "time": 1}, "run_type": "x", "extra": 1}
    with pytest.raises(UsageError) as caught:
        read_run_info(json.dumps(wrong))
    text = str(caught.value)
    for place in (
        "$.treatment.commit:",
        "$.treatment.time:",
        "$.run_type:",
        "$.extra:",
    ):
        assert f"--info: {place}" in text


@pytest.mark.parametrize(
    "version",
    [
        {},
        {"commit": "a"},
        {"commit_time": 1},
        {"commit_time": 1, "program": "p"},
        {"commit": "a", "program": "p"},
    ],
)
def test_a_version_is_a_commit_with_its_time_or_a_program(version):
    with pytest.raises(UsageError, match=r"--info: \$\.control: (give )?commit and commit_time"):
        read_run_info(json.dumps({"treatment": {"program": "p"}, "control": version}))


def test_a_program_without_a_commit_has_its_name_and_content_for_one(tmp_path):
    paths = [tmp_path / one for one in ("new/my program.pyz", "old/my program.pyz", "copy/my program.pyz")]
    for path, content in zip(paths, ("new", "old", "new"), strict=True):
        path.parent.mkdir()
        path.write_text(content)
    new, old, copy = map(program_commit, paths)
    assert new == copy != old
    assert re.fullmatch(r"my-program\.pyz-[0-9a-f]{12}", new)
    known = [new, INTERACTIVE_COMMIT, "c0ffee", "0123456789ab", "0" * 40, "release-2.1"]
    assert [is_program_commit(one) for one in known] == [True, True, False, False, False, False]


def test_what_is_not_a_file_of_a_sensible_size_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(UsageError, match="--info: cannot read"):
            read_run_info(f"@{path}")
    with pytest.raises(UsageError, match="not JSON"):
        read_run_info('{"treatment": {"commit": "a", "commit_time": 1e999}}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*COMPLETE, "commit", "x"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.text()
    | json_values.map(json.dumps)
    | st.sampled_from(list(COMPLETE)).flatmap(
        lambda key: json_values.map(lambda value: json.dumps(COMPLETE | {key: value}))
    )
)
def test_any_text_is_read_or_refused_but_never_a_crash(text):
    try:
        info = read_run_info(text)
    except UsageError:
        return
    assert isinstance(info, RunInfo)


def test_the_file_may_lie_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "info.json").write_text(json.dumps(COMPLETE))
    assert read_run_info("@~/info.json").run_type == "verify"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("~nosuchuser/info.json", "home directory"),
        ("a" * 5000, "File name too long"),
        ("a\0b", "null byte"),
        ("/dev/zero", "not a regular file"),
        ("nonesuch", "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(source, reason):
    with pytest.raises(UsageError) as caught:
        read_run_info(f"@{source}")
    assert str(caught.value).startswith(f"--info: cannot read '{source[:5]}".replace("\0", "\\x00"))
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200
