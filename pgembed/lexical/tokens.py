"""What of a text is compared: its words, its tokens with digits, and the character n-grams of its words.

All of it is taken from the folded text: lower case, compatibility forms spelt out, accents gone.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# Scripts without blanks between words: a run of them is cut into characters and pairs of neighbours, since nobody says where words end.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Indic vowel signs are part of a word although Python does not count them as alphanumeric.
_LETTERS = f"(?:(?![{_UNSPACED}])[^\\W_]|[\u0900-\u0dff])+"
# What is neither letter, blank nor punctuation, such as an emoji, a currency or a mathematical sign, is a word of its own.
_SIGN = "[$+<=>^`|~\u00a2-\u00a9\u00ac\u00ae-\u00b1\u00d7\u00f7\u20a0-\u20bf\u2100-\u2bff\u3012\U0001f000-\U0001faff]"
_WORD = re.compile(f"[{_UNSPACED}]+|{_LETTERS}|{_SIGN}")
_ASCII_WORD = re.compile("[a-z0-9]+")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]")
_DIGIT = re.compile(r"\d")
_PARTS = re.compile(r"\d+|[^\d]+")
_NUMBER = re.compile(r"[$£€¥]?[\d,]*\.?\d+[€£$¥]?")
_MARKS = re.compile(r"[\W_]+")
# Marks over and under letters, of Latin, Greek, Cyrillic, Hebrew and Arabic, and variation selectors; the signs of Indic and kana scripts
# distinguish words and stay.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\u200b-\u200d]"
)


def fold(text: str) -> str:
    """Lower case, compatibility forms and ligatures spelt out, accents gone."""
    if text.isascii():
        return text.lower()
    # Case last and once more: the lower case of a composed letter may be composed again ("İ" is "i" and a dot above).
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", _ACCENTS.sub("", plain))


def words(folded: str, *, parts: bool = True) -> list[str]:
    """The words of a folded text in order, with repetition; runs of a script without blanks as characters and pairs of neighbours.

    With ``parts`` a word of letters and digits is followed by its parts: v22 by v and 22, for others write them apart. A text that has
    none but is not blank is one word as it stands, so that it is like itself.
    """
    found: list[str] = []
    for word in _cut(folded):
        if _UNSPACED_RUN.match(word):
            found.extend(word)
            found.extend(word[i : i + 2] for i in range(len(word) - 1))
            continue
        found.append(word)
        if parts and not word.isalpha() and not word.isdigit():
            cut = _PARTS.findall(word)
            if len(cut) > 1:
                found.extend(cut)
    return found


def compounds(folded: str) -> list[str]:
    """Each word and the next in one: others write "techtool" where one writes "tech tool"."""
    return [one + other for one, other in pairwise(_cut(folded))]


def chunks(folded: str) -> list[str]:
    """What n-grams are taken of: each word between blanks, and each end of a word with the beginning of the next.

    The second kind makes "tech tool" like "techtool".
    """
    cut = _cut(folded)
    return [f" {word} " for word in cut] + [one[-2:] + other[:2] for one, other in pairwise(cut)]


def ngrams(chunk: str, size: int = 3) -> list[str]:
    """The character n-grams of a chunk in order; one that is shorter as it stands."""
    return [chunk[i : i + size] for i in range(max(1, len(chunk) - size + 1))]


def numbers(folded: str) -> list[str]:
    """Tokens with a digit, such as prices, sizes and the numbers of models, in one way of writing.

    Numbers lose commas and noughts at the end: 1,299.00 is 1299. Others lose the marks inside: kx-tg6700b is kxtg6700b.
    """
    if not _DIGIT.search(folded):
        return []
    return [_written(code) for code in folded.split() if _DIGIT.search(code)]


def _written(code: str) -> str:
    if not _NUMBER.fullmatch(code):
        return _MARKS.sub("", code)
    plain = code.strip("$£€¥").replace(",", "")
    return plain.rstrip("0").rstrip(".") or "0" if "." in plain else plain


def _cut(folded: str) -> list[str]:
    found: list[str] = (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)
    return found or _whole(folded)


def _whole(folded: str) -> list[str]:
    stripped = folded.strip()
    return [stripped] if stripped else []
