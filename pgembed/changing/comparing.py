"""comparing: two sets of vectors of the same rows, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def linear_cka(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """How alike two representations of the same rows are, whatever their axes and dimensions: 1 for the same up to rotation and scale.

    Linear centred kernel alignment, |Y'X|^2 / (|X'X| |Y'Y|) of centred columns, norms of Frobenius (Kornblith et al. 2019,
    https://arxiv.org/abs/1905.00414). Two models may be much alike and still rank differently: read it beside the overlap.

    Args:
        x, y: float32, shapes (n, d) and (n, e), row by row of the same things.
    Returns:
        From 0 to 1; 1 where neither differs from row to row, 0 where one of them does not.
    """
    import numpy as np

    a, b = (one.astype(np.float64) - one.mean(axis=0, dtype=np.float64) for one in (x, y))
    with threads.signals_blocked():
        own, other, both = (np.linalg.norm(product) for product in (a.T @ a, b.T @ b, b.T @ a))
    if own == 0 or other == 0:
        return float(own == other)
    return float(both**2 / (own * other))


def distances(queries: NDArray[np.float32], rows: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Distances by a column's metric, or what orders as they do: float32, shape (m, n)."""
    import numpy as np

    with threads.signals_blocked():
        products: NDArray[np.float32] = queries @ rows.T
    if metric == "l2":
        return np.asarray((rows**2).sum(axis=1)[None, :] - 2 * products, dtype=np.float32)
    if metric == "cosine":
        norms = np.linalg.norm(rows, axis=1)
        return np.asarray(-products / np.where(norms > 0, norms, 1)[None, :], dtype=np.float32)
    return -products


@dataclass
class Nearest:
    """The rows nearest to queries, while the table goes by.

    Attributes:
        queries: float32, shape (m, d).
        k: of each query.
        rows, far: number and distance of the best so far, shape (m, k); number -1 where there is none.
    """

    queries: NDArray[np.float32]
    metric: str
    k: int

    def __post_init__(self) -> None:
        import numpy as np

        m = len(self.queries)
        self.rows = np.full((m, self.k), -1, dtype=np.int64)
        self.far = np.full((m, self.k), np.inf, dtype=np.float32)

    def see(self, page: NDArray[np.float32], first: int, own: NDArray[np.int64], starts: NDArray[np.int64] | None = None) -> None:
        """Compare some rows.

        Args:
            page: float32, shape (n, d).
            starts: of each row the place of its first vector, where rows have several: the nearest one counts; None where each has one.
            first: number of its first row; they are numbered in order.
            own: of each query the number of the row that it was made of, which is no result.
        """
        import numpy as np

        found = distances(self.queries, page, self.metric)
        if starts is not None:
            found = np.minimum.reduceat(found, starts, axis=1)
        numbers = np.arange(first, first + found.shape[1])
        found[own[:, None] == numbers[None, :]] = np.inf
        far = np.concatenate([self.far, found], axis=1)
        rows = np.concatenate([self.rows, np.broadcast_to(numbers, found.shape)], axis=1)
        best = np.argsort(far, axis=1, kind="stable")[:, : self.k]
        self.far = np.take_along_axis(far, best, axis=1)
        self.rows = np.where(np.isinf(self.far), -1, np.take_along_axis(rows, best, axis=1))


def shared(one: list[int], other: list[int]) -> float:
    """Share of the first's members that the second has too; -1 is none. 1 where the first has none."""
    mine = {row for row in one if row >= 0}
    return len(mine & set(other)) / len(mine) if mine else 1.0
