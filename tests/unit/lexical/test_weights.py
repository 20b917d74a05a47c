"""TF-IDF against dictionaries."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from pgembed import lexical
from pgembed.lexical import sparse, tokens, weights

LEFT = ["red red apple", "Green apple 12.50", "", "apple"]
RIGHT = ["a red apple", "pear", "green-apple 12.5", "!!!", "!!!"]


def counted(kind: str, text: str) -> Counter[str]:
    folded = tokens.fold(text)
    if kind == "words":
        found: Counter[str] = Counter(tokens.words(folded))
        for word in tokens.compounds(folded):
            found[word] += weights.COMPOUND  # type: ignore[assignment]
        return found
    if kind == "characters":
        return Counter(gram for chunk in tokens.chunks(folded) for gram in tokens.ngrams(chunk))
    return Counter(tokens.numbers(folded))


def cosines(kind: str, left: list[str], right: list[str]) -> list[list[float]]:
    rows = [counted(kind, text) for text in [*left, *right]]
    having = Counter(term for row in rows for term in row)
    weighed = []
    for row in rows:
        one = {term: (1 + math.log(tf)) * (math.log((1 + len(rows)) / (1 + having[term])) + 1) for term, tf in row.items()}
        norm = math.sqrt(sum(weight**2 for weight in one.values())) or 1.0
        weighed.append({term: weight / norm for term, weight in one.items()})
    return [[sum(weight * b.get(term, 0.0) for term, weight in a.items()) for b in weighed[len(left) :]] for a in weighed[: len(left)]]


@pytest.mark.parametrize("kind", lexical.KINDS)
def test_cosines_are_those_of_dictionaries(kind: lexical.Kind) -> None:
    mine, theirs = lexical.rows(LEFT, RIGHT)[kind]
    left, right = np.divmod(np.arange(len(LEFT) * len(RIGHT)), len(RIGHT))
    assert lexical.scores(mine, theirs, left, right) == pytest.approx(np.ravel(cosines(kind, LEFT, RIGHT)), abs=1e-6)


def test_equal_texts_are_one_and_empty_ones_nothing() -> None:
    mine, theirs = lexical.rows(["", "!!!", "x 1"], ["", "!!!", "x 1"])["words"]
    at = np.arange(3)
    assert lexical.scores(mine, theirs, at, at) == pytest.approx([0, 1, 1])


def test_no_texts_have_no_rows() -> None:
    for mine, theirs in lexical.rows([], ["a"]).values():
        assert (len(mine), len(theirs)) == (0, 1)


def test_a_cancel_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "STEP", 2)
    calls: list[None] = []
    lexical.rows(LEFT, RIGHT, lambda: calls.append(None))
    assert len(calls) >= 3 * 5


def test_rows_are_the_same_whatever_the_parts() -> None:
    chance = random.Random(3)
    lengths = np.asarray([0, 5, 0, 9, 3, 0])
    term = np.asarray([chance.randrange(4) for _ in range(17)], dtype=np.int32)
    amount = np.asarray([chance.random() for _ in range(17)], dtype=np.float32)
    whole = sparse.combined(lengths, term, amount, 4)
    parts = sparse.combined(lengths, term, amount, 4, part=4)
    for of in ("start", "term", "weight"):
        assert np.array_equal(getattr(whole, of), getattr(parts, of))
    expected = np.zeros((6, 4))
    np.add.at(expected, (np.repeat(np.arange(6), lengths), term), amount)
    assert dense(whole) == pytest.approx(expected, abs=1e-6)
    again = sparse.product(
        whole, sparse.combined(np.asarray([1, 2, 0, 1]), np.asarray([1, 0, 1, 2], np.int32), np.ones(4, np.float32), 3), part=3
    )
    assert dense(again) == pytest.approx(expected @ [[0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]], abs=1e-6)


def dense(rows: sparse.Rows) -> np.ndarray:
    made = np.zeros((len(rows), rows.width))
    made[np.repeat(np.arange(len(rows)), rows.counts), rows.term] = rows.weight
    return made
