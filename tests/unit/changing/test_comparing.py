"""Comparisons of two sets of vectors of the same rows."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

from pgembed.changing.comparing import Nearest, distances, linear_cka, shared  # noqa: E402

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


def test_fewer_rows_than_are_asked_for() -> None:
    found = Nearest(X[:1], "cosine", 5)
    found.see(X[:3], 0, np.array([0]))
    assert sorted(found.rows[0].tolist()) == [-1, -1, -1, 1, 2]
    assert shared(found.rows[0].tolist(), [2, 9]) == 0.5
    assert shared([-1], [1]) == 1
    assert distances(X[:1], np.zeros((1, 6), np.float32), "cosine").tolist() == [[0]]
