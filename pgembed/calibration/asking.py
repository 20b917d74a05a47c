"""asking: the queries that a calibration asks.

A row of the table is an easy question for a graph, which links it to what is nearest: on 63,166 package descriptions HNSW found .986 of
the neighbours of stored rows at ef_search 40, and .956 of those of 500 texts that no row was made of. A row with a part of another one in
it is like such a text, and as far from what is found: with three tenths .969 at 40, .978 at 100 (texts: .979), .990 at 200 (.990) and .996
at 400 (.994), with 35 hundredths .935, .963, .985 and .993. A half of each is much harder (.842 at 40), noise is easier (.987).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgembed.codes import queries as drawing
from pgembed.codes.queries import Queries
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIXED = 1 / 3


def asked(db: Database, column: Column, dim: int, given: tuple[str | None, str | None], most: int, seed: int) -> list[Queries]:
    """Queries by kind, ``most`` in all: those given, or rows mixed with others, and parts of texts where they can be had.

    Raises:
        errors.PgembedError: see `pgembed.codes.queries.given` and `pgembed.codes.queries.drawn`.
    """
    found = drawing.given(db, column, dim, *given, seed=seed, most=most)
    if found is not None:
        return [found]
    kinds = drawing.drawn(db, column, dim, seed, most)
    each = max(1, most // len(kinds))
    cut = [replace(kind, vectors=kind.vectors[:each], rows=kind.rows[:each]) for kind in kinds]
    return [replace(kind, vectors=mixed(kind.vectors)) if kind.drawn == "held out" else kind for kind in cut]


def mixed(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with a part of the next one in it, which is as good as any other; of one row alone itself."""
    with threads.signals_blocked():
        import numpy as np

    return np.ascontiguousarray((1 - MIXED) * rows + MIXED * np.roll(rows, 1, axis=0), dtype=np.float32)
