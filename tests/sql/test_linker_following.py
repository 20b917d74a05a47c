"""A session's linker is right after every change that it sees, and is not compiled again without need."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

Connection = psycopg.Connection[Any]
Connect = Callable[[Connection], Connection]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]

WORDS = ["Fabrikam", "Contoso", "Northwind", "Tailspin", "Wingtip", "Litware", "Adatum", "Proseware"]
CONTENT = ". ".join(f"They saw {word} there" for word in WORDS)


@pytest.fixture
def firms(db: Connection) -> Connection:
    """Many firms, of which three have a name that the text has; how many were read is counted."""
    db.execute(
        """
        CREATE SEQUENCE looked;
        CREATE TABLE firm (id int PRIMARY KEY, name text, size int);
        CREATE TABLE alias (firm_id int REFERENCES firm ON DELETE CASCADE, alias text);
        INSERT INTO firm SELECT n, 'nobody' || n FROM generate_series(101, 180) AS n;
        INSERT INTO firm VALUES (1, 'Fabrikam'), (2, 'Contoso'), (3, NULL);
        INSERT INTO alias VALUES (3, 'Northwind');
        SELECT pgembed.create_linker('l', 'firm', names => 'left(nextval(''looked'')::text, 0) || name', alias_tables => '["alias"]');
        """
    )
    return db


def found(db: Connection) -> set[tuple[str, int]]:
    rows = db.execute("SELECT mention, (entity).id FROM pgembed.link(NULL::firm, %s) WHERE (entity).id IS NOT NULL", [CONTENT])
    return set(rows.fetchall())


def meant(db: Connection) -> set[tuple[str, int]]:
    rows = db.execute(
        "SELECT name, id FROM firm WHERE name = ANY (%(w)s)"
        " UNION SELECT alias, firm_id FROM alias JOIN firm ON id = firm_id WHERE alias = ANY (%(w)s)",
        {"w": WORDS},
    )
    return set(rows.fetchall())


def looked(db: Connection) -> int:
    """Rows read since it was last asked."""
    row = db.execute("SELECT last_value - 1 + is_called::int, setval('looked', 1, false) FROM looked").fetchone()
    assert row is not None
    return int(row[0])


def test_what_has_not_changed_is_not_read_again(firms: Connection) -> None:
    assert found(firms) == {("Fabrikam", 1), ("Contoso", 2), ("Northwind", 3)}
    assert looked(firms) == 83
    assert found(firms) == meant(firms)
    firms.execute("UPDATE firm SET size = 3")  # no linker reads it
    assert found(firms) == meant(firms)
    assert looked(firms) == 0


CHANGES = {
    "a row is inserted": ("INSERT INTO firm VALUES (4, 'Wingtip')", 1),
    "rows are copied": ("COPY", 2),
    "a name is changed": ("UPDATE firm SET name = 'Adatum' WHERE id = 1", 1),
    "a key is changed": ("UPDATE firm SET id = 9 WHERE id = 2", 1),
    "a row is deleted": ("DELETE FROM firm WHERE id = 2", 0),
    "an alias is added": ("INSERT INTO alias VALUES (2, 'Litware')", 1),
    "an alias is another row's": ("UPDATE alias SET firm_id = 1", 2),
    "a row goes with its alias": ("DELETE FROM firm WHERE id = 3", 0),
    "a row is put over another": ("INSERT INTO firm VALUES (1, 'Adatum') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name", 1),
}


def change(db: Connection, statement: str) -> None:
    if statement != "COPY":
        db.execute(statement)  # type: ignore[arg-type]
        return
    with db.cursor().copy("COPY firm (id, name) FROM STDIN") as copy:
        copy.write_row((4, "Wingtip"))
        copy.write_row((5, "Tailspin"))


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_change_is_seen_at_once_and_undone_with_its_transaction(firms: Connection, connect: Connect, end: str) -> None:
    reader = connect(firms)
    firms.execute("CREATE TABLE firms AS TABLE firm; CREATE TABLE aliases AS TABLE alias")
    for called, (statement, read) in CHANGES.items():
        before = found(reader)
        assert found(firms) == before
        looked(firms)
        firms.execute("BEGIN")
        change(firms, statement)
        assert found(firms) == meant(firms) != before, called
        assert looked(firms) == read, called
        assert found(reader) == before, called
        assert looked(firms) == 0, called
        firms.execute(end)  # type: ignore[arg-type]
        assert found(firms) == meant(firms), called
        assert found(reader) == meant(reader), called
        assert (found(reader) == before) == (end == "ROLLBACK"), called
        firms.execute("TRUNCATE firm, alias; INSERT INTO firm TABLE firms; INSERT INTO alias TABLE aliases")


def test_truncate_is_seen(firms: Connection) -> None:
    found(firms)
    firms.execute("BEGIN; TRUNCATE firm, alias")
    assert found(firms) == set()
    firms.execute("ROLLBACK")
    assert found(firms) == meant(firms) != set()


def test_a_savepoint_takes_its_changes_along(firms: Connection) -> None:
    firms.execute("BEGIN; INSERT INTO firm VALUES (4, 'Wingtip'); SAVEPOINT s; INSERT INTO firm VALUES (5, 'Tailspin')")
    assert found(firms) == meant(firms)
    firms.execute("ROLLBACK TO s")
    assert found(firms) == meant(firms)
    firms.execute("INSERT INTO firm VALUES (5, 'Litware')")
    assert found(firms) == meant(firms)
    firms.execute("COMMIT")
    assert found(firms) == meant(firms)


def test_an_old_snapshot_keeps_seeing_old_rows(firms: Connection, connect: Connect) -> None:
    found(firms)
    firms.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    before = meant(firms)
    writer = connect(firms)
    writer.execute("UPDATE firm SET name = 'Wingtip' WHERE id = 1; DELETE FROM alias")
    assert found(firms) == before == meant(firms)
    assert found(writer) == meant(writer)
    firms.execute("COMMIT")
    assert found(firms) == meant(firms) != before


def test_writers_do_not_wait_for_one_another(firms: Connection, connect: Connect) -> None:
    other = connect(firms)
    other.execute("SET lock_timeout = '2s'")
    firms.execute("BEGIN; UPDATE firm SET name = 'Wingtip' WHERE id = 1")
    for _ in range(300):  # more than are kept, so that somebody tidies up
        other.execute(
            "UPDATE firm SET name = 'Tail' || 'spin' || size WHERE id = 2; UPDATE firm SET size = 1, name = 'Litware' WHERE id = 2"
        )
    firms.execute("COMMIT")
    assert found(firms) == meant(firms)


def test_old_changes_are_put_together_and_no_session_misses_one(firms: Connection, connect: Connect) -> None:
    early, late = connect(firms), connect(firms)
    before = found(early)
    assert found(late) == before
    for number in range(600):
        firms.execute("UPDATE firm SET name = %s WHERE id = 1", [WORDS[number % len(WORDS)] if number < 300 else f"nobody{number}"])
        if number % 100 == 0:
            assert found(early) == meant(firms)
    row = firms.execute("SELECT count(*) FROM pgembed._linker_change").fetchone()
    assert row is not None
    assert row[0] < 600
    assert found(early) == found(late) == found(firms) == meant(firms)


def test_many_changed_rows_are_read_with_all(firms: Connection) -> None:
    found(firms)
    looked(firms)
    firms.execute("UPDATE firm SET name = 'no' || name WHERE id > 100; UPDATE firm SET name = 'Wingtip' WHERE id = 150")
    assert found(firms) == meant(firms)
    assert looked(firms) == 83


def test_where_triggers_are_off_rows_are_compared(firms: Connection, connect: Connect) -> None:
    other = connect(firms)
    found(firms)
    other.execute("ALTER TABLE firm DISABLE TRIGGER USER; UPDATE firm SET name = 'Wingtip' WHERE id = 1")
    assert found(firms) == meant(firms)
    other.execute("UPDATE firm SET name = 'Tailspin' WHERE id = 1")
    assert found(firms) == meant(firms)
    other.execute("DROP TRIGGER pgembed_linked_update ON firm; UPDATE firm SET name = 'Adatum' WHERE id = 1")
    assert found(firms) == meant(firms)


def test_rows_written_as_a_replica_are_noted(firms: Connection, connect: Connect) -> None:
    other = connect(firms)
    found(firms)
    other.execute("SET session_replication_role = replica; UPDATE firm SET name = 'Wingtip' WHERE id = 1")
    assert found(firms) == meant(firms)


def test_what_the_names_of_neighbours_are_is_followed(firms: Connection) -> None:
    firms.execute("CREATE TABLE place (id int PRIMARY KEY, name text); INSERT INTO place VALUES (1, 'Ulmstadt')")
    firms.execute("ALTER TABLE firm ADD place_id int REFERENCES place; UPDATE firm SET place_id = 1 WHERE id < 3")
    firms.execute('SELECT pgembed.alter_linker(\'l\', relations => \'[{"column": "place_id", "names": "name"}]\')')
    found(firms)
    looked(firms)
    firms.execute("UPDATE place SET name = 'Kelheim'")
    assert found(firms) == meant(firms)
    assert looked(firms) == 2


def test_settings_of_writers_and_readers_may_differ(db: Connection, connect: Connect) -> None:
    for table, key in (("day", "d"), ("two", "d, f")):
        db.execute(f"CREATE TABLE {table} (d date, f float8, name text, PRIMARY KEY ({key}))")  # type: ignore[arg-type]
    writer = connect(db)
    writer.execute("SET datestyle = 'SQL, DMY'; SET extra_float_digits = -3; SET intervalstyle = 'iso_8601'")
    for table in ("day", "two"):
        db.execute(f"SELECT pgembed.create_linker('{table}', '{table}', names => 'name')")  # type: ignore[arg-type]
        db.execute(f"INSERT INTO {table} VALUES ('2020-02-01', 0.1::float8 + 0.2, 'Fabrikam'), ('2020-01-02', 2, NULL)")  # type: ignore[arg-type]
        for style in ("ISO", "SQL, DMY", "German"):
            db.execute("SELECT set_config('datestyle', %s, false)", [style])
            for name in ("Contoso", "Fabrikam"):
                links = f"SELECT mention, (entity).d FROM pgembed.link(NULL::{table}, %s) WHERE (entity).d IS NOT NULL"
                db.execute(links, [CONTENT])  # type: ignore[arg-type]
                writer.execute(f"UPDATE {table} SET name = %s WHERE name IS NOT NULL", [name])  # type: ignore[arg-type]
                meant = db.execute(f"SELECT name, d FROM {table} WHERE name IS NOT NULL").fetchall()  # type: ignore[arg-type]
                assert db.execute(links, [CONTENT]).fetchall() == meant != [], (table, style)  # type: ignore[arg-type]


def test_row_security_and_rights_are_those_of_the_caller(firms: Connection, make_role: Callable[[str], str], as_role: AsRole) -> None:
    reader = make_role("link_follower")
    firms.execute(f"GRANT SELECT ON firm, alias TO {reader}; GRANT USAGE ON SEQUENCE looked TO {reader}")
    firms.execute("CREATE POLICY small ON firm USING (id <> current_setting('my.hidden', true)::int)")
    firms.execute("ALTER TABLE firm ENABLE ROW LEVEL SECURITY")
    everything = found(firms)
    for hidden in (1, 2, 1, 3):
        firms.execute("SELECT set_config('my.hidden', %s, false)", [str(hidden)])
        with as_role(firms, reader):
            assert found(firms) == meant(firms) == {one for one in everything if one[1] != hidden}
        assert found(firms) == everything
    with as_role(firms, reader):
        looked_before = found(firms)
    firms.execute("UPDATE firm SET name = 'Adatum' WHERE id = 1")
    with as_role(firms, reader):
        assert found(firms) == meant(firms) != looked_before
    firms.execute(f"REVOKE SELECT ON alias FROM {reader}")
    with as_role(firms, reader), pytest.raises(psycopg.errors.InsufficientPrivilege):
        found(firms)


def test_any_order_of_changes_in_two_sessions(firms: Connection, connect: Connect) -> None:
    choose = random.Random(7)
    sessions = [firms, connect(firms)]
    depth = {0: 0, 1: 0}
    for session in sessions:
        session.execute("SET lock_timeout = '100ms'")
    for _ in range(120):
        which = choose.randrange(2)
        session = sessions[which]
        word, key = choose.choice(WORDS), choose.randint(1, 6)
        # a session writes its own rows, so that none waits
        key = key * 2 + which
        statement = choose.choice(
            [
                "INSERT INTO firm VALUES (%(k)s, %(w)s) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
                "UPDATE firm SET name = %(w)s WHERE id = %(k)s",
                "DELETE FROM firm WHERE id = %(k)s AND NOT EXISTS (SELECT FROM alias WHERE firm_id = %(k)s)",
                "INSERT INTO alias SELECT id, %(w)s FROM firm WHERE id = %(k)s",
                "DELETE FROM alias WHERE firm_id = %(k)s",
                "BEGIN" if depth[which] == 0 else choose.choice(["COMMIT", "ROLLBACK"]),
            ]
        )
        if statement in ("BEGIN", "COMMIT", "ROLLBACK"):
            depth[which] = int(statement == "BEGIN")
            session.execute(statement)  # type: ignore[arg-type]
        else:
            session.execute(statement, {"w": word, "k": key})  # type: ignore[arg-type]
        for each in sessions:
            # of homonyms any row may be meant
            rows = found(each)
            assert rows <= meant(each)
            assert {name for name, _ in rows} == {name for name, _ in meant(each)}
