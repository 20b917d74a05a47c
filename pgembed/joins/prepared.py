"""The two sides of a join in the form in which a product is a score: the larger, the nearer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.joins import pairing
from pgembed.joins.pairing import Floats, Ints, Metric, Vectors

# Norms outside of this are brought into it first, so that squares neither overflow nor vanish.
_SANE = (1e-12, 1e12)


@dataclass(frozen=True)
class Side:
    """Vectors in the form in which the largest score is the nearest.

    Attributes:
        rows: float32 (n, dim), as given; first: positions of those that take part, None for all.
        norm: float64 of those that take part, of what `block` gives; scale: what they are multiplied with, one number or one for each.
    """

    rows: Vectors
    first: Ints | None
    metric: Metric
    norm: Floats
    scale: Floats
    centre: Floats | None
    direct: bool

    def __len__(self) -> int:
        return len(self.norm)

    @property
    def largest(self) -> float:
        """What all components were divided by, 1 under cosine."""
        return 1.0 / float(self.scale) if self.scale.ndim == 0 else 1.0

    def part(self, positions: Ints) -> Side:
        """Some of those that take part."""
        first = positions if self.first is None else self.first[positions]
        scale = self.scale if self.scale.ndim == 0 else self.scale[positions]
        return Side(self.rows, first, self.metric, self.norm[positions], scale, self.centre, self.direct)

    def given(self, part: slice) -> Vectors:
        """The vectors themselves."""
        return self.rows[part] if self.first is None else self.rows[self.first[part]]

    def at(self, positions: Ints) -> Vectors:
        """The vectors at some positions."""
        return self.rows[positions if self.first is None else self.first[positions]]

    def block(self, part: slice) -> Vectors:
        """Float32: of length 1 under cosine; else with components of at most 1, for l2 relative to the right side's mean."""
        given = self.given(part)
        scale = self.scale if self.scale.ndim == 0 else self.scale[part, None]
        if self.direct:
            return given * scale.astype(np.float32)
        wide = given.astype(np.float64)
        if self.centre is not None:
            wide -= self.centre
        return (wide * scale).astype(np.float32)


def sides(left: Vectors, right: Vectors, metric: Metric, first: tuple[Ints | None, Ints | None] = (None, None)) -> tuple[Side, Side]:
    """Both sides, prepared.

    Args:
        first: positions of the rows that take part, None for all. Under cosine none of them may be a zero vector.
    """
    largest = pairing.largest_component(left, right)
    centre = right.mean(axis=0, dtype=np.float64) if metric == "l2" else None
    made = []
    for rows, taking in ((left, first[0]), (right, first[1])):
        size = len(rows) if taking is None else len(taking)
        square = np.empty(size)
        bare = Side(rows, taking, metric, square, np.asarray(1.0 / largest), centre, False)
        for part in pairing.blocks(size, 1024):
            wide = bare.given(part).astype(np.float64)
            if centre is not None:
                wide -= centre
            wide /= largest
            square[part] = np.einsum("ij,ij->i", wide, wide)
        norm = np.sqrt(square)
        absolute = norm * largest
        sane = centre is None and len(norm) > 0 and _SANE[0] < absolute.min() and absolute.max() < _SANE[1]
        if metric == "cosine":
            made.append(Side(rows, taking, metric, np.ones(size), 1.0 / absolute, None, sane))
        else:
            made.append(Side(rows, taking, metric, norm, np.asarray(1.0 / largest), centre, sane))
    return made[0], made[1]


def lowest_score(distance: Floats, metric: Metric, largest: float) -> Vectors:
    """A score that no pair as near as that is below, but for the error of the product.

    Args:
        largest: what all components were divided by.
    """
    if metric == "cosine":
        # distances are clipped to 0 and 2, where scores are not
        low = np.where(distance >= 2.0, -np.inf, 1.0 - distance)
    elif metric == "l2":
        low = -((distance / largest) ** 2) / 2
    else:
        low = -distance / largest**2
    # rounded down; what the float64 of a distance may be wrong by is nothing beside it
    return np.nextafter((low - np.abs(low) * 1e-6 - 1e-7 * (metric == "cosine")).astype(np.float32), np.float32(-np.inf))
