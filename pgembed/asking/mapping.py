"""mapping: maps of query vectors from one space into another, as numbers, as bytes, and by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Map:
    """An affine map, whole or of low rank: ``matrix @ q + bias``, or ``q + matrix @ (right.T @ q) + bias``.

    Attributes:
        matrix: float32, shape (dim of the result, dim of the query), or (dim, rank) beside ``right``.
        bias: float32, shape (dim of the result,).
        right: float32, shape (dim, rank); None where the map is whole.
        normalized: what comes out is given the length 1, as the column's own vectors have it.
    """

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]
    right: NDArray[np.float32] | None = None
    normalized: bool = True

    @property
    def query_dim(self) -> int:
        """Dimensions of what goes in."""
        return int(self.matrix.shape[1] if self.right is None else self.right.shape[0])

    @property
    def rank(self) -> int | None:
        """Of what is added to the query; None where the map is whole."""
        return None if self.right is None else int(self.right.shape[1])

    def apply(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map queries.

        Args:
            queries: float32, shape (n, query_dim).
        Returns:
            float32, shape (n, dim), in the same order. A vector that comes out as zero stays zero.
        Raises:
            errors.DimensionMismatch: the queries have other dimensions.
        """
        with threads.signals_blocked():
            import numpy as np

        if queries.ndim != 2 or queries.shape[1] != self.query_dim:
            raise errors.DimensionMismatch(
                f"queries have the shape {queries.shape}, the adapter is for {self.query_dim} dimensions", hint="Fit the adapter anew."
            )
        made = (queries if self.right is None else queries @ self.right) @ self.matrix.T + self.bias
        if self.right is not None:
            made += queries
        if self.normalized:
            lengths = np.linalg.norm(made, axis=1, keepdims=True)
            made = made / np.where(lengths > 0, lengths, 1)
        return np.ascontiguousarray(made, dtype=np.float32)

    def whole(self) -> NDArray[np.float32]:
        """The matrix of the map, without its bias: float32, shape (dim, query_dim)."""
        with threads.signals_blocked():
            import numpy as np

        if self.right is None:
            return self.matrix
        exact = np.eye(len(self.matrix)) + self.matrix.astype(np.float64) @ self.right.astype(np.float64).T
        return np.asarray(exact, dtype=np.float32)

    def parts(self) -> tuple[bytes, bytes, bytes | None]:
        """Matrix, bias and right matrix, row by row as little-endian float32."""
        right = None if self.right is None else self.right.astype("<f4").tobytes()
        return self.matrix.astype("<f4").tobytes(), self.bias.astype("<f4").tobytes(), right

    def digest(self, *spaces: str) -> str:
        """SHA-256, in hexadecimal digits, of all that decides what comes out.

        Args:
            spaces: fingerprints of the two models.
        """
        matrix, bias, right = self.parts()
        head = "\0".join((*spaces, str(self.query_dim), str(self.rank), str(self.normalized)))
        return hashlib.sha256(b"\0".join((head.encode(), matrix, bias, right or b""))).hexdigest()


def from_parts(matrix: bytes, bias: bytes, right: bytes | None, query_dim: int, rank: int | None, *, normalized: bool) -> Map:
    """The inverse of `Map.parts`.

    Raises:
        errors.DimensionMismatch: the numbers of bytes do not fit each other, or a number is not finite.
    """
    with threads.signals_blocked():
        import numpy as np

    dim = len(bias) // 4
    wide = query_dim if rank is None else rank
    fits = dim > 0 and len(bias) == 4 * dim and len(matrix) == 4 * dim * wide
    if rank is not None:
        fits = fits and right is not None and dim == query_dim and len(right) == 4 * dim * rank
    if not fits or (rank is None) != (right is None):
        raise errors.DimensionMismatch(
            f"the stored adapter has {len(matrix)}, {len(bias)} and {len(right or b'')} bytes, which make no map of {query_dim} dimensions",
            hint="Drop it with pgembed.drop_adapter(), and fit it anew.",
        )
    arrays = [np.frombuffer(part, "<f4").astype(np.float32) for part in (matrix, bias, right or b"")]
    if not all(np.isfinite(array).all() for array in arrays):
        raise errors.DimensionMismatch(
            "the stored adapter has numbers that are not finite", hint="Drop it with pgembed.drop_adapter(), and fit it anew."
        )
    return Map(arrays[0].reshape(dim, wide), arrays[1], None if rank is None else arrays[2].reshape(dim, rank), normalized)
