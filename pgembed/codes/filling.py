"""filling: gives the rows of a table the codes that they lack, batch by batch, while others read and write.

A batch is a range of the table's pages, so no key is needed. Its rows are locked only if nobody else holds them, encoded, written and
committed: nobody waits for more than one batch, an interruption loses one, and a row that somebody writes meanwhile gets its code from the
trigger. Rows that were held are looked at again; in the end, what is left is waited for, a few pages at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgembed import columns, conditions, errors, following, progress, vectors
from pgembed.codes import adding, catalogue
from pgembed.codes.catalogue import Code
from pgembed.columns import Column, quote
from pgembed.database import Database, Row
from pgembed.isolation import read_committed
from pgembed.models import threads

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec
    from pgembed.columns import Writer

# Rounds that pass over rows which others hold, before one that waits for them.
PATIENT_ROUNDS = 3
# Of vectors in one value; PostgreSQL's own limit is 1 GB.
MOST_BYTES = 64 << 20

_RANGE = ["pg_catalog.tid", "pg_catalog.tid"]


@dataclass
class Tally:
    """What a fill has done so far.

    Attributes:
        filled: rows.
        done, pages: pages of this round that were looked at, and all of them.
    """

    filled: int = 0
    done: int = 0
    pages: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Leaf:
    """A table, or a partition of one, that has rows: its name in SQL, its pages, and about how many rows are on one."""

    sql: str
    pages: int
    density: float


# Fills one range of pages of a leaf: (leaf, range, whether rows that others hold are waited for) -> rows written.
Batch = Callable[[Leaf, tuple[str, str], bool], int]


class _Filled:
    """A column of codes and the one that they are of, by their names of now: a change of the model renames columns between two batches."""

    def __init__(self, db: Database, code: Code, column: Column) -> None:
        self.code = code
        self.column = column
        self.batch = _batch(db, code, column)

    def look(self, db: Database) -> None:
        """Describe them anew, if need be; their names hold until the transaction ends. As the table's owner.

        Raises:
            errors.NotReady: the codes have another name, or are gone.
            errors.UnknownColumn, errors.DatatypeMismatch, errors.DimensionMismatch: see `Code.must_serve`.
        """
        table = self.code.table
        db.execute(f"LOCK TABLE ONLY {table.sql} IN ROW EXCLUSIVE MODE")
        found = db.execute(
            "SELECT c.embedding_column FROM pgembed._code AS c"
            " WHERE c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass"
            " AND c.column_name = $2",
            ["pg_catalog.oid", "pg_catalog.name"],
            [table.oid, self.code.name],
        )
        if not found:
            raise errors.NotReady(
                f"{self.code.label} was dropped or renamed while it was filled",
                hint="SELECT column_name FROM pgembed.codes shows its name of now; what is filled stays so.",
            )
        if found[0]["embedding_column"] != self.code.embedding_column:
            self.code = catalogue.code(db, table, self.code.name)
            self.column = columns.column(db, str(table.oid), self.code.embedding_column)
            self.code.must_serve(self.column)
            self.batch = _batch(db, self.code, self.column)


def fill(db: Database, write: Writer, code: Code, column: Column, batch_size: int | None) -> Tally:
    """Give every row with a vector its code; see `pgembed.fill_code` in SQL.

    Args:
        column: the embedded column of the codes.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: batch_size is no number of rows.
        errors.UnknownColumn, errors.DatatypeMismatch, errors.DimensionMismatch: the column does not serve; see `Code.must_serve`.
        errors.InsufficientPrivilege: the caller does not own the table, or row security hides rows from the owner.
        errors.NotReady: the trigger is missing or disabled, so that rows written meanwhile would get no code.
    """
    batch_size = conditions.batch_size(batch_size, "5000 is the default.")
    code.must_serve(column)
    column.table.must_own()
    tally = Tally()
    if code.is_generated:
        db.notice(f"{code.label} is a generated column: PostgreSQL keeps it filled")
        return tally
    _must_be_kept(db, code)
    adding.mend(db, code, column)
    commits = db.commit()
    if not commits:
        db.notice(
            "fill_code runs inside a transaction block or a function: all batches become one transaction",
            hint="CALL pgembed.fill_code() by itself commits after each batch.",
        )
    if column.index_name is not None:
        db.notice(
            f"{code.label}: each row that gets its code enters the {column.index_method} index {column.index_name} again, which takes"
            " a hundred times as long as its code",
            hint="Where searches can do without that index for a while, or for good once codes are indexed, drop it first.",
        )
    filled = _Filled(db, code, column)
    # at another level a transaction would know columns by their names of before
    with read_committed(db) if commits else nullcontext():
        left = _fill_all(db, filled, tally, batch_size, commits=commits)
    if left:
        raise errors.NotReady(
            f"{left} rows of {code.label} still have no code",
            hint="Does another trigger undo it? Look at one of these rows, then fill again.",
        )
    write(
        column.table,
        "UPDATE pgembed._code SET is_filled = true WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass"
        " AND column_name = $2 AND NOT is_filled",
        ["oid", "name"],
        [column.table.oid, code.name],
    )
    seconds = time.monotonic() - tally.started
    db.notice(
        f"{code.label}: {tally.filled} codes in {seconds:.1f} s",
        hint=f"VACUUM ANALYZE {column.table.sql}; then run what SELECT pgembed.code_indexes('{column.table.shown}', '{code.name}') says:"
        " psql's \\gexec does."
        if tally.filled
        else None,
    )
    return tally


def _fill_all(db: Database, filled: _Filled, tally: Tally, batch_size: int, *, commits: bool) -> int:
    """Round after round; how many rows are left."""
    table = filled.column.table
    for turn in range(PATIENT_ROUNDS + 1):
        with following.as_owner(db, table):
            leaves = _leaves(db, filled.column)
        tally.done, tally.pages = 0, sum(leaf.pages for leaf in leaves)
        waiting = turn == PATIENT_ROUNDS
        for leaf in leaves:
            _fill_leaf(db, filled, leaf, tally, 1 if waiting else batch_size, waiting=waiting, commits=commits)
        with following.as_owner(db, table):
            filled.look(db)
            left = pending(db, filled.code)
        if not left:
            return 0
    return left


def pending(db: Database, code: Code) -> int:
    """How many rows have a vector and no code, as the current role sees them. It reads the table; `Code.is_filled` costs nothing."""
    return int(db.execute(f"SELECT pg_catalog.count(*) AS n FROM {code.table.sql} AS t WHERE {_is_pending(code)}")[0]["n"])


def states(db: Database, code: Code) -> Row | None:
    """Counts of a column's rows as the caller sees them: rows, and those pending; None where the caller may not read them.

    As of embedded columns, nothing is counted where row security is active for the caller.
    """
    allowed = db.execute(
        "SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND NOT pg_catalog.row_security_active(c.oid)"
        " AND (SELECT pg_catalog.count(*) = 2 AND pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = ANY ($2) AND NOT a.attisdropped) AS yes"
        " FROM pg_catalog.pg_class AS c WHERE c.oid = $1",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [code.table.oid, [code.name, code.embedding_column]],
    )
    if not allowed or not allowed[0]["yes"]:
        return None
    return db.execute(
        f"SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE {_is_pending(code)}) AS pending FROM {code.table.sql} AS t"
    )[0]


def _is_pending(code: Code) -> str:
    return f"t.{code.sql} IS NULL AND t.{quote(code.embedding_column)} IS NOT NULL"


def _must_be_kept(db: Database, code: Code) -> None:
    found = db.execute(
        "SELECT FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = $1 AND g.tgname = $2 AND g.tgenabled = 'A'",
        ["pg_catalog.oid", "pg_catalog.name"],
        [code.table.oid, code.trigger_name],
    )
    if not found:
        raise errors.NotReady(
            f'the trigger "{code.trigger_name}" of table "{code.table.name}", which keeps {code.name}, is missing or disabled, or'
            " not enabled for all sessions",
            hint=f"ALTER TABLE {code.table.sql} ENABLE ALWAYS TRIGGER {quote(str(code.trigger_name))}; where it is gone,"
            f" pgembed.drop_code('{code.table.shown}', '{code.name}') and add_code() make it anew.",
        )


def _leaves(db: Database, column: Column) -> list[Leaf]:
    """The tables that have the rows.

    Raises:
        errors.InsufficientPrivilege: row security hides rows from the current role, the owner.
        errors.NotSupported: a partition is a foreign table.
    """
    rows = db.execute(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS sql, c.relkind::pg_catalog.text AS kind, c.relname,"
        " pg_catalog.row_security_active(c.oid) AS hidden, CASE WHEN c.relkind = 'r' THEN"
        " pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8 END AS pages,"
        " c.reltuples / nullif(c.relpages, 0) AS density"
        " FROM (SELECT $1 AS oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) AS p WHERE p.isleaf) AS l"
        " JOIN pg_catalog.pg_class AS c ON c.oid = l.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace ORDER BY c.oid",
        ["pg_catalog.oid"],
        [column.table.oid],
    )
    for row in rows:
        if row["hidden"]:
            raise errors.InsufficientPrivilege(
                f'row security of "{row["relname"]}" is forced on its owner, so rows could be passed over',
                hint=f"ALTER TABLE {row['sql']} NO FORCE ROW LEVEL SECURITY while this runs.",
            )
        if row["kind"] not in "rp":
            raise errors.NotSupported(f'partition "{row["relname"]}" is a foreign table', hint="Detach it, or encode where its rows are.")
    return [Leaf(row["sql"], int(row["pages"]), max(0.0, float(row["density"] or 0))) for row in rows if row["kind"] == "r"]


def _fill_leaf(db: Database, filled: _Filled, leaf: Leaf, tally: Tally, size: int, *, waiting: bool, commits: bool) -> None:
    most = min(size, max(1, MOST_BYTES // (4 * max(1, filled.column.dim or 1))))
    at, step = 0, max(1, int(most / leaf.density)) if leaf.density else 1
    while at < leaf.pages:
        db.check_interrupts()
        with following.as_owner(db, filled.column.table):
            filled.look(db)
            written = filled.batch(leaf, (f"({at},0)", f"({at + step},0)"), waiting)
        if commits:
            db.commit()
        tally.filled += written
        tally.done += min(step, leaf.pages - at)
        at += step
        if not leaf.density and written * 2 < most:
            step *= 2  # how many rows are on a page nobody has counted
        elif written > most and step > 1:
            step = max(1, step * most // written)
        _tell_progress(db, filled.code, tally)


def _tell_progress(db: Database, code: Code, tally: Tally) -> None:
    progress.tell(db, tally.done, tally.pages)
    now = time.monotonic()
    if now - tally.told < progress.NOTICE_SECONDS or tally.done >= tally.pages:
        return
    tally.told = now
    spent = now - tally.started
    left = spent * (tally.pages - tally.done) / max(1, tally.done)
    db.notice(
        f"{code.label}: {tally.filled} codes, {100 * tally.done // tally.pages} % of the table, {tally.filled / spent:.0f} rows a second,"
        f" about {left:.0f} s to go"
    )


def _batch(db: Database, code: Code, column: Column) -> Batch:
    """How a range is filled: by the codec's own expression, where it has one, else in numpy. The encoder itself, which is the table owner's
    function, is not called with the rights of whoever fills."""
    codec = code.codec.load(db)
    vector = f"t.{column.sql}" if column.type == "vector" else f"t.{column.sql}::{column.vector_schema}.vector"
    expression = codec.expression(codec.space.expression(vector, column.vector_schema), column.vector_schema)
    if expression is not None:
        return _sql_batch(db, code, expression)
    return _numpy_batch(db, code, codec, column, vector)


def _picked(code: Code, leaf: Leaf, waiting: bool, what: str) -> str:
    held = "" if waiting else " SKIP LOCKED"
    return (
        f"SELECT {what} FROM {leaf.sql} AS t WHERE t.ctid OPERATOR(pg_catalog.>=) $1 AND t.ctid OPERATOR(pg_catalog.<) $2"
        f" AND {_is_pending(code)} FOR NO KEY UPDATE{held}"
    )


def _sql_batch(db: Database, code: Code, expression: str) -> Batch:
    def run(leaf: Leaf, between: tuple[str, str], waiting: bool) -> int:
        return int(
            db.execute(
                f"WITH written AS (UPDATE {leaf.sql} AS t SET {code.sql} = ({expression})::{code.codec.code_type}"
                f" WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY({_picked(code, leaf, waiting, 't.ctid')})) AND {_is_pending(code)}"
                " RETURNING 1) SELECT pg_catalog.count(*) AS n FROM written",
                _RANGE,
                list(between),
            )[0]["n"]
        )

    return run


def _numpy_batch(db: Database, code: Code, codec: Codec, column: Column, vector: str) -> Batch:
    sent = f"{column.vector_schema}.vector_send({vector}) AS sent"
    kind, value = _written(code, column)

    def run(leaf: Leaf, between: tuple[str, str], waiting: bool) -> int:
        read = db.execute(
            "SELECT pg_catalog.array_agg(p.place::pg_catalog.text) AS places, pg_catalog.string_agg(p.sent, ''::pg_catalog.bytea) AS sent"
            f" FROM ({_picked(code, leaf, waiting, f't.ctid AS place, {sent}')}) AS p",
            _RANGE,
            list(between),
        )[0]
        if not read["places"]:
            return 0
        places = read["places"]
        with threads.signals_blocked():
            made = codec.encode(vectors.from_send_many(read["sent"], len(places), code.codec.dim))
        return int(
            db.execute(
                f"WITH written AS (UPDATE {leaf.sql} AS t SET {code.sql} = {value}::{code.codec.code_type}"
                " FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.tid[]), pg_catalog.unnest($2)) AS m (place, code)"
                f" WHERE t.ctid OPERATOR(pg_catalog.=) m.place AND {_is_pending(code)} RETURNING 1)"
                " SELECT pg_catalog.count(*) AS n FROM written",
                ["pg_catalog.text[]", kind],
                [places, _values(code, made)],
            )[0]["n"]
        )

    return run


def _written(code: Code, column: Column) -> tuple[str, str]:
    """Type of the array in which codes cross over, and the SQL of one of them, m.code, before its cast."""
    if code.codec.kind == "bits":
        return "pg_catalog.text[]", "m.code"
    if code.codec.kind == "halfvec":
        return "pg_catalog.bytea[]", "pgembed._vector(m.code)"
    return "pg_catalog.bytea[]", "m.code"


def _values(code: Code, made: object) -> Sequence[str | bytes]:
    """Codes as `_written` says."""
    import numpy as np

    codes = np.asarray(made)
    if code.codec.kind == "halfvec":
        return vectors.to_images(codes.astype(np.float32))
    packed = [one.tobytes() for one in np.ascontiguousarray(codes)]
    if code.codec.kind == "bytes":
        return packed
    if code.codec.length % 4 == 0:
        return [f"x{one.hex()}"[: 1 + code.codec.length // 4] for one in packed]
    return ["".join(map(str, one)) for one in np.unpackbits(codes, axis=1)[:, : code.codec.length]]
