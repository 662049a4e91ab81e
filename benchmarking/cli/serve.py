"""``mlbench serve``: the results server, its tokens and its backup."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import Parser, comma_separated, command, path, positive_int, quoted
from benchmarking.cli.running import guarded
from benchmarking.cli.wiring import default_results
from benchmarking.errors import ExitStatus, StorageError, UsageError
from benchmarking.files.user import user_directory
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.dispatch.database import Database
    from benchmarking.server.accounts import Access
    from benchmarking.server.live import Hub
    from benchmarking.server.store import Store
    from benchmarking.server.triage.notices import NoticeSettings

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8080
LARGEST_PORT = 65535
MOST_DAYS = 1_000_000
"""What any database can add to a time."""
DATABASE_FILE = "results.db"
DATABASE_VARIABLE = "MLBENCH_DATABASE"
IMPORT_AGAIN_S = 60.0
SCOPES = ("read", "write", "triage", "admin")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def main(argv: Sequence[str], program: str) -> int:
    arguments = make_parser(program).parse(argv)
    streams.log_to_stderr(arguments.log_level)
    return guarded(program, lambda: _main(arguments))


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Serve the results in a browser, and receive more from --remote_reporter.",
        epilog="commands:\n"
        "  token create          make a token and print it, once\n"
        "  token list            show what is known of the tokens\n"
        "  token revoke PREFIX   make a token invalid\n"
        "  backup FILE           copy the database while the server runs",
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="what to do instead of serving")
    add_database(parser)
    parser.add_argument(
        "--log_level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="the messages to show (default: %(default)s)",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="0 for any free one (default: %(default)s)"
    )
    network.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: this machine alone, %(default)s)",
    )
    network.add_argument(
        "--root_path",
        type=_root_path,
        default="",
        metavar="/PATH",
        help="the path under which a proxy serves it",
    )
    accounts = parser.add_argument_group("who may do what")
    accounts.add_argument(
        "--auth",
        choices=("none", "token", "proxy"),
        default="none",
        help="none: everybody on this machine may do everything. token: people and programs need a token."
        " proxy: a proxy in front names the user (default: %(default)s)",
    )
    accounts.add_argument("--public", action="store_true", help="everybody may read")
    accounts.add_argument(
        "--proxy_networks",
        type=comma_separated,
        default=(),
        metavar="NETWORK,...",
        help="the addresses of the proxy, as in 10.0.0.7/32; others cannot name a user",
    )
    accounts.add_argument(
        "--proxy_header",
        default="X-Forwarded-User",
        metavar="NAME",
        help="the header with the user's name (default: %(default)s)",
    )
    accounts.add_argument(
        "--proxy_scope",
        choices=SCOPES,
        default="triage",
        help="what a user may do who is new (default: %(default)s)",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--no_import",
        action="store_true",
        help="do not import the results that harness.py has saved in its default directory",
    )
    data.add_argument(
        "--lab",
        metavar="URL",
        help="also show the devices and jobs of a lab, and take its results (default: that of mlbench lab, if"
        " it is set)",
    )
    data.add_argument(
        "--sample_days",
        type=_days,
        metavar="DAYS",
        help="remove the samples of results that are older; their summaries stay (default: keep all)",
    )
    notices = parser.add_argument_group("notices")
    notices.add_argument(
        "--notify",
        type=command,
        default=(),
        metavar="COMMAND",
        help="run this command, without a shell and with JSON on its standard input, when the state of a"
        " regression changes",
    )
    notices.add_argument(
        "--public_url",
        metavar="URL",
        help="the address in notices, under which people reach the server (default: the one that it listens"
        " on)",
    )
    notices.add_argument(
        "--allow_private_webhooks",
        action="store_true",
        help="let webhooks lead to this machine and to private networks",
    )
    token = parser.add_argument_group("token create")
    token.add_argument("--name", help="whose token it is, for the record")
    token.add_argument(
        "--scope",
        choices=SCOPES,
        default="write",
        help="read; write: also send results; triage: also decide about regressions; admin (default:"
        " %(default)s)",
    )
    token.add_argument("--project", metavar="NAME", help="the only project that it is for (default: all)")
    token.add_argument("--days", type=_days, help="how long it is valid (default: until it is revoked)")
    return parser


def add_database(parser: Parser) -> None:
    parser.add_argument(
        "--database",
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER@HOST/NAME (default: a file of the user; a URL with a"
        f" password belongs into the environment variable {DATABASE_VARIABLE})",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a port from 0 to {LARGEST_PORT}")
    return int(text)


def _days(text: str) -> int:
    days = positive_int(text)
    if days > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text[:20]} is more than {MOST_DAYS:,} days")
    return days


_days.__name__ = positive_int.__name__


def _root_path(text: str) -> str:
    if text and (not text.startswith("/") or text.endswith("/") or "//" in text):
        raise argparse.ArgumentTypeError(f"{text[:60]!r} does not have the form /path")
    return text


def _main(arguments: argparse.Namespace) -> ExitStatus:
    commands: dict[tuple[str, ...], Callable[[argparse.Namespace, Store], None]] = {
        ("token", "create"): _create_token,
        ("token", "list"): _list_tokens,
        ("token", "revoke"): _revoke_token,
        ("backup",): _back_up,
    }
    words = tuple(arguments.command)
    action = next((one for length in (2, 1) if (one := commands.get(words[:length]))), None)
    if words and action is None:
        known = ", ".join(" ".join(one) for one in commands)
        raise UsageError(f"there is no command {quoted(' '.join(words))}, but {known}")
    with opened(arguments.database) as store:
        (action or _serve)(arguments, store)
    return ExitStatus.OK


@contextmanager
def opened(database: str | None) -> Iterator[Store]:
    from sqlalchemy.exc import DBAPIError

    from benchmarking.server.store import open_store, reason, sqlite_url

    url = database or os.environ.get(DATABASE_VARIABLE) or sqlite_url(user_directory("data") / DATABASE_FILE)
    store = open_store(url)
    try:
        yield store
    except DBAPIError as error:
        raise StorageError(f"the database failed: {reason(error)}") from error
    finally:
        store.close()


# --- serving ------------------------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace, store: Store) -> None:
    from benchmarking.server.app import make_app
    from benchmarking.server.lab.delivery import keep_delivering
    from benchmarking.server.retention import keep_forgetting
    from benchmarking.server.running import listen, serve

    access = _access(arguments)
    listener = listen(arguments.host, arguments.port)
    lab = _lab(arguments.lab)
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}{arguments.root_path}"
    app = make_app(store, access, arguments.root_path, _notices(arguments, address), lab)
    with ExitStack() as stack:
        ending = threading.Event()
        if lab is not None:
            announce, delivery = partial(app.state.hub.publish, "results"), app.state.lab_delivery
            _start(stack, ending, keep_delivering, store, lab, announce, delivery)
        if not arguments.no_import and default_results().is_dir():
            _start(stack, ending, _import_saved, store, app.state.hub, default_results())
        if arguments.sample_days:
            _start(stack, ending, keep_forgetting, store, arguments.sample_days)
        streams.show_message(f"results at {address}/  (Ctrl-C ends the server)")
        serve(app, listener)


def _lab(url: str | None) -> Database | None:
    """
    Raises:
        UsageError, LabError: it is not a lab.
    """
    from benchmarking.cli.lab import lab_database
    from benchmarking.dispatch import LAB_VARIABLE

    if not url and not os.environ.get(LAB_VARIABLE):
        return None
    lab = lab_database(url)
    lab.check()
    return lab


def _start(stack: ExitStack, ending: threading.Event, work: Callable[..., object], *values: object) -> None:
    """Runs ``work`` in a thread, which is told to end with the stack."""
    thread = threading.Thread(target=work, args=(*values, ending), daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(ending.set)


def _import_saved(store: Store, hub: Hub, directory: Path, ending: threading.Event) -> None:
    """Begins again while the database fails; what was imported before is skipped."""
    from sqlalchemy.exc import DBAPIError

    from benchmarking.server.importing import import_tree
    from benchmarking.server.store import reason

    while True:
        try:
            import_tree(store, directory, ending.is_set)
            break
        except UsageError as error:
            logger.warning("nothing is imported: %s", error)
            return
        except DBAPIError as error:
            logger.warning(
                "the import of %s waits, because the database failed: %s", directory, reason(error)
            )
        if ending.wait(IMPORT_AGAIN_S):
            return
    hub.publish("results")


def _notices(arguments: argparse.Namespace, address: str) -> NoticeSettings:
    """
    Raises:
        UsageError: there is no such command.
    """
    from benchmarking.server.triage.notices import NoticeSettings

    if arguments.notify and shutil.which(arguments.notify[0]) is None:
        raise UsageError(f"--notify: there is no command {arguments.notify[0]!r} that can be run")
    url = (arguments.public_url or address).rstrip("/")
    return NoticeSettings(url, arguments.notify, arguments.allow_private_webhooks)


def _access(arguments: argparse.Namespace) -> Access:
    """
    Raises:
        UsageError: everybody in the network could do everything, or nobody could do anything.
    """
    from benchmarking.server.accounts import Access, Auth, Scope

    auth = Auth(arguments.auth)
    is_local = arguments.host in LOOPBACK
    if auth is Auth.NONE and not is_local:
        raise UsageError(
            f"--host {arguments.host}: everybody in the network could change everything; add --auth token, or"
            " --auth proxy"
        )
    if auth is Auth.PROXY and not arguments.proxy_networks:
        raise UsageError("--auth proxy: give the proxy's address with --proxy_networks")
    try:
        networks = tuple(ipaddress.ip_network(one) for one in arguments.proxy_networks)
    except ValueError as error:
        raise UsageError(f"--proxy_networks: {error}") from error
    return Access(
        auth=auth,
        public=arguments.public,
        proxy_header=arguments.proxy_header,
        proxy_networks=networks,
        proxy_scope=Scope(arguments.proxy_scope),
    )


# --- tokens and backup --------------------------------------------------------------------------------------


def _create_token(arguments: argparse.Namespace, store: Store) -> None:
    from benchmarking.server.accounts import Scope, create_token

    _values(arguments, 2, 0, "token create --name NAME")
    if not arguments.name:
        raise UsageError("give the token a name with --name, such as that of its owner")
    lifetime_s = arguments.days * 86400 if arguments.days else None
    with store.writing() as connection:
        token = create_token(
            connection, arguments.name, Scope(arguments.scope), lifetime_s, project=arguments.project
        )
    streams.show(f"{token}\n")
    streams.show_message("This is shown once: the database has only its hash.")


def _list_tokens(arguments: argparse.Namespace, store: Store) -> None:
    from sqlalchemy import select
    from tabulate import tabulate

    from benchmarking.results.plain_text import plain
    from benchmarking.results.unix_time import day
    from benchmarking.server.tables import projects, tokens

    _values(arguments, 2, 0, "token list")
    with store.reading() as connection:
        query = select(tokens, projects.c.name.label("project")).outerjoin(projects).order_by(tokens.c.id)
        found = connection.execute(query).all()
    rows = [
        (
            one.prefix,
            plain(one.name),
            one.scope,
            one.project or "all",
            day(one.created),
            "revoked" if one.revoked else day(one.expires) if one.expires else "never",
            day(one.last_used) if one.last_used else "never",
        )
        for one in found
    ]
    streams.show(tabulate(rows, ("prefix", "name", "scope", "project", "created", "ends", "used")) + "\n")


def _revoke_token(arguments: argparse.Namespace, store: Store) -> None:
    from benchmarking.server.accounts import revoke_token

    (prefix,) = _values(arguments, 2, 1, "token revoke PREFIX")
    with store.writing() as connection:
        revoke_token(connection, prefix)


def _back_up(arguments: argparse.Namespace, store: Store) -> None:
    from benchmarking.server.retention import back_up

    (file,) = _values(arguments, 1, 1, "backup FILE")
    back_up(store, path(file))


def _values(arguments: argparse.Namespace, words: int, count: int, usage: str) -> list[str]:
    """
    Raises:
        UsageError: there are more or fewer.
    """
    values: list[str] = arguments.command[words:]
    if len(values) != count:
        raise UsageError(f"the command is: {usage}")
    return values
