"""CALL pgembed.fill_code(): codes of the rows that were there before, while others write."""

from __future__ import annotations

import threading

import psycopg
import pytest
from support import Connect, Connection, MakeRole, Notices, Refused, wait_until

pytestmark = pytest.mark.one_transaction

ROWS = 200


def missing(db: Connection, code: str = "dot_sign", table: str = "dot") -> int:
    row = db.execute(f"SELECT count(*) FROM {table} WHERE e IS NOT NULL AND {code} IS NULL").fetchone()
    assert row is not None
    return int(row[0])


def agreeing(db: Connection, code: str = "dot_sign", table: str = "dot") -> int:
    row = db.execute(f"SELECT count(*) FROM {table} WHERE {code}::text = {code}(e)::text").fetchone()
    assert row is not None
    return int(row[0])


def is_filled(db: Connection, code: str = "dot_sign") -> bool:
    row = db.execute("SELECT is_filled FROM pgembed.codes WHERE column_name = %s", [code]).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.fixture
def coded(dots: Connection) -> Connection:
    """The table dot with a column dot_sign that is not filled."""
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    return dots


@pytest.mark.own_database
@pytest.mark.parametrize("codec", ["dot_sign", "dot_int8", "dot_pca"])
@pytest.mark.parametrize("batch_size", [7, 5000])
def test_every_row_gets_the_code_that_its_encoder_makes(dots: Connection, notices: Notices, codec: str, batch_size: int) -> None:
    dots.execute("ALTER TABLE dot DROP CONSTRAINT dot_pkey")
    dots.execute("INSERT INTO dot SELECT -id, place, NULL FROM dot WHERE id <= 5")
    dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
    dots.execute("CALL pgembed.fill_code('dot', %s, %s)", [codec, batch_size])
    assert notices[-1].message.startswith(f"dot.{codec}: 200 codes in ")
    assert "code_indexes" in str(notices[-1].hint)
    assert agreeing(dots, codec) == ROWS
    assert is_filled(dots, codec)


@pytest.mark.parametrize("bits", [3, 4, 13])
def test_bits_that_do_not_fill_a_byte(db: Connection, bits: int) -> None:
    numbers = ", ".join(f"sin(n * {d})" for d in range(1, bits + 1))
    db.execute(f"CREATE TABLE odd AS SELECT n AS id, ARRAY[{numbers}]::vector({bits}) AS e FROM generate_series(1, 50) AS n")
    db.execute("SELECT pgembed.adopt_embedding('odd', 'e')")
    db.execute("SELECT pgembed.train_codec('odd_sign', 'odd', 'sign', rotation => 'random', measure => false)")
    db.execute("SELECT pgembed.add_code('odd', 'odd_sign')")
    db.execute("CALL pgembed.fill_code('odd')")
    assert agreeing(db, "odd_sign", "odd") == 50


@pytest.mark.own_database
def test_filling_again_does_nothing(coded: Connection, notices: Notices) -> None:
    coded.execute("CALL pgembed.fill_code('dot')")
    before = coded.execute("SELECT array_agg(ctid) FROM dot").fetchone()
    coded.execute("CALL pgembed.fill_code('dot')")
    assert coded.execute("SELECT array_agg(ctid) FROM dot").fetchone() == before
    assert notices[-1].message.startswith("dot.dot_sign: 0 codes in ")


def test_a_generated_column_needs_no_filling(dots: Connection, notices: Notices) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign', is_generated => true)")
    dots.execute("CALL pgembed.fill_code('dot')")
    assert "generated" in notices[-1].message


@pytest.mark.own_database
def test_inside_a_transaction_it_says_that_it_cannot_commit(coded: Connection, notices: Notices) -> None:
    with coded.transaction():
        coded.execute("CALL pgembed.fill_code('dot')")
    assert any("one transaction" in said.message for said in notices)
    assert missing(coded) == 0


@pytest.mark.own_database
@pytest.mark.parametrize("codec", ["dot_sign", "dot_int8"])
def test_rows_that_others_hold_are_waited_for_and_not_in_the_way(dots: Connection, connect: Connect, codec: str) -> None:
    dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
    holder, watcher = connect(dots), connect(dots)
    with holder.transaction():
        # another vector for one row, no vector for one, nothing for a third, a fourth only locked; and one that is rolled back
        holder.execute("UPDATE dot SET e = '[9,-9,9,-9,9,-9,9,-9]' WHERE id = 1; UPDATE dot SET e = NULL WHERE id = 2")
        holder.execute("UPDATE dot SET place = 0 WHERE id = 3; SELECT FROM dot WHERE id = 4 FOR UPDATE; DELETE FROM dot WHERE id = 6")
        with holder.transaction(force_rollback=True):
            holder.execute("UPDATE dot SET e = '[9,-9,9,-9,9,-9,9,-9]' WHERE id = 5")
        fill = threading.Thread(target=dots.execute, args=("CALL pgembed.fill_code('dot')",))
        fill.start()
        waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
        wait_until(lambda: watcher.execute(waiting).fetchone() == (True,))
        # all but the rows that are held are filled and committed, and nobody waits for the fill, not even here
        watcher.execute("SET lock_timeout = '5s'")
        assert missing(watcher, codec) <= 5
        watcher.execute("UPDATE dot SET e = '[1,1,1,1,-1,-1,-1,-1]' WHERE id BETWEEN 100 AND 200")
        watcher.execute("INSERT INTO dot VALUES (1000, 0, '[1,-1,1,-1,1,-1,1,-1]')")
    fill.join()
    assert agreeing(dots, codec) == 200 - 1 - 1 + 1
    assert missing(dots, codec) == 0
    assert is_filled(dots, codec)


@pytest.mark.own_database
@pytest.mark.parametrize("codec", ["dot_sign", "dot_int8"])
def test_vectors_that_are_renamed_meanwhile_are_still_those_that_are_encoded(dots: Connection, connect: Connect, codec: str) -> None:
    """As a change of the model does, which lets other vectors have their name."""
    dots.execute("INSERT INTO dot SELECT id + n, 0, e FROM dot, generate_series(200, 1000, 200) AS n; ANALYZE dot")
    dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
    dots.execute(
        """
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(1);
            RETURN NEW;
        END $$;
        CREATE TRIGGER wait BEFORE UPDATE ON dot FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION wait();
        """
    )
    other, watcher = connect(dots), connect(dots)
    watcher.execute("SELECT pg_advisory_lock(1)")
    fill = threading.Thread(target=dots.execute, args=("CALL pgembed.fill_code('dot', batch_size => 10)",))
    fill.start()
    waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = %s"
    wait_until(lambda: watcher.execute(waiting, ["advisory"]).fetchone() == (True,))
    rename = threading.Thread(
        target=other.execute,
        args=("BEGIN; ALTER TABLE dot RENAME COLUMN e TO old; ALTER TABLE dot ADD COLUMN e vector(8) DEFAULT '[1,1,1,1,1,1,1,1]'; COMMIT",),
    )
    rename.start()
    wait_until(lambda: watcher.execute(waiting, ["relation"]).fetchone() == (True,))
    watcher.execute("SELECT pg_advisory_unlock(1)")
    fill.join()
    rename.join()
    rows = dots.execute(f"SELECT count(*), count(*) FILTER (WHERE {codec}::text = {codec}(old)::text) FROM dot").fetchone()
    assert rows is not None
    assert rows[0] == rows[1] > 200
    assert is_filled(dots, codec)


@pytest.mark.own_database
def test_an_interruption_keeps_what_was_committed(coded: Connection, connect: Connect) -> None:
    holder, other = connect(coded), connect(coded)
    pid = coded.info.backend_pid
    with holder.transaction():
        holder.execute("SELECT FROM dot WHERE id = 4 FOR UPDATE")
        errors: list[psycopg.Error] = []

        def fill() -> None:
            try:
                coded.execute("CALL pgembed.fill_code('dot')")
            except psycopg.Error as error:
                errors.append(error)

        thread = threading.Thread(target=fill)
        thread.start()
        waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = %s"
        wait_until(lambda: other.execute(waiting, [pid]).fetchone() == (True,))
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        thread.join()
    assert len(errors) == 1
    # no more than the page that was waited for
    assert 0 < missing(other) <= ROWS
    assert other.execute("SELECT is_filled FROM pgembed.codes").fetchone() == (False,)
    other.execute("CALL pgembed.fill_code('dot')")
    assert agreeing(other) == ROWS


@pytest.mark.own_database
def test_partitions_are_filled_each(dots: Connection) -> None:
    dots.execute(
        """
        CREATE TABLE parted (id int, place int, e vector(8), PRIMARY KEY (id, place)) PARTITION BY LIST (place);
        CREATE TABLE part_0 PARTITION OF parted FOR VALUES IN (0, 1, 2);
        CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (3, 4, 5, 6) PARTITION BY RANGE (id);
        CREATE TABLE part_10 PARTITION OF part_1 FOR VALUES FROM (0) TO (100);
        CREATE TABLE part_11 PARTITION OF part_1 DEFAULT;
        INSERT INTO parted SELECT * FROM dot;
        SELECT pgembed.adopt_embedding('parted', 'e');
        """
    )
    for codec in ("dot_sign", "dot_int8"):
        dots.execute("SELECT pgembed.add_code('parted', %s)", [codec])
        dots.execute("CALL pgembed.fill_code('parted', %s)", [codec])
        assert agreeing(dots, codec, "parted") == ROWS
    dots.execute("INSERT INTO parted SELECT id + 1000, place, e FROM dot")
    assert agreeing(dots, "dot_int8", "parted") == 2 * ROWS


@pytest.mark.own_database
def test_a_partition_that_is_attached_is_to_be_filled(dots: Connection, notices: Notices) -> None:
    dots.execute(
        """
        CREATE TABLE parted (id int, place int, e vector(8)) PARTITION BY LIST (place);
        CREATE TABLE part_0 PARTITION OF parted FOR VALUES IN (0, 1, 2);
        INSERT INTO parted SELECT * FROM dot WHERE place <= 2;
        SELECT pgembed.adopt_embedding('parted', 'e');
        SELECT pgembed.add_code('parted', 'dot_sign');
        """
    )
    dots.execute("CALL pgembed.fill_code('parted')")
    dots.execute("CREATE TABLE empty (LIKE parted); ALTER TABLE parted ATTACH PARTITION empty FOR VALUES IN (9)")
    dots.execute("ALTER TABLE parted ADD COLUMN more int")
    assert is_filled(dots)
    dots.execute("CREATE TABLE part_1 (LIKE parted); INSERT INTO part_1 SELECT id, place, e FROM dot WHERE place > 2")
    dots.execute("ALTER TABLE parted ATTACH PARTITION part_1 FOR VALUES IN (3, 4, 5, 6)")
    assert not is_filled(dots)
    assert "attached" in notices[-1].message
    dots.execute("CALL pgembed.fill_code('parted')")
    assert is_filled(dots)
    assert agreeing(dots, "dot_sign", "parted") == ROWS


def test_what_cannot_be_filled_is_refused(coded: Connection, refused: Refused) -> None:
    refused(coded, "22004", "CALL pgembed.fill_code('dot', batch_size => NULL)", message="batch_size is NULL")
    refused(coded, "22023", "CALL pgembed.fill_code('dot', batch_size => 0)", message="from 1 to")
    refused(coded, "42704", "CALL pgembed.fill_code('dot', 'x')", message='"x"')
    coded.execute("ALTER TABLE dot DISABLE TRIGGER zz_pgembed_dot_sign")
    refused(coded, "55000", "CALL pgembed.fill_code('dot')", message="missing or disabled", hint="ENABLE ALWAYS TRIGGER")


def test_rows_that_the_owner_may_not_see_are_not_passed_over(dots: Connection, make_role: MakeRole, refused: Refused) -> None:
    owner = make_role("owner")
    dots.execute(f"GRANT CREATE ON SCHEMA public TO {owner}; ALTER TABLE dot OWNER TO {owner}; SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("ALTER TABLE dot ENABLE ROW LEVEL SECURITY; ALTER TABLE dot FORCE ROW LEVEL SECURITY")
    refused(dots, "42501", "CALL pgembed.fill_code('dot')", message="row security", hint="NO FORCE")


def test_a_trigger_of_the_users_that_undoes_it_is_told(coded: Connection, refused: Refused) -> None:
    coded.execute(
        """
        CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER zzz BEFORE UPDATE ON dot FOR EACH ROW EXECUTE FUNCTION undo();
        """
    )
    refused(coded, "55000", "CALL pgembed.fill_code('dot')", message="200 rows", hint="another trigger")
