"""The most alike rows, against all products."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed import lexical
from pgembed.lexical import search, sparse, weights


def rows(n: int, width: int, seed: int, density: float = 0.15) -> sparse.Rows:
    """Random rows, of terms as unlike in frequency as words are."""
    chance = np.random.default_rng(seed)
    table = chance.random((n, width)) < density * 4 / np.arange(1, width + 1) ** 0.7
    row, term = np.nonzero(table)
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    return weights.unit(sparse.Rows(start, term.astype(np.int32), chance.random(len(term)).astype(np.float32) + 0.1, width))


def products(left: sparse.Rows, right: sparse.Rows) -> np.ndarray:
    def dense(side: sparse.Rows) -> np.ndarray:
        made = np.zeros((len(side), side.width))
        made[np.repeat(np.arange(len(side)), side.counts), side.term] = side.weight
        return made

    return np.asarray(dense(left) @ dense(right).T)


@pytest.mark.parametrize(
    ("n", "m", "k", "back"), [(1, 1, 1, 1), (60, 200, 3, 0), (60, 200, 5, 2), (300, 40, 4, 3), (40, 30, 50, 50), (9, 9, 0, 2)]
)
@pytest.mark.parametrize("tiles", [False, True])
def test_the_best_of_both_sides_are_found(n: int, m: int, k: int, back: int, tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if tiles:
        monkeypatch.setattr(search, "TILE", 16)
        monkeypatch.setattr(search, "MOST_COMMON", 3)
    left, right = rows(n, 80, n), rows(m, 80, m + 1)
    expected = products(left, right)
    found = lexical.nearest(left, right, k, back, block_bytes=1_000 if tiles else 1 << 20)
    pairs = set(zip(*(side.tolist() for side in found), strict=True))
    assert len(pairs) == len(found[0])
    assert list(pairs)
    assert sorted(pairs) == list(zip(*(side.tolist() for side in found), strict=True))
    assert all(expected[i, j] > 0 for i, j in pairs)
    if not k:
        assert len(pairs) < n * m / 2
    for i in range(n):
        wanted = np.sort(expected[i])[::-1][:k]
        got = np.sort([expected[i, j] for x, j in pairs if x == i])[::-1][:k]
        wanted = wanted[wanted > 0]
        assert got[: len(wanted)] == pytest.approx(wanted)
    for j in range(m):
        wanted = np.sort(expected[:, j])[::-1][:back]
        wanted = wanted[wanted > 0]
        got = np.sort([expected[i, j] for i, y in pairs if y == j])[::-1][: len(wanted)]
        assert got == pytest.approx(wanted)


def test_few_more_pairs_come_out_than_are_asked_for() -> None:
    left, right = rows(200, 300, 1), rows(900, 300, 2)
    assert len(lexical.nearest(left, right, 5)[0]) < 200 * 5 * 1.5
    assert len(lexical.nearest(left, right, 0, 3, block_bytes=100_000)[0]) < 900 * 3 * 1.5


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_scores_of_listed_pairs(order: str) -> None:
    left, right = rows(70, 50, 3), rows(90, 50, 4)
    i, j = np.divmod(np.arange(70 * 90), 90)
    if order == "shuffled":
        chosen = np.random.default_rng(0).permutation(len(i))
        i, j = i[chosen], j[chosen]
    assert lexical.scores(left, right, i, j, scratch=300) == pytest.approx(products(left, right)[i, j], abs=1e-6)


def test_rows_without_terms_are_like_nothing() -> None:
    nothing = sparse.Rows(np.zeros(4, dtype=np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 50)
    some = rows(5, 50, 1)
    assert [len(side) for side in lexical.nearest(nothing, some, 2, 2)] == [0, 0]
    assert lexical.scores(nothing, some, np.asarray([0, 2]), np.asarray([1, 1])).tolist() == [0, 0]
    none = some.take(np.empty(0, dtype=np.int64))
    assert [len(side) for side in lexical.nearest(none, some, 2, 2)] == [0, 0]
    assert [len(side) for side in lexical.nearest(some, none, 2, 2)] == [0, 0]


def test_a_cancel_is_looked_for_between_blocks() -> None:
    calls: list[None] = []
    lexical.nearest(rows(50, 30, 1), rows(50, 30, 2), 1, check=lambda: calls.append(None), block_bytes=2_000)
    assert len(calls) == 5
