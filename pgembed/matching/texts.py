"""How alike two texts of listed pairs are, by several measures at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.lexical import tokens
from pgembed.matching.contract import Floats, Ints

Check = Callable[[], None]

# Characters of a text that are compared: a value beyond is a document, and its first pages say what it is about.
MOST_CHARACTERS = 20_000
# Tokens looked up at a time: 8 bytes each, in a handful of arrays.
BLOCK_TOKENS = 1_000_000
MEASURES = ("equal", "words", "characters", "codes", "contained", "containing", "left_rarest", "right_rarest", "codes_found", "initials")


def folded(text: str) -> str:
    """A text without what writing it differently changes, see `lexical.tokens.fold`, and with single blanks."""
    return " ".join(tokens.fold(text[:MOST_CHARACTERS]).split())


def grams_of(text: str) -> list[str]:
    """The runs of characters that `lexical` compares a folded text by."""
    return [gram for chunk in tokens.chunks(text) for gram in tokens.ngrams(chunk)]


@dataclass(frozen=True)
class Tokens:
    """The tokens of every row of one side, as a sparse matrix in rows.

    Attributes:
        start: (rows + 1,) where each row's tokens begin.
        key: row * size + token, ascending; so that a token of a row is found by bisection.
        weight: TF-IDF weight of each token, rows of unit length.
        idf: inverse document frequency of each token, 1 for the rarest possible.
        size: tokens there are.
    """

    start: Ints
    key: Ints
    weight: Floats
    idf: Floats
    size: int

    def token(self) -> Ints:
        """The number of each entry's token."""
        return self.key - np.repeat(np.arange(len(self.start) - 1) * self.size, np.diff(self.start))


def weighed(left: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> tuple[Tokens, Tokens]:
    """Both sides' tokens with TF-IDF weights (1 + ln tf, smoothed idf), the document frequencies counted over both."""
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(token, len(numbers)) for side in (left, right) for row in side for token in row]
    lengths = np.array([len(row) for side in (left, right) for row in side], dtype=np.int64)
    size, rows = max(1, len(numbers)), len(lengths)
    key, times = np.unique(np.repeat(np.arange(rows), lengths) * size + np.array(flat, dtype=np.int64), return_counts=True)
    row, token = key // size, key % size
    # log(rows + 1) is the idf of a token that no row has.
    rarity = np.log((1 + rows) / (1 + np.bincount(token, minlength=size)))
    weight = (1.0 + np.log(times)) * (1.0 + rarity[token])
    weight /= np.sqrt(np.bincount(row, weight**2, minlength=rows))[row]
    idf = rarity[token] / np.log(1 + rows)
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))]).astype(np.int64)
    cut = start[len(left)]
    return (
        Tokens(start[: len(left) + 1], key[:cut], weight[:cut], idf[:cut], size),
        Tokens(start[len(left) :] - cut, key[cut:] - len(left) * size, weight[cut:], idf[cut:], size),
    )


@dataclass(frozen=True)
class Shared:
    """What listed pairs share: cosine of the weights, the idf share of this side's tokens found, and the rarest one that is not."""

    cosine: Floats
    found: Floats
    rarest: Floats


def shared(one: Tokens, other: Tokens, rows: Ints, others: Ints, check: Check | None = None) -> Shared:
    """Look up each token of one side's row in the other's row; NaN where this row has no tokens, cosine also where the other has none."""
    cosine, found, rarest = (np.full(len(rows), np.nan) for _ in range(3))
    token = one.token()
    many = np.diff(one.start)
    empty = np.diff(other.start)[others] == 0
    for pick in _blocks(many[rows]):
        if check is not None:
            check()
        count = many[rows[pick]]
        pair = np.repeat(np.arange(len(count)), count)
        ends = np.cumsum(count)
        entry = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - count, count) + np.repeat(one.start[rows[pick]], count)
        wanted = np.repeat(others[pick] * other.size, count) + token[entry]
        at = np.minimum(np.searchsorted(other.key, wanted), max(0, len(other.key) - 1))
        hit = other.key[at] == wanted if len(other.key) else np.zeros(len(wanted), dtype=bool)
        dot = np.bincount(pair[hit], one.weight[entry[hit]] * other.weight[at[hit]], minlength=len(count))
        # A token in every row has no idf, so each counts a little.
        share = one.idf[entry] + 1e-6
        whole = np.bincount(pair, share, minlength=len(count))
        kept = np.bincount(pair[hit], share[hit], minlength=len(count))
        missed = np.zeros(len(count))
        np.maximum.at(missed, pair[~hit], one.idf[entry[~hit]])
        filled = count > 0
        cosine[pick] = np.where(filled & ~empty[pick], dot, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[pick] = np.where(filled, kept / whole, np.nan)
        rarest[pick] = np.where(filled, missed, np.nan)
    return Shared(cosine, found, rarest)


def _blocks(counts: Ints) -> Iterator[slice]:
    """Slices of pairs with about `BLOCK_TOKENS` tokens each, and at least one pair."""
    ends, start = np.cumsum(counts), 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK_TOKENS, side="right")))
        yield slice(start, stop)
        start = stop


def compare(left: Sequence[str | None], right: Sequence[str | None], lefts: Ints, rights: Ints, check: Check | None = None) -> Floats:
    """Measures of listed pairs of texts.

    Args:
        left, right: the texts of each side; NULL and blank texts are unknown.
        lefts, rights: the pairs, positions on each side.
        check: called between blocks of work, may raise to interrupt.
    Returns:
        (pairs, MEASURES), all between 0 and 1, NaN where a side is unknown:
        equal: the folded texts are the same; words, characters, codes: TF-IDF cosine of the words, the character n-grams, and
        the words with a digit; contained, containing: idf share of the left's words that the right has, and the other way round;
        left_rarest, right_rarest: idf of the rarest word that the other side lacks, 0 where it lacks none; codes_found: share of the
        words with a digit, of the side that has fewer, that are written somewhere in the other text once blanks and punctuation are
        gone ('PS-LX350H' and 'pslx350h'), NaN where a side has none; initials: share of the shorter text's words that the other has,
        where an initial agrees with any word it begins.
    """
    folds = [[None if text is None else folded(text) or None for text in side] for side in (left, right)]
    words = [[tokens.words(text) if text else [] for text in side] for side in folds]
    out = np.full((len(lefts), len(MEASURES)), np.nan)
    if not len(lefts):
        return out
    known = ~(np.array([not text for text in folds[0]], dtype=bool)[lefts] | np.array([not text for text in folds[1]], dtype=bool)[rights])
    rows, others = lefts[known], rights[known]
    numbers: dict[str | None, int] = {}
    same = [np.array([numbers.setdefault(text, len(numbers)) for text in side], dtype=np.int64) for side in folds]
    value = np.full((len(rows), len(MEASURES)), np.nan)
    value[:, 0] = same[0][rows] == same[1][others]
    by_word = weighed(*words)
    there, back = shared(*by_word, rows, others, check), shared(*by_word[::-1], others, rows, check)
    value[:, 1], value[:, 4], value[:, 5], value[:, 6], value[:, 7] = there.cosine, there.found, back.found, there.rarest, back.rarest
    value[:, 2] = shared(*weighed(*([grams_of(text or "") for text in side] for side in folds)), rows, others, check).cosine
    codes = [[tokens.numbers(text) if text else [] for text in side] for side in folds]
    value[:, 3] = shared(*weighed(*codes), rows, others, check).cosine
    value[:, 8] = _codes_found(codes, folds, rows, others)
    value[:, 9] = _initials(words, rows, others)
    out[known] = value
    return out


def _codes_found(codes: list[list[list[str]]], folds: list[list[str | None]], rows: Ints, others: Ints) -> Floats:
    """Share of the codes of the side with fewer that the other text has in some spelling."""
    squashed = [["".join(character for character in text or "" if character.isalnum()) for text in side] for side in folds]
    plain = [[["".join(c for c in code if c.isalnum()) for code in row] for row in side] for side in codes]
    share = np.full(len(rows), np.nan)
    for at, (row, other) in enumerate(zip(rows.tolist(), others.tolist(), strict=True)):
        mine, theirs = plain[0][row], plain[1][other]
        if mine and theirs:
            few, text = (mine, squashed[1][other]) if len(mine) <= len(theirs) else (theirs, squashed[0][row])
            share[at] = sum(len(code) for code in few if code in text) / sum(len(code) for code in few)
    return share


def _initials(words: list[list[list[str]]], rows: Ints, others: Ints) -> Floats:
    """Share of the words of the side with fewer that agree with a word of the other, initials with what they begin."""
    sets = [[frozenset(row) for row in side] for side in words]
    letters = [[frozenset(word for word in row if len(word) == 1) for row in side] for side in words]
    first = [[frozenset(word[0] for word in row) for row in side] for side in words]
    share = np.full(len(rows), np.nan)
    for at, (row, other) in enumerate(zip(rows.tolist(), others.tolist(), strict=True)):
        mine, theirs = sets[0][row], sets[1][other]
        if not mine or not theirs:
            continue
        flip = len(mine) > len(theirs)
        small, near, far = (theirs, other, row) if flip else (mine, row, other)
        here, there = (1, 0) if flip else (0, 1)
        agreed = len(mine & theirs)
        if letters[here][near] or letters[there][far]:
            rest, left = small - sets[there][far], sets[there][far] - small
            agreed += (
                sum(word[0] in first[there][far] if len(word) == 1 else word[0] in letters[there][far] for word in rest) if left else 0
            )
        share[at] = agreed / len(small)
    return share
