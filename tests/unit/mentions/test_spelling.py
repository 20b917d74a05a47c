"""Hashes of shortened strings, against comparing all strings with all."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pgembed.lexical.spelling import edits
from pgembed.mentions.spelling import Hashed, Spellings


def near(strings: list[str], asked: list[str], shortest: int = 1) -> set[tuple[int, int]]:
    length = np.array([len(each) for each in asked], dtype=np.int64)
    end = np.cumsum(length)
    ranges, found = Spellings(strings, shortest).near(Hashed("".join(asked)), end - length, end)
    return set(zip(ranges.tolist(), found.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_no_string_within_one_edit_is_missed(seed: int) -> None:
    chosen = random.Random(seed)
    # few letters, so that many strings are near each other
    strings = ["".join(chosen.choices("abé", k=chosen.randint(2, 7))) for _ in range(150)]
    asked = ["".join(chosen.choices("abé", k=chosen.randint(2, 7))) for _ in range(150)]
    within = {(i, j) for i, a in enumerate(asked) for j, b in enumerate(strings) if edits(a, b) <= 1}
    found = near(strings, asked)
    assert within <= found
    assert all(edits(asked[i], strings[j]) <= 2 for i, j in found)


def test_exact_finds_equal_strings_only() -> None:
    text = Hashed("workmemworkmen")
    ranges, found = Spellings(["workmen", "workmem", "work"], 5).exact(text, np.array([0, 7]), np.array([7, 14]))
    assert list(zip(ranges.tolist(), found.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_short_strings_are_not_found_misspelt() -> None:
    assert near(["port", "work_mem"], ["sort", "work_men"], shortest=6) == {(1, 1)}


def test_an_empty_index_finds_nothing() -> None:
    assert near([], ["abc"]) == set()
    assert near(["abc"], []) == set()


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("", "", 0), ("a", "", 1), ("comit", "commit", 1), ("form", "from", 1), ("kitten", "sitting", 3), ("abc", "abc", 0)],
)
def test_edits(a: str, b: str, expected: int) -> None:
    assert edits(a, b) == edits(b, a) == expected
