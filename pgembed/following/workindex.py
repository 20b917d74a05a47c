"""workindex: the index over the rows of an embedded column that need work, which is small where all is well."""

from __future__ import annotations

import re

from pgembed import naming
from pgembed.columns import Table, quote
from pgembed.database import Database


def create(db: Database, found: Table, name: str, hash_column: str, *, over_chunks: bool = False) -> str:
    """Create the index, as the table's owner; return its name in SQL. It goes with the hash column."""
    index = naming.free(db, found.schema, "indexes", f"{found.name}_{name}", "_work")
    keys = ", ".join(key for key, _ in found.keys)
    state = predicate(db, name, hash_column, over_chunks=over_chunks)
    db.execute(f"CREATE INDEX {quote(index)} ON {found.sql} ({keys}) WHERE {state}")
    # and over those of which more is to be said, so that all can be counted without reading the table
    other = naming.free(db, found.schema, "indexes", f"{found.name}_{name}", "_marked")
    db.execute(f"CREATE INDEX {quote(other)} ON {found.sql} ({keys}) WHERE {marked(quote(hash_column))}")
    return f"{quote(found.schema)}.{quote(index)}"


def marked(hash_column: str) -> str:
    """The condition that a row's hash column says more than a hash: that the row failed, has no text, was cut or written by hand."""
    return f"pg_catalog.octet_length({hash_column}) IN (0, 1, 17)"


def predicate(db: Database, name: str, hash_column: str, *, over_chunks: bool) -> str:
    """The condition that a row needs work, in functions of PostgreSQL alone, as the planner sees it when a query asks pgembed.freshness().

    An index that called ours would go with the extension, and hold it up; and one whose function has another meaning after an update would
    be wrong, where this one is only not used any more.
    """
    body = str(
        db.execute("SELECT pg_catalog.pg_get_function_sqlbody('pgembed._freshness'::pg_catalog.regproc) AS body")[0]["body"]
    ).removeprefix("RETURN ")
    hashed = quote(hash_column)
    embedded = f"(pg_catalog.octet_length({hashed}) >= 16)" if over_chunks else f"({quote(name)} IS NOT NULL)"
    # its arguments, which are no words of its constants
    state = re.sub(r"\b(embedded|hash)\b", lambda word: embedded if word[0] == "embedded" else hashed, body)
    return f"{state} IN ('pending', 'stale')"
