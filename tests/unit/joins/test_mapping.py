"""One-to-one mapping, against the plain greedy over all pairs sorted by distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pgembed.joins import one_to_one


def vectors(n: int, dim: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def greedy(distances: npt.NDArray[np.float64], limit: float = np.inf) -> set[tuple[int, int]]:
    taken_left: set[int] = set()
    taken_right: set[int] = set()
    found = set()
    for flat in np.argsort(distances, axis=None, kind="stable"):
        i, j = (int(x) for x in np.unravel_index(flat, distances.shape))
        if distances[i, j] <= limit and i not in taken_left and j not in taken_right:
            found.add((i, j))
            taken_left.add(i)
            taken_right.add(j)
    return found


def cosine(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    a, b = left.astype(np.float64), right.astype(np.float64)
    return np.asarray(1 - (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (30, 30), (70, 20), (20, 70), (200, 210)])
def test_pairs_are_those_of_the_greedy_over_all_distances(n: int, m: int) -> None:
    left, right = vectors(n, 3, n), vectors(m, 3, m + 1)
    found = one_to_one(left, right)
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == greedy(cosine(left, right))


def test_no_row_is_used_twice_where_one_row_is_nearest_to_all() -> None:
    left = (np.array([1.0, 0, 0]) + 0.01 * vectors(50, 3, 1)).astype(np.float32)
    right = np.concatenate([np.array([[1, 0, 0]], dtype=np.float32), vectors(60, 3, 2)])
    found = one_to_one(left, right)
    assert len(found) == len(set(found.left.tolist())) == len(set(found.right.tolist())) == 50
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == greedy(cosine(left, right))


def test_max_distance_leaves_rows_without_a_partner() -> None:
    left, right = vectors(40, 3, 5), vectors(40, 3, 6)
    found = one_to_one(left, right, max_distance=0.05)
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == greedy(cosine(left, right), 0.05)


def test_an_empty_side_has_no_pairs() -> None:
    assert len(one_to_one(vectors(0, 3, 1), vectors(4, 3, 1))) == 0
