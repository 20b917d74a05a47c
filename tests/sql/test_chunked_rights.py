"""Who sees the chunks of a row: those who see the row."""

from __future__ import annotations

import psycopg
import pytest
from support import AsRole, Connection, MakeRole, found_chunks

pytestmark = pytest.mark.one_transaction


def test_who_may_read_the_table_may_read_its_chunks_and_nobody_else(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    owner, reader, stranger = make_role("owner"), make_role("reader"), make_role("stranger")
    db.execute(
        f"GRANT ALL ON SCHEMA public TO {owner}; ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {stranger}, PUBLIC"
    )
    with as_role(db, owner):
        db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text); INSERT INTO doc VALUES (1, 'A lion roars.')")
        db.execute(f"REVOKE ALL ON doc FROM {stranger}, PUBLIC; GRANT SELECT ON doc TO {reader}")
        db.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 10)")
        db.execute("CALL pgembed.refresh('doc')")
    assert db.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'doc_part_chunk'").fetchone() == (owner,)
    with as_role(db, reader):
        assert found_chunks(db, "'a cat'") == [(1, "A lion roars.")]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("DELETE FROM doc_part_chunk")
    with as_role(db, stranger):
        for statement in (
            "SELECT FROM doc_part_chunk",
            "SELECT pgembed.search(NULL::doc, 'x')",
            "INSERT INTO doc_part_chunk DEFAULT VALUES",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)
        db.execute("SELECT rows, chunks FROM pgembed.embeddings")


@pytest.mark.parametrize("later", [False, True])
def test_a_chunk_is_seen_exactly_where_its_row_is(doc: Connection, make_role: MakeRole, as_role: AsRole, later: bool) -> None:
    reader = make_role("reader")
    secure = "CREATE POLICY p ON doc USING (title <> 'music'); ALTER TABLE doc ENABLE ROW LEVEL SECURITY"
    if later:
        doc.execute(secure)
    else:
        doc.execute("SELECT pgembed.drop_embedding('doc')")
        doc.execute(secure)
        doc.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 10)")
        doc.execute("CALL pgembed.refresh('doc')")
    doc.execute(f"GRANT SELECT ON doc, doc_part_chunk TO {reader}")
    assert doc.execute("SELECT count(DISTINCT id) FROM doc_part_chunk").fetchone() == (4,)
    with as_role(doc, reader):
        assert doc.execute("SELECT DISTINCT id FROM doc_part_chunk ORDER BY 1").fetchall() == [(2,), (3,), (6,)]
        assert next(row[0] for row in found_chunks(doc, "'violin', k => 3")) == 6
        assert len(found_chunks(doc, "'violin', k => 10")) == 3
        assert doc.execute("SELECT rows, chunks FROM pgembed.embeddings").fetchone() == (None, None)
    with as_role(doc, reader), pytest.raises(psycopg.Error):
        found_chunks(doc, "'1'", "search_like")


def test_forced_row_security_reaches_the_chunks(doc: Connection) -> None:
    doc.execute("ALTER TABLE doc ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    flags = doc.execute("SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 'doc_part_chunk'").fetchone()
    assert flags == (True, True)
