"""Prefixes in SQL: PostgreSQL computes the same codes as numpy, and orders them alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Connection

from pgembed import codecs, errors
from pgembed.codecs.contract import Space

pytestmark = pytest.mark.one_transaction

METRICS = {"cosine": "<=>", "l2": "<->", "inner_product": "<#>"}
DIM, DIMS = 12, 5


def text_of(vector: Any) -> str:
    """A vector as pgvector reads it, with every bit of its numbers."""
    return "[" + ",".join(repr(float(number)) for number in vector) + "]"


def trained(metric: str, normalize: bool = False) -> Any:
    sample = np.random.default_rng(1).standard_normal((50, DIM)).astype(np.float32)
    return codecs.train("matryoshka", sample, Space(DIM, metric, normalize), {"dims": DIMS})


def expression(db: Connection, codec: Any, vector: str = "v") -> str:
    """The codec's encoder of a column, prepared by the space."""
    (schema,) = db.execute("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'").fetchone()  # type: ignore[misc]
    made: str = codec.expression(codec.space.expression(vector, schema), schema)
    return made


@pytest.fixture
def vectors(db: Connection) -> Any:
    """Rows of a table v(id, v), as numpy has them: of all sizes that halfvec can hold, and such that lie between two of its numbers."""
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((300, DIM)), rng.standard_normal((100, DIM)) * 10.0 ** rng.integers(-9, 4, (100, DIM))]
    halves = rng.integers(0, 0x7BFF, (200, DIM)).astype(np.uint16).view(np.float16).astype(np.float64)
    above = np.nextafter(halves.astype(np.float16), np.float16(np.inf)).astype(np.float64)
    between = (halves + np.where(np.isfinite(above), above, halves)) / 2  # exactly: a tie goes to the even one
    rows += [halves, between, -between, np.nextafter(between.astype(np.float32), np.float32(0)), np.zeros((1, DIM))]
    made = np.concatenate(rows).astype(np.float32)
    db.execute(f"CREATE TABLE v (id int PRIMARY KEY, v vector({DIM}) NOT NULL)")
    with db.cursor().copy("COPY v FROM STDIN") as copy:
        for number, row in enumerate(made):
            copy.write_row((number, text_of(row)))
    return made


def halves_in_sql(db: Connection, statement: str) -> Any:
    """Codes of a statement that gives halfvec, bit by bit as PostgreSQL sends them."""
    rows = db.execute(f"SELECT halfvec_send(code) FROM ({statement}) AS x (code)").fetchall()
    return np.stack([np.frombuffer(row[0], ">f2", offset=4) for row in rows]).astype(np.float16)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_the_expression_makes_the_same_codes(db: Connection, vectors: Any, metric: str, normalize: bool) -> None:
    codec = trained(metric, normalize)
    made = halves_in_sql(db, f"SELECT {expression(db, codec)} FROM v ORDER BY id")
    expected = codec.encode(vectors)
    assert made.shape == expected.shape == (len(vectors), DIMS)
    np.testing.assert_array_equal(made.view(np.uint16), expected.view(np.uint16))


def test_the_expression_needs_no_search_path(db: Connection, vectors: Any) -> None:
    for metric in METRICS:
        encoder = expression(db, trained(metric))
        db.execute("SET search_path = pg_catalog, pg_temp")
        assert db.execute(f"SELECT count({encoder}), min(pg_typeof({encoder})::text) FROM public.v").fetchone() == (
            len(vectors),
            "public.halfvec",
        )
        db.execute("RESET search_path")


@pytest.mark.parametrize("metric", ["l2", "inner_product"])
def test_what_halfvec_cannot_hold(db: Connection, refused: Any, metric: str) -> None:
    codec = trained(metric)
    # 65520 is where rounding to float16 leaves what it can hold
    for number, fits in ((65519.99, True), (65520.0, False), (-1e30, False), (1e30, False)):
        row = np.zeros((1, DIM), dtype=np.float32)
        row[0, DIMS - 1] = number
        vector = f"'{text_of(row[0])}'::vector"
        if fits:
            assert halves_in_sql(db, f"SELECT {expression(db, codec, vector)}").tolist() == codec.encode(row).tolist()
        else:
            refused(db, "22003", f"SELECT {expression(db, codec, vector)}", hint=None)
            with pytest.raises(errors.LimitExceeded):
                codec.encode(row)


def test_a_cosine_code_is_of_any_size_of_vector(db: Connection) -> None:
    codec, row = trained("cosine"), np.full((1, DIM), 1e30, dtype=np.float32)
    vector = f"'{text_of(row[0])}'::vector"
    made = halves_in_sql(db, f"SELECT {expression(db, codec, vector)}")
    assert made.tolist() == codec.encode(row).tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_operators_order_codes_as_distances_do(db: Connection, vectors: Any, metric: str) -> None:
    codec, query = trained(metric), np.random.default_rng(4).standard_normal(DIM).astype(np.float32)
    encoder, code = expression(db, codec), codec.encode(query[None])[0]
    distances = codec.distances(query[None], codec.encode(vectors[:300]))[0]
    for operator in METRICS.values() if metric == "cosine" else [METRICS[metric]]:
        statement = f"SELECT id, {encoder} {operator} %s::halfvec AS d FROM v WHERE id < 300 ORDER BY d"
        rows = db.execute(statement, [text_of(code)]).fetchall()
        ordered = distances[[row[0] for row in rows]]
        # the query's own code is rounded here, and numbers of the two differ by that much
        assert (np.diff(ordered) > -4e-3).all()
        assert ordered[0] < ordered[-1] - 0.5
        if operator == METRICS[metric] != "<->":
            assert np.abs(ordered - [row[1] for row in rows]).max() < 4e-3


@pytest.mark.parametrize("metric", METRICS)
def test_a_column_of_codes_is_indexed(db: Connection, vectors: Any, metric: str) -> None:
    classes = {"cosine": "halfvec_cosine_ops", "l2": "halfvec_l2_ops", "inner_product": "halfvec_ip_ops"}
    db.execute("DELETE FROM v WHERE id >= 300")
    db.execute(f"ALTER TABLE v ADD COLUMN code halfvec({DIMS}) GENERATED ALWAYS AS ({expression(db, trained(metric))}) STORED")
    db.execute(f"CREATE INDEX v_code ON v USING hnsw (code {classes[metric]})")
    db.execute("SET enable_seqscan = off")
    code = trained(metric).encode(vectors[7][None])[0]
    statement = f"SELECT id FROM v ORDER BY code {METRICS[metric]} %s::halfvec LIMIT 1"
    plan = "\n".join(row[0] for row in db.execute("EXPLAIN " + statement, [text_of(code)]).fetchall())
    assert "v_code" in plan
    if metric != "inner_product":
        assert db.execute(statement, [text_of(code)]).fetchone() == (7,)
