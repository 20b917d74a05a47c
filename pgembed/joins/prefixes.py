"""Nearest neighbours by short products first: exact, or with a recall that was asked for.

Vectors are turned so that their leading dimensions hold most of what there is (the principal axes of both sides). With p of them,
q.t = q_p.t_p + rest, and the rest is at most |q - q_p| |t - t_p| (Cauchy and Schwarz); so a product over p + 1 numbers, the last one what
is left of the length, bounds every score from above, and only pairs whose bound reaches the k-th best true score are computed. That loses
nothing: the answer is that of all products. The rest hardly ever comes near its bound, and c < 1 times it serves a recall below 1: c is
what a sample of left rows needs, whose answers are known exactly. That a factor learned from data may stand for the bound is the idea of
ADSampling (Gao and Long, High-Dimensional Approximate Nearest Neighbor Search: with Reliable and Efficient Distance Comparison Operations,
SIGMOD 2023, https://doi.org/10.1145/3589282), here in matrix products instead of row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pgembed.joins import pairing, products
from pgembed.joins.pairing import Check, Floats, Ints, Pairs, Tell, Vectors
from pgembed.joins.prepared import Side, lowest_score
from pgembed.models import threads

# Right rows of a tile; narrower than a whole product's, for a tile is made again where one of its bounds counts.
WIDTH = 1024
# Lengths of prefixes that are tried.
LENGTHS = (32, 48, 64, 96, 128, 192, 256)
# Left rows that are answered by whole products to choose by, and right rows on which candidates are counted.
SAMPLE, COUNTED = 512, 4096
# Rows of each side the axes are made of.
AXES_OF = 4096
# Fewer left rows than this are not worth the axes.
LEAST_ROWS = 4096
# Costs in units of one multiplication of a product: of a score for being looked at, of a candidate's exact distance per dimension.
LOOK, EXACT = 8.0, 400.0
# A plan must promise to be that much cheaper than whole products, and serves no larger k: the bounds then reach too many rows.
WORTH, MOST_K = 0.7, 200
# Both directions come of one pass over the products for so many neighbours; lists of more are kept quicker by a pass for each.
MOST_AT_ONCE = 4
# Tiles of which the first guess at a row's k-th best is made, beside k.
GUESSES = 3


@dataclass(frozen=True)
class Plan:
    """How long prefixes are.

    Attributes:
        axes: float64 (dim, length), orthonormal columns.
        share: c, 0 to 1; 1 is exact.
        cost: estimated, as a share of the whole product's.
    """

    axes: Floats
    share: float
    cost: float


def axes(left: Side, right: Side, seed: int = 0) -> Floats:
    """The principal axes of both sides, most important first: float64 (dim, dim)."""
    rng = np.random.default_rng(seed)
    dim = left.rows.shape[1]
    moment = np.zeros((dim, dim))
    for side in (left, right):
        part = side.part(np.sort(rng.choice(len(side), min(AXES_OF, len(side)), replace=False)))
        rows = part.block(slice(0, len(part))).astype(np.float64)
        if part.metric == "inner_product":  # long vectors do not outvote all others
            rows /= np.maximum(part.norm, 1e-30)[:, None]
        moment += rows.T @ rows / max(1, len(part))
    return np.asarray(np.linalg.eigh(moment)[1][:, ::-1])


def shortened(side: Side, turned: Floats, share: float, part: slice) -> Vectors:
    """Prefixes of some rows, and behind them what is left of each length, times the root of share: float32 (n, p + 1)."""
    rows = side.block(part)
    made = np.empty((len(rows), turned.shape[1] + 1), np.float32)
    np.matmul(rows, turned.astype(np.float32), out=made[:, :-1])
    kept = np.einsum("ij,ij->i", made[:, :-1], made[:, :-1], dtype=np.float64)
    # rounded up by more than float32 can have been wrong by in the prefix
    slack = 4 * (rows.shape[1] + 16) * 2.0**-24
    rest = np.sqrt(np.maximum(side.norm[part] ** 2 - kept, 0.0) + slack * side.norm[part] ** 2)
    made[:, -1] = rest * np.sqrt(share)
    return made


def search(
    left: Side,
    right: Side,
    k: int | None,
    *,
    recall: float = 1.0,
    reach: Floats | None = None,
    back: bool = False,
    check: Check | None = None,
    height: int = products.HEIGHT,
    tell: Tell | None = None,
    seed: int = 0,
) -> tuple[Pairs, Pairs | None]:
    """The k nearest right rows of every left row, and on wish the other way round, by whole products or by prefixes, whichever is cheaper.

    Args:
        recall: share of the k nearest that is found, above 0; 1 is exact. Less is only used where it saves work.
        k, reach, back, check, height, tell: as in `products.near`; back has the same k and no reach.
        seed: of the rows drawn.
    """
    size = max(SAMPLE, int(3.0 / (1.0 - recall)) + 1) if recall < 1 else SAMPLE
    how = None
    if len(left) >= max(LEAST_ROWS, 8 * size) and len(right) >= LEAST_ROWS and left.rows.shape[1] >= 2 * LENGTHS[0] and (k or 1) <= MOST_K:
        sample = np.sort(np.random.default_rng(seed).choice(len(left), size, replace=False))
        sampled = None if reach is None else reach[sample]
        known = products.near(left.part(sample), right, k, reach=sampled, check=check, height=height)[0]
        with threads.arithmetic(1):  # none of these products is so large that a second thread would not wait for the first
            how = plan(left, right, sample, known, k, recall, reach=sampled, seed=seed)
    if how is None and back and (k or MOST_AT_ONCE) > MOST_AT_ONCE:
        forward, _ = products.near(left, right, k, reach=reach, check=check, height=height, tell=tell)
        return forward, products.near(right, left, k, check=check, height=height)[0]
    if how is None:
        return products.near(left, right, k, reach=reach, back=(k, None) if back else None, check=check, height=height, tell=tell)
    others = np.ones(len(left), dtype=bool)
    others[sample] = False
    rest = np.flatnonzero(others)
    found = near(left.part(rest), right, k, how, reach=None if reach is None else reach[rest], check=check, tell=tell)
    both = pairing.concatenated([replace(known, left=sample[known.left]), replace(found, left=rest[found.left])])
    order = np.argsort(both.left, kind="stable")
    forward = Pairs(both.left[order], both.right[order], both.distance[order], both.rank[order])
    return forward, _answered(left, right, forward, k, how, check) if back else None


def _answered(left: Side, right: Side, forward: Pairs, k: int | None, how: Plan, check: Check | None) -> Pairs:
    """The k nearest left rows of those right rows that are in pairs, as far as the farthest of their pairs: what is beyond is in none."""
    asked, which = np.unique(forward.right, return_inverse=True)
    reach = np.full(len(asked), -np.inf)
    np.maximum.at(reach, which, forward.distance + 1e-12 * np.abs(forward.distance))
    found = near(right.part(asked), left, k, how, reach=reach, check=check)
    return replace(found, left=asked[found.left])


def plan(
    left: Side, right: Side, sample: Ints, found: Pairs, k: int | None, recall: float = 1.0, *, reach: Floats | None = None, seed: int = 0
) -> Plan | None:
    """How to search, learned from rows that are answered; None where whole products are as cheap.

    Args:
        sample: positions of left rows, drawn at random; found: their k nearest within reach, positions in sample and on the right.
        recall: of the k nearest; below 1 the rest's share is what the sample needs, such that at 95 % confidence no more is missed.
    """
    dim = left.rows.shape[1]
    queries = left.part(sample)
    rng = np.random.default_rng(seed)
    counted = right.part(np.sort(rng.choice(len(right), min(COUNTED, len(right)), replace=False)))
    times = len(right) / len(counted)
    truth = _scores(queries, right, found)
    last = np.full(len(sample), -np.inf) if reach is None else lowest_score(reach, left.metric, right.largest).astype(np.float64)
    at = found.rank == k
    last[found.left[at]] = np.maximum(last[found.left[at]], truth[at])
    whole = axes(left, right, seed)
    best: Plan | None = None
    for length in LENGTHS:
        if length * 3 > dim * 2:
            break
        turned = whole[:, :length]
        mine = shortened(queries, turned, 1.0, slice(0, len(queries)))
        share = 1.0 if recall >= 1 else _share(queries, right, turned, mine, found, truth, recall)
        theirs = shortened(counted, turned, 1.0, slice(0, len(counted)))
        bounds = mine[:, :-1] @ theirs[:, :-1].T + np.float32(share) * (mine[:, -1:] * theirs[:, -1])
        if left.metric == "l2":
            bounds -= (queries.norm**2 / 2).astype(np.float32)[:, None] + (counted.norm**2 / 2).astype(np.float32)
        reached = (bounds >= last[:, None]).sum(axis=1) * times
        # a tile is made again where it has a candidate
        tiles = max(1.0, len(right) / WIDTH)
        again = float((1 - (1 - 1 / tiles) ** reached).mean()) if tiles > 1 else 1.0
        cost = ((length + 1 + LOOK) * (1 + again) + EXACT * dim * float(reached.mean() + (k or 0) + GUESSES) / len(right)) / dim
        if best is None or cost < best.cost:
            best = Plan(turned, share, cost)
    return best if best is not None and best.cost < WORTH else None


def _share(queries: Side, right: Side, turned: Floats, mine: Vectors, found: Pairs, truth: Floats, recall: float) -> float:
    """The smallest share of the rest's bound with which at most 1 - recall of the sample's pairs are missed, at 95 % confidence."""
    parts = right.part(found.right)
    theirs = shortened(parts, turned, 1.0, slice(0, len(parts)))
    rows = mine[found.left]
    prefix = np.einsum("ij,ij->i", rows[:, :-1], theirs[:, :-1], dtype=np.float64)
    if queries.metric == "l2":
        prefix -= queries.norm[found.left] ** 2 / 2 + parts.norm**2 / 2
    needed = np.sort((truth - prefix) / np.maximum(rows[:, -1].astype(np.float64) * theirs[:, -1], 1e-30))[::-1]
    # pairs of one row are missed together: only rows count as so many observations
    rows_seen = len(np.unique(found.left))
    missed = affordable(rows_seen, recall)
    if missed < 0:
        return 1.0
    return float(np.clip(needed[min(len(needed) - 1, int(missed * len(needed) / rows_seen))] + 1e-4, 0.0, 1.0))


def affordable(observed: int, recall: float) -> int:
    """How many of so many observations may be missed, for a recall of at least that at 95 % confidence; -1 where even none is too many."""
    expected = observed * (1.0 - recall)
    term = total = float(np.exp(-expected))
    missed = -1
    while total <= 0.05:  # Poisson: that so few are missed by chance
        missed += 1
        term *= expected / (missed + 1)
        total += term
    return missed


def near(
    left: Side,
    right: Side,
    k: int | None,
    how: Plan,
    *,
    reach: Floats | None = None,
    check: Check | None = None,
    count: int | None = None,
    tell: Tell | None = None,
) -> Pairs:
    """The k nearest right rows of every left row; arguments and order are those of `products.near`."""
    if not len(left) or not len(right):
        return pairing.empty()
    run = _Prefixed(left, right, k, reach, how)
    return run.all(check, count, tell=tell)


class _Prefixed(products.Run):
    """One search by prefixes: all bounds once, and again those tiles in which one counts."""

    def __init__(self, left: Side, right: Side, k: int | None, reach: Floats | None, how: Plan) -> None:
        super().__init__(left, right, k, reach, None)
        self.how = how
        self.tiles = list(pairing.blocks(len(right), WIDTH))
        self.short = np.empty((len(right), how.axes.shape[1] + 1), np.float32)
        for tile in pairing.blocks(len(right), 4096):
            self.short[tile] = shortened(right, how.axes, how.share, tile)
        self.half = (right.norm**2 / 2).astype(np.float32) if left.metric == "l2" else None
        self.most = float(right.norm.max())

    def block(self, part: slice) -> Pairs:
        """The nearest right rows of some left rows."""
        short = shortened(self.left, self.how.axes, self.how.share, part)
        norm = self.left.norm[part].astype(np.float32)
        # of both roundings, the projection's and the product's; in units of the lengths
        error = norm * np.float32(3 * self.unit * self.most)
        half: Vectors | None = norm * norm * np.float32(0.5) if self.half is not None else None
        if half is not None and self.half is not None:
            error += np.float32(2.0**-21) * (half + self.half.max())
        size = len(norm)
        tops = np.empty((size, len(self.tiles)), np.float32)
        places = np.empty((size, len(self.tiles)), np.int64)
        room = np.empty(size * min(WIDTH, len(self.right)), np.float32)
        everyone = np.arange(size)
        for number, tile in enumerate(self.tiles):
            self.look()
            bounds = self._bounds(short, half, tile, room)
            places[:, number] = bounds.argmax(axis=1)
            tops[:, number] = bounds[everyone, places[:, number]]
            places[:, number] += tile.start
        low = self._low(self.reach[part] if self.reach is not None else np.full(size, np.inf))
        if self.k is not None:
            low = np.maximum(low, self._guess(self.k, part, tops, places))
        mine = self.nominees(part, norm, low)
        for number, tile in enumerate(self.tiles):
            at = np.flatnonzero(tops[:, number] + error >= mine.low)
            if not len(at):
                continue
            self.look()
            if 4 * len(at) > 3 * size:
                at = everyone
            bounds = self._bounds(short[at], None if half is None else half[at], tile, room)
            mine.take_bounds(bounds, at, tile.start, error[at])
        found = mine.settle()
        return self.within(Pairs(found.left + part.start, found.right, found.distance, found.rank), self.reach)

    def _bounds(self, short: Vectors, half: Vectors | None, tile: slice, room: Vectors) -> Vectors:
        bounds = room[: len(short) * (tile.stop - tile.start)].reshape(len(short), -1)
        np.matmul(short, self.short[tile].T, out=bounds)
        if half is not None and self.half is not None:
            bounds -= self.half[tile]
            bounds -= half[:, None]
        return bounds

    def _guess(self, k: int, part: slice, tops: Vectors, places: Ints) -> Vectors:
        """What each row's k-th best score is at least: of the pairs with the largest bounds, one of each tile."""
        wanted = k + GUESSES
        if tops.shape[1] < wanted:
            return np.full(len(tops), -np.inf, np.float32)
        order = np.argpartition(tops, tops.shape[1] - wanted, axis=1)[:, -wanted:]
        columns = np.take_along_axis(places, order, axis=1)
        distances = self.exact(np.repeat(np.arange(part.start, part.stop), wanted), columns.ravel()).reshape(columns.shape)
        return self._low(np.partition(distances, k - 1, axis=1)[:, k - 1])


def _scores(queries: Side, right: Side, found: Pairs) -> Floats:
    """What the product of prepared rows would give for pairs."""
    scores = np.empty(len(found))
    for part in pairing.blocks(len(found), 1024):
        mine, theirs = queries.part(found.left[part]), right.part(found.right[part])
        every = slice(0, len(mine))
        scores[part] = np.einsum("ij,ij->i", mine.block(every), theirs.block(every), dtype=np.float64)
        if queries.metric == "l2":
            scores[part] -= mine.norm**2 / 2 + theirs.norm**2 / 2
    return scores
