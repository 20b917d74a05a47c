"""expressions: an SQL expression of the user's over a table's row, proven to be one and kept as a function.

The function is created once, so that names in the expression mean for ever what they mean to whoever declared it. Its arguments are the
columns that the expression reads, not the row: PostgreSQL refuses to change the type of any column of a table whose row type is used in
the body of a function.
"""

from __future__ import annotations

from pgembed import errors, naming
from pgembed.columns import RowFunction, Table, literal, quote
from pgembed.database import Database


def hint(error: errors.StatementRefused, condition: str, usual: str) -> str:
    """What helps with a condition that PostgreSQL has refused: what it says itself, but for the commonest case of a wrong type.

    Args:
        usual: where PostgreSQL has no hint.
    """
    if error.sqlstate == "42883" and "$1" in condition:  # undefined_function, of an operator mostly
        return (
            "params are jsonb, and $1->>'name' is text: cast it, as in price < ($1->>'name')::numeric;"
            " a list is pgembed.text_array($1->'names')."
        )
    return error.hint or usual


def prove(db: Database, found: Table, source: str, what: str = "source", kind: str = "pg_catalog.text") -> str:
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


def create(
    db: Database, found: Table, stem: str, expression: str, returns: str, *, definer: bool = False, schema: str | None = None
) -> RowFunction:
    """Create the function of an expression that `prove` has accepted.

    Args:
        stem: what its name begins with.
        definer: it is evaluated with the rights of its owner, whoever calls.
        schema: where it is created; None: in that of the table.
    """
    schema = schema or found.schema
    read = _columns_read(db, found, expression, returns, schema)
    function = f"{quote(schema)}.{quote(naming.free(db, schema, 'functions', stem))}"
    # The path of now for whatever a function of the user's looks up when it runs, wherever it is called from.
    options = f"STABLE SECURITY {'DEFINER' if definer else 'INVOKER'} SET search_path FROM CURRENT"
    if read is None:
        # The expression takes the row as a whole, so the function must too; a body that is only parsed when it runs uses no row type.
        body = f"SELECT ({expression}\n)::{returns} FROM pg_catalog.unnest(ARRAY[$1]) AS {found.alias}"
        db.execute(f'CREATE FUNCTION {function}("row" {found.sql}) RETURNS {returns} LANGUAGE sql {options} AS {literal(body)}')
        return RowFunction(function, None)
    arguments = ", ".join(f"{quote(name)} {kind}" for name, kind in read)
    given = ", ".join(f"${position} AS {quote(name)}" for position, (name, _) in enumerate(read, 1))
    db.execute(
        f"CREATE FUNCTION {function}({arguments}) RETURNS {returns} LANGUAGE sql {options}\n"
        f"RETURN (SELECT ({expression}\n)::{returns} FROM (SELECT {given}) AS {found.alias})"
    )
    return RowFunction(function, tuple(name for name, _ in read))


def drop(db: Database, function: RowFunction) -> None:
    """Drop a function made by `create`, if it still exists."""
    db.execute(f"DROP FUNCTION IF EXISTS {function.name}")


def _columns_read(db: Database, found: Table, expression: str, returns: str, schema: str) -> list[tuple[str, str]] | None:
    """Name and type of the table's columns that an expression reads, as PostgreSQL itself sees it; None where it takes the whole row."""
    function = f"{quote(schema)}.{quote(naming.free(db, schema, 'functions', 'pgembed_probe'))}"
    # From the table, not from an argument of its type: of that PostgreSQL 14 keeps no columns.
    db.execute(
        f"CREATE FUNCTION {function}() RETURNS {returns} LANGUAGE sql STABLE\n"
        f"RETURN (SELECT ({expression}\n)::{returns} FROM {found.sql} AS {found.alias})"
    )
    rows = db.execute(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,"
        # a reference to the row as a whole stands in the parsed body as attribute number 0
        " p.prosqlbody::pg_catalog.text LIKE '%:varattno 0 %' AS whole"
        " FROM pg_catalog.pg_proc AS p LEFT JOIN (pg_catalog.pg_depend AS d JOIN pg_catalog.pg_attribute AS a"
        " ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0 AND d.refobjid = $2"
        " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass)"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid"
        " WHERE p.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regproc ORDER BY a.attnum",
        ["pg_catalog.text", "pg_catalog.oid"],
        [function, found.oid],
    )
    db.execute(f"DROP FUNCTION {function}")
    if rows[0]["whole"] or rows[0]["attname"] is None:
        return None
    return [(row["attname"], row["type"]) for row in rows]


def _source_hint(found: Table) -> str:
    return f"Write an SQL expression over the columns of {found.name}, such as: name || ': ' || description."
