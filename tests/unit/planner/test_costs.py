"""Costs: fitted to times that were made of known constants, and read back."""

from __future__ import annotations

import random

import pytest

from pgembed.planner import costs
from pgembed.planner.contract import Estimate
from pgembed.planner.costs import Costs, Run

TRUE = Costs(
    statement=0.05,
    heap_row=0.0008,
    seen_row=0.0003,
    compare=0.0006,
    index_row=0.0001,
    code_row=0.00032,
    rescore=0.005,
    graph=0.9,
    graph_row=0.04,
    graph_next_row=0.09,
    code_graph_row=0.02,
    code_graph_next_row=0.03,
)


def estimate(rows: float, scanned: float, covered: bool) -> Estimate:
    return Estimate(rows, rows / 60_000, 0.0, covered, scanned, "")


def runs(of: Costs) -> list[Run]:
    made = [Run("exact", 0, 0, 0, 0, 0, False, of.statement)]
    for rows, scanned in ((0, 60_000), (60_000, 60_000), (6_000, 6_000), (600, 600), (3_000, 3_000)):
        made.append(Run("exact", rows, scanned, 0, 0, 0, False, of.exact(estimate(rows, scanned, False), toasted=False)))
    for rows in (60_000, 6_000, 600):
        made += [Run("covering", rows, rows, n, 0, 0, True, of.codes(estimate(rows, rows, True), n)) for n in (20, 400)]
    for size in (40, 200, 800):
        for share in (1.0, 0.05):
            beyond = max(0.0, 40 / share - size)
            made.append(Run("index", 60_000 * share, 0, 40, size, beyond, False, of.over_graph(40, size, share)))
            over = of.over_code_graph(40, size, share, estimate(60_000 * share, 0, False))
            made.append(Run("code", 60_000 * share, 0, 40, size, beyond, False, over))
    return made


def test_constants_come_back_from_times_made_of_them() -> None:
    found = costs.fit(runs(TRUE), toasted=False)
    assert found.statement == pytest.approx(TRUE.statement)
    assert found.seen_row == pytest.approx(TRUE.seen_row, rel=0.01)
    assert found.heap_row + found.compare == pytest.approx(TRUE.heap_row + TRUE.compare, rel=0.01)
    assert found.index_row + found.code_row == pytest.approx(TRUE.index_row + TRUE.code_row, rel=0.01)
    for name in ("rescore", "graph", "graph_row", "graph_next_row", "code_graph_row", "code_graph_next_row"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.01), name


def test_one_run_in_six_may_be_disturbed() -> None:
    given = runs(TRUE)
    covering = [run for run in given if run.path == "covering"]
    slow = covering[3]
    disturbed = [Run(*{**run.__dict__, "milliseconds": run.milliseconds * 9}.values()) if run is slow else run for run in given]
    found = costs.fit(disturbed, toasted=False)
    assert found.rescore == pytest.approx(TRUE.rescore, rel=0.05)
    assert found.index_row + found.code_row == pytest.approx(TRUE.index_row + TRUE.code_row, rel=0.05)


def test_noise_makes_no_constant_negative() -> None:
    chance = random.Random(2)
    for _ in range(20):
        noisy = [Run(*{**run.__dict__, "milliseconds": run.milliseconds * chance.uniform(0.6, 1.8)}.values()) for run in runs(TRUE)]
        found = costs.fit(noisy, toasted=False)
        assert all(value > 0 for value in found.__dict__.values())
        ours = found.codes(estimate(6_000, 6_000, True), 100)
        assert ours == pytest.approx(TRUE.codes(estimate(6_000, 6_000, True), 100), rel=0.8)


def test_what_was_not_run_is_the_default_times_the_speed_of_the_rest() -> None:
    default = Costs()
    slower = Costs(**{name: 3 * value for name, value in default.__dict__.items()})
    found = costs.fit([run for run in runs(slower) if run.path == "exact"], toasted=False)
    assert found.graph_row == pytest.approx(3 * default.graph_row, rel=0.01)
    assert found.rescore == pytest.approx(3 * default.rescore, rel=0.01)
    assert costs.fit([], toasted=False).graph_row == default.graph_row


def test_kept_constants_are_read_back_and_nonsense_is_not() -> None:
    again = costs.load(costs.kept(TRUE))
    assert again.__dict__ == pytest.approx(TRUE.__dict__, rel=0.01)
    assert costs.load(None) == Costs()
    assert costs.load({"graph": -1, "rescore": "x", "other": 4, "compare": True, "statement": 1e9}) == Costs()


def test_a_scan_that_goes_on_costs_more_than_one_that_need_not() -> None:
    assert TRUE.over_graph(10, 200, 1.0) < TRUE.over_graph(10, 200, 0.01)
    assert TRUE.over_graph(10, 200, 0.01) == pytest.approx(0.05 + 0.9 + 200 * 0.04 + 800 * 0.09)
