"""pgembed.link_table on a real server: what is kept of whole tables, and when it is made anew. What a link is, is tested elsewhere."""

from __future__ import annotations

import linked
import psycopg
import pytest
from linked import CALL, FIRST, links, times
from support import Connection, Notices, Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def articles(db: Connection) -> Connection:
    linked.make(db)
    return db


def said(notices: Notices, part: str) -> list[str]:
    return [notice.message for notice in notices if part in notice.message]


def test_links_are_kept_with_typed_keys_and_offsets(articles: Connection, notices: Notices) -> None:
    articles.execute(CALL)
    assert links(articles) == FIRST
    assert said(notices, "article_link: 5 texts linked, 3 links, 0 to review, 0 of no row, 2 texts without words")
    articles.execute("UPDATE article SET body = 'Red Hat again' WHERE id = 2")
    articles.execute(CALL)
    assert said(notices, "article_link: 1 text linked, 1 link, 0 to review, 0 of no row in")
    cut = articles.execute(
        "SELECT substr(a.body, l.start_char, l.end_char - l.start_char) = l.mention"
        " FROM article_link AS l JOIN article AS a ON a.id = l.article_id"
    ).fetchall()
    assert cut == [(True,)] * 3
    types = dict(
        articles.execute(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'article_link'::regclass AND attnum > 0"
        ).fetchall()
    )
    assert types == {
        "article_id": "integer",
        "mention": "text",
        "start_char": "integer",
        "end_char": "integer",
        "mention_type": "text",
        "company_id": "integer",
        "score": "double precision",
        "margin": "double precision",
        "decision": "text",
        "runner_up_company_id": "integer",
        "linker_revision": "integer",
        "linked_at": "timestamp with time zone",
    }
    revision = articles.execute("SELECT DISTINCT linker_revision FROM article_link").fetchone()
    assert revision == articles.execute("SELECT revision FROM pgembed.linkers WHERE name = 'companies'").fetchone()


def test_one_query_reads_texts_links_and_rows(articles: Connection) -> None:
    articles.execute(CALL)
    rows = articles.execute(
        "SELECT a.id, c.name FROM article AS a JOIN article_link AS l ON l.article_id = a.id JOIN company AS c ON c.id = l.company_id"
        " ORDER BY 1, l.start_char"
    ).fetchall()
    assert rows == [(1, "International Business Machines"), (1, "Red Hat"), (2, "Nestlé")]
    articles.execute("ALTER TABLE article RENAME id TO article_id")
    rows = articles.execute(
        "SELECT article_id, (l.company).name FROM article JOIN article_link_entity AS l USING (article_id) ORDER BY 1, start_char"
    ).fetchall()
    assert rows == [(1, "International Business Machines"), (1, "Red Hat"), (2, "Nestlé")]


def test_only_new_and_changed_texts_are_linked_again(articles: Connection, notices: Notices) -> None:
    articles.execute(CALL)
    before = times(articles)
    articles.execute(CALL)
    assert times(articles) == before
    assert said(notices, "no text has changed")
    articles.execute("UPDATE article SET body = 'IBM and Nestlé met.' WHERE id = 1")
    articles.execute("UPDATE article SET body = body WHERE id = 2")
    articles.execute("INSERT INTO article VALUES (6, 'Red Hat grew.')")
    articles.execute(CALL)
    after = times(articles)
    assert {key for key in after if after[key] != before.get(key)} == {1, 6}
    assert links(articles) == [(1, "IBM", 1, "link"), (1, "Nestlé", 3, "link"), FIRST[2], (6, "Red Hat", 2, "link")]


def test_a_text_that_becomes_null_loses_its_links(articles: Connection) -> None:
    articles.execute(CALL)
    articles.execute("UPDATE article SET body = NULL WHERE id = 1")
    articles.execute(CALL)
    assert links(articles) == FIRST[2:]


def test_deleted_texts_take_their_links_along(articles: Connection) -> None:
    articles.execute(CALL)
    articles.execute("DELETE FROM article WHERE id = 1")
    assert links(articles) == FIRST[2:]
    assert 1 not in times(articles)


def test_a_row_that_is_gone_is_linked_to_no_more_and_its_texts_again(articles: Connection) -> None:
    articles.execute(CALL)
    before = times(articles)
    articles.execute("DELETE FROM company WHERE id = 2")
    assert links(articles) == [FIRST[0], FIRST[2]]
    articles.execute(CALL)
    assert [link[:3] for link in links(articles) if link[0] == 1] == [(1, "Big Blue", 1), (1, "Red Hat", None)]
    after = times(articles)
    assert {key for key in after if after[key] != before[key]} == {1}


def test_another_declaration_links_everything_again(articles: Connection) -> None:
    articles.execute(CALL)
    before = times(articles)
    articles.execute("UPDATE pgembed._linker SET revision = revision + 1 WHERE name = 'companies'")
    articles.execute(CALL)
    after = times(articles)
    assert {key for key in after if after[key] != before[key]} == {*before}
    assert links(articles) == FIRST


def test_a_linker_that_is_dropped_and_made_anew_is_another_one(articles: Connection) -> None:
    articles.execute(CALL)
    articles.execute("SELECT pgembed.drop_linker('companies')")
    articles.execute("SELECT pgembed.create_linker('companies', 'company', names => 'also[1]')")
    articles.execute(CALL)
    assert [link[:3] for link in links(articles) if link[2] is not None] == []
    articles.execute("SELECT pgembed.drop_linker('companies')")
    articles.execute("SELECT pgembed.create_linker('companies', 'company', names => 'name', aliases => 'also')")
    articles.execute(CALL)
    assert links(articles) == FIRST


def test_tables_that_the_registry_has_lost_are_taken_up_again(articles: Connection, notices: Notices) -> None:
    articles.execute(CALL)
    articles.execute("SELECT pgembed.correct_link('article_link', '2', 1, 7, '1')")
    before = times(articles)
    articles.execute("DELETE FROM pgembed._link_table; DROP VIEW article_link_entity")
    articles.execute(CALL)
    assert times(articles) == before
    assert said(notices, "no text has changed")
    assert articles.execute("SELECT company_id FROM article_link_entity WHERE article_id = 2").fetchall() == [(1,)]


_REFERS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = 'article'::regclass"


def test_texts_that_were_dropped_and_are_there_again_keep_their_links_and_corrections(articles: Connection, notices: Notices) -> None:
    articles.execute(CALL)
    articles.execute("SELECT pgembed.correct_link('article_link', '1', 1, 9)")
    articles.execute("SELECT pgembed.correct_link('article_link', '2', 1, 7)")
    assert articles.execute(_REFERS).fetchone() == (3,)
    articles.execute("CREATE TABLE kept AS SELECT * FROM article; DROP TABLE article CASCADE")
    assert articles.execute("SELECT destination FROM pgembed.link_tables").fetchall() == []
    articles.execute("CREATE TABLE article (id int PRIMARY KEY, body text); INSERT INTO article SELECT * FROM kept")
    articles.execute(CALL)
    assert links(articles) == FIRST
    assert articles.execute("SELECT source::text FROM pgembed.link_tables").fetchall() == [("article",)]
    assert articles.execute("SELECT article_id, corrected_by IS NULL FROM article_link_entity ORDER BY 1, start_char").fetchall() == [
        (1, False),
        (1, True),
        (2, False),
    ]
    assert articles.execute(_REFERS).fetchone() == (3,)
    assert not said(notices, "no foreign key")
    # where a row is missing its links go, and what people said of it is kept
    articles.execute("DROP TABLE article CASCADE; CREATE TABLE article (id int PRIMARY KEY, body text)")
    articles.execute("INSERT INTO article SELECT * FROM kept WHERE id > 1")
    articles.execute(CALL)
    assert links(articles) == FIRST[2:]
    assert articles.execute("SELECT article_id FROM article_link_correction ORDER BY 1").fetchall() == [(1,), (2,)]
    assert said(notices, "links have no foreign key to article: ")


def test_another_option_links_everything_again_and_relink_does(articles: Connection) -> None:
    articles.execute(CALL)
    for call in (CALL.replace("')", '\', "precision" => 0.99)'), CALL.replace("')", '\', "precision" => 0.99, relink => true)')):
        before = times(articles)
        articles.execute(call)
        assert all(after != before[key] for key, after in times(articles).items())


def test_a_link_that_somebody_deleted_comes_back(articles: Connection) -> None:
    articles.execute(CALL)
    articles.execute("DELETE FROM article_link WHERE mention = 'Red Hat'")
    articles.execute(CALL)
    assert links(articles) == FIRST


def test_new_rows_are_linked_to_where_all_is_linked_again(articles: Connection) -> None:
    articles.execute("INSERT INTO article VALUES (7, 'Fabrikam grew.')")
    articles.execute(CALL)
    assert (7, "Fabrikam", None, "nil") in links(articles)
    articles.execute("INSERT INTO company VALUES (4, 'Fabrikam')")
    articles.execute(CALL.replace("')", "', relink => true)"))
    assert (7, "Fabrikam", 4, "link") in links(articles)


def test_small_batches_and_long_texts_make_the_same_links(articles: Connection) -> None:
    articles.execute("INSERT INTO article SELECT n, repeat('words ', 200000) || 'IBM' FROM generate_series(10, 12) AS n")
    articles.execute(CALL.replace("')", "', batch_size => 2)"))
    assert [link for link in links(articles) if link[0] >= 10] == [(n, "IBM", 1, "link") for n in (10, 11, 12)]
    assert links(articles)[:3] == FIRST


def test_composite_keys_of_any_type(db: Connection) -> None:
    db.execute("CREATE TABLE place (country text, town varchar(20), PRIMARY KEY (country, town))")
    db.execute("INSERT INTO place VALUES ('D', 'Ulm'), ('F', 'Paris \"[1]\"')")
    db.execute("SELECT pgembed.create_linker('places', 'place', names => 'town')")
    db.execute('CREATE TABLE "Old note" (a uuid, "B b" date, words text, PRIMARY KEY ("B b", a))')
    db.execute("INSERT INTO \"Old note\" VALUES ('00000000-0000-0000-0000-000000000001', '2020-02-03', 'We went to Ulm.')")
    db.execute("CALL pgembed.link_table('places', '\"Old note\"', 'words', 'seen')")
    rows = db.execute('SELECT "Old note_B b"::text, "Old note_a"::text, place_country, place_town FROM seen').fetchall()
    assert rows == [("2020-02-03", "00000000-0000-0000-0000-000000000001", "D", "Ulm")]
    db.execute("CALL pgembed.link_table('places', '\"Old note\"', 'words', 'seen')")
    assert db.execute("SELECT count(*) FROM seen").fetchone() == (1,)
    assert db.execute("SELECT (place).town FROM seen_entity").fetchall() == [("Ulm",)]
    # the columns of a key are NULL together
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute("UPDATE seen SET place_town = NULL")


def test_texts_of_a_view_are_linked_and_forgotten(articles: Connection, notices: Notices) -> None:
    articles.execute("CREATE VIEW short AS SELECT id, body FROM article WHERE id < 3")
    call = "CALL pgembed.link_table('companies', 'short', 'body', 'short_link')"
    articles.execute(call)
    assert articles.execute("SELECT short_id, mention FROM short_link ORDER BY 1, start_char").fetchall() == [
        (1, "Big Blue"),
        (1, "Red Hat"),
        (2, "Nestlé"),
    ]
    assert said(notices, "links have no foreign key to short")
    articles.execute("DELETE FROM article WHERE id = 1")
    articles.execute(call)
    assert articles.execute("SELECT short_id FROM short_link").fetchall() == [(2,)]
    assert articles.execute("SELECT short_id FROM short_link_text").fetchall() == [(2,)]


def test_a_view_without_a_key_is_told_one(articles: Connection, refused: Refused) -> None:
    articles.execute("CREATE VIEW twice AS SELECT id * 2 AS n, body FROM article UNION ALL SELECT 4, 'IBM'")
    call = "CALL pgembed.link_table('companies', 'twice', 'body', 'twice_link')"
    refused(articles, "42P16", call, hint="key => 'id'")
    refused(articles, "22023", call.replace("')", "', key => 'n')"), message="several have 4")
    refused(articles, "42703", call.replace("')", "', key => 'm')"), hint="n, body")
    articles.execute("CREATE OR REPLACE VIEW twice AS SELECT id * 2 AS n, body FROM article UNION ALL SELECT 5, 'IBM'")
    articles.execute(call.replace("')", "', key => 'n')"))
    articles.execute(call)
    assert (5, "IBM") in articles.execute("SELECT twice_n, mention FROM twice_link").fetchall()


def test_partitioned_tables_on_both_sides(db: Connection) -> None:
    db.execute("CREATE TABLE maker (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE maker_a PARTITION OF maker FOR VALUES FROM (0) TO (10); CREATE TABLE maker_b PARTITION OF maker DEFAULT")
    db.execute("INSERT INTO maker VALUES (1, 'Contoso'), (11, 'Fabrikam')")
    db.execute("SELECT pgembed.create_linker('makers', 'maker', names => 'name')")
    db.execute("CREATE TABLE news (id int PRIMARY KEY, body text) PARTITION BY HASH (id)")
    db.execute("CREATE TABLE news_a PARTITION OF news FOR VALUES WITH (MODULUS 2, REMAINDER 0)")
    db.execute("CREATE TABLE news_b PARTITION OF news FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    db.execute("INSERT INTO news SELECT n, 'Contoso met Fabrikam.' FROM generate_series(1, 4) AS n")
    db.execute("CALL pgembed.link_table('makers', 'news', 'body', 'news_link')")
    assert db.execute("SELECT news_id, maker_id FROM news_link ORDER BY 1, 2").fetchall() == [(n, m) for n in range(1, 5) for m in (1, 11)]
    keys = "SELECT DISTINCT confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'news_link'::regclass AND contype = 'f'"
    assert db.execute(f"{keys} AND conparentid = 0 ORDER BY 1").fetchall() == [("maker",), ("news",)]
    db.execute("DELETE FROM news WHERE id = 1")
    assert db.execute("SELECT count(*) FROM news_link").fetchone() == (6,)


@pytest.mark.own_database
def test_texts_of_a_foreign_table(articles: Connection) -> None:
    if not articles.execute("SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw'").fetchall():
        pytest.skip("postgres_fdw is not installed")
    articles.execute("CREATE EXTENSION postgres_fdw")
    articles.execute(
        "DO $$ BEGIN EXECUTE format('CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',"
        " split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()); END $$"
    )
    articles.execute("CREATE USER MAPPING FOR CURRENT_USER SERVER here OPTIONS (user 'postgres')")
    articles.execute("CREATE FOREIGN TABLE far (id int, body text) SERVER here OPTIONS (table_name 'article')")
    call = "CALL pgembed.link_table('companies', 'far', 'body', 'far_link', key => 'id')"
    articles.execute(call)
    found = "SELECT far_id, mention, company_id, decision FROM far_link ORDER BY far_id, start_char"
    assert articles.execute(found).fetchall() == FIRST
    articles.execute("DELETE FROM article WHERE id = 2; UPDATE article SET body = 'IBM.' WHERE id = 3")
    articles.execute(call)
    assert articles.execute(found).fetchall() == [*FIRST[:2], (3, "IBM", 1, "link")]


def test_a_linker_of_several_tables_and_one_more_later(articles: Connection) -> None:
    articles.execute(CALL)
    articles.execute("CREATE TABLE town (id int PRIMARY KEY, name text); INSERT INTO town VALUES (1, 'Raleigh')")
    articles.execute("SELECT pgembed.add_linker_target('companies', 'town', names => 'name')")
    articles.execute("INSERT INTO article VALUES (6, 'Red Hat is in Raleigh.')")
    articles.execute("CREATE VIEW mine AS SELECT article_id, mention FROM article_link_entity")
    articles.execute(CALL)
    rows = articles.execute("SELECT mention, company_id, town_id FROM article_link WHERE article_id = 6 ORDER BY start_char").fetchall()
    assert rows == [("Red Hat", 2, None), ("Raleigh", None, 1)]
    rows = articles.execute(
        "SELECT (company).name, (town).name FROM article_link_entity WHERE article_id = 6 ORDER BY start_char"
    ).fetchall()
    assert rows == [("Red Hat", None), (None, "Raleigh")]
    assert articles.execute("SELECT count(*) FROM mine").fetchone() == (5,)
    articles.execute("SELECT pgembed.drop_linker_target('companies', 'town')")
    articles.execute(CALL)
    rows = articles.execute("SELECT mention, company_id, town_id FROM article_link WHERE article_id = 6 ORDER BY start_char").fetchall()
    assert rows[0] == ("Red Hat", 2, None)
    assert all(row[2] is None for row in rows)


def test_rows_of_the_table_itself_may_be_meant(db: Connection) -> None:
    db.execute("CREATE TABLE term (id int PRIMARY KEY, name text, meaning text)")
    db.execute("INSERT INTO term VALUES (1, 'Granite', 'A hard rock.'), (2, 'Basalt', 'Harder than Granite.')")
    db.execute("SELECT pgembed.create_linker('terms', 'term', names => 'name')")
    db.execute("CALL pgembed.link_table('terms', 'term', 'meaning', 'term_link')")
    assert db.execute("SELECT term_id, entity_term_id FROM term_link WHERE entity_term_id IS NOT NULL").fetchall() == [(2, 1)]


def test_a_renamed_column_of_texts_is_no_new_text(articles: Connection) -> None:
    articles.execute(CALL)
    before = times(articles)
    articles.execute("ALTER TABLE article RENAME body TO words")
    articles.execute(
        "ALTER TABLE article RENAME id TO number; ALTER TABLE company RENAME id TO number; ALTER TABLE article_link RENAME TO seen"
    )
    assert articles.execute("SELECT text_column FROM pgembed.link_tables").fetchone() == ("words",)
    assert articles.execute("SELECT pgembed.correct_link('seen', '2', 1, 7, '3')").fetchone() == ("Nestlé",)
    articles.execute("CALL pgembed.link_table('companies', 'article', 'words', 'seen')")
    assert times(articles) == before
    assert articles.execute("SELECT count(*) FROM article_link_entity").fetchone() == (3,)


def test_a_dropped_table_of_links_leaves_corrections_that_the_next_takes_on(articles: Connection) -> None:
    articles.execute(CALL)
    articles.execute("SELECT pgembed.correct_link('article_link', '2', 1, 7, '1')")
    articles.execute("DROP TABLE article_link CASCADE")
    assert articles.execute("SELECT count(*) FROM pgembed._link_table").fetchone() == (0,)
    assert articles.execute("SELECT to_regclass('article_link_text'), to_regclass('article_link_entity')").fetchone() == (None, None)
    articles.execute(CALL)
    assert (2, 1) in articles.execute("SELECT article_id, company_id FROM article_link_entity").fetchall()
    keys = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'article_link_correction'::regclass AND contype = 'f'"
    assert articles.execute(keys).fetchone() == (2,)


def test_a_table_that_only_looks_like_corrections_is_not_taken_on(articles: Connection, refused: Refused) -> None:
    articles.execute("CREATE TABLE article_link_correction (article_id text, start_char int)")
    refused(articles, "42P16", CALL, message='its column "article_id" is text, not integer', hint="another name")
    assert articles.execute("SELECT to_regclass('article_link')").fetchone() == (None,)
