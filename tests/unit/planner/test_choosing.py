"""choosing: the cheapest way that keeps the promise, and what a wrong choice can cost."""

from __future__ import annotations

import dataclasses

import pytest
from planned import COLUMN, HELD, Listed, code, estimate, facts, request

from pgembed.planner import choosing, coded, overfetch, probing
from pgembed.planner.contract import Option
from pgembed.planner.costs import Costs
from pgembed.planner.curves import Point, Points
from pgembed.planner.facts import Facts
from pgembed.planner.partial import VectorIndex

BARE = dataclasses.replace(COLUMN, index_name=None, index_method=None)


def find(found: list[Option], path: str) -> Option:
    return next(option for option in found if option.path == path)


def test_paths_come_cheapest_first_and_the_safe_one_is_the_first_that_reads_no_graph() -> None:
    found = choosing.options(facts(code=code()), request(), estimate(2e4, covered=True))
    assert {option.path for option in found} == {"exact", "covering", "code", "index"}
    assert choosing.safe(found).path == "covering"
    weights = [option.milliseconds * (choosing.BAND if option.setting.ef_search else 1) for option in found]
    assert weights == sorted(weights)


@pytest.mark.parametrize("changes", [{"exact": True}, {"recall": 1.0}, {"k": None, "max_distance": 0.3}])
def test_what_only_comparing_all_can_keep_has_one_way(changes: dict[str, object]) -> None:
    found = choosing.options(facts(code=code()), request(**changes), estimate(2e4, covered=True))
    assert [option.path for option in found] == ["exact"]


def test_in_the_band_where_both_cost_the_same_the_safe_way_is_taken() -> None:
    graph = find(choosing.options(facts(), request(), estimate(HELD)), "index").milliseconds
    costs = facts().costs
    for factor, path in ((1.2, "exact"), (1.4, "index")):
        each = (graph * factor - costs.statement) / HELD
        known = facts(costs=dataclasses.replace(costs, heap_row=each, compare=0.0, seen_row=0.0))
        assert choosing.options(known, request(), estimate(HELD))[0].path == path
        # and where half as many may pass, it costs half
        assert choosing.options(known, request(), estimate(HELD), trust=0.5)[0].path == "exact"


def test_the_denser_the_query_lies_among_passing_rows_the_cheaper_is_a_graph() -> None:
    known, asked, found = facts(), request(filter="x"), estimate(3e4)
    costs = [find(choosing.options(known, asked, found, share), "index").milliseconds for share in (0.9, 0.1, 0.01, 0.001, 0.0)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-2] / 10
    assert choosing.options(known, asked, found, 0.0)[0].path == "exact"


def test_a_filter_takes_more_candidates_than_results_because_a_scan_that_goes_on_is_not_in_order() -> None:
    for share, recall, number in ((1.0, 0.98, 10), (0.2, 0.98, 20), (0.2, 0.99, 30)):
        found = choosing.options(facts(), request(recall=recall), estimate(HELD * share))
        assert find(found, "index").setting.candidates == number


def test_a_graph_is_read_no_further_than_what_is_safe_costs_nor_several_times_as_far_as_expected() -> None:
    known = facts()
    for rows, share in ((3e4, 0.03), (3e5, 0.3), (HELD, 1.0), (3e5, 0.01), (500, 0.0005)):
        found = choosing.options(known, request(filter="x"), estimate(rows), share)
        graph, least = find(found, "index"), choosing.safe(found).milliseconds
        needed = overfetch.rows_until(graph.setting.candidates, share, choosing.CERTAINTY)
        assert needed is not None
        expected = max(needed, graph.setting.ef_search or 0)
        assert graph.max_scan_tuples is not None
        rows_at_most = graph.max_scan_tuples / choosing.COMPARED_PER_ROW
        assert rows_at_most <= choosing.PATIENCE * expected + 1
        assert rows_at_most <= choosing.MOST_TUPLES
        if found[0] is graph:
            assert rows_at_most * known.costs.graph_row <= max(least, expected * known.costs.graph_row) * 1.01
            # and it is enough as a rule
            assert rows_at_most >= min(expected, choosing.MOST_TUPLES / choosing.COMPARED_PER_ROW) - 1


def actual(option: Option, known: Facts, rows: float, share: float, safe: Option) -> float:
    """What an option would cost if these were the truth: a graph that is left early goes on by the safe way."""
    costs = known.costs
    exact = costs.exact(estimate(rows), toasted=False)
    if option.path == "exact":
        return exact
    assert option.max_scan_tuples is not None
    needed = option.setting.candidates / max(share, 1e-9)
    read = min(needed, option.max_scan_tuples / choosing.COMPARED_PER_ROW)
    graph = costs.over_graph(round(read), option.setting.ef_search or 0, 1.0)
    return graph + (exact if needed > read or rows < option.setting.candidates else 0.0)


@pytest.mark.parametrize("rows", [300, 3_000, 30_000, 300_000, 900_000])
@pytest.mark.parametrize("wrong", [0.1, 0.3, 1, 3, 10])
@pytest.mark.parametrize("around", [0.02, 0.2, 1.0, 4.0])
def test_estimates_that_are_ten_times_wrong_cost_about_twice_the_safe_way(rows: float, wrong: float, around: float) -> None:
    """``rows`` pass, ``wrong`` times as many are estimated, and ``around`` the query so many times as many pass as elsewhere."""
    known, share = facts(), min(1.0, rows / HELD * around)
    guessed = estimate(min(HELD, rows * wrong))
    db = Listed(passed=round(48 * share))
    db.drawn = round(100 * rows / HELD)
    choice = choosing.choose(db, known, request(filter="x"), "(x)", dataclasses.replace(guessed, scanned=guessed.rows))
    chosen, safe = choice.options[0], choosing.safe(choice.options)
    spent = actual(chosen, known, rows, share, safe) + (probing.cost(known) if choice.local else 0.0)
    # a graph's first scan costs what it costs, however few rows pass in truth
    floor = known.costs.over_graph(0, chosen.setting.ef_search or 0, 1.0)
    assert spent <= 2.2 * max(known.costs.exact(estimate(rows), toasted=False), floor) + probing.cost(known)


def test_a_probe_is_made_only_where_it_can_pay() -> None:
    def probed(rows: float, known: Facts | None = None, scanned: float | None = None, **changes: object) -> bool:
        db = Listed()
        choosing.choose(db, known or facts(), request(**{"filter": "x", **changes}), "(x)", estimate(rows, scanned=scanned))
        return any("AS looked" in statement for statement in db.executed)

    assert probed(1e5)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coded, "asked", lambda *_: coded.Asked("0101", "1111"))
        assert probed(1e5, facts(BARE, code=code()))
    assert not probed(1e5, filter=None)
    assert not probed(95e4), "nearly all rows pass"
    assert not probed(3e3), "comparing them all takes no longer"
    assert probed(3e3, scanned=HELD), "but finding them does"
    assert not probed(1e5, path="index")
    assert not probed(1e5, exact=True)
    assert not probed(1e5, recall=1.0)
    assert not probed(1e5, k=None, max_distance=1.0)
    assert not probed(1e5, k=5000), "no graph gives so many"
    assert not probed(1e5, facts(BARE, indexes=())), "there is no graph"
    assert not probed(1e5, facts(costs=Costs(graph_row=1.0))), "a graph is never cheaper here"


@pytest.mark.parametrize(("passed", "path"), [(48, "index"), (24, "index"), (0, "exact")])
def test_the_choice_follows_the_neighbours_where_estimate_and_neighbours_disagree(passed: int, path: str) -> None:
    """A tenth of a million rows is estimated, and around the query all pass, or none."""
    db = Listed(passed=passed)
    choice = choosing.choose(db, facts(), request(filter="x", recall=0.95), "(x)", estimate(2e4))
    assert choice.local is not None
    assert (choice.local.looked, choice.local.passed) == (48, passed)
    assert choice.options[0].path == path


def test_rows_drawn_at_random_tell_an_estimate_that_is_wrong_from_a_query_that_lies_apart() -> None:
    """Three tenths are estimated, and no neighbour passes."""
    paths = []
    for drawn in (30, 2):
        db = Listed(passed=0)
        db.drawn = drawn
        choice = choosing.choose(db, facts(), request(filter="x"), "(x)", estimate(3e5))
        assert choice.local is not None
        assert choice.local.doubtful
        assert sum("TABLESAMPLE SYSTEM ($2)" in statement for statement in db.executed) == 1
        paths.append(choice.options[0].path)
    assert paths == ["index", "exact"]


PART = VectorIndex("product_part_idx", "hnsw", False, False, 20_000, None)
SCAN = {"Node Type": "Index Scan", "Alias": "product", "Index Name": "product_part_idx", "Plan Rows": 10}


def test_a_partial_index_that_has_the_rows_is_one_way_more_and_nothing_is_probed() -> None:
    db = Listed(plan={"Node Type": "Limit", "Plans": [SCAN]})
    known = facts(indexes=(*facts().indexes, PART))
    choice = choosing.choose(db, known, request(filter="x"), "(x)", estimate(2e4))
    partial = choice.options[0]
    assert (partial.path, partial.index_name, partial.on_codes) == ("partial", "product_part_idx", False)
    # all that it has pass
    assert partial.milliseconds == find(choosing.options(known, request(), estimate(HELD)), "index").milliseconds
    assert not any("AS looked" in statement for statement in db.executed)


def test_a_partial_index_is_not_asked_for_where_comparing_all_takes_no_longer() -> None:
    db = Listed(plan={"Node Type": "Limit", "Plans": [SCAN]})
    known = facts(indexes=(*facts().indexes, PART))
    choice = choosing.choose(db, known, request(filter="x"), "(x)", estimate(200))
    assert choice.options[0].path == "exact"
    assert db.executed == []


def test_a_partial_index_on_codes_is_one_way_more() -> None:
    index = dataclasses.replace(PART, name="product_bits_part", on_codes=True)
    found = choosing.options(facts(BARE, code=code(index_name=None)), request(), estimate(2e4), serving=[index])
    assert (found[0].path, found[0].on_codes, found[0].setting.candidates) == ("partial", True, 50)


def test_other_questions_and_filters_than_those_measured_may_be_harder() -> None:
    """Of 20, 40, ... candidates the first miss .05 for sure, the others less and less: which is needed depends on what may be different."""
    missed = ((20, 0.05), (40, 0.05 / 2.6), (80, 0.05 / 3.1), (160, 0.05 / 5.1))
    points = Points(
        Point(path, share, 10, number, ef_search, 1 - part, 1 - part, None, 100, "none")
        for share in (1.0, 0.2)
        for path, ef_search in (("covering", None), ("index", 400))
        for number, part in missed
    )
    known = facts(points=points, code=code(), indexes=facts().indexes)
    for rows, path, low, high in ((HELD, "index", 20, 40), (HELD * 0.2, "index", 40, 80), (HELD * 0.2, "covering", 80, 160)):
        found = find(choosing.options(known, request(recall=0.95), estimate(rows, covered=True)), path)
        assert low < found.setting.candidates <= high


def test_what_is_not_certain_and_what_may_be_harder_are_not_paid_for_twice() -> None:
    unsure = Points([Point("index", 1.0, 10, 10, 100, 0.97, 0.951, None, 100, "none")])
    assert unsure.cheapest("index", 0.95, 1.0, 1.6) == (10, 100)
    assert unsure.cheapest("index", 0.95, 1.0, 1.7) is None
    assert unsure.cheapest("index", 0.952, 1.0) is None


def test_questions_that_people_gave_need_less_to_spare() -> None:
    """Of a hundred results twice three are missed at most, not two and a half times as many."""
    made_up = Points([Point("index", 1.0, 10, 10, 100, 0.97, 0.965, None, 100, "none")])
    given = Points([Point("index", 1.0, 10, 10, 100, 0.97, 0.965, None, 100, "none", given=True)])
    unsure = Points([Point("index", 1.0, 10, 10, 100, 0.99, 0.93, None, 20, "none", given=True)])
    assert made_up.cheapest("index", 0.93, 1.0, choosing.HARDER) is None
    assert given.cheapest("index", 0.939, 1.0, choosing.HARDER) == (10, 100)
    assert given.cheapest("index", 0.941, 1.0, choosing.HARDER) is None
    assert given.cheapest("index", 0.939, 1.0, choosing.HARDER_FILTERED) is None
    assert unsure.cheapest("index", 0.939, 1.0, choosing.HARDER) is None, "no more is counted upon than is certain"


def test_a_graph_that_seems_to_cost_next_to_nothing_is_probed_too() -> None:
    """It seems so because half of all rows pass; around the query none may, and the safe way takes long."""
    db = Listed(passed=0)
    cheap = facts(costs=Costs(graph_row=0.001, graph_next_row=0.001))
    choice = choosing.choose(db, cheap, request(filter="x"), "(x)", estimate(HELD * 0.5))
    assert choice.local is not None


def test_under_a_filter_no_graph_is_taken_where_nobody_has_looked() -> None:
    """A filter may leave nothing around the query. Where a look costs more than it saves, the safe way is the answer."""
    cheap = facts(costs=Costs(graph_row=0.0002, seen_row=0.0, heap_row=1e-5, compare=0.0))
    found = choosing.choose(Listed(), cheap, request(filter="x"), "(x)", estimate(1e5))
    graph = find(found.options, "index")
    assert found.local is None
    assert graph.milliseconds * choosing.BAND < choosing.safe(found.options).milliseconds, "by the estimate it would be taken"
    assert found.options[0].path == "exact"


def test_a_query_that_lies_apart_takes_more_from_a_graph_and_needs_more_to_be_saved() -> None:
    points = Points(Point("index", share, 10, 20, 100, 1.0, 1.0, None, 100, "none") for share in (1.0, 0.3, 0.1))
    known = facts(points=points)
    near, apart = (find(choosing.options(known, request(filter="x"), estimate(3e5), share), "index") for share in (0.3, 0.1))
    assert (near.setting.candidates, apart.setting.candidates) == (20, 20 * choosing.APART)
    known = facts(code=code(index_name=None), points=points)
    graph = find(choosing.options(known, request(filter="x"), estimate(3e5, covered=True), 0.1), "index").milliseconds
    chosen = []
    for band in (choosing.BAND + 0.2, choosing.APART_BAND + 0.2):
        slow = dataclasses.replace(known.costs, code_row=(graph * band - 0.5) / 3e5, index_row=0.0)
        chosen.append(
            choosing.options(dataclasses.replace(known, costs=slow), request(filter="x"), estimate(3e5, covered=True), 0.1)[0].path
        )
    assert chosen == ["covering", "index"]


def test_codes_that_were_not_measured_to_miss_so_little_are_taken_with_less_to_spare() -> None:
    points = Points(Point("covering", share, 10, 100, None, 0.975, 0.975, None, 100, "none") for share in (1.0, 0.2))
    known = facts(points=points, code=code())
    assert find(choosing.options(known, request(recall=0.95), estimate(HELD * 0.2, covered=True)), "covering").setting.candidates == 100
    found = choosing.options(known, request(recall=0.96), estimate(HELD * 0.2, covered=True))
    assert "covering" not in [option.path for option in found]


def test_a_graph_whose_first_rows_are_ample_is_read_without_a_look_and_then_left() -> None:
    """Of 400 rows 200 should pass, and 20 are enough; the safe way, which then follows, takes a few times as long."""
    near = facts(costs=Costs(seen_row=0.0, heap_row=5e-5, compare=0.0))
    found = choosing.choose(Listed(), near, request(filter="x"), "(x)", estimate(HELD / 2))
    assert (found.options[0].path, found.options[0].goes_on, found.local) == ("index", False, None)
    few = choosing.choose(Listed(passed=10), near, request(filter="x"), "(x)", estimate(HELD * 0.19))
    assert all(option.goes_on for option in few.options), "of 400 rows 76 should pass, less than four times 20"
    dear = choosing.choose(Listed(), facts(), request(filter="x"), "(x)", estimate(HELD / 2))
    assert dear.local is not None, "comparing half of the rows takes a hundred times as long as a look"
    assert dear.options[0].goes_on
    forced = choosing.choose(Listed(), near, request(filter="x", path="index"), "(x)", estimate(HELD / 2))
    assert find(forced.options, "index").goes_on
