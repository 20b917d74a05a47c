"""pgembed.chunk, and how many vectors are of a text that the model cut."""

from __future__ import annotations

import psycopg
import pytest
from support import Connection, Notices, Refused, states

pytestmark = pytest.mark.one_transaction

TEXT = (
    "Dr. Who came, at 3.14 p.m., to the U.S. He left.\r\n\r\n"
    "Ça va\u00a0? 👩‍👩‍👧‍👦 Oui, e\u0301te\u0301!\n- item one\n- item two\n\n今日は雨です。行こう。「はい。」と言った。 The end"
)


@pytest.mark.parametrize(("max_tokens", "overlap"), [(1, 0), (5, 0), (5, 4), (12, 3), (200, 50)])
def test_the_offsets_slice_the_text_and_the_model_counts_the_tokens(db: Connection, max_tokens: int, overlap: int) -> None:
    rows = db.execute(
        """
        SELECT ordinal, start_char, end_char, c.content, substr(%(text)s, start_char, end_char - start_char),
            pgembed.token_count(c.content) - pgembed.token_count('')
        FROM pgembed.chunk(%(text)s, %(max)s, %(overlap)s) AS c
        """,
        {"text": TEXT, "max": max_tokens, "overlap": overlap},
    ).fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    covered = set()
    for _, start, end, content, sliced, tokens in rows:
        assert content == sliced == TEXT[start - 1 : end - 1] == content.strip()
        assert tokens <= max_tokens
        covered |= set(range(start - 1, end - 1))
    assert covered >= {at for at, one in enumerate(TEXT) if not one.isspace()}
    assert len(rows) == 1 or max_tokens < 200


def test_the_default_is_200_tokens_and_no_overlap(db: Connection) -> None:
    text = "word " * 450
    rows = db.execute("SELECT start_char, end_char FROM pgembed.chunk(%s)", [text]).fetchall()
    assert rows == [(1, 1000), (1001, 2000), (2001, 2250)]


def test_nothing_has_no_chunks(db: Connection) -> None:
    for nothing in (None, "", " \n\t"):
        assert db.execute("SELECT * FROM pgembed.chunk(%s)", [nothing]).fetchall() == []


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        ("'a', 0", "22023", "max_tokens must be at least 1, not 0", "200"),
        ("'a', NULL", "22004", "max_tokens is NULL", "default"),
        ("'a', 10, 10", "22023", "overlap must be from 0 to 9, below max_tokens, not 10", "tenth"),
        ("NULL, 10, -1", "22023", "not -1", "tenth"),
        ("'a', model => 'nobody'", "42704", 'model "nobody" does not exist', "all-minilm"),
        ("NULL, model => 'nobody'", "42704", 'model "nobody" does not exist', "all-minilm"),
    ],
)
def test_bad_calls_are_refused(db: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str) -> None:
    refused(db, sqlstate, f"SELECT pgembed.chunk({arguments})", message=message, hint=hint)


def test_a_timeout_stops_the_cutting_of_a_long_text(db: Connection) -> None:
    db.execute("SELECT pgembed.chunk('warm')")
    db.execute("SET statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.execute("SELECT count(*) FROM pgembed.chunk(repeat('word ', 4000000))")


# ------------------------------------------------------------------------------------------------------------ cut by the model


def truncated(db: Connection) -> object:
    return db.execute("SELECT truncated FROM pgembed.embeddings").fetchone()


@pytest.fixture
def cut(product: Connection) -> Connection:
    """Three products, fresh; the text of the first is longer than the model reads."""
    product.execute("UPDATE product SET description = repeat('rain ', 300) WHERE id = 1")
    product.execute("CALL pgembed.refresh('product')")
    return product


def test_a_text_that_was_cut_is_counted_and_found(cut: Connection) -> None:
    assert states(cut) == ["fresh"] * 3
    assert truncated(cut) == (1,)
    assert cut.execute("SELECT id FROM product WHERE pgembed.truncated(embedding_hash)").fetchall() == [(1,)]


def test_a_text_of_just_the_limit_is_not_cut(product: Connection) -> None:
    product.execute("UPDATE product SET name = 'rain', description = repeat('rain ', 252) WHERE id = 1")
    assert product.execute("SELECT pgembed.token_count(name || ': ' || description) FROM product WHERE id = 1").fetchone() == (256,)
    product.execute("CALL pgembed.refresh('product')")
    assert truncated(product) == (0,)
    product.execute("UPDATE product SET name = 'rain rain' WHERE id = 1")
    product.execute("CALL pgembed.refresh('product')")
    assert truncated(product) == (1,)


def test_the_vector_of_a_cut_text_stays_one_until_it_is_replaced(cut: Connection) -> None:
    cut.execute("UPDATE product SET description = 'short' WHERE id = 1")
    assert states(cut)[0] == "stale"
    assert truncated(cut) == (1,)
    cut.execute("CALL pgembed.refresh('product')")
    assert states(cut)[0] == "fresh"
    assert truncated(cut) == (0,)


def test_a_cut_text_that_changes_and_changes_back_is_cut_as_before(cut: Connection, notices: Notices) -> None:
    before = cut.execute("SELECT embedding_hash FROM product WHERE id = 1").fetchone()
    for name in ("boat", "ship", "jacket"):
        assert states(cut)[0] == ("fresh" if name == "boat" else "stale")
        cut.execute("UPDATE product SET name = %s WHERE id = 1", [name])
    assert states(cut)[0] == "fresh"
    assert cut.execute("SELECT embedding_hash FROM product WHERE id = 1").fetchone() == before
    # and where only refresh sees that it is the same again
    cut.execute("SELECT pgembed.alter_embedding('product', source => $$ name || ': ' || description || '' $$)")
    assert states(cut) == ["stale"] * 3
    assert truncated(cut) == (1,)
    cut.execute("CALL pgembed.refresh('product')")
    assert notices[-1].message.startswith("product.embedding: 0 rows embedded, 3 had their old text again")
    assert cut.execute("SELECT embedding_hash FROM product WHERE id = 1").fetchone() == before
    assert truncated(cut) == (1,)


@pytest.mark.parametrize("change", ["SET description = NULL", "SET embedding = pgembed.embed('x'), description = 'x'"])
def test_a_vector_that_is_gone_is_not_counted(cut: Connection, change: str) -> None:
    cut.execute(f"UPDATE product {change} WHERE id = 1")
    assert truncated(cut) == (0,)


def test_a_source_over_a_generated_column_keeps_the_count(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, a text, b text GENERATED ALWAYS AS (a || '!') STORED)")
    db.execute("INSERT INTO product VALUES (1, repeat('rain ', 300)), (2, 'sun')")
    db.execute("SELECT pgembed.add_embedding('product', 'b', sync => 'manual')")
    db.execute("CALL pgembed.refresh('product')")
    assert truncated(db) == (1,)
    db.execute("UPDATE product SET a = a || 'x'")
    assert states(db) == ["stale"] * 2
    assert truncated(db) == (1,)
    db.execute("UPDATE product SET a = 'sun'")
    db.execute("CALL pgembed.refresh('product')")
    assert truncated(db) == (0,)
