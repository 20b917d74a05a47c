"""checking: can a query in plain SQL lose rows, and how does it stop doing so?

`check` takes a query as its author wrote it, asks PostgreSQL for the plan and reads that, not the text. `statements` proves that it is one
SELECT and runs it so that nothing stays of it, `plans` reads the plan, `findings` says what the plan can lose, `rewriting` gives the query
in a form that loses less, `measuring` counts what was lost. `defaults` keeps the settings of a database that plain queries need.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import errors
from pgembed.checking import findings, measuring, plans, rewriting, statements
from pgembed.checking.findings import Finding
from pgembed.database import Database


def check(db: Database, query: str | None, params: Sequence[str | None] | None, measure: bool) -> list[Finding]:
    """What the plan of a query can lose, most serious first.

    Args:
        query: one SELECT, as it would be run; a semicolon may end it.
        params: the values of $1, $2 ... as text, in order; None for an SQL NULL. None in place of the list where the query has none.
        measure: run the query too, as it is, exactly, and rewritten.
    Returns:
        Findings, then what was measured, then the query rewritten where a vector index orders its rows.
    Raises:
        errors.NullNotAllowed: query is NULL or empty.
        errors.StatementRefused: it is not one SELECT, or PostgreSQL refuses it; with PostgreSQL's SQLSTATE.
        errors.InvalidParameter: it has another number of parameters than there are values, or is to be measured and locks rows.
    """
    proven = statements.prove(db, query, params)
    with statements.undone(db):
        root = proven.explain(db)
        facts = plans.read(db, root)
        settings = plans.settings(db)
        found = findings.judge(facts, settings)
        rewritten = rewriting.rewrite(db, proven, root, facts, settings) if facts.scans else None
    if measure:
        if facts.locks:
            raise errors.InvalidParameter(
                "query locks rows, so it is not run to be measured", hint="Leave out FOR UPDATE or FOR SHARE, or measure => true."
            )
        found += measuring.measure(db, proven, rewritten, facts)
    if rewritten is not None:
        found.append(Finding("rewritten", rewritten.kind, rewritten.reason, rewritten.text))
    return found
