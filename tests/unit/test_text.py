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


def trained_bytewise() -> Any:
    """Byte-level BPE as RoBERTa's, trained on a few words and long runs of blanks; <mask> swallows the blanks before it."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=600, initial_alphabet=sorted(alphabet), show_progress=False)
    corpus = ["they're there's we'll abc abcdefgh ab cd" + " " * 64 + "x", "éàü 漢漢 123 1234 ...!!", " \n\n\n  \t x"] * 20
    made.train_from_iterator(corpus, trainer)
    made.post_processor = tokenizers.processors.ByteLevel(trim_offsets=True)
    made.add_special_tokens(["<s>", "</s>", tokenizers.AddedToken("<mask>", lstrip=True, special=True)])
    return made


def trained_unigram() -> Any:
    """Unigram as XLM-RoBERTa's: nothing but the whole text says what its tokens are."""
    made = tokenizers.Tokenizer(tokenizers.models.Unigram())
    made.normalizer = tokenizers.normalizers.NFKC()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(vocab_size=60, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator(["they're there abc abcdefgh ab cd", "éàü 漢漢 123 ...", "[MASK] x"] * 20, trainer)
    return made


def installed() -> Any:
    """The default model's own tokenizer."""
    from pgembed import models

    path = models.models_dir() / "all-minilm-l6-v2" / "current" / "tokenizer.json"
    if not path.is_file():
        pytest.skip("the default model is not installed; python -m pgembed.models.conversion.convert does it")
    return tokenizers.Tokenizer.from_file(str(path))


PARTS = [
    "abcdefgh", "ab cd", "éàü", "e\u0301\u0323", "漢漢", "[MASK]", "[SEP][MASK]a", " . ", "\t\u3000", "\x00\u200b", "🙂", "x" * 120,
    " " * 120, "  <mask>", "<mask> <s>", "they're", "'ll'", "1234", "\n\n \n", "...!!", "\u0345\u1d165", "ﬁ½",
]  # fmt: skip


@pytest.mark.parametrize("made", [trained_bytewise, trained_unigram, installed])
def test_first_tokens_of_every_kind_are_those_of_the_whole_text(made: Any) -> None:
    """Cuts fall inside of contractions, numbers, runs of blanks that a special token swallows, and characters of several bytes."""
    tokenizer = made()
    margin = text.cut_margin(tokenizer)
    rng = random.Random(2)
    differing = []
    for _ in range(1500):
        content = "".join(rng.choice(PARTS)[: rng.randint(1, 120)] for _ in range(rng.choice([3, 20, 80])))
        limit = rng.choice([1, 2, 5, 20])
        whole = tokenizer.encode(content, add_special_tokens=False).ids
        if text.first_tokens(tokenizer, content, limit, margin) != (whole[:limit], len(whole) > limit):
            differing.append((content, limit))
    assert differing == []


@pytest.mark.parametrize("cut", range(1, 60))
def test_blanks_that_a_special_token_swallows_are_never_first_tokens(cut: int) -> None:
    """The prefix ends in the blanks, or inside of the token that is not seen as one."""
    tokenizer = trained_bytewise()
    content = "abc" + " " * (8 * 4 - 3 - cut if cut < 29 else 90 - cut) + "<mask> abc abc" * 30
    whole = tokenizer.encode(content, add_special_tokens=False).ids
    assert text.first_tokens(tokenizer, content, 4, text.cut_margin(tokenizer)) == (whole[:4], True)


def test_kinds_of_tokenizers_that_can_be_cut(tokenizer: Any) -> None:
    assert text.cut_margin(tokenizer) == text.CUT_MARGIN
    assert text.cut_margin(trained_bytewise()) == text.CUT_MARGIN
    assert text.cut_margin(trained_unigram()) is None
    long = trained_bytewise()
    long.add_special_tokens(["<a special token of many characters>"])
    assert text.cut_margin(long) == len("<a special token of many characters>") + 1


def test_a_tokenizer_whose_added_tokens_are_found_in_changed_text_is_not_cut(tokenizer: Any) -> None:
    """ "ab" is found in "a", any number of control characters, "b"."""
    other = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    other.add_tokens([tokenizers.AddedToken("ef", normalized=True)])
    assert text.cut_margin(other) is None
    content = "e" + "\x00" * 200 + "f" + " a" * 100
    whole = other.encode(content, add_special_tokens=False).ids
    assert text.first_tokens(other, content, 3, text.cut_margin(other)) == (whole[:3], True)


def test_a_long_text_of_bytes_is_read_only_as_far_as_its_first_tokens_need() -> None:
    counting = Counting(trained_bytewise())
    ids, truncated = text.first_tokens(counting, "abc def " * 125_000, 254, text.CUT_MARGIN)
    assert (len(ids), truncated) == (254, True)
    assert counting.chars < 10_000


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
