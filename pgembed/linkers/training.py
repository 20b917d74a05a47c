"""training: a linker learns from labels and corrections, and keeps what it has learned in the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from pgembed import errors, progress
from pgembed.linkers import labels, opening, registered
from pgembed.linking import engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgembed.database import Database
    from pgembed.linkers.contract import Line
    from pgembed.linking.engine import Model

# What the notice says anyway.
_TOLD = ("labels", "texts", "seed")


class Writer(Protocol):
    """Writes one statement on the registry, where the caller owns what it is about."""

    def __call__(self, owned: Line, statement: str, types: Sequence[str], values: Sequence[object], /) -> None: ...


def train(db: Database, write: Writer, name: str | None, target: str | None, seed: int) -> Model:
    """Train a linker; see `pgembed.train_linker` in SQL.

    Args:
        target: of the labels, as regclass writes it; None: corrections alone.
    Raises:
        errors.NullNotAllowed, errors.UnknownObject: there is no such linker.
        errors.InsufficientPrivilege: the caller does not own its targets.
        errors.InvalidParameter: there is nothing to learn from.
    """
    line = registered.read(db, name)
    line.must_own()
    if target is not None:
        labels.check(db, target)
    with progress.shown(db, "train_linker", line.name):
        opened = opening.open_linker(db, line.name)
        found = labels.Labels() if target is None else labels.read(db, target, opened)
        changed, unread = labels.add_corrections(db, opened, found)
        labels.tell(db, line.name, found, changed, unread)
        if not len(found):
            raise errors.InvalidParameter(
                f"there are no labels to train the linker {line.name} with",
                hint="pgembed.create_link_labels() makes a table for them; corrections beside a table of links count too.",
            )
        model = engine.train(
            opened.linker.knowledge,
            found.examples(opened),
            opened.linker.dense,
            seed=seed,
            progress=lambda stage, done, total: progress.tell(db, done, total),
            check=db.check_interrupts,
        )
        if len(found) < labels.FEWEST:
            db.notice(
                f"{len(found)} labels say little: the linker stays nearly what it is",
                hint=f"At least {labels.FEWEST}, better some hundred, of many rows and of texts as they will come.",
            )
        _store(db, write, line, model, found, seed)
        _tell(db, line, model, found)
    return model


def _store(db: Database, write: Writer, line: Line, model: Model, found: labels.Labels, seed: int) -> None:
    summary = {**model.summary, "texts": sum(map(bool, found.places)), "corrections": found.corrections, "seed": seed}
    write(
        line,
        "WITH raised AS (UPDATE pgembed._linker SET revision = revision + 1 WHERE name = $1 RETURNING name, revision)"
        " INSERT INTO pgembed._linker_model AS m (linker, revision, model, summary, labels, space)"
        " SELECT r.name, r.revision, $2, $3::jsonb, $4, $5 FROM raised AS r"
        " ON CONFLICT (linker) DO UPDATE SET revision = excluded.revision, model = excluded.model, summary = excluded.summary,"
        " labels = excluded.labels, space = excluded.space, trained_at = excluded.trained_at",
        ["text", "bytea", "text", "int4", "text"],
        [line.name, model.to_bytes(), json.dumps(summary), len(found), model.space],
    )
    opening.forget(line.name)


def _tell(db: Database, line: Line, model: Model, found: labels.Labels) -> None:
    measured = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in model.summary.items() if name not in _TOLD)
    corrected = f", {found.corrections} of them corrections" if found.corrections else ""
    db.notice(
        f"linker {line.name} has learned from {len(found)} labels in {sum(map(bool, found.places))} texts{corrected}"
        + (f": {measured}" if measured else ""),
        hint="Tables of links are made anew by the next CALL pgembed.link_table().",
    )
