"""fitting: linear maps from the vectors that one model makes of texts to those that another makes of them.

All methods are y = s D (x - mean of x) + mean of y, with s by least squares; they differ in the direction D. With X and Y the centred pairs
as rows:

    mean        D = I, or its first rows or columns where dimensions differ: what Query Drift Compensation subtracts, the mean drift of
                queries (Goswami et al. 2025, https://arxiv.org/abs/2506.00037), and a scale
    procrustes  D = U V', of Y'X = U S V': the best map that keeps angles (orthogonal Procrustes, Schoenemann 1966,
                https://doi.org/10.1007/BF02289451; for models: https://arxiv.org/abs/2510.13406)
    relative    D = Y'X of vectors of length 1: a query is told by its cosines to the texts, and so is a row (relative representations,
                Moschella et al. 2023, https://arxiv.org/abs/2209.15430); the inner product of the two descriptions is this bilinear form
    ridge       D = Y'X (X'X + k I)^-1, k chosen on pairs that are kept back (least squares; Drift-Adapter,
                https://arxiv.org/abs/2509.23471, has such maps among others)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pgembed import errors
from pgembed.asking.mapping import Map
from pgembed.models import threads
from pgembed.models.contract import no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["mean", "procrustes", "relative", "ridge"]
METHODS: tuple[Method, ...] = ("mean", "procrustes", "relative", "ridge")

FEWEST_PAIRS = 20
# Of the pairs, for choosing the ridge; and the ridges, as shares of X'X's mean eigenvalue.
_KEPT_BACK = 0.1
_RIDGES = tuple(10.0**power for power in range(-7, 3))


def fit(
    method: Method,
    queries: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    normalized: bool = True,
    check: Callable[[], None] = no_check,
) -> Map:
    """The map of a method.

    Args:
        queries: float32, shape (n, m): what the new model makes of n texts, in random order, n at least `FEWEST_PAIRS`.
        targets: float32, shape (n, dim): what the old model makes of the same texts.
        normalized: give what comes out the length 1.
        check: called between decompositions; what it raises passes through.
    Raises:
        errors.InvalidParameter: too few pairs.
    """
    with threads.signals_blocked():
        import numpy as np

    if len(queries) < FEWEST_PAIRS:
        raise errors.InvalidParameter(
            f"{len(queries)} texts are too few to fit a map to, expected at least {FEWEST_PAIRS}", hint="Take a larger sample."
        )
    x, y = queries.astype(np.float64), targets.astype(np.float64)
    made = _ridge(x, y, normalized, check) if method == "ridge" else _DIRECTIONS[method](x - x.mean(axis=0), y - y.mean(axis=0))
    check()
    return _scaled(made, x, y, normalized)


def _scaled(direction: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], normalized: bool) -> Map:
    """The map of a direction, with the scale that fits best and the mean that the targets have."""
    import numpy as np

    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    turned = (x - x_mean) @ direction.T
    length = float((turned**2).sum())
    # nothing is to be learnt of pairs that are all the same: their mean remains
    scale = float((turned * (y - y_mean)).sum()) / length if length > 0 else 0.0
    matrix = scale * direction
    return Map(matrix.astype(np.float32), (y_mean - matrix @ x_mean).astype(np.float32), None, normalized)


def _same(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.eye(y.shape[1], x.shape[1])


def _procrustes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    left, _, right = np.linalg.svd(y.T @ x, full_matrices=False)
    turn: NDArray[np.float64] = left @ right
    return turn


def _relative(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(lengths > 0, lengths, 1))

    return unit(y).T @ unit(x)


_DIRECTIONS = {"mean": _same, "procrustes": _procrustes, "relative": _relative}


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], normalized: bool, check: Callable[[], None]) -> NDArray[np.float64]:
    """Least squares with the ridge whose map is nearest, by cosine, to pairs that it has not seen."""
    import numpy as np

    kept = max(1, round(_KEPT_BACK * len(x)))
    seen = _Normal(x[kept:], y[kept:])
    check()

    def agreement(share: float) -> float:
        check()
        made = _scaled(seen.solve(share), x[kept:], y[kept:], normalized).apply(x[:kept].astype(np.float32))
        return float(cosines(made, y[:kept]).mean())

    best = max(_RIDGES, key=agreement)
    return _Normal(x, y).solve(best)


class _Normal:
    """The normal equations of pairs, decomposed once for all ridges."""

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        import numpy as np

        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        values, self._axes = np.linalg.eigh(x.T @ x)
        self._values = np.maximum(values, 0)
        self._cross = y.T @ x @ self._axes

    def solve(self, share: float) -> NDArray[np.float64]:
        ridge = share * float(self._values.mean()) or 1.0
        made: NDArray[np.float64] = (self._cross / (self._values + ridge)) @ self._axes.T
        return made


def cosines(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    """The cosine of each row of one array with that of the other, shape (n,); 0 where a row is zero."""
    import numpy as np

    one, other = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray(np.einsum("ij,ij->i", one, other) / np.where(lengths > 0, lengths, 1))
