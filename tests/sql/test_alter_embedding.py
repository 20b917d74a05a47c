"""adopt_embedding, alter_embedding and drop_embedding."""

from __future__ import annotations

import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused, counts, objects, states

pytestmark = pytest.mark.one_transaction


def test_adopted_vectors_are_searched_as_they_are(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'e', 'all-minilm-l6-v2')")
    assert given.execute("SELECT (item).name FROM pgembed.search(NULL::given, 'camping stove', k => 1)").fetchall() == [("stove",)]
    assert given.execute("SELECT fresh, source, adopted FROM pgembed.embeddings").fetchone() == (2, None, True)


def test_adopted_vectors_with_a_source_are_fresh_and_followed(given: Connection) -> None:
    given.execute("SELECT pgembed.adopt_embedding('given', 'h', 'all-minilm-l6-v2', source => 'name', sync => 'manual')")
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
        ("'given', 'e', 'nobody'", "42704", '"nobody"', "Models known here"),
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
        ("'product', model => 'nobody'", "42704", '"nobody"', "Models known here"),
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
