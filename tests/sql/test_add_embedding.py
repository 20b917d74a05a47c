"""add_embedding: what it makes, of what it can be made, and what it refuses."""

from __future__ import annotations

import pytest
from support import Connection, Refused, counts, objects, states

pytestmark = pytest.mark.one_transaction


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
        ("product", "embedding", " name || ': ' || description ", "all-minilm-l6-v2", 3, "cosine", "manual", False, None)
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


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("NULL, 'name'", "22004", "target is NULL", "Name a table"),
        ("'product', NULL", "22004", "source is NULL", "Give source"),
        ("'product', 'name', column_name => NULL", "22004", "column_name is NULL", "Give column_name"),
        ("'product', 'name', column_name => 'name'", "42710", 'column "name" of table "product" exists already', "adopt_embedding"),
        ("'product', 'name', 'nobody'", "42704", 'model "nobody" does not exist', "Models known here"),
        ("'product', 'name', '../x'", "22023", "invalid model name", "letters"),
        ("'product', 'name', metric => 'hamming'", "22023", "metric must be one of cosine, l2, inner_product, not hamming", "cosine"),
        ("'product', 'name', metric => NULL", "22023", "not NULL", "cosine"),
        ("'product', 'name', sync => 'never'", "22023", "sync must be one of auto, immediate, queued, manual, not never", "auto"),
        ("'product', 'name', by_hand => 'never'", "22023", "by_hand must be one of mark, refuse, not never", "mark"),
        ("'product', 'name', by_hand => NULL", "22023", "not NULL", "mark"),
        ("'product', 'name', by_hand => 'refuse', chunk_tokens => 10", "0A000", "not for chunks", "privileges"),
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
    db.execute(f"UPDATE {table} SET {column} = 'd' WHERE id = 1; INSERT INTO {table} (id, {column}) VALUES (3, 'e')")
    assert states(db, table) == ["fresh", "fresh", "fresh"]
    db.execute(f"DELETE FROM {table} WHERE id = 3")
    db.execute("SELECT pgembed.alter_embedding(%s, sync => 'manual')", [table])
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


@pytest.mark.own_database
def test_a_function_in_a_source_sees_the_path_of_its_declaration_everywhere(db: Connection) -> None:
    db.execute(
        "CREATE SCHEMA words; CREATE TABLE words.synonym (word text, other text); INSERT INTO words.synonym VALUES ('tent', 'shelter')"
    )
    db.execute(
        "CREATE FUNCTION words.other_of(word text) RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN (SELECT s.other FROM synonym AS s WHERE s.word = other_of.word); END $$"
    )
    db.execute("CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'tent')")
    db.execute("SET search_path = public, words")
    db.execute("SELECT pgembed.add_embedding('item', 'name || other_of(name)')")
    db.execute("RESET search_path")
    db.execute("CALL pgembed.refresh('item')")
    assert states(db, "item") == ["fresh"]
    db.execute("UPDATE item SET name = name || ''")
    assert states(db, "item") == ["fresh"]


def test_a_source_that_takes_the_whole_row_is_followed(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, name text);
        CREATE FUNCTION told(t) RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'told ' || $1.name $$;
        INSERT INTO t VALUES (1, 'a'), (2, 'b');
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'told(t)', sync => 'manual')")
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
