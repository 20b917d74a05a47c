"""topics: what the rows of a table are about, and which row belongs to which topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors, progress
from pgembed.database import Database
from pgembed.rowgroups import reading

if TYPE_CHECKING:
    from pgembed.grouping.topics import Topics

WORDS = 8
KEYS = 5


@dataclass(frozen=True)
class Topic:
    """A topic: its number from 1, the largest first, the words that tell it from the others, and keys of the rows at its centre."""

    topic: int
    size: int
    words: list[str]
    keys: list[str]


@dataclass(frozen=True)
class Row:
    """A row and its topic; margin is None where there is only one topic."""

    key: str
    topic: int
    score: float
    margin: float | None


def topics(
    db: Database, target: str | None, column_name: str | None, n: int | None, words_from: Sequence[str | None] | None, seed: int | None
) -> list[Topic]:
    """The topics of a table's rows.

    Args:
        words_from: columns whose words name the topics; None: those of text that the column's source reads.
    """
    from pgembed.grouping import topics as room

    read, found = _found(db, target, column_name, n, seed, words_from, with_texts=True)
    named = room.words(read.texts, found.topic, len(found.centres), WORDS, db.check_interrupts)
    return [
        Topic(place + 1, size, named[place], [read.keys[i] for i in found.nearest(place, KEYS).tolist()])
        for place, size in enumerate(found.sizes.tolist())
    ]


def topic_rows(db: Database, target: str | None, column_name: str | None, n: int | None, seed: int | None) -> list[Row]:
    """The topic of each row, in the order of the keys; the same numbers as those of `topics`."""
    read, found = _found(db, target, column_name, n, seed, None, with_texts=False)
    only_one = len(found.centres) < 2
    return [
        Row(key, topic + 1, score, None if only_one else margin)
        for key, topic, score, margin in zip(read.keys, found.topic.tolist(), found.score.tolist(), found.margin.tolist(), strict=True)
        if topic >= 0
    ]


def _found(
    db: Database,
    target: str | None,
    column_name: str | None,
    n: int | None,
    seed: int | None,
    words_from: Sequence[str | None] | None,
    *,
    with_texts: bool,
) -> tuple[reading.Read, Topics]:
    if seed is None or seed < 0:
        raise errors.InvalidParameter(f"seed must be at least 0, not {'NULL' if seed is None else seed}", hint="1 is the default.")
    where = reading.place(db, target, column_name)
    if words_from is not None:
        names = [name for name in words_from if name is not None]
        reading.must_have(db, where.table, names)
        where = reading.Place(where.table, where.embedded, tuple(names))
    with progress.shown(db, "topics", where.table.shown):
        read, rows, _ = reading.embeddings(db, where, with_texts=with_texts)
        from pgembed.grouping import topics as room

        found = room.find(rows, n, seed, db.check_interrupts)
    return read, found
