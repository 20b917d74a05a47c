"""following: the objects by which an embedded column follows its rows: hash column, source function and trigger.

All of them are the table owner's, in the table's schema. The source is evaluated by them alone, with the owner's rights: the trigger is
SECURITY DEFINER, and whoever else evaluates the source becomes the owner first (`as_owner`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgembed import errors
from pgembed.columns import Column, Table, literal, quote
from pgembed.database import Database

IDENTIFIER_BYTES = 63  # PostgreSQL's NAMEDATALEN - 1


def prove_source(db: Database, found: Table, source: str, what: str = "source", kind: str = "pg_catalog.text") -> str:
    """Prove that a source is one expression over the table's rows that can be read as text, and return it.

    Raises:
        errors.StatementRefused: it is not; says what PostgreSQL says.
        errors.NullNotAllowed: it is empty.
    """
    if not source.strip():
        raise errors.NullNotAllowed(f"{what} is empty", hint=_source_hint(found))
    rows = f"FROM {found.sql} AS {found.alias}"
    try:
        # A condition takes neither aggregates nor sets; what breaks out of parentheses does not parse without them.
        db.prepare(f"SELECT {rows} WHERE ({source}\n)::{kind} IS NULL")
        db.prepare(f"SELECT {rows} WHERE {source}\n IS NULL")
    except errors.StatementRefused as error:
        error.message = f"{what} is not an expression over {found.name}: {error.message}"
        error.hint = error.hint or _source_hint(found)
        raise
    return source


@contextmanager
def as_owner(db: Database, found: Table) -> Iterator[None]:
    """Run what belongs to the table's owner with the owner's rights, whoever calls, and put the role back.

    Raises:
        errors.InsufficientPrivilege: the caller may not become the owner.
    """
    if not found.may_own:
        raise errors.InsufficientPrivilege(
            f'must be owner of table "{found.name}"',
            hint=f'Its owner is the role "{found.owner}"; SET ROLE to it where you may.',
        )
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


def create_function(db: Database, found: Table, stem: str, expression: str, returns: str, *, definer: bool = False) -> str:
    """Create a function of the table's row for an expression of the user's, and return its name in SQL.

    Its body is parsed now: names mean for ever what they mean to the caller today, a renamed column is followed, and dropping one that is
    used is refused by PostgreSQL itself.
    """
    name = _free_function(db, found, stem)
    function = f"{quote(found.schema)}.{quote(name)}"
    rights = "SECURITY DEFINER" if definer else "SECURITY INVOKER"
    db.execute(
        f'CREATE FUNCTION {function}("row" {found.sql}) RETURNS {returns} LANGUAGE sql STABLE {rights}\n'
        f"RETURN (SELECT ({expression}\n)::{returns} FROM pg_catalog.unnest(ARRAY[$1]) AS {found.alias})"
    )
    return function


def follow(db: Database, found: Table, name: str, source: str, vector_schema: str, keep_hash: str | None = None) -> tuple[str, str]:
    """Create hash column, source function and trigger; return the function's name in SQL and the hash column's name."""
    hash_column = keep_hash or clip(name, "_hash")
    if keep_hash is None:
        if column_type(db, found, hash_column) is not None:
            raise errors.DuplicateObject(
                f'column "{hash_column}" of table "{found.name}" exists already; pgembed keeps there what the vector was made of',
                hint="Rename it, or choose another column_name.",
            )
        db.execute(f"ALTER TABLE {found.sql} ADD COLUMN {quote(hash_column)} pg_catalog.bytea")
        db.execute(
            f"COMMENT ON COLUMN {found.sql}.{quote(hash_column)} IS"
            f" {literal(f'what {name} was made of, for pgembed.freshness({name}, {hash_column})')}"
        )
    function = create_function(db, found, f"{clip(found.name, '_' + name)}_source", source, "pg_catalog.text")
    read, generated = _columns_read(db, function, found)
    stem = clip(found.name, "_" + name)
    trigger_function = f"{quote(found.schema)}.{quote(_free_function(db, found, stem + '_follow'))}"
    vector, hashed = quote(name), quote(hash_column)
    # PostgreSQL looks up the operator of IS DISTINCT FROM in the search_path, where pgvector's need not be
    same_vector = (
        f"(OLD.{vector} IS NULL) = (NEW.{vector} IS NULL) AND coalesce(OLD.{vector} OPERATOR({vector_schema}.=) NEW.{vector}, true)"
    )
    if generated:
        # A generated column is not computed yet when this trigger runs: a row that may have changed is stale, and refresh compares the hash.
        changed = f"    changed := NEW.{hashed} IS NOT DISTINCT FROM OLD.{hashed};"
        after = (
            f"'\\x00'::bytea || CASE WHEN octet_length(OLD.{hashed}) IN (16, 17)"
            f" THEN substr(OLD.{hashed}, octet_length(OLD.{hashed}) - 15) ELSE ''::bytea END"
        )
    else:
        changed = f"    new_source := {function}(NEW);\n    changed := new_source IS DISTINCT FROM {function}(OLD);"
        after = f"pgembed._hash_after_change(OLD.{hashed}, new_source)"
    body = f"""
DECLARE
    new_source text;
    changed boolean;
BEGIN
{changed}
    IF NOT changed THEN
        RETURN NEW;
    END IF;
    IF NOT ({same_vector}) THEN
        NEW.{hashed} := pgembed._source_hash(new_source);  -- the writer brought the vector along
    ELSE
        NEW.{hashed} := {after};
        IF octet_length(NEW.{hashed}) = 0 THEN
            NEW.{vector} := NULL;
        END IF;
    END IF;
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    -- whoever writes the row must not suffer from the source: refresh meets the same error and records it
    NEW.{hashed} := '\\x00'::bytea;
    RETURN NEW;
END
"""
    db.execute(
        f"CREATE FUNCTION {trigger_function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n"
        f"SET search_path = pg_catalog, pg_temp\nAS {literal(body)}"
    )
    db.execute(f"REVOKE ALL ON FUNCTION {trigger_function}() FROM PUBLIC")
    listed = "" if not read else f" OF {', '.join(quote(column) for column in read)}"
    db.execute(
        f"CREATE TRIGGER {quote(clip('pgembed_' + name, ''))} BEFORE UPDATE{listed} ON {found.sql}"
        f" FOR EACH ROW EXECUTE FUNCTION {trigger_function}()"
    )
    return function, hash_column


def unfollow(db: Database, column: Column) -> None:
    """Drop trigger and functions of an embedded column, those that still exist."""
    found = column.table
    trigger = clip("pgembed_" + column.name, "")
    rows = db.execute(
        "SELECT t.tgfoid::pg_catalog.regproc::pg_catalog.oid AS function_oid, n.nspname, p.proname"
        " FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE t.tgrelid = $1 AND t.tgname = $2 AND NOT t.tgisinternal",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, trigger],
    )
    for row in rows:
        db.execute(f"DROP TRIGGER {quote(trigger)} ON {found.sql}")
        db.execute(f"DROP FUNCTION {quote(row['nspname'])}.{quote(row['proname'])}()")
    if column.source_function is not None:
        db.execute(f"DROP FUNCTION IF EXISTS {column.source_function}({found.sql})")


def _columns_read(db: Database, function: str, found: Table) -> tuple[list[str], bool]:
    """The table's columns that a source function reads, as PostgreSQL recorded them ([]: unknown, or the whole row), and whether one of
    them is generated."""
    rows = db.execute(
        "SELECT a.attname, a.attgenerated <> '' AS generated FROM pg_catalog.pg_depend AS d"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = $1::pg_catalog.regproc"
        " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $2 AND d.refobjsubid > 0",
        ["pg_catalog.text", "pg_catalog.oid"],
        [function, found.oid],
    )
    if rows:
        return [row["attname"] for row in rows], any(row["generated"] for row in rows)
    whole = db.execute(
        "SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attgenerated <> '' AND NOT attisdropped",
        ["pg_catalog.oid"],
        [found.oid],
    )
    return [], bool(whole)


def _free_function(db: Database, found: Table, stem: str) -> str:
    """A name for a new function in the table's schema that none has yet, so that its name alone finds it."""
    for number in range(1000):
        name = clip(stem, f"_{number}" if number else "")
        taken = db.execute(
            "SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
            " WHERE n.nspname = $1 AND p.proname = $2",
            ["pg_catalog.text", "pg_catalog.text"],
            [found.schema, name],
        )
        if not taken:
            return name
    raise errors.LimitExceeded(
        f'schema "{found.schema}" has a thousand functions named "{stem}"', hint="Drop those that are not needed."
    )


def clip(stem: str, suffix: str) -> str:
    """A name with a suffix that fits into an identifier, cut in the stem at a whole character."""
    room = IDENTIFIER_BYTES - len(suffix.encode())
    return stem.encode()[: max(1, room)].decode(errors="ignore") + suffix


def column_type(db: Database, found: Table, name: str) -> str | None:
    rows = db.execute(
        "SELECT t.typname FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid"
        " WHERE a.attrelid = $1 AND a.attname = $2 AND NOT a.attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    return str(rows[0]["typname"]) if rows else None


def _source_hint(found: Table) -> str:
    return f"A source is an SQL expression over the columns of {found.name}, such as: name || ': ' || description."
