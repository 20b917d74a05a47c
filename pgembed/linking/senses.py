"""Senses: what vectors and words say about which row a mention means, compared directly and through maps that labels teach.

Three things have a vector: the text (q), the surface by itself (s) and the row's context (d). Each has its side's mean taken away and
length 1 (Mu and Viswanath 2018, https://arxiv.org/abs/1702.01417). What is compared, for each candidate:

    meaning     cosine of q - 0.3 s and d: what the text says beyond the surface, which all candidates share
    context     q . d
    surface     s . d: what the surface means where nothing stands around it
    both        cosine of q - 0.3 s and d - 0.3 s
    beyond      cosine of q and d - 0.6 s
    typical     cosine of d and the mean of the mention's candidates
    near        cosine of q and the mean of the neighbours' vectors
    nearest     the greatest q . d of a neighbour
    overlap     words that text and context share, by rarity, the surface's left out
    overlap_near  the same with the neighbours' contexts, over the root of their number (Banerjee and Pedersen 2003,
                https://www.ijcai.org/Proceedings/03/Papers/116.pdf)
    associated  cosine of what the words of the text, the surface's left out, and of the context are associated with; see `associations`
    associated_near  the same with the mean of the neighbours' contexts
    associated_both  the same with the sum of context and neighbours
    sense       all together: log-odds among the mention's candidates

Until labels are learned from, `sense` is a sum with six round weights. Then it is a sum with learned ones, and an inner product: the
mention (q - 0.3 s, s, what its words are associated with) and the row (d, the neighbours' mean, its types, what its and the neighbours'
words are associated with) go through a matrix each into one space. The loss is the contrastive one over the candidates of a mention, all
other senses being negatives: -log of the right one's share of the exponentials.
Inputs are dropped out (Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html) and maps of different seeds are averaged
(Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474), because labels are few for so many numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.linking.associations import Associations
from pgembed.linking.contract import Floats, Ints, Vectors

PARTS = (
    "meaning", "context", "surface", "both", "beyond", "typical", "near", "nearest", "overlap", "overlap_near",
    "associated", "associated_near", "associated_both",
)  # fmt: skip
COLUMNS = (*PARTS, "sense")
WEIGHTS = {  # of `sense`, before any label
    "meaning": 15.0, "near": 1.5, "overlap": 0.06, "overlap_near": 0.2, "associated": 3.0, "associated_both": 6.0,
}  # fmt: skip

EQUAL = 0.5  # log-odds
OWN, BEYOND = 0.3, 0.6  # of the surface that is taken from the text, and from the row
_SURFACE, _NEAR, _TYPE = 0.5, 0.5, 0.3  # how much of the lesser inputs the maps are given
_PART = 20_000  # pairs at a time


@dataclass(frozen=True)
class Sides:
    """What is compared: candidates ordered by mention, and the vectors they refer to.

    Attributes:
        text, surface: float32 (n, dim) of length 1; `text_of`, `surface_of` say of each mention which is its own.
        row, near: float32 (rows, dim), less the mean of rows: of each row its own vector and its neighbours' mean, of length 1; zeros
            where there is none.
        types: of each row.
        mention, candidate: of each pair the numbers of its mention and row.
        nearest, overlap, overlap_near: of each pair, as `nearest_of` and words say; see PARTS. `nearest` is filled in by `parts`.
        words: which words go together.
        said, told, told_near: of each mention, row and row's neighbours the sum of their words' vectors there, of length 1 or zeros.
        around, around_of, around_row: vectors of neighbours, and of each (neighbour, row) pair which they are.
    """

    text: Vectors
    text_of: Ints
    surface: Vectors
    surface_of: Ints
    row: Vectors
    near: Vectors
    types: Sequence[Sequence[str]]
    mention: Ints
    candidate: Ints
    overlap: Vectors
    overlap_near: Vectors
    around: Vectors
    around_of: Ints
    around_row: Ints
    words: Associations
    said: Vectors
    told: Vectors
    told_near: Vectors


@dataclass(frozen=True)
class Means:
    """What is taken away from texts and surfaces; of rows it is taken away before. Zeros as long as nothing is known."""

    text: Vectors
    surface: Vectors


@dataclass(frozen=True)
class Learned:
    """What labels taught.

    Attributes:
        space: of the vectors.
        row_mean: what is taken away from rows.
        means: from texts and surfaces.
        weight: of the parts' deviations from their mean among a mention's candidates.
        types: those that the right side knows.
        words: which words go together; kept, because maps know words by these vectors.
        left, right: float32 (inputs, maps * rank), divided by the root of the number of maps; None where labels were few.
    """

    space: str
    row_mean: Vectors
    means: Means
    weight: Floats
    types: tuple[str, ...]
    words: Associations
    left: Vectors | None
    right: Vectors | None

    def score(self, measured: Vectors, sides: Sides) -> Floats:
        """`sense` of each pair.

        Args:
            measured: from `parts`, with `means`.
        """
        odds = deviations(measured, sides.mention) @ self.weight
        if self.left is None or self.right is None:
            return odds
        left = left_inputs(sides, self.means) @ self.left
        right = right_inputs(sides, self.types) @ self.right
        return odds + dots(left, sides.mention, right, sides.candidate)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """A form to store: arrays without objects. Maps in half precision."""
        none = np.zeros((0, 0), np.float16)
        return {
            "space": np.array(self.space),
            "row_mean": self.row_mean,
            "text_mean": self.means.text,
            "surface_mean": self.means.surface,
            "weight": self.weight,
            "types": np.array(self.types, dtype=np.str_),
            **self.words.arrays(),
            "left": none if self.left is None else self.left.astype(np.float16),
            "right": none if self.right is None else self.right.astype(np.float16),
        }

    @classmethod
    def from_arrays(cls, stored: Mapping[str, npt.NDArray[np.generic]]) -> Learned:
        """The inverse of `arrays`.

        Raises:
            InvalidParameter: they are of another version.
        """
        try:
            dim = len(stored["row_mean"])
            means = Means(_single(stored["text_mean"]), _single(stored["surface_mean"]))
            weight, left, right = stored["weight"].astype(np.float64), _single(stored["left"]), _single(stored["right"])
            types = tuple(str(one) for one in stored["types"])
            words = Associations.from_arrays(stored)
            of_left, of_right = 2 * dim + words.vectors.shape[1], 2 * dim + 2 * words.vectors.shape[1] + len(types)
            fits = len(weight) == len(PARTS) and left.shape[0] in (0, of_left) and right.shape[0] in (0, of_right)
            if not fits or left.shape[1] != right.shape[1] or len(means.text) != dim or len(means.surface) != dim:
                raise ValueError
            maps = (left, right) if left.size else (None, None)
            return cls(str(stored["space"]), _single(stored["row_mean"]), means, weight, types, words, *maps)
        except (KeyError, ValueError, TypeError):
            raise InvalidParameter(
                "what was learned of meaning is of another version of pgembed", hint="Train the linker again: CALL pgembed.train_linker()."
            ) from None


def no_means(sides: Sides) -> Means:
    """Nothing to take away."""
    return Means(np.zeros(sides.text.shape[1], np.float32), np.zeros(sides.surface.shape[1], np.float32))


def untrained(measured: Vectors, mention: Ints) -> Floats:
    """`sense` before any label."""
    made: Floats = deviations(measured, mention) @ np.array([WEIGHTS.get(name, 0.0) for name in PARTS])
    return made


def parts(sides: Sides, means: Means) -> Vectors:
    """The columns of PARTS: float32 (pairs, len(PARTS)), NaN where a row or all its neighbours have no vector."""
    if not len(sides.mention):
        return np.zeros((0, len(PARTS)), np.float32)
    q, s, d = away(sides.text, means.text), away(sides.surface, means.surface), sides.row
    mention, row = sides.mention, sides.candidate
    text, surface = sides.text_of[mention], sides.surface_of[mention]
    qd, sd, qs = dots(q, text, d, row), dots(s, surface, d, row), dots(q, text, s, surface)
    fresh = starts(mention)
    number = np.repeat(np.arange(len(fresh)), np.diff(fresh, append=len(mention)))
    both = unit(sides.told + sides.told_near)
    middle = unit(np.add.reduceat(d[row], fresh, axis=0))
    made = np.stack(
        [
            (qd - OWN * sd) / _length(qs, OWN),
            qd,
            sd,
            (qd - OWN * sd - OWN * qs + OWN**2) / (_length(qs, OWN) * _length(sd, OWN)),
            (qd - BEYOND * qs) / _length(sd, BEYOND),
            dots(middle, number, d, row),
            dots(q, text, sides.near, row),
            _nearest(q, text, sides),
            sides.overlap,
            sides.overlap_near,
            dots(sides.said, mention, sides.told, row),
            dots(sides.said, mention, sides.told_near, row),
            dots(sides.said, mention, both, row),
        ],
        axis=1,
    ).astype(np.float32)
    made[~np.any(d, axis=1).take(row), : PARTS.index("near")] = np.nan
    lonely = np.bincount(sides.around_row, minlength=len(d))[row] == 0
    made[lonely, PARTS.index("near") : PARTS.index("overlap")] = np.nan
    for at, told in enumerate((sides.told, sides.told_near, both), PARTS.index("associated")):
        made[~np.any(told, axis=1).take(row), at] = np.nan
    return made


def starts(mention: Ints) -> Ints:
    """Where the candidates of each mention begin."""
    return np.flatnonzero(np.append(True, mention[1:] != mention[:-1])) if len(mention) else np.zeros(0, np.int64)


def deviations(values: Vectors, mention: Ints) -> Floats:
    """Each value less the mean of the known ones of its mention; 0 where unknown."""
    if not len(values):
        return np.zeros(values.shape)
    fresh = starts(mention)
    known = ~np.isnan(values)
    exact = np.where(known, values, 0.0).astype(np.float64)
    mean = np.add.reduceat(exact, fresh) / np.maximum(np.add.reduceat(known.astype(np.float64), fresh), 1)
    made: Floats = np.where(known, exact - np.repeat(mean, np.diff(fresh, append=len(mention)), axis=0), 0.0)
    return made


def unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Rows of length 1; a row of zeros stays one."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    made: Vectors = (vectors / np.where(length > 0, length, 1)[:, None]).astype(np.float32)
    return made


def away(vectors: Vectors, mean: Vectors) -> Vectors:
    """Rows of length 1 less a mean, of length 1 again; a row of zeros stays one."""
    return unit(np.where(np.any(vectors, axis=1, keepdims=True), unit(vectors) - mean, np.float32(0)))


def dots(left: Vectors, of_left: Ints, right: Vectors, of_right: Ints) -> Vectors:
    """Inner products of rows, pair by pair."""
    made = np.empty(len(of_left), np.float32)
    for at in range(0, len(of_left), _PART):
        here = slice(at, at + _PART)
        np.einsum("ij,ij->i", left[of_left[here]], right[of_right[here]], out=made[here])
    return made


def _length(cosine: Vectors, share: float) -> Vectors:
    """Of a - share * b, for a and b of length 1."""
    made: Vectors = np.sqrt(np.maximum(1 - 2 * share * cosine + share**2, np.float32(1e-6)))
    return made


def _nearest(q: Vectors, text: Ints, sides: Sides) -> Vectors:
    """Of each pair the greatest cosine of a neighbour of its row."""
    order = np.argsort(sides.around_row, kind="stable")
    count = np.bincount(sides.around_row, minlength=len(sides.row))
    begin = np.cumsum(count) - count
    many = count[sides.candidate]
    pair = np.repeat(np.arange(len(many)), many)
    at = np.arange(len(pair)) - np.repeat(np.cumsum(many) - many, many) + begin[sides.candidate][pair]
    cosine = dots(q, text[pair], sides.around, sides.around_of[order][at])
    most = np.full(len(many), -np.inf, np.float32)
    np.maximum.at(most, pair, cosine)
    return most


def left_inputs(sides: Sides, means: Means) -> Vectors:
    """Of each mention what the maps are given."""
    q, s = away(sides.text, means.text)[sides.text_of], away(sides.surface, means.surface)[sides.surface_of]
    return np.concatenate([unit(q - np.float32(OWN) * s), np.float32(_SURFACE) * s, sides.said], axis=1)


def right_inputs(sides: Sides, types: Sequence[str]) -> Vectors:
    """Of each row what the maps are given."""
    number = {kind: at for at, kind in enumerate(types)}
    table = np.zeros((len(sides.row), len(types)), np.float32)
    for row, kinds in enumerate(sides.types):
        known = [number[kind] for kind in kinds if kind in number]
        table[row, known] = _TYPE / max(1, len(known)) ** 0.5
    return np.concatenate([sides.row, np.float32(_NEAR) * sides.near, table, sides.told, np.float32(_NEAR) * sides.told_near], axis=1)


def _single(stored: npt.NDArray[np.generic]) -> Vectors:
    return stored.astype(np.float32)
