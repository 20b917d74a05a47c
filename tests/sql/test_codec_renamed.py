"""Codecs and their codes after tables and schemas have been renamed or moved: everything goes on, or says what to do."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]

# By SQL and by Python, of bits, of bytes and of halfvec.
CODECS = {
    "by_sign": "'sign'",
    "by_turned": "'sign', rotation => 'random'",
    "by_int8": "'int8'",
    "by_pq": "'pq', bytes => 4",
    "by_pca": "'pca', dims => 4",
}
RENAMED = [
    ('ALTER SCHEMA shop RENAME TO "New ""shop"', '"New ""shop".item'),
    ("ALTER TABLE shop.item RENAME TO goods", "shop.goods"),
    ("CREATE SCHEMA other; ALTER TABLE shop.item SET SCHEMA other", "other.item"),
    ("CREATE SCHEMA other; ALTER TABLE shop.item SET SCHEMA other; ALTER SCHEMA shop RENAME TO closed", "other.item"),
]


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A table with filled columns of codes by triggers, and one that is generated."""
    db.execute(
        """
        CREATE SCHEMA shop;
        CREATE TABLE shop.item (id int PRIMARY KEY, e vector(8));
        INSERT INTO shop.item
        SELECT n, ARRAY(SELECT sin(n * d * d)::float4 FROM generate_series(1, 8) AS d)::vector FROM generate_series(1, 300) AS n;
        SELECT pgembed.adopt_embedding('shop.item', 'e');
        """
    )
    for name, arguments in CODECS.items():
        db.execute(f"SELECT pgembed.train_codec('{name}', 'shop.item', {arguments}, measure => false)")
        db.execute("SELECT pgembed.add_code('shop.item', %s)", [name])
        db.execute("CALL pgembed.fill_code('shop.item', %s)", [name])
    db.execute("SELECT pgembed.add_code('shop.item', 'by_pq', 'made', is_generated => true)")
    return db


def code_of(db: Connection, table: str, column: str, row: int) -> Any:
    found = db.execute(f"SELECT {column}::text FROM {table} WHERE id = {row}").fetchone()
    assert found is not None
    return found[0]


@pytest.mark.parametrize(("rename", "table"), RENAMED, ids=["schema", "table", "moved", "moved, then the old schema"])
def test_codes_are_searched_filled_and_dropped_under_new_names(shop: Connection, notices: list[Any], rename: str, table: str) -> None:
    found = "SELECT key FROM pgembed.scan_codes('{}', '[1,0,1,0,1,0,1,0]'::vector, k => 3, code => '{}')"
    before = {name: shop.execute(found.format("shop.item", name)).fetchall() for name in CODECS}
    between = "SELECT pgembed.distance(by_pq, e) FROM {} ORDER BY id"
    distances = shop.execute(between.format("shop.item")).fetchall()
    shop.execute(rename)

    lines = shop.execute("SELECT column_name::text, table_name::text, is_filled FROM pgembed.codes ORDER BY 1").fetchall()
    assert lines == [(name, table, True) for name in sorted([*CODECS, "made"])]
    for name in CODECS:
        assert shop.execute(found.format(table, name)).fetchall() == before[name], name
    assert shop.execute(between.format(table)).fetchall() == distances

    # writers never fail; where a trigger does not find its encoder any more, they are told, and so is whoever asks the view
    notices.clear()
    shop.execute(f"UPDATE {table} SET e = (SELECT e FROM {table} WHERE id = 2) WHERE id = 1")
    assert code_of(shop, table, "made", 1) == code_of(shop, table, "made", 2)
    told = [one for one in notices if one.severity == "WARNING"]
    unfilled = {name for (name,) in shop.execute("SELECT column_name::text FROM pgembed.codes WHERE NOT is_filled").fetchall()}
    assert unfilled == (set(CODECS) if told else set())
    assert all("pgembed.fill_code(" in (one.hint or "") for one in told)
    for name in CODECS:
        shop.execute(f"CALL pgembed.fill_code('{table}', '{name}')")
        assert code_of(shop, table, name, 1) == code_of(shop, table, name, 2), name
    notices.clear()
    shop.execute(f"UPDATE {table} SET e = (SELECT e FROM {table} WHERE id = 3) WHERE id = 1")
    assert [one for one in notices if one.severity == "WARNING"] == []
    assert shop.execute("SELECT bool_and(is_filled) FROM pgembed.codes").fetchone() == (True,)
    for name in CODECS:
        assert code_of(shop, table, name, 1) == code_of(shop, table, name, 3), name

    # more codes, codecs anew, and none of them
    for name in CODECS:
        shop.execute(f"SELECT pgembed.add_code('{table}', '{name}', 'again_{name}', is_generated => true)")
        assert code_of(shop, table, f"again_{name}", 7) == code_of(shop, table, name, 7)
        shop.execute(f"SELECT pgembed.retrain_codec('{name}')")
        shop.execute(f"SELECT pgembed.add_code('{table}', '{name}_2')")
        shop.execute(f"SELECT pgembed.drop_code('{table}', column_name) FROM pgembed.codes WHERE codec IN ('{name}', '{name}_2')")
        shop.execute(f"SELECT pgembed.drop_codec('{name}'), pgembed.drop_codec('{name}_2')")
    left = shop.execute(
        """
        SELECT p.proname::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('shop', 'other', 'closed', 'New "shop')
        UNION ALL SELECT t.typname FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
        WHERE n.nspname IN ('shop', 'other', 'closed', 'New "shop') AND t.typtype = 'd'
        """
    ).fetchall()
    assert left == []


@pytest.mark.own_database
def test_whoever_writes_through_a_view_is_served_after_the_schema_was_renamed(
    shop: Connection, make_role: Any, as_role: Any, connect: Any
) -> None:
    clerk = make_role("clerk")
    shop.execute(
        f"""
        CREATE TABLE shop.plain (id int PRIMARY KEY, e vector(8), code shop.by_pq_code GENERATED ALWAYS AS (shop.by_pq(e)) STORED);
        ALTER SCHEMA shop RENAME TO store;
        CREATE VIEW public.desk AS SELECT id, e FROM store.plain;
        GRANT INSERT ON public.desk TO {clerk};
        """
    )
    session = connect(shop)  # one that has not seen the constants
    with as_role(session, clerk):
        session.execute("INSERT INTO public.desk VALUES (1, '[1,2,3,4,5,6,7,8]')")
    assert session.execute("SELECT code = store.by_pq(e) FROM store.plain").fetchone() == (True,)


@pytest.mark.own_database
def test_a_schema_of_somebody_elses_does_not_become_the_codecs(shop: Connection, make_role: Any, as_role: Any, refused: Any) -> None:
    mallory = make_role("mallory")
    shop.execute("DROP FUNCTION shop.by_turned CASCADE")
    shop.execute(f"CREATE SCHEMA trap AUTHORIZATION {mallory}; GRANT CREATE ON DATABASE {shop.info.dbname} TO {mallory}")
    with as_role(shop, mallory):
        shop.execute("CREATE FUNCTION trap.by_turned(vector) RETURNS bit LANGUAGE sql IMMUTABLE AS 'SELECT B''1''::bit'")
        shop.execute("ALTER SCHEMA trap RENAME TO snare")
    assert shop.execute("SELECT encoder FROM pgembed._codec WHERE name = 'by_turned'").fetchone() == ('"shop"."by_turned"',)
    refused(
        shop, "42704", "SELECT pgembed.add_code('shop.item', 'by_turned', 'x')", message="does not exist any more", hint="retrain_codec"
    )
    shop.execute(f"REVOKE CREATE ON DATABASE {shop.info.dbname} FROM {mallory}; DROP OWNED BY {mallory}")
