"""Pages that were made a moment ago."""

import threading

import pytest
from fastapi import Response

from benchmarking.server.pages import recent
from benchmarking.server.pages.recent import MOST_PAGES, RecentPages


def test_a_page_is_made_again_after_a_change_and_after_a_moment(monkeypatch):
    clock, version, made = [10.0], [1], []
    monkeypatch.setattr(recent.time, "monotonic", lambda: clock[0])
    pages = RecentPages(lambda: version[0])

    def get(key="page"):
        def make():
            made.append(key)
            return Response(f"{key} {len(made)}", 201, {"X-Own": "1"})

        answer = pages.get(key, make)
        assert (answer.status_code, answer.headers["X-Own"]) == (201, "1")
        return answer.body.decode()

    assert [get(), get(), get("other"), get()] == ["page 1", "page 1", "other 2", "page 1"]
    version[0] += 1
    assert [get(), get()] == ["page 3", "page 3"]
    clock[0] += recent.KEPT_S
    assert [get(), get("other")] == ["page 4", "other 5"]
    for number in range(MOST_PAGES):
        get(str(number))
    assert get() == f"page {len(made)}"
    assert len(pages._pages) == MOST_PAGES


def test_what_changes_while_a_page_is_made_is_on_the_next():
    version = [1]
    pages = RecentPages(lambda: version[0])

    def make():
        version[0] += 1
        return Response(str(version[0]))

    assert [pages.get("page", make).body for _ in range(2)] == [b"2", b"3"]


def test_a_page_is_made_once_for_all_who_ask_meanwhile():
    pages, made, begun, may_end = RecentPages(lambda: 1), [], threading.Event(), threading.Event()

    def make():
        made.append(1)
        begun.set()
        assert may_end.wait(60)
        return Response("made")

    found = []
    ask = [threading.Thread(target=lambda: found.append(pages.get("page", make).body)) for _ in range(3)]
    ask[0].start()
    assert begun.wait(60)
    for one in ask[1:]:
        one.start()
    assert pages.get("other", lambda: Response("other")).body == b"other"
    may_end.set()
    for one in ask:
        one.join()
    assert (found, len(made)) == ([b"made"] * 3, 1)


def test_a_page_that_cannot_be_made_is_tried_again():
    pages = RecentPages(lambda: 1)

    def fail():
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        pages.get("page", fail)
    assert pages.get("page", lambda: Response("made")).body == b"made"
