"""Groups of a table's rows: bodies of ``sql/functions/rowgroups.sql``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pgembed import rowgroups
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def classify(target: str | None, labels: str | None, column_name: str | None) -> list[dict[str, Any]]:
    """Body of `pgembed.classify`."""
    return [asdict(one) for one in rowgroups.classify(DATABASE, target, labels, column_name)]


@boundary
def topics(
    target: str | None, column_name: str | None, n: int | None, words_from: list[str | None] | None, seed: int | None
) -> list[dict[str, Any]]:
    """Body of `pgembed.topics`."""
    return [asdict(one) for one in rowgroups.topics(DATABASE, target, column_name, n, words_from, seed)]


@boundary
def topic_rows(target: str | None, column_name: str | None, n: int | None, seed: int | None) -> list[dict[str, Any]]:
    """Body of `pgembed.topic_rows`."""
    return [asdict(one) for one in rowgroups.topic_rows(DATABASE, target, column_name, n, seed)]


@boundary
def deduplicate(
    target: str | None,
    column_name: str | None,
    attributes: str | None,
    within: list[str | None] | None,
    precision: float | None,
    labels: str | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed.deduplicate`."""
    return [asdict(one) for one in rowgroups.deduplicate(DATABASE, target, column_name, attributes, within, precision, labels)]
