"""What may stand on a side of a join: views, keys of several columns, partitions, foreign tables, nothing at all."""

from __future__ import annotations

import psycopg
import pytest
from cities import Connection, compared, joined, make
from support import Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def places(db: Connection) -> Connection:
    """Tables city and capital."""
    return make(db)


@pytest.fixture
def seen(places: Connection) -> Connection:
    """The same with views over them."""
    places.execute(
        """
        CREATE VIEW town AS SELECT embedding AS e, id AS number, name AS called FROM city WHERE id < 20;
        CREATE VIEW hamlet AS SELECT called, e FROM town;
        CREATE VIEW land AS SELECT country, string_agg(name, ' ' ORDER BY id) AS names FROM city GROUP BY country;
        CREATE MATERIALIZED VIEW kept AS SELECT id, embedding FROM city WHERE id < 20;
        CREATE VIEW both_sides AS SELECT city.id, capital.name AS other, city.embedding FROM city JOIN capital USING (id);
        """
    )
    return places


def test_a_view_gives_typed_rows(seen: Connection) -> None:
    rows = seen.execute(
        "SELECT (left_row).number, (left_row).called, (right_row).id, pg_typeof(left_row)::text, rank"
        " FROM pgembed.semantic_join(NULL::town, NULL::capital) ORDER BY 1"
    ).fetchall()
    expected = compared(seen, 1, "l.id < 20")
    assert [row[:3] for row in rows] == [(one, f"city {one}", other) for one, other, *_ in expected]
    assert {row[3] for row in rows} == {"town"}


def test_a_view_has_the_key_that_it_shows(seen: Connection) -> None:
    assert joined(seen, ", k => 2", "'town', 'capital'") == compared(seen, 2, "l.id < 20")
    assert joined(seen, ", condition => 'l.number = r.id'", "'town', 'capital'") == compared(seen, 1, "l.id < 20 AND l.id = r.id")


def test_a_view_without_a_key_gives_rows_and_no_keys(seen: Connection, refused: Refused) -> None:
    rows = seen.execute(
        "SELECT (left_row).called, (right_row).called FROM pgembed.semantic_join(NULL::hamlet, NULL::hamlet, k => 2) ORDER BY 1, rank"
    ).fetchall()
    expected = compared(seen, 2, "l.id < 20 AND r.id < 20 AND l.id <> r.id", right="city")
    assert sorted(rows) == sorted((f"city {one}", f"city {other}") for one, other, *_ in expected)
    message = 'view "hamlet" shows no primary key'
    refused(seen, "42P16", "SELECT pgembed.semantic_join_keys('hamlet', 'town')", message=message, hint="semantic_join() gives rows")
    seen.execute("CREATE TABLE bare (t text)")
    call = "SELECT pgembed.semantic_join_keys('bare', 'bare', 't', 't')"
    refused(seen, "42P16", call, message='table "bare" has no primary key', hint="ADD PRIMARY KEY")


def test_a_condition_over_a_view_without_a_key(seen: Connection) -> None:
    rows = seen.execute(
        "SELECT (left_row).called, (right_row).id FROM pgembed.semantic_join(NULL::hamlet, NULL::capital,"
        " condition => $$ length(l.called) + r.id > 12 AND l.called <> 'city 3' $$)"
    ).fetchall()
    expected = compared(seen, 1, "l.id < 20 AND length(l.name) + r.id > 12 AND l.name <> 'city 3'")
    assert sorted(rows) == sorted((f"city {one}", other) for one, other, *_ in expected)


def test_rows_of_a_view_that_are_equal_in_all_are_told_apart_by_number(seen: Connection) -> None:
    seen.execute("CREATE TABLE doubled (e vector(3)); INSERT INTO doubled SELECT embedding FROM city WHERE id <= 3")
    seen.execute("INSERT INTO doubled SELECT * FROM doubled; SELECT pgembed.adopt_embedding('doubled', 'e')")
    seen.execute("CREATE VIEW twice AS SELECT * FROM doubled")
    plain = "SELECT (right_row).id FROM pgembed.semantic_join(NULL::twice, NULL::capital) ORDER BY 1"
    asked = (
        "SELECT (right_row).id FROM pgembed.semantic_join(NULL::twice, NULL::capital, condition => 'l.e <-> r.embedding < 99') ORDER BY 1"
    )
    expected = sorted(pair[1] for pair in compared(seen, 1, "l.id <= 3")) * 2
    assert [row[0] for row in seen.execute(plain).fetchall()] == sorted(expected)
    assert [row[0] for row in seen.execute(asked).fetchall()] == sorted(expected)  # type: ignore[arg-type]


def test_a_materialized_view_with_adopted_vectors(seen: Connection) -> None:
    seen.execute("SELECT pgembed.adopt_embedding('kept', 'embedding')")
    rows = seen.execute("SELECT (left_row).id, (right_row).id FROM pgembed.semantic_join(NULL::kept, NULL::capital) ORDER BY 1").fetchall()
    assert rows == [pair[:2] for pair in compared(seen, 1, "l.id < 20")]


def test_a_view_of_groups_is_joined_by_its_text(seen: Connection) -> None:
    rows = seen.execute(
        "SELECT (left_row).country, (right_row).country FROM pgembed.semantic_join(NULL::land, NULL::land, 'names', 'names',"
        " candidates => 'lexical') ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in rows] == ["a", "b", "c", "d", None]
    assert all(one != other for one, other in rows)


def test_vectors_that_a_view_of_several_tables_shows_are_of_no_known_model(seen: Connection, refused: Refused) -> None:
    call = "SELECT pgembed.semantic_join(NULL::both_sides, NULL::city, 'embedding')"
    refused(seen, "42704", call, message='column "embedding" of view "both_sides" holds vectors of an unknown model', hint="Join the table")
    refused(seen, "42809", "SELECT pgembed.semantic_join(NULL::both_sides, NULL::city)", message="not over one table", hint="one table")


def test_keys_of_several_columns_are_json(places: Connection) -> None:
    places.execute("CREATE TABLE pair (a int, b text, e vector(3), PRIMARY KEY (a, b))")
    places.execute("INSERT INTO pair SELECT id, 'x, \"' || id, embedding FROM city WHERE id < 5")
    places.execute("SELECT pgembed.adopt_embedding('pair', 'e')")
    rows = places.execute("SELECT left_key, right_key FROM pgembed.semantic_join_keys('pair', 'capital') ORDER BY 1").fetchall()
    assert rows == [(f'[{one}, "x, \\"{one}"]', str(other)) for one, other, *_ in compared(places, 1, "l.id < 5")]


def test_partitions_on_both_sides(places: Connection) -> None:
    for table in ("city", "capital"):
        places.execute(
            f"""
            CREATE TABLE {table}_parts (id int PRIMARY KEY, country text, embedding vector(3)) PARTITION BY RANGE (id);
            CREATE TABLE {table}_low PARTITION OF {table}_parts FOR VALUES FROM (0) TO (12);
            CREATE TABLE {table}_high PARTITION OF {table}_parts FOR VALUES FROM (12) TO (100);
            INSERT INTO {table}_parts SELECT id, country, embedding FROM {table};
            SELECT pgembed.adopt_embedding('{table}_parts', 'embedding');
            """  # type: ignore[arg-type]
        )
    for condition in ("l.country = r.country", "l.id > r.id"):
        rows = places.execute(
            "SELECT (left_row).id, (right_row).id, distance, rank FROM pgembed.semantic_join(NULL::city_parts, NULL::capital_parts, k => 2,"
            " condition => %s) ORDER BY 1, rank",
            [condition],
        ).fetchall()
        assert rows == compared(places, 2, condition)


def test_a_foreign_table_is_joined_by_its_text(db: Connection) -> None:
    db.execute("CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw")
    options = "program $$printf '1,phone KX-200\\n2,camera W120\\n'$$, format 'csv'"
    db.execute(f"CREATE FOREIGN TABLE far (id int, name text) SERVER files OPTIONS ({options})")  # type: ignore[arg-type]
    db.execute("CREATE TABLE near (id int PRIMARY KEY, title text); INSERT INTO near VALUES (5, 'W120'), (6, 'KX-200')")
    for options in ("", ", condition => 'l.id < r.id'", ", condition => 'l.id + 4 <> r.id + 0 * length(l.name)'"):
        rows = db.execute(
            "SELECT (left_row).id, (left_row).name, (right_row).title FROM pgembed.semantic_join(NULL::far, NULL::near, 'name', 'title',"
            f" candidates => 'lexical'{options}) ORDER BY 1"  # type: ignore[arg-type]
        ).fetchall()
        expected = [(1, "phone KX-200", "KX-200"), (2, "camera W120", "W120")]
        assert rows == expected, options


def test_empty_sides_give_nothing_or_every_left_row(places: Connection) -> None:
    places.execute("CREATE TABLE nothing (LIKE capital INCLUDING ALL); SELECT pgembed.adopt_embedding('nothing', 'embedding')")
    for options in ("", ", k => 5", ", mapping => 'one_to_one'", ", mapping => 'mutual'", ", condition => 'l.id <> r.id'",
                    ", k => NULL, max_distance => 1", """, attributes => '["name"]', candidates => 'hybrid'"""):  # fmt: skip
        assert joined(places, options, "'city', 'nothing'") == [], options
        assert joined(places, options, "'nothing', 'city'") == [], options
        assert joined(places, options, "'nothing', 'nothing'") == [], options
        left = f"SELECT count(*), count(right_key) FROM pgembed.semantic_join_keys('city', 'nothing', join_type => 'left'{options})"
        assert places.execute(left).fetchone() == (32, 0), options  # type: ignore[arg-type]


def test_a_text_is_embedded_once_and_rows_without_one_have_no_pair(db: Connection) -> None:
    db.execute("CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT n, 'the same 🚀 text' FROM generate_series(1, 300) AS n")
    db.execute("INSERT INTO a VALUES (301, NULL), (302, ''), (303, E' \\n ')")
    db.execute(
        "CREATE TABLE b (id int PRIMARY KEY, t text); INSERT INTO b VALUES (1, 'the same 🚀 text'), (2, repeat('long text ', 100000))"
    )
    rows = db.execute("SELECT left_key::int, right_key, distance FROM pgembed.semantic_join_keys('a', 'b', 't', 't')").fetchall()
    assert {(key, other) for key, other, _ in rows} == {(n, "1") for n in range(1, 301)}
    assert max(distance for *_, distance in rows) < 1e-6


def test_a_value_that_is_no_text_is_compared_as_text(db: Connection) -> None:
    db.execute("CREATE TABLE a (id int PRIMARY KEY, d date); INSERT INTO a VALUES (1, '2024-02-29'), (2, '1999-12-31')")
    rows = db.execute(
        "SELECT left_key, right_key FROM pgembed.semantic_join_keys('a', 'a', 'd', 'd', candidates => 'lexical', max_distance => 1)"
    ).fetchall()
    assert rows == []  # no text has a distance, so none is within one


def test_a_column_that_was_dropped_is_told(places: Connection, refused: Refused) -> None:
    places.execute("ALTER TABLE city DROP embedding")
    refused(
        places, "42704", "SELECT pgembed.semantic_join(NULL::city, NULL::capital)", message="has no embedded column", hint="add_embedding"
    )
    call = "SELECT pgembed.semantic_join(NULL::city, NULL::capital, 'embedding')"
    refused(places, "42703", call, message='column "embedding" of table "city" does not exist', hint="left_column")


def test_dimensions_that_differ_are_told(places: Connection, refused: Refused) -> None:
    places.execute("CREATE TABLE flat (id int PRIMARY KEY, e vector(2)); INSERT INTO flat VALUES (1, '[1,2]')")
    places.execute("SELECT pgembed.adopt_embedding('flat', 'e')")
    refused(places, "22000", "SELECT pgembed.semantic_join(NULL::flat, NULL::city)", message="2 dimensions", hint="one model")
    places.execute("CREATE TABLE loose (id int PRIMARY KEY, e vector); INSERT INTO loose VALUES (1, '[1,2]')")
    places.execute("SELECT pgembed.adopt_embedding('loose', 'e')")
    refused(places, "22000", "SELECT pgembed.semantic_join(NULL::loose, NULL::city)", message="2", hint="model")


def test_metrics_that_differ_are_told(places: Connection, refused: Refused) -> None:
    places.execute("SELECT pgembed.alter_embedding('city', metric => 'l2')")
    refused(places, "22023", "SELECT pgembed.semantic_join(NULL::city, NULL::capital)", message="different metrics", hint="alter_embedding")


def test_what_is_no_row_type_is_refused(places: Connection) -> None:
    with pytest.raises(psycopg.errors.WrongObjectType, match="row type"):
        places.execute("SELECT FROM pgembed.semantic_join(1, 2)")
