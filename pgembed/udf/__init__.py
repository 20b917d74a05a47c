"""udf: the door into PostgreSQL. One function here per PL/Python function of ``sql/functions``; the only room that imports plpy.

`boundary` is the one translator of errors: what the package raises on purpose reaches the user with its SQLSTATE and HINT. PostgreSQL's own
errors lose the name of their Python class, once or as often as they have crossed a border, and nothing else; a bug keeps its traceback.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import plpy

import pgembed
from pgembed import database, errors
from pgembed.udf import connection

P = ParamSpec("P")
R = TypeVar("R")


# PL/Python puts the exception's type before its message: this name makes it read "ERROR:  pgembed: model ... does not exist".
_Reported = type("pgembed", (plpy.Error,), {"__module__": "builtins", "__doc__": "An error on its way to the user."})

# The same for what PostgreSQL has said: ERROR:  pgembed: canceling statement ..., not spiexceptions.QueryCanceled: canceling statement ...
_Said = type("pgembed", (plpy.SPIError,), {"__module__": "builtins", "__doc__": "PostgreSQL's own error on its way to the user."})
_CLASSES = re.compile(r"^((spiexceptions\.\w+|pgembed): )+")
_READ_ONLY = "25006"

_checked = False

database.server_folder = Path.cwd()


def boundary(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the package's errors into PostgreSQL's.

    The function must return lists, never generators: what a generator raises later is outside of this boundary.
    """

    reporting = translated(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        connection.begin()
        if not _checked:
            translated(_check_version)()
        return reporting(*args, **kwargs)

    return call


def translated(function: Callable[P, R]) -> Callable[P, R]:
    """`boundary` for what runs no SQL, and may therefore run where none can be run: in a parallel worker."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except errors.PgembedError as error:
            reported = _Reported(error.message)
            reported.sqlstate = error.sqlstate
            if error.hint is not None:  # an attribute that is None is printed as the word None
                reported.hint = error.hint
            if error.detail is not None:
                reported.detail = error.detail
            raise reported from None
        except plpy.SPIError as error:
            raise _said(error, function.__name__).with_traceback(error.__traceback__) from None

    return call


def _said(error: plpy.SPIError, name: str) -> plpy.Error:
    """PostgreSQL's error as the user reads it; of a standby, and a transaction that only reads, in other words."""
    if error.sqlstate == _READ_ONLY:
        standby = plpy.execute("SELECT pg_catalog.pg_is_in_recovery() AS yes")[0]["yes"]
        where = "this server is a standby, which only reads" if standby else "this transaction may only read"
        reported: plpy.Error = _Reported(f"{name.lstrip('_')} writes, and {where}")
        reported.hint = "Call it on the primary server." if standby else "BEGIN READ WRITE begins one that may write."
        reported.sqlstate = _READ_ONLY
        return reported
    said: plpy.Error = _Said(_CLASSES.sub("", str(error)))
    said.sqlstate, said.spidata = error.sqlstate, error.spidata
    return said


def _check_version() -> None:
    """Once a session: the package on disk and the objects in this database must be of one version."""
    global _checked
    found = plpy.execute("SELECT pgembed.version() AS version")[0]["version"]
    if found != pgembed.__version__:
        raise errors.NotReady(
            f"pgembed's objects in this database are of version {found}, its Python package on this server is of {pgembed.__version__}",
            hint="Run ALTER EXTENSION pgembed UPDATE, or install the matching package, then reconnect.",
        )
    _checked = True
