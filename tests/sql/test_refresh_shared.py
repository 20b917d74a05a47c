"""CALL refresh where rows have equal texts: each is embedded once, and the notice says what was saved."""

from __future__ import annotations

import pytest
from fake_endpoint import DIM, FakeEndpoint, poisoned_by, serving, status, vector
from psycopg.types.json import Jsonb
from support import Connection, Notices, counts, states


@pytest.fixture
def far(db: Connection, fake: FakeEndpoint) -> Connection:
    """The model `far` and 12 products of 4 names: three of each."""
    db.execute("SELECT pgembed.register_model('far', %s, remote_model => 'the-model', options => %s)", [fake.url, Jsonb({})])
    fake.requests.clear()
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text);
        INSERT INTO product SELECT n, 'name ' || n % 4 FROM generate_series(0, 11) AS n;
        SELECT pgembed.add_embedding('product', 'name', 'far');
        """
    )
    return db


def asked(fake: FakeEndpoint) -> list[str]:
    return sorted(text for request in fake.requests for text in request.texts)


def said(notices: Notices) -> str:
    return next(told.message for told in notices if "rows embedded" in told.message)


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_a_text_is_embedded_once_in_a_batch_and_across_batches(
    far: Connection, fake: FakeEndpoint, notices: Notices, batch_size: int
) -> None:
    far.execute("CALL pgembed.refresh('product', batch_size => %s)", [batch_size])
    assert asked(fake) == ["name 0", "name 1", "name 2", "name 3"]
    assert counts(far) == {"fresh": 12}
    for name, embedding in far.execute("SELECT name, embedding::real[] FROM product").fetchall():
        assert embedding == pytest.approx(vector(name, DIM), rel=1e-5)
    assert said(notices).startswith("product.embedding: 12 rows embedded (12 of them share 4 texts, each embedded once) in ")


def test_rows_with_a_text_of_their_own_are_not_counted(far: Connection, notices: Notices) -> None:
    far.execute("UPDATE product SET name = id::text WHERE id > 1")
    far.execute("UPDATE product SET name = '7' WHERE id IN (8, 9)")
    far.execute("CALL pgembed.refresh('product')")
    assert "12 rows embedded (3 of them share 1 text, embedded once) in" in said(notices)


def test_nothing_is_said_where_nothing_was_saved(far: Connection, notices: Notices) -> None:
    far.execute("UPDATE product SET name = id::text")
    far.execute("CALL pgembed.refresh('product')")
    assert "share" not in said(notices)


def test_the_next_refresh_asks_again(far: Connection, fake: FakeEndpoint) -> None:
    far.execute("CALL pgembed.refresh('product')")
    far.execute("UPDATE product SET name = 'name 1' WHERE id = 0")
    fake.requests.clear()
    far.execute("CALL pgembed.refresh('product')")
    assert asked(fake) == ["name 1"]


def test_every_row_with_a_refused_text_fails_and_the_others_do_not(far: Connection, fake: FakeEndpoint) -> None:
    fake.default = poisoned_by("name 2", status(400, "no"))
    far.execute("CALL pgembed.refresh('product', batch_size => 5)")
    assert states(far) == ["failed" if n % 4 == 2 else "fresh" for n in range(12)]
    fake.default = serving()
    far.execute("CALL pgembed.refresh('product')")
    assert counts(far) == {"fresh": 12}


def test_a_cut_text_is_cut_in_every_row_that_has_it(db: Connection, notices: Notices) -> None:
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text);
        INSERT INTO product SELECT n, CASE WHEN n < 4 THEN repeat('rain ', 2000) ELSE 'tent' END FROM generate_series(1, 5) AS n;
        SELECT pgembed.add_embedding('product', 'name');
        """
    )
    db.execute("CALL pgembed.refresh('product', batch_size => 2)")
    assert db.execute("SELECT id FROM product WHERE pgembed.truncated(embedding_hash) ORDER BY id").fetchall() == [(1,), (2,), (3,)]
    assert db.execute("SELECT count(DISTINCT embedding) FROM product").fetchone() == (2,)
    assert any("3 texts were longer than the model reads" in told.message for told in notices)
    assert "5 rows embedded (5 of them share 2 texts, each embedded once) in" in said(notices)


def test_chunks_share_texts_within_a_row_and_between_rows(db: Connection, notices: Notices) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text)")
    db.execute(
        "INSERT INTO doc SELECT n, E'All rights reserved.\\n\\nAll rights reserved.\\n\\nNumber ' || n FROM generate_series(1, 3) AS n"
    )
    db.execute("SELECT pgembed.add_embedding('doc', 'body', 'all-minilm-l6-v2', chunk_tokens => 5)")
    db.execute("CALL pgembed.refresh('doc', batch_size => 3)")
    parts = db.execute("SELECT count(*), count(DISTINCT embedding::text) FROM doc_embedding_chunk").fetchone()
    assert parts is not None
    rows, different = parts
    assert rows == 9
    assert different == 4
    assert "3 rows embedded in 9 chunks (6 of them share 1 text, embedded once) in" in said(notices)
    assert counts(db, "doc") == {"fresh": 3}
