"""pg_dump and restore of linked tables: links, corrections and labels are there, nothing is linked again without need, and calls go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from install.test_dump import program, run, url

Connection = psycopg.Connection[Any]

CALL = """CALL pgembed.link_table('companies', '"The news"', 'body', '"The news"."All links"')"""
CONTENT = """
    CREATE SCHEMA "The news";
    CREATE TABLE company (id int PRIMARY KEY, name text);
    INSERT INTO company VALUES (1, 'Contoso'), (2, 'Fabrikam');
    CREATE TABLE "The news" (day date, "No." int, body text, PRIMARY KEY (day, "No."));
    INSERT INTO "The news" VALUES ('2020-01-02', 1, 'Contoso grew.'), ('2020-01-02', 2, 'Fabrikam met Contoso.'), ('2020-01-03', 1, NULL);
    SELECT pgembed.create_linker('companies', 'company', names => 'name');
    SELECT pgembed.create_link_labels('label', 'companies');
    INSERT INTO label (content, start_char, end_char, entity_key) VALUES ('Contoso', 1, 8, '1');
"""
KEPT = (
    'SELECT * FROM "The news"."All links" ORDER BY 1, 2, 4',
    'SELECT * FROM "The news"."All links_text" ORDER BY 1, 2',
    'SELECT mention, (company).name, decision, corrected_by FROM "The news"."All links_entity"'
    ' ORDER BY "The news_day", "The news_No.", start_char',
    'SELECT mention, entity_key, is_stale, corrected_at FROM pgembed.link_corrections(\'"The news"."All links"\')',
    "SELECT destination::text, linker, source::text, text_column, texts::text, corrections::text, entities::text FROM pgembed.link_tables",
    "SELECT content, entity_key FROM label",
)


@pytest.mark.parametrize("form", ["p", "c"])
def test_links_are_restored_and_kept_up(db: Connection, tmp_path: Path, form: str) -> None:
    db.execute(CONTENT)
    db.execute(CALL)
    corrected = """SELECT pgembed.correct_link('"The news"."All links"', '["2020-01-02", 2]', 14, 21, '2')"""
    assert db.execute(corrected).fetchone() == ("Contoso",)
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
            for statement in KEPT:
                assert restored.execute(statement.encode()).fetchall() == db.execute(statement.encode()).fetchall() != []
            told: list[str] = []
            restored.add_notice_handler(lambda said: told.append(said.message_primary or ""))
            restored.execute(CALL)
            assert [line for line in told if "no text has changed" in line]
            restored.execute("""UPDATE "The news" SET body = 'Fabrikam.' WHERE "No." = 1""")
            restored.execute(CALL)
            assert [line for line in told if "2 texts linked" in line]
            restored.execute("""DELETE FROM "The news"; DROP TABLE "The news"."All links" CASCADE""")
            assert restored.execute("SELECT count(*) FROM pgembed._link_table").fetchone() == (0,)
    finally:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")
