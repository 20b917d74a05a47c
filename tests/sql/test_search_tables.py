"""search over odd tables: names, schemas, partitions, types."""

from __future__ import annotations

import pytest
from support import EAST, Connection, Notices, names

pytestmark = pytest.mark.one_transaction

WEIRD = '"We""ird Table"'


@pytest.mark.parametrize(
    ("table", "vector"),
    [
        (WEIRD, '"Vec""tor"'),
        ("point2", "distance"),
        ("point2", "rank"),
        ("point2", "item"),
        ("point2", "point2"),
        ('"select"', '"order"'),
        ("t", "t"),
        ('"Ünï çødé"', '"ψ"'),
        ("nearest", "answer"),
        ('"dollar$1"', '"$2"'),
    ],
)
def test_search_of_a_table_with_odd_names(db: Connection, table: str, vector: str) -> None:
    db.execute(
        f"""
        CREATE TABLE {table} ("Key" int PRIMARY KEY, "place" text, {vector} vector(2));
        INSERT INTO {table} VALUES (1, 'a', '[1,0]'), (2, 'b', '[0,1]');
        """
    )
    name = vector.strip('"').replace('""', '"')
    db.execute("SELECT pgembed.adopt_embedding(%s, %s)", [table, name])
    by_row = db.execute(
        f"""SELECT (item)."Key", (item).place FROM pgembed.search(NULL::{table}, '[0,1]'::vector, k => 1, filter => $$ place > 'a' $$)"""
    )
    assert by_row.fetchall() == [(2, "b")]
    assert db.execute("SELECT key FROM pgembed.search_keys(%s, '[1,0]'::vector, k => 1)", [table]).fetchall() == [("1",)]
    assert db.execute(f"""SELECT (item)."Key" FROM pgembed.search_like(NULL::{table}, '1')""").fetchall() == [(2,)]


def test_search_of_a_table_with_reserved_column_names_in_the_filter(db: Connection) -> None:
    db.execute('CREATE TABLE t (id int PRIMARY KEY, "user" text, "Select" int, distance float8, e vector(2))')
    db.execute("INSERT INTO t VALUES (1, 'ann', 5, 0.5, '[1,0]'), (2, 'bob', 6, 0.1, '[1,0]')")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    condition = """ "user" = 'ann' AND "Select" = 5 AND distance > 0.2 AND t.distance < 1 """
    found = db.execute("SELECT (item).id, distance FROM pgembed.search(NULL::t, '[1,0]'::vector, filter => %s)", [condition]).fetchall()
    assert found == [(1, 0.0)]


def test_search_in_another_schema_with_a_minimal_search_path(db: Connection) -> None:
    db.execute(
        """
        CREATE SCHEMA shop;
        CREATE TABLE shop.thing (id int PRIMARY KEY, name text, e vector(2));
        INSERT INTO shop.thing VALUES (1, 'a', '[1,0]'), (2, 'b', '[0,1]');
        SELECT pgembed.adopt_embedding('shop.thing', 'e');
        """
    )
    db.execute("SET search_path = ''")
    query = "'[0,1]'::public.vector"
    assert db.execute(f"SELECT (item).name FROM pgembed.search(NULL::shop.thing, {query}, k => 1)").fetchall() == [("b",)]
    assert db.execute(f"SELECT key FROM pgembed.search_keys('shop.thing', {query}, k => 1)").fetchall() == [("2",)]
    assert db.execute("SELECT (item).name FROM pgembed.search_like(NULL::shop.thing, '1')").fetchall() == [("b",)]
    assert db.execute(f"SELECT value FROM pgembed.explain_search(NULL::shop.thing, {query})").fetchone() == ("exact",)


def test_the_hint_names_a_table_of_another_schema_so_that_it_can_be_pasted(db: Connection, notices: Notices) -> None:
    db.execute('CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."A""b" (id int PRIMARY KEY, e vector(2))')
    db.execute("""INSERT INTO "My Shop"."A""b" VALUES (1, NULL)""")
    db.execute("""SELECT pgembed.adopt_embedding('"My Shop"."A""b"', 'e')""")
    db.execute("""SELECT * FROM pgembed.search(NULL::"My Shop"."A""b", '[1,0]'::vector)""")
    assert """pgembed.refresh('"My Shop"."A""b"')""" in str(notices[-1].hint)


def test_a_filter_means_what_it_means_to_the_caller(spots: Connection) -> None:
    spots.execute(
        """
        CREATE SCHEMA mine;
        CREATE FUNCTION mine.small(int) RETURNS boolean LANGUAGE sql RETURN $1 < 15;
        SET search_path = mine, public;
        """
    )
    assert names(spots, f"{EAST}, filter => 'small(size)'") == ["east"]


def test_a_hostile_operator_in_the_search_path_is_not_ours(spots: Connection) -> None:
    spots.execute(
        """
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.wrong(int, int) RETURNS boolean LANGUAGE sql RETURN false;
        CREATE OPERATOR evil.<= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.wrong);
        CREATE OPERATOR evil.< (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.wrong);
        CREATE FUNCTION evil.far(vector, vector) RETURNS float8 LANGUAGE sql RETURN 0;
        CREATE OPERATOR evil.<=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = evil.far);
        SET search_path = evil, pg_catalog, public;
        """
    )
    assert names(spots, f"{EAST}, k => 2") == ["east", "northeast"]


def test_search_of_a_partitioned_table(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE part (id int, region text, e vector(2), PRIMARY KEY (region, id)) PARTITION BY LIST (region);
        CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
        CREATE TABLE part_b (e vector(2), region text NOT NULL, id int NOT NULL);
        ALTER TABLE part ATTACH PARTITION part_b FOR VALUES IN ('b');
        INSERT INTO part VALUES (1, 'a', '[1,0]'), (2, 'a', '[1,1]'), (1, 'b', '[1,0.1]'), (2, 'b', '[0,1]');
        SELECT pgembed.adopt_embedding('part', 'e');
        """
    )
    found = db.execute("SELECT (item).region, (item).id FROM pgembed.search(NULL::part, '[1,0]'::vector, k => 3)").fetchall()
    assert found == [("a", 1), ("b", 1), ("a", 2)]
    like = db.execute("""SELECT (item).region, (item).id FROM pgembed.search_like(NULL::part, '["b", 1]', k => 1)""").fetchall()
    assert like == [("a", 1)]


def test_rows_of_two_partitions_at_one_distance_come_in_one_order(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE part (id int PRIMARY KEY, e vector(2)) PARTITION BY RANGE (id);
        CREATE TABLE part_b PARTITION OF part FOR VALUES FROM (10) TO (20);
        CREATE TABLE part_a PARTITION OF part FOR VALUES FROM (0) TO (10);
        INSERT INTO part SELECT n, '[1,0]' FROM generate_series(0, 19) AS n;
        SELECT pgembed.adopt_embedding('part', 'e');
        """
    )
    orders = {
        tuple(db.execute(f"SELECT (item).id FROM pgembed.search(NULL::part, '[1,0]'::vector, k => {k})").fetchall()[:5])
        for k in (5, 6, 10, 15, 20)
    }
    assert len(orders) == 1


def test_search_of_a_materialized_view(spots: Connection) -> None:
    spots.execute("CREATE MATERIALIZED VIEW seen AS SELECT * FROM spot WHERE size < 30")
    spots.execute("SELECT pgembed.adopt_embedding('seen', 'e')")
    assert spots.execute(f"SELECT (item).name FROM pgembed.search(NULL::seen, {EAST})").fetchall() == [("east",), ("north",)]


def test_search_of_a_temporary_table(db: Connection) -> None:
    db.execute("CREATE TEMPORARY TABLE t (id int PRIMARY KEY, e vector(2))")
    db.execute("INSERT INTO t VALUES (1, '[1,0]')")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    assert db.execute("SELECT (item).id FROM pgembed.search(NULL::t, '[1,0]'::vector)").fetchall() == [(1,)]


def test_search_after_table_and_column_were_renamed(spots: Connection) -> None:
    spots.execute("ALTER TABLE spot RENAME TO place")
    spots.execute("ALTER TABLE place RENAME COLUMN size TO extent")
    found = spots.execute(f"SELECT (item).name FROM pgembed.search(NULL::place, {EAST}, filter => 'extent = 20')").fetchall()
    assert found == [("north",)]


def test_search_of_a_column_of_no_fixed_dimension(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, e vector)")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    db.execute("INSERT INTO t VALUES (1, '[1,0]'), (2, '[0,1]')")
    assert db.execute("SELECT (item).id FROM pgembed.search(NULL::t, '[0,1]'::vector, k => 1)").fetchall() == [(2,)]
