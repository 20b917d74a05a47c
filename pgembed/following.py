"""following: the objects by which an embedded column follows its rows: hash column, source function and trigger.

All of them are the table owner's, in the table's schema. The source is evaluated by them alone, with the owner's rights: the trigger is
SECURITY DEFINER, and whoever else evaluates the source becomes the owner first (`as_owner`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgembed import errors, expressions
from pgembed.columns import Chunks, Column, RowFunction, Table, literal, quote
from pgembed.database import Database


@contextmanager
def as_owner(db: Database, found: Table) -> Iterator[None]:
    """Run what belongs to the table's owner with the owner's rights, whoever calls, and put the role back.

    Raises:
        errors.InsufficientPrivilege: the caller may not become the owner.
    """
    found.must_own()
    before = db.execute("SELECT current_user::pg_catalog.text AS is_now, pg_catalog.current_setting('role') AS role")[0]
    if before["is_now"] == found.owner:
        yield
        return
    set_role(db, found.owner)
    try:
        yield
    finally:
        set_role(db, str(before["role"]))


def set_role(db: Database, role: str) -> None:
    """Become a role for the rest of the transaction; ``none`` is the session's own."""
    db.execute("SELECT pg_catalog.set_config('role', $1, true)", ["pg_catalog.text"], [role])


def follow(
    db: Database,
    found: Table,
    name: str,
    source: RowFunction,
    vector_schema: str,
    hash_column: str | None = None,
    chunks: Chunks | None = None,
) -> tuple[str, str, str]:
    """Create the hash column, where there is none, and the trigger; return the names of both and of the trigger's function in SQL."""
    if hash_column is None:
        hash_column = expressions.clip(name, "_hash")
        if column_type(db, found, hash_column) is not None:
            raise errors.DuplicateObject(
                f'column "{hash_column}" of table "{found.name}" exists already; pgembed keeps there what the vector was made of',
                hint="Rename it, or choose another column_name.",
            )
        db.execute(f"ALTER TABLE {found.sql} ADD COLUMN {quote(hash_column)} pg_catalog.bytea")
        state = f"pgembed.freshness({hash_column})" if chunks else f"pgembed.freshness({name}, {hash_column})"
        said = f"what {name} was made of: {state}"
        db.execute(f"COMMENT ON COLUMN {found.sql}.{quote(hash_column)} IS {literal(said)}")
    stem = expressions.clip(found.name, f"_{name}_follow")
    function = f"{quote(found.schema)}.{quote(expressions.free_name(db, found, stem))}"
    body = _trigger_body(found, name, hash_column, source, vector_schema, _bases(db, found, source), chunks)
    db.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n"
        f"SET search_path = pg_catalog, pg_temp\nAS {literal(body)}"
    )
    db.execute(f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC")
    trigger = expressions.clip(f"pgembed_{name}", "")
    listed = "" if source.columns is None else f" OF {', '.join(quote(column) for column in source.columns)}"
    db.execute(f"CREATE TRIGGER {quote(trigger)} BEFORE UPDATE{listed} ON {found.sql} FOR EACH ROW EXECUTE FUNCTION {function}()")
    return hash_column, trigger, function


def unfollow(db: Database, column: Column) -> None:
    """Drop the trigger of an embedded column and its function, where they still exist."""
    if column.trigger_name is not None:
        drop_trigger(db, column.table, column.trigger_name)


def drop_trigger(db: Database, found: Table, name: str) -> None:
    """Drop a trigger and the function that it calls, where it still exists."""
    rows = db.execute(
        "SELECT n.nspname, p.proname FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE t.tgrelid = $1 AND t.tgname = $2 AND NOT t.tgisinternal",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    for row in rows:
        db.execute(f"DROP TRIGGER {quote(name)} ON {found.sql}")
        db.execute(f"DROP FUNCTION {quote(row['nspname'])}.{quote(row['proname'])}()")


def _trigger_body(
    found: Table, name: str, hash_column: str, source: RowFunction, vector_schema: str, bases: list[str], chunks: Chunks | None
) -> str:
    vector, hashed = quote(name), quote(hash_column)
    # PostgreSQL looks up the operator of IS DISTINCT FROM in the search_path, where pgvector's need not be
    same_vector = (
        f"(OLD.{vector} IS NULL) = (NEW.{vector} IS NULL) AND coalesce(OLD.{vector} OPERATOR({vector_schema}.=) NEW.{vector}, true)"
    )
    if bases:
        # A generated column is not computed yet when this trigger runs, which it does at every UPDATE of such a table: where something
        # has changed of which the text is made, the row is stale, and refresh compares hashes.
        old, new = (", ".join(f"{row}.{quote(column)}::text" for column in bases) for row in ("OLD", "NEW"))
        changed = f"    changed := NEW.{hashed} IS NOT DISTINCT FROM OLD.{hashed} AND ROW({new}) IS DISTINCT FROM ROW({old});"
        after = f"pgembed._hash_stale(OLD.{hashed})"
    else:
        new, old = (source.call(row, without=[name, hash_column]) for row in ("NEW", "OLD"))
        changed = f"    new_source := {new};\n    changed := new_source IS DISTINCT FROM {old};"
        after = f"pgembed._hash_after_change(OLD.{hashed}, new_source)"
    if chunks is None:
        write = f"""
    IF NOT ({same_vector}) THEN
        NEW.{hashed} := pgembed._source_hash(new_source);  -- the writer brought the vector along
    ELSE
        NEW.{hashed} := {after};
        IF octet_length(NEW.{hashed}) = 0 THEN
            NEW.{vector} := NULL;
        END IF;
    END IF;"""
    else:
        gone = chunks.of_row("c", "OLD", [key for key, _ in found.keys])
        write = f"""
    NEW.{hashed} := {after};
    IF octet_length(NEW.{hashed}) = 0 THEN
        DELETE FROM {chunks.sql} AS c WHERE {gone};
    END IF;"""
    return f"""
DECLARE
    new_source text;
    changed boolean;
BEGIN
{changed}
    IF NOT changed THEN
        RETURN NEW;
    END IF;{write}
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    -- whoever writes the row must not suffer from the source: refresh meets the same error and records it
    BEGIN
        NEW.{hashed} := '\\x00'::bytea;
    EXCEPTION WHEN undefined_column THEN
        NULL;  -- it was renamed or dropped
    END;
    RETURN NEW;
END
"""


def _bases(db: Database, found: Table, source: RowFunction) -> list[str]:
    """The columns of which a source's text is made in the end, where it reads a generated one; [] where it reads none."""
    rows = db.execute(
        "SELECT g.attname, pg_catalog.array_agg(b.attname::pg_catalog.text ORDER BY b.attnum) FILTER (WHERE b.attnum > 0) AS bases"
        " FROM pg_catalog.pg_attribute AS g"
        " JOIN pg_catalog.pg_attrdef AS x ON x.adrelid = g.attrelid AND x.adnum = g.attnum"
        " LEFT JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = x.oid"
        " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = g.attrelid AND d.refobjsubid <> g.attnum"
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
        " THEN t.typnamespace::pg_catalog.regnamespace || '.' || t.typname ELSE t.typname::pg_catalog.text END AS typname"
        " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid"
        " LEFT JOIN pg_catalog.pg_extension AS x ON x.extname = 'vector'"
        " WHERE a.attrelid = $1 AND a.attname = $2 AND NOT a.attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    return str(rows[0]["typname"]) if rows else None
