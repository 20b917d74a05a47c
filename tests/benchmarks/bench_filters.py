"""Filtered search at a recall that is asked for: pgembed against its own best path, pgvector, pgvectorscale, and memory alone.

Cells are filters over Debian's packages and arXiv's papers (filtered_tables.py); k = 10, queries are texts that no row was made of. In each
cell and for a recall of .95 and .99: pgembed.search_keys; each of its paths by force, of which the fastest that reaches the recall is the
oracle; pgvector with iterative scans in relaxed order put in order after, ef_search tuned in the cell, every limit high enough, PostgreSQL
free to choose its plan; and pgvector without a setting. Truth is numpy's product with the rows that pass.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_filters.py [--quick] [--only packages,growth] [--queries N] [--keep]
        [--pgvectorscale URL]

--pgvectorscale names a server with the extensions vector and vectorscale; a table with a label index is made there once (minutes) and kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import filtered_peers
import filtered_tables
import report
from filtered_planning import plan_call, planning, served, timed
from filtered_questions import questions
from filtered_runs import Asker, Connection, Measured, Truth, connected, knows_vectors, move_rows, prepared
from filtered_tables import Cell, Table

ASKED = (0.95, 0.99)
PARTS = ("packages", "papers", "growth", "questions", "limits", "planning", "pgvectorscale")
OF_PAPERS = {"papers", "growth", "questions"}
PAPERS, PART = 132_000, 33_000


@dataclass
class Result:
    """What was measured in one cell, for each recall that was asked for."""

    cell: Cell
    share: float
    ours: dict[float, Measured]
    paths: dict[float, str]
    theirs: dict[float, Measured]
    oracle: dict[float, Measured] = field(default_factory=dict)
    as_it_is: Measured | None = None

    def slower(self, asked: float) -> float | None:
        """p50 of pgvector for one of ours; where it does not reach the recall with any setting, the ratio would be larger."""
        theirs = self.theirs.get(asked)
        return theirs.p50 / self.ours[asked].p50 if theirs else None


def run(connection: Connection, table: Table, cells: Sequence[Cell], queries: int, *, peers: bool = True) -> Iterator[Result]:
    """Measure cells one by one, those with moved rows last."""
    similar = table.queries[:queries] @ table.vectors.T
    moved = False
    for cell in sorted(cells, key=lambda cell: cell.rows_moved):
        if cell.rows_moved and not moved:
            move_rows(connection, table)
            moved = True
        truth = Truth(connection, table, cell, similar)
        asker = Asker(connection, table, cell, truth, len(similar))
        result = Result(cell, truth.share, {}, {}, {})
        for asked in ASKED:
            if peers:
                result.ours[asked], best = asker.beside_its_paths(asked)
                if best:
                    result.oracle[asked] = best
            else:
                result.ours[asked] = truth.together({"": asker.ours(asked)}, len(similar))[""]
            result.paths[asked] = asker.path(asked)
        if peers:
            result.theirs = dict(zip(ASKED, asker.pgvector(ASKED), strict=True))
            result.as_it_is = asker.as_it_is()
            asker.reset()
        tell(result)
        yield result
    if moved:
        connection.execute(f"VACUUM ANALYZE {table.name}")


def tell(result: Result) -> None:
    """A line as soon as there is one: all of them take long."""
    ours, theirs = result.ours[ASKED[-1]], result.theirs.get(ASKED[-1])
    line = f"{result.cell.shown:<58}{result.share:>8.2%}  {ours.recall:.3f} {1000 * ours.p50:>7.2f} ms {result.paths[ASKED[-1]]}"
    print(line + (f" | pgvector {theirs.recall:.3f} {1000 * theirs.p50:>7.2f} ms {theirs.setting}" if theirs else ""), flush=True)


def show(name: str, title: str, results: Sequence[Result]) -> None:
    """A table for each recall."""
    for asked in ASKED:
        lines: list[list[report.Cell]] = []
        for one in results:
            ours, theirs, best = one.ours[asked], one.theirs.get(asked), one.oracle.get(asked)
            lines.append(
                [
                    one.cell.shown,
                    one.cell.kind,
                    100 * one.share,
                    one.paths[asked],
                    ours.recall,
                    ours.rows,
                    1000 * ours.p50,
                    1000 * ours.p95,
                    best.setting if best else None,
                    ours.p50 / best.p50 if best else None,
                    ours.p95 / best.p95 if best else None,
                    theirs.setting if theirs else None,
                    theirs.recall if theirs else None,
                    1000 * theirs.p50 if theirs else None,
                    1000 * theirs.p95 if theirs else None,
                    one.slower(asked),
                    one.as_it_is.recall if one.as_it_is else None,
                ]
            )
        report.show(
            f"filters_{name}_{round(100 * asked)}",
            f"{title}, recall {asked} asked for",
            [
                *(
                    "filter",
                    "kind",
                    "passes, %",
                    "path",
                    "recall@10",
                    "rows",
                    "p50, ms",
                    "p95, ms",
                    "oracle",
                    "p50 / oracle",
                    "p95 / oracle",
                ),
                *("pgvector's plan", "its recall", "its p50, ms", "its p95, ms", "its p50 / ours", "recall without settings"),
            ],
            lines,
            "where pgvector's recall is below what was asked for, no ef_search reaches it",
        )


def verdicts(results: Sequence[tuple[str, Result]], memory: str) -> None:
    """How many cells keep what is promised, and the one that is farthest from it."""
    lines: list[list[report.Cell]] = []

    def judge(
        goal: str, of: Callable[[Result, float], float | None], kept: Callable[[float], bool], worst: Callable[..., float | None]
    ) -> None:
        found = [
            (value, f"{name}: {one.cell.shown} at {asked}")
            for name, one in results
            for asked in ASKED
            if (value := of(one, asked)) is not None
        ]
        farthest = worst((value for value, _ in found), default=None)
        where = next((place for value, place in found if value == farthest), "there is no such cell")
        lines.append([goal, f"{sum(kept(value) for value, _ in found)} of {len(found)}", farthest, where])

    def at_index(one: Result, asked: float) -> float | None:
        theirs = one.theirs.get(asked)
        return one.slower(asked) if theirs and theirs.setting.startswith("hnsw") and 0 < one.share <= 0.02 else None

    def behind(one: Result, asked: float) -> float | None:
        """How much of what is allowed (1.2 times, or .6 ms more) the slower of them uses up."""
        theirs = one.theirs.get(asked)
        allowed = max(1.2 * theirs.p50, theirs.p50 + 0.0006) if theirs else 0.0
        return one.ours[asked].p50 / allowed if allowed else None

    judge("recall - asked >= 0", lambda one, asked: one.ours[asked].recall - asked, lambda value: value >= 0, min)
    judge("answers of fewer rows than there are: none", lambda one, asked: float(one.ours[asked].short), lambda value: value == 0, max)
    judge(
        "p50 / oracle's <= 1.5",
        lambda one, asked: one.ours[asked].p50 / one.oracle[asked].p50 if asked in one.oracle else None,
        lambda value: value <= 1.5,
        max,
    )
    judge(
        "p95 / oracle's <= 2",
        lambda one, asked: one.ours[asked].p95 / one.oracle[asked].p95 if asked in one.oracle else None,
        lambda value: value <= 2,
        max,
    )
    judge("pgvector's p50 / ours >= 5, its plan the index, at most 2% pass", at_index, lambda value: value >= 5, min)
    judge("p50 / max(1.2 of pgvector's, pgvector's + 0.6 ms) <= 1", behind, lambda value: value <= 1, max)
    report.show(
        "filters_verdicts",
        "what is promised of a filtered search",
        ["promise", "cells that keep it", "farthest", "where"],
        lines,
        f"{memory} of shared_buffers, for pgembed and pgvector alike",
    )


def limits(connection: Connection, table: Table, queries: int) -> None:
    """The same searches in memory alone, one thread, beside the time of ours inside of the server."""
    found = [cell for cell in table.cells() if cell.kind == "equality" and not cell.rows_moved]
    similar = table.queries[:queries] @ table.vectors.T
    truths = [Truth(connection, table, cell, similar) for cell in found]
    masks = [truth.passing[truth.keys[0]] for truth in truths]
    memory = filtered_peers.limits(table.vectors, table.queries[:queries], masks)
    lines: list[list[report.Cell]] = []
    for cell, truth, alone in zip(found, truths, memory["lines"], strict=True):
        asker = Asker(connection, table, cell, truth, queries)
        client = truth.measure(asker.ours(ASKED[-1]), queries)
        assert client is not None
        inside = 1000 * statistics.median(served(connection, asker, ASKED[-1]))
        before = 1000 * statistics.median(timed(connection, asker, ASKED[-1], plan_call(connection)))
        shown = [cell.shown, 100 * truth.share, asker.path(ASKED[-1]), client.recall, 1000 * client.p50, inside, before]
        lines.append([*shown, alone["faiss"], alone["numpy"], inside / alone["faiss"]])
    graph = memory["hnsw"]
    report.show(
        "filters_limits",
        f"in the server and in memory alone, one thread, ms, median; {len(table.rows):,} rows, recall {ASKED[-1]} asked for",
        [
            *("filter", "passes, %", "path", "recall@10", "client", "in the server", "of it planning"),
            *("FAISS flat, selector", "numpy, rows gathered", "server / FAISS"),
        ],
        lines,
        f"FAISS HNSW without a filter: {graph['ms']:.2f} ms at recall {graph['recall']:.3f} (efSearch {graph['ef_search']})",
    )


def growth(small: Sequence[Result], large: Sequence[Result], sizes: tuple[int, int]) -> None:
    asked = ASKED[-1]
    lines: list[list[report.Cell]] = []
    for one, other in zip(small, large, strict=True):
        few, many = one.ours[asked], other.ours[asked]
        lines.append(
            [
                other.cell.shown,
                100 * one.share,
                100 * other.share,
                one.paths[asked],
                1000 * few.p50,
                few.recall,
                other.paths[asked],
                1000 * many.p50,
                many.recall,
                many.p50 / few.p50,
            ]
        )
    rows = [f"{size:,} rows" for size in sizes]
    report.show(
        "filters_growth",
        f"growth from {rows[0]} to {rows[1]}, recall {asked} asked for",
        [
            *("filter", "passes, %", "and %", f"path at {rows[0]}", "p50, ms", "recall@10"),
            *(f"path at {rows[1]}", "p50, ms", "recall@10", "ratio"),
        ],
        lines,
        f"{sum(line[-1] <= 2 for line in lines)} of {len(lines)} grow by at most 2",
    )


def labelled(connection: Connection, table: Table, url: str, queries: int) -> None:
    """Equality against a label index of pgvectorscale's."""
    column = next(name for name, kind in table.columns.items() if kind == "text" and name in ("section", "primary_category"))
    scale = filtered_peers.vectorscale_table(url, table, column)
    similar = table.queries[:queries] @ table.vectors.T
    lines: list[list[report.Cell]] = []
    with scale:
        for cell in table.cells():
            if cell.kind != "equality" or cell.rows_moved or not cell.shown.startswith(f"{column} ="):
                continue
            truth = Truth(connection, table, cell, similar)
            value = cell.shown.split("'")[1]
            peers = filtered_peers.vectorscale(scale, table, column, value, truth, ASKED, queries)
            asker = Asker(connection, table, cell, truth, queries)
            for asked, theirs in zip(ASKED, peers, strict=True):
                ours = truth.measure(asker.ours(asked), queries)
                assert ours is not None
                ratio = theirs.p50 / ours.p50
                lines.append(
                    [
                        cell.shown,
                        100 * truth.share,
                        asked,
                        ours.recall,
                        1000 * ours.p50,
                        theirs.setting,
                        theirs.recall,
                        1000 * theirs.p50,
                        ratio,
                    ]
                )
    report.show(
        "filters_pgvectorscale",
        f"equality against pgvectorscale's label index, {len(table.rows):,} rows",
        ["filter", "passes, %", "asked", "recall@10", "p50, ms", "pgvectorscale", "its recall", "its p50, ms", "its p50 / ours"],
        lines,
        "its list and rescoring are the fastest of eight that reach the recall",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small table that is made, to see that it runs")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--queries", type=int, default=200, help="of each cell")
    parser.add_argument("--cells", default="", help="only cells with this in their names")
    parser.add_argument("--keep", action="store_true", help="keep the tables, and use them where they are there already")
    parser.add_argument("--pgvectorscale", metavar="URL", default=os.environ.get("PGVECTORSCALE_URL"), help="a server that has it")
    options = parser.parse_args()
    parts = set(options.only.split(","))
    if not parts <= set(PARTS):
        parser.error(f"--only names parts of {', '.join(PARTS)}, not {', '.join(sorted(parts - set(PARTS)))}")
    with connected(os.environ["PGEMBED_URL"]) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        knows_vectors(connection)
        if options.quick:
            measure(connection, filtered_tables.made(), "made", options, parts - {"growth", "questions"}, min(options.queries, 10))
        else:
            judged: list[tuple[str, Result]] = []
            if parts - OF_PAPERS:
                judged += measure(connection, filtered_tables.packages(), "packages", options, parts - OF_PAPERS, options.queries)
            if parts & OF_PAPERS:
                judged += measure(connection, filtered_tables.papers(PAPERS), "papers", options, parts & OF_PAPERS, options.queries)
            if judged:
                verdicts(judged, connection.execute("SHOW shared_buffers").fetchall()[0][0])


def measure(
    connection: Connection, table: Table, name: str, options: argparse.Namespace, parts: set[str], queries: int
) -> list[tuple[str, Result]]:
    """All the parts that are about this table."""
    prepared(connection, table, keep=options.keep)
    queries = min(queries, len(table.queries))
    results: list[Result] = []
    if name in parts or name == "made":
        cells = [cell for cell in table.cells() if options.cells in cell.shown]
        results = list(run(connection, table, cells, queries))
        show(name, f"{len(table.rows):,} {name}, {queries} queries", results)
    if "limits" in parts:
        limits(connection, table, queries)
    if "planning" in parts:
        planning(connection, table, queries, ASKED[-1])
    if "pgvectorscale" in parts and options.pgvectorscale:
        labelled(connection, table, options.pgvectorscale, queries)
    if "growth" in parts:
        part = table.first(PART)
        prepared(connection, part, keep=options.keep)
        pair = [list(run(connection, one, list(filtered_tables.grown_cells(one)), queries, peers=False)) for one in (part, table)]
        growth(pair[0], pair[1], (len(part.rows), len(table.rows)))
    if "questions" in parts:
        questions(connection, table, queries, ASKED)  # last: the table is calibrated anew
    if not options.keep:
        for made in (table.name, f"{table.name}_{PART}", table.beside[0]):
            connection.execute(f"DROP TABLE IF EXISTS {made} CASCADE")
    return [(name, one) for one in results]


if __name__ == "__main__":
    main()
