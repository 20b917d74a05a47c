"""Distances of codes and of rows: bodies of ``sql/functions/distance.sql``."""

from __future__ import annotations

from pgembed.codes import comparing
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def values(sent: bytes, codec: str | None) -> float | None:
    """Body of `pgembed._distance`."""
    return comparing.values(DATABASE, sent, codec)


@boundary
def rows(
    target: str | None, key: str | None, other: str | None, other_key: str | None, column_name: str | None, other_column: str | None
) -> float | None:
    """Body of `pgembed.distance` of two rows."""
    return comparing.rows(DATABASE, (target, key, column_name), (other, other_key, other_column))
