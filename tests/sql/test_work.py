"""Work on embedded columns: claims, `CALL work`, failures and pauses; no row is embedded twice, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from fake_endpoint import FakeEndpoint, poisoned_by, serving, status
from psycopg.types.json import Jsonb
from support import PATIENCE, AsRole, Connect, Connection, MakeRole, Notices, Refused, counts, states, wait_until

Claimed = tuple[int, list[str], int]


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    """An endpoint that keeps what it was asked."""
    with FakeEndpoint() as server:
        yield server


@pytest.fixture
def far(db: Connection, fake: FakeEndpoint) -> Connection:
    """The model `far`, which never tries again by itself, and 12 products of as many names, none embedded yet."""
    options = Jsonb({"retries": 0})
    db.execute("SELECT pgembed.register_model('far', %s, remote_model => 'the-model', options => %s)", [fake.url, options])
    fake.requests.clear()
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text);
        INSERT INTO product SELECT n, 'name ' || n FROM generate_series(1, 12) AS n;
        SELECT pgembed.add_embedding('product', 'name', 'far', sync => 'queued');
        """
    )
    return db


def asked(fake: FakeEndpoint) -> list[str]:
    return sorted(text for request in fake.requests for text in request.texts)


def claim(db: Connection, worker: str = "me", *, batch_size: int = 5, lease: str = "5 min", target: str | None = None) -> Claimed | None:
    row = db.execute(
        "SELECT claim, keys, attempts FROM pgembed._claim_work(%s, %s, batch_size => %s, lease => %s::interval)",
        [worker, target, batch_size, lease],
    ).fetchone()
    return None if row is None else (row[0], list(row[1]), row[2])


def must_claim(db: Connection, worker: str = "me", *, batch_size: int = 5, lease: str = "5 min") -> Claimed:
    found = claim(db, worker, batch_size=batch_size, lease=lease)
    assert found is not None
    return found


def failures(db: Connection) -> list[tuple[str | None, int, str, bool]]:
    """Key, attempts, SQLSTATE and whether it is parked."""
    return [
        tuple(row) for row in db.execute("SELECT key, attempts, sqlstate, next_try IS NULL FROM pgembed.failures ORDER BY key").fetchall()
    ]


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


# ------------------------------------------------------------------------------------------------------------------------------ claims


def test_sessions_claim_different_rows_in_the_order_of_the_key(far: Connection, connect: Connect) -> None:
    other = connect(far)
    assert must_claim(far)[1:] == (["1", "2", "3", "4", "5"], 1)
    assert must_claim(other)[1] == ["6", "7", "8", "9", "10"]
    assert must_claim(far)[1] == ["11", "12"]
    assert claim(other) is None


def test_a_claim_in_the_making_holds_up_nobody_who_has_another_column(far: Connection, connect: Connect) -> None:
    far.execute("CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other VALUES (1, 'x')")
    far.execute("SELECT pgembed.add_embedding('other', 'name', 'far', sync => 'queued')")
    one, two = connect(far), connect(far)
    two.execute("SET lock_timeout = '1s'")
    with one.transaction():
        first = one.execute("SELECT target FROM pgembed._claim_work('one')").fetchone()
        second = two.execute("SELECT target FROM pgembed._claim_work('two')").fetchone()
    assert {first, second} == {("product",), ("other",)}


def test_a_session_takes_columns_in_turn(far: Connection) -> None:
    far.execute("CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other SELECT n, 'x' FROM generate_series(1, 5) AS n")
    far.execute("SELECT pgembed.add_embedding('other', 'name', 'far', sync => 'queued')")
    taken = [far.execute("SELECT target FROM pgembed._claim_work('me', batch_size => 1)").fetchone() for _ in range(4)]
    assert taken[0] != taken[1]
    assert taken[:2] == taken[2:]


def test_what_a_release_ends_can_be_claimed_again(far: Connection) -> None:
    number, keys, _ = must_claim(far)
    assert far.execute("SELECT pgembed._release_work(%s, NULL, NULL, NULL)", [number]).fetchone() == (True,)
    assert must_claim(far)[1:] == (keys, 1)
    assert far.execute("SELECT pgembed._release_work(%s, NULL, NULL, NULL)", [number]).fetchone() == (False,)


def test_rows_of_a_dead_session_are_taken_over_in_halves_before_the_lease_ends(far: Connection, connect: Connect) -> None:
    killed = connect(far)
    assert must_claim(killed)[1] == ["1", "2", "3", "4", "5"]
    far.execute("SELECT pg_terminate_backend(%s, 10000)", [killed.info.backend_pid])
    assert must_claim(far)[1:] == (["1", "2", "3"], 2)
    assert must_claim(far)[1:] == (["4", "5"], 2)
    assert must_claim(far)[1:] == (["6", "7", "8", "9", "10"], 1)


def test_a_lease_that_has_ended_is_taken_over_and_one_that_is_kept_is_not(far: Connection) -> None:
    slow, _, _ = must_claim(far, lease="1 microsecond")
    assert must_claim(far)[1:] == (["1", "2", "3"], 2)
    # the other half is nobody's, and the first claim's no more
    assert far.execute("SELECT pgembed._release_work(%s, '{1}', '{22000}', '{late}')", [slow]).fetchone() == (False,)
    assert far.execute("SELECT pgembed._keep_claim(%s)", [slow]).fetchone() == (False,)
    assert failures(far) == []


def test_a_kept_claim_holds(far: Connection) -> None:
    number, _, _ = must_claim(far, lease="1 microsecond")
    assert far.execute("SELECT pgembed._keep_claim(%s)", [number]).fetchone() == (True,)
    assert must_claim(far)[1] == ["6", "7", "8", "9", "10"]


def test_a_row_at_which_workers_die_is_isolated_and_parked(far: Connection) -> None:
    deaths = 0
    while (taken := claim(far, batch_size=8, lease="10 s")) is not None:
        number, keys, _ = taken
        if "7" in keys:
            deaths += 1
            far.execute("UPDATE pgembed._claim SET expires_at = now() - interval '1 s' WHERE id = %s", [number])
            continue
        far.execute("UPDATE product SET embedding_hash = '' WHERE id = ANY (%s::int[])", [keys])  # needs nothing any more
        far.execute("SELECT pgembed._release_work(%s, '{}', '{}', '{}')", [number])
    assert deaths == 5
    assert failures(far) == [("7", 5, "58000", True)]
    assert far.execute("SELECT error FROM pgembed.failures").fetchone()[0].startswith("the process that embedded this row died")
    assert counts(far) == {"null_source": 11, "failed": 1}
    assert far.execute("SELECT count(*) FROM pgembed._claim").fetchone() == (0,)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_claim_needs_to_see_what_others_claim(far: Connection, refused: Refused, level: str) -> None:
    far.execute("SELECT set_config('default_transaction_isolation', %s, false)", [level])
    statement = "SELECT pgembed._claim_work('me')"
    refused(far, "0A000", statement, message=f"isolation level {level}", hint="default_transaction_isolation = 'read committed'")


def test_nobody_claims_rows_of_others(far: Connection, as_role: AsRole, make_role: MakeRole, refused: Refused) -> None:
    number, _, _ = must_claim(far)
    role = make_role("stranger")
    with as_role(far, role):
        assert claim(far) is None
        refused(far, "42501", "SELECT pgembed._claim_work('me', 'product')", message="must be owner")
        refused(far, "42501", "SELECT pgembed._release_work(%s, '{}', '{}', '{}')", [number], message="must be owner")
        refused(far, "42501", "SELECT pgembed._pause_column('product', 'embedding', 'XX000', 'no')", message="must be owner")
        refused(far, "42501", "SELECT pgembed.retry_failed('product')", message="must be owner")
        assert far.execute("SELECT pgembed._embed_rows('product', 'embedding', '{1}')").fetchone() == (0,)
        assert far.execute("SELECT count(*) FROM pgembed.work_in_progress").fetchone() == (0,)
    assert far.execute("SELECT worker, rows, is_live FROM pgembed.work_in_progress").fetchone() == ("me", 5, True)


def test_keys_of_several_columns_are_found_again(db: Connection) -> None:
    db.execute("CREATE TABLE product (day date, tags int[], id int DEFAULT 0, name text, PRIMARY KEY (day, tags))")
    db.execute("INSERT INTO product VALUES ('2024-02-01', '{1,2}', 1, 'tent'), ('2024-01-02', '{}', 2, 'stove')")
    db.execute("SELECT pgembed.add_embedding('product', 'name', sync => 'queued')")
    db.execute("SET datestyle = 'SQL, DMY'")
    db.execute("CALL pgembed.work()")
    assert counts(db) == {"fresh": 2}


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
