"""The process that serves: its address, its signals, and its end."""

import gc
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from benchmarking.errors import UsageError
from benchmarking.server import running
from benchmarking.server.live import Hub
from benchmarking.server.running import listen, serve
from benchmarking.start import ENDING_SIGNALS

ROOT = Path(__file__).parents[3]


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture
def app():
    one = FastAPI()
    one.state.hub = Hub()

    @one.get("/")
    def page():
        return "here"

    return one


@pytest.fixture
def handlers():
    """What the signals do in the tests' own process is as before, whatever happens."""
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_free_port_is_found_and_children_inherit_it():
    with listen("127.0.0.1", 0) as listener:
        assert listener.family == socket.AF_INET
        assert listener.getsockname()[1] > 0
        assert listener.get_inheritable()
        with socket.create_connection(listener.getsockname()):
            pass


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6")
def test_an_address_with_colons_is_one_of_ipv6():
    with listen("::1", 0) as listener:
        assert listener.family == socket.AF_INET6


def test_an_address_that_cannot_be_used_is_one_clear_line():
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            listen("127.0.0.1", port)
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1 port {port}: Address already in use; --port 0 takes a free one"
    )
    with pytest.raises(UsageError) as caught:
        listen("127.0.0.1", 65536)
    assert str(caught.value).startswith("cannot listen on 127.0.0.1 port 65536: ")
    assert "65535" in str(caught.value)
    with pytest.raises(
        UsageError, match=r"^cannot listen on 192\.0\.2\.1 port 0: [^(]+; --port 0 takes a free one$"
    ):
        listen("192.0.2.1", 0)  # nobody has it


class Asking(threading.Thread):
    """Asks the server once, and then ends it by a signal."""

    def __init__(self, listener, number):
        super().__init__(daemon=True)
        self.port = listener.getsockname()[1]
        self.number = number
        self.headers = self.body = None

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request("GET", "/")
            answer = connection.getresponse()
            self.headers, self.body = answer.headers, answer.read()
            connection.close()
            # Only now: that it answers says that it has handlers.
            os.kill(os.getpid(), self.number)
        except OSError:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_ends_it_and_is_no_failure(app, handlers, caplog, number):
    listener = listen("127.0.0.1", 0)
    asking = Asking(listener, number)
    asking.start()
    try:
        serve(app, listener)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        asking.join()
    assert asking.body == b'"here"'
    assert "server" not in asking.headers
    assert app.state.hub.listen() is None
    assert {one: signal.getsignal(one) for one in ENDING_SIGNALS} == handlers
    assert not [one for one in caplog.records if one.name == "uvicorn.access"]


@pytest.fixture
def server(app, handlers):
    return running._Server(uvicorn.Config(app), app.state.hub)


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_signals_are_caught_while_it_serves_and_not_raised_again(server, handlers, number):
    with server.capture_signals():
        signal.raise_signal(number)
        assert server.should_exit
    assert {one: signal.getsignal(one) for one in ENDING_SIGNALS} == handlers


def test_handlers_are_put_back_after_a_failure_too(server, handlers):
    with pytest.raises(OSError, match="broken"), server.capture_signals():
        raise OSError("broken")
    assert {one: signal.getsignal(one) for one in ENDING_SIGNALS} == handlers


def test_under_nohup_a_closed_terminal_does_not_end_it(server):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with server.capture_signals():
        signal.raise_signal(signal.SIGHUP)
        assert not server.should_exit
        assert signal.getsignal(signal.SIGTERM) == server.handle_exit
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_threads_share_one_heap():
    code = """
import ctypes, sys, threading
from benchmarking.server.running import share_memory
if sys.argv[1] == "shared":
    share_memory()
library = ctypes.CDLL(None)
together = threading.Barrier(4)
def allocate():
    together.wait()
    library.malloc(100_000)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
"""
    heaps = {
        mode: subprocess.run(
            [sys.executable, "-c", code, mode], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.count("<heap nr=")
        for mode in ("shared", "apart")
    }
    assert heaps["shared"] == 1 < heaps["apart"]
