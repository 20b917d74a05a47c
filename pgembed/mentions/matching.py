"""Where names of a dictionary stand in texts, letter by letter or misspelt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.lexical.spelling import edits
from pgembed.mentions import shapes
from pgembed.mentions import words as cutting
from pgembed.mentions.dictionary import SHORTEST_NAME, SHORTEST_WORD, Dictionary
from pgembed.mentions.shapes import Writing
from pgembed.mentions.spelling import BASE, Hashes, Ints, Table, digits, hashes_of, powers
from pgembed.mentions.words import Bools, Words

CHUNK = 1 << 15  # words looked up at a time: bounds memory, and a cancel waits no longer than this
FUZZY_WORDS = 3  # names of more words are found by correcting their words
_MOST_CORRECTIONS = 100_000  # remembered


@dataclass(frozen=True)
class Hits:
    """Places where names stand; arrays of one length, a place each, ordered by first word and length.

    Attributes:
        start, end: in the joined texts.
        weight: letters of the longest name, less three for each that is wrong.
        plain: a single ordinary word at the head of a sentence.
        first: the names of place i are `name[first[i]:first[i + 1]]`, the most similar first.
    """

    start: Ints
    end: Ints
    weight: npt.NDArray[np.float64]
    plain: Bools
    first: Ints
    name: Ints
    similarity: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def exact(self) -> Bools:
        """Whether a name stands there with no letter wrong."""
        best = np.append(self.similarity, np.float32(0))[self.first[:-1]]
        return np.asarray((np.diff(self.first) > 0) & (best == 1))

    def names_of(self, which: Ints) -> tuple[Ints, Ints, npt.NDArray[np.float32]]:
        """The lists of names of some places, -1 for an empty one: where each list begins, names, similarities."""
        count = np.where(which < 0, 0, np.diff(np.append(self.first, self.first[-1]))[which])
        first = np.append(0, np.cumsum(count))
        entry = np.arange(first[-1]) - np.repeat(first[:-1] - self.first[which], count)
        return first, self.name[entry], self.similarity[entry]


def hits(words: Words, writing: Writing, dictionary: Dictionary, sure: tuple[Table, int] | None, check: Callable[[], None] | None) -> Hits:
    """Every acceptable place of every name.

    Args:
        sure: hashes of surfaces that are mentions wherever they stand, whether they are names or not, and the most words of them.
    """
    none = np.empty(0, np.int64)
    if not len(words):
        return Hits(none, none, np.empty(0), np.empty(0, bool), np.zeros(1, np.int64), none, np.empty(0, np.float32))
    run = np.cumsum(words.gap & cutting.NAME == 0)
    trusted = _Trusted(words, run, *sure) if sure else None
    windows = _nominated(words, writing, dictionary, run, check) if len(dictionary) else (none, none, none, np.empty(0))
    return _accepted(words, writing, dictionary, *windows, trusted)


class _Trusted:
    """Runs of words that are mentions wherever they stand."""

    def __init__(self, words: Words, run: Ints, table: Table, longest: int) -> None:
        firsts, sizes = [], []
        for size in range(1, longest + 1):
            first = np.arange(len(words) - size + 1)
            first = first[run[first] == run[first + (size - 1)]]
            at = first[table.has(words.hashed.whole(words.begin[first], words.stop[first + size - 1]))]
            firsts.append(at)
            sizes.append(np.full(len(at), size, dtype=np.int64))
        self.first = np.concatenate(firsts) if firsts else np.empty(0, np.int64)
        self.size = np.concatenate(sizes) if sizes else np.empty(0, np.int64)
        self._keys = self.first * _SIZES + self.size

    def has(self, first: Ints, size: Ints) -> Bools:
        """Whether each run is one of them."""
        return np.isin(first * _SIZES + size, self._keys)

    def beside(self, first: Ints, size: Ints) -> tuple[Ints, Ints]:
        """Those that are none of these runs."""
        new = ~np.isin(self._keys, first * _SIZES + size)
        return self.first[new], self.size[new]


_SIZES = 64  # more than any run of words has


def _nominated(
    words: Words, writing: Writing, dictionary: Dictionary, run: Ints, check: Callable[[], None] | None
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.float64]]:
    """First word, number of words, name and wrong letters of every place where a name stands, each once."""
    n = len(words)
    known = dictionary.knows(words.hash)
    fixed = _corrected(words, writing, dictionary, known)
    odd = np.append(0, np.cumsum(~known & ~writing.ordinary))
    found: list[tuple[Ints, Ints, Ints]] = []
    doubtful: list[tuple[Ints, Ints, Ints]] = []
    for begin in range(0, n, CHUNK):
        for size in range(1, dictionary.most_words + 1):
            first = np.arange(begin, min(begin + CHUNK, n - size + 1))
            first = first[run[first] == run[first + (size - 1)]]
            if not len(first):
                break
            start, stop = words.begin[first], words.stop[first + size - 1]
            at, name = dictionary.exact(words.hashed.whole(start, stop))
            found.append((first[at], np.full(len(at), size), name))
            if fixed is not None:
                some = first[fixed.changed(first, size)]
                at, name = dictionary.exact(fixed.whole(some, size))
                doubtful.append((some[at], np.full(len(at), size), name))
            if size <= FUZZY_WORDS:
                # Only an unusual word can be a misspelling; longer names are found by correcting their words.
                some = first[odd[first + size] > odd[first]]
                at, name = dictionary.near(words, words.begin[some], words.stop[some + size - 1])
                doubtful.append((some[at], np.full(len(at), size), name))
        if check:
            check()
    firsts, sizes, names = (np.concatenate([part[nth] for part in found]) for nth in range(3))
    kept = _same_letters(words, dictionary, firsts, sizes, names)
    others = [np.concatenate([part[nth] for part in doubtful]) for nth in range(3)]
    return _judged(words, writing, dictionary, firsts[kept], sizes[kept], names[kept], others)


def _same_letters(words: Words, dictionary: Dictionary, first: Ints, size: Ints, name: Ints) -> Bools:
    """Whether names stand there indeed: equal hashes are no proof, and a comma or bracket in the text has to be one of the name's."""
    strong = words.gap & (cutting.STRONG | cutting.ABBREVIATED)
    length = words.stop - words.begin
    # A full stop after a short word is an abbreviation's: "St. Louis"
    strong[1:][(strong[1:] & cutting.STRONG == 0) & (length[:-1] <= 3)] = 0
    marks = np.append(0, np.cumsum(strong > 0))
    marked = marks[first + size] > marks[first + 1]
    kept = np.ones(len(first), dtype=bool)
    for layer, a, b in zip(dictionary.layers, dictionary.offset, dictionary.offset[1:], strict=False):
        at = np.flatnonzero((name >= a) & (name < b))
        local = name[at] - a
        lengths = layer.stop[local] - layer.begin[local]
        begin = words.begin[first[at]]
        fits = words.stop[first[at] + size[at] - 1] - begin == lengths
        lengths = np.where(fits, lengths, 0)
        which = np.repeat(np.arange(len(at)), lengths)
        within = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        wrong = words.codes[begin[which] + within] != layer.cut.codes[layer.begin[local][which] + within]
        kept[at] = fits
        kept[at[which[wrong]]] = False
    for place in np.flatnonzero(marked & kept).tolist():
        head = int(first[place])
        text = words.joined[words.end[head] : words.start[head + size[place] - 1]]
        kept[place] = all(mark in dictionary.text[name[place]] for mark in _MARKS.findall(text))
    return kept


_MARKS = re.compile('[,:;()\\[\\]"!?\u201c\u201d\u00ab\u00bb\u2026*=<>|.]')


class _Fixed:
    """The words of texts, some corrected, as hashes of any run of them."""

    def __init__(self, words: Words, at: Ints, hashes: Hashes, lengths: Ints) -> None:
        hash_of, length = words.hash.copy(), words.stop - words.begin
        hash_of[at], length[at] = hashes, lengths
        self._place = np.append(0, np.cumsum(length))
        power = powers(BASE, int(self._place[-1]) + 1)
        self._inverse = words.hashed.inverse(int(self._place[-1]) + 1)
        self._sums = np.zeros(len(words) + 1, dtype=np.uint64)
        np.cumsum(hash_of * power[self._place[:-1]], out=self._sums[1:])
        is_fixed = np.zeros(len(words), dtype=np.int64)
        is_fixed[at] = 1
        self._count = np.append(0, np.cumsum(is_fixed))

    def changed(self, first: Ints, size: int) -> Bools:
        """Whether a word of the run was corrected."""
        return self._count[first + size] > self._count[first]

    def whole(self, first: Ints, size: int) -> Hashes:
        """Hash of each run of words."""
        hashes: Hashes = (self._sums[first + size] - self._sums[first]) * self._inverse[self._place[first]]
        return hashes


def _corrected(words: Words, writing: Writing, dictionary: Dictionary, known: Bools) -> _Fixed | None:
    """Each unknown word replaced by the one word of the names that it may be a misspelling or an inflection of."""
    strange = np.flatnonzero(~known & ~writing.grammar)
    if not len(strange):
        return None
    _, place, inverse = np.unique(words.hash[strange], return_index=True, return_inverse=True)
    if len(dictionary.corrections) > _MOST_CORRECTIONS:
        dictionary.corrections.clear()
    better = np.zeros((len(place), 2), dtype=np.uint64)
    new: list[tuple[int, str]] = []
    for nth, (at, hashed) in enumerate(zip(strange[place].tolist(), words.hash[strange[place]].tolist(), strict=True)):
        seen = dictionary.corrections.get(hashed)
        if seen is None:
            new.append((nth, words.word(at)))
        elif seen[1]:
            better[nth] = seen
    if new:
        ordinary = writing.ordinary[strange[place[[nth for nth, _ in new]]]].tolist()
        fixes = _better([word for _, word in new], ordinary, dictionary)
        hashed = hashes_of(fixes).tolist()
        for (nth, word), fix, code in zip(new, fixes, hashed, strict=True):
            entry = (code, len(fix)) if fix != word else (0, 0)
            dictionary.corrections[int(words.hash[strange[place[nth]]])] = entry
            better[nth] = entry
    of = better[inverse]
    some = of[:, 1] > 0
    if not some.any():
        return None
    return _Fixed(words, strange[some], of[some, 0], of[some, 1].astype(np.int64))


def _better(unknown: list[str], ordinary: list[bool], dictionary: Dictionary) -> list[str]:
    """For each word the one that it may stand for, else itself."""
    stems = [(nth, stem) for nth, word in enumerate(unknown) for stem in stems_of(word)]
    is_word = dictionary.knows(hashes_of([stem for _, stem in stems])).tolist() if stems else []
    better: dict[int, str] = {}
    for (nth, stem), known in zip(stems, is_word, strict=True):
        if known:
            better.setdefault(nth, stem)
    rare = [nth for nth, word in enumerate(unknown) if len(word) >= SHORTEST_WORD and not ordinary[nth] and nth not in better]
    options: dict[int, list[tuple[int, bool, str]]] = {}
    for at, other in dictionary.near_words([unknown[nth] for nth in rare]):
        word = unknown[rare[at]]
        # People seldom miss the first letter.
        options.setdefault(rare[at], []).append((edits(word, other, 2), word[0] != other[0], other))
    better.update({nth: min(found)[2] for nth, found in options.items() if min(found)[0] <= 1})
    return [better.get(nth, word) for nth, word in enumerate(unknown)]


def stems_of(word: str) -> list[str]:
    """What an English plural may be of."""
    if len(word) < 4 or word[-1] != "s":
        return []
    return [word[:-1], *([word[:-2]] if word.endswith("es") else []), *([word[:-3] + "y"] if word.endswith("ies") else [])]


def _judged(
    words: Words, writing: Writing, dictionary: Dictionary, first: Ints, size: Ints, name: Ints, doubtful: Sequence[Ints]
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.float64]]:
    """Exact matches and, of the doubtful ones, those that are acceptable."""
    known = set(zip(first.tolist(), size.tolist(), name.tolist(), strict=True))
    strong = np.append(0, np.cumsum(words.gap & cutting.STRONG > 0))
    extra: list[tuple[int, int, int]] = []
    wrongs: list[float] = []
    ordinary = writing.ordinary
    for entry in zip(*(values.tolist() for values in doubtful), strict=True):
        if entry in known:
            continue
        known.add(entry)
        at, n, position = entry
        start, end = int(words.start[at]), int(words.end[at + n - 1])
        text = words.joined[start:end]
        if strong[at + n] > strong[at + 1] and not all(mark in dictionary.text[position] for mark in _MARKS.findall(text)):
            continue
        written = [words.word(place) for place in range(at, at + n)]
        wrong = _wrong(written, ordinary[at : at + n].tolist(), dictionary.words(position), text)
        if wrong is not None:
            extra.append(entry)
            wrongs.append(wrong)
    if not extra:
        return first, size, name, np.zeros(len(first))
    more = np.array(extra, dtype=np.int64)
    return (
        np.append(first, more[:, 0]),
        np.append(size, more[:, 1]),
        np.append(name, more[:, 2]),
        np.append(np.zeros(len(first)), wrongs),
    )


def _wrong(written: list[str], ordinary: list[bool], right: tuple[str, ...], text: str) -> float | None:
    """How many letters are wrong where a name is written as these words; None where it is another word altogether.

    Inflection counts half, and numbers have to agree.
    """
    key, name = "".join(written), "".join(right)
    if key == name:
        return 0.0
    if shapes.is_derived(key, name, text):
        return None
    if len(written) != len(right):
        if len(name) <= SHORTEST_NAME or min(map(len, written)) < 3 or digits(key) != digits(name):
            return None
        return 1.0 if edits(key, name, 1) == 1 else None
    total = 0.0
    for word, other, plain in zip(written, right, ordinary, strict=True):
        if word == other:
            continue
        if other in stems_of(word) or word in stems_of(other):
            total += 0.5
            continue
        if plain or digits(word) != digits(other):
            return None
        wrong = edits(word, other, 2)
        if wrong > 1 or len(other) < SHORTEST_WORD or (len(written) == 1 and len(other) < SHORTEST_NAME):
            return None
        total += wrong
    return total if total <= 1 or total * 5 <= len(name) else None


def _accepted(
    words: Words,
    writing: Writing,
    dictionary: Dictionary,
    first: Ints,
    size: Ints,
    name: Ints,
    wrong: npt.NDArray[np.float64],
    trusted: _Trusted | None,
) -> Hits:
    """Places with their names, without ordinary words that are not written as a name, and trusted ones without any."""
    similarity = 1.0 - wrong / np.maximum(1, dictionary.key_length[name])
    order = np.lexsort((name, -similarity, size, first))
    first, size, name, wrong, similarity = first[order], size[order], name[order], wrong[order], similarity[order]
    fresh = np.ones(len(first), dtype=bool)
    fresh[1:] = (np.diff(first) != 0) | (np.diff(size) != 0)
    begins = np.flatnonzero(fresh)
    count = np.diff(np.append(begins, len(first)))
    a, n = first[begins], size[begins]
    weight = _most(dictionary.key_length[name] - 3.0 * wrong, begins)
    capitals = _most(dictionary.has_capital[name].astype(np.float64), begins) > 0
    kept, plain = _written_as_name(words, writing, a, n, capitals)
    if trusted is not None:
        kept |= trusted.has(a, n)
    start, end = words.start[a], words.ends(a + n - 1)
    for at in np.flatnonzero(dictionary.has_marks[name[begins]] & kept).tolist():
        start[at], end[at] = _with_marks(words, int(start[at]), int(end[at]), dictionary.text[name[begins[at]]])
    entry = np.repeat(kept, count)
    start, end, weight, plain, count = start[kept], end[kept], weight[kept], plain[kept], count[kept]
    if trusted is not None:
        a, n = trusted.beside(a[kept], n[kept])
        start, end = np.append(start, words.start[a]), np.append(end, words.ends(a + n - 1))
        weight = np.append(weight, (words.stop[a + n - 1] - words.begin[a]).astype(np.float64))
        plain, count = np.append(plain, np.zeros(len(a), dtype=bool)), np.append(count, np.zeros(len(a), dtype=np.int64))
    return Hits(
        start,
        end,
        weight,
        plain,
        np.append(0, np.cumsum(count)),
        name[entry],
        similarity[entry].astype(np.float32),
    )


def _most(values: npt.NDArray[np.float64], begins: Ints) -> npt.NDArray[np.float64]:
    return np.maximum.reduceat(values, begins) if len(begins) else np.empty(0)


def _written_as_name(words: Words, writing: Writing, first: Ints, size: Ints, capitals: Bools) -> tuple[Bools, Bools]:
    """Whether ordinary words are written as a name: in several words, as code, or with the capital of the name; and whether in doubt."""
    after = first + size
    last = after - 1
    rare, lexical = (np.append(0, np.cumsum(~of)) for of in (writing.ordinary, writing.grammar))
    plain = rare[after] == rare[first]
    several = (size > 1) & (lexical[after] > lexical[first])
    codes = np.concatenate([np.zeros(1, np.uint32), words.original, np.zeros(2, np.uint32)])
    start, end = words.start[first] + 1, words.end[last] + 1
    before, next_one, next_two = codes[start - 1], codes[end], codes[end + 1]
    underscores = np.append(0, np.cumsum(codes == _UNDERSCORE))
    code = (underscores[end] > underscores[start]) | (before == _BACKTICK) | (next_one == _BACKTICK)
    code |= ((before == _QUOTE) & (next_one == _QUOTE)) | ((before == _OPENING) & (next_one == _CLOSING))
    code |= (next_one == _BRACKET) | (next_one == _EQUAL) | ((next_one == _SPACE) & (next_two == _EQUAL))
    ups, lows = (np.append(0, np.cumsum(counts)) for counts in words.case)
    acronym = (ups[after] > ups[first]) & (lows[after] == lows[first])
    # "US" is a country and "us" is not; "It" begins a sentence
    heads = writing.heads_sentence[first]
    length = words.end[last] - words.start[first]
    capital = capitals & writing.capital[last] & ((size > 1) | acronym | ~heads | (length > 3))
    return ~plain | several | code | capital, plain & (size == 1) & heads


_UNDERSCORE, _BACKTICK, _QUOTE, _OPENING, _CLOSING, _BRACKET, _EQUAL, _SPACE = map(ord, '_`"“”(= ')


def _with_marks(words: Words, start: int, end: int, name: str) -> tuple[int, int]:
    """The place with the marks that the name begins and ends with, if they are there: the last full stop of "D.C."."""
    head, tail = _MARKS_BEFORE.match(name), _MARKS_AFTER.search(name)
    before, after = head.group() if head else "", tail.group() if tail else ""
    if before and words.joined[max(0, start - len(before)) : start] == before:
        start -= len(before)
    # "Washington, DC." may be the end of a sentence.
    if after and words.joined[end : end + len(after)] == after and (after != "." or "." in words.joined[start:end]):
        end += len(after)
    return start, end


_MARKS_BEFORE = re.compile(r"[^\w\s]{1,3}")
_MARKS_AFTER = re.compile(r"[^\w\s]{1,3}$")
