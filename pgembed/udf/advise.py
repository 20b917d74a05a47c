"""Advice: bodies of ``sql/functions/advise.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import errors
from pgembed.advice import log
from pgembed.advice.advising import advise as found
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def set_filter_log(is_on: bool | None) -> None:
    """Body of `pgembed.set_filter_log`."""
    log.switch(DATABASE, is_on)


@boundary
def flush_filter_log() -> int:
    """Body of `pgembed._flush_filter_log`."""
    return log.write(DATABASE)


@boundary
def advise(target: str | None, column_name: str | None, filters: list[str | None] | None) -> list[dict[str, Any]]:
    """Body of `pgembed.advise`."""
    if filters is not None and None in filters:
        raise errors.NullNotAllowed("filters has a NULL", hint="A filter is what stands after WHERE; without filters, leave it out.")
    made = found(DATABASE, target, column_name, None if filters is None else [str(one) for one in filters])
    return [
        {
            "statement": one.statement,
            "reason": one.reason,
            "kind": one.kind,
            "columns": list(one.columns),
            "index_bytes": one.index_bytes,
            "reads_now": one.reads_now,
            "reads_then": one.reads_then,
            "searches": one.searches,
        }
        for one in made
    ]
