"""Explanations of searches: bodies of ``sql/functions/explain.sql``."""

from __future__ import annotations

from pgembed import explaining
from pgembed.udf import boundary, requests
from pgembed.udf.connection import DATABASE


@boundary
def search(
    target: str | None,
    query: bytes | None,
    vector: str | None,
    question: str | None,
    embedding: float | None,
    k: int | None,
    condition: str | None,
    params: str | None,
    column_name: str | None,
    max_distance: float | None,
    recall: float | None,
    exact: bool | None,
    execute: bool | None,
    consistency: str | None,
) -> list[tuple[str, str]]:
    """Body of `pgembed._explain_search`."""
    request = requests.request(query, k, condition, params, max_distance=max_distance, recall=recall, exact=exact, consistency=consistency)
    asked = explaining.Asked(vector or "", question, embedding, column_name)
    return explaining.explain(DATABASE, target, request, asked, execute=bool(execute))
