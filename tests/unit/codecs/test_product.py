"""Product quantisation, against nearest centroids and distances computed one by one in float64."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pgembed import codecs, errors
from pgembed.codecs import product
from pgembed.codecs.contract import Space
from pgembed.codecs.product import Opq, Pq

Matrix = npt.NDArray[np.float32]
METRICS = ("cosine", "l2", "inner_product")
METHODS = ("pq", "opq")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_ROUNDS", 5)
    monkeypatch.setattr(product, "_ROTATIONS", 4)


def vectors(n: int, dim: int, seed: int = 1, length: float | None = 1) -> Matrix:
    """Gaussian vectors whose directions differ in variance and are no axes, as an embedding's."""
    rng = np.random.default_rng(seed)
    spread = 0.9 ** np.arange(dim)
    basis = np.linalg.qr(np.random.default_rng(99).normal(size=(dim, dim)))[0]
    made = (rng.normal(size=(n, dim)) * spread) @ basis + 0.1
    if length is not None:
        made *= length / np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made, dtype=np.float32)


def trained(
    method: str, sample: Matrix, metric: str = "cosine", options: Mapping[str, Any] | None = None, seed: int = 1, normalize: bool = False
) -> Pq:
    made = codecs.train(method, sample, Space(sample.shape[1], metric, normalize), options or {}, seed=seed)
    assert isinstance(made, Pq)
    return made


def widths(dim: int, number: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(dim), number)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dim", "number"), [(30, 4), (16, 16), (16, 1), (1, 1)])
def test_a_byte_is_the_number_of_the_nearest_of_256_points(method: str, dim: int, number: int) -> None:
    rows = vectors(700, dim, length=None)
    codec = trained(method, rows, "l2", {"bytes": number})
    fresh = vectors(200, dim, 2, length=None)
    codes = codec.encode(fresh)
    assert codes.shape == (200, number)
    assert codes.dtype == np.uint8
    every = codec.points(np.repeat(np.arange(256, dtype=np.uint8)[:, None], number, axis=1)).astype(np.float64)
    rotated = codec._project(fresh).astype(np.float64)
    bounds = np.cumsum([0, *widths(dim, number)])
    for byte, (first, end) in enumerate(pairwise(bounds)):
        distances = np.sqrt(((rotated[:, None, first:end] - every[None, :, first:end]) ** 2).sum(-1))
        chosen = distances[np.arange(200), codes[:, byte]]
        # a vector is rounded to units of the centroids: each dimension is half a unit off, at most
        slack = 1.1 * np.ldexp(np.sqrt(end - first), int(codec.arrays["exponents"][byte]))
        if method == "opq":  # so are a vector before it is rotated, and the rotation, to 2**-11 of a length
            slack = slack + np.sqrt((end - first) * dim) * 2.0**-10 * np.linalg.norm(rotated, axis=1)
        assert (chosen <= distances.min(axis=1) + slack).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", METRICS)
def test_codes_are_the_same_alone_and_in_any_batch(method: str, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_BLOCK_BYTES", 4 * 256 * 7 * 64)  # 64 vectors at a time
    codec = trained(method, vectors(500, 40, length=None), metric, {"bytes": 7}, normalize=metric == "cosine")
    usual = vectors(150, 40, 2, length=None)
    middles = codec.arrays["mean"][None] + np.zeros((3, 40), dtype=np.float32)
    rows = np.concatenate([usual, usual * 1e6, usual * 1e-6, np.zeros((3, 40), dtype=np.float32), middles]).astype(np.float32)
    whole = codec.encode(rows)
    alone = np.concatenate([codec.encode(row[None]) for row in rows])
    assert np.array_equal(whole, alone)
    for size in (2, 3, 64, 65):
        assert np.array_equal(whole, np.concatenate([codec.encode(rows[i : i + size]) for i in range(0, len(rows), size)]))
    assert np.array_equal(whole[::-1], codec.encode(rows[::-1]))


@pytest.mark.parametrize("dim", [40, 1000])
def test_sums_are_of_whole_numbers_that_float32_keeps(dim: int) -> None:
    # a rotation and centroids as long as they get, so that the largest sums occur
    rng = np.random.default_rng(4)
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    kept = np.rint(np.ldexp(rotation, 14)).astype(np.int16)
    centroids = np.zeros((256, dim), dtype=np.int16)
    centroids[:, 0], centroids[0, 0] = rng.integers(-1024, 1025, 256), 1024
    arrays = {
        "mean": np.zeros(dim, dtype=np.float32),
        "centroids": centroids,
        "exponents": np.array([-12], dtype=np.int16),
        "rotation": kept,
    }
    codec = Opq.build(Space(dim, "l2"), {"bytes": 1}, arrays)
    rows = np.concatenate([rotation.T[:20], rng.normal(size=(20, dim)), np.ones((1, dim))]).astype(np.float32)
    got = codec._whole_parts(rows)
    assert np.array_equal(got, np.rint(got))
    columns = codec._whole_rotation
    assert columns is not None
    assert np.linalg.norm(columns, axis=0).max() * (2**12 + np.sqrt(dim) / 2) <= 2**24
    lengths = np.linalg.norm(codec._table[:, :-1].astype(np.float64), axis=1)  # of twice the centroids
    most = codec._parts.most * np.sqrt(codec._parts.width)
    assert (lengths * most + codec._table[:, -1]).max() <= 2**24
    assert np.abs(got).max() <= codec._parts.most


def test_a_rotated_vector_is_what_integers_give() -> None:
    codec = trained("opq", vectors(400, 96, length=None), "l2", {"bytes": 12})
    rows = np.concatenate([vectors(200, 96, 2, length=None), vectors(200, 96, 3, length=1e-3)])
    around = (rows - codec.arrays["mean"]).astype(np.float64)
    columns = np.rint(codec.arrays["rotation"].astype(np.float64) / 8).astype(np.int64)  # of 2**14 to 2**11
    expected = np.empty_like(rows)
    for i, row in enumerate(around):
        unit = 2.0 ** (np.frexp(np.abs(row).max())[1] - 12)
        numbers = np.rint(row / unit)
        while (numbers**2).sum() >= 2**24:
            numbers, unit = numbers / 2, unit * 2
        rotated = np.rint(numbers).astype(np.int64) @ columns
        units = np.repeat(2.0 ** codec.arrays["exponents"].astype(np.float64), 8)
        expected[i] = np.clip(np.rint(rotated * (unit / 2**11) / units), -codec._parts.most, codec._parts.most)
    assert np.array_equal(codec._whole_parts(rows), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("number", [6, 7])
def test_distances_are_those_to_the_points(method: str, metric: str, number: int) -> None:
    rows = vectors(600, 48, length=1 if metric == "cosine" else None)
    codec = trained(method, rows, metric, {"bytes": number})
    codes = codec.encode(rows)
    queries = vectors(5, 48, 3, length=None)
    asked, points = codec._project(queries).astype(np.float64), codec.points(codes).astype(np.float64)
    if metric == "l2":
        exact = np.sqrt(((asked[:, None] - points[None]) ** 2).sum(-1))
    elif metric == "inner_product":
        exact = -(asked @ points.T)
    else:
        exact = 1 - (asked @ points.T) / np.outer(np.linalg.norm(asked, axis=1), np.linalg.norm(points, axis=1))
    assert np.allclose(codec.distances(queries, codes), exact, atol=1e-3)
    for query, expected in zip(queries, exact, strict=True):
        assert np.allclose(codec.scorer(query)(codes), expected, atol=1e-3)
        assert codec.scorer(query)(codes).dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_near_those_of_the_vectors_themselves(method: str, metric: str) -> None:
    rows = vectors(1500, 32, length=1 if metric == "cosine" else None)
    codec = trained(method, rows, metric, {"bytes": 8})
    queries = vectors(20, 32, 3, length=None)
    left, right = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        exact = np.sqrt(((left[:, None] - right[None]) ** 2).sum(-1))
    elif metric == "inner_product":
        exact = -(left @ right.T)
    else:
        exact = 1 - (left @ right.T) / np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    found = codec.distances(queries, codec.encode(rows))
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.98
    assert abs((found - exact).mean()) < 0.1 * exact.std()


def test_scores_are_the_same_in_any_batch() -> None:
    codec = trained("pq", vectors(500, 24))
    codes = codec.encode(vectors(100, 24, 2))
    score = codec.scorer(vectors(1, 24, 3)[0])
    assert np.array_equal(score(codes), np.concatenate([score(codes[i : i + 7]) for i in range(0, 100, 7)]))
    assert score(codes[:0]).shape == (0,)


def test_points_of_vectors_of_length_1_have_length_1() -> None:
    rows = vectors(600, 32)
    for metric, is_scaled in (("cosine", True), ("l2", False)):
        codec = trained("pq", rows, metric, {"bytes": 2})
        lengths = np.linalg.norm(codec.points(codec.encode(rows)), axis=1)
        assert np.allclose(lengths, 1, atol=1e-5) == is_scaled


def test_a_rotation_loses_less() -> None:
    rows = vectors(1500, 24, length=None)
    lost = {}
    for method in METHODS:
        codec = trained(method, rows, "l2", {"bytes": 6})
        lost[method] = float(((codec._project(rows) - codec.points(codec.encode(rows))) ** 2).sum(1).mean())
    assert lost["opq"] < 0.8 * lost["pq"]


def test_a_rotation_is_one() -> None:
    codec = trained("opq", vectors(900, 32), options={"bytes": 4})
    basis = codec._project(np.eye(32, dtype=np.float32)).astype(np.float64)
    assert np.allclose(basis @ basis.T, np.eye(32), atol=1e-3)


def test_variance_is_dealt_out_evenly() -> None:
    # 2 strong directions and 6 weak ones: neither strong one is with the other
    rng = np.random.default_rng(3)
    rows = (rng.normal(size=(3000, 8)) * np.array([10, 9, 1, 1, 1, 1, 1, 1])).astype(np.float32)
    rotation = product._balanced(rows, product._Parts(8, 2))
    variances = (rows @ rotation).var(axis=0).reshape(2, 4)
    assert variances.max(axis=1).min() > 50


@pytest.mark.parametrize("method", METHODS)
def test_few_rows_are_kept_as_they_are(method: str) -> None:
    rows = vectors(20, 24)
    codec = trained(method, rows, options={"bytes": 3})
    assert np.allclose(codec.points(codec.encode(rows)), codec._project(rows), atol=3e-3)


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_are_all_alike(method: str) -> None:
    rows = np.full((300, 8), 0.3, dtype=np.float32)
    codec = trained(method, rows, "l2", {"bytes": 2})
    assert np.allclose(codec.points(codec.encode(rows)), codec._project(rows), atol=1e-4)
    assert codec.encode(rows[:0]).shape == (0, 2)


@pytest.mark.parametrize("method", METHODS)
def test_rows_far_from_zero_keep_their_differences(method: str) -> None:
    rows = (100 + 0.01 * vectors(2000, 8, length=None)).astype(np.float32)
    codec = trained(method, rows, "l2", {"bytes": 4})
    found = codec.points(codec.encode(rows)).astype(np.float64) - codec._project(rows).astype(np.float64)
    assert (found**2).sum(1).mean() < 0.2 * rows.var(axis=0).sum()


def test_more_rows_than_it_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "SAMPLE", 300)
    monkeypatch.setattr(product, "_ROTATED_SAMPLE", 200)
    rows = vectors(900, 16)
    codec = trained("opq", rows, options={"bytes": 4})
    assert codec.encode(rows).shape == (900, 4)


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_decides_the_codec(method: str) -> None:
    rows = vectors(600, 16)
    assert trained(method, rows).fingerprint == trained(method, rows).fingerprint
    assert trained(method, rows).fingerprint != trained(method, rows, seed=2).fingerprint


@pytest.mark.parametrize("method", METHODS)
def test_a_packed_codec_makes_the_same_codes_and_points(method: str) -> None:
    rows = vectors(600, 20)
    codec = trained(method, rows, options={"bytes": 3})
    again = codecs.load(codec.packed)
    assert type(again) is type(codec)
    assert again.fingerprint == codec.fingerprint
    assert np.array_equal(again.encode(rows), codec.encode(rows))
    assert np.array_equal(again.points(codec.encode(rows)), codec.points(codec.encode(rows)))
    assert len(codec.packed) < 2 * 256 * 20 + (2 * 20 * 20 if method == "opq" else 0) + 600


@pytest.mark.parametrize(("dim", "number"), [(384, 48), (20, 2), (5, 1)])
def test_a_byte_is_for_8_dimensions_by_default(dim: int, number: int) -> None:
    codec = trained("pq", vectors(30, dim))
    assert (codec.shape.kind, codec.shape.length, codec.shape.bytes) == ("bytes", number, number)
    assert codec.expression("v", "public") is None


@pytest.mark.parametrize("number", [0, 17, "4", True])
def test_more_bytes_than_dimensions_are_refused(number: object) -> None:
    with pytest.raises(errors.InvalidParameter, match="bytes must be from 1 to 16"):
        trained("pq", vectors(30, 16), options={"bytes": number})


@pytest.mark.parametrize("broken", ["mean", "centroids", "exponents", "rotation"])
def test_a_codec_without_one_of_its_arrays_is_refused(broken: str) -> None:
    codec = trained("opq", vectors(300, 16), options={"bytes": 2})
    with pytest.raises(errors.InvalidParameter, match=broken):
        Opq.build(codec.space, codec.options, {name: array for name, array in codec.arrays.items() if name != broken})
    with pytest.raises(errors.InvalidParameter, match=broken):
        Opq.build(codec.space, codec.options, {**codec.arrays, broken: codec.arrays[broken][:1]})


def test_exponents_out_of_range_are_refused() -> None:
    codec = trained("pq", vectors(300, 16), options={"bytes": 2})
    with pytest.raises(errors.InvalidParameter, match="exponents"):
        Pq.build(codec.space, codec.options, {**codec.arrays, "exponents": np.array([0, -32768], dtype=np.int16)})


def test_training_can_be_stopped() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codecs.train("opq", vectors(300, 16), Space(16, "cosine"), {}, check=stop)
