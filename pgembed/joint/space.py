"""Rows in the joint space: nearest ones, and how well pairs fit, in all and by block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pgembed.joint.features import Inputs, Ints, Vectors
from pgembed.joint.maps import Maps

_SHORT = 4  # a part of each block by which few of many rows are chosen
_FEW = 20_000  # rows up to which all of them are compared in full
_MORE = 8  # times as many are compared in full as are asked for, 512 at least
_PART = 16_000_000  # scores that are held at a time
_PAIRS = 4_096  # pairs that are compared at a time


@dataclass(frozen=True)
class Space:
    """Rows mapped once.

    Attributes:
        maps: of both sides.
        rows: float32 (rows, maps.dim).
    """

    maps: Maps
    rows: Vectors

    def replaced(self, at: Ints, changed: Inputs) -> Space:
        """With other contents of some rows; words are as rare as they were. A row's number may be the next free one."""
        size = max(len(self.rows), int(at.max(initial=-1)) + 1)
        rows = np.zeros((size, self.rows.shape[1]), np.float32)
        rows[: len(self.rows)] = self.rows
        rows[at] = self.maps.right(changed)
        return replace(self, rows=rows)

    def nearest(self, left: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None = None) -> tuple[Ints, Vectors]:
        """The k rows that fit best, best first, rows of one score by their number.

        Above 20,000 rows, 512 or more of them are chosen by the first quarter of each block, which is a random projection as the whole is,
        and only these are compared in full.

        Args:
            left: float32 (n, dim) from `Maps.left`.
            allowed: of each row whether it may be meant; None: all.
        Returns:
            Rows int64 and scores float32 (n, k); fewer columns where there are fewer rows.
        """
        open_ = np.arange(len(self.rows)) if allowed is None else np.flatnonzero(allowed)
        k = min(k, len(open_))
        rows = np.zeros((len(left), k), np.int64)
        score = np.zeros((len(left), k), np.float32)
        if not k:
            return rows, score
        wide = max(512, _MORE * k)
        short = len(open_) > max(_FEW, wide)
        step = max(1, _PART // len(open_))
        for first in range(0, len(left), step):
            here = left[first : first + step]
            if short:
                axes, scale, prefix = self._short
                rough = (here[:, axes] * scale) @ (prefix if allowed is None else prefix[open_]).T
                chosen = open_[np.argpartition(-rough, wide - 1, axis=1)[:, :wide]]
                full = np.stack([self.rows[some] @ vector for some, vector in zip(chosen, here, strict=True)])
            else:
                full = here @ (self.rows if allowed is None else self.rows[open_]).T
                chosen = np.broadcast_to(open_, full.shape)
            if k < full.shape[1]:
                at = np.argpartition(-full, k - 1, axis=1)[:, :k]
                full, chosen = np.take_along_axis(full, at, 1), np.take_along_axis(chosen, at, 1)
            order = np.lexsort((chosen, -full), axis=1)
            rows[first : first + step] = np.take_along_axis(chosen, order, 1)
            score[first : first + step] = np.take_along_axis(full, order, 1)
        return rows, score

    @cached_property
    def _short(self) -> tuple[Ints, Vectors, Vectors]:
        """Some dimensions, what their products count, and the rows in these."""
        axes, scale, begin = [], [], 0
        for at, size in enumerate(self._sizes):
            kept = -(-size // _SHORT) if at < len(self.maps.plan.blocks) else size
            axes.append(np.arange(begin, begin + kept))
            scale.append(np.full(kept, size / max(1, kept), np.float32))
            begin += size
        chosen = np.concatenate(axes)
        return chosen, np.concatenate(scale), np.ascontiguousarray(self.rows[:, chosen])

    def scores(self, left: Vectors, thing: Ints, row: Ints) -> Vectors:
        """Of pairs how well they fit: float32 (pairs, 1 + parts), in all and by part of the space, named by `parts`."""
        bounds = np.cumsum([0, *self._sizes])
        out = np.zeros((len(thing), len(bounds)), np.float32)
        for first in range(0, len(thing), _PAIRS):
            products = left[thing[first : first + _PAIRS]] * self.rows[row[first : first + _PAIRS]]
            out[first : first + _PAIRS, 1:] = np.add.reduceat(products, bounds[:-1], axis=1)
        out[:, 0] = out[:, 1:].sum(1)
        return out

    @property
    def parts(self) -> list[str]:
        """Names of the parts that `scores` tells apart: blocks, words associated by learning, form, dense inputs."""
        maps = self.maps
        forms = ["form"] if self.maps.forms else []
        return [*(block.zone for block in maps.plan.blocks), "association", *forms, *maps.dense]

    @property
    def _sizes(self) -> list[int]:
        maps = self.maps
        sizes = [*(block.size for block in maps.plan.blocks), maps.plan.rank, *([self.maps.forms] if self.maps.forms else [])]
        return sizes + [matrix.shape[1] for _, matrix in maps.dense.values()]


def space(maps: Maps, rows: Inputs) -> Space:
    """Rows mapped with these maps."""
    return Space(maps, maps.right(rows))
