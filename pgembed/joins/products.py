"""Nearest neighbours by matrix products in tiles that stay in cache: exact, in threads, both directions of a join in one pass.

A float32 product only nominates. Of every row it is known how near its k-th nearest is at least; a later tile of scores costs one look for
its largest, and only rows whose largest may be nearer are read again. What was nominated is computed in float64 from the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pgembed.joins import pairing
from pgembed.joins.pairing import Bools, Check, Floats, Ints, Pairs, Tell, Vectors
from pgembed.joins.prepared import Side, lowest_score
from pgembed.models import threads

if TYPE_CHECKING:
    from concurrent.futures import Future

# Rows of a tile of scores on the left and on the right: 4 MB of float32 for each thread. BLAS is as fast as with any larger one.
HEIGHT, WIDTH = 512, 2048
# Products of fewer multiplications than this are over before a thread has begun.
WORTH_THREADS = 2e8
# How often the calling thread looks whether it is to stop.
LOOK_SECONDS = 0.05
# A pool of nominees is decided exactly when it has so many: near-ties of a whole table would otherwise all be kept.
POOL = 1 << 18


class Stopped(Exception):
    """Another thread has failed, or the caller is to stop."""


def near(
    left: Side,
    right: Side,
    k: int | None,
    *,
    reach: Floats | None = None,
    back: tuple[int | None, Floats | None] | None = None,
    check: Check | None = None,
    count: int | None = None,
    height: int = HEIGHT,
    tell: Tell | None = None,
) -> tuple[Pairs, Pairs | None]:
    """The k nearest right rows of every left row, and on wish the other way round, of one pass over the products.

    Args:
        k: None for all within reach, which is then required.
        reach: float64 (n,): pairs farther than this are left out; None for no bound.
        back: k and reach of the right rows; None does without.
        check: called a few times a second by the calling thread; what it raises ends all threads first.
        count: threads; None is `threads.thread_count`. height: most left rows of a tile.
        tell: called now and then with how many left rows are answered.
    Returns:
        Positions among the rows that take part; of the second the right rows are ``left``. Equal distances in the order of position.
    """
    if not len(left) or not len(right):
        return pairing.empty(), pairing.empty() if back else None
    run = Run(left, right, k, reach, None if back is None else _Backward(len(right), *back))
    found = run.all(check, count, height, tell)
    return found, run.backward.pairs if run.backward is not None else None


def _in_threads(run: Run, parts: Sequence[slice], count: int, check: Check | None, tell: Tell | None) -> list[Pairs]:
    """All blocks, in so many threads; the calling one only looks whether it is to stop, for nobody else may ask the database."""
    pool = ThreadPoolExecutor(count)
    try:
        with threads.signals_blocked():  # a thread takes the mask of the one that starts it
            waiting: list[Future[Pairs]] = [pool.submit(run.block, part) for part in parts]
        left: set[Future[Pairs]] = set(waiting)
        while left:
            done, left = wait(left, LOOK_SECONDS, FIRST_COMPLETED)
            for one in done:
                one.result()
            if check:
                check()
            if tell and done:
                tell(sum(part.stop - part.start for part, one in zip(parts, waiting, strict=True) if one.done()))
        return [one.result() for one in waiting]
    finally:
        run.stopped = True
        pool.shutdown(wait=True, cancel_futures=True)


class _Nominees:
    """What may be among the k best of some rows, and what these are at least.

    ``low`` (float32) is a certified lower bound of each row's k-th best score. Pools grow tile by tile and are pruned by it.
    """

    def __init__(
        self, size: int, k: int | None, low: Vectors, decide: Callable[[Ints, Ints], Floats], score: Callable[[Floats], Vectors]
    ) -> None:
        self.k, self.low, self.decide, self.score = k, low, decide, score
        self.rows: list[Ints] = []
        self.columns: list[Ints] = []
        self.most: list[Vectors] = []  # what a score is at most, and at least
        self.least: list[Vectors] = []
        self.pending = self.held = 0
        self.size = size
        self.decided = pairing.empty()

    def take(self, scores: Vectors, at: Ints | None, largest: Vectors, start: int, error: Vectors, columns: Vectors | None) -> None:
        """Nominate from a tile of scores.

        Args:
            scores: of the rows ``at`` (None: of all), at least one of whose scores may count.
            largest: of each of these rows.
            start: number of the first column.
            error: of each of these rows the most by which a score is wrong here.
            columns: how much of it each column has, 0 to 1; None where all have all of it.
        """
        low = self.low if at is None else self.low[at]
        width = scores.shape[1]
        if self.k == 1:
            low = np.maximum(low, largest - error)
        elif self.k is not None and self.k < width:
            low = np.maximum(low, _kth(scores, self.k) - error)
        if self.k is not None:
            self.low[slice(None) if at is None else at] = low
        above = scores >= (low - error)[:, None]
        step = len(scores) if np.count_nonzero(above) <= POOL else max(1, POOL // width)
        for part in pairing.blocks(len(scores), step):
            rows = np.arange(part.start, part.stop) if at is None else at[part]
            self._add(scores[part], above[part], low[part], rows, start, error[part], columns)

    def _add(self, scores: Vectors, above: Bools, low: Vectors, at: Ints, start: int, error: Vectors, columns: Vectors | None) -> None:
        flat, width = np.flatnonzero(above), scores.shape[1]
        rows = flat // width
        own = flat - rows * width
        values, wrong = scores.ravel()[flat], error[rows]
        if columns is not None:
            wrong = wrong * columns[own]
            keep = values + wrong >= low[rows]
            rows, own, values, wrong = rows[keep], own[keep], values[keep], wrong[keep]
        self.rows.append(at[rows])
        self.columns.append(own + start)
        self.most.append(values + wrong)
        self.least.append(values - wrong)
        self.pending += len(rows)
        if self.k is not None and self.pending > max(1024, self.size * self.k // 2):
            self._prune()
        if self.held + self.pending > POOL:
            self.settle()

    def take_bounds(self, bounds: Vectors, at: Ints, start: int, error: Vectors) -> None:
        """Nominate from a tile of what scores are at most, which say nothing of what they are at least."""
        above = bounds >= (self.low[at] - error)[:, None]
        step = len(bounds) if np.count_nonzero(above) <= POOL else max(1, POOL // bounds.shape[1])
        for part in pairing.blocks(len(bounds), step):
            flat = np.flatnonzero(above[part])
            rows = flat // bounds.shape[1]
            self.rows.append(at[part][rows])
            self.columns.append(flat - rows * bounds.shape[1] + start)
            self.most.append(bounds[part].ravel()[flat] + error[part][rows])
            self.least.append(np.full(len(rows), -np.inf, np.float32))
            self.pending += len(rows)
            if self.held + self.pending > POOL:
                self.settle()

    def _prune(self) -> None:
        """Leave out what cannot be among the k best any more, and learn what these are at least."""
        rows, columns, most, least = self._gathered()
        if self.k is None:
            return
        if self.k > 1:
            order = np.lexsort((-least, rows))
            sorted_rows = rows[order]
            start = np.searchsorted(sorted_rows, np.arange(self.size))
            end = np.searchsorted(sorted_rows, np.arange(self.size), side="right")
            full = np.flatnonzero(end - start >= self.k)
            self.low[full] = np.maximum(self.low[full], least[order[start[full] + self.k - 1]])
        keep = most >= self.low[rows]
        self.rows, self.columns, self.most, self.least = [rows[keep]], [columns[keep]], [most[keep]], [least[keep]]
        self.held, self.pending = int(keep.sum()), 0

    def _gathered(self) -> tuple[Ints, Ints, Vectors, Vectors]:
        return (
            np.concatenate(self.rows) if self.rows else np.empty(0, np.int64),
            np.concatenate(self.columns) if self.columns else np.empty(0, np.int64),
            np.concatenate(self.most) if self.most else np.empty(0, np.float32),
            np.concatenate(self.least) if self.least else np.empty(0, np.float32),
        )

    def settle(self) -> Pairs:
        """Decide by float64 what was nominated so far; returns the best of each row, at most k."""
        self._prune()
        rows, columns, *_ = self._gathered()
        found = Pairs(rows, columns, self.decide(rows, columns), rows)
        self.rows, self.columns, self.most, self.least, self.held, self.pending = [], [], [], [], 0, 0
        most = len(rows) + len(self.decided) if self.k is None else self.k
        self.decided = pairing.merged([self.decided, found], max(1, most))
        if self.k is not None:
            last = self.decided.where(self.decided.rank == self.k)
            self.low[last.left] = np.maximum(self.low[last.left], self.score(last.distance))
        return self.decided


def _kth(scores: Vectors, k: int) -> Vectors:
    """At most each row's k-th highest score, and nearly that: the k-th highest of the maxima of small groups."""
    width, least = scores.shape[1], max(64, 8 * k)
    # folded in the middle: column j stands for j, j + half, ...
    while width % 2 == 0 and width // 2 >= least:
        width //= 2
        scores = np.maximum(scores[:, :width], scores[:, width:])
    return np.asarray(np.partition(scores, width - k, axis=1)[:, width - k])


@dataclass
class _Backward:
    """The nearest left rows of each right row so far, of all blocks of all threads."""

    size: int
    k: int | None
    reach: Floats | None
    pairs: Pairs = field(default_factory=pairing.empty)
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.now = np.full(self.size, np.inf) if self.reach is None else self.reach.astype(np.float64)

    def add(self, pairs: Pairs) -> None:
        with self.lock:
            self.pairs = pairing.merged([self.pairs, pairs], self.k or max(1, len(pairs) + len(self.pairs)))
            if self.k is not None:
                last = self.pairs.where(self.pairs.rank == self.k)
                now = self.now.copy()
                now[last.left] = np.minimum(now[last.left], last.distance)
                self.now = now


class Run:
    """One search: what all blocks have in common."""

    def __init__(self, left: Side, right: Side, k: int | None, reach: Floats | None, backward: _Backward | None) -> None:
        self.left, self.right, self.k, self.reach, self.backward = left, right, k, reach, backward
        self.stopped = False
        self.check: Check | None = None
        # the a-priori bound of a product of two rows, with the rounding of the rows themselves
        self.unit = np.float32((left.rows.shape[1] + 16) * 2.0**-24)
        self.tiles = list(pairing.blocks(len(right), WIDTH))
        self.scaled = left.metric == "cosine" and right.direct
        self.plain = left.metric == "inner_product" and right.direct
        self.largest = right.largest

    def all(self, check: Check | None, count: int | None, height: int = HEIGHT, tell: Tell | None = None) -> Pairs:
        """The nearest right rows of all left rows, block by block; arguments as in `near`."""
        count = threads.thread_count() if count is None else count
        if len(self.left) * len(self.right) * self.left.rows.shape[1] < WORTH_THREADS:
            count = 1
        if self.k is not None:
            height = min(height, max(16, POOL // (3 * self.k)))  # so that the nominees of a block need no decision before its end
        height = max(1, min(height, -(-len(self.left) // count)))
        parts = list(pairing.blocks(len(self.left), height))
        if count == 1:
            self.check = check
            found = []
            with threads.arithmetic(threads.thread_count()):
                for part in parts:
                    found.append(self.block(part))
                    if tell:
                        tell(part.stop)
            return pairing.concatenated(found)
        with threads.arithmetic(1):
            return pairing.concatenated(_in_threads(self, parts, count, check, tell))

    def look(self) -> None:
        """Between tiles: whether to stop."""
        if self.stopped:
            raise Stopped
        if self.check:
            self.check()

    def nominees(self, part: slice, norm: Vectors, low: Vectors) -> _Nominees:
        """What is known of the left rows of a block."""
        return _Nominees(
            len(norm),
            self.k,
            low,
            lambda rows, columns: self.exact(rows + part.start, columns),
            self._low,
        )

    def block(self, part: slice) -> Pairs:
        """The nearest right rows of some left rows."""
        left, right = self.left, self.right
        query = left.block(part)
        norm = left.norm[part].astype(np.float32)
        if self.plain:
            query *= np.float32(1.0 / self.largest)  # so that the right rows can stay as they are
        half: Vectors | None = norm * norm * np.float32(0.5) if left.metric == "l2" else None
        low = self._low(self.reach[part] if self.reach is not None else np.full(len(norm), np.inf))
        mine = self.nominees(part, norm, low)
        back: list[Pairs] = []
        room = np.empty(len(norm) * min(WIDTH, len(right)), np.float32)
        everyone = np.arange(len(norm))
        for tile in self.tiles:
            self.look()
            scores = room[: len(norm) * (tile.stop - tile.start)].reshape(len(norm), -1)
            target_norm = right.norm[tile].astype(np.float32)
            if self.scaled:
                np.matmul(query, right.given(tile).T, out=scores)
                scores *= right.scale[tile].astype(np.float32)
            elif self.plain:
                np.matmul(query, right.given(tile).T, out=scores)
            else:
                np.matmul(query, right.block(tile).T, out=scores)
            most = target_norm.max()
            error = norm * (self.unit * most)
            if half is not None:
                theirs: Vectors = target_norm * target_norm * np.float32(0.5)
                scores -= theirs
                scores -= half[:, None]
                error += np.float32(2.0**-21) * (half + theirs.max())
            uneven = most > 2 * target_norm.min() and half is None
            share = target_norm / most if uneven else None
            largest = scores[everyone, scores.argmax(axis=1)]
            at = np.flatnonzero(largest + error >= mine.low)
            if len(at) == len(norm):
                mine.take(scores, None, largest, tile.start, error, share)
            elif len(at):
                mine.take(scores[at], at, largest[at], tile.start, error[at], share)
            if self.backward is not None:
                back.append(self._back(scores, tile, part, norm, target_norm, half))
        found = mine.settle()
        if self.backward is not None:
            self.backward.add(pairing.concatenated(back))
        return self.within(Pairs(found.left + part.start, found.right, found.distance, found.rank), self.reach)

    def _back(self, scores: Vectors, tile: slice, part: slice, norm: Vectors, target_norm: Vectors, half: Vectors | None) -> Pairs:
        """The nearest rows of this block of the right rows of a tile, where they may count."""
        assert self.backward is not None
        low = self._low(self.backward.now[tile])
        error = target_norm * (self.unit * norm.max())
        if half is not None:
            error += np.float32(2.0**-21) * (target_norm * target_norm / 2 + half.max())
        largest = scores.max(axis=0)
        at = np.flatnonzero(largest + error >= low)
        if not len(at):
            return pairing.empty()
        theirs = _Nominees(
            len(at),
            self.backward.k,
            low[at],
            lambda rows, columns: self.exact(columns, at[rows] + tile.start),
            self._low,
        )
        theirs.take(np.ascontiguousarray(scores[:, at].T), None, largest[at], part.start, error[at], None)
        found = theirs.settle()
        found = Pairs(at[found.left] + tile.start, found.right, found.distance, found.rank)
        return self.within(found, self.backward.reach)

    @staticmethod
    def within(pairs: Pairs, reach: Floats | None) -> Pairs:
        return pairs if reach is None else pairs.where(pairs.distance <= reach[pairs.left])

    def _low(self, distance: Floats) -> Vectors:
        return lowest_score(distance, self.left.metric, self.largest)

    def exact(self, rows: Ints, columns: Ints) -> Floats:
        distances = np.empty(len(rows))
        for part in pairing.blocks(len(rows), max(1, (4 << 20) // (16 * self.left.rows.shape[1]))):
            distances[part] = pairing.exact(self.left.at(rows[part]), self.right.at(columns[part]), self.left.metric)
        return distances
