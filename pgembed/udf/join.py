"""Semantic join: bodies of ``sql/functions/join.sql``."""

from __future__ import annotations

from typing import Any

from pgembed.joining import explaining, options, performing, storing
from pgembed.joining.sides import Form
from pgembed.udf import boundary, streams
from pgembed.udf.connection import DATABASE


@boundary
def begin(
    left_table: str | None,
    right_table: str | None,
    form: Form,
    left_column: str | None,
    right_column: str | None,
    k: int | None,
    max_distance: float | None,
    mapping: str | None,
    condition: str | None,
    params: str | None,
    precision: float | None,
    recall: float | None,
    labels: str | None,
    attributes: str | None,
    candidates: str | None,
    join_type: str | None,
    matches_only: bool | None,
    not_equal: bool | None,
    hub_correction: str | None,
    search_recall: float | None,
    hubness: str | None,
) -> int:
    """Body of `pgembed._join_begin`."""
    asked = options.checked(
        left_column,
        right_column,
        k,
        max_distance,
        mapping,
        condition,
        params,
        precision,
        recall,
        labels,
        attributes,
        candidates,
        join_type,
        matches_only,
        not_equal,
        hub_correction,
        search_recall,
        hubness,
    )
    prepared = performing.prepare(DATABASE, left_table, right_table, form, asked)
    return streams.opened(performing.parts(DATABASE, prepared))


@boundary
def following(handle: int) -> dict[str, Any] | None:
    """Body of `pgembed._join_next`."""
    return streams.following(handle)


@boundary
def table(destination: str | None, left_table: str | None, right_table: str | None) -> dict[str, str]:
    """Body of `pgembed._join_table`."""
    return storing.statements(DATABASE, destination, left_table, right_table)


@boundary
def explain(
    left_table: str | None,
    right_table: str | None,
    left_column: str | None,
    right_column: str | None,
    k: int | None,
    max_distance: float | None,
    mapping: str | None,
    condition: str | None,
    params: str | None,
    precision: float | None,
    recall: float | None,
    labels: str | None,
    attributes: str | None,
    candidates: str | None,
    join_type: str | None,
    matches_only: bool | None,
    not_equal: bool | None,
    hub_correction: str | None,
    search_recall: float | None,
    hubness: str | None,
    execute: bool | None,
) -> list[tuple[str, str]]:
    """Body of `pgembed._explain_join`."""
    asked = options.checked(
        left_column,
        right_column,
        k,
        max_distance,
        mapping,
        condition,
        params,
        precision,
        recall,
        labels,
        attributes,
        candidates,
        join_type,
        matches_only,
        not_equal,
        hub_correction,
        search_recall,
        hubness,
    )
    return explaining.explain(DATABASE, left_table, right_table, asked, execute=bool(execute))
