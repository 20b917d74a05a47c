"""reading: the rows of a table with their keys, in the order of these, and their vectors or texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import catalogue, columns, errors, rows, text, vectors, viewed
from pgembed.columns import Column, Table, quote
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models import Model

_TEXTS = ("text", "varchar", "bpchar", "name", "citext")


@dataclass(frozen=True)
class Place:
    """Where the rows are.

    Attributes:
        embedded: the embedded column; None where ``names`` are of plain columns.
        names: columns of text whose words say what a row is about.
    """

    table: Table
    embedded: Column | None
    names: tuple[str, ...]


def place(db: Database, target: str | None, column_name: str | None) -> Place:
    """What a call means by a table and a column: an embedded one, or one of text.

    Raises:
        errors.PgembedError: as `pgembed.columns.column`; the table has no primary key; the column is neither.
    """
    table, known = columns.table(db, target)
    if table.relkind == "v" or column_name is None or any(column_name in (one.name, one.now) for one in known):
        embedded = viewed.column(db, target, column_name)
        embedded.one_vector("this call")
        found = Place(embedded.table, embedded, _said_in(db, embedded))
    else:
        found = Place(table, None, (_column_of_text(db, table, column_name, known),))
    if not found.table.keys:
        raise found.table.no_key()
    return found


def _said_in(db: Database, column: Column) -> tuple[str, ...]:
    """Columns of text that the column's source reads, as far as they can be seen; where that is not known, all there are."""
    named = column.source_function.columns if column.source_function is not None else None
    kinds = _kinds(db, column.table)
    told = tuple(name for name in named or () if kinds.get(name) in _TEXTS)
    return told or tuple(name for name, kind in kinds.items() if kind in _TEXTS)


def _kinds(db: Database, table: Table) -> dict[str, str]:
    """Columns that the caller may read, in their order, and the names of their types."""
    found = db.execute(
        "SELECT a.attname, coalesce(b.typname, y.typname) AS type FROM pg_catalog.pg_attribute AS a"
        " JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
        " LEFT JOIN pg_catalog.pg_type AS b ON b.oid OPERATOR(pg_catalog.=) y.typbasetype"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"
        " AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return {row["attname"]: row["type"] for row in found}


def _column_of_text(db: Database, table: Table, name: str, known: Sequence[Column]) -> str:
    kind = must_have(db, table, [name])[0]
    if kind not in _TEXTS:
        raise errors.DatatypeMismatch(
            f'column "{name}" of table "{table.name}" is of type {kind}, expected text or an embedded column',
            hint=f"Embedded columns of this table: {', '.join(one.name for one in known) or 'none'}.",
        )
    return name


def must_have(db: Database, table: Table, names: Sequence[str]) -> list[str]:
    """The types of columns.

    Raises:
        errors.UnknownColumn, errors.InsufficientPrivilege: there is none of a name, or the caller may not read it.
    """
    every = {
        row["attname"]
        for row in db.execute(
            "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid OPERATOR(pg_catalog.=) $1"
            " AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped",
            ["pg_catalog.oid"],
            [table.oid],
        )
    }
    kinds = _kinds(db, table)
    for name in names:
        if name not in every:
            raise errors.UnknownColumn(
                f'column "{name}" of table "{table.name}" does not exist', hint=f"It has: {', '.join(sorted(every))}."
            )
        if name not in kinds:
            raise errors.InsufficientPrivilege(
                f'permission denied for column "{name}" of table "{table.name}"', hint="Rows are read with your own rights."
            )
    return [kinds[name] for name in names]


@dataclass(frozen=True)
class Read:
    """Rows, in the order of their keys: keys as text, texts ('' for NULL), and what stood in further columns."""

    keys: list[str]
    texts: list[str]
    groups: list[str]


def words_of(names: Sequence[str], alias: str = "t") -> str:
    """SQL for the texts of columns as one; NULL ones are left out."""
    return f"pg_catalog.concat_ws(' ', {', '.join(f'{alias}.{quote(name)}' for name in names)})" if names else "''::pg_catalog.text"


def texts(db: Database, table: Table, names: Sequence[str], within: Sequence[str] = ()) -> Read:
    """The texts of all rows that the caller sees.

    Args:
        within: columns whose values, as one text, are read beside.
    """
    order = ", ".join(f"t.{key}" for key, _ in table.keys)
    group = f"pg_catalog.jsonb_build_array({', '.join(f't.{quote(name)}::pg_catalog.text' for name in within)})::pg_catalog.text"
    found = db.execute(
        "SELECT pg_catalog.array_agg(k ORDER BY n) AS keys, pg_catalog.array_agg(x ORDER BY n) AS texts,"
        " pg_catalog.array_agg(g ORDER BY n) AS groups FROM ("
        f"SELECT {table.key_text('t')} AS k, {words_of(names)} AS x, {group if within else 'NULL::pg_catalog.text'} AS g,"
        f" pg_catalog.row_number() OVER (ORDER BY {order}) AS n FROM {table.sql} AS t) AS v"
        f" GROUP BY (n - 1) / {rows.PAGE} ORDER BY min(n)"
    )
    return Read(
        [key for row in found for key in row["keys"]],
        [content or "" for row in found for content in row["texts"]],
        [group for row in found for group in row["groups"]] if within else [],
    )


def embeddings(db: Database, where: Place, *, with_texts: bool) -> tuple[Read, NDArray[np.float32], Model | None]:
    """The rows that have a vector, or a text that is embedded now: keys, texts where they are wanted, float32 (n, dim), and the model.

    The model is None where the column's is not known: it was adopted without one.
    """
    import numpy as np

    if where.embedded is None:
        read = texts(db, where.table, where.names)
        filled = [i for i, content in enumerate(read.texts) if not text.is_empty(content)]
        model = catalogue.resolve(db, None, by_backend=True)
        different: dict[str, int] = {}
        which = [different.setdefault(read.texts[i], len(different)) for i in filled]
        made = model.encode(list(different), db.check_interrupts).vectors
        kept = Read([read.keys[i] for i in filled], [read.texts[i] for i in filled], [])
        return kept, made[which] if which else np.empty((0, model.info.dim), dtype=np.float32), model
    column, table = where.embedded, where.table
    cast = column.to_vector
    order = ", ".join(f"t.{key}" for key, _ in table.keys)
    page = max(1, min(rows.PAGE, rows.PAGE_BYTES // (4 * (column.dim or 2000))))
    pages = db.execute(
        "SELECT pg_catalog.array_agg(k ORDER BY n) AS keys, pg_catalog.array_agg(x ORDER BY n) AS texts,"
        " pg_catalog.string_agg(b, ''::pg_catalog.bytea ORDER BY n) AS sent FROM ("
        f"SELECT {table.key_text('t')} AS k, {words_of(where.names) if with_texts else 'NULL::pg_catalog.text'} AS x,"
        f" {column.vector_schema}.vector_send(t.{column.sql}{cast}) AS b, pg_catalog.row_number() OVER (ORDER BY {order}) AS n"
        f" FROM {table.sql} AS t WHERE t.{column.sql} IS NOT NULL) AS v GROUP BY (n - 1) / {page} ORDER BY min(n)"
    )
    parts = [vectors.from_send_many(row["sent"], len(row["keys"]), (len(row["sent"]) // len(row["keys"]) - 4) // 4) for row in pages]
    known = None if column.model is None else catalogue.resolve(db, column.model, column.fingerprint, by_backend=True)
    read = Read([key for row in pages for key in row["keys"]], [content or "" for row in pages for content in row["texts"]], [])
    return read, np.concatenate(parts) if parts else np.empty((0, column.dim or 0), dtype=np.float32), known
