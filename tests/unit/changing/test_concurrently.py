"""Waiting for a worker's index: a call goes on when it is built, waits while it is, and gives up where nobody begins."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from pgembed import columns
from pgembed.changing import concurrently

TABLE = columns.Table(oid=7, schema="s", name="t", relkind="r", owner="o", may_own=True, keys=())


class Fake:
    """Says whether workers are alive, and from look to look whether one builds."""

    def __init__(self, alive: bool, building: list[bool]) -> None:
        self.alive, self.building = alive, building
        self.rung = self.commits = 0

    def execute(self, statement: str, types: Any = (), values: Any = (), *, keep: bool = False) -> Any:
        if "_wake_workers" in statement:
            self.rung += 1
        if "pg_locks" in statement:
            return [{"yes": self.building.pop(0) if self.building else False}]
        return [{"yes": self.alive}]

    def commit(self) -> bool:
        self.commits += 1
        return True

    def subtransaction(self) -> Any:
        return nullcontext()

    def check_interrupts(self) -> None:
        pass


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time goes by only while somebody sleeps."""
    now = [0.0]
    monkeypatch.setattr(concurrently.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(concurrently.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_without_a_worker_nothing_is_waited_for(clock: list[float]) -> None:
    assert concurrently.by_worker(Fake(False, []), TABLE, lambda: True) is None
    partitioned = columns.Table(oid=7, schema="s", name="t", relkind="p", owner="o", may_own=True, keys=())
    assert concurrently.by_worker(Fake(True, []), partitioned, lambda: True) is None
    assert clock == [0.0]


def test_an_index_that_is_being_built_is_waited_for_as_long_as_it_takes(clock: list[float]) -> None:
    db = Fake(True, [False, False, *[True] * 1000])
    built = iter([True, True, False])
    assert concurrently.by_worker(db, TABLE, lambda: next(built)) is True
    assert clock[0] > 6 * concurrently.PATIENCE_SECONDS
    assert db.rung == 2
    assert db.commits == 1002  # a transaction that is left open would be waited for


def test_where_nobody_begins_it_is_given_up(clock: list[float]) -> None:
    db = Fake(True, [])
    assert concurrently.by_worker(db, TABLE, lambda: True) is False
    assert clock[0] == pytest.approx(concurrently.PATIENCE_SECONDS, abs=1)
