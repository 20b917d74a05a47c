"""tally: what has been done, in rows, and how it is told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pgembed import progress
from pgembed.columns import Column, quote
from pgembed.database import Database


@dataclass
class Tally:
    """What a refresh has done so far, in rows; ``sharing`` are rows, or chunks, with ``texts`` that others have, too."""

    seen: int = 0
    embedded: int = 0
    unchanged: int = 0
    null_source: int = 0
    failed: int = 0
    overtaken: int = 0
    truncated: int = 0
    chunks: int = 0
    texts: int = 0
    sharing: int = 0
    last_error: str | None = None
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Rows that need no more work for now."""
        return self.embedded + self.unchanged + self.null_source + self.failed


def tell_progress(db: Database, column: Column, tally: Tally, total: int) -> None:
    """Tell how far it is, now and then."""
    progress.tell(db, tally.seen, total)
    now = time.monotonic()
    if now - tally.told < progress.NOTICE_SECONDS or tally.seen >= total:
        return
    tally.told = now
    rate = tally.seen / (now - tally.started)
    left = (total - tally.seen) / rate if rate else 0.0
    db.notice(f"{column.label}: {tally.seen} of {total} rows, {rate:.0f} rows a second, about {left:.0f} s to go")


def tell_end(db: Database, column: Column, tally: Tally) -> None:
    """Tell what was done, and what it means."""
    seconds = time.monotonic() - tally.started
    shared = (
        f" ({tally.sharing} of them share {tally.texts} text{'s, each' if tally.texts > 1 else ','} embedded once)" if tally.texts else ""
    )
    parts = [f"{tally.embedded} rows embedded" + (f" in {tally.chunks} chunks" if column.chunks else "") + shared]
    parts += [f"{tally.unchanged} had their old text again"] if tally.unchanged else []
    parts += [f"{tally.null_source} without text"] if tally.null_source else []
    parts += [f"{tally.overtaken} changed meanwhile and are still stale"] if tally.overtaken else []
    db.notice(f"{column.label}: {', '.join(parts)} in {seconds:.1f} s")
    if tally.truncated:
        db.notice(
            f"{column.label}: {tally.truncated} texts were longer than the model reads; their ends are not in the vectors",
            hint="pgembed.token_count(text) tells a text's length, pgembed.models.max_tokens the limit; add_embedding(..., chunk_tokens =>"
            f" 200) embeds a text in parts. Rows where pgembed.truncated({quote(str(column.hash_column))}).",
        )
    if tally.failed:
        db.warning(
            f"{column.label}: {tally.failed} rows failed, the last with {tally.last_error}",
            hint=f"Rows where {column.freshness('t').replace('t.', '')} = 'failed'; mend them and refresh again.",
        )
