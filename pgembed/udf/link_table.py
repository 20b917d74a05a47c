"""Tables of links: bodies of ``sql/functions/link_table.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import errors
from pgembed.linkers import bulk, correcting
from pgembed.planner import filters
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def link_table(
    linker: str | None,
    source: str | None,
    text_column: str | None,
    into: str | None,
    condition: str | None,
    params: str | None,
    precision: float | None,
    pronouns: bool | None,
    key: str | None,
    batch_size: int | None,
    relink: bool | None,
) -> None:
    """Body of `pgembed.link_table`."""
    if batch_size is None:
        raise errors.NullNotAllowed("batch_size is NULL", hint=f"Leave it out for {bulk.BATCH}.")
    wanted = bulk.Wanted(
        linker,
        source,
        text_column,
        into,
        key,
        condition if condition and condition.strip() else None,
        params,
        precision,
        bool(pronouns),
        batch_size,
        bool(relink),
        prove=lambda table, said: filters.proven(DATABASE, table, said),
    )
    bulk.link_table(DATABASE, registry.write_for, wanted)


@boundary
def correct_link(
    into: str | None,
    source_key: str | None,
    start_char: int | None,
    end_char: int | None,
    entity_key: str | None,
    entity_table: str | None,
) -> str:
    """Body of `pgembed.correct_link`."""
    return correcting.correct(DATABASE, into, source_key, start_char, end_char, entity_key, entity_table)


@boundary
def link_corrections(into: str | None) -> list[dict[str, Any]]:
    """Body of `pgembed.link_corrections`."""
    return correcting.listed(DATABASE, into)
