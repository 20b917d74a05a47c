"""learned: a rotation whose signs lose less than a random one's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pgembed.models import basis

_ROWS = 20_000
_STEPS = 30


def learned(sample: NDArray[np.float32], seed: int, check: Callable[[], None]) -> NDArray[np.float32]:
    """Iterative quantisation: the rotation that brings the vectors nearest to corners of a cube.

    Signs B = sign(X R') and R = the orthogonal matrix nearest to B' X, in turns (Gong and Lazebnik 2011,
    https://slazebni.cs.illinois.edu/publications/cvpr11_small_code.pdf).

    Args:
        sample: float32, shape (n, dim), centred if codes will be.
        check: called between steps, some 0.3 s each at 384 dimensions; what it raises passes through.
    Returns:
        float32, shape (dim, dim): a vector v is turned into ``matrix @ v``.
    """
    rows = sample
    if len(sample) > _ROWS:
        rows = sample[np.sort(np.random.Generator(np.random.PCG64(seed)).choice(len(sample), _ROWS, replace=False))]
    # a vector counts by its direction
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows = np.asarray(rows / np.where(lengths > 0, lengths, 1)[:, None], dtype=np.float32)
    matrix = basis.rotation(sample.shape[1], f"{seed & (1 << 64) - 1:x}")
    for _ in range(_STEPS):
        check()
        signs = np.where(rows @ matrix.T > 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd((signs.T @ rows).astype(np.float64))
        matrix = np.asarray(left @ right, dtype=np.float32)
    return basis.checked(matrix)
