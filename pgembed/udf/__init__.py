"""udf: the door into PostgreSQL. One function here per PL/Python function of ``sql/functions``; the only room that imports plpy.

`boundary` is the one translator of errors: what the package raises on purpose reaches the user with its SQLSTATE and HINT, everything
else passes untouched with its traceback.
"""

from __future__ import annotations

import functools
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

    return call


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
