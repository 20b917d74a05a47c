"""What linking takes and gives: the rows as they are known, the places to link, the links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Vectors: TypeAlias = npt.NDArray[np.float32]
Decision: TypeAlias = Literal["link", "review", "nil"]
MentionType: TypeAlias = Literal["name", "description", "demonstrative", "pronoun"]

NIL = -1  # in place of a row


@dataclass(frozen=True)
class Facts:
    """What the declared relations say of the rows; arrays and lists of one length, a fact each.

    Attributes:
        row: the row that is described.
        relation: number of the relation's name in `Knowledge.relations`.
        other: the row it leads to; NIL where it leads to a value, or to a table that is no target.
        text: the value, or the name of the neighbour.
    """

    row: Ints
    relation: Ints
    other: Ints
    text: list[str]


def no_facts() -> Facts:
    """No relations at all."""
    return Facts(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), [])


@dataclass(frozen=True)
class Knowledge:
    """The rows of a linker's targets, as far as they are known; row i is the i-th of each list.

    Attributes:
        keys: what a row is called outside; no two are equal. Learned things refer to rows by them.
        names: None where a row has none: facts may still lead to it.
        aliases: other names, in any number.
        types: what a row is, in words ("city"), for definite descriptions; may be empty.
        context: a text that describes the row; None where there is none.
        relations: names of the relations in words ("leader name").
        facts: what they say. Each is stored once, from its row to the other; it is evidence for both.
    """

    keys: list[str]
    names: list[str | None]
    aliases: list[tuple[str, ...]]
    types: list[tuple[str, ...]]
    context: list[str | None]
    relations: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=no_facts)

    def __len__(self) -> int:
        return len(self.keys)


class Dense(Protocol):
    """A model's vectors of texts and of rows, in one space; an adapter over a column of embeddings."""

    @property
    def space(self) -> str:
        """Which space it is; vectors of two spaces can't be compared."""
        ...

    def embed(self, texts: list[str]) -> Vectors:
        """Embeddings of texts, float32 (n, dim)."""
        ...

    def vectors(self, rows: list[int]) -> Vectors:
        """Embeddings of rows, float32 (n, dim); zeros for a row that has none."""
        ...

    def nearest(self, vectors: Vectors, k: int) -> list[list[int]]:
        """For each vector at most k rows near to it, in any order; empty lists where there is no way to find them."""
        ...


@dataclass(frozen=True)
class Link:
    """A mention and the row it means.

    Attributes:
        mention: the words of the text.
        start_char, end_char: characters from 1, the end exclusive: substr(content, start_char, end_char - start_char) is the mention.
        row: None for nil.
        score: the probability that the mention means its best candidate; for nil too, so that the most doubtful nil can be found.
        margin: what the runner-up's probability falls short of it.
        decision: link, review or nil.
        runner_up: the second best row; None where there is none.
        kind: by its form.
    """

    mention: str
    start_char: int
    end_char: int
    row: int | None
    score: float
    margin: float
    decision: Decision
    runner_up: int | None = None
    kind: MentionType = "name"


@dataclass(frozen=True)
class Ranking:
    """The candidates of one mention, the most probable first.

    Attributes:
        rows: numbers of rows, no row twice.
        probability: of each that it is meant; their sum falls short of 1 by the probability that none of them is.
    """

    rows: list[int]
    probability: list[float]


@dataclass(frozen=True)
class Example:
    """A text of which somebody has said what its mentions mean.

    Attributes:
        content: the text.
        spans: (start_char, end_char) as in `Link`.
        keys: of each span the key of the row that it means; None for a span that means no row (NIL). A key that the knowledge does not
            have counts as None.
    """

    content: str
    spans: Sequence[tuple[int, int]]
    keys: Sequence[str | None]


@dataclass(frozen=True)
class Evidence:
    """One reason for or against a candidate, in words.

    Attributes:
        feature: what was looked at, such as "name", "facts", "related", "memory", "context".
        value: the number behind it.
        words: a sentence that a person understands ("the text also names Angela Merkel, leader of Germany").
    """

    feature: str
    value: float
    words: str


class Check(Protocol):
    """Called now and then, so that a cancel takes effect."""

    def __call__(self) -> None: ...
