"""lowrank: a small change of queries, W = I + A B', learnt from which rows should be near which query; or of queries and rows alike.

Trained as contrastive models are (InfoNCE, van den Oord et al. 2018, https://arxiv.org/abs/1807.03748): among its own row, rows of other
queries of the batch, rows of the table at random and rows that are labelled as wrong, the softmax of a query's similarities shall give the
most to its own row. The model stays as it is; A begins at zero, so that nothing changes before something is learnt (LoRA, Hu et al. 2021,
https://arxiv.org/abs/2106.09685). Labels are few, so how long it trains, and how much of the change is applied, is decided by queries that
are left out of the training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed.asking.mapping import Map
from pgembed.models import threads
from pgembed.models.contract import no_check
from pgembed.spaces import measuring

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEPS, _LOOK = 300, 50  # of the optimiser, and how often the queries that are left out are asked
_BATCH, _NEGATIVES = 128, 256
_LOOKED_AT = 5_000  # rows that left-out queries are searched among
_TEMPERATURE = 0.05
_RATE, _DECAY = 3e-3, 1e-4  # of Adam (Kingma and Ba 2014, https://arxiv.org/abs/1412.6980), decoupled decay
_LEFT_OUT = 0.2
# Of the change that is applied.
_SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Labelled:
    """Queries and rows.

    Attributes:
        queries: float32, shape (n, dim).
        rows: float32, shape (m, dim), vectors of the column.
        near: for each query positions of the rows that should be near, at least one.
        far: for each query positions of rows that should not.
    """

    queries: NDArray[np.float32]
    rows: NDArray[np.float32]
    near: Sequence[Sequence[int]]
    far: Sequence[Sequence[int]]

    def some(self, at: Sequence[int]) -> Labelled:
        """The same with some of the queries."""
        return Labelled(self.queries[list(at)], self.rows, [self.near[i] for i in at], [self.far[i] for i in at])


def fit(
    labelled: Labelled,
    rank: int,
    metric: str,
    seed: int,
    *,
    normalized: bool = True,
    both: bool = False,
    check: Callable[[], None] = no_check,
) -> Map:
    """The change of queries that serves left-out ones best; where none does, its matrix is zero.

    Args:
        labelled: at least five queries.
        rank: of the change, from 1 to dim.
        seed: the same one gives the same numbers on the same machine.
        normalized: what comes out is given the length 1.
        both: the rows go through the same change, so that one space becomes another one.
        check: called at every step; what it raises passes through.
    """
    with threads.signals_blocked():
        import numpy as np

    chance = np.random.default_rng(seed)
    order = chance.permutation(len(labelled.queries)).tolist()
    count = max(1, round(_LEFT_OUT * len(order)))
    training, left_out = labelled.some(order[count:]), labelled.some(order[:count])
    dim = labelled.queries.shape[1]
    right = (chance.standard_normal((dim, rank)) / np.sqrt(dim)).astype(np.float32)
    left = np.zeros((dim, rank), np.float32)
    rows = _unit(labelled.rows)
    queries = _unit(training.queries)
    bias = np.zeros(dim, np.float32)

    def made(share: float) -> Map:
        return Map((share * left).astype(np.float32), bias, right.astype(np.float32), normalized)

    searched, wanted = _fewer(left_out, chance)

    def worth(candidate: Map) -> float:
        place = measuring.Rows(candidate.apply(searched) if both else searched, metric)
        found = measuring.ranks(candidate.apply(left_out.queries), place, wanted, check)
        # the rank itself says more of few queries than whether it is below 10
        return float(np.mean([1 / one[0] for one in found]))

    best, highest = made(0.0), worth(made(0.0))
    optimiser = _Adam((left, right))
    for step in range(1, STEPS + 1):
        check()
        batch = chance.choice(len(queries), min(_BATCH, len(queries)), replace=False)
        optimiser.step(_slopes(training, queries, rows, batch, left, right, chance, both=both))
        if step % _LOOK == 0:
            for share in _SHARES:
                candidate = made(share)
                value = worth(candidate)
                if value > highest:
                    best, highest = candidate, value
    return best


def _fewer(labelled: Labelled, chance: np.random.Generator) -> tuple[NDArray[np.float32], list[list[int]]]:
    """The wanted rows and some others, for a look now and then, and where the wanted ones are among them."""
    import numpy as np

    own = {position for positions in labelled.near for position in positions}
    others = chance.choice(len(labelled.rows), min(_LOOKED_AT, len(labelled.rows)), replace=False).tolist()
    chosen = sorted(own | set(others))
    place = {position: at for at, position in enumerate(chosen)}
    near = [[place[position] for position in positions] for positions in labelled.near]
    return np.ascontiguousarray(labelled.rows[chosen]), near


def _slopes(
    training: Labelled,
    queries: NDArray[np.floating],
    rows: NDArray[np.floating],
    batch: NDArray[np.int64],
    left: NDArray[np.floating],
    right: NDArray[np.floating],
    chance: np.random.Generator,
    *,
    both: bool = False,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Derivatives of the mean loss of a batch by A and by B."""
    import numpy as np

    own = [training.near[at][int(chance.integers(len(training.near[at])))] for at in batch]
    wrong = [position for at in batch for position in training.far[at]]
    others = chance.choice(len(rows), min(_NEGATIVES, len(rows)), replace=False).tolist()
    columns = np.array(sorted({*own, *wrong, *others}))
    place = {int(position): column for column, position in enumerate(columns)}
    asked = _Turned(queries[batch], left, right)
    candidates = _Turned(rows[columns], left, right) if both else None
    beside = rows[columns] if candidates is None else candidates.units
    logits = asked.units @ beside.T / _TEMPERATURE
    for line, at in enumerate(batch):
        # another row that is near the query, too, is no mistake
        for position in training.near[at]:
            if position != own[line] and position in place:
                logits[line, place[position]] = -np.inf
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(len(batch)), [place[position] for position in own]] -= 1
    chances /= _TEMPERATURE * len(batch)
    by_left, by_right = asked.slopes(chances @ beside)
    if candidates is not None:
        more_left, more_right = candidates.slopes(chances.T @ asked.units)
        by_left, by_right = by_left + more_left, by_right + more_right
    return by_left, by_right


class _Turned:
    """Vectors x as W makes them, of length 1: ``units``, shape (n, dim)."""

    def __init__(self, x: NDArray[np.floating], left: NDArray[np.floating], right: NDArray[np.floating]) -> None:
        import numpy as np

        self._x, self._left = x, left
        self._inner = x @ right
        turned = x + self._inner @ left.T
        lengths = np.linalg.norm(turned, axis=1, keepdims=True)
        self._lengths = np.where(lengths > 0, lengths, 1)
        self.units = turned / self._lengths

    def slopes(self, by_unit: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Derivatives by A and by B, of those by the units."""
        along = (by_unit * self.units).sum(axis=1, keepdims=True)
        by_turned = (by_unit - along * self.units) / self._lengths
        return by_turned.T @ self._inner, self._x.T @ (by_turned @ self._left)


class _Adam:
    """Moves arrays, in place, against their slopes."""

    def __init__(self, arrays: tuple[NDArray[np.floating], ...]) -> None:
        import numpy as np

        self._arrays = arrays
        self._means = [np.zeros_like(array) for array in arrays]
        self._squares = [np.zeros_like(array) for array in arrays]
        self._steps = 0

    def step(self, slopes: Sequence[NDArray[np.floating]]) -> None:
        import numpy as np

        self._steps += 1
        for array, mean, square, slope in zip(self._arrays, self._means, self._squares, slopes, strict=True):
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope**2 - square)
            size = np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8
            array -= _RATE * (mean / (1 - 0.9**self._steps) / size + _DECAY * array)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
