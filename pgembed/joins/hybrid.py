"""Candidates of a join by several similarities at once: dense vectors, words, character n-grams, tokens with digits.

They fail on different pairs: a vector knows that two names mean the same, and n-grams that two numbers of models differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgembed import lexical
from pgembed.errors import InvalidParameter
from pgembed.joins import hubs, neighbours
from pgembed.joins.hubs import HUBS, Hub
from pgembed.joins.neighbours import BLOCK_BYTES, Bools, Check, Floats, Ints, Metric, Vectors
from pgembed.lexical import sparse

# What each similarity weighs in the fused score.
WEIGHTS = {"dense": 0.5, "words": 1.0, "characters": 1.0, "numbers": 0.5}
# A fused score looks at so many candidates of each similarity, and at least at twice as many as are asked for.
DEPTH = 32
BACK = hubs.NEIGHBOURS  # and at so many of each right row, which say how much of a hub it is
# Groups of at most so many pairs are compared pair by pair.
SMALL_GROUP = 4_096


@dataclass(frozen=True)
class Candidates:
    """Pairs of a left and a right row, ordered by left row, then fused score, the best first, then right row.

    Attributes:
        left, right: positions in the two inputs.
        rank: counts a left row's pairs from 1.
        score: fused, bigger is better; only comparable within one join.
        distance: of the vectors; NaN where a side has none, and for a zero vector under cosine.
        similarity: of each pair "words", "characters" and "numbers", cosines from 0 to 1, and where there are vectors "dense": the
            cosine, or for the other metrics 1 / (1 + distance) and the inner product; 0 where there is no distance.
    """

    left: Ints
    right: Ints
    rank: Ints
    score: Floats
    distance: Floats
    similarity: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.left)

    def where(self, keep: Bools | Ints) -> Candidates:
        """The pairs for which keep is true, or those at these places; with the ranks they had."""
        return Candidates(
            self.left[keep],
            self.right[keep],
            self.rank[keep],
            self.score[keep],
            self.distance[keep],
            {name: values[keep] for name, values in self.similarity.items()},
        )


@dataclass(frozen=True)
class Texts:
    """Both sides' different texts as sparse rows, ``parts``, and of each row which of them is its own, ``left`` and ``right``.

    Equal texts are cut, weighed and searched once: else a table with thousands of equal ones would put them all forward for every row
    that is like them.
    """

    parts: dict[lexical.Kind, tuple[lexical.Rows, lexical.Rows]]
    left: Ints
    right: Ints

    @classmethod
    def of(cls, left: Sequence[str], right: Sequence[str], check: Check | None) -> Texts:
        """The different texts of both sides."""
        sides: list[dict[str, int]] = [{}, {}]
        own = [
            np.asarray([seen.setdefault(text, len(seen)) for text in texts], dtype=np.int64)
            for seen, texts in zip(sides, (left, right), strict=True)
        ]
        return cls(lexical.rows(list(sides[0]), list(sides[1]), check), own[0], own[1])

    def take(self, left: Ints, right: Ints) -> Texts:
        """Only these rows, with the weights that they have among all."""
        mine, own = np.unique(self.left[left], return_inverse=True)
        theirs, other = np.unique(self.right[right], return_inverse=True)
        return Texts({kind: (a.take(mine), b.take(theirs)) for kind, (a, b) in self.parts.items()}, own, other)

    def turned(self) -> Texts:
        """Seen from the right."""
        return Texts({kind: (b, a) for kind, (a, b) in self.parts.items()}, self.right, self.left)

    def beside(self) -> tuple[lexical.Rows, lexical.Rows]:
        """Both sides with the terms of all kinds, so that one product is the weighted sum of all similarities."""
        factors = [WEIGHTS[kind] ** 0.5 for kind in self.parts]
        left, right = zip(*self.parts.values(), strict=True)
        return sparse.beside(left, factors), sparse.beside(right, factors)

    def rows(self, left: Ints, right: Ints, score: Floats, k: int) -> tuple[Ints, Ints]:
        """The k best pairs of every left row, from pairs of texts."""
        best = neighbours.best(left, right, -score, k)
        at, member = _members(best.right, self.right, k)
        best = neighbours.best(best.left[at], member, best.distance[at], k)
        at, member = _members(best.left, self.left, len(self.left))
        return member, best.right[at]


def candidates(
    left_texts: Sequence[str],
    right_texts: Sequence[str],
    left_vectors: Vectors | None = None,
    right_vectors: Vectors | None = None,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    allowed: tuple[Sequence[int] | Ints, Sequence[int] | Ints] | None = None,
    groups: tuple[Ints, Ints] | None = None,
    same: bool = False,
    hub: Hub = "soft",
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Candidates:
    """The k right rows of each left row that are most like it by all similarities together.

    Args:
        left_texts, right_texts: one text a row; '' is like nothing.
        left_vectors, right_vectors: float32 of shapes (n, dim) and (m, dim), finite; None on either side: texts only.
        k: pairs a left row, at least 1.
        metric: of the vectors, as in `neighbours.nearest`.
        allowed: the only pairs that may come out, as positions on the left and on the right, each pair once; None allows all.
        groups: of each left and of each right row a code of at least 0; only rows of equal codes are compared. None: all are. Not
            together with ``allowed``.
        same: both sides are the same rows in the same order, and no row is its own candidate.
        hub: how right rows that are like everything are put back, see `hubs.penalty`.
        check: called between blocks, a few times a second, so that a cancel takes effect.
        block_bytes: the size of one block of scores; the whole is about five times that, and the rows of terms.
    Returns:
        Fewer than k pairs for a row with fewer candidates; none for a row that has neither a vector nor a term in common with any.
    Raises:
        InvalidParameter: k < 1, an unknown metric or hub, as many texts as vectors are not there, ``allowed`` with ``groups``.
        DimensionMismatch: the sides' dims differ.

    Candidates are each left row's best `DEPTH` (or 2 k) by vector and by all texts' similarities together, and each right row's best
    `BACK` by each; with ``allowed`` all that are listed. All similarities of each are computed, not only the one that found it:
    score = sum of `WEIGHTS` times similarity, minus the right row's `hubs.penalty`.
    """
    if k < 1:
        raise InvalidParameter(f"k must be at least 1, not {k}", hint="k is the number of right rows for each left row.")
    if hub not in HUBS:
        raise InvalidParameter(f'hub "{hub}" does not exist', hint=f"Known are: {', '.join(HUBS)}.")
    if allowed is not None and groups is not None:
        raise InvalidParameter("listed pairs and groups exclude each other", hint="List only the pairs of equal groups.")
    vectors = None
    if left_vectors is not None and right_vectors is not None:
        vectors = neighbours.checked(left_vectors, right_vectors, metric)
        for side, texts, rows in (("left", left_texts, vectors[0]), ("right", right_texts, vectors[1])):
            if len(texts) != len(rows):
                raise InvalidParameter(f"{len(texts)} {side} texts, but {len(rows)} {side} vectors", hint="Each row has one of both.")
    depth = max(DEPTH, 2 * k)
    cut = Texts.of(left_texts, right_texts, check)
    if not len(left_texts) or not len(right_texts):
        allowed, groups = ([], []), None
    if allowed is not None:
        left, right = (np.asarray(side, dtype=np.int64) for side in allowed)
    elif groups is not None:
        left, right = _grouped(cut, vectors, groups, depth, metric, same, check, block_bytes)
    else:
        left, right = _searched(cut, vectors, depth, metric, same, check, block_bytes)
    if same:
        left, right = left[left != right], right[left != right]
    scored = _scored(cut, vectors, left, right, metric, check, block_bytes)
    score = scored.score - hubs.penalty(right, scored.score, len(right_texts), hub)[right]
    order = np.lexsort((right, -score, left))
    found = Candidates(left, right, scored.rank, score, scored.distance, scored.similarity).where(order)
    _, start, count = np.unique(found.left, return_index=True, return_counts=True)
    found.rank[:] = np.arange(len(found)) - np.repeat(start, count) + 1
    return found.where(found.rank <= k)


def _scored(
    texts: Texts,
    vectors: tuple[Vectors, Vectors] | None,
    left: Ints,
    right: Ints,
    metric: Metric,
    check: Check | None,
    block_bytes: int,
) -> Candidates:
    """All similarities of pairs, their weighted sum as score; rank is not set."""
    similarity: dict[str, Floats] = {}
    distance = np.full(len(left), np.nan)
    if vectors is not None:
        for part in neighbours.blocks(len(left), max(1, block_bytes // (16 * max(1, vectors[0].shape[-1])))):
            distance[part] = neighbours.exact(vectors[0][left[part]], vectors[1][right[part]], metric)
            if check:
                check()
        similarity["dense"] = np.nan_to_num({"cosine": 1 - distance, "l2": 1 / (1 + distance), "inner_product": -distance}[metric])
    for kind, (mine, theirs) in texts.parts.items():
        similarity[kind] = lexical.scores(mine, theirs, texts.left[left], texts.right[right], check=check)
    score = sum((WEIGHTS[name] * values for name, values in similarity.items()), np.zeros(len(left)))
    return Candidates(left, right, np.ones(len(left), dtype=np.int64), score, distance, similarity)


def _searched(
    texts: Texts,
    vectors: tuple[Vectors, Vectors] | None,
    depth: int,
    metric: Metric,
    same: bool,
    check: Check | None,
    block_bytes: int,
) -> tuple[Ints, Ints]:
    """Pairs that are worth a look, each once, ordered by left, then right."""
    mine, theirs = texts.beside()
    left, right = lexical.nearest(mine, theirs, depth + same, BACK + same, check=check, block_bytes=block_bytes)
    if len(mine) < len(texts.left) or len(theirs) < len(texts.right):
        score = lexical.scores(mine, theirs, left, right, check=check)
        back = texts.turned().rows(right, left, score, BACK + same)
        found = [texts.rows(left, right, score, depth + same), (back[1], back[0])]
    else:
        found = [(_places(texts.left)[left], _places(texts.right)[right])]
    if vectors is not None:
        near = neighbours.nearest(*vectors, depth, metric=metric, same=same, check=check, block_bytes=block_bytes)
        turned = neighbours.nearest(vectors[1], vectors[0], BACK, metric=metric, same=same, check=check, block_bytes=block_bytes)
        found += [(near.left, near.right), (turned.right, turned.left)]
    m = len(texts.right)
    both = sparse.once(np.concatenate([left * m + right for left, right in found]))
    return both // m, both % m


def _grouped(
    texts: Texts,
    vectors: tuple[Vectors, Vectors] | None,
    groups: tuple[Ints, Ints],
    depth: int,
    metric: Metric,
    same: bool,
    check: Check | None,
    block_bytes: int,
) -> tuple[Ints, Ints]:
    """As `_searched` within each group; of small groups all pairs."""
    left_code, right_code = (np.asarray(codes, dtype=np.int64) for codes in groups)
    left_order, right_order = np.argsort(left_code, kind="stable"), np.argsort(right_code, kind="stable")
    left_sorted, right_sorted = left_code[left_order], right_code[right_order]
    lefts: list[Ints] = []
    rights: list[Ints] = []
    for code in np.intersect1d(left_sorted, right_sorted):
        own = left_order[slice(*np.searchsorted(left_sorted, [code, code + 1]))]
        other = right_order[slice(*np.searchsorted(right_sorted, [code, code + 1]))]
        if len(own) * len(other) <= SMALL_GROUP:
            lefts.append(np.repeat(own, len(other)))
            rights.append(np.tile(other, len(own)))
            continue
        within = None if vectors is None else (vectors[0][own], vectors[1][other])
        left, right = _searched(texts.take(own, other), within, depth, metric, same, check, block_bytes)
        lefts.append(own[left])
        rights.append(other[right])
    nothing = [np.empty(0, dtype=np.int64)]
    return np.concatenate(nothing + lefts), np.concatenate(nothing + rights)


def _places(own: Ints) -> Ints:
    """Of each text the row that it is of, where no two rows have the same."""
    place = np.empty(len(own), dtype=np.int64)
    place[own] = np.arange(len(own))
    return place


def _members(wanted: Ints, group: Ints, limit: int) -> tuple[Ints, Ints]:
    """The first rows of each wanted group, at most limit: which of wanted it is, and the row."""
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], wanted)
    count = np.minimum(np.searchsorted(group[order], wanted, side="right") - start, limit)
    place = np.repeat(np.arange(len(wanted)), count)
    within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return place, order[start[place] + within]
