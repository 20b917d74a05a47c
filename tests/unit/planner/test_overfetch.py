"""overfetch: the order statistics, against an exact sum over all outcomes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from pgembed.planner import overfetch


def outcomes(rows: int, share: Fraction) -> list[Fraction]:
    """P(B = i) with B ~ Bin(rows, share), in whole numbers."""
    return [math.comb(rows, i) * share**i * (1 - share) ** (rows - i) for i in range(rows + 1)]


CASES = [(k, rows, Fraction(share)) for k in (1, 3, 10) for rows in (1, 9, 10, 40, 120) for share in ("0.01", "0.2", "0.5", "0.97")]


@pytest.mark.parametrize(("k", "rows", "share"), CASES)
def test_the_certainty_is_the_exact_sum(k: int, rows: int, share: Fraction) -> None:
    chances = outcomes(rows, share)
    assert overfetch.enough(k, rows, float(share)) == pytest.approx(float(sum(chances[k:])), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(("k", "rows", "share"), [(1000, 2000, 0.5), (1000, 2000, 0.1), (5000, 60_000, 0.08), (10, 10**6, 1e-5)])
def test_large_numbers_neither_overflow_nor_vanish(k: int, rows: int, share: float) -> None:
    drawn = np.random.default_rng(3).binomial(rows, share, 40_000)
    assert overfetch.enough(k, rows, share) == pytest.approx(float((drawn >= k).mean()), abs=0.01)


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(("k", "target"), [(1, 0.5), (10, 0.9), (10, 0.99), (40, 0.999), (700, 0.95)])
def test_no_smaller_number_is_enough(k: int, share: float, target: float) -> None:
    rows = overfetch.rows_until(k, share, target)
    assert rows is not None
    assert overfetch.enough(k, rows, share) >= target > overfetch.enough(k, rows - 1, share)


def test_rows_until_enough_pass_are_the_quantile_of_a_simulation() -> None:
    drawn = np.random.default_rng(5).negative_binomial(20, 0.07, 200_000) + 20
    for certainty in (0.1, 0.5, 0.9, 0.99):
        expected = float(np.quantile(drawn, certainty))
        assert overfetch.rows_until(20, 0.07, certainty) == pytest.approx(expected, rel=0.01)


def test_where_all_pass_none_are_passed_over_and_where_none_pass_no_number_is_enough() -> None:
    assert overfetch.rows_until(10, 1.0, 0.9) == 10
    assert overfetch.rows_until(10, 0.0, 0.9) is None
    assert (overfetch.enough(10, 9, 1.0), overfetch.enough(10, 10, 1.0), overfetch.enough(10, 99, 0.0)) == (0, 1, 0)
