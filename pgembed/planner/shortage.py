"""shortage: what is said where a search has fewer rows than were asked for, so that nobody takes such an answer for a full one.

A search that was short has as a rule looked at every row that passes, so counting them again costs no more than it did. A bound on the
distance is the exception: it may leave few rows of many, and an index finds those few in no time. So no more than some are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgembed.columns import Column
from pgembed.database import Database
from pgembed.planner import consistent, rendering
from pgembed.planner.contract import Request

# So many rows are counted, or k where that is more.
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Short:
    """A search and what it found.

    Attributes:
        table: as a person writes it.
        home: the table that is refreshed: the same, or the one under a view.
        filtered: there was a filter.
        approximate: not every row that passes was compared.
        passing, unembedded: rows that pass and that the caller may see, and how many of them have no vector; when more than
            `most` pass, of the first of them.
        fresh: what has no vector of its present text counts as unembedded.
    """

    table: str
    home: str
    found: int
    k: int
    filtered: bool
    max_distance: float | None
    approximate: bool
    passing: int
    unembedded: int
    fresh: bool = False


def statement(column: Column, condition: str, request: Request) -> str:
    """Counts (passing, unembedded); parameters ``$1`` params, ``$5`` the key to leave out, and ``$3``, after how many rows it stops.

    Where no vector of an older text may decide, rows that have none but that count as unembedded, those of the keys ``$6`` apart.

    Args:
        condition: as `filters.proven` returns it.
    """
    passes = rendering.passes(column, condition, request)
    bare = rendering.no_vector(column)
    if consistent.asked(request) and column.hash_column is not None:
        bare = f"({bare} OR NOT {consistent.is_fresh(column)})"
        if column.table.keys:
            key = column.table.key_text(column.table.alias)
            bare += f" AND coalesce({key} OPERATOR(pg_catalog.<>) ALL ($6), true)"
    return (
        "SELECT pg_catalog.count(*) AS passing, pg_catalog.count(*) FILTER (WHERE bare) AS unembedded\n"
        f"FROM (SELECT {bare} AS bare FROM {column.table.sql} AS {column.table.alias}\n"
        f"    WHERE {passes} LIMIT $3) AS counted"
    )


def most(k: int) -> int:
    """How many rows are counted before it is only said that there are more."""
    return max(MOST_COUNTED, k)


def count(
    db: Database, statement: str, params: str | None, leave_out: str | None, k: int, now: Sequence[str] | None = None
) -> tuple[int, int]:
    """Count (passing, unembedded), as the caller.

    Args:
        statement: of the function of that name.
        params: JSON text.
        leave_out: a key.
        now: keys of rows that were embedded on the spot.
    """
    types = ("pg_catalog.jsonb", "pg_catalog.text", "pg_catalog.int8", "pg_catalog.text", "pg_catalog.text", "pg_catalog.text[]")
    counted = db.execute(statement, types, [params, None, most(k) + 1, None, leave_out, now])[0]
    return int(counted["passing"]), int(counted["unembedded"])


def tell(db: Database, short: Short) -> None:
    """Say why a search has fewer rows than were asked for."""
    message, hint, is_missed = said(short)
    (db.warning if is_missed else db.notice)(message, hint=hint)


def said(short: Short) -> tuple[str, str | None, bool]:
    """What to tell: the message, a hint or None, and whether rows were missed, which calls for a warning."""
    limit = most(short.k)
    more = short.passing > limit
    with_vector = short.passing - short.unembedded
    head = f"{short.found} of {short.k} results"
    if short.max_distance is not None and with_vector > short.found:
        number = f"more than {limit}" if more else str(with_vector)
        one = with_vector == 1
        if short.filtered:
            told = f"{number} row{'' if one else 's'} pass{'es' if one else ''} the filter"
        else:
            told = f"{short.table} has {number} row{'' if one else 's'}"
        if short.unembedded:
            told += f", and {_unembedded(short)}"
        hint = "exact => true compares them all." if short.approximate else None
        return f"{head} within max_distance {short.max_distance:g}: {told}", hint, False
    if with_vector > short.found:
        missed = with_vector - short.found
        was, one = ("was", True) if missed == 1 else ("were", False)
        rows = f"{missed} more row{'' if one else 's'}"
        told = f"{rows} pass{'es' if one else ''} the filter and" if short.filtered else f"{rows} of {short.table}"
        return (
            f"{head}: {told} {was} not found",
            "exact => true compares every row. Unless the filter gives another answer each time, please report this.",
            True,
        )
    if short.unembedded:
        return f"{head}: {_unembedded(short)}", f"CALL pgembed.refresh('{short.home}') embeds what is pending.", False
    if not short.filtered:
        return f"{head}: {short.table} has no {'more ' if short.found else ''}rows", None, False
    return f"{head}: {'no more rows pass' if short.found else 'no row passes'} the filter", None, False


def _unembedded(short: Short) -> str:
    one = short.unembedded == 1
    rows = f"{short.unembedded} {'more ' if short.passing > short.unembedded else ''}row{'' if one else 's'}"
    lacking = "yet" if not short.fresh else f"of {'its' if one else 'their'} present text"
    have = f"{'has' if one else 'have'} no vector {lacking}"
    if short.filtered:
        return f"{rows} that pass{'es' if one else ''} the filter {have}"
    return f"{rows} of {short.table} {have}"
