"""Articles that name companies, and what a table of their links has."""

from __future__ import annotations

from typing import Any

from support import Connection

CALL = "CALL pgembed.link_table('companies', 'article', 'body', 'article_link')"
FIRST = [(1, "Big Blue", 1, "link"), (1, "Red Hat", 2, "link"), (2, "Nestlé", 3, "link")]


def make(db: Connection) -> None:
    """The tables ``company``, with its linker ``companies``, and ``article``, which nobody has linked yet."""
    db.execute("CREATE TABLE company (id int PRIMARY KEY, name text, also text[])")
    db.execute(
        "INSERT INTO company VALUES (1, 'International Business Machines', '{IBM,\"Big Blue\"}'), (2, 'Red Hat', '{}'), (3, 'Nestlé', '{}')"
    )
    db.execute("SELECT pgembed.create_linker('companies', 'company', names => 'name', aliases => 'also')")
    db.execute("CREATE TABLE article (id int PRIMARY KEY, body text)")
    db.execute(
        "INSERT INTO article VALUES (1, 'Big Blue bought Red Hat in 2019.'), (2, 'Nestlé makes chocolate.'), (3, NULL), (4, ''),"
        " (5, 'nothing of note')"
    )


def links(db: Connection, table: str = "article_link") -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT article_id, mention, company_id, decision FROM {table} ORDER BY article_id, start_char").fetchall()


def times(db: Connection) -> dict[int, Any]:
    """When each text was linked, as the number of the transaction that has written it."""
    return dict(db.execute("SELECT article_id, xmin::text || ctid::text FROM article_link_text ORDER BY 1").fetchall())
