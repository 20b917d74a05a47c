"""How large an entry can be: bounds of types and checks."""

from __future__ import annotations

import pytest

from pgembed import entries
from pgembed.columns import Table


def attribute(name: str, most: int | None, align: int = 4, type_: str = "text") -> entries.Attribute:
    return entries.Attribute(name, type_, "S" if type_ == "text" else "N", align, most, 10, 5.0)


def limit(type_: str, modifier: int = -1, *checks: str, length: int = -1, per_char: int = 4, range_of: int | None = None) -> int | None:
    return entries._most(type_, length, modifier, range_of, per_char, checks, "kind")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (limit("int4", length=4), 4),
        (limit("text"), None),
        (limit("varchar", 4 + 30), 4 + 120),
        (limit("varchar", 4 + 30, per_char=1), 34),
        (limit("varchar"), None),
        (limit("bit", 768), 8 + 96),
        (limit("binvec", 9), 8 + 2),
        (limit("numeric"), None),
        (limit("vector", 8), 8 + 32),
        (limit("tstzrange", range_of=8), 9 + 30),
        (limit("numrange", range_of=-1), None),
        (limit("jsonb"), None),
        (limit("text", -1, "CHECK ((octet_length(kind) <= 100))"), 104),
        (limit("varchar", 4 + 30, "CHECK ((octet_length((kind)::text) < 21))"), 24),
        (limit("text", -1, "CHECK ((char_length(kind) <= 10))"), 44),
        (limit("text", -1, "CHECK ((length(VALUE) <= 10))"), 44),
        (limit("numeric", -1, "CHECK ((pg_column_size(kind) <= 60))"), 60),
        (limit("text", -1, "CHECK ((octet_length(other) <= 100))"), None),
        (limit("text", -1, "CHECK (((octet_length(kind) <= 100) OR true))"), None),
        (limit("text", -1, "CHECK ((octet_length(lower(kind)) <= 100))"), None),
        (limit("text", -1, "CHECK ((octet_length(kind) >= 100))"), None),
        (limit("text", -1, "CHECK ((octet_length(kind) <= 100)) NO INHERIT"), None),
    ],
)
def test_a_type_and_its_checks_limit_a_value(found: int | None, expected: int | None) -> None:
    assert found == expected


def test_an_entry_is_aligned_and_without_a_limit_where_a_column_has_none() -> None:
    assert entries.entry([attribute("a", 1, 1), attribute("b", 8, 8), attribute("c", 5)]) == 16 + 8 + 8 + 8
    assert entries.entry([attribute("a", 4), attribute("b", None)]) is None


@pytest.mark.parametrize("rest", [4, 100, 1500, 2500])
@pytest.mark.parametrize("free", [1, 2, 3])
def test_bounds_make_an_entry_fit(rest: int, free: int) -> None:
    table = Table(1, "public", "item", "r", "owner", True, ())
    fixed = [attribute("id", rest, 8)]
    unlimited = [attribute(f"c{n}", None) for n in range(free)]
    made = entries.bounds(table, [*unlimited, *fixed])
    if not made:
        assert rest == 2500
        return
    assert [statement.split(" ")[3] for statement, _, _ in made] == ["ADD", "VALIDATE"] * free
    bounded = [attribute(column.name, most + 4) for _, column, most in made[::2]]
    size = entries.entry([*bounded, *fixed])
    assert size is not None
    assert size <= entries.MOST_ENTRY
