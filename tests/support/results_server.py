"""The results server on loopback, in a thread of its own."""

import asyncio
import threading
from contextlib import contextmanager

import uvicorn

from benchmarking.server.app import make_app
from benchmarking.server.running import listen


@contextmanager
def serving(store, access=None, notices=None):
    """The address of a running server, without a slash at its end."""
    app = make_app(store, access, notices=notices)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=2
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server._serve([listener])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        app.state.hub.close()
        server.should_exit = True
        thread.join(30)
