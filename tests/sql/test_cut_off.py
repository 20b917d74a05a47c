"""Tables that lose what their embedded column needs to follow them: every call says so in a sentence, and doctor tells what to do."""

from __future__ import annotations

import pytest
from doctored import found, mended
from support import Connection, Notices, Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def two(sound: Connection) -> Connection:
    """A second table, whose source reads two columns."""
    sound.execute("CREATE TABLE other (id int PRIMARY KEY, name text, note text); INSERT INTO other VALUES (1, 'a', 'b'), (2, 'c', 'd')")
    sound.execute("SELECT pgembed.add_embedding('other', $$ name || note $$, sync => 'manual')")
    sound.execute("CALL pgembed.refresh('other')")
    return sound


CUT_OFF = ("ALTER TABLE other DROP COLUMN note CASCADE", "ALTER TABLE other DROP COLUMN id CASCADE")


@pytest.mark.parametrize(("damage", "said"), [(CUT_OFF[0], 'its source reads column "note"'), (CUT_OFF[1], "no primary key any more")])
def test_a_column_that_can_follow_nothing_any_more_may_stay_as_it_is(two: Connection, damage: str, said: str) -> None:
    two.execute(damage.encode())
    assert [line[0] for line in found(two)] == ["error"]
    assert "keep_column" in mended(two, said)
    assert found(two) == []
    assert two.execute("SELECT count(embedding) FROM other").fetchone() == (2,)


def test_a_column_whose_source_lost_a_column_may_have_another(two: Connection, refused: Refused) -> None:
    two.execute(CUT_OFF[0].encode())
    two.execute("INSERT INTO other VALUES (3, 'e')")
    said = 'the source of other.embedding reads column "note", which the table does not have any more'
    for call in (
        "CALL pgembed.refresh('other')",
        "CALL pgembed.refresh('other', recheck => true)",
        "SELECT * FROM pgembed.repair('other')",
        "SELECT pgembed.alter_embedding('other', sync => 'auto')",
    ):
        with two.transaction(force_rollback=True):
            refused(two, "42703", call, message=said, hint="SELECT pgembed.alter_embedding('other', 'embedding', source")
    two.execute("SELECT pgembed.alter_embedding('other', source => 'name'); CALL pgembed.refresh('other')")
    assert found(two) == []


def test_a_table_that_lost_its_primary_key_gets_it_back(two: Connection, refused: Refused) -> None:
    two.execute(CUT_OFF[1].encode())
    with two.transaction(force_rollback=True):
        refused(two, "42P16", "SELECT * FROM pgembed.repair('other')", message='table "other" has no primary key', hint="ADD PRIMARY KEY")
    two.execute("ALTER TABLE other ADD COLUMN id serial PRIMARY KEY; SELECT * FROM pgembed.repair('other')")
    two.execute("UPDATE other SET name = 'z' WHERE id = 1; CALL pgembed.refresh('other')")
    assert found(two) == []


def test_what_cannot_be_repaired_holds_up_no_other_table(two: Connection, notices: Notices) -> None:
    for damage in (CUT_OFF[0], "DROP TRIGGER pgembed_embedding ON product"):
        two.execute(damage.encode())
    assert [row[0] for row in two.execute("SELECT table_name::text FROM pgembed.repair()").fetchall()] == ["product"]
    assert "WARNING" in [told.severity for told in notices if str(told.message).startswith("other is not repaired: the source of")]


def test_a_table_that_inherits_is_found_and_let_go(sound: Connection) -> None:
    sound.execute('CREATE TABLE "a child" () INHERITS (product)')
    assert mended(sound, "inherits from it") == 'ALTER TABLE public."a child" NO INHERIT "public"."product"'


def test_a_source_function_of_another_name_is_said_to_be_gone(sound: Connection, refused: Refused) -> None:
    sound.execute("ALTER FUNCTION product_embedding_source RENAME TO mine; UPDATE product SET name = 'boat' WHERE id = 3")
    with sound.transaction(force_rollback=True):
        refused(sound, "55000", "CALL pgembed.refresh('product')", message="does not exist any more, by this name", hint="alter_embedding")


def test_a_source_that_calls_what_is_gone_says_so(sound: Connection, refused: Refused, notices: Notices) -> None:
    sound.execute("CREATE FUNCTION gone(name text) RETURNS text LANGUAGE sql RETURN upper(name)")
    sound.execute("CREATE FUNCTION calls(name text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN public.gone(name); END'")
    sound.execute("SELECT pgembed.alter_embedding('product', source => 'calls(name)'); DROP FUNCTION gone")
    with sound.transaction(force_rollback=True):
        message = "the source of product.embedding cannot be evaluated any more: function public.gone(text) does not exist"
        refused(sound, "42883", "CALL pgembed.refresh('product')", message=message, hint="alter_embedding")
    notices.clear()
    search = "SELECT (item).id FROM pgembed.search(NULL::product, 'tent', consistency => 'fresh')"
    assert sound.execute(search).fetchall() == []
    assert "left out: the source of product.embedding cannot be evaluated any more" in str(notices[0].message)
