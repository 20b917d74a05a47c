"""working: rows embedded, waited for, and asked of what they are made."""

from __future__ import annotations

import datetime
from typing import Any, overload

from sqlalchemy import BigInteger, Boolean, ColumnElement, Integer, Text
from sqlalchemy.dialects.postgresql import REGCLASS

from pgembed.sqlalchemy.typed import (
    Big,
    Bytes,
    Flag,
    Key,
    Name,
    Number,
    Out,
    Period,
    Procedure,
    Query,
    Real,
    Relation,
    Rows,
    procedure,
    rows,
    scalar,
)


class Provenance(Rows):
    """Of which model each vector is: a line per row; what is unknown is NULL."""

    inherit_cache = True
    key = Out(Text)
    state = Out(Text)
    by_hand = Out(Boolean)
    model = Out(Text)
    fingerprint = Out(Text)
    revision = Out(Integer)


class Repairs(Rows):
    """What `repair` has done; no line where there was nothing to do."""

    inherit_cache = True
    table_name = Out(REGCLASS)
    column_name = Out(Text)
    done = Out(Text)


def refresh(
    target: Relation, column_name: Name | None = None, batch_size: Number = 1000, build_index: Flag = True, recheck: Flag = False
) -> Procedure:
    """CALL: embed the pending, stale and failed rows of a table in batches, committing after each.

    ::

        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(refresh(Product))

    Args:
        batch_size: rows in a transaction.
        build_index: build an index at last, where a large column has none.
        recheck: look first which rows have another source text than their vectors, whoever changed it.
    """
    return procedure(refresh, locals())


def work(
    target: Relation | None = None,
    column_name: Name | None = None,
    max_rows: Big | None = None,
    max_seconds: Real | None = None,
    batch_size: Number | None = None,
) -> Procedure:
    """CALL: embed what needs it in all columns of the caller's tables, or in one, committing after each batch, as a worker does.

    Args:
        max_rows, max_seconds: end after so many; None: when there is nothing to do.
    """
    return procedure(work, locals())


def wait_for(target: Relation, timeout: Period = datetime.timedelta(minutes=1), column_name: Name | None = None) -> ColumnElement[bool]:
    """Wait until workers have embedded every row that is pending or stale: true, or false when the timeout is over."""
    return scalar(wait_for, locals(), Boolean())


def retry_failed(target: Relation, column_name: Name | None = None, key: Key | None = None) -> ColumnElement[int]:
    """Let failed rows, or the one with this key, be embedded again at once, also parked ones; how many they are."""
    return scalar(retry_failed, locals(), BigInteger())


def repair(target: Relation | None = None) -> Repairs:
    """Register columns again that only their triggers know of, and make triggers and work indexes anew: table_name, column_name, done.

    Args:
        target: None: all tables of the caller.
    """
    return rows(Repairs, repair, locals())


def provenance(target: Relation, column_name: Name | None = None) -> Provenance:
    """Of each row the state of its vector and the model that made it: key, state, by_hand, model, fingerprint, revision."""
    return rows(Provenance, provenance, locals())


@overload
def freshness(embedding: Any, hash: Any) -> ColumnElement[str]: ...


@overload
def freshness(*, hash: Any) -> ColumnElement[str]: ...


def freshness(embedding: Query | None = None, hash: Bytes | None = None) -> ColumnElement[str]:
    """State of a row from its own columns: ``fresh``, ``stale``, ``pending``, ``failed`` or ``null_source``.

    ::

        select(Product.id).where(freshness(Product.embedding, Product.embedding_hash) == "stale")

    Args:
        embedding: its vector; left out for a column over chunks.
        hash: its hash column.
    """
    return scalar(freshness, locals(), Text())


def truncated(hash: Bytes) -> ColumnElement[bool]:
    """Whether the text of which a row's vector was made was longer than the model reads, from the row's hash column."""
    return scalar(truncated, locals(), Boolean())


def by_hand(hash: Bytes) -> ColumnElement[bool]:
    """Whether somebody else than pgembed wrote a row's vector since the column was declared, from the row's hash column."""
    return scalar(by_hand, locals(), Boolean())
