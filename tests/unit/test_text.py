"""Text: emptiness, and truncation that is exact without reading the whole text."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pgembed import text

tokenizers = pytest.importorskip("tokenizers")

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *("##" + c for c in "abcdefgh"), ".", "漢", "ab", "##cd"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A WordPiece tokenizer as BERT's, with a vocabulary of single letters and a few pairs."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[CLS]", "[SEP]", "[MASK]"])
    return made


class Counting:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.chars = 0

    def encode(self, sequence: str, pair: str | None = None, is_pretokenized: bool = False, add_special_tokens: bool = True) -> Any:
        self.chars += len(sequence)
        return self.tokenizer.encode(sequence, pair, is_pretokenized, add_special_tokens)


@pytest.mark.parametrize("empty", ["", " ", "\t\n\r ", "\u00a0\u3000\u2003"])
def test_whitespace_is_empty(empty: str) -> None:
    assert text.is_empty(empty)


@pytest.mark.parametrize("full", ["a", " a ", ".", "\u0000", "🙂"])
def test_anything_else_is_not_empty(full: str) -> None:
    assert not text.is_empty(full)


def test_no_text_has_no_tokens(tokenizer: Any) -> None:
    assert text.first_tokens(tokenizer, "", 5) == ([], False)


@pytest.mark.parametrize(("words", "truncated"), [(4, False), (5, False), (6, True)])
def test_exactly_the_limit_is_not_truncated(tokenizer: Any, words: int, truncated: bool) -> None:
    ids, found = text.first_tokens(tokenizer, "a " * words, 5)
    assert (len(ids), found) == (min(words, 5), truncated)


def test_a_long_text_is_read_only_as_far_as_its_first_tokens_need(tokenizer: Any) -> None:
    counting = Counting(tokenizer)
    ids, truncated = text.first_tokens(counting, "abc def " * 125_000, 254)
    assert (len(ids), truncated) == (254, True)
    assert counting.chars < 10_000


@pytest.mark.parametrize("unit", [" ", "a", "\u0301", "é"])
def test_a_long_text_of_few_tokens_is_read_whole(tokenizer: Any, unit: str) -> None:
    long = unit * 50_000 + " b"
    whole = tokenizer.encode(long, add_special_tokens=False).ids
    assert text.first_tokens(tokenizer, long, 10) == (whole, False)


def test_first_tokens_are_those_of_the_whole_text(tokenizer: Any) -> None:
    """Cuts fall inside of words, accents, special tokens that are spelled out, ideographs and control characters."""
    rng = random.Random(1)
    parts = [
        "abcdefgh",
        "ab cd",
        "éàü",
        "e\u0301\u0323",
        "漢漢",
        "[MASK]",
        "[SEP][MASK]a",
        " . ",
        "\t\u3000",
        "\x00\u200b",
        "🙂",
        "x" * 120,
    ]
    differing = []
    for _ in range(2000):
        content = "".join(rng.choice(parts)[: rng.randint(1, 120)] for _ in range(rng.choice([3, 20, 80])))
        limit = rng.choice([1, 2, 5, 20])
        whole = tokenizer.encode(content, add_special_tokens=False).ids
        if text.first_tokens(tokenizer, content, limit) != (whole[:limit], len(whole) > limit):
            differing.append((content, limit))
    assert differing == []
