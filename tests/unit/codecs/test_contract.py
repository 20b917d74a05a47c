"""What every codec does, whatever its method; and the bytes that one is kept as."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pgembed import codecs, errors

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec

np = pytest.importorskip("numpy")

DIM = 32
METRICS = ("cosine", "l2", "inner_product")
# Each method as it is by default, and what takes another way through the code.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in codecs.METHODS),
    ("sign", {"centered": True, "rotation": "random"}),
    ("sign", {"rotation": "learned"}),
    ("thermometer", {"bits": 3, "rotation": "random"}),
    ("thermometer", {"bits": 3, "rotation": "learned", "dims": 20}),
    ("recurrent", {"bits": 3, "rotation": "random"}),
    *(("rabitq", {"bits": bits}) for bits in range(2, 9)),
    ("rabitq", {"centered": False, "rotation": "none"}),
    ("lvq", {"bits": 4}),
]
every_variant = pytest.mark.parametrize(("method", "given"), VARIANTS, ids=[f"{name}{given or ''}" for name, given in VARIANTS])


@cache
def rows(count: int = 600, seed: int = 0) -> Any:
    """Vectors whose dimensions are of different spread and not centred, of length 1: float32, shape (count, DIM)."""
    random = np.random.default_rng(seed)
    made = random.standard_normal((count, DIM)) * np.linspace(1.5, 0.5, DIM) + np.sin(np.arange(DIM)) / 4
    return (made / np.linalg.norm(made, axis=1)[:, None]).astype(np.float32)


def trained(method: str, given: dict[str, Any], metric: str = "cosine", seed: int = 1) -> Codec:
    from pgembed.codecs.contract import Space

    return codecs.train(method, rows(), Space(DIM, metric), given, queries=rows(200, 7), seed=seed)


@cache
def kept(place: int, metric: str = "cosine") -> Codec:
    """One codec of a variant, for tests that only read it."""
    return trained(*VARIANTS[place], metric)


@pytest.fixture
def codec(method: str, given: dict[str, Any]) -> Codec:
    return kept(VARIANTS.index((method, given)))


@every_variant
def test_a_code_has_its_shape(codec: Codec) -> None:
    codes = codec.encode(rows(50, 3))
    if codec.shape.kind == "halfvec":
        assert (codes.dtype, codes.shape) == (np.float16, (50, codec.shape.length))
    else:
        assert (codes.dtype, codes.shape) == (np.uint8, (50, codec.shape.bytes))
    assert codes.nbytes == 50 * codec.shape.bytes


@every_variant
def test_a_vector_has_one_code_alone_and_in_any_batch(codec: Codec) -> None:
    vectors = rows(1500, 3)
    together = codec.encode(vectors)
    for size in (1, 3, 8, 64, 1000):
        parts = np.concatenate([codec.encode(vectors[start : start + size]) for start in range(0, min(len(vectors), 40 * size), size)])
        assert np.array_equal(parts, together[: len(parts)]), size
    assert np.array_equal(codec.encode(vectors[::-1])[::-1], together)
    assert np.array_equal(codec.encode(np.asfortranarray(vectors)), together)


@every_variant
def test_nothing_is_encoded_to_nothing(codec: Codec) -> None:
    codes = codec.encode(rows(1)[:0])
    assert codes.shape == (0, codec.encode(rows(1)).shape[1])
    assert codec.distances(rows(2), codes).shape == (2, 0)
    assert codec.scorer(rows(2)[0])(codes).shape == (0,)


@every_variant
def test_packed_is_the_whole_codec(codec: Codec) -> None:
    read = codecs.load(codec.packed)
    assert type(read) is type(codec)
    assert (read.space, read.options, read.fingerprint) == (codec.space, codec.options, codec.fingerprint)
    codes = codec.encode(rows(40, 3))
    assert np.array_equal(read.encode(rows(40, 3)), codes)
    assert np.array_equal(read.distances(rows(3, 4), codes), codec.distances(rows(3, 4), codes))
    assert read.expression("v", "public") == codec.expression("v", "public")


@every_variant
def test_training_can_be_repeated(method: str, given: dict[str, Any], codec: Codec) -> None:
    assert trained(method, given).packed == codec.packed


@pytest.mark.parametrize(("method", "given"), [("rabitq", {}), ("sign", {"rotation": "random"}), ("sign", {"rotation": "learned"})])
def test_another_seed_gives_another_rotation(method: str, given: dict[str, Any]) -> None:
    assert trained(method, given, seed=2).fingerprint != trained(method, given, seed=1).fingerprint


@every_variant
@pytest.mark.parametrize("metric", METRICS)
def test_a_scorer_gives_the_distances(method: str, given: dict[str, Any], metric: str) -> None:
    codec = kept(VARIANTS.index((method, given)), metric)
    codes, queries = codec.encode(rows(500, 3)), 3 * rows(4, 4)
    expected = codec.distances(queries, codes)
    assert expected.shape == (4, 500)
    assert expected.dtype == np.float32
    for query, row in zip(queries, expected, strict=True):
        found = codec.scorer(query)(codes)
        assert found.dtype == np.float32
        assert np.allclose(found, row, rtol=5e-5, atol=1e-5)
        assert np.allclose(codec.scorer(query)(codes[7:8]), row[7:8], rtol=5e-5, atol=1e-5)


@every_variant
@pytest.mark.parametrize("metric", METRICS)
def test_estimated_distances_go_with_the_true_ones(method: str, given: dict[str, Any], metric: str) -> None:
    codec = kept(VARIANTS.index((method, given)), metric)
    vectors, queries = rows(500, 3), rows(20, 4)
    products = queries.astype(np.float64) @ vectors.T
    truth = {"cosine": 1 - products, "inner_product": -products, "l2": np.sqrt(2 - 2 * products)}[metric]
    found = codec.distances(queries, codec.encode(vectors))
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.6
    # in the units of the metric too: the codecs of a third of the dimensions leave most out
    assert np.abs(found - truth).mean() < 0.6 * truth.std() + 0.15


@every_variant
def test_codes_are_compared_with_each_other(codec: Codec) -> None:
    one, other = codec.encode(rows(300, 3)), codec.encode(rows(300, 4))
    found = codec.between(one, other)
    assert found.shape == (300,)
    if codec.shape.kind == "bits":
        differ = np.unpackbits(one, axis=1) != np.unpackbits(other, axis=1)
        assert found.tolist() == differ.sum(axis=1).tolist()
    else:
        truth = 1 - (rows(300, 3) * rows(300, 4)).sum(axis=1)
        assert np.corrcoef(found, truth)[0, 1] > 0.4


@every_variant
def test_another_dimension_is_refused(codec: Codec) -> None:
    with pytest.raises(errors.DimensionMismatch, match=f"do not fit a codec of {DIM} dimensions"):
        codec.encode(np.zeros((2, DIM + 1), dtype=np.float32))
    with pytest.raises(errors.DimensionMismatch):
        codec.scorer(np.zeros(DIM - 1, dtype=np.float32))


@every_variant
def test_a_check_interrupts_training(method: str, given: dict[str, Any]) -> None:
    from pgembed.codecs.contract import Space

    class Stopped(Exception):
        pass

    def check() -> None:
        raise Stopped

    if method in ("matryoshka", "int8", "pca"):
        pytest.skip("learns nothing, or all in one call")
    if method == "rabitq" and given.get("bits", 1) == 1:
        pytest.skip("learns nothing but a mean")
    with pytest.raises(Stopped):
        codecs.train(method, rows(), Space(DIM, "cosine"), given, queries=rows(200, 7), check=check)


@every_variant
@pytest.mark.parametrize("damage", ["cut", "tail", "magic", "header"])
def test_damaged_bytes_are_refused(codec: Codec, damage: str) -> None:
    packed = codec.packed
    damaged = {"cut": packed[:-1], "tail": packed + b"\0", "magic": b"P" + packed[1:], "header": packed[:20] + b"\xff" + packed[21:]}[
        damage
    ]
    with pytest.raises(errors.InvalidParameter, match="are no codec"):
        codecs.load(damaged)


@every_variant
def test_arrays_of_another_kind_are_refused(codec: Codec) -> None:
    for name, array in codec.arrays.items():
        other = np.float64 if array.dtype == np.float32 else np.float32
        with pytest.raises(errors.InvalidParameter, match=f"array {name}"):
            type(codec).build(codec.space, codec.options, {**codec.arrays, name: array.astype(other)})
        with pytest.raises(errors.InvalidParameter, match=f"array {name}"):
            type(codec).build(codec.space, codec.options, {**codec.arrays, name: array[None]})
        if array.dtype.kind == "f":
            broken = array.copy()
            broken.flat[0] = np.nan
            with pytest.raises(errors.InvalidParameter, match=f"array {name}"):
                type(codec).build(codec.space, codec.options, {**codec.arrays, name: broken})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "magic"}, "method must be one of"),
        ({"arrays": [["thresholds", "<f4", [1 << 40]]]}, "is cut"),
        ({"arrays": [["thresholds", "<f4", [-1]]]}, "are no codec"),
        ({"arrays": [["thresholds", "|O", [1]]]}, "is of no numbers"),
        ({"arrays": []}, "behind its end"),
        ({"space": {"dim": DIM}}, "are no codec"),
    ],
)
def test_a_header_that_lies_is_refused(change: dict[str, Any], reason: str) -> None:
    packed = kept(0).packed
    magic = packed.index(b"\n") + 1
    size = int.from_bytes(packed[magic : magic + 4], "little")
    header = json.dumps({**json.loads(packed[magic + 4 : magic + 4 + size]), **change}).encode()
    with pytest.raises(errors.InvalidParameter, match=reason):
        codecs.load(packed[:magic] + len(header).to_bytes(4, "little") + header + packed[magic + 4 + size :])


def test_options_that_a_method_does_not_have_are_refused() -> None:
    with pytest.raises(errors.InvalidParameter, match="sign codecs have no option bits") as found:
        trained("sign", {"bits": 2})
    assert found.value.hint == "Options of sign: centered, rotation."
    with pytest.raises(errors.InvalidParameter, match='not "gzip"'):
        trained("gzip", {})
    assert trained("sign", {"bits": None}).options == {"centered": False, "rotation": "none"}


def test_a_sample_of_another_dimension_is_refused() -> None:
    from pgembed.codecs.contract import Space

    with pytest.raises(errors.DimensionMismatch, match=r"a sample of shape \(600, 32\) is not of 33 dimensions"):
        codecs.train("sign", rows(), Space(DIM + 1, "cosine"), {})


def test_vectors_are_scaled_to_length_1_where_the_space_says_so() -> None:
    from pgembed.codecs.contract import Space

    codec = codecs.train("int8", rows(), Space(DIM, "cosine", normalize=True), {})
    assert np.array_equal(codec.encode(rows(20, 3) * np.float32(8)), codec.encode(rows(20, 3)))


def test_popcounts_are_those_of_the_bits() -> None:
    from pgembed.codecs.contract import popcounts

    codes = np.random.default_rng(0).integers(0, 256, (100, 13), dtype=np.uint8)
    assert popcounts(codes).tolist() == [sum(int(byte).bit_count() for byte in row) for row in codes]
