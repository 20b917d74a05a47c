"""filtering: what searches do under filters of different shares, made of the values that the table's own columns have."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pgembed import faults, vectors
from pgembed.columns import Column, literal
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.report.reading import Plain, Sample

K = 10
# Shares that are looked for, and how far off a filter may be, as a factor.
SHARES = (0.7, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.004, 0.001)
FAR = 2.5
QUERIES = 5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Filtered:
    """A search under a filter.

    Attributes:
        share: of the sample's rows; estimated: of the table's, by PostgreSQL.
        path, reason: what the planner chose, and why, as explain_search says; None where it could not be asked.
        predicted: its own figures for the paths it weighed, as text.
        milliseconds: measured, the median; recall: found, of what an exact search finds.
    """

    filter: str
    share: float
    path: str | None = None
    reason: str = ""
    estimated: str = ""
    predicted: str = ""
    milliseconds: float | None = None
    recall: float | None = None


def candidates(sample: Sample, known: list[Plain]) -> list[tuple[str, float]]:
    """Filters over single columns, and the share of the sample's rows that pass each; at most one for each of SHARES."""
    found: list[tuple[str, float, bool]] = []
    n = max(1, len(sample))
    for plain in known:
        values = sample.values.get(plain.name, [])
        there = [value for value in values if value is not None]
        if not there:
            continue
        common = Counter(there).most_common(30)
        if plain.kind in ("text", "enum", "boolean"):
            # of a column in which nearly every row has a value of its own nobody takes one
            if len(set(there)) > 0.5 * len(there) and len(there) > 20:
                continue
            cut = plain.type in ("text", "varchar", "bpchar") and any(len(str(value)) >= 80 for value, _ in common)
            if not cut:
                found += [(f"{plain.sql} = {literal(str(value))}", count / n, True) for value, count in common]
        elif plain.kind == "number" and plain.type != "oid":
            ordered = sorted(there)
            for share in SHARES:
                edge = ordered[min(len(ordered) - 1, int(share * len(ordered)))]
                passing = sum(value <= edge for value in ordered) / n
                found.append((f"{plain.sql} <= {edge:.17g}", passing, False))
    made: list[tuple[str, float]] = []
    for share in SHARES:
        near = [one for one in found if one[1] > 0 and 1 / FAR < one[1] / share < FAR and one[1] < 1 and (one[0], one[1]) not in made]
        if near:
            # values that rows have in common are filters as people write them; ranges come second
            best = min(near, key=lambda one: (not one[2], abs(one[1] / share - 1) if one[1] > share else abs(share / one[1] - 1)))
            made.append((best[0], best[1]))
    return sorted(made, key=lambda one: -one[1])


def measure(
    db: PsycopgDatabase, column: Column, sample: Sample, known: list[Plain], seconds: float, say: Say
) -> tuple[list[Filtered], list[str]]:
    """What the planner chooses under each filter, and what it takes.

    Returns:
        By share, descending; and what could not be measured, each in a sentence.
    """
    end = time.monotonic() + seconds
    made: list[Filtered] = []
    missing: list[str] = []
    texts = [vectors.to_text(one) for one in sample.vectors[:: max(1, len(sample) // QUERIES)][:QUERIES]]
    for condition, share in candidates(sample, known):
        told = {}
        try:
            told = _explained(db, column, texts[0], condition)
        except Exception as error:
            if db.connection.closed:
                raise
            missing.append(f"{condition}: {faults.said(error)}.")
            continue
        milliseconds = recall = None
        if time.monotonic() > end:
            missing.append(f"{condition}: planned, not run, for the time was over.")
        elif column.table.keys:
            milliseconds, recall = _run(db, column, texts, condition)
        made.append(
            Filtered(
                filter=condition,
                share=share,
                path=told.get("path"),
                reason=told.get("reason", ""),
                estimated=told.get("estimated rows", ""),
                predicted=told.get("options", ""),
                milliseconds=milliseconds,
                recall=recall,
            )
        )
        say(f"searched under {len(made)} filters")
    return made, missing


def _explained(db: PsycopgDatabase, column: Column, text: str, condition: str) -> dict[str, str]:
    rows = db.execute(
        f"SELECT e.property, e.value FROM pgembed.explain_search(NULL::{column.table.sql}, $1, {K}, $2, NULL, $3, execute => false) AS e",
        [f"{column.vector_schema}.vector", "pg_catalog.text", "pg_catalog.name"],
        [text, condition, column.name],
    )
    return {str(row["property"]): str(row["value"]) for row in rows}


def _run(db: PsycopgDatabase, column: Column, texts: list[str], condition: str) -> tuple[float | None, float | None]:
    """Median milliseconds, and the share of what an exact search finds."""
    took, recalls = [], []
    statement = f"SELECT s.key AS k, s.distance AS d FROM pgembed.search_keys($1, $2, {K}, $3, column_name => $4, exact => $5) AS s"
    kinds = ["pg_catalog.regclass", f"{column.vector_schema}.vector", "pg_catalog.text", "pg_catalog.name", "pg_catalog.bool"]
    for number, text in enumerate(texts):
        values = [str(column.table.oid), text, condition, column.name]
        if number == 0:
            db.execute(statement, kinds, [*values, False])
        before = time.perf_counter()
        found = db.execute(statement, kinds, [*values, False])
        took.append(1000 * (time.perf_counter() - before))
        true = db.execute(statement, kinds, [*values, True])
        if true:
            last = float(true[-1]["d"]) + 2e-6
            recalls.append(min(1.0, sum(float(row["d"]) <= last for row in found) / len(true)))
    return (statistics.median(took) if took else None, statistics.fmean(recalls) if recalls else None)
