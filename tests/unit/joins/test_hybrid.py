"""Candidates by several similarities, against all pairs."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import pytest

from pgembed import lexical
from pgembed.errors import DimensionMismatch, InvalidParameter
from pgembed.joins import hubs, hybrid

WORDS = ["kx-100", "3.50", "v22", "北京", "🙂", "café", "tent", "stove", "lamp", "rope", "boat", "red", "green", "printer", "cable", "the"]


def texts(n: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randrange(1, 7))) for _ in range(n)]


def vectors(n: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)


def everything(
    left: list[str], right: list[str], a: npt.NDArray[np.float32] | None, b: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float64]:
    """Fused scores of all pairs, before correction; of all texts each once, as the weights are."""
    seen = [list(dict.fromkeys(side)) for side in (left, right)]
    i, j = np.divmod(np.arange(len(seen[0]) * len(seen[1])), max(1, len(seen[1])))
    table = np.zeros((len(left), len(right)))
    at = np.ix_([seen[0].index(text) for text in left], [seen[1].index(text) for text in right])
    for kind, (mine, theirs) in lexical.rows(*seen).items():
        table += hybrid.WEIGHTS[kind] * lexical.scores(mine, theirs, i, j).reshape(len(seen[0]), -1)[at]
    if a is not None and b is not None:
        table += hybrid.WEIGHTS["dense"] * ((a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T)
    return table


@pytest.mark.parametrize("with_vectors", [False, True])
@pytest.mark.parametrize("same", [False, True])
def test_the_best_of_all_pairs(with_vectors: bool, same: bool) -> None:
    left = texts(50, 1)
    right = left if same else texts(60, 2)
    a = vectors(50, 1) if with_vectors else None
    b = (a if same else vectors(60, 2)) if with_vectors else None
    table = everything(left, right, a, b)
    if same:
        np.fill_diagonal(table, -np.inf)
    found = hybrid.candidates(left, right, a, b, 4, same=same, hub="none")
    for i in range(50):
        mine = found.left == i
        assert found.rank[mine].tolist() == list(range(1, mine.sum() + 1))
        wanted = np.sort(table[i])[::-1][:4]
        wanted = wanted if with_vectors else wanted[wanted > 0]
        assert found.score[mine] == pytest.approx(wanted, abs=1e-5)
        assert found.score[mine] == pytest.approx(table[i, found.right[mine]], abs=1e-5)
    assert list(found.similarity) == (["dense"] if with_vectors else []) + ["words", "characters", "numbers"]
    assert np.isnan(found.distance).all() != with_vectors


def test_a_hub_is_put_back() -> None:
    left, right = texts(40, 5), texts(40, 6)
    listed = np.divmod(np.arange(1600), 40)
    plain = hybrid.candidates(left, right, k=40, allowed=listed, hub="none")
    found = hybrid.candidates(left, right, k=40, allowed=listed)
    taken = hubs.penalty(plain.right, plain.score, 40, "soft")
    expected = {(i, j): s - taken[j] for i, j, s in zip(plain.left.tolist(), plain.right.tolist(), plain.score.tolist(), strict=True)}
    assert len(found) == 1600
    got = dict(zip(zip(found.left.tolist(), found.right.tolist(), strict=True), found.score.tolist(), strict=True))
    assert got == pytest.approx(expected)
    assert found.right[found.rank == 1].tolist() != plain.right[plain.rank == 1].tolist()


def test_listed_pairs_are_all_that_come_out() -> None:
    left, right = texts(20, 1), texts(20, 2)
    found = hybrid.candidates(left, right, k=3, allowed=([0, 0, 0, 0, 5], [1, 2, 3, 4, 6]))
    pairs = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert len(pairs) == 4
    assert pairs[-1] == (5, 6)
    assert {j for i, j in pairs if i == 0} < {1, 2, 3, 4}
    assert len(hybrid.candidates(left, right, k=3, allowed=([], []))) == 0


@pytest.mark.parametrize("small", [0, 10_000])
def test_groups_are_as_the_pairs_that_they_allow(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "SMALL_GROUP", small)
    left, right = texts(40, 1), texts(50, 2)
    a, b = vectors(40, 1), vectors(50, 2)
    codes = np.arange(40) % 3, np.arange(50) % 4
    listed = np.nonzero(codes[0][:, None] == codes[1])
    found = hybrid.candidates(left, right, a, b, 2, groups=codes, hub="none")
    expected = hybrid.candidates(left, right, a, b, 2, allowed=listed, hub="none")
    assert (found.left.tolist(), found.right.tolist()) == (expected.left.tolist(), expected.right.tolist())
    assert found.score == pytest.approx(expected.score)


def test_equal_texts_do_not_multiply_the_work() -> None:
    found = hybrid.candidates(["one thing"] * 300, ["one thing"] * 300 + ["another thing"], k=2)
    assert len(found) == 600
    assert found.right.tolist() == [0, 1] * 300
    again = hybrid.candidates(["one thing"] * 300, ["one thing"] * 300, k=2, same=True)
    assert (again.left != again.right).all()
    assert len(again) == 600


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_on_a_side(n: int, m: int) -> None:
    assert len(hybrid.candidates(["a"] * n, ["a"] * m)) == 0
    found = hybrid.candidates(["a"] * n, ["a"] * m, vectors(n, 1), vectors(m, 2), groups=(np.zeros(n, int), np.zeros(m, int)))
    assert len(found) == 0
    assert len(found.similarity["dense"]) == 0


def test_odd_texts() -> None:
    long = "x" * 1_000_000
    many = " ".join(f"word{i}" for i in range(100_000))
    left = ["", "🙂", "北京大学", "!!!", long, many, "naïve CAFÉ"]
    right = ["我在北京大学", "go 🙂", "", "!!!", many + " more", long, "naive cafe"]
    found = hybrid.candidates(left, right, k=1)
    assert dict(zip(found.left.tolist(), found.right.tolist(), strict=True)) == {1: 1, 2: 0, 3: 3, 4: 5, 5: 4, 6: 6}
    assert found.similarity["words"][found.left == 6] == pytest.approx(1)


def test_a_zero_vector_has_no_distance_but_its_text_is_compared() -> None:
    a, b = vectors(2, 1), vectors(2, 2)
    a[0] = 0
    found = hybrid.candidates(["tent", "x"], ["tent", "y"], a, b, k=1, hub="none")
    assert np.isnan(found.distance).tolist() == [True, False]
    assert found.right[0] == 0
    assert found.similarity["dense"][0] == 0


def test_bad_input() -> None:
    with pytest.raises(InvalidParameter, match="at least 1"):
        hybrid.candidates(["a"], ["a"], k=0)
    with pytest.raises(InvalidParameter, match="does not exist"):
        hybrid.candidates(["a"], ["a"], hub="what")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter, match="1 left texts, but 2"):
        hybrid.candidates(["a"], ["a"], vectors(2, 1), vectors(1, 1))
    with pytest.raises(InvalidParameter, match="exclude"):
        hybrid.candidates(["a"], ["a"], allowed=([0], [0]), groups=(np.zeros(1, int), np.zeros(1, int)))
    with pytest.raises(DimensionMismatch):
        hybrid.candidates(["a"], ["a"], vectors(1, 1), vectors(1, 1)[:, :3])
