"""partial: whether a plan reads its table in the order of indexes that are known."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed.planner import partial
from pgembed.planner.partial import VectorIndex

ONE = VectorIndex("one", "hnsw", False, False, 100.0, None)
TWO = VectorIndex("two", "hnsw", False, False, 200.0, None)


def scan(kind: str = "Index Scan", name: str | None = "one", *below: dict[str, Any]) -> dict[str, Any]:
    return {"Node Type": kind, "Plans": list(below)} | ({} if name is None else {"Index Name": name})


def over(kind: str, *below: dict[str, Any]) -> dict[str, Any]:
    return {"Node Type": kind, "Plans": list(below)}


SUBPLAN = {"Node Type": "Seq Scan", "Parent Relationship": "SubPlan"}


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        (over("Limit", scan()), (ONE,)),
        (over("Limit", over("Merge Append", scan(), scan(name="two"))), (ONE, TWO)),
        (over("Limit", scan("Index Scan", "one", SUBPLAN)), (ONE,)),
        # not in the order of the index
        (over("Limit", over("Sort", scan())), ()),
        (over("Limit", over("Incremental Sort", scan())), ()),
        # another index, or none
        (over("Limit", scan(name="product_pkey")), ()),
        (over("Limit", over("Merge Append", scan(), scan(name="product_pkey"))), ()),
        (over("Limit", over("Merge Append", scan(), over("Sort", scan("Seq Scan", None)))), ()),
        (over("Limit", over("Nested Loop", scan(), scan("Seq Scan", None))), ()),
        # no row can pass: nothing is read
        (over("Limit", {"Node Type": "Result"}), ()),
    ],
)
def test_an_index_serves_where_the_plan_reads_all_in_its_order(tree: dict[str, Any], found: tuple[VectorIndex, ...]) -> None:
    assert partial.serving([ONE, TWO], tree) == found
