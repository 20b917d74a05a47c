"""shapes: what a filter asks of a table, without a single value of it.

PostgreSQL reads the filter, not we: the expression is planned as an output column, where no access path takes it apart, of a generic plan,
where parameters stay parameters, and EXPLAIN writes it with every operation in parentheses and every column qualified. What is left to do
here is to cut that regular text into its terms and to leave out constants: whatever reads no column of the table becomes ``?``.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgembed.advice.parsing import Node, conjuncts, joined, parse, words
from pgembed.columns import Table, quote
from pgembed.database import Database

EQUALITY, ANY, NULL, RANGE, OVERLAP, CONTAINS, LIKE, TEXT, EXISTS, OTHER = (
    *("equality", "any", "null", "range", "overlap", "contains", "like", "text", "exists", "other"),
)
# Which of these an index finds by a leading column, and which by a column after those.
BY_EQUALITY = (EQUALITY, ANY, NULL)
MOST_BYTES = 1000  # of a shape's text: it is a key in the log

_FORMS = {"=": EQUALITY, "<": RANGE, "<=": RANGE, ">": RANGE, ">=": RANGE, "&&": OVERLAP, "@>": CONTAINS, "<@": CONTAINS, "@@": TEXT}
_FORMS |= dict.fromkeys(("~~", "~~*", "!~~", "!~~*", "~", "~*", "!~", "!~*", "^@"), LIKE)
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "@>": "<@", "<@": "@>"}
_COUNTER = itertools.count(1)


@dataclass(frozen=True)
class Term:
    """One of the conditions that a filter joins by AND.

    Attributes:
        columns: of the table, that it reads, by name and in order of it.
        form: one of the names above; the first seven compare one column with something that the row does not decide.
        text: with ``?`` for all that is no column.
        pure: what stands for ``?`` are constants, neither parameters nor what a function makes.
        operator: that compares, as if the column stood left; ``''`` for other forms.
    """

    columns: tuple[str, ...]
    form: str
    text: str
    pure: bool
    operator: str = ""


@dataclass(frozen=True)
class Shape:
    """A filter without its values.

    Attributes:
        terms: in order of their text, each once; () where no column is read.
        columns: all that the terms read, by name.
        relation: schema and name of the table that has the columns: of a view the one below it; None where there are several.
    """

    terms: tuple[Term, ...]
    columns: tuple[str, ...]
    relation: tuple[str, str] | None

    @property
    def text(self) -> str:
        """The shape in one line, at most MOST_BYTES of UTF-8."""
        text = " AND ".join(term.text for term in self.terms) or "true"
        if len(text.encode()) > MOST_BYTES:
            from hashlib import sha256

            text = text.encode()[: MOST_BYTES - 40].decode(errors="ignore") + " ... " + sha256(text.encode()).hexdigest()[:32]
        return text

    def packed(self) -> str:
        """The terms as JSON, for the log."""
        return json.dumps([[list(term.columns), term.form, term.text, term.pure, term.operator] for term in self.terms])


def unpacked(packed: str) -> Shape:
    """The shape whose terms `Shape.packed` gave; what relation they are of is not kept."""
    terms = tuple(Term(tuple(columns), form, text, pure, operator) for columns, form, text, pure, operator in json.loads(packed))
    return Shape(terms, _all_columns(terms), None)


def shape(db: Database, target: Table, condition: str) -> Shape:
    """The shape of a filter.

    Args:
        target: a table, a partitioned table or a view.
        condition: as `planner.proven` returns it; ``$1`` is of type jsonb.
    Raises:
        Exception: what PostgreSQL says to a plan of it, such as that the caller may not read a column.
    """
    # beside another relation, one row without columns, EXPLAIN qualifies names
    beside = 'CROSS JOIN (SELECT OFFSET 0) AS "pgembed one"'
    plan = generic_plan(db, f"SELECT {condition} FROM {target.sql} AS {target.alias} {beside}")
    scans, subplans, output = _survey(plan)
    relations = {(scan["Schema"], scan["Relation Name"]) for scan in scans}
    if target.relkind in ("r", "p", "m", "f"):
        relation: tuple[str, str] | None = (target.schema, target.name)
    else:
        relation = relations.pop() if len(relations) == 1 else None
    types = _types(db, relation)
    aliases = {target.name, *(scan["Alias"] for scan in scans)}
    parts = conjuncts(parse(output, aliases))
    read = {name for nodes in parts for node in nodes for name in node.columns}
    terms = {}
    for nodes in parts:
        # PostgreSQL before 17 does not write what a subquery's rows are compared with: any column may be it that the filter names
        hidden = _named(condition, types, aliases) - read if any(node.subs for node in nodes) else set()
        term = _term(nodes, types, subplans, hidden)
        if term is not None:
            terms[term.text] = term
    ordered = tuple(terms[text] for text in sorted(terms))
    return Shape(ordered, _all_columns(ordered), relation)


def generic_plan(db: Database, statement: str) -> dict[str, Any]:
    """What EXPLAIN says of a plan that knows no parameter's value: the parameter's NULL would fold most of a filter away.

    Args:
        statement: one SELECT; ``$1`` is of type jsonb.
    """
    name = f'"pgembed shape {next(_COUNTER)}"'
    mode = db.execute("SELECT pg_catalog.current_setting('plan_cache_mode') AS mode")[0]["mode"]
    db.execute(f"PREPARE {name} (pg_catalog.jsonb) AS {statement}")
    try:
        db.execute("SELECT pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true)")
        found = db.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {name} (NULL)")
    finally:
        db.execute("SELECT pg_catalog.set_config('plan_cache_mode', $1, true)", ["pg_catalog.text"], [mode])
        db.execute(f"DEALLOCATE {name}")
    tree = next(iter(found[0].values()))
    plan: dict[str, Any] = (json.loads(tree) if isinstance(tree, str) else tree)[0]["Plan"]
    return plan


# A filter as it was written: strings, dollar strings, comments and numbers; names, lest a digit in one be taken for a number. What a loop
# repeats begins with another character than what ends it, so that a megabyte is read once.
_WRITTEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<value>[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'|(?:[bBxXnN]|[uU]&)?'[^']*(?:''[^']*)*'|(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)|\.?\d[\w.]*)
    |(?P<name>"[^"]*(?:""[^"]*)*"|[^\W\d][\w$]*)|(?P<rest>.)""",
    re.VERBOSE | re.DOTALL,
)
_LISTED = re.compile(r"\?(?: , \?)+")


def key(condition: str) -> str:
    """What filters have in common that differ in nothing but constants, for a cache of shapes: it does not know what means the same."""
    parts = ["?" if found.lastgroup in ("value", "tag") else found.group() for found in _WRITTEN.finditer(condition) if not found["skip"]]
    return _LISTED.sub("?", " ".join(parts))


def written(db: Database, target: Table, condition: str) -> list[str]:
    """The words of a filter as PostgreSQL writes it, constants and all, without parentheses and the table's name: to be compared only."""
    beside = 'CROSS JOIN (SELECT OFFSET 0) AS "pgembed one"'
    plan = generic_plan(db, f"SELECT {condition} FROM {target.sql} AS {target.alias} {beside}")
    scans, _, output = _survey(plan)
    return words(output, {quote(name) for name in (target.name, *(scan["Alias"] for scan in scans))})


def _all_columns(terms: Sequence[Term]) -> tuple[str, ...]:
    return tuple(sorted({name for term in terms for name in term.columns}))


def _types(db: Database, relation: tuple[str, str] | None) -> dict[str, str]:
    """Columns of a table, and the names of their types; of a domain its base type's."""
    if relation is None:
        return {}
    rows = db.execute(
        "SELECT a.attname::pg_catalog.text AS name,"
        " pg_catalog.format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, NULL) AS type FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid"
        " WHERE c.relname = $2 AND (n.nspname = $1 OR $1 = 'pg_temp' AND n.oid = pg_catalog.pg_my_temp_schema())",
        ["pg_catalog.text", "pg_catalog.text"],
        list(relation),
    )
    return {row["name"]: row["type"] for row in rows}


def _survey(plan: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, list[str]], str]:
    """Scans of the plan itself, the tables that each subplan reads by the subplan's name, and the expression."""
    scans: list[dict[str, Any]] = []
    subplans: dict[str, list[str]] = {}
    output: list[str] = []

    def visit(node: dict[str, Any], inside: str | None) -> None:
        name = node.get("Subplan Name")
        if name is not None:
            inside = name.split(" (")[0]
            subplans.setdefault(inside, [])
        if "Relation Name" in node:
            if inside is None:
                scans.append(node)
            else:
                subplans[inside].append(f"{node.get('Schema')}.{node['Relation Name']}")
        if inside is None and node.get("Output") and not output:
            output.append(node["Output"][0])  # the topmost; what is appended to each other says the same
        for child in node.get("Plans", ()):
            visit(child, inside)

    visit(plan, None)
    return scans, subplans, output[0] if output else "true"


def _term(nodes: list[Node], types: dict[str, str], subplans: dict[str, list[str]], hidden: set[str]) -> Term | None:
    """The term of some nodes; None where it reads nothing of the table.

    Args:
        hidden: columns that it reads where it has a subquery.
    """
    while len(nodes) == 1 and nodes[0].kind == "group":
        nodes = nodes[0].items
    columns = {name for node in nodes for name in node.columns}
    subs = [name for node in nodes for name in node.subs]
    pure = all(node.pure for node in nodes)
    text = "".join(joined(nodes))
    if subs:
        read = sorted({table for name in subs for table in subplans.get(name, ())})
        text = re.sub(r"SubPlan", lambda _: f"subquery of {', '.join(read) or 'no table'}", text)
        return Term(tuple(sorted(columns | hidden)), EXISTS, text, False)
    if not columns:
        return None
    form, operator = _form(nodes, types)
    return Term(tuple(sorted(columns)), form, text, pure, operator)


def _form(nodes: list[Node], types: dict[str, str]) -> tuple[str, str]:
    kinds = [node.kind for node in nodes]
    texts = [node.text for node in nodes]
    if (kinds == ["column"] or (texts[0] == "NOT" and kinds[1:] == ["column"])) and nodes[-1].text != "*":
        return EQUALITY, "="
    if _column(nodes[0], types) and texts[1:] == ["IS", "NULL"]:
        return NULL, ""
    if _column(nodes[0], types) and texts[1:] == ["IS", "NOT", "NULL"]:
        return RANGE, ""  # in the order of an index all that is not NULL stands together
    if len(nodes) == 4 and texts[1:3] == ["=", "ANY"] and kinds[3] == "const" and _column(nodes[0], types):
        return ANY, "="
    if len(nodes) == 3 and kinds[1] == "op":
        left, operator, right = nodes[0], _bare(texts[1]), nodes[2]
        if left.kind == "const":
            left, right, operator = right, left, _MIRRORED.get(operator, operator)
        if right.kind == "const" and (_column(left, types) or operator == "@@"):
            return _FORMS.get(operator, OTHER), operator
    return OTHER, ""


def _column(node: Node, types: dict[str, str]) -> bool:
    """A column as an index has it: PostgreSQL reads a varchar, and a domain of text, as text."""
    if node.kind == "cast" and node.text.endswith("::text"):
        inner = node.items[0]
        return _column(inner, types) and types.get(next(iter(inner.columns)), "") in ("character varying", "text")
    return node.kind == "column" and node.text != "*"


def _bare(operator: str) -> str:
    return operator.removeprefix("OPERATOR(").removesuffix(")").rsplit(".", 1)[-1] if operator.startswith("OPERATOR(") else operator


def _named(written: str, types: dict[str, str], names: set[str]) -> set[str]:
    """Columns of the table that a filter, as it was written, may name: bare, or after a name of the table."""
    found: set[str] = set()
    before: list[str] = []
    for match in _WRITTEN.finditer(written):
        if match["skip"]:
            continue
        token = match.group()
        if match["name"]:
            token = token[1:-1].replace('""', '"') if token.startswith('"') else token.lower()
            if token in types and (before[-1:] != ["."] or (len(before) > 1 and before[-2] in names)):
                found.add(token)
        before = [*before[-1:], token]
    return found
