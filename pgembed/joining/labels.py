"""labels: pairs of which somebody has said whether they are the same thing: an ordinary table of the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import columns, errors, naming
from pgembed.columns import Table, literal, quote
from pgembed.database import Database
from pgembed.joining import sides, storing
from pgembed.joining.loading import Loaded

if TYPE_CHECKING:
    from pgembed.joins.neighbours import Bools, Ints

# With fewer labels nobody should rely on them.
FEWEST = 20
COLUMNS = {"left_key": "text", "right_key": "text", "is_match": "boolean"}
_TABLE_HINT = "A table or view with left_key, right_key and is_match; pgembed.create_labels() makes one."


@dataclass(frozen=True)
class Labels:
    """Labelled pairs whose rows take part in a join.

    Attributes:
        left, right: positions of the rows.
        is_match: of each pair.
        absent: labels of which a row is not there, or takes no part.
    """

    left: Ints
    right: Ints
    is_match: Bools
    absent: int


def create(db: Database, name: str | None, left: str | None, right: str | None) -> str:
    """Make an empty table of labels, the caller's own; its name as regclass reads it.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter, errors.DuplicateObject: the name is none, or taken.
        errors.InvalidTableDefinition: a side has no key.
    """
    into = naming.new_table(db, name, "name")
    shown = []
    for target, which in ((left, "left"), (right, "right")):
        storing.keys_of(db, target, which)
        shown.append(columns.table(db, target)[0].shown)
    db.execute(
        f"CREATE TABLE {into} (left_key pg_catalog.text NOT NULL, right_key pg_catalog.text NOT NULL, is_match pg_catalog.bool NOT NULL,"
        " labelled_by pg_catalog.name NOT NULL DEFAULT CURRENT_USER, labelled_at pg_catalog.timestamptz NOT NULL"
        " DEFAULT pg_catalog.now(), PRIMARY KEY (left_key, right_key))"
    )
    told = f"pairs of {shown[0]} (left_key) and {shown[1]} (right_key): whether they are the same thing"
    db.execute(f"COMMENT ON TABLE {into} IS {literal(told)}")
    return into


def check(db: Database, target: str) -> Table:
    """Raise where this is no table of labels, before anything costly is done.

    Raises:
        errors.UnknownColumn, errors.DatatypeMismatch: it is none.
    """
    table, _ = columns.table(db, target)
    kinds = sides.types(db, table)
    for name, kind in COLUMNS.items():
        if name not in kinds:
            raise errors.UnknownColumn(f'labels "{table.name}" has no column "{name}"', hint=_TABLE_HINT)
        if kind == "boolean" and kinds[name][0] != "bool":
            raise errors.DatatypeMismatch(
                f'column "{name}" of labels "{table.name}" is of type {kinds[name][0]}, not boolean', hint=_TABLE_HINT
            )
    return table


def read(db: Database, target: str, left: Loaded, right: Loaded) -> Labels:
    """The labelled pairs whose rows take part.

    Raises:
        errors.UnknownColumn, errors.DatatypeMismatch: it is no table of labels.
        errors.InvalidParameter: a pair is said to be a match and not to be one.
        errors.PgembedError: the caller may not read it.
    """
    import numpy as np

    table = check(db, target)
    texts = ", ".join(f"pg_catalog.array_agg(t.{quote(name)}::pg_catalog.text) AS {name}" for name in ("left_key", "right_key"))
    found = db.execute(
        f"SELECT {texts}, pg_catalog.array_agg(t.is_match) AS is_match FROM {table.sql} AS t"
        " WHERE t.left_key IS NOT NULL AND t.right_key IS NOT NULL AND t.is_match IS NOT NULL"
    )[0]
    said: dict[tuple[str, str], bool] = {}
    for one, other, is_match in zip(found["left_key"] or (), found["right_key"] or (), found["is_match"] or (), strict=True):
        if said.setdefault((one, other), is_match) is not is_match:
            raise errors.InvalidParameter(
                f'labels "{table.name}" contradict each other: the pair ({one}, {other}) is a match and is none',
                hint="Delete one of the two; a table made by pgembed.create_labels() holds each pair once.",
            )
    at_left = {key: position for position, key in enumerate(left.keys)}
    at_right = {key: position for position, key in enumerate(right.keys)}
    known = [(at_left[one], at_right[other], is_match) for (one, other), is_match in said.items() if one in at_left and other in at_right]
    return Labels(
        np.asarray([one for one, _, _ in known], dtype=np.int64),
        np.asarray([other for _, other, _ in known], dtype=np.int64),
        np.asarray([is_match for _, _, is_match in known], dtype=bool),
        len(said) - len(known),
    )


def tell(db: Database, labels: Labels) -> None:
    """A notice where something is wrong with labels."""
    matches = int(labels.is_match.sum())
    if labels.absent:
        db.notice(
            f"{labels.absent} labelled pairs are of rows that are not there, or take no part in the join",
            hint="left_key and right_key are keys as pgembed.semantic_join_keys() writes them.",
        )
    if len(labels.left) < FEWEST or not 0 < matches < len(labels.left):
        db.notice(
            f"{len(labels.left)} labelled pairs, {matches} of them matches, say little: the decision is nearly that without labels",
            hint=f"At least {FEWEST}, matches and others; pgembed.review_pairs() names those worth a label.",
        )
