"""Rows with several vectors, checked against the distances of all pairs of chunks."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed.joins import folding, neighbours
from pgembed.joins.neighbours import Ints, Vectors

METRICS: tuple[neighbours.Metric, ...] = ("cosine", "l2", "inner_product")


def sides(seed: int) -> tuple[Vectors, Vectors, Ints, Ints]:
    """Chunks of 20 and 30 rows, of row 3 on the right so many, all so near, that they fill the top of most lists."""
    rng = np.random.default_rng(seed)
    left_of = np.sort(rng.integers(20, size=50))
    right_of = np.sort(np.concatenate([rng.integers(30, size=60), np.full(300, 3)]))
    left = rng.normal(size=(50, 4)).astype(np.float32)
    right = rng.normal(size=(360, 4)).astype(np.float32)
    right[right_of == 3] += 5 * left[rng.integers(50, size=int((right_of == 3).sum()))]
    return left, right, left_of, right_of


def brute(
    left: Vectors, right: Vectors, rows: tuple[Ints, Ints], metric: neighbours.Metric, allowed: set[tuple[int, int]] | None = None
) -> list[list[tuple[float, int]]]:
    """Of each left row its right ones, the nearest first."""
    every = neighbours.nearest(left, right, len(right), metric=metric)
    least: dict[tuple[int, int], float] = {}
    for i, j, distance in zip(rows[0][every.left].tolist(), rows[1][every.right].tolist(), every.distance.tolist(), strict=True):
        if allowed is None or (i, j) in allowed:
            least[i, j] = min(distance, least.get((i, j), np.inf))
    return [sorted((distance, j) for (one, j), distance in least.items() if one == i) for i in range(20)]


def listed(pairs: neighbours.Pairs) -> list[list[tuple[float, int]]]:
    """The same of what was found; ranks count from 1 and distances rise."""
    out: list[list[tuple[float, int]]] = [[] for _ in range(20)]
    for i, j, distance, rank in zip(*(getattr(pairs, of).tolist() for of in ("left", "right", "distance", "rank")), strict=True):
        out[i].append((distance, j))
        assert rank == len(out[i])
    return out


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 2, 10, 100])
def test_the_k_nearest_rows_are_found_whatever_fills_the_top(metric: neighbours.Metric, k: int) -> None:
    left, right, *rows = sides(k)
    found = folding.nearest(left, right, (rows[0], rows[1]), k, metric=metric)
    assert listed(found) == [one[:k] for one in brute(left, right, (rows[0], rows[1]), metric)]


def test_no_row_is_its_own_neighbour() -> None:
    left, _, rows, _ = sides(1)
    found = folding.nearest(left, left, (rows, rows), 3, same=True)
    expected = [[pair for pair in one if pair[1] != i][:3] for i, one in enumerate(brute(left, left, (rows, rows), "cosine"))]
    assert listed(found) == expected


def test_only_equal_codes_are_compared() -> None:
    left, right, *rows = sides(2)
    codes = (rows[0] % 3, rows[1] % 3)
    allowed = {(i, j) for i in range(20) for j in range(30) if i % 3 == j % 3}
    found = folding.nearest(left, right, (rows[0], rows[1]), 4, codes=codes)
    assert listed(found) == [one[:4] for one in brute(left, right, (rows[0], rows[1]), "cosine", allowed)]


def test_all_within_a_distance() -> None:
    left, right, *rows = sides(3)
    found = folding.nearest(left, right, (rows[0], rows[1]), None, max_distance=0.3)
    assert listed(found) == [[pair for pair in one if pair[0] <= 0.3] for one in brute(left, right, (rows[0], rows[1]), "cosine")]


def test_given_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, *rows = sides(4)
    rng = np.random.default_rng(5)
    allowed = {(int(i), int(j)) for i, j in zip(rng.integers(20, size=90), rng.integers(30, size=90), strict=True)}
    expected = brute(left, right, (rows[0], rows[1]), "cosine", allowed)
    listing = (np.asarray([i for i, _ in allowed]), np.asarray([j for _, j in allowed]))
    for most in (folding.LISTED, 1):  # in one piece, and pair by pair
        monkeypatch.setattr(folding, "LISTED", most)
        assert listed(folding.among(left, right, (rows[0], rows[1]), listing)) == expected


def test_sides_without_chunks_give_nothing() -> None:
    left, right, *rows = sides(6)
    none = np.empty(0, dtype=np.int64)
    assert len(folding.nearest(left[:0], right, (none, rows[1]), 2)) == 0
    assert len(folding.nearest(left, right[:0], (rows[0], none), 2)) == 0
