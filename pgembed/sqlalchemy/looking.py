"""looking: what is wrong, what would be quicker, what a plain query loses, and settings of the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Boolean, ColumnElement, Text

from pgembed.sqlalchemy.typed import (
    Flag,
    Name,
    Number,
    Out,
    Procedure,
    Real,
    Relation,
    Rows,
    Texts,
    Words,
    nothing,
    procedure,
    rows,
    scalar,
)


class Findings(Rows):
    """Lines of `doctor`, errors first; none where nothing is wrong."""

    inherit_cache = True
    severity = Out(Text)
    subject = Out(Text)
    finding = Out(Text)
    remedy = Out(Text)


class Advice(Rows):
    """Lines of `advise`, the most useful first; ``columns_`` is the column called columns, in ``.c`` by that name."""

    inherit_cache = True
    statement = Out(Text)
    reason = Out(Text)
    kind = Out(Text)
    columns_: Out[Any] = Out(ARRAY(Text()), "columns")
    index_bytes = Out(BigInteger)
    reads_now = Out(BigInteger)
    reads_then = Out(BigInteger)
    searches = Out(BigInteger)


class QueryFindings(Rows):
    """Lines of `check_query`."""

    inherit_cache = True
    level = Out(Text)
    finding = Out(Text)
    detail = Out(Text)
    remedy = Out(Text)


class Settings(Rows):
    """Lines of `set_search_defaults`: setting, value, and what was there before."""

    inherit_cache = True
    setting = Out(Text)
    value = Out(Text)
    previous = Out(Text)


class SettingsBack(Rows):
    """Lines of `reset_search_defaults`: setting, value, and whether it was put back."""

    inherit_cache = True
    setting = Out(Text)
    value = Out(Text)
    restored = Out(Boolean)


def doctor() -> Findings:
    """What is wrong with columns, indexes, models, codecs and the queue, with the statement that mends it: severity, subject, ..."""
    return rows(Findings, doctor, locals())


def advise(target: Relation, column_name: Name | None = None, filters: Texts | None = None) -> Advice:
    """Statements that would make filtered searches of a table quicker, and why.

    Args:
        filters: as text, such as ``"price < 80"``; None: those that were counted while `set_filter_log` was on.
    """
    return rows(Advice, advise, locals())


def set_filter_log(is_on: Flag) -> ColumnElement[None]:
    """Count while it is_on which filters the searches of this database use, without values; or count no longer."""
    return nothing(set_filter_log, locals())


def calibrate(
    target: Relation | None = None,
    column_name: Name | None = None,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    sample: Number = 1000,
    seed: Number = 1,
) -> Procedure:
    """CALL: measure the recall and the time of searches on an embedded column, by which searches choose from then on.

    Args:
        target: None: all columns of the caller's that were never measured or have changed since.
        queries: a table with queries like those that will be asked, or its column; None: rows of the table itself.
        sample: how many queries at most.
    """
    return procedure(calibrate, locals())


def check_query(query: Words, params: Texts | None = None, measure: Flag = False) -> QueryFindings:
    """Whether the plan of a SELECT ordered by a distance can lose rows, what helps, and the same query rewritten.

    Args:
        query: in SQL, with ``$1``, ``$2`` for values.
        params: these values, as text.
        measure: run it, where nothing can be written, and tell its recall.
    """
    return rows(QueryFindings, check_query, locals())


def set_search_defaults(
    iterative_scan: Words = "strict_order",
    ef_search: Number = 100,
    max_scan_tuples: Number = 100000,
    scan_mem_multiplier: Real = 4.0,
    max_probes: Number = 32768,
) -> Settings:
    """Give the database settings with which plain queries lose fewer rows behind a filter; for its owner.

    Args:
        iterative_scan: ``strict_order``, ``relaxed_order`` or ``off``; of HNSW and IVFFlat, which knows no strict order.
        ef_search: of HNSW: candidates that a scan keeps.
        max_scan_tuples: of HNSW: rows that an iterative scan visits at most.
        scan_mem_multiplier: of HNSW: of ``work_mem``, what it uses at most.
        max_probes: of IVFFlat: lists that an iterative scan visits at most.
    """
    return rows(Settings, set_search_defaults, locals())


def reset_search_defaults() -> SettingsBack:
    """Take back what `set_search_defaults` gave to the database."""
    return rows(SettingsBack, reset_search_defaults, locals())


def version() -> ColumnElement[str]:
    """Version of pgembed's objects in the database."""
    return scalar(version, locals(), Text())
