"""Encoders in SQL against the same codecs in numpy: pgvector's arithmetic must give the same bits. Needs pgvector alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgembed import codecs

if TYPE_CHECKING:
    from psycopg import Connection

    from pgembed.codecs.contract import Codec

np = pytest.importorskip("numpy")

DIM = 20
BITS: list[tuple[str, dict[str, Any]]] = [
    ("sign", {}),
    ("sign", {"centered": True}),
    ("thermometer", {"bits": 1}),
    ("thermometer", {"bits": 2}),
    ("thermometer", {"bits": 5}),
    ("recurrent", {"bits": 2}),
]


def drawn(count: int, seed: int = 0) -> Any:
    made: Any = np.random.default_rng(seed).standard_normal((count, DIM)) + np.linspace(-2, 2, DIM)
    return made.astype(np.float32)


def awkward(codec: Codec) -> Any:
    """Zeros, the least and the greatest numbers, numbers on thresholds and beside them."""
    edges = [array for name, array in codec.arrays.items() if name in ("thresholds", "weights", "centre")]
    on = np.concatenate([np.zeros((1, DIM), dtype=np.float32), *(array.reshape(-1, DIM) for array in edges)])
    on = np.concatenate([on, -on])
    beside = [np.nextafter(on, np.float32(side)) for side in (-np.inf, np.inf)]
    scaled = [drawn(5, 9) * np.float32(scale) for scale in (1e-44, 1e-38, 1e-20, 1e20, 1e37)]
    return np.concatenate([on, *beside, *scaled]).astype(np.float32)


def trained(method: str, metric: str = "l2", normalize: bool = False, **options: Any) -> Codec:
    from pgembed.codecs.contract import Space

    return codecs.train(method, drawn(500), Space(DIM, metric, normalize), options)


def encoded(db: Connection[Any], codec: Codec, vectors: Any, sent: str) -> Any:
    """Codes by an encoder as codecs are installed: a SQL-standard body, called where search_path finds nothing."""
    db.execute("CREATE SCHEMA pgv; CREATE EXTENSION vector SCHEMA pgv")
    expression = codec.expression(codec.space.expression("$1", "pgv"), "pgv")
    assert expression is not None
    db.execute("SET search_path = ''")
    kind = "bytea" if codec.shape.kind == "bytes" else "pg_catalog.bit"
    db.execute(f"CREATE FUNCTION public.encoder(pgv.vector) RETURNS {kind} IMMUTABLE STRICT PARALLEL SAFE RETURN {expression}")
    db.execute(f"CREATE TABLE public.item (id int, v pgv.vector({DIM}))")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO public.item VALUES (%s, %s)", [(i, str(v.tolist())) for i, v in enumerate(vectors)])
    found = db.execute(f"SELECT {sent} FROM public.item ORDER BY id").fetchall()
    return np.stack([np.frombuffer(code, dtype=np.uint8) for (code,) in found])


@pytest.mark.parametrize(("method", "options"), BITS)
def test_an_encoder_in_sql_gives_the_bits_of_numpy(empty_db: Connection[Any], method: str, options: dict[str, Any]) -> None:
    codec = trained(method, **options)
    vectors = np.concatenate([drawn(300, 3), awkward(codec)])
    found = encoded(empty_db, codec, vectors, "pg_catalog.bit_send(public.encoder(v))")
    assert (found[:, :4] == np.frombuffer(codec.shape.length.to_bytes(4, "big"), dtype=np.uint8)).all()
    assert np.array_equal(found[:, 4:], codec.encode(vectors))


@pytest.mark.parametrize(("method", "options"), [("sign", {"centered": True}), ("thermometer", {})])
def test_an_encoder_in_sql_scales_to_length_1_as_numpy_does(empty_db: Connection[Any], method: str, options: dict[str, Any]) -> None:
    codec = trained(method, "cosine", normalize=True, **options)
    vectors = np.concatenate([drawn(300, 3), 1e-20 * drawn(20, 4), np.zeros((1, DIM))]).astype(np.float32)
    found = encoded(empty_db, codec, vectors, "pg_catalog.bit_send(public.encoder(v))")
    assert np.array_equal(found[:, 4:], codec.encode(vectors))


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_rabitq_in_sql_has_the_bits_of_numpy_and_its_factors(empty_db: Connection[Any], metric: str, centered: bool) -> None:
    codec = trained("rabitq", metric, metric == "cosine", rotation="none", centered=centered)
    vectors = np.concatenate([drawn(300, 3), *(drawn(5, 9) * scale for scale in (1e-15, 1e15)), np.zeros((1, DIM))]).astype(np.float32)
    if centered:
        vectors[-2] = codec.arrays["centre"]
    found, expected = encoded(empty_db, codec, vectors, "public.encoder(v)"), codec.encode(vectors)
    assert found.shape == expected.shape
    body = -(-DIM // 8)
    assert np.array_equal(found[:, :body], expected[:, :body])
    ours, theirs = (np.ascontiguousarray(one[:, body:]).view(">f4").astype(float) for one in (expected, found))
    # pgvector adds up L1 distances and inner products in float4
    scale = np.linalg.norm(vectors.astype(float), axis=1, keepdims=True) + 1
    assert (np.abs(ours - theirs) < 2e-6 * np.maximum(scale if metric == "l2" else 1, np.abs(ours))).all()
    near = [codec.distances(drawn(5, 5), code[:300]) for code in (found, expected)]
    assert np.allclose(near[0], near[1], atol=1e-4)
