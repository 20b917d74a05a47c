"""Work on embedded columns: `CALL work`, failures and pauses; no row is embedded twice, and none is lost."""

from __future__ import annotations

import threading

import psycopg
import pytest
from claimed import failures, must_claim
from fake_endpoint import FakeEndpoint, poisoned_by, serving, status
from support import PATIENCE, AsRole, Connect, Connection, MakeRole, Notices, Refused, counts, states, wait_until


def asked(fake: FakeEndpoint) -> list[str]:
    return sorted(text for request in fake.requests for text in request.texts)


def together(*calls: tuple[Connection, str]) -> list[psycopg.Error]:
    """Run statements in threads of their own, until all have ended; their errors."""
    errors: list[psycopg.Error] = []

    def run(session: Connection, statement: str) -> None:
        try:
            session.execute(statement)
        except psycopg.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    return errors


# -------------------------------------------------------------------------------------------------------------------------------- work


def test_work_embeds_all_columns_and_no_text_twice(far: Connection, fake: FakeEndpoint, notices: Notices) -> None:
    far.execute("CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other VALUES (1, 'x')")
    far.execute("SELECT pgembed.add_embedding('other', 'name', 'far', sync => 'queued')")
    far.execute("CALL pgembed.work(batch_size => 5)")
    assert asked(fake) == sorted([*(f"name {n}" for n in range(1, 13)), "x"])
    assert counts(far) == {"fresh": 12}
    assert counts(far, "other") == {"fresh": 1}
    assert notices[-1].message.startswith("13 rows embedded in ")
    assert far.execute("SELECT count(*) FROM pgembed._claim").fetchone() == (0,)
    notices.clear()
    far.execute("CALL pgembed.work()")
    assert notices == []


def test_work_ends_at_its_limits_and_leaves_manual_columns_to_those_who_name_them(far: Connection) -> None:
    far.execute("CALL pgembed.work(max_rows => 4)")
    assert counts(far) == {"fresh": 4, "pending": 8}
    far.execute("CALL pgembed.work(max_seconds => 1e-9)")
    assert counts(far) == {"fresh": 4, "pending": 8}
    far.execute("SELECT pgembed.alter_embedding('product', sync => 'manual')")
    far.execute("CALL pgembed.work()")
    assert counts(far) == {"fresh": 4, "pending": 8}
    far.execute("CALL pgembed.work('product')")
    assert counts(far) == {"fresh": 12}


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("max_rows => 0", "22023", "max_rows must be above 0, not 0"),
        ("max_seconds => 'NaN'", "22023", "max_seconds must be above 0"),
        ("batch_size => 0", "22023", "batch_size must be from 1 to 100000, not 0"),
        ("column_name => 'embedding'", "22004", "column_name needs target"),
        ("'product', 'nobody'", "42704", '"nobody"'),
    ],
)
def test_bad_calls_of_work_are_refused(far: Connection, refused: Refused, arguments: str, sqlstate: str, message: str) -> None:
    refused(far, sqlstate, f"CALL pgembed.work({arguments})", message=message)


def test_work_commits_and_so_runs_in_no_block(far: Connection, refused: Refused) -> None:
    with far.transaction(force_rollback=True):
        refused(far, "0A000", "CALL pgembed.work()", message="inside a transaction block", hint="refresh")


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_work_runs_at_read_committed_whatever_the_default_is(far: Connection, level: str) -> None:
    far.execute("SELECT set_config('default_transaction_isolation', %s, false)", [level])
    far.execute("CALL pgembed.work()")
    assert counts(far) == {"fresh": 12}
    assert far.execute("SHOW transaction_isolation").fetchone() == (level,)


def test_sessions_that_work_at_once_embed_no_text_twice(far: Connection, fake: FakeEndpoint, connect: Connect) -> None:
    far.execute("INSERT INTO product SELECT n, 'name ' || n FROM generate_series(13, 60) AS n")
    call = "CALL pgembed.work(batch_size => 3)"
    assert together((connect(far), call), (connect(far), call), (connect(far), "CALL pgembed.refresh('product', batch_size => 3)")) == []
    assert counts(far) == {"fresh": 60}
    assert asked(fake) == sorted(f"name {n}" for n in range(1, 61))


def test_refresh_waits_for_rows_that_others_have_and_embeds_what_they_leave(far: Connection, fake: FakeEndpoint, connect: Connect) -> None:
    number, keys, _ = must_claim(far)
    session = connect(far)
    errors: list[list[psycopg.Error]] = []
    thread = threading.Thread(target=lambda: errors.append(together((session, "CALL pgembed.refresh('product')"))))
    thread.start()
    wait_until(lambda: counts(far) == {"fresh": 7, "pending": 5})
    assert not set(asked(fake)) & {f"name {key}" for key in keys}
    assert thread.is_alive()
    far.execute("SELECT pgembed._release_work(%s, NULL, NULL, NULL)", [number])
    thread.join(PATIENCE)
    assert errors == [[]]
    assert counts(far) == {"fresh": 12}
    assert asked(fake) == sorted(f"name {n}" for n in range(1, 13))


def test_work_over_chunks(unread: Connection) -> None:
    unread.execute("CALL pgembed.work('doc', batch_size => 2)")
    assert unread.execute("SELECT id, count(*) FROM doc_part_chunk GROUP BY id ORDER BY id").fetchall() == [(1, 3), (2, 2), (3, 1), (6, 3)]


def test_a_column_that_becomes_another_one_meanwhile_gets_no_vector_of_the_old_model(
    far: Connection, fake: FakeEndpoint, connect: Connect
) -> None:
    far.execute("SELECT pgembed.register_model('other', %s, remote_model => 'another', options => '{\"retries\": 0}')", [fake.url])
    asking, going = threading.Event(), threading.Event()
    right = fake.default

    def slow(request):
        asking.set()
        going.wait(PATIENCE)
        return right(request)

    fake.default = slow
    session = connect(far)
    thread = threading.Thread(target=lambda: session.execute("CALL pgembed.work(max_rows => 12)"))
    thread.start()
    assert asking.wait(PATIENCE)
    far.execute("SET lock_timeout = '5s'")
    far.execute("SELECT pgembed.alter_embedding('product', model => 'other')")
    going.set()
    thread.join(PATIENCE)
    assert counts(far) == {"pending": 12}


def test_rows_that_nobody_can_write_pause_their_column(far: Connection, fake: FakeEndpoint) -> None:
    far.execute(
        """
        CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER never BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION never();
        """
    )
    far.execute("CALL pgembed.work()")
    assert failures(far) == [(None, 1, "55000", False)]
    assert len(asked(fake)) == 12


# ---------------------------------------------------------------------------------------------------------------------------- failures


def due(db: Connection) -> None:
    """As if time had passed."""
    db.execute("UPDATE pgembed._failure SET next_try = now() WHERE next_try IS NOT NULL; UPDATE pgembed._pause SET until = now()")


def test_a_poisonous_text_fails_alone_is_tried_again_and_parked(far: Connection, fake: FakeEndpoint) -> None:
    fake.default = poisoned_by("name 3", status(400, "no"))
    far.execute("CALL pgembed.work()")
    assert counts(far) == {"fresh": 11, "failed": 1}
    assert failures(far) == [("3", 1, "22023", False)]
    far.execute("CALL pgembed.work()")
    assert failures(far)[0][1] == 1, "not before its time"
    for tries in (2, 3, 4, 5):
        due(far)
        far.execute("CALL pgembed.work()")
        assert failures(far) == [("3", tries, "22023", tries == 5)]
    said = far.execute("SELECT last_error FROM pgembed.embeddings").fetchone()
    assert said == ("SQLSTATE 22023, see pgembed.failures",)
    fake.default = serving()
    assert far.execute("SELECT pgembed.retry_failed('product', key => '1')").fetchone() == (0,)
    assert far.execute("SELECT pgembed.retry_failed('product')").fetchone() == (1,)
    far.execute("CALL pgembed.work()")
    assert counts(far) == {"fresh": 12}
    assert failures(far) == []
    assert far.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == (None,)


def test_a_failed_row_that_is_changed_begins_anew(far: Connection, fake: FakeEndpoint) -> None:
    fake.default = poisoned_by("name", status(400, "no"))
    far.execute("DELETE FROM product WHERE id > 2; UPDATE product SET name = 'good' WHERE id = 1")
    far.execute("CALL pgembed.work()")
    due(far)
    far.execute("CALL pgembed.work()")
    assert failures(far) == [("2", 2, "22023", False)]
    far.execute("UPDATE product SET name = 'another name' WHERE id = 2")
    far.execute("CALL pgembed.work()")
    assert failures(far) == [("2", 1, "22023", False)]
    far.execute("UPDATE product SET name = 'good, too' WHERE id = 2")
    far.execute("CALL pgembed.work()")
    assert failures(far) == []
    assert counts(far) == {"fresh": 2}


def test_a_failed_row_that_is_deleted_is_forgotten(far: Connection, fake: FakeEndpoint) -> None:
    fake.default = poisoned_by("name 3", status(400, "no"))
    far.execute("CALL pgembed.work()")
    far.execute("DELETE FROM product WHERE id = 3")
    due(far)
    far.execute("CALL pgembed.work()")
    assert failures(far) == []


def test_a_source_that_fails_keeps_its_error_for_the_owner(db: Connection, as_role: AsRole, make_role: MakeRole) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'secret'), (2, '2'), (3, '3')")
    db.execute("SELECT pgembed.add_embedding('product', 'name::int::text', sync => 'queued')")
    db.execute("CALL pgembed.work()")
    assert states(db) == ["fresh" if n != 1 else "failed" for n in (1, 2, 3)]
    error = db.execute("SELECT error FROM pgembed.failures WHERE key = '1'").fetchone()
    assert error == ('invalid input syntax for type integer: "secret"',)
    assert db.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == ("SQLSTATE 22P02, see pgembed.failures",)
    with as_role(db, make_role("stranger")):
        assert db.execute("SELECT * FROM pgembed.failures").fetchall() == []


def test_a_model_that_is_down_pauses_its_column_alone_and_no_row_is_to_blame(far: Connection, fake: FakeEndpoint) -> None:
    far.execute("CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other VALUES (1, 'x')")
    far.execute("SELECT pgembed.add_embedding('other', 'name', sync => 'queued')")
    fake.default = status(503, "secret")
    far.execute("CALL pgembed.work()")
    assert counts(far, "other") == {"fresh": 1}
    assert counts(far) == {"pending": 12}
    assert failures(far) == [(None, 1, "58000", False)]
    assert far.execute("SELECT last_error FROM pgembed.embeddings WHERE table_name = 'product'::regclass").fetchone() == (
        "SQLSTATE 58000, the column as a whole cannot be embedded for now, see pgembed.failures",
    )
    before = len(fake.requests)
    far.execute("CALL pgembed.work()")
    assert len(fake.requests) == before, "it is paused"
    for tries in (2, 3):
        due(far)
        far.execute("CALL pgembed.work()")
        assert failures(far) == [(None, tries, "58000", False)]
    longer = far.execute("SELECT extract(epoch FROM until - failed_at) FROM pgembed._pause").fetchone()
    assert longer is not None
    assert 3.9 < longer[0] < 4.1
    fake.default = serving()
    due(far)
    far.execute("CALL pgembed.work()")
    assert counts(far) == {"fresh": 12}
    assert failures(far) == []


def test_a_source_that_fails_as_a_whole_pauses_its_column(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'a');
        CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT x FROM no_such_table); END';
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'told(name)', sync => 'queued')")
    db.execute("CALL pgembed.work()")
    assert failures(db) == [(None, 1, "42P01", False)]
    assert states(db) == ["pending"]


# -------------------------------------------------------------------------------------------------------- in the writer's transaction


def test_embed_rows_embeds_what_it_is_given_in_the_same_transaction(far: Connection) -> None:
    far.execute("SELECT pgembed.grant_model('far')")
    with far.transaction(force_rollback=True):
        assert far.execute("SELECT pgembed._embed_rows('product', 'embedding', '{1,3,99}')").fetchone() == (2,)
        assert far.execute("SELECT pgembed._embed_rows('product', 'embedding', '{1,3,99}')").fetchone() == (0,)
        assert [n for n, state in enumerate(states(far), 1) if state == "fresh"] == [1, 3]
    assert counts(far) == {"pending": 12}


def test_embed_rows_blames_no_writer(far: Connection, fake: FakeEndpoint, notices: Notices) -> None:
    call = "SELECT pgembed._embed_rows('product', 'embedding', '{1,3}')"
    assert far.execute(call).fetchone() == (0,)
    assert "not granted to backends" in notices[-1].message
    assert notices[-1].severity == "WARNING"
    far.execute("SELECT pgembed.grant_model('far')")
    fake.default = poisoned_by("name 3", status(400, "no"))
    assert far.execute(call).fetchone() == (1,)
    assert "1 rows could not be embedded" in notices[-1].message
    assert states(far)[:3] == ["fresh", "pending", "failed"]
    assert failures(far) == [("3", 1, "22023", False)]
    fake.default = status(503, "down")
    assert far.execute("SELECT pgembed._embed_rows('product', 'embedding', '{4}')").fetchone() == (0,)
    assert "1 rows are written and not embedded" in notices[-1].message
    assert states(far)[3] == "pending"


# ----------------------------------------------------------------------------------------------------------------------------- recheck


@pytest.fixture
def joined(db: Connection) -> Connection:
    """Three products whose text has the name of a maker, which stands in another table."""
    db.execute(
        """
        CREATE TABLE maker (id int PRIMARY KEY, name text); INSERT INTO maker VALUES (1, 'Smith'), (2, 'Jones');
        CREATE TABLE product (id int PRIMARY KEY, name text, maker int);
        INSERT INTO product VALUES (1, 'tent', 1), (2, 'stove', 2), (3, 'boat', 1), (4, 'rope', 3);
        CREATE FUNCTION maker_of(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT name FROM maker WHERE id = $1';
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'name || maker_of(maker)', sync => 'manual')")
    db.execute("CALL pgembed.refresh('product')")
    return db


def test_recheck_finds_what_no_trigger_has_seen(joined: Connection, notices: Notices) -> None:
    joined.execute("UPDATE maker SET name = 'Miller' WHERE id = 1; INSERT INTO maker VALUES (3, 'Cooper')")
    before = joined.execute("SELECT xmin::text FROM product WHERE id = 2").fetchone()
    joined.execute("CALL pgembed.refresh('product')")
    assert not any("another source text" in told.message for told in notices)
    joined.execute("CALL pgembed.refresh('product', batch_size => 2, recheck => true)")
    assert any("3 rows have another source text" in told.message for told in notices)
    right = "SELECT bool_and(embedding = pgembed.embed(name || maker_of(maker))) FROM product"
    assert joined.execute(right).fetchone() == (True,)
    assert counts(joined) == {"fresh": 4}
    assert joined.execute("SELECT xmin::text FROM product WHERE id = 2").fetchone() == before


def test_recheck_takes_vectors_away_whose_text_is_gone(joined: Connection) -> None:
    joined.execute("DELETE FROM maker WHERE id = 2")
    joined.execute("CALL pgembed.refresh('product', recheck => true)")
    assert states(joined) == ["fresh", "null_source", "fresh", "null_source"]
    assert joined.execute("SELECT embedding IS NULL FROM product WHERE id = 2").fetchone() == (True,)
