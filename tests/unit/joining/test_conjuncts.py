"""Conditions as texts: where they come apart, and where they are left alone because nobody can be sure."""

from __future__ import annotations

import pytest

from pgembed.joining import conjuncts


@pytest.mark.parametrize(
    ("condition", "pieces"),
    [
        ("l.a = r.a", ["l.a = r.a"]),
        ("l.a = r.a AND l.b > 1", ["l.a = r.a", "l.b > 1"]),
        ("((l.a = r.a) and (l.b > 1 AND r.c))", ["l.a = r.a", "l.b > 1", "r.c"]),
        ("l.a BETWEEN 1 AND 2 AND r.b BETWEEN l.a AND l.b", ["l.a BETWEEN 1 AND 2", "r.b BETWEEN l.a AND l.b"]),
        ("a AND b OR c AND d", ["a AND b OR c AND d"]),
        ("(a OR b) AND c", ["a OR b", "c"]),
        ("NOT a AND b", ["NOT a", "b"]),
        ("CASE WHEN a AND b THEN c OR d ELSE e END AND f", ["CASE WHEN a AND b THEN c OR d ELSE e END", "f"]),
        ("a = 'x AND y' AND b", ["a = 'x AND y'", "b"]),
        ("a = 'it''s AND' AND b", ["a = 'it''s AND'", "b"]),
        ('"and" AND "or"', ['"and"', '"or"']),
        ("f(a AND b) AND c[1 + (d AND e)::int]", ["f(a AND b)", "c[1 + (d AND e)::int]"]),
        ("a -- b\nAND c", ["a -- b\nAND c"]),
        ("a /* AND */ AND c", ["a /* AND */ AND c"]),
        (r"a = E'\' AND b' AND c", [r"a = E'\' AND b' AND c"]),
        ("a = $x$ AND $x$ AND c", ["a = $x$ AND $x$ AND c"]),
        ("a OPERATOR(pg_catalog.=) b AND c", ["a OPERATOR(pg_catalog.=) b AND c"]),
        ("true) AND (false", ["true) AND (false"]),
        ("(a AND b", ["(a AND b"]),
        ("a ? AND ¿ b", ["a ? AND ¿ b"]),
        ("", [""]),
    ],
)
def test_split(condition: str, pieces: list[str]) -> None:
    assert conjuncts.split(condition) == pieces


@pytest.mark.parametrize(
    ("conjunct", "sides"),
    [
        ("l.a = r.a", ("l.a", "r.a")),
        ("lower(l.a) = r.b || 'x'", ("lower(l.a)", "r.b || 'x'")),
        ("l.a + 1=r.b", ("l.a + 1", "r.b")),
        ("(l.a = r.b) = (l.c = r.d)", ("(l.a = r.b)", "(l.c = r.d)")),
        ("f(a => l.a) = r.a", ("f(a => l.a)", "r.a")),
        ("l.a = r.a IS TRUE", None),
        ("NOT l.a = r.a", None),
        ("l.a <> r.a", None),
        ("l.a >= r.a", None),
        ("l.a == r.a", None),
        ('l.a = r.a COLLATE "C"', None),
        ("l.a IN (SELECT 1) = true", None),
        ("l.a = r.a OR l.b", None),
        ("= r.a", None),
        ("l.a", None),
        ("l.a = 'x' -- r", None),
    ],
)
def test_equality(conjunct: str, sides: tuple[str, str] | None) -> None:
    assert conjuncts.equality(conjunct) == sides
