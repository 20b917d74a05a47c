"""The guide: body of ``sql/functions/help.sql``."""

from __future__ import annotations

from pgembed import guide
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def page(topic: str | None) -> list[str]:
    """Body of `pgembed.help`."""
    return guide.page(DATABASE, topic)
