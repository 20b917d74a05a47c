"""fitting: the arithmetic of ``distill``: axes, a ridge regression, and how alike two models see the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBOURS = 10


def axes(rows: NDArray[np.float64], dim: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal axes: their variances, the largest first, float64 (dim,); and the axes, float64 (rows.shape[1], dim)."""
    import numpy as np

    values, found = np.linalg.eigh(rows.T @ rows / len(rows))
    found = found[:, ::-1][:, :dim]
    # An axis has no direction of its own; this makes one.
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(dim)])
    return values[::-1][:dim], found


def fitted(rows: NDArray[np.float64], texts: Sequence[NDArray[np.int64]], said: NDArray[np.float32], ridge: float) -> NDArray[np.float64]:
    """Rows moved towards what the teacher says of texts: least squares of their means against its vectors, with a ridge at the old rows.

    Solved in its dual form, of as many unknowns as there are texts. Rows of tokens that no text has stay as they are, but for one scale.

    Args:
        rows: float64, shape (tokens, dim), in the teacher's own axes.
        texts: each one's tokens.
        said: float32, shape (texts, dim), length 1; their common mean is not asked for.
        ridge: what holds a row back, as a share of the average text's weight.
    """
    import numpy as np

    shares = np.zeros((len(texts), len(rows)), np.float32)
    for number, ids in enumerate(texts):
        np.add.at(shares[number], ids, 1 / max(len(ids), 1))
    goal = said.astype(np.float64)
    goal = goal - goal.mean(axis=0)
    made: NDArray[np.float64] = shares @ rows
    power = float((made * made).sum())
    rows = rows * float((made * goal).sum() / power if power else 1.0)
    kernel = (shares @ shares.T).astype(np.float64)
    scale = np.trace(kernel) / len(texts)
    if not scale:
        return rows
    dual = np.linalg.solve(kernel / scale + ridge * np.eye(len(texts)), goal - shares @ rows)
    moved: NDArray[np.float64] = rows + shares.T @ (dual / scale)
    return moved


def means(table: NDArray[np.float32], texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Directions of the mean rows of texts: float32 (n, dim), length 1 or 0."""
    import numpy as np

    sums = np.array([table[ids].sum(axis=0) for ids in texts], np.float32)
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1
    directions: NDArray[np.float32] = sums / lengths
    return directions


def agreement(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[float, float]:
    """How alike two models see the same texts.

    Args:
        found, wanted: float32, shapes (n, any), length 1; row i of both is text i; n at least 3.
    Returns:
        The share of each text's 10 nearest texts (or n - 1) in ``wanted`` that are among as many in ``found``; and the rank correlation of
        the similarities of all pairs (Spearman 1904, https://doi.org/10.2307/1412159; ties by order).
    """
    import numpy as np

    n = len(wanted)
    k = min(NEIGHBOURS, n - 1)
    above = np.triu_indices(n, 1)
    nearest, ranks = [], []
    for vectors in (found, wanted):
        similar: NDArray[np.float32] = vectors @ vectors.T
        ranks.append(np.argsort(np.argsort(similar[above], kind="stable"), kind="stable").astype(np.float64))
        np.fill_diagonal(similar, -np.inf)
        nearest.append(np.argsort(-similar, axis=1, kind="stable")[:, :k])
    shared = sum(len(set(a) & set(b)) for a, b in zip(nearest[0].tolist(), nearest[1].tolist(), strict=True))
    return shared / (n * k), float(np.corrcoef(ranks[0], ranks[1])[0, 1])
