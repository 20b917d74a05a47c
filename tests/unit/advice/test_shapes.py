"""Shapes of filters: what EXPLAIN writes, cut into terms, keeps no value; and filters as they are written differ by more than constants."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, cast

import pytest

from pgembed.advice import shapes
from pgembed.columns import Table
from pgembed.database import Database

ITEM = Table(1, "public", "item", "r", "owner", True, (('"id"', "integer"),))
TYPES = {
    "id": "integer",
    "name": "character varying",
    "kind": "text",
    "kb": "integer",
    "tags": "text[]",
    'odd "one"': "text",
    "ok": "boolean",
}


class Explained:
    """A database that says of any plan what a test gives it."""

    def __init__(self, output: str, *below: dict[str, Any]) -> None:
        scan = {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "item", "Alias": "item", "Output": ["item.id"]}
        self.plan = {"Node Type": "Nested Loop", "Output": [output], "Plans": [scan, *below]}
        self.ran: list[str] = []

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Any]:
        self.ran.append(statement)
        if statement.startswith("EXPLAIN"):
            return [{"QUERY PLAN": json.dumps([{"Plan": self.plan}])}]
        if "current_setting" in statement:
            return [{"mode": "auto"}]
        return [{"name": name, "type": type_} for name, type_ in TYPES.items()] if "pg_attribute" in statement else []


def shape(output: str, *below: dict[str, Any], written: str = "(x)") -> shapes.Shape:
    return shapes.shape(cast(Database, Explained(output, *below)), ITEM, written)


def terms(output: str) -> list[tuple[str, str]]:
    return [(term.text, term.form) for term in shape(output).terms]


@pytest.mark.parametrize(
    ("output", "text", "form"),
    [
        ("(item.kb = 5)", "kb = ?", "equality"),
        ("(5 = item.kb)", "? = kb", "equality"),
        ("((item.name)::text = 'x'::text)", "name::text = ?", "equality"),
        ("((item.kb)::text = 'x'::text)", "kb::text = ?", "other"),
        ("item.ok", "ok", "equality"),
        ("(NOT item.ok)", "NOT ok", "equality"),
        ("(item.ok IS NOT TRUE)", "ok IS NOT TRUE", "other"),
        ("(item.kind = ANY ('{a,b}'::text[]))", "kind = ANY ?", "any"),
        ("(item.kind = ANY (ARRAY['a'::text, ($1 ->> 'z'::text)]))", "kind = ANY ?", "any"),
        ("(item.kind <> ALL ('{a,b}'::text[]))", "kind <> ALL ?", "other"),
        ("('x'::text = ANY (item.tags))", "? = ANY tags", "other"),
        ("(item.kb IS NULL)", "kb IS NULL", "null"),
        ("(item.kb IS NOT NULL)", "kb IS NOT NULL", "range"),
        ("(item.kb <= '-5'::integer)", "kb <= ?", "range"),
        ("(now() > item.kb)", "? > kb", "range"),
        ("((item.kb)::numeric <= 1.5e-05)", "kb::numeric <= ?", "other"),
        ("(item.kb >= (($1 ->> 'kb'::text))::integer)", "kb >= ?", "range"),
        ("(item.kb OPERATOR(other.>=) 5)", "kb OPERATOR(other.>=) ?", "range"),
        ("(item.tags && '{a}'::text[])", "tags && ?", "overlap"),
        ("(item.tags @> ARRAY['a'::text])", "tags @> ?", "contains"),
        ("((item.name)::text ~~ 'a%'::text)", "name::text ~~ ?", "like"),
        ("(to_tsvector('english'::regconfig, item.kind) @@ '''x'''::tsquery)", "to_tsvector(?, kind) @@ ?", "text"),
        ('(item."odd ""one""" = \'x\'::text)', '"odd ""one""" = ?', "equality"),
        ("((item.id % 2) = 1)", "(id % ?) = ?", "other"),
        ("(item.tags[1] = 'x'::text)", "tags[?] = ?", "other"),
        (
            "((item.kb)::timestamp(3) without time zone > '2020'::timestamp without time zone)",
            "kb::timestamp without time zone > ?",
            "other",
        ),
        ("(item.kind = ('x'::character varying(3))::text)", "kind = ?", "equality"),
        ("CASE WHEN (item.kb = 3) THEN true ELSE NULL::boolean END", "CASE WHEN (kb = ?) THEN ? ELSE ? END", "other"),
    ],
)
def test_terms_are_normalised_and_known_by_their_form(output: str, text: str, form: str) -> None:
    assert terms(output) == [(text, form)]


def test_conditions_joined_by_and_are_terms_and_others_are_one() -> None:
    assert [text for text, _ in terms("((item.kb > 1) AND (item.kind = 'b'::text) AND (item.kb > 2))")] == ["kb > ?", "kind = ?"]
    assert terms("((item.kb > 1) OR ((item.kind = 'b'::text) AND (item.kb < 5)))") == [("(kb > ?) OR ((kind = ?) AND (kb < ?))", "other")]
    found = shape("((item.kb > 1) OR (item.kind = 'b'::text))")
    assert found.columns == ("kb", "kind")
    assert shape("true").terms == shape("(now() > '2020-01-01'::date)").terms == ()


SECRETS = [
    "secret",
    "it''s secret",
    "\\secret",
    "\\''secret\\",
    "😀 secret",
    "$1 secret",
    "item.kb = secret",
    ")(secret)(",
    '"secret"',
    "--secret",
]


@pytest.mark.parametrize("value", SECRETS)
@pytest.mark.parametrize(
    "form", ["'{}'::text", "E'{}'::text", "('{}'::character varying(10))::text", "lower('{}'::text)", "ARRAY['{}'::text]"]
)
def test_no_value_is_kept(value: str, form: str) -> None:
    constant = form.format(value)
    found = shape(f"((item.kind = {constant}) AND ((item.kb > 4711) OR (item.name ~~ {constant})) AND (f(item.kb, {constant}) = 4711))")
    assert [term.columns for term in found.terms] == [("kb", "name"), ("kb",), ("kind",)]
    assert not re.search(r"secret|4711|[^\x00-\x7f]", found.text + found.packed())


def test_subqueries_are_known_by_the_tables_that_they_read() -> None:
    subplan = {
        "Node Type": "Seq Scan",
        "Parent Relationship": "SubPlan",
        "Subplan Name": "SubPlan 2",
        "Schema": "public",
        "Relation Name": "dep",
        "Alias": "dep",
        "Output": ["dep.n"],
        "Filter": "(dep.n = 'secret'::text)",
    }
    written = "(id NOT IN (SELECT dep.kb FROM dep WHERE n = 'name') AND kind = 'kb')"
    found = shape("((NOT (hashed SubPlan 2)) AND (item.kind = 'kb'::text))", subplan, written=written)
    assert [(term.text, term.form, term.columns) for term in found.terms] == [
        ("NOT subquery of public.dep", "exists", ("id",)),
        ("kind = ?", "equality", ("kind",)),
    ]
    assert found.relation == ("public", "item")


def test_parameters_and_functions_are_no_constants() -> None:
    assert [term.pure for term in shape("((item.id = 1) AND (item.kb = $1) AND (item.kind = lower('X'::text)))").terms] == [
        True,
        False,
        False,
    ]
    assert shape("(item.kb = ($1 ->> 'a'::text))").terms[0].pure is False


def test_a_megabyte_of_constants_is_short() -> None:
    constant = "'" + "a''b\\😀" * 170_000 + "'"
    assert shape(f"(item.kind = {constant}::text)").text == "kind = ?"
    assert shapes.key(f"kind = {constant}") == shapes.key("kind='x'")


def test_a_long_shape_fits_into_the_log_and_stays_itself() -> None:
    many = [f"((item.kb + {n}) {'<' if n % 7 < 3 else '>'} item.id)" for n in range(400)]
    one, other = (shape("(" + " OR ".join(part) + ")") for part in (many, many[::-1]))
    assert len(one.text.encode()) <= shapes.MOST_BYTES
    assert one.text != other.text
    assert shapes.unpacked(one.packed()).text == one.text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("kb = 5", "kb=  -- five\n  7", True),
        ("kind IN ('a', 'b')", "kind IN ('c')", True),
        ("kind = 'a'", "kind = $x$it's$x$", True),
        ("kind = 'it''s'", "kind = E'it\\'s'", True),
        ("kind = 'a' OR kb = 1", "kind = 'a'' OR kb = 1'", False),
        ("kb1 = 5", "kb2 = 5", False),
        ('"5" = 5', '"6" = 5', False),
        ("kind = 'a'", "name = 'a'", False),
        ("kb > 5", "kb >= 5", False),
    ],
)
def test_filters_that_differ_in_constants_alone_have_one_key(one: str, other: str, same: bool) -> None:
    assert (shapes.key(one) == shapes.key(other)) is same


def test_the_setting_is_put_back_and_the_statement_forgotten() -> None:
    class Refusing(Explained):
        def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Any]:
            found = super().execute(statement, types, values)
            if statement.startswith("EXPLAIN"):
                raise ValueError("refused")
            return found

    db = Refusing("true")
    with pytest.raises(ValueError, match="refused"):
        shapes.shape(cast(Database, db), ITEM, "(true)")
    assert "set_config('plan_cache_mode', $1" in db.ran[-2]
    assert db.ran[-1].startswith("DEALLOCATE")
