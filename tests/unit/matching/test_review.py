from __future__ import annotations

import numpy as np
import pytest

from pgembed.errors import InvalidParameter
from pgembed.matching.review import worth_labelling
from tests.unit.matching.made import Made, made


@pytest.fixture(scope="module")
def data() -> Made:
    return made(300)


@pytest.fixture(scope="module")
def probability(data: Made) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-20.0 * (data.pairs.score - 0.6))))


def test_mostly_uncertain_and_one_in_five_by_lot(data: Made, probability: np.ndarray) -> None:
    review = worth_labelling(data.pairs, probability, 20)
    assert len(review.at) == len(set(review.at.tolist())) == len(review.reason) == 20
    lot = [reason.startswith("drawn by lot") for reason in review.reason]
    assert sum(lot) == 4
    uncertain = probability[review.at[~np.array(lot)]]
    assert np.abs(uncertain - 0.5).mean() < 0.25 < np.abs(probability - 0.5).mean()


def test_the_lot_is_drawn_from_best_pairs_whatever_their_probability(data: Made, probability: np.ndarray) -> None:
    drawn = np.concatenate([worth_labelling(data.pairs, probability, 40, seed=seed).at[-8:] for seed in range(20)])
    assert probability[drawn].max() > 0.95
    assert probability[drawn].min() < 0.3


def test_labelled_pairs_never_come(data: Made, probability: np.ndarray) -> None:
    labelled = np.zeros(len(probability), dtype=bool)
    labelled[worth_labelling(data.pairs, probability, 30).at] = True
    again = worth_labelling(data.pairs, probability, 30, labelled=labelled)
    assert not labelled[again.at].any()


def test_each_row_is_asked_about_once(data: Made, probability: np.ndarray) -> None:
    at = worth_labelling(data.pairs, probability, 24).at[:20]
    assert len(set(data.pairs.left[at])) == len(set(data.pairs.right[at])) == 20


def test_pairs_are_unlike_each_other(data: Made) -> None:
    """Among equally uncertain pairs of two kinds, one rare, both are asked about."""
    even = np.full(len(data.truth), 0.5)
    values = np.zeros((len(even), 1))
    values[::100] = 1.0
    at = worth_labelling(data.pairs, even, 4, values=values).at
    assert values[at].sum() >= 1


def test_uncertain_is_near_to_the_threshold(data: Made, probability: np.ndarray) -> None:
    high, low = (worth_labelling(data.pairs, probability, 20, threshold=line).at[:16] for line in (0.9, 0.1))
    assert probability[high].mean() > probability[low].mean() + 0.3


def test_the_same_seed_gives_the_same_pairs(data: Made, probability: np.ndarray) -> None:
    one, same, other = (worth_labelling(data.pairs, probability, 20, seed=seed).at.tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_fewer_pairs_than_wanted() -> None:
    few = made(3, 2)
    review = worth_labelling(few.pairs, np.full(6, np.nan), 50)
    assert sorted(review.at.tolist()) == list(range(6))
    nothing = made(0)
    assert len(worth_labelling(nothing.pairs, np.zeros(0), 5).at) == 0


def test_none_asked_for(data: Made, probability: np.ndarray) -> None:
    with pytest.raises(InvalidParameter, match="at least 1 pair"):
        worth_labelling(data.pairs, probability, 0)


def test_reasons_say_what_is_unsure(data: Made, probability: np.ndarray) -> None:
    review = worth_labelling(data.pairs, probability, 20)
    assert all("probability" in reason or "lot" in reason for reason in review.reason)
