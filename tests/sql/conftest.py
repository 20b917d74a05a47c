"""Fixtures of the tests of the SQL surface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from doctored import found
from fake_endpoint import FakeEndpoint
from psycopg.types.json import Jsonb
from spied import SPIES, Calls
from support import Connect, Connection


@pytest.fixture
def product(db: Connection) -> Connection:
    """Three products with an embedded column that is not refreshed yet, nor embedded by anything else."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text, description text, price numeric);
        INSERT INTO product VALUES (1, 'jacket', 'keeps rain out', 80), (2, 'stove', 'burns gas', 40), (3, 'tent', 'sleeps two', 200);
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', $$ name || ': ' || description $$, sync => 'manual')")
    return db


@pytest.fixture
def fresh(product: Connection) -> Connection:
    """The same, refreshed."""
    product.execute("CALL pgembed.refresh('product')")
    return product


@pytest.fixture
def given(db: Connection) -> Connection:
    """Two rows with vectors that somebody has made."""
    db.execute("CREATE TABLE given (id int PRIMARY KEY, name text, e vector(384), h halfvec(384), x vector(3), n int)")
    db.execute("INSERT INTO given VALUES (1, 'tent'), (2, 'stove')")
    db.execute("UPDATE given SET e = pgembed.embed(name), h = pgembed.embed(name), x = ARRAY[id, 1, 1]")
    return db


@pytest.fixture
def unread(db: Connection) -> Connection:
    """Six documents, two without text, with a column over chunks of ten tokens that is not refreshed yet."""
    db.execute(
        """
        CREATE TABLE doc (id int PRIMARY KEY, title text, body text);
        INSERT INTO doc VALUES
            (1, 'music', E'A violin has four strings.\\n\\nA trumpet is made of brass.\\n\\nDrums are hit with sticks.'),
            (2, 'geology', 'A volcano throws out lava. Granite is a hard rock.'),
            (3, 'law', 'A contract binds two parties.'),
            (4, 'nothing', NULL), (5, 'blank', E' \\n'),
            (6, 'mixed', 'A guitar has six strings. Rivers carry sand to the sea. The court sat on Monday.');
        """
    )
    db.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 10, sync => 'manual')")
    return db


@pytest.fixture
def doc(unread: Connection) -> Connection:
    """The same, refreshed."""
    unread.execute("CALL pgembed.refresh('doc')")
    return unread


@pytest.fixture
def dots(db: Connection) -> Connection:
    """Two hundred rows with vectors of eight dimensions, and three codecs: dot_sign of bits, dot_int8 of bytes, dot_pca of halfvec."""
    db.execute(
        """
        CREATE TABLE dot (id int PRIMARY KEY, place int, e vector(8));
        INSERT INTO dot SELECT n, n % 7, ARRAY(SELECT sin(n * d * d)::float4 FROM generate_series(1, 8) AS d)::vector
        FROM generate_series(1, 200) AS n;
        SELECT pgembed.adopt_embedding('dot', 'e');
        SELECT pgembed.train_codec('dot_sign', 'dot', 'sign', measure => false);
        SELECT pgembed.train_codec('dot_int8', 'dot', 'int8', measure => false);
        SELECT pgembed.train_codec('dot_pca', 'dot', 'pca', dims => 4, measure => false);
        """
    )
    return db


@pytest.fixture
def sound(db: Connection) -> Connection:
    """Three rows, embedded, of which nothing is to be said."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text, price int);
        INSERT INTO product VALUES (1, 'jacket', 80), (2, 'stove', 40), (3, 'tent', 200);
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'name', sync => 'manual')")
    db.execute("CALL pgembed.refresh('product')")
    assert found(db) == []
    return db


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    """An endpoint that keeps what it was asked."""
    with FakeEndpoint() as server:
        yield server


@pytest.fixture
def far(db: Connection, fake: FakeEndpoint) -> Connection:
    """The model `far`, which never tries again by itself, and 12 products of as many names, none embedded yet."""
    options = Jsonb({"retries": 0})
    db.execute("SELECT pgembed.register_model('far', %s, remote_model => 'the-model', options => %s)", [fake.url, options])
    fake.requests.clear()
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text);
        INSERT INTO product SELECT n, 'name ' || n FROM generate_series(1, 12) AS n;
        SELECT pgembed.add_embedding('product', 'name', 'far', sync => 'queued');
        """
    )
    return db


@pytest.fixture
def calls(db: Connection, connect: Connect) -> Calls:
    """What was called since it was last asked; a worker sleeps."""
    db.execute(SPIES)
    # as _begin_sleep() does; the session of the test before may not be gone yet
    connect(db).execute("SELECT pg_advisory_lock(1885824365, 2002873189)")

    def read() -> list[str]:
        rows = db.execute("SELECT what FROM called ORDER BY n").fetchall()
        db.execute("DELETE FROM called")
        return [row[0] for row in rows]

    return read
