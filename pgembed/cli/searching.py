"""searching: the commands ``pgembed search`` and ``pgembed index``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pgembed.cli import connecting
from pgembed.cli.parsing import Group, column_option, given, table_word
from pgembed.cli.private import NOT_THERE
from pgembed.cli.showing import show, tell

if TYPE_CHECKING:
    from pgembed.clientdb import Session
    from pgembed.database import Row

# Of a table: what a person reads. Vectors, codes and hashes are none of it.
_READABLE = """
    SELECT a.attname::text AS name FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND t.typname NOT IN ('vector', 'halfvec', 'sparsevec', 'binvec', 'bytea')
      AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
      AND NOT EXISTS (SELECT FROM pgembed._code AS c WHERE c.table_name = a.attrelid AND c.column_name = a.attname)
    ORDER BY a.attnum
"""

_OURS = ("rank", "distance", "chunk")


def add_commands(commands: Group) -> None:
    """The commands."""
    search = commands.verb(
        "search",
        _search,
        "find the rows of a table that are nearest in meaning to a text",
        example=["search product 'something for rainy days' -k 5", "search product tent --filter 'price < 100' --columns id,name --json"],
        database="",
        json=True,
    )
    table_word(search)
    search.add_argument("text", metavar="TEXT", help="what to look for")
    search.add_argument("-k", type=int, default=10, help="how many rows at most (default: %(default)s)")
    search.add_argument("--filter", metavar="SQL", help="a condition on the table's columns")
    search.add_argument("--params", metavar="JSON", help='values for the filter, where they are $1->>\'name\': {"name": "value"}')
    column_option(search)
    search.add_argument("--columns", metavar="NAMES", help="columns to print: a,b (default: all that a person can read)")
    search.add_argument("--max-distance", type=float, metavar="D", help="no row that is further away")
    search.add_argument("--recall", type=float, metavar="SHARE", help="of the nearest rows that are to be found, from 0 to 1")
    search.add_argument("--exact", action="store_true", default=None, help="compare all rows")
    search.add_argument("--explain", action="store_true", help="tell instead how the search is answered, and why")

    index = commands.verb(
        "index",
        _index,
        "say which indexes would make searches of a table cheaper, and build them",
        example=["index product --filter \"category = 'tents'\"", "index product --build"],
        database="",
        json=True,
    )
    table_word(index)
    column_option(index)
    index.add_argument("--filter", action="append", dest="filters", metavar="SQL", help="that searches use; may be given several times")
    index.add_argument("--build", action="store_true", help="run the statements, while others read and write")


def _search(options: argparse.Namespace) -> int:
    with connecting.session(options) as session:
        table = session.table(options.table)
        rows = _explained(session, options, table) if options.explain else _found(session, options, table)
    show(options, rows)
    if not rows:
        tell("no row is found")
    return 0 if rows else NOT_THERE


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    return given(options, "k", "filter", "params", "max_distance", "recall", "exact", column_name=options.column)


def _explained(session: Session, options: argparse.Namespace, table: str) -> list[Row]:
    session.as_caller()
    return session.search("explain_search", table, options.text, _arguments(options), "s.*")


def _found(session: Session, options: argparse.Namespace, table: str) -> list[Row]:
    if options.columns:
        names = [name.strip() for name in options.columns.split(",")]
        session.must_have(table, names)
    else:
        names = [str(row["name"]) for row in session.rows(_READABLE, [table])]
    session.as_caller()
    # a column of the table that is called as one of the answer's
    parts = "".join(
        f", (s.item).{session.quoted(name)}" + (f" AS {session.quoted(f'item.{name}')}" if name in _OURS else "") for name in names
    )
    rows = session.search("search", table, options.text, _arguments(options), f"s.rank, s.distance{parts}, s.chunk")
    # a part of the row's text, where the column is over chunks
    return rows if any(row["chunk"] is not None for row in rows) else [{k: v for k, v in row.items() if k != "chunk"} for row in rows]


def _index(options: argparse.Namespace) -> None:
    with connecting.session(options) as session:
        table = session.table(options.table)
        session.as_caller()
        rows = session.call("advise", given(options, "filters", target=table, column_name=options.column))
        show(options, rows, ("statement", "reason", "index_bytes", "reads_now", "reads_then", "searches"))
        if not rows:
            tell("no index would help")
        for row in rows if options.build else ():
            tell(str(row["statement"]))
            session.rows(str(row["statement"]))
