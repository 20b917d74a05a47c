"""following: how a session learns which rows of a linker's tables have changed since it compiled them.

Three ways, by what the table and the caller are:

- noted: triggers at the end of statements leave the keys of changed rows in pgembed._linker_change, a line a statement, so writers never
  wait for one another. A session has compiled what it saw by the lines that it saw; where it now sees others, because somebody has
  committed, or rolled back, or its snapshot is older, the rows of the lines that differ are read again.
- place: no such triggers, or row security hides rows: every row has a place (ctid) and a writer (xmin), whose digest is compared.
- values: no places either (views, foreign tables), or no right to see them: what is read itself is digested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgembed import columns, naming
from pgembed.columns import Table, Writer, quote
from pgembed.following.owning import as_owner
from pgembed.linkers import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgembed.database import Database
    from pgembed.linkers.contract import Line

Way: TypeAlias = Literal["noted", "place", "values"]

MOST_NOTED = 10_000  # rows of one statement; of more it is only noted that everything may have changed
TRIGGERS = ("insert", "update", "delete", "truncate")
STEM = "pgembed_linked_"
# Types whose text no setting changes.
_PLAIN = ("integer", "bigint", "smallint", "text", "uuid", "character varying")
# Of a line that is there when a linker is opened, so many rows are kept in mind for the case that it is rolled back.
_MOST_KEPT = 100


@dataclass(frozen=True)
class Tracked:
    """A table that a linker reads.

    Attributes:
        noted: columns by whose values changed rows are found again.
        read: columns whose change matters; None: any.
    """

    table: Table
    noted: tuple[str, ...]
    read: tuple[str, ...] | None


@dataclass(frozen=True)
class Change:
    """A line of pgembed._linker_change.

    Attributes:
        noted: values of `columns`, a row each; None: everything may have changed.
        pruned: the lines that it stands for; None: it is a line of its own.
    """

    table: int
    columns: tuple[str, ...]
    noted: tuple[tuple[str | None, ...], ...] | None
    pruned: frozenset[int] | None


# What pgembed._load_linker_changes() has read with the rights of the extension's owner; no SQL reaches it. Changes by number, and all
# numbers that the snapshot sees; None: those that were known.
loaded: tuple[frozenset[int], dict[int, Change]] | None = None
known: frozenset[int] | None = None


def tracked(line: Line) -> list[Tracked]:
    """The tables that a linker reads, each once."""
    found: dict[int, Tracked] = {}

    def add(table: Table, noted: Sequence[str], read: Sequence[str] | None) -> None:
        before = found.get(table.oid, Tracked(table, (), ()))
        every = None if read is None or before.read is None else tuple(sorted({*before.read, *read, *noted}))
        found[table.oid] = Tracked(table, tuple(sorted({*before.noted, *noted})), every)

    for target in line.targets:
        keys = [columns.unquoted(name) for name, _ in target.table.keys]
        add(target.table, keys, target.read.columns)
        for source in target.sources:
            read = [name for name in (*source.from_columns, *source.to_columns, source.value, source.relation) if name]
            if source.kind == "column":
                add(target.table, keys, read)
            else:
                add(target.table, source.target_columns, ())
                add(source.table, source.from_columns, read)
            if source.other is not None:
                names = () if source.names is None else source.names.columns
                add(source.other, source.other_columns, names)
    return sorted(found.values(), key=lambda one: one.table.oid)


def align(db: Database, write: Writer, table: Table, wanted: Tracked | None) -> None:
    """Let triggers of a table note what linkers need to know of it, or drop them where none does.

    Only a table's owner may; without triggers it is followed by the places of its rows.
    """
    if not table.may_own or table.relkind != "r":
        return
    had = db.execute(
        "SELECT g.tgname::pg_catalog.text AS name, pg_catalog.format('%I.%I', n.nspname, p.proname) AS called"
        " FROM pg_catalog.pg_trigger AS g"
        " JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) g.tgfoid"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace"
        " WHERE g.tgrelid OPERATOR(pg_catalog.=) $1 AND g.tgname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($2) ORDER BY 1",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [table.oid, [f"{STEM}{which}" for which in TRIGGERS]],
    )
    there = [str(row["name"]) for row in had]
    if had:
        function = str(had[0]["called"])
    elif wanted is None:
        return
    else:
        function = f"{quote(table.schema)}.{quote(naming.free(db, table.schema, 'functions', table.name, '_linked'))}"
    write(table, "DELETE FROM pgembed._linker_table WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass", ["oid"], [table.oid])
    with as_owner(db, table):
        # not IF EXISTS, which tells everybody what does not
        for name in there:
            db.execute(f"DROP TRIGGER {quote(name)} ON {table.sql}")
        if wanted is None:
            db.execute(f"DROP FUNCTION IF EXISTS {function}()")
            return
        db.execute(
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            # values as text that every reader understands, whatever the writer's settings are
            " SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 1"
            f" AS {columns.literal(_body(wanted))}"
        )
        for which in TRIGGERS:
            rows = {
                "insert": " REFERENCING NEW TABLE AS new_rows",
                "update": " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
                "delete": " REFERENCING OLD TABLE AS old_rows",
                "truncate": "",
            }[which]
            db.execute(
                f"CREATE TRIGGER {STEM}{which} AFTER {which.upper()} ON {table.sql}{rows} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )
            # also where rows are written as a replica
            db.execute(f"ALTER TABLE {table.sql} ENABLE ALWAYS TRIGGER {STEM}{which}")

    write(table, "INSERT INTO pgembed._linker_table VALUES ($1::oid::regclass, $2)", ["oid", "text"], [table.oid, function])


def _body(wanted: Tracked) -> str:
    names = "ARRAY[" + ", ".join(columns.literal(name) for name in wanted.noted) + "]::name[]"
    noted = "jsonb_build_array(" + ", ".join(f"t.{quote(name)}::text" for name in wanted.noted) + ")"
    all_read = "t" if wanted.read is None else "ROW(" + ", ".join(f"t.{quote(name)}" for name in wanted.read) + ")"
    of = {which: f"SELECT {noted} AS v, {all_read}::text AS r FROM {which}_rows AS t" for which in ("old", "new")}
    return f"""
DECLARE
    noted jsonb;
BEGIN
    IF to_regprocedure('pgembed._linker_changed(oid, name[], jsonb)') IS NULL THEN
        RETURN NULL;  -- the extension was dropped
    ELSIF TG_OP = 'TRUNCATE' THEN
        PERFORM pgembed._linker_changed(TG_RELID, {names}, NULL);
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT jsonb_agg(c.v) INTO noted FROM (SELECT {noted} AS v FROM new_rows AS t LIMIT {MOST_NOTED + 1}) AS c;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT jsonb_agg(c.v) INTO noted FROM (SELECT {noted} AS v FROM old_rows AS t LIMIT {MOST_NOTED + 1}) AS c;
    ELSE
        SELECT jsonb_agg(c.v) INTO noted FROM (
            SELECT DISTINCT d.v FROM (
                (({of["old"]}) EXCEPT ALL ({of["new"]})) UNION ALL (({of["new"]}) EXCEPT ALL ({of["old"]}))
            ) AS d LIMIT {MOST_NOTED + 1}
        ) AS c;
    END IF;
    IF noted IS NOT NULL THEN
        PERFORM pgembed._linker_changed(TG_RELID, {names}, CASE WHEN jsonb_array_length(noted) <= {MOST_NOTED} THEN noted END);
    END IF;
    RETURN NULL;
END;
"""


def looks(db: Database, line: Line) -> tuple[dict[int, Way], str]:
    """How each table that a linker reads is followed for the caller, and a text that changes with the tables' definitions."""
    rows = db.execute(
        "SELECT c.oid, CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT pg_catalog.row_security_active(c.oid)"
        " AND g.n OPERATOR(pg_catalog.=) 4 AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS i"
        " WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid OR i.inhrelid OPERATOR(pg_catalog.=) c.oid)"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS u WHERE u.srrelid OPERATOR(pg_catalog.=) c.oid) THEN 'noted'"
        " WHEN c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,m}') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 'place'"
        " ELSE 'values' END AS way, pg_catalog.concat_ws(' ', c.oid, c.xmin, n.xmin, g.said) AS said FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
        " CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n, pg_catalog.string_agg(pg_catalog.concat_ws(' ', g.oid, g.xmin), ' '"
        " ORDER BY g.oid) AS said FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid"
        f" AND pg_catalog.starts_with(g.tgname::pg_catalog.text, '{STEM}') AND g.tgenabled OPERATOR(pg_catalog.=) 'A') AS g"
        " WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1) ORDER BY c.oid",
        ["pg_catalog.oid[]"],
        [[one.table.oid for one in tracked(line)]],
    )
    return {row["oid"]: row["way"] for row in rows}, "; ".join(f"{row['said']} {row['way']}" for row in rows)


def digest(db: Database, line: Line, ways: Mapping[int, Way]) -> str:
    """A text that changes with the rows, as the caller sees them, of the tables that are not noted; '' where all are."""
    said = []
    for one in tracked(line):
        if ways.get(one.table.oid) == "place":
            at = "pg_catalog.hash_record_extended(ROW(t.tableoid, t.ctid, t.xmin), 0)"
            said.append(_sum(db, f"SELECT {at} AS h FROM {one.table.sql} AS t"))
    values = {oid for oid, way in ways.items() if way == "values"}
    if values:
        for target, source, statement in reading.statements(line):
            others = () if source is None else (source.table, source.other)
            if values & {table.oid for table in (target.table, *others) if table is not None}:
                said.append(_sum(db, f"SELECT pg_catalog.hashtextextended(v::pg_catalog.text, 0) AS h FROM ({statement.all()}) AS v"))
    return "; ".join(said)


def _sum(db: Database, hashes: str) -> str:
    found = db.execute(
        f"SELECT pg_catalog.count(*) AS n, pg_catalog.sum(q.h::pg_catalog.numeric)::pg_catalog.text AS s FROM ({hashes}) AS q"
    )
    return f"{found[0]['n']} {found[0]['s']}"


def changes(db: Database, ways: Mapping[int, Way], applied: Mapping[int, Change] | None) -> tuple[frozenset[int], dict[int, Change]] | None:
    """Numbers of the changes that the caller's snapshot sees, and those that were not applied; None where it sees just those that were.

    Args:
        applied: the changes that are known; None: all that are seen will be, for everything is read.
    """
    global loaded, known
    noted = [oid for oid, way in ways.items() if way == "noted"]
    if not noted:
        return (frozenset(), {}) if applied else None
    loaded, known = None, None if applied is None else frozenset(applied)
    try:
        db.execute("SELECT pgembed._load_linker_changes($1)", ["pg_catalog.oid[]"], [noted])
        return loaded
    finally:
        loaded, known = None, None


def load(db: Database, tables: Sequence[int]) -> None:
    """Body of `pgembed._load_linker_changes`: leaves in the memory of this backend what `changes` asks for."""
    global loaded
    where = "FROM pgembed._linker_change AS c WHERE c.table_oid OPERATOR(pg_catalog.=) ANY ($1)"
    first = db.execute(f"SELECT coalesce(pg_catalog.array_agg(c.id), '{{}}') AS ids {where}", ["pg_catalog.oid[]"], [list(tables)])
    seen = frozenset(first[0]["ids"])
    if seen == known:
        loaded = None
        return
    rows = db.execute(
        "SELECT c.id, c.table_oid, c.columns, c.pruned,"
        f" CASE WHEN pg_catalog.jsonb_array_length(c.noted) OPERATOR(pg_catalog.<=) $3 THEN c.noted END AS noted {where}"
        " AND c.id OPERATOR(pg_catalog.=) ANY ($2)",
        ["pg_catalog.oid[]", "pg_catalog.int8[]", "pg_catalog.int4"],
        [list(tables), list(seen - (known or frozenset())), _MOST_KEPT if known is None else MOST_NOTED],
    )
    new = {}
    for row in rows:
        noted = None if row["noted"] is None else tuple(tuple(values) for values in json.loads(row["noted"]))
        pruned = None if row["pruned"] is None else frozenset(row["pruned"])
        new[row["id"]] = Change(row["table_oid"], tuple(row["columns"] or ()), noted, pruned)
    loaded = seen, new


def affected(db: Database, line: Line, changed: Sequence[Change]) -> dict[int, set[str]] | None:
    """Keys of the rows of each target, by its number, about which something else may be known now; None where that can't be told."""
    found: dict[int, set[str]] = {target.number: set() for target in line.targets}
    by_table: dict[tuple[int, tuple[str, ...]], set[tuple[str | None, ...]]] = {}
    for change in changed:
        if change.noted is None:
            return None
        by_table.setdefault((change.table, change.columns), set()).update(change.noted)
    for (oid, names), noted in by_table.items():
        for target in line.targets:
            if target.table.oid == oid:
                keys = [columns.unquoted(name) for name, _ in target.table.keys]
                if not set(keys) <= set(names):
                    return None
                found[target.number] |= _keys(db, target.table, _picked(names, noted, keys))
            for source in target.sources:
                key = target.table.key_text("t")
                if source.kind != "column" and source.table.oid == oid:
                    if not set(source.from_columns) <= set(names):
                        return None
                    tables = f"{target.table.sql} AS t"
                    found[target.number] |= _matching(
                        db, key, tables, "t", target.table, source.target_columns, _picked(names, noted, source.from_columns)
                    )
                if source.other is not None and source.other.oid == oid:
                    if not set(source.other_columns) <= set(names):
                        return None
                    at, tables, table = "t", f"{target.table.sql} AS t", target.table
                    if source.kind == "table":
                        joined = " AND ".join(
                            f"s.{quote(a)} = t.{quote(b)}" for a, b in zip(source.from_columns, source.target_columns, strict=True)
                        )
                        at, tables, table = "s", f"{tables} JOIN {source.table.sql} AS s ON {joined}", source.table
                    values = _picked(names, noted, source.other_columns)
                    found[target.number] |= _matching(db, key, tables, at, table, source.to_columns, values)
    return found


def _picked(names: Sequence[str], noted: set[tuple[str | None, ...]], wanted: Sequence[str]) -> list[list[str]]:
    at = [names.index(name) for name in wanted]
    picked = {tuple(values[position] for position in at) for values in noted}
    return [[value for value in values if value is not None] for values in picked if None not in values]


def _keys(db: Database, table: Table, values: list[list[str]]) -> set[str]:
    """Keys as `Table.key_text` writes them, of their columns' values as text."""
    if len(table.keys) == 1 and table.keys[0][1].startswith(_PLAIN):
        return {value for (value,) in values}
    rows = db.execute(f"SELECT {table.key_text('w')} AS k FROM {_values(table.keys)}", ["pg_catalog.jsonb"], [_json(values)])
    return {row["k"] for row in rows}


def _matching(db: Database, key: str, tables: str, at: str, table: Table, names: Sequence[str], values: list[list[str]]) -> set[str]:
    from pgembed.linkers.registered import key_types

    typed = key_types(db, table, list(names))
    joined = " AND ".join(f"{at}.{name} = w.{name}" for name, _ in typed)
    rows = db.execute(f"SELECT DISTINCT {key} AS k FROM {tables} JOIN {_values(typed)} ON {joined}", ["pg_catalog.jsonb"], [_json(values)])
    return {row["k"] for row in rows if row["k"] is not None}


def _values(typed: Sequence[tuple[str, str]]) -> str:
    """SQL for a table w of typed values, which are in the parameter $1: a JSON array of arrays of texts."""
    made = ", ".join(f"(v->>{place})::{kind} AS {name}" for place, (name, kind) in enumerate(typed))
    return f"(SELECT {made} FROM pg_catalog.jsonb_array_elements($1) AS v) AS w"


def _json(values: list[list[str]]) -> str:
    return json.dumps(values)


def untold(db: Database) -> list[int]:
    """Tables of the caller's that linkers read, whose triggers are not all there and enabled."""
    rows = db.execute(
        "SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.oid IN (SELECT r.table_name FROM pgembed._linker_reads AS r)"
        " AND c.relkind OPERATOR(pg_catalog.=) 'r' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')"
        " AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid"
        f" AND pg_catalog.starts_with(g.tgname::pg_catalog.text, '{STEM}') AND g.tgenabled OPERATOR(pg_catalog.=) 'A')"
        f" OPERATOR(pg_catalog.<>) {len(TRIGGERS)} ORDER BY c.oid"
    )
    return [row["oid"] for row in rows]


def merged(lines: Sequence[Line], table: Table) -> Tracked | None:
    """What all linkers together need to know of a table; None where none reads it."""
    found = [one for line in lines for one in tracked(line) if one.table.oid == table.oid]
    if not found:
        return None
    reads = [one.read for one in found]
    every = None if any(read is None for read in reads) else tuple(sorted({name for read in reads for name in read or ()}))
    return replace(found[0], noted=tuple(sorted({name for one in found for name in one.noted})), read=every)
