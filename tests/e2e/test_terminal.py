"""What only shows on a terminal, and what only shows where there is none."""

import hashlib
import os
import pty
import subprocess

from tests.support import http_server

DATA = b"x" * 3_000_000


def run_on_terminal(command, directory, environment=None):
    """Everything that the command wrote to a terminal of 80 columns."""
    main_end, terminal_end = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "80", **(environment or {})}
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=terminal_end,
        stdout=terminal_end,
        stderr=terminal_end,
        env=os.environ | variables,
    )
    os.close(terminal_end)
    parts = []
    while True:
        try:
            part = os.read(main_end, 65536)
        except OSError:  # the last writer has gone
            break
        if not part:
            break
        parts.append(part)
    os.close(main_end)
    assert process.wait() == 0
    return b"".join(parts).decode()


def test_the_progress_of_a_download_shows_on_a_terminal_only(workshop):
    path = workshop.benchmark()
    with http_server.running() as server:
        url = server.on("/init", http_server.trickled(DATA, 0.02, block=200_000))
        text = path.read_text().replace('"location": "init_net.pb"', f'"location": "{url}"')
        path.write_text(text.replace(hashlib.md5(b"init").hexdigest(), hashlib.md5(DATA).hexdigest()))
        arguments = ("--program", workshop.program(), "--screen_reporter")
        shown = run_on_terminal(workshop.command(*arguments), workshop.directory)
        assert "3.0 MB" in shown.replace("/", " ")
        assert "101 us" in shown
        for cached in (workshop.directory / "cache").rglob("init_net_*.pb"):
            cached.unlink()
        piped = workshop.run(*arguments)
        assert "\x1b" not in piped.stdout + piped.stderr
        assert "MB" not in piped.stderr


def test_colour_is_for_terminals_whose_users_want_it(workshop):
    workshop.benchmark()
    command = workshop.command("--program", workshop.program(), "--screen_reporter")
    assert "\x1b[32m" in run_on_terminal(command, workshop.directory)
    assert "\x1b[32m" not in run_on_terminal(command, workshop.directory, {"NO_COLOR": "1"})
