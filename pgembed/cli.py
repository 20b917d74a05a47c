"""cli: the command ``pgembed``. It parses arguments and calls the rooms that do the work.

Results go to stdout, everything else to stderr; the status is 0, 1 for an error of ours, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from pgembed import __version__, codeccli, errors, modelcli, server, workercli


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the process's status."""
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    if others and options.action is not _psql:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.others = others
    action: Callable[[argparse.Namespace], int | None] = options.action
    try:
        return action(options) or 0
    except errors.PgembedError as error:
        print(f"pgembed: {error.message}", file=sys.stderr)
        for label, text in (("detail", error.detail), ("hint", error.hint)):
            if text:
                print(f"{label}: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pgembed", description="Embeddings inside PostgreSQL: its installation.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_server(commands.add_parser("server", help="a private PostgreSQL server with pgembed in it"))

    install = commands.add_parser("install", help="put pgembed into a database of a server on this machine")
    install.add_argument("url", help="libpq URL of the database, as a superuser")
    install.set_defaults(action=_install)

    doctor = commands.add_parser("doctor", help="check the installation and say what is wrong with it")
    doctor.add_argument("url", nargs="?", help="libpq URL of a database to check too")
    doctor.set_defaults(action=_doctor)

    demo = commands.add_parser("demo", help="show what pgembed does, on the rows of PostgreSQL's own catalog")
    demo.add_argument("--url", help="the database to use; by default the private server's")
    demo.add_argument("--all", action="store_true", help="take all rows, not a sample")
    demo.set_defaults(action=_demo)

    modelcli.add_commands(commands.add_parser("model", help="models: list, add, remove, distill, measure"))

    codeccli.add_commands(commands.add_parser("codec", help="codecs: list, train, recommend, add, retrain, check, drop"))

    workercli.add_arguments(commands.add_parser("worker", help="embed rows that need it, beside the server or on another machine"))

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(action=lambda _: print(__version__))
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, action: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text)
        added.add_argument("--name", default="", help="which server, where there are several (default: the usual one)")
        added.set_defaults(action=action)
        return added

    for name, action, text in (
        ("start", _start, "start it, making it if need be"),
        ("url", _url, "start it if need be and print its URL"),
    ):
        starting = verb(name, action, text)
        starting.add_argument("--throw-away", action="store_true", help="anew and empty, fast, not to survive a crash")
    verb("stop", _stop, "stop it")
    verb("status", _status, "say whether it runs, and where; status 3 if it does not")
    verb("remove", lambda options: _server(options).remove(), "stop it and delete it with all its data")
    verb("psql", _psql, "start it if need be and open psql on it, with all other arguments")
    run = verb("run", _run, "run it in the foreground; PGEMBED_PASSWORD sets the password for connections over TCP")
    run.add_argument("--listen", default="127.0.0.1", help="addresses to listen on (default: %(default)s)")
    run.add_argument("--port", type=int, help="TCP port (default: a free one)")


def _server(options: argparse.Namespace) -> server.Server:
    return server.Server(name=options.name)


def _start(options: argparse.Namespace) -> None:
    _server(options).start(throw_away=options.throw_away)


def _ready(options: argparse.Namespace) -> server.Server:
    """The server, started and with the extension in it."""
    found = _server(options)
    found.start(throw_away=getattr(options, "throw_away", False))
    if not found.install_extension():
        say = "the definitions in sql/ changed, not the version, and tables or models of yours use the old ones"
        print(f"pgembed: {say}\nhint: pgembed server remove deletes them with this server's data", file=sys.stderr)
    return found


def _url(options: argparse.Namespace) -> None:
    print(_ready(options).url())


def _stop(options: argparse.Namespace) -> None:
    if not _server(options).stop():
        print("pgembed: the private server was not running", file=sys.stderr)


def _status(options: argparse.Namespace) -> int:
    found = _server(options)
    if not found.running():
        print(f"PostgreSQL {found.system.version} in {found.folder}: not running")
        return 3
    print(f"PostgreSQL {found.system.version} in {found.folder}: running\n{found.url()}")
    return 0


def _psql(options: argparse.Namespace) -> None:
    _ready(options).psql(options.others)


def _run(options: argparse.Namespace) -> None:
    _server(options).run(listen=options.listen, port=options.port, password=os.environ.get("PGEMBED_PASSWORD"))


def _install(options: argparse.Namespace) -> None:
    try:
        from pgembed import deploy
    except ImportError as error:
        raise errors.NotReady(str(error), hint="Install it: pip install 'pgembed-extension[psycopg]'.") from None
    for line in deploy.deploy(options.url):
        print(line)


def _doctor(options: argparse.Namespace) -> int:
    from pgembed import doctor

    status = 0
    for check in doctor.examine(options.url):
        print(f"{'wrong' if check.remedy else 'ok':7}{check.subject}: {check.found}")
        if check.remedy:
            print(f"       {check.remedy}")
            status = 1
    return status


def _demo(options: argparse.Namespace) -> int | None:
    try:
        from pgembed import demo
    except ImportError as error:
        raise errors.NotReady(str(error), hint="Install it: pip install 'pgembed-extension[psycopg]'.") from None
    url = options.url
    if not url:
        url = _ready(argparse.Namespace(name="")).url()
    return demo.main(url, all=options.all)


if __name__ == "__main__":
    sys.exit(main())
