"""explaining: how a search is answered, why, and what it took, as lines of (property, value) that a person reads and a program can.

What is measured is measured with the caller's rights. For a caller from whom row security hides rows, nothing is said that counts rows
which were read and did not pass: neither rows looked at, nor pages, nor an estimate, which is made of statistics over all rows.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pgembed import advice, columns, planner
from pgembed.columns import Column
from pgembed.database import Database, Row
from pgembed.planner import coded, consistent, filters, rendering, shortage, trees
from pgembed.planner.consistent import NOTHING, Now
from pgembed.planner.contract import Plan, Request
from pgembed.planner.facts import Facts
from pgembed.planner.rendering import CHUNK

Line = tuple[str, str]

# So many of the query's neighbours are looked at for the local selectivity.
NEIGHBOURS = 200
# Rows up to which they are looked for where no vector index finds them.
MOST_COMPARED = 1_000_000
PAGE_MEGABYTES = 8192 / 1e6
_SIMPLE = re.compile(r"[a-z_]+|[0-9]+")
_LINE = 100  # characters of a long constant on a line
# What is read first, what belongs together, and what is long. All else stands between.
_FIRST = (
    *("path", "reason", "consistency", "estimated rows", "passing rows", "without a vector", "local selectivity", "candidates"),
    *("ef_search", "probes"),
    *("expected recall", "measured recall", "results", "went on", "options"),
)
_LAST = ("index that would help", "settings", "statement", "script")


@dataclass(frozen=True)
class Asked:
    """What a search asks for, beside the request.

    Attributes:
        vector: the query as pgvector writes it.
        text: that it is of; None where the caller gave a vector.
        embedding: milliseconds that embedding it took; None for a vector.
        column_name: as the caller gave it.
    """

    vector: str
    text: str | None
    embedding: float | None
    column_name: str | None


def explain(db: Database, target: str | None, request: Request, asked: Asked, *, execute: bool) -> list[Line]:
    """Plan a search of whole rows, and tell how it would go, or with ``execute`` how it went.

    Args:
        target: the table as regclass writes it.
        execute: run the search, an exact one to compare it with, and counts; else nothing of the filter is run.
    Raises:
        errors.PgembedError: as `pgembed.planner.look` and `pgembed.planner.plan`.
    """
    facts = planner.look(db, target, asked.column_name)
    # a look at the query's neighbours would evaluate the filter
    made = planner.plan(db, facts, "item", dataclasses.replace(request, probe=execute))
    choosing = 0.0
    if execute:
        # the first in a session reads much that the next ones know
        begun = time.perf_counter()
        facts = planner.look(db, target, asked.column_name)
        made = planner.plan(db, facts, "item", request)
        choosing = (time.perf_counter() - begun) * 1000
    condition = filters.proven(db, facts.column.table, request.filter, strings=facts.strings)
    lines = dict(planned(facts, made))
    now = NOTHING
    if consistent.asked(request):
        if execute and made.stale is not None:
            now = consistent.embed(db, lambda: facts.column, made.stale, request.params, request.leave_out)
        lines["consistency"] = _consistency(facts.column, now, execute=execute)
    if execute:
        lines |= _Ran(db, facts, request, asked, made, condition, now).lines(choosing)
    if condition != "true" and not facts.secured:
        index = advice.index_for(db, facts.column, condition, made.estimated_rows)
        if index is not None:
            lines["index that would help"] = index
    lines["script"] = script(facts.column, request, asked, made, now)
    return [(name, lines[name]) for name in (*_FIRST, *(name for name in lines if name not in _FIRST + _LAST), *_LAST) if name in lines]


def settings(pairs: Sequence[str]) -> Iterator[str]:
    """Names and values in turn, as statements for the rest of a transaction."""
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        yield f"SET LOCAL {name} = {value if _SIMPLE.fullmatch(value) else columns.literal(value)};"


def _consistency(column: Column, now: Now, *, execute: bool) -> str:
    """What becomes of rows whose vectors are of older texts."""
    if column.hash_column is None:
        return f"fresh: {column.label} has no source from which a vector could differ"
    if not execute:
        return "fresh: rows that need work would be embedded now, or left out"
    told = f"fresh: {len(now.keys or ())} rows were embedded now" if now.keys or not now.left_out else "fresh"
    return f"{told}; {consistent.said(now)}" if now.left_out else told


def script(column: Column, request: Request, asked: Asked, made: Plan, now: Now = NOTHING) -> str:
    """The search as a script for psql: its statement, prepared, with the values that it is given.

    The filter's text may have what looks like a parameter inside a constant, so values are not put into the text.
    """
    used = max((int(number) for number in re.findall(r"\$([1-9])", made.statement)), default=1)
    query = constant(asked.vector)
    if asked.text is not None:
        query = f"pgembed.embed_query({', '.join(columns.literal(part) for part in (column.table.sql, asked.text, column.name))})"
    quoted = [None if value is None else columns.literal(str(value)) for value in (request.params, request.max_distance, request.leave_out)]
    codes = [None if bits is None else constant(bits) for bits in (made.code, made.mask)]
    arrays = [_array(texts) for texts in (now.keys, now.vectors)]
    values = [quoted[0], query, None if request.k is None else str(request.k), *quoted[1:], *codes, *arrays]
    given = ",\n    ".join("NULL" if value is None else value for value in values[:used])
    return "\n".join(
        (
            "BEGIN;",
            *settings(made.settings),
            f"PREPARE pgembed_search ({', '.join(types(column)[:used])}) AS",
            f"{made.statement};",
            f"EXECUTE pgembed_search (\n    {given}\n);",
            "DEALLOCATE pgembed_search;",
            "COMMIT;",
        )
    )


def types(column: Column) -> list[str]:
    """Of a statement's parameters, see `pgembed.planner.contract.Plan`."""
    return ["jsonb", f"{column.vector_schema}.vector", "int4", "float8", "text", "text", "text", "text[]", "text[]"]


def _array(texts: Sequence[str] | None) -> str | None:
    """An array of texts as SQL, each on a line."""
    if texts is None:
        return None
    lines = ",\n    ".join(map(columns.literal, texts))
    return f"ARRAY[\n    {lines}]"


def constant(text: str) -> str:
    """A value without quotes in it as SQL, on several lines: PostgreSQL joins constants that only a line break divides."""
    return "\n    ".join(f"'{text[start : start + _LINE]}'" for start in range(0, len(text), _LINE))


def planned(facts: Facts, made: Plan) -> Iterator[Line]:
    """What is known before anything is run."""
    option, known = made.option, dict(zip(made.settings[::2], made.settings[1::2], strict=True))
    yield "path", made.path
    if not facts.secured:
        yield "reason", made.reason
    elif option is not None:
        yield "reason", f"{option.reason}; {facts.but}" if facts.but else option.reason
    if not facts.secured:
        share = 1.0 if made.estimate is None else made.estimate.share
        yield "estimated rows", f"{made.estimated_rows:.0f} ({percent(share)})"
    if option is not None and option.setting.candidates:
        yield "candidates", str(option.setting.candidates)
    for setting in ("hnsw.ef_search", "ivfflat.probes"):
        if setting in known:
            yield setting.split(".")[1], known[setting]
    if option is not None:
        source = option.setting.source
        yield "expected recall", f"{option.setting.recall:g} ({'nothing was measured here' if source == 'default' else source})"
    elif made.path == "exact":
        yield "expected recall", "1 (every row compared)"
    if made.options and facts.secured:
        yield "options", ", ".join(one.path for one in made.options)
    elif made.options:
        yield "options", "predicted: " + ", ".join(f"{one.path} {_milliseconds(one.milliseconds)}" for one in made.options)
    yield "settings", "\n".join(settings(made.settings))
    yield "statement", made.statement


def percent(share: float) -> str:
    """A share with three figures that count."""
    return f"{100 * share:.3g} %"


def _milliseconds(took: float) -> str:
    return f"{took:.2f} ms" if took < 100 else f"{took:.0f} ms"


class _Ran:
    """A search that was run, and what is compared with it."""

    def __init__(self, db: Database, facts: Facts, request: Request, asked: Asked, made: Plan, condition: str, now: Now) -> None:
        self.db, self.facts, self.request, self.asked, self.made, self.condition = db, facts, request, asked, made, condition
        self.now = now
        # which counts no more than that
        self.passing, self.unembedded = shortage.count(db, made.shortage, request.params, request.leave_out, 2**31 - 2, now.keys)
        table = facts.column.table
        counted = db.execute(f"SELECT pg_catalog.count(*) AS rows FROM {table.sql} AS {table.alias}")[0]
        self.rows = int(counted["rows"])
        self.found = self.distances(made)
        self.exact = self.found
        if made.path != "exact":
            self.exact = self.distances(planner.plan(db, facts, "item", dataclasses.replace(request, exact=True)))
        self.tree = self.analysed()

    def run(self, statement: str, made: Plan | None = None) -> list[Row]:
        """Run a statement with the parameters of a search and the settings of a plan, which are put back."""
        made = made or self.made
        values = [self.request.params, self.asked.vector, self.request.k, self.request.max_distance, self.request.leave_out]
        undo = self._set(list(made.settings))
        found = self.db.execute(statement, types(self.facts.column), [*values, made.code, made.mask, self.now.keys, self.now.vectors])
        self._set(undo)
        return found

    def _set(self, pairs: list[str]) -> list[str]:
        return list(self.db.execute("SELECT pgembed._set($1) AS undo", ["pg_catalog.text[]"], [pairs])[0]["undo"])

    def distances(self, made: Plan) -> list[float]:
        """Of the results of a plan, nearest first."""
        return sorted(row["distance"] for row in self.run(f"SELECT found.distance FROM (\n{made.statement}\n) AS found", made))

    def analysed(self) -> dict[str, Any]:
        """What PostgreSQL tells of the statement, with its planning and its execution time."""
        tree = next(iter(self.run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)\n{self.made.statement}")[0].values()))
        found: dict[str, Any] = (json.loads(tree) if isinstance(tree, str) else tree)[0]
        return found

    def local(self) -> str:
        """The share of passing rows among the query's neighbours, whatever these pass."""
        column, code = self.facts.column, self.facts.code
        alias, plan, things = column.table.alias, self.made, "rows"
        if column.chunks is not None:
            things, alias = "chunks", CHUNK
            same = column.chunks.of_row(CHUNK, column.table.alias, [key for key, _ in column.table.keys])
            passes = f"EXISTS (SELECT FROM {column.table.sql} AS {column.table.alias} WHERE {same} AND {self.condition})"
            order = rendering.distance(column, CHUNK)
        else:
            passes, order = self.condition, rendering.distance(column)
            if column.index_name is None and code is not None and code.index_name is not None and self.request.query is not None:
                order = coded.distance(code, column, masked=False)
                plan = dataclasses.replace(plan, code=coded.asked(self.db, code, self.request.query).code, mask=None)
            elif column.index_name is None and self.rows > MOST_COMPARED:
                return f"not measured: no index on {column.label} finds the query's neighbours"
        graph = ("hnsw.ef_search", str(NEIGHBOURS), "hnsw.iterative_scan", "relaxed_order", "ivfflat.iterative_scan", "relaxed_order")
        found = self.run(
            "SELECT pg_catalog.count(*) AS seen, pg_catalog.count(*) FILTER (WHERE passes) AS passing\n"
            # not in its WHERE: these rows are looked at whether they pass or not
            f"FROM (SELECT {passes} AS passes FROM {column.place} AS {alias}\n"
            f"    WHERE {alias}.{column.sql} IS NOT NULL ORDER BY {order} LIMIT {NEIGHBOURS}) AS seen",
            dataclasses.replace(plan, settings=(*graph, "jit", "off")),
        )[0]
        seen, passing = int(found["seen"]), int(found["passing"])
        if not seen:
            return f"no {things} to look at"
        told = f"{percent(passing / seen)} of the {seen} {things} nearest to the query pass"
        if self.made.local_share is None or self.facts.secured:
            return told
        return f"{told}; the choice counts upon {percent(self.made.local_share)}"

    def lines(self, choosing: float) -> Iterator[Line]:
        """What was found, what was read for it, and how long it took.

        Args:
            choosing: milliseconds that the choice of the plan took.
        """
        yield "passing rows", f"{self.passing} ({percent(self.passing / self.rows)})" if self.rows else "0"
        if self.unembedded:
            lacking = "no search finds yet"
            if consistent.asked(self.request):
                lacking = "have none of their present text and are left out"
            yield "without a vector", f"{self.unembedded} of them, which {lacking}"
        if self.condition != "true":
            yield "local selectivity", self.local()
        yield "results", str(len(self.found)) if self.request.k is None else f"{len(self.found)} of {self.request.k}"
        if self.made.path == "exact":
            yield "measured recall", "1 (every row that passes was compared)"
        elif self.exact:
            # by distance: rows at one distance are as good as each other
            right = sum(distance <= self.exact[-1] for distance in self.found)
            yield "measured recall", f"{right / len(self.exact):.3g} ({right} of the {len(self.exact)} nearest)"
        top = self.tree["Plan"]
        went_on = trees.went_on(top)
        if went_on is not None:
            # how far a graph was followed says how many of the neighbours are hidden
            few = "too few candidates" if self.facts.secured else f"{went_on} candidates"
            yield "went on", f"by the safe path: the index gave {few}"
        if not self.facts.secured:
            yield "rows looked at", "\n".join(_scan(scan) for scan in trees.scans(top))
            hit, read = trees.buffers(top)
            yield "pages", f"{hit} from memory, {read} read ({(hit + read) * PAGE_MEGABYTES:.3g} MB)"
        planning, execution = float(self.tree["Planning Time"]), float(self.tree["Execution Time"])
        if self.asked.embedding is not None:
            yield "time: embedding", _milliseconds(self.asked.embedding)
        yield "time: choosing", _milliseconds(choosing)
        yield "time: planning", _milliseconds(planning)
        for name, took in trees.steps(top):
            yield f"time: {name}", _milliseconds(took)
        yield "time: total", _milliseconds((self.asked.embedding or 0.0) + choosing + planning + execution)


def _scan(scan: trees.Scan) -> str:
    using = f" using {scan.index}" if scan.index else ""
    fetched = "" if scan.heap_fetches is None else f", {scan.heap_fetches} fetched from the table"
    return f"{scan.rows} by {scan.node}{using} on {scan.relation}{fetched}"
