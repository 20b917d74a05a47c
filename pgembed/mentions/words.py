"""The words of many texts as flat arrays: folded letters, hashes, where they stand, how they are written and what separates them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.mentions import folding
from pgembed.mentions.spelling import Hashed, Hashes, Ints

Bools: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.uint32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

# What a character is, when it is folded: part of no word, of a word, or a word of its own.
_NONE, _PART, _ALONE = 0, 1, 2

# What the gap before a word is, as bits.
NAME = 1  # names contain such
PROPER = 2  # capitalised words on both sides are one name
SENTENCE = 4  # a sentence may begin after it
STRONG = 8  # only a name that has the same marks may contain it
ABBREVIATED = 16  # a full stop and a space: goes on after an initial or "St", ends a sentence after a longer word
APOSTROPHE = 32
OPENED = 64  # a quotation mark, bracket or asterisk stands right before the word
NEW = 128  # another text

_GAP_NAME = re.compile("[^\\S\n]{0,2}[^\\w\\s]{0,3}[^\\S\n]{0,2}[^\\w\\s]{0,2}|_{1,3}|[^\\S\n]*\n[^\\S\n]*")
_GAP_PROPER = re.compile("[ \u00a0]|[-\u2010-\u2015]|['\u2019.]|\\. |['\u2019] | ?& ?")
_STRONG = re.compile('[,:;()\\[\\]"!?\u201c\u201d\u00ab\u00bb\u2026*=<>|]|\\.\\.')
_SENTENCE = re.compile("(?:[.!?:;\u2026][\"'\u201d\u2019)\\]\u00bb]*\\s|[\n\u2022\u3002\uff01\uff1f])[\\s\"'\u201c\u2018(*\u2022\u00ab-]*$")
_OPENED = re.compile("[\"'`\u201c\u2018\u201e\u00ab(\\[*]$")


@dataclass(frozen=True)
class Words:
    """Words of texts, in order; arrays of one length, a word each.

    Attributes:
        joined: the texts, a line feed between them.
        offset: where each text begins in `joined`; one more than there are texts.
        text: number of its text.
        start, end: where it stands in `joined`, with the accents that follow its last letter.
        letters: folded letters of all words run together.
        begin, stop: where it stands in `letters`.
    """

    joined: str
    offset: Ints
    text: Ints
    start: Ints
    end: Ints
    letters: str
    begin: Ints
    stop: Ints
    original: Codes

    def __len__(self) -> int:
        return len(self.text)

    def word(self, at: int) -> str:
        """One word, folded."""
        return self.letters[self.begin[at] : self.stop[at]]

    @cached_property
    def hashed(self) -> Hashed:
        return Hashed(self.letters)

    def forget(self) -> None:
        """Give back the memory of what can be computed again."""
        for name in ("hashed", "hash", "gap", "case"):
            self.__dict__.pop(name, None)

    @cached_property
    def codes(self) -> Codes:
        """The letters as numbers."""
        return np.frombuffer(self.letters.encode("utf-32-le", "surrogatepass"), dtype="<u4")

    @cached_property
    def hash(self) -> Hashes:
        """Of each word."""
        return self.hashed.whole(self.begin, self.stop)

    @cached_property
    def gap(self) -> Bytes:
        """Bits of what stands before each word; `NEW` before the first of a text."""
        first = np.ones(len(self), dtype=bool)
        first[1:] = self.text[1:] != self.text[:-1]
        bits = np.zeros(len(self), dtype=np.uint8)
        bits[first] = NEW | SENTENCE
        inner = np.flatnonzero(~first)
        if not len(inner):
            return bits
        after, before = self.end[inner - 1], self.start[inner]
        length = before - after
        single = (length == 1) & (self.original[np.minimum(after, len(self.original) - 1)] == 32)
        bits[inner[single]] = NAME | PROPER
        bits[inner[length <= 0]] = NAME
        rest = np.flatnonzero(~single & (length > 0))
        joined, known = self.joined, _GAPS
        if len(known) > 10_000:
            known.clear()
        for at, a, b in zip(inner[rest].tolist(), after[rest].tolist(), before[rest].tolist(), strict=True):
            gap = joined[a:b]
            bit = known.get(gap)
            if bit is None:
                bit = _gap(gap)
                if len(gap) < 20:
                    known[gap] = bit
            bits[at] = bit
        # The marks in front of a text's first word open it too.
        opening = np.flatnonzero(first)
        for at, start in zip(opening.tolist(), self.start[opening].tolist(), strict=True):
            if start and _OPENED.match(joined[start - 1]):
                bits[at] |= OPENED
        return bits

    @cached_property
    def case(self) -> tuple[Ints, Ints]:
        """How many capitals and small letters each word is written with."""
        upper, lower = _cases(self.original)
        ups, lows = np.zeros(len(upper) + 1, np.int64), np.zeros(len(lower) + 1, np.int64)
        np.cumsum(upper, out=ups[1:])
        np.cumsum(lower, out=lows[1:])
        return ups[self.end] - ups[self.start], lows[self.end] - lows[self.start]

    def ends(self, last: Ints) -> Ints:
        """Where places end whose last words these are: with the full stop of "U.S."."""
        codes = np.append(self.original, 0)
        end = self.end[last]
        before = self.start[last] - 1
        letter = (end - before == 2) & (before > 0) & self.is_capital[last] & (self.gap[last] & (NEW | SENTENCE) == 0)
        return np.asarray(end + (letter & (codes[before] == _STOP) & (codes[end] == _STOP)))

    @cached_property
    def is_capital(self) -> Bools:
        """Whether each begins with a capital."""
        return _cases(self.original[self.start])[0] if len(self) else np.empty(0, bool)

    @cached_property
    def is_number(self) -> Bools:
        """Whether each begins with a digit."""
        code = self.original[self.start]
        return (code >= 48) & (code <= 57)


_STOP = ord(".")
_GAPS: dict[str, int] = {}


def _gap(gap: str) -> int:
    bits = 0
    if _GAP_NAME.fullmatch(gap):
        bits |= NAME
    if _GAP_PROPER.fullmatch(gap):
        bits |= PROPER
    if _SENTENCE.search(gap):
        bits |= SENTENCE
    if _STRONG.search(gap):
        bits |= STRONG
    if gap[:1] == "." and gap[1:].isspace():
        bits |= ABBREVIATED
    if gap in ("'", "\u2019"):
        bits |= APOSTROPHE
    if _OPENED.search(gap):
        bits |= OPENED
    return bits


def words(texts: Sequence[str]) -> Words:
    """Cut texts into words.

    A word is a run of letters and digits; in scripts without spaces each character is one. Where a character folds to several
    ("ﬁ", "½") they stand at the place of that one.
    """
    joined = "\n".join(texts)
    length = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    offset = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(length + 1, out=offset[1:])
    if joined.isascii():
        original = np.frombuffer(joined.encode("ascii"), dtype=np.uint8).astype(np.uint32)
        folded, kind, origin = _ASCII_FOLD[original], _ASCII_KIND[original], None
    else:
        original = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
        folded, kind, origin = _folded(original)
    part = kind > 0
    first, last = part.copy(), part.copy()
    if len(part):
        alone = kind == _ALONE
        glued = part[1:] & part[:-1] & ~alone[1:] & ~alone[:-1]
        first[1:] &= ~glued
        last[:-1] &= ~glued
    at, to = np.flatnonzero(first), np.flatnonzero(last)
    place = np.zeros(len(part) + 1, dtype=np.int64)
    np.cumsum(part, out=place[1:])
    if origin is None:
        start, end = at, to + 1
    else:
        start, end = origin[at], origin[to] + 1
        _with_accents(joined, end, to, origin)
    letters = folded[part].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    text = np.searchsorted(offset, start, side="right") - 1
    return Words(joined, offset, text, start, end, letters, place[at], place[to + 1], original)


def _with_accents(joined: str, end: Ints, to: Ints, origin: Ints) -> None:
    following = np.append(origin, len(joined))[np.searchsorted(origin, origin[to], side="right")]
    for word in np.flatnonzero(following > end).tolist():
        place = int(end[word])
        while place < following[word] and folding.is_accent(joined[place]):
            place += 1
        end[word] = place


_ASCII_FOLD = np.array([ord(chr(c).lower()) for c in range(128)], dtype=np.uint32)
_ASCII_KIND = np.array([_PART if chr(c).isalnum() else _NONE for c in range(128)], dtype=np.uint8)
_CHARACTERS: dict[int, tuple[str, tuple[int, ...]]] = {}


def _folded(original: Codes) -> tuple[Codes, Bytes, Ints]:
    """Folded characters, what each is, and which character of the original it stands for."""
    strange = np.flatnonzero(original >= 128)
    which, inverse = np.unique(original[strange], return_inverse=True)
    forms = [_character(code) for code in which.tolist()]
    count = np.ones(len(original), dtype=np.int64)
    count[strange] = np.array([len(form) for form, _ in forms], dtype=np.int64)[inverse]
    origin = np.repeat(np.arange(len(original)), count)
    before = np.cumsum(count) - count
    folded, kind = original[origin], np.zeros(len(origin), dtype=np.uint8)
    plain = folded < 128
    kind[plain], folded[plain] = _ASCII_KIND[folded[plain]], _ASCII_FOLD[folded[plain]]
    longest = max((len(form) for form, _ in forms), default=0)
    for nth in range(longest):
        code = np.array([ord(form[nth]) if nth < len(form) else 0 for form, _ in forms], dtype=np.uint32)
        of = np.array([kinds[nth] if nth < len(kinds) else 0 for _, kinds in forms], dtype=np.uint8)
        has = np.array([nth < len(form) for form, _ in forms])[inverse]
        place = before[strange[has]] + nth
        folded[place], kind[place] = code[inverse[has]], of[inverse[has]]
    return folded, kind, origin


def _character(code: int) -> tuple[str, tuple[int, ...]]:
    known = _CHARACTERS.get(code)
    if known is None:
        form = folding.fold_character(chr(code))
        kinds = tuple(_ALONE if folding.is_unspaced(c) else _PART if folding.is_part(c) else _NONE for c in form)
        known = _CHARACTERS[code] = form, kinds
    return known


def _cases(codes: Codes) -> tuple[Bools, Bools]:
    upper = (codes >= 65) & (codes <= 90)
    lower = (codes >= 97) & (codes <= 122)
    strange = np.flatnonzero(codes >= 128)
    if len(strange):
        which, inverse = np.unique(codes[strange], return_inverse=True)
        category = [unicodedata.category(chr(code)) for code in which.tolist()]
        upper[strange] = np.array([c in ("Lu", "Lt") for c in category])[inverse]
        lower[strange] = np.array([c == "Ll" for c in category])[inverse]
    return upper, lower
