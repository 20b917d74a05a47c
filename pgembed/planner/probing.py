"""probing: how many of the query's own neighbours pass the filter.

A graph finds rows by how near they are and passes over those that a filter hides. So what it costs depends on the share of passing rows
around the query, and statistics know that of the whole table only: of a category that has 7 % of the rows, the neighbours of a question
about it may be 90 %, and those of another question none. One small scan of the graph tells (local selectivity, see
https://arxiv.org/abs/2602.11443). It costs a millisecond, so it is made only where a wrong choice would cost several.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pgembed import vectors
from pgembed.database import Database
from pgembed.planner import coded, overfetch, rendering
from pgembed.planner.contract import Estimate, Option, Request
from pgembed.planner.facts import Facts

# Rows that are looked at: the share among them is known within a factor of two down to a tenth.
NEIGHBOURS = 48
# A probe is made where it may save so many times what it costs.
WORTH = 3.0
# Above, few are passed over wherever the query is.
NEARLY_ALL = 0.9
# What the estimate counts for, in rows; and in rows that pass, where fewer were seen: if 48 neighbours all fail, farther ones may pass.
ESTIMATE_WEIGHT = 4.0
ESTIMATE_PASSING = 2.0
# Fewer than this often would so few neighbours pass if the estimate held around the query.
UNLIKELY = 0.02
# Where a probe raises doubts, about so many rows are drawn at random; and at least this share of the estimated rows is there.
SAMPLE = 128
LEAST_TRUST = 0.1
# Standard deviations below what was seen that are counted upon.
CAUTION = 1.0

TYPES = ("pg_catalog.jsonb", "pg_catalog.bytea", "pg_catalog.int4", "pg_catalog.float8", "pg_catalog.text", "pg_catalog.text")


@dataclass(frozen=True)
class Local:
    """What a probe saw.

    Attributes:
        looked, passed: rows that the caller may see.
        share: of passing rows that a graph may count upon around the query, 0 to 1: below what was seen, for they were few.
        doubtful: so few pass that the query lies apart from the rows that pass, or the estimate is wrong.
    """

    looked: int
    passed: int
    share: float
    doubtful: bool = False


def pays(facts: Facts, request: Request, estimate: Estimate, safe: Option, at_best: Option | None) -> bool:
    """Whether a probe could save several times what it costs.

    Args:
        safe: the cheapest way that misses nothing.
        at_best: the cheapest over a graph, if every neighbour passes; None for none.
    """
    if at_best is None or not request.probe or request.path is not None or request.query is None:
        return False
    if request.filter is None or estimate.share >= NEARLY_ALL:
        return False
    return safe.milliseconds - at_best.milliseconds >= WORTH * cost(facts)


def cost(facts: Facts) -> float:
    """Of a probe, in milliseconds."""
    each = facts.costs.code_graph_row if _on_codes(facts) else facts.costs.graph_row
    return facts.costs.statement + facts.costs.graph + NEIGHBOURS * each


def look(db: Database, facts: Facts, request: Request, condition: str, estimate: Estimate) -> Local | None:
    """Look at the query's neighbours, as the caller; None where there are none.

    The filter is evaluated for them, so what it raises for one of them is raised here.

    Args:
        condition: as `filters.proven` returns it.
    """
    on_codes = _on_codes(facts)
    alias = facts.column.table.alias
    there = facts.code.sql if on_codes and facts.code is not None else facts.column.sql
    rows = explored(
        db,
        ("hnsw.ef_search", str(NEIGHBOURS), "hnsw.iterative_scan", "off"),
        "SELECT pg_catalog.count(*) AS looked, pg_catalog.count(*) FILTER (WHERE passes) AS passed\n"
        # not in its WHERE: PostgreSQL might take an index that serves the filter, and has to look at these rows alone
        f"FROM (SELECT {rendering.where_row(facts.column, condition, request)} AS passes\n"
        f"    FROM {facts.column.table.sql} AS {alias} WHERE {alias}.{there} IS NOT NULL\n"
        f"    ORDER BY {nearest(facts, on_codes=on_codes)} LIMIT {NEIGHBOURS}) AS seen",
        values(db, facts, request, on_codes=on_codes),
    )
    looked, passed = int(rows[0]["looked"]), int(rows[0]["passed"])
    if not looked:
        return None
    # what a policy hides is passed over too; how much of it there is around the query is nobody's business
    visible = min(1.0, facts.rows / facts.held) if facts.held > 0 and facts.rows > 0 else 1.0
    expected = min(1.0, estimate.share / visible)
    doubtful = 1.0 - overfetch.enough(passed + 1, looked, expected) < UNLIKELY
    return Local(looked, passed, cautious(looked, passed, expected) * visible, doubtful)


def least_trust(estimate: Estimate, local: Local) -> float:
    """The share of the estimated rows that is there if no more pass anywhere than around the query."""
    return max(LEAST_TRUST, min(1.0, local.share / max(estimate.share, 1e-9)))


def trust(db: Database, facts: Facts, request: Request, condition: str, estimate: Estimate, local: Local) -> float:
    """The share of the estimated rows that are surely there, where a probe raised doubts.

    Either the query lies apart from the rows that pass, or fewer pass than statistics say. Rows that are drawn at random tell which.
    """
    least = least_trust(estimate, local)
    column = facts.column
    # of a view no rows can be drawn
    if column.home is not None or column.table.relkind not in ("r", "p", "m") or facts.held <= 0:
        return least
    percent = min(100.0, 100.0 * SAMPLE / facts.held)
    found = db.execute(
        "SELECT pg_catalog.count(*) AS looked, pg_catalog.count(*) FILTER (WHERE passes) AS passed\n"
        f"FROM (SELECT {rendering.where_row(column, condition, request)} AS passes\n"
        f"    FROM {column.table.sql} AS {column.table.alias} TABLESAMPLE SYSTEM ($2) LIMIT {4 * SAMPLE}) AS drawn",
        ("pg_catalog.jsonb", "pg_catalog.float4", "pg_catalog.int4", "pg_catalog.float8", "pg_catalog.text"),
        [request.params, percent, None, None, request.leave_out],
    )
    looked, passed = int(found[0]["looked"]), int(found[0]["passed"])
    if looked < NEIGHBOURS:
        return least
    visible = min(1.0, facts.rows / facts.held) if facts.rows > 0 else 1.0
    share = passed / looked * visible / max(estimate.share, 1e-9)
    # half as many may be chance
    return 1.0 if share > 0.5 else max(LEAST_TRUST, share)


def cautious(looked: int, passed: int, expected: float) -> float:
    """The share of passing rows to count upon: Wilson's lower bound, with the estimate as a few rows more that were seen.

    Args:
        expected: share by the estimate.
    """
    weight = ESTIMATE_WEIGHT
    if passed < looked * expected:
        weight = max(weight, ESTIMATE_PASSING / expected)
    n = looked + weight
    seen = (passed + weight * expected) / n
    squared = CAUTION**2
    middle = seen + squared / (2 * n)
    below = CAUTION * math.sqrt(seen * (1 - seen) / n + squared / (4 * n * n))
    return max(0.0, (middle - below) / (1 + squared / n))


def nearest(facts: Facts, *, on_codes: bool) -> str:
    """What rows are ordered by to come out of an index nearest first, in a statement of `TYPES` of its own."""
    column = facts.column
    if on_codes:
        assert facts.code is not None
        return coded.distance(facts.code, column, masked=False)
    query = "pgembed._vector($2)"
    cast = column.from_vector
    return f"{column.table.alias}.{column.sql} {column.operator} {query}{cast}"


def values(db: Database, facts: Facts, request: Request, *, on_codes: bool) -> list[object]:
    """The parameters of such a statement: params, image of the query, nothing, nothing, key, code."""
    assert request.query is not None
    code = None
    if on_codes:
        assert facts.code is not None
        code = coded.asked(db, facts.code, request.query).code
    image = None if on_codes else vectors.to_image(vectors.from_send(request.query))
    return [request.params, image, None, None, request.leave_out, code]


def explored(db: Database, settings: tuple[str, ...], statement: str, given: list[object]) -> list[Any]:
    """Run a statement of `TYPES` under settings, and put back what they were."""
    undo = db.execute("SELECT pgembed._set($1) AS undo", ["pg_catalog.text[]"], [list(settings)])[0]["undo"]
    try:
        return db.execute(statement, TYPES, given)
    finally:
        db.execute("SELECT pgembed._set($1) AS undo", ["pg_catalog.text[]"], [undo])


def _on_codes(facts: Facts) -> bool:
    return facts.code is not None and facts.code.index_name is not None and facts.code.index_method == "hnsw"
