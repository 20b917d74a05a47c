"""reviewing: the pairs worth labelling next."""

from __future__ import annotations

from typing import Any

from pgembed import errors
from pgembed.database import Database
from pgembed.joining import deciding, performing
from pgembed.joining.options import Options

MOST = 10_000


def pairs(db: Database, left: str | None, right: str | None, options: Options, n: int | None) -> list[tuple[Any, ...]]:
    """Keys, texts, probability of being a match and the reason, of n pairs that have no label yet.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: n is no number of pairs.
        errors.InvalidTableDefinition: a side has no key.
    """
    if n is None:
        raise errors.NullNotAllowed("n is NULL", hint="n is the number of pairs, 20 by default.")
    if not 1 <= n <= MOST:
        raise errors.InvalidParameter(f"n must be from 1 to {MOST}, not {n}", hint="n is the number of pairs, 20 by default.")
    prepared = performing.prepare(db, left, right, "keys", options)
    found = performing.find(db, prepared, words=True)
    chosen, probability, reasons = deciding.worth_labelling(db, prepared, found, n)
    every, one, other = found.candidates, found.left, found.right
    return [
        (
            one.places[every.left[place]],
            other.places[every.right[place]],
            one.texts[every.left[place]] if one.texts else None,
            other.texts[every.right[place]] if other.texts else None,
            None if probability[at] != probability[at] else float(probability[at]),
            reasons[at],
        )
        for at, place in enumerate(chosen.tolist())
    ]
