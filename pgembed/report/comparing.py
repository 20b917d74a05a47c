"""comparing: two embedded columns of one table: do they find the same neighbours, and are their spaces alike?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgembed import errors, vectors
from pgembed.changing.comparing import linear_cka
from pgembed.columns import Column
from pgembed.database import Database, Row
from pgembed.report import measures
from pgembed.report.reading import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 10
# Rows whose neighbours differ most, that are listed.
LISTED = 8


@dataclass
class Compared:
    """A column beside another one, over the rows of the sample that have both vectors.

    Attributes:
        overlap: of each row the share of its ten nearest by the first that it has by the second; float64, shape (n,).
        cka: see `pgembed.changing.comparing.linear_cka`.
        moved: rows with the smallest share below 1: key, text, share, its nearest that only the first has, and only the second.
    """

    one: str
    other: str
    rows: int
    overlap: NDArray[np.float64]
    cka: float
    moved: list[tuple[str, str, float, str, str]] = field(default_factory=list)


def choose(db: Database, column: Column, known: list[Column], named: str | None) -> Column | None:
    """The column of the same table that another one is compared with; None where there is none.

    Args:
        named: the one that is wanted; None takes, of those that the caller may read, that which replaces it or was replaced by it, else
            one with the same source, else any.
    Raises:
        errors.UnknownColumn: there is none of that name.
    """
    others = [one for one in known if one.name != column.name and one.chunks is None and one.type in ("vector", "halfvec")]
    if named is not None:
        wanted = [one for one in others if one.name == named]
        if not wanted:
            names = ", ".join(one.name for one in others) or "none"
            raise errors.UnknownColumn(
                f'column "{named}" of table "{column.table.name}" is not another embedded column', hint=f"There are: {names}."
            )
        return wanted[0]
    allowed = db.execute(
        "SELECT a.attname AS name FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1 AND a.attname = ANY ($2)"
        " AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [column.table.oid, [one.name for one in others]],
    )
    others = [one for one in others if one.name in {str(row["name"]) for row in allowed}]
    if column.chunks is not None or not others:
        return None
    return max(others, key=lambda one: (column.name == one.change_of or one.name == column.change_of, one.source == column.source))


def compare(column: Column, other: Column, sample: Sample) -> Compared | None:
    """The two columns over the sample; None where fewer than three rows have both vectors."""
    import numpy as np

    sent = sample.others.get(other.name, [])
    usual = max((len(one) for one in sent if one), default=0)
    there = [at for at, one in enumerate(sent) if one is not None and len(one) == usual]
    if len(there) < 3:
        return None
    mine = sample.vectors[there]
    theirs = vectors.from_send_many(b"".join(sent[at] or b"" for at in there), len(there), (usual - 4) // 4)
    near, far = measures.nearest(mine, column.metric, K), measures.nearest(theirs, other.metric, K)
    shares = measures.overlap(near, far)
    moved = []
    for at in np.argsort(shares, kind="stable")[:LISTED].tolist():
        if shares[at] >= 1:
            break
        row = there[at]
        # the first that the other space does not have: the very nearest is often the same while all behind it differ
        one, two = (there[int(a[~np.isin(a, b)][0])] for a, b in ((near.rows[at], far.rows[at]), (far.rows[at], near.rows[at])))
        said = (sample.texts[one] or sample.keys[one], sample.texts[two] or sample.keys[two])
        moved.append((sample.keys[row], sample.texts[row], float(shares[at]), *said))
    return Compared(column.name, other.name, len(there), shares, linear_cka(mine, theirs), moved)


def changes(db: Database, column: Column) -> list[Row]:
    """What pgembed.model_changes says of a change of the column's model, as the caller may see it."""
    return db.execute(
        "SELECT c.state, c.old_model, c.new_model, c.rows, c.done, c.failed, c.overlap, c.cka, c.old_recall, c.new_recall,"
        " c.started_at::pg_catalog.text AS started_at FROM pgembed.model_changes AS c"
        " WHERE c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND (c.column_name = $2 OR c.new_column = $2)",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
