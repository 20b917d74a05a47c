"""How rows are followed: fresh, stale, pending and null_source after every kind of write."""

from __future__ import annotations

import psycopg
import pytest
from support import Connection, Notices, Refused, counts, objects, states

pytestmark = pytest.mark.one_transaction


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
    db.execute("SELECT pgembed.add_embedding('product', $$ name || 10 / n $$, sync => 'manual')")
    db.execute("CALL pgembed.refresh('product')")
    db.execute("UPDATE product SET n = 0 WHERE id = 1")
    assert states(db) == ["stale", "fresh"]


@pytest.mark.parametrize("column", ["embedding", "embedding_hash"])
def test_a_column_of_ours_is_not_dropped_by_the_way(fresh: Connection, refused: Refused, column: str) -> None:
    error = refused(fresh, "2BP01", f"ALTER TABLE product DROP COLUMN {column}", hint="CASCADE")
    assert "trigger by_hand_pgembed_embedding on table product" in (error.diag.message_detail or "")


@pytest.mark.parametrize("column", ["embedding", "embedding_hash"])
def test_rows_can_be_written_after_a_column_of_ours_was_dropped(fresh: Connection, column: str) -> None:
    fresh.execute(f"ALTER TABLE product DROP COLUMN {column} CASCADE")
    fresh.execute("UPDATE product SET name = 'boat' WHERE id = 1")
    assert fresh.execute("SELECT name FROM product WHERE id = 1").fetchone() == ("boat",)


def test_a_dropped_hash_column_is_told_and_can_be_cleared_away(fresh: Connection, refused: Refused) -> None:
    fresh.execute("ALTER TABLE product DROP COLUMN embedding_hash CASCADE")
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
    db.execute("SELECT pgembed.add_embedding('product', 'shout', sync => 'manual')")
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
    db.execute("SELECT pgembed.add_embedding('product', 'name', sync => 'manual')")
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
