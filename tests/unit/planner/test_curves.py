"""What a path needs for a recall, by what was measured and before."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pgembed.planner import curves
from pgembed.planner.curves import Point, Points, setting


def codes(share: float, lows: dict[int, float], kind: str = "none") -> list[Point]:
    return [Point("covering", share, 10, number, None, low, low, None, 100, kind) for number, low in lows.items()]


def graph(share: float, lows: dict[tuple[int, int], float], kind: str = "none") -> list[Point]:
    return [Point("index", share, 10, number, size, low, low, None, 100, kind) for (size, number), low in lows.items()]


def candidates(points: list[Point], recall: float, share: float = 1.0, k: int = 10) -> int | None:
    found = setting(Points(points), "covering", recall, k, share)
    return None if found is None else found.candidates


def test_the_smallest_measured_number_that_reaches_the_recall_is_taken() -> None:
    points = codes(1.0, {10: 0.8, 40: 0.95, 160: 0.99})
    assert candidates(points, 0.95) == 40
    assert candidates(points, 0.99) == 160
    assert candidates(points, 0.5) == 10


def test_between_measured_numbers_what_is_missed_falls_as_a_power() -> None:
    # what is missed halves as candidates double: exactly a power
    points = codes(1.0, {10: 0.8, 40: 0.95, 160: 0.9875})
    assert candidates(points, 0.975) == 80
    assert candidates(points, 0.9) == 20


def test_a_recall_that_was_never_measured_is_not_promised() -> None:
    assert candidates(codes(1.0, {10: 0.8, 40: 0.95}), 0.96) is None


def test_the_lower_bound_counts_and_not_the_mean() -> None:
    points = Points([Point("covering", 1.0, 10, 50, None, 0.999, 0.94), Point("covering", 1.0, 10, 200, None, 1.0, 0.96)])
    found = setting(points, "covering", 0.95, 10, 1.0)
    assert found is not None
    assert 50 < found.candidates < 200


def test_of_filters_of_one_share_the_one_served_worst_counts() -> None:
    easy, hard = codes(0.1, {20: 0.99, 100: 0.999}, "range 1"), codes(0.11, {20: 0.8, 100: 0.97}, "value 2")
    assert candidates(easy, 0.97, 0.1) == 20
    assert candidates(easy + hard, 0.97, 0.1) == 100


def test_between_shares_it_lies_between_in_the_logarithm() -> None:
    points = codes(1.0, {10: 0.9, 1000: 0.99}) + codes(1 / 256, {10: 0.6, 1000: 0.96}, "value 1")
    at = [candidates(points, 0.95, share) for share in (1.0, 1 / 16, 1 / 256)]
    assert None not in at
    first, middle, last = (float(number or 0) for number in at)
    assert first < middle < last
    # half of the way: what is missed is the geometric mean of both, .2 and sqrt(.0004)
    exponent = math.log(0.2 / 0.02) / math.log(1000 / 10)
    assert middle == pytest.approx(10 * (0.2 / 0.05) ** (1 / exponent), rel=0.02)
    assert candidates(points, 0.95, 0.0001) == last  # beyond, as at the last


def test_a_number_never_gets_smaller_for_a_higher_recall() -> None:
    points = codes(1.0, {10: 0.7, 20: 0.9, 40: 0.89, 80: 0.97, 160: 0.965, 320: 0.995})
    found = [candidates(points, 0.7 + step * 0.005) for step in range(59)]
    numbers = [number for number in found if number is not None]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(found)


def test_more_results_need_more_candidates_in_proportion_and_fewer_no_fewer() -> None:
    points = codes(1.0, {20: 0.9, 100: 0.99})
    assert candidates(points, 0.99, k=50) == 500
    assert candidates(points, 0.99, k=1) == 100
    assert candidates(points, 0.99, k=2000) is None  # above what a scan compares exactly


def test_scan_and_covering_index_share_what_was_measured() -> None:
    points = Points(codes(1.0, {20: 0.9, 100: 0.99}))
    assert setting(points, "scan", 0.99, 10, 1.0) == setting(points, "covering", 0.99, 10, 1.0)


def test_a_graph_takes_the_pair_that_visits_fewest_rows() -> None:
    lows = {(40, 10): 0.9, (40, 20): 0.96, (40, 40): 0.98, (200, 10): 0.96, (200, 20): 0.97, (200, 40): 0.985}
    whole = setting(Points(graph(1.0, lows)), "index", 0.96, 10, 1.0)
    assert whole is not None
    assert (whole.candidates, whole.ef_search) == (20, 40)
    # where one of a hundred passes, ten candidates with a wide view cost 1,000 rows and twenty cost 2,000
    rare = setting(Points(graph(1.0, lows)), "index", 0.96, 10, 0.01)
    assert rare is not None
    assert (rare.candidates, rare.ef_search) == (10, 200)


def test_a_graph_is_asked_for_no_more_than_it_can_keep() -> None:
    points = Points(graph(1.0, {(40, 10): 0.9, (400, 10): 0.99}))
    more = setting(points, "index", 0.99, 100, 1.0)
    assert more is not None
    assert more.ef_search == 760
    assert more.candidates == 100
    assert setting(points, "index", 0.99, 400, 1.0) is None


def test_what_was_not_measured_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    points = Points(codes(1.0, {20: 0.9}))
    found = setting(points, "index", 0.95, 10, 1.0)
    assert found is not None
    assert found == setting((), "index", 0.95, 10, 1.0)
    assert found.source == "default"


def test_points_are_read_back_but_for_stale_paths() -> None:
    kept: list[dict[str, Any]] = [
        {"path": "covering", "share": 1.0, "candidates": 20, "recall": 0.95, "low": 0.94, "queries": 9, "filter": "none"},
        {"path": "index", "share": 0.5, "candidates": 10, "ef_search": 40, "recall": 0.9, "low": 0.8, "milliseconds": 1.5},
    ]
    assert [point.path for point in curves.load(kept, 10)] == ["covering", "index"]
    only = curves.load(kept, 10, {"covering"})
    assert list(only) == [Point("index", 0.5, 10, 10, 40, 0.9, 0.8, 1.5)]
