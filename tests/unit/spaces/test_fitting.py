"""Fitting: spaces whose map is known, and least squares by numpy's own solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgembed import errors
from pgembed.spaces import fitting


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def texts(n: int, dim: int, seed: int = 1) -> Any:
    """Vectors of length 1, more in some directions than in others, and not around zero, as models give them."""
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((n, dim)) * np.linspace(1, 0.2, dim) + 0.3)


def turn(dim: int) -> Any:
    return np.linalg.qr(np.random.default_rng(7).standard_normal((dim, dim)))[0]


@pytest.mark.parametrize("method", ["procrustes", "ridge"])
def test_a_rotation_is_recovered(method: Any) -> None:
    x, rotation = texts(400, 16), turn(16)
    found = fitting.fit(method, x.astype(np.float32), (x @ rotation.T).astype(np.float32))
    assert np.abs(found.matrix - rotation).max() < 1e-5
    assert np.abs(found.bias).max() < 1e-5
    new = texts(50, 16, seed=2).astype(np.float32)
    assert np.abs(found.apply(new) - new @ rotation.T).max() < 1e-5


def test_procrustes_is_the_best_of_all_rotations() -> None:
    x, rng = texts(500, 8), np.random.default_rng(3)
    y = x @ turn(8).T + 0.05 * rng.standard_normal((500, 8))
    found = fitting.fit("procrustes", x.astype(np.float32), y.astype(np.float32), normalized=False)
    scale = np.linalg.norm(found.matrix, 2)
    best = found.matrix / scale
    assert np.abs(best @ best.T - np.eye(8)).max() < 1e-5  # a rotation and a scale
    a, b = x - x.mean(0), y - y.mean(0)

    def error(rotation: Any) -> float:
        return float(((a @ rotation.T - b) ** 2).sum())

    for _ in range(50):
        small = 0.02 * rng.standard_normal((8, 8))
        other = np.linalg.qr(best + (small - small.T) @ best)[0]
        other *= np.sign((other * best).sum(0))
        assert error(best) <= error(other) + 1e-6


def test_ridge_comes_near_to_least_squares_where_pairs_are_many() -> None:
    x, rng = texts(4000, 6), np.random.default_rng(4)
    y = x @ rng.standard_normal((6, 9)) + 0.1 + 0.01 * rng.standard_normal((4000, 9))
    found = fitting.fit("ridge", x.astype(np.float32), y.astype(np.float32), normalized=False)
    exact = np.linalg.lstsq(np.hstack([x, np.ones((4000, 1))]), y, rcond=None)[0]
    assert np.abs(found.matrix - exact[:-1].T).max() < 0.02
    assert np.abs(found.bias - exact[-1]).max() < 0.02


def test_ridge_holds_back_where_pairs_are_few_and_noisy() -> None:
    rng = np.random.default_rng(5)
    x, rotation = texts(60, 40), turn(40)
    y = x @ rotation.T + 0.3 * rng.standard_normal((60, 40))
    found = fitting.fit("ridge", x.astype(np.float32), y.astype(np.float32))
    plain = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=None)[0].T
    new = texts(200, 40, seed=6)
    wanted = new @ rotation.T
    with_ridge = fitting.cosines(found.apply(new.astype(np.float32)), wanted).mean()
    without = fitting.cosines((new - x.mean(0)) @ plain.T + y.mean(0), wanted).mean()
    assert with_ridge > without + 0.02


def test_the_mean_drift_and_a_scale_are_recovered() -> None:
    x, drift = texts(300, 12), np.random.default_rng(8).standard_normal(12)
    found = fitting.fit("mean", x.astype(np.float32), (2 * x + drift).astype(np.float32), normalized=False)
    assert np.abs(found.matrix - 2 * np.eye(12)).max() < 1e-5
    assert found.bias == pytest.approx(drift, abs=1e-5)


def test_the_first_dimensions_of_a_longer_vector_are_the_shorter_one() -> None:
    x = texts(300, 16)
    short = unit(x[:, :4])
    found = fitting.fit("mean", x.astype(np.float32), short.astype(np.float32))
    assert np.abs(found.matrix[:, 4:]).max() == 0
    new = texts(40, 16, seed=9)
    assert fitting.cosines(found.apply(new.astype(np.float32)), unit(new[:, :4])).min() > 0.99
    longer = fitting.fit("procrustes", short.astype(np.float32), x.astype(np.float32))
    assert longer.apply(short.astype(np.float32)).shape == (300, 16)
    scale = np.linalg.norm(longer.matrix, 2)
    assert np.abs(longer.matrix.T @ longer.matrix / scale**2 - np.eye(4)).max() < 1e-4


def test_a_relative_map_is_the_inner_product_of_two_descriptions() -> None:
    x, y = texts(50, 6), texts(50, 4, seed=2)
    found = fitting.fit("relative", x.astype(np.float32), y.astype(np.float32), normalized=False)
    a, b = unit(x - x.mean(0)), unit(y - y.mean(0))
    query, rows = texts(1, 6, seed=3)[0] - x.mean(0), texts(20, 4, seed=4) - y.mean(0)
    described = [sum((query @ one) * (row @ other) for one, other in zip(a, b, strict=True)) for row in rows]
    mapped = rows @ (found.matrix @ query)
    assert mapped / described == pytest.approx(np.full(20, (mapped / described)[0]), rel=1e-4)


def test_pairs_that_say_nothing_give_the_mean() -> None:
    x = np.ones((30, 3), np.float32)
    for method in fitting.METHODS:
        found = fitting.fit(method, x, np.full((30, 2), 2, np.float32), normalized=False)
        assert found.apply(x[:1])[0].tolist() == pytest.approx([2, 2]), method


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(errors.InvalidParameter, match="19 texts are too few") as caught:
        fitting.fit("ridge", np.ones((19, 3), np.float32), np.ones((19, 3), np.float32))
    assert caught.value.hint


def test_cosines_are_of_rows() -> None:
    left, right = np.array([[1.0, 0], [1, 1], [0, 0]]), np.array([[0.0, 2], [3, 3], [1, 0]])
    assert fitting.cosines(left, right).tolist() == pytest.approx([0, 1, 0])
