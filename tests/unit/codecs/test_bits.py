"""Codes of bits against what their definitions say, computed number by number."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from pgembed import codecs, errors

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec

np = pytest.importorskip("numpy")

ODD = 13  # dimensions that fill no bytes


def drawn(count: int, dim: int, seed: int = 0, mean: float = 0.0) -> Any:
    # not the numbers that a rotation of the same seed is made of
    made: Any = np.random.default_rng((seed, 1000)).standard_normal((count, dim)) + mean
    return made.astype(np.float32)


def trained(method: str, sample: Any, metric: str = "l2", **options: Any) -> Codec:
    from pgembed.codecs.contract import Space

    return codecs.train(method, sample, Space(sample.shape[1], metric), options)


def bits(codec: Codec, vectors: Any) -> Any:
    """Shape (n, planes, dim)."""
    return np.unpackbits(codec.encode(vectors), axis=1, count=codec.shape.length).reshape(len(vectors), -1, vectors.shape[1])


def test_sign_is_whether_a_number_is_above_zero() -> None:
    vectors = drawn(20, ODD, 1)
    vectors[0, :6] = [0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38]
    codes = trained("sign", drawn(50, ODD)).encode(vectors)
    expected = ["".join("1" if number > 0 else "0" for number in row) + "000" for row in vectors.tolist()]
    assert ["".join(f"{byte:08b}" for byte in code) for code in codes] == expected
    assert expected[0].startswith("001010")


def test_sign_may_be_centred_on_the_samples_mean() -> None:
    sample, vectors = drawn(300, ODD, 1, mean=2), drawn(40, ODD, 2, mean=2)
    mean = np.array([sum(column) / 300 for column in sample.astype(float).T.tolist()], dtype=np.float32)
    assert np.array_equal(bits(trained("sign", sample, centered=True), vectors)[:, 0], vectors > mean)
    assert bits(trained("sign", sample), vectors).mean() > 0.9


@pytest.mark.parametrize("planes", [1, 2, 3, 5])
def test_hamming_distance_of_thermometers_counts_the_thresholds_between(planes: int) -> None:
    codec = trained("thermometer", drawn(500, ODD), bits=planes)
    thresholds = codec.arrays["thresholds"]
    assert thresholds.shape == (planes, ODD)
    assert (np.diff(thresholds, axis=0) >= 0).all()
    one, other = drawn(60, ODD, 2), drawn(60, ODD, 3)
    levels = [
        np.array([[sum(number > edge for edge in thresholds[:, j]) for j, number in enumerate(row)] for row in v]) for v in (one, other)
    ]
    assert codec.between(codec.encode(one), codec.encode(other)).tolist() == np.abs(levels[0] - levels[1]).sum(axis=1).tolist()


def test_thresholds_of_a_thermometer_divide_the_sample_evenly_about_zero() -> None:
    sample = drawn(9000, 4, 4) * np.float32([1, 2, 3, 4])
    thresholds = trained("thermometer", sample, bits=2).arrays["thresholds"]
    assert np.array_equal(thresholds[0], -thresholds[1])
    # a normal number is within 0.43 standard deviations of 0 one time in three
    assert np.allclose(thresholds[1], [0.4307, 0.8615, 1.292, 1.723], rtol=0.05)
    assert np.allclose((np.abs(sample) <= thresholds[1]).mean(axis=0), 1 / 3, atol=1e-3)


def test_a_dimension_far_from_zero_has_thresholds_about_its_mean() -> None:
    sample = drawn(3000, 2)
    sample[:, 1] += 10
    low, high = trained("thermometer", sample, bits=2).arrays["thresholds"]
    assert low[0] == -high[0]
    assert low[1] + high[1] == pytest.approx(20, abs=0.2)
    assert high[1] - low[1] == pytest.approx(2 * 0.4307, abs=0.1)


@pytest.mark.parametrize(("method", "options"), [("sign", {}), ("sign", {"centered": True}), ("thermometer", {"bits": 3})])
def test_points_are_means_of_the_sample_in_each_interval(method: str, options: dict[str, Any]) -> None:
    sample = drawn(400, 5, mean=0.3)
    codec = trained(method, sample, **options)
    thresholds = codec.arrays["thresholds"].astype(float)
    found = codec.points(codec.encode(sample))
    squares = codec.squares(codec.encode(sample), found)
    for j in range(5):
        levels = [sum(number > edge for edge in thresholds[:, j]) for number in sample[:, j].astype(float)]
        for level in set(levels):
            inside = [i for i, one in enumerate(levels) if one == level]
            mean = sum(float(sample[i, j]) for i in inside) / len(inside)
            assert np.allclose(found[inside, j], mean, atol=1e-5)
    # lengths differ, so squares are what such vectors' squares are on average: over the sample exactly
    assert squares.sum() == pytest.approx(float((sample.astype(float) ** 2).sum()), rel=1e-5)


def test_an_interval_that_the_sample_does_not_know_has_its_thresholds() -> None:
    codec = trained("sign", np.abs(drawn(50, 4)) + 1)
    assert codec.points(codec.encode(-np.ones((1, 4), dtype=np.float32))).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("method", ["sign", "thermometer", "recurrent"])
def test_points_have_the_length_that_all_vectors_have(method: str) -> None:
    sample = drawn(500, ODD)
    sample = 3 * sample / np.linalg.norm(sample, axis=1)[:, None]
    codec = trained(method, sample)
    points = codec.points(codec.encode(sample))
    assert np.allclose(np.linalg.norm(points, axis=1), 3, rtol=1e-5)
    assert np.allclose(codec.squares(codec.encode(sample), points), 9, rtol=1e-3)
    assert np.allclose(np.linalg.norm(trained(method, sample, "cosine").points(codec.encode(sample)), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("planes", [2, 3, 4])
def test_recurrent_bits_are_signs_of_what_is_left_in_gray_code(planes: int) -> None:
    codec = trained("recurrent", drawn(500, ODD), bits=planes)
    weights = codec.arrays["weights"].astype(float)
    vectors = drawn(40, ODD, 2)
    found = bits(codec, vectors)
    middles = np.zeros((40, ODD))
    for i, row in enumerate(vectors.astype(float)):
        for j, number in enumerate(row):
            before = 0
            for plane in range(planes):
                sign = 1 if number - middles[i, j] > 0 else -1
                middles[i, j] += sign * weights[plane, j]
                assert found[i, plane, j] == ((sign > 0) ^ (plane > 0 and before > 0))
                before = sign
    assert np.allclose(codec.points(codec.encode(vectors)), middles, atol=1e-5)


def test_recurrent_weights_are_the_best_for_a_normal_distribution() -> None:
    codec = trained("recurrent", drawn(40_000, 3) * np.float32([1, 2, 0.5]))
    # the best quantiser of 4 levels has them at 0.4528 and 1.510 standard deviations (Max 1960), and leaves 0.1175 of the variance
    assert np.allclose(codec.arrays["weights"] / [1, 2, 0.5], [[(1.51 + 0.4528) / 2] * 3, [(1.51 - 0.4528) / 2] * 3], atol=0.02)
    assert float(codec.arrays["left"][0]) == pytest.approx(0.1175 * 5.25, rel=0.03)


def test_neighbouring_numbers_differ_in_one_recurrent_bit() -> None:
    codec = trained("recurrent", drawn(5000, 1), bits=3)
    line = np.linspace(-3, 3, 2001, dtype=np.float32)[:, None]
    steps = np.abs(np.diff(bits(codec, line)[:, :, 0].astype(int), axis=0)).sum(axis=1)
    assert sorted(set(steps.tolist())) == [0, 1]
    assert steps.sum() == 7


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize(
    ("method", "options"),
    [("sign", {"centered": True}), ("thermometer", {"bits": 3}), ("recurrent", {}), ("recurrent", {"bits": 3, "rotation": "random"})],
)
def test_a_scorer_gives_distances_to_the_points_also_where_planes_fill_no_bytes(method: str, options: dict[str, Any], metric: str) -> None:
    sample = drawn(5000, ODD, mean=0.2)
    codec = trained(method, sample, metric, **options)
    codes, query = codec.encode(sample), drawn(1, ODD, 5)[0]
    points = codec.points(codes).astype(float)
    asked = query if "rotation" not in codec.arrays else codec.arrays["rotation"].astype(float) @ query
    products = points @ asked
    expected = {
        "inner_product": -products,
        "cosine": 1 - products / np.linalg.norm(query),
        "l2": np.sqrt(np.maximum((query.astype(float) ** 2).sum() + codec.squares(codes, points.astype(np.float32)) - 2 * products, 0)),
    }[metric]
    assert np.allclose(codec.scorer(query)(codes), expected, atol=2e-5)


def test_a_point_says_more_than_the_number_of_bits_that_differ() -> None:
    sample, queries = drawn(4000, 64), drawn(30, 64, 9)
    truth = np.argsort(np.linalg.norm(queries[:, None] - sample[None], axis=2), axis=1)[:, :10]
    previous = 0.0
    for method, options in (("sign", {}), ("thermometer", {"bits": 2}), ("recurrent", {"bits": 2})):
        codec = trained(method, sample, **options)
        codes = codec.encode(sample)
        hamming = np.stack([codec.between(np.repeat(one[None], len(codes), axis=0), codes) for one in codec.encode(queries)])
        by_bits, by_points = (
            np.mean([len(set(order[:50]) & set(true)) for order, true in zip(np.argsort(one, axis=1, kind="stable"), truth, strict=True)])
            for one in (hamming, codec.distances(queries, codes))
        )
        assert by_points > by_bits
        assert by_points > previous
        previous = by_points


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_rotation_is_summed_exactly(count: int) -> None:
    from pgembed.codecs import rotation

    vectors = drawn(count, ODD) * np.float32(10.0) ** np.arange(-6, 7, dtype=np.float32)
    matrix = rotation.fitted("random", vectors, None, 1, lambda: None)
    assert matrix is not None
    found = rotation.turned(vectors, rotation.steps_of(matrix))
    steps, exponents = rotation.stepped(vectors, 24)
    for i in range(count):
        exact = [sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, steps[i], strict=True)) for row in matrix]
        assert [Fraction(float(number)) for number in found[i]] == [number * Fraction(2) ** int(exponents[i]) for number in exact]
    # and it is a rotation
    assert np.allclose(found, vectors.astype(float) @ matrix.T.astype(float), rtol=0, atol=1e-6 * np.abs(vectors).max())
    assert np.allclose(np.linalg.norm(found, axis=1), np.linalg.norm(vectors.astype(float), axis=1), rtol=1e-5)


def test_numbers_in_steps_lose_less_than_a_step() -> None:
    from pgembed.codecs import rotation

    rows = np.array([[1.0, -0.3, 1e-9], [0, 0, 0], [-3e38, 1e38, 1], [1e-45, 0, -3e-45]])
    steps, exponents = rotation.stepped(rows, 20)
    assert (steps == np.rint(steps)).all()
    assert np.abs(steps).max() <= 2**20
    assert (np.abs(steps * 2.0 ** exponents[:, None].astype(float) - rows) <= 2.0 ** (exponents[:, None] - 1.0)).all()


def test_a_learned_rotation_brings_vectors_nearer_to_their_signs() -> None:
    from pgembed.codecs import rotation

    sample = drawn(2000, 16) @ (drawn(16, 16, 3) * np.linspace(0.2, 2, 16, dtype=np.float32))
    sample /= np.linalg.norm(sample, axis=1)[:, None]
    nearness = {}
    for kind in ("random", "learned"):
        matrix = rotation.fitted(kind, sample, None, 1, lambda: None)
        assert matrix is not None
        assert np.allclose(matrix @ matrix.T, np.eye(16), atol=1e-5)
        nearness[kind] = np.abs(sample @ matrix.T).sum(axis=1).mean()
    assert nearness["learned"] > 1.02 * nearness["random"]


def test_a_thermometer_of_fewer_dimensions_keeps_those_with_most_of_the_sample() -> None:
    sample = drawn(2000, 16)
    sample[:, 5:] *= np.float32(0.01)
    codec = trained("thermometer", sample, bits=8, dims=5, rotation="learned")
    assert codec.shape.length == 40
    matrix = codec.arrays["rotation"]
    assert np.allclose(matrix @ matrix.T, np.eye(5), atol=1e-5)
    assert np.allclose((matrix[:, :5] ** 2).sum(axis=1), 1, atol=1e-3)
    truth = np.linalg.norm(sample[:1] - sample, axis=1)
    assert np.corrcoef(codec.distances(sample[:1], codec.encode(sample))[0], truth)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("sign", {"centered": "yes"}, "centered must be true or false, not yes"),
        ("sign", {"rotation": "left"}, 'rotation must be one of none, random, learned, not "left"'),
        ("thermometer", {"bits": 0}, "bits must be from 1 to 8, not 0"),
        ("thermometer", {"bits": True}, "bits must be from 1 to 8, not True"),
        ("thermometer", {"dims": 2}, "a thermometer of 2 dimensions needs a rotation"),
        ("thermometer", {"dims": 5, "rotation": "random"}, "dims must be from 1 to 4, not 5"),
        ("recurrent", {"bits": 5}, "bits must be from 2 to 4, not 5"),
    ],
)
def test_options_out_of_range_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=message):
        trained(method, drawn(20, 4), **options)


def test_only_what_is_not_rotated_is_an_expression() -> None:
    sample = drawn(100, 4)
    assert trained("sign", sample).expression("v", "pgv") == "pgv.binary_quantize(v)"
    for method, options in (("sign", {"rotation": "random"}), ("thermometer", {"rotation": "random"}), ("recurrent", {"bits": 3})):
        assert trained(method, sample, **options).expression("v", "pgv") is None
