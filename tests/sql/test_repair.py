"""repair registers columns again from what their triggers declare, and believes nothing that could harm somebody."""

from __future__ import annotations

import psycopg
import pytest
from doctored import found, mended
from psycopg import sql
from support import Connection, MakeRole

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def unregistered(sound: Connection) -> Connection:
    """As after a restore of the schema alone: the objects are there, the registry is empty."""
    sound.execute("UPDATE product SET name = 'boat' WHERE id = 3; DELETE FROM pgembed._embedding")
    return sound


def test_a_column_is_registered_again_from_what_its_trigger_declares(unregistered: Connection) -> None:
    rows = "SELECT embedding::text, embedding_hash FROM product ORDER BY id"
    before = unregistered.execute(rows).fetchall()
    assert mended(unregistered, "not registered") == "SELECT * FROM pgembed.repair('public.product')"
    assert unregistered.execute(rows).fetchall() == before
    line = "SELECT column_name, source, model, sync, fresh, stale FROM pgembed.embeddings"
    assert unregistered.execute(line).fetchall() == [("embedding", "name", "all-minilm-l6-v2", "manual", 2, 1)]
    unregistered.execute("CALL pgembed.refresh('product')")
    assert unregistered.execute(line).fetchall() == [("embedding", "name", "all-minilm-l6-v2", "manual", 3, 0)]
    assert unregistered.execute("SELECT (item).name FROM pgembed.search(NULL::product, 'a ship', k => 1)").fetchall() == [("boat",)]
    unregistered.execute("SELECT pgembed.drop_embedding('product')")
    assert unregistered.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'product_embedding%'").fetchone() == (0,)


def test_a_declaration_follows_changes_of_the_column(sound: Connection) -> None:
    sound.execute("SELECT pgembed.alter_embedding('product', source => 'upper(name)', metric => 'l2')")
    sound.execute("ALTER TABLE product RENAME COLUMN embedding TO e")
    sound.execute("DELETE FROM pgembed._embedding; SELECT pgembed.repair()")
    line = "SELECT column_name, source, metric, hash_column FROM pgembed._embedding"
    assert sound.execute(line).fetchall() == [("e", "upper(name)", "l2", "embedding_hash")]
    assert found(sound, "not registered") == []


def test_chunks_are_registered_again(doc: Connection) -> None:
    before = doc.execute("SELECT * FROM pgembed.embeddings").fetchall()
    doc.execute("DELETE FROM pgembed._embedding")
    assert doc.execute("SELECT column_name::text, done FROM pgembed.repair('doc')").fetchall() == [("part", "registered again")]
    assert doc.execute("SELECT * FROM pgembed.embeddings").fetchall() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("ALTER ROUTINE product_embedding_source OWNER TO {other}", "source function"),
        ("ALTER ROUTINE product_embedding_source SECURITY INVOKER", "source function"),
        ("ALTER TABLE product DROP COLUMN embedding CASCADE; ALTER TABLE product ADD embedding text", "which the table does not have"),
    ],
)
def test_a_declaration_is_believed_only_where_it_can_harm_nobody(
    unregistered: Connection, make_role: MakeRole, damage: str, message: str
) -> None:
    unregistered.execute(damage.format(other=make_role("other")).encode())
    with pytest.raises(psycopg.Error, match=message):
        unregistered.execute("SELECT pgembed.repair('product')")
    assert unregistered.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_a_forged_function_name_is_looked_up_among_the_owners(unregistered: Connection, make_role: MakeRole) -> None:
    victim = make_role("victim")
    unregistered.execute("CREATE FUNCTION precious() RETURNS text LANGUAGE sql SECURITY DEFINER RETURN 'x'")
    unregistered.execute(f"ALTER FUNCTION precious() OWNER TO {victim}")
    said = unregistered.execute("SELECT obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgname = 'pgembed_embedding'").fetchone()
    assert said is not None
    forged = said[0].replace("product_embedding_source", "precious")
    assert forged != said[0]
    unregistered.execute(sql.SQL("COMMENT ON TRIGGER pgembed_embedding ON product IS {}").format(forged))
    with pytest.raises(psycopg.Error, match="source function"):
        unregistered.execute("SELECT pgembed.repair('product')")
    unregistered.execute("COMMENT ON TRIGGER pgembed_embedding ON product IS 'pgembed: {nonsense'")
    assert found(unregistered) == []
