"""measures: what the vectors of a sample say of their space: rank, isotropy, hubs, outliers, duplicates, and how alike two spaces are.

In numpy, on vectors in memory; all pairs are compared, so a sample has a few thousand rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

K = 10
_BLOCK = 512


def units(rows: Floats) -> Floats:
    """Rows scaled to length 1, float32; a zero vector stays as it is."""
    import numpy as np

    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1)[:, None], dtype=np.float32)


def rank_me(rows: Floats) -> float:
    """How many directions the rows use, RankMe: exp of the entropy of the singular values, as shares of their sum.

    From 1 (all on one line) to min(n, dim); 0 where there is nothing but zeros. Not centred, as in the paper (Garrido et al. 2023,
    https://arxiv.org/abs/2210.02885; first as the effective rank of Roy and Vetterli 2007, https://ieeexplore.ieee.org/document/7098875).
    """
    import numpy as np

    values = np.sqrt(np.maximum(np.linalg.eigvalsh(_gram(rows)), 0.0))
    total = values.sum()
    if not total > 0:
        return 0.0
    shares = values[values > 1e-9 * total] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def spectrum(rows: Floats) -> NDArray[np.float64]:
    """Shares of the variance along the principal axes, descending, float64 shape (dim,); zeros where all rows are the same."""
    import numpy as np

    values = np.maximum(np.linalg.eigvalsh(_gram(_centred(rows))), 0.0)[::-1]
    total, scale = values.sum(), float((rows.astype(np.float64) ** 2).sum())
    # what rounding leaves of rows that are all the same is no variance
    return values / total if total > 1e-12 * scale else np.zeros(rows.shape[1])


def mean_cosine(rows: Floats) -> float | None:
    """The mean cosine of two different rows: 0 in all directions alike, near 1 where all point into one cone.

    Ethayarajh 2019, https://arxiv.org/abs/1909.00512, over all pairs. None for fewer than two rows that have a direction.
    """
    import numpy as np

    there = units(rows)[np.asarray(rows).any(axis=1)].astype(np.float64)
    n = len(there)
    if n < 2:
        return None
    return float((np.linalg.norm(there.sum(axis=0)) ** 2 - n) / (n * (n - 1)))


def iso_score(rows: Floats) -> float | None:
    """IsoScore: how evenly the variance fills the dimensions, from 0 (one direction) to 1 (a ball).

    By the steps of Rudman et al. 2022, https://arxiv.org/abs/2108.07344: the variances v along the principal axes, scaled to the length
    sqrt(dim); the defect d = |v - 1| / sqrt(2 (dim - sqrt(dim))); the share of dimensions used f = (dim - d^2 (dim - sqrt(dim)))^2 / dim^2;
    and (dim f - 1) / (dim - 1). None in one dimension, and where the rows do not differ.
    """
    import numpy as np

    dim = rows.shape[1]
    shares = spectrum(rows)
    length = np.linalg.norm(shares)
    if dim < 2 or not length > 0:
        return None
    defect = np.linalg.norm(np.sqrt(dim) * shares / length - 1) / np.sqrt(2 * (dim - np.sqrt(dim)))
    used = (dim - defect**2 * (dim - np.sqrt(dim))) ** 2 / dim**2
    return float(np.clip((dim * used - 1) / (dim - 1), 0.0, 1.0))


@dataclass(frozen=True)
class Near:
    """The nearest other rows of each row of a sample.

    Attributes:
        rows: int64, shape (n, k), nearest first; k is less than asked for where there are not so many rows.
        distance: float32, by the metric: cosine distance, Euclidean distance, or negative inner product.
    """

    rows: Ints
    distance: Floats

    def occurrences(self) -> Ints:
        """Of each row, of how many others it is among the k nearest (Radovanovic et al., https://jmlr.org/papers/v11/radovanovic10a.html)."""
        import numpy as np

        return np.bincount(self.rows.ravel(), minlength=len(self.rows)).astype(np.int64)


def nearest(rows: Floats, metric: str, k: int = K) -> Near:
    """The k nearest other rows of each row, all compared.

    Args:
        rows: float32, shape (n, dim).
        metric: cosine, l2 or inner_product.
    """
    with threads.signals_blocked():
        import numpy as np

    n = len(rows)
    k = max(0, min(k, n - 1))
    found = np.empty((n, k), dtype=np.int64)
    far = np.empty((n, k), dtype=np.float32)
    if not k:
        return Near(found, far)
    side = units(rows) if metric == "cosine" else np.asarray(rows, dtype=np.float32)
    squares = (side.astype(np.float64) ** 2).sum(axis=1)
    for begin in range(0, n, _BLOCK):
        block = slice(begin, min(n, begin + _BLOCK))
        products = side[block] @ side.T
        if metric == "cosine":
            distance = 1 - products
        elif metric == "l2":
            distance = np.sqrt(np.maximum(squares[block, None] + squares[None, :] - 2.0 * products, 0)).astype(np.float32)
        else:
            distance = -products
        if metric != "inner_product":
            distance = np.maximum(distance, 0)
        places = np.arange(distance.shape[0])
        distance[places, begin + places] = np.inf
        some = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distance, some, axis=1), axis=1, kind="stable")
        found[block] = np.take_along_axis(some, order, axis=1)
        far[block] = np.take_along_axis(distance, found[block], axis=1)
    return Near(found, far)


def skewness(counts: Ints) -> float | None:
    """Skewness of the numbers of occurrences: 0 where each row has its share, above 1 where few rows are near to everything.

    The third central moment over the cube of the standard deviation, S_Nk of Radovanovic et al. 2010
    (https://jmlr.org/papers/v11/radovanovic10a.html). None where all counts are equal.
    """
    import numpy as np

    off = counts - counts.mean() if len(counts) else np.zeros(1)
    spread = float(np.sqrt((off**2).mean()))
    return float((off**3).mean() / spread**3) if spread > 0 else None


def overlap(one: Near, other: Near) -> NDArray[np.float64]:
    """Of each row the share of its nearest by one space that it has by the other too, float64 shape (n,); empty without neighbours."""
    import numpy as np

    k = min(one.rows.shape[1], other.rows.shape[1])
    if not k:
        return np.zeros(0)
    return np.array([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(one.rows, other.rows, strict=True)])


def flat(rows: Floats, seed: int) -> tuple[NDArray[np.float64], str]:
    """Rows in two dimensions, float64 shape (n, 2), and how: t-SNE from 50 rows on, else the two first principal axes.

    t-SNE (van der Maaten and Hinton 2008, https://jmlr.org/papers/v9/vandermaaten08a.html) keeps neighbours together; distances between
    groups mean little. It begins with the principal axes, of which 50 are kept, and takes the same way for the same seed.

    Args:
        rows: float32, of length 1 where the metric is cosine.
    """
    with threads.signals_blocked():
        import numpy as np

    n = len(rows)
    centred = _centred(rows)
    values, axes = np.linalg.eigh(_gram(centred))
    axes = axes[:, ::-1][:, : min(50, rows.shape[1])]
    # an axis has no direction of its own: its largest part is positive
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    projected = centred @ axes
    moved = float(values.sum()) > 1e-12 * max(1e-300, float((rows.astype(np.float64) ** 2).sum()))
    if n < 50 or not moved:
        made = np.zeros((n, 2))
        if moved:
            made[:, : min(2, projected.shape[1])] = projected[:, :2]
        return made, "principal axes"
    with threads.signals_blocked():
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

    tsne = TSNE(perplexity=min(30.0, (n - 1) / 3), init="pca", random_state=seed, max_iter=500, learning_rate="auto")
    # threads that wait for each other by spinning take ten times as long on a busy machine
    with threadpool_limits(1):
        made = tsne.fit_transform(projected.astype(np.float32))
    return np.asarray(made, dtype=np.float64), "t-SNE"


def _centred(rows: Floats) -> NDArray[np.float64]:
    import numpy as np

    wide = rows.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=0)) if len(wide) else wide


def _gram(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    import numpy as np

    wide = rows.astype(np.float64)
    with threads.signals_blocked():
        return np.asarray(wide.T @ wide)
