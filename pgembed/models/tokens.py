"""tokens: how an encoder's texts become numbers. Plain texts go through ``words``; the tokenizers package and its vocabulary are loaded
for the first text that is not plain, for they cost a backend 9 MB and 50 ms.

    tokenizer.json   the model's own, truncation and padding off
    words.bin        the vocabulary for plain texts, where the tokenizer is of that kind
    tokens.json      the special tokens before and after a text, and the largest number of all
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pgembed import text as text_room
from pgembed.models import threads, words

TOKENIZER, WORDS, FACTS = "tokenizer.json", "words.bin", "tokens.json"

# Of a long plain text the beginning is read first, and more of it where that was not enough.
_CHARS_A_TOKEN = 8
_GROWTH = 4


def write(tokenizer: str, work: Path) -> None:
    """Write a tokenizer's files into a folder; ``tokenizer`` is the text of tokenizer.json, truncation and padding off."""
    import tokenizers

    (work / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    words.write(json.loads(tokenizer), work / WORDS)
    loaded = tokenizers.Tokenizer.from_str(tokenizer)
    before, after = _special_tokens(loaded)
    facts = {"before": before, "after": after, "largest": max(loaded.get_vocab(with_added_tokens=True).values())}
    (work / FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")


class Tokens:
    """A tokenizer's files, opened.

    Attributes:
        before, after: the special tokens around a text.
        largest: the largest number that a token may have.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
        self.before: list[int] = facts["before"]
        self.after: list[int] = facts["after"]
        self.largest: int = facts["largest"]
        self._words = words.Words(place / WORDS) if (place / WORDS).is_file() else None
        self._loaded: Any = None
        self._margin: int | None = None

    def first(self, text: str, limit: int) -> tuple[list[int], bool]:
        """The first tokens of a text, special ones left out, and whether it has more than ``limit``."""
        found = self._first_plain(text, limit) if self._words is not None else None
        if found is None:
            # _margin is known once the tokenizer is.
            tokenizer = self._tokenizer()
            found = text_room.first_tokens(tokenizer, text, limit, self._margin)
        return found

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token begins and ends; those without a place in the text left out."""
        spans: list[tuple[int, int]] = self._tokenizer().encode(text, add_special_tokens=False).offsets
        return [span for span in spans if span[0] < span[1]]

    def count(self, text: str) -> int:
        """How many tokens a text has, special ones included."""
        if self._words is not None and self._words.takes(text):
            return len(self._words.tokens([text])[0]) + len(self.before) + len(self.after)
        return len(self._tokenizer().encode(text).ids)

    def json(self) -> str:
        """The text of tokenizer.json."""
        return str(self._tokenizer().to_str())

    def _first_plain(self, text: str, limit: int) -> tuple[list[int], bool] | None:
        """As ``first``; None where the text is not plain."""
        assert self._words is not None
        end = limit * _CHARS_A_TOKEN
        while end < len(text):
            # No word and no special token goes over a blank, so what is before one is final.
            beginning = text[: max(text.rfind(" ", 0, end), 0)]
            if not self._words.takes(beginning):
                return None
            ids = self._words.tokens([beginning])[0]
            if len(ids) > limit:
                return ids[:limit].tolist(), True
            end *= _GROWTH
        if not self._words.takes(text):
            return None
        ids = self._words.tokens([text])[0]
        return ids[:limit].tolist(), len(ids) > limit

    def _tokenizer(self) -> Any:
        if self._loaded is None:
            with threads.signals_blocked():
                import tokenizers

                self._loaded = tokenizers.Tokenizer.from_file(str(self._place / TOKENIZER))
            self._margin = text_room.cut_margin(self._loaded)
        return self._loaded


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    encoding = tokenizer.encode("a")
    # 1 for what was added; a text's own tokens are in one piece.
    added = encoding.special_tokens_mask
    first = next((i for i, flag in enumerate(added) if not flag), len(added))
    last = next((i for i in range(len(added), 0, -1) if not added[i - 1]), first)
    return encoding.ids[:first], encoding.ids[last:]
