from __future__ import annotations

import numpy as np
import pytest

from pgembed.matching import estimates
from pgembed.matching.estimates import Seen


def seen(rng: np.random.Generator, pairs: int = 4_000, labelled: int = 800, lean: float = 0.0) -> tuple[Seen, np.ndarray]:
    """Candidates with calibrated probabilities; lean makes uncertain pairs likelier to be labelled."""
    probability = rng.beta(0.3, 0.6, pairs)
    truth = rng.random(pairs) < probability
    chance = 1.0 + lean * probability * (1.0 - probability)
    at = rng.choice(pairs, labelled, replace=False, p=chance / chance.sum())
    return Seen(probability, np.ones(pairs, dtype=bool), at, truth[at]), truth


@pytest.mark.parametrize("lean", [0.0, 40.0])
def test_intervals_cover_the_truth(lean: float) -> None:
    rng = np.random.default_rng(0)
    covered, promised, rounds = 0, 0, 60
    for _ in range(rounds):
        sample, truth = seen(rng, lean=lean)
        curve = estimates.curve(sample)
        threshold = estimates.threshold(curve, precision=0.9)
        precision, _ = estimates.at(curve, threshold)
        is_match = sample.probability >= threshold
        covered += precision.low <= truth[is_match].mean() <= precision.high
        promised += truth[is_match].mean() >= 0.89
    assert covered >= 0.9 * rounds
    assert promised >= estimates.SURE * rounds


def test_recall_as_asked_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    covered, rounds = 0, 60
    for _ in range(rounds):
        sample, truth = seen(rng)
        curve = estimates.curve(sample)
        threshold = estimates.threshold(curve, recall=0.9)
        _, recall = estimates.at(curve, threshold)
        found = truth[sample.probability >= threshold].sum() / truth.sum()
        assert found > 0.83
        covered += recall.low <= found <= recall.high
    assert covered >= 0.9 * rounds


def test_picked_labels_are_weighed() -> None:
    """Without weights, labels of uncertain pairs would make the model look worse than it is."""
    rng = np.random.default_rng(2)
    sample, truth = seen(rng, labelled=1_500, lean=100.0)
    within = sample.probability[sample.labelled] >= 0.6
    plain = sample.truth[within].mean()
    actual = truth[sample.probability >= 0.6].mean()
    curve = estimates.curve(sample)
    weighed = estimates.at(curve, 0.6)[0].value
    assert abs(weighed - actual) < abs(plain - actual)
    assert estimates.weights(sample.probability, sample.labelled).mean() == pytest.approx(1.0)


def test_the_best_f1_is_near_the_best_there_is() -> None:
    rng = np.random.default_rng(3)
    sample, truth = seen(rng, 8_000, 2_000)
    lines = np.linspace(0.05, 0.95, 91)
    f1 = [2 * truth[sample.probability >= line].sum() / ((sample.probability >= line).sum() + truth.sum()) for line in lines]
    threshold = estimates.threshold(estimates.curve(sample))
    said = sample.probability >= threshold
    assert 2 * truth[said].sum() / (said.sum() + truth.sum()) > max(f1) - 0.01


def test_matches_that_are_no_candidates_count_as_missed() -> None:
    sample, _ = seen(np.random.default_rng(4))
    missed = Seen(sample.probability, sample.chosen, sample.labelled, sample.truth, missed=int(sample.truth.sum()))
    whole, half = (estimates.at(estimates.curve(given), 0.0)[1].value for given in (sample, missed))
    assert half < 0.6 * whole


def test_what_the_mapping_leaves_out_is_never_counted_as_found() -> None:
    sample, truth = seen(np.random.default_rng(5))
    chosen = np.arange(len(truth)) % 2 == 0
    recall = estimates.at(estimates.curve(Seen(sample.probability, chosen, sample.labelled, sample.truth)), 0.0)[1]
    assert recall.low < truth[chosen].sum() / truth.sum() < recall.high < 0.65


def test_without_labels_the_probabilities_speak() -> None:
    probability = np.full(100, 0.8)
    nothing = np.zeros(0, dtype=np.int64)
    curve = estimates.curve(Seen(probability, np.ones(100, dtype=bool), nothing, nothing.astype(bool)))
    precision, recall = estimates.at(curve, 0.5)
    assert precision.value == pytest.approx(0.8)
    assert precision.high - precision.low > 0.3  # and hardly anybody is sure
    assert recall.value == pytest.approx(1.0)


def test_what_cannot_be_promised_is_not() -> None:
    probability = np.full(100, 0.5)
    at = np.arange(50)
    curve = estimates.curve(Seen(probability, np.ones(100, dtype=bool), at, at % 2 == 0))
    assert estimates.threshold(curve, precision=0.9) == np.inf
    assert estimates.threshold(curve, recall=0.999) == 0.5
    assert estimates.at(curve, np.inf)[1].value == 0.0
    empty = estimates.curve(Seen(np.zeros(0), np.zeros(0, dtype=bool), at[:0], at[:0] == 1))
    assert estimates.threshold(empty) == np.inf


def test_beta_quantiles() -> None:
    assert estimates.beta_quantile(0.5, 1.0, 1.0) == pytest.approx(0.5, abs=1e-4)
    assert estimates.beta_quantile(0.3, 1.0, 1.0) == pytest.approx(0.3, abs=1e-4)
    assert estimates.beta_quantile(0.9, 2.0, 1.0) == pytest.approx(np.sqrt(0.9), abs=1e-4)  # its distribution is x^2
    assert estimates.beta_quantile(0.2, 1.0, 3.0) == pytest.approx(1 - 0.8 ** (1 / 3), abs=1e-4)
    # Clopper and Pearson's own: 5 of 10, and none of 10.
    assert estimates.interval(0.5, 10.0).low == pytest.approx(0.1871, abs=1e-3)
    assert estimates.interval(0.5, 10.0).high == pytest.approx(0.8129, abs=1e-3)
    assert estimates.interval(0.0, 10.0).low == 0.0
    assert estimates.interval(0.0, 10.0).high == pytest.approx(0.3085, abs=1e-3)
    assert estimates.interval(1.0, 10.0).high == 1.0


def test_a_lower_bound_is_below_by_what_is_not_known() -> None:
    share, many = np.array([0.9, 0.9, 1.0]), np.array([10.0, 1_000.0, 10.0])
    bound = estimates.lower(share, many)
    assert bound[0] < bound[1] < 0.9
    assert 0.9 < bound[2] < 1.0
