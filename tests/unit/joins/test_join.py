"""Which pairs are matches, on data whose true pairs are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pgembed import errors
from pgembed.joins import join


def tables(partners: int, alone: int, noise: float, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Two tables; row i of the left is row i of the right but for noise, for the first rows, and the others have no partner."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(partners + alone, 32))
    right = np.concatenate([left[:partners] + noise * rng.normal(size=(partners, 32)), rng.normal(size=(alone, 32))])
    return left.astype(np.float32), right.astype(np.float32)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize(("partners", "alone"), [(200, 0), (200, 200), (50, 400)])
def test_matches_are_as_precise_as_asked_and_find_most_partners(partners: int, alone: int, unique: bool) -> None:
    left, right = tables(partners, alone, 0.25, partners + alone)
    found = join(left, right, one_to_one=unique, precision=0.9)
    matched = [
        (i, j) for i, j, match in zip(found.pairs.left.tolist(), found.pairs.right.tolist(), found.is_match.tolist(), strict=True) if match
    ]
    true = [i for i, j in matched if i == j and i < partners]
    assert len(true) >= 0.85 * len(matched)  # 0.9 was asked for; the estimate has a spread
    assert len(true) >= 0.8 * partners


def test_where_no_row_has_a_partner_next_to_nothing_matches() -> None:
    left, right = tables(0, 400, 0.0, 3)
    assert sum(map(bool, join(left, right).is_match)) <= 20


def test_too_few_rows_say_nothing() -> None:
    left, right = tables(3, 0, 0.1, 4)
    assert join(left, right).is_match.tolist() == [None] * 3


def test_a_given_max_distance_is_the_line() -> None:
    left, right = tables(3, 3, 0.05, 5)
    found = join(left, right, 2, max_distance=0.1)
    assert found.pairs.left.tolist() == found.pairs.right.tolist() == [0, 1, 2]
    assert found.is_match.tolist() == [True] * 3


@pytest.mark.parametrize("precision", [0.0, 1.0, -1.0])
def test_a_precision_outside_of_0_and_1_is_refused(precision: float) -> None:
    left, right = tables(3, 0, 0.1, 6)
    with pytest.raises(errors.InvalidParameter):
        join(left, right, precision=precision)


def test_several_partners_in_a_one_to_one_mapping_are_refused() -> None:
    left, right = tables(3, 0, 0.1, 7)
    with pytest.raises(errors.InvalidParameter):
        join(left, right, 2, one_to_one=True)
