"""labels: texts of which somebody has said what their mentions mean: tables of the caller's, and the corrections of linked tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgembed import columns, errors, naming
from pgembed.columns import literal
from pgembed.linkers import correcting, registered, tables
from pgembed.linkers import layout as layouts
from pgembed.linking.contract import NIL, Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgembed.columns import Table
    from pgembed.database import Database, Row
    from pgembed.linkers.opening import Opened

# With fewer labels nobody should rely on them.
FEWEST = 20
# Rows at a time: a row may have a whole text.
PAGE = 500
COLUMNS = {"content": ("text", "character varying", "character"), "start_char": ("integer",), "end_char": ("integer",), "entity_key": None}
_HINT = "A table or view with content text, start_char int, end_char int and entity_key; pgembed.create_link_labels() makes one."
# What is wrong with a label -> how it is told.
WRONG = {
    "empty": "without a text",
    "outside": "of no place in their text",
    "table": "of a table that is no target of the linker",
    "unknown": "with the key of a row that is not there",
    "contradictory": "that contradict others of the same place",
}


@dataclass
class Labels:
    """Labels whose rows are there.

    Attributes:
        content: texts, each once.
        places: of each text: (start_char, end_char) -> row of the linker, NIL for none.
        kinds: of each text, the same with the type of the mention, where the labels have it.
        wrong: how many labels are left out, by what is wrong with them.
        corrections: how many of the labels are corrections.
    """

    content: list[str] = field(default_factory=list)
    places: list[dict[tuple[int, int], int]] = field(default_factory=list)
    kinds: list[dict[tuple[int, int], str]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    corrections: int = 0
    _at: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(places) for places in self.places)

    def examples(self, opened: Opened) -> list[Example]:
        """The same as `linking.train` reads it."""
        keys = opened.linker.knowledge.keys
        return [
            Example(content, list(places), [None if row == NIL else keys[row] for row in places.values()])
            for content, places in zip(self.content, self.places, strict=True)
            if places
        ]

    def add(self, content: str, start: int, end: int, row: int, kind: str | None = None, *, overrides: bool = False) -> bool:
        """Take one label; False where it contradicts another.

        Args:
            overrides: it is right, whatever was said of places that it overlaps.
        """
        at = self._at.setdefault(content, len(self.content))
        if at == len(self.content):
            self.content.append(content)
            self.places.append({})
            self.kinds.append({})
        places = self.places[at]
        if overrides:
            for one, other in [place for place in places if place[0] < end and start < place[1]]:
                del places[one, other]
        elif places.get((start, end), row) != row:
            return False
        places[start, end] = row
        if kind is not None:
            self.kinds[at][start, end] = kind
        return True


def create(db: Database, name: str | None, linker: str | None) -> str:
    """Make an empty table of labels, the caller's own; its name as regclass reads it.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter, errors.DuplicateObject: the name is none, or taken.
        errors.UnknownObject: there is no such linker.
    """
    into = naming.new_table(db, name, "name")
    line = registered.read(db, linker)
    db.execute(
        f"CREATE TABLE {into} (id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content pg_catalog.text NOT NULL,"
        " start_char pg_catalog.int4 NOT NULL, end_char pg_catalog.int4 NOT NULL, entity_key pg_catalog.text,"
        + (" entity_table pg_catalog.regclass," if len(line.targets) > 1 else "")
        + " labelled_by pg_catalog.name NOT NULL DEFAULT CURRENT_USER,"
        " labelled_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),"
        " CHECK (start_char OPERATOR(pg_catalog.>=) 1 AND end_char OPERATOR(pg_catalog.>) start_char"
        " AND end_char OPERATOR(pg_catalog.<=) (pg_catalog.char_length(content) OPERATOR(pg_catalog.+) 1)))"
    )
    shown = ", ".join(target.table.shown for target in line.targets)
    told = f"labels of the linker {line.name}: which row of {shown} a place in a text means; no key says that it means none"
    db.execute(f"COMMENT ON TABLE {into} IS {literal(told)}")
    return into


def check(db: Database, target: str) -> Table:
    """Raise where this is no table of labels, before anything costly is done.

    Raises:
        errors.UnknownColumn, errors.DatatypeMismatch: it is none.
    """
    table, _ = columns.table(db, target)
    types = layouts.column_types(db, table)
    for name, wanted in COLUMNS.items():
        if name not in types:
            raise errors.UnknownColumn(f'labels "{table.name}" has no column "{name}"', hint=_HINT)
        if wanted is not None and types[name].split("(")[0] not in wanted:
            raise errors.DatatypeMismatch(f'column "{name}" of labels "{table.name}" is of type {types[name]}, not {wanted[0]}', hint=_HINT)
    return table


def read(db: Database, target: str, opened: Opened) -> Labels:
    """The labels of a table or view, as its caller sees it.

    Of several labels of one place that do not agree none is taken.

    Raises:
        errors.UnknownColumn, errors.DatatypeMismatch: it is no table of labels.
    """
    table = check(db, target)
    types = layouts.column_types(db, table)
    has_table, has_kind = "entity_table" in types, "mention_type" in types
    found = Labels()
    disputed: set[tuple[str, int, int]] = set()
    numbers = {target.table.oid: target.number for target in opened.line.targets}
    for page in db.stream(
        f"SELECT l.content::pg_catalog.text AS content, l.start_char, l.end_char, l.entity_key::pg_catalog.text AS key,"
        f" {'l.entity_table::pg_catalog.regclass::pg_catalog.oid' if has_table else 'NULL::pg_catalog.oid'} AS target,"
        f" {'l.mention_type::pg_catalog.text' if has_kind else 'NULL::pg_catalog.text'} AS kind FROM {table.sql} AS l",
        size=PAGE,
    ):
        for label in page:
            wrong = _wrong_place(label)
            row = NIL
            if wrong is None and label["key"] is not None:
                row, wrong = _row(opened, numbers, label)
            if wrong is not None:
                found.wrong[wrong] += 1
            elif not found.add(label["content"], label["start_char"], label["end_char"], row, label["kind"]):
                found.wrong["contradictory"] += 1
                disputed.add((label["content"], label["start_char"], label["end_char"]))
    for content, start, end in disputed:
        found.places[found._at[content]].pop((start, end), None)
        found.wrong["contradictory"] += 1
    return found


def add_corrections(db: Database, opened: Opened, found: Labels) -> tuple[int, list[str]]:
    """Add what people have said of all tables that the linker keeps; it counts for more than labels do.

    Returns:
        How many corrections are of words that are not there any more, and the tables that the caller may not read.
    """
    changed, unread = 0, []
    for line in tables.lines_of(db, opened.line.name):
        if not _may_read(db, line):
            unread.append(line["corrections_name"])
            continue
        layout = correcting.read_layout(db, line)
        changed += _add(db, opened, layout, found)
    return changed, unread


def tell(db: Database, name: str, found: Labels, changed: int = 0, unread: Sequence[str] = ()) -> None:
    """One notice of all that is wrong with labels."""
    said = [f"{found.wrong[what]} {how}" for what, how in WRONG.items() if found.wrong[what]]
    said += [f"{changed} corrections of words that are not there any more"] if changed else []
    said += [f"corrections in {', '.join(unread)}, which are not the caller's to read"] if unread else []
    if said:
        db.notice(f"labels of {name} that are left out: {'; '.join(said)}", hint=_HINT)


def _wrong_place(label: Row) -> str | None:
    content, start, end = label["content"], label["start_char"], label["end_char"]
    if not content:
        return "empty"
    return None if start is not None and end is not None and 1 <= start < end <= len(content) + 1 else "outside"


def _row(opened: Opened, numbers: dict[int, int], label: Row) -> tuple[int, str | None]:
    """The row that a label means, or what is wrong with it."""
    if label["target"] is not None:
        if label["target"] not in numbers:
            return NIL, "table"
        asked: Iterable[int] = (numbers[label["target"]],)
    else:
        asked = numbers.values()
    # without a table a key may be of any target, but of one only
    rows = {row for number in asked if (row := opened.row_of(number, label["key"])) is not None}
    return (rows.pop(), None) if len(rows) == 1 else (NIL, "table" if rows else "unknown")


def _may_read(db: Database, line: Row) -> bool:
    source, _ = columns.table(db, line["source"])
    found = db.execute(
        "SELECT pg_catalog.has_table_privilege($1, 'SELECT') AND (pg_catalog.has_table_privilege($2::pg_catalog.oid, 'SELECT')"
        " OR pg_catalog.has_column_privilege($2::pg_catalog.oid, $3::pg_catalog.text, 'SELECT')) AS yes",
        ["pg_catalog.text", "pg_catalog.oid", "pg_catalog.text"],
        [line["corrections_name"], source.oid, line["text_column"]],
    )
    return bool(found[0]["yes"])


def _add(db: Database, opened: Opened, layout: layouts.Layout, found: Labels) -> int:
    changed = 0
    target, key = correcting.entity_sql(layout, "c")
    numbers = {one.table.oid: one.number for one in opened.line.targets}
    for page in db.stream(
        f"SELECT {layout.content('s')} AS content, c.start_char, c.end_char, {target}::pg_catalog.oid AS target, {key} AS key,"
        f" ({layout.stands('c', 's')}) AS stands, {layout.meant('c')} AS meant"
        f" FROM {layout.corrections} AS c LEFT JOIN {layout.source.table.sql} AS s ON {layout.source.is_row('c', 's')}"
        " ORDER BY c.corrected_at",
        size=PAGE,
    ):
        for label in page:
            if not label["stands"]:
                changed += 1
                continue
            if label["meant"] and label["key"] is None:
                found.wrong["unknown"] += 1
                continue
            row, wrong = _row(opened, numbers, label) if label["meant"] else (NIL, None)
            if wrong is not None:
                found.wrong[wrong] += 1
                continue
            found.add(label["content"], label["start_char"], label["end_char"], row, overrides=True)
            found.corrections += 1
    return changed
