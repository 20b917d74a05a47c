"""Which candidate a mention means, or none of them.

A conditional logit over the candidates and "none of them": each has a utility that is linear in a few features, and probability is the
share of its exponential. So homonyms share what one of them would have, and without context none of them is linked. The
features are those of IDEL's ranking step (Kilias et al., IDEL: In-Database Entity Linking with Neural Embeddings, 2018,
https://arxiv.org/abs/1803.04884): similarity of the name, of the context, and what else the text names. Departs from it: six
weights instead of a network, so that they hold for tables they were not trained on.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.linking import folding, ordinary, shapes, spelling
from pgembed.linking.dictionary import Dictionary
from pgembed.linking.mentions import Check, Mention

Vectors: TypeAlias = npt.NDArray[np.float32]
Decision: TypeAlias = Literal["link", "review", "nil"]

TRIGRAM_CANDIDATES = 20
DENSE_CANDIDATES = 10
PASSAGE = 600  # characters of context around a mention: whole sentences, about as much as a model reads at once

# Probability from which a mention is linked, and from which somebody should look at it; where no candidate has the latter, they look
# if the candidates together have more than a half. On WebNLG's development texts with a quarter of the entities withheld
# (bench_linking.py) links have a precision of 0.985 at given places and 0.94 at those found in the text, and 78 % of the mentions of
# withheld entities are nil.
LINK = 0.7
REVIEW = 0.3
# A mention that its name settles with this much probability is not taken to the model: embedding costs milliseconds.
SETTLED = 0.97


@dataclass(frozen=True)
class Weights:
    """Utility of a candidate: the weighted sum of its features; ``nil`` is the utility of none.

    ``similarity`` of the name in 0..1, ``equal`` 1 for an equal name and less for a misspelt one, ``unlike`` the square of (1 -
    similarity), ``context`` the cosine of passage and row, ``elsewhere`` (1 - similarity) if the text names the row elsewhere.
    """

    similarity: float
    equal: float
    unlike: float
    context: float
    elsewhere: float
    nil: float


# Fitted by maximum likelihood on 3,000 of WebNLG's training texts, a quarter of the entities withheld (bench_linking.py --fit).
WITH_CONTEXT = Weights(3.40, 3.72, -3.74, 4.11, 1.81, 4.87)
WITHOUT_CONTEXT = Weights(5.03, 3.34, -5.66, 0.00, 1.62, 3.61)
# A name inside a longer one loses in proportion to what it leaves uncovered: "Paris" in "Paris Hilton" more than "Angela Merkel" in
# "Chancellor Angela Merkel". On those training texts one word that is part of a name is right in 6 % of the cases, several in 75 %.
UNCOVERED_WORD = -12.0
UNCOVERED_WORDS = -8.0
# Judged, not fitted, WebNLG having none: an ordinary word at the head of a sentence is linked only if its context says so too.
PLAIN = -4.5
# A misspelt name is as equal as 1 - 3 times the share of its letters that are wrong. Names that share few trigrams are not compared
# letter by letter, and with more than a fifth of the letters wrong it is another name.
MISSPELT = 3.0
RELATED = 0.3
ALIKE = 0.8


class Context(Protocol):
    """What the rows are about, for telling them apart; an adapter over a column of embeddings."""

    def embed(self, texts: list[str]) -> Vectors:
        """Embeddings of texts, shape (n, dim), in the space of the rows' vectors."""
        ...

    def vectors(self, rows: list[int]) -> Vectors:
        """Embeddings of rows, shape (m, dim); zeros or NaN for a row that has none."""
        ...

    def nearest(self, vectors: Vectors, k: int) -> list[list[int]]:
        """For each vector at most k rows near to it, in any order; empty lists where there is no way to find them."""
        ...


@dataclass(frozen=True)
class Link:
    """A mention and the row it means.

    ``start_char`` counts characters from 1, ``end_char`` is exclusive, so substr(content, start_char, end_char -
    start_char) is the mention. ``row`` is None for nil. ``score`` is the estimated probability that the mention means its
    best candidate, given all candidates and the possibility that it means none of them; for nil too it is the best candidate's, so
    that the most doubtful nil is the one to look at. ``margin`` is what the runner-up's probability falls short of it.
    """

    mention: str
    start_char: int
    end_char: int
    row: int | None
    score: float
    margin: float
    decision: Decision


def rank(
    content: str,
    mentions: Sequence[Mention],
    found: Sequence[Mention],
    dictionary: Dictionary,
    context: Context | None,
    check: Check | None = None,
) -> list[Link]:
    """Decide for each of the mentions, given all that were found in the text; links are in the order of the mentions."""
    candidates = scored(content, mentions, found, dictionary, context, check)
    return [_link(mention, rows) for mention, rows in zip(mentions, candidates, strict=True)]


def scored(
    content: str,
    mentions: Sequence[Mention],
    found: Sequence[Mention],
    dictionary: Dictionary,
    context: Context | None,
    check: Check | None = None,
) -> list[list[tuple[float, int]]]:
    """For each mention the probability of each candidate, highest first; rows of equal probability in their order."""
    ranker = Ranker(found, dictionary)
    candidates = [ranker.candidates(mention) for mention in mentions]
    result = [ranker.scored(mention, rows, WITHOUT_CONTEXT) for mention, rows in zip(mentions, candidates, strict=True)]
    undecided = [at for at, rows in enumerate(result) if not rows or rows[0][0] < SETTLED]
    if context is None or not undecided or not len(dictionary):
        return result
    passages = Passages(content)
    number = {span: i for i, span in enumerate(dict.fromkeys(passages.of(mentions[at].start) for at in undecided))}
    embedded = context.embed([content[start:end] for start, end in number])
    near = context.nearest(embedded, DENSE_CANDIDATES)
    for at in undecided:
        mention, rows = mentions[at], candidates[at]
        passage = number[passages.of(mention.start)]
        if mention.given or not mention.found:
            rows = rows | {row: (0.0, 0.0) for row in near[passage] if row not in rows}
        listed = list(rows)
        cosines = _cosines(embedded[passage], context.vectors(listed)) if listed else []
        result[at] = ranker.scored(mention, rows, WITH_CONTEXT, dict(zip(listed, cosines, strict=True)))
        if check:
            check()
    return result


class Ranker:
    """Candidates and their features, for the mentions of one text."""

    def __init__(self, found: Sequence[Mention], dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._similar: dict[str, dict[int, tuple[float, float]]] = {}
        # Where the text names a row in full; "Elliot" may mean Elliot See if that name stands elsewhere in the text.
        self._named: dict[int, list[Mention]] = {}
        for mention in found:
            for position, similarity in mention.found:
                if similarity == 1.0:
                    self._named.setdefault(dictionary.names[position].row, []).append(mention)

    def candidates(self, mention: Mention) -> dict[int, tuple[float, float]]:
        """Rows that the mention may mean, with the similarity and the equality of the name that is most like it."""
        rows: dict[int, tuple[float, float]] = {}
        for position, similarity in mention.found:
            row = self._dictionary.names[position].row
            rows[row] = max(rows.get(row, (0.0, 0.0)), (similarity, _equality(similarity)))
        if any(similarity == 1.0 for _, similarity in mention.found):
            return rows  # names that only resemble it would not get a hundredth of its probability
        for row, likeness in self._resembling(mention.text).items():
            rows[row] = max(rows.get(row, (0.0, 0.0)), likeness)
        return rows

    def _resembling(self, text: str) -> dict[int, tuple[float, float]]:
        """Rows with a name like this text, by trigrams and, for the nearest of them, letter by letter."""
        known = self._similar.get(text)
        if known is not None:
            return known
        rows: dict[int, tuple[float, float]] = {}
        words = _without_article(folding.words_of(text))
        if words and len(self._dictionary):
            key = "".join(words)
            for position, cosine in zip(*self._dictionary.trigrams.similar(" ".join(words), TRIGRAM_CANDIDATES), strict=True):
                name, similarity = self._dictionary.names[position], float(cosine)
                alike = 0.0
                if similarity >= RELATED and not shapes.is_derived(key, name.key, text):
                    alike = spelling.likeness(key, name.key)
                if alike >= ALIKE:
                    similarity = max(similarity, alike)
                rows[name.row] = max(rows.get(name.row, (0.0, 0.0)), (similarity, _equality(alike)))
        self._similar[text] = rows
        return rows

    def names_elsewhere(self, row: int, mention: Mention) -> bool:
        """Whether the text has the full name of a row at another place than the mention's."""
        return any(not (other.start < mention.end and mention.start < other.end) for other in self._named.get(row, ()))

    def scored(
        self, mention: Mention, rows: dict[int, tuple[float, float]], weights: Weights, cosine: dict[int, float] | None = None
    ) -> list[tuple[float, int]]:
        """Probability of each row, highest first; rows of equal probability in their order."""
        utilities: list[float] = []
        uncovered = UNCOVERED_WORDS if " " in mention.text else UNCOVERED_WORD
        for row, (similarity, equal) in rows.items():
            unlike = 1.0 - similarity
            utility = weights.similarity * similarity + weights.equal * equal + weights.unlike * unlike**2
            utility += weights.context * (cosine or {}).get(row, 0.0) + weights.elsewhere * unlike * self.names_elsewhere(row, mention)
            utilities.append(utility + PLAIN * mention.plain + uncovered * (1.0 - mention.cover))
        highest = max([weights.nil, *utilities])
        shares = [math.exp(utility - highest) for utility in utilities]
        total = sum(shares) + math.exp(weights.nil - highest)
        return sorted(((share / total, row) for share, row in zip(shares, rows, strict=True)), key=lambda pair: (-pair[0], pair[1]))


def _link(mention: Mention, scored: list[tuple[float, int]]) -> Link:
    score, row = scored[0] if scored else (0.0, None)
    margin = score - (scored[1][0] if len(scored) > 1 else 0.0)
    # Five rows of one name share the probability of one: that is no reason to say that the mention means none of them.
    anything = sum(share for share, _ in scored)
    decision: Decision = "link" if score >= LINK else "review" if score >= REVIEW or anything > 0.5 else "nil"
    return Link(mention.text, mention.start + 1, mention.end + 1, None if decision == "nil" else row, score, margin, decision)


def _equality(similarity: float) -> float:
    return max(0.0, 1.0 - MISSPELT * (1.0 - similarity))


def _without_article(words: tuple[str, ...]) -> tuple[str, ...]:
    first = next((at for at, word in enumerate(words) if word not in ordinary.FUNCTION_WORDS), 0)
    return words[first:]


def _cosines(vector: Vectors, rows: Vectors) -> list[float]:
    """Cosine of a vector and each row; 0 for a row without a vector."""
    a, b = vector.astype(np.float64), np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine: list[float] = np.nan_to_num(b @ a / norms, nan=0.0, posinf=0.0, neginf=0.0).tolist()
    return cosine


# Full stops of Chinese and Japanese need no space behind them.
_SENTENCE_END = re.compile("[.!?]+[\\s\"'\u201d\u2019)]+|\\n\\s*\\n|[\u3002\uff01\uff1f]")


class Passages:
    """A text cut into passages of whole sentences; a text shorter than one passage is one."""

    def __init__(self, content: str) -> None:
        ends = sorted({*(found.end() for found in _SENTENCE_END.finditer(content)), len(content)})
        self._spans: list[tuple[int, int]] = []
        start = 0
        for end, following in zip(ends, [*ends[1:], None], strict=True):
            if following is None or following - start > PASSAGE:
                # A sentence longer than a passage is cut where it is: the model would not read its end.
                self._spans.extend((at, min(at + PASSAGE, end)) for at in range(start, end, PASSAGE))
                start = end
        self._starts = [start for start, _ in self._spans]

    def of(self, place: int) -> tuple[int, int]:
        """The passage around a place, 0-based."""
        return self._spans[bisect.bisect_right(self._starts, place) - 1]
