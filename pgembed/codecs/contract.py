"""contract: what every codec does, and how one is kept as bytes.

A codec turns vectors into codes of one length. A code stands for a point; the distance of a query to a row is estimated as its distance to
that point (*asymmetric*: only the row is compressed), or, of bits, as the number of bits that differ from the query's own code
(*Hamming*, which pgvector's indexes know).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pgembed import errors

Kind = Literal["bits", "bytes", "halfvec"]
Codes = NDArray[Any]  # uint8 (n, bytes) of bits and bytes, float16 (n, dims) of halfvec
Options = dict[str, Any]

_MAGIC = b"pgembed codec 1\n"
_MOST_HEADER = 1 << 20


@dataclass(frozen=True)
class Shape:
    """What a code is in PostgreSQL.

    Attributes:
        kind: ``bits`` (pgembed.binvec or bit), ``bytes`` (a domain over bytea), ``halfvec`` (pgvector's).
        length: in bits, bytes or dimensions.
    """

    kind: Kind
    length: int

    @property
    def bytes(self) -> int:
        """Of one code, without PostgreSQL's own header of the value."""
        return {"bits": (self.length + 7) // 8, "bytes": self.length, "halfvec": 2 * self.length}[self.kind]


@dataclass(frozen=True)
class Space:
    """The vectors that a codec is for.

    Attributes:
        metric: ``cosine``, ``l2`` or ``inner_product``: what distance is estimated.
        normalize: vectors are scaled to length 1 first, which changes no cosine; False where they are of length 1 anyway.
    """

    dim: int
    metric: str
    normalize: bool = False

    def prepared(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors as the codec sees them. A zero vector stays zero."""
        given = np.ascontiguousarray(vectors, dtype=np.float32)
        if not self.normalize:
            return given
        # as l2_normalize() of pgvector: float8 length, each number divided and rounded to float4 once
        lengths = np.sqrt(np.einsum("ij,ij->i", given.astype(np.float64), given.astype(np.float64)))
        made: NDArray[np.float32] = (given / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)
        return made

    def expression(self, vector: str, schema: str) -> str:
        """The same in SQL.

        Args:
            vector: an expression of type vector.
            schema: pgvector's, quoted where it must be.
        """
        return f"{schema}.l2_normalize({vector})" if self.normalize else vector


class Codec(ABC):
    """A trained codec. It never changes.

    Vectors given to `_encode`, `_project` and ``train`` are prepared by the space already.
    """

    method: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]]  # every option of the method, with its default

    def __init__(self, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.space = space
        self.options = options
        self.arrays = dict(arrays)

    @classmethod
    @abstractmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        """See `pgembed.codecs.train`; options are complete, their values are not checked yet."""

    @classmethod
    @abstractmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The codec of what was packed. Nothing of it is trusted.

        Raises:
            errors.InvalidParameter: an array is missing or has another shape or dtype.
        """

    @property
    @abstractmethod
    def shape(self) -> Shape: ...

    @abstractmethod
    def _encode(self, vectors: NDArray[np.float32]) -> Codes:
        """Codes of prepared vectors; those of each vector are the same in any batch."""

    @abstractmethod
    def points(self, codes: Codes) -> NDArray[np.float32]:
        """The points that codes stand for, in the space of `project`: float32, shape (n, p).

        Where an estimate of inner products that is right on average needs a longer or shorter vector than the nearest point, it is that one
        (RaBitQ), and `squares` says the rest.
        """

    def squares(self, codes: Codes, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """The squared length of the vectors that were encoded, as well as codes know: float32, shape (n,). For metric l2."""
        return _row_products(points, points)

    def _project(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Prepared queries in the space of `points`, where an inner product is the inner product of the vectors."""
        return queries

    def _masked(self, queries: NDArray[np.float32]) -> tuple[Codes, Codes] | None:
        """`masked` of prepared queries."""
        return None

    def expression(self, vector: str, schema: str) -> str | None:
        """The encoder in SQL, of pgvector's own functions and constants; None where only `encode` can do it.

        Every operator and function is schema-qualified: pgvector's by ``schema``, PostgreSQL's by pg_catalog. The type is bit, halfvec or
        bytea. ``vector`` is an expression of type vector, not NULL, prepared by the space, that may be evaluated several times.
        """
        return None

    def encode(self, vectors: NDArray[np.float32]) -> Codes:
        """Codes of vectors.

        Args:
            vectors: float32, shape (n, dim).
        Returns:
            Of bits and bytes uint8, shape (n, shape.bytes), the first bit the highest of the first byte, as in PostgreSQL; of halfvec
            float16, shape (n, shape.length).
        Raises:
            errors.DimensionMismatch: the vectors have another dimension than the codec's.
        """
        return self._encode(self._checked(vectors))

    def masked(self, queries: NDArray[np.float32]) -> tuple[Codes, Codes] | None:
        """What of queries to compare with codes of bits, so that bits do not count which a small change of the query would turn.

        A code is as far away as it differs from the query in the bits of the mask: ``popcounts((code & mask) ^ bits)``.

        Args:
            queries: float32, shape (m, dim).
        Returns:
            Bits and masks, uint8, shape (m, shape.bytes) each, laid out as `encode` does; bits outside of the mask are 0. Those of each
            query are the same in any batch. None where codes are no bits.
        Raises:
            errors.DimensionMismatch: the queries have another dimension than the codec's.
        """
        return self._masked(self._checked(queries))

    def distances(self, queries: NDArray[np.float32], codes: Codes) -> NDArray[np.float32]:
        """Estimated distances by the space's metric, as pgvector's operators give them: float32, shape (m, n).

        Cosine distance is estimated as 1 - <q, x> of vectors of length 1.
        """
        points = self.points(codes)
        return self._from_products(self._checked(queries), self._project(self._checked(queries)) @ points.T, codes, points)

    def projected(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries in the space of `points`, where an inner product is the inner product of the vectors: float32, shape (m, p).

        Raises:
            errors.DimensionMismatch: they have another dimension than the codec's.
        """
        return self._project(self._checked(queries))

    def scorer(self, query: NDArray[np.float32]) -> Callable[[Codes], NDArray[np.float32]]:
        """`distances` of one query to many codes, prepared once: of codes, shape (n, ...), it gives float32, shape (n,)."""
        asked = np.ascontiguousarray(query, dtype=np.float32)[None, :]
        self._checked(asked)
        return lambda codes: self.distances(asked, codes)[0]

    def between(self, left: Codes, right: Codes) -> NDArray[np.float32]:
        """Distances of codes side by side, both compressed: float32, shape (n,); of bits the number that differ."""
        if self.shape.kind == "bits":
            return popcounts(np.bitwise_xor(left, right))
        one, other = self.points(left), self.points(right)
        products = _row_products(one, other)
        if self.space.metric == "l2":
            return np.sqrt(_row_products(one - other, one - other))
        return -products if self.space.metric == "inner_product" else 1 - products

    def _from_products(
        self, queries: NDArray[np.float32], products: NDArray[np.float32], codes: Codes, points: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        if self.space.metric == "inner_product":
            return -products
        if self.space.metric == "cosine":
            own = np.sqrt(_row_products(queries, queries))
            return np.asarray(1 - products / np.where(own > 0, own, np.float32(1))[:, None], dtype=np.float32)
        lengths = _row_products(queries, queries)[:, None] + self.squares(codes, points)[None, :]
        squared: NDArray[np.float32] = (lengths - 2 * products).astype(np.float32, copy=False)
        np.maximum(squared, np.float32(0), out=squared)
        return np.sqrt(squared, out=squared)

    def _checked(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if vectors.ndim != 2 or vectors.shape[1] != self.space.dim:
            raise errors.DimensionMismatch(
                f"vectors of shape {vectors.shape} do not fit a codec of {self.space.dim} dimensions",
                hint="A codec encodes vectors of the column it was trained on.",
            )
        return self.space.prepared(vectors)

    @cached_property
    def packed(self) -> bytes:
        """The codec as bytes, the same ones for the same codec; `pgembed.codecs.load` reads them."""
        listed = {name: np.ascontiguousarray(self.arrays[name]) for name in sorted(self.arrays)}
        header = {
            "method": self.method,
            "space": asdict(self.space),
            "options": self.options,
            "arrays": [[name, array.dtype.newbyteorder("<").str, list(array.shape)] for name, array in listed.items()],
        }
        text = json.dumps(header, sort_keys=True).encode()
        parts = [array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in listed.values()]
        return b"".join([_MAGIC, len(text).to_bytes(4, "little"), text, *parts])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides its codes and distances, in hexadecimal digits."""
        return hashlib.sha256(self.packed).hexdigest()


def _row_products(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    made: NDArray[np.float32] = np.einsum("ij,ij->i", left, right)
    return made


_POPCOUNT = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)


def popcounts(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The number of bits that are set in each row: float32, shape (n,)."""
    return np.asarray(_POPCOUNT[codes].sum(axis=1), dtype=np.float32)


@dataclass(frozen=True)
class Header:
    """What stands before the arrays of a packed codec."""

    method: str
    space: Space
    options: Options


def unpack(packed: bytes) -> tuple[Header, dict[str, NDArray[Any]]]:
    """What `Codec.packed` wrote; arrays are of the machine's byte order.

    Raises:
        errors.InvalidParameter: these bytes are not that.
    """
    start = len(_MAGIC) + 4
    try:
        if packed[: len(_MAGIC)] != _MAGIC:
            raise ValueError("they do not begin as one")
        size = int.from_bytes(packed[len(_MAGIC) : start], "little")
        if size > _MOST_HEADER:
            raise ValueError("its header is too long")
        found = json.loads(packed[start : start + size])
        header = Header(str(found["method"]), Space(**found["space"]), dict(found["options"]))
        at, arrays = start + size, {}
        for name, kind, dims in found["arrays"]:
            dtype = np.dtype(kind)
            if dtype.kind not in "fiu":
                raise ValueError(f"array {name} is of no numbers")
            count = int(np.prod([int(dim) for dim in dims], dtype=np.int64))
            if count < 0 or at + count * dtype.itemsize > len(packed):
                raise ValueError(f"array {name} is cut")
            arrays[str(name)] = np.frombuffer(packed, dtype, count, at).reshape(dims).astype(dtype.newbyteorder("="))
            at += count * dtype.itemsize
        if at != len(packed):
            raise ValueError("there is more behind its end")
    except (ValueError, KeyError, TypeError) as error:
        raise errors.InvalidParameter(
            f"{len(packed)} bytes are no codec: {error}", hint="Train the codec anew with this version."
        ) from None
    return header, arrays


def array_of(arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """An array of a packed codec, if it is of this dtype and shape (None: any length) and finite.

    Raises:
        errors.InvalidParameter: it is missing, or is not.
    """
    found = arrays.get(name)
    fits = (
        found is not None
        and found.dtype == np.dtype(dtype)
        and len(found.shape) == len(shape)
        and all(want is None or want == have for want, have in zip(shape, found.shape, strict=True))
        and (found.dtype.kind != "f" or bool(np.isfinite(found).all()))
    )
    if found is None or not fits:
        raise errors.InvalidParameter(
            f"array {name} of the codec is not {np.dtype(dtype).name} of shape {shape}", hint="Train the codec anew with this version."
        )
    return found


def whole(options: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """An option that is a whole number within limits, both included.

    Raises:
        errors.InvalidParameter: it is not.
    """
    value = options.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise errors.InvalidParameter(f"{name} must be from {low} to {high}, not {value}", hint=f"{name} => {low} is the smallest.")
    return value
