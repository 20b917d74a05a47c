"""Chunks: slices of a text that a model reads whole, cut where a reader would pause.

Pure functions over a text and a tokenizer; what a chunk is kept in is another room's business. Every step is linear in the text.
"""

# ruff: noqa: RUF001  (punctuation of other scripts is what this file is about)

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pgembed import errors

# Where each token of a text begins and ends, in code points; as ``pgembed.models.Model.token_spans``.
Spans: TypeAlias = Callable[[str], Sequence[tuple[int, int]]]

# A tokenizer sees no cancel, so it is given pieces of a long text, each some tens of milliseconds.
_PIECE = 32_768
# No chunk has more characters for each token it may have: what a tokenizer does not know (a megabyte without a space, of which
# WordPiece makes one token) is cut as well.
_CHARS_A_TOKEN = 64
# A base character with its marks, or emoji joined into one: a longer sequence is no text, and may be cut.
_LONGEST_CLUSTER = 64
_CHECK_EVERY = 256


@dataclass(frozen=True)
class Chunk:
    """A slice of a text, ``text[start:end]``: code points, counted from 0, end exclusive."""

    start: int
    end: int


def no_check() -> None:
    """The ``check`` of callers who have no cancel to look for."""


def check_limits(max_tokens: int | None, overlap: int | None, names: tuple[str, str] = ("max_tokens", "overlap")) -> tuple[int, int]:
    """The two limits of `split`, known to make sense.

    Args:
        names: what the caller knows them by.
    Raises:
        NullNotAllowed: one is None.
        InvalidParameter: max_tokens is below 1, overlap is below 0 or not below max_tokens.
    """
    if max_tokens is None or overlap is None:
        raise errors.NullNotAllowed(f"{names[max_tokens is not None]} is NULL", hint="Leave it out for the default.")
    if max_tokens < 1:
        raise errors.InvalidParameter(f"{names[0]} must be at least 1, not {max_tokens}", hint="200 is what many texts are cut into.")
    if not 0 <= overlap < max_tokens:
        raise errors.InvalidParameter(
            f"{names[1]} must be from 0 to {max_tokens - 1}, below {names[0]}, not {overlap}",
            hint=f"A tenth of {names[0]} is much already.",
        )
    return max_tokens, overlap


def split(text: str, spans: Spans, max_tokens: int, overlap: int = 0, check: Callable[[], None] = no_check) -> list[Chunk]:
    """Cut a text into chunks of at most ``max_tokens`` tokens, each as long as can be.

    A chunk ends at the end of a paragraph where that leaves it at least half full, else at the end of a sentence, else after a clause
    or line (at least half full), else after a word, and only at last inside of a word. So a sentence that fits is never cut. It is
    never cut between a character and the marks that belong to it, nor inside of an emoji; one such sequence is a chunk even where it
    alone has more than max_tokens tokens, which is the one exception to the bound.

    Args:
        spans: of the model that will read the chunks: tokens are counted in each chunk by itself, without special tokens.
        max_tokens, overlap: as `check_limits` wants them. So many tokens at the end of a chunk are repeated, at most, at the beginning
            of the next: whole sentences where one fits, else whole words; less where the next sentence would not fit behind them.
        check: called some tens of milliseconds apart, so that a cancel takes effect; what it raises passes through.
    Returns:
        Chunks in order, without whitespace at their ends; all that is not whitespace is in one. [] for a text of whitespace.
    """
    return _Splitter(text, spans, max_tokens, overlap, check).run()


# ------------------------------------------------------------------------------------------------------------ where a text may be cut


@dataclass(frozen=True)
class Ends:
    """Positions after which a text may be cut, ascending: ends of paragraphs, of sentences (paragraphs included), of clauses and lines."""

    paragraphs: Sequence[int]
    sentences: Sequence[int]
    clauses: Sequence[int]


# What closes a sentence needs whitespace after it, or needs none, as in Chinese and Japanese, where there is none.
_MARKS = re.compile("[.!?…‽؟۔।॥։።።။]+[\"'”’»)\\]*_]*|[。！？｡．‼⁇⁈⁉]+[」』”’》】）〕\"')]*")
_SELF_CLOSING = frozenset("。！？｡．‼⁇⁈⁉।॥")
_PAUSES = re.compile("[,;:—–]|[、，；：]")
_SELF_PAUSING = frozenset("、，；：")
# Whitespace that begins with the end of a line.
_NEWLINES = re.compile("[\n\r\v\f\x85\u2028\u2029]\\s*")
_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")
_HEADING = re.compile("#{1,6}[ \t]")
_FENCE = re.compile("```|~~~")
_ITEM = re.compile("(?:[-*+•‣◦▪–—]|\\(?\\d{1,3}[.)]|\\(?[A-Za-z]\\))[ \t]|[>|]")

# Words whose full stop ends no sentence: English, then German, French, Spanish, Italian and Dutch.
_WORDS = (
    "mr mrs ms dr prof rev st sr jr gen col capt lt sgt cmdr adm gov sen rep vs cf al approx dept univ inc ltd co corp bros ave blvd rd ft"
    " jan feb apr jun jul aug sep sept oct nov dec resp incl esp ibid viz tel"
    " bzw usw ggf evtl vgl str bd hrsg inkl zzgl ca sog mio mrd mme mlle mm env sra srta dra sig dott ing dhr mevr"
)
# Those that are words as well, unless a number follows.
_BEFORE_NUMBERS = "no nos fig figs vol vols p pp ch sec sect eq eqs art nr abs max min mar"
_ABBREVIATIONS = frozenset(_WORDS.split()), frozenset(_BEFORE_NUMBERS.split())


def ends(text: str, check: Callable[[], None] = no_check) -> Ends:
    """Where a text may be cut; see `Ends`. Plain text and Markdown, in any script that marks the end of a sentence."""
    paragraphs, sentences, clauses = _line_ends(text, check)
    for number, found in enumerate(_MARKS.finditer(text)):
        if number % _CHECK_EVERY == 0:
            check()
        if _closes(text, found.start(), found.end()):
            sentences.append(found.end())
    for number, found in enumerate(_PAUSES.finditer(text)):
        if number % _CHECK_EVERY == 0:
            check()
        end = found.end()
        if end < len(text) and (text[end].isspace() or (found.group() in _SELF_PAUSING and is_boundary(text, end))):
            clauses.append(end)
    return Ends(paragraphs, sorted(sentences + paragraphs), sorted(clauses))


def _line_ends(text: str, check: Callable[[], None]) -> tuple[list[int], list[int], list[int]]:
    """Ends of paragraphs, of lines that end a sentence without a mark, and of other lines."""
    paragraphs: list[int] = []
    sentences: list[int] = []
    clauses: list[int] = []
    begin = len(text) - len(text.lstrip())
    heading, code = bool(_HEADING.match(text, begin)), bool(_FENCE.match(text, begin))
    for number, found in enumerate(_NEWLINES.finditer(text)):
        if number % _CHECK_EVERY == 0:
            check()
        space, after = found.group(), found.end()
        fence = _FENCE.match(text, after) is not None
        next_heading = not code and _HEADING.match(text, after) is not None
        if heading:
            pass  # it belongs to what follows
        elif next_heading or "\f" in space or "\u2029" in space or _two_lines(space):
            paragraphs.append(found.start())
        elif code or fence or _ITEM.match(text, after):
            sentences.append(found.start())
        else:
            clauses.append(found.start())
        heading = next_heading
        if fence:
            code = not code
    return paragraphs, sentences, clauses


def _two_lines(space: str) -> bool:
    first = _LINE_ENDS.match(space)
    return first is not None and _LINE_ENDS.search(space, first.end()) is not None


def _closes(text: str, start: int, end: int) -> bool:
    """Whether the marks text[start:end] end a sentence."""
    if end == len(text):
        return True
    if not text[end].isspace():
        return text[start] in _SELF_CLOSING and is_boundary(text, end)
    # Looked at: as much as a person sees at once.
    follows = text[end : end + 16].lstrip("\"'“‘«([ \t\r\n\u00a0\u3000")
    if follows[:1].islower():
        return False
    if text[start] != "." or text[start:end].rstrip("\"'”’»)]*_") != ".":
        return True
    before = text[max(0, start - 24) : start]
    words = before.split()
    if not words or before[-1].isspace():
        return False  # a full stop by itself, or the first of ". . ."
    word = words[-1].lstrip("\"'“‘«([*_")
    if "." in word and not word[0].isdigit():
        return False  # e.g., U.S.
    if len(word) == 1 and word.isalpha() and word != "I":
        return False  # an initial
    if word.isdigit() and len(word) <= 3 and before[: len(before) - len(word)].rstrip(" \t#")[-1:] in ("", "\n", "\r"):
        return False  # the number of an item
    always, numbered = _ABBREVIATIONS
    return word.lower() not in always and not (word.lower() in numbered and follows[:1].isdigit())


# ------------------------------------------------------------------------------------------------------------ characters that stay together

_JOINER = "\u200d"
# What Unicode calls extending or spacing, though its category is no mark's.
_STAY = frozenset("\u200c\u200d\u0e33\u0eb3\uff9e\uff9f")
# Not at the beginning of a line, where a line of Chinese or Japanese is broken.
_NOT_FIRST = frozenset("。、，．：；？！）」』】〕》〉”’ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ%)]}!?,.:;")


def is_boundary(text: str, at: int) -> bool:
    """Whether the characters before and after a position are two, as a reader sees them.

    The rules of Unicode's grapheme clusters (UAX #29, https://unicode.org/reports/tr29/) that keep text together: combining marks,
    joiners, variation selectors, skin tones, flags, Korean syllables, and CR LF.
    """
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before.isascii() and after.isascii():
        return not (before == "\r" and after == "\n")
    if before in "\r\n" or after in "\r\n":
        return True
    if (
        after in _STAY
        or unicodedata.category(after)[0] == "M"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
    ):
        return _too_long(text, at)
    if before == _JOINER:
        return _too_long(text, at)
    if _flag(before) and _flag(after):
        run = 0
        while run < _LONGEST_CLUSTER and run < at and _flag(text[at - 1 - run]):
            run += 1
        return run % 2 == 0
    return not _same_syllable(before, after)


def _too_long(text: str, at: int) -> bool:
    """Whether all of the characters before a position belong to one another, for longer than a cluster may be."""
    for back in range(at - 1, max(0, at - _LONGEST_CLUSTER), -1):
        one = text[back]
        if one not in _STAY and unicodedata.category(one)[0] != "M" and text[back - 1] != _JOINER:
            return False
    return at >= _LONGEST_CLUSTER and at % _LONGEST_CLUSTER == 0


def _flag(one: str) -> bool:
    return "\U0001f1e6" <= one <= "\U0001f1ff"


def _same_syllable(before: str, after: str) -> bool:
    """Korean letters that are one syllable: leading consonants, vowels, trailing consonants."""
    if not ("\u1100" <= after <= "\u11ff" or "\uac00" <= after <= "\ud7a3"):
        return False
    leading = "\u1100" <= before <= "\u115f"
    if "\u1100" <= after <= "\u115f" or after >= "\uac00":
        return leading
    whole = "\uac00" <= before <= "\ud7a3"
    open_syllable = whole and (ord(before) - 0xAC00) % 28 == 0
    vowel, trailing = "\u1160" <= before <= "\u11a7", "\u11a8" <= before <= "\u11ff"
    if "\u1160" <= after <= "\u11a7":
        return leading or vowel or open_syllable
    return vowel or trailing or whole


# Scripts that put no spaces between words and whose characters are read by themselves.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


# ------------------------------------------------------------------------------------------------------------ cutting


class _Splitter:
    def __init__(self, text: str, spans: Spans, max_tokens: int, overlap: int, check: Callable[[], None]) -> None:
        self.text = text
        self.spans = spans
        self.max_tokens = max_tokens
        self.overlap = overlap
        self.check = check
        self.last = len(text.rstrip())

    def run(self) -> list[Chunk]:
        if not self.last:
            return []
        self.tokens = self._tokenize()
        self.ends = ends(self.text, self.check)
        chunks: list[Chunk] = []
        start, done = self._skip(0), 0
        while True:
            if len(chunks) % 16 == 0:
                self.check()
            end = self._end(start, done)
            if end is None:  # with the overlap nothing new fits
                start = self._skip(done)
                end = self._end(start, done)
                assert end is not None
            chunks.append(Chunk(start, end))
            done, fresh = end, self._skip(end)
            if fresh >= self.last:
                return chunks
            start = self._repeat(start, end, fresh) if self.overlap else fresh

    def _tokenize(self) -> array[int]:
        """Where tokens begin in the whole text: an estimate, for a chunk's own tokens may be others at its ends."""
        starts = array("q")
        at = 0
        while at < len(self.text):
            self.check()
            to = at + _PIECE
            if to < len(self.text):
                # between two words, where there are any
                words = self.text[at:to].rsplit(None, 1)
                if len(words) == 2:
                    to = self.text.rindex(words[1], at, to)
                while to < len(self.text) and not is_boundary(self.text, to):
                    to += 1
            starts.extend(at + span[0] for span in self.spans(self.text[at:to]))
            at = to
        return starts

    def _skip(self, at: int) -> int:
        """The next position that is not whitespace."""
        while at < self.last and self.text[at].isspace():
            at += 1
        return at

    def _end(self, start: int, done: int) -> int | None:
        """Where a chunk ends that begins at ``start``, behind ``done``; None where what fits ends before."""
        first = bisect_left(self.tokens, start)
        to = first + self.max_tokens
        end = self.last if to >= len(self.tokens) else min(self.last, self.tokens[to])
        end = min(end, start + _CHARS_A_TOKEN * self.max_tokens)
        while True:
            found = self._choose(start, max(start, done), end)
            if found is None:
                return None if done > start else self._whole_cluster(start)
            own = self.spans(self.text[start:found])
            if len(own) <= self.max_tokens:
                return found
            # By itself it has more tokens than within the text.
            end = min(found - 1, start + own[self.max_tokens][0])

    def _choose(self, start: int, floor: int, end: int) -> int | None:
        """The best place for a cut in (floor, end], without whitespace before it."""
        if end >= self.last:
            return self.last if self.last > floor else None
        if end <= floor:
            return None
        first = bisect_left(self.tokens, start)
        middle = (first + bisect_left(self.tokens, end)) // 2
        half = max(floor, self.tokens[middle] if middle < len(self.tokens) else floor)
        for places, least in ((self.ends.paragraphs, half), (self.ends.sentences, floor), (self.ends.clauses, half)):
            at = bisect_right(places, end) - 1
            if at >= 0 and places[at] > least:
                found = self._trim(places[at], floor)
                if found > floor:
                    return found
        return self._word_end(floor, end) or self._token_end(floor, end)

    def _trim(self, at: int, floor: int) -> int:
        """A position without the whitespace before it."""
        while at > floor and self.text[at - 1].isspace():
            at -= 1
        return at

    def _word_end(self, floor: int, end: int) -> int | None:
        text = self.text
        begin = end
        if not text[end].isspace() and not text[end - 1].isspace():
            begin -= len(text[floor:end].split()[-1])  # the last word is cut: back to where it begins
        unspaced = _UNSPACED.search(text, max(begin - 1, 0), end + 1) is not None
        for at in range(end, max(begin, floor), -1) if unspaced else ():
            if (
                (_UNSPACED.match(text, at - 1) or _UNSPACED.match(text, at))
                and text[at] not in _NOT_FIRST
                and is_boundary(text, at)
                and not text[at - 1].isspace()
            ):
                return at
        found = self._trim(begin, floor)
        return found if found > floor else None

    def _token_end(self, floor: int, end: int) -> int | None:
        """Inside of a word: where a token ends, else anywhere between two characters."""
        at = bisect_right(self.tokens, end) - 1
        while at >= 0 and self.tokens[at] > floor:
            if is_boundary(self.text, self.tokens[at]) and (found := self._trim(self.tokens[at], floor)) > floor:
                return found
            at -= 1
        for place in range(end, floor, -1):
            if is_boundary(self.text, place) and (found := self._trim(place, floor)) > floor:
                return found
        return None

    def _whole_cluster(self, start: int) -> int:
        return next(at for at in range(start + 1, len(self.text) + 1) if is_boundary(self.text, at))

    def _repeat(self, start: int, end: int, fresh: int) -> int:
        """Where the next chunk begins, so that it repeats the end of this one and the next new sentence still fits behind it."""
        behind = bisect_left(self.tokens, end)
        least = behind - self.overlap
        ended = bisect_left(self.ends.sentences, end)
        if ended < len(self.ends.sentences) and self.ends.sentences[ended] <= fresh:
            following = bisect_right(self.ends.sentences, fresh)
            stop = self.ends.sentences[following] if following < len(self.ends.sentences) else self.last
            through = bisect_left(self.tokens, stop)
            if through - behind <= self.max_tokens:
                least = max(least, through - self.max_tokens)
        if least >= behind:
            return fresh
        begin = max(start + 1, self.tokens[max(0, least)], end - _CHARS_A_TOKEN * self.overlap)
        # whole sentences: the first that begins at or behind it
        at = max(0, bisect_left(self.ends.sentences, begin) - 1)
        while at < len(self.ends.sentences) and self.ends.sentences[at] < end:
            sentence = self._skip(self.ends.sentences[at])
            if begin <= sentence < end:
                return sentence
            at += 1
        # whole words, else whole characters
        text = self.text
        for place in range(begin, end):
            if text[place - 1].isspace() and not text[place].isspace():
                return place
        for place in range(begin, end):
            if not text[place].isspace() and is_boundary(text, place) and (text[place] not in _NOT_FIRST):
                return place
        return fresh
