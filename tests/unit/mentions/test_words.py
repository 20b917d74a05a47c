"""Words of many texts at once: the same as of each text by itself, whatever is in them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pgembed.mentions import folding, words
from pgembed.mentions.spelling import hashes_of

# Accents apart and composed, ligatures, letters that fold to several, scripts without spaces, right to left, joiners, a lone surrogate.
PIECES = [
    *("a", "B", "é", "e\u0301", "ﬁ", "½", "İ", "\u0131", "ß", "Ł", "-", "_", ".", " ", "\n", "'", "0", "\ud800", "ǅ", "ﷺ", "㍿"),
    *("日", "本", "あ", "ก", "\u05e0", "\u05b8", "\u0645", "\u200d", "👩", "🏽", "\u200f", "क", "ि"),
]


@pytest.mark.parametrize("seed", range(4))
def test_words_of_a_batch_are_those_of_each_text(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        texts = ["".join(rng.choices(PIECES, k=rng.randint(0, 14))) for _ in range(rng.randint(0, 4))]
        cut = words.words(texts)
        assert len(cut.gap) == len(cut.is_capital) == len(cut)
        found: list[list[tuple[str, int, int]]] = [[] for _ in texts]
        for at in range(len(cut)):
            text = int(cut.text[at])
            found[text].append((cut.word(at), int(cut.start[at] - cut.offset[text]), int(cut.end[at] - cut.offset[text])))
        for text, content in enumerate(texts):
            folded = folding.fold(content)
            assert found[text] == [(folded.text[a:b], *folded.span(a, b)) for a, b in folded.words()]


def test_hashes_are_of_the_letters_wherever_they_stand() -> None:
    cut = words.words(["Foo bar", "x FOO", "f\u00f6o"])
    assert cut.hash.tolist() == hashes_of(["foo", "bar", "x", "foo", "foo"]).tolist()
    assert not np.array_equal(hashes_of(["foo"]), hashes_of(["fo"]))


@pytest.mark.parametrize(
    ("gap", "bit", "has"),
    [
        (" ", words.PROPER, True),
        (", ", words.PROPER, False),
        (". ", words.SENTENCE, True),
        (".", words.SENTENCE, False),
        ('." ', words.SENTENCE, True),
        (": ", words.STRONG, True),
        (" (", words.OPENED, True),
        ("\n\n\n", words.NAME, False),
        ("\u3002", words.SENTENCE, True),
    ],
)
def test_what_separates_words_is_told_apart(gap: str, bit: int, has: bool) -> None:
    assert bool(words.words([f"One{gap}Two"]).gap[1] & bit) is has


def test_the_first_word_of_a_text_begins_a_sentence() -> None:
    assert [bool(gap & words.NEW and gap & words.SENTENCE) for gap in words.words(["one two", "(three"]).gap] == [True, False, True]


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("DIYARBAKIR", "diyarbak\u0131r"),
        ("Lodz", "Łódź"),
        ("Oresund", "Øresund"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u062e\u0648"),
    ],
)
def test_letters_that_people_write_either_way_are_equal(written: str, folded: str) -> None:
    assert folding.words_of(written) == folding.words_of(folded)
