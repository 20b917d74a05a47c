"""Vectors in pgvector's wire form, memory layout and text form."""

from __future__ import annotations

import struct
import sys
from typing import Any

import pytest

from pgembed import errors, vectors

np = pytest.importorskip("numpy")


def sent(*numbers: float) -> bytes:
    """What vector_send gives for these numbers."""
    return struct.pack(f">hh{len(numbers)}f", len(numbers), 0, *numbers)


def test_from_send_reads_big_endian_floats() -> None:
    vector = vectors.from_send(sent(1, -2.5, 3))
    assert vector.tolist() == [1, -2.5, 3]
    assert vector.dtype == np.dtype("=f4")


def test_from_send_many_keeps_the_order() -> None:
    matrix = vectors.from_send_many(sent(1, 2) + sent(3, 4) + sent(5, 6), 3, 2)
    assert matrix.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert matrix.flags.c_contiguous
    assert matrix.flags.writeable


def test_from_send_many_of_nothing_has_the_dimension() -> None:
    assert vectors.from_send_many(b"", 0, 7).shape == (0, 7)


@pytest.mark.parametrize("dim", [1, 384, 16_000])
def test_images_hold_what_send_holds(dim: int) -> None:
    matrix = np.random.default_rng(1).standard_normal((3, dim)).astype(np.float32)
    images = vectors.to_images(matrix)
    assert [len(image) for image in images] == [4 + 4 * dim] * 3
    for image, row in zip(images, matrix, strict=True):
        assert struct.unpack_from("=hh", image) == (dim, 0)
        assert np.frombuffer(image, np.float32, offset=4).tolist() == row.tolist()
    wire = b"".join(sent(*row.tolist()) for row in matrix)
    assert (vectors.from_send_many(wire, 3, dim) == matrix).all()


def test_one_image_is_the_image_of_one_row() -> None:
    assert vectors.to_image([1, 2.5]) == struct.pack("=hh2f", 2, 0, 1, 2.5)


def test_no_rows_give_no_images() -> None:
    assert vectors.to_images(np.empty((0, 3), np.float32)) == []


@pytest.mark.parametrize(
    "matrix",
    [
        np.array([[1, 2], [3, 4]], ">f4"),
        np.array([[1, 2], [3, 4]], "<f8"),
        np.array([[1, 2], [3, 4]], np.int64),
        np.array([[1, 2], [3, 4]], np.float16),
        np.asfortranarray(np.array([[1, 2], [3, 4]], np.float32)),
        np.repeat(np.repeat(np.array([[1, 2], [3, 4]], np.float32), 2, 0), 2, 1)[::2, ::2],
    ],
    ids=["big endian", "float64", "int64", "float16", "fortran", "strided"],
)
def test_images_do_not_depend_on_the_layout(matrix: Any) -> None:
    assert vectors.to_images(matrix) == [struct.pack("=hh2f", 2, 0, 1, 2), struct.pack("=hh2f", 2, 0, 3, 4)]


def test_images_of_float64_are_rounded_to_float4() -> None:
    assert vectors.from_text(vectors.to_text([0.1 + 1e-12])).tolist() == [float(np.float32(0.1))]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e39])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    for form in (vectors.to_image, vectors.to_text):
        with pytest.raises(errors.DimensionMismatch, match=r"expected finite numbers, found -?(nan|inf) in dimension 2") as caught:
            form([1, number])
        assert caught.value.sqlstate == "22000"
        assert caught.value.hint == "pgvector stores neither NaN nor infinity."
    with pytest.raises(errors.DimensionMismatch, match="in dimension 1 of vector 2"):
        vectors.to_images([[1.0, 2.0], [number, 4.0]])


def test_a_nan_on_the_wire_is_refused() -> None:
    with pytest.raises(errors.DimensionMismatch, match="found nan in dimension 2 of vector 1"):
        vectors.from_send(sent(1, float("nan")))


@pytest.mark.parametrize("dim", [0, 16_001])
def test_dimensions_that_pgvector_does_not_have_are_refused(dim: int) -> None:
    with pytest.raises(errors.DimensionMismatch, match=f"between 1 and 16000 dimensions, not {dim}"):
        vectors.to_images(np.zeros((2, dim), np.float32))
    with pytest.raises(errors.DimensionMismatch, match=f"not {dim}"):
        vectors.from_send_many(b"", 0, dim)


@pytest.mark.parametrize(
    ("buffer", "n", "dim", "message"),
    [
        (sent(1, 2)[:-1], 1, 2, "expected 12 bytes for 1 vectors of 2 dimensions, found 11"),
        (sent(1, 2), 2, 2, "expected 24 bytes"),
        (sent(1) + sent(1, 2, 3), 2, 2, "expected 2 dimensions, found 1 in vector 1"),
        (sent(1, 2) + b"\0\2\0\1" + bytes(8), 2, 2, "expected 2 dimensions, found 2 in vector 2"),
    ],
)
def test_a_wire_form_of_another_shape_is_refused(buffer: bytes, n: int, dim: int, message: str) -> None:
    with pytest.raises(errors.DimensionMismatch, match=message):
        vectors.from_send_many(buffer, n, dim)


@pytest.mark.parametrize("buffer", [b"", b"\0\1\0", b"\xff\xff\0\0", b"\0\2\0\0\0\0\0\0"])
def test_bytes_that_are_no_vector_are_refused(buffer: bytes) -> None:
    with pytest.raises(errors.DimensionMismatch):
        vectors.from_send(buffer)


def test_arrays_of_other_axes_are_refused() -> None:
    with pytest.raises(errors.DimensionMismatch, match="expected an array of 1 axis, found 2"):
        vectors.to_image([[1, 2]])
    with pytest.raises(errors.DimensionMismatch, match="expected an array of 2 axes, found 1"):
        vectors.to_images([1, 2])


def test_text_is_the_shortest_that_reads_back() -> None:
    assert vectors.to_text([1, -2.5, 0.1, 1e-8, 1e30]) == "[1,-2.5,0.1,1e-08,1e+30]"


def test_text_round_trips_every_bit() -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, 20_000, np.uint32).view(np.float32)
    vector = bits[np.isfinite(bits)][:16_000]
    assert (vectors.from_text(vectors.to_text(vector)).view(np.uint32) == vector.view(np.uint32)).all()


@pytest.mark.parametrize("form", ["", "1,2", "[1,2", "[]", "[a]", "[1,]", "[1,nan]", "[1e39]", "{1,2}"])
def test_text_of_another_form_is_refused(form: str) -> None:
    with pytest.raises(errors.DimensionMismatch):
        vectors.from_text(form)


def test_an_array_image_is_what_postgresql_has_in_memory() -> None:
    # header: one axis, where the elements begin, their type, three elements from 1 on; the bitmap says that the second is NULL
    header = struct.pack("=iiIii", 1, 32, 77, 3, 1) + bytes([0b101]) + bytes(7)
    image = vectors.to_array_image([[1.0, 2.0], [3.0, 4.0]], [True, False, True], 77)
    assert image[:28] == header
    length = 16 << 2 if sys.byteorder == "little" else 16
    assert image[28:] == struct.pack("=ihhff", length, 2, 0, 1, 2) + struct.pack("=ihhff", length, 2, 0, 3, 4)


def test_an_array_image_without_nulls_has_no_bitmap() -> None:
    image = vectors.to_array_image([[1.0]], [True], 77)
    assert image[:20] == struct.pack("=iiIii", 1, 0, 77, 1, 1)
    assert len(image) == 20 + 12


def test_an_array_of_no_elements_has_no_axis() -> None:
    assert vectors.to_array_image(np.empty((0, 3)), [], 77) == struct.pack("=iiI", 0, 0, 77)


@pytest.mark.parametrize(
    ("matrix", "present"), [([[1.0]], [True, True]), ([1.0], [True]), ([[float("nan")]], [True]), (np.empty((1, 0)), [True])]
)
def test_an_array_image_is_refused(matrix: Any, present: list[bool]) -> None:
    with pytest.raises(errors.DimensionMismatch):
        vectors.to_array_image(matrix, present, 77)


def test_an_array_beyond_what_postgresql_allows_is_refused() -> None:
    rows = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (70_000, 4_000), (0, 0))
    with pytest.raises(errors.LimitExceeded, match="PostgreSQL allows") as caught:
        vectors.to_array_image(rows, np.ones(70_000, bool), 77)
    assert caught.value.sqlstate == "54000"
