"""sampling: some vectors, or some texts, of a column, for what is fitted to data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import columns, errors, text, vectors
from pgembed.columns import Column, Table, quote
from pgembed.database import Database
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models import Model, Role

# A second moment of some hundred dimensions is steady long before; a text costs a transformer milliseconds, a stored vector nothing.
MOST_VECTORS = 20_000
MOST_TEXTS = 4_000
MOST_BYTES = 128 << 20  # of vectors, which are one value on their way
MOST_CHARS = 10_000  # of a text; a few models read more
SEED = 1
# Of a number in a vector. Sums of squares of greater ones leave single precision, and LAPACK may never come back from an infinite matrix.
GREATEST = 1e12

# Types whose text is made by PostgreSQL's own code. A cast of another type may run a function of somebody's, with the superuser's rights.
_TEXT_TYPES = ("text", "varchar", "bpchar")


@dataclass(frozen=True)
class Where:
    """A column of a table; ``table`` is a regclass as text, both are None for none."""

    table: str | None
    column: str | None


def vectors_of(db: Database, model: Model, where: Where, role: Role) -> NDArray[np.float32]:
    """Vectors of a sample of a column's rows, the same rows each time.

    Args:
        model: embeds the texts; the vectors of an embedded column must be of it.
    Returns:
        float32, shape (n, dim): n at most MOST_VECTORS, of texts MOST_TEXTS.
    Raises:
        errors.UnknownTable, errors.UnknownColumn, errors.WrongObjectType, errors.DatatypeMismatch: it is no such column.
        errors.DimensionMismatch: the column's vectors are another model's.
        errors.InvalidParameter: it has no text and no vector.
    """
    import numpy as np

    found, known = _table(db, where)
    embedded = [column for column in known if column.name == where.column]
    if embedded:
        column = columns.column(db, where.table, where.column)
        if column.fingerprint != model.info.fingerprint or column.dim not in (None, model.info.dim):
            raise errors.DimensionMismatch(
                f"{column.label} holds vectors of model {column.model or 'unknown'} ({(column.fingerprint or 'none')[:12]}),"
                f" expected {model.info.name} ({model.info.fingerprint[:12]})",
                hint="Name a column of text, which is embedded for this, or one embedded with the model that the basis is for.",
            )
        most = min(MOST_VECTORS, MOST_BYTES // (4 * model.info.dim))
        as_vector = column.to_vector
        rows = _sample(db, found, column.name, f"{column.vector_schema}.vector_send(t.{column.sql}{as_vector})", most)
        made = [vectors.from_send(row) for row in rows]
        if not made:
            raise _nothing(found, column.name)
        return np.stack(made).astype(np.float32)
    assert where.column is not None
    contents = texts(db, where)
    return model.encode(contents, db.check_interrupts, role).vectors


def stored(db: Database, column: Column, most: int, seed: int = SEED) -> tuple[NDArray[np.float32], int]:
    """Vectors of an embedded column as they are stored, of rows drawn at random, the same ones while nobody writes the table.

    Args:
        most: rows, fewer where they would take more than MOST_BYTES; at least 1.
        seed: the same one draws the same rows.
    Returns:
        float32, shape (n, dim), in the order of the table, n at least 1; and how many rows have a vector.
    Raises:
        errors.DimensionMismatch: the vectors are of several dimensions.
        errors.InvalidParameter: no row has one, or a number is beyond GREATEST.
    """
    with threads.signals_blocked():
        import numpy as np

    vector = f"t.{column.sql}{column.to_vector}"
    rows = f"FROM {column.place} AS t"
    held = int(db.execute(f"SELECT pg_catalog.count(t.{column.sql}) AS n {rows}")[0]["n"])
    if not held:
        raise errors.InvalidParameter(
            f"{column.label} has no vectors, so nothing can be fitted to them",
            hint=f"CALL pgembed.refresh('{column.table.shown}') embeds its rows; or fill the column first.",
        )
    there = f"WHERE t.{column.sql} IS NOT NULL"
    dims = db.execute(f"SELECT {column.vector_schema}.vector_dims({vector}) AS dim {rows} {there} LIMIT 1")[0]["dim"]
    most = max(1, min(most, MOST_BYTES // (4 * dims)))
    # Chance gives somewhat fewer or more than asked; what is too many is left out evenly, not at the table's end.
    spare = most + 5 * most**0.5 + 10
    part = f" TABLESAMPLE BERNOULLI ({100 * spare / held}) REPEATABLE ({seed})" if spare < held else ""
    sent = db.execute(
        f"SELECT pg_catalog.string_agg(v, ''::pg_catalog.bytea) AS sent, pg_catalog.count(*) AS n"
        f" FROM (SELECT {column.vector_schema}.vector_send({vector}) AS v {rows}{part} {there} OFFSET 0) AS s"
    )[0]
    made = vectors.from_send_many(sent["sent"] or b"", int(sent["n"]), dims)
    if len(made) > most:
        made = made[np.sort(np.random.default_rng(seed).permutation(len(made))[:most])]
    must_be_moderate(column, made)
    return made, held


def must_be_moderate(column: Column, held: NDArray[np.float32]) -> None:
    """Raise where numbers of vectors are too great to compute with.

    Raises:
        errors.InvalidParameter: one is beyond GREATEST.
    """
    most = float(max(held.max(initial=0), -held.min(initial=0)))
    if not most <= GREATEST:
        raise errors.InvalidParameter(
            f"{column.label} has a number of {most:.3g}, and at most {GREATEST:.0e} can be computed with",
            hint="Scale them, as pgvector's l2_normalize() does.",
        )


def texts(db: Database, where: Where, most: int = MOST_TEXTS) -> list[str]:
    """Texts of a sample of a column's rows, the same rows each time; at least one, of each its first MOST_CHARS characters.

    Raises:
        errors.UnknownTable, errors.UnknownColumn, errors.WrongObjectType, errors.DatatypeMismatch: it is no column of texts.
        errors.InvalidParameter: it has no text.
    """
    found, _ = _table(db, where)
    kinds = db.execute(
        "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, coalesce(b.typname, y.typname) AS base,"
        " coalesce(b.typnamespace, y.typnamespace) OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace AS builtin"
        " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid"
        " LEFT JOIN pg_catalog.pg_type AS b ON b.oid = y.typbasetype"
        " WHERE a.attrelid = $1 AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, where.column],
    )
    if not kinds:
        raise errors.UnknownColumn(f'column "{where.column}" of table "{found.name}" does not exist', hint="Name a column of text.")
    if not kinds[0]["builtin"] or kinds[0]["base"] not in _TEXT_TYPES:
        raise errors.DatatypeMismatch(
            f'column "{where.column}" of table "{found.name}" is of type {kinds[0]["type"]}, not text',
            hint="Name a column of text, or an embedded one; pgembed.adopt_embedding() declares a column of vectors.",
        )
    rows = _sample(db, found, str(where.column), f"pg_catalog.left(t.{quote(str(where.column))}::pg_catalog.text, {MOST_CHARS})", most)
    contents = [str(row) for row in rows if not text.is_empty(str(row))]
    if not contents:
        raise _nothing(found, str(where.column))
    return contents


def _table(db: Database, where: Where) -> tuple[Table, list[Column]]:
    found, known = columns.table(db, where.table)
    # A view would evaluate its owner's expressions with the caller's rights.
    if found.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{found.name}" is not a table', hint="Name the table behind it, or a materialized view.")
    return found, known


def _sample(db: Database, found: Table, column: str, expression: str, most: int) -> list[Any]:
    held = int(db.execute(f"SELECT pg_catalog.count({quote(column)}) AS n FROM {found.sql}")[0]["n"])
    part = f" TABLESAMPLE BERNOULLI ({100.0 * most / held}) REPEATABLE ({SEED})" if held > most else ""
    rows = db.execute(
        f"SELECT pg_catalog.array_agg(x) AS sampled FROM (SELECT {expression} AS x FROM {found.sql} AS t{part}"
        f" WHERE t.{quote(column)} IS NOT NULL LIMIT {most}) AS s"
    )
    sampled: list[Any] = rows[0]["sampled"] or []
    return sampled


def _nothing(found: Table, column: str) -> errors.PgembedError:
    return errors.InvalidParameter(
        f'column "{column}" of table "{found.name}" is empty, so nothing can be fitted to it', hint="Fill it first, or name another column."
    )
