"""Spaces: bodies of ``sql/functions/spaces.sql``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pgembed import sampling
from pgembed.asking import adapters
from pgembed.asking import provenance as telling
from pgembed.spaces import compensating, labels, pairs
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def compensation_report(
    target: str | None,
    model: str | None,
    column_name: str | None,
    sample: int | None,
    queries: str | None,
    queries_column: str | None,
    seed: int | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed.compensation_report`."""
    ask = compensating.Request(model, sample, sampling.Where(queries, queries_column), seed)
    found = compensating.report(DATABASE, pairs.owned(DATABASE, target, column_name), ask)
    return [asdict(line) for line, _ in found.lines]


@boundary
def compensate(
    target: str | None,
    model: str | None,
    column_name: str | None,
    method: str | None,
    sample: int | None,
    min_recall: float | None,
    queries: str | None,
    queries_column: str | None,
    seed: int | None,
) -> float:
    """Body of `pgembed.compensate`."""
    ask = compensating.Request(model, sample, sampling.Where(queries, queries_column), seed)
    column = pairs.owned(DATABASE, target, column_name)
    return compensating.compensate(DATABASE, registry.write_for, column, ask, method, min_recall)


@boundary
def fit_adapter(
    target: str | None,
    pairs: str | None,
    query_column: str | None,
    key_column: str | None,
    label_column: str | None,
    column_name: str | None,
    rank: int | None,
    seed: int | None,
    new_model: str | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed.fit_adapter`."""
    from pgembed.spaces.pairs import owned

    ask = labels.Request(pairs, query_column, key_column, label_column, rank, seed, new_model)
    return [asdict(line) for line in labels.fit(DATABASE, registry.write_for, owned(DATABASE, target, column_name), ask)]


@boundary
def drop_adapter(target: str | None, column_name: str | None) -> None:
    """Body of `pgembed.drop_adapter`."""
    adapters.drop(DATABASE, registry.write_for, target, column_name)


@boundary
def provenance(target: str | None, column_name: str | None) -> str:
    """Body of `pgembed._provenance`."""
    return telling.statement(DATABASE, target, column_name)
