"""change_model() of a column over chunks: no search compares two spaces while two tables of chunks exchange their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import shifted
from meanwhile import Asked, waits
from rechunked import ASKED, WORD, emptied, is_of, make, text
from support import Connect, Connection, wait_until


@pytest.fixture(scope="module")
def database(server_url: str, installed_server: Any) -> Iterator[str]:
    with shifted.database(server_url, installed_server.template_dbname, f"pgembed_change_spaces_{os.getpid()}") as name:
        yield name


@pytest.fixture
def db(server_url: str, database: str, roles: list[str]) -> Iterator[Connection]:
    with emptied(server_url, database) as connection:
        yield connection


# What is asked while tables change names: each gives the row of the word in both spaces; a mixture gives another row.
STATEMENTS = {
    "search": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1)",
    "exact": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, exact => true)",
    "fresh": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, consistency => 'fresh')",
    "named": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, column_name => 'part')",
    "keys": f"SELECT key::int FROM pgembed.search_keys('t', '{WORD}', k => 1)",
    "like": f"SELECT (item).id FROM pgembed.search_like(NULL::t, '{ASKED + 50}', k => 1)",
    "inside": "SELECT asked()",
}
BY_HAND = {
    "vector": f"SELECT (item).id FROM pgembed.search(NULL::t, pgembed.embed_query('t', '{WORD}'), k => 1)",
    "plain": f"SELECT id FROM t_part_chunk WHERE id < 50 ORDER BY embedding <=> pgembed.embed_query('t', '{WORD}') LIMIT 1",
}
EXCHANGES = ("SELECT pgembed.switch_model('t')", "SELECT pgembed.rollback_model('t')")


@pytest.fixture
def asked(db: Connection) -> Connection:
    """Ready, with all that the statements need; row 55 has the two chunks of row 5."""
    make(db)
    db.execute("INSERT INTO t VALUES (%s, %s)", [ASKED + 50, text(ASKED)])
    db.execute("CALL pgembed.refresh('t')")
    db.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    db.execute(f"CREATE FUNCTION asked() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN ({BY_HAND['plain']}); END $$")
    return db


def is_right(answer: Any) -> bool:
    return answer in ([(ASKED,)], [(ASKED + 50,)])


def test_a_search_that_waits_for_the_switch_keeps_to_one_space(asked: Connection, connect: Connect) -> None:
    """Its snapshot is from before the switch, its lock from after it."""
    watching = connect(asked)
    every = list((STATEMENTS | BY_HAND).values())
    sessions = [connect(asked) for _ in every]
    for session, statement in zip(sessions, every, strict=True):
        session.execute(statement)
    for exchange in EXCHANGES:
        asked.execute("BEGIN")
        asked.execute(exchange)
        threads = [Asked(*pair) for pair in zip(sessions, every, strict=True)]
        for session in sessions:
            wait_until(waits(watching, session))
        asked.execute("COMMIT")
        for thread in threads:
            thread.join(60)
            assert is_right(thread.answer), (exchange, thread.statement, thread.answer)


def test_a_statement_that_began_before_the_switch_keeps_to_one_space(asked: Connection, connect: Connect) -> None:
    """At READ COMMITTED what embeds sees the statement's snapshot, and what plans a later one."""
    watching, session = connect(asked), connect(asked)
    every = [*STATEMENTS.values(), BY_HAND["vector"]]
    late = f"SELECT CASE WHEN pg_advisory_lock_shared(1)::text = '' THEN ARRAY[{', '.join(f'({statement})' for statement in every)}] END"
    for exchange in EXCHANGES:
        watching.execute("SELECT pg_advisory_lock(1)")
        thread = Asked(session, late)
        wait_until(waits(watching, session))
        asked.execute(exchange)
        watching.execute("SELECT pg_advisory_unlock(1)")
        thread.join(60)
        assert [is_right([(each,)]) for each in thread.answer[0][0]] == [True] * len(every), (exchange, thread.answer)
        session.execute("SELECT pg_advisory_unlock_shared(1)")


def test_a_transaction_that_began_before_the_switch_goes_on_in_its_own_space(asked: Connection, connect: Connect) -> None:
    session = connect(asked)
    levels = ("REPEATABLE READ", "SERIALIZABLE")
    for by_hand in (STATEMENTS["inside"], BY_HAND["plain"]):
        for level, exchange in zip(levels, EXCHANGES, strict=True):
            session.execute(f"BEGIN ISOLATION LEVEL {level}")
            session.execute("SELECT FROM pgembed._setting")
            asked.execute(exchange)
            for name, statement in STATEMENTS.items():
                if name != "inside":
                    assert is_right(session.execute(statement).fetchall()), (exchange, name)
            with pytest.raises(psycopg.errors.SerializationFailure, match="since this transaction began"):
                session.execute(by_hand)
            session.execute("ROLLBACK")
            for name, statement in (STATEMENTS | BY_HAND).items():
                assert is_right(session.execute(statement).fetchall()), (exchange, name)


def test_a_writer_between_two_snapshots_writes_each_space_into_its_own_table(asked: Connection, connect: Connect) -> None:
    session = connect(asked)
    for number, (level, exchange) in enumerate((level, each) for level in ("READ COMMITTED", "REPEATABLE READ") for each in EXCHANGES):
        session.execute(f"BEGIN ISOLATION LEVEL {level}")
        session.execute("SELECT FROM pgembed._setting")
        asked.execute(exchange)
        session.execute("INSERT INTO t VALUES (%s, %s)", [500 + number, text(number + 40, number + 45)])
        session.execute("UPDATE t SET body = %s WHERE id = %s", [text(number + 41, number + 46), 500 + number])
        session.execute("COMMIT")
        asked.execute("CALL pgembed.refresh('t')")
        is_switched = "switch" in exchange
        assert is_of(asked, "t_part_chunk", "new" if is_switched else "old")
        assert is_of(asked, "t_part_previous_chunk" if is_switched else "t_part_next_chunk", "old" if is_switched else "new")
