"""What open pages are told, and how often."""

import asyncio
import threading

import pytest

from benchmarking.server import live
from benchmarking.server.live import Hub


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(live, "SHORTEST_INTERVAL_S", 0.01)
    return Hub()


def test_a_stream_tells_each_change_once_and_ends_with_the_server(hub):
    async def read():
        stream = hub.listen()
        told = [await anext(stream)]
        assert hub.streams == 1
        hub.publish("results")
        hub.publish("regressions")
        hub.publish("results")
        told.append(await anext(stream))
        threading.Thread(target=hub.publish, args=("results",)).start()
        told.append(await anext(stream))
        asyncio.get_running_loop().call_later(0.01, hub.close)
        told += [one async for one in stream]
        return told

    told = asyncio.run(asyncio.wait_for(read(), 60))
    changed = "event: {}\ndata: changed\n\n"
    both = changed.format("regressions") + changed.format("results")
    assert told[:3] == ["retry: 5000\n\n", both, changed.format("results")]
    assert told[3:] in ([": still here\n\n"], [])
    assert hub.streams == 0
    assert hub.listen() is None


def test_a_silent_stream_shows_that_it_lives(hub, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)

    async def read():
        stream = hub.listen()
        return [await anext(stream), await anext(stream), await anext(stream)]

    assert asyncio.run(asyncio.wait_for(read(), 60)) == ["retry: 5000\n\n", *[": still here\n\n"] * 2]


def test_streams_are_bounded_and_may_be_left(hub, monkeypatch):
    monkeypatch.setattr(live, "MOST_STREAMS", 1)

    async def read():
        stream = hub.listen()
        await anext(stream)
        refused = hub.listen()
        await stream.aclose()
        return refused, hub.streams, hub.listen() is not None

    assert asyncio.run(asyncio.wait_for(read(), 60)) == (None, 0, True)


def test_who_asked_is_called_in_the_thread_that_publishes(hub):
    calls = []
    hub.on("results", lambda: calls.append(threading.current_thread().name))
    hub.publish("regressions")
    hub.publish("results")
    assert calls == [threading.current_thread().name]
