"""Honest probabilities, and decisions by them."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed.linking.decisions import LINK, UNKNOWN, Knob, calibrated, decide, probability
from pgembed.linking.learned import spread, starts


def test_a_line_makes_overconfident_scores_honest() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, 20_000)
    truth = rng.random(20_000) < probability(0.5 * odds - 0.7)
    line = calibrated(odds, truth)
    assert (line.slope, line.shift) == pytest.approx((0.5, -0.7), abs=0.05)
    few = calibrated(odds[:5], truth[:5])
    assert abs(few.slope - 1) < 0.6
    assert calibrated(np.zeros(0), np.zeros(0, bool)) == calibrated(np.zeros(0), np.zeros(0, bool))


def test_a_precision_that_is_asked_for_is_reached_on_other_mentions() -> None:
    rng = np.random.default_rng(1)
    score = rng.random(20_000)
    truth = rng.random(20_000) < score
    knob = Knob.of(score[:10_000], truth[:10_000])
    assert (np.diff(knob.threshold) > 0).all()
    assert (np.diff(knob.precision) >= 0).all()
    for asked in (0.7, 0.9, 0.95):
        linked = score[10_000:] >= knob.least(asked)
        assert linked.any()
        assert truth[10_000:][linked].mean() >= asked - 0.01
    assert knob.least(0.9999) >= 0.9999


def test_without_labels_a_link_is_at_least_as_probable_as_the_precision() -> None:
    score = np.array([0.95, 0.85, 0.6, 0.2, 0.2])
    anything = np.array([0.95, 0.85, 0.6, 0.2, 0.9])
    assert decide(score, anything, None, UNKNOWN).tolist() == [0, 0, 0, 2, 1]
    assert decide(score, anything, 0.9, UNKNOWN).tolist() == [0, 1, 1, 2, 1]
    assert decide(score, anything, None, UNKNOWN).tolist()[2] == (0 if score[2] >= LINK else 1)


def test_probabilities_of_a_mention_sum_to_no_more_than_one() -> None:
    rng = np.random.default_rng(2)
    mention = np.sort(rng.integers(0, 40, 200))
    start = starts(mention)
    chance = rng.random(200)
    chance /= np.repeat(np.add.reduceat(chance, start), np.diff(start, append=200))
    at = np.lexsort((-chance, mention))[start]
    right = rng.random(len(start))
    made = spread(chance, mention, at, right)
    assert made[at] == pytest.approx(right)
    assert (np.add.reduceat(made, start) <= 1 + 1e-9).all()
    assert (made <= np.repeat(right, np.diff(start, append=200)) + 1e-12).all()
