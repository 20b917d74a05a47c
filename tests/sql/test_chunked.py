"""Embedded columns over chunks: a row has several vectors, in a table of its own that follows the row."""

from __future__ import annotations

import psycopg
import pytest
from support import Connect, Connection, Notices, Refused, found_chunks

pytestmark = pytest.mark.one_transaction

PARTS = (
    "SELECT ordinal, start_char, end_char, content, embedding = pgembed.embed(content) FROM doc_part_chunk WHERE id = %s ORDER BY ordinal"
)
STATES = "SELECT pgembed.freshness(part_hash) FROM doc ORDER BY id"


def described(db: Connection) -> tuple[object, ...]:
    row = db.execute(
        "SELECT rows, fresh, stale, pending, failed, null_source, truncated, chunks FROM pgembed.embeddings WHERE column_name = 'part'"
    ).fetchone()
    assert row is not None
    return tuple(row)


# ------------------------------------------------------------------------------------------------------------ made and followed


def test_a_row_has_a_line_for_each_chunk(doc: Connection) -> None:
    assert doc.execute(PARTS, [1]).fetchall() == [
        (1, 1, 27, "A violin has four strings.", True),
        (2, 29, 56, "A trumpet is made of brass.", True),
        (3, 58, 84, "Drums are hit with sticks.", True),
    ]
    assert doc.execute("SELECT bool_and(substr(body, start_char, end_char - start_char) = content) FROM doc JOIN doc_part_chunk USING (id)")
    assert doc.execute("SELECT id, count(*) FROM doc_part_chunk GROUP BY id ORDER BY id").fetchall() == [(1, 3), (2, 2), (3, 1), (6, 3)]
    assert described(doc) == (6, 4, 0, 0, 0, 2, 0, 9)
    assert doc.execute("SELECT chunk_table::text, chunk_tokens, chunk_overlap FROM pgembed.embeddings").fetchone() == (
        "doc_part_chunk",
        10,
        0,
    )


def test_the_rows_are_pending_before_and_the_table_has_no_vector_column(unread: Connection) -> None:
    assert described(unread) == (6, 0, 0, 6, 0, 0, 0, 0)
    columns = unread.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'doc'::regclass AND attnum > 0 ORDER BY attnum").fetchall()
    assert [row[0] for row in columns] == ["id", "title", "body", "part_hash"]


@pytest.mark.own_database
def test_refresh_tells_of_rows_and_chunks(unread: Connection, notices: Notices) -> None:
    unread.execute("CALL pgembed.refresh('doc', batch_size => 2)")
    assert notices[-1].message.startswith("doc.part: 4 rows embedded in 9 chunks, 2 without text in ")
    assert described(unread) == (6, 4, 0, 0, 0, 2, 0, 9)


@pytest.mark.own_database
def test_a_changed_row_is_stale_and_keeps_its_chunks_until_refresh(doc: Connection, notices: Notices) -> None:
    doc.execute("UPDATE doc SET body = 'A whale is no fish.' WHERE id = 2; UPDATE doc SET title = 'x' WHERE id = 1")
    assert [row[0] for row in doc.execute(STATES).fetchall()] == ["fresh", "stale", "fresh", "null_source", "null_source", "fresh"]
    assert len(doc.execute(PARTS, [2]).fetchall()) == 2
    doc.execute("CALL pgembed.refresh('doc')")
    assert notices[-1].message.startswith("doc.part: 1 rows embedded in 1 chunks in ")
    assert doc.execute(PARTS, [2]).fetchall() == [(1, 1, 20, "A whale is no fish.", True)]


def test_a_row_that_changes_back_is_fresh_again(doc: Connection) -> None:
    doc.execute("UPDATE doc SET body = 'x' || body WHERE id = 2; UPDATE doc SET body = substr(body, 2) WHERE id = 2")
    assert described(doc)[1] == 4


@pytest.mark.parametrize("nothing", ["NULL", "' '"])
def test_a_row_that_loses_its_text_loses_its_chunks(doc: Connection, nothing: str) -> None:
    doc.execute(f"UPDATE doc SET body = {nothing} WHERE id = 1")
    if nothing == "NULL":
        assert doc.execute(PARTS, [1]).fetchall() == []
    doc.execute("CALL pgembed.refresh('doc')")
    assert doc.execute(PARTS, [1]).fetchall() == []
    assert described(doc) == (6, 3, 0, 0, 0, 3, 0, 6)


def test_chunks_follow_a_key_and_go_with_their_row(doc: Connection) -> None:
    doc.execute("UPDATE doc SET id = 10 WHERE id = 1; DELETE FROM doc WHERE id = 2")
    assert len(doc.execute(PARTS, [10]).fetchall()) == 3
    assert doc.execute("SELECT DISTINCT id FROM doc_part_chunk ORDER BY 1").fetchall() == [(3,), (6,), (10,)]


def test_a_failing_row_is_marked_and_the_others_are_embedded(db: Connection) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, n int); INSERT INTO doc VALUES (1, 1), (2, 0), (3, 2)")
    db.execute("SELECT pgembed.add_embedding('doc', '(6 / n)::text', column_name => 'part', chunk_tokens => 10)")
    db.execute("CALL pgembed.refresh('doc')")
    assert described(db) == (3, 2, 0, 0, 1, 0, 0, 2)


@pytest.mark.own_database
def test_a_row_of_many_chunks_is_one_row_and_earlier_batches_stay(unread: Connection, connect: Connect) -> None:
    unread.execute("UPDATE doc SET body = repeat('Word. ', 500000) WHERE id = 6")
    session = connect(unread)
    session.execute("SELECT pgembed.embed('warm')")
    session.execute("SET statement_timeout = '2s'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        session.execute("CALL pgembed.refresh('doc', batch_size => 3)")
    assert [row[0] for row in unread.execute(STATES).fetchall()][-1] == "pending"
    assert unread.execute("SELECT count(*) FROM doc_part_chunk WHERE id = 6").fetchone() == (0,)
    unread.execute("UPDATE doc SET body = repeat('Word. ', 2003) WHERE id = 6")
    unread.execute("SELECT pgembed.alter_embedding('doc', chunk_tokens => 2)")
    unread.execute("CALL pgembed.refresh('doc', batch_size => 3)")
    assert unread.execute("SELECT count(*), max(ordinal), bool_and(content = 'Word.') FROM doc_part_chunk WHERE id = 6").fetchone() == (
        2003,
        2003,
        True,
    )


def test_overlap_repeats_the_end_of_a_chunk(db: Connection) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text); INSERT INTO doc VALUES (1, 'One two. Three four. Five six. Seven.')")
    db.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 6, chunk_overlap => 3)")
    db.execute("CALL pgembed.refresh('doc')")
    assert [row[3] for row in db.execute(PARTS, [1]).fetchall()] == ["One two. Three four.", "Three four. Five six.", "Five six. Seven."]


# ------------------------------------------------------------------------------------------------------------ searched


def test_search_returns_a_row_once_with_its_nearest_chunk(doc: Connection) -> None:
    assert found_chunks(doc, "'an instrument with strings', k => 2") in (
        [(1, "A violin has four strings."), (6, "A guitar has six strings.")],
        [(6, "A guitar has six strings."), (1, "A violin has four strings.")],
    )
    row = doc.execute(
        "SELECT (item).id, substr((item).body, start_char, end_char - start_char), chunk FROM pgembed.search(NULL::doc, 'lava', k => 1)"
    ).fetchone()
    assert row == (2, "A volcano throws out lava.", "A volcano throws out lava.")


EXPECTED = """
    SELECT id, distance, content FROM (
        SELECT DISTINCT ON (id) id, embedding <=> (SELECT pgembed.embed_query('doc', 'strings')) AS distance, content
        FROM doc_part_chunk ORDER BY 1, 2
    ) AS b WHERE {where} ORDER BY 2 LIMIT {k}
"""


@pytest.mark.parametrize(
    ("options", "where", "k"),
    [
        ("k => 10", "true", 10),
        ("k => 2", "true", 2),
        ("k => 3, filter => 'id <> 1'", "id <> 1", 3),
        (
            'filter => $$ title = ANY (ARRAY(SELECT jsonb_array_elements_text($1->\'t\'))) $$, params => \'{"t": ["law", "music"]}\'',
            "id IN (1, 3)",
            10,
        ),
        ("max_distance => 0.7", "distance <= 0.7", 10),
        ("exact => true, recall => 0.5", "true", 10),
    ],
)
def test_search_is_what_comparing_all_chunks_gives(doc: Connection, options: str, where: str, k: int) -> None:
    expected = doc.execute(EXPECTED.format(where=where, k=k)).fetchall()
    assert expected
    rows = doc.execute(f"SELECT (item).id, distance, chunk FROM pgembed.search(NULL::doc, 'strings', {options}) ORDER BY rank").fetchall()
    assert rows == expected
    keys = doc.execute(f"SELECT key::int, distance FROM pgembed.search_keys('doc', 'strings', {options}) ORDER BY rank").fetchall()
    assert keys == [row[:2] for row in expected]


def test_a_filter_sees_the_table_and_not_the_chunks(doc: Connection, refused: Refused) -> None:
    for name in ("ordinal", "content", "c.id", "r.k0", "start_char"):
        refused(doc, "42P01" if "." in name else "42703", f"SELECT pgembed.search(NULL::doc, 'x', filter => '{name} IS NOT NULL')")
    doc.execute("ALTER TABLE doc ADD COLUMN ordinal int DEFAULT 7, ADD COLUMN content text DEFAULT 'mine'")
    assert len(found_chunks(doc, "'x', filter => $$ ordinal = 7 AND content = 'mine' $$")) == 4


def test_more_like_a_row_leaves_it_out(doc: Connection, refused: Refused) -> None:
    assert found_chunks(doc, "'1', k => 1", "search_like")[0] == (6, "A guitar has six strings.")
    assert {row[0] for row in found_chunks(doc, "'1'", "search_like")} == {2, 3, 6}
    refused(doc, "55000", "SELECT pgembed.search_like(NULL::doc, '4')", message="has no vector yet", hint="refresh")
    refused(doc, "P0002", "SELECT pgembed.search_like(NULL::doc, '99')", message='no row of doc has the key "99"')


def test_what_could_not_be_found_is_told(doc: Connection, notices: Notices) -> None:
    doc.execute("INSERT INTO doc VALUES (7, 'new', 'A new text.')")
    found_chunks(doc, "'x', filter => 'id = 7'")
    assert notices[-1].message == "0 of 10 results: 1 row that passes the filter has no vector yet"


@pytest.fixture
def many(doc: Connection) -> Connection:
    """4,000 rows with four chunks each in three dimensions, and row 1 with 60 that are nearest to the east."""
    doc.execute(
        """
        DELETE FROM doc;
        ALTER TABLE doc_part_chunk ALTER COLUMN embedding TYPE vector(3) USING NULL;
        INSERT INTO doc SELECT n, 'row ' || n, 'text' FROM generate_series(1, 4000) AS n;
        INSERT INTO doc_part_chunk
            SELECT n, m, 1, 5, 'text', ARRAY[n / 4000.0 - 1, cos(n * 4 + m), sin(n * 4 + m)]::vector
            FROM generate_series(2, 4000) AS n, generate_series(1, 4) AS m;
        INSERT INTO doc_part_chunk SELECT 1, m, 1, 5, 'text', ARRAY[1, m / 1000.0, 0]::vector FROM generate_series(1, 60) AS m;
        CREATE INDEX ON doc_part_chunk USING hnsw (embedding vector_cosine_ops) WITH (m = 8, ef_construction = 40);
        """
    )
    doc.execute("ANALYZE doc; ANALYZE doc_part_chunk")
    return doc


# One test, for the table takes longer than all of its searches.
ALIKE = ("k => 3", "k => 20", "k => 20, filter => 'id > 1'", "k => 10, max_distance => 1.2", "k => 10, filter => 'id < 3900'")


def test_the_index_path_gives_rows_once_and_fills_k(many: Connection) -> None:
    for chosen in ALIKE:
        explained = f"SELECT property, value FROM pgembed.explain_search(NULL::doc, '[1,0,0]'::vector, {chosen}, execute => false)"
        plan = dict(many.execute(explained).fetchall())
        assert plan["path"] == "index", chosen
        assert "rows with 4.0 chunks each" in plan["reason"], chosen
        statement = f"SELECT (item).id, distance FROM pgembed.search(NULL::doc, '[1,0,0]'::vector, {chosen}, exact => %s) ORDER BY rank"
        exact = many.execute(statement, [True]).fetchall()
        near = many.execute(statement, [False]).fetchall()
        assert len(near) == len(exact) == len({row[0] for row in near}) == int(chosen.split(",")[0].split()[-1]), chosen
        assert len({row[0] for row in near} & {row[0] for row in exact}) >= 0.9 * len(exact), chosen
        if "filter" not in chosen:
            assert near[0][0] == 1, chosen  # whose 60 chunks leave no room for others among the nearest: k is filled all the same


def test_the_index_path_takes_a_table_of_any_name(many: Connection) -> None:
    for name in ("n", "r", "c", "b", "answer", "distance"):
        many.execute(f"ALTER TABLE {many_name(many)} RENAME TO {name}")
        plan = dict(many.execute(f"SELECT property, value FROM pgembed.explain_search(NULL::{name}, '[1,0,0]'::vector, k => 3)").fetchall())
        assert plan["path"] == "index"
        for exact in (True, False):
            found = f"SELECT (item).id FROM pgembed.search(NULL::{name}, '[1,0,0]'::vector, k => 3, exact => %s) ORDER BY rank LIMIT 1"
            assert many.execute(found, [exact]).fetchone() == (1,)


def many_name(db: Connection) -> str:
    row = db.execute("SELECT table_name::text FROM pgembed.embeddings").fetchone()
    assert row is not None
    return str(row[0])


def test_refresh_indexes_the_chunks(db: Connection) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text); INSERT INTO doc VALUES (1, repeat('a b ', 2600))")
    db.execute("SELECT pgembed.add_embedding('doc', 'body', model => 'all-minilm-l6-v2-int8', column_name => 'part', chunk_tokens => 1)")
    db.execute("CALL pgembed.refresh('doc')")
    built = db.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'doc_part_chunk' AND indexdef ~ 'hnsw'").fetchall()
    assert len(built) == 1
    assert "vector_cosine_ops" in built[0][0]


# ------------------------------------------------------------------------------------------------------------ any table


def test_keys_of_many_types_and_names_of_our_columns(db: Connection) -> None:
    db.execute(
        """
        CREATE SCHEMA "My Shop";
        CREATE TABLE "My Shop"."D""oc" (
            content text COLLATE "C", embedding timestamptz, ordinal numeric(10, 2), "row_ordinal" "char", n int, body text,
            PRIMARY KEY (row_ordinal, content, embedding, ordinal)
        );
        INSERT INTO "My Shop"."D""oc" VALUES ('it''s', '2026-01-02 03:04:05.678+01', 1.5, 'x', 1, 'A lion roars. A bee hums.'),
            ('b', '2026-01-02', 2.5, 'y', 2, 'A ship sinks.');
        """
    )
    db.execute("""SELECT pgembed.add_embedding('"My Shop"."D""oc"', 'body', column_name => 'part', chunk_tokens => 5)""")
    db.execute("""CALL pgembed.refresh('"My Shop"."D""oc"')""")
    rows = db.execute(
        """SELECT (item).n, chunk FROM pgembed.search(NULL::"My Shop"."D""oc", 'an insect', k => 2) ORDER BY rank"""
    ).fetchall()
    assert rows == [(1, "A bee hums."), (2, "A ship sinks.")]
    db.execute(
        """UPDATE "My Shop"."D""oc" SET body = NULL WHERE n = 1; UPDATE "My Shop"."D""oc" SET ordinal = 9, body = 'A cat.' WHERE n = 2"""
    )
    db.execute("""CALL pgembed.refresh('"My Shop"."D""oc"')""")
    rows = db.execute("""SELECT (item).n, chunk FROM pgembed.search(NULL::"My Shop"."D""oc", 'a pet', k => 2) ORDER BY rank""").fetchall()
    assert rows == [(2, "A cat.")]


def test_a_partitioned_table_has_one_table_of_chunks(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE doc (id int, kind text, body text, PRIMARY KEY (kind, id)) PARTITION BY LIST (kind);
        CREATE TABLE doc_a PARTITION OF doc FOR VALUES IN ('a'); CREATE TABLE doc_b PARTITION OF doc FOR VALUES IN ('b');
        INSERT INTO doc VALUES (1, 'a', 'A lion roars. A bee hums.'), (1, 'b', 'A ship sinks.');
        """
    )
    db.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 5)")
    db.execute("CALL pgembed.refresh('doc')")
    if db.info.server_version < 150000:
        pytest.skip("PostgreSQL 14 deletes what refers to a row that moves to another partition")
    db.execute("UPDATE doc SET kind = 'b', id = 2 WHERE kind = 'a'")
    assert db.execute("SELECT kind, id, ordinal FROM doc_part_chunk ORDER BY 1, 2, 3").fetchall() == [("b", 1, 1), ("b", 2, 1), ("b", 2, 2)]
    assert found_chunks(db, "'an insect', k => 1") == [(2, "A bee hums.")]


def test_renamed_tables_and_columns_are_followed(doc: Connection) -> None:
    doc.execute(
        """
        CREATE SCHEMA s; ALTER TABLE doc RENAME TO paper; ALTER TABLE paper SET SCHEMA s; ALTER TABLE s.paper RENAME id TO nr;
        ALTER TABLE s.paper RENAME body TO text; ALTER TABLE doc_part_chunk RENAME TO piece; ALTER TABLE piece RENAME id TO of_nr;
        UPDATE s.paper SET text = 'A whale is no fish.' WHERE nr = 1; UPDATE s.paper SET text = NULL WHERE nr = 2;
        """
    )
    doc.execute("CALL pgembed.refresh('s.paper')")
    assert doc.execute("SELECT of_nr, content FROM piece WHERE of_nr IN (1, 2)").fetchall() == [(1, "A whale is no fish.")]
    assert doc.execute("SELECT (item).nr FROM pgembed.search(NULL::s.paper, 'sea animal', k => 1)").fetchone() == (1,)
    doc.execute("SELECT pgembed.drop_embedding('s.paper')")
    assert doc.execute("SELECT to_regclass('piece')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("setup", "arguments", "sqlstate", "message", "hint"),
    [
        ("", "'plain', 'b', chunk_tokens => 0", "22023", "chunk_tokens must be at least 1, not 0", "200"),
        ("", "'plain', 'b', chunk_tokens => 255", "22023", "chunk_tokens must be from 1 to 254", "200"),
        (
            "",
            "'plain', 'b', chunk_tokens => 10, chunk_overlap => 10",
            "22023",
            "chunk_overlap must be from 0 to 9, below chunk_tokens",
            "tenth",
        ),
        ("", "'plain', 'b', chunk_overlap => 1", "22004", "chunk_overlap needs chunk_tokens", "chunk_tokens => 200"),
        (
            "CREATE TABLE kid () INHERITS (plain)",
            "'plain', 'b', chunk_tokens => 9",
            "0A000",
            "children by inheritance",
            "Embed each of the children",
        ),
        ("CREATE TEMP TABLE t (id int PRIMARY KEY, b text)", "'t', 'b', chunk_tokens => 9", "0A000", "temporary", "pgembed.chunk()"),
        ("ALTER TABLE plain ADD embedding int", "'plain', 'b', chunk_tokens => 9", "42710", "exists already", "another column_name"),
        ("", "'plain', 'nothing', chunk_tokens => 9", "42703", "source is not an expression", ""),
    ],
)
def test_bad_declarations_are_refused_and_nothing_is_half_done(
    db: Connection, refused: Refused, setup: str, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    db.execute("CREATE TABLE plain (id int PRIMARY KEY, b text)")
    db.execute(setup or "SELECT 1")
    refused(db, sqlstate, f"SELECT pgembed.add_embedding({arguments})", message=message, hint=hint)
    assert db.execute("SELECT count(*) FROM pg_class WHERE relname ~ 'chunk' AND relkind = 'r'").fetchone() == (0,)


def test_what_needs_one_vector_a_row_refuses(doc: Connection, refused: Refused) -> None:
    refused(
        doc,
        "0A000",
        "SELECT pgembed.create_linker('l', 'doc', names => 'title', context => 'part')",
        message="link() needs one vector",
    )
    doc.execute("CREATE TABLE plain (id int PRIMARY KEY, b text)")
    doc.execute("SELECT pgembed.add_embedding('plain', 'b')")
    refused(doc, "0A000", "SELECT pgembed.alter_embedding('plain', chunk_tokens => 9)", message="one vector", hint="Drop it")


# ------------------------------------------------------------------------------------------------------------ changed and dropped


def test_new_limits_mark_all_rows_stale_and_refresh_cuts_anew(doc: Connection) -> None:
    doc.execute("SELECT pgembed.alter_embedding('doc', 'part', chunk_tokens => 20)")
    assert described(doc) == (6, 0, 4, 0, 0, 2, 0, 9)
    doc.execute("CALL pgembed.refresh('doc')")
    assert described(doc) == (6, 4, 0, 0, 0, 2, 0, 4)
    doc.execute("SELECT pgembed.alter_embedding('doc', 'part', chunk_tokens => 20, chunk_overlap => 0)")
    assert described(doc)[1] == 4


def test_a_new_source_keeps_the_chunks_until_refresh(doc: Connection) -> None:
    doc.execute("SELECT pgembed.alter_embedding('doc', source => 'title')")
    assert described(doc)[2] == 4
    assert len(found_chunks(doc, "'x'")) == 4
    doc.execute("CALL pgembed.refresh('doc')")
    assert [row[3] for row in doc.execute(PARTS, [4]).fetchall()] == ["nothing"]


def test_a_new_model_empties_the_chunks(doc: Connection) -> None:
    doc.execute("SELECT pgembed.alter_embedding('doc', model => 'all-minilm-l6-v2-int8')")
    assert described(doc) == (6, 0, 0, 6, 0, 0, 0, 0)
    doc.execute("CALL pgembed.refresh('doc')")
    assert described(doc) == (6, 4, 0, 0, 0, 2, 0, 9)


@pytest.mark.parametrize("keep", [False, True])
def test_drop_embedding_takes_the_chunks_along_unless_they_are_kept(doc: Connection, keep: bool) -> None:
    doc.execute("SELECT pgembed.drop_embedding('doc', 'part', keep_column => %s)", [keep])
    assert doc.execute("SELECT to_regclass('doc_part_chunk') IS NOT NULL").fetchone() == (keep,)
    assert doc.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    assert doc.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ '^doc'").fetchone() == (0,)
    assert doc.execute("SELECT count(*) FROM pg_attribute WHERE attrelid = 'doc'::regclass AND attname = 'part_hash'").fetchone() == (0,)


def test_a_dropped_table_takes_its_chunks_along(doc: Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        doc.execute("DROP TABLE doc")
    doc.execute("DROP TABLE doc CASCADE")
    assert doc.execute("SELECT to_regclass('doc_part_chunk')").fetchone() == (None,)
    assert doc.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_without_its_chunks_a_column_is_gone_and_can_be_forgotten(doc: Connection, refused: Refused) -> None:
    doc.execute("DROP TABLE doc_part_chunk")
    refused(doc, "42703", "SELECT pgembed.search(NULL::doc, 'x')", message="table of chunks", hint="drop_embedding('doc', 'part')")
    doc.execute("SELECT pgembed.drop_embedding('doc', 'part')")
    assert doc.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    doc.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 10)")
