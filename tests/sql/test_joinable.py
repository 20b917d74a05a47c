"""joinable_columns on a made database whose true joins are known: keys, equal texts, other spellings of countries."""

from __future__ import annotations

from typing import Any

import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, name text, country_code text, email text);
CREATE TABLE countries (code text PRIMARY KEY, name text, population bigint);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, ordered date, total numeric(10, 2), ship_to text);
CREATE TABLE lines (id bigint PRIMARY KEY, order_no int, sku text, quantity int);
CREATE TABLE products (id int PRIMARY KEY, sku text UNIQUE, stock int);
CREATE TABLE offices (id int PRIMARY KEY, city text, nation text);
CREATE TABLE staff (id int PRIMARY KEY, salary int, office text);
CREATE TABLE log (id bigint PRIMARY KEY, person int REFERENCES staff, message text);
INSERT INTO countries SELECT 'A' || chr(65 + i),
    (ARRAY['Germany', 'France', 'Spain', 'Italy', 'Poland', 'Austria', 'Sweden', 'Norway'])[i + 1],
    1000000 * i FROM generate_series(0, 7) AS i;
INSERT INTO customers SELECT n, 'customer ' || md5(n::text), 'A' || chr(65 + n % 8), 'u' || n || '@example.org'
    FROM generate_series(1, 2000) AS n;
INSERT INTO products SELECT n, 'SKU-' || lpad((n * 7)::text, 6, '0'), n % 100 FROM generate_series(1, 900) AS n;
INSERT INTO orders SELECT n, 1 + (n * 7919) % 2000, date '2024-01-01' + n % 700, n % 900 + .5,
    (ARRAY['Berlin', 'Paris', 'Madrid', 'Rome', 'Warsaw'])[1 + n % 5] FROM generate_series(1, 5000) AS n;
INSERT INTO lines SELECT n, 1 + (n * 31) % 5000, 'SKU-' || lpad(((1 + (n * 13) % 900) * 7)::text, 6, '0'), 1 + n % 9
    FROM generate_series(1, 8000) AS n;
INSERT INTO offices SELECT i + 1, (ARRAY['Berlin', 'Paris', 'Madrid', 'Rome', 'Warsaw', 'Vienna'])[i + 1],
    (ARRAY['Federal Republic of Germany', 'French Republic', 'Kingdom of Spain', 'Italian Republic', 'Republic of Poland',
        'Republic of Austria'])[i + 1]
    FROM generate_series(0, 5) AS i;
INSERT INTO staff SELECT n, 30000 + n * 17,
    (ARRAY['Berlin', 'Paris', 'Madrid', 'Rome', 'Warsaw', 'Vienna'])[1 + n % 6] FROM generate_series(1, 500) AS n;
INSERT INTO log SELECT n, 1 + n % 500, 'did ' || md5(n::text) FROM generate_series(1, 2000) AS n;
"""
TRUE = {
    ("customers.country_code", "countries.code"),
    ("customers.id", "orders.customer_id"),
    ("orders.id", "lines.order_no"),
    ("lines.sku", "products.sku"),
    ("orders.ship_to", "offices.city"),
    ("staff.office", "offices.city"),
    ("orders.ship_to", "staff.office"),
    ("staff.id", "log.person"),
    ("countries.name", "offices.nation"),
}
TABLES = ("customers", "countries", "orders", "lines", "products", "offices", "staff", "log")


@pytest.fixture
def shop(db: Connection) -> Connection:
    db.execute(SHOP)
    db.execute("ANALYZE")
    return db


def found(db: Connection, table: str, options: str = "") -> list[tuple[Any, ...]]:
    return db.execute(
        f"SELECT own_column, other_table::text, other_column, kind, containment, score, evidence, statement"
        f" FROM pgembed.joinable_columns('{table}'{options})"
    ).fetchall()


@pytest.mark.parametrize("options", ["", ", sampled => true"])
def test_true_joins_are_found_and_numbers_do_not_flood_the_list(shop: Connection, options: str) -> None:
    pairs = set()
    for table in TABLES:
        # a model is asked for one table alone
        semantic = "" if table == "offices" else ", semantic => false"
        for own, other, column, *_ in found(shop, table, options + semantic):
            one, two = f"{table}.{own}", f"{other}.{column}"
            pairs.add((one, two) if (one, two) in TRUE or (two, one) not in TRUE else (two, one))
    wrong = {tuple(sorted(pair)) for pair in pairs - TRUE}
    assert len(TRUE & pairs) >= 9, TRUE - pairs
    assert len(wrong) <= 3, wrong


def test_statements_join_and_the_best_comes_first(shop: Connection) -> None:
    lines = found(shop, "lines", ", semantic => false")
    assert [(own, other, column) for own, other, column, *_ in lines if own == "sku"] == [("sku", "products", "sku")]
    for *_, kind, share, score, evidence, statement in lines:
        assert kind == "equi"
        assert 0 <= share <= 1
        assert 0.3 <= score <= 1
        assert evidence
        assert shop.execute(f"{statement} LIMIT 1").fetchone() is not None  # type: ignore[arg-type]


def test_a_foreign_key_is_told_from_both_sides(shop: Connection) -> None:
    for table, column in (("log", "person"), ("staff", "id")):
        first = found(shop, table, f", '{column}', semantic => false")[0]
        assert first[5] == 1.0
        assert "foreign key" in first[6]


def test_other_words_for_the_same_are_joined_by_meaning(shop: Connection) -> None:
    lines = [line for line in found(shop, "offices", ", 'nation'") if line[3] == "semantic"]
    assert [line[1:3] for line in lines][:1] == [("countries", "name")]
    assert "pgembed.semantic_join(NULL::" in lines[0][7]
    assert shop.execute(lines[0][7].replace("SELECT *", "SELECT distance")).fetchone() is not None


def test_without_statistics_the_hint_says_what_to_do(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE a (x text); CREATE TABLE b (y text); INSERT INTO a VALUES ('red'), ('blue'); INSERT INTO b SELECT x FROM a")
    refused(db, "55000", "SELECT * FROM pgembed.joinable_columns('a')", message='nothing is known of the values of "a"', hint="ANALYZE a")
    assert found(db, "a", ", sampled => true, semantic => false")[0][:5] == ("x", "b", "y", "equi", 1.0)


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("'a', 'z'", "42703", 'column "z" of table "a" does not exist'),
        ("'a', 'f'", "42804", "is of type double precision"),
        ("'a', k => 0", "22023", "k must be at least 1"),
        ("'a', k => NULL", "22004", "cannot be NULL"),
        ("NULL", "22004", "target is NULL"),
        ("'v'", "42809", '"v" is not a table'),
    ],
)
def test_what_cannot_be_answered(db: Connection, refused: Refused, arguments: str, sqlstate: str, message: str) -> None:
    db.execute("CREATE TABLE a (x text, f float8); CREATE VIEW v AS SELECT * FROM a")
    refused(db, sqlstate, f"SELECT * FROM pgembed.joinable_columns({arguments})", message=message)


def test_what_the_caller_may_not_read_is_not_told(shop: Connection, as_role: AsRole, make_role: MakeRole, refused: Refused) -> None:
    role = make_role("clerk")
    shop.execute(f"GRANT SELECT ON lines TO {role}; GRANT SELECT (id, stock) ON products TO {role}; GRANT SELECT ON orders TO {role}")
    shop.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    with as_role(shop, role):
        lines = found(shop, "lines", ", semantic => false")
        assert not [line for line in lines if line[2] == "sku"], "products.sku is not granted"
        to_orders = [line for line in lines if line[1] == "orders"]
        assert all(line[4] is None for line in to_orders), "statistics would tell of rows that the policy hides"
        sampled = [line for line in found(shop, "lines", ", sampled => true, semantic => false") if line[1] == "orders"]
        assert all(line[4] in (0.0, None) for line in sampled)
        refused(shop, "42501", "SELECT * FROM pgembed.joinable_columns('products', 'sku')", message="permission denied")
        refused(shop, "55000", "SELECT * FROM pgembed.joinable_columns('orders')", message="row security", hint="sampled => true")


def test_tables_without_statistics_are_told_once(shop: Connection, notices: Notices) -> None:
    shop.execute("CREATE TABLE fresh (customer_id int); INSERT INTO fresh VALUES (1)")
    shop.execute("SET client_min_messages = notice")
    lines = found(shop, "customers", ", 'id', semantic => false")
    assert ("fresh", "customer_id") in [line[1:3] for line in lines]
    assert [notice.message for notice in notices if "fresh" in notice.message]
