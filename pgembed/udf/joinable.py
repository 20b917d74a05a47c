"""Columns that could be joined: body of ``sql/functions/joinable.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import joinable
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def joinable_columns(
    target: str | None, column_name: str | None, k: int | None, sampled: bool | None, semantic: bool | None
) -> list[dict[str, Any]]:
    """Body of `pgembed.joinable_columns`."""
    return [
        {
            "own_column": one.own.column,
            "other_table": one.other.oid,
            "other_column": one.other.column,
            "kind": one.kind,
            "containment": one.containment,
            "similarity": one.similarity,
            "score": one.score,
            "evidence": list(one.evidence),
            "statement": one.statement,
        }
        for one in joinable.find(DATABASE, target, column_name, k, sampled=sampled, semantic=semantic)
    ]
