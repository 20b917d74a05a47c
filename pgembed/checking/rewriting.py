"""rewriting: the same query in a form that loses less.

Where the plan is no more than LIMIT over one scan, the query is put together again from what EXPLAIN says of it. Else its own text stays as
it is, and the settings that save it are made by the statement itself, before its first row is fetched: no transaction block, no second
round trip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgembed import columns, errors
from pgembed.checking import findings, plans
from pgembed.checking.plans import Facts, Scan
from pgembed.checking.statements import Plan, Query
from pgembed.columns import literal, quote
from pgembed.database import Database

# As search does: while so few rows pass, comparing them all costs less than an index can miss.
EXACT_ROWS = 10_000
OVERFETCH = 4
_REFERENCES = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\d+)|\(InitPlan (\d+)\)\.col1|((?:hashed )?(?:SubPlan|InitPlan|CTE) \d+)")


@dataclass(frozen=True)
class Rewritten:
    """Another form of a query.

    Attributes:
        kind: what it is made with, in a few words.
        text: one statement; has the query's parameters where ``parameters`` is true, else their values.
    """

    kind: str
    reason: str
    text: str
    parameters: bool


@dataclass(frozen=True)
class _Simple:
    """LIMIT over one scan, as texts in SQL; ``outputs`` are pairs of expression and name, names as PostgreSQL quotes them."""

    scan: Scan
    table: str
    alias: str
    k: int
    outputs: list[tuple[str, str]]
    order_by: str
    bare_order_by: str
    clauses: list[str]
    bare_clauses: list[str]
    bound: tuple[str, str] | None


def rewrite(db: Database, query: Query, root: Plan, facts: Facts, settings: dict[str, str]) -> Rewritten | None:
    """The form that loses least, prepared as the caller; None where none can be given.

    Args:
        facts: with at least one scan.
    """
    simple = _simple(db, query, root, facts)
    forms = [_search(db, simple), _exact(simple), _overfetch(simple, settings)] if simple is not None else []
    for form in (*forms, _wrapped(query, facts, settings)):
        if form is None:
            continue
        try:
            db.prepare(form.text, query.types if form.parameters else ())
        except errors.StatementRefused:
            continue
        return form
    return None


def _simple(db: Database, query: Query, root: Plan, facts: Facts) -> _Simple | None:
    scan = facts.scans[0]
    initial = [child for child in root.get("Plans", ()) if child.get("Parent Relationship") == "InitPlan"]
    index = scan.index
    plain = (
        root["Node Type"] == "Limit"
        and len(facts.scans) == 1
        and not scan.above
        and scan.certain
        and not index.secured
        and not index.partial  # what the index implies is not in the filter
        and not index.is_partition
        and index.method in ("hnsw", "ivfflat")
        and len(root["Plans"]) == 1 + len(initial)
        # EXPLAIN does not tell it from LIMIT
        and re.search(r"\bwith\s+ties\b", query.text, re.IGNORECASE) is None
    )
    names = _names(db, query) if plain else None
    if names is None or scan.k is None:
        return None
    node = scan.node
    initial += [child for child in node.get("Plans", ()) if child.get("Parent Relationship") == "InitPlan"]
    bare = _find(query.explain(db, verbose=False), node["Index Name"])
    outputs = [_filled(text, initial) for text in node["Output"][: len(names)]]
    clauses = [_filled(text, initial) for text in plans.conjuncts(node.get("Filter", ""))]
    bare_clauses = [_filled(text, initial) for text in plans.conjuncts(bare.get("Filter", ""))]
    order_by, bare_order_by = _filled(node["Order By"], initial), _filled(bare["Order By"], initial)
    if order_by is None or bare_order_by is None or len(outputs) != len(names):
        return None
    if None in (*outputs, *clauses, *bare_clauses):
        return None
    bounds = [place for place, text in enumerate(clauses) if plans.split_bound(str(text), order_by)]
    bound = plans.split_bound(str(clauses[bounds[0]]), order_by) if len(bounds) == 1 else None
    left = [place for place in range(len(clauses)) if bound is None or place != bounds[0]]
    schema, relation, alias, *named = _quoted(db, [node["Schema"], node["Relation Name"], node["Alias"], *names])
    return _Simple(
        scan=scan,
        table=f"{schema}.{relation}",
        alias=alias,
        k=scan.k,
        outputs=list(zip(map(str, outputs), named, strict=True)),
        order_by=order_by,
        bare_order_by=bare_order_by,
        clauses=[str(clauses[place]) for place in left],
        bare_clauses=[str(bare_clauses[place]) for place in left],
        bound=bound,
    )


def _search(db: Database, simple: _Simple | None) -> Rewritten | None:
    """The search over the embedded column, where the query returns columns of the table and the distance."""
    if simple is None or simple.scan.index.column is None:
        return None
    index = simple.scan.index
    _, known = columns.table(db, str(index.table_oid))
    column = next((one for one in known if one.name == index.column and one.chunks is None and one.type in columns.VECTOR_TYPES), None)
    if column is None:
        return None
    begin = f"({index.key} {columns.OPERATORS[column.metric]} "
    if not simple.bare_order_by.startswith(begin):
        return None
    vector = simple.bare_order_by[len(begin) : -1]
    if column.type != "vector":
        vector = f"({vector})::{column.vector_schema}.vector"
    outputs = []
    reads = {}
    for name in _columns(db, index.table_oid):
        reads[name] = reads[f"{simple.alias}.{name}"] = f"(item).{name}"
    reads[simple.order_by] = reads[simple.bare_order_by] = "distance"
    for text, name in simple.outputs:
        if text not in reads:
            return None
        read = reads[text]
        called = read.removeprefix("(item).")  # the name that it has without AS
        outputs.append(read if called == name else f"{read} AS {name}")
    arguments = [f"NULL::{simple.table}", vector, f"k => {simple.scan.wanted}"]
    if simple.bare_clauses:
        arguments.append(f"filter => {_dollar(' AND '.join(simple.bare_clauses))}")
    if len(known) > 1:
        arguments.append(f"column_name => {literal(column.name)}")
    where = ""
    if simple.bound is not None:
        arguments.append(f"max_distance => {simple.bound[1]}")
        where = "\nWHERE distance < " + simple.bound[1] if simple.bound[0] == "<" else ""
    text = (
        f"SELECT {', '.join(outputs) or '1'}\nFROM pgembed.search({', '.join(arguments)}){where}\nORDER BY rank"
        f"{f' OFFSET {simple.scan.offset}' if simple.scan.offset else ''}"
    )
    if not outputs:
        return None
    return Rewritten(
        "as pgembed.search()", "It chooses how to search by the rows that pass, and returns k rows where k exist.", text, parameters=False
    )


def _exact(simple: _Simple | None) -> Rewritten | None:
    """Adding zero keeps PostgreSQL from ordering by the index."""
    if simple is None or simple.scan.share is None:
        return None
    rows = simple.scan.share * simple.scan.index.rows
    if rows > EXACT_ROWS:
        return None
    clauses = [*simple.clauses, *([f"({simple.order_by} {' '.join(simple.bound)})"] if simple.bound else [])]
    text = (
        f"SELECT {_select(simple.outputs)}\nFROM {simple.table} AS {simple.alias}"
        f"{_where(clauses)}\nORDER BY {simple.order_by} + 0\n{_limit(simple)}"
    )
    return Rewritten(
        "exactly",
        f"About {rows:.0f} rows pass, so few that comparing them all is cheap; + 0 keeps the index out of it.",
        text,
        parameters=False,
    )


def _overfetch(simple: _Simple | None, settings: dict[str, str]) -> Rewritten | None:
    """More rows than needed from an iterative scan in relaxed order, which loses fewest, and a sort."""
    if simple is None:
        return None
    wanted = OVERFETCH * (simple.scan.wanted or 1)
    needed = {**findings.limits(simple.scan, settings, "relaxed_order")}
    if "hnsw.ef_search" in needed:
        needed["hnsw.ef_search"] = str(min(findings.EF_SEARCH_LIMIT, max(int(needed["hnsw.ef_search"]), wanted)))
    inner = ", ".join(f"{text} AS c{place}" for place, (text, _) in enumerate(simple.outputs, 1))
    outer = ", ".join(f"c{place} AS {name}" for place, (_, name) in enumerate(simple.outputs, 1))
    bound = f"\nWHERE distance {' '.join(simple.bound)}" if simple.bound else ""
    text = (
        f"WITH nearest AS MATERIALIZED (\n    SELECT {inner}{', ' if inner else ''}{simple.order_by} AS distance\n"
        f"    FROM {simple.table} AS {simple.alias}{_where([*simple.clauses, _gate(needed)], '    ')}\n"
        f"    ORDER BY {simple.order_by} LIMIT {wanted}\n)\n"
        f"SELECT {outer}\nFROM nearest{bound}\nORDER BY distance + 0\n{_limit(simple)}"
    )
    return Rewritten(
        "with more rows, sorted again",
        "An iterative scan in relaxed order loses fewest; the statement makes its settings itself, for the transaction.",
        text,
        parameters=False,
    )


def _wrapped(query: Query, facts: Facts, settings: dict[str, str]) -> Rewritten:
    needed: dict[str, str] = {}
    for scan in facts.scans:
        if scan.index.method not in ("hnsw", "ivfflat"):
            continue
        for name, value in findings.limits(scan, settings, "relaxed_order" if scan.resorted else "strict_order").items():
            strict = "strict_order" in (value, needed.get(name))
            larger = max(value, needed.get(name, value), key=lambda one: float(one) if one[0].isdigit() else 0.0)
            needed[name] = "strict_order" if strict else larger
    text = f"SELECT nearest.*\nFROM (\n{query.text}\n) AS nearest" + (f"\nWHERE {_gate(needed)}" if needed else "")
    return Rewritten(
        "with its settings",
        "The query itself, in a statement that makes the settings before the first row is fetched; they last for the transaction.",
        text,
        parameters=True,
    )


def _gate(settings: dict[str, str]) -> str:
    """A condition over no row, so PostgreSQL evaluates it once, before it fetches any; it makes settings."""
    calls = " || ".join(f"pg_catalog.set_config({literal(name)}, {literal(value)}, true)" for name, value in settings.items())
    return f"(SELECT {calls}) IS NOT NULL"


def _names(db: Database, query: Query) -> list[str] | None:
    """The names of the query's columns, in order; None where two have the same. None of its rows is asked for."""
    row = query.run(db, f"SELECT c.* FROM (SELECT) AS v LEFT JOIN ({query.text}\n) AS c ON false")[0]
    names = list(row)
    if not names:
        return None
    try:
        db.prepare(query.wrapped(f"SELECT {', '.join(f'c.{quote(name)}' for name in names)}"), query.types)
    except errors.StatementRefused:
        return None
    return names


def _columns(db: Database, oid: int) -> list[str]:
    rows = db.execute(
        "SELECT pg_catalog.quote_ident(attname) AS name FROM pg_catalog.pg_attribute WHERE attrelid OPERATOR(pg_catalog.=) $1"
        " AND attnum > 0 AND NOT attisdropped",
        ["pg_catalog.oid"],
        [oid],
    )
    return [row["name"] for row in rows]


def _quoted(db: Database, names: list[str]) -> list[str]:
    """Names as EXPLAIN writes them: quoted only where they must be."""
    read = "SELECT pg_catalog.quote_ident(n) AS name FROM pg_catalog.unnest($1) WITH ORDINALITY AS u (n, place) ORDER BY place"
    return [row["name"] for row in db.execute(read, ["pg_catalog.text[]"], [names])]


def _find(node: Plan, index_name: str) -> Plan:
    if node.get("Index Name") == index_name and "Order By" in node:
        return node
    for child in node.get("Plans", ()):
        found = _find(child, index_name)
        if found:
            return found
    return {}


def _filled(text: str, initial: list[Plan]) -> str | None:
    """An expression with the subqueries that read no table put back in; None where it refers to others."""
    known = {}
    for plan in initial:
        number = re.fullmatch(r"InitPlan (\d+)(?: \(returns \$(\d+)\))?", str(plan.get("Subplan Name", "")))
        if number and plan["Node Type"] == "Result" and "Plans" not in plan and len(plan.get("Output", ())) == 1:
            known[number[2] or "i" + number[1]] = f"(SELECT {plan['Output'][0]})"
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        if match[1] or match[2] or match[3]:
            found = known.get(match[1] or "i" + (match[2] or ""))
            missing = missing or found is None
            return found or ""
        return match[0]

    filled = _REFERENCES.sub(fill, text)
    return None if missing else filled


def _dollar(text: str) -> str:
    inner = plans.without_parentheses(text)
    return literal(inner) if "$" in inner else f"$$ {inner} $$"


def _select(outputs: list[tuple[str, str]]) -> str:
    return ", ".join(text if text == name else f"{text} AS {name}" for text, name in outputs)


def _where(clauses: list[str], indent: str = "") -> str:
    return f"\n{indent}WHERE {' AND '.join(clauses)}" if clauses else ""


def _limit(simple: _Simple) -> str:
    return f"LIMIT {simple.k}" + (f" OFFSET {simple.scan.offset}" if simple.scan.offset else "")
