"""A linker whose context is an embedded column: which vectors it compares, and when they are others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest

from pgembed.linkers import dense, known, registered
from pgembed.psycopgdb import PsycopgDatabase

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
Connect = Callable[[Connection], Connection]

SPACE = "The spacecraft flew past Mercury on its way around the sun."
METAL = "The thermometer contained liquid Mercury, a poisonous metal."
ABOUT = ["the planet nearest to the sun", "a metal, liquid at room temperature", "a maker of outboard engines for boats"]


@pytest.fixture
def things(db: Connection) -> Connection:
    db.execute("CREATE TABLE thing (id int PRIMARY KEY, name text, about text)")
    db.execute("INSERT INTO thing SELECT n, 'Mercury', b FROM unnest(%s::text[]) WITH ORDINALITY AS t (b, n)", [ABOUT])
    db.execute("SELECT pgembed.add_embedding('thing', 'about', sync => 'manual')")
    db.execute("CALL pgembed.refresh('thing', build_index => false)")
    db.execute("SELECT pgembed.create_linker('things', 'thing', names => 'name', context => 'embedding')")
    return db


def meant(db: Connection, content: str) -> int | None:
    rows = db.execute("SELECT (entity).id FROM pgembed.link(NULL::thing, %s) WHERE mention = 'Mercury'", [content]).fetchall()
    return rows[0][0] if rows else None


def adapter(connection: Connection) -> dense.ContextVectors:
    db = PsycopgDatabase(connection)
    line = registered.read(db, "things")
    rows = known.Known(line)
    rows.read(db)
    made = dense.of(db, line, rows)
    assert made is not None
    return made


def test_vectors_are_those_of_the_column(things: Connection) -> None:
    things.execute("INSERT INTO thing VALUES (4, 'Mercury', 'has no vector yet')")
    vectors = adapter(things)
    stored = things.execute("SELECT embedding::real[] FROM thing WHERE id IN (1, 3) ORDER BY id").fetchall()
    found = vectors.vectors([2, 3, 0])
    np.testing.assert_allclose(found[[2, 0]], np.array([row[0] for row in stored], np.float32), atol=1e-6)
    assert not found[1].any()
    assert vectors.vectors([]).shape == (0, found.shape[1])
    asked = vectors.embed(ABOUT[:1])
    assert float(asked[0] @ found[2]) == pytest.approx(1.0, abs=0.02)
    fingerprint = things.execute("SELECT fingerprint FROM pgembed._embedding").fetchone()
    assert (vectors.space,) == fingerprint


def test_the_nearest_rows_are_those_of_a_search(things: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = adapter(things)
    found = vectors.nearest(vectors.embed([SPACE, METAL]), 2)
    for content, rows in zip((SPACE, METAL), found, strict=True):
        best = things.execute("SELECT (item).id FROM pgembed.search(NULL::thing, %s, 2) ORDER BY rank", [content]).fetchall()
        assert [row + 1 for row in rows] == [row[0] for row in best]
    monkeypatch.setattr(dense, "MOST_COMPARED", 2)  # of more rows without an index none
    assert vectors.nearest(vectors.embed([SPACE]), 2) == [[]]


def test_vectors_that_change_are_seen_at_the_next_call(things: Connection) -> None:
    assert (meant(things, SPACE), meant(things, METAL)) == (1, 2)
    things.execute("UPDATE thing SET about = CASE id WHEN 1 THEN %s ELSE %s END WHERE id < 3", [ABOUT[1], ABOUT[0]])
    things.execute("CALL pgembed.refresh('thing', build_index => false)")
    assert (meant(things, SPACE), meant(things, METAL)) == (2, 1)
    things.execute("INSERT INTO thing VALUES (5, 'Mercury', 'a Roman god, the messenger of the gods')")
    things.execute("CALL pgembed.refresh('thing', build_index => false)")
    assert meant(things, "Jupiter sent Mercury, the messenger of the Roman gods.") == 5
    assert meant(things, SPACE) == 2


def test_explain_names_the_context(things: Connection) -> None:
    told = things.execute("SELECT entity_key, evidence FROM pgembed.explain_link('things', %s, k => 1)", [SPACE]).fetchall()
    assert [row[0] for row in told] == ["1"]
    assert any("fits what is said of Mercury" in reason for reason in told[0][1])


def test_a_model_of_other_vectors_is_told_once_and_not_used(things: Connection, notices: list[Any]) -> None:
    before = meant(things, SPACE)
    things.execute("INSERT INTO pgembed._linker_model (linker, revision, model, space) VALUES ('things', 1, 'no model', 'other')")
    things.execute("UPDATE pgembed._linker SET revision = 1")
    for _ in range(2):
        assert meant(things, SPACE) == before
    assert [told.severity for told in notices if "vectors of another model" in told.message] == ["WARNING"]
    assert things.execute("SELECT status FROM pgembed.linkers").fetchone() == ("model of its column changed: train again",)


def test_what_was_learned_with_vectors_is_used_without(things: Connection) -> None:
    things.execute("SELECT pgembed.create_link_labels('label', 'things')")
    things.execute("UPDATE thing SET name = 'Quicksilver' WHERE id = 2")
    labels = "SELECT 'Hydrargyrum ' || n, 1, 12, '2' FROM generate_series(1, 60) AS n"
    things.execute("INSERT INTO label (content, start_char, end_char, entity_key) " + labels)
    things.execute("CALL pgembed.train_linker('things', 'label')")
    linked = "SELECT entity_key FROM pgembed.link_keys('things', 'Hydrargyrum is a metal.') WHERE mention = 'Hydrargyrum'"
    assert things.execute(linked).fetchall() == [("2",)]
    things.execute("SELECT pgembed.alter_linker('things', context => '')")
    assert things.execute(linked).fetchall() == [("2",)]
    assert things.execute("SELECT status FROM pgembed.linkers").fetchone() == ("ready",)
