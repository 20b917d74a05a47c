"""opening: the linker of a session, compiled once and right at every call.

    opened = open_linker(db, "companies")
    opened.linker.link(texts, allowed=opened.allowed)

A linker that was opened before is used again where nothing that it reads has changed for the caller (`following`); where a few rows have,
these are read again; else everything is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pgembed.linkers import dense, following, models, reading, registered
from pgembed.linkers.contract import Line, Target
from pgembed.linkers.known import Known, Place
from pgembed.linking.engine import Linker

if TYPE_CHECKING:
    from pgembed.database import Database
    from pgembed.linkers.following import Change
    from pgembed.linking.contract import Bools

MOST_OPEN = 4
# Of a linker above this share of changed rows everything is read again; below so many rows that is cheap anyway.
MOST_CHANGED = 0.1

_open: OrderedDict[tuple[str, str], _Kept] = OrderedDict()


@dataclass(frozen=True)
class Opened:
    """A linker, with the rows as the caller sees them now.

    Attributes:
        line: as it is declared; its revision among it.
        linker: the rows compiled; `linker.knowledge.keys` calls them as `contract.row_key` does.
        allowed: of each row whether it is there, to be given to every call of the linker; None: all.
        known: which row is which.
    """

    line: Line
    linker: Linker
    allowed: Bools | None
    known: Known

    @property
    def targets(self) -> tuple[Target, ...]:
        """The tables, by number; `table.keys` are the columns and types of the linker's key."""
        return self.line.targets

    def key_of(self, row: int) -> Place:
        """Number of the target and key there (as `Table.key_text` writes it) of a row of the linker."""
        return self.known.places[row]

    def row_of(self, number: int, key: str) -> int | None:
        """The row of the linker that a target's row is; None where the caller sees none of that key."""
        row = self.known.row_of.get((number, key))
        return None if row is None or row in self.known.gone else row

    def only(self, mask: Bools | None) -> Bools | None:
        """Rows that are there and pass a mask."""
        if mask is None or self.allowed is None:
            return self.allowed if mask is None else mask
        both: Bools = np.logical_and(mask, self.allowed)
        return both


@dataclass
class _Kept:
    opened: Opened
    declared: str
    tables: str
    digest: str
    applied: dict[int, Change]


def open_linker(db: Database, name: str | None) -> Opened:
    """A linker of that name, right for the caller's rights and snapshot.

    Raises:
        errors.NullNotAllowed, errors.UnknownObject: there is none of that name.
        errors.InvalidTableDefinition: the key of a target does not tell its rows apart.
        Exception: PostgreSQL's own, where the caller may not read what the linker reads.
    """
    declared = _declared(db, name)
    role = _role(db)
    # who sees all rows sees the same; what a policy shows, or a digest says, is one role's
    kept = _open.get((str(name), role)) or _open.get((str(name), ""))
    tables = ""
    if kept is not None and kept.declared == declared:
        line = kept.opened.line
        ways, tables = following.looks(db, line)
    if kept is None or (kept.declared, kept.tables) != (declared, tables):
        kept = None
        line = registered.read(db, name)
        ways, tables = following.looks(db, line)
        registered.must_be_whole(db, line)
    if kept is not None and not dense.still(db, line, kept.opened.linker.dense):
        kept = None
    try:
        for _, _, statement in reading.statements(line):
            db.execute(statement.none(), keep=True)  # fails as reading would
    except Exception:
        registered.must_be_whole(db, line)  # a dropped column leaves no other trace
        raise
    if kept is not None:
        kept.opened.linker.forget_vectors()
        found = _still(db, line, ways, kept)
        if found is not None:
            return found
    seen = following.changes(db, ways, None)
    digest = following.digest(db, line, ways)
    known = Known(line)
    known.read(db)
    vectors = dense.of(db, line, known)
    linker = Linker(known.knowledge(), vectors, models.load(db, line, vectors))
    opened = Opened(line, linker, known.allowed(), known)
    place = (str(name), "" if digest == "" else role)
    for old in [(str(name), ""), place]:
        _open.pop(old, None)
    while len(_open) >= MOST_OPEN:
        _open.popitem(last=False)
    _open[place] = _Kept(opened, declared, tables, digest, dict(seen[1]) if seen else {})
    return opened


def forget(name: str) -> None:
    """Compile a linker anew at its next call."""
    for place in [place for place in _open if place[0] == name]:
        del _open[place]


def _declared(db: Database, name: str | None) -> str:
    """A text that changes with what the registry says of a linker."""
    if name is None:
        registered.of_name(db, name)
    mine = "pg_catalog.concat_ws(' ', t.ctid, t.xmin)"
    parts = [
        f"SELECT {place} AS place, {mine} AS said FROM pgembed.{table} AS t WHERE t.{column} OPERATOR(pg_catalog.=) $1"
        for place, (table, column) in enumerate((("_linker", "name"), ("_linker_target", "linker"), ("_linker_source", "linker")))
    ]
    # vectors of another model, or by another name, are others
    parts.append(
        "SELECT 3, pg_catalog.concat_ws(' ', e.column_name, e.model, e.fingerprint, e.role) FROM pgembed._embedding AS e"
        " JOIN pgembed._linker_target AS t ON t.target OPERATOR(pg_catalog.=) e.table_name"
        " AND t.context_column OPERATOR(pg_catalog.=) e.column_name WHERE t.linker OPERATOR(pg_catalog.=) $1"
    )
    # and so are texts of dates and numbers
    settings = [f"pg_catalog.current_setting('{one}')" for one in ("datestyle", "intervalstyle", "timezone", "extra_float_digits")]
    parts.append(f"SELECT 4, pg_catalog.concat_ws(' ', {', '.join(settings)})")
    found = db.execute(
        "SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.place, p.said), ', ' ORDER BY p.place, p.said) AS said"
        f" FROM ({' UNION ALL '.join(parts)}) AS p",
        ["pg_catalog.text"],
        [name],
    )
    return str(found[0]["said"] or "")


def _still(db: Database, line: Line, ways: dict[int, following.Way], kept: _Kept) -> Opened | None:
    """The linker as it was kept, brought up to now; None where that takes as much as opening it."""
    if following.digest(db, line, ways) != kept.digest:
        return None
    seen = following.changes(db, ways, kept.applied)
    if seen is None:
        return kept.opened
    numbers, new = seen
    stood_for: set[int] = set()
    for change in new.values():
        if change.pruned is not None:
            if not change.pruned <= kept.applied.keys():
                return None
            stood_for |= change.pruned
    lost = [change for number, change in kept.applied.items() if number not in numbers and number not in stood_for]
    changed = [change for change in (*new.values(), *lost) if change.pruned is None]
    rows = following.affected(db, line, changed)
    known = kept.opened.known
    if rows is None or sum(map(len, rows.values())) + len(known.gone) > max(1, MOST_CHANGED * len(known)):
        return None
    applied = {number: change for number, change in kept.applied.items() if number in numbers} | new
    # whatever stops this half way, the next call reads everything
    forget(line.name)
    opened = kept.opened
    if any(rows.values()):
        touched = known.read(db, rows)
        opened = replace(opened, linker=opened.linker.changed(known.knowledge(), touched), allowed=known.allowed())
    _open[(line.name, "" if kept.digest == "" else _role(db))] = _Kept(opened, kept.declared, kept.tables, kept.digest, applied)
    return opened


def _role(db: Database) -> str:
    return str(db.execute("SELECT current_user::pg_catalog.text AS role", keep=True)[0]["role"])
