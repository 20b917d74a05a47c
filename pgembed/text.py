"""Text: what is empty, and the tokens that a model reads of a text of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

# Characters to look at first for each token that a model reads. English has 5 to 6, so most texts that are too long
# are seen to be so at the first look, and the rest of them is never tokenised.
_CHARS_A_TOKEN = 8
_GROWTH = 4

# Words that begin this near to a cut are not final: it may be inside of a contraction, such as "they're", or of a special token
# that the text spells out, such as "[MASK]".
CUT_MARGIN = 16


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


def cut_margin(tokenizer: Any) -> int | None:
    """How near to the end of a prefix words may be others than in the whole text, in characters; None where that is not known.

    Known are BERT's tokenizer and byte-level BPE (GPT-2's, RoBERTa's): both cut a text from left to right into words, by rules that look
    a few characters ahead, and then look into each word alone. Others, such as XLM-RoBERTa's, may change the characters first by rules
    that are data.

    Args:
        tokenizer: the tokenizers package's Tokenizer.
    """
    model, normalizer, cutter = (getattr(tokenizer, part) for part in ("model", "normalizer", "pre_tokenizer"))
    kind = (type(model).__name__, type(cutter).__name__)
    bert = kind == ("WordPiece", "BertPreTokenizer") and type(normalizer).__name__ in ("NoneType", "BertNormalizer")
    bytewise = kind == ("BPE", "ByteLevel") and normalizer is None and cutter.use_regex and not model.dropout
    added = tokenizer.get_added_tokens_decoder().values()
    # One that is looked for in the normalised text may stand for a text of any length: normalising drops characters.
    if not (bert or bytewise) or (normalizer is not None and any(token.normalized for token in added)):
        return None
    return max([CUT_MARGIN, *(len(token.content) + 1 for token in added)])


def first_tokens(tokenizer: Tokenizer, text: str, limit: int, margin: int | None = CUT_MARGIN) -> tuple[list[int], bool]:
    """The first tokens of a text, exactly as if all of it were tokenised, at the cost of little more than they need.

    Args:
        tokenizer: its truncation must be off.
        text: of any length; '' gives no tokens.
        limit: how many tokens at most, special ones not counted.
        margin: as ``cut_margin`` says of the tokenizer; None: the whole text is tokenised.
    Returns:
        Token ids in order, without special tokens, and whether the text has more than ``limit``.
    """
    end = limit * _CHARS_A_TOKEN
    while margin is not None and end < len(text):
        encoding = tokenizer.encode(text[:end], add_special_tokens=False)
        if _final_tokens(encoding, end - margin) > limit:
            return encoding.ids[:limit], True
        # Text without words (a megabyte of blanks, one endless word) is read whole, in less than twice the time.
        end *= _GROWTH
    ids: Sequence[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return list(ids[:limit]), len(ids) > limit


def _final_tokens(encoding: Encoding, edge: int) -> int:
    """How many tokens of a prefix no continuation can change: all before the last word that begins at ``edge`` or before it.

    Not those of that word, however long it is: it may be blanks, which a special token after the cut would swallow.
    """
    words, offsets = encoding.word_ids, encoding.offsets
    final = len(words) - 1
    while final > 0 and (offsets[final][0] > edge or words[final] == words[final - 1]):
        final -= 1
    return max(final, 0)
