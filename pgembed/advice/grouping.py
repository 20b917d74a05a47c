"""grouping: few covering indexes for many shapes of filters.

A btree index is read between two places of its order, so its keys are the columns that a filter compares for equality, then one that it
bounds; every other column that the filter reads is carried along, so that the rows need not be looked up for it. Two shapes share an index
where the equalities of one are among those of the other: these come first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pgembed.advice.shapes import BY_EQUALITY, RANGE, Shape


@dataclass(frozen=True)
class Use:
    """A shape and how it is used.

    Attributes:
        searches: that used it.
        rows: that pass on average, as PostgreSQL estimates.
        written: the filter itself, where the caller has given it.
    """

    shape: Shape
    searches: int
    rows: float
    written: str | None = None

    @property
    def equal(self) -> frozenset[str]:
        """Columns compared for equality."""
        return frozenset(name for term in self.shape.terms if term.form in BY_EQUALITY for name in term.columns)

    @property
    def ranged(self) -> tuple[str, ...]:
        """Columns bounded and not compared for equality."""
        found = dict.fromkeys(name for term in self.shape.terms if term.form == RANGE for name in term.columns)
        return tuple(name for name in found if name not in self.equal)


@dataclass(frozen=True)
class Covering:
    """An index that serves some uses.

    Attributes:
        equal: key columns of equalities, those that all uses have first.
        bounded: the key column after them; None for none.
        also: what else the uses' filters read.
    """

    equal: tuple[str, ...]
    bounded: str | None
    also: frozenset[str]
    uses: tuple[Use, ...]

    @property
    def keys(self) -> list[str]:
        """Key columns, in order."""
        return [*self.equal, *([self.bounded] if self.bounded else [])]

    @property
    def carried(self) -> list[str]:
        """Columns of filters that are no keys, by name."""
        return sorted(self.also - set(self.keys))


def covering(uses: Sequence[Use], spread: Callable[[str], float], fits: Callable[[Covering], bool]) -> list[Covering]:
    """Indexes for shapes that have a column to find rows by, those used most first; shapes that have none are left out.

    Args:
        spread: how many different values a column has: of two equalities the more selective comes first.
        fits: whether an index may be; of a merge that may not be, each part is asked for by itself.
    """
    made: list[Covering] = []
    for use in sorted(uses, key=lambda one: (-one.searches * one.rows, one.shape.text)):
        alone = _alone(use, spread)
        if alone is None:
            continue
        for position, other in enumerate(made):
            both = _merged(other, alone, spread)
            if both is not None and fits(both):
                made[position] = both
                break
        else:
            made.append(alone)
    return made


def _alone(use: Use, spread: Callable[[str], float]) -> Covering | None:
    equal = tuple(sorted(use.equal, key=lambda name: (-spread(name), name)))
    bounded = min(use.ranged, key=lambda name: (-spread(name), name)) if use.ranged else None
    if not equal and bounded is None:
        return None
    return Covering(equal, bounded, frozenset(use.shape.columns), (use,))


def _merged(one: Covering, other: Covering, spread: Callable[[str], float]) -> Covering | None:
    """An index that serves both, each by its first keys; None where there is none."""
    small, large = sorted((one, other), key=lambda index: len(index.equal))
    if not small.equal and large.equal:
        return None  # a bound must not stand before an equality, nor be searched for behind one that is not asked
    if not small.equal and small.bounded != large.bounded:
        return None
    if not set(small.equal) <= set(large.equal):
        return None
    first = [name for name in one.equal if name in small.equal] if set(one.equal) >= set(small.equal) else list(small.equal)
    # what serves `one` by a prefix must go on doing so
    for index in (one, other):
        for use in index.uses:
            if use.equal and first and first[0] not in use.equal:
                return None
    rest = sorted(set(large.equal) - set(first), key=lambda name: (-spread(name), name))
    bounded = one.bounded or other.bounded
    if small.bounded and rest and small.bounded != large.bounded:
        bounded = large.bounded  # the smaller one's bound is then a condition on entries, which are carried
    return replace(one, equal=(*first, *rest), bounded=bounded, also=one.also | other.also, uses=(*one.uses, *other.uses))
