"""rows: reading a column of many rows at once, with the place of each row.

A place is the row's table and ctid as text; it holds for the snapshot of one statement, which is what functions that are STABLE in
PostgreSQL's sense have. Whatever is read is read with the caller's rights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from pgembed import vectors
from pgembed.columns import Column
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PAGE = 20_000  # rows in one bytea: at 16,000 dimensions that is above PostgreSQL's 1 GB, so pages shrink with the dimension
PAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Places:
    """Where rows are: position i belongs to row i of what was read with it."""

    tables: list[int]
    places: list[str]

    def __len__(self) -> int:
        return len(self.places)


def read_keyed(db: Database, column: Column) -> tuple[list[str], npt.NDArray[np.float32]]:
    """As `read_vectors`, but with each row's key, as `Table.key_text` writes it; the table must have one."""
    import numpy as np

    alias = column.table.alias
    sent = f"{column.vector_schema}.vector_send({alias}.{column.sql}{column.to_vector})"
    page = max(1, min(PAGE, PAGE_BYTES // (4 * (column.dim or 2000))))
    pages = db.execute(
        "SELECT pg_catalog.array_agg(k) AS keys, pg_catalog.string_agg(b, ''::pg_catalog.bytea) AS sent"
        f" FROM (SELECT {column.table.key_text(alias)} AS k, {sent} AS b,"
        f" pg_catalog.row_number() OVER () / {page} AS page FROM {column.table.sql} AS {alias}"
        f" WHERE {alias}.{column.sql} IS NOT NULL) AS v GROUP BY page ORDER BY page"
    )
    if not pages:
        return [], np.empty((0, column.dim or 0), dtype=np.float32)
    return [key for row in pages for key in row["keys"]], np.concatenate([_floats(row["sent"], len(row["keys"])) for row in pages])


_cursors = count(1)


def pages(
    db: Database, column: Column, dim: int, size: int, part: str = ""
) -> Iterator[tuple[list[tuple[int, str]], npt.NDArray[np.float32]]]:
    """The vectors of a column page by page, as they stand at one moment: places of rows, and float32 (n, dim).

    Memory is that of a page. Not for a function that is STABLE: PostgreSQL lets none declare a cursor.

    Args:
        dim: that every vector must have.
        size: rows of a page.
        part: SQL behind the table's alias, such as a TABLESAMPLE clause; ours.
    Raises:
        errors.DimensionMismatch: a vector has other dimensions.
    """
    cursor = f"pgembed_pages_{next(_cursors)}"
    # An error ends the transaction, or the savepoint, and the cursor with it.
    db.execute(
        f"DECLARE {cursor} NO SCROLL CURSOR FOR SELECT t.tableoid AS o, t.ctid::pg_catalog.text AS c,"
        f" {column.vector_schema}.vector_send(t.{column.sql}{column.to_vector}) AS sent"
        f" FROM {column.table.sql} AS t{part} WHERE t.{column.sql} IS NOT NULL"
    )
    while found := db.execute(f"FETCH {size} FROM {cursor}"):
        sent = b"".join(row["sent"] for row in found)
        yield [(row["o"], row["c"]) for row in found], vectors.from_send_many(sent, len(found), dim)
    db.execute(f"CLOSE {cursor}")


def _floats(sent: bytes, n: int) -> npt.NDArray[np.float32]:
    # four bytes of dimension and flags stand before each vector's floats
    return vectors.from_send_many(sent, n, (len(sent) // n - 4) // 4)
