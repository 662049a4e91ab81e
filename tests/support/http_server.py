"""A real HTTP server on loopback whose behaviour, path by path, can be as bad as the test requires."""

import gzip
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.behaviours = {}
        self.requests = Counter()
        self.released = threading.Event()
        self.reached = threading.Event()
        """Set when a stalling or trickling answer has begun."""
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def on(self, path, *steps):
        """Each step is a function that takes the handler; returns the path's URL."""
        self.behaviours[path] = steps
        return self.url(path)

    def handle_error(self, request, client_address):
        pass  # a client that goes away is what the tests are about


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        steps = self.server.behaviours.get(path, (status(404),))
        number = self.server.requests[path]
        self.server.requests[path] += 1
        steps[min(number, len(steps) - 1)](self)

    def log_message(self, *_):
        pass

    def begin(self, code=200, length=None, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True


def content(data):
    def answer(handler):
        handler.begin(length=len(data))
        handler.wfile.write(data)

    return answer


def status(code, **headers):
    return lambda handler: handler.begin(code, length=0, **headers)


def redirect(location):
    return status(302, Location=location)


def truncated(data, kept):
    def answer(handler):
        handler.begin(length=len(data))
        handler.wfile.write(data[:kept])

    return answer


def stalled(data, kept):
    """Sends the beginning, then nothing until the test is over."""

    def answer(handler):
        handler.begin(length=len(data))
        handler.wfile.write(data[:kept])
        handler.wfile.flush()
        handler.server.reached.set()
        handler.server.released.wait(60)

    return answer


def trickled(data, pause_s, block=1000):
    def answer(handler):
        handler.begin(length=len(data))
        handler.server.reached.set()
        for start in range(0, len(data), block):
            handler.wfile.write(data[start : start + block])
            time.sleep(pause_s)

    return answer


def raw(data):
    """These bytes in place of an answer, then nothing until the test is over."""

    def answer(handler):
        handler.wfile.write(data)
        handler.wfile.flush()
        handler.server.reached.set()
        if not data.endswith(b"\r\n\r\n") or b"Content-Length: 0" not in data:
            handler.server.released.wait(60)
        handler.close_connection = True

    return answer


def dripping(head):
    """The bytes, then one more now and then until the test is over."""

    def answer(handler):
        handler.close_connection = True
        handler.wfile.write(head)
        handler.server.reached.set()
        while not handler.server.released.wait(0.05):
            handler.wfile.write(b"x")

    return answer


def endless(block, head=b""):
    def answer(handler):
        handler.close_connection = True
        handler.wfile.write(head)
        handler.server.reached.set()
        while not handler.server.released.is_set():
            handler.wfile.write(block)

    return answer


def packed(data, body=None):
    """As a store serves a file that was uploaded with Content-Encoding, regardless of the request."""
    blob = gzip.compress(data) if body is None else body

    def answer(handler):
        handler.begin(length=len(blob), Content_Encoding="gzip")
        handler.wfile.write(blob)

    return answer


def reset(handler):
    """Ends the connection as a crashed server's kernel does."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def generated(block, count):
    """A large body that is never in memory as a whole."""

    def answer(handler):
        handler.begin(length=len(block) * count)
        for _ in range(count):
            handler.wfile.write(block)

    return answer


@contextmanager
def running():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
