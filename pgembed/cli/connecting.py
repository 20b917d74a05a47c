"""connecting: which database a command means, and a session in it. psycopg is imported only here and by what is called from here."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.cli.parsing import is_database
from pgembed.cli.showing import tell

if TYPE_CHECKING:
    from types import ModuleType

    from pgembed.clientdb import Session

# Any of these says which database is meant, as for psql.
VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


def room(name: str, extra: str = "psycopg") -> ModuleType:
    """A module of pgembed that needs packages of an extra.

    Raises:
        errors.NotReady: they are not installed.
    """
    try:
        return import_module(f"pgembed.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "pgembed":
            raise
        raise errors.NotReady(str(error), hint=f"Install it: pip install 'pgembed-extension[{extra}]'.") from None


def said(options: argparse.Namespace) -> str | None:
    """The database that is named by ``--url``, or by PG* variables (then ""); None where nobody named one."""
    if options.url:
        return str(options.url) if is_database(options.url) else "dbname='" + _escaped(options.url) + "'"
    return "" if any(os.environ.get(name) for name in VARIABLES) else None


def database(options: argparse.Namespace) -> str:
    """The database that a command means: the named one, or the private server's.

    Raises:
        errors.NotReady: neither is there.
    """
    named = said(options)
    url = private_url() if named is None else named
    if url is None:
        raise errors.NotReady(
            "no database is named, and there is no private server here",
            hint="Name one: --url URL; or PGHOST, PGDATABASE, PGSERVICE, as for psql. Or: pgembed server start.",
        )
    return url


def private_url() -> str | None:
    """URL of the private server's database, started if need be; None where there is none."""
    from pgembed import server

    try:
        found = server.Server()
    except errors.PgembedError:
        return None
    if not found.data.exists():
        return None
    found.start()
    found.install_extension()
    return found.url()


def session(options: argparse.Namespace) -> AbstractContextManager[Session]:
    """A session in the database that a command means; what the server tells goes to stderr."""
    clientdb = room("clientdb")
    opened: AbstractContextManager[Session] = clientdb.session(database(options), tell, clientdb.Session)
    return opened


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("'", "\\'")
