"""candidates: the pairs of a join that its condition lets through, with all that is known of how alike their rows are.

Vectors, texts or both put candidates forward. What only PostgreSQL can say of a pair (the rest of a condition) is asked about the nearest
first: in rounds that look deeper where too few have passed, and at last about every pair of the rows that still lack some, so that k are
found where k exist, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pgembed.database import Database
from pgembed.joining.conditions import Conditions
from pgembed.joining.loading import Loaded
from pgembed.joining.rendering import placed

if TYPE_CHECKING:
    from pgembed.joins.hubs import Hub
    from pgembed.joins.hybrid import Candidates
    from pgembed.joins.neighbours import Bools, Ints, Metric, Pairs, Vectors

# Fewer pairs than this are listed at once; so many may be under way.
LISTED = 1_000_000
# Pairs that PostgreSQL is asked about in one statement.
ASKED = 100_000
# How deep the rounds look before all pairs are listed.
DEPTHS = (32, 256)


@dataclass(frozen=True)
class Search:
    """What puts pairs forward.

    Attributes:
        groups: of each row on the left and on the right a code, of which only equal ones are compared; None compares all.
        same: both sides are the same rows in the same order.
        not_equal: of vectors alone, equal ones are no pair.
        kind: dense, lexical or hybrid.
    """

    left: Loaded
    right: Loaded
    metric: Metric
    groups: tuple[Ints, Ints] | None
    same: bool
    not_equal: bool
    kind: str
    hub: Hub
    check: Callable[[], None]

    def nearest(self, k: int | None, allowed: tuple[Ints, Ints] | None = None, *, max_distance: float | None = None) -> Candidates:
        """The k best of each left row, of all pairs or of those listed.

        Args:
            k: None, of vectors alone: all within max_distance.
        """
        from pgembed.joins import hybrid, neighbours

        left, right = self.left.vectors, self.right.vectors
        if self.kind != "dense":
            return hybrid.candidates(
                self.left.texts,
                self.right.texts,
                left if self.kind == "hybrid" else None,
                right if self.kind == "hybrid" else None,
                k or max(1, len(self.right)),
                metric=self.metric,
                allowed=allowed,
                groups=None if allowed is not None else self.groups,
                same=self.same,
                hub=self.hub,
                check=self.check,
            )
        assert left is not None
        assert right is not None
        if self.is_folded:
            return as_candidates(self._folded(left, right, k, allowed, max_distance), self.metric)
        if allowed is None:
            pairs = neighbours.nearest(
                left,
                right,
                k,
                metric=self.metric,
                max_distance=max_distance,
                same=self.same,
                not_equal=self.not_equal,
                codes=self.groups,
                check=self.check,
            )
        else:
            pairs = neighbours.among(left, right, cast("Any", allowed), metric=self.metric, same=self.same, check=self.check)
            pairs = pairs if k is None else pairs.where(pairs.rank <= k)
            pairs = pairs if max_distance is None else pairs.where(pairs.distance <= max_distance)
        return as_candidates(pairs, self.metric)

    @property
    def is_folded(self) -> bool:
        """Whether rows of a side have several vectors."""
        return self.left.owners is not None or self.right.owners is not None

    def _folded(self, left: Vectors, right: Vectors, k: int | None, allowed: tuple[Ints, Ints] | None, max_distance: float | None) -> Pairs:
        """`nearest` where rows have several vectors: of the nearest of these."""
        from pgembed.joins import folding

        rows = (self.left.rows, self.right.rows)
        if allowed is None:
            codes = None if self.groups is None else (self.groups[0][rows[0]], self.groups[1][rows[1]])
            return folding.nearest(
                left, right, rows, k, metric=self.metric, max_distance=max_distance, same=self.same, codes=codes, check=self.check
            )
        pairs = folding.among(left, right, rows, allowed, metric=self.metric, same=self.same, check=self.check)
        pairs = pairs if k is None else pairs.where(pairs.rank <= k)
        return pairs if max_distance is None else pairs.where(pairs.distance <= max_distance)

    def mapped(self) -> Candidates:
        """By vectors alone: every row in one pair at most, the nearest pair of all first."""
        import numpy as np

        from pgembed.joins import mapping

        left, right = self.left.vectors, self.right.vectors
        assert left is not None
        assert right is not None
        if self.groups is None:
            return as_candidates(mapping.one_to_one(left, right, metric=self.metric, same=self.same, check=self.check), self.metric)
        parts = []
        mine, theirs = self.groups
        for code in np.intersect1d(mine, theirs):
            own, other = np.flatnonzero(mine == code), np.flatnonzero(theirs == code)
            itself = self.same and len(own) == len(other) and bool((own == other).all())
            pairs = mapping.one_to_one(left[own], right[other], metric=self.metric, same=itself, check=self.check)
            part = as_candidates(pairs, self.metric)
            part.left[:], part.right[:] = own[part.left], other[part.right]
            parts.append(part)
        return merged(parts)

    def mutual(self, k: int) -> Ints:
        """By vectors alone: keys (left * right rows + right) of the pairs that are among the k nearest of both their rows."""
        import numpy as np

        from pgembed.joins import neighbours

        left, right = self.left.vectors, self.right.vectors
        assert left is not None
        assert right is not None
        if self.is_folded:
            near, back = self.nearest(k), self.turned().nearest(k)
            keys = near.left * len(self.right) + near.right
            mutual: Ints = keys[np.isin(keys, back.right * len(self.right) + back.left)]
            return mutual
        pairs = neighbours.nearest(
            left,
            right,
            k,
            metric=self.metric,
            same=self.same,
            not_equal=self.not_equal,
            mutual=True,
            codes=self.groups,
            check=self.check,
        )
        return pairs.left * len(right) + pairs.right

    def turned(self) -> Search:
        """The same seen from the right."""
        groups = None if self.groups is None else self.groups[::-1]
        return replace(self, left=self.right, right=self.left, groups=groups)


def as_candidates(pairs: Any, metric: Metric) -> Candidates:
    """Pairs of vectors as candidates: the nearer the better."""
    import numpy as np

    from pgembed.joins.hybrid import Candidates

    alike = {"cosine": 1 - pairs.distance, "l2": 1 / (1 + np.abs(pairs.distance)), "inner_product": -pairs.distance}[metric]
    return Candidates(pairs.left, pairs.right, pairs.rank, alike, pairs.distance, {"dense": alike})


def merged(several: Sequence[Candidates]) -> Candidates:
    """Candidates of different left rows, put together in order."""
    import numpy as np

    from pgembed.joins.hybrid import Candidates

    names = several[0].similarity if several else {}
    none = np.empty(0, dtype=np.int64)
    if not several:
        return Candidates(none, none, none, none.astype(float), none.astype(float), {"dense": none.astype(float)})
    together = Candidates(
        np.concatenate([one.left for one in several]),
        np.concatenate([one.right for one in several]),
        np.concatenate([one.rank for one in several]),
        np.concatenate([one.score for one in several]),
        np.concatenate([one.distance for one in several]),
        {name: np.concatenate([one.similarity[name] for one in several]) for name in names},
    )
    return ranked(together)


def corrected(found: Candidates, rights: int, hub: Hub) -> Candidates:
    """Candidates by their score less what a right row's own best pairs say of it.

    Args:
        found: with the best pairs of each right row among them.
        rights: number of right rows.
    """
    from pgembed.joins import hubs

    return ranked(replace(found, score=found.score - hubs.penalty(found.right, found.score, rights, hub)[found.right]))


def turned(found: Candidates) -> Candidates:
    """The same pairs, in the same order, with left and right exchanged."""
    return replace(found, left=found.right, right=found.left)


def united(one: Candidates, other: Candidates, rights: int) -> Candidates:
    """The candidates of both, each pair once.

    Args:
        rights: number of right rows.
    """
    import numpy as np

    fresh = ~np.isin(other.left * rights + other.right, one.left * rights + one.right)
    return merged([one, other.where(fresh)])


def ranked(found: Candidates) -> Candidates:
    """In order, with ranks that count from 1."""
    import numpy as np

    found = found.where(np.lexsort((found.right, -found.score, found.left)))
    _, start, count = np.unique(found.left, return_index=True, return_counts=True)
    found.rank[:] = np.arange(len(found)) - np.repeat(start, count) + 1
    return found


def passing(
    search: Search, k: int, refused: Callable[[Candidates], Bools], listing: Callable[[Ints], Iterator[tuple[Ints, Ints]]]
) -> Candidates:
    """The k best pairs of each left row that are not refused, where there are so many.

    Args:
        refused: which of some candidates are none.
        listing: left rows -> all their pairs that may pass, in parts that have all pairs of their left rows.
    """
    import numpy as np

    n, m = len(search.left), len(search.right)
    open_rows = np.arange(n)
    done: list[Candidates] = []
    if n * m > LISTED:
        for depth in (max(one, 4 * k) for one in DEPTHS):
            found = search.nearest(depth)
            found = found.where(np.isin(found.left, open_rows))
            seen = np.bincount(found.left, minlength=n)
            kept = found.where(~refused(found))
            enough = (np.bincount(kept.left, minlength=n) >= k) | (seen < depth if search.kind == "dense" else False)
            done.append(kept.where(enough[kept.left]))
            open_rows = open_rows[~enough[open_rows]]
            if not len(open_rows):
                break
    for allowed in listing(open_rows) if len(open_rows) else ():
        found = search.nearest(max(k, m), allowed)
        done.append(found.where(~refused(found)))
    found = merged(done)
    return found.where(found.rank <= k)


@dataclass(frozen=True)
class Asking:
    """Asks PostgreSQL about pairs."""

    db: Database
    conditions: Conditions
    left: Loaded
    right: Loaded

    def turned(self) -> Asking:
        """The same seen from the right: l and r are still what they were."""
        return replace(
            self,
            conditions=replace(self.conditions, left=self.conditions.right, right=self.conditions.left),
            left=self.right,
            right=self.left,
        )

    def refused(self, left: Ints, right: Ints) -> Bools:
        """Which of some pairs the rest of the condition does not let through."""
        import numpy as np

        out = np.ones(len(left), dtype=bool)
        if not self.conditions.rest:
            return ~out
        one, other = self.conditions.left, self.conditions.right
        statement = (
            "SELECT pg_catalog.array_agg(p.position) AS passing"
            " FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY AS p (left_place, right_place, position)"
            f" {placed(one, 'left_place')} {placed(other, 'right_place')} WHERE {self.conditions.rest}"
        )
        for start in range(0, len(left), ASKED):
            lefts, rights = left[start : start + ASKED].tolist(), right[start : start + ASKED].tolist()
            found = self.db.execute(
                statement,
                ["pg_catalog.jsonb", "pg_catalog.text[]", "pg_catalog.text[]"],
                [self.conditions.params, [self.left.places[i] for i in lefts], [self.right.places[j] for j in rights]],
            )[0]["passing"]
            out[np.asarray(found or [], dtype=np.int64) - 1 + start] = False
        return out

    def listing(self, rows: Ints, groups: tuple[Ints, Ints] | None) -> Iterator[tuple[Ints, Ints]]:
        """All pairs of some left rows, and of equal groups, that the rest of the condition lets through."""
        import numpy as np

        m = len(self.right)
        at = {place: position for position, place in enumerate(self.right.places)}
        every = np.arange(m)
        size = max(1, LISTED // max(1, m))
        for start in range(0, len(rows), size):
            mine = rows[start : start + size]
            if self.conditions.rest and m and len(at) == m:
                found = self._listed([self.left.places[i] for i in mine.tolist()])
                known = [(i, at[place]) for i, place in found if place in at]
                left = mine[np.asarray([i for i, _ in known], dtype=np.int64)] if known else np.empty(0, dtype=np.int64)
                right = np.asarray([j for _, j in known], dtype=np.int64)
            else:
                # rows that are equal in all, of a view, have one place: asked about one by one
                left, right = np.repeat(mine, m), np.tile(every, len(mine))
                keep = ~self.refused(left, right)
                left, right = left[keep], right[keep]
            if groups is not None:
                keep = groups[0][left] == groups[1][right]
                left, right = left[keep], right[keep]
            yield left, right

    def _listed(self, places: list[str]) -> list[tuple[int, str]]:
        """Position in places, and place of a right row, of all pairs that pass."""
        one, other = self.conditions.left, self.conditions.right
        over = f"({other.source.where}) AND " if other.source.where else ""
        # the right side's own parameters keep their numbers
        types = [*(other.source.types or ("pg_catalog.jsonb",)), "pg_catalog.text[]"]
        values = [*(other.source.values or (self.conditions.params,)), places]
        found = self.db.execute(
            f"SELECT pg_catalog.array_agg(p.position - 1) AS positions, pg_catalog.array_agg({other.source.place}) AS places"
            f" FROM pg_catalog.unnest(${len(types)}) WITH ORDINALITY AS p (left_place, position) {placed(one, 'left_place')}"
            f" CROSS JOIN {other.source.relation} AS {other.source.alias} WHERE {over}{self.conditions.rest}",
            types,
            values,
        )[0]
        return list(zip(found["positions"] or (), found["places"] or (), strict=True))
