"""classifying: the rows of a table by labels that are described in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

from pgembed import errors, progress, text
from pgembed.database import Database
from pgembed.rowgroups import reading

MOST_LABELS = 10_000


@dataclass(frozen=True)
class Line:
    """One row and its label; see `pgembed.grouping.labels.Labelled`."""

    key: str
    label: str
    score: float
    margin: float
    probability: float
    second: str
    is_confident: bool


def described(labels: str | None) -> dict[str, list[str]]:
    """Labels and what describes each, from JSON: ``{"label": "text", "other": ["word", "word"]}`` or ``["label", ...]``.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: it is NULL, or something else.
    """
    if labels is None:
        raise errors.NullNotAllowed("labels is NULL", hint=_HINT)
    given = json.loads(labels)
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        given = {one: one for one in given}
    if not isinstance(given, dict):
        raise errors.InvalidParameter(f"labels must be a JSON object, or an array of texts, not {labels[:60]}", hint=_HINT)
    made = {}
    for label, words in given.items():
        listed = [words] if isinstance(words, str) else words
        if not isinstance(listed, list) or not listed or not all(isinstance(word, str) and not text.is_empty(word) for word in listed):
            raise errors.InvalidParameter(
                f'label "{label}" must have a text or an array of texts that are not empty, not {json.dumps(words)[:60]}', hint=_HINT
            )
        made[label] = listed
    if not 2 <= len(made) <= MOST_LABELS:
        raise errors.InvalidParameter(f"{len(made)} labels, expected 2 to {MOST_LABELS}", hint="A row gets the nearest of several labels.")
    return made


_HINT = """Such as '{"sport": ["football", "tennis"], "politics": "elections, parties and governments"}', or '["sport", "politics"]'."""


def classify(db: Database, target: str | None, labels: str | None, column_name: str | None) -> list[Line]:
    """The label of each row that has a vector or a text, in the order of the keys.

    Raises:
        errors.PgembedError: as `described` and `reading.place`.
        errors.NotSupported: nobody knows the model of the column's vectors, which the labels need too.
    """
    words = described(labels)
    where = reading.place(db, target, column_name)
    with progress.shown(db, "classify", where.table.shown):
        read, rows, model = reading.embeddings(db, where, with_texts=False)
        if model is None:
            raise errors.NotSupported(
                f"the model of column {where.embedded and where.embedded.label} is not known, so no label can be compared with it",
                hint="Adopt the column again with the name of the model that made it.",
            )
        # numpy behind the model, whose libraries are loaded with signals blocked
        from pgembed.grouping import labels as room

        flat = [one for several in words.values() for one in several]
        made = model.encode(flat, db.check_interrupts, "query").vectors
        ends = [0]
        for several in words.values():
            ends.append(ends[-1] + len(several))
        found = room.classify(rows, [made[a:b] for a, b in pairwise(ends)], db.check_interrupts)
        progress.tell(db, len(rows), len(rows))
    names = list(words)
    return [
        Line(key, names[label], score, margin, probability, names[second], sure)
        for key, label, score, margin, probability, second, sure in zip(
            read.keys,
            found.label.tolist(),
            found.score.tolist(),
            found.margin.tolist(),
            found.probability.tolist(),
            found.second.tolist(),
            found.is_confident.tolist(),
            strict=True,
        )
        if label >= 0
    ]
