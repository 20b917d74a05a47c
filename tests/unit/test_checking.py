"""checking: what is read from EXPLAIN's texts and numbers."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed.checking import findings, plans, rewriting
from pgembed.checking.plans import Facts, Index, Scan


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("(a = 1)", ["(a = 1)"]),
        ("((a = 1) AND (b = ' AND ('::text))", ["(a = 1)", "(b = ' AND ('::text)"]),
        ("((a = 1) AND ((b = 2) OR (c = 3)))", ["(a = 1)", "((b = 2) OR (c = 3))"]),
        ("((a = 1) OR ((b = 2) AND (c = 3)))", ["((a = 1) OR ((b = 2) AND (c = 3)))"]),
        ('(("x) AND (y" = 1) AND (NOT b))', ['("x) AND (y" = 1)', "(NOT b)"]),
        ("(a AND (b = 1))", ["(a AND (b = 1))"]),  # a column alone stands without parentheses: better whole than in wrong parts
    ],
)
def test_what_and_joins(text: str, parts: list[str]) -> None:
    assert plans.conjuncts(text) == parts


def test_a_bound_is_a_comparison_of_the_very_distance_with_a_number() -> None:
    distance = "(e <=> '[1,2]'::vector)"
    assert plans.split_bound(f"({distance} < '0.5'::double precision)", distance) == ("<", "'0.5'::double precision")
    assert plans.split_bound(f"({distance} <= '-1e-05'::double precision)", distance) == ("<=", "'-1e-05'::double precision")
    assert plans.split_bound(f"({distance} > '0.5'::double precision)", distance) is None
    assert plans.split_bound(f"({distance} < b)", distance) is None
    assert plans.split_bound("((e <=> '[2,1]'::vector) < '0.5'::double precision)", distance) is None


def node(rows: int, startup: float, total: float) -> dict[str, Any]:
    return {"Plan Rows": rows, "Startup Cost": startup, "Total Cost": total}


@pytest.mark.parametrize(
    ("limit", "child", "read"),
    [
        (node(10, 1184.47, 2961.28), node(1070, 651.43, 190770.11), (10, 3, True)),  # of PostgreSQL 15: LIMIT 10 OFFSET 3
        (node(10, 100, 110), node(1000, 100, 1100), (10, 0, True)),
        ({**node(10, 108, 118), "Plans": [{**node(1, 0, 8), "Parent Relationship": "InitPlan"}]}, node(1000, 100, 1100), (10, 0, True)),
        (node(100, 100, 200), node(1000, 100, 1100), (100, 0, False)),  # a tenth: may be a LIMIT that is no constant
        (node(5, 100, 1100), node(5, 100, 1100), (5, 0, False)),  # LIMIT may be more than the estimate
        (node(10, 100, 100.1), node(1000, 100, 100.5), (10, 0, False)),  # too cheap for two decimals
    ],
)
def test_limit_and_offset_are_read_from_costs(limit: Any, child: Any, read: tuple[int, int, bool]) -> None:
    assert plans._limit(limit, child) == read


def test_operators_are_not_read_in_strings() -> None:
    assert plans.operators("((e <=> '<->'::vector) + \"<#>\")") == {"<=>"}


def test_people_need_not_read_vectors() -> None:
    assert plans.shorten(f"(e <=> '[{'0.125,' * 384}1]'::vector)") == "(e <=> '[...]'::vector)"
    assert plans.shorten("(name = 'short'::text)") == "(name = 'short'::text)"
    assert len(plans.shorten("x" * 10_000)) < 300


def test_references_are_filled_only_where_they_are_known() -> None:
    known = {"Subplan Name": "InitPlan 1 (returns $0)", "Node Type": "Result", "Output": ["f('$0'::text)"]}
    assert rewriting._filled("(e <=> $0) <> '$1 (SubPlan 1)'", [known]) == "(e <=> (SELECT f('$0'::text))) <> '$1 (SubPlan 1)'"
    assert rewriting._filled("(a = $1)", [known]) is None
    assert rewriting._filled("(hashed SubPlan 2)", [known]) is None
    newer = {"Subplan Name": "InitPlan 1", "Node Type": "Result", "Output": ["1"]}
    assert rewriting._filled("(e <=> (InitPlan 1).col1)", [newer]) == "(e <=> (SELECT 1))"
    assert rewriting._filled("(e <=> $0)", [{**known, "Node Type": "Index Scan"}]) is None


SETTINGS = {
    **{"hnsw.ef_search": "40", "hnsw.iterative_scan": "off", "hnsw.max_scan_tuples": "20000", "hnsw.scan_mem_multiplier": "1"},
    **{"ivfflat.probes": "1", "ivfflat.iterative_scan": "off", "ivfflat.max_probes": "32768", "work_mem": "4096"},
}


def scan(share: float | None, k: int = 10, method: str = "hnsw", rows: float = 1e6) -> Scan:
    index = Index(1, "t", "t_e", method, "e", "e", ("<=>",), rows, False, False, False, 100, False)
    return Scan({}, index, (), True, k, 0, True, False, ("the filter",), False, False, share)


def test_limits_grow_with_what_must_be_met() -> None:
    wide, narrow = findings.limits(scan(0.5), SETTINGS), findings.limits(scan(0.001), SETTINGS)
    assert wide["hnsw.max_scan_tuples"] == "20000"  # not below pgvector's own
    assert narrow["hnsw.max_scan_tuples"] == str(2 * findings.CORRELATION * 10 * 1000)
    assert float(narrow["hnsw.scan_mem_multiplier"]) * 4096 * 1024 >= 80_000 * plans.SCAN_BYTES
    assert findings.limits(scan(None), SETTINGS)["hnsw.max_scan_tuples"] == "1000000"  # all, where nobody may say
    assert findings.limits(scan(0.5, k=5000), SETTINGS)["hnsw.ef_search"] == "1000"
    assert findings.limits(scan(0.0001, method="ivfflat"), SETTINGS)["ivfflat.probes"] == "80"


def test_every_remedy_is_a_statement_or_nothing() -> None:
    for mode in ("off", "strict_order", "relaxed_order"):
        for method in ("hnsw", "ivfflat", "diskann"):
            settings = {**SETTINGS, "hnsw.iterative_scan": mode, "ivfflat.iterative_scan": mode}
            for found in findings.judge(Facts([scan(0.0001, method=method)], [], True), settings):
                assert found.remedy is None or found.remedy.endswith(";")
                assert found.finding
                assert found.detail.endswith((".", "?"))
