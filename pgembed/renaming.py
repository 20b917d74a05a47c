"""renaming: the registry follows when something that it knows by name is renamed or moved.

PostgreSQL tells an event trigger which column has another name now, by number, and not which name it had. That is the one name in the
registry that the table no longer has. Triggers' functions name columns, too, and are made anew. Tables are known by number.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import columns, declarations, following
from pgembed.codes import adding, catalogue
from pgembed.columns import VECTOR_TYPES, Table, Writer
from pgembed.database import Database
from pgembed.following.owning import by_ourselves, is_by_ourselves
from pgembed.linkers import declaring as linkers

__all__ = ["by_ourselves", "column", "dropped", "moved"]

# Indexes over rows in need of work: x, of the table whose hash column is a, by the name o.relname in the schema n.
WORK_INDEX = (
    "pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS o ON o.oid = x.indexrelid"
    " AND pg_catalog.pg_get_expr(x.indpred, x.indrelid) LIKE '%''pending''%''stale''%'"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace"
    " JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = o.oid"
    " AND d.refobjid = x.indrelid JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = d.refobjsubid"
)


def column(db: Database, write: Writer, table: int, number: int) -> None:
    """A column has a new name: let the registry know it by this one.

    Args:
        table, number: of the table, its OID, and of the column.
    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    if is_by_ourselves():
        return
    with by_ourselves():
        _column(db, write, table, number)


def _column(db: Database, write: Writer, table: int, number: int) -> None:
    now = db.execute(
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum = $2 AND NOT attisdropped",
        ["pg_catalog.oid", "pg_catalog.int2"],
        [table, number],
    )
    if not now:
        return
    found, _ = columns.table(db, str(table))
    name = str(now[0]["attname"])
    old = _lost(db, table)
    kind = following.column_type(db, found, name)
    for what, lost in old:
        if what == "vector" and kind in VECTOR_TYPES:
            _vector(db, write, found, lost, name)
        elif what == "hash" and kind == "bytea":
            _write(write, found, "UPDATE pgembed._embedding SET hash_column = $3 WHERE {table} AND hash_column = $2", [lost, name])
        elif what == "code":
            _write(write, found, "UPDATE pgembed._code SET column_name = $3 WHERE {table} AND column_name = $2", [lost, name])
        elif what == "linker":
            for statement in _LINKERS:
                _write(write, found, statement, [lost, name])
        elif what == "text":
            _write(write, found, _TEXTS, [lost, name])
    _make_anew(db, write, found)


def moved(db: Database, write: Writer, table: int) -> None:
    """A schema has a new name, or a table another schema: find the functions and the index of its columns by their names of now.

    A function is the one of its old name that the table's owner has in one of the schemas of the table and its triggers.
    """
    if is_by_ourselves():
        return
    with by_ourselves():
        _moved(db, write, table)


def _moved(db: Database, write: Writer, table: int) -> None:
    found, known = columns.table(db, str(table))
    if not found.may_own:
        return  # whoever owns a schema need not own what is in it; doctor tells the table's owner
    linkers = _linkers(db, table)
    for what in ("source_function", "trigger_function"):
        write(
            found,
            f"UPDATE pgembed._embedding AS e SET {what} = {_quoted('o.proname')} FROM pg_proc AS o"
            " JOIN pg_namespace AS n ON n.oid = o.pronamespace"
            f" WHERE e.table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND to_regproc(e.{what}) IS NULL AND o.proowner = $2::regrole"
            f" AND o.proname = (parse_ident(e.{what}))[2] AND n.oid IN ("
            " SELECT relnamespace FROM pg_class WHERE oid = $1 UNION SELECT p.pronamespace FROM pg_trigger AS g"
            " JOIN pg_proc AS p ON p.oid = g.tgfoid WHERE g.tgrelid = $1 AND g.tgname = e.trigger_name)",
            ["oid", "text"],
            [found.oid, columns.quote(found.owner)],
        )
    write(
        found,
        f"UPDATE pgembed._embedding AS e SET work_index = {_quoted('o.relname')} FROM {WORK_INDEX}"
        " WHERE e.table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND to_regclass(e.work_index) IS NULL AND x.indrelid = $1"
        " AND a.attname = e.hash_column",
        ["oid"],
        [found.oid],
    )
    for statement in _LINKERS_MOVED:
        write(found, statement, ["oid"], [found.oid])
    # What is lost and not found elsewhere has not moved: while a dump is restored, indexes and triggers are still to come.
    if columns.table(db, str(table))[1] != known or _linkers(db, table) != linkers:
        _make_anew(db, write, found)


def _linkers(db: Database, table: int) -> list[str | None]:
    rows = db.execute(
        "SELECT t.read_function AS called FROM pgembed._linker_target AS t"
        " WHERE t.target OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass ORDER BY t.linker",
        ["pg_catalog.oid"],
        [table],
    )
    return [row["called"] for row in rows]


def dropped(db: Database, write: Writer, table: int, name: str) -> None:
    """A column of vectors was dropped: drop what was made for it, as far as PostgreSQL has not, and forget it."""
    if is_by_ourselves():
        return
    found, known = columns.table(db, str(table))
    with by_ourselves():
        for gone in [one for one in known if one.name == name and one.type not in VECTOR_TYPES]:
            for line in catalogue.lines(db, found):
                if line["embedding_column"] == name:
                    adding.drop(db, write, str(table), line["column_name"])
            declarations.drop(db, write, str(table), gone.name, False)


def _lost(db: Database, table: int) -> Sequence[tuple[str, str]]:
    """Names in the registry that the table has no more, where only one thing can be meant: (vector, hash, code, linker, text; its name)."""
    rows = db.execute(
        "SELECT l.what, pg_catalog.min(l.name::pg_catalog.text) AS name FROM ("
        "SELECT 'vector' AS what, column_name AS name FROM pgembed._embedding"
        " WHERE table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass AND chunk_tokens IS NULL"
        " UNION SELECT 'hash', hash_column FROM pgembed._embedding"
        " WHERE table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass AND hash_column IS NOT NULL"
        " UNION SELECT 'code', column_name FROM pgembed._code"
        " WHERE table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass"
        " UNION SELECT 'linker', n.name FROM pgembed._linker_reads AS n"
        " WHERE n.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass"
        " UNION SELECT 'text', pg_catalog.unnest(k.text_column OPERATOR(pg_catalog.||) k.key_columns) FROM pgembed._link_table AS k"
        " WHERE k.source OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass) AS l"
        " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1 AND a.attname = l.name AND NOT a.attisdropped)"
        " GROUP BY l.what HAVING pg_catalog.count(*) = 1",
        ["pg_catalog.oid"],
        [table],
    )
    return [(row["what"], row["name"]) for row in rows]


def _vector(db: Database, write: Writer, found: Table, lost: str, name: str) -> None:
    _write(write, found, "UPDATE pgembed._embedding SET column_name = $3 WHERE {table} AND column_name = $2", [lost, name])
    _write(write, found, "UPDATE pgembed._embedding SET change_of = $3 WHERE {table} AND change_of = $2", [lost, name])
    for which in ("column_name", "new_column"):
        _write(write, found, f"UPDATE pgembed._model_change SET {which} = $3 WHERE {{table}} AND {which} = $2", [lost, name])
    _write(write, found, "UPDATE pgembed._code SET embedding_column = $3 WHERE {table} AND embedding_column = $2", [lost, name])
    _write(write, found, "UPDATE pgembed._linker_target SET context_column = $3 WHERE {target} AND context_column = $2", [lost, name])
    _write(write, found, "UPDATE pgembed._filter_log SET column_name = $3 WHERE {target} AND column_name = $2", [lost, name])
    _write(write, found, "UPDATE pgembed._codec SET column_name = $3 WHERE {table} AND column_name = $2", [lost, name])


def _make_anew(db: Database, write: Writer, found: Table) -> None:
    """Make anew what names columns: the functions of triggers, of columns that are keys or that a source reads, too."""
    _, known = columns.table(db, str(found.oid))
    for column in known:
        if column.type in VECTOR_TYPES and column.source_function is not None:
            declarations.realign(db, write, column)
    by_name = {column.name: column for column in known}
    for code in catalogue.codes(db, found):
        if code.trigger_name is not None and code.embedding_column in by_name:
            adding.mend(db, code, by_name[code.embedding_column], renamed=True)
    if db.execute("SELECT FROM pgembed._linker_table WHERE table_name OPERATOR(pg_catalog.=) $1", ["pg_catalog.oid"], [found.oid]):
        linkers.realign(db, write, found)


def _quoted(name: str) -> str:
    """SQL for a name with its schema, n.nspname, as `columns.quote` writes them."""
    return f"""format('"%s"."%s"', replace(n.nspname, '"', '""'), replace({name}, '"', '""'))"""


def _write(write: Writer, found: Table, statement: str, values: Sequence[object]) -> None:
    # a constant but for the place of the table
    named = statement.replace("{table}", "table_name OPERATOR(pg_catalog.=) $1::oid::regclass").replace(
        "{target}", "target OPERATOR(pg_catalog.=) $1::oid::regclass"
    )
    write(found, named, ["oid", "name", "name"], [found.oid, *values])


# A column of the table $1 has the name $3 now, and had $2; in all that linkers read of it.
_RENAMED = "{0} = array_replace({0}, $2, $3)"
_MINE = "OPERATOR(pg_catalog.=) $1::oid::regclass"
_LINKERS = (
    f"UPDATE pgembed._linker_target SET {_RENAMED.format('key_columns')}, {_RENAMED.format('read_columns')} WHERE target {_MINE}",
    f"UPDATE pgembed._linker_source AS s SET {_RENAMED.format('target_columns')} FROM pgembed._linker_target AS t"
    f" WHERE t.linker = s.linker AND t.number = s.number AND t.target {_MINE}",
    f"UPDATE pgembed._linker_source SET {_RENAMED.format('from_columns')}, {_RENAMED.format('to_columns')},"
    " value_column = CASE WHEN value_column = $2 THEN $3 ELSE value_column END,"
    f" relation_column = CASE WHEN relation_column = $2 THEN $3 ELSE relation_column END WHERE source {_MINE}",
    f"UPDATE pgembed._linker_source SET {_RENAMED.format('other_columns')}, {_RENAMED.format('names_columns')} WHERE other {_MINE}",
)
_TEXTS = (
    "UPDATE pgembed._link_table SET text_column = CASE WHEN text_column = $2 THEN $3 ELSE text_column END,"
    f" {_RENAMED.format('key_columns')} WHERE source {_MINE}"
)
# Functions that were made for targets in the schema of the table $1, by their names of now.
_FOUND = (
    " FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_class AS t ON t.relnamespace = n.oid WHERE t.oid = $1"
    " AND p.proowner = t.relowner AND to_regproc({0}) IS NULL AND p.proname = (parse_ident({0}))[2]"
)
_LINKERS_MOVED = (
    f"UPDATE pgembed._linker_target AS l SET read_function = {_quoted('p.proname')}{_FOUND.format('l.read_function')} AND l.target {_MINE}",
    f"UPDATE pgembed._linker_source AS l SET names_function = {_quoted('p.proname')}{_FOUND.format('l.names_function')}"
    f" AND EXISTS (SELECT FROM pgembed._linker_target AS g WHERE g.linker = l.linker AND g.number = l.number AND g.target {_MINE})",
)
