"""What PostgreSQL says to our Python reaches the user in PostgreSQL's words, with all that belongs to them."""

from __future__ import annotations

import pytest
from support import Connection, Refused

pytestmark = pytest.mark.one_transaction


def test_an_error_of_postgresql_keeps_its_words_and_loses_pythons(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, t text)")
    db.execute(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today' USING DETAIL = 'd', HINT = 'h'; END $$"
    )
    db.execute("CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION no()")
    error = refused(db, "P0001", "SELECT pgembed.add_embedding('t', 't')", hint="h")
    assert (error.diag.message_primary, error.diag.message_detail) == ("pgembed: not today", "d")
    assert "Traceback" in str(error.diag.context)


@pytest.mark.own_database
def test_who_may_only_read_is_told_so_in_one_sentence(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, t text); INSERT INTO t VALUES (1, 'a')")
    db.execute("SELECT pgembed.add_embedding('t', 't', sync => 'manual')")
    db.execute("SET default_transaction_read_only = on")
    for call, name in (
        ("CALL pgembed.refresh('t')", "refresh"),
        ("SELECT pgembed.alter_embedding('t', sync => 'queued')", "alter_embedding"),
        ("SELECT pgembed.register_model('m', 'all-minilm-l6-v2', dim => 8)", "register_model"),
    ):
        error = refused(db, "25006", call, hint="BEGIN READ WRITE")
        assert error.diag.message_primary == f"pgembed: {name} writes, and this transaction may only read"
