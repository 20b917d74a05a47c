"""A linker as it works: rows compiled once, texts linked in batches.

linker = Linker(knowledge)
linker.link(["we raised shared_bufers"])
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pgembed.errors import InvalidParameter
from pgembed.linking import decisions, evidence, learned, places, training, untrained
from pgembed.linking.contextual import Contextual, named
from pgembed.linking.contract import (
    NIL,
    Bools,
    Check,
    Decision,
    Dense,
    Evidence,
    Example,
    Floats,
    Ints,
    Knowledge,
    Link,
    MentionType,
    Ranking,
    Vectors,
)
from pgembed.linking.detecting import Detector
from pgembed.linking.features import FEATURES, FIRST, Pairs
from pgembed.linking.model import Model
from pgembed.linking.pipeline import Measured, Rows
from pgembed.mentions import found as finding
from pgembed.mentions.found import Mentions

_T = TypeVar("_T")

__all__ = ["Linker", "Model", "train"]

BATCH = 1_000  # texts measured together
CHARACTERS = 1 << 20  # or fewer, where they are long
PRONOUNS = frozenset(["he", "her", "hers", "him", "his", "it", "its", "she", "their", "theirs", "them", "they"])
DEMONSTRATIVES = ("this ", "that ", "these ", "those ")
MISSPELT = 0.66  # of the feature `written`: no more than a fifth of the letters are wrong
DECISIONS: tuple[Decision, ...] = ("link", "review", "nil")


@dataclass(frozen=True)
class Ranked:
    """The candidates of a batch's mentions; mentions stand together, of each the most probable first.

    Attributes:
        mention, row, probability: of each candidate.
        begin: of each mention where its candidates begin; one longer than the mentions.
        order: of each candidate its place among `measured.prepared.pairs`.
        pairs: with the features of both stages.
        sense: of each of `pairs` what its context says, log-odds among its mention's; NaN where nobody asked.
    """

    mention: Ints
    row: Ints
    probability: Floats
    begin: Ints
    order: Ints
    measured: Measured
    pairs: Pairs
    sense: Vectors

    def best(self, rank: int) -> tuple[Ints, Floats]:
        """Of each mention the row at a rank and its probability; NIL and 0 where there is none."""
        at = self.begin[:-1] + rank
        there = at < self.begin[1:]
        if not len(self.row):
            return np.full(len(at), NIL, dtype=np.int64), np.zeros(len(at))
        at = np.minimum(at, len(self.row) - 1)
        return np.where(there, self.row[at], NIL), np.where(there, self.probability[at], 0.0)

    def best_of(self, mention: int, k: int) -> range:
        """Where the k best candidates of one mention stand."""
        first = int(self.begin[mention])
        return range(first, min(first + k, int(self.begin[mention + 1])))


class Linker:
    """Links texts to the rows of a knowledge.

    Args:
        knowledge: the rows.
        dense: tells homonyms apart by meaning; None: words alone do.
        model: from `train`; None: untrained. One of another space than `dense` is refused; without `dense`, or trained without one,
            the rest of it counts.

    Raises:
        errors.InvalidParameter: the model was trained with vectors of another space.
    """

    def __init__(self, knowledge: Knowledge, dense: Dense | None = None, model: Model | None = None) -> None:
        if model is not None and model.space is not None and dense is not None and model.space != dense.space:
            raise InvalidParameter(
                f'the linker was trained with vectors of "{model.space}", and its context has those of "{dense.space}"',
                hint="Train the linker again.",
            )
        self.knowledge = knowledge
        self.dense = dense
        self.model = model
        self._contextual = None if dense is None else Contextual(knowledge, dense, model.senses if model else None)
        learnt = model or Model(None, {})
        self._rows = Rows(knowledge, learnt.memory, learnt.sayings, joint=[learnt.joint] if learnt.ranking and learnt.joint else [])
        self._detector = Detector(knowledge, model.habits if model else None)

    def changed(self, knowledge: Knowledge, rows: Sequence[int]) -> Linker:
        """The linker after some rows changed, without compiling the others again; anew where a tenth has changed.

        Args:
            knowledge: as it is now: rows keep their number, new ones are behind them, and one that is gone has no name and no facts.
            rows: those of which anything changed, or that are new or gone.
        """
        made = copy.copy(self)
        made.knowledge = knowledge
        made._rows = self._rows.changed(knowledge, rows)
        named = [(row, called) for row in rows for called in (knowledge.names[row], *knowledge.aliases[row])]
        made._detector = self._detector.changed(rows, named)
        if self._contextual is not None:
            made._contextual = self._contextual.changed(knowledge, rows)
        return made

    def forget_vectors(self) -> None:
        """Fetch the vectors of rows anew: they may have changed since the last call."""
        if self._contextual is not None:
            self._contextual.meaning.forget()

    def link(
        self,
        texts: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        *,
        allowed: Bools | None = None,
        pronouns: bool = False,
        precision: float | None = None,
        check: Check | None = None,
    ) -> list[list[Link]]:
        """The mentions of each text and the row that each means, in the order of the text.

        Args:
            texts: any; an empty one has no mentions.
            spans: of each text the places to link, as in `Link`; None finds them. Their links are in the order in which they were given.
            allowed: of each row whether it may be meant; None: all.
            pronouns: whether "it" and "she" are mentions too.
            precision: of links, that is asked for; None: the default setting. Fewer links are made for a higher one.
            check: called now and then.
        Raises:
            errors.InvalidParameter: a span that is empty or reaches beyond its text, or a precision outside of 0..1.
        """
        if precision is not None and not 0.0 < precision <= 1.0:
            raise InvalidParameter(f"precision must be above 0 and at most 1, not {precision:g}")
        made: list[list[Link]] = []
        for first, last in _batches(texts):
            batch = texts[first:last]
            if spans is None:
                found = self._detector.find(batch, pronouns, check)
                made += self._found(batch, found, allowed, precision, check)
            else:
                made += self._given(batch, spans[first:last], allowed, precision, check)
            if check:
                check()
        return made

    def ranked(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]], *, allowed: Bools | None = None, check: Check | None = None
    ) -> list[list[Ranking]]:
        """The candidates of each place, whatever the decision would be; arguments as of `link`."""
        made: list[list[Ranking]] = []
        for first, last in _batches(texts):
            batch = texts[first:last]
            text, start, end, back = _places(batch, spans[first:last])
            ranked = self._ranked(batch, text, start, end, allowed, check)
            rows, shares, begin = ranked.row.tolist(), ranked.probability.tolist(), ranked.begin.tolist()
            flat = [Ranking(rows[a:b], shares[a:b]) for a, b in itertools.pairwise(begin)]
            made += _cut([flat[at] for at in back.tolist()], spans[first:last])
            if check:
                check()
        return made

    def explain(
        self,
        content: str,
        spans: Sequence[tuple[int, int]],
        *,
        allowed: Bools | None = None,
        pronouns: bool = False,
        k: int = 5,
        check: Check | None = None,
    ) -> list[list[tuple[int, float, list[Evidence]]]]:
        """Of each place its k best candidates with their probability and the reasons, the weightiest first.

        The other mentions of the text that support them are those that `link` would find.

        Args:
            spans: as of `link`.
            check: called now and then; may raise.
        """
        _places([content], [spans])
        asked = [(start - 1, end - 1) for start, end in spans]
        if not asked:
            return []
        found = self._detector.find([content], pronouns)
        taken = np.zeros(len(content) + 1, np.int64)  # of the characters before, those in places
        for first, last in asked:
            taken[first + 1 : last + 1] = 1
        taken = np.cumsum(taken)
        keep = found.take(np.flatnonzero((found.inside < 0) & (taken[found.start] == taken[found.end])))
        every = sorted({*asked, *zip(keep.start.tolist(), keep.end.tolist(), strict=True)})
        start, end = (np.array(side, dtype=np.int64) for side in zip(*every, strict=True))
        ranked = self._ranked([content], np.zeros(len(every), np.int64), start, end, allowed, check)
        chance = np.zeros(len(ranked.order))
        chance[ranked.order] = ranked.probability
        number = {place: at for at, place in enumerate(every)}
        made = []
        for place in asked:
            if check is not None:
                check()
            made.append([self._reasons(content, place, ranked, chance, number[place], at) for at in ranked.best_of(number[place], k)])
        return made

    def _reasons(
        self, content: str, place: tuple[int, int], ranked: Ranked, chance: Floats, mention: int, at: int
    ) -> tuple[int, float, list[Evidence]]:
        """Of one candidate of one mention."""
        row = int(ranked.row[at])
        reasons = evidence.explain(self._rows.compiled, ranked.measured.prepared.places, ranked.pairs, chance, mention, row)
        reasons += self._remembered(content[place[0] : place[1]], row)
        reasons += evidence.context(self._rows.compiled, ranked.sense, ranked.pairs, mention, row)
        return row, float(ranked.probability[at]), sorted(reasons, key=lambda reason: -abs(reason.value))

    def _remembered(self, surface: str, row: int) -> list[Evidence]:
        """What labels said of these words."""
        recall = self._rows.recall
        number = recall.numbers([surface])
        share, said, other, _ = recall.features(np.zeros(1, np.int64), np.array([row]), number)[0].tolist()
        here, elsewhere = round(np.expm1(said)), round(np.expm1(other))
        if not here + elsewhere:
            return []
        words = f'labels say {here:,} of {here + elsewhere:,} times that "{surface}" means {evidence.called(self._rows.compiled, row)}'
        return [Evidence("memory", 5.0 * share, words)]

    def _ranked(
        self, texts: Sequence[str], text: Ints, start: Ints, end: Ints, allowed: Bools | None, check: Check | None = None
    ) -> Ranked:
        """Measure and rank the candidates of places, ordered by text and place."""
        measured = self._rows.measure(texts, text, start, end, allowed=allowed, contextual=self._contextual)
        sense = np.full(len(measured.prepared.pairs.mention), np.nan, np.float32)
        ranking = self.model.ranking if self.model else None
        every = measured.prepared.pairs
        probability = np.zeros(len(every.mention))
        if ranking is None:
            shares, pairs = untrained.rank(measured.prepared)
            if self._contextual is not None:
                odds = np.log(np.maximum(shares, 1e-12))
                meant, sense = self._contextual.added(texts, text, start, end, pairs.mention, pairs.row, odds, named(pairs.values), check)
                shares = untrained.shares(pairs.mention, odds + meant)
            probability = decisions.untrained(pairs, shares)
            tail = shares
        else:
            odds = ranking.first(measured.values[:, : len(learned.EVIDENCE)], measured.begun)
            support, added = learned.support(
                measured.prepared.graph, measured.at, odds, measured.values[:, learned.SHARE], measured.values[:, learned.LABELS]
            )
            values = learned.joined(measured.values, support)
            odds = ranking.second(learned.weighed(values), odds + ranking.scale * added)
            odds = learned.blended(measured.prepared.graph, measured.at, odds, measured.begun, measured.values)
            if self._contextual is not None:
                called = named(every.values[measured.at])
                meant, sense[measured.at] = self._contextual.added(
                    texts, text, start, end, measured.mention, measured.row, odds, called, check
                )
                odds = odds + meant
            first = learned.starts(measured.mention)
            at, made, begins, chance = learned.third(values, measured.mention, odds, measured.nil[measured.mention[first]])
            right = decisions.probability(ranking.line(ranking.right(made, begins)))
            probability[measured.at] = learned.spread(chance, measured.mention, at, right)
            tail = np.full(len(probability), -1e9)
            tail[measured.at] = odds
            filled = every.values.copy()
            filled[measured.at, len(FIRST) : len(FEATURES)] = support[:, : len(FEATURES) - len(FIRST)]
            filled[:, len(FIRST) :] = np.nan_to_num(filled[:, len(FIRST) :])
            pairs = Pairs(every.mention, every.row, filled)
        order = np.lexsort((every.row, -learned.begun(every.values), -tail, every.mention))
        begin = np.searchsorted(every.mention, np.arange(len(text) + 1))
        return Ranked(every.mention, every.row[order], probability[order], begin, order, measured, pairs, sense)

    def _given(
        self,
        texts: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        allowed: Bools | None,
        precision: float | None,
        check: Check | None,
    ) -> list[list[Link]]:
        text, start, end, back = _places(texts, spans)
        ranked = self._ranked(texts, text, start, end, allowed, check)
        alike = (ranked.pairs.column("equal") == 1) | (ranked.pairs.column("written") >= MISSPELT)
        called = np.bincount(ranked.mention, alike[ranked.order], len(text)) > 0
        kinds = [
            _kind(texts[which][a:b], is_called=known)
            for which, a, b, known in zip(text.tolist(), start.tolist(), end.tolist(), called.tolist(), strict=True)
        ]
        links = self._links(texts, text, start, end, kinds, ranked, np.ones(len(text)), precision)[0]
        return _cut([links[at] for at in back.tolist()], spans)

    def _found(
        self, texts: Sequence[str], found: Mentions, allowed: Bools | None, precision: float | None, check: Check | None
    ) -> list[list[Link]]:
        ranked = self._ranked(texts, found.text, found.start, found.end, allowed, check)
        kinds = [finding.KINDS[kind] for kind in found.kind.tolist()]
        links, linked = self._links(texts, found.text, found.start, found.end, kinds, ranked, finding.presumed(found), precision)
        made: list[list[Link]] = [[] for _ in texts]
        for at in np.flatnonzero(finding.reported(found, linked)).tolist():
            made[int(found.text[at])].append(links[at])
        return made

    def _links(
        self,
        texts: Sequence[str],
        text: Ints,
        start: Ints,
        end: Ints,
        kinds: list[MentionType],
        ranked: Ranked,
        likely: Floats,
        precision: float | None,
    ) -> tuple[list[Link], Bools]:
        """A link for each place; and which of them are linked."""
        row, score = ranked.best(0)
        other, next_score = ranked.best(1)
        score, next_score = score * likely, next_score * likely
        anything = np.bincount(ranked.mention, ranked.probability, len(text)) * likely
        knob = self.model.knob if self.model and self.model.ranking else decisions.UNKNOWN
        decided = decisions.decide(score, anything, precision, knob)
        decided[row == NIL] = 2
        made = [
            Link(
                texts[which][a:b],
                a + 1,
                b + 1,
                None if said == 2 else meant,
                p,
                p - q,
                DECISIONS[said],
                None if second == NIL else second,
                kind,
            )
            for which, a, b, said, meant, p, q, second, kind in zip(
                text.tolist(),
                start.tolist(),
                end.tolist(),
                decided.tolist(),
                row.tolist(),
                score.tolist(),
                next_score.tolist(),
                other.tolist(),
                kinds,
                strict=True,
            )
        ]
        return made, decided == 0


def train(
    knowledge: Knowledge,
    examples: Sequence[Example],
    dense: Dense | None = None,
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    check: Check | None = None,
) -> Model:
    """Learn from examples how mentions of these rows are written and told apart: the same model for the same seed.

    Args:
        progress: told (stage, done, total) now and then.
    Raises:
        errors.InvalidParameter: there are too few examples to learn from.
    """
    return training.train(knowledge, examples, dense, seed=seed, progress=progress, check=check)


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    first, size = 0, 0
    for at, text in enumerate(texts):
        if at > first and (at - first >= BATCH or size + len(text) > CHARACTERS):
            yield first, at
            first, size = at, 0
        size += len(text)
    if first < len(texts):
        yield first, len(texts)


def _places(texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> tuple[Ints, Ints, Ints, Ints]:
    """Text, start and end of given places, 0-based, ordered by text and place; and of each as given which of these it is."""
    for content, some in zip(texts, spans, strict=True):
        for start, end in some:
            if not 1 <= start < end <= len(content) + 1:
                raise InvalidParameter(f"span {start} to {end} is not within the text, which has {len(content)} characters")
    text, start_of, end_of = places.given(spans)
    order = np.lexsort((end_of, start_of, text))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return text[order], start_of[order], end_of[order], back


def _cut(flat: list[_T], spans: Sequence[Sequence[tuple[int, int]]]) -> list[list[_T]]:
    """As many for each text as it has spans."""
    made, at = [], 0
    for some in spans:
        made.append(flat[at : at + len(some)])
        at += len(some)
    return made


def _kind(written: str, *, is_called: bool) -> MentionType:
    """What a given place is, by its form, and by whether some row is called so, misspelt perhaps."""
    small = written.lower()
    if small in PRONOUNS:
        return "pronoun"
    if small.startswith(DEMONSTRATIVES):
        return "demonstrative"
    if small.startswith("the "):
        return "name" if any(letter.isupper() or letter.isdigit() for letter in written[1:]) else "description"
    return "name" if is_called or any(letter.isupper() or letter.isdigit() for letter in written) else "description"
