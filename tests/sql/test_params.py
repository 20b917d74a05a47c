"""text_array: an array in JSON as an array of SQL."""

from __future__ import annotations

import psycopg
import pytest
from support import Connection

pytestmark = pytest.mark.one_transaction


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('["b", "a", "b", null, "", " x "]', ["b", "a", "b", None, "", " x "]),
        ('[1, 2.50, true, "q\\"\'\\\\,{}"]', ["1", "2.50", "true", "q\"'\\,{}"]),
        ('[[1, 2], {"a": null}]', ["[1, 2]", '{"a": null}']),
        ("[]", []),
        ("null", None),
        (None, None),
    ],
)
def test_text_array(db: Connection, given: str | None, expected: list[str | None] | None) -> None:
    assert db.execute("SELECT pgembed.text_array(%s::jsonb)", [given]).fetchone() == (expected,)


@pytest.mark.parametrize(("given", "what"), [('"a"', "scalar"), ("7", "scalar"), ('{"a": 1}', "object")])
def test_text_array_of_what_is_no_array(db: Connection, given: str, what: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=what):
        db.execute("SELECT pgembed.text_array(%s::jsonb)", [given])
