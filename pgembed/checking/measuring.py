"""measuring: how many of the rows that the exact answer has does a query return?

The query runs three times, each where nothing can be written: as it is, with ordered index scans switched off, and rewritten. Rows are
compared as they are returned, so what is different at every call, such as random(), counts as lost; of rows at one distance either may be
the last.
"""

from __future__ import annotations

import time
from collections import Counter

from pgembed.checking import plans, statements
from pgembed.checking.findings import Finding
from pgembed.checking.plans import Facts
from pgembed.checking.rewriting import Rewritten
from pgembed.checking.statements import Query
from pgembed.database import Database

# Sequential and bitmap scans, and scans of an index alone, answer exactly; all of them are allowed.
EXACTLY = {"enable_indexscan": "off", "enable_seqscan": "on", "enable_bitmapscan": "on", "enable_sort": "on"}
_DIGEST = "SELECT pg_catalog.md5((c.*)::pg_catalog.text) AS digest"


def measure(db: Database, query: Query, rewritten: Rewritten | None, facts: Facts) -> list[Finding]:
    """Recall of a query, and of its rewritten form."""
    if facts.scans and not all(scan.has_limit for scan in facts.scans):
        return [_counted(db, query)]
    exact, took = _rows(db, query, EXACTLY, "exact")
    if exact is None:
        return [Finding("measured", "no exact plan was found", "Even with ordered index scans off, PostgreSQL takes an approximate index.")]
    exist = sum(exact.values())
    found = [_said("recall of the query", _rows(db, query, {}, "as it is"), exact)]
    if rewritten is not None:
        again = Query(rewritten.text, query.types if rewritten.parameters else (), query.values if rewritten.parameters else ())
        found.append(_said("recall of the query rewritten", _rows(db, again, {}, "rewritten"), exact))
    answer = Finding(
        "measured", "the exact answer", f"{exist} row{'' if exist == 1 else 's'} in {1000 * took:.1f} ms, without ordered index scans"
    )
    return [*found, answer]


def _said(what: str, run: tuple[Counter[str] | None, float], exact: Counter[str]) -> Finding:
    rows, took = run
    rows = rows or Counter()
    exist, right, returned = sum(exact.values()), sum((rows & exact).values()), sum(rows.values())
    recall = f"{right / exist:.3f}" if exist else "1.000"
    return Finding(
        "measured",
        f"{what}: {recall}",
        f"returns {returned} row{'' if returned == 1 else 's'}, {right} of the {exist} right ones, in {1000 * took:.1f} ms",
    )


def _counted(db: Database, query: Query) -> Finding:
    """Without LIMIT the answer is all rows, so it is enough to count them."""
    numbers = []
    for settings, note in (({}, "as it is"), (EXACTLY, "exact")):
        with statements.undone(db, **settings):
            numbers.append(query.run(db, f"/* {note} */ " + query.wrapped("SELECT pg_catalog.count(*) AS n", statements.READ_ONLY))[0]["n"])
    returned, exist = numbers
    recall = returned / exist if exist else 1.0
    return Finding("measured", f"recall of the query: {recall:.3f}", f"returns {returned} of the {exist} rows that there are")


def _rows(db: Database, query: Query, settings: dict[str, str], note: str) -> tuple[Counter[str] | None, float]:
    """The rows of a query, digested, and the seconds that it took; None where settings were to keep approximate indexes out and did not."""
    # the note makes another statement of it: no plan made under other settings is taken again
    statement = f"/* {note} */ " + query.wrapped(_DIGEST, statements.READ_ONLY)
    with statements.undone(db, **settings):
        if settings:
            tree = statements.explain(db, statement, query.types, query.values)
            if plans.read(db, tree).scans:
                return None, 0.0
        started = time.perf_counter()
        rows = query.run(db, statement)
        took = time.perf_counter() - started
    return Counter(row["digest"] for row in rows), took
