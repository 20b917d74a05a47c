"""repairing: registers embedded columns again that only their triggers know of, and makes anew what is missing of those that are known.

Nothing is embedded: what the hash column says of each row holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pgembed import columns, declarations, declared, errors, following, renaming
from pgembed.codes import declaring
from pgembed.columns import VECTOR_TYPES, Column, Table, Writer, quote
from pgembed.database import Database, Row
from pgembed.declared import Declared
from pgembed.linkers import declaring as linkers
from pgembed.linkers import following as linked

AGAIN = "registered again"
ANEW = "triggers and work index made anew"
TOLD = "triggers made anew that tell linkers of changed rows"


def repair(db: Database, write: Writer, target: str | None) -> list[tuple[Table, str | None, str]]:
    """See `pgembed.repair` in SQL.

    Args:
        target: None for all of the caller's tables.
    Returns:
        The table, the column (None: what linkers read) and what was done to it, for each of which something was.
    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    if target is not None:
        return list(_table(db, write, target))
    declaring.forget_dropped(db)
    known = db.execute(
        "SELECT t.oid FROM pg_catalog.pg_class AS t WHERE t.oid IN (SELECT table_name FROM pgembed._embedding)"
        " AND pg_catalog.pg_has_role(t.relowner, 'USAGE')"
    )
    oids = sorted({*(int(row["oid"]) for row in known), *declared.tables(db), *linked.untold(db)})
    done: list[tuple[Table, str | None, str]] = []
    for oid in oids:
        try:
            with db.subtransaction():
                done += _table(db, write, str(oid))
        except errors.PgembedError as error:
            # what cannot be mended here holds up no other table
            db.warning(f"{columns.table(db, str(oid))[0].name} is not repaired: {error.message}", hint=error.hint)
    return done


def missing(db: Database, column: Column) -> list[str]:
    """What a column that follows its rows has lost, in words, each with its name."""
    if column.source_function is None:
        return []
    row = db.execute(
        "SELECT (SELECT g.tgenabled::pg_catalog.text FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = $1 AND g.tgname = $2) AS enabled,"
        " EXISTS (SELECT FROM pg_catalog.pg_index AS x WHERE x.indrelid = $1"
        " AND x.indexrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($3)) AS indexed",
        ["pg_catalog.oid", "pg_catalog.text", "pg_catalog.text"],
        [column.table.oid, column.trigger_name, column.work_index],
    )[0]
    lost = []
    if row["enabled"] is None:
        lost.append(f'trigger "{column.trigger_name}" does not exist')
    elif row["enabled"] != "A":
        # O: applied by logical replication, or written by who says to be a replica, a row would seem fresh with an older text's vector
        lost.append(f'trigger "{column.trigger_name}" is {"disabled" if row["enabled"] == "D" else "not enabled for all sessions"}')
    if not row["indexed"]:
        named = f" {column.work_index}" if column.work_index else ""
        lost.append(f"the index{named} that finds rows in need of work does not exist")
    return lost


def _table(db: Database, write: Writer, target: str) -> Iterator[tuple[Table, str | None, str]]:
    found, _ = columns.table(db, target)
    found.must_own()
    for one in declared.unregistered(db, found.oid):
        _register(db, write, found, one)
        yield found, one.column, AGAIN
    renaming.moved(db, write, found.oid)
    found, known = columns.table(db, target)
    for column in known:
        if column.type in VECTOR_TYPES and missing(db, column):
            if not found.keys:
                raise found.no_key()
            with renaming.by_ourselves():
                _index_anew(db, write, column)
                declarations.realign(db, write, column)
            yield found, column.name, ANEW
            db.notice(
                f"{column.label}: rows that were written meanwhile may be of an older text and say nothing of it",
                hint=f"CALL pgembed.refresh('{found.shown}', '{column.name}', recheck => true) looks at all of them.",
            )
    if found.oid in linked.untold(db):
        with renaming.by_ourselves():
            linkers.realign(db, write, found)
        yield found, None, TOLD


def _index_anew(db: Database, write: Writer, column: Column) -> None:
    """Create the work index, where there is none."""
    found = column.table
    index = _index(db, found, column.hash_column)
    if index is None:
        with following.as_owner(db, found):
            index = following.workindex.create(db, found, column.name, str(column.hash_column), over_chunks=column.chunks is not None)
    write(
        found,
        "UPDATE pgembed._embedding SET work_index = $3 WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name", "text"],
        [found.oid, column.name, index],
    )


def _register(db: Database, write: Writer, found: Table, one: Declared) -> None:
    line = dict(one.line)
    line["trigger_name"], line["trigger_function"] = one.trigger, one.function
    line["source_function"] = _function(db, found, str(line.get("source_function")))
    chunk_table = line.pop("chunk_table", None)
    _check_columns(db, found, line, chunk_table)
    line["work_index"] = _index(db, found, str(line["hash_column"]))
    chunks = None if chunk_table is None else _chunk_table(db, found, str(chunk_table))
    write(
        found,
        "INSERT INTO pgembed._embedding SELECT (jsonb_populate_record(NULL::pgembed._embedding, $2::jsonb"
        " || jsonb_build_object('table_name', $1::text, 'chunk_table', $3::text))).*",
        ["oid", "text", "oid"],
        [found.oid, json.dumps(line), chunks],
    )


def _check_columns(db: Database, found: Table, line: dict[str, Any], chunk_table: object) -> None:
    hashed, vector = str(line.get("hash_column")), str(line["column_name"])
    if following.column_type(db, found, hashed) != "bytea" or (
        chunk_table is None and following.column_type(db, found, vector) not in VECTOR_TYPES
    ):
        raise errors.UnknownColumn(
            f'the trigger "{line["trigger_name"]}" of table "{found.name}" declares columns "{vector}" and "{hashed}",'
            " which the table does not have",
            hint=f"DROP TRIGGER {quote(line['trigger_name'])} ON {found.sql} forgets them; pgembed.adopt_embedding() declares others.",
        )


def _function(db: Database, found: Table, said: str) -> str:
    """The source function that a declaration names: of the table's owner, in its schema or the one that is named."""
    rows = db.execute(
        "SELECT n.nspname, p.proname FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
        " JOIN pg_catalog.pg_class AS t ON t.oid = $2 AND t.relowner = p.proowner"
        " WHERE p.proname = (pg_catalog.parse_ident($1))[2] AND p.prosecdef AND p.prokind = 'f' AND p.prorettype = 25"
        " AND (n.nspname = (pg_catalog.parse_ident($1))[1] OR n.oid = t.relnamespace)"
        " ORDER BY n.oid = t.relnamespace DESC LIMIT 1",
        ["pg_catalog.text", "pg_catalog.oid"],
        [said, found.oid],
    )
    if not rows:
        raise errors.UnknownObject(
            f'the source function {said} of table "{found.name}" does not exist, or is not its owner\'s',
            hint=f"ALTER ROUTINE ... OWNER TO {quote(found.owner)}, or restore it; without it pgembed.adopt_embedding('{found.shown}', ...,"
            " source => '...') declares the column.",
        )
    return _named(rows[0])


def _index(db: Database, found: Table, hash_column: str | None) -> str | None:
    """The work index of the column with a hash column, by name in SQL; None where there is none."""
    rows = db.execute(
        f"SELECT n.nspname, o.relname FROM {renaming.WORK_INDEX} WHERE x.indrelid = $1 AND a.attname = $2 AND x.indisvalid LIMIT 1",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, hash_column],
    )
    return _named(rows[0]) if rows else None


def _chunk_table(db: Database, found: Table, said: str) -> int:
    """OID of the table of chunks that a declaration names: one of the same owner that refers to the table."""
    rows = db.execute(
        "SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_class AS t ON t.oid = $2 AND t.relowner = c.relowner"
        " WHERE c.relname = (pg_catalog.parse_ident($1))[2] AND c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM"
        " pg_catalog.pg_constraint AS k WHERE k.conrelid = c.oid AND k.confrelid = t.oid AND k.contype = 'f')"
        " AND (n.nspname = (pg_catalog.parse_ident($1))[1] OR n.oid = t.relnamespace) ORDER BY n.oid = t.relnamespace DESC LIMIT 1",
        ["pg_catalog.text", "pg_catalog.oid"],
        [said, found.oid],
    )
    if not rows:
        raise errors.UnknownTable(
            f'the table of chunks {said} of table "{found.name}" does not exist, or does not refer to it',
            hint="Restore it with its foreign key.",
        )
    return int(rows[0]["oid"])


def _named(row: Row) -> str:
    return ".".join(quote(str(part)) for part in row.values())
