"""by_hand: what becomes of vectors that somebody else than pgembed writes into an embedded column."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support import Connection, MakeRole, Refused, counts, states

pytestmark = pytest.mark.one_transaction

MINE = "array_fill(2, ARRAY[384])::vector"


def declare(db: Connection, by_hand: str = "mark", source: str = "name") -> None:
    """Two fresh rows with vectors of pgembed's."""
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, name text, n int, shout text GENERATED ALWAYS AS (upper(name)) STORED);
        INSERT INTO t VALUES (1, 'a'), (2, 'b');
        """
    )
    db.execute(f"SELECT pgembed.add_embedding('t', '{source}', sync => 'manual', by_hand => '{by_hand}')")
    db.execute("CALL pgembed.refresh('t')")


def by_hand(db: Connection) -> list[bool]:
    return [row[0] for row in db.execute("SELECT pgembed.by_hand(embedding_hash) FROM t ORDER BY id").fetchall()]


def is_mine(db: Connection, key: int) -> object:
    row = db.execute(f"SELECT embedding = {MINE} FROM t WHERE id = {key}").fetchone()
    return row and row[0]


def test_a_vector_by_hand_is_marked_and_fresh(db: Connection) -> None:
    declare(db)
    assert by_hand(db) == [False, False]
    db.execute(f"UPDATE t SET embedding = {MINE} WHERE id = 1")
    db.execute(f"INSERT INTO t (id, name, embedding) VALUES (3, 'c', {MINE}), (4, NULL, {MINE})")
    db.execute("INSERT INTO t (id, name) VALUES (5, 'e')")
    assert by_hand(db) == [True, False, True, True, False]
    assert states(db, "t") == ["fresh", "fresh", "fresh", "fresh", "pending"]
    db.execute("CALL pgembed.refresh('t')")
    assert is_mine(db, 1)
    assert is_mine(db, 3)


def test_a_vector_by_hand_with_a_new_text_is_of_that_text(db: Connection) -> None:
    declare(db)
    db.execute(f"UPDATE t SET name = 'z', embedding = {MINE} WHERE id = 1")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "fresh"], [True, False])
    db.execute("UPDATE t SET name = 'y' WHERE id = 1")
    assert (states(db, "t"), by_hand(db)) == (["stale", "fresh"], [True, False])
    db.execute("UPDATE t SET name = 'z' WHERE id = 1")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "fresh"], [True, False])


def test_a_stale_vector_by_hand_is_made_anew_and_no_longer_by_hand(db: Connection) -> None:
    declare(db)
    db.execute(f"UPDATE t SET embedding = {MINE}; UPDATE t SET name = 'y' WHERE id = 1")
    db.execute("CALL pgembed.refresh('t')")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "fresh"], [False, True])
    assert not is_mine(db, 1)


def test_a_text_that_changed_back_is_by_hand_again_for_refresh_too(db: Connection) -> None:
    declare(db, source="shout")  # of a generated column the triggers cannot tell
    db.execute("UPDATE t SET embedding_hash = '\\x04' || pgembed._source_hash(shout) WHERE id = 1")
    assert states(db, "t") == ["stale", "fresh"]
    db.execute("CALL pgembed.refresh('t')")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "fresh"], [True, False])


def test_a_vector_by_hand_of_a_generated_source_is_marked(db: Connection) -> None:
    declare(db, source="shout")
    db.execute(f"UPDATE t SET embedding = {MINE} WHERE id = 1; INSERT INTO t (id, name, embedding) VALUES (3, 'c', {MINE})")
    assert (states(db, "t"), by_hand(db)) == (["fresh"] * 3, [True, False, True])
    db.execute(f"UPDATE t SET name = 'z', embedding = {MINE} WHERE id = 2")
    assert (states(db, "t"), by_hand(db)) == (["fresh"] * 3, [True, True, True])
    db.execute("UPDATE t SET name = 'q' WHERE id = 1")
    assert states(db, "t") == ["stale", "fresh", "fresh"]


def test_a_vector_that_is_taken_away_is_made_anew(db: Connection) -> None:
    declare(db)
    db.execute("UPDATE t SET name = NULL WHERE id = 2")
    db.execute("UPDATE t SET embedding = NULL")
    assert states(db, "t") == ["pending", "null_source"]
    db.execute("CALL pgembed.refresh('t')")
    assert counts(db, "t") == {"fresh": 1, "null_source": 1}


def test_the_same_vector_again_is_not_by_hand(db: Connection) -> None:
    declare(db)
    db.execute("UPDATE t SET embedding = embedding, n = 2")
    assert by_hand(db) == [False, False]


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE t SET embedding = {MINE} WHERE id = 1",
        f"UPDATE t SET name = 'z', embedding = {MINE} WHERE id = 1",
        f"INSERT INTO t (id, name, embedding) VALUES (3, 'c', {MINE})",
        f"INSERT INTO t (id, name) VALUES (1, 'c') ON CONFLICT (id) DO UPDATE SET embedding = {MINE}",
    ],
)
def test_a_vector_by_hand_is_refused(db: Connection, refused: Refused, statement: str) -> None:
    declare(db, "refuse")
    message = 'column "embedding" of table "t" is written by pgembed alone, but a vector was given'
    refused(db, "428C9", statement, message=message, hint="by_hand => 'mark'")
    assert states(db, "t") == ["fresh", "fresh"]


def test_what_pgembed_writes_is_neither_refused_nor_marked(db: Connection) -> None:
    declare(db, "refuse")
    db.execute("SELECT pgembed.alter_embedding('t', sync => 'immediate')")
    db.execute("INSERT INTO t (id, name) VALUES (3, 'c'); UPDATE t SET name = 'z' WHERE id = 1; UPDATE t SET name = NULL WHERE id = 2")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "null_source", "fresh"], [False] * 3)
    db.execute("UPDATE t SET embedding = NULL WHERE id = 1; CALL pgembed.refresh('t')")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "null_source", "fresh"], [False] * 3)


@pytest.mark.parametrize("given", ["mark", "refuse"])
def test_rows_that_are_restored_keep_what_they_were(db: Connection, given: str) -> None:
    declare(db)
    db.execute(f"UPDATE t SET embedding = {MINE} WHERE id = 1; INSERT INTO t (id, name) VALUES (3, 'c')")
    db.execute(f"SELECT pgembed.alter_embedding('t', by_hand => '{given}')")
    before = db.execute("SELECT * FROM t ORDER BY id").fetchall()
    columns = "id, name, n, embedding, embedding_hash"
    with db.cursor() as cursor:
        with cursor.copy(f"COPY t ({columns}) TO STDOUT") as out:
            rows = b"".join(bytes(part) for part in out)
        db.execute("TRUNCATE t")
        with cursor.copy(f"COPY t ({columns}) FROM STDIN") as back:
            back.write(rows)
    assert db.execute("SELECT * FROM t ORDER BY id").fetchall() == before


def test_by_hand_can_be_changed(db: Connection, refused: Refused) -> None:
    declare(db)
    db.execute(f"UPDATE t SET embedding = {MINE} WHERE id = 1")
    db.execute("SELECT pgembed.alter_embedding('t', by_hand => 'refuse')")
    assert db.execute("SELECT by_hand FROM pgembed._embedding").fetchone() == ("refuse",)
    refused(db, "428C9", f"UPDATE t SET embedding = {MINE} WHERE id = 2")
    assert by_hand(db) == [True, False]
    db.execute("SELECT pgembed.alter_embedding('t', by_hand => 'mark')")
    db.execute(f"UPDATE t SET embedding = {MINE} WHERE id = 2")
    assert by_hand(db) == [True, True]


@pytest.fixture
def adopted(db: Connection) -> Callable[[str], None]:
    """An adopted column, two rows of which have vectors."""

    def make(by_hand: str) -> None:
        db.execute(
            f"CREATE TABLE t (id int PRIMARY KEY, name text, embedding vector(384)); INSERT INTO t VALUES (1, 'a', {MINE}), (2, 'b', NULL)"
        )
        db.execute(
            "SELECT pgembed.adopt_embedding('t', 'embedding', 'all-minilm-l6-v2', source => 'name', sync => 'manual',"
            f" by_hand => '{by_hand}')"
        )

    return make


def test_the_applications_own_vectors_of_an_adopted_column_stay_unmarked(db: Connection, adopted: Callable[[str], None]) -> None:
    adopted("mark")
    db.execute(f"INSERT INTO t VALUES (3, 'c', {MINE})")
    assert (states(db, "t"), by_hand(db)) == (["fresh", "pending", "fresh"], [False] * 3)
    db.execute(f"UPDATE t SET embedding = {MINE}")
    assert (states(db, "t"), by_hand(db)) == (["fresh"] * 3, [False, True, False])


def test_an_adopted_column_may_refuse_from_now_on(db: Connection, adopted: Callable[[str], None], refused: Refused) -> None:
    adopted("refuse")
    refused(db, "428C9", f"INSERT INTO t VALUES (3, 'c', {MINE})")
    db.execute("CALL pgembed.refresh('t')")
    assert (states(db, "t"), is_mine(db, 1)) == (["fresh", "fresh"], True)


def test_an_adopted_column_of_a_partitioned_table_cannot_refuse(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text, embedding vector(384)) PARTITION BY RANGE (id)")
    refused(
        db,
        "0A000",
        "SELECT pgembed.adopt_embedding('t', 'embedding', 'all-minilm-l6-v2', source => 'name', by_hand => 'refuse')",
        message="moves to another partition",
        hint="add_embedding",
    )


def test_a_failing_source_does_not_hold_up_a_vector_by_hand(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, n int, name text); INSERT INTO t VALUES (1, 2, 'a')")
    db.execute("SELECT pgembed.add_embedding('t', $$ name || 10 / n $$, sync => 'manual')")
    db.execute(f"UPDATE t SET n = 0; UPDATE t SET embedding = {MINE}; INSERT INTO t (id, n, name, embedding) VALUES (2, 0, 'b', {MINE})")
    assert states(db, "t") == ["fresh", "fresh"]


def test_the_owner_alone_changes_by_hand(db: Connection, make_role: MakeRole, refused: Refused) -> None:
    declare(db)
    bob = make_role("bob")
    db.execute(f"GRANT ALL ON t TO {bob}; SET LOCAL ROLE {bob}")
    refused(db, "42501", "SELECT pgembed.alter_embedding('t', by_hand => 'refuse')", message="must be owner")
    db.execute("RESET ROLE")
