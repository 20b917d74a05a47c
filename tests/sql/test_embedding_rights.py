"""Who may declare, change, refresh and count embedded columns."""

from __future__ import annotations

import pytest
from support import AsRole, Connection, MakeRole, Refused, states

pytestmark = pytest.mark.one_transaction


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
        assert states(db, "alice.product") == ["fresh", "fresh"]
        db.execute("SELECT pgembed.alter_embedding('alice.product', 'embedding', sync => 'manual')")
        db.execute("UPDATE alice.product SET name = 'd' WHERE id = 1")
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
