"""How an index is built while its table is used."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed import indexing


class Set:
    """A server on which four processes may help to build an index."""

    def execute(self, statement: str) -> list[Any]:
        assert "max_parallel_maintenance_workers" in statement
        return [{"now": "4"}]


@pytest.mark.parametrize(
    ("rows", "workers"),
    [(0, "0"), (20_000, "0"), (indexing.ALONE_BELOW - 1, "0"), (indexing.ALONE_BELOW, "4"), (-1, "4")],
    ids=["none", "few", "one less", "as many", "not counted yet"],
)
def test_a_short_build_leaves_the_other_cores_to_those_who_search(rows: float, workers: str) -> None:
    db: Any = Set()
    assert indexing.workers(db, rows) == workers
