"""What those who label texts take for a mention, learned from their labels: which surfaces, in which surroundings, with which article.

The share of a surface's places that are mentions is the link probability of Mihalcea and Csomai, Wikify!, CIKM 2007,
https://doi.org/10.1145/1321440.1321475 (keyphraseness), which Milne and Witten, Learning to Link with Wikipedia, CIKM 2008,
https://doi.org/10.1145/1458082.1458150, give to a classifier together with other features, as is done here. Departs from it: so that
surfaces without labels are judged too, the trees also see every candidate as if its surface were new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed import boosting
from pgembed.mentions import words as cutting
from pgembed.mentions.found import Mentions
from pgembed.mentions.shapes import Writing
from pgembed.mentions.spelling import Hashes, Ints, Table
from pgembed.mentions.words import Bools, Words

Floats: TypeAlias = npt.NDArray[np.float32]
Spans: TypeAlias = Sequence[Sequence[tuple[int, int]]]

FORM = (
    "kind", "similarity", "names", "cover", "plain", "alternative", "words", "letters", "capital", "capitals", "head", "capital_words",
    "ordinary", "article", "before_capital", "after_capital",
)  # fmt: skip
TOLD = ("surface", "surface_times", "last", "before", "after")
FEATURES = (*FORM, *TOLD)
# A surface of labels is a candidate wherever it stands, if it is a mention in this share of its places.
TRUSTED = 0.1
MOST_WORDS = 12
FOLDS = 5
FEWEST = 20  # candidates to learn from
OVERLAP = 0.5  # of the characters of both, for a candidate to be the mention that was labelled
SETTINGS = boosting.Settings(trees=60, depth=4, rate=0.1, ridge=50.0, weight=30.0, most=40_000)
_SALTS = tuple(np.uint64(salt) for salt in (0, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


@dataclass(frozen=True)
class Counts:
    """How often something was seen at a candidate, and how often the candidate was a mention; arrays of one length, a hash each."""

    hashes: Hashes
    mentions: Floats
    times: Floats

    @classmethod
    def of(cls, hashes: Hashes, truth: Bools) -> Counts:
        """Count candidates."""
        which, inverse = np.unique(hashes, return_inverse=True)
        times = np.bincount(inverse, minlength=len(which))
        mentions = np.bincount(inverse, truth, minlength=len(which))
        return cls(which, mentions.astype(np.float32), times.astype(np.float32))

    def find(self, hashes: Hashes) -> tuple[Floats, Floats]:
        """Mentions and times of each hash; 0 where it was not seen."""
        if not len(self.hashes):
            return np.zeros(len(hashes), np.float32), np.zeros(len(hashes), np.float32)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        known = self.hashes[at] == hashes
        return np.where(known, self.mentions[at], np.float32(0)), np.where(known, self.times[at], np.float32(0))


@dataclass(frozen=True)
class Habits:
    """What was learned.

    Attributes:
        counts: of surfaces, last words, and the words before and after candidates.
        trusted: hashes of surfaces that are candidates wherever they stand; `longest` is how many words they have at most.
        articles: whether a name's article is part of the mention.
        share: of the candidates that were mentions; the probability where there was too little to learn from.
    """

    counts: Counts
    trusted: Hashes
    longest: int
    articles: bool
    share: float
    borders: boosting.Borders | None
    trees: boosting.Trees | None

    @cached_property
    def table(self) -> Table:
        """The trusted surfaces, for looking up."""
        return Table(self.trusted, np.arange(len(self.trusted)))

    def probability(self, words: Words, writing: Writing, mentions: Mentions) -> Floats:
        """Of each candidate that it is a mention."""
        if self.trees is None or self.borders is None:
            return np.full(len(mentions), self.share, dtype=np.float32)
        form, hashes = measured(words, writing, mentions)
        values = np.column_stack([form, told(*self.counts.find(hashes.ravel()), len(form))])
        odds = self.trees.log_odds(self.borders.bins(values), presumed(form))
        return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float32)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays to store it by."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "hashes": self.counts.hashes.view(np.int64),
            "mentions": self.counts.mentions,
            "times": self.counts.times,
            "trusted": self.trusted.view(np.int64),
            "plain": np.array([self.longest, self.articles, self.share], dtype=np.float64),
        }
        if self.trees is not None and self.borders is not None:
            arrays |= {
                "borders": np.concatenate([np.asarray(edges, dtype=np.float64) for edges in self.borders.of_column]),
                "borders_of": np.array([len(edges) for edges in self.borders.of_column], dtype=np.int64),
                "column": self.trees.column,
                "border": self.trees.border,
                "unknown_right": self.trees.unknown_right,
                "leaf": self.trees.leaf,
                "base": np.array([self.trees.base]),
            }
        return arrays

    @classmethod
    def of(cls, arrays: dict[str, npt.NDArray[Any]]) -> Habits:
        """What `state` gave."""
        counts = Counts(np.ascontiguousarray(arrays["hashes"]).view(np.uint64), arrays["mentions"], arrays["times"])
        longest, articles, share = arrays["plain"].tolist()
        edges = trees = None
        if "leaf" in arrays:
            cut = np.cumsum(arrays["borders_of"])[:-1]
            edges = boosting.Borders([np.asarray(part, dtype=np.float32) for part in np.split(arrays["borders"], cut)])
            trees = boosting.Trees(arrays["column"], arrays["border"], arrays["unknown_right"], arrays["leaf"], float(arrays["base"][0]))
        trusted = np.ascontiguousarray(arrays["trusted"]).view(np.uint64)
        return cls(counts, trusted, int(longest), bool(articles), float(share), edges, trees)


def places(words: Words, mentions: Mentions) -> tuple[Ints, Ints]:
    """First and last word of each mention."""
    start, end = mentions.start + words.offset[mentions.text], mentions.end + words.offset[mentions.text]
    first = np.minimum(np.searchsorted(words.end, start, side="right"), max(0, len(words) - 1))
    return first, np.maximum(first, np.searchsorted(words.start, end, side="left") - 1)


def measured(words: Words, writing: Writing, mentions: Mentions) -> tuple[Floats, Hashes]:
    """Features of the form, (n, len(FORM)), and what there are counts of, (n, 4) hashes: surface, last word, word before and after."""
    first, last = places(words, mentions)
    size = last - first + 1
    names = np.diff(mentions.first)
    best = np.where(names > 0, np.append(mentions.similarity, 0)[np.minimum(mentions.first[:-1], len(mentions.similarity))], np.nan)
    ups, lows = (np.append(0, np.cumsum(counts)) for counts in words.case)
    capitals, ordinary = (np.append(0, np.cumsum(which)) for which in (words.is_capital, writing.ordinary))
    gap = np.append(words.gap, cutting.NEW)
    starts, ends = gap[first] & cutting.NEW > 0, gap[last + 1] & cutting.NEW > 0
    before, after = np.maximum(first - 1, 0), np.minimum(last + 1, len(words) - 1)
    article = np.where(starts, 0, np.where(writing.definite[before], 2, np.where(writing.indefinite[before], 1, 0)))
    form = np.column_stack(
        [
            mentions.kind, best, names, mentions.cover, mentions.plain, mentions.inside >= 0, size, words.stop[last] - words.begin[first],
            words.is_capital[first], (lows[last + 1] == lows[first]) & (ups[last + 1] > ups[first]), writing.heads_sentence[first],
            (capitals[last + 1] - capitals[first]) / size, (ordinary[last + 1] - ordinary[first]) / size, article,
            np.where(starts, np.nan, words.is_capital[before]), np.where(ends, np.nan, words.is_capital[after]),
        ]
    ).astype(np.float32)  # fmt: skip
    edge = np.uint64(1)
    surface = words.hashed.whole(words.begin[first], words.stop[last])
    hashes = np.column_stack(
        [
            surface ^ _SALTS[0],
            words.hash[last] ^ _SALTS[1],
            np.where(starts, edge, words.hash[before]) ^ _SALTS[2],
            np.where(ends, edge, words.hash[after]) ^ _SALTS[3],
        ]
    )
    return form, hashes


def presumed(form: Floats) -> npt.NDArray[np.float64]:
    """The log-odds before any label says something, by form: round numbers, so that a few labels do not rule."""
    kind, similarity, alternative = (form[:, FORM.index(name)] for name in ("kind", "similarity", "alternative"))
    chance = np.select([kind > 0, np.isnan(similarity), similarity < 1], [0.5, 0.6, 0.8], 0.9) * np.where(alternative > 0, 0.3, 1.0)
    return np.asarray(np.log(chance / (1.0 - chance)))


def told(mentions: Floats, times: Floats, n: int) -> Floats:
    """Features of counts, (n, len(TOLD)): smoothed shares, NaN where nothing was seen."""
    mentions, times = mentions.reshape(n, 4), times.reshape(n, 4)
    with np.errstate(invalid="ignore"):
        share = np.where(times > 0, (mentions + 0.5) / (times + 1.0), np.nan)
    return np.column_stack([share[:, 0], np.log1p(times[:, 0]), share[:, 1:]]).astype(np.float32)


def trusted(words: Words, writing: Writing, spans: Spans) -> tuple[Hashes, int, bool]:
    """Surfaces that are mentions in enough of their places, the most words of them, and whether names are labelled with their article."""
    text = np.repeat(np.arange(len(spans)), [len(some) for some in spans])
    flat = np.array([span for some in spans for span in some], dtype=np.int64).reshape(-1, 2) - 1
    start, end = flat[:, 0] + words.offset[text], flat[:, 1] + words.offset[text]
    first, last = np.searchsorted(words.end, start, side="right"), np.searchsorted(words.start, end, side="left") - 1
    kept = (first <= last) & (last - first < MOST_WORDS)
    first, last = first[kept], last[kept]
    article = writing.definite | writing.indefinite
    named = words.is_capital[np.minimum(first + 1, last)]
    inside = article[first] & (last > first) & named
    outside = article[np.maximum(first - 1, 0)] & (words.gap[first] & cutting.NEW == 0) & words.is_capital[first] & ~inside
    first = first + inside
    surface, size = words.hashed.whole(words.begin[first], words.stop[last]), last - first + 1
    which, at, count = np.unique(surface, return_index=True, return_counts=True)
    longest = int(size.max(initial=0))
    times = np.zeros(len(which))
    run = np.cumsum(words.gap & cutting.NEW > 0)
    for n in range(1, longest + 1):
        begin = np.arange(len(words) - n + 1)
        begin = begin[run[begin] == run[begin + n - 1]]
        hashes = words.hashed.whole(words.begin[begin], words.stop[begin + n - 1])
        found = np.minimum(np.searchsorted(which, hashes), len(which) - 1)
        times += np.bincount(found[which[found] == hashes], minlength=len(which))
    # Numbers and single letters are everywhere; what is said of them in one text says nothing of another.
    lone = (size[at] == 1) & (words.is_number[first[at]] | (words.stop[last[at]] - words.begin[first[at]] == 1))
    likely = (count >= TRUSTED * times) & ~lone
    return which[likely], longest, bool(inside.sum() > outside.sum())


def learned(
    words: Words,
    writing: Writing,
    mentions: Mentions,
    spans: Spans,
    sure: tuple[Hashes, int, bool],
    *,
    seed: int = 0,
    check: Callable[[], None] | None = None,
) -> Habits:
    """Learn from candidates in texts of which all mentions are labelled.

    Args:
        mentions: candidates in these words.
        spans: of each text the labelled places, 1-based, end exclusive.
        sure: from `trusted`.
    """
    truth = labelled(words, writing, mentions, spans)
    share = float(truth.mean()) if len(truth) else 1.0
    form, hashes = measured(words, writing, mentions)
    counts = Counts.of(hashes.ravel(), np.repeat(truth, 4))
    if len(truth) < FEWEST or not 0.0 < share < 1.0:
        return Habits(counts, *sure, max(share, 0.5), None, None)
    # Each candidate is judged by what other texts say (to leave out itself alone would give its own label away: a surface whose
    # count is one less is a mention), and once as if nobody had seen its like.
    others = np.empty((len(form), len(TOLD)), dtype=np.float32)
    fold = np.random.default_rng(seed).integers(0, FOLDS, int(mentions.text.max()) + 1)[mentions.text]
    for part in range(FOLDS):
        here = fold == part
        known = Counts.of(hashes[~here].ravel(), np.repeat(truth[~here], 4))
        others[here] = told(*known.find(hashes[here].ravel()), int(here.sum()))
    unseen = others.copy()
    unseen[:, : TOLD.index("last")] = np.nan, 0.0
    values = np.vstack([np.column_stack([form, others]), np.column_stack([form, unseen])])
    borders = boosting.borders(values)
    offset = np.tile(presumed(form), 2)
    trees = boosting.fit(borders.bins(values), np.tile(truth, 2), offset, settings=SETTINGS, seed=seed, check=check)
    return Habits(counts, *sure, share, borders, trees)


def labelled(words: Words, writing: Writing, mentions: Mentions, spans: Spans) -> Bools:
    """Whether each candidate is a labelled mention: shares more than half of its characters with it, either way, articles aside."""
    text = np.repeat(np.arange(len(spans)), [len(some) for some in spans])
    flat = np.array([span for some in spans for span in some], dtype=np.int64).reshape(-1, 2) - 1
    begin, stop = flat[:, 0] + words.offset[text], flat[:, 1] + words.offset[text]
    order = np.argsort(begin, kind="stable")
    begin, stop = begin[order], stop[order]
    truth = np.zeros(len(mentions), dtype=bool)
    if not len(begin):
        return truth
    start, end = mentions.start + words.offset[mentions.text], mentions.end + words.offset[mentions.text]
    articles = writing.definite | writing.indefinite
    for shift in (0, 1):
        at = np.clip(np.searchsorted(begin, start, side="right") - 1 + shift, 0, len(begin) - 1)
        # The labelled place without its article.
        head = _bare(words, articles, begin[at], stop[at])
        common = np.minimum(end, stop[at]) - np.maximum(start, np.where(start < head, begin[at], head))
        union = np.maximum(end, stop[at]) - np.minimum(start, np.where(start < head, begin[at], head))
        truth |= common > OVERLAP * union
    return truth


def _bare(words: Words, articles: Bools, start: Ints, end: Ints) -> Ints:
    """Where places begin without their article."""
    first = np.minimum(np.searchsorted(words.end, start, side="right"), len(words) - 1)
    following = np.minimum(first + 1, len(words) - 1)
    return np.where(articles[first] & (words.start[following] < end), words.start[following], start)
