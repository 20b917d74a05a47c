"""training: a codec fitted to an embedded column as it is now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import codecs, errors, sampling
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.following import as_owner
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.codecs.contract import Codec
    from pgembed.codes.queries import Queries

MOST_ROWS = 1_000_000  # that may be asked for; memory allows fewer: see `sampling.stored`
MOST_QUERIES = 10_000
# A halfvec keeps a vector of length 1 within half a thousandth of it.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Trained:
    """A codec and what it was fitted to.

    Attributes:
        sample_rows, table_rows: vectors that it has seen, and that there were.
        queries: that it was trained with, and is measured with; None where nobody named any.
        seconds: that fitting took.
    """

    codec: Codec
    sample_rows: int
    table_rows: int
    queries: Queries | None
    seconds: float


def train(
    db: Database,
    column: Column,
    method: str,
    options: Mapping[str, Any],
    queries: tuple[str | None, str | None],
    sample_rows: int,
    seed: int,
) -> Trained:
    """A codec of a method for an embedded column, of a sample of its rows.

    Args:
        options: as for `pgembed.codecs.train`.
        queries: table, as regclass writes it, and its column; None for none.
    Raises:
        errors.InvalidParameter: the column is empty, or the sample, the method or an option is not what it may be.
        errors.DimensionMismatch: the column holds vectors of several dimensions.
    """
    codecs.method(method)  # before a table is read
    if not 1 <= sample_rows <= MOST_ROWS:
        raise errors.InvalidParameter(
            f"sample_rows must be from 1 to {MOST_ROWS}, not {sample_rows}", hint="50000 rows are enough for every method."
        )
    if not 0 <= seed < 1 << 31:
        raise errors.InvalidParameter(f"seed must be from 0 to {(1 << 31) - 1}, not {seed}", hint="seed => 1 is the default.")
    with threads.signals_blocked():
        from pgembed.codecs.contract import Space
        from pgembed.codes import queries as asking

    # whose policies a row must pass is the owner's business, whoever of the owner's role calls
    with as_owner(db, column.table):
        sample, held = sampling.stored(db, column, sample_rows, seed)
    asked = asking.given(db, column, sample.shape[1], *queries, seed=seed, most=MOST_QUERIES)
    space = Space(sample.shape[1], column.metric, column.metric == "cosine" and not of_length_one(sample))
    began = time.monotonic()
    made = codecs.train(method, sample, space, options, None if asked is None else asked.vectors, seed, db.check_interrupts)
    return Trained(made, len(sample), held, asked, time.monotonic() - began)


def of_length_one(vectors: NDArray[np.float32]) -> bool:
    """Whether all vectors are of length 1, but for those of length 0, which have no direction."""
    with threads.signals_blocked():
        import numpy as np

    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return bool(np.all((lengths == 0) | (np.abs(lengths - 1) <= _TOLERANCE)))
