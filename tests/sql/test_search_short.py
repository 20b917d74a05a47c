"""Searches that find fewer rows than were asked for: never without a word, and what it says is true."""

from __future__ import annotations

import coded
import pytest
from coded import DIM, QUERIES
from support import EAST, AsRole, Connection, MakeRole, Notices, found_chunks, grow, names

pytestmark = pytest.mark.one_transaction


def messages(notices: Notices) -> list[str]:
    told = [notice.message for notice in notices]
    notices.clear()
    return told


def test_rows_without_a_vector_are_told_of(spots: Connection, notices: Notices) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE size >= 40")
    assert names(spots, f"{EAST}, filter => 'size >= 30'") == ["northeast"]
    assert "CALL pgembed.refresh('spot')" in str(notices[0].hint)
    assert messages(notices) == ["1 of 10 results: 2 more rows that pass the filter have no vector yet"]


def test_nothing_is_told_where_k_are_found(spots: Connection, notices: Notices) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE size >= 40")
    assert len(names(spots, f"{EAST}, k => 3")) == 3
    assert notices == []


@pytest.mark.parametrize("call", [f"search(NULL::spot, {EAST}", f"search_keys('spot', {EAST}", "search_like(NULL::spot, '5'"])
@pytest.mark.parametrize("exact", ["true", "false"])
def test_every_kind_of_search_tells(spots: Connection, notices: Notices, call: str, exact: str) -> None:
    assert len(spots.execute(f"SELECT FROM pgembed.{call}, k => 3, filter => 'size < 30', exact => {exact})").fetchall()) == 2
    assert messages(notices) == ["2 of 3 results: no more rows pass the filter"]
    assert not spots.execute(f"SELECT FROM pgembed.{call}, filter => 'size > 50')").fetchall()
    assert messages(notices) == ["0 of 10 results: no row passes the filter"]


def test_the_row_that_is_left_out_is_no_row_that_was_missed(spots: Connection, notices: Notices) -> None:
    assert len(spots.execute("SELECT FROM pgembed.search_like(NULL::spot, '1')").fetchall()) == 4
    assert messages(notices) == ["4 of 10 results: spot has no more rows"]


def test_a_bound_on_the_distance_is_named(spots: Connection, notices: Notices) -> None:
    assert names(spots, f"{EAST}, max_distance => 0.5, filter => 'size < 40'") == ["east", "northeast"]
    assert messages(notices) == ["2 of 10 results within max_distance 0.5: 3 rows pass the filter"]
    assert names(spots, f"{EAST}, max_distance => 0.5, filter => 'size < 20'") == ["east"]
    assert messages(notices) == ["1 of 10 results: no more rows pass the filter"]
    spots.execute("UPDATE spot SET e = NULL WHERE size = 20")
    assert names(spots, f"{EAST}, max_distance => 0.5") == ["east", "northeast"]
    assert messages(notices) == ["2 of 10 results within max_distance 0.5: spot has 4 rows, and 1 more row of spot has no vector yet"]


def test_a_bound_without_k_asks_for_no_number_of_rows(spots: Connection, notices: Notices) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE size = 20")
    assert names(spots, f"{EAST}, k => NULL, max_distance => 0.5") == ["east", "northeast"]
    assert notices == []


def test_no_more_rows_are_counted_than_it_takes(spots: Connection, notices: Notices) -> None:
    grow(spots)
    assert names(spots, f"{EAST}, max_distance => 0.5, exact => true") == ["east", "northeast"]
    assert messages(notices) == ["2 of 10 results within max_distance 0.5: spot has more than 10000 rows"]


def test_params_reach_the_count(spots: Connection, notices: Notices) -> None:
    assert names(spots, f"""{EAST}, filter => $$ size < ($1->>'max')::int $$, params => '{{"max": 15}}'""") == ["east"]
    assert messages(notices) == ["1 of 10 results: no more rows pass the filter"]


def test_what_a_policy_hides_is_not_counted(spots: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT ON spot TO {bob}; ALTER TABLE spot ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON spot USING (size < 40)")
    spots.execute("UPDATE spot SET e = NULL WHERE size IN (30, 50)")
    asked = (EAST, f"{EAST}, filter => 'size > 0'", f"{EAST}, max_distance => 0.5", f"{EAST}, filter => 'size > 30'")
    with as_role(spots, bob):
        for arguments in asked:
            names(spots, arguments)
    assert messages(notices) == [
        "2 of 10 results: 1 more row of spot has no vector yet",
        "2 of 10 results: 1 more row that passes the filter has no vector yet",
        "1 of 10 results within max_distance 0.5: spot has 2 rows, and 1 more row of spot has no vector yet",
        "0 of 10 results: no row passes the filter",
    ]


def test_who_may_read_some_columns_is_told_as_well(spots: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT (id, e) ON spot TO {bob}")
    with as_role(spots, bob):
        spots.execute(f"SELECT FROM pgembed.search_keys('spot', {EAST}, filter => 'id < 3')")
    assert messages(notices) == ["2 of 10 results: no more rows pass the filter"]


def test_rows_whose_code_is_missing_are_missed_with_a_warning(db: Connection, notices: Notices) -> None:
    db.execute(f"CREATE TABLE part (id int PRIMARY KEY, section int, e vector({DIM})); SELECT pgembed.adopt_embedding('part', 'e');")
    coded.fill(db, "part")
    db.execute(
        """
        SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('part', 'two'); CALL pgembed.fill_code('part');
        CREATE INDEX ON part (section) INCLUDE (id, two);
        ALTER TABLE part DISABLE TRIGGER USER; UPDATE part SET two = NULL WHERE section = 3 AND id > 50;
        ALTER TABLE part ENABLE ALWAYS TRIGGER zz_pgembed_two; UPDATE pgembed._code SET is_filled = true;
        """
    )
    coded.measured(db, "two")
    coded.seem_large(db, "part")
    notices.clear()
    search = "SELECT FROM pgembed._search_keys('part', %s::vector, 10, 'section = 3', NULL, NULL, NULL, NULL, false, 'covering')"
    assert len(db.execute(search, [coded.text(QUERIES[0])]).fetchall()) == 5
    assert [notice.severity for notice in notices] == ["WARNING"]
    assert messages(notices) == ["5 of 10 results: 55 more rows pass the filter and were not found"]


def test_chunks_tell_of_rows(doc: Connection, notices: Notices) -> None:
    assert len(found_chunks(doc, "'strings', filter => 'id < 3'")) == 2
    assert messages(notices) == ["2 of 10 results: no more rows pass the filter"]
    assert len(found_chunks(doc, "'strings'")) == 4
    assert messages(notices) == ["4 of 10 results: 2 more rows of doc have no vector yet"]
