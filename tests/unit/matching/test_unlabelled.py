"""Decisions without labels, on pairs whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest

from pgembed import errors, joins
from pgembed.matching import Decision, MappingKind, unlabelled
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
    assert abs(decision.probability[match].mean() - true[match].mean()) < 0.12
    assert 2 * true[match].sum() / (match.sum() + partners) > (0.65 if noise > 1 else 0.95)
    assert decision.precision
    assert decision.recall
    assert decision.precision.low <= decision.precision.value <= decision.precision.high


@pytest.mark.parametrize("mapping", KINDS)
def test_where_no_row_has_a_partner_few_pairs_match(mapping: MappingKind) -> None:
    several = [candidates(0, 400, 0.0, seed)[0] for seed in range(4)]
    assert np.mean([matches(unlabelled.decide(found, mapping=mapping)).sum() for found in several]) < 100
    assert np.mean([matches(unlabelled.decide(found, mapping=mapping, precision=0.95)).sum() for found in several]) < 60


@pytest.mark.parametrize("mapping", KINDS)
def test_an_asked_precision_is_about_held_and_more_of_it_means_fewer_matches(mapping: MappingKind) -> None:
    found, true = candidates(300, 300, 1.2, 5)
    before = np.ones(len(true), dtype=bool)
    for precision in (0.5, 0.8, 0.9, 0.95):
        match = matches(unlabelled.decide(found, mapping=mapping, precision=precision))
        assert match.any()
        assert true[match].mean() > precision - 0.1
        assert not (match & ~before).any()
        before = match


def test_an_asked_recall_is_about_held_and_more_of_it_means_more_matches() -> None:
    found, true = candidates(300, 300, 1.2, 6)
    shares = []
    for recall in (0.3, 0.6, 0.9):
        match = matches(unlabelled.decide(found, mapping="one_to_one", recall=recall))
        shares.append(true[match].sum() / 300)
    assert shares == sorted(set(shares))
    assert shares == pytest.approx([0.3, 0.6, 0.9], abs=0.2)


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
