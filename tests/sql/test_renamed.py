"""What is renamed or moved works on under its other names; what is dropped leaves nothing behind."""

from __future__ import annotations

import psycopg
import pytest
from doctored import found
from support import Connection, Notices, Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def renamed(sound: Connection) -> Connection:
    """All that can have another name has one: columns, table and schema; and one row has changed since."""
    for statement in (
        "CREATE SCHEMA shop",
        "ALTER TABLE product RENAME COLUMN embedding TO e",
        "ALTER TABLE product RENAME COLUMN embedding_hash TO h",
        "ALTER TABLE product RENAME COLUMN name TO title",
        "ALTER TABLE product RENAME COLUMN id TO no",
        "ALTER TABLE product RENAME TO ware",
        "ALTER TABLE ware SET SCHEMA shop",
        'ALTER SCHEMA shop RENAME TO "My Shop"',
        'ALTER INDEX "My Shop".product_embedding_work RENAME TO w',
        """UPDATE "My Shop".ware SET title = 'boat' WHERE no = 3""",
    ):
        sound.execute(statement.encode())
    return sound


def test_everything_works_under_other_names(renamed: Connection) -> None:
    assert [line[1:] for line in found(renamed) if line[0] != "note"] == []
    line = "SELECT column_name, fresh, stale FROM pgembed.embeddings"
    assert renamed.execute(line).fetchall() == [("e", 2, 1)]
    renamed.execute("""CALL pgembed.refresh('"My Shop".ware')""")
    assert renamed.execute(line).fetchall() == [("e", 3, 0)]
    search = """SELECT (item).title FROM pgembed.search(NULL::"My Shop".ware, 'a ship', k => 1)"""
    assert renamed.execute(search).fetchall() == [("boat",)]
    renamed.execute("""INSERT INTO "My Shop".ware VALUES (4, 'lamp', 1); CALL pgembed.refresh('"My Shop".ware', 'e')""")
    assert renamed.execute(line).fetchall() == [("e", 4, 0)]
    renamed.execute("""SELECT pgembed.drop_embedding('"My Shop".ware')""")
    assert renamed.execute("SELECT count(*) FROM pg_proc WHERE proname ~ '(product|ware)_'").fetchone() == (0,)


def test_names_may_change_places(sound: Connection) -> None:
    sound.execute("SELECT pgembed.add_embedding('product', 'price::text', column_name => 'other', sync => 'manual')")
    for old, new in (("embedding", "x"), ("other", "embedding"), ("x", "other")):
        sound.execute(f"ALTER TABLE product RENAME COLUMN {old} TO {new}")
    lines = sound.execute("SELECT column_name, source FROM pgembed._embedding ORDER BY 1").fetchall()
    assert lines == [("embedding", "price::text"), ("other", "name")]
    sound.execute("CALL pgembed.refresh('product')")
    assert found(sound) == []


def test_chunks_follow_renamed_keys(doc: Connection) -> None:
    for old, new in (("id", "no"), ("body", "content"), ("part_hash", "h")):
        doc.execute(f"ALTER TABLE doc RENAME COLUMN {old} TO {new}")
    doc.execute("UPDATE doc SET content = NULL WHERE no = 1")
    assert doc.execute("SELECT count(*) FROM doc_part_chunk WHERE id = 1").fetchone() == (0,)
    doc.execute("UPDATE doc SET content = 'A harp has many strings.' WHERE no = 1; CALL pgembed.refresh('doc')")
    assert doc.execute("SELECT (item).no FROM pgembed.search(NULL::doc, 'harp', k => 1)").fetchall() == [(1,)]


def test_codes_follow_renamed_columns(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("CALL pgembed.fill_code('dot', 'dot_sign')")
    dots.execute("ALTER TABLE dot RENAME COLUMN e TO vec")
    dots.execute("ALTER TABLE dot RENAME COLUMN dot_sign TO code")
    dots.execute("UPDATE dot SET vec = '[1,2,3,4,-1,-2,-3,-4]' WHERE id = 9; INSERT INTO dot VALUES (999, 1, '[1,2,3,4,-1,-2,-3,-4]')")
    assert dots.execute("SELECT count(DISTINCT code), count(code) FROM dot WHERE id IN (9, 999)").fetchone() == (1, 2)
    assert dots.execute("SELECT column_name, embedding_column, is_filled FROM pgembed.codes").fetchall() == [("code", "vec", True)]
    assert found(dots) == []
    assert dots.execute("SELECT column_name FROM pgembed.codecs ORDER BY name LIMIT 1").fetchone() == ("vec",)


def test_what_is_known_of_the_work_goes_with_the_column(sound: Connection) -> None:
    sound.execute(
        """
        INSERT INTO pgembed._claim (table_name, column_name, keys, worker, attempts, expires_at)
        VALUES ('product', 'embedding', '{3}', 'w', 1, now());
        INSERT INTO pgembed._failure (table_name, column_name, key, attempts, sqlstate, error)
        VALUES ('product', 'embedding', '3', 1, '22000', 'x');
        INSERT INTO pgembed._pause (table_name, column_name, attempts, sqlstate, error, until)
        VALUES ('product', 'embedding', 1, '58000', 'x', now());
        """
    )
    names = " UNION ALL ".join(f"SELECT column_name FROM pgembed.{table}" for table in ("_claim", "_failure", "_pause"))
    sound.execute("ALTER TABLE product RENAME COLUMN embedding TO e")
    assert sound.execute(names).fetchall() == [("e",)] * 3
    sound.execute("DROP TABLE product")
    assert sound.execute(names).fetchall() == []


def test_dropping_the_vectors_leaves_nothing_behind(sound: Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        sound.execute("ALTER TABLE product DROP COLUMN embedding")
    sound.execute("ALTER TABLE product DROP COLUMN embedding CASCADE")
    assert sound.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    assert sound.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'product_embedding%'").fetchone() == (0,)
    left = sound.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'product'::regclass AND attnum > 0 AND NOT attisdropped")
    assert left.fetchall() == [("id",), ("name",), ("price",)]
    assert sound.execute("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'product'::regclass").fetchone() == (0,)
    sound.execute("SELECT pgembed.add_embedding('product', 'name')")


def test_dropping_adopted_vectors_takes_their_codes_along(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign'), pgembed.add_code('dot', 'dot_int8')")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        dots.execute("ALTER TABLE dot DROP COLUMN e")
    dots.execute("ALTER TABLE dot DROP COLUMN e CASCADE")
    assert dots.execute("SELECT (SELECT count(*) FROM pgembed._code), (SELECT count(*) FROM pgembed._embedding)").fetchone() == (0, 0)
    left = dots.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'dot'::regclass AND attnum > 0 AND NOT attisdropped")
    assert left.fetchall() == [("id",), ("place",)]
    for line in found(dots):
        assert line[1].startswith("codec ")
        dots.execute(line[3].encode())
    assert found(dots) == []
    assert dots.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'dot_%'").fetchone() == (0,)


def test_a_change_that_cannot_be_followed_is_made_anyway(sound: Connection, notices: Notices) -> None:
    # where pgembed would put its own
    sound.execute("CREATE TRIGGER pgembed_e BEFORE DELETE ON product EXECUTE FUNCTION suppress_redundant_updates_trigger()")
    sound.execute("ALTER TABLE product RENAME COLUMN embedding TO e")
    assert [notice.severity for notice in notices if "does not follow this change" in notice.message] == ["WARNING"]
    assert sound.execute("SELECT count(e) FROM product").fetchone() == (3,)
    assert [line[0] for line in found(sound, "product.embedding")] == ["error"]


def test_drop_extension_says_what_it_would_take_along(sound: Connection, refused: Refused) -> None:
    error = refused(sound, "2BP01", "DROP EXTENSION vector", hint="CASCADE")
    assert "product" in str(error.diag.message_detail)
