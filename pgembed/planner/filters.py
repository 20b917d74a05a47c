"""filters: a caller's condition is proven to be one expression, and what PostgreSQL expects of it."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from pgembed import errors, expressions
from pgembed.codes.catalogue import Code
from pgembed.columns import Table
from pgembed.database import Database
from pgembed.planner.contract import Estimate

# What was proven stays so: whether a text is one expression is a matter of its syntax, and of the setting that backslashes depend on.
_PROVEN: OrderedDict[tuple[str, str, str], None] = OrderedDict()
_MOST_PROVEN = 256
# Names of parts of our statements, see `pgembed.planner.rendering`: a table of that name would not be found from inside of them.
_OURS = re.compile(r"pgembed (?:nearest|best|chunk|coded|seen)\b")


def proven(db: Database, target: Table, condition: str | None, *, strings: str | None = None) -> str:
    """Prove that a filter is one boolean expression, and return it in parentheses; ``true`` where there is none.

    What breaks out of parentheses does not parse without them, and the other way round, so both forms are prepared; neither is run.

    Args:
        strings: standard_conforming_strings as it is now: with it a text that was proven before is known again. None proves anew.
    Raises:
        errors.StatementRefused: it is not.
        errors.NotSupported: it reads a table that is called as a part of our statements.
    """
    if condition is None or not condition.strip():
        return "true"
    ours = _OURS.search(condition)
    if ours:
        raise errors.NotSupported(
            f'filter names "{ours[0]}"',
            hint="A part of the search is called so; give that table another name, or read it through a view of another name.",
        )
    wrapped = f"({condition}\n)"  # the line break ends a trailing comment
    key = (target.sql, condition, strings or "")
    if strings is not None and key in _PROVEN:
        return wrapped
    try:
        for text in (condition, wrapped):
            db.prepare(f"SELECT FROM {target.sql} AS {target.alias} WHERE {text}", ["pg_catalog.jsonb"])
    except errors.StatementRefused as error:
        error.message = f"filter is not a boolean expression over {target.name}: {error.message}"
        usual = "A filter is what stands after WHERE, over the table's own columns; values come as params: $1->>'name'."
        error.hint = expressions.hint(error, condition, usual)
        raise
    if strings is not None:
        while len(_PROVEN) >= _MOST_PROVEN:
            _PROVEN.popitem(last=False)
        _PROVEN[key] = None
    return wrapped


def estimate(db: Database, target: Table, condition: str, params: str | None, *, held: float = -1.0, code: Code | None = None) -> Estimate:
    """What PostgreSQL's planner expects of a condition, for the caller (row security included). Nothing of it is run.

    Args:
        condition: as `proven` returns it.
        params: JSON text; known values make it better.
        held: rows of the table; below 0 where nobody knows.
        code: codes that are to be read with the rows that pass.
    """
    alias = target.alias
    read, held_codes = "", ""
    if code is not None:
        read = ", ".join([*(f"{alias}.{key}" for key, _ in target.keys), f"{alias}.{code.sql}"])
        held_codes = f" AND {alias}.{code.sql} IS NOT NULL"
    found = db.execute(
        f"EXPLAIN (FORMAT JSON) SELECT {read} FROM {target.sql} AS {alias} WHERE {condition}{held_codes}",
        ["pg_catalog.jsonb"],
        [params],
    )
    tree = next(iter(found[0].values()))
    top = (json.loads(tree) if isinstance(tree, str) else tree)[0]["Plan"]
    rows = float(top["Plan Rows"])
    scans = list(_scans(top, target.called or target.name))
    names = [str(scan["Node Type"]) for scan in scans]
    whole = any(name in ("Seq Scan", "Sample Scan") for name in names) or any(
        name == "Index Only Scan" and "Index Cond" not in scan for name, scan in zip(names, scans, strict=True)
    )
    return Estimate(
        rows=rows,
        share=min(1.0, rows / held) if held > 0 else 1.0,
        cost=float(top.get("Total Cost", 0.0)),
        covered=bool(names) and all(name == "Index Only Scan" for name in names),
        scanned=max(rows, held) if whole else max([rows, *(float(scan["Plan Rows"]) for scan in scans)]),
        node=names[0] if names else "",
    )


def _scans(node: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """Nodes that read the table or one of its partitions, whose aliases are the table's with a number."""
    alias = str(node.get("Alias", ""))
    if alias == name or re.fullmatch(re.escape(name) + r"_\d+", alias):
        yield node
    for below in node.get("Plans", ()):
        # what a subquery of the filter reads is not what passes
        if below.get("Parent Relationship") not in ("SubPlan", "InitPlan"):
            yield from _scans(below, name)
