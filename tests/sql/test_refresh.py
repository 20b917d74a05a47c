"""CALL refresh: batches, failing rows, transactions, cancels and writers beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from support import PATIENCE, Connect, Connection, Notices, Refused, counts, states, wait_until


@pytest.fixture
def failing(db: Connection) -> Connection:
    """Five products; the source divides by zero in the second and the fourth."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, n int, name text);
        INSERT INTO product VALUES (1, 1, 'a'), (2, 0, 'b'), (3, 1, 'c'), (4, 0, 'd'), (5, 1, 'e');
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', $$ name || 1 / n $$, sync => 'manual')")
    return db


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_rows_whose_source_fails_are_marked_and_the_others_are_embedded(failing: Connection, notices: Notices, batch_size: int) -> None:
    failing.execute("CALL pgembed.refresh('product', batch_size => %s)", [batch_size])
    assert states(failing) == ["fresh", "failed", "fresh", "failed", "fresh"]
    assert failing.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == ("SQLSTATE 22012 while the source was evaluated",)
    warning = next(told for told in notices if told.severity == "WARNING")
    assert "2 rows failed" in warning.message
    assert failing.execute(f"SELECT id FROM product WHERE {warning.hint.split('Rows where ')[1].split(';')[0]} ORDER BY id").fetchall() == [
        (2,),
        (4,),
    ]


def test_failed_rows_are_tried_again_and_the_error_is_forgotten(failing: Connection) -> None:
    failing.execute("CALL pgembed.refresh('product')")
    failing.execute("UPDATE product SET n = 1")
    failing.execute("CALL pgembed.refresh('product')")
    assert counts(failing) == {"fresh": 5}
    assert failing.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == (None,)


def test_the_error_of_a_row_is_not_quoted_where_everybody_reads(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'secret')")
    db.execute("SELECT pgembed.add_embedding('product', 'name::int::text', sync => 'manual')")
    db.execute("CALL pgembed.refresh('product')")
    assert db.execute("SELECT last_error FROM pgembed.embeddings").fetchone() == ("SQLSTATE 22P02 while the source was evaluated",)


def test_an_error_that_is_not_the_rows_ends_the_refresh(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'a');
        CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT x FROM no_such_table); END';
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'told(name)')")
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("CALL pgembed.refresh('product')")
    assert states(db) == ["pending"]


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("'product', batch_size => 0", "22023", "batch_size must be from 1 to 100000, not 0", "1000"),
        ("'product', batch_size => 100001", "22023", "not 100001", "1000"),
        ("'product', batch_size => NULL", "22004", "batch_size is NULL", "default"),
        ("NULL", "22004", "target is NULL", "Name a table"),
        ("'product', 'nobody'", "42704", '"nobody"', "Embedded columns of this table: embedding."),
        ("'plain'", "42704", 'table "plain" has no embedded column', "add_embedding('plain'"),
        ("'given'", "0A000", "given.e has no source to embed", "alter_embedding(..., source => '...')"),
    ],
)
def test_bad_calls_of_refresh_are_refused(
    product: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    product.execute("CREATE TABLE plain (id int); CREATE TABLE given (id int PRIMARY KEY, e vector(2))")
    product.execute("SELECT pgembed.adopt_embedding('given', 'e')")
    refused(product, sqlstate, f"CALL pgembed.refresh({arguments})", message=message, hint=hint)


def test_names_like_words_of_ours_are_nothing_special(db: Connection) -> None:
    db.execute('CREATE TABLE "SOURCE" ("SOURCE" int PRIMARY KEY, t text, m text, key text, hash text)')
    db.execute("""INSERT INTO "SOURCE" VALUES (1, 'a', 'b', 'c', 'd'), (2, NULL, 'b', 'c', '1/0')""")
    db.execute("""SELECT pgembed.add_embedding('"SOURCE"', 't || m || key || hash')""")
    db.execute("""CALL pgembed.refresh('"SOURCE"')""")
    assert counts(db, '"SOURCE"') == {"fresh": 1, "null_source": 1}


def test_refresh_tells_what_it_did(product: Connection, notices: Notices) -> None:
    product.execute("SELECT pgembed.alter_embedding('product', sync => 'manual')")
    product.execute("INSERT INTO product VALUES (4, NULL, 'nothing')")
    product.execute("CALL pgembed.refresh('product')")
    assert notices[-1].message.startswith("product.embedding: 3 rows embedded, 1 without text in ")


def test_refresh_of_a_text_that_is_too_long_says_so(product: Connection, notices: Notices) -> None:
    product.execute("SELECT pgembed.alter_embedding('product', sync => 'manual')")
    product.execute("UPDATE product SET description = repeat('rain ', 200000) WHERE id = 1")
    product.execute("CALL pgembed.refresh('product')")
    told = next(told for told in notices if "longer than the model reads" in told.message)
    assert told.message.startswith("product.embedding: 1 texts")
    assert "pgembed.token_count(text)" in told.hint
    assert states(product) == ["fresh"] * 3


def test_refresh_with_nothing_to_do_changes_nothing(fresh: Connection) -> None:
    before = fresh.execute("SELECT id, xmin::text FROM product ORDER BY id").fetchall()
    fresh.execute("CALL pgembed.refresh('product')")
    assert fresh.execute("SELECT id, xmin::text FROM product ORDER BY id").fetchall() == before


def test_refresh_in_a_transaction_block_is_one_transaction_and_says_so(product: Connection, notices: Notices) -> None:
    with product.transaction(force_rollback=True):
        product.execute("CALL pgembed.refresh('product', batch_size => 1)")
        assert states(product) == ["fresh"] * 3
    assert states(product) == ["pending"] * 3
    told = next(told for told in notices if "one transaction" in told.message)
    assert "CALL pgembed.refresh() by itself commits after each batch" in told.hint


def test_refresh_in_a_function_is_one_transaction(product: Connection) -> None:
    product.execute(
        "CREATE FUNCTION again() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL pgembed.refresh('product', batch_size => 1); END $$"
    )
    product.execute("SELECT again()")
    assert states(product) == ["fresh"] * 3


def test_refresh_in_a_block_with_an_exception_handler_is_one_transaction(product: Connection) -> None:
    product.execute(
        """
        DO $$ BEGIN
            BEGIN
                CALL pgembed.refresh('product', batch_size => 1);
                RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
        END $$
        """
    )
    assert states(product) == ["pending"] * 3


def test_refresh_in_a_procedure_commits(product: Connection) -> None:
    product.execute(
        """
        CREATE PROCEDURE again() LANGUAGE plpgsql AS $$
        BEGIN
            CALL pgembed.refresh('product', batch_size => 1);
            RAISE division_by_zero;
        END $$
        """
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        product.execute("CALL again()")
    assert states(product) == ["fresh"] * 3


def test_refresh_runs_in_repeatable_read_too(product: Connection) -> None:
    product.execute("SET default_transaction_isolation = 'repeatable read'")
    product.execute("CALL pgembed.refresh('product', batch_size => 1)")
    assert states(product) == ["fresh"] * 3


# Each of the next tests stops a refresh in a known place: the source of one row waits for a lock that the test holds.


@pytest.fixture
def waiting(db: Connection) -> Connection:
    """Ten products, embedded two at a time; the source of the fifth waits for the advisory lock 1."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text);
        INSERT INTO product SELECT n, 'name ' || n FROM generate_series(1, 10) AS n;
        CREATE FUNCTION wait(id int) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            IF id = 5 THEN
                PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1);
            END IF;
            RETURN '';
        END $$;
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'name || wait(id)', sync => 'manual')")
    return db


@contextmanager
def refreshing(session: Connection, watcher: Connection) -> Iterator[list[psycopg.Error]]:
    """Refresh in another thread; inside of the block it waits for the lock, at its end it has finished or failed (see the list)."""
    failures: list[psycopg.Error] = []

    def call() -> None:
        try:
            session.execute("CALL pgembed.refresh('product', batch_size => 2)")
        except psycopg.Error as error:
            failures.append(error)

    def waits() -> bool:
        row = watcher.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
        return row == (1,) or bool(failures)

    watcher.execute("SELECT pg_advisory_lock(1)")
    thread = threading.Thread(target=call)
    thread.start()
    try:
        wait_until(waits)
        yield failures
    finally:
        watcher.execute("SELECT pg_advisory_unlock_all()")
        thread.join(PATIENCE)
    assert not thread.is_alive()


def nothing_is_half_written(db: Connection) -> bool:
    """Every vector has the hash of its text, and every row without one has none."""
    row = db.execute(
        """
        SELECT bool_and(CASE WHEN embedding IS NULL THEN embedding_hash IS NULL
                        ELSE embedding_hash = pgembed._source_hash('name ' || id) AND embedding = pgembed.embed('name ' || id) END)
        FROM product
        """
    ).fetchone()
    return row == (True,)


@pytest.mark.parametrize("stop", ["pg_cancel_backend", "pg_terminate_backend"])
def test_batches_before_a_cancel_stay_and_the_rest_is_pending(waiting: Connection, connect: Connect, stop: str) -> None:
    session = connect(waiting)
    with refreshing(session, waiting) as failures:
        waiting.execute(f"SELECT {stop}(%s)", [session.info.backend_pid])
        wait_until(lambda: bool(failures))
    assert failures[0].sqlstate == ("57014" if stop == "pg_cancel_backend" else "57P01")
    assert states(waiting) == ["fresh"] * 4 + ["pending"] * 6
    assert nothing_is_half_written(waiting)
    waiting.execute("CALL pgembed.refresh('product')")
    assert counts(waiting) == {"fresh": 10}


def test_batches_before_a_timeout_stay_and_the_rest_is_pending(waiting: Connection, connect: Connect) -> None:
    session = connect(waiting)
    session.execute("SELECT pgembed.embed('warm')")
    session.execute("SET lock_timeout = '100ms'")
    with refreshing(session, waiting) as failures:
        wait_until(lambda: bool(failures))
    assert failures[0].sqlstate == "55P03"
    assert states(waiting) == ["fresh"] * 4 + ["pending"] * 6


def test_a_row_that_changes_while_it_is_embedded_stays_unembedded(waiting: Connection, connect: Connect) -> None:
    told: list[str] = []
    session = connect(waiting)
    session.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    with refreshing(session, waiting):
        waiting.execute("UPDATE product SET name = 'new' WHERE id IN (5, 6)")
    assert states(waiting) == ["fresh"] * 4 + ["pending"] * 2 + ["fresh"] * 4
    assert any("2 changed meanwhile and are still stale" in message for message in told)


def test_a_row_that_changes_while_its_text_is_seen_to_be_back_stays_stale(waiting: Connection, connect: Connect) -> None:
    waiting.execute("CALL pgembed.refresh('product')")
    # the text is as it was, but nobody has noticed yet: the trigger did not run
    waiting.execute("UPDATE product SET embedding_hash = '\\x00' || embedding_hash WHERE id IN (5, 6)")
    with refreshing(connect(waiting), waiting):
        waiting.execute("UPDATE product SET name = 'new' WHERE id = 6")
    assert states(waiting)[5] == "stale"


def test_a_row_that_gets_a_text_while_it_is_seen_to_have_none_is_not_forgotten(waiting: Connection, connect: Connect) -> None:
    waiting.execute("UPDATE product SET name = NULL WHERE id = 6; UPDATE product SET embedding_hash = NULL WHERE id = 6")
    with refreshing(connect(waiting), waiting):
        waiting.execute("UPDATE product SET name = 'new' WHERE id = 6")
    assert states(waiting)[5] in ("pending", "stale")


def test_a_row_that_is_deleted_while_it_is_embedded_is_gone(waiting: Connection, connect: Connect) -> None:
    with refreshing(connect(waiting), waiting) as failures:
        waiting.execute("DELETE FROM product WHERE id = 6")
    assert failures == []
    assert counts(waiting) == {"fresh": 9}


def test_writers_do_not_wait_while_texts_are_embedded(waiting: Connection, connect: Connect) -> None:
    with refreshing(connect(waiting), waiting):
        waiting.execute("SET lock_timeout = '1s'")
        waiting.execute("UPDATE product SET name = 'new'")
        waiting.execute("INSERT INTO product VALUES (11, 'newer')")


def test_two_refreshes_at_once_embed_every_row(product: Connection, connect: Connect) -> None:
    product.execute("INSERT INTO product SELECT n, 'name', n::text FROM generate_series(10, 59) AS n")
    failures: list[psycopg.Error] = []

    def call(session: Connection) -> None:
        try:
            session.execute("CALL pgembed.refresh('product', batch_size => 5)")
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(connect(product),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert counts(product) == {"fresh": 53}


def test_the_index_is_built_once_the_column_is_full(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text, embedding vector(384))")
    db.execute("INSERT INTO product SELECT n, 'tent', NULL FROM generate_series(1, 5000) AS n")
    # Vectors brought along, of so few different ones that the index is built in a moment.
    db.execute("UPDATE product SET embedding = array_fill(0.1, ARRAY[383])::real[] || (id % 7)::real")
    db.execute("SELECT pgembed.adopt_embedding('product', 'embedding', 'all-minilm-l6-v2', source => 'name', metric => 'l2')")
    db.execute("INSERT INTO product VALUES (0, 'boat')")
    db.execute("CALL pgembed.refresh('product')")
    found = db.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'product_embedding_idx'").fetchone()
    assert found is not None
    assert "USING hnsw (embedding vector_l2_ops)" in found[0]
