"""advice: which filters searches use, without their values, and which indexes would serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgembed.advice.log import note

if TYPE_CHECKING:
    from pgembed.columns import Column
    from pgembed.database import Database

__all__ = ["index_for", "note"]


def index_for(db: Database, column: Column, condition: str, rows: float | None = None) -> str | None:
    """The statement that builds what would help one filter most; see `pgembed.advice.advising.index_for`."""
    from pgembed.advice.advising import index_for as found  # which a session that only counts need not read

    return found(db, column, condition, rows)
