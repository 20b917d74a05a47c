"""semantic_join where rows have several vectors, of their chunks: checked against the distances of all pairs of chunks."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
Found = list[tuple[int, int, Any, int]]


def _near(distance: float) -> Any:
    """pgvector sums in float32."""
    return pytest.approx(distance, abs=1e-5)


@pytest.fixture
def asked(doc: Connection) -> Connection:
    """Beside the documents, questions with one vector each and notes with chunks of their own."""
    doc.execute(
        """
        CREATE TABLE question (id int PRIMARY KEY, body text, topic text);
        INSERT INTO question VALUES
            (1, 'Which instruments are made of brass?', 'music'), (2, 'What comes out of a volcano?', 'geology'),
            (3, 'Who is bound by a contract?', 'law'), (4, 'How many strings has a guitar?', 'mixed'), (5, NULL, 'law');
        SELECT pgembed.add_embedding('question', 'body', sync => 'manual');
        CALL pgembed.refresh('question');
        CREATE TABLE note (id int PRIMARY KEY, body text, topic text);
        INSERT INTO note VALUES
            (1, E'The judge came late on Monday.\\n\\nViolins were played all night.', 'music'),
            (2, 'Rocks are hard and lava is hot.', 'geology'),
            (3, E'A river brings sand.\\n\\nThe parties signed it.\\n\\nDrums and sticks.', 'law'), (4, NULL, 'law');
        SELECT pgembed.add_embedding('note', 'body', column_name => 'part', chunk_tokens => 10, sync => 'manual');
        CALL pgembed.refresh('note');
        """
    )
    return doc


VECTORS = {
    "question": "SELECT id, topic AS said, embedding FROM question WHERE embedding IS NOT NULL",
    "note": "SELECT id, topic AS said, part.embedding FROM note JOIN note_part_chunk AS part USING (id)",
    "doc": "SELECT id, title AS said, part.embedding FROM doc JOIN doc_part_chunk AS part USING (id)",
}


def nearest(db: Connection, left: str, right: str, k: int | None, condition: str = "true") -> Found:
    """All pairs of rows by their nearest pair of chunks, the k nearest of each left row."""
    return [
        (one, other, distance, rank)
        for one, other, distance, rank in db.execute(
            "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY one ORDER BY distance, other) AS rank FROM ("
            " SELECT l.id AS one, r.id AS other, min(l.embedding <=> r.embedding) AS distance"
            f" FROM ({VECTORS[left]}) AS l JOIN ({VECTORS[right]}) AS r ON {condition} GROUP BY l.id, r.id) AS p) AS q"
            f" {'' if k is None else f'WHERE rank <= {k}'} ORDER BY one, rank"
        ).fetchall()
    ]


def joined(db: Connection, left: str, right: str, options: str) -> Found:
    return [
        (one, other, _near(distance), rank)
        for one, other, distance, rank in db.execute(
            "SELECT (left_row).id, (right_row).id, distance, rank"
            f" FROM pgembed.semantic_join(NULL::{left}, NULL::{right}, {options}) ORDER BY 1, rank"
        ).fetchall()
    ]


@pytest.mark.parametrize(("left", "right"), [("question", "doc"), ("doc", "question"), ("note", "doc")])
@pytest.mark.parametrize("k", [1, 2, 3, 50])
def test_rows_are_as_near_as_their_nearest_chunks(asked: Connection, left: str, right: str, k: int) -> None:
    expected = nearest(asked, left, right, k)
    assert joined(asked, left, right, f"k => {k}") == expected
    assert any(rank == min(k, 3) for *_, rank in expected)


def test_all_within_a_distance(asked: Connection) -> None:
    every = nearest(asked, "note", "doc", None)
    distances = sorted(distance for _, _, distance, _ in every)
    line = (distances[6] + distances[7]) / 2
    assert joined(asked, "note", "doc", f"k => NULL, max_distance => {line}") == [one for one in every if one[2] <= line]


def test_k_are_found_where_one_rows_chunks_fill_the_top(asked: Connection) -> None:
    asked.execute(
        """
        INSERT INTO doc_part_chunk (id, ordinal, start_char, end_char, content, embedding)
        SELECT 1, 100 + n, 1, 2, 'x', c.embedding FROM doc_part_chunk AS c, generate_series(1, 60) AS n WHERE c.id = 1 AND c.ordinal = 2
        """
    )
    found = joined(asked, "question", "doc", "k => 3")
    assert found == nearest(asked, "question", "doc", 3)
    assert next(other for one, other, *_ in found if one == 1) == 1


def test_a_table_with_itself_has_no_row_as_its_own_neighbour(asked: Connection) -> None:
    assert joined(asked, "doc", "doc", "k => 2") == nearest(asked, "doc", "doc", 2, "l.id <> r.id")


@pytest.mark.parametrize(
    ("condition", "means"),
    [
        ("l.topic = r.title", "l.said = r.said"),
        ("l.topic <> r.title", "l.said <> r.said"),
        ("r.title <> 'music' AND l.id < 4", "r.said <> 'music' AND l.id < 4"),
        ("length(l.topic) + r.id > 6", "length(l.said) + r.id > 6"),
    ],
)
def test_a_condition_speaks_of_rows(asked: Connection, condition: str, means: str) -> None:
    expected = nearest(asked, "note", "doc", 2, means)
    assert expected
    assert joined(asked, "note", "doc", f"k => 2, condition => $c$ {condition} $c$") == expected


def test_mutual_pairs_are_among_the_nearest_of_both(asked: Connection) -> None:
    there = {(one, other) for one, other, *_ in nearest(asked, "note", "doc", 1)}
    back = {(other, one) for one, other, *_ in nearest(asked, "doc", "note", 1)}
    assert {(one, other) for one, other, *_ in joined(asked, "note", "doc", "mapping => 'mutual'")} == there & back != set()


def test_one_to_one_uses_every_row_once(asked: Connection) -> None:
    pairs, expected = nearest(asked, "note", "doc", None), set()
    for one, other, *_ in sorted(pairs, key=lambda pair: pair[2]):
        if all(one != taken and other != used for taken, used in expected):
            expected.add((one, other))
    found = joined(asked, "note", "doc", "mapping => 'one_to_one', max_distance => 2")
    assert {(one, other) for one, other, *_ in found} == expected
    assert len(expected) == 3


def test_rows_without_chunks_stay_in_a_left_join(asked: Connection) -> None:
    found = asked.execute(
        "SELECT (left_row).id, (right_row).id FROM pgembed.semantic_join(NULL::doc, NULL::note, join_type => 'left') ORDER BY 1"
    ).fetchall()
    assert [one for one, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [one for one, other in found if other is None] == [4, 5]
    assert asked.execute("SELECT left_key FROM pgembed.semantic_join_keys('doc', 'note', join_type => 'anti') ORDER BY 1").fetchall() == [
        ("4",),
        ("5",),
    ]


def test_the_form_with_keys(asked: Connection) -> None:
    found = asked.execute("SELECT left_key, right_key, distance, rank FROM pgembed.semantic_join_keys('note', 'doc', k => 2) ORDER BY 1, 4")
    rounded = [(int(one), int(other), _near(distance), rank) for one, other, distance, rank in found.fetchall()]
    assert rounded == nearest(asked, "note", "doc", 2)


def test_texts_are_compared_with_chunks(asked: Connection) -> None:
    found = asked.execute(
        "SELECT left_key, right_key FROM pgembed.semantic_join_keys('question', 'doc', left_column => 'topic') ORDER BY 1"
    ).fetchall()
    assert ("3", "3") in found
    assert len(found) == 5


def test_too_many_chunks_are_refused_before_any_is_read(asked: Connection) -> None:
    asked.execute("UPDATE pg_class SET reltuples = 1e7, relpages = 1e6 WHERE oid = 'doc_part_chunk'::regclass")
    with pytest.raises(psycopg.Error) as caught:
        joined(asked, "question", "doc", "k => 1")
    assert caught.value.sqlstate == "54000"
    assert "pgembed.join_mem" in str(caught.value.diag.message_hint)


def test_explain_tells_that_chunks_are_compared(asked: Connection) -> None:
    told = dict(asked.execute("SELECT * FROM pgembed.explain_join(NULL::question, NULL::doc)").fetchall())
    assert told["strategy"] == "product of all chunks, folded to the rows that they are of"
    assert told["left rows"] == "4"
    assert told["right rows"] == "4"


@pytest.mark.parametrize("options", ["candidates => 'hybrid'", "not_equal => true"])
def test_what_needs_one_vector_a_row_is_refused(asked: Connection, options: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        joined(asked, "question", "doc", options)
    assert caught.value.sqlstate == "0A000"
    assert "chunk" in str(caught.value.diag.message_hint)


def test_chunks_that_a_policy_hides_are_not_compared(asked: Connection) -> None:
    asked.execute(
        "CREATE ROLE reader; GRANT SELECT ON doc, question, doc_part_chunk TO reader; GRANT USAGE ON SCHEMA pgembed TO reader;"
        " ALTER TABLE doc ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON doc FOR SELECT TO reader USING (id > 1); SET ROLE reader"
    )
    found = joined(asked, "question", "doc", "k => 10")
    asked.execute("RESET ROLE; DROP OWNED BY reader; DROP ROLE reader")
    assert found == nearest(asked, "question", "doc", 10, "r.id > 1")


def test_labels_of_rows_over_chunks(asked: Connection) -> None:
    asked.execute("SELECT pgembed.create_labels('told', 'note', 'doc')")
    asked.execute("INSERT INTO told SELECT n.id::text, d.id::text, n.topic = d.title FROM note AS n, doc AS d WHERE n.id < 4 AND d.id < 4")
    found = asked.execute(
        "SELECT left_key, probability, is_match FROM pgembed.semantic_join_keys('note', 'doc', labels => 'told') ORDER BY 1"
    ).fetchall()
    assert [left for left, *_ in found] == ["1", "2", "3"]
    assert all(probability is not None and is_match is not None for _, probability, is_match in found)
