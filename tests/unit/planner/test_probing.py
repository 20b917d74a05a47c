"""probing: what a look at the query's neighbours asks, and how much is believed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from planned import COLUMN, HELD, SENT, Listed, code, estimate, facts, request

from pgembed.planner import coded, probing


def test_a_probe_looks_at_the_nearest_rows_whatever_the_filter_and_puts_settings_back() -> None:
    db = Listed(passed=12)
    seen = probing.look(db, facts(), request(filter="x", params="{}"), "(x\n)", estimate(3e5))
    assert seen is not None
    assert (seen.looked, seen.passed) == (48, 12)
    before, probe, after = db.executed
    assert before == after == "SELECT pgembed._set($1) AS undo"
    assert db.values[0] == [["hnsw.ef_search", "48", "hnsw.iterative_scan", "off"]]
    assert db.values[2] == [["what", "was"]]
    where = probe.partition("FROM (SELECT")[2]
    assert where.index("(x\n) AS passes") < where.index("WHERE")
    assert 'WHERE "product"."e" IS NOT NULL\n    ORDER BY "product"."e" OPERATOR(public.<=>) pgembed._vector($2) LIMIT 48' in where
    assert db.values[1][0] == "{}"
    assert db.values[1][1] == bytes.fromhex("0300 0000") + np.array([1, 0, 0], dtype=np.float32).tobytes()


def test_a_probe_reads_the_graph_over_codes_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "asked", lambda *_: coded.Asked("0101", "1111"))
    db = Listed()
    probing.look(db, facts(code=code()), request(filter="x"), "(x)", estimate(3e5))
    assert 'ORDER BY "product"."bits" OPERATOR(public.<~>) $6::pg_catalog.text::pg_catalog.bit(4) LIMIT 48' in db.executed[1]
    assert db.values[1] == [None, None, None, None, None, "0101"]
    assert probing.cost(facts(code=code())) < probing.cost(facts())


def test_a_halfvec_is_compared_as_one() -> None:
    column = dataclasses.replace(COLUMN, type="halfvec")
    assert probing.nearest(facts(column), on_codes=False).endswith("pgembed._vector($2)::public.halfvec")
    assert SENT[:2] == b"\x00\x03"


def test_what_a_filter_raises_for_a_neighbour_is_raised_and_settings_are_put_back() -> None:
    db = Listed()
    db.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        probing.look(db, facts(), request(filter="x"), "(x)", estimate(3e5))
    assert db.values[-1] == [["what", "was"]]


def test_what_is_counted_upon_is_as_a_rule_below_the_truth() -> None:
    generator = np.random.default_rng(11)
    for truth in (0.02, 0.1, 0.5, 0.9):
        drawn = generator.binomial(probing.NEIGHBOURS, truth, 4000)
        counted = np.array([probing.cautious(probing.NEIGHBOURS, int(passed), truth) for passed in drawn])
        assert (counted <= truth).mean() > 0.7
        # and within a factor of three of it
        assert (counted >= truth / 3).mean() > 0.95


def test_neighbours_that_all_fail_do_not_mean_that_none_pass_farther_off() -> None:
    assert 0.01 < probing.cautious(48, 0, 0.9) < 0.08
    # of so few nothing could be seen
    assert 0.0003 < probing.cautious(48, 0, 0.001) < 0.001
    assert probing.cautious(48, 48, 0.01) > 0.8
    assert 0 <= probing.cautious(48, 0, 0.0) <= probing.cautious(48, 48, 1.0) <= 1


def test_an_estimate_is_doubted_where_far_fewer_neighbours_pass_than_chance_allows() -> None:
    for passed, share, doubtful in ((0, 0.3, True), (0, 0.02, False), (9, 0.3, False), (4, 0.3, True), (48, 0.3, False), (30, 0.85, True)):
        seen = probing.look(Listed(passed=passed), facts(), request(filter="x"), "(x)", estimate(share * HELD))
        assert seen is not None
        assert seen.doubtful is doubtful, (passed, share)


def test_rows_that_a_policy_hides_are_passed_over_too() -> None:
    """A tenth of the table is visible, and all neighbours that the caller sees pass."""
    some, all_ = (probing.look(Listed(), facts(rows=rows), request(filter="x"), "(x)", estimate(5e4)) for rows in (1e5, 1e6))
    assert some is not None
    assert all_ is not None
    assert some.share == pytest.approx(all_.share / 10, rel=0.1)
