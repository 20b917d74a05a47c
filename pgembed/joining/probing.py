"""probing: the nearest right rows of a few left rows, looked up one by one in one statement."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pgembed import vectors
from pgembed.database import Database, Row
from pgembed.joining import costs
from pgembed.joining.sources import table_place
from pgembed.joins.pairing import best, exact

if TYPE_CHECKING:
    from pgembed.joining.execution import Choice, Part, Request
    from pgembed.joining.reading import Chunk, Places

# Rows that are looked up beside k: pgvector computes in float32, and float64 decides between rows that it takes for equally near.
SPARE = 8


def part(db: Database, request: Request, chunk: Chunk, places: Places, choice: Choice) -> Part:
    """The k nearest right rows of all rows of a chunk.

    Through the index where that was chosen; else PostgreSQL compares every row, which for a few left rows takes less than reading them
    all. Distances are computed from the vectors as for a product. Right rows are numbered as they come up.
    """
    from pgembed.joining.execution import Part

    assert request.k is not None
    column = request.right.column
    assert column is not None
    alias, cast = request.right.alias, "" if column.type == "vector" else f"::{column.vector_schema}.{column.type}"
    stored = f"{alias}.{column.sql}"
    distance = f"{stored} {column.operator} q.asked"
    by_index = choice.strategy == "index probes"
    where = f" AND ({request.right.where})" if request.right.where else ""
    # what is selected inside is computed for every row that is compared: names and bytes are made outside, of the few that are left
    inside, place = f"{request.right.place} AS place", "n.place"
    if request.right.place == table_place(alias):
        inside, place = f"{alias}.tableoid, {alias}.ctid", table_place("n")
    # OFFSET 0: else the vector that is asked for is made once for every row that it is compared with
    statement = (
        f"SELECT q.position, {place} AS place, {column.vector_schema}.vector_send(n.vector) AS sent"
        f" FROM (SELECT pgembed._vector(u.image){cast} AS asked, u.position"
        " FROM pg_catalog.unnest($1) WITH ORDINALITY AS u (image, position) OFFSET 0) AS q"
        f" CROSS JOIN LATERAL (SELECT {inside}, {request.right.vector} AS vector"
        f" FROM {request.right.relation} AS {alias} WHERE {stored} IS NOT NULL{where} ORDER BY "
    )
    types, values = ["pg_catalog.bytea[]", "pg_catalog.int4"], [vectors.to_images(chunk.vectors), request.k + SPARE]
    rows: list[Row] = []
    if len(chunk) and by_index:
        wide = costs.ef_search(request.search_recall, request.k) or 0
        with _Settings(db, {"hnsw.ef_search": str(max(wide, min(1000, request.k + SPARE))), "enable_seqscan": "off"}):
            rows = db.execute(f"{statement}{distance} LIMIT $2) AS n", types, values)
        # a graph full of rows that are gone finds fewer than there are
        if min(Counter([*range(1, len(chunk) + 1), *(row["position"] for row in rows)]).values()) <= request.k:
            by_index = False
    if len(chunk) and not by_index:
        # an expression that no index has an order for
        rows = db.execute(f"{statement}({distance}) OPERATOR(pg_catalog.+) 0.0::pg_catalog.float8 LIMIT $2) AS n", types, values)
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


class _Settings:
    """Settings while a block runs; after an error the transaction takes them back."""

    def __init__(self, db: Database, wanted: dict[str, str]) -> None:
        self.db, self.wanted = db, wanted
        self.before: dict[str, str] = {}

    def __enter__(self) -> None:
        for name, value in self.wanted.items():
            found = self.db.execute("SELECT pg_catalog.current_setting($1, true) AS value", ["pg_catalog.text"], [name])
            self.before[name] = str(found[0]["value"] or "")
            self._set(name, value)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for name, value in self.before.items():
                self._set(name, value)

    def _set(self, name: str, value: str) -> None:
        self.db.execute("SELECT pg_catalog.set_config($1, $2, true)", ["pg_catalog.text", "pg_catalog.text"], [name, value])
