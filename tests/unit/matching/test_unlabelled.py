"""Decisions without labels, on pairs whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
import pytest

from pgembed import errors, joins
from pgembed.matching import Decision, MappingKind, curves, rivals, unlabelled
from pgembed.matching.attributes import Features
from pgembed.matching.contract import MAPPINGS, Bools, Floats, Ints

KINDS = cast("tuple[MappingKind, ...]", MAPPINGS)


@dataclass(frozen=True)
class Pairs:
    """Candidates as `joins.hybrid` makes them, of vectors only."""

    left: Ints
    right: Ints
    score: Floats
    distance: Floats
    similarity: dict[str, Floats]

    def at(self, places: Ints) -> Pairs:
        return Pairs(
            self.left[places],
            self.right[places],
            self.score[places],
            self.distance[places],
            {name: values[places] for name, values in self.similarity.items()},
        )


@cache
def candidates(partners: int, alone: int, noise: float, seed: int, *, twice: bool = False) -> tuple[Pairs, Bools]:
    """Ten right rows for each left row, and which are its partner: the right row of the same number, for the first rows."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(partners + alone, 32))
    right = np.concatenate([left[:partners] + noise * rng.normal(size=(partners, 32)), rng.normal(size=(alone, 32))])
    if twice:
        right = np.concatenate([right, right])
    near = joins.nearest(left.astype(np.float32), right.astype(np.float32), 10)
    score = 1.0 - near.distance
    found = Pairs(near.left, near.right, score, near.distance, {"dense": score})
    return found, (near.left == near.right % (partners + alone)) & (near.left < partners)


def matches(decision: Decision) -> Bools:
    return np.asarray([match is True for match in decision.is_match.tolist()], dtype=bool)


@pytest.mark.parametrize("mapping", KINDS)
@pytest.mark.parametrize(("partners", "alone", "noise"), [(200, 0, 0.25), (200, 200, 0.25), (300, 300, 1.2)])
def test_probabilities_say_how_many_are_right(partners: int, alone: int, noise: float, mapping: MappingKind) -> None:
    found, true = candidates(partners, alone, noise, partners + alone)
    decision = unlabelled.decide(found, mapping=mapping)
    match = matches(decision)
    assert abs(decision.probability[match].mean() - true[match].mean()) < 0.08
    assert 2 * true[match].sum() / (match.sum() + partners) > (0.65 if noise > 1 else 0.95)
    assert decision.precision
    assert decision.recall
    assert decision.precision.low <= decision.precision.value <= decision.precision.high
    assert decision.precision.low - 0.03 <= true[match].mean() <= decision.precision.high + 1e-9


@pytest.mark.parametrize("mapping", KINDS)
def test_where_no_row_has_a_partner_nothing_matches(mapping: MappingKind) -> None:
    for seed in range(2):
        found, _ = candidates(0, 400, 0.0, seed)
        decision = unlabelled.decide(found, mapping=mapping)
        assert not matches(decision).any()
        assert decision.probability.max() < 0.5
        assert decision.precision is None
        # Nor where there is more evidence that says nothing.
        noise = np.random.default_rng(seed).normal(size=(3, len(found.left)))
        louder = found.similarity | {str(row): values for row, values in enumerate(noise)}
        loud = Pairs(found.left, found.right, found.score, found.distance, louder)
        assert not matches(unlabelled.decide(loud, mapping=mapping, precision=0.95)).any()


@pytest.mark.parametrize("mapping", KINDS)
def test_a_few_partners_among_many_rows_are_found_without_many_others(mapping: MappingKind) -> None:
    for asked in (None, 0.9):
        found, true = candidates(20, 400, 0.25, 0)
        match = matches(unlabelled.decide(found, mapping=mapping, precision=asked))
        assert true[match].sum() == 20
        assert match.sum() <= 35


def test_a_table_with_too_few_candidates_a_row_to_judge_by_gaps_is_not_silenced() -> None:
    found, true = candidates(100, 100, 0.25, 18)
    three = found.at(np.flatnonzero(np.arange(len(found.left)) % 10 < 3))
    match = matches(unlabelled.decide(three, mapping="one_to_one"))
    assert true[np.arange(len(true)) % 10 < 3][match].sum() > 90


@pytest.mark.parametrize("mapping", KINDS)
def test_an_asked_precision_is_about_held_and_more_of_it_means_fewer_matches(mapping: MappingKind) -> None:
    found, true = candidates(300, 300, 1.2, 5)
    before = np.ones(len(true), dtype=bool)
    for precision in (0.5, 0.8, 0.9, 0.95):
        match = matches(unlabelled.decide(found, mapping=mapping, precision=precision))
        assert match.any()
        assert true[match].mean() > precision - 0.05
        assert not (match & ~before).any()
        before = match


def test_an_asked_recall_is_about_held_and_more_of_it_means_more_matches() -> None:
    found, true = candidates(300, 300, 1.2, 6)
    shares = []
    for recall in (0.3, 0.6, 0.9):
        match = matches(unlabelled.decide(found, mapping="one_to_one", recall=recall))
        shares.append(true[match].sum() / 300)
    assert shares == sorted(set(shares))
    assert shares == pytest.approx([0.3, 0.6, 0.9], abs=0.18)


def test_the_threshold_tells_matches_from_others() -> None:
    found, _ = candidates(100, 100, 0.8, 7)
    for asked in ({}, {"precision": 0.9}, {"recall": 0.8}):
        decision = unlabelled.decide(found, mapping="many", **asked)
        match = matches(decision)
        assert decision.probability[match].min() >= decision.threshold
        best = np.r_[True, np.diff(found.left) != 0]
        assert decision.probability[best & ~match].max() < decision.threshold


@pytest.mark.parametrize("mapping", KINDS)
def test_the_order_of_rows_and_pairs_changes_nothing(mapping: MappingKind) -> None:
    found, _ = candidates(150, 150, 1.0, 8)
    rng = np.random.default_rng(9)
    mixed = rng.permutation(len(found.left))
    left_name, right_name = rng.permutation(int(found.left.max()) + 1), rng.permutation(int(found.right.max()) + 1)
    renamed = Pairs(left_name[found.left], right_name[found.right], found.score, found.distance, found.similarity).at(mixed)
    one, other = unlabelled.decide(found, mapping=mapping), unlabelled.decide(renamed, mapping=mapping)
    assert other.probability == pytest.approx(one.probability[mixed], abs=1e-6)
    assert other.is_match.tolist() == one.is_match[mixed].tolist()


def test_a_second_copy_of_a_row_is_no_rival_and_matches_where_many_may() -> None:
    found, true = candidates(100, 100, 0.25, 10, twice=True)
    match = matches(unlabelled.decide(found, mapping="many"))
    assert match[true].mean() > 0.95
    assert true[match].mean() > 0.85
    once = matches(unlabelled.decide(found, mapping="one_to_one"))
    assert true[once].sum() > 90
    assert len(set(found.left[once].tolist())) == len(set(found.right[once].tolist())) == once.sum()


def test_a_row_is_used_once_as_the_mapping_says() -> None:
    found, _ = candidates(50, 400, 1.0, 11)
    for mapping in ("mutual", "one_to_one"):
        match = matches(unlabelled.decide(found, mapping=cast("MappingKind", mapping), recall=0.99))
        assert match.sum() > 40
        assert len(set(found.left[match].tolist())) == len(set(found.right[match].tolist())) == match.sum()


def test_a_similarity_that_tells_right_from_wrong_is_found_and_used() -> None:
    found, true = candidates(300, 300, 1.6, 12)
    rng = np.random.default_rng(13)
    code = np.where(true, 0.9, 0.1) + 0.1 * rng.normal(size=len(true))
    with_code = Pairs(found.left, found.right, found.score, found.distance, {**found.similarity, "numbers": code})
    right = [true[matches(unlabelled.decide(pairs, mapping="one_to_one"))].sum() for pairs in (found, with_code)]
    wrong = (~true[matches(unlabelled.decide(with_code, mapping="one_to_one"))]).sum()
    assert right[1] > 1.1 * right[0]
    assert wrong < 0.25 * right[1]


def test_attributes_that_tell_right_from_wrong_are_used_and_what_is_unknown_tells_nothing() -> None:
    found, true = candidates(200, 200, 1.4, 19)
    rng = np.random.default_rng(20)
    word = np.where(true, 0.8, 0.2) + 0.1 * rng.normal(size=len(true))
    word[rng.random(len(true)) < 0.1] = np.nan
    nothing = np.full(len(true), np.nan)
    values = np.column_stack([word, word, nothing, rng.random(len(true))]).astype(np.float32)
    features = Features(("name.words", "name.characters", "year.equal", "record.equal"), values, (1, 1, 1, 1))
    plain, told = (matches(unlabelled.decide(found, known, mapping="one_to_one")) for known in (None, features))
    assert true[told].sum() > 1.2 * true[plain].sum()
    assert true[told].mean() > 0.9
    unknown = Features(features.names[2:], values[:, 2:], (1, 1))
    without = unlabelled.decide(found, mapping="one_to_one")
    assert unlabelled.decide(found, unknown, mapping="one_to_one").probability == pytest.approx(without.probability, abs=1e-3)


@pytest.mark.parametrize("mapping", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_say_nothing(rows: int, mapping: MappingKind) -> None:
    found, _ = candidates(9, 0, 0.1, 14)
    few = found.at(np.flatnonzero(found.left < rows))
    decision = unlabelled.decide(few, mapping=mapping)
    assert decision.is_match.tolist() == [None] * len(few.left)
    assert np.isnan(decision.probability).all()
    assert decision.precision is None
    assert decision.recall is None


def test_rows_with_one_candidate_each_say_nothing() -> None:
    found, _ = candidates(100, 0, 0.1, 15)
    alone = found.at(np.flatnonzero(np.r_[True, np.diff(found.left) != 0]))
    assert set(unlabelled.decide(alone, mapping="many").is_match.tolist()) == {None}


def test_a_pair_without_a_score_is_none_and_one_without_a_similarity_counts() -> None:
    found, true = candidates(100, 100, 0.25, 16)
    score, dense = found.score.copy(), found.similarity["dense"].copy()
    gone = np.flatnonzero(true)[:5]
    score[gone] = np.nan
    dense[np.flatnonzero(true)[5:10]] = np.nan
    decision = unlabelled.decide(Pairs(found.left, found.right, score, found.distance, {"dense": dense}), mapping="many")
    assert decision.is_match[gone].tolist() == [None] * 5
    assert np.isnan(decision.probability[gone]).all()
    assert np.isfinite(np.delete(decision.probability, gone)).all()
    assert (decision.is_match[np.flatnonzero(true)[10:]] == True).mean() > 0.95  # noqa: E712  an array of True, False and None


@pytest.mark.parametrize(
    "asked", [{"mapping": "some"}, {"precision": 0.0}, {"precision": 1.0}, {"recall": -1.0}, {"precision": 0.9, "recall": 0.9}]
)
def test_a_wish_that_makes_no_sense_is_refused(asked: dict[str, object]) -> None:
    found, _ = candidates(20, 0, 0.1, 17)
    with pytest.raises(errors.InvalidParameter):
        unlabelled.decide(found, **asked)  # type: ignore[arg-type]


def test_signs_that_are_fair_coins_speak_against_any_match_and_one_that_stands_out_for_it() -> None:
    rng = np.random.default_rng(21)
    rows, size = np.repeat(np.arange(300), 8), np.sort(rng.exponential(size=(300, 8)), axis=1)[:, ::-1]
    fair = rivals.leaning(rows, size.ravel())
    assert abs(fair.sign.mean()) < 0.2
    assert fair.any_match() < 0  # type: ignore[operator]
    assert fair.excess().sum() < 20
    size[:30, 0] += 8.0
    some = rivals.leaning(rows, size.ravel())
    assert some.any_match() > 5  # type: ignore[operator]
    assert 25 < some.excess().sum() < 45
    few = rivals.leaning(rows[np.arange(len(rows)) % 8 < 3], size[:, :3].ravel())
    assert few.any_match() is None
    assert few.excess().tolist() == [1.0] * 300


def test_a_rising_fit_is_the_nearest_one() -> None:
    assert curves.rising(np.arange(5.0), np.array([1.0, 0, 2, 2, 1]), np.ones(5)) == pytest.approx([0.5, 0.5, 5 / 3, 5 / 3, 5 / 3])
    rng = np.random.default_rng(22)
    x, y, weight = rng.integers(0, 40, 200).astype(float), rng.normal(size=200), rng.random(200)
    fit = curves.rising(x, y, weight)
    assert (np.diff(fit[np.argsort(x, kind="stable")]) >= -1e-12).all()
    # Of a least squares fit over a cone the residuals are orthogonal to it, and no rising step is nearer.
    assert float(weight @ ((y - fit) * fit)) == pytest.approx(0.0, abs=1e-8)
    for cut in range(40):
        assert float(weight @ ((y - fit) * (x >= cut))) < 1e-8


def test_a_share_is_known_within_a_factor_and_more_is_aimed_for() -> None:
    sure = curves.share(np.full(1000, 0.96), 1000.0, np.zeros(0), 100_000)
    assert (sure.value, sure.low, sure.high) == pytest.approx((0.96, 0.92, 0.98), abs=1e-3)
    assert curves.raised(0.95) == pytest.approx(0.968, abs=1e-3)
    assert 0.5 < curves.raised(0.5) < 0.7
