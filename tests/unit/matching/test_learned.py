from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pgembed import boosting
from pgembed.errors import InvalidParameter
from pgembed.matching import competing, learned, metric, unlabelled
from pgembed.matching.learned import Labels, decide
from tests.unit.matching.made import Made, made


@pytest.fixture(autouse=True)
def one_partition(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several partitions of the labels take as many times as long, and one shows the same; the estimates' test has them all."""
    if "several" not in request.node.name:
        monkeypatch.setattr(learned, "PARTITIONS", 1)


@pytest.fixture(scope="module")
def data() -> Made:
    return made(400)


@pytest.fixture(scope="module")
def half(data: Made) -> np.ndarray:
    return np.random.default_rng(1).permutation(len(data.truth))


def test_labels_teach_what_scores_do_not_say(data: Made, half: np.ndarray) -> None:
    told, rest = half[:800], half[800:]
    without = unlabelled.decide(data.pairs, mapping="one_to_one")
    alone = decide(data.pairs, None, data.labels(told), mapping="one_to_one")
    together = decide(data.pairs, data.features, data.labels(told), mapping="one_to_one")
    f1 = [data.f1(decision.is_match, rest) for decision in (without, alone, together)]
    assert f1[2] > max(f1[0], f1[1]) + 0.05
    assert f1[2] > 0.87


def test_probabilities_are_calibrated(data: Made, half: np.ndarray) -> None:
    told, rest = half[:800], half[800:]
    said = decide(data.pairs, data.features, data.labels(told)).probability[rest]
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        within = (said >= low) & (said < high)
        if within.sum() >= 20:
            spread = np.sqrt(max(said[within].mean() * (1 - said[within].mean()), 0.01) / within.sum())
            assert abs(said[within].mean() - data.truth[rest][within].mean()) < 4 * spread + 0.05
    assert np.mean((said - data.truth[rest]) ** 2) < 0.06


def test_several_partitions_of_the_labels(data: Made, half: np.ndarray) -> None:
    """What is said of labelled pairs without their labels is as good as what is said of pairs that have none."""
    told, rest = half[:800], half[800:]
    result = learned.learn(data.pairs, data.features, data.labels(told))
    loss = [np.mean((result.seen.probability[at] - data.truth[at]) ** 2) for at in (told, rest)]
    assert 0.5 < loss[0] / loss[1] < 2.0
    assert (result.probability[told] == data.truth[told]).all()
    assert (result.seen.probability[told] != data.truth[told]).all()


def test_few_labels_do_no_harm(data: Made, half: np.ndarray) -> None:
    without = data.f1(unlabelled.decide(data.pairs, mapping="one_to_one").is_match, half)
    for many in (1, 10, 50):
        few = decide(data.pairs, data.features, data.labels(half[:many]), mapping="one_to_one")
        assert data.f1(few.is_match, half) > without - 0.05


def test_no_label_is_the_decision_without_labels(data: Made) -> None:
    none = decide(data.pairs, data.features, data.labels(np.zeros(0, dtype=np.int64)), mapping="one_to_one")
    without = unlabelled.decide(data.pairs, data.features, mapping="one_to_one")
    assert (none.is_match == without.is_match).all()
    assert none.probability == pytest.approx(without.probability)


def test_labels_are_facts(data: Made, half: np.ndarray) -> None:
    told = half[:300]
    # Turned labels of a few pairs stand, whatever the model thinks.
    truth = data.truth[told].copy()
    wrong = np.flatnonzero(truth)[:3]
    truth[wrong] = False
    decision = decide(data.pairs, data.features, Labels(data.pairs.left[told], data.pairs.right[told], truth))
    assert (decision.probability[told] == truth).all()
    assert (decision.is_match[told].astype(bool) == truth).all()


@pytest.mark.parametrize("mapping", ["one_to_one", "mutual"])
def test_mappings_hold(data: Made, half: np.ndarray, mapping: str) -> None:
    decision = decide(data.pairs, data.features, data.labels(half[:500]), mapping=mapping)  # type: ignore[arg-type]
    said = decision.is_match.astype(bool)
    assert len(set(data.pairs.left[said])) == said.sum() == len(set(data.pairs.right[said]))


def test_order_of_labels_and_pairs_changes_nothing(data: Made, half: np.ndarray) -> None:
    told = half[:200]
    plain = decide(data.pairs, data.features, data.labels(told))
    again = decide(data.pairs, data.features, data.labels(np.concatenate([told[::-1], told[:5]])))
    assert (plain.probability == again.probability).all()
    assert plain.threshold == again.threshold


@pytest.mark.parametrize("truth", [True, False])
def test_labels_of_one_kind_only(data: Made, truth: bool) -> None:
    told = np.flatnonzero(data.truth == truth)[:30]
    decision = decide(data.pairs, data.features, data.labels(told), mapping="one_to_one")
    rest = np.setdiff1d(np.arange(len(data.truth)), told)
    assert 0.0 <= decision.probability.min() <= decision.probability.max() <= 1.0
    # What the scores say is not forgotten.
    assert decision.probability[rest][data.truth[rest]].mean() > decision.probability[rest][~data.truth[rest]].mean() + 0.2


def test_labels_of_pairs_that_are_no_candidates(data: Made, half: np.ndarray) -> None:
    told = data.labels(half[:600])
    outside = Labels(
        np.append(told.left, np.full(200, 5_000)), np.append(told.right, np.arange(200)), np.append(told.is_match, np.ones(200, dtype=bool))
    )
    plain = decide(data.pairs, data.features, told)
    more = decide(data.pairs, data.features, outside)
    assert (plain.probability == more.probability).all()
    assert plain.recall is not None
    assert more.recall is not None
    assert more.recall.value < plain.recall.value - 0.2


def test_labels_that_contradict_each_other(data: Made) -> None:
    twice = Labels(np.array([0, 0]), np.array([7, 7]), np.array([True, False]))
    with pytest.raises(InvalidParameter, match="1 labelled pairs are labelled as a match and as none"):
        decide(data.pairs, None, twice)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mapping": "some"}, "unknown mapping"),
        ({"precision": 1.0}, "precision must be between 0 and 1, not 1"),
        ({"recall": 0.0}, "recall must be between 0 and 1, not 0"),
        ({"recall": 0.9, "precision": 0.9}, "both given"),
    ],
)
def test_arguments_out_of_range(data: Made, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        decide(data.pairs, None, data.labels(np.arange(20)), **arguments)  # type: ignore[arg-type]


def test_no_candidates() -> None:
    nothing = made(0)
    decision = decide(nothing.pairs, nothing.features, Labels(np.array([1]), np.array([2]), np.array([True])))
    assert len(decision.probability) == len(decision.is_match) == 0


def test_scores_that_are_unknown(data: Made, half: np.ndarray) -> None:
    score = data.pairs.score.copy()
    score[::7] = np.nan
    pairs = dataclasses.replace(data.pairs, score=score, distance=np.full(len(score), np.nan))
    decision = decide(pairs, data.features, data.labels(half[:400]))
    assert not np.isnan(decision.probability).any()
    assert data.f1(decision.is_match, half[400:]) > 0.75


def test_a_competitor_known_to_match_tells_against_a_pair() -> None:
    """Two candidates of each row look alike; the label of one says what the other is."""
    rng = np.random.default_rng(0)
    source = made(400, 2, matched=1.0, hidden=0.0)
    score = 0.5 + 0.001 * rng.random(800)
    pairs = dataclasses.replace(source.pairs, score=score, distance=1 - score, similarity={"dense": score})
    alike = dataclasses.replace(source, pairs=pairs)
    told = np.arange(0, 600, 2)  # the first candidate of 300 rows
    said = decide(pairs, None, alike.labels(told)).probability
    others = np.arange(1, 600, 2)
    assert said[others][alike.truth[others]].mean() > said[others][~alike.truth[others]].mean() + 0.4


def test_trees_learn_an_interaction_and_what_unknown_means() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((2_000, 3))
    truth = (values[:, 0] > 0.5) != (values[:, 1] > 0.5)
    values[rng.random(2_000) < 0.2, 2] = np.nan
    truth |= np.isnan(values[:, 2])
    bins = boosting.binned(values, np.arange(1_500))
    told, asked = bins.of(np.arange(1_500)), bins.of(np.arange(1_500, 2_000))
    trees = boosting.fit(told, truth[:1_500])
    assert ((trees.log_odds(asked) > 0) == truth[1_500:]).mean() > 0.95
    assert (trees.log_odds(bins) == boosting.fit(told, truth[:1_500]).log_odds(bins)).all()


def test_trees_against_one_question_at_a_time() -> None:
    """All rows are asked all questions at once; the plain way down is the same."""
    rng = np.random.default_rng(0)
    values = rng.random((300, 5))
    values[rng.random((300, 5)) < 0.3] = np.nan
    bins = boosting.binned(values)
    trees = boosting.fit(bins, np.nan_to_num(values[:, 0], nan=0.7) + values[:, 1] > 1.0, settings=boosting.Settings(trees=10))
    odds = trees.log_odds(bins)
    for row in range(300):
        expected = trees.base
        for tree in range(10):
            node = 0
            for _ in range(4):
                value, border = bins.upper[trees.column[tree, node], row], trees.border[tree, node]
                goes = border < boosting.BINS and trees.unknown_right[tree, node] if value == boosting.BINS else value > border
                node = 2 * node + 1 + bool(goes)
            expected += trees.leaf[tree, node - 15]
        assert odds[row] == pytest.approx(expected)


def test_bins_hold_as_many_rows_each() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(size=3_300) ** 3, rng.integers(0, 4, 3_300), np.full(3_300, np.nan)])
    values[:33, 0] = np.nan
    bins = boosting.binned(values)
    count = np.bincount(bins.upper[0], minlength=boosting.BINS + 1)
    assert count[boosting.BINS] == 33
    assert count[:-1].min() > 90
    assert (bins.upper[1] == values[:, 1]).all()
    assert (bins.upper[2] == boosting.BINS).all()
    assert (bins.lower[2] == 0).all()


def test_trees_without_anything_to_ask() -> None:
    truth = np.array([True, False, False, False])
    for values in (np.full((4, 2), np.nan), np.ones((4, 1))):
        bins = boosting.binned(values)
        assert boosting.fit(bins, truth).log_odds(bins) == pytest.approx(np.full(4, np.log(1 / 3)))


def test_competition_against_plain_loops() -> None:
    rng = np.random.default_rng(0)
    score, group = rng.random(60), rng.integers(0, 20, 60)
    score[5] = np.nan
    clean = np.nan_to_num(score, nan=-np.inf)
    best, place, rest = (
        competing.best_of_others(score, group),
        competing.rank(score, group),
        competing.sum_of_others(np.nan_to_num(score), group),
    )
    for at in range(60):
        others = [other for other in range(60) if group[other] == group[at] and other != at]
        finest = max((clean[other] for other in others), default=-np.inf)
        assert np.isnan(best[at]) if np.isneginf(finest) else best[at] == finest
        assert place[at] == 1 + sum(clean[other] > clean[at] or (clean[other] == clean[at] and other < at) for other in others)
        assert rest[at] == pytest.approx(sum(np.nan_to_num(score[other]) for other in others))


def test_a_prior_is_scaled_without_overshooting() -> None:
    odds = np.array([-7.0, 7.0] * 500)
    truth = odds > 0
    assert np.isfinite(learned._scaled(odds, np.arange(1_000), truth, odds)).all()
    turned = learned._scaled(odds, np.arange(1_000), ~truth, odds)
    assert (np.diff(turned[:2]) >= 0).all()  # never upside down


def test_directions_that_matter_are_learned() -> None:
    """Rows are the same thing where two of forty directions agree; the others are as good as noise."""
    rng = np.random.default_rng(0)
    source = made(300, hidden=0.0)
    left, right = rng.normal(size=(300, 40)), rng.normal(size=(300, 40))
    true = source.truth
    left[:, :2] *= 3.0  # principal components find directions that vary
    right[:, :2] *= 3.0
    right[source.pairs.right[true], :2] = left[source.pairs.left[true], :2] + rng.normal(0, 0.3, (true.sum(), 2))
    right[7] = np.nan
    half = rng.permutation(len(true))
    told, rest = half[:700], half[700:]
    without = decide(source.pairs, None, source.labels(told), mapping="one_to_one")
    seen = decide(source.pairs, None, source.labels(told), mapping="one_to_one", vectors=(left, right))
    assert not np.isnan(seen.probability).any()
    assert source.f1(seen.is_match, rest) > source.f1(without.is_match, rest) + 0.03


def test_a_metric_is_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(50, 12)), rng.normal(size=(60, 12)).astype(np.float32)
    one, other = rng.integers(0, 50, 300), rng.integers(0, 60, 300)
    vector = metric.compared((left, right), one, other)
    slopes = rng.normal(size=(24, 2))
    whole = vector.log_odds(slopes, one, other)
    monkeypatch.setattr(metric, "_BLOCK", 64)
    assert vector.log_odds(slopes, one, other) == pytest.approx(whole)
    assert whole == pytest.approx(vector.of(one, other) @ slopes)
