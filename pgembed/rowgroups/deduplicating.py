"""deduplicating: rows of a table that are the same but for how they are written, as clusters with a key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import columns, errors, progress
from pgembed.columns import Table
from pgembed.database import Database
from pgembed.models import threads
from pgembed.rowgroups import reading

if TYPE_CHECKING:
    from pgembed.grouping.duplicates import Line


@dataclass(frozen=True)
class Row:
    """A row that has duplicates; see `pgembed.grouping.duplicates.Clusters`. The cluster is called by the first of its keys."""

    key: str
    cluster: str
    size: int
    similarity: float
    is_representative: bool


def deduplicate(
    db: Database,
    target: str | None,
    column_name: str | None,
    attributes: str | None,
    within: Sequence[str | None] | None,
    precision: float | None,
    labels: str | None,
) -> list[Row]:
    """The rows that have duplicates, by cluster and key; tells in a notice where the line was drawn.

    Args:
        column_name: whose text is compared; of an embedded column the columns that its source reads. None: the embedded one.
        attributes: JSON array of columns that are compared as one text, instead of a column.
        within: columns in which duplicates are equal; two NULLs are.
        labels: a table with left_key, right_key, is_match.
    """
    if precision is not None and not 0 < precision < 1:
        raise errors.InvalidParameter(f"precision must be between 0 and 1, not {precision:g}", hint="0.95 lets 5 of 100 pairs be wrong.")
    table, names = _compared(db, target, column_name, attributes)
    inside = [name for name in within or () if name is not None]
    reading.must_have(db, table, inside)
    with progress.shown(db, "deduplicate", table.shown):
        read = reading.texts(db, table, names, inside)
        known = None if labels is None else _labelled(db, labels)
        with threads.signals_blocked():
            import numpy as np

            from pgembed.grouping import duplicates
        coded: dict[str, int] = {}
        groups = np.asarray([coded.setdefault(one, len(coded)) for one in read.groups], dtype=np.int64) if inside else None
        place = {key: i for i, key in enumerate(read.keys)} if known is not None else {}
        pairs: Any = None
        if known is not None:
            listed = [(place[a], place[b], yes) for a, b, yes in known if a in place and b in place]
            pairs = tuple(np.asarray([one[i] for one in listed], dtype=bool if i == 2 else np.int64) for i in range(3))
        found = duplicates.deduplicate(read.texts, precision=precision, groups=groups, labels=pairs, check=db.check_interrupts)
        progress.tell(db, len(read.keys), len(read.keys))
    _tell(db, found.line, precision or duplicates.PRECISION)
    return [
        Row(read.keys[row], read.keys[cluster], size, similarity, chosen)
        for row, cluster, size, similarity, chosen in zip(
            found.row.tolist(),
            found.cluster.tolist(),
            found.size.tolist(),
            found.similarity.tolist(),
            found.is_representative.tolist(),
            strict=True,
        )
    ]


def _tell(db: Database, line: Line, wanted: float) -> None:
    if line.precision is None:
        message = "nothing but the same words can be told from what is merely alike"
        if line.least < 1 - 1e-6:
            message = (
                f"pairs with a likeness of at least {line.least:.2f} are duplicates; too few are alike to say how many of them are right"
            )
        db.notice(message, hint="labels => names a table of pairs (left_key, right_key, is_match) that are known.")
        return
    below = line.precision < wanted
    message = f"pairs with a likeness of at least {line.least:.2f} are duplicates, and {100 * line.precision:.0f} % of them should be right"
    db.notice(
        message + (f", less than the {100 * wanted:.0f} % asked for" if below else ""),
        hint="labels => names a table of pairs (left_key, right_key, is_match) that are known." if below else None,
    )


def _compared(db: Database, target: str | None, column_name: str | None, attributes: str | None) -> tuple[Table, Sequence[str]]:
    if attributes is None:
        where = reading.place(db, target, column_name)
        return where.table, where.names
    given = json.loads(attributes)
    if column_name is not None or not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise errors.InvalidParameter(
            f"attributes must be a JSON array of columns, without column_name, not {attributes[:60]}",
            hint="""Such as attributes => '["name", "city"]'.""",
        )
    table, _ = columns.table(db, target)
    if not table.keys:
        raise table.no_key()
    reading.must_have(db, table, given)
    return table, given


def _labelled(db: Database, labels: str) -> list[tuple[str, str, bool]]:
    table, _ = columns.table(db, labels)
    reading.must_have(db, table, ["left_key", "right_key", "is_match"])
    rows = db.execute(
        "SELECT left_key::pg_catalog.text AS one, right_key::pg_catalog.text AS other, is_match"
        f" FROM {table.sql} WHERE is_match IS NOT NULL AND left_key IS NOT NULL AND right_key IS NOT NULL"
    )
    return [(row["one"], row["other"], bool(row["is_match"])) for row in rows]
