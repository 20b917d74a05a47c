"""The k nearest right rows of each left row, all within a distance, or mutual neighbours: exact, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.errors import DimensionMismatch, InvalidParameter
from pgembed.joins import prefixes, prepared, products
from pgembed.joins.pairing import (
    Bools,
    Check,
    Floats,
    Ints,
    Metric,
    Pairs,
    Tell,
    Vectors,
    best,
    blocks,
    empty,
    exact,
    largest_component,
    merged,
    numbered,
)

__all__ = [
    "BLOCK_BYTES",
    "METRICS",
    "TILE",
    "Bools",
    "Check",
    "Floats",
    "Groups",
    "Ints",
    "Metric",
    "Pairs",
    "Vectors",
    "among",
    "best",
    "blocks",
    "checked",
    "distinct",
    "exact",
    "largest_component",
    "merged",
    "nearest",
    "numbered",
    "search",
]

METRICS = ("cosine", "l2", "inner_product")
BLOCK_BYTES = 32 << 20  # of one block of scores or vectors; the whole of a join's working memory is about five times that
TILE = 8192  # right rows a block of those who compute tables of distances
# Groups with fewer pairs than this are listed pair by pair; a product costs a call each, as much as so many pairs.
LISTED = 256
LISTED_AT_ONCE = 1 << 20


def nearest(
    left: Vectors,
    right: Vectors,
    k: int | None = 1,
    *,
    metric: Metric = "cosine",
    max_distance: float | None = None,
    same: bool = False,
    not_equal: bool = False,
    mutual: bool = False,
    codes: tuple[Ints, Ints] | None = None,
    reach: Floats | None = None,
    recall: float = 1.0,
    check: Check | None = None,
    tell: Tell | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """The k nearest right rows of every left row.

    Args:
        left, right: float32, shapes (n, dim) and (m, dim), finite; either may be empty, then there are no pairs.
        k: pairs per left row, at least 1; where k > m there are m. None: all within max_distance.
        metric: pgvector's distance: cosine is 1 - cosine, l2 Euclidean, inner_product the negative inner product of ``<#>``.
            Under cosine a zero vector has no distance (NaN in pgvector), hence no pair.
        max_distance: pairs farther than this are left out; None keeps all k.
        same: both sides are the same rows in the same order, and no row is its own neighbour.
        not_equal: rows of equal vectors are no pair: the nearest that is not equal.
        mutual: only pairs that are among the k nearest of both their rows; a pair's rank is the left row's.
        codes: int64 (n,) and (m,): only rows of equal code are compared, negative ones with none; None compares all.
        reach: float64 (n,), a max_distance for each left row.
        recall: share of the k nearest that must be found, above 0; 1 is all of them. Less is used only where it saves work.
        check: called between blocks, a few times a second, so that a cancel takes effect.
        tell: called now and then with how many left rows are answered, about.
        block_bytes: the size of one block of scores.
    Returns:
        Exactly the pairs that sorting all n * m distances would give (at a recall of 1); equal distances are ordered by right row.
    Raises:
        InvalidParameter: k < 1, k None without max_distance, or an unknown metric.
        DimensionMismatch: the sides' dims differ.
    """
    if k is not None and k < 1:
        raise InvalidParameter(f"k must be at least 1, not {k}", hint="k is the number of right rows for each left row.")
    if k is None and max_distance is None and reach is None:
        raise InvalidParameter("k is NULL, and there is no max_distance", hint="Give the distance within which all pairs are wanted, or k.")
    groups = distinct(left, right, metric, codes)
    if max_distance is not None:
        reach = np.full(len(left), max_distance) if reach is None else np.minimum(reach, max_distance)
    # a row's own vector comes up once for the group that has it, and once more among that group's rows
    spare = int(same or not_equal)
    forward, backward = _both(groups, None if k is None else k + spare, reach, mutual and k is not None, recall, check, block_bytes, tell)
    pairs = _rows(groups, forward, k, same, not_equal)
    if backward is not None:
        turned = groups.turned()
        back = _rows(turned, backward, k, same, not_equal)
        theirs = np.sort(back.right * len(right) + back.left)
        ours = pairs.left * len(right) + pairs.right
        place = np.minimum(np.searchsorted(theirs, ours), max(0, len(theirs) - 1))
        pairs = pairs.where((theirs[place] == ours) if len(theirs) else np.zeros(len(pairs), dtype=bool))
    return pairs if reach is None else pairs.where(pairs.distance <= reach[pairs.left])


def among(
    left: Vectors,
    right: Vectors,
    listed: tuple[Sequence[int], Sequence[int]],
    *,
    metric: Metric = "cosine",
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """The distances of listed pairs, in the order and with the ranks of `nearest`.

    Args:
        listed: positions on the left and on the right, of one length, each pair once.
    """
    left, right = checked(left, right, metric)
    rows, columns = (np.asarray(side, dtype=np.int64) for side in listed)
    distances = np.empty(len(rows))
    for part in blocks(len(rows), max(1, block_bytes // (16 * max(1, left.shape[-1])))):
        distances[part] = exact(left[rows[part]], right[columns[part]], metric)
        if check:
            check()
    keep = ~np.isnan(distances) & ~(same & (rows == columns))
    return best(rows, columns, distances, max(1, len(right)), keep)


@dataclass(frozen=True)
class Groups:
    """Both sides of a join with equal vectors (of equal code) counted once, since one search serves them all.

    Without this a table with thousands of equal texts would put them all forward for every row that is near to them.
    ``*_first`` is the position of the first row of every group, ``*_group`` each row's group, -1 for a vector without distance;
    ``*_code`` each row's code, None where all are compared.
    """

    metric: Metric
    left: Vectors
    right: Vectors
    left_first: Ints
    left_group: Ints
    right_first: Ints
    right_group: Ints
    left_code: Ints | None = None
    right_code: Ints | None = None

    def rows(self, pairs: Pairs, k: int) -> Pairs:
        """The k nearest pairs of every left row, from pairs of groups."""
        if len(self.right_first) < len(self.right_group):
            at, member = _members(pairs.right, self.right_group, k)
            pairs = best(pairs.left[at], member, pairs.distance[at], k)
        if len(self.left_first) < len(self.left_group):
            at, member = _members(pairs.left, self.left_group, len(self.left))
            pairs = best(member, pairs.right[at], pairs.distance[at], k)
        return pairs.where(pairs.rank <= k)

    def turned(self) -> Groups:
        """The same join seen from the right."""
        return Groups(
            self.metric,
            self.right,
            self.left,
            self.right_first,
            self.right_group,
            self.left_first,
            self.left_group,
            self.right_code,
            self.left_code,
        )


def distinct(left: Vectors, right: Vectors, metric: Metric, codes: tuple[Ints, Ints] | None = None) -> Groups:
    """Check both sides and group their equal vectors."""
    left, right = checked(left, right, metric)
    left_code, right_code = codes or (None, None)
    return Groups(metric, left, right, *_distinct(left, metric, left_code), *_distinct(right, metric, right_code), left_code, right_code)


def search(groups: Groups, k: int, check: Check | None = None, block_bytes: int = BLOCK_BYTES) -> Pairs:
    """The k nearest right groups of each left group.

    A float32 matrix product only nominates, see `products`: every pair whose score is within the product's rounding error of the
    k-th best is computed again in float64 from the two vectors themselves, and these values decide.
    """
    return _both(groups, k, None, False, 1.0, check, block_bytes)[0]


def checked(left: Vectors, right: Vectors, metric: str) -> tuple[Vectors, Vectors]:
    """Both sides as native float32, also from pgvector's big-endian wire form."""
    if metric not in METRICS:
        raise InvalidParameter(f'metric "{metric}" does not exist', hint=f"Known metrics: {', '.join(METRICS)}.")
    left, right = (np.ascontiguousarray(side, dtype=np.float32) for side in (left, right))
    if len(left) and len(right) and left.shape[1] != right.shape[1]:
        raise DimensionMismatch(f"different vector dimensions {left.shape[1]} and {right.shape[1]}")
    return left, right


def _both(
    groups: Groups,
    k: int | None,
    reach: Floats | None,
    back: bool,
    recall: float,
    check: Check | None,
    block_bytes: int,
    tell: Tell | None = None,
) -> tuple[Pairs, Pairs | None]:
    """The nearest right groups of each left group, and where ``back`` the nearest left groups of each right group."""
    if not len(groups.left_first) or not len(groups.right_first):
        return empty(), empty() if back else None
    left, right = prepared.sides(
        groups.left, groups.right, groups.metric, (_taking(groups.left_first, groups.left), _taking(groups.right_first, groups.right))
    )
    bound = None
    if reach is not None:
        # of equal vectors the one that reaches farthest asks for all
        bound = np.full(len(groups.left_first), -np.inf)
        taking = groups.left_group >= 0
        np.maximum.at(bound, groups.left_group[taking], reach[taking])
    height = max(1, min(products.HEIGHT, block_bytes // (4 * min(products.WIDTH, len(right)))))
    if groups.left_code is None or groups.right_code is None:
        return prefixes.search(left, right, k, recall=recall, reach=bound, back=back, check=check, height=height, tell=tell)
    codes = groups.left_code[groups.left_first], groups.right_code[groups.right_first]
    return _by_code(left, right, codes, k, bound, back, recall, check, height)


def _taking(first: Ints, side: Vectors) -> Ints | None:
    return None if len(first) == len(side) else first


def _by_code(
    left: prepared.Side,
    right: prepared.Side,
    codes: tuple[Ints, Ints],
    k: int | None,
    reach: Floats | None,
    back: bool,
    recall: float,
    check: Check | None,
    height: int,
) -> tuple[Pairs, Pairs | None]:
    """The same among rows of equal code: a product for each code, but the pairs of small groups are listed."""
    orders = [np.argsort(side, kind="stable") for side in codes]
    common = np.intersect1d(*codes)
    common = common[common >= 0]
    bounds = [
        (np.searchsorted(side[order], common), np.searchsorted(side[order], common, side="right"))
        for side, order in zip(codes, orders, strict=True)
    ]
    sizes = [end - start for start, end in bounds]
    small = sizes[0] * sizes[1] <= LISTED
    forward, backward = [], []
    for which in np.flatnonzero(~small):
        mine, theirs = (order[start[which] : end[which]] for order, (start, end) in zip(orders, bounds, strict=True))
        found, turned = prefixes.search(
            left.part(mine),
            right.part(theirs),
            k,
            recall=recall,
            reach=None if reach is None else reach[mine],
            back=back,
            check=check,
            height=height,
        )
        forward.append(Pairs(mine[found.left], theirs[found.right], found.distance, found.rank))
        if turned is not None:
            backward.append(Pairs(theirs[turned.left], mine[turned.right], turned.distance, turned.rank))
        if check:
            check()
    every = max(1, len(left), len(right)) if k is None else k
    for rows, columns in _listed(orders, bounds, sizes, np.flatnonzero(small)):
        distances = np.empty(len(rows))
        for part in blocks(len(rows), max(1, (4 << 20) // (16 * left.rows.shape[1]))):
            distances[part] = exact(left.at(rows[part]), right.at(columns[part]), left.metric)
            if check:
                check()
        keep = None if reach is None else distances <= reach[rows]
        forward.append(best(rows, columns, distances, every, keep))
        if back:
            backward.append(best(columns, rows, distances, every))
    return merged(forward, every), merged(backward, every) if back else None


def _listed(orders: list[Ints], bounds: list[tuple[Ints, Ints]], sizes: list[Ints], which: Ints) -> list[tuple[Ints, Ints]]:
    """All pairs of some groups, in parts; a group is in one part."""
    if not len(which):
        return []
    ends = np.cumsum((sizes[0] * sizes[1])[which])
    parts = []
    for part in np.split(which, np.flatnonzero(np.diff(ends // LISTED_AT_ONCE)) + 1):
        wide = np.repeat(sizes[1][part], sizes[0][part])  # each left row, times the right rows of its group
        first = np.repeat(bounds[0][0][part], sizes[0][part]) + _counted(sizes[0][part])
        rows = np.repeat(first, wide)
        columns = np.repeat(np.repeat(bounds[1][0][part], sizes[0][part]), wide) + _counted(wide)
        parts.append((orders[0][rows], orders[1][columns]))
    return parts


def _counted(counts: Ints) -> Ints:
    """0, 1, ... for each of some counts, one behind the other."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def _rows(groups: Groups, pairs: Pairs, k: int | None, same: bool, not_equal: bool) -> Pairs:
    """The k nearest rows of each row, from pairs of groups, of which there is one more where a row's own vector may be among them."""
    every = max(1, len(groups.left), len(groups.right)) if k is None else k
    if not_equal:
        left, right = groups.left[groups.left_first[pairs.left]], groups.right[groups.right_first[pairs.right]]
        differ = (left != right).any(axis=1) if len(pairs) else np.empty(0, dtype=bool)
        pairs = best(pairs.left, pairs.right, pairs.distance, every, differ)
    pairs = groups.rows(pairs, every + same)
    return best(pairs.left, pairs.right, pairs.distance, every, pairs.left != pairs.right) if same else pairs


def _distinct(side: Vectors, metric: str, codes: Ints | None) -> tuple[Ints, Ints]:
    """First position of every different vector that can have a distance, and each row's place among these (-1 for none)."""
    group = np.full(len(side), -1, dtype=np.int64)
    hashes = np.empty(len(side), np.uint64)
    takes = np.ones(len(side), dtype=bool) if codes is None else codes >= 0
    words = side.view(np.uint32) if side.size else np.empty((len(side), 0), np.uint32)
    odd = np.random.default_rng(0).integers(1 << 62, size=words.shape[1], dtype=np.uint64) | np.uint64(1)
    for part in blocks(len(side), 512):
        # The square in float32, because that is where pgvector's own norm becomes zero.
        if metric == "cosine":
            takes[part] &= np.einsum("ij,ij->i", side[part], side[part]) != 0
        hashes[part] = words[part] @ odd
    if codes is not None:
        hashes += codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    positions = np.flatnonzero(takes)
    _, first, which = np.unique(hashes[positions], return_index=True, return_inverse=True)
    # in the order of their first rows
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    group[positions] = place[which]
    first = positions[first[order]]
    again = positions[first[group[positions]] != positions]
    for part in blocks(len(again), 1024):
        at = again[part]
        other = first[group[at]]
        if (side[at].view(np.uint32) != side[other].view(np.uint32)).any() or (codes is not None and (codes[at] != codes[other]).any()):
            return _told_apart(side, takes, codes)
    return first, group


def _told_apart(side: Vectors, takes: Bools, codes: Ints | None) -> tuple[Ints, Ints]:
    """The same where two different vectors have one hash: by the vectors themselves."""
    group = np.full(len(side), -1, dtype=np.int64)
    seen: dict[tuple[bytes, int], int] = {}
    first: list[int] = []
    for index in np.flatnonzero(takes).tolist():
        place = seen.setdefault((side[index].tobytes(), 0 if codes is None else int(codes[index])), len(first))
        if place == len(first):
            first.append(index)
        group[index] = place
    return np.asarray(first, dtype=np.int64), group


def _members(groups: Ints, group: Ints, limit: int) -> tuple[Ints, Ints]:
    """For each of groups its first members, at most limit: which of groups it is, and the member's position in group."""
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], groups)
    count = np.minimum(np.searchsorted(group[order], groups, side="right") - start, limit)
    place = np.repeat(np.arange(len(groups)), count)
    return place, order[start[place] + _counted(count)]
