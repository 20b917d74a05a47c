"""The nearest rows of the other side, against all n * m distances computed one by one in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pgembed import errors
from pgembed.joins import METRICS, nearest, neighbours

Matrix = npt.NDArray[np.float32]


def exact(left: Matrix, right: Matrix, metric: str) -> npt.NDArray[np.float64]:
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "inner_product":
        return np.asarray(-(a @ b.T))
    if metric == "l2":
        return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)))
    return np.asarray(1 - (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)))


def vectors(n: int, dim: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def brute(left: Matrix, right: Matrix, k: int, metric: str) -> list[tuple[int, int, int]]:
    distances = exact(left, right, metric)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return [(i, int(j), rank) for i in range(len(left)) for rank, j in enumerate(order[i], 1)]


def listed(pairs: neighbours.Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.left.tolist(), pairs.right.tolist(), pairs.rank.tolist(), strict=True))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 3, 200])
def test_pairs_are_those_that_sorting_all_distances_gives(metric: str, k: int) -> None:
    left, right = vectors(37, 24, 1), vectors(53, 24, 2)
    found = nearest(left, right, k, metric=metric)  # type: ignore[arg-type]
    assert listed(found) == brute(left, right, k, metric)
    assert np.allclose(found.distance, exact(left, right, metric)[found.left, found.right], rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_small_blocks_give_the_same_pairs(metric: str) -> None:
    left, right = vectors(300, 8, 3), vectors(500, 8, 4)
    whole = nearest(left, right, 4, metric=metric)  # type: ignore[arg-type]
    blocks = nearest(left, right, 4, metric=metric, block_bytes=4096)  # type: ignore[arg-type]
    assert listed(whole) == listed(blocks)


def test_neighbours_that_float32_cannot_tell_apart_are_ordered_by_the_exact_distance() -> None:
    rng = np.random.default_rng(5)
    centre = rng.normal(size=64)
    right = (centre + 1e-4 * rng.normal(size=(200, 64))).astype(np.float32)
    left = (centre[None] * 3).astype(np.float32)
    assert listed(nearest(left, right, 20, metric="l2")) == brute(left, right, 20, "l2")


def test_equal_rows_are_ordered_by_their_position() -> None:
    right = np.array([[0, 1], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    assert listed(nearest(right[1:2], right, 3)) == [(0, 1, 1), (0, 2, 2), (0, 3, 3)]


def test_a_zero_vector_has_no_cosine_and_no_pair() -> None:
    left = np.array([[0, 0], [1, 0]], dtype=np.float32)
    right = np.array([[0, 0], [0, 1]], dtype=np.float32)
    assert listed(nearest(left, right, 5)) == [(1, 1, 1)]


def test_max_distance_keeps_only_what_is_as_near() -> None:
    left, right = np.array([[1, 0]], dtype=np.float32), np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert listed(nearest(left, right, 5, max_distance=0.5)) == [(0, 0, 1)]


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_an_empty_side_has_no_pairs(n: int, m: int) -> None:
    assert len(nearest(vectors(n, 4, 6), vectors(m, 4, 7), 2)) == 0


def test_the_same_table_on_both_sides_pairs_no_row_with_itself() -> None:
    rows = vectors(40, 6, 8)
    distances = exact(rows, rows, "cosine")
    np.fill_diagonal(distances, np.inf)
    found = nearest(rows, rows, 1, same=True)
    assert found.right.tolist() == distances.argmin(axis=1).tolist()


def test_among_listed_pairs_only_these_are_compared() -> None:
    left, right = vectors(10, 5, 9), vectors(12, 5, 10)
    allowed = ([0, 0, 3, 3, 3], [1, 4, 2, 11, 5])
    found = neighbours.among(left, right, allowed)
    distances = exact(left, right, "cosine")
    for row in (0, 3):
        expected = sorted(
            (right_row for left_row, right_row in zip(*allowed, strict=True) if left_row == row), key=lambda j: distances[row, j]
        )
        assert [j for i, j, _ in listed(found) if i == row] == expected


def test_the_check_is_called_between_blocks() -> None:
    calls: list[int] = []
    nearest(vectors(2000, 8, 11), vectors(300, 8, 12), 1, check=lambda: calls.append(1), block_bytes=65536)
    assert len(calls) > 1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(errors.DimensionMismatch):
        nearest(vectors(2, 3, 1), vectors(2, 4, 1))
    with pytest.raises(errors.InvalidParameter):
        nearest(vectors(2, 3, 1), vectors(2, 3, 1), 0)
    with pytest.raises(errors.InvalidParameter):
        nearest(vectors(2, 3, 1), vectors(2, 3, 1), metric="manhattan")  # type: ignore[arg-type]
