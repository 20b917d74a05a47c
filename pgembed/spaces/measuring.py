"""measuring: what searches find, among rows in memory: neighbours, the share of them that is kept, and ranks of wanted rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pgembed.models import threads
from pgembed.models.contract import no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 64  # queries that are compared with all rows at a time


class Rows:
    """Rows to search, made ready once for all queries.

    Args:
        rows: float32, shape (m, dim).
        metric: of the column.
    """

    def __init__(self, rows: NDArray[np.float32], metric: str) -> None:
        with threads.signals_blocked():
            import numpy as np

        lengths = np.linalg.norm(rows, axis=1)
        self._rows = rows
        if metric == "cosine":
            self._rows = np.asarray(rows / np.where(lengths > 0, lengths, 1)[:, None], dtype=np.float32)
        self._less = np.asarray(lengths.astype(np.float64) ** 2 / 2, dtype=np.float32) if metric == "l2" else None

    def __len__(self) -> int:
        return len(self._rows)

    def scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """How near each row is to each query, the greater the nearer, shape (n, m): in the order of the metric, not its value."""
        import numpy as np

        products = np.asarray(queries @ self._rows.T, dtype=np.float32)
        return products if self._less is None else products - self._less


def nearest(queries: NDArray[np.float32], rows: Rows, k: int, check: Callable[[], None] = no_check) -> NDArray[np.int64]:
    """Positions of the k nearest rows of each query, by all distances: int64, shape (n, min(k, m)), in no order."""
    import numpy as np

    k = min(k, len(rows))
    made = [np.empty((0, k), np.int64)]
    for start in range(0, len(queries), _BLOCK):
        check()
        made.append(np.argpartition(-rows.scores(queries[start : start + _BLOCK]), k - 1, axis=1)[:, :k])
    return np.concatenate(made)


def kept(wanted: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """The mean share of each line of ``wanted`` that is in the same line of ``found``; both as `nearest` returns them."""
    import numpy as np

    return float(np.mean([len(np.intersect1d(one, other)) / len(one) for one, other in zip(wanted, found, strict=True)]))


def ranks(
    queries: NDArray[np.float32],
    rows: Rows,
    wanted: Sequence[Sequence[int]],
    check: Callable[[], None] = no_check,
) -> list[list[int]]:
    """The ranks, from 1, of the rows that are wanted for each query, in order; rows at the same distance share the last of their ranks."""
    made: list[list[int]] = []
    for start in range(0, len(queries), _BLOCK):
        check()
        block = rows.scores(queries[start : start + _BLOCK])
        for line, positions in zip(block, wanted[start : start + _BLOCK], strict=True):
            made.append(sorted(int((line >= line[position]).sum()) for position in positions))
    return made


def recalls(found: Sequence[Sequence[int]], k: int = 10) -> NDArray[np.float64]:
    """Of each query the share of its wanted rows that are among the first k, of the most that can be; ranks as `ranks` returns them."""
    import numpy as np

    return np.array([sum(rank <= k for rank in one) / min(k, len(one)) for one in found])


def reciprocals(found: Sequence[Sequence[int]], k: int = 10) -> NDArray[np.float64]:
    """Of each query 1 / rank of the first wanted row, 0 beyond k."""
    import numpy as np

    return np.array([1 / one[0] if one[0] <= k else 0.0 for one in found])
