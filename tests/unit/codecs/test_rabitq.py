"""RaBitQ against its papers: the estimate is right on average, as near as the bound says, and no scale makes better codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgembed import codecs, errors

if TYPE_CHECKING:
    from pgembed.codecs.rabitq import RaBitQ

np = pytest.importorskip("numpy")


def drawn(count: int, dim: int, seed: int = 0, mean: float = 0.0) -> Any:
    # not the numbers that a rotation of the same seed is made of
    made: Any = np.random.default_rng((seed, 1000)).standard_normal((count, dim)) + mean
    return made.astype(np.float32)


def trained(sample: Any, metric: str = "l2", seed: int = 1, **options: Any) -> RaBitQ:
    from pgembed.codecs.contract import Space
    from pgembed.codecs.rabitq import RaBitQ

    made = codecs.train("rabitq", sample, Space(sample.shape[1], metric), options, seed=seed)
    assert isinstance(made, RaBitQ)
    return made


def in_grid(codec: RaBitQ, codes: Any) -> Any:
    """The codes' numbers, bit by bit: shape (n, dim), halves of odd numbers."""
    depth, dim = codec.options["bits"], codec.space.dim
    found = np.empty((len(codes), dim))
    for i, code in enumerate(codes):
        text = "".join(f"{byte:08b}" for byte in code)
        found[i] = [int(text[j * depth : (j + 1) * depth], 2) - 2 ** (depth - 1) + 0.5 for j in range(dim)]
    return found


def residuals(codec: RaBitQ, vectors: Any) -> Any:
    off = vectors.astype(float) - codec.arrays["centre"]
    return off if "rotation" not in codec.arrays else off @ codec.arrays["rotation"].astype(float).T


@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("dim", [13, 16])
def test_a_code_is_the_grids_point_and_its_factors(depth: int, dim: int) -> None:
    vectors = drawn(60, dim, 1, mean=0.5)
    codec = trained(drawn(100, dim, mean=0.5), bits=depth)
    codes = codec.encode(vectors)
    assert codes.shape == (60, -(-dim * depth // 8) + 12)
    grid, off = in_grid(codec, codes), residuals(codec, vectors)
    assert (np.sign(grid) == np.where(off > 0, 1, -1)).all()
    factors, lengths, offsets = np.frombuffer(codes[:, -12:].tobytes(), ">f4").reshape(60, 3).T.astype(float)
    assert np.allclose(lengths, np.linalg.norm(off, axis=1), rtol=1e-5)
    assert np.allclose(factors, lengths**2 / (grid * off).sum(axis=1), rtol=1e-5)
    assert np.allclose(offsets, (vectors.astype(float) - codec.arrays["centre"]) @ codec.arrays["centre"].astype(float), atol=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
def test_no_scale_makes_a_code_that_points_much_better(depth: int) -> None:
    dim, top = 48, 2 ** (depth - 1)
    vectors = drawn(30, dim, 1)
    codec = trained(drawn(400, dim), bits=depth, centered=False)
    grid, off = in_grid(codec, codec.encode(vectors)), residuals(codec, vectors)
    missed = 1 - (grid * off).sum(axis=1) ** 2 / ((grid**2).sum(axis=1) * (off**2).sum(axis=1))
    least = np.empty(30)
    for i, sizes in enumerate(np.abs(off)):
        # between two scales where some number passes a step the code is the same: all codes that any scale makes
        scales = np.unique(np.concatenate([step / sizes for step in range(1, top)])) * (1 + 1e-12)
        cells = np.minimum(np.floor(np.concatenate([[0], scales])[:, None] * sizes), top - 1) + 0.5
        least[i] = 1 - ((cells @ sizes) ** 2 / ((cells**2).sum(axis=1) * (sizes**2).sum())).max()
    assert (missed >= least - 1e-12).all()
    assert missed.mean() < 1.02 * least.mean()


@pytest.mark.parametrize("depth", [1, 3])
def test_an_estimate_is_right_on_average_over_rotations(depth: int) -> None:
    vectors, query = drawn(1, 32, 3), drawn(1, 32, 4)
    query += vectors  # an inner product that is far from zero
    truth = float(vectors[0].astype(float) @ query[0])
    found, plain = [], []
    for seed in range(400):
        codec = trained(vectors, "inner_product", seed, bits=depth, centered=False)
        codes = codec.encode(vectors)
        found.append(-float(codec.distances(query, codes)[0, 0]))
        # the nearest point in the code's direction, which is what a quantiser would take
        grid, turned = in_grid(codec, codes)[0], residuals(codec, query)[0]
        plain.append(grid @ turned * (grid @ residuals(codec, vectors)[0]) / (grid @ grid))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - truth) < 4 * error
    assert abs(np.mean(plain) - truth) > 8 * error * (0.1 if depth > 1 else 1)


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("depth", [1, 4])
def test_as_many_distances_lie_within_the_bound_as_the_paper_says(depth: int, metric: str) -> None:
    vectors, queries = drawn(300, 64, 1, mean=0.3), drawn(40, 64, 2, mean=0.3)
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    products = queries.astype(float) @ vectors.T.astype(float)
    truth = {
        "cosine": 1 - products / np.linalg.norm(queries, axis=1)[:, None],
        "l2": np.linalg.norm(queries.astype(float)[:, None] - vectors[None], axis=2),
        "inner_product": -products,
    }[metric]
    within: dict[float, list[float]] = {1.0: [], 1.9: []}
    for seed in range(8):
        codec = trained(vectors, metric, seed, bits=depth)
        codes = codec.encode(vectors)
        off = np.abs(codec.distances(queries, codes) - truth)
        for epsilon, shares in within.items():
            shares.append(float((off <= codec.error_bound(queries, codes, epsilon)).mean()))
    # a normal number lies within 1 and 1.9 standard deviations with probability .683 and .943
    for epsilon, probability in ((1.0, 0.683), (1.9, 0.943)):
        assert np.mean(within[epsilon]) > probability - 0.015
        # the bound of a root is its longer side's, so that of far too small estimates a few more lie within
        assert np.mean(within[epsilon]) < probability + (0.045 if metric == "l2" else 0.015)


def test_the_bound_halves_with_every_bit() -> None:
    vectors, queries = drawn(200, 64, 1), drawn(5, 64, 2)
    bounds = [codec.error_bound(queries, codec.encode(vectors)).mean() for codec in (trained(vectors, bits=depth) for depth in range(1, 9))]
    ratios = np.divide(bounds[1:], bounds[:-1])
    assert ((ratios > 0.45) & (ratios < 0.62)).all()


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("rotation", ["random", "none"])
@pytest.mark.parametrize("centered", [True, False])
def test_eight_bits_are_almost_the_vector(metric: str, rotation: str, centered: bool) -> None:
    vectors, queries = drawn(200, 40, 1, mean=1), drawn(7, 40, 2, mean=1)
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
        queries /= np.linalg.norm(queries, axis=1)[:, None]
    codec = trained(vectors, metric, bits=8, centered=centered, rotation=rotation)
    codes = codec.encode(vectors)
    # the third factor stands where it is needed: a centre, and lengths that differ
    assert codec.shape.bytes == 40 + 8 + 4 * (centered and metric != "cosine")
    products = queries.astype(float) @ vectors.T.astype(float)
    truth = {
        "cosine": 1 - products,
        "l2": np.linalg.norm(queries.astype(float)[:, None] - vectors[None], axis=2),
        "inner_product": -products,
    }[metric]
    assert np.allclose(codec.distances(queries, codes), truth, atol=0.04 * truth.std())
    assert np.allclose(codec.between(codes[:7], codec.encode(queries)), truth[range(7), range(7)], atol=0.08 * truth.std())
    assert np.allclose(codec.squares(codes, codec.points(codes)), (vectors.astype(float) ** 2).sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 8])
def test_a_scorer_gives_the_distances_of_odd_dimensions(depth: int) -> None:
    vectors, query = drawn(1500, 13, 1, mean=0.5), drawn(1, 13, 2)[0]
    codec = trained(vectors, bits=depth)
    codes = codec.encode(vectors)
    assert np.allclose(codec.scorer(query)(codes), codec.distances(query[None], codes)[0], atol=1e-5)


def test_a_vector_without_a_direction_has_a_code() -> None:
    for depth in (1, 4, 8):
        codec = trained(drawn(50, 8), "l2", bits=depth, centered=False)
        codes = codec.encode(np.zeros((1, 8), dtype=np.float32))
        assert codes[0, -8:].tobytes() == bytes(8)
        assert codec.distances(np.full((1, 8), 2, dtype=np.float32), codes)[0, 0] == pytest.approx(np.sqrt(32))
        assert codec.error_bound(np.ones((1, 8), dtype=np.float32), codes)[0, 0] == 0


def test_a_sample_of_zeros_trains_a_codec() -> None:
    codec = trained(np.zeros((5, 8), dtype=np.float32), bits=4)
    assert np.isfinite(codec.distances(drawn(2, 8), codec.encode(drawn(3, 8)))).all()


@pytest.mark.parametrize("bits", [0, 9, 1.0])
def test_bits_out_of_range_are_refused(bits: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"bits must be from 1 to 8, not {bits}"):
        trained(drawn(20, 8), bits=bits)


def test_only_one_bit_that_is_not_rotated_is_an_expression() -> None:
    sample = drawn(30, 4)
    assert trained(sample).expression("v", "pgv") is None
    assert trained(sample, bits=2, rotation="none").expression("v", "pgv") is None
    assert "pgv.binary_quantize" in (trained(sample, rotation="none").expression("v", "pgv") or "")
