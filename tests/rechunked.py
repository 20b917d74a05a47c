"""A table of rows with two chunks each, whose model is changed: what the tests of that share.

Each row has words that no other row has; by the model ``new`` a word is what its neighbour, another row's, is by ``old`` (see `shifted`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import shifted
from support import Connection

ROWS = 20
ASKED = 5
WORD = shifted.word(ASKED)
RIGHT = [(ASKED, f"{WORD} {WORD}")]


def text(first: int, second: int | None = None) -> str:
    """A text of two chunks."""
    one, two = shifted.word(first), shifted.word(first + ROWS if second is None else second)
    return f"{one} {one}\n\n{two} {two}"


@contextmanager
def emptied(server_url: str, database: str) -> Iterator[Connection]:
    """A session in a database for several tests, which are without a trace when it ends."""
    with closing(psycopg.connect(server_url, dbname=database, autocommit=True)) as connection:
        yield connection
        connection.execute("ROLLBACK")
        connection.execute("RESET SESSION AUTHORIZATION")
        connection.execute("DROP VIEW IF EXISTS seen; DROP TABLE IF EXISTS t CASCADE; DROP FUNCTION IF EXISTS asked()")
        assert connection.execute("SELECT to_regclass('t_part_chunk'), to_regclass('t_part_next_chunk')").fetchall() == [(None, None)]
        assert connection.execute("SELECT FROM pgembed._embedding UNION ALL SELECT FROM pgembed._model_change").fetchall() == []


def make(db: Connection) -> None:
    """The table, embedded by the model old."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text, kind text DEFAULT 'open')")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(number, text(number)) for number in range(ROWS)])
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'old', 'part', chunk_tokens => 2)")
    db.execute("CALL pgembed.refresh('t')")


def one(db: Connection, statement: str, values: object = None) -> Any:
    row = db.execute(statement, values).fetchone()
    assert row is not None
    return row[0]


def is_of(db: Connection, chunks: str, model: str) -> bool:
    """Whether a table of chunks has two of each row, of its present text and of one model."""
    whole = f"bool_and((embedding <=> pgembed.embed(content, '{model}', 'document')) < 1e-6 AND position(content IN body) > 0)"
    return bool(one(db, f"SELECT {whole} AND count(*) = 2 * (SELECT count(*) FROM t) FROM {chunks} JOIN t USING (id)"))


def found(db: Connection, word: str = WORD, more: str = "") -> list[tuple[int, str]]:
    rows = db.execute(f"SELECT (item).id, chunk FROM pgembed.search(NULL::t, %s, k => 1{more})", [word]).fetchall()
    return [(row[0], row[1]) for row in rows]
