"""Pages that were made a moment ago."""

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


def test_what_changes_while_a_page_is_made_is_on_the_next(monkeypatch):
    version = [1]
    pages = RecentPages(lambda: version[0])

    def make():
        version[0] += 1
        return Response(str(version[0]))

    assert [pages.get("page", make).body for _ in range(2)] == [b"2", b"3"]
