"""Which rows a mention may mean: those called so, those that the text speaks of, and those that others propose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.lexical.sparse import once
from pgembed.linking.compiled import Compiled, Lists, expand, expand_weighted
from pgembed.linking.contract import Bools, Ints, Vectors
from pgembed.linking.places import Places
from pgembed.linking.telling import Told

BY_NAME = 10  # rows of names that are like a mention
FORMS = 24  # names looked at for that: a row has several
BY_TEXT = 12  # rows that the text speaks of
MOST_EQUAL = 50  # rows with a name that equals the mention
STRONG = 0.6  # a mention as like a name as this may be that row's, and others may take up what it names
_NAMED = 100.0  # added to the score of a row that a mention names
LOOKED_AT = 40  # rows of a passage from which those are chosen


@dataclass(frozen=True)
class Called:
    """Of pairs of a surface and a row the name of the row that is most like it; ordered by surface * rows + row (`key`)."""

    key: Ints
    form: Ints
    cosine: Vectors
    equal: Bools


def called(compiled: Compiled, surfaces: Sequence[str]) -> Called:
    """Rows whose names are like surfaces."""
    rows = max(1, compiled.rows)
    surface, text, cosine = compiled.grams.similar(surfaces, FORMS)
    # All homonyms of an equal name, however many: the index gives only its best.
    exact = np.fromiter((compiled.form_number.get(s, -1) for s in surfaces), np.int64, len(surfaces))
    same = np.flatnonzero(exact >= 0)
    apart = exact[surface] != text
    surface = np.concatenate([surface[apart], same])
    text = np.concatenate([text[apart], exact[same]])
    cosine = np.concatenate([cosine[apart], np.ones(len(same), np.float32)])
    at, form = expand(compiled.forms_of, text)
    surface, cosine = surface[at], cosine[at]
    equal = exact[surface] == text[at]
    row = compiled.forms.row[form]
    key = surface * rows + row
    order = np.lexsort((compiled.forms.kind[form], -cosine, key))
    key, form, cosine, equal = key[order], form[order], cosine[order], equal[order]
    fresh = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, np.int64)
    key, form, cosine, equal = key[fresh], form[fresh], cosine[fresh], equal[fresh]
    # The best of each surface.
    surface = key // rows
    order = np.lexsort((-cosine, surface))
    rank = np.empty(len(order), np.int64)
    rank[order] = _rank(surface[order])
    kept = (rank < BY_NAME) | (equal & (rank < MOST_EQUAL))
    return Called(key[kept], form[kept], cosine[kept], equal[kept])


def unlike(compiled: Compiled, places: Places, names: Called) -> Bools:
    """Of each mention whether no name is like it, nor any facts; pronouns are none of these."""
    known = np.array([not surface for surface in places.surfaces], bool)
    rows = max(1, compiled.rows)
    known[names.key[names.cosine >= STRONG] // rows] = True
    known[near_rows(compiled, places.words)[0] // rows] = True
    return ~known[places.surface]


def find(
    compiled: Compiled,
    places: Places,
    names: Called,
    told: Told,
    fit: Callable[[Ints, Ints], Vectors],
    others: Sequence[tuple[Ints, Ints]],
    allowed: Bools | None,
) -> tuple[Ints, Ints]:
    """Mention and row of each candidate, ordered by both, none twice.

    Args:
        names: of the surfaces of `places`.
        told: of its passages.
        fit: of pairs of a surface and a row how well it says what kind of thing the row is, 0..1.
        others: (mention, row) that memory or vectors propose.
        allowed: of each row whether it may be meant.
    """
    rows = max(1, compiled.rows)
    by_surface = Lists(names.key // rows, names.key % rows, len(places.surfaces))
    at, row = expand(by_surface, places.surface)
    mentions, found = [at], [row]
    near = near_rows(compiled, places.words)
    at, row = expand(Lists(near[0] // rows, near[0] % rows, len(places.surfaces)), places.surface)
    mentions.append(at)
    found.append(row)
    at, row = _spoken(compiled, places, names, told, fit)
    mentions.append(at)
    found.append(row)
    for mention, row in others:
        mentions.append(mention)
        found.append(row)
    pair = once(np.concatenate(mentions) * rows + np.concatenate(found))
    if allowed is not None:
        pair = pair[allowed[pair % rows]]
    return pair // rows, pair % rows


def near_rows(compiled: Compiled, words: Lists) -> tuple[Ints, Vectors]:
    """Rows that surfaces lead to by the facts of the rows: surface * rows + row, ascending, and how clearly, 0..1."""
    rows = max(1, compiled.rows)
    of = np.repeat(np.arange(len(words), dtype=np.int64), words.count)
    at, row, share = expand_weighted(compiled.near, words.member)
    key, back = np.unique(of[at] * rows + row, return_inverse=True)
    total = np.bincount(back, share * words.weight[at], len(key)) / np.maximum(1, words.count[key // rows])
    return key, total.astype(np.float32)


def _spoken(compiled: Compiled, places: Places, names: Called, told: Told, fit: Callable[[Ints, Ints], Vectors]) -> tuple[Ints, Ints]:
    """Mention and row: rows that the other mentions name and rows of which the passage tells, for mentions that equal no name."""
    rows = max(1, compiled.rows)
    equal = np.zeros(len(places.surfaces), bool)
    equal[names.key[names.equal & (compiled.forms.kind[names.form] == 0)] // rows] = True
    open_ = np.flatnonzero(~equal[places.surface] | places.demonstrative)
    strong = np.flatnonzero(names.cosine >= STRONG)
    of_surface = Lists(names.key[strong] // rows, names.key[strong] % rows, len(places.surfaces), names.cosine[strong])
    at, row, cosine = expand_weighted(of_surface, places.surface)
    key = np.concatenate([told.key, places.passage[at] * rows + row])
    score = np.concatenate([np.minimum(told.total, 2.0), _NAMED + 1.0 + cosine]).astype(np.float32)
    order = np.lexsort((-score, key))
    key, score = key[order], score[order]
    fresh = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, np.int64)
    key, score = key[fresh], score[fresh]
    order = np.lexsort((-score, key // rows))
    order = order[_rank(key[order] // rows) < LOOKED_AT]
    spoken = Lists(key[order] // rows, key[order] % rows, places.passages, score[order])
    at, row, score = expand_weighted(spoken, places.passage[open_])
    mention = open_[at]
    # A pronoun stands for what another mention names.
    silent = np.array([not surface for surface in places.surfaces], bool)[places.surface[mention]]
    kept = np.flatnonzero(~silent | (score > _NAMED))
    mention, row, score = mention[kept], row[kept], score[kept] % _NAMED
    score = score + 2.0 * fit(places.surface[mention], row)
    order = np.lexsort((-score, mention))
    order = order[_rank(mention[order]) < BY_TEXT]
    return mention[order], row[order]


def _rank(group: Ints) -> Ints:
    """The place of each in its group, from 0; groups stand together."""
    if not len(group):
        return np.empty(0, np.int64)
    fresh = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    return np.arange(len(group)) - np.repeat(fresh, np.diff(np.append(fresh, len(group))))
