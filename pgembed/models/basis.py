"""basis: square matrices in which a model may give its vectors. A vector v is given as ``matrix @ v``.

Orthogonal ones, ``rotation`` and ``pca``, keep every L2 distance, inner product and cosine, so searches find the same; what changes is what
a part of a vector means. In a ``rotation`` every dimension carries as much as any other, so that signs make good codes (RaBitQ, Gao and
Long 2024, https://arxiv.org/abs/2405.12497). In a ``pca`` basis the first dimensions carry the most, so that ``subvector(e, 1, m)`` is the
best short vector; with queries it is LeanVec's (Tepper et al. 2023, https://arxiv.org/abs/2312.16335), which spends dimensions on what
queries ask for. An ``adapter`` was fitted to labels (``pgembed.spaces.labels``), and shall change what is near; it is invertible, so that
no two vectors become one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.models import threads
from pgembed.models.contract import no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A decomposition of more takes minutes, and a larger matrix is more than a value of PostgreSQL's should be: 64 MB.
MOST_DIMENSIONS = 4096

# That register_model() makes.
BASES = ("none", "rotation", "pca")
ADAPTER = "adapter"
# The greatest of its singular values may be so many times the least: beyond that float32 loses what the least one carries.
MOST_CONDITION = 1e4

# Distances may change by so much, for vectors of length 1.
TOLERANCE = 1e-5

# Lengths of prefixes that the mix of documents and queries is chosen for, as shares of the dimensions.
_PREFIXES = (1 / 8, 1 / 4, 1 / 2)
_STEPS = 10  # of each of two searches for the mix, the second one around the best of the first


@dataclass(frozen=True)
class Fitted:
    """A basis made of data.

    Attributes:
        matrix: float32, shape (dim, dim), its rows by falling weight in the mix.
        beta: the share of the queries in the mix, 0 to 1; 0 where there were none.
        explained: float64, shape (dim,): the part of the documents' squared length that lies in the first i + 1 dimensions.
    """

    matrix: NDArray[np.float32]
    beta: float
    explained: NDArray[np.float64]


def rotation(dim: int, seed: str) -> NDArray[np.float32]:
    """A random orthogonal matrix, uniform over all of them (Mezzadri 2006, https://arxiv.org/abs/math-ph/0609050).

    Args:
        seed: hexadecimal digits, such as a fingerprint; the same ones give the same matrix.
    Returns:
        float32, shape (dim, dim).
    """
    with threads.signals_blocked():
        import numpy as np

    normal = np.random.Generator(np.random.PCG64(int(seed, 16))).standard_normal((dim, dim))
    q, r = np.linalg.qr(normal)
    return checked((q * np.where(np.diagonal(r) < 0, -1.0, 1.0)).astype(np.float32))


def pca(documents: NDArray[np.float32], queries: NDArray[np.float32] | None = None, check: Callable[[], None] = no_check) -> Fitted:
    """The eigenvectors of the second moment of documents, or of its mix with that of queries.

    Not centred: an inner product with a mean is no constant, so that the mean is worth a dimension too. The mix is
    (1 - beta) K_X / tr K_X + beta K_Q / tr K_Q, its beta the one that loses least of the inner products E(<Aq, Ax> - <q, x>)^2 at prefixes
    of some lengths.

    Args:
        documents: float32, shape (n, dim), n at least 1.
        queries: float32, shape (m, dim); None for none.
        check: called between decompositions, which take 30 ms at 384 dimensions and half a second at 1024; what it raises passes through.
    Raises:
        InvalidParameter: there are no documents, no queries in an array of them, or nothing but zeros.
    """
    with threads.signals_blocked():
        import numpy as np

    of_documents = _moment(documents, "corpus")
    if queries is None:
        matrix, beta = _eigenvectors(of_documents), 0.0
    else:
        of_queries = _moment(queries, "queries")

        def mixed(beta: float) -> NDArray[np.float64]:
            return _eigenvectors((1 - beta) * of_documents + beta * of_queries)

        def loss(beta: float) -> float:
            check()
            return _lost(mixed(beta), of_documents, of_queries)

        coarse = [step / _STEPS for step in range(_STEPS + 1)]
        near = min(coarse, key=loss)
        fine = [near + (step - _STEPS // 2) / _STEPS**2 * 2 for step in range(_STEPS + 1)]
        beta = min([near, *(value for value in fine if 0 <= value <= 1)], key=loss)
        matrix = mixed(beta)
    parts = np.einsum("ij,jk,ik->i", matrix, of_documents, matrix)
    return Fitted(checked(matrix.astype(np.float32)), beta, np.cumsum(parts))


def checked(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix, once it is certain that it keeps distances of vectors of length 1 to ``TOLERANCE``.

    Raises:
        DimensionMismatch: it does not, or is no square of finite numbers.
    """
    import numpy as np

    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise errors.DimensionMismatch(
            f"a basis must be a square matrix of finite numbers, not of shape {matrix.shape}", hint="Register the model anew."
        )
    exact = matrix.astype(np.float64)
    # |Bx| lies between the least and the greatest singular value, for x of length 1; two such vectors are 2 apart at the most.
    squares = np.linalg.eigvalsh(exact @ exact.T)
    off = 2 * float(np.abs(np.sqrt(np.maximum(squares, 0)) - 1).max())
    if off > TOLERANCE:
        raise errors.DimensionMismatch(
            f"the basis changes distances by up to {off:.1g}, expected at most {TOLERANCE:g}",
            hint="A basis must be an orthogonal matrix; register the model anew.",
        )
    return matrix


def adapter(matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """The matrix of an adapter as float32, shape (dim, dim), once it is certain that it can be undone.

    Raises:
        DimensionMismatch: it is no square of finite numbers, or is not invertible in float32.
    """
    import numpy as np

    exact = matrix.astype(np.float64)
    if exact.ndim != 2 or exact.shape[0] != exact.shape[1] or not np.isfinite(exact).all():
        raise errors.DimensionMismatch(
            f"an adapter must be a square matrix of finite numbers, not of shape {exact.shape}", hint="Fit the adapter anew."
        )
    with threads.signals_blocked():
        values = np.linalg.svd(exact, compute_uv=False)
    if not values[-1] * MOST_CONDITION >= values[0] > 0:
        raise errors.DimensionMismatch(
            f"the adapter takes directions away: its least singular value is {values[-1]:.2g}, its greatest {values[0]:.2g}",
            hint="Fit it to more labels, or of a smaller rank.",
        )
    return exact.astype(np.float32)


def to_bytes(matrix: NDArray[np.float32]) -> bytes:
    """The matrix row by row, as little-endian float32."""
    return matrix.astype("<f4").tobytes()


def digest(matrix: NDArray[np.float32]) -> str:
    """SHA-256 of the matrix, in hexadecimal digits."""
    return hashlib.sha256(to_bytes(matrix)).hexdigest()


def from_bytes(stored: bytes | None, dim: int, kind: str = "rotation") -> NDArray[np.float32]:
    """The inverse of ``to_bytes``: float32, shape (dim, dim), C-contiguous.

    Args:
        kind: name of the basis.
    Raises:
        DimensionMismatch: there are fewer or more bytes, or the matrix is evidently not orthogonal, where it is no adapter.
    """
    with threads.signals_blocked():
        import numpy as np

    found = len(stored or b"")
    if stored is None or found != 4 * dim * dim:
        raise errors.DimensionMismatch(
            f"the stored basis has {found} bytes, expected {4 * dim * dim} for {dim} dimensions", hint="Register the model anew."
        )
    matrix = np.frombuffer(stored, "<f4").reshape(dim, dim).astype(np.float32)
    if kind == ADAPTER:
        if not np.isfinite(matrix).all():
            raise errors.DimensionMismatch("the stored adapter has numbers that are not finite", hint="Fit it anew: pgembed.fit_adapter().")
        return matrix
    # One random vector there and back: a thousandth of the whole check, for a session's first use of the model.
    probe = np.random.Generator(np.random.PCG64(dim)).standard_normal(dim).astype(np.float32)
    back = matrix.T @ (matrix @ probe)
    if not np.isfinite(back).all() or float(np.linalg.norm(back - probe)) > 1e-4 * float(np.linalg.norm(probe)):
        raise errors.DimensionMismatch("the stored basis is not orthogonal", hint="Register the model anew.")
    return matrix


def _moment(rows: NDArray[np.float32], what: str) -> NDArray[np.float64]:
    """The second moment of rows, scaled to trace 1: float64, (dim, dim)."""
    import numpy as np

    exact = rows.astype(np.float64)
    moment: NDArray[np.float64] = exact.T @ exact
    trace = float(np.trace(moment))
    if not trace > 0:
        raise errors.InvalidParameter(
            f"no basis can be fitted to the {len(rows)} vectors of {what}",
            hint="Name a column that has texts, or vectors that are not zero.",
        )
    return moment / trace


def _eigenvectors(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvectors as rows, by falling eigenvalue; of each the greatest number is positive, so that a fit can be repeated."""
    import numpy as np

    _, columns = np.linalg.eigh(moment)
    rows: NDArray[np.float64] = columns.T[::-1]
    greatest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    return rows * np.where(greatest < 0, -1.0, 1.0)[:, None]


def _lost(matrix: NDArray[np.float64], of_documents: NDArray[np.float64], of_queries: NDArray[np.float64]) -> float:
    """E(<Aq, Ax> - <q, x>)^2, for A the first rows of the matrix, as a sum over the lengths of prefixes.

    The error of a pair is q' R x, with R the projector on what A leaves out; so its mean square is tr(K_Q R K_X R), which in the matrix's
    own coordinates is the product, number by number, of what is left of the two moments.
    """
    products = (matrix @ of_documents @ matrix.T) * (matrix @ of_queries @ matrix.T).T
    dim = len(matrix)
    return sum(float(products[left:, left:].sum()) for left in {max(1, round(dim * share)) for share in _PREFIXES})
