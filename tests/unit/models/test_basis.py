"""Bases: orthogonal, repeatable, and of the order that they promise, against plain computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgembed import errors
from pgembed.models import basis

SEED = "0123456789abcdef" * 4


def unit_rows(n: int, dim: int, seed: int = 0) -> Any:
    """Rows of length 1, spread unevenly over their dimensions and away from zero."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)) * np.linspace(1, 0.1, dim) + rng.standard_normal(dim) * 0.3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 2, 7, 64, 384])
def test_a_rotation_keeps_distances(dim: int) -> None:
    matrix = basis.rotation(dim, SEED)
    assert (matrix.shape, matrix.dtype) == ((dim, dim), np.float32)
    rows = unit_rows(50, dim)
    before = np.linalg.norm(rows[:, None].astype(np.float64) - rows[None], axis=2)
    turned = rows @ matrix.T
    after = np.linalg.norm(turned[:, None].astype(np.float64) - turned[None], axis=2)
    assert np.abs(before - after).max() < 1e-5


def test_a_rotation_belongs_to_its_seed() -> None:
    assert basis.digest(basis.rotation(32, SEED)) == basis.digest(basis.rotation(32, SEED))
    assert np.abs(basis.rotation(32, SEED) - basis.rotation(32, SEED[::-1])).max() > 0.1


def test_a_rotation_spreads_a_vector_over_all_dimensions() -> None:
    first = np.eye(256, dtype=np.float32)[0] @ basis.rotation(256, SEED).T
    # of a random direction, no component is far from 1/16
    assert 0.1 < np.abs(first).max() < 0.35


def test_pca_is_the_eigenvectors_of_the_second_moment_in_falling_order() -> None:
    rows = unit_rows(500, 12)
    fitted = basis.pca(rows)
    exact = rows.astype(np.float64)
    # singular vectors are the same by another way
    _, singular, right = np.linalg.svd(exact, full_matrices=False)
    assert np.abs(np.abs(fitted.matrix @ right.T) - np.eye(12)).max() < 1e-5
    shares = np.cumsum(singular**2) / (singular**2).sum()
    assert fitted.explained == pytest.approx(shares, abs=1e-9)
    assert fitted.beta == 0.0
    greatest = np.abs(fitted.matrix).argmax(axis=1)
    assert (fitted.matrix[np.arange(12), greatest] > 0).all()


def test_no_prefix_of_another_basis_holds_more_than_that_of_pca() -> None:
    rows = unit_rows(400, 16)
    held = (rows @ basis.pca(rows).matrix.T)[:, :4]
    for seed in range(20):
        other = rows @ basis.rotation(16, f"{seed + 1:x}").T
        assert (other[:, :4] ** 2).sum() < (held**2).sum()


def test_fewer_rows_than_dimensions_still_make_a_whole_basis() -> None:
    fitted = basis.pca(unit_rows(3, 24))
    assert np.abs(fitted.matrix @ fitted.matrix.T - np.eye(24)).max() < 1e-5
    assert fitted.explained[2] == pytest.approx(1, abs=1e-6)


def test_queries_turn_the_basis_to_what_they_ask_for() -> None:
    dim = 32
    documents = unit_rows(800, dim)
    rng = np.random.default_rng(3)
    # queries live where documents have least
    queries = (rng.standard_normal((300, dim)) * np.linspace(0.02, 1, dim)).astype(np.float32)
    with_queries, without = basis.pca(documents, queries), basis.pca(documents)
    assert 0 < with_queries.beta <= 1

    def lost(matrix: Any) -> float:
        exact = queries.astype(np.float64) @ documents.T
        return sum(float(((queries @ matrix[:m].T @ (documents @ matrix[:m].T).T - exact) ** 2).mean()) for m in (4, 8, 16))

    assert lost(with_queries.matrix) < 0.9 * lost(without.matrix)
    # the mix is the best one of all, as far as a fine grid can tell
    of_documents, of_queries = (rows.T.astype(np.float64) @ rows for rows in (documents, queries))
    mixes = []
    for beta in np.linspace(0, 1, 51):
        mixed = (1 - beta) * of_documents / np.trace(of_documents) + beta * of_queries / np.trace(of_queries)
        mixes.append(lost(np.linalg.eigh(mixed)[1].T[::-1]))
    assert lost(with_queries.matrix) <= min(mixes) * 1.02


def test_a_cancel_is_seen_between_decompositions() -> None:
    seen = []

    def check() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        basis.pca(unit_rows(20, 8), unit_rows(20, 8, 1), check)


@pytest.mark.parametrize("rows", [np.zeros((5, 4), np.float32), np.zeros((0, 4), np.float32)], ids=["zeros", "none"])
def test_nothing_can_be_fitted_to_nothing(rows: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"{len(rows)} vectors of corpus"):
        basis.pca(rows)
    with pytest.raises(errors.InvalidParameter, match="of queries"):
        basis.pca(unit_rows(5, 4), rows)


def test_a_matrix_that_changes_distances_is_refused() -> None:
    matrix = basis.rotation(16, SEED)
    basis.checked(matrix)
    slightly = matrix.copy()
    slightly[3] *= np.float32(1 + 2e-5)
    with pytest.raises(errors.DimensionMismatch, match="changes distances"):
        basis.checked(slightly)
    for broken in (matrix[:8], np.full((4, 4), np.nan, np.float32)):
        with pytest.raises(errors.DimensionMismatch, match="square matrix of finite numbers"):
            basis.checked(broken)


def test_bytes_bring_back_the_same_matrix() -> None:
    matrix = basis.rotation(24, SEED)
    stored = basis.to_bytes(matrix)
    assert len(stored) == 4 * 24 * 24
    assert (basis.from_bytes(stored, 24) == matrix).all()


@pytest.mark.parametrize("stored", [None, b"", b"1234" * 10])
def test_bytes_of_another_length_are_refused(stored: bytes | None) -> None:
    with pytest.raises(errors.DimensionMismatch, match="expected 64 for 4 dimensions"):
        basis.from_bytes(stored, 4)


def test_bytes_of_no_orthogonal_matrix_are_refused() -> None:
    with pytest.raises(errors.DimensionMismatch, match="not orthogonal"):
        basis.from_bytes(np.ones((4, 4), "<f4").tobytes(), 4)


def test_an_adapter_is_any_matrix_that_can_be_undone() -> None:
    stretched = np.diag([1.0, 2, 3]) + 0.5
    found = basis.adapter(stretched)
    assert found.dtype == np.float32
    assert np.array_equal(basis.from_bytes(basis.to_bytes(found), 3, basis.ADAPTER), stretched.astype(np.float32))
    with pytest.raises(errors.DimensionMismatch, match="not orthogonal"):
        basis.from_bytes(basis.to_bytes(found), 3, "rotation")
    for wrong in (np.ones((3, 3)), np.diag([1.0, 1, 1e-6]), np.full((3, 3), np.nan), np.ones((3, 2)), np.zeros((3, 3))):
        with pytest.raises(errors.DimensionMismatch):
            basis.adapter(wrong)
    with pytest.raises(errors.DimensionMismatch, match="finite"):
        basis.from_bytes(np.full(9, np.inf, "<f4").tobytes(), 3, basis.ADAPTER)
