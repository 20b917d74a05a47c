"""pgembed.freshness_log: how fresh columns were, written now and then, bounded, and told to those who could count."""

from __future__ import annotations

from support import AsRole, Connection, MakeRole

COUNTS = "SELECT rows, fresh, stale, pending, failed FROM pgembed.freshness_log ORDER BY at"


def embedded(db: Connection) -> None:
    """A table of three rows with vectors by hand, whose column has a source, so that no model is needed."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text, e vector(3));
        INSERT INTO product VALUES (1, 'a', '[1,0,0]'), (2, 'b', '[0,1,0]'), (3, 'c', NULL);
        SELECT pgembed.adopt_embedding('product', 'e');
        """
    )


def note(db: Connection, apart: str = "0") -> bool:
    row = db.execute("SELECT pgembed._note_freshness('product', 'e', %s)", [apart]).fetchone()
    assert row is not None
    return bool(row[0])


def older(db: Connection, by: str) -> None:
    """Let all lines be of an earlier time."""
    db.execute(f"UPDATE pgembed._freshness_log SET at = at - interval '{by}', ms = 0")


def test_a_refresh_writes_a_line_unless_it_is_in_somebodys_transaction(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'storm shell'), (2, NULL)")
    db.execute("SELECT pgembed.add_embedding('product', 'name', sync => 'manual')")
    db.execute("BEGIN")
    db.execute("CALL pgembed.refresh('product')")
    db.execute("ROLLBACK")
    assert db.execute(COUNTS).fetchall() == []
    db.execute("CALL pgembed.refresh('product')")
    assert db.execute(COUNTS).fetchall() == [(2, 1, 0, 0, 0)]
    older(db, "5 min")
    db.execute("UPDATE product SET name = 'trail poncho' WHERE id = 2")
    db.execute("CALL pgembed.work()")  # of sync manual: there is nothing to do, so nothing is counted
    assert len(db.execute(COUNTS).fetchall()) == 1
    db.execute("SELECT pgembed.alter_embedding('product', sync => 'queued')")
    db.execute("CALL pgembed.work()")
    assert db.execute(COUNTS).fetchall() == [(2, 1, 0, 0, 0), (2, 2, 0, 0, 0)]


def test_lines_are_apart_and_bounded(db: Connection) -> None:
    embedded(db)
    assert note(db)
    assert not note(db, "1 min")
    # counting took so long that it would be more than a hundredth of the time
    db.execute("UPDATE pgembed._freshness_log SET ms = 600000")
    assert not note(db)
    db.execute("UPDATE pgembed._freshness_log SET ms = 0")
    assert note(db)
    # two in one minute are one, but for a minute that has just ended
    assert len(db.execute(COUNTS).fetchall()) <= 2
    db.execute("DELETE FROM pgembed._freshness_log")
    # a line of each minute of the last 40 days, no two alike
    db.execute(
        """
        INSERT INTO pgembed._freshness_log (table_name, column_name, at, rows, fresh, stale, pending, failed, null_source, ms)
        SELECT 'product'::regclass, 'e', clock_timestamp() - n * interval '1 min', n, n, 0, 0, 0, 0, 0 FROM generate_series(2, 57600) AS n
        """
    )
    assert note(db)
    kept = db.execute(
        "SELECT count(*) FILTER (WHERE at >= now() - interval '23 hours'), count(*) FILTER (WHERE at < now() - interval '25 hours'),"
        " min(at) > now() - interval '31 days' FROM pgembed.freshness_log"
    ).fetchone()
    assert kept is not None
    assert kept[0] in (23 * 60 - 1, 23 * 60)
    assert 28 * 24 <= kept[1] <= 30 * 24
    assert kept[2]


def test_a_time_without_change_has_two_lines(db: Connection) -> None:
    embedded(db)
    for _ in range(5):
        assert note(db)
        older(db, "10 min")
    assert db.execute("SELECT count(*), max(at) - min(at) > interval '35 min' FROM pgembed.freshness_log").fetchone() == (2, True)
    db.execute("UPDATE product SET e = '[0,0,1]'")
    assert note(db)
    assert [row[:2] for row in db.execute(COUNTS).fetchall()] == [(3, 2), (3, 2), (3, 3)]


def test_only_those_who_could_count_are_told(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    embedded(db)
    note(db)
    reader = make_role("reader")
    with as_role(db, reader):
        assert db.execute(COUNTS).fetchall() == []
    db.execute(f"GRANT SELECT (id, name) ON product TO {reader}")
    with as_role(db, reader):
        assert db.execute(COUNTS).fetchall() == []
    db.execute(f"GRANT SELECT ON product TO {reader}")
    with as_role(db, reader):
        assert db.execute(COUNTS).fetchall() == [(3, 2, 0, 1, 0)]
    db.execute("ALTER TABLE product ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON product USING (id = 1)")
    with as_role(db, reader):
        assert db.execute(COUNTS).fetchall() == []


def test_only_an_owner_writes(db: Connection, make_role: MakeRole, as_role: AsRole, refused: object) -> None:
    embedded(db)
    reader = make_role("reader")
    db.execute(f"GRANT SELECT ON product TO {reader}")
    with as_role(db, reader):
        refused(db, "42501", "SELECT pgembed._note_freshness('product', 'e')", message="owner")  # type: ignore[operator]
        refused(db, "42501", "INSERT INTO pgembed._freshness_log DEFAULT VALUES", hint=None)  # type: ignore[operator]
        refused(db, "42501", "SELECT FROM pgembed._freshness_log", hint=None)  # type: ignore[operator]
    db.execute(f"ALTER TABLE product OWNER TO {reader}")
    with as_role(db, reader):
        assert note(db)
        # an owner whom a policy binds does not count
        db.execute("ALTER TABLE product ENABLE ROW LEVEL SECURITY; ALTER TABLE product FORCE ROW LEVEL SECURITY")
    older(db, "1 hour")
    with as_role(db, reader):
        assert not note(db)


def test_lines_go_with_their_column_and_follow_its_name(db: Connection) -> None:
    embedded(db)
    note(db)
    db.execute("ALTER TABLE product RENAME COLUMN e TO f")
    assert db.execute("SELECT column_name FROM pgembed.freshness_log").fetchall() == [("f",)]
    db.execute("SELECT pgembed.drop_embedding('product', 'f')")
    assert db.execute("SELECT count(*) FROM pgembed._freshness_log").fetchone() == (0,)


def test_lines_are_dumped(db: Connection) -> None:
    dumped = db.execute("SELECT extconfig::regclass[]::text[] FROM pg_extension WHERE extname = 'pgembed'").fetchone()
    assert dumped is not None
    assert "pgembed._freshness_log" in dumped[0]
