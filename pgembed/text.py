"""Text: what is empty, and the tokens that a model reads of a text of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

# Characters to look at first for each token that a model reads. English has 5 to 6, so most texts that are too long
# are seen to be so at the first look, and the rest of them is never tokenised.
_CHARS_A_TOKEN = 8
_GROWTH = 4

# A prefix may end inside of a special token that the text spells out, such as "[MASK]"; tokens this near to the cut
# are not final.
_CUT_MARGIN = 16


class Encoding(Protocol):
    """One text's tokens, in order; as the tokenizers package has them."""

    @property
    def ids(self) -> list[int]:
        """The number of each token in the vocabulary."""
        ...

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Where each token begins and ends, in code points of the text, end exclusive."""
        ...

    @property
    def word_ids(self) -> list[int | None]:
        """Which word each token is a piece of."""
        ...


class Tokenizer(Protocol):
    """The tokenizers package's Tokenizer, as far as it is used here."""

    def encode(self, sequence: str, pair: str | None = None, is_pretokenized: bool = False, add_special_tokens: bool = True) -> Encoding:
        """Tokens of one text."""
        ...


def is_empty(text: str) -> bool:
    """Whether a text has nothing to embed: only whitespace (Unicode's), or nothing at all."""
    return not text or text.isspace()


def first_tokens(tokenizer: Tokenizer, text: str, limit: int) -> tuple[list[int], bool]:
    """The first tokens of a text, exactly as if all of it were tokenised, at the cost of little more than they need.

    Args:
        tokenizer: cuts words at spaces and punctuation before it looks into them, as BERT's does; its truncation must
            be off.
        text: of any length; '' gives no tokens.
        limit: how many tokens at most, special ones not counted.
    Returns:
        Token ids in order, without special tokens, and whether the text has more than ``limit``.
    """
    end = limit * _CHARS_A_TOKEN
    while end < len(text):
        encoding = tokenizer.encode(text[:end], add_special_tokens=False)
        final = _final_tokens(encoding, end)
        if final > limit:
            return encoding.ids[:limit], True
        # Text without words (a megabyte of blanks, one endless word) is read whole, in less than twice the time.
        end *= _GROWTH
    ids: Sequence[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return list(ids[:limit]), len(ids) > limit


def _final_tokens(encoding: Encoding, end: int) -> int:
    """How many tokens of a prefix no continuation can change: all before its last word that end well before the cut."""
    words, offsets = encoding.word_ids, encoding.offsets
    final = len(words)
    while final and (words[final - 1] == words[-1] or offsets[final - 1][1] > end - _CUT_MARGIN):
        final -= 1
    return final
