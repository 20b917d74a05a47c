"""recommend_codec: what it recommends is right for queries that it has not seen, through the functions and operators of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

DIM, ROWS = 48, 1500
SERVED = ("hamming", "halfvec")  # what an index can compare


def clusters(count: int, chance: Any) -> Any:
    """Points around 40 centres, long in some directions, as a transformer's are."""
    fixed = np.random.default_rng(1)
    centres, spread = fixed.standard_normal((40, DIM)), np.linspace(1.5, 0.3, DIM)
    made = centres[chance.integers(0, 40, count)] + chance.standard_normal((count, DIM))
    return made * spread + 0.2


def bags_of_words(count: int, chance: Any) -> Any:
    """Means of six word vectors, rare words longer, as a static model's are."""
    words = np.random.default_rng(2).standard_normal((500, DIM)) * np.linspace(0.3, 2, 500)[:, None]
    return words[(500 * chance.random((count, 6)) ** 2).astype(int)].mean(axis=1) + 0.01 * chance.standard_normal((count, DIM))


def gaussian(count: int, chance: Any) -> Any:
    """Nothing to be learned."""
    return chance.standard_normal((count, DIM))


def fill(db: Connection, table: str, vectors: Any, adopt: bool = True) -> None:
    db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, e vector({vectors.shape[1]}))")
    with db.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for at, vector in enumerate(vectors.tolist()):
            copy.write_row((at, str(vector)))
    if adopt:
        db.execute("SELECT pgembed.adopt_embedding(%s, 'e')", [table])


def lines(db: Connection, arguments: str) -> list[dict[str, Any]]:
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(f"SELECT * FROM pgembed.recommend_codec({arguments})").fetchall()  # type: ignore[arg-type]


def recommended(found: list[dict[str, Any]]) -> dict[str, Any]:
    (only,) = [line for line in found if line["is_recommended"]]
    return only


def fresh_recall(db: Connection, table: str, encoder: str, scan: str, asked: Any, most: int) -> float:
    """Mean recall@10 of so many candidates by the codes that PostgreSQL computes, compared by pgvector, then exactly."""
    operator = {"hamming": "<~>", "halfvec": "<=>"}[scan]
    db.execute(f"CREATE TEMP TABLE coded AS SELECT id, e, {encoder}(e) AS code FROM {table}")
    found = []
    for vector in asked.tolist():
        near = f"SELECT id, e FROM coded ORDER BY code {operator} (SELECT {encoder}(%(q)s::vector)) LIMIT {most}"
        exact, by_code = (
            {row[0] for row in db.execute(f"SELECT id FROM {source} AS c ORDER BY e <=> %(q)s::vector LIMIT 10", {"q": str(vector)})}
            for source in ("coded", f"({near})")
        )
        found.append(len(exact & by_code) / 10)
    db.execute("DROP TABLE coded")
    return float(np.mean(found))


@pytest.mark.parametrize("draw", [clusters, bags_of_words, gaussian])
def test_the_recommended_codec_finds_what_was_asked_for_with_other_queries(draw: Callable[[int, Any], Any], db: Connection) -> None:
    chance = np.random.default_rng(7)
    fill(db, "t", draw(ROWS, chance))
    found = lines(db, "'t', min_recall => 0.95")
    best = recommended(found)
    assert best["scan"] in SERVED, "an index can serve it"
    assert best["rescore"] <= 200
    (encoder,) = db.execute(best["statement"]).fetchone() or ("",)
    assert fresh_recall(db, "t", encoder, best["scan"], draw(300, chance), best["rescore"]) >= 0.95
    smaller = [line for line in found if line["bytes"] < best["bytes"] and line["scan"] in SERVED]
    assert all(line["rescore"] is None or line["rescore"] > 200 for line in smaller), "none of fewer bytes would do"
    for line in found:
        curve = [line[name] for name in ("recall", "recall_20", "recall_50", "recall_100", "recall_200")]
        assert curve == sorted(curve)
        assert curve[0] > 0
        assert curve[-1] <= 1
    assert {(line["method"], line["scan"]) for line in found} >= {
        ("sign", "hamming"), ("sign", "masked"), ("sign", "asymmetric"), ("pca", "halfvec"), ("int8", "asymmetric"), ("opq", "asymmetric"),
    }  # fmt: skip


def test_what_is_kept_when_it_is_trained_is_what_was_recommended(db: Connection) -> None:
    fill(db, "t", clusters(1200, np.random.default_rng(7)))
    line = next(line for line in lines(db, "'t'") if line["statement"].endswith("'sign')") and line["scan"] == "hamming")
    db.execute("SELECT pgembed.train_codec('t_sign', 't', 'sign')")
    kept = db.execute(
        "SELECT recall, recall_20, recall_50, recall_100, recall_200, distortion, bytes, queries_drawn, queries, needs_retraining"
        " FROM pgembed.codecs WHERE name = 't_sign'"
    ).fetchone()
    assert kept is not None
    assert kept[:5] == pytest.approx([line[name] for name in ("recall", "recall_20", "recall_50", "recall_100", "recall_200")], abs=1e-4)
    assert kept[5:] == (pytest.approx(line["distortion"], abs=1e-4), DIM // 8, "held out", 300, False)


def test_within_a_number_of_bytes_the_best_is_recommended(db: Connection, notices: Notices) -> None:
    fill(db, "t", clusters(800, np.random.default_rng(7)))
    best = recommended(found := lines(db, "'t', max_bytes => 16"))
    assert best["bytes"] <= 16
    assert best["recall_100"] == pytest.approx(
        max(line["recall_100"] for line in found if line["bytes"] <= 16 and line["scan"] in SERVED), abs=1e-3
    )
    notices.clear()
    assert not any(line["is_recommended"] for line in lines(db, "'t', max_bytes => 1"))
    assert any("no codec has codes of at most 1 bytes" in notice.message and notice.hint for notice in notices)


def test_queries_may_be_given(db: Connection, notices: Notices) -> None:
    chance = np.random.default_rng(7)
    fill(db, "t", clusters(800, chance))
    # far from all rows, where nearness of codes means little
    fill(db, "log", gaussian(700, chance) * 5, adopt=False)
    notices.clear()
    given = lines(db, "'t', queries => 'log', queries_column => 'e'")
    assert any("with 300 given queries" in notice.message for notice in notices)
    assert "leanvec" in {line["method"] for line in given}, "there are other queries to train with"
    assert all("queries => 'public.log', queries_column => 'e'" in line["statement"] for line in given)
    own = {(line["method"], str(line["options"]), line["scan"]): line["recall"] for line in lines(db, "'t'")}
    sign = next(line for line in given if (line["method"], line["scan"]) == ("sign", "hamming"))
    assert sign["recall"] != own["sign", str(sign["options"]), "hamming"]


def test_parts_of_texts_ask_too_and_the_source_has_the_owners_rights(
    db: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole
) -> None:
    owner = make_role("owner")
    db.execute("SELECT pgembed.register_model('small', 'all-minilm-l6-v2', dim => 24)")
    db.execute(f"GRANT CREATE ON SCHEMA public TO {owner}")
    with as_role(db, owner):
        db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
        db.execute("INSERT INTO t SELECT n, 'item number ' || n || ' of a long list of things' FROM generate_series(1, 40) AS n")
        db.execute(
            """CREATE FUNCTION said(name text) RETURNS text LANGUAGE plpgsql STABLE AS
            $$ BEGIN RAISE NOTICE 'source runs as %', current_user; RETURN name; END $$"""
        )
        db.execute("SELECT pgembed.add_embedding('t', 'said(name)', model => 'small')")
        db.execute("CALL pgembed.refresh('t')")
    notices.clear()
    lines(db, "'t'")
    told = {notice.message for notice in notices if notice.message.startswith("source runs as")}
    assert told == {f"source runs as {owner}"}
    assert any("with 40 rows held out and 40 parts of their texts" in notice.message for notice in notices)
    db.execute("CREATE TABLE asked (words text)")
    db.execute("INSERT INTO asked VALUES ('number seven'), ('a long list'), (NULL), ('')")
    notices.clear()
    lines(db, "'t', queries => 'asked', queries_column => 'words'")
    assert any("with 2 given queries" in notice.message for notice in notices)


def test_who_may_read_the_column_may_ask(db: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    fill(db, "t", clusters(300, np.random.default_rng(7)))
    reader, stranger = make_role("reader"), make_role("stranger")
    db.execute(f"GRANT SELECT ON t TO {reader}")
    with as_role(db, reader):
        assert recommended(lines(db, "'t'"))
    with as_role(db, stranger):
        refused(db, "42501", "SELECT * FROM pgembed.recommend_codec('t')", hint=None)


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("'t', min_recall => 1.5", "22023", "min_recall must be above 0 and below 1, not 1.5"),
        ("'t', max_bytes => 0", "22023", "max_bytes must be at least 1, not 0"),
        ("'t', seed => -1", "22023", "seed must be from 0"),
        ("'t', queries_column => 'e'", "22004", "queries_column needs queries"),
        ("'t', queries => 't', queries_column => 'id'", "42804", "is of type integer, not text"),
        ("'bare'", "42704", "has no embedded column"),
        ("NULL", "22004", "target is NULL"),
    ],
)
def test_errors_say_what_to_do(db: Connection, refused: Refused, arguments: str, sqlstate: str, message: str) -> None:
    fill(db, "t", gaussian(20, np.random.default_rng(7)))
    db.execute("CREATE TABLE bare (id int)")
    refused(db, sqlstate, f"SELECT * FROM pgembed.recommend_codec({arguments})", message=message)


def test_an_empty_column_is_an_error(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, e vector(3))")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    refused(db, "22023", "SELECT * FROM pgembed.recommend_codec('t')", message="t.e has no vectors")
