"""What codecs cost: bodies of ``sql/functions/measures.sql``."""

from __future__ import annotations

from typing import Any

from pgembed.codes import drift, recommending
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def recommend_codec(
    target: str | None,
    min_recall: float | None,
    max_bytes: int | None,
    column_name: str | None,
    queries: str | None,
    queries_column: str | None,
    seed: int | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed.recommend_codec`."""
    return recommending.recommend(DATABASE, target, min_recall, max_bytes, column_name, (queries, queries_column), seed)


@boundary
def check_codec(name: str | None, queries: str | None, queries_column: str | None) -> list[dict[str, Any]]:
    """Body of `pgembed.check_codec`."""
    return [drift.check(DATABASE, registry.write_for, name, (queries, queries_column))]
