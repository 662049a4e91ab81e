"""``mlbench serve`` and ``mlbench import`` as processes of their own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from benchmarking.cli import importing, serve
from benchmarking.records.tree import History as Tree
from tests.support.made_up_results import History

ROOT = Path(__file__).parents[3]
MLBENCH = (sys.executable, "-m", "benchmarking")


@pytest.fixture
def environment(tmp_path):
    own = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **own}


@contextmanager
def served(environment, directory, *arguments):
    """The address that it prints, and its process."""
    command = (*MLBENCH, "serve", "--port", "0", *arguments)
    with subprocess.Popen(
        command, cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = next(one for one in process.stderr if "http://" in one)
            yield re.search(r"http://\S+/", line)[0], process
        finally:
            process.kill()


def mlbench(environment, directory, *arguments):
    return subprocess.run(
        (*MLBENCH, *arguments),
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_serves_what_was_saved_and_ends_when_asked(environment, tmp_path):
    """Without any option: a database among the user's data, and the results of the default directory."""
    saved = tmp_path / "data/ml-benchmark-platform/results"
    results = list(History(nets=1, backends=("default",), devices=1, commits=3, failed=0))
    saved.mkdir(parents=True)
    for one in results:
        Tree(saved).save(one)
    with served(environment, tmp_path) as (address, process):
        for _ in range(100):
            page = requests.get(f"{address}run/{results[-1].provenance.uid}", timeout=60)
            if page.status_code == 200:
                break
            time.sleep(0.1)
        assert (page.status_code, "squeezenet" in page.text) == (200, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert (tmp_path / "data/ml-benchmark-platform/results.db").stat().st_mode & 0o777 == 0o600


def test_import_token_and_backup_while_it_serves(environment, tmp_path):
    database = ("--database", f"sqlite:///{tmp_path}/r.db")
    (tmp_path / "saved").mkdir()
    for one in History(nets=1, backends=("default",), devices=1, commits=3, failed=0):
        Tree(tmp_path / "saved").save(one)
    token = mlbench(
        environment, tmp_path, "serve", "token", "create", "--name", "ci", "--scope", "read", *database
    )
    assert (token.returncode, token.stderr) == (0, "This is shown once: the database has only its hash.\n")
    headers = {"Authorization": f"Bearer {token.stdout.strip()}"}
    with served(environment, tmp_path, "--auth", "token", "--no_import", *database) as (address, _):
        imported = mlbench(environment, tmp_path, "import", "saved", *database)
        assert (imported.returncode, imported.stdout) == (0, "saved: 3 new, 0 known\n")
        assert (
            mlbench(environment, tmp_path, "import", "saved", *database).stdout == "saved: 0 new, 3 known\n"
        )
        metrics = requests.get(f"{address}metrics", headers=headers, timeout=60).text
        assert 'mlbench_stored{table="result"} 3\n' in metrics
        assert mlbench(environment, tmp_path, "serve", "backup", "copy.db", *database).returncode == 0
        prefix = token.stdout.split("_")[1]
        listed = mlbench(environment, tmp_path, "serve", "token", "list", *database).stdout
        assert re.search(rf"{prefix} +ci +read +all ", listed)
        assert mlbench(environment, tmp_path, "serve", "token", "revoke", prefix, *database).returncode == 0
        assert requests.get(f"{address}metrics", headers=headers, timeout=60).status_code == 401
    again = mlbench(environment, tmp_path, "import", "saved", "--database", "sqlite:///copy.db")
    assert again.stdout == "saved: 0 new, 3 known\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0: everybody in the network could change everything"),
        (("--auth", "proxy"), "--auth proxy: give the proxy's address with --proxy_networks"),
        (("--auth", "proxy", "--proxy_networks", "x"), "--proxy_networks: 'x' does not appear to be"),
        (("--port", "99999"), "argument --port: '99999' is not a port from 0 to 65535"),
        (("--root_path", "bench"), "argument --root_path: 'bench' does not have the form /path"),
        (("nonsense",), "there is no command 'nonsense', but token create, token list, token revoke, backup"),
        (("token",), "there is no command 'token', but token create, token list"),
        (("token", "create", "ci"), "the command is: token create --name NAME"),
        (("token", "list", "all"), "the command is: token list"),
        (("backup",), "the command is: backup FILE"),
        (("token", "create"), "give the token a name with --name"),
        (("token", "revoke", "x"), "there is no token x; mlbench serve token list shows them"),
        (
            ("--database", "x"),
            "the database is not a URL as in sqlite:///FILE or postgresql://USER@HOST/NAME: ",
        ),
    ],
)
def test_wrong_options_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    try:
        status = serve.main(arguments, "mlbench serve")
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert (status, error.startswith(f"mlbench serve: {message}") or message in error) == (2, True), error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        database = f"sqlite:///{tmp_path}/results.db"
        arguments = ["--port", str(port), "--database", database, "--no_import"]
        assert serve.main(arguments, "mlbench serve") == 2
    reason = "Address already in use; --port 0 takes a free one"
    assert capsys.readouterr().err == f"mlbench serve: cannot listen on 127.0.0.1 port {port}: {reason}\n"


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, capsys):
    (tmp_path / "x.json").write_text("[1]")
    assert (
        importing.main(
            [str(tmp_path / "x.json"), "--database", f"sqlite:///{tmp_path}/r.db"], "mlbench import"
        )
        == 2
    )
    assert "its form is not known; these are read: google_benchmark, " in capsys.readouterr().err
    assert importing.main([str(tmp_path), "--commit", "a1"], "mlbench import") == 2
    assert "--commit and --commit_time go together" in capsys.readouterr().err
