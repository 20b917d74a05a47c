"""probing: the nearest right rows of a few left rows, looked up one by one in one statement."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pgembed import vectors
from pgembed.database import Database, Row
from pgembed.joining import costs, settings
from pgembed.joining.contract import Choice, Part, Request
from pgembed.joins.pairing import best, exact

if TYPE_CHECKING:
    from pgembed.columns import Column
    from pgembed.joining.reading import Chunk, Places

# Rows that are looked up beside k: pgvector computes in float32, and float64 decides between rows that it takes for equally near.
SPARE = 8
# So few rows for each left one are fetched again by their ctid.
FETCHED = 1000
_WITH_CTID = "rpm"
# One plan serves all calls of a session, and is used too seldom to be compiled.
_SETTINGS = {"plan_cache_mode": "force_generic_plan", "jit": "off"}


def part(db: Database, request: Request, chunk: Chunk, places: Places, choice: Choice) -> Part:
    """The k nearest right rows of all rows of a chunk.

    Through the index where that was chosen; else PostgreSQL compares every row, which for a few left rows takes less than reading them
    all. Distances are computed from the vectors as for a product. Right rows are numbered as they come up.
    """
    assert request.k is not None
    column = request.right.column
    assert column is not None
    rows: list[Row] = []
    if len(chunk) and choice.strategy == "index probes":
        wide = costs.ef_search(request.search_recall, request.k) or 0
        # what may miss some neighbours has none to spare for float64 to decide between; a row itself comes up too
        wanted = request.k + request.same
        with settings.changed(db, {**_SETTINGS, "hnsw.ef_search": str(max(wide, min(1000, wanted))), "enable_seqscan": "off"}):
            rows = _asked(db, _by_index(request, column, wanted), chunk)
        # a graph full of rows that are gone finds fewer than there are
        if min(Counter([*range(1, len(chunk) + 1), *(row["position"] for row in rows)]).values()) <= wanted:
            rows = []
    if len(chunk) and not rows:
        with settings.changed(db, {**_SETTINGS, "enable_indexscan": "off"}):
            rows = _asked(db, _by_comparing(request, column, request.k + SPARE, by_ctid=_may_read_ctid(db, column)), chunk)
    known: dict[str, int] = {}
    left = np.asarray([row["position"] - 1 for row in rows], dtype=np.int64)
    right = np.asarray([known.setdefault(row["place"], len(known)) for row in rows], dtype=np.int64)
    distances = np.empty(0)
    if rows:
        theirs = vectors.from_send_many(b"".join(row["sent"] for row in rows), len(rows), chunk.vectors.shape[1])
        distances = exact(chunk.vectors[left], theirs, request.metric)
    keep = ~np.isnan(distances)
    named = list(known)
    every = places.at(np.arange(chunk.start, chunk.start + len(chunk)))
    if request.same:
        keep &= np.asarray([every[i] != named[j] for i, j in zip(left.tolist(), right.tolist(), strict=True)], dtype=bool)
    if request.max_distance is not None:
        keep &= distances <= request.max_distance
    pairs = best(left, right, distances, request.k, keep)
    return Part(
        pairs.left + chunk.start,
        pairs.right,
        pairs.distance,
        pairs.rank,
        [every[i] for i in pairs.left.tolist()],
        [named[j] for j in pairs.right.tolist()],
        every,
    )


def _asked(db: Database, statement: str, chunk: Chunk) -> list[Row]:
    return db.execute(statement, ["pg_catalog.bytea[]"], [vectors.to_images(chunk.vectors)])


def _questions(column: Column) -> str:
    """SQL of the left vectors, q.asked, with their positions from 1; each is made once, not for every row that it is compared with."""
    cast = column.from_vector
    return (
        f"(SELECT pgembed._vector(u.image){cast} AS asked, u.position"
        " FROM pg_catalog.unnest($1) WITH ORDINALITY AS u (image, position) OFFSET 0) AS q"
    )


def _by_index(request: Request, column: Column, wanted: int) -> str:
    """The nearest rows in the order of an index, which gives no more than are wanted."""
    source = request.right
    where = f" AND ({source.where})" if source.where else ""
    stored = f"{source.alias}.{column.sql}"
    return (
        f"SELECT q.position, n.place, {column.vector_schema}.vector_send(n.vector) AS sent FROM {_questions(column)}"
        f" CROSS JOIN LATERAL (SELECT {source.place} AS place, {source.vector} AS vector FROM {source.relation} AS {source.alias}"
        f" WHERE {stored} IS NOT NULL{where} ORDER BY {stored} {column.operator} q.asked LIMIT {wanted}) AS n"
    )


def _may_read_ctid(db: Database, column: Column) -> bool:
    """Whether rows have one that lasts, and the caller the right to read it, which no right on other columns gives."""
    table = column.table
    if table.relkind not in _WITH_CTID:
        return False
    found = db.execute("SELECT pg_catalog.has_table_privilege($1, 'SELECT') AS readable", ["pg_catalog.oid"], [table.oid])
    return bool(found[0]["readable"])


def _by_comparing(request: Request, column: Column, wanted: int, *, by_ctid: bool) -> str:
    """The nearest of all rows, as no index gives them.

    What is selected where rows are compared is carried for every one of them: that is its ctid, and what else is asked for is fetched
    again, of the few that are left.
    """
    source = request.right
    alias, where = source.alias, f" WHERE ({source.where})" if source.where else ""
    stored = f"{alias}.{column.sql}"
    # rows without a vector come last
    selected, place, vector, back = f"{source.place} AS place, {source.vector} AS vector", "n.place", "n.vector", ""
    if by_ctid and wanted <= FETCHED:
        selected, place, vector = f"{alias}.tableoid, {alias}.ctid", source.place, str(source.vector)
        back = (
            f" JOIN {source.relation} AS {alias} ON {alias}.ctid OPERATOR(pg_catalog.=) n.ctid"
            f" AND {alias}.tableoid OPERATOR(pg_catalog.=) n.tableoid"
        )
    return (
        f"SELECT q.position, {place} AS place, {column.vector_schema}.vector_send({vector}) AS sent FROM {_questions(column)}"
        f" CROSS JOIN LATERAL (SELECT {selected} FROM {source.relation} AS {alias}{where}"
        f" ORDER BY {stored} {column.operator} q.asked LIMIT {wanted}) AS n{back} WHERE {vector} IS NOT NULL"
    )
