"""Measures on rows in memory, against loops over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgembed.spaces import measuring

ROWS = np.random.default_rng(1).standard_normal((200, 5)).astype(np.float32) * np.linspace(0.5, 2, 200, dtype=np.float32)[:, None]
ASKED = np.random.default_rng(2).standard_normal((70, 5)).astype(np.float32)


def distance(metric: str, query: Any, row: Any) -> float:
    if metric == "l2":
        return float(np.linalg.norm(query - row))
    if metric == "inner_product":
        return float(-(query @ row))
    return float(1 - query @ row / np.linalg.norm(query) / np.linalg.norm(row))


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_neighbours_and_ranks_are_those_of_the_metric(metric: str) -> None:
    found = measuring.nearest(ASKED, measuring.Rows(ROWS, metric), 10)
    wanted = [[int(place)] for place in np.random.default_rng(3).integers(200, size=len(ASKED))]
    places = measuring.ranks(ASKED, measuring.Rows(ROWS, metric), wanted)
    for query, line, (want,), (rank,) in zip(ASKED, found, wanted, places, strict=True):
        order = sorted(range(200), key=lambda place: distance(metric, query, ROWS[place]))
        assert set(line.tolist()) == set(order[:10])
        assert rank == order.index(want) + 1


def test_fewer_rows_than_are_asked_for() -> None:
    assert measuring.nearest(ASKED, measuring.Rows(ROWS[:3], "cosine"), 10).shape == (70, 3)
    assert measuring.nearest(ASKED[:0], measuring.Rows(ROWS, "cosine"), 10).shape == (0, 10)


def test_what_is_kept() -> None:
    assert measuring.kept(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 9]])) == 0.75


def test_equal_rows_share_the_last_rank() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert measuring.ranks(rows[:1], measuring.Rows(rows, "cosine"), [[0, 2]]) == [[2, 3]]


def test_recall_and_mrr() -> None:
    found = [[1, 12], [11], [2, 3, 4]]
    assert measuring.recalls(found).tolist() == pytest.approx([0.5, 0, 1])
    assert measuring.recalls([list(range(1, 21))], k=10).tolist() == [1.0]
    assert measuring.reciprocals(found).tolist() == pytest.approx([1, 0, 0.5])


def test_a_cancel_ends_it() -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    rows = measuring.Rows(ROWS, "l2")
    for call in (
        lambda: measuring.nearest(ASKED, rows, 3, cancel),
        lambda: measuring.ranks(ASKED, rows, [[1]] * 70, cancel),
    ):
        with pytest.raises(KeyboardInterrupt):
            call()
