"""choosing: which way to answer costs least and keeps the promise.

Paths that look at every row that passes the filter (*exact*, *covering*, *scan*) cost what the estimate says; their recall does not
depend on it. A graph (*index*, *code*, *partial*) costs by how many of the query's neighbours pass, which a probe tells where it matters
(`pgembed.planner.probing`). Three things bound the regret: in the band where both seem to cost the same the safe way is taken; where far
fewer neighbours pass than statistics promise, and of rows drawn at random too, the safe way is so much cheaper than they say; and a graph
is read no further than what the safe way would cost, nor several times as far as expected, when the same statement goes on by the safe
way. So a wrong choice costs about twice the safe way, and never a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgembed.database import Database
from pgembed.planner import curves, overfetch, partial, probing, rendering
from pgembed.planner.contract import Estimate, Option, Path, Request, Setting
from pgembed.planner.facts import Facts
from pgembed.planner.partial import VectorIndex
from pgembed.planner.probing import Local

# A graph must be so much cheaper than what is safe.
BAND = 1.3
# And still more where the query lies apart from the rows that pass, and codes of all of these can be read.
APART_BAND = 2.0
# How many times as much as measured queries those that come may miss. Over a graph the filters are others too: 1.5 times as much with
# ranges. Over codes, where a candidate more costs little, the rows that have a value in common are nearer to each other: papers of one
# category missed three times as much as those of another.
HARDER, HARDER_FILTERED, HARDER_CODES = curves.OTHER_QUESTIONS, 1.2 * curves.OTHER_QUESTIONS, 2 * curves.OTHER_QUESTIONS
# Codes of all rows that pass may be read with so much room at least.
HARDER_LEAST = 1.75
# And codes than comparing every row, which misses nothing at all; few rows are often in the processor's caches, and then cost less.
CODES_BAND = 1.4
EXACT = Setting(0, None, 1.0, "every row compared")
# Where exact search costs more than a graph with this ef_search, it is said that there is none.
_HELPFUL = 200
# Where the first rows of a graph, ef_search of them, have so many times the candidates by the estimate, they are read without a look at
# the query's neighbours: if a quarter as many pass there, they are still enough, and if fewer do, the statement leaves the graph.
AMPLE = 4.0
# But not where the safe way, by which the statement then goes on, takes so many times as long: there a look costs little.
DEAR = 8.0
# How surely as many rows of a graph as are reckoned with have enough that pass.
CERTAINTY = 0.9
# A scan that has gone so many times as far as it should have is over: what was expected is not so.
PATIENCE = 4.0
# pgvector counts what it compares, about so many for each row that it gives: 16 of the first 100, 10 of 1,000, 6 of 8,000.
COMPARED_PER_ROW = 8.0
# A forced graph may go so far, and no graph any farther.
MOST_TUPLES = 100_000
# Passing rows that are taken from a graph for each result, since it goes on in another order than by distance. Over 63,166 package
# descriptions with a filter that 5 % pass, ef_search 200 found .975 of the ten nearest with one, .985 with two, .990 with three.
PER_RESULT = ((0.985, 2), (1.0, 3))
# And so many times as many where the query lies apart from the rows that pass: the first of them that a graph meets are of the side on
# which it left the rows around the query.
APART = 2
# IVFFlat: lists that are read, in square roots of all of them, for a recall.
PROBES = ((0.92, 1.0), (0.95, 1.5), (0.98, 2.5), (1.0, 4.0))


@dataclass(frozen=True)
class Choice:
    """Every way that would reach the recall, cheapest first, and what the probe saw, if there was one."""

    options: list[Option]
    local: Local | None


def choose(db: Database, facts: Facts, request: Request, condition: str, estimate: Estimate) -> Choice:
    """Weigh the ways to answer; where it matters, after a look at the query's neighbours and at what partial indexes serve.

    Args:
        condition: as `filters.proven` returns it.
    """
    graph = request.k is not None and not request.exact and recall_of(request) < 1
    serving: tuple[VectorIndex, ...] = ()
    if graph and request.query is not None and any(not index.is_whole for index in facts.indexes):
        serving = _serving(db, facts, request, condition, estimate)
    found = options(facts, request, estimate, serving=serving)
    if graph and request.probe and request.path is None and _is_ample(found, estimate):
        return Choice([replace(found[0], goes_on=False), *found[1:]], None)
    if not graph or safe(found).milliseconds < probing.WORTH * probing.cost(facts):
        return Choice(_unseen(found, request, estimate), None)
    at_best = [option for option in options(facts, request, estimate, 1.0) if option.setting.ef_search is not None]
    best = min(at_best, key=lambda option: option.milliseconds, default=None)
    if found[0].path == "partial" or not probing.pays(facts, request, estimate, safe(found), best):
        return Choice(_unseen(found, request, estimate), None)
    local = probing.look(db, facts, request, condition, estimate)
    if local is None:
        return Choice(found, None)
    found = options(facts, request, estimate, local.share, serving=serving)
    if local.doubtful and found[0].setting.ef_search is not None:
        # as few as there are around the query
        trust = probing.least_trust(estimate, local)
        doubted = options(facts, request, estimate, local.share, serving=serving, trust=trust)
        if doubted[0].setting.ef_search is None:
            trust = probing.trust(db, facts, request, condition, estimate, local)
            doubted = options(facts, request, estimate, local.share, serving=serving, trust=trust)
        found = doubted
    return Choice(found, local)


def _is_ample(found: Sequence[Option], estimate: Estimate) -> bool:
    """Whether the cheapest way is a graph whose first rows are enough, wherever those that pass lie: no filter changes what it misses."""
    option = found[0]
    if option.path not in ("index", "code") or option.method != "hnsw" or estimate.share >= probing.NEARLY_ALL:
        return False
    enough = (option.setting.ef_search or 0) * estimate.share >= AMPLE * option.setting.candidates
    return enough and safe(found).milliseconds <= DEAR * option.milliseconds


def _unseen(found: list[Option], request: Request, estimate: Estimate) -> list[Option]:
    """The same ways, what is safe first where a graph would go by an estimate: whether enough pass around the query, nobody has looked.

    Of papers in one of six categories, by which a quarter passes, a graph found .85 of .95 for the queries that were far from all six.
    """
    if not request.probe or request.filter is None or estimate.share >= probing.NEARLY_ALL:
        return found
    return sorted(found, key=lambda option: option.path in ("index", "code"))


def recall_of(request: Request) -> float:
    """The recall that is asked for, or the default."""
    return curves.DEFAULT_RECALL if request.recall is None else request.recall


def options(
    facts: Facts,
    request: Request,
    estimate: Estimate,
    local_share: float | None = None,
    *,
    serving: Sequence[VectorIndex] = (),
    trust: float = 1.0,
) -> list[Option]:
    """Every way that would reach the recall, cheapest first; never empty.

    Args:
        local_share: of passing rows among the query's unfiltered neighbours; None where nobody looked.
        serving: partial indexes, or such of single partitions, that have every row that passes.
        trust: share of the estimated rows that a graph is weighed against.
    """
    found = _safe(facts, request, estimate)
    # without k every row within a distance is asked for
    if request.k is None or request.exact or recall_of(request) >= 1:
        return found[:1]
    doubted = found if trust == 1.0 else _safe(facts, request, _fewer(estimate, trust))
    least = min(option.milliseconds for option in doubted)
    cheapest = min(found, key=lambda option: option.milliseconds)
    best = cheapest.milliseconds
    share = estimate.share if local_share is None else local_share
    code, column = facts.code, facts.column
    if code is not None and request.query is not None and code.index_name is not None and code.index_method == "hnsw":
        found += _graph(facts, request, estimate, "code", share, least, code.index_name, "hnsw", on_codes=True)
    if column.index_name is not None and column.index_method is not None:
        found += _graph(facts, request, estimate, "index", share, least, column.index_name, column.index_method, on_codes=False)
    if serving:
        inside = sum(max(0.0, index.rows) for index in serving)
        share = min(1.0, estimate.rows / inside) if inside > 0 else estimate.share
        names, methods = ", ".join(index.name for index in serving), {index.method for index in serving}
        method = "hnsw" if "hnsw" in methods else "ivfflat"
        found += _graph(facts, request, estimate, "partial", share, least, names, method, on_codes=serving[0].on_codes)
    codes = 1.0 if cheapest.path == "exact" else CODES_BAND
    band = APART_BAND if cheapest.path != "exact" and local_share is not None and _apart(local_share, estimate) else BAND

    def weight(option: Option) -> float:
        if option.path == "exact":
            return option.milliseconds
        return option.milliseconds * codes * (1.0 if option.setting.ef_search is None else band * best / least)

    return sorted(found, key=weight)


def _apart(share: float, estimate: Estimate) -> bool:
    """Whether far fewer pass around the query than elsewhere, of the rows that a graph gives."""
    return share < estimate.share / 2


def _serving(db: Database, facts: Facts, request: Request, condition: str, estimate: Estimate) -> tuple[VectorIndex, ...]:
    """Indexes over some rows that have every row that passes, as PostgreSQL proves; () for none."""
    least = min(option.milliseconds for option in options(facts, request, estimate) if option.setting.ef_search is None)
    found: tuple[VectorIndex, ...] = ()
    for on_codes in (True, False):
        known = [index for index in facts.indexes if index.on_codes == on_codes and not index.is_whole]
        begun = facts.costs.statement + facts.costs.graph
        if known and not found and begun < least and (not on_codes or facts.code is not None):
            found = partial.serving(known, partial.explained(_unsorted(db, facts, request, condition, on_codes=on_codes)))
    return found


def _unsorted(db: Database, facts: Facts, request: Request, condition: str, *, on_codes: bool) -> list[Any]:
    """How PostgreSQL would read the nearest rows that pass if it could not sort. Nothing is run."""
    column = facts.column
    there = facts.code.sql if on_codes and facts.code is not None else column.sql
    return probing.explored(
        db,
        partial.UNSORTED,
        f"EXPLAIN (FORMAT JSON) SELECT FROM {column.table.sql} AS {column.table.alias}"
        f" WHERE {rendering.where_row(column, condition, request)} AND {column.table.alias}.{there} IS NOT NULL"
        f" ORDER BY {probing.nearest(facts, on_codes=on_codes)} LIMIT {request.k}",
        probing.values(db, facts, request, on_codes=on_codes),
    )


def safe(found: Sequence[Option]) -> Option:
    """The cheapest that misses nothing of its own accord."""
    return next(option for option in found if option.setting.ef_search is None)


def _fewer(estimate: Estimate, trust: float) -> Estimate:
    """An estimate of so many times fewer rows, found in the same way."""
    scanned = estimate.scanned if estimate.scanned > estimate.rows else estimate.rows * trust
    return replace(estimate, rows=estimate.rows * trust, scanned=scanned)


def _safe(facts: Facts, request: Request, estimate: Estimate) -> list[Option]:
    """The ways over all rows that pass, the exact one first."""
    column, costs = facts.column, facts.costs
    milliseconds, said = costs.exact(estimate, toasted=facts.toasted, dim=column.dim), "every row that passes is compared"
    if column.index_name is None and milliseconds > costs.over_graph(0, _HELPFUL, 1.0):
        said += f", for no vector index on {column.label} serves its metric, {column.metric}"
        why = _no_codes(facts, request)
        said += f"; codes {facts.code.label}{why}" if facts.code is not None and why else ""
    return [Option("exact", EXACT, milliseconds, None, said), *_by_codes(facts, request, estimate)]


def _no_codes(facts: Facts, request: Request) -> str:
    """Why the active codes' index does not serve; '' where it does or where there are none."""
    code = facts.code
    if code is None or request.k is None or recall_of(request) >= 1:
        return ""
    if code.index_name is None or code.index_method != "hnsw":
        return " have no hnsw index"
    if curves.setting(facts.points, "code", recall_of(request), request.k, 1.0, code.codec) is not None:
        return ""
    return f": {curves.needed(code.codec, request.k, recall_of(request), filtered=False, masked=False)[1]}"


def _by_codes(facts: Facts, request: Request, estimate: Estimate) -> list[Option]:
    """The way over the codes of all rows that pass."""
    code = facts.code
    if code is None or request.query is None or request.k is None or not (estimate.covered or facts.toasted):
        return []
    path: Path = "covering" if estimate.covered else "scan"
    needed = None
    for harder in (HARDER_CODES, HARDER, HARDER_LEAST) if estimate.share < 1 else (HARDER, HARDER_LEAST):
        # with less to spare rather than not at all: what compares every row costs many times as much
        needed = needed or curves.setting(facts.points, path, recall_of(request), request.k, estimate.share, code.codec, harder)
    if needed is None:
        return []
    where = "in an index" if estimate.covered else "in the table"
    said = f"codes {code.label} {where}, the nearest {needed.candidates} compared exactly ({needed.source})"
    return [Option(path, needed, facts.costs.codes(estimate, needed.candidates), None, said)]


def _graph(
    facts: Facts,
    request: Request,
    estimate: Estimate,
    path: Path,
    share: float,
    least: float,
    name: str,
    method: str,
    *,
    on_codes: bool,
) -> list[Option]:
    """The way over an index that gives rows nearest first; [] where it would not reach the recall.

    Args:
        share: of the rows it gives that pass.
        least: what the cheapest safe way costs, in milliseconds.
    """
    assert request.k is not None
    recall, codec = recall_of(request), facts.code.codec if on_codes and facts.code is not None else None
    if not on_codes and request.k > curves.EF_SEARCH_LIMIT:
        return []
    harder = HARDER_FILTERED if estimate.share < 1 else HARDER
    needed = curves.setting(facts.points, "code" if on_codes else "index", recall, request.k, share, codec, harder)
    if needed is None or needed.ef_search is None:
        return []
    ef_search, candidates = needed.ef_search, needed.candidates
    if _apart(share, estimate):
        candidates = min(candidates * APART, ef_search)
        needed = Setting(candidates, ef_search, needed.recall, needed.source)
    if needed.source == "default" and not on_codes:
        if share < 1:
            candidates *= next(number for reached, number in PER_RESULT if recall <= reached)
        if curves.CANDIDATES_PER_RESULT * request.k > curves.EF_SEARCH_LIMIT:
            # no scan is so wide: it goes on instead
            candidates = max(candidates, curves.CANDIDATES_PER_RESULT * request.k)
        needed = Setting(candidates, ef_search, needed.recall, needed.source)
    rows = overfetch.rows_until(candidates, share, CERTAINTY)
    costs = facts.costs
    # by the number of rows that is enough as a rule, not by the mean
    counted = candidates / rows if rows else 0.0
    if on_codes:
        milliseconds, each = costs.over_code_graph(candidates, ef_search, counted, estimate), costs.code_graph_row
        said = f"{method} index {name} on codes {facts.code.label if facts.code else ''}, the nearest {candidates} compared exactly"
    else:
        milliseconds, each = costs.over_graph(candidates, ef_search, counted), costs.graph_row
        said = f"{method} index {name}"
    said += f" ({needed.source})" if needed.source != "default" else ""
    probes = _probes(facts, name, recall, rows) if method == "ivfflat" else None
    expected = max(ef_search, rows or 0)
    most = float(MOST_TUPLES)
    if request.path is None:
        most = min(most, COMPARED_PER_ROW * max(expected, min(least / each, PATIENCE * expected)))
    limit = max(1, int(most)) if method == "hnsw" else None
    return [Option(path, needed, milliseconds, name, said, on_codes=on_codes, method=method, probes=probes, max_scan_tuples=limit)]


def _probes(facts: Facts, name: str, recall: float, rows: int | None) -> int | None:
    """Lists of IVFFlat that are read at first; None where nobody knows how many there are."""
    known = [index for index in facts.indexes if index.name in name.split(", ") and index.lists is not None]
    if not known:
        return None
    lists = max(index.lists or 1 for index in known)
    wanted = next(factor for reached, factor in PROBES if recall <= reached) * math.sqrt(lists)
    held = max(index.rows for index in known)
    if rows and held > 0:
        # the lists that have so many rows, and as many again beside them
        wanted = max(wanted, 2 * rows * lists / held)
    return max(1, min(lists, round(wanted)))
