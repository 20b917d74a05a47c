"""operating: the commands ``pgembed install``, ``doctor``, ``demo`` and ``version``."""

from __future__ import annotations

import argparse

from pgembed import __version__, errors
from pgembed.cli import connecting, private
from pgembed.cli.parsing import Group
from pgembed.cli.showing import show_json


def add_commands(commands: Group) -> None:
    """The commands."""
    commands.verb(
        "install",
        _install,
        "put pgembed into a database of a server on this machine, or update it there",
        example="install postgresql://postgres@/shop",
        database="as a superuser; never the private server's unless it is named",
    )
    commands.verb(
        "doctor",
        _doctor,
        "check the installation, and a database that is named, and say what is wrong",
        example=["doctor", "doctor service=shop --json"],
        database="it is checked too",
        json=True,
    )
    demo = commands.verb(
        "demo",
        _demo,
        "show what pgembed does, on the rows of PostgreSQL's own catalog",
        example="demo --all",
        database="",
    )
    demo.add_argument("--all", action="store_true", help="take all rows, not a sample")
    commands.verb("version", _version, "print the version", example="version")


def _install(options: argparse.Namespace) -> None:
    url = connecting.said(options)
    if url is None:
        raise errors.NotReady(
            "no database is named", hint="Name the one to install into: pgembed install URL; or PGHOST, PGDATABASE, PGSERVICE, as for psql."
        )
    for line in connecting.room("deploy").deploy(url):
        print(line)


def _doctor(options: argparse.Namespace) -> int:
    from pgembed import doctor

    checks = []
    for check in doctor.examine(connecting.said(options)):
        checks.append(check)
        if not options.json:
            print(f"{'wrong' if check.remedy else 'ok':7}{check.subject}: {check.found}")
            if check.remedy:
                print(f"       {check.remedy}")
    if options.json:
        show_json([vars(check) for check in checks])
    return int(any(check.remedy for check in checks))


def _demo(options: argparse.Namespace) -> int | None:
    demo = connecting.room("demo")
    url = connecting.said(options)
    if url is None:
        url = private.ready(argparse.Namespace(name="")).url()
    found: int | None = demo.main(url, all=options.all)
    return found


def _version(options: argparse.Namespace) -> None:
    print(__version__)
