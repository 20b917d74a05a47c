"""codecdb: what the command line does with codecs in a database. The one room of the commands ``pgembed codec`` that imports psycopg.

Nothing here keeps readers or writers waiting: what needs a table for itself for a moment gives up where it does not get it soon, lets those
through who queued behind it, and tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import psycopg

from pgembed import clientdb, errors
from pgembed.clientdb import Say
from pgembed.database import Row

# Shows how far a session's calls are, while it is open.
Follow = Callable[[clientdb.Session], AbstractContextManager[object]]
# How long others may queue behind a statement that needs the table for itself, and for how long it is tried.
LOCK_MILLISECONDS = 400
PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.5

_CODES = (
    "SELECT c.table_name::pg_catalog.regclass::pg_catalog.text AS shown, c.column_name::pg_catalog.text AS name,"
    " c.embedding_column::pg_catalog.text AS embedding_column, c.codec, c.is_active FROM pgembed._code AS c"
)
# The columns by which the covering indexes of a column of codes are ordered.
_COVERING = """
    SELECT DISTINCT (
        SELECT array_agg(a.attname::text ORDER BY u.position) FROM unnest(x.indkey) WITH ORDINALITY AS u (attnum, position)
        JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = u.attnum WHERE u.position <= x.indnkeyatts
    ) AS names
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS m ON m.oid = i.relam
    JOIN pg_attribute AS k ON k.attrelid = x.indrelid AND k.attname = %s AND k.attnum = ANY (x.indkey)
    WHERE x.indrelid = %s::regclass AND x.indisvalid AND x.indpred IS NULL AND m.amname = 'btree' AND x.indnatts > x.indnkeyatts
    ORDER BY 1
"""


@dataclass(frozen=True)
class Made:
    """What came of a column of codes.

    Attributes:
        table, column: as SQL writes the table, and the name of the column.
        index_bytes: of the indexes on it; 0 where there is none.
    """

    table: str
    column: str
    index_bytes: int


def listed(url: str, say: Say) -> tuple[list[Row], list[Row]]:
    """The lines of the views pgembed.codecs and pgembed.codes."""
    with _session(url, say) as session:
        return session.rows("SELECT * FROM pgembed.codecs ORDER BY name"), session.rows(
            "SELECT * FROM pgembed.codes ORDER BY table_name::text, column_name"
        )


def call(
    url: str, function: str, arguments: Mapping[str, object], say: Say, *, table: str | None = None, follow: Follow = nullcontext
) -> list[Row]:
    """The rows of a function of pgembed, called with those of its arguments that are not None.

    Args:
        table: for its argument ``target``, as somebody types it.
        say: gets what the server tells meanwhile, a line each.
        follow: is around the call.
    """
    with _session(url, say, follow) as session:
        given = dict(arguments)
        if table is not None:
            given["target"] = session.table(table)
        for name in [name for name in ("queries",) if given.get(name)]:
            given[name] = session.table(str(given[name]))
        return session.call(function, given)


def add(
    url: str, table: str, codec: str, column: str | None, covering: Sequence[str] | None, say: Say, follow: Follow = nullcontext
) -> Made:
    """Give a table a column of codes, filled and indexed, while others use the table.

    Where an earlier call was interrupted, this one goes on from there.
    """
    with _session(url, say, follow) as session:
        shown = session.table(table)
        name = column or codec
        session.must_have(shown, covering or ())  # before anything is made
        there = session.rows(
            f"{_CODES} WHERE c.table_name OPERATOR(pg_catalog.=) %s::regclass AND c.column_name = %s AND c.codec = %s", [shown, name, codec]
        )
        if not there:
            session.patiently("add_code", {"target": shown, "codec": codec, "column_name": column})
        return session.complete(shown, name, [list(covering)] if covering else [])


def retrain(url: str, codec: str, new_name: str | None, drop_old: bool, say: Say, follow: Follow = nullcontext) -> tuple[str, list[Made]]:
    """Train a codec anew, give every table that has its codes the new ones too, and let searches use these.

    Returns:
        The name of the new codec, and its columns of codes.
    """
    with _session(url, say, follow) as session:
        old = session.rows(f"{_CODES} WHERE c.codec = %s ORDER BY 1, 2", [codec])
        (row,) = session.rows("SELECT pgembed.retrain_codec(%s, %s)::pg_catalog.oid AS encoder", [codec, new_name])
        (named,) = session.rows(
            "SELECT name FROM pgembed._codec WHERE pg_catalog.to_regproc(encoder) = %s::pg_catalog.oid", [row["encoder"]]
        )
        new = str(named["name"])
        made = []
        for line in old:
            session.say(f"{line['shown']}: codes of {new} beside those of {codec}")
            covering = [list(each["names"]) for each in session.rows(_COVERING, [line["name"], line["shown"]])]
            session.patiently(
                "add_code",
                {"target": line["shown"], "codec": new, "is_generated": False, "embedding_column": line["embedding_column"]},
            )
            made.append(session.complete(line["shown"], new, covering))
            if line["is_active"]:
                session.patiently("use_code", {"target": line["shown"], "column_name": new})
                session.say(f"{line['shown']}: searches use {new}")
            if drop_old:
                session.patiently("drop_code", {"target": line["shown"], "column_name": line["name"]})
        if drop_old:
            session.patiently("drop_codec", {"name": codec})
        return new, made


def drop(url: str, codec: str, with_codes: bool, say: Say) -> list[str]:
    """Drop a codec, and first its columns of codes, if that is said; these, as table.column."""
    with _session(url, say) as session:
        lines = session.rows(f"{_CODES} WHERE c.codec = %s ORDER BY 1, 2", [codec]) if with_codes else []
        for line in lines:
            session.patiently("drop_code", {"target": line["shown"], "column_name": line["name"]})
        session.patiently("drop_codec", {"name": codec})
        return [f"{line['shown']}.{line['name']}" for line in lines]


class _Session(clientdb.Session):
    """What only these commands ask."""

    def patiently(self, function: str, arguments: Mapping[str, object]) -> None:
        """Call a function that needs a table for itself for a moment; nobody queues behind it for long.

        Raises:
            errors.NotReady: somebody has used the table all the time.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        told = False
        self.rows(f"SET lock_timeout = {LOCK_MILLISECONDS}")
        try:
            while True:
                try:
                    self.call(function, arguments)
                    return
                except psycopg.errors.LockNotAvailable:
                    if time.monotonic() > end:
                        raise errors.NotReady(
                            f"{function} has not got the table for itself for {PATIENCE_SECONDS:.0f} s",
                            hint="Is a transaction left open? SELECT * FROM pg_stat_activity shows it. Then run this again.",
                        ) from None
                    if not told:
                        self.say("somebody uses the table; waiting for a moment when nobody does")
                        told = True
                time.sleep(_PAUSE_SECONDS)
        finally:
            self.rows("RESET lock_timeout")

    def complete(self, table: str, column: str, covering: Sequence[Sequence[str]]) -> Made:
        """Fill a column of codes, and build its indexes."""
        self.call("fill_code", {"target": table, "column_name": column}, "CALL")
        self.say(f"vacuuming {table}")
        self.rows(f"VACUUM (ANALYZE) {table}")
        self.rows("SET maintenance_work_mem = '256MB'")
        for each in covering or [()]:
            for line in self.call("code_indexes", {"target": table, "column_name": column, "covering": list(each) or None}):
                statement = str(next(iter(line.values())))
                begun = time.monotonic()
                self.rows(statement)
                self.say(f"{statement}: {time.monotonic() - begun:.1f} s")
        self.rows("RESET maintenance_work_mem")
        (sizes,) = self.rows(
            "SELECT coalesce(index_bytes, 0) + coalesce(covering_bytes, 0) AS bytes FROM pgembed.codes"
            " WHERE table_name OPERATOR(pg_catalog.=) %s::regclass AND column_name = %s",
            [table, column],
        )
        return Made(table, column, int(sizes["bytes"]))


@contextmanager
def _session(url: str, say: Say, follow: Follow = nullcontext) -> Iterator[_Session]:
    with clientdb.session(url, say, _Session) as opened, follow(opened):
        yield opened
