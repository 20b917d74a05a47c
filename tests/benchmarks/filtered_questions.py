"""What it is worth to give `calibrate` questions that people asked, instead of those that it makes up of the rows.

The questions that are given are none of those that are asked here. pgvector's ef_search is tuned on the very questions that are asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import report
from filtered_runs import Asker, Connection, Truth, sent
from filtered_tables import Cell, Table

ASKED_BEFORE = "bench_asked"


def questions(connection: Connection, table: Table, queries: int, recalls: Sequence[float]) -> None:
    """Where a graph may serve: no filter, and filters that half of the rows or more pass."""
    similar = table.queries[:queries] @ table.vectors.T
    askers: list[tuple[Cell, Asker, Truth]] = []
    for cell in table.cells():
        truth = Truth(connection, table, cell, similar)
        if truth.share >= 0.2 and not cell.rows_moved:
            askers.append((cell, Asker(connection, table, cell, truth, queries), truth))
    found = {}
    for given in (False, True):
        if given:
            give(connection, table, queries)
        for place, (_, asker, truth) in enumerate(askers):
            for recall in recalls:
                found[given, place, recall] = (truth.measure(asker.ours(recall), queries), asker.path(recall))
    lines: list[list[report.Cell]] = []
    for place, (cell, asker, truth) in enumerate(askers):
        for recall, theirs in zip(recalls, asker.pgvector(recalls), strict=True):
            line: list[report.Cell] = [cell.shown, 100 * truth.share, recall]
            for given in (False, True):
                ours, path = found[given, place, recall]
                assert ours is not None
                line += [path, ours.recall, 1000 * ours.p50]
            lines.append([*line, theirs.setting, theirs.recall, 1000 * theirs.p50])
        asker.reset()
    report.show(
        "filters_questions",
        f"calibrated with questions that it makes up, and with {len(table.queries) - queries:,} others of the kind that is asked",
        [
            *("filter", "passes, %", "asked", "made up: path", "recall@10", "p50, ms", "given: path", "recall@10", "p50, ms"),
            *("pgvector, tuned on those that are asked", "its recall", "its p50, ms"),
        ],
        lines,
        f"{len(table.rows):,} rows",
    )


def give(connection: Connection, table: Table, queries: int) -> None:
    """Calibrate with all questions but the first ones."""
    dim = table.queries.shape[1]
    connection.execute(f"DROP TABLE IF EXISTS {ASKED_BEFORE}")
    connection.execute(f"CREATE TABLE {ASKED_BEFORE} (question vector({dim}))")
    with connection.cursor().copy(f"COPY {ASKED_BEFORE} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["bytea"])
        for row in table.queries[queries:]:
            copy.write_row((bytes(sent(row)),))
    connection.execute(f"CALL pgembed.calibrate('{table.name}', queries => '{ASKED_BEFORE}', queries_column => 'question')")
    connection.execute(f"DROP TABLE {ASKED_BEFORE}")
