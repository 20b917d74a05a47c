"""A codec in SQL: what is created, in which order, and what its body says. That PostgreSQL computes it is tested in tests/sql."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from pgembed.codecs.contract import Codec, Codes, Kind, Options, Shape, Space
from pgembed.codes import rendering


class Fake(Codec):
    """A codec of any shape; ``spoken`` says what its expression is made of, None that it has none."""

    method = "fake"
    defaults: Mapping[str, Any] = {}

    def __init__(self, space: Space, shape: Shape, spoken: str | None) -> None:
        super().__init__(space, {}, {})
        self._shape, self._spoken = shape, spoken

    @classmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        raise NotImplementedError

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        return self._shape

    def _encode(self, vectors: NDArray[np.float32]) -> Codes:
        raise NotImplementedError

    def points(self, codes: Codes) -> NDArray[np.float32]:
        raise NotImplementedError

    def expression(self, vector: str, schema: str) -> str | None:
        return None if self._spoken is None else f"{schema}.{self._spoken}({vector})"


def rendered(kind: Kind, length: int, spoken: str | None, *, normalize: bool = False, bits: str = "binvec") -> tuple[str, list[str]]:
    """The type of codes, and the statements."""
    codec = Fake(Space(20, "cosine", normalize), Shape(kind, length), spoken)
    made = rendering.objects(codec, "My Shop", "co'dec", "ext", bits)
    return made.code_type, rendering.statements(codec, made, "it's a codec")


def body(statements: list[str]) -> str:
    (found,) = (statement.split("\nRETURN ")[1] for statement in statements if "\nRETURN " in statement)
    return found


def test_an_encoder_of_sql_alone_is_one_function_and_checks_the_dimension() -> None:
    code_type, statements = rendered("bits", 20, "binary_quantize")
    assert code_type == "pgembed.binvec(20)"
    assert statements == [
        'CREATE FUNCTION "My Shop"."co\'dec"(embedding ext.vector) RETURNS pg_catalog.bit'
        " LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10\nRETURN (ext.binary_quantize((embedding::ext.vector(20))))",
        "COMMENT ON FUNCTION \"My Shop\".\"co'dec\"(ext.vector) IS 'code of a vector of 20 dimensions: it''s a codec'",
    ]


def test_a_vector_is_normalised_after_its_dimension_is_checked() -> None:
    _, statements = rendered("bits", 20, "binary_quantize", normalize=True)
    assert body(statements) == "(ext.binary_quantize(ext.l2_normalize((embedding::ext.vector(20)))))"


def test_plain_bits_are_chosen_for_columns() -> None:
    assert rendered("bits", 20, "binary_quantize", bits="bit")[0] == "bit(20)"


def test_a_prefix_is_a_halfvec_of_its_length() -> None:
    code_type, statements = rendered("halfvec", 5, "prefix")
    assert code_type == "ext.halfvec(5)"
    assert " RETURNS ext.halfvec LANGUAGE" in statements[0]
    assert body(statements) == "(ext.prefix((embedding::ext.vector(20))))::ext.halfvec(5)"


@pytest.mark.parametrize(
    ("kind", "length", "around"),
    [
        ("bytes", 7, '{}::"My Shop"."co\'dec_code"'),
        ("halfvec", 5, "pgembed._vector({})::ext.halfvec(5)"),
        ("bits", 13, "('x'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.encode({}, 'hex'))::pg_catalog.bit(13)"),
    ],
)
def test_what_sql_cannot_say_is_encoded_from_constants(kind: Kind, length: int, around: str) -> None:
    codec = Fake(Space(20, "cosine"), Shape(kind, length), None)
    _, statements = rendered(kind, length, None)
    call = f"pgembed._encode('\"My Shop\".\"co''dec_constants\"'::pg_catalog.regproc, '{codec.fingerprint}', ext.vector_send(embedding))"
    assert body(statements) == around.format(call)
    (constants,) = (one for one in statements if one.startswith('CREATE FUNCTION "My Shop"."co\'dec_constants"()'))
    said = re.search(r"decode\(''([\w+/=]+)'', ''base64''\)", constants)
    assert said is not None
    assert base64.b64decode(said[1]) == codec.packed


def test_objects_are_made_before_what_needs_them_and_all_have_comments() -> None:
    code_type, statements = rendered("bytes", 7, None)
    assert code_type == '"My Shop"."co\'dec_code"'
    names = [re.sub(r"\(.*", "", statement, flags=re.S) for statement in statements]
    assert [name.split(" AS ")[0].split(" IS ")[0] for name in names] == [
        'CREATE DOMAIN "My Shop"."co\'dec_code"',
        'COMMENT ON DOMAIN "My Shop"."co\'dec_code"',
        'CREATE FUNCTION "My Shop"."co\'dec_constants"',
        'COMMENT ON FUNCTION "My Shop"."co\'dec_constants"',
        'CREATE FUNCTION "My Shop"."co\'dec"',
        'COMMENT ON FUNCTION "My Shop"."co\'dec"',
    ]
    assert "CHECK (pg_catalog.octet_length(VALUE) OPERATOR(pg_catalog.=) 7)" in statements[0]
