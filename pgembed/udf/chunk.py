"""Chunks of a text: body of ``sql/functions/chunk.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import catalogue, chunks
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def chunk(content: str | None, max_tokens: int | None, overlap: int | None, model: str | None) -> list[dict[str, Any]]:
    """Body of `pgembed.chunk`: NULL, and a text of whitespace, give no rows."""
    limits = chunks.check_limits(max_tokens, overlap)
    if content is None:
        catalogue.describe(DATABASE, model)
        return []
    chosen = catalogue.resolve(DATABASE, model, by_backend=True)
    return [
        {"ordinal": ordinal, "start_char": made.start + 1, "end_char": made.end + 1, "content": content[made.start : made.end]}
        for ordinal, made in enumerate(chunks.split(content, chosen.token_spans, *limits, DATABASE.check_interrupts), 1)
    ]
