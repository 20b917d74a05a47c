"""What people say of links: kept, applied in the view, never overwritten, told as stale where the words are gone."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

CALL = "CALL pgembed.link_table('companies', 'article', 'body', 'article_link')"


@pytest.fixture
def linked(db: Connection) -> Connection:
    db.execute("CREATE TABLE company (id int PRIMARY KEY, name text)")
    db.execute("INSERT INTO company VALUES (1, 'Contoso'), (2, 'Contoso Bank'), (3, 'Fabrikam')")
    db.execute("SELECT pgembed.create_linker('companies', 'company', names => 'name')")
    db.execute("CREATE TABLE article (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO article VALUES (1, 'Contoso Bank grew. The bank hired.'), (2, 'Fabrikam met Contoso.')")
    db.execute(CALL)
    return db


def holds(db: Connection) -> list[tuple[Any, ...]]:
    """What the view says."""
    return db.execute(
        "SELECT article_id, mention, company_id, decision, corrected_by IS NOT NULL FROM article_link_entity"
        " ORDER BY 1, start_char, end_char"
    ).fetchall()


def corrections(db: Connection) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT source_key, start_char, end_char, mention, entity_table::text, entity_key, is_stale"
        " FROM pgembed.link_corrections('article_link') ORDER BY 1, 2, 3"
    ).fetchall()


FIRST = [(1, "Contoso Bank", 2, "link", False), (2, "Fabrikam", 3, "link", False), (2, "Contoso", 1, "link", False)]


def test_a_wrong_link_is_put_right_and_the_linkers_word_is_kept(linked: Connection) -> None:
    assert holds(linked) == FIRST
    assert linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, '2')").fetchone() == ("Contoso",)
    assert holds(linked) == [*FIRST[:2], (2, "Contoso", 2, "link", True)]
    assert linked.execute("SELECT company_id FROM article_link WHERE mention = 'Contoso'").fetchone() == (1,)
    row = linked.execute(
        "SELECT (company).name, corrected_by = current_user, score FROM article_link_entity WHERE start_char = 14"
    ).fetchone()
    assert row == ("Contoso Bank", True, None)


def test_a_link_is_rejected(linked: Connection) -> None:
    linked.execute("SELECT pgembed.correct_link('article_link', '2', 1, 9)")
    assert holds(linked) == [FIRST[0], (2, "Fabrikam", None, "nil", True), FIRST[2]]
    assert corrections(linked) == [("2", 1, 9, "Fabrikam", None, None, False)]


def test_a_missing_mention_is_added(linked: Connection) -> None:
    linked.execute("SELECT pgembed.correct_link('article_link', '1', 20, 28, '2')")
    assert holds(linked) == [FIRST[0], (1, "The bank", 2, "link", True), *FIRST[1:]]


def test_a_longer_or_shorter_place_takes_the_place_of_those_it_overlaps(linked: Connection) -> None:
    linked.execute("SELECT pgembed.correct_link('article_link', '1', 1, 8, '1')")
    assert holds(linked) == [(1, "Contoso", 1, "link", True), *FIRST[1:]]
    # what means no row says nothing of a longer name around it
    linked.execute("SELECT pgembed.correct_link('article_link', '1', 1, 8)")
    assert holds(linked) == [(1, "Contoso", None, "nil", True), *FIRST]


def test_a_second_word_on_a_place_is_the_one_that_counts(linked: Connection) -> None:
    for key in ("1", "3"):
        linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, %s)", [key])
    assert corrections(linked) == [("2", 14, 21, "Contoso", "company", "3", False)]


def test_they_are_never_overwritten_and_hold_after_a_run(linked: Connection) -> None:
    linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, '2')")
    linked.execute(CALL.replace("')", "', relink => true)"))
    assert holds(linked)[2] == (2, "Contoso", 2, "link", True)
    # the text has changed elsewhere: the words still stand there
    linked.execute("UPDATE article SET body = 'Fabrikam met Contoso. They talked.' WHERE id = 2")
    linked.execute(CALL)
    assert holds(linked)[2] == (2, "Contoso", 2, "link", True)


def test_one_whose_words_are_gone_is_kept_and_told_as_stale(linked: Connection, notices: Notices) -> None:
    linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, '2')")
    linked.execute("UPDATE article SET body = 'I heard that Fabrikam met Contoso.' WHERE id = 2")
    assert [one[-1] for one in corrections(linked)] == [True]
    linked.execute(CALL)
    assert [notice for notice in notices if "1 corrections are of words" in notice.message and "is_stale" in (notice.hint or "")]
    assert holds(linked)[1:] == [(2, "Fabrikam", 3, "link", False), (2, "Contoso", 1, "link", False)]
    linked.execute("UPDATE article SET body = NULL WHERE id = 2")
    assert [one[-1] for one in corrections(linked)] == [True]
    linked.execute("UPDATE article SET body = 'Fabrikam met Contoso.' WHERE id = 2")
    assert [one[-1] for one in corrections(linked)] == [False]


def test_many_are_inserted_and_wrong_ones_refused(linked: Connection, refused: Refused) -> None:
    insert = "INSERT INTO article_link_correction (article_id, start_char, end_char, mention, company_id) VALUES "
    linked.execute(insert + "(2, 1, 9, 'Fabrikam', 1), (2, 14, 21, 'Contoso', NULL)")
    assert [one[:4] for one in holds(linked)[1:]] == [(2, "Fabrikam", 1, "link"), (2, "Contoso", None, "nil")]
    assert linked.execute("SELECT DISTINCT corrected_by = current_user FROM article_link_correction").fetchall() == [(True,)]
    for values in ("(1, 1, 9, 'Contoso', 1)", "(1, 0, 7, 'Contoso', 1)", "(1, 8, 8, '', 1)"):
        with pytest.raises(psycopg.errors.CheckViolation):
            linked.execute(insert + values)
    for values in ("(1, 1, 8, 'Contoso', 9)", "(9, 1, 8, 'Contoso', 1)"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            linked.execute(insert + values)


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "said"),
    [
        ("NULL, '1', 1, 2", "22004", "into is NULL"),
        ("'article_link', NULL, 1, 2", "22004", "source_key is NULL"),
        ("'article_link', '1', NULL, 2", "22004", "start_char is NULL"),
        ("'article', '1', 1, 2", "42704", "is no table that"),
        ("'article_link', '9', 1, 2", "P0002", 'no row with the key "9"'),
        ("'article_link', 'x', 1, 2", "22P02", '"x" is no key'),
        ("'article_link', '1', 0, 2", "22023", "no place from 0 to 2 in a text of 34"),
        ("'article_link', '1', 3, 3", "22023", "no place"),
        ("'article_link', '1', 30, 36", "22023", "no place"),
        ("'article_link', '1', 1, 8, '77'", "P0002", 'company has no row with the key "77"'),
        ("'article_link', '1', 1, 8, '1', 'article'", "42704", "no target"),
    ],
)
def test_bad_corrections_say_what_is_wrong(linked: Connection, refused: Refused, arguments: str, sqlstate: str, said: str) -> None:
    refused(linked, sqlstate, f"SELECT pgembed.correct_link({arguments})", message=said)
    assert corrections(linked) == []


def test_a_place_ends_at_the_end_of_its_text(linked: Connection) -> None:
    assert linked.execute("SELECT pgembed.correct_link('article_link', '1', 29, 35)").fetchone() == ("hired.",)


def test_a_linker_of_several_tables_asks_which(linked: Connection, refused: Refused) -> None:
    linked.execute("CREATE TABLE town (id int PRIMARY KEY, name text); INSERT INTO town VALUES (1, 'Ulm')")
    linked.execute("SELECT pgembed.add_linker_target('companies', 'town', names => 'name')")
    linked.execute(CALL)
    refused(linked, "42702", "SELECT pgembed.correct_link('article_link', '2', 14, 21, '1')", hint="entity_table")
    linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, '1', 'town')")
    rows = linked.execute("SELECT company_id, town_id, (town).name FROM article_link_entity WHERE start_char = 14").fetchall()
    assert rows == [(None, 1, "Ulm")]
    assert corrections(linked)[0][4:6] == ("town", "1")
    linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, '1', 'company')")
    assert corrections(linked)[0][4:6] == ("company", "1")


def test_who_may_write_corrections_is_a_matter_of_privileges(
    linked: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    editor = make_role("link_editor")
    linked.execute(f"GRANT SELECT ON article, company, article_link TO {editor}")
    call = "SELECT pgembed.correct_link('article_link', '2', 14, 21, '2')"
    with as_role(linked, editor):
        refused(linked, "42501", call, hint=None)
    linked.execute(f"GRANT SELECT, INSERT, UPDATE ON article_link_correction TO {editor}")
    with as_role(linked, editor):
        linked.execute(call)
    assert linked.execute("SELECT corrected_by::text FROM article_link_correction").fetchone() == (editor,)


def test_a_deleted_row_takes_what_was_said_of_it_along(linked: Connection) -> None:
    linked.execute("SELECT pgembed.correct_link('article_link', '2', 14, 21, '2')")
    linked.execute("DELETE FROM company WHERE id = 2")
    assert corrections(linked) == []
