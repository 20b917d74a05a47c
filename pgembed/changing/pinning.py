"""pinning: which column a name means, while names change places.

A statement is parsed with the names that columns have at that moment; the registry, and the catalogs where SQL reads them, are as the
statement's snapshot sees them, and that may be older. So a column is known by its number: the registry's line and the number of its column
come from one snapshot, the name that this number has now from PostgreSQL's own cache (`Column.now`). Columns change their names under an
exclusive lock, so once a statement over the table has been parsed, they keep theirs to the end of the transaction.

What a query's vector was made for is remembered by the vector itself: the part of a search that plans may see a later state of the
registry than the part that embeds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from pgembed import columns, errors, viewed
from pgembed.columns import Column
from pgembed.database import Database

_MOST_VECTORS = 1024
# Image of a query -> fingerprint of the vectors that it may be compared with.
_made_for: OrderedDict[bytes, str] = OrderedDict()


def pin(db: Database, target: str) -> None:
    """Let columns of a table, or of the table under a view, keep their names until the transaction ends.

    Args:
        target: as regclass writes it; a number is that of a table which is gone.
    """
    if not target.isdigit():
        db.prepare(f"SELECT FROM {target} AS t WHERE false")  # parsing locks, and needs no right to read


def seen(db: Database, target: str | None, name: str | None) -> Column:
    """The embedded column that a name means as the snapshot sees it, and that keeps the name that it has now.

    Raises:
        errors.PgembedError: as `pgembed.viewed.column`.
    """
    if target is not None:
        pin(db, target)
    return viewed.column(db, target, name)


def written(db: Database, target: str | None, name: str | None) -> Column:
    """The embedded column that a statement written by hand means by a name, such as ``ORDER BY embedding <=> embed_query(...)``.

    Raises:
        errors.Overtaken: this transaction began before that column was there, or sees it before it was filled.
        errors.PgembedError: as `pgembed.viewed.column`.
    """
    column = seen(db, target, name)
    if column.home is not None:
        return column
    if column.chunks is not None:
        return _written_over_chunks(db, target, column)
    said = name or column.name
    if column.now != said:
        known = [one for one in columns.table(db, target)[1] if one.now == said]
        column = columns.chosen(column.table, known, known[0].name) if known else replace(column, now=None)
    if column.now is None or (column.now != column.name and _has_one_snapshot(db)):
        raise errors.Overtaken(
            f'column "{said}" of table "{column.table.name}" holds vectors of another model since this transaction began',
            hint="Begin a new transaction; pgembed.search() with a text goes on with the vectors that this one sees.",
        )
    return column


def _written_over_chunks(db: Database, target: str | None, column: Column) -> Column:
    """The same over chunks, where what a statement names, and what changes its name, is their table."""
    assert column.chunks is not None
    said = column.chunks.called
    if column.chunks.name != said:
        known = [one for one in columns.table(db, target)[1] if one.chunks is not None and one.chunks.name == said]
        if not known or _has_one_snapshot(db):
            raise errors.Overtaken(
                f'table "{said}" holds vectors of another model since this transaction began',
                hint="Begin a new transaction; pgembed.search() with a text goes on with the vectors that this one sees.",
            )
        return columns.chosen(column.table, known, known[0].name)
    return column


def remember(image: bytes, fingerprint: str | None) -> None:
    """Note what a query may be compared with.

    Args:
        image: as `pgembed.vectors.to_image` makes it.
        fingerprint: of the column's vectors.
    """
    if fingerprint is None:
        return
    _made_for[image] = fingerprint
    _made_for.move_to_end(image)
    while len(_made_for) > _MOST_VECTORS:
        _made_for.popitem(last=False)


def made_for(image: bytes) -> str | None:
    """What `remember` has noted of a query; None where this session has not made it, or long ago."""
    return _made_for.get(image)


def _has_one_snapshot(db: Database) -> bool:
    isolation = db.execute("SELECT pg_catalog.current_setting('transaction_isolation') AS level")[0]["level"]
    return str(isolation) in ("repeatable read", "serializable")
