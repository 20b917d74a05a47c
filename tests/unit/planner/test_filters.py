"""filters: what is proven before it is explained, and what PostgreSQL's plan says of it."""

from __future__ import annotations

from typing import Any

import pytest
from planned import HELD, TABLE, Listed, code

from pgembed import errors
from pgembed.planner import filters


def test_a_filter_is_prepared_bare_and_in_parentheses() -> None:
    db = Listed()
    assert filters.proven(db, TABLE, "a -- b") == "(a -- b\n)"
    assert [statement.partition(" WHERE ")[2] for statement in db.prepared] == ["a -- b", "(a -- b\n)"]
    assert db.executed == []


def test_a_refused_filter_keeps_its_sqlstate() -> None:
    with pytest.raises(errors.StatementRefused) as caught:
        filters.proven(Listed(refuses="WHERE (nonsense"), TABLE, "nonsense")
    assert caught.value.sqlstate == "42601"
    assert caught.value.message == "filter is not a boolean expression over product: syntax error"
    assert "what stands after WHERE" in str(caught.value.hint)


@pytest.mark.parametrize("condition", [None, "", "  \n"])
def test_no_filter_passes_every_row(condition: str | None) -> None:
    assert filters.proven(Listed(), TABLE, condition) == "true"


def test_what_was_proven_is_known_again_while_backslashes_mean_the_same() -> None:
    db = Listed()
    for strings in ("on", "on", "off", None, None):
        filters.proven(db, TABLE, "known = 'again'", strings=strings)
    assert len(db.prepared) == 2 * 4


def test_a_refused_filter_is_not_remembered() -> None:
    for _ in range(2):
        with pytest.raises(errors.StatementRefused):
            filters.proven(Listed(refuses="never"), TABLE, "never", strings="on")


def scan(kind: str, rows: float = 50, alias: str = "product", **more: Any) -> dict[str, Any]:
    return {"Node Type": kind, "Alias": alias, "Plan Rows": rows, **more}


def over(kind: str, *below: dict[str, Any], rows: float = 50, **more: Any) -> dict[str, Any]:
    return {"Node Type": kind, "Plan Rows": rows, "Plans": list(below), **more}


CONDITION = {"Index Cond": "..."}


@pytest.mark.parametrize(
    ("plan", "covered", "scanned"),
    [
        (scan("Seq Scan"), False, HELD),
        (scan("Index Scan", **CONDITION), False, 50),
        (scan("Index Only Scan", **CONDITION), True, 50),
        # no condition: the whole index is read for a filter
        (scan("Index Only Scan"), True, HELD),
        (over("Append", scan("Index Only Scan", 20, "product_1", **CONDITION), scan("Seq Scan", 30, "product_2")), False, HELD),
        (
            over("Append", scan("Index Only Scan", 20, "product_1", **CONDITION), scan("Index Only Scan", 30, "product_2", **CONDITION)),
            True,
            50,
        ),
        # another table's alias may begin like the table's own
        (over("Nested Loop", scan("Index Only Scan", **CONDITION), scan("Seq Scan", 9e6, "product_kind")), True, 50),
        # what a subquery reads is not what passes
        (scan("Index Scan", Plans=[scan("Seq Scan", 9e6, **{"Parent Relationship": "SubPlan"})], **CONDITION), False, 50),
    ],
)
def test_what_is_read_is_seen_in_the_plan(plan: dict[str, Any], covered: bool, scanned: float) -> None:
    found = filters.estimate(Listed(plan=plan), TABLE, "(x)", None, held=HELD)
    assert (found.rows, found.share, found.covered, found.scanned) == (50, 50 / HELD, covered, scanned)


def test_codes_are_read_with_the_rows_so_that_a_covering_index_shows() -> None:
    db = Listed()
    filters.estimate(db, TABLE, "(x)", '{"a": 1}', held=HELD, code=code())
    assert db.executed == [
        'EXPLAIN (FORMAT JSON) SELECT "product"."id", "product"."bits" FROM "public"."product" AS "product"'
        ' WHERE (x) AND "product"."bits" IS NOT NULL'
    ]
    assert db.values == [['{"a": 1}']]
