"""encoding: the model of an embedded column, as whoever embeds its rows uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pgembed import catalogue, chunks, errors, models, vectors
from pgembed.columns import Column
from pgembed.database import Database


class ColumnEncoder:
    """`pgembed.sharing.Encoder` of a column's model, which is loaded when it is first needed.

    Args:
        by_backend: as of `pgembed.catalogue.resolve`.
    """

    def __init__(self, db: Database, column: Column, *, by_backend: bool = False) -> None:
        self._db = db
        self._column = column
        self._by_backend = by_backend
        self._model: models.Model | None = None

    def load(self) -> models.Model:
        """The model that made the column's vectors, and no other.

        Raises:
            errors.PgembedError: it cannot be used here; see `pgembed.catalogue.resolve`.
        """
        if self._model is None:
            column = self._column
            if column.model is None:
                raise errors.NotSupported(
                    f"{column.label} was adopted without a model", hint="Adopt it again with the name of the model that made it."
                )
            self._model = catalogue.resolve(self._db, column.model, column.fingerprint, by_backend=self._by_backend)
        return self._model

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        """Images of the embeddings of texts, and which of them were cut."""
        if not texts:
            return [], []
        made = self.load().encode(texts, check, "document")
        return vectors.to_images(made.vectors), made.truncated.tolist()

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[chunks.Chunk]:
        """The chunks of a text."""
        return chunks.split(source, self.load().token_spans, tokens, overlap, check)
