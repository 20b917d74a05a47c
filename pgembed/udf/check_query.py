"""Plain SQL: body of ``sql/functions/check_query.sql``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pgembed import checking
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def check_query(query: str | None, params: list[str | None] | None, measure: bool | None) -> list[dict[str, Any]]:
    """Body of `pgembed.check_query`."""
    return [asdict(line) for line in checking.check(DATABASE, query, params, measure is True)]
