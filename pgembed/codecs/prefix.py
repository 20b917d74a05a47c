"""prefix: fewer dimensions, as pgvector's halfvec.

A code is the first dimensions of a vector in some basis, rounded to float16: pgvector's own operators and indexes know it. Where the
metric is cosine it is scaled to length 1, so that each of pgvector's operators orders codes alike, and by cosine. Of what lies in the
dimensions that are left out nothing is known but that vectors are as long as others in all; a cosine of what is left orders better than
its inner product or its distance (64 of 384 dimensions by PCA, Debian's packages: of 100 neighbours 53 are among the ten first by inner
product, 54 by distance and 59 by cosine). A zero vector's code is zero, which pgvector's cosine distance answers with NaN.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pgembed import errors
from pgembed.codecs.contract import Codec, Codes, Options, Shape, Space, array_of, whole
from pgembed.models import basis

# Rows of a sample, and queries, that mixes of LeanVec are compared with.
_MOST_ROWS, _MOST_QUERIES = 10_000, 400
_MIXES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_NEIGHBOURS, _CANDIDATES = 10, 50

_PAGE_BYTES = 1 << 18  # of float32, that stay in the processor's cache


class Prefix(Codec):
    """What codecs of fewer dimensions have in common.

    Arrays: ``rest``, float32 of shape (1,), the squared length that codes of the sample lack on average, for distances of metric l2.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"dims": None}  # None: a third of the vector's

    def __init__(self, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(space, options, arrays)
        self._dims = int(options["dims"])

    @abstractmethod
    def _reduced(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Prepared vectors in fewer dimensions, before they are scaled: float32, shape (n, dims)."""

    @property
    def shape(self) -> Shape:
        return Shape("halfvec", self._dims)

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return Space(self._dims, self.space.metric, self.space.metric == "cosine").prepared(self._reduced(vectors))

    def _encode(self, vectors: NDArray[np.float32]) -> Codes:
        with np.errstate(over="ignore"):
            made = self._scaled(vectors).astype(np.float16)
        if not np.isfinite(made).all():
            raise errors.LimitExceeded(
                "a number of a vector is out of range for type halfvec, whose greatest is 65504",
                hint="Scale the vectors, or choose another method: int8 and lvq hold numbers of any size.",
            )
        return made

    def points(self, codes: Codes) -> NDArray[np.float32]:
        return _floats(codes)

    def squares(self, codes: Codes, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(super().squares(codes, points) + self.arrays["rest"][0], dtype=np.float32)

    def _project(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        made = self._scaled(queries)
        if self.space.metric != "cosine":
            return made
        # as long as the query was, whose length the distance divides by
        return np.asarray(made * np.linalg.norm(queries, axis=1)[:, None], dtype=np.float32)

    def scorer(self, query: NDArray[np.float32]) -> Callable[[Codes], NDArray[np.float32]]:
        asked = self._checked(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        short = self._project(asked)

        rows = max(1, _PAGE_BYTES // (4 * self._dims))

        def score(codes: Codes) -> NDArray[np.float32]:
            made = np.empty(len(codes), dtype=np.float32)
            for first in range(0, len(codes), rows):
                some = codes[first : first + rows]
                points = self.points(some)
                made[first : first + rows] = self._from_products(asked, short @ points.T, some, points)[0]
            return made

        return score


class Matryoshka(Prefix):
    """The first ``dims`` dimensions as they are: of models that were trained so that a prefix is a vector (Kusupati et al. 2022,
    https://arxiv.org/abs/2205.13147), and of vectors that are stored in a PCA basis. Of others it is the worst choice here."""

    method: ClassVar[str] = "matryoshka"

    @classmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        dims = dimensions(space, options)
        return cls(space, {"dims": dims}, {"rest": rest(sample, sample[:, :dims])})

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(space, {"dims": dimensions(space, options)}, {"rest": array_of(arrays, "rest", np.float32, (1,))})

    def _reduced(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(vectors[:, : self._dims])

    def expression(self, vector: str, schema: str) -> str:
        short = f"{schema}.subvector({vector}, 1, {self._dims})"
        return f"({f'{schema}.l2_normalize({short})' if self.space.metric == 'cosine' else short})::{schema}.halfvec({self._dims})"


class Projection(Prefix):
    """A matrix before the prefix: array ``matrix``, float32 of shape (dims, dim)."""

    @classmethod
    def of(cls, space: Space, matrix: NDArray[np.float32], sample: NDArray[np.float32]) -> Self:
        """The codec of a matrix."""
        held = np.ascontiguousarray(matrix, dtype=np.float32)
        return cls(space, {"dims": len(held)}, {"matrix": held, "rest": rest(sample, sample @ held.T)})

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        dims = dimensions(space, options)
        matrix = array_of(arrays, "matrix", np.float32, (dims, space.dim))
        return cls(space, {"dims": dims}, {"matrix": matrix, "rest": array_of(arrays, "rest", np.float32, (1,))})

    def _reduced(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        # In float64, since BLAS adds in another order for another number of rows: what that changes is then far below what a code holds,
        # and a vector has the same code in any batch.
        return np.asarray(vectors.astype(np.float64) @ self._exact.T, dtype=np.float32)

    @cached_property
    def _exact(self) -> NDArray[np.float64]:
        return np.asarray(self.arrays["matrix"], dtype=np.float64)


class Pca(Projection):
    """The eigenvectors of the sample's second moment with the greatest eigenvalues: no other matrix of as many rows keeps more of the
    squared length. Not centred: with cosines of centred vectors 2 in 100 neighbours fewer were found."""

    method: ClassVar[str] = "pca"

    @classmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        dims = dimensions(space, options)
        return cls.of(space, basis.pca(sample, check=check).matrix[:dims], sample)


class LeanVec(Projection):
    """Dimensions that documents vary in and queries ask for: eigenvectors of ``(1 - beta) K_X / tr K_X + beta K_Q / tr K_Q``, the mix of
    the second moments of both (the eigenvector variant of LeanVec, Tepper et al. 2023, https://arxiv.org/abs/2312.16335).

    The paper chooses beta by the loss in inner products. With some hundred queries that fits the mix to those very queries: on two
    collections it took 0.66 where 0 finds 3 to 5 in 100 neighbours more. So here each half of the queries chooses dimensions for the
    other half, and what is compared is how many of the 10 nearest rows of the sample are among 50 candidates; beta is 0 unless another
    one is better by more than two standard errors. Array ``beta``, float32 of shape (1,), is what was chosen.
    """

    method: ClassVar[str] = "leanvec"

    @classmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        """As documented; with no queries there is nothing for it to do that pca does not.

        Raises:
            errors.InvalidParameter: fewer than 2 queries, or nothing but zeros.
        """
        dims = dimensions(space, options)
        if queries is None or len(queries) < 2:
            raise errors.InvalidParameter(
                f"leanvec needs queries to learn from, and got {0 if queries is None else len(queries)}",
                hint="Name a table of queries: queries => '...', queries_column => '...'; or take method pca, which needs none.",
            )
        of_rows = _moment(sample)
        asked = queries[np.random.default_rng(seed).permutation(len(queries))]
        rows = sample[:_MOST_ROWS]
        halves = asked[: len(asked) // 2][:_MOST_QUERIES], asked[len(asked) // 2 :][:_MOST_QUERIES]
        moments = [_moment(half) for half in (asked[: len(asked) // 2], asked[len(asked) // 2 :])]
        nearest = [_nearest(space, half, rows, _NEIGHBOURS) for half in halves]

        def found(beta: float) -> NDArray[np.float64]:
            """Of each query the share of its neighbours that are among the candidates."""
            shares = []
            for half, mine, other in zip(halves, nearest, moments[::-1], strict=True):
                check()
                codec = cls.of(space, _leading((1 - beta) * of_rows + beta * other, dims), rows[:1])
                short = Space(dims, space.metric)
                candidates = _nearest(short, codec._scaled(half), codec._scaled(rows), _CANDIDATES)
                shares += [np.isin(wanted, got).mean() for wanted, got in zip(mine, candidates, strict=True)]
            return np.array(shares)

        without = found(0.0)
        beta, best = 0.0, 0.0
        for mix in _MIXES[1:]:
            gain = found(mix) - without
            if gain.mean() > max(best, 2 * float(gain.std()) / len(gain) ** 0.5):
                beta, best = mix, float(gain.mean())
        made = cls.of(space, _leading((1 - beta) * of_rows + beta * _moment(asked), dims), sample)
        made.arrays["beta"] = np.array([beta], dtype=np.float32)
        return made

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        made = super().build(space, options, arrays)
        made.arrays["beta"] = array_of(arrays, "beta", np.float32, (1,))
        return made


def dimensions(space: Space, options: Mapping[str, Any]) -> int:
    """Option ``dims``, checked.

    Raises:
        errors.InvalidParameter: it is not from 1 to the vector's.
    """
    return whole(
        {"dims": max(1, space.dim // 3), **{key: value for key, value in options.items() if value is not None}}, "dims", 1, space.dim
    )


def rest(sample: NDArray[np.float32], reduced: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean squared length that vectors have and their reduced ones lack: float32, shape (1,)."""
    lost = np.einsum("ij,ij->i", sample, sample, dtype=np.float64) - np.einsum("ij,ij->i", reduced, reduced, dtype=np.float64)
    return np.array([max(0.0, float(lost.mean()))], dtype=np.float32)


def _floats(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Finite numbers of float16 as float32, exactly, in a seventh of the time that numpy takes: the bits are moved to their places, and
    the exponent is put right by a multiplication. (halfvec holds nothing that is not finite.)"""
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= -0x70002000  # sign, exponent and mantissa: 0x8fffe000
    made = bits.view(np.float32)
    made *= np.float32(2.0**112)
    return made


def _moment(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The second moment of rows, scaled to trace 1; of nothing but zeros an error."""
    exact = rows.astype(np.float64)
    moment: NDArray[np.float64] = exact.T @ exact
    trace = float(np.trace(moment))
    if not trace > 0:
        raise errors.InvalidParameter(
            f"no projection can be fitted to {len(rows)} vectors of zeros", hint="Name a column with vectors that are not zero."
        )
    return moment / trace


def _leading(moment: NDArray[np.float64], dims: int) -> NDArray[np.float32]:
    """The eigenvectors of the greatest eigenvalues as rows, of each its greatest number positive."""
    rows = np.linalg.eigh(moment)[1].T[::-1][:dims]
    greatest = rows[np.arange(dims), np.abs(rows).argmax(axis=1)]
    return np.asarray(rows * np.where(greatest < 0, -1.0, 1.0)[:, None], dtype=np.float32)


def _nearest(space: Space, queries: NDArray[np.float32], rows: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The k nearest rows of each query in no order: int64, shape (m, k). Vectors are prepared, so cosine is the inner product."""
    near = queries @ rows.T
    if space.metric == "l2":
        near -= np.einsum("ij,ij->i", rows, rows) / 2
    return np.argpartition(-near, min(k, len(rows)) - 1, axis=1)[:, :k]
