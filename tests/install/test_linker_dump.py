"""Linkers through pg_dump and restore, without the extension, and anew with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from install.test_dump import program, run, url

Connection = psycopg.Connection[Any]

CONTENT = """
    CREATE SCHEMA "My City";
    CREATE TABLE "My City"."Pla""ce" (a text, b int, "na me" text, dropped int, code int UNIQUE, PRIMARY KEY (a, b));
    ALTER TABLE "My City"."Pla""ce" DROP COLUMN dropped;
    CREATE TABLE person (id int PRIMARY KEY, name text, place_code int REFERENCES "My City"."Pla""ce" (code));
    CREATE TABLE alias (person_id int REFERENCES person, alias text);
    INSERT INTO "My City"."Pla""ce" VALUES ('x', 1, 'Ulmstadt', 7), ('x', 2, 'Kelheim', 8);
    INSERT INTO person VALUES (1, 'Ada Fabrikova', 7), (2, 'Bo Contosson', 8);
    INSERT INTO alias VALUES (1, 'Countess Zero');
    SELECT pgembed.create_linker('both', '"My City"."Pla""ce"', names => '"na me"');
    SELECT pgembed.add_linker_target('both', 'person', names => 'name', relations => '["place_code"]', alias_tables => '["alias"]');
    SELECT pgembed.create_linker('one', 'person', names => 'name', relations => '[{"column": "place_code", "names": "\\"na me\\""}]');
    CREATE TABLE gone (id int PRIMARY KEY, name text);
    SELECT pgembed.create_linker('gone', 'gone', names => 'name');
    ALTER EVENT TRIGGER pgembed_after_drop DISABLE; DROP TABLE gone; ALTER EVENT TRIGGER pgembed_after_drop ENABLE;
"""
LINKED = """
    SELECT mention, entity_table::text, entity_key
    FROM pgembed.link_keys('both', 'Countess Zero and Bo Contosson left Kelheim for Wingtip.')
    WHERE entity_key IS NOT NULL
"""
VIEW = "SELECT name, targets::text, key, names, aliases, relations, revision, status FROM pgembed.linkers ORDER BY 1"


@pytest.mark.parametrize("form", ["p", "c"])
def test_linkers_are_restored_and_follow_their_tables(db: Connection, tmp_path: Path, form: str) -> None:
    db.execute(CONTENT)
    expected = db.execute(LINKED).fetchall()
    assert expected == [("Countess Zero", "person", "1"), ("Bo Contosson", "person", "2"), ("Kelheim", '"My City"."Pla""ce"', '["x", 2]')]
    name = f"{db.info.dbname}_restored"
    dump = tmp_path / "dump"
    run(program(db, "pg_dump"), "-d", url(db.info.dbname), "-F", form, "-f", str(dump))
    db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        if form == "p":
            run(program(db, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(name), "-f", str(dump))
        else:
            run(program(db, "pg_restore"), "--exit-on-error", "-d", url(name), str(dump))
        with psycopg.connect(url(name), autocommit=True) as restored:
            assert restored.execute(VIEW).fetchall() == db.execute(VIEW).fetchall()
            assert [row[0] for row in restored.execute(VIEW).fetchall()] == ["both", "one"]
            assert restored.execute(LINKED).fetchall() == expected
            restored.execute("""UPDATE "My City"."Pla""ce" SET "na me" = 'Wingtip' WHERE b = 2""")
            assert restored.execute("SELECT count(*) FROM pgembed._linker_change").fetchone() == (1,)
            assert [row[0] for row in restored.execute(LINKED).fetchall()] == ["Countess Zero", "Bo Contosson", "Wingtip"]
            restored.execute("""ALTER TABLE "My City"."Pla""ce" RENAME "na me" TO called""")
            assert [row[0] for row in restored.execute(LINKED).fetchall()] == ["Countess Zero", "Bo Contosson", "Wingtip"]
            restored.execute("SELECT pgembed.drop_linker('both'), pgembed.drop_linker('one')")
            left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgembed%' AND tgrelid NOT IN ('pgembed._embedding'::regclass)"
            assert restored.execute(left).fetchone() == (0,)
    finally:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_tables_stay_writable_without_the_extension(db: Connection) -> None:
    db.execute(CONTENT)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        db.execute("DROP EXTENSION pgembed")
    assert "linker both is forgotten" in str(caught.value.diag.message_detail)
    db.execute("DROP EXTENSION pgembed CASCADE")
    write = "INSERT INTO person VALUES (3, 'Cy Wingtip'); UPDATE person SET name = name || 'x'; DELETE FROM alias; TRUNCATE alias"
    db.execute(write)
    db.execute("CREATE EXTENSION pgembed")
    db.execute(write.replace("3", "4"))
    db.execute("SELECT pgembed.create_linker('again', 'person', names => 'name')")
    db.execute("UPDATE person SET name = 'Litware' WHERE id = 4")
    assert db.execute("SELECT (entity).id FROM pgembed.link(NULL::person, 'She left Litware.')").fetchall() == [(4,)]
    db.execute("DROP TABLE person CASCADE")
    assert db.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'person%'").fetchone() == (2,)  # of the linkers that are forgotten
