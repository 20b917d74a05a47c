"""Claims: who embeds which rows, for how long, and what becomes of rows whose worker has died."""

from __future__ import annotations

import pytest
from claimed import claim, failures, must_claim
from support import AsRole, Connect, Connection, MakeRole, Refused, counts


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
