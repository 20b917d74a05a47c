"""Text in the form in which names are compared: without case, accents and separators, with the way back to the original."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Scripts that put no spaces between words: each character is a word there, so that a name may begin and end anywhere.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Indic vowel signs are part of a word although Python does not count them as alphanumeric.
_WORD = re.compile(f"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\\W_]|[\u0900-\u0dff])+")
_ALONE = re.compile(f"[{_UNSPACED}]")
_ASCII_WORD = re.compile("[a-z0-9]+")


@dataclass(frozen=True)
class Folded:
    """A folded text. ``origin[i]`` is the position in the original of character i of ``text``; None where they are the same."""

    text: str
    original: str
    origin: Sequence[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Positions in the original of a non-empty range, end exclusive, with the accents that follow its last character."""
        if self.origin is None:
            return start, end
        first, last = self.origin[start], self.origin[end - 1] + 1
        while last < len(self.original) and is_accent(self.original[last]):
            last += 1
        return first, last

    def words(self) -> list[tuple[int, int]]:
        """Start and end of every word of ``text``, in order."""
        pattern = _ASCII_WORD if self.text.isascii() else _WORD
        return [match.span() for match in pattern.finditer(self.text)]


def fold(text: str) -> Folded:
    """Lower case, compatibility forms and ligatures spelt out, accents gone; any of it may change the length."""
    if text.isascii():
        return Folded(text.lower(), text, None)
    known: dict[str, str] = {}
    parts: list[str] = []
    origin: list[int] = []
    for position, character in enumerate(text):
        folded = known.get(character)
        if folded is None:
            folded = known[character] = fold_character(character)
        parts.append(folded)
        if len(folded) == 1:
            origin.append(position)
        else:
            origin.extend([position] * len(folded))
    return Folded("".join(parts), text, origin)


def words_of(name: str) -> tuple[str, ...]:
    """The folded words of a name; none where it has neither letter nor digit."""
    folded = fold(name)
    if folded.text.isascii():
        return tuple(_ASCII_WORD.findall(folded.text))
    return tuple(_WORD.findall(folded.text))


def words_in(folded: str) -> list[str]:
    """The words of a text that is folded already."""
    return (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)


def fold_character(character: str) -> str:
    """One character as it is compared; none for accents and for marks without width, such as joiners and those of direction."""
    # Twice: the lower case of a composed letter may be composed again ("İ" is "i" and a dot above).
    for _ in range(2):
        character = "".join(c for c in unicodedata.normalize("NFKD", character) if not is_accent(c)).casefold()
    return "" if unicodedata.category(character[:1] or " ") == "Cf" else _LETTERS.get(character, character)


# Letters that have no accent by Unicode's account, and that people write without theirs: "Lodz", "DIYARBAKIR".
_LETTERS = {"\u0131": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "æ": "ae", "œ": "oe"}


def is_unspaced(character: str) -> bool:
    """Whether a folded character is a word of its own."""
    return _ALONE.match(character) is not None


def is_part(character: str) -> bool:
    """Whether a folded character is a part of a word."""
    return character.isalnum() or "\u0900" <= character <= "\u0dff"


def is_accent(character: str) -> bool:
    """Latin, Greek, Cyrillic, Hebrew and Arabic marks; the signs of Indic and kana scripts distinguish words and stay."""
    place = unicodedata.combining(character)
    return place >= 200 or 10 <= place <= 35
