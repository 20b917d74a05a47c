"""The k right rows most like each left row, of sparse rows: exact, in blocks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pgembed.lexical.sparse import Ints, Rows, Terms, Weights, entries, once
from pgembed.lexical.weights import Check
from pgembed.models import threads

Floats = npt.NDArray[np.float64]

BLOCK_BYTES = 32 << 20  # of one block of float32 scores
TILE = 65_536  # right rows a block
# A posting touched costs as much as so many multiplications of a matrix product: terms that most rows have are multiplied.
POSTING = 200.0
MOST_COMMON = 1_024


def nearest(
    left: Rows, right: Rows, k: int, back: int = 0, *, check: Check | None = None, block_bytes: int = BLOCK_BYTES
) -> tuple[Ints, Ints]:
    """Every pair that is among the k best of its left row, or among the ``back`` best of its right row, by the sum of products.

    Args:
        left, right: rows over the same terms.
        k, back: at least 1, or 0 for none.
        check: called between blocks.
        block_bytes: the size of one block of scores; with the postings it is about a third of what is needed.
    Returns:
        Positions on the left and on the right, in order of left, then right. Only pairs that share a term are among them. Those whose
        score is within the rounding error of the last one's come out too, so that `scores` decides which are the best.
    """
    height = max(1, block_bytes // (4 * min(TILE, max(1, len(right)))))
    found_left: list[Ints] = []
    found_right: list[Ints] = []
    for tile in _blocks(len(right), TILE):
        index = Index(right.take(np.arange(tile.start, tile.stop)), left)
        best = Best(tile.stop - tile.start, back, float(index.error(left, slice(0, len(left))).max(initial=0.0)))
        for block in _blocks(len(left), height):
            scores = index.scores(left, block)
            if k:
                floor = _floor(scores, k) - 2 * index.error(left, block)
                row, column = _where(scores >= np.maximum(floor, _TINY)[:, None])
                found_left.append(row + block.start)
                found_right.append(column + tile.start)
            if back:
                best.look(scores, block.start)
            if check:
                check()
        row, column = best.pairs()
        found_left.append(row)
        found_right.append(column + tile.start)
    rows = np.concatenate([np.empty(0, dtype=np.int64), *found_left])
    columns = np.concatenate([np.empty(0, dtype=np.int64), *found_right])
    width = max(1, len(right))
    both = once(rows * width + columns)
    return both // width, both % width


_TINY = np.float32(1e-30)


class Best:
    """The best left rows of each right row, of blocks of scores as they come."""

    def __init__(self, size: int, count: int, error: float) -> None:
        self.count, self.error = count, 2 * error
        self.floor = np.full(size, _TINY, dtype=np.float32)  # least score that can be among a right row's best
        self.found: list[tuple[Ints, Ints, Weights]] = []
        self.waiting = 0
        self.most = 2 * size * count

    def look(self, scores: Weights, first: int) -> None:
        """One block more, whose first row is ``first``."""
        if not self.found and len(scores) > self.count:
            np.maximum(self.floor, np.partition(scores, len(scores) - self.count, axis=0)[-self.count] - self.error, out=self.floor)
        row, column = _where(scores >= self.floor)
        self.found.append((row + first, column, scores[row, column]))
        self.waiting += len(row)
        if self.waiting > self.most:
            self._cut()

    def pairs(self) -> tuple[Ints, Ints]:
        """Positions on the left and on the right."""
        self._cut()
        return self.found[0][0], self.found[0][1]

    def _cut(self) -> None:
        nothing = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
        row, column, score = (np.concatenate(of) for of in zip(nothing, *self.found, strict=True))
        # By column, then the highest first: floats above 0, as scores are, have the order of their bits. One sort of whole numbers is
        # several times as quick as a lexsort.
        order = np.argsort((column << 32) - score.view(np.uint32).astype(np.int64))
        row, column, score = row[order], column[order], score[order]
        start = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]])) if len(column) else column
        size = np.diff(np.concatenate([start, [len(column)]]))
        full = size >= self.count
        last = start[full] + self.count - 1
        if self.count:
            self.floor[column[last]] = np.maximum(self.floor[column[last]], score[last] - self.error)
        keep = score >= self.floor[column]
        self.found = [(row[keep], column[keep], score[keep])]
        self.waiting = 0


class Index:
    """Right rows by term: the terms that many rows have as a matrix, the others as postings."""

    def __init__(self, right: Rows, left: Rows) -> None:
        postings = right.turned()
        df_left = np.bincount(left.term, minlength=right.width) / max(1, len(left))
        df_right = postings.counts / max(1, len(right))
        common = np.flatnonzero(df_left * df_right * POSTING > 1.0)
        if len(common) > MOST_COMMON:
            common = np.sort(common[np.argsort(-(df_left * df_right)[common], kind="stable")[:MOST_COMMON]])
        self.size = len(right)
        self.place = np.full(right.width, -1, dtype=np.int32)
        self.place[common] = np.arange(len(common), dtype=np.int32)
        self.common = _dense(right, self.place, len(common))
        # numpy adds by int64 positions five times as fast as by int32.
        self.start, self.row, self.weight = postings.start, postings.term.astype(np.int64), postings.weight

    def scores(self, left: Rows, block: slice) -> npt.NDArray[np.float32]:
        """Products of these left rows with all of the index, float32 of shape (block, rows)."""
        mine = left.take(np.arange(block.start, block.stop))
        with threads.arithmetic(threads.thread_count()):
            scores = _dense(mine, self.place, self.common.shape[1]) @ self.common.T
        rare = self.place[mine.term] < 0
        for position in range(len(mine)):
            own = slice(int(mine.start[position]), int(mine.start[position + 1]))
            terms, weights = mine.term[own][rare[own]], mine.weight[own][rare[own]]
            if len(terms):
                self._add(terms, weights, scores[position])
        return scores

    def _add(self, terms: Terms, weights: Weights, into: Weights) -> None:
        starts, ends = self.start[terms], self.start[terms + 1]
        slices = [slice(*ends) for ends in zip(starts.tolist(), ends.tolist(), strict=True)]
        amount = np.concatenate([self.weight[own] for own in slices])
        amount *= np.repeat(weights, ends - starts)
        np.add.at(into, np.concatenate([self.row[own] for own in slices]), amount)

    def error(self, left: Rows, block: slice) -> Weights:
        """How wrong each row's scores can be, for rows of length 1 at most."""
        count = left.counts[block] + self.common.shape[1] + 8
        return np.asarray(count * 2.0**-24, dtype=np.float32)


def scores(left: Rows, right: Rows, rows: Ints, columns: Ints, *, check: Check | None = None, scratch: int = 1 << 22) -> Floats:
    """Products of listed pairs in float64, in their order; quickest where pairs of one left row are together."""
    found = np.zeros(len(rows))
    height = max(1, scratch // max(1, left.width))
    table = np.zeros(height * left.width)
    for number, pairs in enumerate(_parts(rows, columns, right, height), 1):
        lefts, which = np.unique(rows[pairs], return_inverse=True)
        for step in range(0, len(lefts), height):  # one step but where pairs are in no order
            some = lefts[step : step + height]
            mine = left.take(some)
            place = np.repeat(np.arange(len(some)) * left.width, mine.counts) + mine.term
            table[place] = mine.weight
            inside = np.flatnonzero((which >= step) & (which < step + height))
            at, begin = entries(right.start, columns[pairs][inside])
            own = np.repeat((which[inside] - step) * left.width, np.diff(begin))
            own += right.term[at]
            filled = np.flatnonzero(np.diff(begin))
            if len(filled):
                amount = table[own] * right.weight[at]
                found[pairs.start + inside[filled]] = np.add.reduceat(amount, begin[:-1][filled])
            table[place] = 0.0
        if check and number % 16 == 0:
            check()
    return found


def _parts(rows: Ints, columns: Ints, right: Rows, height: int, most: int = 1 << 20) -> Iterator[slice]:
    """Pairs cut so that each part has at most so many left rows, where they are in order, and about so many entries."""
    grown = np.concatenate([[0], np.cumsum(right.counts[columns])])
    new = np.concatenate([[0], np.cumsum(rows[1:] != rows[:-1])]) if len(rows) else rows
    first = 0
    while first < len(rows):
        last = min(
            int(np.searchsorted(new, new[first] + height)),
            max(first + 1, int(np.searchsorted(grown, grown[first] + most, side="right")) - 1),
        )
        yield slice(first, last)
        first = last


def _dense(rows: Rows, place: Terms, width: int) -> Weights:
    """The terms that have a place, as a matrix."""
    column = place[rows.term]
    chosen = np.flatnonzero(column >= 0)
    dense = np.zeros((len(rows), width), dtype=np.float32)
    row = np.repeat(np.arange(len(rows), dtype=np.int64), rows.counts)
    dense[row[chosen], column[chosen]] = rows.weight[chosen]
    return dense


def _floor(scores: Weights, k: int) -> Weights:
    """At most the k-th highest of each row and nearly equal to it: the k-th highest of the maxima of many small groups."""
    width = scores.shape[1]
    if width <= k:
        return np.zeros(len(scores), dtype=np.float32)
    groups = min(width, max(64, 8 * k))
    starts = np.linspace(0, width, groups, endpoint=False).astype(np.int64)
    peaks = np.maximum.reduceat(scores, starts, axis=1)
    return np.asarray(np.partition(peaks, groups - k, axis=1)[:, groups - k])


def _where(mask: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Rows and columns; quicker than nonzero, which looks at a matrix element by element."""
    flat = np.flatnonzero(mask)
    return flat // mask.shape[1], flat % mask.shape[1]


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
