"""truth: the nearest rows of each query under each filter, found while the table goes by once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import errors, vectors
from pgembed.calibration.filtering import Filter
from pgembed.codes.queries import Place
from pgembed.columns import Column
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# float32 distances err by less; rows within it of the k-th are as good as it.
_TIE = 2e-6
_KEPT = 6  # beside the k nearest, for ties
_PAGE_NUMBERS = 4 << 20


@dataclass(frozen=True)
class Truth:
    """The nearest rows.

    Attributes:
        nearest: by filter and query, the rows that are as near as the k-th or nearer, as `place_of` writes them.
        counted: by filter and query, how many of them an answer can have: k, fewer where fewer rows pass.
        passing: by filter, rows with a vector that pass.
        rows: of the table, vectors or not.
        own: of each query the row that it was made of, which is no result; None for none.
    """

    nearest: list[list[frozenset[str]]]
    counted: list[list[int]]
    passing: list[int]
    rows: int
    own: list[str | None]


def place_of(column: Column, alias: str, names: list[str]) -> str:
    """SQL of what identifies a row, as text."""
    return f"ROW({', '.join(f'{alias}.{name}' for name in names)})::pg_catalog.text"


def find(db: Database, column: Column, filters: list[Filter], asked: NDArray[np.float32], rows: list[Place | None], k: int) -> Truth:
    """Compare every row with every query.

    Args:
        asked: float32, shape (m, dim).
        rows: what each query was made of; None for none.
    Raises:
        errors.DimensionMismatch: a vector has other dimensions.
        errors.InvalidParameter: there are no more than k rows with a vector.
    """
    import numpy as np

    m, dim = asked.shape
    own_rows: dict[Place, list[int]] = {}
    for query, row in enumerate(rows):
        if row is not None:
            own_rows.setdefault(row, []).append(query)
    own: list[str | None] = [None] * m
    best = [_Best(m, k + _KEPT) for _ in filters]
    passing = [0] * len(filters)
    size = max(64, min(4096, _PAGE_NUMBERS // max(dim, m)))
    held = 0
    for found in _pages(db, column, filters, size):
        held += len(found)
        found = [row for row in found if row["sent"] is not None]
        if not found:
            continue
        page = vectors.from_send_many(b"".join(row["sent"] for row in found), len(found), dim)
        places = np.array([row["place"] for row in found], dtype=object)
        passes = np.array([row["passes"] for row in found], dtype=np.int64)
        distances = distance(asked, page, column.metric)
        for position, row in enumerate(found):
            for query in own_rows.get((row["o"], row["c"]), ()):
                own[query] = row["place"]
                distances[query, position] = np.inf
        for number, one in enumerate(best):
            taken = np.flatnonzero(passes >> number & 1)
            passing[number] += len(taken)
            if len(taken):
                one.add(distances[:, taken], places[taken])
        db.check_interrupts()
    if passing[0] <= k:
        raise errors.InvalidParameter(
            f"{column.label} has {passing[0]} vectors, too few to measure recall@{k} on", hint="A search compares so few exactly anyway."
        )
    both = [one.end(k) for one in best]
    return Truth([sets for sets, _ in both], [counts for _, counts in both], passing, held, own)


def distance(asked: NDArray[np.float32], page: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """What orders rows as the metric does: float32, shape (queries, rows)."""
    import numpy as np

    if metric == "l2":
        centre = page.mean(axis=0)  # it loses least from nearby
        asked, page = asked - centre, page - centre
        made = np.square(page).sum(axis=1)[None] - 2 * asked @ page.T + np.square(asked).sum(axis=1)[:, None]
        return np.asarray(made.clip(0, None), dtype=np.float32)
    if metric == "cosine":
        asked, page = (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30) for part in (asked, page))
    return np.asarray(-(asked @ page.T), dtype=np.float32)


class _Best:
    """The nearest rows so far of each query."""

    def __init__(self, queries: int, kept: int) -> None:
        import numpy as np

        self._distances = np.full((queries, kept), np.inf, dtype=np.float32)
        self._places = np.full((queries, kept), None, dtype=object)

    def add(self, distances: NDArray[np.float32], places: NDArray[Any]) -> None:
        import numpy as np

        kept = self._distances.shape[1]
        if distances.shape[1] > kept:
            first = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
            new, named = np.take_along_axis(distances, first, axis=1), places[first]
        else:
            new, named = distances, np.broadcast_to(places, distances.shape)
        both, names = np.concatenate([self._distances, new], axis=1), np.concatenate([self._places, named], axis=1)
        order = np.argsort(both, axis=1, kind="stable")[:, :kept]
        self._distances, self._places = np.take_along_axis(both, order, axis=1), np.take_along_axis(names, order, axis=1)

    def end(self, k: int) -> tuple[list[frozenset[str]], list[int]]:
        import numpy as np

        sets, counts = [], []
        for distances, places in zip(self._distances, self._places, strict=True):
            real = np.isfinite(distances)
            count = min(k, int(real.sum()))
            last = distances[count - 1] if count else -np.inf
            within = real & (distances <= last + _TIE * max(1.0, abs(float(last))))
            sets.append(frozenset(places[within]))
            counts.append(count)
        return sets, counts


_CURSOR = "pgembed_calibration"


def _pages(db: Database, column: Column, filters: list[Filter], size: int) -> Any:
    """Rows page by page: o and c their place, place as `place_of` has it, passes a bit for each filter, sent the vector or None."""
    alias = column.table.alias
    passes = " OPERATOR(pg_catalog.|) ".join(
        f"CASE WHEN {one.condition} THEN {1 << number}::pg_catalog.int8 ELSE 0::pg_catalog.int8 END" for number, one in enumerate(filters)
    )
    cast = column.to_vector
    keys = [name for name, _ in column.table.keys] or ["tableoid", "ctid"]
    # an error ends the transaction, or the savepoint, and the cursor with it
    db.execute(
        f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR SELECT {alias}.tableoid AS o, {alias}.ctid::pg_catalog.text AS c,"
        f" {place_of(column, alias, keys)} AS place, {passes} AS passes,"
        f" {column.vector_schema}.vector_send({alias}.{column.sql}{cast}) AS sent"
        f" FROM {column.table.sql} AS {alias}"
    )
    while found := db.execute(f"FETCH {size} FROM {_CURSOR}"):
        yield found
    db.execute(f"CLOSE {_CURSOR}")
