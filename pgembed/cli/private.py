"""private: the commands ``pgembed server ...``, a private server with pgembed in it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.cli.parsing import Action, Group, Parser
from pgembed.cli.showing import show_json

if TYPE_CHECKING:
    from pgembed.server import Server

NOT_THERE = 3


def add_commands(commands: Group) -> None:
    """The verbs of ``pgembed server``."""
    verbs = commands.group("server", "a private PostgreSQL server with pgembed in it")

    def verb(name: str, action: Action, text: str, example: str, *, json: bool = False, plain: bool = False) -> Parser:
        added = verbs.verb(name, action, text, example=example, json=json, plain=plain)
        added.add_argument("--name", default="", help="which server, where there are several (default: the usual one)")
        return added

    for name, action, text, example in (
        ("start", _start, "start it, making it if need be", "server start"),
        ("url", _url, "start it if need be and print its URL", "server url"),
    ):
        starting = verb(name, action, text, example)
        starting.add_argument("--throw-away", action="store_true", help="anew and empty, fast, not to survive a crash")
    verb("stop", _stop, "stop it", "server stop")
    verb("status", _status, "say whether it runs, and where; status 3 if it does not", "server status --json", json=True)
    verb("remove", _remove, "stop it and delete it with all its data", "server remove --name trial")
    verb(
        "psql",
        psql,
        "start it if need be and open psql on it; all other arguments are psql's",
        "server psql -l",
        plain=True,
    )
    run = verb(
        "run", _run, "run it in the foreground; PGEMBED_PASSWORD sets the password for connections over TCP", "server run --port 5433"
    )
    run.add_argument("--listen", default="127.0.0.1", help="addresses to listen on (default: %(default)s)")
    run.add_argument("--port", type=int, metavar="N", help="TCP port (default: a free one)")


def _server(options: argparse.Namespace) -> Server:
    from pgembed import server

    return server.Server(name=options.name)


def ready(options: argparse.Namespace) -> Server:
    """The server, started and with the extension in it."""
    found = _server(options)
    found.start(throw_away=getattr(options, "throw_away", False))
    if not found.install_extension():
        say = "the definitions in sql/ changed, not the version, and tables or models of yours use the old ones"
        print(f"pgembed: {say}\nhint: pgembed server remove deletes them with this server's data", file=sys.stderr)
    return found


def _start(options: argparse.Namespace) -> None:
    _server(options).start(throw_away=options.throw_away)


def _url(options: argparse.Namespace) -> None:
    print(ready(options).url())


def _stop(options: argparse.Namespace) -> None:
    if not _server(options).stop():
        print("pgembed: the private server was not running", file=sys.stderr)


def _remove(options: argparse.Namespace) -> None:
    _server(options).remove()


def _status(options: argparse.Namespace) -> int:
    found = _server(options)
    running = found.running()
    version, folder = found.system.version, found.folder
    if options.json:
        show_json({"version": version, "folder": str(folder), "is_running": running, "url": found.url() if running else None})
    else:
        print(f"PostgreSQL {version} in {folder}: " + (f"running\n{found.url()}" if running else "not running"))
    return 0 if running else NOT_THERE


def psql(options: argparse.Namespace) -> None:
    """Open psql; what is not an option of ours is one of its."""
    ready(options).psql(options.others)


def _run(options: argparse.Namespace) -> None:
    if options.port is not None and not 1 <= options.port <= 65535:
        raise errors.InvalidParameter(f"--port must be from 1 to 65535, not {options.port}", hint="Leave it out for a free one.")
    _server(options).run(listen=options.listen, port=options.port, password=os.environ.get("PGEMBED_PASSWORD"))
