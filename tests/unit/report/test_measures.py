"""Measures of a space, against what their papers say of plain cases, and against slow ways to the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pgembed.report import measures

RNG = np.random.default_rng(7)
ROWS = RNG.normal(size=(60, 8)).astype(np.float32)


def test_rank_me_counts_the_directions_that_are_used() -> None:
    assert measures.rank_me(np.eye(8, dtype=np.float32)) == pytest.approx(8)
    assert measures.rank_me(np.outer(np.arange(1, 9), np.ones(8)).astype(np.float32)) == pytest.approx(1, abs=1e-4)
    assert measures.rank_me(np.zeros((5, 3), dtype=np.float32)) == 0
    values = np.linalg.svd(ROWS.astype(np.float64), compute_uv=False)
    shares = values / values.sum()
    assert measures.rank_me(ROWS) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


def test_mean_cosine_is_that_of_all_pairs() -> None:
    one = measures.units(ROWS).astype(np.float64)
    pairs = (one @ one.T)[~np.eye(len(one), dtype=bool)]
    assert measures.mean_cosine(ROWS) == pytest.approx(pairs.mean(), abs=1e-6)
    assert measures.mean_cosine(ROWS + 100) == pytest.approx(1, abs=1e-2)
    assert measures.mean_cosine(np.zeros((4, 3), dtype=np.float32)) is None


def test_iso_score_is_one_for_a_ball_and_zero_for_a_line() -> None:
    ball = np.vstack([np.eye(6), -np.eye(6)]).astype(np.float32)
    assert measures.iso_score(ball) == pytest.approx(1)
    line = np.outer(np.arange(10), np.eye(6)[0]).astype(np.float32)
    assert measures.iso_score(line) == pytest.approx(0, abs=1e-9)
    # the paper's example: with k of n dimensions used alike the score is (k - 1) / (n - 1)
    half = np.vstack([np.eye(9)[:5], -np.eye(9)[:5]]).astype(np.float32)
    assert measures.iso_score(half) == pytest.approx((5 - 1) / (9 - 1))
    assert measures.iso_score(np.ones((5, 4), dtype=np.float32)) is None


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_nearest_are_the_true_ones(metric: str) -> None:
    wide = ROWS.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1)[:, None]
    far = {
        "cosine": 1 - unit @ unit.T,
        "l2": np.linalg.norm(wide[:, None] - wide[None], axis=2),
        "inner_product": -wide @ wide.T,
    }[metric]
    np.fill_diagonal(far, np.inf)
    found = measures.nearest(ROWS, metric, 5)
    assert np.array_equal(found.rows, np.argsort(far, axis=1)[:, :5])
    assert np.allclose(found.distance, np.sort(far, axis=1)[:, :5], atol=1e-4)
    assert found.occurrences().sum() == 5 * len(ROWS)


def test_few_rows_have_few_neighbours() -> None:
    assert measures.nearest(ROWS[:1], "cosine").rows.shape == (1, 0)
    assert measures.nearest(ROWS[:3], "cosine").rows.shape == (3, 2)
    assert len(measures.overlap(measures.nearest(ROWS[:1], "l2"), measures.nearest(ROWS[:1], "l2"))) == 0


def test_skewness_grows_with_hubs() -> None:
    assert measures.skewness(np.array([3, 3, 3])) is None
    assert measures.skewness(np.array([0, 5, 10])) == pytest.approx(0)
    assert (measures.skewness(np.array([1] * 99 + [100])) or 0) > 5


def test_overlap_is_the_share_that_both_have() -> None:
    near = measures.nearest(ROWS, "l2", 4)
    assert measures.overlap(near, near).tolist() == [1.0] * len(ROWS)
    other = measures.Near(np.roll(near.rows, 1, axis=0) * 0 - 1, near.distance)
    assert measures.overlap(near, other).sum() == 0


def test_the_map_is_the_same_for_the_same_seed_and_keeps_groups_apart() -> None:
    few, how = measures.flat(ROWS[:20], 0)
    assert how == "principal axes"
    assert few.shape == (20, 2)
    same, _ = measures.flat(np.ones((80, 4), dtype=np.float32), 0)
    assert np.array_equal(same, np.zeros((80, 2)))
    groups = np.vstack([ROWS[:40] * 0.1, ROWS[:40] * 0.1 + 9]).astype(np.float32)
    points, how = measures.flat(groups, 3)
    assert how == "t-SNE"
    assert np.array_equal(points, measures.flat(groups, 3)[0])
    own = np.linalg.norm(points[:40] - points[:40].mean(axis=0), axis=1).max()
    assert np.linalg.norm(points[:40].mean(axis=0) - points[40:].mean(axis=0)) > own


def test_the_variance_of_equal_rows_is_none() -> None:
    assert not measures.spectrum(np.full((9, 4), 3.3, dtype=np.float32)).any()
    assert measures.spectrum(ROWS).sum() == pytest.approx(1)
