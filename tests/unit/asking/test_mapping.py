"""Maps as numbers and as bytes, against what they mean, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgembed import errors
from pgembed.asking import mapping
from pgembed.asking.mapping import Map


def drawn(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


WHOLE = Map(drawn(3, 5), drawn(3, seed=2), None, normalized=False)
LOW = Map(drawn(5, 2), drawn(5, seed=2), drawn(5, 2, seed=3), normalized=False)


def test_a_whole_map_and_one_of_low_rank() -> None:
    queries = drawn(4, 5, seed=4)
    for line, query in zip(WHOLE.apply(queries), queries, strict=True):
        assert line == pytest.approx([WHOLE.matrix[row] @ query + WHOLE.bias[row] for row in range(3)], abs=1e-5)
    changed = np.eye(5) + LOW.matrix @ LOW.right.T
    for line, query in zip(LOW.apply(queries), queries, strict=True):
        assert line == pytest.approx(changed @ query + LOW.bias, abs=1e-5)
    assert (WHOLE.query_dim, WHOLE.rank, LOW.query_dim, LOW.rank) == (5, None, 5, 2)


def test_length_one_where_the_column_has_it_and_zero_stays() -> None:
    made = Map(WHOLE.matrix, np.zeros(3, np.float32)).apply(np.stack([drawn(5), np.zeros(5, np.float32)]))
    assert np.linalg.norm(made, axis=1).tolist() == pytest.approx([1, 0], abs=1e-6)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert WHOLE.apply(np.empty((0, 5), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("made", [WHOLE, LOW], ids=["whole", "low rank"])
def test_bytes_there_and_back(made: Map) -> None:
    matrix, bias, right = made.parts()
    assert matrix[:4] == made.matrix[0, 0].astype("<f4").tobytes()
    back = mapping.from_parts(matrix, bias, right, made.query_dim, made.rank, normalized=False)
    assert np.array_equal(back.apply(drawn(2, 5)), made.apply(drawn(2, 5)))
    assert back.digest("a", "b") == made.digest("a", "b")


def test_the_digest_is_of_all_that_decides() -> None:
    others = [
        WHOLE.digest("a", "c"),
        Map(WHOLE.matrix, WHOLE.bias).digest("a", "b"),
        Map(WHOLE.matrix, WHOLE.bias + 1, None, normalized=False).digest("a", "b"),
        Map(WHOLE.matrix * 2, WHOLE.bias, None, normalized=False).digest("a", "b"),
        LOW.digest("a", "b"),
    ]
    assert len({*others, WHOLE.digest("a", "b")}) == 6


@pytest.mark.parametrize(
    ("parts", "dim", "rank", "message"),
    [
        ((b"\0" * 60, b"\0" * 12, None), 4, None, "make no map of 4 dimensions"),
        ((b"\0" * 60, b"", None), 5, None, "make no map"),
        ((b"\0" * 40, b"\0" * 20, None), 5, 2, "make no map"),
        ((b"\0" * 40, b"\0" * 20, b"\0" * 36), 5, 2, "make no map"),
        ((b"\0" * 60, b"\0" * 12, b"\0" * 4), 5, None, "make no map"),
        ((b"\0\0\xc0\x7f" * 15, b"\0" * 12, None), 5, None, "not finite"),
    ],
)
def test_bytes_that_make_no_map_are_refused(parts: tuple[bytes, bytes, bytes | None], dim: int, rank: int | None, message: str) -> None:
    with pytest.raises(errors.DimensionMismatch, match=message) as caught:
        mapping.from_parts(*parts, dim, rank, normalized=True)
    assert "drop_adapter" in (caught.value.hint or "")


def test_queries_of_other_dimensions_are_refused() -> None:
    with pytest.raises(errors.DimensionMismatch, match="for 5 dimensions"):
        WHOLE.apply(drawn(2, 4))
