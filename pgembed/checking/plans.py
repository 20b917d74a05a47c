"""plans: what the plan of a query says of nearest neighbours: the index that gives them, what follows up to the LIMIT, and the limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pgembed.checking.statements import Plan
from pgembed.database import Database

# Methods of PostgreSQL's own whose ordered scans are exact; whatever else orders by a distance is taken for approximate.
EXACT_METHODS = {"btree", "gist", "spgist", "gin", "brin", "hash"}
JOINS = {"Nested Loop", "Hash Join", "Merge Join"}
DISTANCE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(<=>|<->|<#>|<\+>|<~>|<%>)")
COST_ROUNDING = 0.02  # EXPLAIN prints costs with two decimals
# Of work_mem, for each row that an iterative scan has met: measured over 63,166 rows, pgvector 0.8.0, m = 16.
SCAN_BYTES = 220


@dataclass(frozen=True)
class Index:
    """A vector index of a relation.

    Attributes:
        table, index: in SQL, by schema and name; ``label`` is how a person calls the index.
        key: the column's name in SQL, or the expression that is indexed.
        column: name of the indexed column; None for an expression.
        operators: that its order serves.
        rows: of its relation, as last counted; 0 where nobody has.
        on_codes: its key is of bits.
        lists: of ivfflat.
        secured: row security applies to the caller.
    """

    table_oid: int
    table: str
    label: str
    method: str
    key: str
    column: str | None
    operators: tuple[str, ...]
    rows: float
    on_codes: bool
    partial: bool
    is_partition: bool
    lists: int
    secured: bool


@dataclass(frozen=True)
class Scan:
    """A node that takes rows from an approximate index in the order of a distance.

    Attributes:
        above: the nodes that its rows pass on their way to the nearest LIMIT, or to the root where there is none; nearest first.
        k, offset: of the LIMIT; None where there is none, or where the plan does not say.
        certain: k and offset are known to be those of the query.
        resorted: a full sort comes later.
        drops: what removes rows on the way, in words.
        bound: a bound on the distance is among it, and ``bound_only`` says that it is all.
        share: of the index's rows that come through, as PostgreSQL estimates; None where nobody knows or may know.
    """

    node: Plan
    index: Index
    above: tuple[Plan, ...]
    has_limit: bool
    k: int | None
    offset: int
    certain: bool
    resorted: bool
    drops: tuple[str, ...]
    bound: bool
    bound_only: bool
    share: float | None

    @property
    def wanted(self) -> int | None:
        """Rows that the scan has to give."""
        return None if self.k is None else self.k + self.offset


@dataclass
class Facts:
    """What a plan has: approximate scans, sorts by a distance with the vector indexes that they pass by, LIMIT, and locks of rows."""

    scans: list[Scan] = field(default_factory=list)
    sorts: list[tuple[str, list[Index]]] = field(default_factory=list)
    has_limit: bool = False
    locks: bool = False


def settings(db: Database) -> dict[str, str]:
    """pgvector's settings in this session. They exist once its library is loaded, which planning over its types does, and this."""
    names = "hnsw.ef_search hnsw.iterative_scan hnsw.max_scan_tuples hnsw.scan_mem_multiplier"
    names += " ivfflat.probes ivfflat.iterative_scan ivfflat.max_probes"
    load(db)
    row = db.execute(
        "SELECT pg_catalog.array_agg(n) AS names, pg_catalog.array_agg(coalesce(pg_catalog.current_setting(n, true), '')) AS values,"
        " (SELECT setting FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'work_mem') AS work_mem"
        " FROM pg_catalog.unnest($1) AS n",
        ["pg_catalog.text[]"],
        [names.split()],
    )[0]
    return {**dict(zip(row["names"], row["values"], strict=True)), "work_mem": row["work_mem"]}


def load(db: Database) -> None:
    """Let pgvector's library be loaded, by reading a vector."""
    found = db.execute(
        "SELECT pg_catalog.quote_ident(n.nspname) AS schema FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n"
        " ON n.oid OPERATOR(pg_catalog.=) e.extnamespace WHERE e.extname OPERATOR(pg_catalog.=) 'vector'"
    )
    if found:
        db.execute(f"SELECT '[0]'::{found[0]['schema']}.vector IS NULL")


def read(db: Database, root: Plan) -> Facts:
    """Find what matters in a plan made with VERBOSE."""
    kinds = {node["Node Type"] for node, _ in _walk(root, ())}
    facts = Facts(has_limit="Limit" in kinds, locks="LockRows" in kinds)
    sorted_ctes = {
        node["CTE Name"]
        for node, above in _walk(root, ())
        if node["Node Type"] == "CTE Scan" and any(one["Node Type"] == "Sort" for one in above)
    }
    for node, above in _walk(root, ()):
        if "Order By" in node and "Index Name" in node:
            index = next(iter(_indexes(db, node["Schema"], index=node["Index Name"])), None)
            if index is not None and index.method not in EXACT_METHODS:
                facts.scans.append(_scan(node, above, index, sorted_ctes))
        elif node["Node Type"] == "Sort":
            keys = [key for key in node["Sort Key"] if operators(key)]
            if keys:
                facts.sorts.append((keys[0], [*_passed_by(db, node)]))
    return facts


def operators(text: str) -> set[str]:
    """pgvector's operators of distance in an expression as EXPLAIN writes it."""
    return {match[1] for match in DISTANCE.finditer(text) if match[1]}


def _walk(node: Plan, above: tuple[Plan, ...]) -> Iterator[tuple[Plan, tuple[Plan, ...]]]:
    """Every node with those that its rows pass on, nearest first. The rows of an InitPlan or a SubPlan pass on to nobody."""
    yield node, above
    for child in node.get("Plans", ()):
        apart = child.get("Parent Relationship") in ("InitPlan", "SubPlan")
        yield from _walk(child, () if apart else (node, *above))


def _scan(node: Plan, above: tuple[Plan, ...], index: Index, sorted_ctes: set[str]) -> Scan:
    place = next((i for i, one in enumerate(above) if one["Node Type"] == "Limit"), None)
    between = above if place is None else above[:place]
    chain = (node, *between)
    top = (*chain, *above)[-1] if above else node
    cte = str(top.get("Subplan Name", "")).removeprefix("CTE ")
    k, offset, certain = (None, 0, False) if place is None else _limit(above[place], chain[-1])
    drops = [*_drops(chain, index)]
    bound, only = _bound(node)
    filtered = "Filter" in node
    share = None
    if index.rows > 0 and not index.secured:
        share = min(1.0, float(chain[-1]["Plan Rows"]) / index.rows)
    return Scan(
        node=node,
        index=index,
        above=between,
        has_limit=place is not None,
        k=k,
        offset=offset,
        certain=certain,
        resorted=any(one["Node Type"] == "Sort" for one in above) or cte in sorted_ctes,
        drops=tuple(drops),
        bound=bound,
        bound_only=bound and only and len(drops) == 1 and filtered and not index.secured,
        share=share,
    )


def _limit(limit: Plan, child: Plan) -> tuple[int, int, bool]:
    """LIMIT and OFFSET, which EXPLAIN does not print, from the costs that they leave; and whether they are known to be the query's."""
    rows, spent = float(child["Plan Rows"]), float(child["Total Cost"]) - float(child["Startup Cost"])
    k = int(limit["Plan Rows"])
    if spent <= 0 or COST_ROUNDING * rows / spent > 0.4:
        return k, 0, False
    # a subquery that runs once is paid for here too
    once = sum(float(one["Total Cost"]) for one in limit.get("Plans", ()) if one.get("Parent Relationship") == "InitPlan")
    offset = max(0, round((float(limit["Startup Cost"]) - float(child["Startup Cost"]) - once) / spent * rows))
    # A LIMIT that is no constant is taken for a tenth of the rows, one beyond the estimate for all of them.
    guessed = round(rows / 10) in (k, offset) or k + offset >= rows
    return k, offset, not guessed


def _drops(chain: tuple[Plan, ...], index: Index) -> Iterator[str]:
    if index.secured:
        # its policies stand in the filter; neither they nor their effect are this report's to tell
        yield "row security"
    elif "Filter" in chain[0]:
        yield f"the filter {shorten(chain[0]['Filter'])}"
    for below, node in pairwise(chain):
        kind, side = node["Node Type"], below.get("Parent Relationship")
        if kind in JOINS and not (node.get("Join Type") in ("Left", "Full") and side == "Outer"):
            yield f"a join ({kind}, {str(node.get('Join Type', 'Inner')).lower()})"
        elif kind in ("Unique", "Aggregate", "Group", "SetOp"):
            yield f"{kind.lower()}, which makes one row of several"
        elif "Filter" in node and kind not in JOINS:
            yield f"the filter {shorten(node['Filter'])}"


def _bound(node: Plan) -> tuple[bool, bool]:
    """Does the filter bound the distance that the rows are ordered by, and nothing else?"""
    clauses = conjuncts(node.get("Filter", ""))
    bounds = [clause for clause in clauses if split_bound(clause, node["Order By"])]
    return bool(bounds), bool(bounds) and len(bounds) == len(clauses)


def split_bound(clause: str, order_by: str) -> tuple[str, str] | None:
    """Comparison and bound of a clause that bounds a distance from above; None where it is another one."""
    inner = without_parentheses(clause)
    if not inner.startswith(order_by + " "):
        return None
    found = re.fullmatch(r"(<=?) ('[-+.\deE]+'::double precision)", inner[len(order_by) + 1 :])
    return (found[1], found[2]) if found else None


def conjuncts(text: str) -> list[str]:
    """The parts that AND joins in an expression as EXPLAIN writes it: each in parentheses, and all of them in another pair."""
    inner = without_parentheses(text)
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]| AND | OR ", inner):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
        elif depth == 0 and match[0] == " OR ":
            return [text]
        elif depth == 0 and match[0] == " AND ":
            parts.append(inner[start : match.start()])
            start = match.end()
    parts.append(inner[start:])
    whole = all(part.startswith("(") and part.endswith(")") for part in parts)
    return parts if len(parts) > 1 and whole else [text] if text else []


def without_parentheses(text: str) -> str:
    """An expression without the parentheses around all of it."""
    depth = 0
    for match in re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]", text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return text[1:-1] if match.end() == len(text) and text.startswith("(") else text
    return text


def bare(text: str) -> str:
    """An expression without any parentheses around all of it."""
    while (inner := without_parentheses(text)) != text:
        text = inner
    return text


def shorten(text: str) -> str:
    """An expression for people: without the numbers of vectors in it, and not longer than a line or two."""
    text = re.sub(r"'\[[^']{24,}'", "'[...]'", text)
    text = re.sub(r"'([^']{40})[^']{20,}'", r"'\1...'", text)
    return text if len(text) <= 200 else text[:200] + "..."


def _passed_by(db: Database, node: Plan) -> Iterator[Index]:
    seen = set()
    for one, _ in _walk(node, ()):
        relation = (one.get("Schema"), one.get("Relation Name"))
        if relation[0] and relation[1] and relation not in seen:
            seen.add(relation)
            for index in _indexes(db, str(relation[0]), relation=str(relation[1])):
                if index.method not in EXACT_METHODS:
                    yield replace(index, key=f"{one['Alias']}.{index.key}")


def _indexes(db: Database, schema: str, *, index: str | None = None, relation: str | None = None) -> list[Index]:
    """Indexes by name, or those of a relation whose method is not one of PostgreSQL's own."""
    rows = db.execute(
        "SELECT i.indrelid::pg_catalog.int8 AS table_oid, i.indrelid::pg_catalog.regclass::pg_catalog.text AS table_name,"
        " i.indexrelid::pg_catalog.regclass::pg_catalog.text AS label, m.amname, pg_catalog.pg_get_indexdef(i.indexrelid, 1, true) AS key,"
        " a.attname, t.reltuples::pg_catalog.float8 AS reltuples, i.indpred IS NOT NULL AS partial, t.relispartition,"
        " coalesce((SELECT o.option_value::pg_catalog.int4 FROM pg_catalog.pg_options_to_table(x.reloptions) AS o"
        "  WHERE o.option_name OPERATOR(pg_catalog.=) 'lists'), 100) AS lists,"
        " pg_catalog.row_security_active(i.indrelid) AS secured,"
        " c.opcintype OPERATOR(pg_catalog.=) 'pg_catalog.bit'::pg_catalog.regtype AS on_codes,"
        " ARRAY(SELECT o.oprname::pg_catalog.text FROM pg_catalog.pg_amop AS p JOIN pg_catalog.pg_operator AS o"
        "  ON o.oid OPERATOR(pg_catalog.=) p.amopopr WHERE p.amopfamily OPERATOR(pg_catalog.=) c.opcfamily"
        "  AND p.amoppurpose OPERATOR(pg_catalog.=) 'o') AS operators"
        " FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid OPERATOR(pg_catalog.=) i.indexrelid"
        " JOIN pg_catalog.pg_am AS m ON m.oid OPERATOR(pg_catalog.=) x.relam"
        " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) i.indrelid"
        " JOIN pg_catalog.pg_opclass AS c ON c.oid OPERATOR(pg_catalog.=) i.indclass[0]"
        " LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid"
        "  AND a.attnum OPERATOR(pg_catalog.=) i.indkey[0] AND i.indkey[0] OPERATOR(pg_catalog.<>) 0"
        " WHERE x.relnamespace OPERATOR(pg_catalog.=) (SELECT n.oid FROM pg_catalog.pg_namespace AS n"
        "  WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name)"
        " AND CASE WHEN $2 IS NULL THEN t.relname OPERATOR(pg_catalog.=) $3::pg_catalog.name"
        "  AND NOT m.amname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.name[])"
        "  ELSE x.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name END ORDER BY 3",
        ["pg_catalog.text", "pg_catalog.text", "pg_catalog.text", "pg_catalog.text[]"],
        [schema, index, relation, sorted(EXACT_METHODS)],
    )
    return [
        Index(
            table_oid=row["table_oid"],
            table=row["table_name"],
            label=row["label"],
            method=row["amname"],
            key=row["key"],
            column=row["attname"],
            operators=tuple(row["operators"]),
            rows=max(0.0, row["reltuples"]),
            on_codes=row["on_codes"],
            partial=row["partial"],
            is_partition=row["relispartition"],
            lists=row["lists"],
            secured=row["secured"],
        )
        for row in rows
    ]
