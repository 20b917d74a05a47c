"""blocks: both sides of a join chunk by chunk, each left chunk with all of the right side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pgembed import errors, progress
from pgembed.database import Database
from pgembed.joining import costs, memory, probing, reading
from pgembed.joining.contract import Part, Request
from pgembed.joins import neighbours
from pgembed.joins.pairing import Ints, Pairs, Tell, concatenated, empty, merged
from pgembed.models import threads


class Join:
    """One join under way."""

    def __init__(self, db: Database, request: Request) -> None:
        self.db, self.request = db, request
        codes: dict[str, int] = {}
        self.left = reading.Reader(db, request.left, codes, request.encode)
        self.right = reading.Reader(db, request.right, codes, request.encode)
        self.room = max(request.memory // 2, request.memory - threads.thread_count() * memory.THREAD)
        self.done = 0
        self.expected = [int(costs.estimated(db, side)) for side in (request.left, request.right)]
        self.total: int | None = self.expected[0] or None
        self.pairs_bytes = 0

    def parts(self) -> Iterator[Part]:
        """The pairs of the left side chunk by chunk."""
        for chunk in self.left.chunks(self._left_size):
            self._fits()
            if chunk.last:
                self.total = chunk.start + len(chunk)
            if chunk.last and chunk.start == 0 and len(chunk) < self.request.few:
                self.request = replace(self.request, k=self.request.k_few)
            if chunk.last and chunk.start == 0 and self._probes(len(chunk)):
                yield probing.part(self.db, self.request, chunk, self.left.places, self._probing)
            else:
                pairs = self._pairs(chunk)
                rows = np.arange(chunk.start, chunk.start + len(chunk))
                yield self._part(pairs, rows)
            self.done = chunk.start + len(chunk)
            progress.tell(self.db, self.done, self.total)
        self._forget()

    def mutual_parts(self) -> Iterator[Part]:
        """The same of pairs that are among the k nearest of both their rows: what one direction found is looked for in the other."""
        forward = self._gathered(self)
        if not len(forward):
            yield self._part(forward, np.arange(len(self.left.places)))
            return
        other = Join(self.db, replace(self.request, left=self.request.right, right=self.request.left, mutual=False))
        other.left.codes = other.right.codes = self.left.codes
        back = self._gathered(other)
        known = np.sort(back.right * len(self.right.places) + back.left)
        ours = forward.left * len(self.right.places) + forward.right
        place = np.minimum(np.searchsorted(known, ours), max(0, len(known) - 1))
        keep = known[place] == ours if len(known) else np.zeros(len(forward), dtype=bool)
        yield self._part(forward.where(keep), np.arange(len(self.left.places)))

    def _gathered(self, join: Join) -> Pairs:
        found: list[Pairs] = []
        held = 0
        for chunk in join.left.chunks(join._left_size):
            join._fits()
            pairs = join._pairs(chunk)
            found.append(pairs)
            held += 32 * len(pairs)
            if 4 * held > self.request.memory:
                raise memory.too_many_pairs(chunk.start + len(chunk), self.request.k, 4 * held, self.request.memory)
            join.done = chunk.start + len(chunk)
            progress.tell(self.db, join.done, join.total)
        join._forget()
        return concatenated(found)

    def _pairs(self, chunk: reading.Chunk) -> Pairs:
        """The pairs of one chunk of the left side with all of the right side, which is kept where it fits."""
        request = self.request
        leading = empty()
        reach = None if request.max_distance is None else np.full(len(chunk), request.max_distance)
        for other in self._right_chunks(chunk):
            if not len(other) or not len(chunk):
                del other
                continue
            if other.vectors.shape[1] != chunk.vectors.shape[1]:
                raise errors.DimensionMismatch(
                    f"the left side has vectors of {chunk.vectors.shape[1]} dimensions, the right side of {other.vectors.shape[1]}",
                    hint="Join columns whose vectors are of one model.",
                )
            codes = None if chunk.groups is None or other.groups is None else (chunk.groups, other.groups)
            wanted = None if request.k is None else request.k + request.same  # a row itself comes up too, and is left out below
            found = neighbours.nearest(
                chunk.vectors,
                other.vectors,
                wanted,
                metric=request.metric,
                max_distance=request.max_distance,
                not_equal=request.not_equal,
                codes=codes,
                reach=reach,
                recall=request.search_recall,
                check=self.db.check_interrupts,
                tell=self._teller(chunk, other),
            )
            found = Pairs(found.left, found.right + other.start, found.distance, found.rank)
            if request.same:
                found = found.where(found.left + chunk.start != found.right)
            most = max(1, len(found) + len(leading)) if request.k is None else request.k
            leading = merged([leading, found], most)
            if memory.PAIR * len(leading) > self.room:
                raise memory.too_many_pairs(chunk.start + len(chunk), request.k, memory.PAIR * len(leading), request.memory)
            if request.k is not None and not other.last:
                reach = np.full(len(chunk), np.inf) if reach is None else reach.copy()
                last = leading.where(leading.rank == request.k)
                reach[last.left] = np.minimum(reach[last.left], last.distance)
            del other, found  # before the next ones are made
        return Pairs(leading.left + chunk.start, leading.right, leading.distance, leading.rank)

    def _teller(self, chunk: reading.Chunk, other: reading.Chunk) -> Tell:
        """Tells how much of the left side is done: a row counts as far as the right side was seen."""
        before, size, seen = self.done, len(other), other.start + len(other)
        every = seen if other.last else max(seen, self.expected[1], len(self.right.places))
        start = other.start * len(chunk)
        return lambda rows: progress.tell(self.db, before + (start + rows * size) // max(1, every), self.total)

    def _right_chunks(self, chunk: reading.Chunk) -> Iterator[reading.Chunk]:
        """The right side: read once and kept where it fits beside the left chunk, else read again for each of these."""
        if self._kept is not None:
            yield self._kept
            return
        for other in self.right.chunks(lambda dim: self._right_size(chunk, dim)):
            self._fits()
            if other.last and other.start == 0 and not chunk.last:
                self._kept = other
            yield other
            del other  # before the next one is read

    _kept: reading.Chunk | None = None

    def _left_size(self, dim: int) -> int:
        """Rows of a chunk of the left side: half of the room with their pairs."""
        room = self.room - self.left.held - self.right.held - (self._kept.vectors.nbytes * 2 if self._kept is not None else 0)
        k = self.request.k or 1
        rows = max(room, self.room // 8) // 2 // (self._row(dim) + memory.PAIR * min(k, 1 << 20))
        if rows < 1:
            raise memory.too_many_pairs(1, k, memory.PAIR * k, self.request.memory)
        return int(rows)

    def _right_size(self, chunk: reading.Chunk, dim: int) -> int:
        """Rows of a chunk of the right side: what the left chunk leaves."""
        k = self.request.k or 1
        taken = len(chunk) * (self._row(dim) + memory.PAIR * k) + self.left.held + self.right.held
        return max(1, (max(self.room - taken, self.room // 8)) // self._row(dim))

    def _row(self, dim: int) -> int:
        # the vector, and at most two thirds as many numbers of its prefix
        return memory.ROW + dim * 4 * 5 // 3

    def _fits(self) -> None:
        for reader in (self.left, self.right):
            if reader.held > self.request.memory // 2:
                raise reading.over(reader, self.request.memory)

    def _probes(self, rows: int) -> bool:
        """Whether single rows of the right side are looked up, now that the number of left rows is known."""
        right = self.request.right
        hidden = costs.hides(self.db, right)
        self._probing = costs.choices(self.request, float(rows), float(self.expected[1]), hidden=hidden)[0]
        return self._probing.strategy != "product"

    def _part(self, pairs: Pairs, rows: Ints) -> Part:
        return Part(
            pairs.left,
            pairs.right,
            pairs.distance,
            pairs.rank,
            self.left.places.at(pairs.left),
            self.right.places.at(pairs.right),
            self.left.places.at(rows),
        )

    def _forget(self) -> None:
        self._kept = None
