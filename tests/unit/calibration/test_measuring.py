"""Filters, truth and bounds of a calibration, against plain computations."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pgembed.calibration import asking, filtering, measuring, truth
from pgembed.calibration.filtering import Filter
from pgembed.calibration.truth import Truth


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_distances_order_rows_as_the_metric_does(metric: str) -> None:
    chance = np.random.default_rng(1)
    asked, page = chance.normal(size=(5, 16)).astype(np.float32), chance.normal(size=(200, 16)).astype(np.float32)
    exact = {
        "cosine": lambda q, v: 1 - q @ v / np.linalg.norm(q) / np.linalg.norm(v),
        "l2": lambda q, v: np.linalg.norm(q - v),
        "inner_product": lambda q, v: -(q @ v),
    }[metric]
    found = truth.distance(asked, page, metric)
    for query in range(5):
        plain = [exact(asked[query].astype(np.float64), row.astype(np.float64)) for row in page]
        assert np.argsort(found[query]).tolist() == np.argsort(plain).tolist()


def test_the_nearest_are_kept_over_pages_with_those_that_tie() -> None:
    chance = np.random.default_rng(2)
    distances = chance.permutation(100).astype(np.float32)[None, :]
    distances[0, 7] = distances[0, np.argsort(distances[0])[2]]  # a tie with the third
    places = np.array([f"({n})" for n in range(100)], dtype=object)
    best = truth._Best(1, 9)
    for begin in range(0, 100, 13):
        best.add(distances[:, begin : begin + 13], places[begin : begin + 13])
    (found,), (count,) = best.end(3)
    third = np.sort(distances[0])[2]
    assert count == 3
    assert found == {f"({n})" for n in range(100) if distances[0, n] <= third}
    assert len(found) == 4


def test_fewer_rows_than_k_count_as_they_are() -> None:
    best = truth._Best(1, 9)
    best.add(np.array([[0.5, np.inf, 0.25]], dtype=np.float32), np.array(["a", "own", "b"], dtype=object))
    (found,), (count,) = best.end(3)
    assert (found, count) == ({"a", "b"}, 2)


def test_the_bound_holds_nineteen_times_of_twenty() -> None:
    # each query finds ten neighbours by chance, some queries much worse than others
    chance, held = random.Random(4), 0
    level = [0.995 if chance.random() < 0.9 else 0.8 for _ in range(100_000)]
    true = sum(level) / len(level)
    for _ in range(600):
        asked = [sum(chance.random() < one for _ in range(10)) / 10 for one in chance.sample(level, 200)]
        held += measuring.surely(asked) <= true
    assert held / 600 > 0.93


def test_queries_that_find_all_prove_no_certainty() -> None:
    assert measuring.surely([1.0] * 20) < 0.99
    assert 0.995 < measuring.surely([1.0] * 200) < 1
    assert measuring.surely([1.0] * 20) < measuring.surely([1.0] * 200)


def test_for_each_share_the_nearest_value_is_taken_once_and_none_that_is_far() -> None:
    values = [("a", 0.45), ("b", 0.12), ("c", 0.09), ("d", 0.001)]
    assert filtering.near(values, (0.5, 0.2, 0.1, 0.02)) == ["a", "b", "c"]
    assert filtering.near([], (0.5,)) == []


def test_a_window_has_the_share_and_lies_where_it_is_wanted() -> None:
    for share in (0.02, 0.1, 0.5, 1.0):
        for place in (0.0, 0.5, 1.0):
            low, high = filtering.window(101, share, place)
            assert high - low == round(100 * share)
            assert 0 <= low < high <= 100
    assert filtering.window(101, 0.1, 0.0) == (0, 10)
    assert filtering.window(101, 0.1, 1.0) == (90, 100)


def test_graphs_are_measured_with_a_value_a_range_and_a_random_filter() -> None:
    kinds = ["none", "value 1", "value 1", "range 2", "range 2", "random", "random"]
    passing = [10_000, 900, 90, 3_000, 900, 5_000, 2_000]
    found = Truth([], [], passing, 10_000, [])
    conditions = [Filter("", kind) for kind in kinds]
    assert measuring.filtered(conditions, found) == [1, 3, 6]
    # with none of the table's own columns rows at random stand in
    assert measuring.filtered([conditions[0], *conditions[5:]], Truth([], [], [10_000, 5_000, 2_000], 10_000, [])) == [2]


def test_queries_are_rows_with_a_third_of_another() -> None:
    rows = np.eye(3, dtype=np.float32)
    made = asking.mixed(rows)
    assert made.dtype == np.float32
    assert made[0] == pytest.approx([2 / 3, 0, 1 / 3])
    assert asking.mixed(rows[:1]) == pytest.approx(rows[:1])


def test_shares_tell_two_digits_only() -> None:
    assert measuring.rounded(0.08771) == 0.088
    assert measuring.rounded(1.0) == 1.0
    assert measuring.rounded(0.000123) == 0.00012
