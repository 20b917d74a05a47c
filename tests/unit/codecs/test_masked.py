"""Queries without the bits that they are unsure of, against margins computed number by number, and what they find."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from pgembed import codecs, errors

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec

np = pytest.importorskip("numpy")

DIM = 11  # neither planes nor codes fill bytes

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sign", {}),
    ("sign", {"centered": True}),
    ("thermometer", {"bits": 1}),
    ("thermometer", {"bits": 2}),
    ("thermometer", {"bits": 3}),
    ("recurrent", {"bits": 2}),
    ("recurrent", {"bits": 3}),
    ("recurrent", {"bits": 4}),
)
ROTATED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sign", {"centered": True, "rotation": "learned"}),
    ("thermometer", {"bits": 2, "dims": 7, "rotation": "random"}),
    ("recurrent", {"bits": 2, "rotation": "random"}),
)


def drawn(count: int, dim: int = DIM, seed: int = 0) -> Any:
    made: Any = np.random.default_rng((seed, 77)).standard_normal((count, dim)) + np.linspace(-1, 1, dim)
    return made.astype(np.float32)


def trained(method: str, metric: str = "l2", normalize: bool = False, **options: Any) -> Codec:
    from pgembed.codecs.contract import Space

    return codecs.train(method, drawn(600), Space(DIM, metric, normalize), options)


def masked(codec: Codec, queries: Any) -> tuple[Any, Any]:
    """Bits and masks, shape (n, length)."""
    found = codec.masked(queries)
    assert found is not None
    for part in found:
        assert part.dtype == np.uint8
        assert part.shape == (len(queries), codec.shape.bytes)
        assert not np.unpackbits(part, axis=1)[:, codec.shape.length :].any()
    bits, masks = (np.unpackbits(part, axis=1, count=codec.shape.length) for part in found)
    return bits, masks


def turns(codec: Codec, dimension: int) -> list[list[Fraction]]:
    """Of each plane the numbers of a dimension at which its bit turns, found by looking at both sides of all that may be one."""
    if "thresholds" in codec.arrays:
        places = {float(edge) for edge in codec.arrays["thresholds"][:, dimension]}
    else:
        weights = [float(weight) for weight in codec.arrays["weights"][:-1, dimension]]
        sides = (product((-1, 1), repeat=count) for count in range(len(weights) + 1))
        places = {sum(side * weight for side, weight in zip(signs, weights, strict=False)) for many in sides for signs in many}
    found: list[list[Fraction]] = [[] for _ in range(codec.shape.length // DIM)]
    for place in sorted(places):
        beside = np.zeros((2, DIM), dtype=np.float32)
        beside[:, dimension] = place - 1e-4, place + 1e-4
        bits = np.unpackbits(codec.encode(beside), axis=1, count=codec.shape.length).reshape(2, -1, DIM)[:, :, dimension]
        for plane in np.flatnonzero(bits[0] != bits[1]):
            found[plane].append(Fraction(place))
    return found


@pytest.mark.parametrize(("method", "options"), KINDS)
def test_what_is_left_out_are_the_bits_that_turn_first(method: str, options: dict[str, Any]) -> None:
    codec = trained(method, **options)
    queries = drawn(25, seed=3)
    queries[0], queries[1], queries[2, 3:] = 0, 1, queries[2, 3]  # many margins are one
    bits, masks = masked(codec, queries)
    codes = np.unpackbits(codec.encode(queries), axis=1, count=codec.shape.length)
    places = [turns(codec, dimension) for dimension in range(DIM)]
    planes = codec.shape.length // DIM
    assert all(places[dimension][plane] for dimension in range(DIM) for plane in range(planes))
    for query, code, bit, mask in zip(queries, codes, bits, masks, strict=True):
        margins = [
            min(abs(Fraction(float(query[dimension])) - place) for place in places[dimension][plane])
            for plane in range(planes)
            for dimension in range(DIM)
        ]
        # sums of weights are rounded
        by_margin = sorted(range(len(margins)), key=lambda at: (round(float(margins[at]), 9), at))
        left_out = set(by_margin[: 4 * len(margins) // 10])
        assert [at for at in range(len(mask)) if not mask[at]] == sorted(left_out)
        assert bit.tolist() == (code & mask).tolist()


@pytest.mark.parametrize(("method", "options"), ROTATED)
def test_margins_of_a_rotated_code_are_those_in_its_own_space(method: str, options: dict[str, Any]) -> None:
    codec = trained(method, **options)
    queries = drawn(40, seed=4)
    bits, masks = masked(codec, queries)
    turned = queries.astype(np.float64) @ codec.arrays["rotation"].astype(np.float64).T
    if method == "recurrent":
        margins = np.stack([np.abs(turned), np.minimum(*(np.abs(turned + side * codec.arrays["weights"][0]) for side in (-1, 1)))], axis=1)
    else:
        margins = np.abs(turned[:, None, :] - codec.arrays["thresholds"])
    margins = margins.reshape(len(queries), -1)
    assert (masks.sum(axis=1) == codec.shape.length - 4 * codec.shape.length // 10).all()
    assert (np.where(masks, margins, np.inf).min(axis=1) >= np.where(masks, 0, margins).max(axis=1) - 1e-5).all()
    assert np.array_equal(bits, np.unpackbits(codec.encode(queries), axis=1, count=codec.shape.length) & masks)


@pytest.mark.parametrize(("method", "options"), [*KINDS[1::2], *ROTATED])
def test_a_query_has_one_mask_alone_and_in_any_batch(method: str, options: dict[str, Any]) -> None:
    codec = trained(method, **options)
    queries = drawn(1500, seed=5)
    whole = codec.masked(queries)
    assert whole is not None
    for part in (slice(0, 1), slice(700, 1400), slice(3, None, 7)):
        some = codec.masked(queries[part])
        assert some is not None
        assert all(np.array_equal(one, of_all[part]) for one, of_all in zip(some, whole, strict=True))
    loaded = codecs.load(codec.packed).masked(np.asfortranarray(queries))
    assert loaded is not None
    assert all(np.array_equal(one, other) for one, other in zip(loaded, whole, strict=True))


def test_only_the_direction_of_a_query_counts_by_cosine() -> None:
    codec = trained("thermometer", "cosine", normalize=True)
    queries = drawn(30, seed=6)
    one, other = masked(codec, queries), masked(codec, queries * np.float32(4))
    assert all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))
    plain = masked(trained("thermometer"), queries)
    assert not np.array_equal(one[1], plain[1])


@pytest.mark.parametrize(
    ("method", "options"),
    [("int8", {}), ("rabitq", {"bits": 1}), ("pq", {"bytes": 3}), ("pca", {"dims": 4}), ("lvq", {"bits": 4})],
)
def test_what_is_no_bits_has_no_mask(method: str, options: dict[str, Any]) -> None:
    assert trained(method, **options).masked(drawn(2)) is None


def test_queries_of_another_dimension_are_refused() -> None:
    with pytest.raises(errors.DimensionMismatch, match="do not fit a codec of 11 dimensions"):
        trained("sign").masked(drawn(3, 5))


def test_a_code_of_few_bits_keeps_at_least_one() -> None:
    from pgembed.codecs.contract import Space

    for dim, kept in ((1, 1), (2, 2), (3, 2), (5, 3)):
        found = codecs.train("sign", drawn(50, dim), Space(dim, "l2"), {}).masked(drawn(9, dim))
        assert found is not None
        assert (np.unpackbits(found[1], axis=1).sum(axis=1) == kept).all()


@pytest.mark.parametrize(("method", "options"), [("sign", {}), ("thermometer", {"bits": 2}), ("recurrent", {"bits": 2})])
def test_more_neighbours_are_found_than_by_all_bits(method: str, options: dict[str, Any]) -> None:
    from pgembed.codecs.contract import Space, popcounts

    chance = np.random.default_rng(8)
    centres, spread = chance.standard_normal((40, 64)), np.linspace(1.5, 0.3, 64)

    def clusters(count: int) -> Any:
        made = (centres[chance.integers(0, 40, count)] + chance.standard_normal((count, 64))) * spread
        return (made / np.linalg.norm(made, axis=1)[:, None]).astype(np.float32)

    rows, queries = clusters(3000), clusters(100)
    codec = codecs.train(method, rows, Space(64, "cosine"), options)
    codes, asked, found = codec.encode(rows), codec.encode(queries), codec.masked(queries)
    assert found is not None
    recall = {"all": 0.0, "masked": 0.0}
    for query, code, bits, mask in zip(queries, asked, *found, strict=True):
        near = np.argsort(-(rows @ query))[:10]
        for name, distances in (("all", popcounts(codes ^ code)), ("masked", popcounts((codes & mask) ^ bits))):
            smaller = np.array([(distances < distances[one]).sum() for one in near])
            ties = np.array([(distances == distances[one]).sum() for one in near])
            recall[name] += float(((50 - smaller) / ties).clip(0, 1).mean()) / len(queries)
    assert recall["masked"] > recall["all"] + 0.02
