"""Fewer dimensions: codes against plain computations, and what each way of choosing dimensions promises."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from pgembed import codecs, errors
from pgembed.codecs import mpad, prefix
from pgembed.codecs.contract import Space

METRICS = ["cosine", "l2", "inner_product"]
METHODS = ["matryoshka", "pca", "leanvec", "mpad"]
DIM = 24


def rows_of(n: int, seed: int = 0, unit: bool = True, dim: int = DIM) -> Any:
    """Rows away from zero whose dimensions fall in spread, in no order."""
    rng = np.random.default_rng(seed)
    spread = np.random.default_rng(77).permutation(np.geomspace(1, 0.05, dim))
    rows = rng.standard_normal((n, dim)) * spread + 0.1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows * 5).astype(np.float32)


def trained(method: str, metric: str = "cosine", dims: int | None = 8, queries: Any = None, unit: bool = True) -> Any:
    asked = rows_of(60, seed=3, unit=unit) if method == "leanvec" and queries is None else queries
    return codecs.train(method, rows_of(500, seed=1, unit=unit), Space(DIM, metric), {"dims": dims}, asked)


@cache
def kept(method: str, metric: str) -> Any:
    """One codec of each kind, for tests that only read it."""
    return trained(method, metric)


def matrix_of(codec: Any) -> Any:
    return codec.arrays.get("matrix", np.eye(DIM, dtype=np.float32)[: codec.shape.length]).astype(np.float64)


def exact(metric: str, queries: Any, rows: Any) -> Any:
    q, x = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(q[:, None] - x[None], axis=2)
    if metric == "inner_product":
        return -(q @ x.T)
    return 1 - (q @ x.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1)


def found(codec: Any, queries: Any, rows: Any, candidates: int = 20) -> float:
    """The share of the 10 nearest rows that are among candidates by codes."""
    best = np.argsort(codec.distances(queries, codec.encode(rows)), axis=1)[:, :candidates]
    nearest = np.argsort(exact(codec.space.metric, queries, rows), axis=1)[:, :10]
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(nearest, best, strict=True)]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", METHODS)
def test_a_code_is_a_prefix_in_a_basis_as_float16(method: str, metric: str) -> None:
    codec, rows = kept(method, metric), rows_of(50)
    codes = codec.encode(rows)
    short = rows.astype(np.float64) @ matrix_of(codec).T
    if metric == "cosine":
        short /= np.linalg.norm(short, axis=1, keepdims=True)
    assert (codec.shape.kind, codec.shape.length, codec.shape.bytes) == ("halfvec", 8, 16)
    assert (codes.shape, codes.dtype) == ((50, 8), np.float16)
    assert np.abs(codes - short).max() <= 2**-11 * max(1.0, np.abs(short).max())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", METHODS)
def test_distances_are_those_of_the_prefixes(method: str, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "_PAGE_BYTES", 4 * 8 * 16)  # several pages, the last one not full
    codec, rows, queries = kept(method, metric), rows_of(50), rows_of(7, seed=2, unit=False)
    codes, matrix = codec.encode(rows), matrix_of(codec)
    short, asked = rows @ matrix.T, queries @ matrix.T
    expected = exact(metric, asked, short)
    if metric == "l2":  # what is left out is as long as it was in the sample, and lies across the query's
        rest = float(codec.arrays["rest"][0])
        expected = np.sqrt(expected**2 + rest + (queries.astype(np.float64) ** 2).sum(1)[:, None] - (asked**2).sum(1)[:, None])
    tolerance = 2**-10 * max(1.0, float(np.abs(asked).sum(axis=1).max() if metric != "cosine" else 1))
    got = codec.distances(queries, codes)
    assert np.abs(got - expected).max() < tolerance
    np.testing.assert_allclose(np.stack([codec.scorer(query)(codes) for query in queries]), got, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_of_all_dimensions_distances_are_exact(metric: str) -> None:
    codec, rows, queries = trained("pca", metric, dims=DIM), rows_of(80), rows_of(9, seed=2)
    assert float(codec.arrays["rest"][0]) < 1e-6
    # a number of at most 1 is rounded by at most 2**-12; a sum of 24 with a query of length 1 by at most the root of 24 of that
    assert np.abs(codec.distances(queries, codec.encode(rows)) - exact(metric, queries, rows)).max() < (
        0.05 if metric == "l2" else 24**0.5 / 2**12
    )


@pytest.mark.parametrize("metric", METRICS)
def test_more_dimensions_are_nearer(metric: str) -> None:
    rows, queries = rows_of(400), rows_of(40, seed=2)
    shares = [found(trained("pca", metric, dims=dims), queries, rows) for dims in (2, 6, 12, DIM)]
    assert shares == sorted(shares)
    assert shares[0] < 0.8
    assert shares[-1] > 0.999


def test_distances_of_l2_are_right_on_average() -> None:
    codec, rows, queries = trained("pca", "l2", dims=6), rows_of(400), rows_of(40, seed=2)
    got, real = codec.distances(queries, codec.encode(rows)) ** 2, exact("l2", queries, rows) ** 2
    assert abs(got.mean() - real.mean()) < 0.3 * float(codec.arrays["rest"][0])


def test_pca_keeps_the_most_squared_length() -> None:
    sample = rows_of(500, seed=1).astype(np.float64)
    kept = ((sample @ matrix_of(trained("pca")).T) ** 2).sum()
    values = np.linalg.svd(sample, compute_uv=False)
    assert kept == pytest.approx((values[:8] ** 2).sum(), rel=1e-5)
    assert kept > 1.1 * ((sample[:, :8]) ** 2).sum()


def test_a_third_of_the_dimensions_unless_said() -> None:
    assert trained("matryoshka", dims=None).shape.length == 8
    assert codecs.train("pca", rows_of(9, dim=2), Space(2, "l2"), {}).shape.length == 1


@pytest.mark.parametrize("dims", [0, DIM + 1, 2.5, True])
@pytest.mark.parametrize("method", METHODS)
def test_dims_out_of_range(method: str, dims: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"dims must be from 1 to {DIM}, not {dims}"):
        trained(method, dims=dims)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", METHODS)
def test_a_vector_has_one_code_and_a_codec_is_kept_as_bytes(method: str, metric: str) -> None:
    codec, rows = kept(method, metric), rows_of(64)
    again = codecs.load(codec.packed)
    assert (again.fingerprint, again.shape) == (trained(method, metric).fingerprint, codec.shape)
    np.testing.assert_array_equal(again.encode(rows), np.concatenate([codec.encode(row[None]) for row in rows]))


def test_a_projected_vector_has_one_code() -> None:
    """At a size where a product in float32 differs between one row and many."""
    rows = rows_of(600, dim=384)
    codec = codecs.train("pca", rows, Space(384, "cosine"), {"dims": 128})
    np.testing.assert_array_equal(codec.encode(rows), np.concatenate([codec.encode(row[None]) for row in rows]))


@pytest.mark.parametrize("method", METHODS)
def test_what_halfvec_cannot_hold(method: str) -> None:
    rows = np.full((1, DIM), 1e6, dtype=np.float32)
    with pytest.raises(errors.LimitExceeded, match="out of range for type halfvec") as raised:
        trained(method, "inner_product").encode(rows)
    assert raised.value.hint
    assert np.isfinite(trained(method, "cosine").encode(rows)).all()


def test_every_number_of_halfvec() -> None:
    halves = np.arange(1 << 16).astype(np.uint16).view(np.float16).reshape(-1, 64)
    halves = np.where(np.isfinite(halves), halves, np.float16(-0.0))
    np.testing.assert_array_equal(prefix._floats(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32))
    np.testing.assert_array_equal(prefix._floats(halves[::2, 5:9]), halves[::2, 5:9].astype(np.float32))


def test_a_zero_vector_has_a_zero_code() -> None:
    zero = np.zeros((1, DIM), dtype=np.float32)
    codec = trained("pca")
    assert not codec.encode(zero).any()
    assert codec.distances(zero, codec.encode(rows_of(3))).tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(errors.InvalidParameter, match="no "):
        codecs.train("pca", zero, Space(DIM, "cosine"), {})


def elsewhere(n: int, seed: int) -> Any:
    """Queries that ask for what documents vary least in."""
    rng = np.random.default_rng(seed)
    quiet = np.argsort(rows_of(500, seed=1, unit=False).std(axis=0))[:6]
    made = rng.standard_normal((n, DIM)) * 0.05
    made[:, quiet] += rng.standard_normal((n, 6))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_leanvec_follows_queries_that_ask_for_something_else(metric: str) -> None:
    rows, queries = rows_of(400), elsewhere(50, seed=5)
    lean, plain = trained("leanvec", metric, queries=elsewhere(100, seed=4)), trained("pca", metric)
    assert float(lean.arrays["beta"][0]) > 0
    assert found(lean, queries, rows) > found(plain, queries, rows) + 0.1


def test_leanvec_is_pca_where_queries_gain_nothing() -> None:
    lean = trained("leanvec", queries=rows_of(40, seed=6))
    assert float(lean.arrays["beta"][0]) == 0
    rows = rows_of(50)
    # the same space: eigenvectors may differ in sign
    assert np.abs(lean.distances(rows, lean.encode(rows)) - trained("pca").distances(rows, trained("pca").encode(rows))).max() < 2e-3


def test_leanvec_does_not_learn_its_queries_by_heart() -> None:
    """Where no dimension is better than another, a mix would only find the very queries that it was made of."""

    def even(n: int, seed: int) -> Any:
        made = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    for seed in range(6, 11):
        lean = codecs.train("leanvec", even(500, 1), Space(DIM, "cosine"), {"dims": 6}, even(16, seed))
        assert float(lean.arrays["beta"][0]) == 0


@pytest.mark.parametrize("queries", [None, np.ones((1, DIM), dtype=np.float32)])
def test_leanvec_without_queries(queries: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match="leanvec needs queries") as raised:
        codecs.train("leanvec", rows_of(50), Space(DIM, "cosine"), {}, queries)
    assert "pca" in str(raised.value.hint)


def clustered(n: int, seed: int, unit: bool = True) -> Any:
    """Rows in clusters that a few quiet dimensions tell apart, while loud ones say nothing."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).standard_normal((60, DIM)) * 0.6
    centres[:, :8] = 0
    rows = centres[rng.integers(0, 60, n)] + rng.standard_normal((n, DIM)) * np.repeat([0.75, 0.1], [8, DIM - 8])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_mpad_finds_more_neighbours_than_pca(metric: str) -> None:
    sample, rows, queries = (clustered(n, seed, unit=metric == "cosine") for n, seed in ((2000, 1), (2000, 2), (100, 3)))
    space = Space(DIM, metric)
    learned, plain = (codecs.train(method, sample, space, {"dims": 6}) for method in ("mpad", "pca"))
    assert found(learned, queries, rows, 50) > found(plain, queries, rows, 50) + 0.02


def test_mpad_of_few_rows_is_pca() -> None:
    sample, space = rows_of(mpad._FEWEST_ROWS - 1), Space(DIM, "cosine")
    np.testing.assert_array_equal(*(codecs.train(name, sample, space, {"dims": 5}).arrays["matrix"] for name in ("mpad", "pca")))
    same = np.ones((200, DIM), dtype=np.float32)
    assert np.isfinite(codecs.train("mpad", same, space, {"dims": 5}).arrays["matrix"]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_gradient_of_mpad(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against finite differences of the cross entropy, in float64."""
    monkeypatch.setattr(mpad.np, "float32", np.float64)
    rng = np.random.default_rng(0)
    matrix, anchors, others = rng.standard_normal((3, 7)), rng.standard_normal((4, 7)), rng.standard_normal((4, 5, 7))
    wanted = rng.dirichlet(np.ones(5), 4)

    def loss(at: Any) -> float:
        left, right = anchors @ at.T, others @ at.T
        if metric == "cosine":
            left, right = (one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (left, right))
        similar = -((left[:, None] - right) ** 2).sum(2) if metric == "l2" else np.einsum("nd,nmd->nm", left, right)
        logs = similar / 0.7 - np.log(np.exp(similar / 0.7).sum(axis=1, keepdims=True))
        return float(-(wanted * logs).sum() / 4)

    gradient = mpad._gradient(matrix, anchors, others, wanted, 0.7, metric)
    for at in np.ndindex(3, 7):
        moved = np.zeros((3, 7))
        moved[at] = 1e-6
        assert gradient[at] == pytest.approx((loss(matrix + moved) - loss(matrix - moved)) / 2e-6, abs=1e-7, rel=1e-5)


def test_the_expression_names_every_schema() -> None:
    assert trained("matryoshka", "l2").expression("v", "s") == "(s.subvector(v, 1, 8))::s.halfvec(8)"
    assert trained("matryoshka").expression("v", "s") == "(s.l2_normalize(s.subvector(v, 1, 8)))::s.halfvec(8)"
    assert trained("pca").expression("v", "s") is None


@pytest.mark.parametrize("arrays", [{}, {"matrix": np.zeros((3, DIM), np.float32)}, {"matrix": np.full((8, DIM), np.nan, np.float32)}])
def test_what_is_no_codec(arrays: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameter):
        codecs.method("pca").build(Space(DIM, "l2"), {"dims": 8}, {"rest": np.zeros(1, np.float32), **arrays})
