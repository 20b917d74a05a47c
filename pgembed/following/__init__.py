"""following: the objects by which an embedded column follows its rows: hash column, source function, triggers and work index.

All of them are the table owner's, in the table's schema. The source is evaluated by them alone, with the owner's rights: the triggers'
functions are SECURITY DEFINER, and whoever else evaluates the source becomes the owner first (`as_owner`) and looks whether that holds
(`evaluating`).

Up to seven triggers stand on a table for one column: `marking` says what the row trigger on UPDATE does, `syncing` what those at the end of
a statement do, `byhand` what becomes of vectors that somebody else writes.
"""

from __future__ import annotations

from pgembed import errors, naming
from pgembed.columns import Chunks, Column, RowFunction, Table, literal, quote
from pgembed.database import Database
from pgembed.following import byhand, marking, syncing, workindex
from pgembed.following.evaluating import named, unread
from pgembed.following.owning import as_owner, set_role
from pgembed.following.rules import BY_HAND, SYNC, Followed, Rules

__all__ = [
    "BY_HAND",
    "SYNC",
    "Rules",
    "as_owner",
    "column_type",
    "drop_trigger",
    "follow",
    "must_read",
    "named",
    "set_role",
    "unfollow",
    "unread",
    "workindex",
]


def follow(
    db: Database,
    found: Table,
    name: str,
    source: RowFunction,
    vector_schema: str,
    hash_column: str | None = None,
    chunks: Chunks | None = None,
    rules: Rules | None = None,
) -> tuple[str, str, str]:
    """Create the hash column, where there is none, and the triggers; return the names of it, of the row trigger and of its function in SQL.

    Args:
        rules: how the column is kept true; None for rows that are marked and left to `pgembed.refresh`.
    """
    rules = rules or Rules("manual", "mark")
    must_read(db, found, name, source)
    if hash_column is None:
        hash_column = _add_hash_column(db, found, name, chunks)
    followed = Followed(found, name, hash_column, source, vector_schema, tuple(_bases(db, found, source)), chunks, rules)
    function = _create_function(db, followed)
    trigger = naming.clip(f"pgembed_{name}", "")
    listed = "" if source.columns is None else f" OF {', '.join(quote(column) for column in source.columns)}"
    db.execute(f"CREATE TRIGGER {quote(trigger)} BEFORE UPDATE{listed} ON {found.sql} FOR EACH ROW EXECUTE FUNCTION {function}()")
    # logical replication, and whoever says to be a replica, fire no others; there is no other way to know that a vector is of an older text
    db.execute(f"ALTER TABLE {found.sql} ENABLE ALWAYS TRIGGER {quote(trigger)}")
    others = _has_other_triggers(db, found)
    if others:
        late = _named(trigger, "late")
        db.execute(
            f"CREATE TRIGGER {quote(late)} BEFORE UPDATE ON {found.sql} FOR EACH ROW{marking.late_condition(followed)}"
            f" EXECUTE FUNCTION {function}()"
        )
        db.execute(f"ALTER TABLE {found.sql} ENABLE ALWAYS TRIGGER {quote(late)}")
    moved = _named(trigger, "moved")
    db.execute(f"CREATE TRIGGER {quote(moved)} {marking.moved(followed)} EXECUTE FUNCTION {function}('moved')")
    for which, event in syncing.triggers(followed, everywhere=others).items():
        db.execute(f"CREATE TRIGGER {quote(_named(trigger, which))} {event} EXECUTE FUNCTION {syncing.function(followed, function)}()")
    for which, event in byhand.triggers(followed).items():
        db.execute(f"CREATE TRIGGER {quote(_named(trigger, which))} {event} EXECUTE FUNCTION {function}('by_hand')")
    return hash_column, trigger, function


def must_read(db: Database, found: Table, name: str, source: RowFunction) -> None:
    """Raise where a column that a source reads is gone.

    Raises:
        errors.UnknownColumn: it is.
    """
    gone = [column for column in source.columns or () if column_type(db, found, column) is None]
    if gone:
        raise unread(found, name, gone)


def unfollow(db: Database, column: Column) -> None:
    """Drop the triggers of an embedded column and their functions, where they still exist."""
    if column.trigger_name is not None:
        for which in _PREFIXES:
            drop_trigger(db, column.table, _named(column.trigger_name, which))
        drop_trigger(db, column.table, column.trigger_name)


def drop_trigger(db: Database, found: Table, name: str) -> None:
    """Drop a trigger, where it still exists, and the function that it calls, unless another trigger calls that too."""
    rows = db.execute(
        "SELECT n.nspname, p.proname, EXISTS (SELECT FROM pg_catalog.pg_trigger AS o WHERE o.tgfoid = t.tgfoid AND o.oid <> t.oid"
        " AND o.tgparentid OPERATOR(pg_catalog.=) 0) AS shared FROM pg_catalog.pg_trigger AS t"
        " JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE t.tgrelid = $1 AND t.tgname = $2 AND NOT t.tgisinternal",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    for row in rows:
        db.execute(f"DROP TRIGGER {quote(name)} ON {found.sql}")
        if not row["shared"] and row["nspname"] != "pgembed":
            db.execute(f"DROP FUNCTION {quote(row['nspname'])}.{quote(row['proname'])}()")


# Which of a column's triggers has what before the name of its row trigger. No column's row trigger begins like one of these. PostgreSQL
# runs triggers in the order of their names: the late one is behind those of the users, and before those of codes (zz_pgembed_...).
_PREFIXES = {
    "insert": "on_insert_",
    "update": "on_update_",
    "hand_insert": "by_hand_insert_",
    "hand_update": "by_hand_",
    "late": "zy_",
    "moved": "moved_",
}


def _named(trigger: str, which: str) -> str:
    return naming.clip(_PREFIXES[which] + trigger, "")


def _create_function(db: Database, followed: Followed) -> str:
    """Create the one function of all triggers of a column; return its name in SQL.

    One, for what the registry knows of can be cleared away when the table is gone.
    """
    found = followed.table
    stem = naming.clip(found.name, f"_{followed.name}_follow")
    function = f"{quote(found.schema)}.{quote(naming.free(db, found.schema, 'functions', stem))}"
    written = syncing.body(followed) or "RETURN NULL;"
    by_hand = byhand.body(followed) if followed.chunks is None else "RETURN NEW;"
    body = f"""
DECLARE
    new_source text;
    changed boolean;
    keys text[];
BEGIN
IF TG_LEVEL = 'STATEMENT' THEN
{written}
ELSIF TG_NARGS > 0 AND TG_ARGV[0] = 'moved' THEN
    NEW.{followed.hashed} := '\\x00'::bytea;
    RETURN NEW;
ELSIF TG_NARGS > 0 THEN
{by_hand}
END IF;
{marking.body(followed)}
END
"""
    db.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n"
        f"SET search_path = pg_catalog, pg_temp\nAS {literal(body)}"
    )
    db.execute(f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC")
    return function


def _add_hash_column(db: Database, found: Table, name: str, chunks: Chunks | None) -> str:
    hash_column = naming.clip(name, "_hash")
    if column_type(db, found, hash_column) is not None:
        raise errors.DuplicateObject(
            f'column "{hash_column}" of table "{found.name}" exists already; pgembed keeps there what the vector was made of',
            hint="Drop it where pgembed left it, such as in a partition that was detached; else rename it, or give another column_name.",
        )
    db.execute(f"ALTER TABLE {found.sql} ADD COLUMN {quote(hash_column)} pg_catalog.bytea")
    state = f"pgembed.freshness({hash_column})" if chunks else f"pgembed.freshness({name}, {hash_column})"
    said = f"what {name} was made of: {state}"
    db.execute(f"COMMENT ON COLUMN {found.sql}.{quote(hash_column)} IS {literal(said)}")
    return hash_column


def _has_other_triggers(db: Database, found: Table) -> bool:
    """Whether the table has row triggers of the user's that may change what an UPDATE writes."""
    prefixes = "^(pgembed|zz_pgembed|" + "|".join(f"{prefix}pgembed" for prefix in _PREFIXES.values()) + ")_"
    rows = db.execute(
        # row, before, update: bits 1, 2 and 16
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgtype & 19 = 19"
        " AND tgname !~ $2) AS yes",
        ["pg_catalog.oid", "pg_catalog.text"],
        [found.oid, prefixes],
    )
    return bool(rows[0]["yes"])


def _bases(db: Database, found: Table, source: RowFunction) -> list[str]:
    """The columns of which a source's text is made in the end, where it reads a generated one; [] where it reads none."""
    rows = db.execute(
        "SELECT g.attname, pg_catalog.array_agg(b.attname::pg_catalog.text ORDER BY b.attnum) FILTER (WHERE b.attnum > 0) AS bases"
        " FROM pg_catalog.pg_attribute AS g"
        " JOIN pg_catalog.pg_attrdef AS x ON x.adrelid = g.attrelid AND x.adnum = g.attnum"
        " LEFT JOIN pg_catalog.pg_depend AS d"
        " ON (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = x.oid"
        # PostgreSQL 14 says it of the column
        " OR d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = g.attrelid"
        " AND d.objsubid = g.attnum)"
        " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = g.attrelid"
        " AND d.refobjsubid <> g.attnum"
        " LEFT JOIN pg_catalog.pg_attribute AS b ON b.attrelid = g.attrelid AND b.attnum = d.refobjsubid"
        " WHERE g.attrelid = $1 AND g.attgenerated <> '' AND ($2::pg_catalog.text[] IS NULL OR g.attname = ANY ($2)) GROUP BY g.attname",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [found.oid, None if source.columns is None else list(source.columns)],
    )
    generated = {row["attname"]: row["bases"] or [] for row in rows}
    read = [column for column in source.columns or () if column not in generated]
    return sorted({*read, *(base for bases in generated.values() for base in bases)}) if generated else []


def column_type(db: Database, found: Table, name: str) -> str | None:
    """Name of a column's type; None where the table has no such column."""
    rows = db.execute(
        # a type of somebody else's that is only called like one of pgvector's may have casts that run their code
        "SELECT CASE WHEN t.typname IN ('vector', 'halfvec') AND t.typnamespace <> x.extnamespace"
        " THEN pg_catalog.format('%s.%s', t.typnamespace::pg_catalog.regnamespace, t.typname)"
        " ELSE t.typname::pg_catalog.text END AS typname"
        " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid"
        " LEFT JOIN pg_catalog.pg_extension AS x ON x.extname = 'vector'"
        " WHERE a.attrelid = $1 AND a.attname = $2 AND NOT a.attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    return str(rows[0]["typname"]) if rows else None
