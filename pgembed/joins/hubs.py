"""Hub correction: rows that are near to everything are put back, since being near to them says little.

In many dimensions some rows are among the nearest of far more rows than their share: hubs (Radovanovic et al., Hubs in Space, JMLR 2010,
https://jmlr.org/papers/v11/radovanovic10a.html). Each correction here is one number a right row, so that it can be stored in a column.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from pgembed.errors import InvalidParameter
from pgembed.joins import neighbours
from pgembed.joins.neighbours import BLOCK_BYTES, Check, Floats, Ints, Pairs, Vectors
from pgembed.models import threads

Hub: TypeAlias = Literal["none", "soft", "best", "csls"]
HUBS: tuple[Hub, ...] = ("none", "soft", "best", "csls")

Correction: TypeAlias = Literal["csls", "qb_norm"]
CORRECTIONS: tuple[Correction, ...] = ("csls", "qb_norm")

# How many of a row's best pairs say how much of a hub it is: as many as in CSLS's paper.
NEIGHBOURS = 10
# Differences of fused scores, which reach from 0 to 3, that count as one: of the soft maximum.
TEMPERATURE = 0.1
# QB-Norm's inverse temperature, as in the paper.
BETA = 20.0


def penalty(right: Ints, score: Floats, rows: int, hub: Hub) -> Floats:
    """What is taken off the scores of each right row, from the scores of its best pairs.

    Args:
        right: of each pair the right row; the ten best of every right row must be among them, as far as there are so many.
        score: of each pair, bigger is better.
        rows: how many right rows there are.
        hub: "best": half of the row's best score. "soft": half of the soft maximum of its ten best, t ln sum exp(score / t) with t = 0.1,
            which grows with every left row that is as near as the nearest: the score is then t times the logarithm of an inverted
            softmax (Smith et al., Offline bilingual word vectors, ICLR 2017, https://arxiv.org/abs/1702.03859), whose denominator is
            under a root.
            "csls": half of the mean of its ten best (Conneau et al., Word Translation Without Parallel Data, ICLR 2018,
            https://arxiv.org/abs/1710.04087; the left row's own mean changes no order of its pairs and is left out). "none": zero.
    Returns:
        Shape (rows,); zero for a row without pairs.
    """
    taken = np.zeros(rows)
    if hub == "none" or not len(right):
        return taken
    order = np.lexsort((-score, right))
    row, start, size = np.unique(right[order], return_index=True, return_counts=True)
    ordered = score[order]
    first = np.arange(len(order)) - np.repeat(start, size) < NEIGHBOURS
    if hub == "csls":
        taken[row] = np.add.reduceat(np.where(first, ordered, 0.0), start) / np.minimum(size, NEIGHBOURS)
    else:
        taken[row] = ordered[start]
        if hub == "soft":
            more = np.exp((ordered - np.repeat(ordered[start], size)) / TEMPERATURE) * first
            taken[row] += TEMPERATURE * np.log(np.add.reduceat(more, start))
    return taken / 2


def hubness(
    rows: Vectors,
    bank: Vectors,
    method: Correction = "csls",
    *,
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Floats:
    """How much of a hub each row is, by a bank of queries: one number a row, for `nearest`. Similarities are cosines.

    Args:
        rows, bank: float32, shapes (m, dim) and (n, dim), finite.
        method: "csls": the mean similarity of the ten queries nearest to the row (Conneau et al., ICLR 2018,
            https://arxiv.org/abs/1710.04087). "qb_norm": sum exp(20 (similarity - 1)) over all queries, the denominator of an inverted
            softmax; negative where the row is no query's nearest (Bogolin et al., Cross Modal Retrieval with Querybank Normalisation,
            CVPR 2022, https://arxiv.org/abs/2112.12777, whose activation set are the positive ones).
        same: the bank are the rows themselves, and none asks for itself.
        check: called between blocks.
    Returns:
        Shape (m,); NaN for a zero vector, and everywhere for a bank without any other one.
    Raises:
        InvalidParameter: an unknown method.
        DimensionMismatch: the sides' dims differ.
    """
    _must_be_known(method)
    rows, bank = neighbours.checked(rows, bank, "cosine")
    found = np.full(len(rows), np.nan)
    if method == "csls":
        near = neighbours.nearest(rows, bank, NEIGHBOURS, same=same, check=check, block_bytes=block_bytes)
        count = np.bincount(near.left, minlength=len(rows))
        near_by = np.bincount(near.left, 1.0 - near.distance, len(rows))
        found[count > 0] = near_by[count > 0] / count[count > 0]
        return found
    rows, own = _units(rows)
    bank, asking = _units(bank)
    if not len(own) or not len(asking):
        return found
    total: Floats = np.zeros(len(own))
    is_nearest = np.zeros(len(own), dtype=bool)
    place = np.full(len(found), -1, dtype=np.int64)
    place[own] = np.arange(len(own))
    for block in neighbours.blocks(len(bank), max(1, block_bytes // (8 * len(rows)))):
        with threads.arithmetic(threads.thread_count()):
            scores = (bank[block] @ rows.T).astype(np.float64)
        if same:
            scores[np.arange(len(scores)), place[asking[block]]] = -np.inf
        is_nearest[scores.argmax(axis=1)] = True
        total += np.exp(BETA * (scores - 1.0)).sum(axis=0)
        if check:
            check()
    found[own] = np.where(is_nearest, total, -total)
    if same and len(own) == 1:
        found[:] = np.nan
    return found


def taken_off(hubness: Floats, method: Correction) -> Floats:
    """What numbers of `hubness` take off the similarities of their rows."""
    return hubness / 2 if method == "csls" else np.log(np.maximum(np.abs(hubness), np.finfo(float).tiny)) / BETA


def nearest(
    left: Vectors,
    right: Vectors,
    hubness: Floats,
    k: int = 1,
    method: Correction = "csls",
    *,
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """The k right rows of every left row that are best after correction, by cosine; exact, as `neighbours.nearest` is.

    Args:
        hubness: of each right row, as the function of that name makes it with the same method; a row whose own is NaN comes in no pair.
        method: "csls": similarity - hubness / 2 decides. "qb_norm": for a left row whose nearest row is a hub (its number is positive),
            similarity - ln |hubness| / 20; for others the similarity, which is the paper's dynamic inverted softmax.
        left, right, k, same, check, block_bytes: as in `neighbours.nearest`.
    Returns:
        Ranks are by what decides; distance is the cosine distance as always, so that it may fall from one rank to the next. Within a left
        row pairs are in the order of their ranks.
    Raises:
        InvalidParameter: k < 1, an unknown method, not one number a right row.
        DimensionMismatch: the sides' dims differ.
    """
    _must_be_known(method)
    if k < 1:
        raise InvalidParameter(f"k must be at least 1, not {k}", hint="k is the number of right rows for each left row.")
    hubness = np.asarray(hubness, dtype=np.float64)
    if hubness.shape != (len(right),):
        raise InvalidParameter(f"{len(hubness)} numbers for {len(right)} right rows", hint="hubness() makes one for each row.")
    left, right = neighbours.checked(left, right, "cosine")
    mine, asking = _units(left)
    theirs, there = _units(right)
    known = ~np.isnan(hubness[there])
    theirs, there = theirs[known], there[known]
    taken = taken_off(hubness[there], method)
    corrected = np.ones(len(mine), dtype=bool)
    if method == "qb_norm" and len(there):
        first = neighbours.nearest(mine, theirs, 1 + same, check=check, block_bytes=block_bytes)
        first = first.where(asking[first.left] != there[first.right]) if same else first
        first = neighbours.best(first.left, first.right, first.distance, 1)
        corrected[:] = False
        corrected[first.left] = hubness[there[first.right]] > 0
    found = []
    for some, amount in ((np.flatnonzero(corrected), taken), (np.flatnonzero(~corrected), np.zeros(len(there)))):
        # One more dimension takes the amount off the product.
        query = np.column_stack([mine[some], np.ones(len(some), dtype=np.float32)])
        target = np.column_stack([theirs, -amount.astype(np.float32)])
        near = neighbours.nearest(query, target, k + same, metric="inner_product", check=check, block_bytes=block_bytes)
        found.append(Pairs(asking[some[near.left]], there[near.right], near.distance, near.rank))
    rows, columns, score = (np.concatenate([getattr(pairs, of) for pairs in found]) for of in ("left", "right", "distance"))
    pairs = neighbours.best(rows, columns, score, k, rows != columns if same else None)
    distance = np.empty(len(pairs))
    for part in neighbours.blocks(len(pairs), max(1, block_bytes // (16 * max(1, left.shape[-1])))):
        distance[part] = neighbours.exact(left[pairs.left[part]], right[pairs.right[part]], "cosine")
    return Pairs(pairs.left, pairs.right, distance, pairs.rank)


def _units(side: Vectors) -> tuple[Vectors, Ints]:
    """The rows that have a direction, of length 1, and which they are."""
    norm = np.sqrt(np.einsum("ij,ij->i", side, side, dtype=np.float64)) if len(side) else np.zeros(0)
    there = np.flatnonzero(norm)
    return (side[there] / norm[there, None]).astype(np.float32) if len(there) else side[:0], there


def _must_be_known(method: str) -> None:
    if method not in CORRECTIONS:
        raise InvalidParameter(f'hub correction "{method}" does not exist', hint=f"Known are: {', '.join(CORRECTIONS)}.")
