"""Semantic join: pairs of rows of two tables whose embeddings are near, and which of them are the same thing.

Pure functions over arrays: who fetches the rows, and with whose rights, is another room's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.joins import mapping, matches, neighbours
from pgembed.joins.mapping import one_to_one
from pgembed.joins.neighbours import BLOCK_BYTES, METRICS, Check, Metric, Pairs, Vectors, nearest

__all__ = ["METRICS", "Joined", "Metric", "Pairs", "join", "nearest", "one_to_one"]

DEFAULT_PRECISION = 0.95


@dataclass(frozen=True)
class Joined:
    """Pairs, and for each whether it is a match: True, False, or None where nothing can be said."""

    pairs: Pairs
    is_match: npt.NDArray[np.object_]


def join(
    left: Vectors,
    right: Vectors,
    k: int = 1,
    *,
    metric: Metric = "cosine",
    max_distance: float | None = None,
    one_to_one: bool = False,
    precision: float | None = None,
    allowed: tuple[Sequence[int], Sequence[int]] | None = None,
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Joined:
    """The k nearest right rows of each left row, or a one-to-one mapping, and which pairs are matches.

    Args:
        left, right, metric, max_distance, same, check, block_bytes: as in `neighbours.nearest`.
        k: right rows per left row, at least 1; must be 1 in a one-to-one mapping.
        one_to_one: every row in at most one pair, see `mapping.one_to_one`.
        precision: wanted share of true pairs among the matches, between 0 and 1. None is 0.95, unless max_distance is given: then
            the caller has drawn the line, and each row's nearest within it is a match.
        allowed: the only pairs that may come out, as positions on the left and on the right; None allows all.
    Returns:
        Pairs in the order of `Pairs`. A match is the left row's nearest right row (or a row equal to it) that is estimated to be
        right by `matches.judge`; in a one-to-one mapping the two must be each other's nearest. Fewer than ten
        different left rows, or fewer than three different right rows, have no shape to estimate from: is_match is None there,
        and max_distance is the way to decide. With `same`, equal rows are matches.
    Raises:
        InvalidParameter: k < 1, k > 1 in a one-to-one mapping, precision outside of (0, 1), an unknown metric.
        DimensionMismatch: the sides' dims differ.
    """
    if one_to_one and k != 1:
        raise InvalidParameter(f"a one-to-one mapping has one pair per row, but k is {k}", hint="Leave k at 1, or join without one_to_one.")
    if precision is not None and not 0.0 < precision < 1.0:
        raise InvalidParameter(f"precision must be between 0 and 1, not {precision:g}", hint="0.95 is the default.")
    pairs = _pairs(left, right, k, metric, max_distance, one_to_one, allowed, same, check, block_bytes)
    if precision is None and max_distance is not None:
        return Joined(pairs, (pairs.rank == 1).astype(object))
    groups = neighbours.distinct(left, right, metric)
    if allowed is None:
        near = neighbours.search(groups, matches.DEPTH + same, check, block_bytes)
        back = neighbours.search(groups.turned(), 2 + same, check, block_bytes) if one_to_one else None
        if same:
            near = near.where(near.left != near.right)
            back = back.where(back.left != back.right) if back is not None else None
        left_unit, right_unit = groups.left_group[pairs.left], groups.right_group[pairs.right]
    else:
        near = neighbours.among(left, right, allowed, metric=metric, same=same, check=check, block_bytes=block_bytes)
        back = neighbours.best(near.right, near.left, near.distance, 2) if one_to_one else None
        left_unit, right_unit = pairs.left, pairs.right
    judged = matches.judge(near, back, metric, precision or DEFAULT_PRECISION)
    if judged is None:
        return Joined(pairs, np.full(len(pairs), None, dtype=object))
    match = np.full(len(left) + 1, -1, dtype=np.int64)
    match[judged[0]] = judged[1]
    is_match = match[left_unit] == right_unit
    if same:
        is_match |= groups.left_group[pairs.left] == groups.right_group[pairs.right]
    return Joined(pairs, is_match.astype(object))


def _pairs(
    left: Vectors,
    right: Vectors,
    k: int,
    metric: Metric,
    max_distance: float | None,
    unique: bool,
    allowed: tuple[Sequence[int], Sequence[int]] | None,
    same: bool,
    check: Check | None,
    block_bytes: int,
) -> Pairs:
    if unique:
        return mapping.one_to_one(
            left, right, metric=metric, max_distance=max_distance, listed=allowed, same=same, check=check, block_bytes=block_bytes
        )
    if allowed is None:
        return nearest(left, right, k, metric=metric, max_distance=max_distance, same=same, check=check, block_bytes=block_bytes)
    pairs = neighbours.among(left, right, allowed, metric=metric, same=same, check=check, block_bytes=block_bytes)
    pairs = pairs.where(pairs.rank <= k)
    return pairs if max_distance is None else pairs.where(pairs.distance <= max_distance)
