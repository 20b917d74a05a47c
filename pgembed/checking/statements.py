"""statements: a query of the caller's, proven to be one SELECT before anything of it is run; and running it so that nothing stays of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pgembed import errors, faults
from pgembed.database import Database, Row

HINT = "Give one SELECT as you would run it, without EXPLAIN: pgembed.check_query($$ SELECT ... ORDER BY ... LIMIT 10 $$)."
_READ_ONLY_STATE = "25006"
# A condition over no row, which PostgreSQL evaluates before it fetches any: from then on it refuses to write. Said in a statement of its
# own it would be forgotten at once, for the port runs each in a subtransaction, and what a subtransaction says of this ends with it.
READ_ONLY = "(SELECT pg_catalog.set_config('transaction_read_only', 'on', true)) IS NOT NULL"
# Prepared only to be asked which types PostgreSQL finds for its parameters; no user's own statement has such a name.
_NAME = '"pgembed check_query"'

Plan = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One SELECT of the caller's.

    Attributes:
        text: without a semicolon.
        types: of its parameters, in SQL.
        values: of its parameters, as the database port takes them.
    """

    text: str
    types: tuple[str, ...]
    values: tuple[object, ...]

    def explain(self, db: Database, *, verbose: bool = True) -> Plan:
        """The root of its plan, as EXPLAIN (FORMAT JSON) has it for the caller; nothing is run."""
        return explain(db, self.text, self.types, self.values, verbose=verbose)

    def wrapped(self, select: str, where: str = "true") -> str:
        """A query over its rows, which are called ``c`` there; the line break ends a trailing comment."""
        return f"{select} FROM ({self.text}\n) AS c WHERE {where}"

    def run(self, db: Database, statement: str) -> list[Row]:
        """Run a statement that has its parameters, where nothing can be written.

        Raises:
            errors.StatementRefused: it writes.
        """
        try:
            return db.execute(statement, self.types, self.values)
        except Exception as error:
            if faults.sqlstate_of(error) != _READ_ONLY_STATE:
                raise
            raise errors.StatementRefused(
                f"the query writes, and is measured where nothing can be written: {faults.said(error)}",
                sqlstate=_READ_ONLY_STATE,
                hint="Without measure => true its plan is looked at, and it is not run.",
            ) from None


class _Undo(Exception):
    """Leaves a subtransaction so that it is rolled back."""


@contextmanager
def undone(db: Database, **settings: str) -> Iterator[None]:
    """A block with settings for its time; what it did is undone at its end in any case."""
    try:
        with db.subtransaction():
            # a plan that was made under other settings must not be taken again
            wanted = {"plan_cache_mode": "force_custom_plan", **settings}
            for name, value in wanted.items():
                db.execute("SELECT pg_catalog.set_config($1, $2, true)", ["pg_catalog.text", "pg_catalog.text"], [name, value])
            yield
            raise _Undo
    except _Undo:
        pass


def prove(db: Database, query: str | None, params: Sequence[str | None] | None) -> Query:
    """Prove that a text is one SELECT, find the types of its parameters, and read their values.

    First it is only parsed, behind PREPARE and there in parentheses too: what breaks out of parentheses does not parse without them. Then
    it is analysed in parentheses, where PostgreSQL allows neither INTO nor a WITH that writes.

    Raises:
        as `pgembed.checking.check`.
    """
    if query is None:
        raise errors.NullNotAllowed("query is NULL", hint=HINT)
    text = query.strip()
    while text.endswith(";"):
        text = text[:-1].rstrip()
    if not text:
        raise errors.NullNotAllowed("query is empty", hint=HINT)
    in_parentheses = f"SELECT FROM ({text}\n) AS c"
    with _refusing():
        db.prepare(f"PREPARE {_NAME} AS {text}")
        db.prepare(f"PREPARE {_NAME} AS {in_parentheses}")
    with undone(db):
        types = _types(db, text)
        given = list(params or ())
        if len(given) != len(types):
            raise errors.InvalidParameter(
                f"query has {len(types)} parameter{'' if len(types) == 1 else 's'}, params has {len(given)} value"
                f"{'' if len(given) == 1 else 's'}",
                hint="Give the values of $1, $2 ... as text: params => ARRAY['games', '[0.1, 0.2, 0.3]'].",
            )
        with _refusing():
            db.prepare(in_parentheses, types)
        values = _values(db, types, given)
    return Query(text, types, values)


def explain(db: Database, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, verbose: bool = True) -> Plan:
    """The root of a statement's plan; the statement must be proven to be one."""
    options = "FORMAT JSON, VERBOSE" if verbose else "FORMAT JSON"
    found = db.execute(f"EXPLAIN ({options}) {statement}", types, values)
    tree = next(iter(found[0].values()))
    plan: Plan = (json.loads(tree) if isinstance(tree, str) else tree)[0]["Plan"]
    return plan


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except errors.StatementRefused as error:
        error.message = f"query is not one SELECT that PostgreSQL accepts: {error.message}"
        error.hint = error.hint or HINT
        raise


def _types(db: Database, text: str) -> tuple[str, ...]:
    if "$" not in text:
        return ()
    db.execute(f"PREPARE {_NAME} AS {text}")
    try:
        found = db.execute(
            "SELECT parameter_types::pg_catalog.text[] AS types FROM pg_catalog.pg_prepared_statements"
            " WHERE name OPERATOR(pg_catalog.=) 'pgembed check_query'"
        )
    finally:
        db.execute(f"DEALLOCATE {_NAME}")
    return tuple(found[0]["types"] or ())


def _values(db: Database, types: Sequence[str], given: Sequence[str | None]) -> tuple[object, ...]:
    """PostgreSQL reads each text by its parameter's type: the port takes a boolean, bytes or an array in Python's own types only."""
    if not types:
        return ()
    read = ", ".join(f"$1[{place}]::{kind} AS p{place}" for place, kind in enumerate(types, 1))
    row = db.execute(f"SELECT {read}", ["pg_catalog.text[]"], [list(given)])[0]
    return tuple(row[f"p{place}"] for place in range(1, len(types) + 1))
