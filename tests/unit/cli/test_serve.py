"""``mlbench serve`` and ``mlbench import`` as processes of their own."""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pytest
import requests
from sqlalchemy.exc import OperationalError

from benchmarking.cli import importing, serve
from benchmarking.dispatch import LAB_VARIABLE
from benchmarking.dispatch.database import Database
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.records.tree import History as Tree
from benchmarking.server import accounts
from benchmarking.server import importing as server_importing
from benchmarking.server.accounts import Access, Auth, Scope
from benchmarking.server.store import open_store
from benchmarking.server.triage.notices import NoticeSettings
from tests.support.made_up_results import History
from tests.support.waiting import wait_until

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


@pytest.mark.parametrize(
    "option", [("--device", "x"), ("--format", "hyperfine"), ("--commit=a", "--commit_time=1")]
)
def test_options_for_files_of_other_tools_are_refused_with_directories(option, tmp_path, capsys):
    arguments = [str(tmp_path / "x.json"), str(tmp_path), "--database", f"sqlite:///{tmp_path}/r.db", *option]
    assert importing.main(arguments, "mlbench import") == 2
    name = option[0].partition("=")[0]
    assert f"{name} is for files of other tools, and {tmp_path} is a directory" in capsys.readouterr().err
    assert not (tmp_path / "r.db").exists()


def test_a_cancelled_import_begins_nothing_more(tmp_path, monkeypatch, capsys):
    def interrupted(store, root, is_ending, project):
        signal.raise_signal(signal.SIGTERM)
        wait_until(is_ending)
        return server_importing.Imported(accepted=1)

    monkeypatch.setattr(server_importing, "import_tree", interrupted)
    (tmp_path / "x.json").write_text("[1]")
    arguments = [str(tmp_path), str(tmp_path / "x.json"), "--database", f"sqlite:///{tmp_path}/r.db"]
    assert importing.main(arguments, "mlbench import") == ExitStatus.INTERRUPTED
    assert capsys.readouterr() == (f"{tmp_path}: 1 new, 0 known\n", "")


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, capsys):
    (tmp_path / "x.json").write_text("[1]")
    assert (
        importing.main(
            [str(tmp_path / "x.json"), "--database", f"sqlite:///{tmp_path}/r.db"], "mlbench import"
        )
        == 2
    )
    assert "its form is not known; these are read: google_benchmark, " in capsys.readouterr().err
    wrong = [str(tmp_path / "x.json"), "--format", "hyperfin"]
    assert importing.main(wrong, "mlbench import") == 2
    assert "--format: there is no format 'hyperfin'; did you mean hyperfine?" in capsys.readouterr().err
    (tmp_path / "x.json").write_text("{}")
    assert (
        importing.main([*wrong[:2], "hyperfine", f"--database=sqlite:///{tmp_path}/r.db"], "mlbench import")
        == 2
    )
    assert capsys.readouterr().err.endswith(
        "it is not of the form hyperfine, or damaged: it lacks 'results'\n"
    )
    assert importing.main([str(tmp_path), "--commit", "a1"], "mlbench import") == 2
    assert "--commit and --commit_time go together" in capsys.readouterr().err


# --- in the process of the test -----------------------------------------------------------------------------


def parsed(*words):
    return serve.make_parser("mlbench serve").parse(words)


@pytest.mark.parametrize(
    ("function", "text", "value"),
    [
        (serve._days, "1000000", 1_000_000),
        (serve._days, "1000001", None),
        (serve._days, "0", None),
        (serve._port, "0", 0),
        (serve._port, "65535", 65535),
        (serve._port, "65536", None),
        (serve._port, "-1", None),
        (serve._port, "x", None),
        (serve._root_path, "", ""),
        (serve._root_path, "/a/b", "/a/b"),
        (serve._root_path, "a", None),
        (serve._root_path, "/a/", None),
        (serve._root_path, "/a//b", None),
    ],
)
def test_what_an_option_takes(function, text, value):
    if value is None:
        with pytest.raises(argparse.ArgumentTypeError):
            function(text)
    else:
        assert function(text) == value


def test_who_may_do_what():
    assert serve._access(parsed()) == replace(Access(), key=ANY)
    for host in ("localhost", "127.0.0.1", "::1"):
        serve._access(parsed("--host", host))
    words = ("--auth", "proxy", "--host", "10.0.0.1", "--proxy_networks", "10.0.0.7/32,::1")
    options = ("--public", "--proxy_header", "X-User", "--proxy_scope", "read")
    assert serve._access(parsed(*words, *options)) == Access(
        auth=Auth.PROXY,
        public=True,
        proxy_header="X-User",
        proxy_networks=(ip_network("10.0.0.7/32"), ip_network("::1")),
        proxy_scope=Scope.READ,
        key=ANY,
    )
    assert serve._access(parsed("--auth", "token", "--host", "0.0.0.0")).auth is Auth.TOKEN


def test_what_a_notice_says_and_to_whom():
    assert serve._notices(parsed(), "http://h:1/") == NoticeSettings("http://h:1", (), False)
    words = ("--notify", "sh -c true", "--public_url", "https://bench/", "--allow_private_webhooks")
    assert serve._notices(parsed(*words), "x") == NoticeSettings("https://bench", ("sh", "-c", "true"), True)
    with pytest.raises(UsageError, match=r"^--notify: there is no command '/no/such' that can be run$"):
        serve._notices(parsed("--notify", "/no/such"), "x")


def test_a_lab_is_shown_if_there_is_one(monkeypatch):
    monkeypatch.delenv(LAB_VARIABLE, raising=False)
    assert serve._lab(None) is None
    checked = []
    monkeypatch.setattr(Database, "check", lambda lab: checked.append(lab))
    assert serve._lab("postgresql://one/lab").name == "one/lab"
    monkeypatch.setenv(LAB_VARIABLE, "postgresql://other/lab")
    assert serve._lab(None).name == "other/lab"
    assert [one.name for one in checked] == ["one/lab", "other/lab"]


def test_an_import_waits_for_the_database(monkeypatch, caplog):
    published, waits = [], []
    outcomes = [OperationalError("s", {}, Exception("away")), None]

    def import_tree(store, directory, is_ending):
        assert (store, directory, is_ending()) == ("store", Path("d"), False)
        if outcome := outcomes.pop(0):
            raise outcome

    class Ending(threading.Event):
        def wait(self, seconds):
            waits.append(seconds)
            return self.is_set()

    hub = SimpleNamespace(publish=published.append)
    monkeypatch.setattr(server_importing, "import_tree", import_tree)
    serve._import_saved("store", hub, Path("d"), Ending())
    assert (published, waits) == (["results"], [60.0])
    assert [one.partition(": ")[0] for one in caplog.messages] == [
        "the import of d waits, because the database failed"
    ]

    def fails(store, directory, is_ending):
        ending.set()
        raise OperationalError("s", {}, Exception("away"))

    ending = Ending()
    monkeypatch.setattr(server_importing, "import_tree", fails)
    serve._import_saved("store", hub, Path("d"), ending)
    assert published == ["results"]


def test_threads_end_with_the_server():
    given = []

    def work(*values):
        *_, ending = values
        ending.wait(60)
        given.append((values, ending.is_set()))

    ending = threading.Event()
    with ExitStack() as stack:
        serve._start(stack, ending, work, "a", 1)
    assert given == [(("a", 1, ending), True)]


def test_tokens_in_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(accounts, "time", SimpleNamespace(time=lambda: 1_700_000_000.0))
    database = ("--database", f"sqlite:///{tmp_path}/r.db")

    def run(*words):
        capsys.readouterr()
        assert serve.main([*words, *database], "mlbench serve") == 0
        shown = capsys.readouterr()
        return shown.out, shown.err

    for words in (
        ("--name", "ann\x1b"),
        ("--name", "bob", "--scope", "admin", "--days", "2", "--project", "mine"),
        ("--name", "cem", "--scope", "read"),
    ):
        token, said = run("token", "create", *words)
        assert said == "This is shown once: the database has only its hash.\n"
    run("token", "revoke", token.split("_")[1])
    store = open_store(database[1])
    accounts.account_of_token(store, run("token", "create", "--name", "dan")[0].strip())
    store.close()
    lines = [re.sub(r"^[0-9a-f]{10}|-{10}", "PREFIX", one) for one in run("token", "list")[0].splitlines()]
    assert [" ".join(one.split()) for one in lines[2:]] == [
        "PREFIX ann? write all 2023-11-14 never never",
        "PREFIX bob admin mine 2023-11-14 2023-11-16 never",
        "PREFIX cem read all 2023-11-14 revoked never",
        "PREFIX dan write all 2023-11-14 never 2023-11-14",
    ]
    assert lines[0].split() == ["prefix", "name", "scope", "project", "created", "ends", "used"]
