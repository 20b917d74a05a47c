"""Where joins could go wrong unseen: NULL keys and none, very many neighbours, probes under policies, small tables with a precision."""

from __future__ import annotations

import random
from typing import Any

import pytest
from cities import Connection, compared, joined, make
from support import AsRole, MakeRole, Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def places(db: Connection) -> Connection:
    """Tables city and capital."""
    return make(db)


# ------------------------------------------------------------------------------------------------------------ keys


def test_null_is_equal_to_nothing_and_distinct_from_all_but_null(places: Connection) -> None:
    places.execute("UPDATE capital SET country = NULL WHERE id % 5 = 0")
    for condition in ("l.country = r.country", "l.country IS NOT DISTINCT FROM r.country", "l.country <> r.country"):
        assert joined(places, f", k => 2, condition => '{condition}'") == compared(places, 2, condition), condition
    of_null = joined(places, ", k => 30, condition => 'l.country IS NOT DISTINCT FROM r.country'")
    assert sum(left == 32 for left, *_ in of_null) == 5


def test_without_a_key_rows_are_joined_and_keys_are_refused(places: Connection, refused: Refused) -> None:
    expected = [(left, right) for left, right, *_ in compared(places, 2)]
    places.execute("ALTER TABLE city DROP CONSTRAINT city_pkey; ALTER TABLE city ALTER COLUMN id DROP NOT NULL")
    places.execute("UPDATE city SET id = NULL WHERE id = 1")
    found = places.execute(
        "SELECT coalesce((left_row).id, 1), (right_row).id FROM pgembed.semantic_join(NULL::city, NULL::capital, k => 2) ORDER BY 1, rank"
    ).fetchall()
    assert found == expected
    for call in (
        "SELECT pgembed.semantic_join_keys('city', 'capital')",
        "SELECT pgembed.semantic_join_into('made', 'city', 'capital')",
        "SELECT pgembed.review_pairs('city', 'capital')",
        "SELECT pgembed.create_labels('told', 'city', 'capital')",
    ):
        refused(places, "42P16", call, message='table "city" has no primary key', hint="ADD PRIMARY KEY")


def test_rows_that_are_equal_in_all_each_have_their_pair(places: Connection) -> None:
    places.execute("ALTER TABLE city DROP CONSTRAINT city_pkey; INSERT INTO city SELECT * FROM city WHERE id = 3")
    found = places.execute("SELECT count(*) FROM pgembed.semantic_join(NULL::city, NULL::capital) WHERE (left_row).id = 3").fetchone()
    assert found == (2,)


def test_a_label_without_a_key_says_nothing(places: Connection) -> None:
    places.execute("CREATE TABLE told (left_key text, right_key text, is_match boolean)")
    places.execute("INSERT INTO told VALUES (NULL, '1', true), ('1', NULL, true), (NULL, NULL, false), ('1', '1', NULL)")
    told: list[str] = []
    places.add_notice_handler(lambda said: told.append(str(said.message_primary)))
    assert len(joined(places, ", labels => 'told'")) == 31
    assert any("0 labelled pairs, 0 of them matches, say little" in one for one in told)


# ------------------------------------------------------------------------------------------------------------ very many neighbours


def test_a_million_rows_with_a_thousand_neighbours_each(places: Connection, refused: Refused) -> None:
    places.execute("ANALYZE city, capital; UPDATE pg_class SET reltuples = 1000000, relpages = 1 WHERE oid IN"
                   " ('city'::regclass, 'capital'::regclass)")  # fmt: skip
    # what is given part by part begins, whatever the statistics say
    assert joined(places, ", k => 1000, max_distance => 2") == compared(places, 1000)
    for options in ("mapping => 'mutual'", "candidates => 'lexical', attributes => '[\"name\"]'", "condition => 'l.id <> r.id'"):
        call = f"SELECT pgembed.semantic_join_keys('city', 'capital', k => 1000, {options})"
        refused(places, "54000", call, message="and pgembed.join_mem is 256 MB", hint="SET pgembed.join_mem to more")


def test_a_thousand_neighbours_in_little_memory_come_in_parts(places: Connection) -> None:
    places.execute("TRUNCATE city, capital")
    for table, rows in (("city", 400), ("capital", 1100)):
        places.execute(
            f"INSERT INTO {table} SELECT n, 'x', 'a', 1, NULL, ARRAY[cos(n * 0.3), sin(n * 0.7), cos(n * 1.1)]::vector"  # type: ignore[arg-type]
            f" FROM generate_series(1, {rows}) AS n"
        )
    places.execute("SET LOCAL pgembed.join_mem = '4MB'")
    for options in ("k => 1000, max_distance => 3", "k => 1000"):
        found = places.execute(
            "SELECT count(*), count(DISTINCT left_key), min(n), max(n), max(last) FROM (SELECT left_key, count(DISTINCT right_key) AS n,"
            f" max(rank) AS last FROM pgembed.semantic_join_keys('city', 'capital', {options}) GROUP BY 1) AS p"  # type: ignore[arg-type]
        ).fetchone()
        assert found == (400, 400, 1000, 1000, 1000), options


# ------------------------------------------------------------------------------------------------------------ probes under policies


@pytest.fixture
def hidden(places: Connection, make_role: MakeRole) -> str:
    """A role that sees every third capital, of many, and the three first cities; the capitals have an index."""
    places.execute("DELETE FROM city WHERE id > 3")
    places.execute("INSERT INTO capital SELECT n, 'x', 'a', 1, NULL, ARRAY[cos(n * 0.3), sin(n * 0.7), cos(n * 1.1)]::vector"
                   " FROM generate_series(100, 3000) AS n; CREATE INDEX ON capital USING hnsw (embedding vector_cosine_ops);"
                   " ANALYZE city, capital")  # fmt: skip
    name = make_role("join_hidden")
    places.execute(f'GRANT SELECT ON city, capital TO "{name}"; ALTER TABLE capital ENABLE ROW LEVEL SECURITY;'
                   f' CREATE POLICY third ON capital FOR SELECT TO "{name}" USING (id % 3 = 0)')  # type: ignore[arg-type]  # fmt: skip
    return name


def strategies(db: Connection, options: str = "") -> list[str]:
    call = f"SELECT value FROM pgembed.explain_join(NULL::city, NULL::capital{options}, execute => false) WHERE property IN"
    return [row[0] for row in db.execute(f"{call} ('strategy', 'not chosen')").fetchall()]  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [1, 5])
def test_probes_find_the_nearest_that_a_role_may_see(places: Connection, hidden: str, as_role: AsRole, k: int) -> None:
    expected = compared(places, k, "r.id % 3 = 0")
    every = compared(places, k)
    options = f", k => {k}, max_distance => 2"
    assert joined(places, options) == every != expected
    with as_role(places, hidden):
        assert strategies(places, options)[0].startswith("exact probes")
        assert joined(places, options) == expected
        assert joined(places, f"{options}, search_recall => 0.9") == expected
        rows = places.execute(
            f"SELECT (left_row).id, (right_row).id, distance, rank FROM pgembed.semantic_join(NULL::city, NULL::capital{options})"  # type: ignore[arg-type]
            " ORDER BY 1, rank"
        ).fetchall()
        assert rows == expected
        assert joined(places, f"{options}, condition => 'r.id > 500'") == compared(places, k, "r.id % 3 = 0 AND r.id > 500")


def test_no_index_is_asked_where_a_policy_hides_rows(places: Connection, hidden: str, as_role: AsRole) -> None:
    options = ", max_distance => 2, search_recall => 0.9"
    assert strategies(places, options)[0].startswith("index probes")
    with as_role(places, hidden):
        assert not strategies(places, options)[0].startswith("index probes")
        assert any("a policy on the right side" in told for told in strategies(places, options))


def test_what_a_probe_compares_needs_no_right_on_other_columns(places: Connection, hidden: str, as_role: AsRole) -> None:
    places.execute(f'REVOKE SELECT ON city, capital FROM "{hidden}"')  # type: ignore[arg-type]
    for table in ("city", "capital"):
        places.execute(f'GRANT SELECT (id, embedding) ON {table} TO "{hidden}"')  # type: ignore[arg-type]
    expected = compared(places, 2, "r.id % 3 = 0")
    with as_role(places, hidden):
        assert joined(places, ", k => 2, max_distance => 2") == expected


# ------------------------------------------------------------------------------------------------------------ small tables


def test_nothing_is_looked_at_for_a_decision_that_cannot_be(places: Connection) -> None:
    """Of fewer than ten left rows nothing can be said."""
    for rows, candidates in ((9, "9"), (10, "100")):
        places.execute(f"CREATE TABLE part AS SELECT * FROM city ORDER BY id LIMIT {rows}")  # type: ignore[arg-type]
        places.execute("SELECT pgembed.adopt_embedding('part', 'embedding')")
        told = dict(places.execute("SELECT * FROM pgembed.explain_join(NULL::part, NULL::capital)").fetchall())
        assert told["candidate pairs"] == candidates
        found = places.execute("SELECT (left_row).id, rank, is_match FROM pgembed.semantic_join(NULL::part, NULL::capital)").fetchall()
        assert len(found) == rows
        places.execute("SELECT pgembed.drop_embedding('part', keep_column => true); DROP TABLE part")


def test_settings_are_what_they_were(places: Connection) -> None:
    names = ("jit", "plan_cache_mode", "enable_indexscan", "enable_seqscan", "synchronize_seqscans", "application_name")
    places.execute("SET LOCAL jit = on; SET LOCAL enable_indexscan = on; SET LOCAL application_name = 'mine'")
    before = [places.execute(f"SHOW {name}").fetchone() for name in names]  # type: ignore[arg-type]
    joined(places, ", max_distance => 2")
    joined(places, ", max_distance => 2, search_recall => 0.5")
    assert [places.execute(f"SHOW {name}").fetchone() for name in names] == before  # type: ignore[arg-type]


def test_a_precision_on_sixty_rows(db: Connection) -> None:
    """Forty of sixty rows have a partner, whose vector is theirs with noise; the others have none."""
    rng = random.Random(1)
    for table in ("small_left", "small_right"):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector(24))")  # type: ignore[arg-type]
    for i in range(60):
        vector = [rng.gauss(0, 1) for _ in range(24)]
        other = [one + 0.35 * rng.gauss(0, 1) for one in vector] if i < 40 else [rng.gauss(0, 1) for _ in range(24)]
        db.execute("INSERT INTO small_left VALUES (%s, %s::vector)", [i, str(vector)])
        db.execute("INSERT INTO small_right VALUES (%s, %s::vector)", [i, str(other)])
    db.execute("SELECT pgembed.adopt_embedding('small_left', 'embedding'), pgembed.adopt_embedding('small_right', 'embedding')")
    for mapping in ("many", "one_to_one"):
        call = f"""'small_left', 'small_right', "precision" => 0.95, mapping => '{mapping}'"""
        found: list[tuple[Any, ...]] = db.execute(
            f"SELECT left_key = right_key AND left_key::int < 40, probability, is_match FROM pgembed.semantic_join_keys({call})"  # type: ignore[arg-type]
        ).fetchall()
        matches = [right for right, _, is_match in found if is_match]
        assert None not in {is_match for _, _, is_match in found}
        assert len(matches) >= 30, mapping
        assert sum(matches) >= 0.9 * len(matches), mapping
        rows = call.replace("'small_left', 'small_right'", "NULL::small_left, NULL::small_right")
        told = dict(db.execute(f"SELECT * FROM pgembed.explain_join({rows})").fetchall())  # type: ignore[arg-type]
        words = told["estimated precision"].replace(",", "").split()  # 0.953, from 0.901 to 1.000 with 95 %
        value, low, high = (float(words[place]) for place in (0, 2, 4))
        assert low <= sum(matches) / len(matches) <= high, mapping
        assert value >= 0.9
