"""What speaks for and against each candidate of each mention, as numbers.

The first stage looks at a mention and a row (`FIRST`), the second at what the other mentions of the text probably mean (`SUPPORT`).

    cosine      n-grams of the surface and of the row's name that is most like it, 0..1
    written     share of the letters, spaces aside, that surface and name have in their order (Damerau), above 0.4
    equal       1 if they are equal (folded, without article)
    short       1 if that name is only a part of one (before a comma, without the parenthesis)
    initials    1 if it is the first letters of one
    name_share  of that name's words, by rarity, the share that the surface has (misspelt words count less)
    said_share  of the surface's words, by rarity, the share that the name has; words that no row has count as the rarest
    digits      words with digits that stand in one of the two only
    alike       rows that a surface's best name leads to: log(1 + rows with an equal or as similar name)
    matched     rarity of the words that both have, as a share of the rarest word's: much is known by them
    general     log(1 + rows / ...) of the rarest word of the surface that any row has, as a share of the rarest: "the airport" has little
    near        how clearly the surface's words lead to this row by its facts ("Italian": the language and the people of Italy)
    gap         cosine less the best cosine among the candidates of the mention
    kind        cosine of the roles that rows called so stand in and those of this row ("the leader" and objects of leader)
    kind_gap    the same less the best of the mention
    told        sum over the row's facts whose other side stands in the passage, outside of the mention, by rarity
    told_best   the most of it
    told_gap    told less the best of the mention
    rest        of the words of the row's whole name, by rarity, the share that the surface lacks and the passage has,
                if the surface has any ("Paris ... Texas")
    lacking     the share that neither has
    relations   share of the row's roles, by rarity, whose relation has a word in the passage
    degree      log(1 + facts) of the row
    definite    1 if the surface begins with "the" or "its"
    demonstrative  1 if it begins with "this" or "that"
    words       words of the surface
    related     sum over rows related to this one of the probability that another mention means them, by rarity of the relative
    related_best   the most of it
    related_gap    related less the best of the mention
    same        probability that another mention means this row too
    before      the same of the mentions before this one
    since       1 / (1 + mentions in between) since the last that probably means this row, 0 if none
    again       same of mentions that describe (begin with "the", "this" or "its", or are pronouns), times (0.2 + kind) (1 - general)
    first       1 / (1 + mentions before the first that probably means this row, and is before this one), 0 if none is
    again_first, again_since   first and since, of the same mentions, times the same
    role        most of the probability that another mention means a row that stands to this one in a relation that the surface names
    chance      logarithm of the first stage's probability
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pgembed.linking import letters
from pgembed.linking.candidates import Called, near_rows
from pgembed.linking.compiled import Compiled, Lists, expand_weighted
from pgembed.linking.contract import Bools, Ints, Vectors
from pgembed.linking.places import Places
from pgembed.linking.telling import Told, place, taken

NAMED = (
    "cosine", "written", "equal", "short", "initials", "name_share", "said_share", "digits", "alike", "matched", "general", "words",
)  # fmt: skip
FIRST = (
    *NAMED, "near", "gap", "kind", "kind_gap", "told", "told_best", "told_gap", "rest", "lacking", "relations", "degree",
    "definite", "demonstrative",
)  # fmt: skip
SUPPORT = (
    "related",
    "related_best",
    "related_gap",
    "same",
    "before",
    "since",
    "again",
    "first",
    "again_first",
    "again_since",
    "role",
    "chance",
)
FEATURES = FIRST + SUPPORT
_CELLS = 1 << 23  # of the table of roles that is in memory at a time
_PAIRS = 1 << 18  # compared at a time
CHANCE = 0.4  # share of the letters that two words have in common by chance


@dataclass(frozen=True)
class Pairs:
    """Candidates of all mentions of a batch, ordered by mention and row.

    Attributes:
        mention, row: of each candidate.
        values: float32 (n, len(FEATURES)); NaN where unknown, as the second stage's are at first.
    """

    mention: Ints
    row: Ints
    values: Vectors

    def column(self, name: str) -> Vectors:
        """One feature."""
        return self.values[:, FEATURES.index(name)]


class Kinds:
    """What kinds of things surfaces say, as the roles that rows called so stand in.

    Args:
        words: of each surface.
    """

    def __init__(self, compiled: Compiled, words: Lists) -> None:
        self._compiled = compiled
        self._words = words
        # Of a long text with many surfaces only a part of the table is in memory.
        self._step = max(1, min(len(words), _CELLS // compiled.role_count))
        self._made: tuple[int, Vectors] | None = None

    def fits(self, surface: Ints, row: Ints) -> Vectors:
        """Cosine of a surface's roles and a row's, pair by pair."""
        result = np.zeros(len(surface), np.float32)
        order = np.argsort(surface // self._step, kind="stable")
        bounds = np.searchsorted(surface[order] // self._step, np.arange(-(-len(self._words) // self._step) + 1))
        for block, (first, last) in enumerate(pairwise(bounds.tolist())):
            for begin in range(first, last, _PAIRS):
                some = order[begin : min(begin + _PAIRS, last)]
                at, role, weight = expand_weighted(self._compiled.roles, row[some])
                share = self._table(block)[surface[some][at] - block * self._step, role] * weight
                result[some] = np.bincount(at, share, len(some))
        return result

    def _table(self, block: int) -> Vectors:
        if self._made is None or self._made[0] != block:
            self._made = block, self._roles(block * self._step, min(len(self._words), (block + 1) * self._step))
        return self._made[1]

    def _roles(self, begin: int, end: int) -> Vectors:
        """Of each of some surfaces the roles: float32 (surfaces, roles), of length 1 or 0."""
        compiled, words = self._compiled, self._words
        part = slice(int(words.start[begin]), int(words.start[end]))
        of = np.repeat(np.arange(end - begin, dtype=np.int64), words.count[begin:end])
        at, role, weight = expand_weighted(compiled.kinds, words.member[part])
        weight = weight * words.weight[part][at] * np.sqrt(compiled.rarity[words.member[part][at]])
        table = np.bincount(of[at] * compiled.role_count + role, weight, (end - begin) * compiled.role_count)
        made = table.reshape(end - begin, compiled.role_count).astype(np.float32)
        made /= np.maximum(np.sqrt((made * made).sum(1, keepdims=True)), np.float32(1e-9))
        return made


def measure(compiled: Compiled, places: Places, mention: Ints, row: Ints, names: Called, told: Told, own: Told, kinds: Kinds) -> Pairs:
    """The first stage's features of candidates, ordered by mention and row.

    Args:
        names: of the surfaces.
        told, own: what the passages tell, and what the surfaces alone would.
        kinds: of the surfaces.
    """
    rows = max(1, compiled.rows)
    values = np.full((len(mention), len(FEATURES)), np.nan, np.float32)
    column = {name: at for at, name in enumerate(FEATURES)}
    surface = places.surface[mention]
    pair = surface * rows + row
    # What depends on surface and row alone is made once for each such pair.
    unique, first, back = np.unique(pair, return_index=True, return_inverse=True)
    said, meant = surface[first], row[first]
    made = _names(compiled, places, said, meant, unique, names)
    made["kind"] = kinds.fits(said, meant)
    near, share = near_rows(compiled, places.words)
    at, known = place(near, unique)
    made["near"] = taken(share, at, known)
    for name, value in made.items():
        values[:, column[name]] = value[back]
    key = places.passage[mention] * rows + row
    total, best = told.of(key)
    own_total, _ = own.of(pair)
    values[:, column["told"]] = np.maximum(total - own_total, 0)
    values[:, column["told_best"]] = np.where(own_total > 0, np.minimum(best, np.maximum(total - own_total, 0)), best)
    values[:, column["rest"]], values[:, column["lacking"]] = _rest(compiled, places, mention, row)
    unique, back = np.unique(key, return_inverse=True)
    values[:, column["relations"]] = _relations(compiled, places, unique // rows, unique % rows)[back]
    values[:, column["degree"]] = compiled.degree[row]
    values[:, column["definite"]] = places.definite[mention]
    values[:, column["demonstrative"]] = places.demonstrative[mention]
    for name, gap in (("cosine", "gap"), ("kind", "kind_gap"), ("told", "told_gap")):
        values[:, column[gap]] = gaps(mention, values[:, column[name]])
    return Pairs(mention, row, values)


def gaps(mention: Ints, value: Vectors) -> Vectors:
    """Each value less the greatest of its mention's; mentions stand together."""
    if not len(mention):
        return value
    fresh = np.flatnonzero(np.concatenate([[True], mention[1:] != mention[:-1]]))
    most = np.maximum.reduceat(value, fresh)
    gap: Vectors = value - np.repeat(most, np.diff(np.append(fresh, len(mention))))
    return gap


def _names(compiled: Compiled, places: Places, said: Ints, meant: Ints, key: Ints, names: Called) -> dict[str, Vectors]:
    at, known = place(names.key, key)
    zero = np.zeros(len(key), np.float32)
    if not len(names.key):
        return dict.fromkeys(NAMED, zero)
    form = names.form[at]
    cosine = np.where(known, names.cosine[at], zero)
    equal = (known & names.equal[at]).astype(np.float32)
    kind = np.where(known, compiled.forms.kind[form], -1)
    # Of a row that n-grams did not lead to its own name is looked at; -1 where it has none.
    text = np.where(known, compiled.forms.text[form], compiled.first_text[meant])
    size = max(1, len(compiled.vocabulary.words))
    words = places.words
    of = np.repeat(np.arange(len(words), dtype=np.int64), words.count)
    spoken = of * size + words.member
    asked = np.flatnonzero(text >= 0)
    back, word, _ = expand_weighted(compiled.form_words, text[asked])
    here, found = place(spoken, said[asked][back] * size + word)
    weight = compiled.name_rarity[word]
    share = taken(words.weight, here, found)
    both = _sum(back, weight * share, asked, len(key))
    whole = _sum(back, weight, asked, len(key))
    # Words of the surface that no row has weigh as the rarest.
    rarest = float(np.log1p(compiled.rows))
    count = np.fromiter((s.count(" ") + 1 if s else 0 for s in places.surfaces), np.int64, len(places.surfaces))
    of_surface = np.bincount(of, compiled.name_rarity[words.member], len(words)) + rarest * np.maximum(0, count - words.count)
    digit = compiled.has_digit
    shared = _sum(back, (digit[word] & found).astype(np.float32), asked, len(key))
    digits = _sum(back, digit[word].astype(np.float32), asked, len(key))
    written = np.fromiter((sum(any(map(str.isdigit, w)) for w in s.split()) for s in places.surfaces), np.float32, len(places.surfaces))
    # A word that only types and relations have says nothing of any one row.
    general = np.zeros(len(words), np.float32)
    of_names = compiled.name_rarity * compiled.in_names / np.float32(max(rarest, 1e-9))
    np.maximum.at(general, of, of_names[words.member])
    # Rows whose name is as like the surface as this one's.
    surface_of_name = names.key // max(1, compiled.rows)
    rounded = np.round(names.cosine * 50).astype(np.int64)
    group = surface_of_name * 64 + rounded
    _, inverse, number = np.unique(group, return_inverse=True, return_counts=True)
    alike = np.where(known, np.log1p(number[inverse][at]), zero).astype(np.float32)
    initials = kind == 2
    return {
        "cosine": cosine,
        "written": _written(compiled, places, said, text),
        "equal": equal,
        "short": (kind == 1).astype(np.float32),
        "initials": initials.astype(np.float32),
        "name_share": np.where(initials, equal, both / np.maximum(whole, 1e-9)),
        "said_share": np.where(initials, equal, both / np.maximum(of_surface[said], 1e-9)),
        "digits": np.where(text >= 0, digits + written[said] - 2 * shared, zero),
        "alike": alike,
        "matched": np.where(initials, equal, both / rarest),
        "general": general[said],
        "words": count[said].astype(np.float32),
    }


def _written(compiled: Compiled, places: Places, said: Ints, text: Ints) -> Vectors:
    """Letters that surface and form share in their order, above what two words share by chance."""
    surfaces = [surface.replace(" ", "") for surface in places.surfaces]
    lengths = np.array([len(surface) for surface in surfaces], np.float32)[said]
    others = compiled.form_lengths[text]
    longest = np.maximum(np.maximum(lengths, others), 1)
    likeness = np.zeros(len(said), np.float32)
    asked = np.flatnonzero((text >= 0) & (1 - np.abs(lengths - others) / longest > CHANCE))
    # No more letters can agree than both have.
    common = np.minimum(letters.bags(surfaces)[said[asked]], compiled.form_bags[text[asked]]).sum(1, dtype=np.int64)
    asked = asked[common > CHANCE * longest[asked]]
    one = [surfaces[at] for at in said[asked].tolist()]
    other = [compiled.form_keys[at] for at in text[asked].tolist()]
    likeness[asked] = 1.0 - letters.distances(one, other) / longest[asked]
    above: Vectors = np.maximum(likeness - np.float32(CHANCE), 0) / np.float32(1 - CHANCE)
    return above


def _sum(back: Ints, weight: Vectors, asked: Ints, n: int) -> Vectors:
    total = np.zeros(n, np.float32)
    total[asked] = np.bincount(back, weight, len(asked))
    return total


def _rest(compiled: Compiled, places: Places, mention: Ints, row: Ints) -> tuple[Vectors, Vectors]:
    """What the surface lacks of the row's whole name: the share that the passage has, and the share that it has not."""
    text = compiled.first_text[row]
    named = np.flatnonzero(text >= 0)
    back, word, _ = expand_weighted(compiled.form_words, text[named])
    at = named[back]
    weight = compiled.name_rarity[word]
    said = _has(compiled, places.words, places.surface[mention[at]], word)
    told = _has(compiled, places.context, places.passage[mention[at]], word) * ~said
    whole = np.maximum(np.bincount(at, weight, len(row)), 1e-9)
    # A name that stands elsewhere is no rest of this one.
    rest = np.bincount(at, weight * told, len(row)) / whole * (np.bincount(at, said, len(row)) > 0)
    lacking = np.bincount(at, weight * ~(said | told), len(row)) / whole
    return rest.astype(np.float32), lacking.astype(np.float32)


def _has(compiled: Compiled, lists: Lists, of: Ints, word: Ints) -> Bools:
    """Whether each of some lists has a word."""
    size = max(1, len(compiled.vocabulary.words))
    here = np.repeat(np.arange(len(lists), dtype=np.int64), lists.count)
    return place(here * size + lists.member, of * size + word)[1]


def _relations(compiled: Compiled, places: Places, passage: Ints, row: Ints) -> Vectors:
    words = places.context
    of = np.repeat(np.arange(len(words), dtype=np.int64), words.count)
    at, role, _ = expand_weighted(compiled.words_in_roles, words.member)
    named = np.unique(of[at] * compiled.role_count + role)
    at, role, weight = expand_weighted(compiled.roles, row)
    _, known = place(named, passage[at] * compiled.role_count + role)
    total = np.bincount(at, known * weight.astype(np.float64) ** 2, len(row))
    return np.sqrt(total).astype(np.float32)
