"""costs: what the ways to run a join are estimated to take.

Constants are of one machine (AVX-512, two cores), in microseconds; what counts is how they compare. See README.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgembed.database import Database
from pgembed.joining import memory
from pgembed.joining.contract import Choice, Request
from pgembed.joining.sources import Source
from pgembed.models import threads

# A row of vectors into an array: by itself, and by dimension.
READ_ROW, READ_NUMBER = 3.0, 0.008
# One multiplication and addition of a product in one thread; of an exact distance that PostgreSQL computes, and a row that it visits.
PRODUCT, OPERATOR, VISITED = 2.2e-5, 0.0008, 0.3
# A statement; a look into an HNSW graph, by candidate of its list.
STATEMENT, LOOK, CANDIDATE = 600.0, 250.0, 9.0
# numpy is imported, its threads begin.
BEGIN = 2_000.0
# Of dense rows whose number of dimensions nobody knows.
DIMENSIONS = 768
# By recall an hnsw.ef_search for k = 1. Of 63,166 descriptions of packages, asked with 10,000 that are not stored, 40 found .991, and
# .980 of the ten nearest; the others are on the safe side of what was measured. For more neighbours it is raised, see `ef_search`.
EF_SEARCH = ((0.95, 40), (0.98, 100), (0.99, 200), (0.995, 400))
# pgvector's hnsw.ef_search is at most 1,000, and some rows more than k are looked up.
MOST_BY_INDEX = 500


def ef_search(recall: float, k: int) -> int | None:
    """How wide a look at a graph must be; None where no look is that sure."""
    for reached, wide in EF_SEARCH:
        if recall <= reached:
            return min(1000, wide if k == 1 else max(2 * wide, 4 * k))
    return None


def estimated(db: Database, source: Source) -> float:
    """Rows of a side before its condition: what PostgreSQL last counted, else its pages, else a thousand."""
    if source.column is not None:
        found = db.execute(
            "SELECT greatest(0, CASE WHEN c.reltuples OPERATOR(pg_catalog.>=) 0 AND c.relpages OPERATOR(pg_catalog.>) 0"
            " THEN c.reltuples OPERATOR(pg_catalog./) c.relpages OPERATOR(pg_catalog.*) pg_catalog.pg_relation_size(c.oid)"
            " OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.float8"
            " ELSE pg_catalog.pg_relation_size(c.oid)::pg_catalog.float8 OPERATOR(pg_catalog./) $2 END) AS n"
            " FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) $1",
            ["pg_catalog.oid", "pg_catalog.float8"],
            [source.column.table.oid, 100.0 + 4 * (source.column.dim or DIMENSIONS)],
        )
        if found and found[0]["n"]:
            return float(found[0]["n"])
    return source.rows if source.rows >= 0 else 1000.0


def hides(db: Database, source: Source) -> bool:
    """Whether policies may hide rows of a side from the caller: an index then looks at neighbours that nobody gets."""
    if source.column is None:
        return True
    found = db.execute("SELECT pg_catalog.row_security_active($1) AS yes", ["pg_catalog.oid"], [source.column.table.oid])
    return bool(found[0]["yes"])


def choices(request: Request, left: float, right: float, *, hidden: bool = False) -> Sequence[Choice]:
    """What could be done for so many rows, the cheapest first; what cannot be done comes last, and says why.

    What asks for more than the neighbours of each left row (mutual pairs, all within a distance, groups) needs products.

    Args:
        hidden: policies may hide rows of the right side.
    """
    column = request.right.column or request.left.column
    dim = (column.dim if column is not None else None) or DIMENSIONS
    k = request.k or 1
    reading = (left + right) * (READ_ROW + READ_NUMBER * dim)
    row = memory.ROW + 4 * dim
    fits = max(1.0, request.memory / 2)
    blocks = int(-(-left * (row + memory.PAIR * k) // fits)) if right * row > fits else 1
    again = (blocks - 1) * right * (READ_ROW + READ_NUMBER * dim)
    product = BEGIN + STATEMENT * 2 + reading + again + left * right * dim * PRODUCT / threads.thread_count()
    size = min(request.memory, int((left + right) * row + left * k * memory.PAIR) + memory.THREAD)
    found = [Choice("product", product / 1000, size, max(1, blocks))]
    why = _no_probe(request)
    small = int(left * (row + k * memory.PAIR))
    exact = STATEMENT + left * (READ_ROW + right * (VISITED + OPERATOR * dim))
    found.append(Choice("exact probes", exact / 1000, small, 0, why))
    wide = ef_search(request.search_recall, k)
    graph = STATEMENT + left * (LOOK + CANDIDATE * (wide or 0))
    if not why:
        right_column = request.right.column
        if right_column is None or right_column.index_name is None or right_column.index_method != "hnsw":
            why = "the right side has no HNSW index"
        elif hidden:
            why = "a policy on the right side may leave an index with too few rows"
        elif request.right.where:
            why = "the condition on the right side may leave an index with too few rows"
        elif wide is None or k > MOST_BY_INDEX:
            why = f"no index finds a share of {request.search_recall:g} for sure"
    found.append(Choice("index probes", graph / 1000, small, 0, why))
    return sorted(found, key=lambda choice: (choice.note != "", choice.milliseconds))


def _no_probe(request: Request) -> str:
    if request.k is None:
        return "all pairs within a distance are wanted"
    if request.mutual:
        return "both sides are searched"
    if request.right.column is None:
        return "the right side is no embedded column of a table"
    if request.right.group is not None:
        return "only rows of equal groups are compared"
    if request.not_equal:
        return "equal vectors are no pair"
    if request.right.types:
        return "the right side has parameters"
    return ""
