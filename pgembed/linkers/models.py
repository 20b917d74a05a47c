"""models: what a linker has learned, from its table into the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed.linking.engine import Model

if TYPE_CHECKING:
    from pgembed.database import Database
    from pgembed.linkers.contract import Line
    from pgembed.linking.contract import Dense


@dataclass(frozen=True)
class Stored:
    """A line of pgembed._linker_model."""

    model: bytes
    space: str | None


# What pgembed._load_linker_model() has read with the rights of the extension's owner: a model knows names and keys of rows, which a policy
# may hide from the caller, so no SQL reaches it.
loaded: Stored | None = None
_warned: set[tuple[str, str | None, str | None]] = set()


def load(db: Database, line: Line, dense: Dense | None) -> Model | None:
    """The model that a linker works with; None where it is untrained, or was trained with vectors of another space."""
    global loaded
    try:
        db.execute("SELECT pgembed._load_linker_model($1)", ["pg_catalog.text"], [line.name])
        stored = loaded
    finally:
        loaded = None
    if stored is None:
        return None
    space = None if dense is None else dense.space
    if stored.space is not None and space is not None and stored.space != space:
        if (line.name, stored.space, space) not in _warned:
            _warned.add((line.name, stored.space, space))
            db.warning(
                f'linker "{line.name}" was trained with vectors of another model, so it links as if it were untrained',
                hint=f"CALL pgembed.train_linker('{line.name}') trains it again.",
            )
        return None
    return Model.from_bytes(stored.model)


def read(db: Database, name: str) -> None:
    """Body of `pgembed._load_linker_model`: leaves in the memory of this backend what `load` asks for."""
    global loaded
    rows = db.execute(
        "SELECT m.model, m.space FROM pgembed._linker_model AS m WHERE m.linker OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [name]
    )
    loaded = Stored(rows[0]["model"], rows[0]["space"]) if rows else None
