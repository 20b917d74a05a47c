"""Who may train and drop codecs, whose objects they are, and with whose rights they encode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import AsRole, Connection, MakeRole, Refused

pytestmark = pytest.mark.one_transaction

TRAIN = "SELECT pgembed.train_codec('{}', 'shop.item', '{}', measure => false)"


@pytest.fixture
def owner(db: Connection, make_role: MakeRole) -> str:
    """The owner of a schema and of a table in it, with an embedded column of four dimensions."""
    role = make_role("owner")
    db.execute(f"CREATE SCHEMA shop AUTHORIZATION {role}; CREATE TABLE shop.item (id int PRIMARY KEY, e vector(4))")
    db.execute("INSERT INTO shop.item SELECT n, ARRAY[sin(n), cos(n), sin(2 * n), 1]::vector FROM generate_series(1, 300) AS n")
    db.execute(f"ALTER TABLE shop.item OWNER TO {role}; SELECT pgembed.adopt_embedding('shop.item', 'e')")
    return role


def owners(db: Connection) -> list[Any]:
    return db.execute(
        """
        SELECT proname::text, proowner::regrole::text FROM pg_proc WHERE pronamespace = 'shop'::regnamespace
        UNION ALL SELECT typname::text, typowner::regrole::text FROM pg_type WHERE typnamespace = 'shop'::regnamespace AND typtype = 'd'
        ORDER BY 1
        """
    ).fetchall()


@pytest.mark.parametrize("who", ["superuser", "owner", "member"])
def test_whoever_trains_the_objects_are_the_table_owners(
    db: Connection, owner: str, make_role: MakeRole, as_role: AsRole, who: str
) -> None:
    member = make_role("member")
    db.execute(f"GRANT {owner} TO {member}")
    with as_role(db, {"superuser": "postgres", "owner": owner, "member": member}[who]):
        db.execute(TRAIN.format("code", "int8"))
        current = db.execute("SELECT current_user = session_user").fetchone()
        assert owners(db) == [("code", owner), ("code_code", owner), ("code_constants", owner)]
        db.execute("SELECT pgembed.retrain_codec('code'); SELECT pgembed.drop_codec('code')")
    assert current == (True,)
    assert owners(db) == [("code_2", owner), ("code_2_code", owner), ("code_2_constants", owner)]


def test_others_may_neither_train_nor_drop(db: Connection, owner: str, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    stranger = make_role("stranger")
    db.execute(f"GRANT USAGE, CREATE ON SCHEMA shop TO {stranger}; GRANT SELECT, INSERT ON shop.item TO {stranger}")
    db.execute(TRAIN.format("code", "sign"))
    with as_role(db, stranger):
        calls = (TRAIN.format("mine", "sign"), "SELECT pgembed.retrain_codec('code')", "SELECT pgembed.drop_codec('code')")
        for call in calls:
            refused(db, "42501", call, message='must be owner of table "item"', hint=owner)
    assert owners(db) == [("code", owner)]


@pytest.mark.own_database
@pytest.mark.parametrize("method", ["sign", "int8"])
def test_who_may_write_the_table_may_have_codes_made(
    db: Connection, owner: str, make_role: MakeRole, as_role: AsRole, connect: Callable[[Connection], Connection], method: str
) -> None:
    db.execute(TRAIN.format("code", method))
    row = db.execute("SELECT code_type FROM pgembed._codec").fetchone()
    assert row is not None
    db.execute(f"CREATE TABLE shop.made (e vector(4), code {row[0]} GENERATED ALWAYS AS (shop.code(e)) STORED)")
    db.execute("CREATE VIEW public.way AS SELECT e FROM shop.made")
    clerk, visitor = make_role("clerk"), make_role("visitor")
    db.execute(f"GRANT USAGE ON SCHEMA shop TO {clerk}; GRANT INSERT ON shop.made TO {clerk}; GRANT INSERT ON public.way TO {visitor}")
    # a session each, which knows no codec yet; the visitor may not enter the schema of the codec's functions
    for role, table in ((clerk, "shop.made"), (visitor, "public.way")):
        session = connect(db)
        with as_role(session, role):
            session.execute(f"INSERT INTO {table} (e) VALUES ('[1,2,3,4]')")
    assert db.execute("SELECT count(*) FROM shop.made WHERE code = shop.code('[1,2,3,4]')").fetchone() == (2,)


def test_a_new_owner_needs_the_codecs_functions_too(
    db: Connection, owner: str, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    heir = make_role("heir")
    db.execute(TRAIN.format("code", "int8"))
    db.execute(f"GRANT USAGE ON SCHEMA shop TO {heir}; ALTER TABLE shop.item OWNER TO {heir}")
    drop = "SELECT pgembed.drop_codec('code')"
    with as_role(db, owner):
        refused(db, "42501", drop, message='must be owner of table "item"', hint=heir)
    with as_role(db, heir):
        refused(db, "42501", drop, message="must be owner of function shop.code", hint=owner)
        message = 'the owner of table "item" may not create in schema "shop"'
        refused(db, "42501", TRAIN.format("more", "sign"), message=message, hint=f'GRANT CREATE ON SCHEMA "shop" TO "{heir}"')
    db.execute(f"ALTER FUNCTION shop.code OWNER TO {heir}; ALTER FUNCTION shop.code_constants OWNER TO {heir}")
    db.execute(f"GRANT CREATE ON SCHEMA shop TO {heir}; ALTER DOMAIN shop.code_code OWNER TO {heir}")
    with as_role(db, heir):
        db.execute(drop)
    assert owners(db) == []
    db.execute(TRAIN.format("code", "int8"))
    assert {role for _, role in owners(db)} == {heir}
    db.execute(f"ALTER TABLE shop.item OWNER TO {owner}")
    db.execute(drop)  # an administrator may
    assert owners(db) == []


def test_training_sees_what_the_tables_owner_sees(db: Connection, owner: str, as_role: AsRole) -> None:
    db.execute(
        """
        ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.item FORCE ROW LEVEL SECURITY;
        CREATE POLICY few ON shop.item USING (id <= 100);
        """
    )
    db.execute(TRAIN.format("code", "sign"))
    assert db.execute("SELECT sample_rows, table_rows FROM pgembed._codec").fetchall() == [(100, 100)]


def test_queries_are_read_with_the_callers_rights(db: Connection, owner: str, as_role: AsRole, refused: Refused) -> None:
    db.execute("CREATE TABLE public.asked AS SELECT e AS q FROM shop.item")
    call = "SELECT pgembed.train_codec('code', 'shop.item', 'sign', queries => 'asked', queries_column => 'q', measure => false)"
    with as_role(db, owner):
        refused(db, "42501", call, message="permission denied for table asked", hint=None)
    db.execute(f"GRANT SELECT ON public.asked TO {owner}")
    with as_role(db, owner):
        db.execute(call)
