"""pgembed.progress says to everybody how far long calls are, and nothing when they have ended."""

from __future__ import annotations

import psycopg
import pytest
from support import Connect, Connection, Notices


@pytest.mark.own_database
def test_progress_is_seen_by_others_and_gone_at_the_end(db: Connection, connect: Connect, notices: Notices) -> None:
    """The source itself looks at what the view says while refresh runs; it says the same to all sessions."""
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text)")
    db.execute("INSERT INTO product SELECT n, 'row ' || n FROM generate_series(1, 6) AS n")
    db.execute(
        """
        CREATE FUNCTION look(n int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            IF n > 4 THEN
                PERFORM pg_stat_clear_snapshot();
                RAISE NOTICE '%', (
                    SELECT p.what || ' ' || p.target || ' ' || p.done || '/' || coalesce(p.total::text, '?') || ' '
                        || (p.started_at BETWEEN now() - interval '1 hour' AND clock_timestamp()) || ' ' || p.role
                    FROM pgembed.progress AS p
                );
            END IF;
            RETURN 'row ' || n;
        END $$
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'look(id)', sync => 'manual')")
    db.execute("SET application_name = 'my own'")
    db.execute("CALL pgembed.refresh('product', batch_size => 2)")
    told = {notice.message for notice in notices if notice.message.startswith("refresh ")}
    assert told & {"refresh product.embedding 4/6 true postgres"}, told
    assert db.execute("SHOW application_name").fetchone() == ("my own",)
    other = connect(db)
    assert other.execute("SELECT count(*) FROM pgembed.progress").fetchone() == (0,)
    # a name as a call sets it is there for other sessions at once
    db.execute("BEGIN; SELECT set_config('application_name', 'pgembed refresh product.embedding 2/8 @t5i8g0', true)")
    line = other.execute("SELECT what, target, done, total, started_at, eta > started_at FROM pgembed.progress").fetchone()
    assert line is not None
    assert line[:4] == ("refresh", "product.embedding", 2, 8)
    assert int(line[4].timestamp()) == int("t5i8g0", 36)
    assert line[5] is True
    db.execute("ROLLBACK")
    assert other.execute("SELECT count(*) FROM pgembed.progress").fetchone() == (0,)


@pytest.mark.own_database
def test_after_an_error_the_name_is_the_old_one(db: Connection) -> None:
    db.execute("CREATE TABLE dot (id int PRIMARY KEY, e vector(3)); SELECT pgembed.adopt_embedding('dot', 'e')")
    db.execute("SET application_name = 'my own'")
    with pytest.raises(psycopg.Error):
        db.execute("SELECT pgembed.train_codec('c', 'dot', 'sign')")
    with pytest.raises(psycopg.Error):
        db.execute("CALL pgembed.calibrate('dot', 'e')")
    assert db.execute("SHOW application_name").fetchone() == ("my own",)
