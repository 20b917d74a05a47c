"""reporting: what changes when searches use the new vectors, measured on the table's own rows before they do.

Some rows are asked for, by both columns' vectors; the table goes by once, and where it is large a sample of it. Nothing is read of what
rows say: the report has keys and numbers.

Over chunks a row asks with the middle of its chunks, as in `pgembed.search_like`, and is as near as its nearest chunk, as in every search.
The two spaces are compared by the middles, for two models may have cut a text at other places.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import chunked, following, vectors
from pgembed.changing.comparing import Nearest, linear_cka, shared
from pgembed.columns import Column
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 10
QUERIES = 100
# That answer for the whole in the comparison of spaces, where the second moment of some hundred dimensions is steady.
MOST_ALIKE = 2_000
# Above this a sample of the table is compared: neighbours among a tenth of the rows change as they do among all.
MOST_ROWS = 200_000
EXAMPLES = 10
_PAGE = 2_000
# Of rows that have many vectors.
_PAGE_CHUNKED = 200


@dataclass(frozen=True)
class Vectors:
    """Vectors of some rows.

    Attributes:
        vectors: float32, shape (n, d), those of a row one behind the other.
        starts: of each row the place of its first vector; None where each has one.
    """

    vectors: NDArray[np.float32]
    starts: NDArray[np.int64] | None

    @classmethod
    def of(cls, sent: Sequence[bytes]) -> Vectors:
        """The vectors of rows, at least one of each, as pgvector sends them, one behind the other."""
        import numpy as np

        numbers = [vectors.sent_each(one)[0] for one in sent]
        made = vectors.from_send_many(b"".join(sent), sum(numbers), vectors.sent_each(sent[0])[1])
        return cls(made, None if sum(numbers) == len(sent) else np.cumsum([0, *numbers[:-1]], dtype=np.int64))

    def middles(self) -> NDArray[np.float32]:
        """Of each row the middle of its vectors: float32, shape (rows, d)."""
        import numpy as np

        if self.starts is None:
            return self.vectors
        numbers = np.diff(np.append(self.starts, len(self.vectors)))
        return np.asarray(np.add.reduceat(self.vectors, self.starts) / numbers[:, None], dtype=np.float32)


def report(db: Database, old: Column, new: Column) -> dict[str, Any]:
    """Compare the vectors of two columns, and the index of each with the exact answer.

    Returns:
        overlap: mean share of the 10 nearest by the old vectors that are among the 10 nearest by the new ones.
        cka: see `comparing.linear_cka`.
        old_recall, new_recall: share of the 10 nearest that a scan of the column's index finds, at pgvector's defaults; None without one.
        moved: the rows whose neighbours have changed most: key, and share that is left.
        queries, rows: that were asked and compared.
        Over chunks the recalls are of chunks, not of rows.
        depends: what reads the old column by its number, and will go on reading the old vectors.
    """
    with following.as_owner(db, old.table):
        found = _measured(db, old, new)
        found["depends"] = depends(db, old)
    return found


def depends(db: Database, column: Column) -> list[str]:
    """What reads a column by its number: views, policies, functions, generated columns, indexes over expressions, columns of codes.

    Over chunks: what reads their table.
    """
    if column.chunks is not None:
        return chunked.dependents(db, column.chunks)
    rows = db.execute(
        "SELECT DISTINCT CASE WHEN r.oid IS NOT NULL"
        " THEN pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, r.ev_class, 0)"
        " WHEN x.oid IS NOT NULL THEN pg_catalog.format('column %s', g.attname)"
        " ELSE pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) END AS said"
        " FROM pg_catalog.pg_depend AS d"
        " LEFT JOIN pg_catalog.pg_rewrite AS r"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid"
        " LEFT JOIN pg_catalog.pg_attrdef AS x"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND x.oid = d.objid"
        " LEFT JOIN pg_catalog.pg_attribute AS g ON g.attrelid = x.adrelid AND g.attnum = x.adnum"
        " LEFT JOIN pg_catalog.pg_index AS i"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = d.objid"
        " LEFT JOIN pg_catalog.pg_trigger AS t"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid"
        " WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1 AND d.refobjsubid = $2"
        # an index over the column itself goes with it, and so do our own triggers and our own index over rows in need of work
        " AND t.oid IS NULL AND (i.indexrelid IS NULL OR NOT ($2 = ANY (i.indkey::pg_catalog.int2[]))"
        " AND i.indexrelid IS DISTINCT FROM pg_catalog.to_regclass($3)::pg_catalog.oid) ORDER BY 1",
        ["pg_catalog.oid", "pg_catalog.int4", "pg_catalog.text"],
        [column.table.oid, column.number, column.work_index],
    )
    coded = db.execute(
        "SELECT pg_catalog.format('column %s', c.column_name) AS said FROM pgembed._code AS c"
        " WHERE c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass AND c.embedding_column = $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    return sorted({str(row["said"]) for row in (*rows, *coded)})


def _measured(db: Database, old: Column, new: Column) -> dict[str, Any]:
    import numpy as np

    total = db.execute(f"SELECT pg_catalog.count(*) AS n FROM {old.table.sql} AS t WHERE {_both(old, new)}")[0]["n"]
    # repeatable, so that the same table has the same report
    part = "" if total <= MOST_ROWS else f" TABLESAMPLE SYSTEM ({100 * MOST_ROWS / total:.6f}) REPEATABLE (1)"
    step = max(1, min(total, MOST_ROWS) // QUERIES)
    keys: list[str] = []
    asked: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    alike: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    own: list[int] = []
    seen = 0
    for page_keys, *sides_of in _pages(db, old, new, part):
        ours, theirs = (side.middles() for side in sides_of)
        places = [at for at in range(len(page_keys)) if (seen + at) % step == 0 and len(own) + 1 <= QUERIES + at // step]
        keys += [page_keys[at] for at in places]
        own += [seen + at for at in places]
        asked.append((ours[places], theirs[places]))
        if seen < MOST_ALIKE:
            alike.append((ours, theirs))
        seen += len(page_keys)
    if not seen:
        return {"overlap": None, "cka": None, "old_recall": None, "new_recall": None, "moved": [], "queries": 0, "rows": 0}
    keys, own = keys[:QUERIES], own[:QUERIES]
    sides = [np.concatenate([pair[side] for pair in asked])[:QUERIES] for side in (0, 1)]
    nearest = [Nearest(side, column.metric, K) for side, column in zip(sides, (old, new), strict=True)]
    seen = 0
    which = np.array(own, dtype=np.int64)
    for page_keys, *sides_of in _pages(db, old, new, part):
        db.check_interrupts()
        for one, page in zip(nearest, sides_of, strict=True):
            one.see(page.vectors, seen, which, page.starts)
        seen += len(page_keys)
    kept = [shared(*pair) for pair in zip(nearest[0].rows.tolist(), nearest[1].rows.tolist(), strict=True)]
    order = sorted(range(len(kept)), key=lambda at: (kept[at], at))
    samples = [np.concatenate([pair[side] for pair in alike])[:MOST_ALIKE] for side in (0, 1)]
    return {
        "overlap": round(sum(kept) / len(kept), 4),
        "cka": round(linear_cka(*samples), 4),
        "old_recall": _recall(db, old, sides[0]),
        "new_recall": _recall(db, new, sides[1]),
        "moved": [{"key": keys[at], "overlap": round(kept[at], 4)} for at in order[:EXAMPLES] if kept[at] < 1],
        "queries": len(kept),
        "rows": seen,
    }


def _both(old: Column, new: Column) -> str:
    return f"{_has_vectors(old)} AND {_has_vectors(new)}"


def _has_vectors(column: Column) -> str:
    if column.chunks is None:
        return column.embedded("t")
    return f"EXISTS (SELECT FROM {column.chunks.sql} AS c WHERE {_of_row(column)})"


def _of_row(column: Column) -> str:
    """SQL that is true for the chunks c of the row t."""
    assert column.chunks is not None
    return column.chunks.of_row("c", "t", [key for key, _ in column.table.keys])


def _sent(column: Column) -> str:
    """SQL for the vectors of the row t, as they are sent, one behind the other."""
    schema = column.vector_schema
    if column.chunks is None:
        return f"{schema}.vector_send(t.{column.sql}::{schema}.vector)"
    each = f"{schema}.vector_send(c.{column.sql}::{schema}.vector)"
    joined = f"pg_catalog.string_agg({each}, ''::pg_catalog.bytea ORDER BY c.ordinal)"
    return f"(SELECT {joined} FROM {column.chunks.sql} AS c WHERE {_of_row(column)})"


def _pages(db: Database, old: Column, new: Column, part: str) -> Any:
    """Keys, and `Vectors` of both columns, of the rows that have both, page by page in the order of the table."""
    sent = [_sent(one) for one in (old, new)]
    page = _PAGE if old.chunks is None else _PAGE_CHUNKED
    cursor = "pgembed_change_pages"
    db.execute(
        f"DECLARE {cursor} NO SCROLL CURSOR FOR SELECT {old.table.key_text('t')} AS key, {sent[0]} AS old, {sent[1]} AS new"
        f" FROM {old.table.sql} AS t{part} WHERE {_both(old, new)} ORDER BY t.tableoid, t.ctid"
    )
    while rows := db.execute(f"FETCH {page} FROM {cursor}"):
        yield [row["key"] for row in rows], *(Vectors.of([row[name] for row in rows]) for name in ("old", "new"))
    db.execute(f"CLOSE {cursor}")


def _recall(db: Database, column: Column, queries: NDArray[np.float32]) -> float | None:
    """Share of the nearest that a scan of the column's index finds; None where there is none. Both answers are of one moment."""
    if column.index_name is None:
        return None
    cast = column.from_vector
    asked = f"t.{column.sql} {column.operator} pgembed._vector($1){cast}"
    if column.chunks is None:
        key = column.table.key_text("t")
    else:
        key = f"ROW({', '.join(f't.{key}' for key in column.chunks.keys)}, t.ordinal)::pg_catalog.text"
    some = [f"SELECT {key} AS key FROM {column.place} AS t WHERE t.{column.sql} IS NOT NULL" for _ in range(2)]
    # adding zero keeps PostgreSQL from ordering by the index
    statement = f"SELECT ARRAY({some[0]} ORDER BY {asked} LIMIT {K}) AS found, ARRAY({some[1]} ORDER BY ({asked}) + 0.0 LIMIT {K}) AS best"
    shares = []
    # what is made so dear that PostgreSQL does not take it would be compiled for its cost
    before = {
        name: str(db.execute(f"SELECT pg_catalog.current_setting('{name}') AS value")[0]["value"]) for name in ("enable_seqscan", "jit")
    }
    for name in before:
        _set(db, name, "off")
    for image in vectors.to_images(queries[: QUERIES // 2]):
        db.check_interrupts()
        row = db.execute(statement, ["pg_catalog.bytea"], [image])[0]
        shares.append(len(set(row["found"]) & set(row["best"])) / len(row["best"]))
    for name, value in before.items():
        _set(db, name, value)
    return round(sum(shares) / len(shares), 4)


def _set(db: Database, name: str, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config($1, $2, true)", ["pg_catalog.text", "pg_catalog.text"], [name, value])


def told(found: dict[str, Any]) -> str:
    """A report in one line."""
    shown = {name: found[name] for name in ("overlap", "cka", "old_recall", "new_recall") if found.get(name) is not None}
    return json.dumps(shown)
