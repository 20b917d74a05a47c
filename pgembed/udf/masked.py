"""Queries for codes of bits: body of ``sql/functions/masked.sql``."""

from __future__ import annotations

from pgembed.codes import masking
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def query_of(codec: str | None, query: bytes | None) -> tuple[str | None, str | None]:
    """Body of `pgembed._masked_query`."""
    return masking.masked(DATABASE, codec, query)
