"""asking: the one place where a text becomes the vector that a column is searched with.

``provenance`` says which model made the vectors of a column, ``adapters`` which map its queries go through, ``mapping`` what such a map
does. How maps are fitted and measured is `pgembed.spaces`, above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import catalogue, errors, models
from pgembed.asking import adapters
from pgembed.columns import Column
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models import Encoded


@dataclass(frozen=True)
class Way:
    """How queries of a column are made: by name and fingerprint of a model, and the digest of the map behind it, or None."""

    model: str
    fingerprint: str
    adapter: str | None


def column_model(db: Database, column: Column, *, by_backend: bool) -> models.Model:
    """The model that made a column's vectors, and no other.

    Args:
        by_backend: as of `pgembed.catalogue.resolve`.
    Raises:
        errors.NotSupported: the column was adopted without a model.
    """
    must_have_model(column)
    return catalogue.resolve(db, column.model, column.fingerprint, by_backend=by_backend)


def must_have_model(column: Column) -> None:
    """Raise where nobody knows which model made a column's vectors.

    Raises:
        errors.NotSupported: the column was adopted without a model.
    """
    if column.model is None:
        raise errors.NotSupported(
            f"{column.label} was adopted without a model, so only vectors can be compared with it",
            hint="Pass a vector as query, or adopt it again with the name of the model that made it.",
        )


def way(db: Database, column: Column) -> Way:
    """How queries of a column are made: by its own model, or by that of its adapter.

    Raises:
        errors.NotSupported: the column was adopted without a model.
    """
    must_have_model(column)
    adapter = adapters.of(db, column)
    if adapter is None:
        return Way(str(column.model), str(column.fingerprint), None)
    return Way(adapter.model, adapter.fingerprint, adapter.digest)


def encode(db: Database, by: Way, texts: Sequence[str]) -> Encoded:
    """Queries that may be compared with a column's vectors.

    Args:
        by: of the column.
    Returns:
        Vectors float32, shape (n, dim of the column), and which texts were cut, in the order of the texts.
    Raises:
        errors.PgembedError: as `pgembed.catalogue.resolve` and the model's ``encode``.
    """
    made = catalogue.resolve(db, by.model, by.fingerprint, by_backend=True).encode(texts, db.check_interrupts, "query")
    return made if by.adapter is None else models.Encoded(adapters.load(db, by.adapter).apply(made.vectors), made.truncated)


def query_vectors(db: Database, column: Column, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of texts that a column is searched with: float32, shape (n, dim).

    Raises:
        errors.PgembedError: as `way` and `encode`.
    """
    return encode(db, way(db, column), texts).vectors
