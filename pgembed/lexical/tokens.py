"""What of a text is compared: its words, its tokens with digits, and the character n-grams of its words.

All of it is taken from the folded text: lower case, compatibility forms spelt out, accents gone.
"""

from __future__ import annotations

import re
import unicodedata

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


def words(folded: str) -> list[str]:
    """The words of a folded text in order, with repetition; runs of a script without blanks as characters and pairs of neighbours.

    A text that has none but is not blank is one word as it stands, so that it is like itself.
    """
    if folded.isascii():
        found = _ASCII_WORD.findall(folded)
    else:
        found = []
        for word in _WORD.findall(folded):
            if _UNSPACED_RUN.match(word):
                found.extend(word)
                found.extend(word[i : i + 2] for i in range(len(word) - 1))
            else:
                found.append(word)
    return found or _whole(folded)


def chunks(folded: str) -> list[str]:
    """The words whose n-grams are compared: as `words`, but runs of a script without blanks are whole."""
    found: list[str] = (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)
    return found or _whole(folded)


def ngrams(chunk: str, sizes: tuple[int, ...] = (3, 4)) -> list[str]:
    """The character n-grams of a word with a blank before and after it; shorter ones as they stand."""
    padded = f" {chunk} "
    return [padded[i : i + size] for size in sizes for i in range(max(1, len(padded) - size + 1))]


def numbers(folded: str) -> list[str]:
    """Tokens with a digit, such as prices, sizes and the numbers of models, without the marks inside: kx-tg6700b is kxtg6700b."""
    if not _DIGIT.search(folded):
        return []
    return [_MARKS.sub("", code) for code in folded.split() if _DIGIT.search(code)]


def _whole(folded: str) -> list[str]:
    stripped = folded.strip()
    return [stripped] if stripped else []
