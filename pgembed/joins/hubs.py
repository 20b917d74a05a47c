"""Hub correction: rows that are near to everything are put back, since being near to them says little.

In many dimensions some rows are among the nearest of far more rows than their share: hubs (Radovanovic et al., Hubs in Space, JMLR 2010,
https://jmlr.org/papers/v11/radovanovic10a.html). Each correction here is one number a right row, taken off its similarity or multiplied
with it, so that it can be stored in a column.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from pgembed.joins.neighbours import Floats, Ints

Hub: TypeAlias = Literal["none", "best", "csls"]
HUBS: tuple[Hub, ...] = ("none", "best", "csls")

# Nearest rows whose mean similarity is CSLS's measure of density, as in the paper.
CSLS_NEIGHBOURS = 10


def penalty(right: Ints, score: Floats, rows: int, hub: Hub) -> Floats:
    """What is taken off the scores of each right row, from the scores of its best pairs.

    Args:
        right: of each pair the right row; all of a right row's best pairs must be among them.
        score: of each pair, bigger is better.
        rows: how many right rows there are.
        hub: "best": half of the row's best score. "csls": half of the mean of its ten best (Conneau et al., Word Translation Without
            Parallel Data, ICLR 2018, https://arxiv.org/abs/1710.04087; the left row's own mean changes no order of its pairs and is left
            out). "none": zero.
    Returns:
        Shape (rows,); zero for a row without pairs.
    """
    taken = np.zeros(rows)
    if hub == "none" or not len(right):
        return taken
    count = 1 if hub == "best" else CSLS_NEIGHBOURS
    order = np.lexsort((-score, right))
    row, start, size = np.unique(right[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(start, size)
    first = rank < count
    best = np.bincount(right[order][first], score[order][first], rows)
    taken[row] = best[row] / np.minimum(size, count) / 2
    return taken
