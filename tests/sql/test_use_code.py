"""pgembed.use_code(), pgembed.code_indexes(), the view pgembed.codes: which codes serve, and what they are indexed by."""

from __future__ import annotations

import threading

import psycopg
import pytest
from support import AsRole, Connect, Connection, MakeRole, Refused, wait_until

pytestmark = pytest.mark.one_transaction

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def filled(dots: Connection) -> Connection:
    """The table dot with two filled columns of codes; the first is active."""
    for codec in ("dot_sign", "dot_pca"):
        dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
        dots.execute("CALL pgembed.fill_code('dot', %s)", [codec])
    return dots


def active(db: Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT column_name::text FROM pgembed.codes WHERE is_active ORDER BY 1").fetchall()]


def statements(db: Connection, arguments: str) -> list[str]:
    return [row[0] for row in db.execute(f"SELECT pgembed.code_indexes({arguments})").fetchall()]


def build(db: Connection, arguments: str) -> None:
    for statement in statements(db, arguments):
        db.execute(statement.encode())


def test_the_first_code_is_active_and_use_code_switches(filled: Connection) -> None:
    assert active(filled) == ["dot_sign"]
    filled.execute("SELECT pgembed.use_code('dot', 'dot_pca')")
    assert active(filled) == ["dot_pca"]
    filled.execute("SELECT pgembed.use_code('dot', 'dot_pca')")
    assert active(filled) == ["dot_pca"]
    filled.execute("SELECT pgembed.use_code('dot', 'dot_sign')")
    assert active(filled) == ["dot_sign"]


@pytest.mark.own_database
def test_others_see_one_active_code_at_every_moment(filled: Connection, connect: Connect) -> None:
    other = connect(filled)
    with filled.transaction():
        filled.execute("SELECT pgembed.use_code('dot', 'dot_pca')")
        assert active(other) == ["dot_sign"]
    assert active(other) == ["dot_pca"]


def test_what_would_miss_rows_is_not_used(dots: Connection, refused: Refused) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign'), pgembed.add_code('dot', 'dot_pca')")
    refused(dots, "55000", "SELECT pgembed.use_code('dot', 'dot_pca')", message="not filled", hint="fill_code")
    refused(dots, "42702", "SELECT pgembed.use_code('dot')", message="several", hint="which")
    refused(dots, "42704", "SELECT pgembed.use_code('dot', 'x')", message='"x"')
    dots.execute("ALTER TABLE dot DROP COLUMN dot_pca CASCADE")
    refused(dots, "42703", "SELECT pgembed.use_code('dot', 'dot_pca')", message="does not exist any more", hint="drop_code")
    dots.execute("ALTER TABLE dot ADD COLUMN dot_pca text")
    refused(dots, "42804", "SELECT pgembed.use_code('dot', 'dot_pca')", message="of type text", hint="drop_code")


def test_dropping_the_active_code_leaves_none(filled: Connection) -> None:
    filled.execute("SELECT pgembed.drop_code('dot', 'dot_sign')")
    assert active(filled) == []
    filled.execute("SELECT pgembed.use_code('dot')")
    assert active(filled) == ["dot_pca"]


@pytest.mark.own_database
@pytest.mark.parametrize(("code", "opclass"), [("dot_sign", "bit_hamming_ops"), ("dot_pca", "halfvec_cosine_ops")])
def test_missing_indexes_are_named_until_they_are_built(filled: Connection, code: str, opclass: str) -> None:
    arguments = f"'dot', '{code}', '{{place}}'"
    assert statements(filled, arguments) == [
        f'CREATE INDEX CONCURRENTLY ON public.dot USING hnsw ("{code}" public.{opclass}) WITH (ef_construction = 90)',
        f'CREATE INDEX CONCURRENTLY ON public.dot ("place") INCLUDE ("id", "{code}")',
    ]
    build(filled, arguments)
    assert statements(filled, arguments) == []
    row = filled.execute(
        "SELECT index_name, covering_index, index_bytes = pg_relation_size(index_name::regclass), covering_bytes > 0 FROM pgembed.codes"
        " WHERE column_name = %s",
        [code],
    ).fetchone()
    assert row == (f"dot_{code}_idx", f"dot_place_id_{code}_idx", True, True)


@pytest.mark.own_database
def test_a_covering_index_answers_without_the_table(filled: Connection) -> None:
    build(filled, "'dot', 'dot_sign', '{place}'")
    filled.execute("VACUUM ANALYZE dot")
    filled.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    plan = filled.execute("EXPLAIN SELECT id FROM dot WHERE place = 3 ORDER BY dot_sign <~> B'01010101' LIMIT 5").fetchall()
    assert any("Index Only Scan using dot_place_id_dot_sign_idx" in line for (line,) in plan)


def test_codes_of_bytes_have_no_vector_index(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_int8')")
    dots.execute("CALL pgembed.fill_code('dot')")
    assert statements(dots, "'dot'") == []
    assert statements(dots, "'dot', covering => '{place,id}'") == [
        'CREATE INDEX CONCURRENTLY ON public.dot ("place", "id") INCLUDE ("dot_int8")'
    ]


def test_row_securitys_columns_are_covered(filled: Connection) -> None:
    filled.execute("ALTER TABLE dot ADD COLUMN tenant text; CREATE POLICY mine ON dot USING (tenant = current_user)")
    assert 'ON public.dot ("place") INCLUDE ("id", "tenant", "dot_sign")' in statements(filled, "'dot', 'dot_sign', '{place}'")[1]


@pytest.mark.own_database
def test_what_an_interrupted_build_left_is_replaced(filled: Connection, connect: Connect) -> None:
    other, watcher = connect(filled), connect(filled)
    (create,) = statements(filled, "'dot', 'dot_sign'")
    with watcher.transaction():
        watcher.execute("SELECT * FROM dot LIMIT 1; SELECT txid_current(); UPDATE dot SET place = 1 WHERE id = 1")

        def build_it() -> None:
            with pytest.raises(psycopg.errors.QueryCanceled):
                other.execute(create.encode())

        building = threading.Thread(target=build_it)
        building.start()
        wait_until(lambda: filled.execute("SELECT count(*) FROM pg_stat_progress_create_index").fetchone() == (1,))
        wait_until(lambda: filled.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (1,))
        # nothing is dropped that is being built
        assert statements(filled, "'dot', 'dot_sign'") == [create]
        filled.execute("SELECT pg_cancel_backend(%s)", [other.info.backend_pid])
        building.join()
    made = statements(filled, "'dot', 'dot_sign'")
    assert made == ["DROP INDEX CONCURRENTLY public.dot_dot_sign_idx", create]
    build(filled, "'dot', 'dot_sign'")
    assert filled.execute("SELECT index_name FROM pgembed.codes WHERE column_name = 'dot_sign'").fetchone() == ("dot_dot_sign_idx",)


@pytest.mark.own_database
def test_partitions_are_indexed_concurrently_and_their_table_takes_them_up(dots: Connection) -> None:
    dots.execute(
        """
        CREATE TABLE parted (id int, place int, e vector(8)) PARTITION BY LIST (place);
        CREATE TABLE part_0 PARTITION OF parted FOR VALUES IN (0, 1, 2);
        CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (3, 4, 5, 6) PARTITION BY RANGE (id);
        CREATE TABLE part_11 PARTITION OF part_1 DEFAULT;
        INSERT INTO parted SELECT * FROM dot;
        SELECT pgembed.adopt_embedding('parted', 'e');
        SELECT pgembed.add_code('parted', 'dot_sign');
        """
    )
    dots.execute("CALL pgembed.fill_code('parted')")
    made = statements(dots, "'parted'")
    assert [" CONCURRENTLY " in statement for statement in made] == [True, True, False]
    build(dots, "'parted'")
    assert statements(dots, "'parted'") == []
    assert dots.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%%hnsw%%'").fetchone() == (4,)
    row = dots.execute("SELECT index_name, index_bytes FROM pgembed.codes").fetchone()
    assert row is not None
    assert row[0] == "parted_dot_sign_idx"
    assert row[1] > 0


def test_indexes_that_cannot_be_are_refused(filled: Connection, refused: Refused) -> None:
    for covering, sqlstate in (("{}", "22023"), ("{dot_sign}", "22023"), ("{e}", "22023"), ("{x}", "42703"), ("{NULL}", "22004")):
        refused(filled, sqlstate, "SELECT pgembed.code_indexes('dot', 'dot_sign', %s::name[])", [covering])
    filled.execute("SELECT pgembed.add_code('dot', 'dot_sign', 'other')")
    refused(filled, "55000", "SELECT pgembed.code_indexes('dot', 'other')", message="not filled", hint="fill_code")


def test_counts_are_for_those_who_may_read_the_columns(filled: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    reader, stranger = make_role("reader"), make_role("stranger")
    filled.execute(f"GRANT SELECT (e, dot_sign) ON dot TO {reader}")
    with as_role(filled, reader):
        assert filled.execute("SELECT column_name::text, rows, pending FROM pgembed.codes ORDER BY 1").fetchall() == [
            ("dot_pca", None, None),
            ("dot_sign", 200, 0),
        ]
    with as_role(filled, stranger):
        assert filled.execute("SELECT DISTINCT rows FROM pgembed.codes").fetchall() == [(None,)]
    filled.execute("ALTER TABLE dot ENABLE ROW LEVEL SECURITY")
    with as_role(filled, reader):
        assert filled.execute("SELECT DISTINCT rows FROM pgembed.codes").fetchall() == [(None,)]


def test_rows_of_a_replica_get_their_codes_too(filled: Connection) -> None:
    filled.execute("SET session_replication_role = replica; INSERT INTO dot VALUES (1000, 0, '[1,1,1,1,1,1,1,1]')")
    filled.execute("UPDATE dot SET e = '[-1,-1,-1,-1,1,1,1,1]' WHERE id = 1")
    found = filled.execute(
        "SELECT dot_sign::text, (SELECT pending FROM pgembed.codes WHERE column_name = 'dot_sign') FROM dot WHERE id IN (1, 1000)"
    )
    assert sorted(found.fetchall()) == [("00001111", 0), ("11111111", 0)]


def state(db: Connection, name: str = "dot_sign") -> tuple[object, ...] | None:
    return db.execute("SELECT is_filled, pending FROM pgembed.codes WHERE column_name = %s", [name]).fetchone()


def test_rows_written_while_the_trigger_was_disabled_are_not_forgotten(filled: Connection, refused: Refused) -> None:
    filled.execute("ALTER TABLE dot DISABLE TRIGGER USER; INSERT INTO dot VALUES (1000, 0, '[1,1,1,1,1,1,1,1]')")
    assert state(filled) == (False, 1)
    filled.execute("ALTER TABLE dot ENABLE TRIGGER USER")
    assert state(filled) == (False, 1)
    refused(filled, "55000", "CALL pgembed.fill_code('dot')", message="not enabled for all sessions", hint="ENABLE ALWAYS TRIGGER")
    filled.execute("ALTER TABLE dot ENABLE ALWAYS TRIGGER zz_pgembed_dot_sign; ALTER TABLE dot ENABLE ALWAYS TRIGGER zz_pgembed_dot_pca")
    assert state(filled) == (False, 1), "the row has no code yet"
    filled.execute("CALL pgembed.fill_code('dot', 'dot_sign')")
    assert state(filled) == (True, 0)


def test_rows_written_while_a_partitions_trigger_was_disabled_are_not_forgotten(dots: Connection) -> None:
    dots.execute(
        """
        CREATE TABLE parted (id int, place int, e vector(8)) PARTITION BY LIST (place);
        CREATE TABLE part_0 PARTITION OF parted FOR VALUES IN (0, 1, 2, 3, 4, 5, 6);
        INSERT INTO parted SELECT * FROM dot;
        SELECT pgembed.adopt_embedding('parted', 'e');
        SELECT pgembed.add_code('parted', 'dot_sign', 'sign');
        """
    )
    dots.execute("CALL pgembed.fill_code('parted')")
    dots.execute("CREATE TABLE part_1 PARTITION OF parted DEFAULT; SET session_replication_role = replica")
    dots.execute("INSERT INTO parted SELECT id, 10, e FROM dot; INSERT INTO part_0 SELECT * FROM dot; RESET session_replication_role")
    assert state(dots, "sign") == (True, 0)
    dots.execute("ALTER TABLE part_1 DISABLE TRIGGER zz_pgembed_sign; INSERT INTO parted SELECT id, 11, e FROM dot")
    dots.execute("ALTER TABLE part_1 ENABLE ALWAYS TRIGGER zz_pgembed_sign")
    assert state(dots, "sign") == (False, 200)
    dots.execute("CALL pgembed.fill_code('parted')")
    assert state(dots, "sign") == (True, 0)


def test_children_by_inheritance_have_rows_without_codes(filled: Connection) -> None:
    filled.execute("CREATE TABLE child () INHERITS (dot); INSERT INTO child (id, e) VALUES (1000, '[1,1,1,1,1,1,1,1]')")
    assert state(filled) == (False, 1)
    filled.execute("DROP TABLE child")
    assert state(filled) == (True, 0)
