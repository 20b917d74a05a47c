"""Comparisons of two sets of vectors of the same rows."""

from __future__ import annotations

import struct

import pytest

np = pytest.importorskip("numpy")

from pgembed.changing.comparing import Nearest, distances, linear_cka, shared  # noqa: E402
from pgembed.changing.reporting import Vectors  # noqa: E402

DRAWN = np.random.default_rng(5)
X = DRAWN.standard_normal((50, 6)).astype(np.float32)


def test_spaces_are_alike_up_to_rotation_shift_and_scale() -> None:
    rotation = np.linalg.qr(DRAWN.standard_normal((6, 6)))[0]
    assert linear_cka(X, X) == pytest.approx(1)
    assert linear_cka(X, (3 * X @ rotation + 2).astype(np.float32)) == pytest.approx(1, abs=1e-5)
    assert linear_cka(X, X * [1, 1, 1, 1, 1, 9]) < 0.9
    assert linear_cka(X, DRAWN.standard_normal((50, 4)).astype(np.float32)) < 0.3
    same = np.ones((50, 6), np.float32)
    assert linear_cka(same, same) == 1
    assert linear_cka(X, same) == 0


def test_it_is_the_kernels_that_are_aligned() -> None:
    y = DRAWN.standard_normal((50, 3)).astype(np.float32) + X[:, :3]
    centre = np.eye(50) - 1 / 50
    k, other = (centre @ (one @ one.T) @ centre for one in (X.astype(np.float64), y.astype(np.float64)))
    expected = (k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum())
    assert linear_cka(X, y) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_the_nearest_are_those_of_the_whole_table_whatever_the_pages(metric: str) -> None:
    queries, own = X[[3, 20]], np.array([3, 20])
    found = Nearest(queries, metric, 5)
    for first in range(0, 50, 7):
        found.see(X[first : first + 7], first, own)
    for position, query in enumerate(queries):
        far = {
            "cosine": 1 - X @ query / np.linalg.norm(X, axis=1) / np.linalg.norm(query),
            "l2": np.linalg.norm(X - query, axis=1),
            "inner_product": -X @ query,
        }[metric]
        far[own[position]] = np.inf
        assert found.rows[position].tolist() == np.argsort(far, kind="stable")[:5].tolist()


def test_of_a_row_with_several_vectors_the_nearest_counts() -> None:
    starts = np.array([0, 3, 4, 10])  # four rows of 3, 1, 6 and 2 vectors
    found = Nearest(X[[1, 11]], "cosine", 3)
    found.see(X[:12], 0, np.array([9, 9]), starts)
    found.see(X[12:14], 4, np.array([9, 9]), np.array([0, 1]))
    owners = [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 5]
    for position, query in enumerate(X[[1, 11]]):
        far = 1 - X[:14] @ query / np.linalg.norm(X[:14], axis=1) / np.linalg.norm(query)
        best = [min(far[at] for at in range(14) if owners[at] == row) for row in range(6)]
        assert found.rows[position].tolist() == np.argsort(best, kind="stable")[:3].tolist()


def test_vectors_of_rows_are_read_one_behind_the_other_and_have_a_middle() -> None:
    sent = [b"".join(struct.pack(">hh6f", 6, 0, *row) for row in X[first:last]) for first, last in ((0, 2), (2, 3), (3, 7))]
    several = Vectors.of(sent)
    assert (several.vectors == X[:7]).all()
    assert several.starts is not None
    assert several.starts.tolist() == [0, 2, 3]
    assert several.middles() == pytest.approx(np.stack([X[:2].mean(axis=0), X[2], X[3:7].mean(axis=0)]), abs=1e-6)
    one_each = Vectors.of([struct.pack(">hh6f", 6, 0, *row) for row in X[:3]])
    assert one_each.starts is None
    assert (one_each.middles() == X[:3]).all()


def test_fewer_rows_than_are_asked_for() -> None:
    found = Nearest(X[:1], "cosine", 5)
    found.see(X[:3], 0, np.array([0]))
    assert sorted(found.rows[0].tolist()) == [-1, -1, -1, 1, 2]
    assert shared(found.rows[0].tolist(), [2, 9]) == 0.5
    assert shared([-1], [1]) == 1
    assert distances(X[:1], np.zeros((1, 6), np.float32), "cosine").tolist() == [[0]]
