"""Mentions in a text: the names of a dictionary, misspelt or not, and what looks like a name but is none of them.

One pass whatever the number of names: every run of up to a name's length of words is hashed with numpy and looked up; misspellings
are found by the hashes of shortened forms (see spelling.py), and only what is found there is compared letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from pgembed.lexical.spelling import edits
from pgembed.linking import folding, ordinary, shapes
from pgembed.linking.dictionary import SHORTEST_NAME, SHORTEST_WORD, Dictionary, Name
from pgembed.linking.folding import Folded
from pgembed.linking.spelling import Hashed, Ints, digits

Check: TypeAlias = Callable[[], None]

# Share of a proper name that the names in it have to cover. On WebNLG a single word that covers less is right in 11 % of the cases.
LEAST_COVER = 0.5
CHUNK = 1 << 16  # words looked up at a time: bounds memory, and a cancel waits no longer than this


@dataclass(frozen=True)
class Mention:
    """A place in the text, 0-based and end exclusive in its characters, that may name a row.

    ``found`` has the names that it matches, as (position in the dictionary, similarity in (0, 1]); it is empty where the
    place only looks like a name, or was given by the caller. ``cover`` is the share of the surrounding proper name that
    it and other mentions cover ("Barack Obama" in "President Barack Obama"), ``plain`` that it is an ordinary word that might
    just be that.
    """

    start: int
    end: int
    text: str
    found: tuple[tuple[int, float], ...] = ()
    cover: float = 1.0
    plain: bool = False
    given: bool = False


@dataclass(frozen=True)
class _Words:
    """The words of a text, as strings and as places in the folded text."""

    strings: list[str]
    spans: list[tuple[int, int]]
    run: Ints  # number of the run each word is in; a name lies within one run

    def windows(self, length: Ints, size: int, chunk: slice) -> tuple[Ints, Ints, Ints]:
        """First word, and start and end in the words run together, of all windows of `size` words that begin in the chunk."""
        stop = np.cumsum(length)
        first = np.arange(chunk.start, min(chunk.stop, len(length) - size + 1))
        first = first[self.run[first] == self.run[first + size - 1]]
        return first, stop[first] - length[first], stop[first + size - 1]


def find(content: str, dictionary: Dictionary, check: Check | None = None) -> list[Mention]:
    """Mentions in the order of the text, none overlapping another.

    Where names overlap the longer wins, then the one spelt better. Names that are less than half of a longer proper name ("Texas"
    in "University of Texas"), or a part of an identifier, give way to the whole.
    """
    folded = folding.fold(content)
    spans = folded.words()
    words = _Words([folded.text[start:end] for start, end in spans], spans, _runs(folded, spans))
    proper = shapes.proper(content)
    hits = _hits(folded, words, dictionary, proper, check) if len(dictionary) and spans else []
    hits.sort(key=lambda hit: (-hit[0], hit[1].start, hit[1].end))
    taken: dict[int, Mention] = {}
    covered = bytearray(len(content))
    for _, mention in hits:
        if not any(covered[mention.start : mention.end]):
            covered[mention.start : mention.end] = b"\1" * (mention.end - mention.start)
            taken[mention.start] = mention
    for span in proper.spans:
        inside = [taken[at] for at in range(span.start, span.end) if at in taken and taken[at].end <= span.end]
        start = span.start if any(mention.start < span.certain for mention in inside) else span.certain
        cover = min(1.0, sum(mention.end - mention.start for mention in inside) / (span.end - start))
        if cover < (1.0 if span.is_code else LEAST_COVER):
            for mention in inside:
                del taken[mention.start]
            if not any(covered[span.start : span.end]) or inside:
                taken[span.start] = Mention(span.start, span.end, content[span.start : span.end])
        else:
            for mention in inside:
                taken[mention.start] = replace(mention, cover=cover)
    return [taken[start] for start in sorted(taken)]


def _runs(folded: Folded, spans: list[tuple[int, int]]) -> Ints:
    """Number the runs of words that nothing separates which no name contains."""
    known: dict[str, bool] = {}
    broken = np.zeros(len(spans), dtype=np.int64)
    for at in range(1, len(spans)):
        gap = folded.text[spans[at - 1][1] : spans[at][0]]
        joins = known.get(gap)
        if joins is None:
            joins = known[gap] = _JOIN.fullmatch(gap) is not None
        # "J. R. R. Tolkien", "St. Louis"; after a longer word a full stop ends the sentence
        sentence_end = "." in gap and " " in gap and spans[at - 1][1] - spans[at - 1][0] > 3
        broken[at] = not joins or sentence_end
    return np.cumsum(broken)


_JOIN = re.compile("[ \t\r_'\u2019\"`./&+,\u2013-]{0,3}|[ \t]*\n[ \t]*")


def _hits(folded: Folded, words: _Words, dictionary: Dictionary, proper: shapes.Proper, check: Check | None) -> list[tuple[float, Mention]]:
    """Every acceptable place of every name, with its weight in the contest for the longest."""
    corrected = _corrected(words.strings, dictionary)
    nominated: dict[tuple[int, int], set[int]] = {}

    def note(first: Ints, size: int, at: Ints, key: Ints) -> None:
        for word, which in zip(first[at].tolist(), key.tolist(), strict=True):
            nominated.setdefault((word, size), set()).add(which)

    common = np.fromiter((word in ordinary.WORDS for word in words.strings), dtype=bool, count=len(words.strings))
    for strings in [words.strings] if corrected == words.strings else [words.strings, corrected]:
        hashed = Hashed("".join(strings))
        length = np.fromiter(map(len, strings), dtype=np.int64, count=len(strings))
        for begin in range(0, len(strings), CHUNK):
            for size in range(1, dictionary.most_words + 1):
                first, start, end = words.windows(length, size, slice(begin, begin + CHUNK))
                note(first, size, *dictionary.spellings.exact(hashed, start, end))
                if strings is words.strings and size <= 3:
                    # Only an unusual word can be a misspelling; longer names are found by correcting their words.
                    odd = ~np.all([common[first + i] for i in range(size)], axis=0)
                    first, start, end = first[odd], start[odd], end[odd]
                    note(first, size, *dictionary.spellings.near(hashed, start, end))
            if check:
                check()
    hits: list[tuple[float, Mention]] = []
    for (word, size), keys in nominated.items():
        hit = _hit(folded, words, word, size, keys, dictionary, proper)
        if hit is not None:
            hits.append(hit)
    return hits


def _corrected(strings: list[str], dictionary: Dictionary) -> list[str]:
    """The words, each unknown one replaced by the one word of the names that it may be a misspelling or an inflection of."""
    unknown = [word for word in dict.fromkeys(strings) if word not in dictionary.is_word]
    better: dict[str, str] = {}
    for word in unknown:
        stem = next((stem for stem in _stems(word) if stem in dictionary.is_word), None)
        if stem:
            better[word] = stem
    rare = [word for word in unknown if len(word) >= SHORTEST_WORD and word not in ordinary.WORDS and word not in better]
    length = np.fromiter(map(len, rare), dtype=np.int64, count=len(rare))
    end = np.cumsum(length)
    options: dict[str, list[tuple[int, bool, str]]] = {}
    for at, known in zip(*dictionary.word_spellings.near(Hashed("".join(rare)), end - length, end), strict=True):
        word, other = rare[at], dictionary.words[known]
        # People seldom miss the first letter.
        options.setdefault(word, []).append((edits(word, other), word[0] != other[0], other))
    better.update({word: min(found)[2] for word, found in options.items() if min(found)[0] <= 1})
    return [better.get(word, word) for word in strings] if better else strings


def _stems(word: str) -> list[str]:
    """What an English plural may be of."""
    if len(word) < 4 or word[-1] != "s":
        return []
    return [word[:-1], *([word[:-2]] if word.endswith("es") else []), *([word[:-3] + "y"] if word.endswith("ies") else [])]


def _hit(
    folded: Folded, words: _Words, word: int, size: int, keys: set[int], dictionary: Dictionary, proper: shapes.Proper
) -> tuple[float, Mention] | None:
    """The mention at a window of words, if any of the nominated keys really stands there."""
    start, end = folded.span(words.spans[word][0], words.spans[word + size - 1][1])
    text = folded.original[start:end]
    written = words.strings[word : word + size]
    found: list[tuple[int, float]] = []
    longest = 0.0
    for key in keys:
        for position in dictionary.of_key[key]:
            name = dictionary.names[position]
            wrong = _wrong(written, name, text)
            if wrong is None or ("," in text and "," not in name.text):
                continue
            size_of_key = len(dictionary.keys[key])
            found.append((position, 1.0 - wrong / size_of_key))
            # A word more or less must not outweigh a misspelling: "work mem a" is not longer than "work mem".
            longest = max(longest, size_of_key - 3.0 * wrong)
    if not found:
        return None
    plain = all(w in ordinary.WORDS or len(w) == 1 for w in written)
    if plain and not proper.is_name(start, end, [dictionary.names[position].text for position, _ in found], written):
        return None
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    start, end = _with_marks(folded.original, start, end, dictionary.names[found[0][0]].text)
    text = folded.original[start:end]
    plain = plain and size == 1 and proper.begins_sentence(start)
    return longest, Mention(start, end, text, tuple(found), plain=plain)


def _with_marks(content: str, start: int, end: int, name: str) -> tuple[int, int]:
    """The place with the marks that the name begins and ends with, if they are there: the last full stop of "D.C."."""
    head, tail = _MARKS_BEFORE.match(name), _MARKS_AFTER.search(name)
    before, after = head.group() if head else "", tail.group() if tail else ""
    if content[max(0, start - len(before)) : start] == before:
        start -= len(before)
    if content[end : end + len(after)] == after:
        end += len(after)
    return start, end


_MARKS_BEFORE = re.compile(r"[^\w\s]{1,3}")
_MARKS_AFTER = re.compile(r"[^\w\s]{1,3}$")


def _wrong(written: list[str], name: Name, text: str) -> float | None:
    """How many letters are wrong where a name is written as these words; None where it is another word altogether.

    Inflection counts half, and numbers have to agree.
    """
    if "".join(written) == name.key:
        return 0.0
    if shapes.is_derived("".join(written), name.key, text):
        return None
    if len(written) != len(name.words):
        key = "".join(written)
        if len(name.key) <= SHORTEST_NAME or min(map(len, written)) < 3 or digits(key) != digits(name.key):
            return None
        return 1.0 if edits(key, name.key) == 1 else None
    total = 0.0
    for word, right in zip(written, name.words, strict=True):
        if word == right:
            continue
        if right in _stems(word) or word in _stems(right):
            total += 0.5
            continue
        if word in ordinary.WORDS or digits(word) != digits(right):
            return None
        wrong = edits(word, right)
        if wrong > 1 or len(right) < SHORTEST_WORD or (len(written) == 1 and len(right) < SHORTEST_NAME):
            return None
        total += wrong
    return total if total <= 1 or total * 5 <= len(name.key) else None
