"""Labels: an ordinary table that a join learns from, and what is told where they are wrong or few; estimates, and the review list."""

from __future__ import annotations

import random

import psycopg
import pytest
from cities import Connection
from support import Notices, Refused

pytestmark = pytest.mark.one_transaction

# Words of which names are made.
WORDS = ["silver", "cable", "adapter", "black", "printer", "toner", "stand", "phone", "office", "wall", "leather", "remote", "digital"]
CALL = """'offer', 'product', 'title', 'name', attributes => '{"title": "name", "price": "cost"}', candidates => 'lexical'"""


@pytest.fixture
def shop(db: Connection) -> Connection:
    """120 offers, 80 of which are one of 120 products, written otherwise and at nearly its price; half of these have a rival."""
    picker = random.Random(7)
    db.execute(
        "CREATE TABLE product (id int PRIMARY KEY, name text, cost numeric); CREATE TABLE offer (id int PRIMARY KEY, title text, price int)"
    )
    names = {n: " ".join([*picker.sample(WORDS, 4), f"X{picker.randrange(1000, 9999)}"]) for n in range(1, 121)}
    for n, name in names.items():
        db.execute("INSERT INTO product VALUES (%s, %s, %s)", [n, name, 10 * n])
        words = name.split()
        other = " ".join(picker.sample(words, 4) if n <= 80 else [*picker.sample(WORDS, 4), f"X{picker.randrange(1000, 9999)}"])
        db.execute("INSERT INTO offer VALUES (%s, %s, %s)", [n, other, 10 * n + 1 if n <= 80 else picker.randrange(1200)])
    return db


def label(db: Connection, rows: int) -> None:
    """Label the first candidates of some offers, as somebody would who looks at them."""
    db.execute(
        "INSERT INTO told SELECT left_key, right_key, left_key = right_key AND left_key::int <= 80 FROM pgembed.semantic_join_keys("
        f"{CALL}, k => 3) WHERE left_key::int %% 120 < %s",
        [rows],
    )


def test_a_table_of_labels_is_the_callers_own(shop: Connection) -> None:
    assert shop.execute("SELECT pgembed.create_labels('told', 'offer', 'product')::text").fetchone() == ("told",)
    shop.execute("INSERT INTO told VALUES ('1', '1', true)")
    row = shop.execute("SELECT left_key, right_key, is_match, labelled_by = current_user, labelled_at = now() FROM told").fetchone()
    assert row == ("1", "1", True, True, True)
    comment = shop.execute("SELECT obj_description('told'::regclass)").fetchone()
    assert comment == ("pairs of offer (left_key) and product (right_key): whether they are the same thing",)
    with pytest.raises(psycopg.errors.UniqueViolation):
        shop.execute("INSERT INTO told VALUES ('1', '1', false)")


@pytest.mark.parametrize("name", ['"Odd ""Name"', "apart.told"])
def test_a_table_of_labels_has_the_name_that_was_asked_for(shop: Connection, name: str) -> None:
    shop.execute("CREATE SCHEMA apart")
    shop.execute("SELECT pgembed.create_labels(%s, 'offer', 'product')", [name])
    assert shop.execute("SELECT to_regclass(%s)::text", [name]).fetchone() == (name,)


def test_labels_make_the_decision_better_and_are_estimated(shop: Connection) -> None:
    shop.execute("SELECT pgembed.create_labels('told', 'offer', 'product')")
    label(shop, 60)
    call = f"SELECT left_key::int, right_key::int, is_match, probability FROM pgembed.semantic_join_keys({CALL}, labels => 'told')"
    rows = shop.execute(call).fetchall()  # type: ignore[arg-type]
    unseen = [row for row in rows if row[0] >= 60]
    right = sum(is_match == (one == other and one <= 80) for one, other, is_match, _ in unseen)
    assert right >= 0.9 * len(unseen)
    assert all(probability is not None and 0 <= probability <= 1 for *_, probability in rows)
    told = dict(
        shop.execute(
            "SELECT property, value FROM pgembed.explain_join(NULL::offer, NULL::product, 'title', 'name',"
            """ attributes => '{"title": "name", "price": "cost"}', candidates => 'lexical', labels => 'told', "precision" => 0.9)"""
        ).fetchall()
    )
    assert told["decided by"] == "180 labelled pairs, {} of them matches".format(
        shop.execute("SELECT count(*) FROM told WHERE is_match").fetchone()[0]  # type: ignore[index]
    )
    assert " with 95 %" in told["estimated precision"]
    assert "probability of at least" in told["threshold"]


def test_a_view_may_stand_for_labels(shop: Connection) -> None:
    shop.execute("CREATE VIEW seen AS SELECT n AS left_key, n AS right_key, true AS is_match FROM generate_series(1, 30) AS n"
                 " UNION ALL SELECT n, n + 1, false FROM generate_series(1, 30) AS n")  # fmt: skip
    rows = shop.execute(f"SELECT is_match FROM pgembed.semantic_join_keys({CALL}, labels => 'seen')").fetchall()  # type: ignore[arg-type]
    assert {row[0] for row in rows} == {True, False}


def test_labels_that_are_few_or_of_other_rows_are_told(shop: Connection, notices: Notices) -> None:
    shop.execute("SELECT pgembed.create_labels('told', 'offer', 'product')")
    shop.execute("INSERT INTO told VALUES ('1', '1', true), ('2', '3', false), ('none', '1', true), ('3', '999', true)")
    notices.clear()
    shop.execute(f"SELECT FROM pgembed.semantic_join_keys({CALL}, labels => 'told')")  # type: ignore[arg-type]
    messages = [told.message for told in notices]
    assert messages[0] == "2 labelled pairs are of rows that are not there, or take no part in the join"
    assert messages[1].startswith("2 labelled pairs, 1 of them matches, say little")
    assert "review_pairs" in (notices[1].hint or "")


def test_labels_that_contradict_each_other_are_refused(shop: Connection, refused: Refused) -> None:
    shop.execute("CREATE TABLE said (left_key int, right_key int, is_match boolean); INSERT INTO said VALUES (1, 1, true), (1, 1, false)")
    call = f"SELECT FROM pgembed.semantic_join_keys({CALL}, labels => 'said')"
    refused(shop, "22023", call, message="contradict each other: the pair (1, 1)", hint="Delete one")
    shop.execute("DELETE FROM said WHERE NOT is_match; INSERT INTO said VALUES (NULL, 1, true), (2, 1, NULL)")
    shop.execute(call)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "sqlstate", "message"),
    [
        ("left_key text, right_key text", "42703", 'no column "is_match"'),
        ("left_key text, is_match boolean", "42703", 'no column "right_key"'),
        ("left_key text, right_key text, is_match int", "42804", "of type int4, not boolean"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(shop: Connection, refused: Refused, columns: str, sqlstate: str, message: str) -> None:
    shop.execute(f"CREATE TABLE said ({columns})")  # type: ignore[arg-type]
    call = f"SELECT FROM pgembed.semantic_join_keys({CALL}, labels => 'said')"
    refused(shop, sqlstate, call, message=message, hint="pgembed.create_labels() makes one")


def test_labels_are_looked_at_before_any_row_is_read(shop: Connection, refused: Refused) -> None:
    shop.execute("CREATE VIEW broken AS SELECT (1 / (id - id))::text AS name FROM offer; CREATE TABLE said (left_key text)")
    call = "SELECT FROM pgembed.semantic_join(NULL::broken, NULL::product, 'name', 'name', candidates => 'lexical'"
    refused(shop, "22012", f"{call})", message="division by zero", hint=None)
    refused(shop, "42703", f"{call}, labels => 'said')", message='no column "right_key"', hint="create_labels()")


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("NULL, 'offer', 'product'", "22004", "name is NULL"),
        ("' ', 'offer', 'product'", "22004", "name is empty"),
        ("'offer', 'offer', 'product'", "42710", "exists already"),
        ("'a.b.c', 'offer', 'product'", "22023", "not the name of a table"),
        ("'told', NULL, 'product'", "22004", "left is NULL"),
        ("'told', 'offer', NULL", "22004", "right is NULL"),
        ("'told', 'offer', 'bare'", "42P16", "no primary key"),
    ],
)
def test_create_labels_refuses(shop: Connection, refused: Refused, arguments: str, sqlstate: str, message: str) -> None:
    shop.execute("CREATE TABLE bare (t text)")
    refused(shop, sqlstate, f"SELECT pgembed.create_labels({arguments})", message=message)


def test_rows_without_a_key_cannot_be_labelled(shop: Connection, refused: Refused) -> None:
    shop.execute("SELECT pgembed.create_labels('told', 'offer', 'product'); CREATE VIEW bare AS SELECT title FROM offer")
    call = "SELECT pgembed.semantic_join(NULL::bare, NULL::product, 'title', 'name', candidates => 'lexical', labels => 'told')"
    refused(shop, "42P16", call, message='view "bare" shows no primary key')


def test_the_review_list_names_unlabelled_pairs_with_their_texts_and_a_reason(shop: Connection) -> None:
    shop.execute("SELECT pgembed.create_labels('told', 'offer', 'product')")
    label(shop, 30)
    arguments = CALL.replace("'title', 'name'", "'told', 15, 'title', 'name'")
    call = f"SELECT * FROM pgembed.review_pairs({arguments})"
    rows = shop.execute(call).fetchall()  # type: ignore[arg-type]
    assert len(rows) == 15
    labelled = set(shop.execute("SELECT left_key, right_key FROM told").fetchall())
    texts = [dict(shop.execute(f"SELECT id::text, concat_ws(' ', {columns}) FROM {table}").fetchall())  # type: ignore[arg-type]
             for table, columns in (("offer", "price, title"), ("product", "cost, name"))]  # fmt: skip
    for left, right, left_text, right_text, _, reason in rows:
        assert (left, right) not in labelled
        assert (left_text, right_text) == (texts[0][left], texts[1][right])
        assert reason
    assert len({row[:2] for row in rows}) == 15


def test_the_review_list_needs_no_labels(shop: Connection) -> None:
    rows = shop.execute("SELECT * FROM pgembed.review_pairs('offer', 'product', n => 4, left_column => 'title', right_column => 'name',"
                        " candidates => 'lexical')").fetchall()  # fmt: skip
    assert len(rows) == 4


@pytest.mark.parametrize(("n", "sqlstate"), [("0", "22023"), ("NULL", "22004"), ("1000000", "22023")])
def test_a_review_list_has_a_length(shop: Connection, refused: Refused, n: str, sqlstate: str) -> None:
    refused(shop, sqlstate, f"SELECT pgembed.review_pairs('offer', 'product', n => {n})", message="n ", hint="20 by default")
