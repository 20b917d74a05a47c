"""What has to be so after every death, computed by other means than pgembed's.

Of each row the state is read in the same snapshot as its text, so the proof holds at any time, whoever writes meanwhile.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import shifted
from kill.support import Connection
from kill.writers import POISON, Draft, Writer

_NEAR = 1e-5


class Expected:
    """A static model by its definition: the mean of the vectors of a text's words, of length 1.

    Args:
        folder: as `shifted.write` makes it.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        table = load_file(folder / "model.safetensors")["embeddings"].astype(np.float64)
        self._words = {shifted.word(number): table[2 + number] for number in range(len(table) - 2)}
        self._known: dict[str, Any] = {}

    def vector(self, text: str) -> Any:
        if text not in self._known:
            total = np.sum([self._words[word] for word in text.split()], axis=0)
            self._known[text] = total / np.linalg.norm(total)
        return self._known[text]

    def is_of(self, text: str, vector: Sequence[float]) -> bool:
        return bool(np.abs(self.vector(text) - np.asarray(vector, dtype=np.float64)).max() < _NEAR)


def text_of(topic: str | None, body: str | None) -> str | None:
    """The source of a row of ``doc``; of a poisoned one there is none, for it fails."""
    return None if topic is None or body is None else f"{topic} {body}"


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def columns_of(db: Connection, models: dict[str, Expected]) -> dict[str, Expected]:
    """The embedded columns of ``doc``, and what their models make."""
    found = db.execute("SELECT column_name, model FROM pgembed._embedding WHERE table_name = 'doc'::regclass").fetchall()
    return {name: models[model] for name, model in found}


def every_row_is_right_or_says_so(db: Connection, models: dict[str, Expected]) -> Counter[str]:
    """Of every row of both tables: what is called fresh is the embedding of its present text; the rest is marked.

    Returns:
        How many rows of ``doc`` are in which state, all of its embedded columns together.
    """
    counted: Counter[str] = Counter()
    for name, model in columns_of(db, models).items():
        counted += _column_is_right(db, name, model)
    for name, (model, chunks) in side_columns(db).items():
        _side_is_right(db, name, models[model], chunks)
    paused = db.execute("SELECT table_name, column_name, sqlstate, error FROM pgembed._pause").fetchall()
    assert paused == [], "no model fails here, and no source as a whole"
    return counted


def _column_is_right(db: Connection, name: str, model: Expected) -> Counter[str]:
    # what a claim holds that nobody has ended yet is tried again, and its failures are recorded then
    rows = db.execute(
        f"""
        SELECT d.id, d.topic, d.body, d.{name}::real[], d.{name}_hash, pgembed.freshness(d.{name}, d.{name}_hash),
            EXISTS (SELECT FROM pgembed._failure AS f WHERE f.table_name = 'doc'::regclass AND f.column_name = '{name}'
                    AND f.key IN (d.id::text, jsonb_build_array(d.id, d.place)::text) AND f.error <> '')
            OR EXISTS (SELECT FROM pgembed._claim AS c WHERE c.table_name = 'doc'::regclass AND c.column_name = '{name}'
                       AND ARRAY[d.id::text, jsonb_build_array(d.id, d.place)::text] && c.keys)
        FROM doc AS d
        """.encode()
    ).fetchall()
    counted: Counter[str] = Counter()
    for number, topic, body, vector, stored, state, has_reason in rows:
        text, said = text_of(topic, body), f"doc {number}, {topic!r} {body!r}, {name} is {state}, {stored!r}"
        counted[state] += 1
        if state == "fresh":
            assert text is not None, said
            assert topic != POISON, said
            assert stored[-16:] == hash_of(text), f"{said}: of another text"
            assert model.is_of(text, vector), f"{said}: another vector"
        elif state == "null_source":
            assert text is None, said
            assert vector is None, said
        elif state == "failed":
            assert has_reason, f"{said}: without a reason"
        else:
            assert state == ("pending" if vector is None else "stale"), said
    assert len({row[0] for row in rows}) == len(rows), "an id is there twice"
    return counted


def side_columns(db: Connection) -> dict[str, tuple[str, str]]:
    """Model and table of chunks of the embedded columns of ``side``."""
    found = db.execute(
        "SELECT column_name, model, chunk_table::text FROM pgembed._embedding WHERE table_name = 'side'::regclass"
    ).fetchall()
    return {name: (model, chunks) for name, model, chunks in found}


def _side_is_right(db: Connection, name: str, model: Expected, chunks: str) -> None:
    rows = db.execute(
        f"""
        SELECT s.id, s.body, s.{name}_hash, pgembed.freshness(s.{name}_hash), c.made FROM side AS s CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_agg(jsonb_build_array(ordinal, start_char, end_char, content, embedding::real[]) ORDER BY ordinal), '[]')
                AS made FROM {chunks} AS c WHERE c.id = s.id) AS c
        """.encode()
    ).fetchall()
    for number, body, stored, state, made in rows:
        said = f"side {number}, {body!r}, {name} is {state}, {stored!r}, {[one[:4] for one in made]}"
        assert [one[0] for one in made] == list(range(1, len(made) + 1)), f"{said}: chunks are there twice, or missing"
        for _, start, end, content, vector in made:
            assert model.is_of(content, vector), f"{said}: another vector of {content!r}"
            assert state != "fresh" or body[start - 1 : end - 1] == content, f"{said}: chunks of another text"
        if state == "fresh":
            assert stored[-16:] == hash_of(body), f"{said}: of another text"
            assert " ".join(one[3] for one in made).split() == body.split(), f"{said}: not the whole text"
        else:
            assert state in ("pending", "stale"), said
            assert state == "stale" or made == [], said


@contextmanager
def all_still(writers: Sequence[Writer]) -> Iterator[Draft]:
    """No writer is inside of a transaction; what all of them have committed."""
    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer.still())
        whole = Draft()
        for writer in writers:
            whole.doc |= writer.committed.doc
            whole.side |= writer.committed.side
        yield whole


def nothing_is_lost(db: Connection, writers: Sequence[Writer]) -> None:
    """The tables hold what has been committed, and no more: no row is lost or there twice, no statement half done."""
    with all_still(writers) as whole:
        doc = {row[0]: row[1:] for row in db.execute("SELECT id, place, topic, body FROM doc").fetchall()}
        side = dict(db.execute("SELECT id, body FROM side").fetchall())
    assert doc == whole.doc, _difference(doc, whole.doc)
    assert side == whole.side, _difference(side, whole.side)


def _difference(found: dict[int, Any], wanted: dict[int, Any]) -> str:
    return "; ".join(
        f"{number}: {found.get(number)} is there, {wanted.get(number)} was committed"
        for number in sorted(found.keys() | wanted.keys())
        if found.get(number) != wanted.get(number)
    )


def all_is_done(db: Connection, models: dict[str, Expected]) -> None:
    """Nothing is left to do: every row is fresh, has no text, or is poisoned; no claim is left; all counts agree."""
    counted = every_row_is_right_or_says_so(db, models)
    assert counted.keys() <= {"fresh", "null_source", "failed"}, counted
    names = list(columns_of(db, models))
    for name in names:
        failed = f"SELECT coalesce(bool_and(topic = '{POISON}'), true) FROM doc WHERE pgembed.freshness({name}, {name}_hash) = 'failed'"
        assert db.execute(failed.encode()).fetchone() == (True,)
    for name in side_columns(db):
        states = db.execute(f"SELECT DISTINCT pgembed.freshness({name}_hash) FROM side".encode()).fetchall()
        assert states in ([], [("fresh",)])
    left = db.execute("SELECT * FROM pgembed._claim").fetchall()
    assert left == [], left
    seen = db.execute(
        "SELECT sum(fresh)::int, sum(stale)::int, sum(pending)::int, sum(failed)::int, sum(null_source)::int FROM pgembed.embeddings"
        " WHERE table_name = 'doc'::regclass"
    ).fetchone()
    assert seen == tuple(counted[state] for state in ("fresh", "stale", "pending", "failed", "null_source"))
