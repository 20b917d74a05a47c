"""trees: what is read from a plan that was run."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed.planner import trees
from pgembed.planner.trees import Scan


def node(kind: str, took: float = 0.0, rows: int = 0, *below: dict[str, Any], loops: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "Node Type": kind,
        "Actual Total Time": took,
        "Actual Rows": rows,
        "Actual Loops": loops,
        "Parent Relationship": "Outer",
        "Plans": list(below),
        **more,
    }


def scan(index: str, took: float = 0.0, rows: int = 0, **more: Any) -> dict[str, Any]:
    return node("Index Scan", took, rows, **{"Relation Name": "t", "Index Name": index, **more})


COVERING = node(
    "WindowAgg", 9.0, 10,
    node("Nested Loop", 8.5, 10,
        node("Limit", 8.0, 10, node("Nested Loop", 7.9, 100,
            node("Limit", 5.0, 100, node("Index Only Scan", 4.0, 990, **{
                "Relation Name": "t", "Index Name": "t_covering", "Heap Fetches": 7, "Rows Removed by Filter": 10,
            }), node("Limit", 1.0, 5, scan("other_pkey", 0.5, 5, **{"Relation Name": "other"}), **{"Parent Relationship": "SubPlan"})),
            scan("t_pkey", 0.02, 1, loops=100),
        )),
        scan("t_pkey", 0.01, 1, loops=10),
    ),
)  # fmt: skip


def graph(kind: str, enough: bool) -> dict[str, Any]:
    counted = node("Aggregate", 3.0, 1, node("CTE Scan", 3.0, 50, **{"CTE Name": "pgembed nearest"}), **{"Parent Relationship": "InitPlan"})
    best = node("Limit", 3.5, 10, counted, node("CTE Scan", 0.1, 50, **{"CTE Name": "pgembed nearest"}))
    rest = node("Result", 0.0 if enough else 20.0, 0, node("Limit", 19.0, 10, scan("t_filter", 18.0, 400, loops=0 if enough else 1)))
    for branch in (best, rest):
        branch["Parent Relationship"] = "Member"
    nearest = node("Limit", 3.0, 50 if enough else 12, scan("t_hnsw", 3.0, 50, **{"Rows Removed by Filter": 70}))
    nearest |= {"Parent Relationship": "InitPlan", "Subplan Name": "CTE pgembed nearest"}
    return node("Sort", 30.0, 10, nearest, node("Nested Loop", 29.0, 10, node(kind, 23.5 if not enough else 3.5, 10, best, rest)))


def test_rows_that_were_read_are_those_that_passed_and_those_that_did_not() -> None:
    assert trees.scans(COVERING) == [
        Scan("t", "Index Only Scan", "t_covering", 1000, 7),
        Scan("other", "Index Scan", "other_pkey", 5, None),
        Scan("t", "Index Scan", "t_pkey", 110, None),
    ]


def test_what_never_ran_is_left_out() -> None:
    assert [one.index for one in trees.scans(graph("Append", True))] == ["t_hnsw"]
    assert [(one.index, one.rows) for one in trees.scans(graph("Append", False))] == [("t_hnsw", 120), ("t_filter", 400)]


def test_a_bitmap_scan_names_its_indexes() -> None:
    bitmaps = [node("Bitmap Index Scan", **{"Index Name": name}) for name in ("t_a", "t_b")]
    top = node(
        "Bitmap Heap Scan", 1.0, 5, node("BitmapAnd", 0.0, 0, *bitmaps), **{"Relation Name": "t", "Rows Removed by Index Recheck": 2}
    )
    assert trees.scans(top) == [Scan("t", "Bitmap Heap Scan", "t_a and t_b", 7, None)]


def test_steps_of_codes_are_candidates_ranking_and_rows() -> None:
    assert trees.steps(COVERING) == [("candidates", 5.0), ("ranking", 3.0), ("fetching rows", 1.0)]


def test_steps_of_an_exact_search_are_comparing_and_rows() -> None:
    assert trees.steps(node("Sort", 5.0, 10, node("Limit", 4.0, 10))) == [("comparing", 4.0), ("fetching rows", 1.0)]


@pytest.mark.parametrize("kind", ["Append", "Merge Append"])
def test_a_graph_that_gave_enough_is_all_there_was(kind: str) -> None:
    top = graph(kind, True)
    assert trees.went_on(top) is None
    assert trees.steps(top) == [("candidates", 3.0), ("ranking", 0.5), ("fetching rows", 26.5)]


@pytest.mark.parametrize("kind", ["Append", "Merge Append"])
def test_where_a_graph_gave_too_few_the_safe_path_is_a_step(kind: str) -> None:
    top = graph(kind, False)
    assert trees.went_on(top) == 12
    assert trees.steps(top) == [("candidates", 3.0), ("ranking", 0.5), ("safe path", 20.0), ("fetching rows", 6.5)]


def test_a_plan_of_another_shape_has_no_steps() -> None:
    assert trees.steps(node("Sort", 5.0, 10)) == []
    assert trees.went_on(node("Sort", 5.0, 10)) is None


def test_the_partitions_of_a_table_are_no_union_of_ours() -> None:
    parts = [scan(name, 1.0, 5) | {"Parent Relationship": "Member"} for name in ("a_idx", "b_idx")]
    assert trees.went_on(node("Limit", 4.0, 10, node("Append", 3.0, 10, *parts))) is None


def test_pages_are_those_of_the_whole_statement() -> None:
    assert trees.buffers({"Shared Hit Blocks": 7, "Shared Read Blocks": 2}) == (7, 2)
