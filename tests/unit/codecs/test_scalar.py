"""Scalar quantisers: what a code says, decoded number by number, and how far distances may be from the exact ones."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from pgembed import codecs, errors
from pgembed.codecs.contract import Space

METRICS = ["cosine", "l2", "inner_product"]
METHODS: list[tuple[str, dict[str, int]]] = [
    ("int8", {}),
    ("lvq", {"bits": 8}),
    ("lvq", {"bits": 4}),
    ("lvq", {"bits": 4, "residual_bits": 4}),
    ("lvq", {"bits": 4, "residual_bits": 8}),
    ("lvq", {"bits": 8, "residual_bits": 8}),
]
LVQ = [options for name, options in METHODS if name == "lvq"]


def rows_of(n: int, dim: int, seed: int = 0, unit: bool = False) -> Any:
    """Rows away from zero, of uneven spread."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)) * np.linspace(1, 0.1, dim) + rng.standard_normal(dim) * 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows * 3).astype(np.float32)


def trained(name: str, options: dict[str, int], metric: str = "inner_product", dim: int = 37, unit: bool = False) -> Any:
    return codecs.train(name, rows_of(400, dim, seed=1, unit=unit), Space(dim, metric), options)


def exact(metric: str, queries: Any, rows: Any) -> Any:
    q, x = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(q[:, None] - x[None], axis=2)
    if metric == "inner_product":
        return -(q @ x.T)
    return 1 - (q @ x.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1)


def int8_number(code: bytes, at: int) -> float:
    (step,) = struct.unpack(">f", code[:4])
    return float(step) * int(struct.unpack("b", code[4 + at : 5 + at])[0])


def lvq_number(code: bytes, at: int, dim: int, bits: int, residual_bits: int, unit: float) -> float:
    """One number of a code by its description, without numpy."""
    lower, step = struct.unpack(">2e", code[:4])

    def whole(part: bytes, width: int) -> int:
        if width == 8:
            return part[at]
        middle = (dim + 1) // 2
        return part[at] >> 4 if at < middle else part[at - middle] & 15

    first = 4 + (dim * bits + 7) // 8
    number = lower + step * whole(code[4:first], bits)
    if residual_bits:
        number += step * (whole(code[first:], residual_bits) / (2**residual_bits - 1) - 0.5)
    return float(number * unit)


def half_steps(codec: Any, codes: Any) -> Any:
    """Half of the finest step of each code: how far a number may be off."""
    return codec._line(codes)[1].astype(np.float64) / 2


def test_a_code_of_int8_is_a_step_and_signed_bytes() -> None:
    codec = trained("int8", {}, dim=5)
    rows = rows_of(20, 5)
    codes = codec.encode(rows)
    assert (codes.shape, codes.dtype, codec.shape.kind, codec.shape.bytes) == ((20, 9), np.uint8, "bytes", 9)
    decoded = [[int8_number(code.tobytes(), at) for at in range(5)] for code in codes]
    assert np.abs(codec.points(codes) - decoded).max() < 1e-6
    for row, code in zip(rows, codes, strict=True):
        assert struct.unpack(">f", code[:4].tobytes())[0] == np.float32(np.abs(row).max() / np.float32(127))
        assert np.abs(code[4:].view(np.int8)).max() == 127


@pytest.mark.parametrize("dim", [1, 6, 37])
@pytest.mark.parametrize("options", LVQ)
def test_a_code_of_lvq_is_a_line_and_whole_numbers(options: dict[str, int], dim: int) -> None:
    codec = trained("lvq", options, dim=dim)
    bits, residual_bits = options["bits"], options.get("residual_bits", 0)
    codes = codec.encode(rows_of(20, dim))
    assert codes.shape == (20, 4 + (dim * bits + 7) // 8 + (dim * residual_bits + 7) // 8) == (20, codec.shape.bytes)
    unit = float(codec.arrays["unit"][0])
    decoded = [[lvq_number(code.tobytes(), at, dim, bits, residual_bits, unit) for at in range(dim)] for code in codes]
    assert np.abs(codec.points(codes) - codec.arrays["mean"] - decoded).max() < 1e-5


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_no_number_is_off_by_more_than_half_a_step(name: str, options: dict[str, int]) -> None:
    codec, rows = trained(name, options), rows_of(300, 37)
    codes = codec.encode(rows)
    off = np.abs(codec.points(codes).astype(np.float64) - rows)
    allowed = half_steps(codec, codes)
    assert (off.max(axis=1) <= allowed + 2e-6).all()
    assert (off.max(axis=1) > allowed * 0.5).mean() > 0.9  # the bound is not loose: it would catch a code that is cut twice as coarsely


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("name", "options"), METHODS)
def test_distances_are_within_the_bound(name: str, options: dict[str, int], metric: str) -> None:
    unit = metric == "cosine"
    codec = trained(name, options, metric, unit=unit)
    rows, queries = rows_of(200, 37, unit=unit), rows_of(9, 37, seed=2)
    codes = codec.encode(rows)
    off = np.abs(codec.distances(queries, codes) - exact(metric, queries, rows))
    sums = np.abs(queries).sum(axis=1) / (np.linalg.norm(queries, axis=1) if metric == "cosine" else 1)
    allowed = half_steps(codec, codes) * (np.full(9, 37**0.5) if metric == "l2" else sums)[:, None]
    assert off.shape == (9, 200)
    assert (off <= allowed + 3e-5).all()


@pytest.mark.parametrize("metric", METRICS)
def test_more_bits_are_nearer(metric: str) -> None:
    rows, queries = rows_of(300, 37, unit=True), rows_of(20, 37, seed=2, unit=True)
    off = []
    for options in ({"bits": 4}, {"bits": 8}, {"bits": 4, "residual_bits": 8}):
        codec = trained("lvq", options, metric, unit=True)
        off.append(np.abs(codec.distances(queries, codec.encode(rows)) - exact(metric, queries, rows)).mean())
    assert off[0] > 8 * off[1] > 8 * 4 * off[2]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("name", "options"), METHODS)
def test_a_scorer_gives_the_same_distances(name: str, options: dict[str, int], metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgembed.codecs.scalar._PAGE_BYTES", 37 * 4 * 16)  # several pages, the last one not full
    codec = trained(name, options, metric)
    codes, queries = codec.encode(rows_of(50, 37)), rows_of(3, 37, seed=2)
    scores = np.stack([codec.scorer(query)(codes) for query in queries])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, codec.distances(queries, codes), rtol=1e-5, atol=2e-4 if metric == "l2" else 2e-5)
    assert codec.scorer(queries[0])(codes[:0]).shape == (0,)


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_a_vector_has_one_code(name: str, options: dict[str, int]) -> None:
    codec, rows = trained(name, options), rows_of(64, 37)
    alone = np.concatenate([codec.encode(row[None]) for row in rows])
    np.testing.assert_array_equal(codec.encode(rows), alone)
    assert codec.encode(rows[:0]).shape == (0, codec.shape.bytes)


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_a_codec_is_kept_as_bytes(name: str, options: dict[str, int]) -> None:
    codec, rows = trained(name, options), rows_of(10, 37)
    again = codecs.load(codec.packed)
    assert (again.fingerprint, again.shape, again.options) == (codec.fingerprint, codec.shape, codec.options)
    np.testing.assert_array_equal(again.encode(rows), codec.encode(rows))


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_zero_and_even_vectors(name: str, options: dict[str, int]) -> None:
    codec = trained(name, options, "cosine")
    rows = np.stack([np.zeros(37), np.full(37, 2.0), codec._offset, codec._offset + 1]).astype(np.float32)
    codes = codec.encode(rows)
    assert (np.abs(codec.points(codes) - rows).max(axis=1) <= half_steps(codec, codes) + 2e-3).all()
    assert name != "int8" or not codes[0].any()
    zero = np.zeros((1, 37), dtype=np.float32)
    assert codec.distances(zero, codec.encode(rows)).tolist() == [[1.0] * 4]
    assert codec.scorer(zero[0])(codec.encode(rows)).tolist() == [1.0] * 4


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e30])
@pytest.mark.parametrize(("name", "options"), METHODS)
def test_vectors_of_any_size(name: str, options: dict[str, int], scale: float) -> None:
    rows = rows_of(100, 37) * np.float32(scale)
    codec = codecs.train(name, rows, Space(37, "inner_product"), options)
    off = np.abs(codec.points(codec.encode(rows)) / scale - rows / scale)
    assert off.max() < (0.5 if options == {"bits": 4} else 0.05)


def test_int8_keeps_the_sign_of_the_smallest_numbers() -> None:
    """A step of 200 of the smallest float4 by 127 is one of them, and 200 is no signed byte."""
    smallest = np.nextafter(np.float32(0), np.float32(1))
    rows = np.array([[200, -200, 100, 0]], dtype=np.float32) * smallest
    codec = codecs.train("int8", rows, Space(4, "inner_product"), {})
    assert np.sign(codec.points(codec.encode(rows))).tolist() == [[1, -1, 1, 0]]


def test_lvq_cuts_what_lies_far_from_its_sample() -> None:
    codec = codecs.train("lvq", rows_of(100, 37), Space(37, "l2"), {})
    far = codec.points(codec.encode(np.full((1, 37), 1e9, dtype=np.float32)))
    assert np.isfinite(far).all()
    assert (far > 1e5).all()


@pytest.mark.parametrize(
    "options", [{"bits": 6}, {"bits": 16}, {"bits": True}, {"residual_bits": 2}, {"bits": 0}, {"residual_bits": -1}, {"bits": "8"}]
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"{next(iter(options))} must be .* not ") as raised:
        trained("lvq", options)
    assert raised.value.hint


def test_int8_has_no_options() -> None:
    with pytest.raises(errors.InvalidParameter, match="no option bits"):
        trained("int8", {"bits": 8})


@pytest.mark.parametrize(
    "arrays", [{}, {"mean": np.zeros(3, np.float32)}, {"mean": np.zeros(4, np.float32), "unit": np.zeros(1, np.float32)}]
)
def test_what_is_no_lvq_codec(arrays: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameter):
        codecs.method("lvq").build(Space(4, "l2"), {"bits": 8, "residual_bits": 0}, arrays)
