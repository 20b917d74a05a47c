"""Mentions in texts: the names of a dictionary, misspelt or not, what looks like a name but is none of them, and descriptions.

One pass whatever the number of names: every run of up to a name's length of words is hashed with numpy and looked up; misspellings
are found by the hashes of shortened forms (see spelling.py), and only what is found there is compared letter by letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.mentions import found as collected
from pgembed.mentions import habits as habits_of
from pgembed.mentions import matching
from pgembed.mentions import words as cutting
from pgembed.mentions.dictionary import Dictionary
from pgembed.mentions.found import DEMONSTRATIVE, DESCRIPTION, LEAST_COVER, NAME, PRONOUN, Mentions
from pgembed.mentions.habits import Habits
from pgembed.mentions.matching import Hits
from pgembed.mentions.shapes import Proper, Writing
from pgembed.mentions.spelling import Ints, Table
from pgembed.mentions.words import Bools, Words

Floats: TypeAlias = npt.NDArray[np.float64]
Check: TypeAlias = Callable[[], None]

BATCH = 1 << 18  # characters taken together: bounds memory, and a cancel waits no longer than this


def find_many(
    texts: Sequence[str], dictionary: Dictionary, pronouns: bool = False, habits: Habits | None = None, check: Check | None = None
) -> Mentions:
    """Mentions of all texts: names and what looks like one, descriptions ("the city", "this airport", "its capital"), pronouns.

    Where names overlap the longer is preferred, then the one spelt better; the others are alternatives (`Mentions.inside`). Names that
    are less than half of a longer proper name ("Texas" in "University of Texas"), or a part of an identifier, give way to the whole. A
    text has the same mentions alone and among others. Spans are without article, unless a name has it or it makes a description.

    Args:
        texts: any; offsets are of each text itself.
        pronouns: whether "it" and "she" are mentions.
        habits: from `learn`; gives `Mentions.likely`, and mentions that nothing but labels tells of.
        check: called now and then.
    """
    parts: list[Mentions] = []
    begins: list[int] = []
    at = 0
    while at < len(texts) or not parts:
        to, size = at, 0
        while to < len(texts) and (to == at or size + len(texts[to]) <= BATCH):
            size += len(texts[to])
            to += 1
        parts.append(_find(texts[at:to], dictionary, pronouns, habits, check))
        begins.append(at)
        at = to
        if check:
            check()
    return collected.joined(parts, begins)


def learn(texts: Sequence[str], spans: habits_of.Spans, dictionary: Dictionary, *, seed: int = 0, check: Check | None = None) -> Habits:
    """Learn from texts of which all mentions are labelled what is a mention; the same for the same seed.

    Args:
        spans: of each text the labelled places, 1-based, end exclusive.
    """
    words = cutting.words(texts)
    writing = Writing(words, dictionary.language)
    sure = habits_of.trusted(words, writing, spans)
    mentions = _places(words, writing, dictionary, False, (Table(sure[0], np.arange(len(sure[0]))), sure[1]), check)
    return habits_of.learned(words, writing, mentions, spans, sure, seed=seed, check=check)


def _find(texts: Sequence[str], dictionary: Dictionary, pronouns: bool, habits: Habits | None, check: Check | None) -> Mentions:
    words = cutting.words(texts)
    writing = Writing(words, dictionary.language)
    mentions = _places(words, writing, dictionary, pronouns, (habits.table, habits.longest) if habits else None, check)
    if habits is None or not len(mentions):
        return mentions
    likely = np.where(mentions.kind == PRONOUN, np.float32(1), habits.probability(words, writing, mentions))
    mentions = replace(mentions, likely=likely)
    if not habits.articles:
        return mentions
    # With their articles two places may have become one.
    mentions = replace(mentions, start=_with_article(words, writing, mentions))
    order = np.lexsort((mentions.inside >= 0, -mentions.end, mentions.start, mentions.text))
    again = np.all([np.diff(values[order]) == 0 for values in (mentions.text, mentions.start, mentions.end)], axis=0)
    return mentions.take(order[np.append(True, ~again)])


def _with_article(words: Words, writing: Writing, mentions: Mentions) -> Ints:
    """Where mentions begin with the article before them."""
    first = habits_of.places(words, mentions)[0]
    before = np.maximum(first - 1, 0)
    article = writing.definite[before] | writing.indefinite[before]
    article &= (words.gap[first] & (cutting.NEW | cutting.PROPER) == cutting.PROPER) & (
        words.start[first] - words.offset[mentions.text] == mentions.start
    )
    return np.where(article, words.start[before] - words.offset[mentions.text], mentions.start)


def _places(
    words: Words, writing: Writing, dictionary: Dictionary, pronouns: bool, sure: tuple[Table, int] | None, check: Check | None
) -> Mentions:
    hits = matching.hits(words, writing, dictionary, sure, check)
    proper = writing.proper()
    chosen = _chosen(hits)
    cover, whole, fits, begin = _covered(hits, chosen, proper)
    # A proper name that the names in it do not cover is preferred to them.
    preferred = chosen & ((whole < 0) | np.append(fits, True)[whole])
    bare = _bare(hits, preferred, proper, fits)
    broken = _broken(hits, proper, fits)
    plain = hits.plain | (broken >= 0)
    found = _Found()
    found.add(hits.start, hits.end, cover=cover, plain=plain, alternative=~preferred, hit=np.arange(len(hits), dtype=np.int64))
    found.add(proper.start[bare], proper.end[bare], plain=np.isin(bare, broken[hits.exact]))
    # "President Barack Obama" may be linked as a whole as well; a word that owes its capital to the sentence is no part of it.
    found.add(begin[fits], proper.end[fits], alternative=np.ones(int(fits.sum()), dtype=bool))
    wide = np.flatnonzero(proper.wide < proper.start)
    found.add(proper.wide[wide], proper.end[wide], alternative=np.ones(len(wide), dtype=bool))
    busy = _Busy(np.append(hits.start[preferred], proper.start[bare]), np.append(hits.end[preferred], proper.end[bare]))
    for first, last, kind in _described(words, writing, dictionary, pronouns):
        start, end = words.start[first], words.end[last]
        free = ~busy.overlaps(start, end)
        found.add(start[free], end[free], kind=kind[free])
    return found.mentions(words, hits)


class _Found:
    """Places as they are collected, in any order."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints, Ints, Floats, Bools, Bools, Ints]] = []

    def add(
        self,
        start: Ints,
        end: Ints,
        kind: Ints | None = None,
        cover: Floats | None = None,
        plain: Bools | None = None,
        alternative: Bools | None = None,
        hit: Ints | None = None,
    ) -> None:
        n = len(start)
        no = np.zeros(n, dtype=bool)
        self._parts.append(
            (
                start,
                end,
                np.full(n, NAME, dtype=np.int64) if kind is None else kind,
                np.ones(n) if cover is None else cover,
                no if plain is None else plain,
                no if alternative is None else alternative,
                np.full(n, -1, dtype=np.int64) if hit is None else hit,
            )
        )

    def mentions(self, words: Words, hits: Hits) -> Mentions:
        """In order, each place once, alternatives only where they overlap something that is preferred."""
        start, end = (np.concatenate([part[at] for part in self._parts]) for at in (0, 1))
        kind, cover = np.concatenate([part[2] for part in self._parts]), np.concatenate([part[3] for part in self._parts])
        plain, other = (np.concatenate([part[at] for part in self._parts]) for at in (4, 5))
        hit = np.concatenate([part[6] for part in self._parts])
        order = np.lexsort((hit < 0, other, -end, start))
        start, end, kind, cover, plain, other, hit = (
            start[order],
            end[order],
            kind[order],
            cover[order],
            plain[order],
            other[order],
            hit[order],
        )
        inside = _inside(start, end, other)
        kept = ~other | (inside >= 0)
        kept[1:] &= ~(other[1:] & (start[1:] == start[:-1]) & (end[1:] == end[:-1]))
        number = np.cumsum(kept) - 1
        first, name, similarity = hits.names_of(hit[kept])
        text = np.searchsorted(words.offset, start[kept], side="right") - 1
        return Mentions(
            text,
            start[kept] - words.offset[text],
            end[kept] - words.offset[text],
            kind[kept],
            cover[kept].astype(np.float32),
            plain[kept],
            np.where(inside < 0, -1, number[inside])[kept],
            first,
            name,
            similarity,
            np.ones(len(text), dtype=np.float32),
        )


def _described(words: Words, writing: Writing, dictionary: Dictionary, pronouns: bool) -> list[tuple[Ints, Ints, Ints]]:
    """First and last word, and kind, of descriptions and pronouns."""
    first, last, this = writing.descriptions(dictionary.is_noun)
    found = [(first, last, np.where(this, DEMONSTRATIVE, DESCRIPTION))]
    if pronouns:
        at = np.flatnonzero(dictionary.language.tables["pronouns"].has(words.hash) & ((words.case[0] <= 1) | writing.shouted))
        found.append((at, at, np.full(len(at), PRONOUN)))
    return found


def _chosen(hits: Hits) -> Bools:
    """Of places that overlap the longest, then the one spelt better, then the first."""
    chosen = np.zeros(len(hits), dtype=bool)
    if not len(hits):
        return chosen
    order = np.argsort(hits.start, kind="stable")
    start, end = hits.start[order], hits.end[order]
    reach = np.maximum.accumulate(end)
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = start[1:] >= reach[:-1]
    begins = np.flatnonzero(fresh)
    sizes = np.diff(np.append(begins, len(order)))
    chosen[order[begins[sizes == 1]]] = True
    for a, n in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        group = order[a : a + n]
        best = sorted(
            zip((-hits.weight[group]).tolist(), hits.start[group].tolist(), hits.end[group].tolist(), group.tolist(), strict=True)
        )
        taken: list[tuple[int, int]] = []
        for _, s, e, at in best:
            if all(e <= other or end_of <= s for other, end_of in taken):
                taken.append((s, e))
                chosen[at] = True
    return chosen


def _covered(hits: Hits, chosen: Bools, proper: Proper) -> tuple[Floats, Ints, Bools, Ints]:
    """The cover of each hit, the proper name it lies in (-1: in none); of each proper name whether the hits in it are enough, its begin."""
    cover, whole = np.ones(len(hits)), np.full(len(hits), -1, dtype=np.int64)
    at = np.flatnonzero(chosen)
    at = at[np.argsort(hits.start[at], kind="stable")]
    start, end = hits.start[at], hits.end[at]
    a = np.searchsorted(start, proper.start)
    b = np.maximum(a, np.searchsorted(end, proper.end, side="right"))
    length = np.append(0, np.cumsum(end - start))
    has = b > a
    if not len(at):
        return cover, whole, np.zeros(len(proper.start), bool), proper.start
    begin = np.where(has & (start[np.minimum(a, len(at) - 1)] < proper.certain), proper.start, proper.certain)
    share = np.minimum(1.0, (length[b] - length[a]) / np.maximum(1, proper.end - begin))
    fits = share >= np.where(proper.is_code, 1.0, LEAST_COVER)
    which = np.repeat(np.arange(len(a)), b - a)
    member = at[np.arange(len(which)) - np.repeat(np.cumsum(b - a) - (b - a), b - a) + a[which]]
    whole[member], cover[member] = which, share[which]
    # Alternatives within a proper name are judged by what they cover of it alone.
    rest = np.flatnonzero(~chosen)
    if len(rest) and len(proper.start):
        of = np.searchsorted(proper.start, hits.start[rest], side="right") - 1
        within = (of >= 0) & (hits.end[rest] <= proper.end[np.maximum(of, 0)])
        rest, of = rest[within], of[within]
        size = hits.end[rest] - hits.start[rest]
        from_start = np.where(hits.start[rest] < proper.certain[of], proper.start[of], proper.certain[of])
        cover[rest] = np.minimum(1.0, size / np.maximum(1, proper.end[of] - from_start))
    return cover, whole, fits, begin


def _bare(hits: Hits, preferred: Bools, proper: Proper, fits: Bools) -> Ints:
    """Proper names that become mentions themselves: those that no preferred hit overlaps."""
    return np.flatnonzero(~fits & ~_Busy(hits.start[preferred], hits.end[preferred]).overlaps(proper.start, proper.end))


def _broken(hits: Hits, proper: Proper, fits: Bools) -> Ints:
    """Of each hit the identifier of which it is a part only, as "work_mem" is in "work_mem_limit"; -1 for the others."""
    if not len(hits) or not proper.is_code.any():
        return np.full(len(hits), -1, dtype=np.int64)
    of = np.searchsorted(proper.start, hits.start, side="right") - 1
    within = (of >= 0) & (hits.end <= proper.end[of])
    return np.where(within & proper.is_code[of] & ~fits[of], of, -1)


class _Busy:
    """Places that are taken, none overlapping another."""

    def __init__(self, start: Ints, end: Ints) -> None:
        order = np.argsort(start, kind="stable")
        self._start, self._end = start[order], end[order]

    def overlaps(self, start: Ints, end: Ints) -> Bools:
        """Whether each place overlaps one of them."""
        return np.searchsorted(self._end, start, side="right") < np.searchsorted(self._start, end, side="left")


def _inside(start: Ints, end: Ints, other: Bools) -> Ints:
    """Of each alternative a preferred place that it overlaps: the first; -1 for the preferred ones."""
    inside = np.full(len(start), -1, dtype=np.int64)
    preferred, rest = np.flatnonzero(~other), np.flatnonzero(other)
    if len(preferred) and len(rest):
        at = np.searchsorted(end[preferred], start[rest], side="right")
        near = preferred[np.minimum(at, len(preferred) - 1)]
        meets = (at < len(preferred)) & (start[near] < end[rest])
        inside[rest[meets]] = near[meets]
    return inside
