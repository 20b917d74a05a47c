"""Boosted trees: choices among groups, weights, rows that are drawn, borders that are kept."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed import boosting


def groups(seed: int, n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four candidates each; the right one has the largest product of two columns, whatever the group's own level."""
    rng = np.random.default_rng(seed)
    values = rng.random((4 * n, 3)).astype(np.float32)
    values[:, 2] = np.repeat(rng.random(n), 4)
    score = values[:, 0] * values[:, 1]
    truth = score == np.repeat(score.reshape(-1, 4).max(1), 4)
    return values, truth, np.arange(0, 4 * n, 4)


def right(odds: np.ndarray, truth: np.ndarray) -> float:
    return float((odds.reshape(-1, 4).argmax(1) == truth.reshape(-1, 4).argmax(1)).mean())


@pytest.mark.parametrize("most", [None, 500])
def test_a_choice_is_learned_and_the_same_twice(most: int | None) -> None:
    values, truth, start = groups(0)
    settings = boosting.Settings(trees=80, depth=4, rows=1.0, most=most)
    borders = boosting.borders(values)
    trees = boosting.fit(borders.bins(values), truth, start=start, settings=settings, seed=1)
    again = boosting.fit(borders.bins(values), truth, start=start, settings=settings, seed=1)
    assert np.array_equal(trees.leaf, again.leaf)
    other, wanted, _ = groups(1)
    assert right(trees.log_odds(borders.bins(other)), wanted) > 0.85


def test_probabilities_of_a_group_are_its_softmax() -> None:
    odds, start = np.array([1.0, 2.0, 800.0, -5.0, -5.0]), np.array([0, 2, 3])
    share = boosting.softmax(odds, start)
    assert share == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e), 1.0, 0.5, 0.5])
    assert boosting.softmax(np.zeros(0), np.zeros(0, np.int64)).tolist() == []


def test_rows_that_weigh_nothing_are_not_learned_from() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((2000, 2)).astype(np.float32)
    half = np.arange(2000) < 1000
    truth = np.where(half, values[:, 0] > 0.5, values[:, 0] < 0.5)
    bins = boosting.binned(values)
    trees = boosting.fit(bins, truth, weight=np.where(half, 2.0, 0.0), settings=boosting.Settings(weight=0.1))
    assert ((trees.log_odds(bins) > 0) == (values[:, 0] > 0.5)).mean() > 0.95


def test_borders_bin_new_values_as_those_they_were_made_from() -> None:
    values = np.array([[0.0], [1.0], [2.0], [np.nan]], np.float32)
    borders = boosting.borders(values)
    assert borders.bins(values).upper.tolist() == [[0, 1, 2, boosting.BINS]]
    assert borders.bins(np.array([[-7.0], [1.2], [9.0]], np.float32)).upper.tolist() == [[0, 1, 2]]
    assert boosting.binned(values).lower.tolist() == [[0, 1, 2, 0]]
