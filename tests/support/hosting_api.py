"""The comments of GitHub's and GitLab's API, on loopback, with their limits and refusals."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "t0ken"
BOT = {"id": 7, "login": "github-actions[bot]"}
STRANGER = {"id": 9, "login": "stranger"}


class HostingApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments = []
        self.requests = []
        """Method and path with query of each."""
        self.pull_requests = []
        self.read_only = False
        """As the token of a fork's pull request."""
        self.refusals = []
        """Status and headers with which the next requests are refused."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, body, user=BOT):
        comment = {"id": 1000 + len(self.comments), "body": body, "user": user, "author": user}
        self.comments.append(comment)
        return comment

    @property
    def bodies(self):
        return [one["body"] for one in self.comments]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def _answer(self, value, status=200, headers=()):
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in dict(headers).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _handle(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.requests.append((self.command, self.path))
        if server.refusals:
            status, headers = server.refusals.pop(0)
            return self._answer({"message": "refused"}, status, headers)
        token = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "").removeprefix(
            "Bearer "
        )
        if token != TOKEN:
            return self._answer({"message": "Bad credentials"}, 401)
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/user":
            return self._answer(BOT)
        if path.endswith("/pulls"):
            return self._answer([one for one in server.pull_requests if one["of"] == query["head"][0]])
        if self.command == "GET":
            size, page = int(query["per_page"][0]), int(query["page"][0])
            return self._answer(server.comments[size * (page - 1) : size * page])
        if server.read_only:
            return self._answer({"message": "Resource not accessible by integration"}, 403)
        text = json.loads(body)["body"]
        if len(text) > 65536:
            return self._answer({"message": "body is too long (maximum is 65536 characters)"}, 422)
        if self.command == "POST":
            return self._answer(server.add(text), 201)
        (comment,) = [one for one in server.comments if path.endswith(f"/{one['id']}")]
        comment["body"] = text
        return self._answer(comment)

    do_GET = do_POST = do_PATCH = do_PUT = _handle  # noqa: N815 - the base class's names


@contextmanager
def running():
    server = HostingApi()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def rate_limit(wait_s=0):
    return 403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + wait_s))}
