"""What the server takes is as large as it may be, and no larger: each limit, and one beyond."""

import asyncio
import gzip
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fastapi import HTTPException

from benchmarking.server import admission, bodies
from benchmarking.server.admission import RefusedError, admit
from tests.support import sample_results as samples
from tests.support.sample_results import having

GOOD = having(samples.PASSED, uid="u1", run_uid="r1")


def test_a_good_result_is_admitted_as_it_is():
    assert admit(GOOD) is GOOD


@pytest.mark.parametrize(
    "name", ["net", "metric", "identifier", "framework", "backend", "branch", "author", "subject"]
)
def test_each_name_has_a_limit(name):
    admit(having(GOOD, **{name: "x" * 500}))
    with pytest.raises(RefusedError, match=f"^a name is longer than 500 characters: '{'x' * 40}'$"):
        admit(having(GOOD, **{name: "x" * 501}))


@pytest.mark.parametrize(
    "result",
    [
        having(GOOD, commit="\0"),
        having(GOOD, control_commit="\0"),
        replace(GOOD, test=replace(GOOD.test, device="\0")),
        replace(GOOD, device=replace(GOOD.device, name="\0")),
        replace(GOOD, device=replace(GOOD.device, tainted=("fine", "\udc00"))),
        having(GOOD, types=(replace(samples.OPERATORS[0], type="\0"),)),
        having(GOOD, types=(replace(samples.OPERATORS[0], unit="\0"),)),
    ],
)
def test_what_is_in_a_column_is_text(result):
    with pytest.raises(RefusedError, match=r"^a name contains NUL or half of a character: "):
        admit(result)


@pytest.mark.parametrize("name", ["uid", "run_uid"])
@pytest.mark.parametrize(
    ("uid", "is_one"), [("x" * 64, True), ("x" * 65, False), ("", False), ("aZ0_-", True)]
)
def test_what_is_an_id(name, uid, is_one):
    result = having(GOOD, **{name: uid})
    if is_one:
        assert admit(result) is result
    else:
        with pytest.raises(RefusedError, match="is no id of a result or a run: letters, digits, - and _"):
            admit(result)


@pytest.mark.parametrize(
    "name", ["time", "commit_time", "control_commit_time", "position", "control_position"]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_times_and_positions_have_limits(name, sign):
    admit(having(GOOD, **{name: sign * 2**40}))
    with pytest.raises(RefusedError, match=r"^a time or a position is out of bounds$"):
        admit(having(GOOD, **{name: sign * (2**40 + 1)}))


@pytest.mark.parametrize(
    ("name", "limit", "change", "message"),
    [
        ("MOST_TYPES", 3, lambda n: {"types": (samples.OPERATORS[0],) * n}, "a result has at most 3 types"),
        (
            "LONGEST_TEXT",
            600,
            lambda n: {"user": {"a": "x" * n}},
            "a text is longer than 600 characters: 'xxx",
        ),
        (
            *("LARGEST_INTEGER", 2**41, lambda n: {"user": {"a": n}}),
            "an integer has more than 63 bits",
        ),
        (
            *("MOST_SAMPLES", 50, lambda n: {"types": (samples.delays("NET_DELAY", 1.0, count=n),)}),
            "a list has at most 50 items, such as samples",
        ),
    ],
)
def test_everything_else_has_a_limit(monkeypatch, name, limit, change, message):
    monkeypatch.setattr(admission, name, limit)
    admit(having(GOOD, **change(limit)))
    with pytest.raises(RefusedError, match=message):
        admit(having(GOOD, **change(limit + 1)))


def test_both_signs_and_every_depth_are_looked_at(monkeypatch):
    for user in ({"a": -(2**63 - 1)}, {"x" * 100_000: 1}):
        admit(having(GOOD, user=user))
    for user in ({"a": -(2**63)}, {"x" * 100_001: 1}):
        with pytest.raises(RefusedError):
            admit(having(GOOD, user=user))


# --- bodies -------------------------------------------------------------------------------------------------


def unpacked(*pieces, limit=10, **headers):
    async def stream():
        for one in pieces:
            yield one

    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(bodies.unpacked(SimpleNamespace(headers=headers, stream=stream), limit))


def refused(*pieces, **more):
    with pytest.raises(HTTPException) as raised:
        unpacked(*pieces, **more)
    return raised.value.status_code, raised.value.detail


GZIP = {"Content_Encoding": " GZip "}


def test_a_body_is_unpacked():
    packed = gzip.compress(b"0123456789")
    assert unpacked(b"01234", b"56789") == b"0123456789"
    assert unpacked(b"x", Content_Encoding="identity") == b"x"
    assert unpacked(packed[:7], packed[7:], **GZIP) == b"0123456789"
    assert unpacked() == b""


def test_what_is_no_body():
    packed = gzip.compress(b"0123456789")
    larger = 413, "It is larger than 10 bytes."
    assert refused(b"01234", b"567890") == larger
    for content in (b"01234567890", b"0" * 10_000):
        assert refused(gzip.compress(content), **GZIP) == larger
    assert refused(b"x", Content_Encoding="br") == (415, "Send it as it is, or with the encoding gzip.")
    assert refused(packed[:-1], **GZIP) == (400, "It is not gzip, or only a part of it.")
    assert refused(b"nonsense", **GZIP)[0] == 400
    assert refused(b"nonsense", **GZIP)[1].startswith("It is not gzip: ")


def test_what_follows_gzip_is_not_kept():
    after_it = 400, "Something follows the end of what is gzip."
    packed = gzip.compress(b"0123456789")
    assert refused(packed + b"x", **GZIP) == after_it
    assert refused(packed, b"x", b"y", **GZIP) == after_it


def test_what_unpacks_to_nothing_is_limited(monkeypatch):
    monkeypatch.setattr(bodies, "OF_GZIP", 40)
    head, nothing = gzip.compress(b"")[:10], b"\0\0\0\xff\xff"
    end = b"\3\0" + bytes(8)
    assert unpacked(head + nothing * 6, end, **GZIP) == b""
    assert refused(head, *[nothing] * 9, end, **GZIP) == (413, "It is larger than 10 bytes.")


@pytest.mark.parametrize(
    ("name", "most", "one"),
    [
        ("MOST_KEYS", 3, b":"),
        ("MOST_CONTAINERS", 3, b"{"),
        ("MOST_CONTAINERS", 3, b"["),
        ("MOST_ITEMS", 3, b","),
    ],
)
def test_a_body_holds_so_many_values(monkeypatch, name, most, one):
    monkeypatch.setattr(bodies, name, most)
    assert unpacked(one * most) == one * most
    assert refused(one * (most + 1)) == (413, "It holds too many values; send fewer results at once.")


def test_objects_and_lists_count_together(monkeypatch):
    monkeypatch.setattr(bodies, "MOST_CONTAINERS", 3)
    assert unpacked(b"{[{") == b"{[{"
    assert refused(b"{[{[")[0] == 413


@pytest.mark.parametrize(
    ("path", "kind", "is_limited"),
    [
        ("/login", "http", True),
        ("/api/v1/results", "http", False),
        ("/api/v1/logs", "http", False),
        ("/api/v1/results/x", "http", True),
        ("/live", "websocket", False),
    ],
)
def test_which_bodies_are_small(monkeypatch, path, kind, is_limited):
    monkeypatch.setattr(bodies, "LARGEST_FORM", 4)
    received = []

    async def app(scope, receive, send):
        while True:
            message = await receive()
            received.append(message.get("body", b""))
            if not message.get("more", False):
                return

    def send_pieces(*pieces):
        received.clear()
        messages = [{"body": one, "more": True} for one in pieces] + [{}]

        async def receive():
            return messages.pop(0)

        asyncio.run(bodies.SmallBodies(app)({"type": kind, "path": path}, receive, None))

    send_pieces(b"01", b"23")
    assert b"".join(received) == b"0123"
    if is_limited:
        with pytest.raises(HTTPException) as raised:
            send_pieces(b"01", b"234")
        assert (raised.value.status_code, raised.value.detail) == (413, "It is larger than 4 bytes.")
    else:
        send_pieces(b"01", b"234")
