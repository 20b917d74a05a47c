"""Hub correction against loops over all similarities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pgembed.errors import InvalidParameter
from pgembed.joins import hubs


def vectors(n: int, seed: int) -> npt.NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    return (chance.normal(size=(n, 6)) + 0.7).astype(np.float32)


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (a.astype(np.float64), b.astype(np.float64)))
    return np.asarray(x @ y.T)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("block_bytes", [1_000, 1 << 20])
def test_one_number_a_row(same: bool, block_bytes: int) -> None:
    rows = vectors(40, 1)
    bank = rows if same else vectors(25, 2)
    table = cosine(rows, bank)
    if same:
        np.fill_diagonal(table, -np.inf)
    csls = hubs.hubness(rows, bank, "csls", same=same, block_bytes=block_bytes)
    assert csls == pytest.approx(np.sort(table, axis=1)[:, -10:].mean(axis=1), abs=1e-5)
    qb = hubs.hubness(rows, bank, "qb_norm", same=same, block_bytes=block_bytes)
    assert np.abs(qb) == pytest.approx(np.exp(20 * (table - 1)).sum(axis=1), rel=1e-4)
    assert set(np.flatnonzero(qb > 0)) == set(table.argmax(axis=0))


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("method", hubs.CORRECTIONS)
@pytest.mark.parametrize("k", [1, 3])
def test_the_best_after_correction(same: bool, method: hubs.Correction, k: int) -> None:
    left = vectors(30, 3)
    right = left if same else vectors(45, 4)
    number = hubs.hubness(right, vectors(60, 5), method)
    score = cosine(left, right)
    if same:
        np.fill_diagonal(score, -np.inf)
    if method == "csls":
        corrected = score - number / 2
    else:
        assert 0 < (number > 0).sum() < len(number)
        corrected = np.where(number[score.argmax(axis=1)][:, None] > 0, score - np.log(np.abs(number)) / 20, score)
    expected = np.argsort(-corrected, axis=1)[:, :k]
    found = hubs.nearest(left, right, number, k, method, same=same)
    assert found.left.tolist() == np.repeat(np.arange(30), k).tolist()
    assert found.right.reshape(30, k).tolist() == expected.tolist()
    assert found.rank.tolist() == list(range(1, k + 1)) * 30
    assert found.distance == pytest.approx(1 - score[found.left, found.right], abs=1e-6)
    assert (expected != np.argsort(-score, axis=1)[:, :k]).any()


def test_rows_without_direction_or_number_come_in_no_pair() -> None:
    left, right = vectors(4, 1), vectors(5, 2)
    left[1], right[2] = 0, 0
    for method in hubs.CORRECTIONS:
        number = hubs.hubness(right, left, method)
        assert np.isnan(number).tolist() == [False, False, True, False, False]
        number[0] = np.nan
        found = hubs.nearest(left, right, number, 9, method)
        assert set(found.left.tolist()) == {0, 2, 3}
        assert set(found.right.tolist()) == {1, 3, 4}


def test_nothing_on_a_side() -> None:
    some, none = vectors(3, 1), np.empty((0, 6), dtype=np.float32)
    for method in hubs.CORRECTIONS:
        assert np.isnan(hubs.hubness(some, none, method)).all()
        assert len(hubs.hubness(none, some, method)) == 0
        assert len(hubs.nearest(none, some, np.ones(3), 1, method)) == 0
        assert len(hubs.nearest(some, none, np.ones(0), 1, method)) == 0


def test_bad_input() -> None:
    some = vectors(3, 1)
    with pytest.raises(InvalidParameter, match="does not exist"):
        hubs.hubness(some, some, "none")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter, match="at least 1"):
        hubs.nearest(some, some, np.ones(3), 0)
    with pytest.raises(InvalidParameter, match="2 numbers for 3"):
        hubs.nearest(some, some, np.ones(2))


def test_penalties() -> None:
    right, score = np.asarray([0, 0, 2]), np.asarray([1.0, 0.5, 0.2])
    assert hubs.penalty(right, score, 3, "none").tolist() == [0, 0, 0]
    assert hubs.penalty(right, score, 3, "best").tolist() == [0.5, 0, 0.1]
    assert hubs.penalty(right, score, 3, "csls").tolist() == pytest.approx([0.375, 0, 0.1])
    assert hubs.penalty(right, score, 3, "soft").tolist() == pytest.approx([0.1 * np.log(np.exp(10) + np.exp(5)) / 2, 0, 0.1])
