"""Calls of pgembed.link_table: who may, two at once, killed half way, rows that go meanwhile, whatever the session is set to."""

from __future__ import annotations

import threading

import linked
import psycopg
import pytest
from linked import CALL, FIRST, links, times
from support import AsRole, Connect, Connection, MakeRole, Refused, wait_until

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def articles(db: Connection) -> Connection:
    linked.make(db)
    return db


def test_a_filter_says_which_rows_may_be_meant_and_means_what_it_means_to_the_caller(articles: Connection, refused: Refused) -> None:
    articles.execute("CREATE SCHEMA mine; CREATE FUNCTION mine.wanted(id int) RETURNS boolean LANGUAGE sql AS 'SELECT id > 1'")
    call = CALL.replace("')", "', filter => $$ wanted(id) AND id < ($1->>'below')::int $$, params => '{\"below\": 3}')")
    refused(articles, "42883", call)
    articles.execute("SET search_path = public, mine")
    articles.execute(call)
    assert [link[:3] for link in links(articles) if link[2] is not None] == [(1, "Red Hat", 2)]
    refused(articles, "42601", CALL.replace("')", "', filter => 'true) OR (true')"))
    articles.execute("RESET search_path")
    articles.execute(CALL)
    assert links(articles) == FIRST


@pytest.mark.own_database
def test_it_works_at_every_isolation_and_under_a_hostile_path(articles: Connection) -> None:
    articles.execute(
        "CREATE SCHEMA bad; CREATE FUNCTION bad.no(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'taken in'; END $$;"
        "CREATE OPERATOR bad.= (LEFTARG = int, RIGHTARG = int, FUNCTION = bad.no);"
        "CREATE OPERATOR bad.<> (LEFTARG = int, RIGHTARG = int, FUNCTION = bad.no);"
        "CREATE OPERATOR bad.- (LEFTARG = int, RIGHTARG = int, FUNCTION = bad.no);"
        "CREATE OPERATOR bad.< (LEFTARG = int, RIGHTARG = int, FUNCTION = bad.no)"
    )
    articles.execute("SET default_transaction_isolation = 'serializable'; SET search_path = bad, pg_catalog, public")
    for call in (CALL, CALL, CALL.replace("')", "', relink => true)")):
        articles.execute(call)
    assert articles.execute("SHOW default_transaction_isolation").fetchone() == ("serializable",)
    articles.execute("SELECT pgembed.correct_link('bad.article_link', '2', 1, 7)")
    assert articles.execute("SELECT count(*) FROM bad.article_link_entity").fetchone() == (3,)


def test_bad_calls_say_what_is_wrong(articles: Connection, refused: Refused) -> None:
    refused(articles, "42704", CALL.replace("'companies'", "'nobody'"), hint="pgembed.linkers")
    refused(articles, "42703", CALL.replace("'body'", "'bdy'"), hint="id, body")
    refused(articles, "22004", CALL.replace("'body'", "NULL"), message="text_column")
    refused(articles, "22004", CALL.replace("'article_link'", "NULL"), message="into is NULL")
    refused(articles, "22023", CALL.replace("')", "', batch_size => 0)"), message="batch_size")
    for name in ("a b", "1x", "a.b.c", "x; DROP TABLE article"):
        refused(articles, "22023", CALL.replace("'article_link'", f"'{name}'"), message="not the name of a table", hint='"My table"')
    refused(articles, "42704", CALL.replace("'article_link'", "'nix.x'"), message='schema "nix" does not exist', hint="CREATE SCHEMA")
    refused(articles, "42710", CALL.replace("'article_link'", "'company'"), hint="another name")
    articles.execute("CREATE TABLE bare (body text)")
    refused(articles, "42P16", CALL.replace("'article'", "'bare'"), message="no primary key")
    articles.execute(CALL)
    articles.execute("CREATE TABLE other (LIKE article INCLUDING ALL)")
    refused(articles, "22023", CALL.replace("'article'", "'other'"), hint="another table")
    assert links(articles) == FIRST


def test_the_caller_needs_the_texts_the_rows_and_the_destination(
    articles: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    clerk, other = make_role("link_clerk"), make_role("link_other")
    articles.execute(f"CREATE SCHEMA desk AUTHORIZATION {clerk}")
    call = CALL.replace("'article_link'", "'desk.found'")
    with as_role(articles, clerk):
        refused(articles, "42501", call, hint=None)
    articles.execute(f"GRANT SELECT ON company, article TO {clerk}, {other}")
    with as_role(articles, clerk):
        articles.execute(call)
        assert links(articles, "desk.found") == FIRST
    owner = "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname LIKE 'found%' AND relkind IN ('r', 'v') ORDER BY 1"
    assert articles.execute(owner).fetchall() == [(name, clerk) for name in ("found", "found_correction", "found_entity", "found_text")]
    with as_role(articles, other):
        refused(articles, "42501", call, hint=None)
    articles.execute(f"GRANT USAGE ON SCHEMA desk TO {other}")
    with as_role(articles, other):
        refused(articles, "42501", call, message="must be owner")
    # a superuser may, and what is written is written as the owner
    articles.execute("UPDATE article SET body = 'IBM.' WHERE id = 1")
    articles.execute("CREATE TABLE desk.seen (who text)")
    articles.execute(f"GRANT INSERT ON desk.seen TO {clerk}")
    articles.execute(
        "CREATE FUNCTION desk.spy() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO desk.seen VALUES (current_user); RETURN NEW; END'"
    )
    articles.execute("CREATE TRIGGER spy BEFORE INSERT ON desk.found FOR EACH ROW EXECUTE FUNCTION desk.spy()")
    articles.execute(call)
    assert articles.execute("SELECT DISTINCT who FROM desk.seen").fetchall() == [(clerk,)]


def test_rows_that_a_policy_hides_are_not_linked_to(articles: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    clerk = make_role("link_hidden")
    articles.execute(f"CREATE SCHEMA desk AUTHORIZATION {clerk}; GRANT SELECT ON company, article TO {clerk}")
    articles.execute("ALTER TABLE company ENABLE ROW LEVEL SECURITY; CREATE POLICY not_one ON company USING (id <> 1)")
    articles.execute("ALTER TABLE article ENABLE ROW LEVEL SECURITY; CREATE POLICY not_two ON article USING (id <> 2)")
    with as_role(articles, clerk):
        articles.execute(CALL.replace("'article_link'", "'desk.found'"))
        assert [link for link in links(articles, "desk.found") if link[2] is not None] == [FIRST[1]]


def test_the_view_shows_rows_to_those_who_may_read_them(articles: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    if articles.info.server_version < 150_000:
        pytest.skip("views have no rights of their own reader before PostgreSQL 15")
    reader = make_role("link_view_reader")
    articles.execute(CALL)
    articles.execute(f"GRANT SELECT ON article_link_entity, article_link, article_link_correction, article TO {reader}")
    with as_role(articles, reader), pytest.raises(psycopg.errors.InsufficientPrivilege):
        articles.execute("SELECT * FROM article_link_entity")
    articles.execute(f"GRANT SELECT ON company TO {reader}")
    with as_role(articles, reader):
        assert articles.execute("SELECT count(*) FROM article_link_entity").fetchone() == (3,)


@pytest.mark.own_database
def test_without_the_extension_the_tables_are_still_there(articles: Connection, refused: Refused) -> None:
    articles.execute(CALL)
    error = refused(articles, "2BP01", "DROP EXTENSION pgembed", message="used in this database")
    assert "table public.article_link of links is kept up no more" in (error.diag.message_detail or "")
    articles.execute("SET client_min_messages = error; DROP EXTENSION pgembed CASCADE")
    assert links(articles) == FIRST
    assert articles.execute("SELECT (company).name FROM article_link_entity WHERE article_id = 2").fetchall() == [("Nestlé",)]


@pytest.mark.own_database
def test_it_commits_as_it_goes_and_a_later_call_goes_on(articles: Connection, connect: Connect) -> None:
    """A text that cannot be written stops the call; what was linked before stays, and is not linked again."""
    articles.execute("INSERT INTO article SELECT n, 'IBM met Nestlé.' FROM generate_series(10, 40) AS n")
    articles.execute(CALL)
    articles.execute("UPDATE article SET body = 'Nestlé met IBM.' WHERE id >= 10")
    articles.execute(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.article_id = 30 THEN RAISE 'not this'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER stop BEFORE INSERT ON article_link FOR EACH ROW EXECUTE FUNCTION stop()"
    )
    with pytest.raises(psycopg.Error, match="not this"):
        articles.execute(CALL.replace("')", "', batch_size => 4)"))
    done = articles.execute("SELECT count(*) FROM article_link WHERE mention = 'Nestlé' AND start_char = 1 AND article_id >= 10").fetchone()
    assert done is not None
    assert 0 < done[0] < 31
    # no text is without its links, or has some of both
    assert articles.execute("SELECT DISTINCT count(*) FROM article_link WHERE article_id >= 10 GROUP BY article_id").fetchall() == [(2,)]
    before = times(articles)
    articles.execute("DROP TRIGGER stop ON article_link")
    articles.execute(CALL)
    after = times(articles)
    assert sum(after[key] != before[key] for key in after) == 31 - done[0]


@pytest.mark.own_database
def test_a_second_call_is_refused_progress_is_seen_and_a_cancel_works(articles: Connection, connect: Connect, refused: Refused) -> None:
    articles.execute("INSERT INTO article SELECT n, 'IBM met Nestlé.' FROM generate_series(10, 40) AS n")
    # the write of the first batch waits for this session
    articles.execute(CALL)
    articles.execute("UPDATE article SET body = body || ' Red Hat.' WHERE id >= 10")
    articles.execute("BEGIN; LOCK TABLE article_link IN SHARE MODE")
    first = connect(articles)
    errors: list[psycopg.Error] = []

    def run() -> None:
        try:
            first.execute(CALL.replace("')", "', batch_size => 4)"))
        except psycopg.Error as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    other = connect(articles)
    line = "SELECT what, target, done, total FROM pgembed.progress"
    wait_until(lambda: other.execute(line).fetchall() == [("link_table", "article_link", 0, 31)])
    refused(other, "55000", CALL, message="another session is linking", hint="pgembed.progress")
    pid = first.info.backend_pid
    wait_until(lambda: other.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == ("Lock",))
    # writers of the source wait for nobody
    other.execute("SET lock_timeout = '2s'; UPDATE article SET body = 'x' WHERE id = 40; INSERT INTO article VALUES (50, 'y')")
    other.execute("SELECT pg_cancel_backend(%s)", [pid])
    thread.join()
    articles.execute("ROLLBACK")
    assert [error.sqlstate for error in errors] == ["57014"]
    assert other.execute(line).fetchall() == []
    first.execute(CALL)
    assert first.execute("SELECT count(*) FROM article_link WHERE mention = 'Red Hat' AND article_id >= 10").fetchone() == (30,)


@pytest.mark.own_database
def test_rows_that_go_meanwhile_are_no_error(articles: Connection, connect: Connect) -> None:
    """Both sides lose a row after the batch was read and before it is written."""
    articles.execute(CALL)
    articles.execute("UPDATE article SET body = body || ' IBM.' WHERE id < 3")
    other = connect(articles)
    articles.execute("BEGIN; LOCK TABLE article_link IN SHARE MODE")
    thread = threading.Thread(target=other.execute, args=[CALL])
    thread.start()
    pid = other.info.backend_pid
    wait_until(lambda: articles.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", [pid]).fetchone() == (1,))
    articles.execute("DELETE FROM article WHERE id = 2; DELETE FROM company WHERE id = 1")
    articles.execute("COMMIT")
    thread.join()
    found = links(articles)
    assert {link[0] for link in found} == {1}
    assert (1, "Red Hat", 2, "link") in found
    assert all(link[2] != 1 for link in found)
