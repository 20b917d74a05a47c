"""planner: from a filter, k, a recall and what is known of a table to the one SQL statement that answers a search.

`facts` are kept for the session; `filters` proves the caller's filter and asks PostgreSQL what passes; `choosing` weighs the access
paths by `curves` (what each needs for the recall) and `costs` (what that takes here); `rendering` writes the statement. pgvector's own
cost model knows neither recall nor how filter and query correlate: for a filter passed by 1.7 % of 63,666 rows PostgreSQL chose the
vector index, and recall was .014. So the choice is made here.

Paths: *exact* compares every row that passes; *covering* compares their codes in an index alone and the nearest of those exactly; *scan*
does so with codes in the table; *index* and *code* take candidates from HNSW or IVFFlat on vectors or codes until enough pass; *partial*
is an index over the rows that pass.
"""

from __future__ import annotations

from pgembed import errors
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.planner import checks, choosing, chunked, coded, consistent, curves, filters, rendering, shortage
from pgembed.planner.checks import check, check_rights
from pgembed.planner.contract import PATHS, Estimate, Option, Path, Plan, Request, Setting
from pgembed.planner.facts import Facts, look
from pgembed.planner.filters import estimate, proven

__all__ = [
    "PATHS",
    "Estimate",
    "Facts",
    "Option",
    "Path",
    "Plan",
    "Request",
    "Setting",
    "check",
    "check_rights",
    "estimate",
    "look",
    "plan",
    "proven",
    "settings_of",
]

# Milliseconds of work from which workers beside are worth their beginning.
WORTH_WORKERS = 40.0


def plan(db: Database, facts: Facts, output: str, request: Request) -> Plan:
    """Choose the access path and render its statement. Nothing of the filter is run, only prepared and estimated.

    Args:
        output: ``item`` for rows of the table's type, ``key`` for keys as text.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: an argument is out of range.
        errors.DimensionMismatch: query and column have different dimensions.
        errors.InsufficientPrivilege: the caller may not read what is asked for.
        errors.StatementRefused: the filter is not one boolean expression over the table.
    """
    column = facts.column
    checks.check(request, column)
    if not facts.readable or column.chunks is not None:
        checks.check_rights(db, column, output, request.consistency)
    condition = filters.proven(db, column.table, request.filter, strings=facts.strings)
    short = shortage.statement(column, condition, request)
    if column.chunks is not None:
        return _over_chunks(db, facts, output, request, condition, short)
    found = facts.estimate(db, condition, request.params)
    choice = choosing.choose(db, facts, request, condition, found)
    options = choice.options
    chosen = _chosen(options, request)
    safe = choosing.safe(options)
    asked = None
    if facts.code is not None and request.query is not None and (chosen.on_codes or {chosen.path, safe.path} & {"covering", "scan"}):
        asked = coded.asked(db, facts.code, request.query, whole=chosen.on_codes)
    return Plan(
        statement=rendering.statement(column, output, condition, request, chosen, facts.code, safe),
        path=chosen.path,
        reason=_reason(facts, request, found, chosen),
        estimated_rows=found.rows,
        settings=settings_of(facts, chosen),
        shortage=short,
        condition=condition,
        code=asked.code if asked else None,
        mask=asked.mask if asked else None,
        estimate=found,
        option=chosen,
        options=tuple(options),
        local_share=choice.local.share if choice.local else None,
        stale=_stale(column, condition, request),
    )


def _chosen(options: list[Option], request: Request) -> Option:
    if request.path is None:
        return options[0]
    for option in options:
        if option.path == request.path:
            return option
    raise errors.NotSupported(
        f'path "{request.path}" cannot answer this search', hint=f"These can: {', '.join(option.path for option in options)}."
    )


def _reason(facts: Facts, request: Request, found: Estimate, chosen: Option) -> str:
    if request.exact:
        return "exact => true"
    if request.recall == 1:
        return "recall => 1"
    but = f"; {facts.but}" if facts.but else ""
    return f"about {found.rows:.0f} rows pass the filter: {chosen.reason}{but}"


def settings_of(facts: Facts, chosen: Option) -> tuple[str, ...]:
    """Name, value, name, value ... that an option's statement needs."""
    # PostgreSQL would compile statements for their cost, and that takes longer than all the rest; so does beginning workers, at 7 ms
    # where the work itself is 7 ms.
    never: tuple[str, ...] = ("jit", "off")
    if chosen.milliseconds < WORTH_WORKERS:
        never = (*never, "max_parallel_workers_per_gather", "0")
    if chosen.setting.ef_search is None:
        return never
    if chosen.method == "ivfflat":
        probes = () if chosen.probes is None else ("ivfflat.probes", str(chosen.probes))
        return ("ivfflat.iterative_scan", "relaxed_order", *probes, *never)
    if not chosen.goes_on:
        return ("hnsw.ef_search", str(chosen.setting.ef_search), "hnsw.iterative_scan", "off", *never)
    return (
        *("hnsw.ef_search", str(chosen.setting.ef_search)),
        *("hnsw.iterative_scan", "relaxed_order"),
        *("hnsw.max_scan_tuples", str(chosen.max_scan_tuples or choosing.MOST_TUPLES)),
        *("hnsw.scan_mem_multiplier", "4"),
        *never,
    )


def _over_chunks(db: Database, facts: Facts, output: str, request: Request, condition: str, short: str) -> Plan:
    column = facts.column
    found = filters.estimate(db, column.table, condition, request.params, held=facts.held)
    if request.exact or request.recall == 1 or request.k is None:
        path, reason = "exact", "exact => true" if request.exact else "recall => 1"
    elif column.index_name is None:
        path, reason = "exact", f"no vector index on {column.label} serves its metric, {column.metric}"
    else:
        path, reason = chunked.choose(column, request, found.rows)
    settings: tuple[str, ...] = ("jit", "off")
    if path == "index":
        assert request.k is not None
        needed = curves.setting((), "index", curves.DEFAULT_RECALL if request.recall is None else request.recall, request.k, found.share)
        assert needed is not None
        ef_search = min(curves.EF_SEARCH_LIMIT, max(needed.ef_search or 0, chunked.CHUNKS_PER_RESULT * request.k))
        option = Option(
            "index", Setting(request.k, ef_search, needed.recall, needed.source), 0.0, column.index_name, reason, method=column.index_method
        )
        settings = settings_of(facts, option)
    return Plan(
        statement=chunked.statement(column, output, condition, request, path),
        path=path,
        reason=reason,
        estimated_rows=found.rows,
        settings=settings,
        shortage=short,
        condition=condition,
        estimate=found,
        stale=_stale(column, condition, request),
    )


def _stale(column: Column, condition: str, request: Request) -> str | None:
    if not consistent.asked(request) or column.hash_column is None:
        return None
    return consistent.stale(column, rendering.passes(column, condition, request))
