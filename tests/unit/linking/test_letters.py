"""Distances of many pairs at once against one at a time."""

from __future__ import annotations

import random

from pgembed.lexical.spelling import edits
from pgembed.linking.letters import LONGEST, distances


def test_as_one_pair_at_a_time() -> None:
    rng = random.Random(1)

    def word(most: int) -> str:
        return "".join(rng.choice("abc\u0131\U0001f642") for _ in range(rng.randrange(most)))

    one, other = [word(9) for _ in range(1500)], [word(40) for _ in range(1500)]
    near = [text[:3] + text[4:5] + text[3:4] + text[5:] for text in other]
    for a, b in ((one, other), (other, near), (near, one)):
        assert distances(a, b).tolist() == [edits(x, y) for x, y in zip(a, b, strict=True)]


def test_what_is_beyond_the_longest_differs_as_a_whole() -> None:
    long = "x" * LONGEST
    assert distances([long + "abc", long + "abc", long], [long + "abc", long + "abd", long + "ab"]).tolist() == [0, 3, 2]


def test_nothing() -> None:
    assert distances([], []).tolist() == []
    assert distances(["", "", "a"], ["", "ab", ""]).tolist() == [0, 2, 1]
