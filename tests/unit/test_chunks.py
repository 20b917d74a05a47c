"""Chunks: slices that cover a text, within a number of tokens, cut where a reader would pause."""

# ruff: noqa: RUF001  (punctuation of other scripts is what is tested)

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import pytest

from pgembed import chunks, errors
from pgembed.chunks import Chunk


def words(text: str) -> list[tuple[int, int]]:
    """A tokenizer that is easy to count with: words, and every mark by itself."""
    return [found.span() for found in re.finditer(r"\w+|[^\w\s]", text)]


def letters(text: str) -> list[tuple[int, int]]:
    """Every character that is not whitespace."""
    return [(at, at + 1) for at, one in enumerate(text) if not one.isspace()]


def pairs(text: str) -> list[tuple[int, int]]:
    """Two letters a token from the beginning of each word, so that a word cut at an odd place has other tokens than before."""
    return [(at, min(at + 2, found.end())) for found in re.finditer(r"\S+", text) for at in range(found.start(), found.end(), 2)]


def unknown(text: str) -> list[tuple[int, int]]:
    """One token for each word, as WordPiece makes of words that are too long."""
    return [found.span() for found in re.finditer(r"\S+", text)]


def octets(text: str) -> list[tuple[int, int]]:
    """Tokens of bytes: several have the same place."""
    return [(at, at + 1) for at, one in enumerate(text) if not one.isspace() for _ in one.encode()]


def cut(text: str, max_tokens: int, overlap: int = 0, spans: chunks.Spans = words) -> list[str]:
    return [text[chunk.start : chunk.end] for chunk in chunks.split(text, spans, max_tokens, overlap)]


# Each is one character to a reader, whatever stands beside it.
CHARACTERS = [
    *("a", "b", "Z", "7", ".", ",", "!", "-", " ", " ", " ", "\n", "\r\n", "\t", "\u00a0", "\u200b"),
    *("é", "e\u0301", "ạ\u0302", "नि", "ก็", "กำ", "ｶﾞ", "漢", "字", "。", "、", "한", "\u1112\u1161\u11ab"),
    *("👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "👍🏽", "❤️", "1️⃣", "🇩🇪", "…", "«", "»"),
]


@pytest.mark.parametrize("spans", [words, letters, pairs, unknown, octets])
@pytest.mark.parametrize("seed", range(40))
def test_chunks_cover_a_text_in_order_and_within_the_bound(spans: chunks.Spans, seed: int) -> None:
    chance = random.Random(seed)
    characters = [chance.choice(CHARACTERS) for _ in range(chance.randint(1, 400))]
    text = "".join(characters)
    begins = {0, *accumulate(map(len, characters))}
    max_tokens = chance.choice([1, 2, 3, 7, 20, 50])
    overlap = chance.randrange(max_tokens)
    made = chunks.split(text, spans, max_tokens, overlap)
    covered = {at for chunk in made for at in range(chunk.start, chunk.end)}
    assert covered >= {at for at, one in enumerate(text) if not one.isspace()}
    for chunk in made:
        part = text[chunk.start : chunk.end]
        assert part == part.strip() != ""
        assert {chunk.start, chunk.end} <= begins
        assert len(spans(part)) <= max_tokens or not begins & set(range(chunk.start + 1, chunk.end)), part
    for one, other in pairwise(made):
        assert one.start < other.start
        assert one.end < other.end
        if overlap == 0:
            assert other.start >= one.end
        if spans is letters:  # whose tokens are the same wherever a text is cut
            assert len(spans(text[other.start : one.end])) <= overlap


@pytest.mark.parametrize(("overlap", "spans"), [(0, words), (3, words), (0, pairs), (5, letters)])
def test_a_text_that_fits_is_one_chunk(overlap: int, spans: chunks.Spans) -> None:
    text = "One. Two three.\n\nFour, five: six\nseven"
    n = len(spans(text))
    assert chunks.split(f"  {text} \n", spans, n, overlap) == [Chunk(2, 2 + len(text))]
    assert len(chunks.split(text, spans, n - 1)) == 2


@pytest.mark.parametrize("text", ["", " ", "\n\t \r\n", "\u00a0\u3000"])
def test_nothing_has_no_chunks(text: str) -> None:
    assert chunks.split(text, words, 10) == []


@pytest.mark.parametrize(
    ("text", "max_tokens", "parts"),
    [
        # a paragraph's end, where the chunk is at least half full
        ("A b c dd.\n\nE ff. G hh.", 8, ["A b c dd.", "E ff. G hh."]),
        # else a sentence's
        ("Aa.\n\nB c d ee. F g h ii.", 8, ["Aa.\n\nB c d ee.", "F g h ii."]),
        # a sentence that fits is whole, however short the chunk before
        ("Aa. B c d e f g hh.", 8, ["Aa.", "B c d e f g hh."]),
        # a clause's, a line's
        ("a b c d, e f g h i.", 6, ["a b c d,", "e f g h i."]),
        ("a b c d\ne f g h i", 6, ["a b c d", "e f g h i"]),
        # a word's
        ("a, b c d e f g h", 4, ["a, b c", "d e f g", "h"]),
        # CRLF is a line's end, twice a paragraph's
        ("A b cc.\r\n\r\nD e ff. Gg.", 7, ["A b cc.", "D e ff. Gg."]),
        ("a b c\r\nd e f g", 4, ["a b c", "d e f g"]),
    ],
)
def test_cuts_are_where_a_reader_pauses(text: str, max_tokens: int, parts: list[str]) -> None:
    assert cut(text, max_tokens) == parts


def test_japanese_is_cut_between_any_two_characters_but_before_a_mark_that_closes() -> None:
    assert cut("雨が降る（はい）と", 7, spans=letters) == ["雨が降る（は", "い）と"]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Who met Mr. X at 3.14 p.m. on Fig. 2.", "He said no.", "Then he left."],
        ["See e.g. the U.S. case, i.e. No. 5.", "J. R. R. Tolkien wrote it."],
        ["Wait... what?", "Nothing!", '"Stop!" he said.', "(It stopped.)", "**Bold.**", "End"],
        ["今日は雨です。", "「行こう。」", "本当に？", "はい"],
        ["यह एक वाक्य है।", "यह दूसरा है।"],
        ["هل هذا صحيح؟", "نعم."],
        ["Es gilt z.B. Nr. 3 bzw. Abs. 2.", "Danach nicht."],
    ],
)
def test_sentences_end_where_they_do(sentences: list[str]) -> None:
    for space in (" ", "\n", "  "):
        text = space.join(sentences)
        found = [text[slice(*pair)].strip() for pair in pairwise([0, *chunks.ends(text).sentences, len(text)])]
        assert [part for part in found if part] == sentences


def test_paragraphs_lists_headings_and_code() -> None:
    text = "# 1. Title?\n\nText one\nwrapped.\n\n- item one\n- item two\n1. first\n\n## Next\nMore\n```\nx = 1.\n\ny = 2\n```\nend"
    found = chunks.ends(text)
    assert [text[:at].splitlines()[-1] for at in found.paragraphs] == ["wrapped.", "1. first", "x = 1."]
    assert [text[:at].splitlines()[-1] for at in found.clauses] == ["Text one", "```"]
    lines = [text[:at].splitlines()[-1] for at in found.sentences]
    assert [line for line in lines if not line[-1:].endswith((".", "?"))] == [
        *("- item one", "- item two", "1. first", "More", "```", "y = 2")
    ]
    assert "## Next" not in lines


def test_overlap_repeats_whole_sentences_where_it_can() -> None:
    text = "A b cc. D ee. F g hh. I jj."
    assert cut(text, 7, 3) == ["A b cc. D ee.", "D ee. F g hh.", "g hh. I jj."]
    assert cut(text, 7, 4) == ["A b cc. D ee.", "D ee. F g hh.", "F g hh. I jj."]
    assert cut("a b c d e f g h", 4, 2) == ["a b c d", "c d e f", "e f g h"]
    # no sentence is cut for the sake of the overlap
    assert cut("Aa. Bb. C d e f g hh.", 9, 4) == ["Aa. Bb.", "Bb. C d e f g hh."]
    assert cut("Aa. Bb. C d e f g hh.", 8, 4) == ["Aa. Bb.", "C d e f g hh."]


def test_a_sentence_that_fits_is_never_cut() -> None:
    chance = random.Random(1)
    for _ in range(60):
        sentences = [" ".join("w" * chance.randint(2, 4) for _ in range(chance.randint(1, 12))) + "." for _ in range(30)]
        text = " ".join(sentence.capitalize() for sentence in sentences)
        stops = {found.end() for found in re.finditer(r"\.", text)}
        made = chunks.split(text, words, 13, chance.choice([0, 3, 12]))
        assert {chunk.end for chunk in made} <= stops


def test_each_chunk_is_as_full_as_the_next_word_allows() -> None:
    text = "word " * 1000
    assert {len(words(part)) for part in cut(text, 7)[:-1]} == {7}


@pytest.mark.parametrize("spans", [unknown, letters, octets])
def test_a_megabyte_without_a_space_is_cut(spans: chunks.Spans) -> None:
    text = "x" * 1_000_000
    made = chunks.split(text, spans, 200)
    assert made[0].start == 0
    assert made[-1].end == len(text)
    assert all(one.end == other.start for one, other in pairwise(made))
    assert max(chunk.end - chunk.start for chunk in made) <= 64 * 200


def test_a_long_text_is_given_to_the_tokenizer_in_pieces_and_a_cancel_is_seen() -> None:
    longest, checked = 0, 0

    def watched(text: str) -> list[tuple[int, int]]:
        nonlocal longest
        longest = max(longest, len(text))
        return words(text)

    def check() -> None:
        nonlocal checked
        checked += 1
        if checked == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chunks.split("word " * 400_000, watched, 200, 0, check)
    assert longest < 40_000


@pytest.mark.parametrize(
    "text", ["." * 300_000, " " * 300_000 + "x", "\n" * 300_000 + "x", "x\u0301" + "\u0301" * 300_000, "🇩🇪" * 50_000, "a. " * 100_000]
)
@pytest.mark.parametrize("spans", [words, unknown])
def test_odd_texts_take_linear_time(text: str, spans: Callable[[str], list[tuple[int, int]]]) -> None:
    seen = 0

    def counted(part: str) -> list[tuple[int, int]]:
        nonlocal seen
        seen += len(part)
        return spans(part)

    chunks.split(text, counted, 200, 20)
    assert seen <= 3 * len(text) + 100_000


@pytest.mark.parametrize(
    ("max_tokens", "overlap", "error", "message", "hint"),
    [
        (None, 0, errors.NullNotAllowed, "max_tokens is NULL", "default"),
        (10, None, errors.NullNotAllowed, "overlap is NULL", "default"),
        (0, 0, errors.InvalidParameter, "max_tokens must be at least 1, not 0", "200"),
        (10, 10, errors.InvalidParameter, "overlap must be from 0 to 9, below max_tokens, not 10", "tenth"),
        (10, -1, errors.InvalidParameter, "not -1", "tenth"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    max_tokens: Any, overlap: Any, error: type[errors.PgembedError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        chunks.check_limits(max_tokens, overlap)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
