"""viewed: an embedded column as a view over its table shows it.

What a view shows is read where PostgreSQL keeps it, in the view's rule: a tree of nodes, whose text is read as PostgreSQL itself would read
it back. So columns that the view renames are found, through views over views, and nothing of the view is planned or run. Searches then read
the view and nothing else: its condition is part of every filter, and the rights that count are those on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from pgembed import columns, errors
from pgembed.columns import Column, Table
from pgembed.database import Database

# In this order they are told; the fields are PostgreSQL's names of a query's parts.
_NOT_ONE_TABLE = (
    ("hasAggs", "aggregates"),
    ("groupClause", "GROUP BY"),
    ("groupingSets", "GROUPING SETS"),
    ("havingQual", "HAVING"),
    ("hasWindowFuncs", "window functions"),
    ("distinctClause", "DISTINCT"),
    ("setOperations", "UNION, INTERSECT or EXCEPT"),
    ("hasTargetSRFs", "functions that return sets"),
    ("limitOffset", "OFFSET"),
    ("limitCount", "LIMIT"),
)
# PostgreSQL keeps such a view's query apart, and neither order nor keys reach an index through it.
_KEPT_APART = (("sortClause", "ORDER BY"), ("rowMarks", "FOR UPDATE"), ("cteList", "WITH"))
_TOKEN = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_MOST_VIEWS = 64
_NOTHING: tuple[object, ...] = ("<>", "false", [])


@dataclass(frozen=True)
class View:
    """What is known of a view over one table.

    Attributes:
        home: OID of the table.
        shown: number of a column of the table -> names, quoted, by which the view shows it.
        called: what EXPLAIN calls a scan of the table under the view.
        apart: why PostgreSQL plans the view's query by itself; '' where it does not.
    """

    home: int
    shown: dict[int, tuple[str, ...]]
    called: str
    apart: str


def column(db: Database, target: str | None, name: str | None, *, keyed: bool = True) -> Column:
    """The embedded column that a search means, of a table or of a view over one.

    Args:
        target: table or view, as regclass writes it.
        name: of the column, in the view where it is one; None where there is only one.
        keyed: whether the view must show the key; else its table has no keys where it does not.
    Raises:
        errors.PgembedError: as `pgembed.columns.column`.
        errors.WrongObjectType: the view is not over one table.
        errors.UnknownColumn: the view does not show the column of vectors.
    """
    described, own = columns.table(db, target)
    if described.relkind != "v" or own:
        return columns.chosen(described, own, name)
    view = look(db, described)
    home, known = columns.table(db, str(view.home))
    numbers = _numbers(db, view.home)
    shown = {one.name: view.shown.get(numbers.get(one.name, 0), ()) for one in known if one.chunks is None}
    fitting = [one for one in known if any(name in (None, label) for label in shown.get(one.name, ()))]
    if not known:
        columns.chosen(home, known, None)  # raises: the table has none
    if not fitting:
        told = [label for labels in shown.values() for label in labels]
        if name is not None and told:
            raise errors.UnknownObject(
                f'column "{name}" of view "{described.name}" is not an embedded column',
                hint=f"Embedded columns of this view: {', '.join(told)}.",
            )
        in_chunks = [one for one in known if one.chunks is not None]
        if in_chunks and len(in_chunks) == len(known):
            raise errors.NotSupported(
                f"{in_chunks[0].label} is over chunks, and a view has no chunks of its own",
                hint=f"Search {home.shown} itself, with the view's condition as filter.",
            )
        raise errors.UnknownColumn(
            f'view "{described.name}" does not show the embedded column of "{home.name}": {", ".join(one.name for one in known)}',
            hint=f"Add it to the view as it is, by any name: CREATE OR REPLACE VIEW {described.shown} AS SELECT ..., {known[0].name}.",
        )
    if len(fitting) > 1 and name is None:
        fitting = [one for one in fitting if one.role == "current"] or fitting
    if len(fitting) > 1:
        labels = [shown[one.name][0] for one in fitting]
        raise errors.AmbiguousColumn(
            f'view "{described.name}" has {len(labels)} embedded columns: {", ".join(labels)}',
            hint=f"Say which one is meant: column_name => '{labels[0]}'.",
        )
    base = columns.chosen(home, known, fitting[0].name)  # raises: it was renamed or dropped
    keys = _keys(view, home, numbers)
    missing = [columns.unquoted(key) for (key, _), (label, _) in zip(home.keys, keys, strict=True) if not label]
    if not keyed:
        keys = () if missing else keys
    elif missing or not keys:
        raise errors.InvalidTableDefinition(
            f'view "{described.name}" does not show the primary key of "{home.name}": {", ".join(missing)}'
            if keys
            else f'table "{home.name}" has no primary key, and rows of view "{described.name}" cannot be found again without one',
            hint="A view that is searched shows the key's columns as they are, by any names."
            if keys
            else f"ALTER TABLE {home.sql} ADD PRIMARY KEY (...), and show it in the view.",
        )
    here = replace(described, keys=tuple((columns.quote(label), kind) for label, kind in keys), called=view.called)
    return replace(
        base,
        table=here,
        name=next(label for label in shown[base.name] if name in (None, label)),
        now=None,
        index_name=None if view.apart else base.index_name,
        index_method=None if view.apart else base.index_method,
        hash_column=next(iter(view.shown.get(numbers.get(base.hash_column or "", 0), ())), None),
        home=base,
        apart=view.apart,
    )


def keys(db: Database, view: Table) -> tuple[tuple[str, str], ...]:
    """What a view over one table shows of its key, as `pgembed.columns.Table.keys`; () where that is not the whole of it.

    Raises:
        errors.WrongObjectType: the view is not over one table.
    """
    seen = look(db, view)
    shown = _keys(seen, columns.table(db, str(seen.home))[0], _numbers(db, seen.home))
    return tuple((columns.quote(label), kind) for label, kind in shown) if all(label for label, _ in shown) else ()


def with_key(db: Database, table: Table) -> Table:
    """The table; a view with the key of the one table under it, where there is one and the view shows it."""
    if table.relkind != "v" or table.keys:
        return table
    try:
        return replace(table, keys=keys(db, table))
    except errors.WrongObjectType:
        return table


def shown_as(db: Database, column: Column, name: str) -> str | None:
    """What a view calls a column of the table; None where it does not show it.

    Args:
        column: as `column` returned it, of a view.
        name: in the table.
    """
    assert column.home is not None
    view = look(db, column.table)
    labels = view.shown.get(_numbers(db, view.home).get(name, 0), ())
    return labels[0] if labels else None


def home_of(db: Database, target: str) -> str:
    """The table under a view, or the table itself, as a person would write it in a call."""
    described, own = columns.table(db, target)
    if described.relkind == "v" and not own:
        described, _ = columns.table(db, str(look(db, described).home))
    return described.shown


def look(db: Database, view: Table) -> View:
    """Read what a view shows, and of which table.

    Raises:
        errors.WrongObjectType: it is not over one table, or makes other rows of that table's.
    """
    apart: list[str] = []
    numbers: dict[int, tuple[str, ...]] | None = None
    at, label, called = view.oid, view.name, view.name
    for _ in range(_MOST_VIEWS):
        found = db.execute(
            "SELECT c.relkind::pg_catalog.text AS relkind, r.ev_action::pg_catalog.text AS rule,"
            " pg_catalog.array_position(c.reloptions, 'security_barrier=true') IS NOT NULL AS barrier,"
            " ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute AS a"
            " WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 ORDER BY a.attnum) AS names"
            " FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_rewrite AS r"
            " ON r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.=) '1' AND c.relkind OPERATOR(pg_catalog.=) 'v'"
            " WHERE c.oid OPERATOR(pg_catalog.=) $1",
            ["pg_catalog.oid"],
            [at],
        )[0]
        if found["relkind"] != "v":
            assert numbers is not None
            why = f'view "{view.name}" {" and ".join(apart)}, so no index over vectors or codes serves it'
            return View(at, numbers, called, why if apart else "")
        if numbers is None:
            numbers = {place: (name,) for place, name in enumerate(found["names"], 1)}
        if found["barrier"]:
            apart.append("is a security barrier")
        query: Any = _parse(found["rule"])[0]
        while isinstance(query, dict):
            source, at, called, query = _source(query, view, apart)
            now: dict[int, tuple[str, ...]] = {}
            for place, labels in numbers.items():
                if place in source:
                    now[source[place]] = (*now.get(source[place], ()), *labels)
            numbers = now
    raise errors.WrongObjectType(f'view "{label}" is over too many views', hint=f"At most {_MOST_VIEWS} may stand one upon another.")


def _source(query: dict[str, Any], view: Table, apart: list[str]) -> tuple[dict[int, int], int, str, Any]:
    """Columns of a query as columns of what it reads; the OID and the name of that, or the query that stands there."""
    for part, told in _NOT_ONE_TABLE:
        if query.get(part, "<>") not in _NOTHING:
            raise errors.WrongObjectType(
                f'view "{view.name}" has {told}, so its rows are not those of one table',
                hint="A search serves a view that has columns of one table and a condition; search the table, and join the result.",
            )
    apart += [f"has {told}" for part, told in _KEPT_APART if query.get(part, "<>") not in _NOTHING and f"has {told}" not in apart]
    read = query["jointree"]["fromlist"]
    one = read[0] if isinstance(read, list) and len(read) == 1 else {}
    if one.get("") != "RANGETBLREF":
        raise errors.WrongObjectType(
            f'view "{view.name}" is not over one table',
            hint="A search serves a view that has columns of one table and a condition; what other tables decide may be written as EXISTS.",
        )
    entry = query["rtable"][int(one["rtindex"]) - 1]
    if entry["rtekind"] not in ("0", "1") or entry.get("tablesample", "<>") != "<>":
        raise errors.WrongObjectType(
            f'view "{view.name}" is not over a table', hint="A search serves a view that has columns of one table and a condition."
        )
    source = {}
    for made in query["targetList"]:
        shown = made["expr"]
        if shown.get("varno") == one["rtindex"] and shown.get("varlevelsup") == "0":
            source[int(made["resno"])] = int(shown["varattno"])
    called = str(entry["eref"]["aliasname"])
    return (source, int(entry["relid"]), called, None) if entry["rtekind"] == "0" else (source, 0, called, entry["subquery"])


def _keys(view: View, home: Table, numbers: dict[str, int]) -> tuple[tuple[str, str], ...]:
    """Name in the view, not quoted, and type of each column of the table's key; '' for what the view does not show."""
    return tuple((next(iter(view.shown.get(numbers[columns.unquoted(key)], ())), ""), kind) for key, kind in home.keys)


def _numbers(db: Database, oid: int) -> dict[str, int]:
    found = db.execute(
        "SELECT a.attname::pg_catalog.text AS name, a.attnum::pg_catalog.int4 AS number FROM pg_catalog.pg_attribute AS a"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped",
        ["pg_catalog.oid"],
        [oid],
    )
    return {row["name"]: row["number"] for row in found}


def _parse(text: str) -> Any:
    """The text of a tree of nodes: a node is a dict of its fields, a list a list, all else its own text without escapes."""
    tokens = _TOKEN.findall(text)
    stack: list[list[Any]] = [[]]
    for token in tokens:
        if token in ("(", "{"):
            stack.append([])
        elif token == ")":
            done: Any = stack.pop()
            stack[-1].append(done)
        elif token == "}":
            done = _node(stack.pop())
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    return stack[0][0]


def _node(parts: list[Any]) -> dict[str, Any]:
    # a field is ":name" and one thing, whatever that begins with; only a constant's bytes are more, and nobody asks for them
    fields: dict[str, Any] = {"": parts[0] if parts else ""}
    rest = iter(parts[1:])
    for part in rest:
        if isinstance(part, str) and part.startswith(":"):
            given = next(rest, "<>")
            fields.setdefault(part[1:], _text(given) if isinstance(given, str) else given)
    return fields


def _text(token: str) -> str:
    if token == "<>":
        return token
    return re.sub(r"\\(.)", r"\1", token, flags=re.DOTALL)
