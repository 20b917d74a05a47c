"""Labelled pairs: bodies of ``sql/functions/labelling.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import progress
from pgembed.joining import labels as labelled
from pgembed.joining import options, reviewing
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def create_labels(name: str | None, left: str | None, right: str | None) -> str:
    """Body of `pgembed.create_labels`."""
    return labelled.create(DATABASE, name, left, right)


@boundary
def review_pairs(
    left: str | None,
    right: str | None,
    labels: str | None,
    n: int | None,
    left_column: str | None,
    right_column: str | None,
    k: int | None,
    max_distance: float | None,
    mapping: str | None,
    condition: str | None,
    params: str | None,
    precision: float | None,
    recall: float | None,
    attributes: str | None,
    candidates: str | None,
    not_equal: bool | None,
    hub_correction: str | None,
    search_recall: float | None,
    hubness: str | None,
) -> list[tuple[Any, ...]]:
    """Body of `pgembed.review_pairs`."""
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
        "inner",
        False,
        not_equal,
        hub_correction,
        search_recall,
        hubness,
    )
    with progress.shown(DATABASE, "review", f"{left} ~ {right}"):
        return reviewing.pairs(DATABASE, left, right, asked, n)
