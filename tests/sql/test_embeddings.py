"""Embedded columns: add, adopt, alter, drop, refresh, and what freshness says of their rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

Connection = psycopg.Connection[Any]
Refused = Callable[..., psycopg.Error]
Notices = list[Any]
Connect = Callable[[Connection], Connection]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]
MakeRole = Callable[..., str]

PATIENCE = 60.0  # seconds after which another session is taken for stuck


@pytest.fixture
def product(db: Connection) -> Connection:
    """Three products with an embedded column that is not refreshed yet."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text, description text, price numeric);
        INSERT INTO product VALUES (1, 'jacket', 'keeps rain out', 80), (2, 'stove', 'burns gas', 40), (3, 'tent', 'sleeps two', 200);
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', $$ name || ': ' || description $$)")
    return db


@pytest.fixture
def fresh(product: Connection) -> Connection:
    """The same, refreshed."""
    product.execute("CALL pgembed.refresh('product')")
    return product


def states(db: Connection, table: str = "product") -> list[str]:
    found = db.execute(f"SELECT pgembed.freshness(embedding, embedding_hash) FROM {table} ORDER BY id").fetchall()
    return [row[0] for row in found]


def counts(db: Connection, table: str = "product") -> dict[str, int]:
    """What pgembed.embeddings counts, zeros left out."""
    names = ("fresh", "stale", "pending", "failed", "null_source")
    row = db.execute(f"SELECT {', '.join(names)} FROM pgembed.embeddings WHERE table_name = %s::regclass", [table]).fetchone()
    assert row is not None
    return {name: number for name, number in zip(names, row, strict=True) if number}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


# add_embedding ----------------------------------------------------------------------------------------------------------------


def test_add_embedding_makes_a_column_of_the_models_dimension_and_nothing_is_embedded(product: Connection) -> None:
    kind = product.execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'product'::regclass AND attname = 'embedding'"
    )
    assert kind.fetchone() == ("vector(384)",)
    assert states(product) == ["pending"] * 3


def test_embeddings_describes_the_column(product: Connection) -> None:
    row = product.execute(
        "SELECT table_name::text, column_name, source, model, rows, metric, sync, adopted, last_error FROM pgembed.embeddings"
    )
    assert row.fetchall() == [
        ("product", "embedding", " name || ': ' || description ", "all-minilm-l6-v2", 3, "cosine", "auto", False, None)
    ]


def test_refresh_embeds_the_source_with_the_columns_model(fresh: Connection) -> None:
    assert states(fresh) == ["fresh"] * 3
    row = fresh.execute("SELECT embedding = pgembed.embed('tent: sleeps two') FROM product WHERE id = 3").fetchone()
    assert row == (True,)


def test_a_named_model_is_the_columns_model(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a')")
    db.execute("SELECT pgembed.add_embedding('t', 'name', model => 'all-minilm-l6-v2-int8')")
    db.execute("CALL pgembed.refresh('t')")
    assert db.execute("SELECT embedding = pgembed.embed('a', 'all-minilm-l6-v2-int8') FROM t").fetchone() == (True,)


def test_a_table_has_several_embedded_columns(product: Connection) -> None:
    product.execute("SELECT pgembed.add_embedding('product', 'name', column_name => 'title', metric => 'l2')")
    product.execute("CALL pgembed.refresh('product')")
    found = product.execute("SELECT column_name, fresh, metric FROM pgembed.embeddings ORDER BY 1").fetchall()
    assert found == [("embedding", 3, "cosine"), ("title", 3, "l2")]
    assert product.execute("SELECT title = pgembed.embed('tent') FROM product WHERE id = 3").fetchone() == (True,)


def test_refresh_of_one_column_leaves_the_others(product: Connection) -> None:
    product.execute("SELECT pgembed.add_embedding('product', 'name', column_name => 'title')")
    product.execute("CALL pgembed.refresh('product', 'title')")
    found = product.execute("SELECT column_name, fresh, pending FROM pgembed.embeddings ORDER BY 1").fetchall()
    assert found == [("embedding", 0, 3), ("title", 3, 0)]


BAD_SOURCES = [
    ("name ||", "42601"),
    ("", "22004"),
    ("  ", "22004"),
    ("nobody", "42703"),
    ("max(name)", "42803"),
    ("string_agg(name, ',') OVER ()", "42P20"),
    ("generate_series(1, 2)::text", "0A000"),
    ("name) IS NULL OR (name", "42601"),
    ("name FROM product; DROP TABLE product; --", "42601"),
    ("name, description FROM product --", "42601"),
    ("name /*", "42601"),
    ("'unfinished", "42601"),
    ("$1", "42P02"),
    ("*", "42601"),
    ("SELECT name", "42601"),
]


@pytest.mark.parametrize(("source", "sqlstate"), BAD_SOURCES)
def test_a_source_must_be_one_expression_and_nothing_is_half_done(db: Connection, refused: Refused, source: str, sqlstate: str) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text, description text)")
    before = objects(db)
    refused(db, sqlstate, "SELECT pgembed.add_embedding('product', %s)", [source], message="source is", hint="name || ': ' || description")
    assert objects(db) == before
    assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)


def objects(db: Connection) -> list[Any]:
    """Columns of the table product, and everything in the schema public that is not an extension's."""
    return db.execute(
        """
        SELECT 'column', attname::text FROM pg_attribute WHERE attrelid = to_regclass('product') AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'trigger', tgname::text FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'function', proname::text FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
        ORDER BY 1, 2
        """
    ).fetchall()


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("NULL, 'name'", "22004", "target is NULL", "Name a table"),
        ("'product', NULL", "22004", "source is NULL", "Give source"),
        ("'product', 'name', column_name => NULL", "22004", "column_name is NULL", "Give column_name"),
        ("'product', 'name', column_name => 'name'", "42710", 'column "name" of table "product" exists already', "adopt_embedding"),
        ("'product', 'name', 'nobody'", "42704", 'model "nobody" does not exist', "Installed models"),
        ("'product', 'name', '../x'", "22023", "invalid model name", "letters"),
        ("'product', 'name', metric => 'hamming'", "22023", "metric must be one of cosine, l2, inner_product, not hamming", "cosine"),
        ("'product', 'name', metric => NULL", "22023", "not NULL", "cosine"),
        ("'product', 'name', sync => 'never'", "22023", "sync must be one of auto, manual, not never", "auto"),
        ("'product', 'name', sync => 'immediate'", "0A000", "not provided by this version", "Use one of"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_half_done(
    db: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text)")
    before = objects(db)
    refused(db, sqlstate, f"SELECT pgembed.add_embedding({arguments})", message=message, hint=hint)
    assert objects(db) == before


def test_a_column_is_embedded_once(product: Connection, refused: Refused) -> None:
    refused(
        product, "42710", "SELECT pgembed.add_embedding('product', 'name')", message="is an embedded column already", hint="alter_embedding"
    )


def test_a_table_without_a_primary_key_is_refused(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int, name text)")
    refused(
        db,
        "42P16",
        "SELECT pgembed.add_embedding('t', 'name')",
        message='table "t" has no primary key',
        hint='ALTER TABLE "public"."t" ADD PRIMARY KEY',
    )


def test_a_view_is_refused(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); CREATE VIEW v AS SELECT * FROM t")
    refused(db, "42809", "SELECT pgembed.add_embedding('v', 'name')", message='"v" is not a table', hint="table behind it")


def test_a_taken_name_of_the_hash_column_is_refused(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text, embedding_hash text)")
    before = objects(db)
    refused(db, "42710", "SELECT pgembed.add_embedding('product', 'name')", message='"embedding_hash"', hint="another column_name")
    assert objects(db) == before


def test_names_of_the_greatest_length_are_cut_where_they_must(db: Connection, refused: Refused) -> None:
    table, column = "t" * 63, "c" * 62 + "1"
    db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text); INSERT INTO {table} VALUES (1, 'a')")
    db.execute("SELECT pgembed.add_embedding(%s, 'name', column_name => %s)", [table, column])
    db.execute("CALL pgembed.refresh(%s)", [table])
    assert db.execute("SELECT column_name, fresh FROM pgembed.embeddings").fetchall() == [(column, 1)]
    # the hash column of the other would have the same name
    refused(db, "42710", "SELECT pgembed.add_embedding(%s, 'name', column_name => %s)", [table, "c" * 62 + "2"], hint="another column_name")
    db.execute("SELECT pgembed.drop_embedding(%s)", [table])


@pytest.mark.parametrize(
    ("table", "column", "source"),
    [
        ('"We""ird Table"', '"Na""me"', '"Na""me"'),
        ('"We""ird Table"', '"Na""me"', '"We""ird Table"."Na""me"'),
        ("product", "product", "product"),
        ("product", "product", "product.product"),
        ('"select"', '"from"', '"from" -- the reserved one'),
        ("shop.thing", "name", "upper(thing.name)"),
        ("t", "distance", "distance"),
        ("t", '"row"', '"row"'),
        ("t", "new_source", "new_source"),
        ("t", "changed", "changed"),
        ("t", '"back\\slash"', """ "back\\slash" || E'\\\\ \\'quoted\\'' """),
        ("t", "name", "$q$it's $q$ || name"),
    ],
)
def test_odd_names_are_embedded_followed_and_dropped(db: Connection, table: str, column: str, source: str) -> None:
    db.execute("CREATE SCHEMA shop")
    db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {column} text); INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")
    db.execute("SELECT pgembed.add_embedding(%s, %s)", [table, source])
    db.execute("CALL pgembed.refresh(%s)", [table])
    assert states(db, table) == ["fresh", "fresh"]
    db.execute(f"UPDATE {table} SET {column} = 'c' WHERE id = 1")
    assert states(db, table) == ["stale", "fresh"]
    db.execute("CALL pgembed.refresh(%s)", [table])
    assert states(db, table) == ["fresh", "fresh"]
    db.execute("SELECT pgembed.drop_embedding(%s)", [table])
    assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)


def test_a_composite_key_of_many_types_is_found_again(db: Connection) -> None:
    db.execute(
        """
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE DOMAIN code AS char(4);
        CREATE TABLE t (
            id int GENERATED ALWAYS AS IDENTITY, at timestamptz, m mood, u uuid, b bytea, c code, f float8, name text,
            PRIMARY KEY (m, at, u, b, c, f)
        );
        INSERT INTO t (at, m, u, b, c, f, name)
            SELECT timestamptz '2024-03-31 00:30:00.123456+00' + n * interval '1 hour', (ARRAY['good', 'bad'])[n % 2 + 1]::mood,
                   ('00000000-0000-0000-0000-00000000000' || n)::uuid, decode('00ff5c27', 'hex'), 'a', 1e-300 / 3 * n, 'name ' || n
            FROM generate_series(1, 7) AS n;
        """
    )
    db.execute("SET timezone = 'Europe/Berlin'; SET datestyle = 'SQL, DMY'")
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    db.execute("CALL pgembed.refresh('t', batch_size => 2)")
    assert counts(db, "t") == {"fresh": 7}


def test_pgvector_may_live_in_another_schema(empty_db: Connection) -> None:
    empty_db.execute('CREATE SCHEMA "Ext"; CREATE EXTENSION vector SCHEMA "Ext"; CREATE EXTENSION pgembed CASCADE')
    empty_db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'tent'), (2, 'stove')")
    empty_db.execute("SELECT pgembed.add_embedding('product', 'name')")
    empty_db.execute("CALL pgembed.refresh('product')")
    assert counts(empty_db) == {"fresh": 2}
    found = empty_db.execute("SELECT (item).name FROM pgembed.search(NULL::product, 'camping stove', k => 1)").fetchall()
    assert found == [("stove",)]
    empty_db.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    empty_db.execute("CALL pgembed.refresh('product')")
    assert empty_db.execute("SELECT (item).name FROM pgembed.search_like(NULL::product, '2')").fetchall() == [("boat",)]


def test_everything_works_with_a_minimal_search_path(product: Connection) -> None:
    product.execute("SET search_path = ''")
    product.execute("CALL pgembed.refresh('public.product')")
    product.execute("UPDATE public.product SET name = 'boat' WHERE id = 1")
    product.execute("CALL pgembed.refresh('public.product', batch_size => 1)")
    product.execute("SELECT pgembed.alter_embedding('public.product', source => 'name')")
    product.execute("CALL pgembed.refresh('public.product')")
    assert product.execute("SELECT fresh FROM pgembed.embeddings").fetchone() == (3,)
    product.execute("SELECT pgembed.drop_embedding('public.product')")


def test_a_source_means_for_ever_what_it_meant_when_it_was_declared(db: Connection) -> None:
    db.execute(
        """
        CREATE SCHEMA mine; CREATE SCHEMA theirs;
        CREATE FUNCTION mine.shown(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'mine ' || $1;
        CREATE FUNCTION theirs.shown(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'theirs ' || $1;
        CREATE TABLE t (id int PRIMARY KEY, name text);
        INSERT INTO t VALUES (1, 'a');
        SET search_path = mine, public;
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'shown(name)')")
    db.execute("SET search_path = theirs, public")
    db.execute("CALL pgembed.refresh('t')")
    assert db.execute("SELECT embedding = pgembed.embed('mine a') FROM t").fetchone() == (True,)


def test_a_source_that_takes_the_whole_row_is_followed(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, name text);
        CREATE FUNCTION told(t) RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'told ' || $1.name $$;
        INSERT INTO t VALUES (1, 'a'), (2, 'b');
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'told(t)')")
    db.execute("CALL pgembed.refresh('t')")
    assert states(db, "t") == ["fresh", "fresh"]
    db.execute("UPDATE t SET name = 'c' WHERE id = 1")
    assert states(db, "t") == ["stale", "fresh"]
    db.execute("CALL pgembed.refresh('t')")
    assert db.execute("SELECT embedding = pgembed.embed('told c') FROM t WHERE id = 1").fetchone() == (True,)


def test_a_source_over_the_whole_row_does_not_contain_its_own_vector(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a')")
    db.execute("SELECT pgembed.add_embedding('t', 'to_jsonb(t)::text')")
    db.execute("CALL pgembed.refresh('t')")
    first = db.execute("SELECT embedding FROM t").fetchone()
    db.execute("UPDATE t SET name = 'b'")
    db.execute("CALL pgembed.refresh('t')")
    db.execute("UPDATE t SET name = 'a'")
    db.execute("CALL pgembed.refresh('t')")
    assert states(db, "t") == ["fresh"]
    assert db.execute("SELECT embedding FROM t").fetchone() == first


# Following --------------------------------------------------------------------------------------------------------------------


def test_a_changed_text_makes_its_row_stale_and_keeps_its_vector(fresh: Connection) -> None:
    before = fresh.execute("SELECT embedding FROM product WHERE id = 2").fetchone()
    fresh.execute("UPDATE product SET description = 'burns wood' WHERE id = 2")
    assert states(fresh) == ["fresh", "stale", "fresh"]
    assert fresh.execute("SELECT embedding FROM product WHERE id = 2").fetchone() == before


def test_an_unrelated_update_leaves_a_row_fresh(fresh: Connection) -> None:
    fresh.execute("UPDATE product SET price = price + 1")
    assert states(fresh) == ["fresh"] * 3


def test_an_update_that_leaves_the_text_the_same_leaves_a_row_fresh(fresh: Connection) -> None:
    fresh.execute("UPDATE product SET name = name, description = description || ''")
    assert states(fresh) == ["fresh"] * 3


def test_a_text_that_changes_and_changes_back_is_fresh_again(fresh: Connection) -> None:
    fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    assert states(fresh)[0] == "stale"
    fresh.execute("UPDATE product SET name = 'ship' WHERE id = 1")
    assert states(fresh)[0] == "stale"
    fresh.execute("UPDATE product SET name = 'jacket' WHERE id = 1")
    assert states(fresh)[0] == "fresh"


def test_a_text_that_becomes_null_takes_its_vector_along(fresh: Connection) -> None:
    fresh.execute("UPDATE product SET description = NULL WHERE id = 1")
    assert states(fresh)[0] == "null_source"
    assert fresh.execute("SELECT embedding IS NULL FROM product WHERE id = 1").fetchone() == (True,)


def test_a_text_that_was_null_and_is_one_again_is_pending(fresh: Connection) -> None:
    fresh.execute("UPDATE product SET description = NULL WHERE id = 1")
    fresh.execute("UPDATE product SET description = 'keeps rain out' WHERE id = 1")
    assert states(fresh)[0] == "pending"
    fresh.execute("CALL pgembed.refresh('product')")
    assert states(fresh)[0] == "fresh"


def test_a_new_row_is_pending_and_refresh_embeds_only_it(fresh: Connection, notices: Notices) -> None:
    fresh.execute("INSERT INTO product VALUES (4, 'boat', 'floats', 900)")
    assert states(fresh) == ["fresh"] * 3 + ["pending"]
    fresh.execute("CALL pgembed.refresh('product')")
    assert notices[-1].message.startswith("product.embedding: 1 rows embedded")


@pytest.mark.parametrize("empty", ["NULL", "''", "'  '"])
def test_a_row_without_text_is_null_source_and_not_an_error(db: Connection, empty: str) -> None:
    db.execute(f"CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, {empty}), (2, 'a')")
    db.execute("SELECT pgembed.add_embedding('product', 'name')")
    db.execute("CALL pgembed.refresh('product')")
    assert counts(db) == {"fresh": 1, "null_source": 1}
    assert db.execute("SELECT embedding IS NULL FROM product WHERE id = 1").fetchone() == (True,)


def test_a_writer_may_bring_the_vector_along(fresh: Connection) -> None:
    fresh.execute("UPDATE product SET name = 'boat', embedding = pgembed.embed('boat: keeps rain out') WHERE id = 1")
    assert states(fresh)[0] == "fresh"


def test_upsert_is_followed(fresh: Connection) -> None:
    fresh.execute(
        "INSERT INTO product VALUES (1, 'boat', 'floats', 1)"
        " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, description = EXCLUDED.description"
    )
    assert states(fresh) == ["stale", "fresh", "fresh"]


def test_a_renamed_column_of_the_source_is_followed(fresh: Connection) -> None:
    fresh.execute("ALTER TABLE product RENAME COLUMN description TO about")
    fresh.execute("UPDATE product SET about = 'burns wood' WHERE id = 2")
    assert states(fresh) == ["fresh", "stale", "fresh"]
    fresh.execute("CALL pgembed.refresh('product')")
    assert fresh.execute("SELECT embedding = pgembed.embed('stove: burns wood') FROM product WHERE id = 2").fetchone() == (True,)
    fresh.execute("UPDATE product SET price = 1")
    fresh.execute("UPDATE product SET about = 'burns peat' WHERE id = 2")
    assert states(fresh) == ["fresh", "stale", "fresh"]


def test_a_column_with_the_old_name_of_a_renamed_one_is_not_the_source(fresh: Connection) -> None:
    fresh.execute("ALTER TABLE product RENAME COLUMN description TO about")
    fresh.execute("ALTER TABLE product ADD COLUMN description text DEFAULT 'new'")
    fresh.execute("CALL pgembed.refresh('product')")
    fresh.execute("UPDATE product SET description = 'other'")
    assert states(fresh) == ["fresh"] * 3
    fresh.execute("UPDATE product SET about = 'burns wood' WHERE id = 2")
    fresh.execute("CALL pgembed.refresh('product')")
    assert fresh.execute("SELECT embedding = pgembed.embed('stove: burns wood') FROM product WHERE id = 2").fetchone() == (True,)


def test_a_renamed_table_is_followed(fresh: Connection) -> None:
    fresh.execute("ALTER TABLE product RENAME TO ware")
    fresh.execute("UPDATE ware SET name = 'boat' WHERE id = 1")
    fresh.execute("CALL pgembed.refresh('ware')")
    assert counts(fresh, "ware") == {"fresh": 3}


def test_a_table_moved_to_another_schema_is_followed(fresh: Connection) -> None:
    fresh.execute("CREATE SCHEMA shop; ALTER TABLE product SET SCHEMA shop")
    fresh.execute("UPDATE shop.product SET name = 'boat' WHERE id = 1")
    fresh.execute("CALL pgembed.refresh('shop.product')")
    assert counts(fresh, "shop.product") == {"fresh": 3}


def test_the_type_of_a_column_that_the_source_does_not_read_can_be_changed(fresh: Connection) -> None:
    fresh.execute("ALTER TABLE product ALTER COLUMN price TYPE float8")
    fresh.execute("CALL pgembed.refresh('product')")
    assert states(fresh) == ["fresh"] * 3


def test_a_column_that_the_source_does_not_read_can_be_dropped(fresh: Connection) -> None:
    fresh.execute("ALTER TABLE product DROP COLUMN price")
    fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    fresh.execute("CALL pgembed.refresh('product')")
    assert counts(fresh) == {"fresh": 3}


def test_dropping_a_column_that_the_source_reads_is_refused_or_told(fresh: Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        fresh.execute("ALTER TABLE product DROP COLUMN description")
    assert "pgembed_embedding" in str(caught.value)


def test_whoever_writes_a_row_does_not_suffer_from_the_source(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, n int, name text); INSERT INTO product VALUES (1, 2, 'a'), (2, 2, 'b')")
    db.execute("SELECT pgembed.add_embedding('product', $$ name || 10 / n $$)")
    db.execute("CALL pgembed.refresh('product')")
    db.execute("UPDATE product SET n = 0 WHERE id = 1")
    assert states(db) == ["stale", "fresh"]


@pytest.mark.parametrize("column", ["embedding", "embedding_hash"])
def test_rows_can_be_written_after_a_column_of_ours_was_dropped(fresh: Connection, column: str) -> None:
    fresh.execute(f"ALTER TABLE product DROP COLUMN {column}")
    fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    assert fresh.execute("SELECT name FROM product WHERE id = 1").fetchone() == ("boat",)


@pytest.mark.parametrize("column", ["embedding", "embedding_hash"])
def test_a_dropped_column_of_ours_is_told_and_can_be_cleared_away(fresh: Connection, refused: Refused, column: str) -> None:
    fresh.execute(f"ALTER TABLE product DROP COLUMN {column}")
    refused(
        fresh,
        "42703",
        "CALL pgembed.refresh('product')",
        message="does not exist any more",
        hint="pgembed.drop_embedding('product', 'embedding')",
    )
    fresh.execute("SELECT table_name, rows FROM pgembed.embeddings")
    fresh.execute("SELECT pgembed.drop_embedding('product', 'embedding')")
    assert fresh.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)
    assert ("trigger", "pgembed_embedding") not in objects(fresh)


@pytest.mark.parametrize("column", ["embedding", "embedding_hash"])
def test_a_renamed_column_of_ours_does_not_hurt_writers(fresh: Connection, column: str) -> None:
    fresh.execute(f"ALTER TABLE product RENAME COLUMN {column} TO renamed")
    fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    assert fresh.execute("SELECT name FROM product WHERE id = 1").fetchone() == ("boat",)


def test_a_generated_column_as_source_is_followed(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text, n int, shout text GENERATED ALWAYS AS (upper(name)) STORED);
        INSERT INTO product VALUES (1, 'a', 1), (2, 'b', 1);
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'shout')")
    db.execute("CALL pgembed.refresh('product')")
    assert db.execute("SELECT embedding = pgembed.embed('A') FROM product WHERE id = 1").fetchone() == (True,)
    db.execute("UPDATE product SET n = 2")
    assert states(db) == ["fresh", "fresh"]
    db.execute("UPDATE product SET name = 'c' WHERE id = 1")
    assert states(db) == ["stale", "fresh"]
    db.execute("CALL pgembed.refresh('product')")
    assert states(db) == ["fresh", "fresh"]
    assert db.execute("SELECT embedding = pgembed.embed('C') FROM product WHERE id = 1").fetchone() == (True,)


@pytest.fixture
def partitioned(db: Connection) -> Connection:
    """A partitioned product; the second partition has its columns in another order and a dropped one."""
    db.execute(
        """
        CREATE TABLE product (id int, region text, name text, price int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE product_a PARTITION OF product FOR VALUES IN ('a');
        CREATE TABLE product_b (gone int, price int, name text, region text NOT NULL, id int NOT NULL);
        ALTER TABLE product_b DROP COLUMN gone;
        ALTER TABLE product ATTACH PARTITION product_b FOR VALUES IN ('b');
        INSERT INTO product VALUES (1, 'a', 'jacket', 1), (2, 'b', 'stove', 1), (3, 'b', 'tent', 1);
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'name')")
    db.execute("CALL pgembed.refresh('product', batch_size => 1)")
    return db


def test_a_partitioned_table_is_embedded_and_followed(partitioned: Connection) -> None:
    assert counts(partitioned) == {"fresh": 3}
    partitioned.execute("UPDATE product SET price = 2")
    partitioned.execute("UPDATE product SET name = name")
    assert counts(partitioned) == {"fresh": 3}
    partitioned.execute("UPDATE product SET name = 'boat' WHERE id IN (1, 2)")
    assert states(partitioned) == ["stale", "stale", "fresh"]
    partitioned.execute("UPDATE product SET name = 'stove' WHERE id = 2")
    assert states(partitioned) == ["stale", "fresh", "fresh"]


def test_a_row_that_moves_to_another_partition_keeps_its_state(partitioned: Connection) -> None:
    partitioned.execute("UPDATE product SET region = 'b' WHERE id = 1")
    assert counts(partitioned) == {"fresh": 3}
    partitioned.execute("UPDATE product SET region = 'a', name = 'boat' WHERE id = 2")
    assert states(partitioned) == ["fresh", "stale", "fresh"]


def test_a_new_partition_is_followed(partitioned: Connection) -> None:
    partitioned.execute("CREATE TABLE product_c PARTITION OF product FOR VALUES IN ('c'); INSERT INTO product VALUES (4, 'c', 'boat', 1)")
    partitioned.execute("CALL pgembed.refresh('product')")
    partitioned.execute("UPDATE product SET name = 'ship' WHERE id = 4")
    assert states(partitioned)[3] == "stale"


# refresh ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(db: Connection) -> Connection:
    """Five products; the source divides by zero in the second and the fourth."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, n int, name text);
        INSERT INTO product VALUES (1, 1, 'a'), (2, 0, 'b'), (3, 1, 'c'), (4, 0, 'd'), (5, 1, 'e');
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', $$ name || 1 / n $$)")
    return db


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_rows_whose_source_fails_are_marked_and_the_others_are_embedded(failing: Connection, notices: Notices, batch_size: int) -> None:
    failing.execute("CALL pgembed.refresh('product', batch_size => %s)", [batch_size])
    assert states(failing) == ["fresh", "failed", "fresh", "failed", "fresh"]
    assert failing.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == ("SQLSTATE 22012 while the source was evaluated",)
    warning = next(told for told in notices if told.severity == "WARNING")
    assert "2 rows failed" in warning.message
    assert failing.execute(f"SELECT id FROM product WHERE {warning.hint.split('Rows where ')[1].split(';')[0]} ORDER BY id").fetchall() == [
        (2,),
        (4,),
    ]


def test_failed_rows_are_tried_again_and_the_error_is_forgotten(failing: Connection) -> None:
    failing.execute("CALL pgembed.refresh('product')")
    failing.execute("UPDATE product SET n = 1")
    failing.execute("CALL pgembed.refresh('product')")
    assert counts(failing) == {"fresh": 5}
    assert failing.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == (None,)


def test_the_error_of_a_row_is_not_quoted_where_everybody_reads(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'secret')")
    db.execute("SELECT pgembed.add_embedding('product', 'name::int::text')")
    db.execute("CALL pgembed.refresh('product')")
    assert db.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == ("SQLSTATE 22P02 while the source was evaluated",)


def test_an_error_that_is_not_the_rows_ends_the_refresh(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'a');
        CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT x FROM no_such_table); END';
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'told(name)')")
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("CALL pgembed.refresh('product')")
    assert states(db) == ["pending"]


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("'product', batch_size => 0", "22023", "batch_size must be from 1 to 100000, not 0", "1000"),
        ("'product', batch_size => 100001", "22023", "not 100001", "1000"),
        ("'product', batch_size => NULL", "22004", "batch_size is NULL", "default"),
        ("NULL", "22004", "target is NULL", "Name a table"),
        ("'product', 'nobody'", "42704", '"nobody"', "Embedded columns of this table: embedding."),
        ("'plain'", "42704", 'table "plain" has no embedded column', "add_embedding('plain'"),
        ("'given'", "0A000", "given.e has no source to embed", "alter_embedding(..., source => '...')"),
    ],
)
def test_bad_calls_of_refresh_are_refused(
    product: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    product.execute("CREATE TABLE plain (id int); CREATE TABLE given (id int PRIMARY KEY, e vector(2))")
    product.execute("SELECT pgembed.adopt_embedding('given', 'e')")
    refused(product, sqlstate, f"CALL pgembed.refresh({arguments})", message=message, hint=hint)


def test_refresh_tells_what_it_did(product: Connection, notices: Notices) -> None:
    product.execute("INSERT INTO product VALUES (4, NULL, 'nothing')")
    product.execute("CALL pgembed.refresh('product')")
    assert notices[-1].message.startswith("product.embedding: 3 rows embedded, 1 without text in ")


def test_refresh_of_a_text_that_is_too_long_says_so(product: Connection, notices: Notices) -> None:
    product.execute("UPDATE product SET description = repeat('rain ', 200000) WHERE id = 1")
    product.execute("CALL pgembed.refresh('product')")
    told = next(told for told in notices if "longer than the model reads" in told.message)
    assert told.message.startswith("product.embedding: 1 texts")
    assert "pgembed.token_count(text)" in told.hint
    assert states(product) == ["fresh"] * 3


def test_refresh_with_nothing_to_do_changes_nothing(fresh: Connection) -> None:
    before = fresh.execute("SELECT id, xmin::text FROM product ORDER BY id").fetchall()
    fresh.execute("CALL pgembed.refresh('product')")
    assert fresh.execute("SELECT id, xmin::text FROM product ORDER BY id").fetchall() == before


def test_refresh_in_a_transaction_block_is_one_transaction_and_says_so(product: Connection, notices: Notices) -> None:
    with product.transaction(force_rollback=True):
        product.execute("CALL pgembed.refresh('product', batch_size => 1)")
        assert states(product) == ["fresh"] * 3
    assert states(product) == ["pending"] * 3
    told = next(told for told in notices if "one transaction" in told.message)
    assert "CALL pgembed.refresh() by itself commits after each batch" in told.hint


def test_refresh_in_a_function_is_one_transaction(product: Connection) -> None:
    product.execute(
        "CREATE FUNCTION again() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL pgembed.refresh('product', batch_size => 1); END $$"
    )
    product.execute("SELECT again()")
    assert states(product) == ["fresh"] * 3


def test_refresh_in_a_block_with_an_exception_handler_is_one_transaction(product: Connection) -> None:
    product.execute(
        """
        DO $$ BEGIN
            BEGIN
                CALL pgembed.refresh('product', batch_size => 1);
                RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
        END $$
        """
    )
    assert states(product) == ["pending"] * 3


def test_refresh_in_a_procedure_commits(product: Connection) -> None:
    product.execute(
        """
        CREATE PROCEDURE again() LANGUAGE plpgsql AS $$
        BEGIN
            CALL pgembed.refresh('product', batch_size => 1);
            RAISE division_by_zero;
        END $$
        """
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        product.execute("CALL again()")
    assert states(product) == ["fresh"] * 3


def test_refresh_runs_in_repeatable_read_too(product: Connection) -> None:
    product.execute("SET default_transaction_isolation = 'repeatable read'")
    product.execute("CALL pgembed.refresh('product', batch_size => 1)")
    assert states(product) == ["fresh"] * 3


# Each of the next tests stops a refresh in a known place: the source of one row waits for a lock that the test holds.


@pytest.fixture
def waiting(db: Connection) -> Connection:
    """Ten products, embedded two at a time; the source of the fifth waits for the advisory lock 1."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text);
        INSERT INTO product SELECT n, 'name ' || n FROM generate_series(1, 10) AS n;
        CREATE FUNCTION wait(id int) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            IF id = 5 THEN
                PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1);
            END IF;
            RETURN '';
        END $$;
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'name || wait(id)')")
    return db


@contextmanager
def refreshing(session: Connection, watcher: Connection) -> Iterator[list[psycopg.Error]]:
    """Refresh in another thread; inside of the block it waits for the lock, at its end it has finished or failed (see the list)."""
    failures: list[psycopg.Error] = []

    def call() -> None:
        try:
            session.execute("CALL pgembed.refresh('product', batch_size => 2)")
        except psycopg.Error as error:
            failures.append(error)

    def waits() -> bool:
        row = watcher.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
        return row == (1,) or bool(failures)

    watcher.execute("SELECT pg_advisory_lock(1)")
    thread = threading.Thread(target=call)
    thread.start()
    try:
        wait_until(waits)
        yield failures
    finally:
        watcher.execute("SELECT pg_advisory_unlock_all()")
        thread.join(PATIENCE)
    assert not thread.is_alive()


def nothing_is_half_written(db: Connection) -> bool:
    """Every vector has the hash of its text, and every row without one has none."""
    row = db.execute(
        """
        SELECT bool_and(CASE WHEN embedding IS NULL THEN embedding_hash IS NULL
                        ELSE embedding_hash = pgembed._source_hash('name ' || id) AND embedding = pgembed.embed('name ' || id) END)
        FROM product
        """
    ).fetchone()
    return row == (True,)


@pytest.mark.parametrize("stop", ["pg_cancel_backend", "pg_terminate_backend"])
def test_batches_before_a_cancel_stay_and_the_rest_is_pending(waiting: Connection, connect: Connect, stop: str) -> None:
    session = connect(waiting)
    with refreshing(session, waiting) as failures:
        waiting.execute(f"SELECT {stop}(%s)", [session.info.backend_pid])
        wait_until(lambda: bool(failures))
    assert failures[0].sqlstate == ("57014" if stop == "pg_cancel_backend" else "57P01")
    assert states(waiting) == ["fresh"] * 4 + ["pending"] * 6
    assert nothing_is_half_written(waiting)
    waiting.execute("CALL pgembed.refresh('product')")
    assert counts(waiting) == {"fresh": 10}


def test_batches_before_a_timeout_stay_and_the_rest_is_pending(waiting: Connection, connect: Connect) -> None:
    session = connect(waiting)
    session.execute("SELECT pgembed.embed('warm')")
    session.execute("SET lock_timeout = '100ms'")
    with refreshing(session, waiting) as failures:
        wait_until(lambda: bool(failures))
    assert failures[0].sqlstate == "55P03"
    assert states(waiting) == ["fresh"] * 4 + ["pending"] * 6


def test_a_row_that_changes_while_it_is_embedded_stays_unembedded(waiting: Connection, connect: Connect) -> None:
    told: list[str] = []
    session = connect(waiting)
    session.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    with refreshing(session, waiting):
        waiting.execute("UPDATE product SET name = 'new' WHERE id IN (5, 6)")
    assert states(waiting) == ["fresh"] * 4 + ["pending"] * 2 + ["fresh"] * 4
    assert any("2 changed meanwhile and are still stale" in message for message in told)


def test_a_row_that_changes_while_its_text_is_seen_to_be_back_stays_stale(waiting: Connection, connect: Connect) -> None:
    waiting.execute("CALL pgembed.refresh('product')")
    # the text is as it was, but nobody has noticed yet: the trigger did not run
    waiting.execute("UPDATE product SET embedding_hash = '\\x00' || embedding_hash WHERE id IN (5, 6)")
    with refreshing(connect(waiting), waiting):
        waiting.execute("UPDATE product SET name = 'new' WHERE id = 6")
    assert states(waiting)[5] == "stale"


def test_a_row_that_gets_a_text_while_it_is_seen_to_have_none_is_not_forgotten(waiting: Connection, connect: Connect) -> None:
    waiting.execute("UPDATE product SET name = NULL WHERE id = 6; UPDATE product SET embedding_hash = NULL WHERE id = 6")
    with refreshing(connect(waiting), waiting):
        waiting.execute("UPDATE product SET name = 'new' WHERE id = 6")
    assert states(waiting)[5] in ("pending", "stale")


def test_a_row_that_is_deleted_while_it_is_embedded_is_gone(waiting: Connection, connect: Connect) -> None:
    with refreshing(connect(waiting), waiting) as failures:
        waiting.execute("DELETE FROM product WHERE id = 6")
    assert failures == []
    assert counts(waiting) == {"fresh": 9}


def test_writers_do_not_wait_while_texts_are_embedded(waiting: Connection, connect: Connect) -> None:
    with refreshing(connect(waiting), waiting):
        waiting.execute("SET lock_timeout = '1s'")
        waiting.execute("UPDATE product SET name = 'new'")
        waiting.execute("INSERT INTO product VALUES (11, 'newer')")


def test_two_refreshes_at_once_embed_every_row(product: Connection, connect: Connect) -> None:
    product.execute("INSERT INTO product SELECT n, 'name', n::text FROM generate_series(10, 59) AS n")
    failures: list[psycopg.Error] = []

    def call(session: Connection) -> None:
        try:
            session.execute("CALL pgembed.refresh('product', batch_size => 5)")
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(connect(product),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert counts(product) == {"fresh": 53}


def test_the_index_is_built_once_the_column_is_full(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text, embedding vector(384))")
    db.execute("INSERT INTO product SELECT n, 'tent', NULL FROM generate_series(1, 5000) AS n")
    # Vectors brought along, of so few different ones that the index is built in a moment.
    db.execute("UPDATE product SET embedding = array_fill(0.1, ARRAY[383])::real[] || (id % 7)::real")
    db.execute("SELECT pgembed.adopt_embedding('product', 'embedding', 'all-minilm-l6-v2', source => 'name', metric => 'l2')")
    db.execute("INSERT INTO product VALUES (0, 'boat')")
    db.execute("CALL pgembed.refresh('product')")
    found = db.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'product_embedding_idx'").fetchone()
    assert found is not None
    assert "USING hnsw (embedding vector_l2_ops)" in found[0]


# adopt_embedding --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(db: Connection) -> Connection:
    """Two rows with vectors that somebody has made."""
    db.execute("CREATE TABLE given (id int PRIMARY KEY, name text, e vector(384), h halfvec(384), x vector(3), n int)")
    db.execute("INSERT INTO given VALUES (1, 'tent'), (2, 'stove')")
    db.execute("UPDATE given SET e = pgembed.embed(name), h = pgembed.embed(name), x = ARRAY[id, 1, 1]")
    return db


def test_adopted_vectors_are_searched_as_they_are(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'e', 'all-minilm-l6-v2')")
    assert given.execute("SELECT (item).name FROM pgembed.search(NULL::given, 'camping stove', k => 1)").fetchall() == [("stove",)]
    assert given.execute("SELECT fresh, source, adopted FROM pgembed.embeddings").fetchone() == (2, None, True)


def test_adopted_vectors_with_a_source_are_fresh_and_followed(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'h', 'all-minilm-l6-v2', source => 'name')")
    before = given.execute("SELECT h FROM given WHERE id = 2").fetchone()
    given.execute("CALL pgembed.refresh('given')")
    assert given.execute("SELECT h FROM given WHERE id = 2").fetchone() == before
    given.execute("UPDATE given SET name = 'boat' WHERE id = 1")
    assert given.execute("SELECT fresh, stale FROM pgembed.embeddings").fetchone() == (1, 1)
    given.execute("CALL pgembed.refresh('given')")
    assert given.execute("SELECT h = pgembed.embed('boat')::halfvec FROM given WHERE id = 1").fetchone() == (True,)


def test_an_adopted_text_that_changes_and_changes_back_is_embedded_anew(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'e', 'all-minilm-l6-v2', source => 'name')")
    given.execute("UPDATE given SET name = 'boat' WHERE id = 1")
    given.execute("UPDATE given SET name = 'tent' WHERE id = 1")
    given.execute("CALL pgembed.refresh('given')")
    assert given.execute("SELECT fresh FROM pgembed.embeddings").fetchone() == (2,)


@pytest.mark.parametrize(
    ("opclass", "metric"), [("vector_l2_ops", "l2"), ("vector_ip_ops", "inner_product"), ("vector_cosine_ops", "cosine")]
)
def test_the_metric_is_that_of_an_index(given: Connection, opclass: str, metric: str) -> None:
    given.execute(f"CREATE INDEX ON given USING hnsw (x {opclass})")
    given.execute("SELECT pgembed.adopt_embedding('given', 'x')")
    assert given.execute("SELECT metric FROM pgembed.embeddings").fetchone() == (metric,)


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("'given', 'nobody'", "42703", '"nobody"', "add_embedding"),
        ("'given', 'n'", "42804", "of type int4, not vector or halfvec", "pgvector"),
        ("'given', 'x', 'all-minilm-l6-v2'", "22000", "holds vectors of 3 dimensions", "or none: then queries are vectors"),
        ("'given', 'e', 'nobody'", "42704", '"nobody"', "Installed models"),
        ("'given', 'e', source => 'name'", "22004", "a source needs a model", "Name the model"),
        ("'given', 'e', 'all-minilm-l6-v2', source => 'name ||'", "42601", "source is not an expression", "name || ': '"),
        ("'given', 'e', metric => 'hamming'", "22023", "metric must be one of", "cosine"),
        ("'given', NULL", "22004", "column_name is NULL", "Give"),
        ("NULL, 'e'", "22004", "target is NULL", "Name a table"),
        ("'given', 'ctid'", "42804", "not vector or halfvec", "pgvector"),
    ],
)
def test_bad_adoptions_are_refused(given: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str) -> None:
    refused(given, sqlstate, f"SELECT pgembed.adopt_embedding({arguments})", message=message, hint=hint)
    assert given.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)


def test_a_column_is_adopted_once(given: Connection, refused: Refused) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'e')")
    refused(given, "42710", "SELECT pgembed.adopt_embedding('given', 'e')", message="embedded column already", hint="drop_embedding")


def test_the_dimension_of_a_column_without_one_is_that_of_its_rows(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, e vector); INSERT INTO t VALUES (1, '[1,2]')")
    refused(
        db, "22000", "SELECT pgembed.adopt_embedding('t', 'e', 'all-minilm-l6-v2')", message="holds vectors of 2 dimensions", hint="or none"
    )


# alter_embedding --------------------------------------------------------------------------------------------------------------


def test_a_new_source_makes_every_row_stale_and_is_followed(fresh: Connection) -> None:
    fresh.execute("SELECT pgembed.alter_embedding('product', source => 'name')")
    assert states(fresh) == ["stale"] * 3
    fresh.execute("CALL pgembed.refresh('product')")
    assert fresh.execute("SELECT embedding = pgembed.embed('tent') FROM product WHERE id = 3").fetchone() == (True,)
    fresh.execute("UPDATE product SET description = 'x'")
    assert states(fresh) == ["fresh"] * 3
    fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    assert states(fresh) == ["stale", "fresh", "fresh"]


def test_a_new_source_that_gives_the_old_text_needs_no_model(fresh: Connection, notices: Notices) -> None:
    fresh.execute("SELECT pgembed.alter_embedding('product', source => $$ concat(name, ': ', description) $$)")
    fresh.execute("CALL pgembed.refresh('product')")
    assert notices[-1].message.startswith("product.embedding: 0 rows embedded, 3 had their old text again")


def test_a_new_model_empties_the_column_and_says_so(fresh: Connection, notices: Notices) -> None:
    fresh.execute("SELECT pgembed.alter_embedding('product', model => 'all-minilm-l6-v2-int8')")
    assert states(fresh) == ["pending"] * 3
    assert "product.embedding is empty now" in notices[-1].message
    assert "CALL pgembed.refresh('product', 'embedding')" in notices[-1].hint
    fresh.execute("CALL pgembed.refresh('product')")
    row = fresh.execute(
        "SELECT embedding = pgembed.embed('tent: sleeps two', 'all-minilm-l6-v2-int8') FROM product WHERE id = 3"
    ).fetchone()
    assert row == (True,)


def test_the_same_model_again_empties_nothing(fresh: Connection) -> None:
    fresh.execute("SELECT pgembed.alter_embedding('product', model => 'all-minilm-l6-v2')")
    assert states(fresh) == ["fresh"] * 3


def test_a_model_of_another_dimension_changes_the_columns_type(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'x'); CREATE INDEX ON given USING hnsw (x vector_cosine_ops)")
    given.execute("SELECT pgembed.alter_embedding('given', 'x', source => 'name', model => 'all-minilm-l6-v2')")
    given.execute("CALL pgembed.refresh('given')")
    assert given.execute("SELECT count(*) FROM given WHERE x = e").fetchone() == (2,)


def test_metric_and_sync_can_be_changed_alone(fresh: Connection) -> None:
    fresh.execute("SELECT pgembed.alter_embedding('product', metric => 'l2')")
    fresh.execute("SELECT pgembed.alter_embedding('product', sync => 'manual')")
    row = fresh.execute("SELECT metric, sync, source, fresh FROM pgembed.embeddings").fetchone()
    assert row == ("l2", "manual", " name || ': ' || description ", 3)


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("'product', source => 'name ||'", "42601", "source is not an expression", "name || ': '"),
        ("'product', model => 'nobody'", "42704", '"nobody"', "Installed models"),
        ("'product', metric => 'hamming'", "22023", "metric must be one of", "cosine"),
        ("'product', sync => 'never'", "22023", "sync must be one of", "auto"),
        ("'product', 'nobody'", "42704", '"nobody"', "Embedded columns"),
        ("'given', model => 'all-minilm-l6-v2'", "0A000", "no source from which another model could embed it", "Give the source"),
        ("'given', source => 'id::text'", "22004", "a source needs a model", "Name the model"),
    ],
)
def test_bad_alterations_are_refused_and_nothing_is_half_done(
    fresh: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    fresh.execute("CREATE TABLE given (id int PRIMARY KEY, e vector(384))")
    fresh.execute("SELECT pgembed.adopt_embedding('given', 'e')")
    before = objects(fresh), fresh.execute("SELECT * FROM pgembed._embedding ORDER BY 1, 2").fetchall()
    refused(fresh, sqlstate, f"SELECT pgembed.alter_embedding({arguments})", message=message, hint=hint)
    assert (objects(fresh), fresh.execute("SELECT * FROM pgembed._embedding ORDER BY 1, 2").fetchall()) == before
    assert states(fresh) == ["fresh"] * 3


# drop_embedding ---------------------------------------------------------------------------------------------------------------


def test_drop_embedding_undoes_add_embedding(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text)")
    before = objects(db)
    db.execute("SELECT pgembed.add_embedding('product', 'name')")
    db.execute("SELECT pgembed.drop_embedding('product')")
    assert objects(db) == before
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_drop_embedding_keeps_the_vectors_where_asked(fresh: Connection) -> None:
    fresh.execute("SELECT pgembed.drop_embedding('product', keep_column => true)")
    assert fresh.execute("SELECT count(embedding) FROM product").fetchone() == (3,)
    assert ("trigger", "pgembed_embedding") not in objects(fresh)


def test_drop_embedding_keeps_an_adopted_column_unless_told(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'e', 'all-minilm-l6-v2', source => 'name')")
    given.execute("SELECT pgembed.drop_embedding('given')")
    assert given.execute("SELECT count(e) FROM given").fetchone() == (2,)
    given.execute("SELECT pgembed.adopt_embedding('given', 'e')")
    given.execute("SELECT pgembed.drop_embedding('given', keep_column => false)")
    assert given.execute(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'given'::regclass AND attname IN ('e', 'e_hash')"
    ).fetchone() == (0,)


def test_drop_embedding_that_others_depend_on_is_refused_and_nothing_is_half_done(fresh: Connection) -> None:
    fresh.execute("CREATE VIEW seen AS SELECT embedding FROM product")
    before = objects(fresh)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        fresh.execute("SELECT pgembed.drop_embedding('product')")
    assert objects(fresh) == before
    assert states(fresh) == ["fresh"] * 3


def test_drop_embedding_of_nothing_is_refused(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    refused(db, "42704", "SELECT pgembed.drop_embedding('t')", message='table "t" has no embedded column', hint="add_embedding")


def test_a_dropped_table_is_no_longer_listed(fresh: Connection) -> None:
    fresh.execute("DROP TABLE product CASCADE")
    assert fresh.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)


def test_a_table_can_be_dropped_without_cascade(fresh: Connection) -> None:
    fresh.execute("DROP TABLE product")


def test_a_dropped_table_leaves_nothing_behind(fresh: Connection) -> None:
    fresh.execute("DROP TABLE product")
    assert objects(fresh) == []
    assert fresh.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_a_table_dropped_by_a_role_without_rights_on_pgembed_leaves_nothing_behind(
    db: Connection, make_role: MakeRole, as_role: AsRole
) -> None:
    alice = make_role("alice")
    db.execute(f"CREATE SCHEMA alice AUTHORIZATION {alice}")
    with as_role(db, alice):
        db.execute("CREATE TABLE alice.product (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('alice.product', 'name')")
        db.execute("DROP TABLE alice.product")
    assert db.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'alice'::regnamespace").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_a_dropped_schema_takes_its_embedded_tables_along(db: Connection) -> None:
    db.execute("CREATE SCHEMA shop; CREATE TABLE shop.product (id int PRIMARY KEY, name text)")
    db.execute("SELECT pgembed.add_embedding('shop.product', 'name')")
    db.execute("DROP SCHEMA shop CASCADE")
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_a_table_can_be_made_again_under_the_same_name(fresh: Connection) -> None:
    fresh.execute("DROP TABLE product")
    fresh.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'a')")
    fresh.execute("SELECT pgembed.add_embedding('product', 'name')")
    fresh.execute("CALL pgembed.refresh('product')")
    assert counts(fresh) == {"fresh": 1}


# Rights -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pgembed.add_embedding('product', 'name', column_name => 'title')",
        "SELECT pgembed.adopt_embedding('given', 'e')",
        "SELECT pgembed.alter_embedding('product', source => 'name')",
        "SELECT pgembed.alter_embedding('product', metric => 'l2')",
        "SELECT pgembed.drop_embedding('product')",
        "CALL pgembed.refresh('product')",
        "CALL pgembed.refresh('product', 'embedding')",
    ],
)
def test_only_the_owner_may_change_an_embedded_column(
    product: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused, statement: str
) -> None:
    bob = make_role("bob")
    product.execute("CREATE TABLE given (id int PRIMARY KEY, e vector(2))")
    product.execute(f"GRANT ALL ON product, given TO {bob}; GRANT CREATE ON SCHEMA public TO {bob}")
    with as_role(product, bob):
        refused(product, "42501", statement, message="must be owner of table", hint='Its owner is the role "postgres"')
    assert states(product) == ["pending"] * 3


def test_an_owner_who_is_no_superuser_can_do_everything(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    alice = make_role("alice")
    db.execute(f"CREATE SCHEMA alice AUTHORIZATION {alice}")
    with as_role(db, alice):
        db.execute(
            "CREATE TABLE alice.product (id int PRIMARY KEY, name text, e vector(3)); INSERT INTO alice.product VALUES (1, 'a'), (2, 'b')"
        )
        db.execute("SELECT pgembed.add_embedding('alice.product', 'name')")
        db.execute("SELECT pgembed.adopt_embedding('alice.product', 'e')")
        db.execute("CALL pgembed.refresh('alice.product', batch_size => 1)")
        db.execute("UPDATE alice.product SET name = 'c' WHERE id = 1")
        assert states(db, "alice.product") == ["stale", "fresh"]
        db.execute("SELECT pgembed.alter_embedding('alice.product', 'embedding', source => 'upper(name)')")
        db.execute("CALL pgembed.refresh('alice.product')")
        assert db.execute("SELECT count(*) FROM pgembed.search(NULL::alice.product, 'x', column_name => 'embedding')").fetchone() == (2,)
        assert db.execute("SELECT fresh FROM pgembed.embeddings WHERE column_name = 'embedding'").fetchone() == (2,)
        db.execute("SELECT pgembed.drop_embedding('alice.product', 'embedding'); SELECT pgembed.drop_embedding('alice.product', 'e')")
        assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)


def test_a_member_of_the_owning_role_may_do_what_the_owner_may(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    team, ann = make_role("team"), make_role("ann")
    db.execute(f"GRANT {team} TO {ann}; CREATE SCHEMA team AUTHORIZATION {team}")
    db.execute(f"CREATE TABLE team.product (id int PRIMARY KEY, name text); ALTER TABLE team.product OWNER TO {team}")
    db.execute("INSERT INTO team.product VALUES (1, 'a')")
    with as_role(db, ann):
        db.execute("SELECT pgembed.add_embedding('team.product', 'name')")
        db.execute("CALL pgembed.refresh('team.product')")
        assert states(db, "team.product") == ["fresh"]
        assert db.execute("SELECT current_user::text").fetchone() == (ann,)
    owners = db.execute("SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'team'::regnamespace").fetchall()
    assert owners == [(team,)]


def test_a_superuser_may_do_it_for_the_owner_and_what_is_made_is_the_owners(db: Connection, make_role: MakeRole) -> None:
    alice = make_role("alice")
    db.execute(f"CREATE SCHEMA alice AUTHORIZATION {alice}; CREATE TABLE alice.product (id int PRIMARY KEY, name text)")
    db.execute(f"ALTER TABLE alice.product OWNER TO {alice}; INSERT INTO alice.product VALUES (1, 'a')")
    db.execute("SELECT pgembed.add_embedding('alice.product', 'name')")
    db.execute("CALL pgembed.refresh('alice.product')")
    assert states(db, "alice.product") == ["fresh"]
    owners = db.execute("SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'alice'::regnamespace").fetchall()
    assert owners == [(alice,)]
    assert db.execute("SELECT current_user::text, current_setting('role')").fetchone() == ("postgres", "none")


def test_after_a_change_of_owner_the_hint_says_what_else_to_give_away(
    fresh: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    alice = make_role("alice")
    fresh.execute(f"GRANT CREATE ON SCHEMA public TO {alice}; ALTER TABLE product OWNER TO {alice}")
    with as_role(fresh, alice):
        fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
        told = refused(
            fresh, "55000", "CALL pgembed.refresh('product')", message="rights of the table's owner", hint="After a change of owner"
        )
    statement, other = str(told.diag.message_hint).removeprefix("After a change of owner: ").split(". Else")[0].split(", and so for ")
    fresh.execute(statement)
    fresh.execute(f"ALTER ROUTINE {other} OWNER TO {alice}")
    with as_role(fresh, alice):
        fresh.execute("CALL pgembed.refresh('product')")
        assert states(fresh) == ["fresh"] * 3
        fresh.execute("SELECT pgembed.alter_embedding('product', source => 'name')")
        fresh.execute("SELECT pgembed.drop_embedding('product')")


def test_counts_are_null_for_whoever_may_not_read_the_columns(fresh: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    with as_role(fresh, bob):
        assert fresh.execute("SELECT table_name::text, rows, fresh FROM pgembed.embeddings").fetchall() == [("product", None, None)]
    fresh.execute(f"GRANT SELECT (embedding, embedding_hash) ON product TO {bob}")
    with as_role(fresh, bob):
        assert fresh.execute("SELECT rows, fresh FROM pgembed.embeddings").fetchall() == [(3, 3)]


def test_rows_hidden_by_row_security_are_not_counted(fresh: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    fresh.execute(
        f"GRANT SELECT ON product TO {bob}; ALTER TABLE product ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON product USING (id = 1)"
    )
    with as_role(fresh, bob):
        assert fresh.execute("SELECT rows FROM pgembed.embeddings").fetchone() in [(None,), (1,)]


def test_the_view_serves_those_who_may_not_enter_a_tables_schema(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    db.execute(
        "CREATE SCHEMA closed; CREATE TABLE closed.product (id int PRIMARY KEY, e vector(2)); GRANT SELECT ON closed.product TO PUBLIC"
    )
    db.execute("SELECT pgembed.adopt_embedding('closed.product', 'e')")
    with as_role(db, bob):
        assert db.execute("SELECT column_name, rows FROM pgembed.embeddings").fetchall() == [("e", None)]


def test_a_materialized_view_that_is_not_filled_does_not_break_the_view(given: Connection) -> None:
    given.execute("CREATE MATERIALIZED VIEW seen AS SELECT * FROM given")
    given.execute("SELECT pgembed.adopt_embedding('seen', 'x'); REFRESH MATERIALIZED VIEW seen WITH NO DATA")
    assert given.execute("SELECT table_name::text, rows FROM pgembed.embeddings").fetchall() == [("seen", None)]
