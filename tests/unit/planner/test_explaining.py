"""explaining: the words and the script, without a database."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from planned import COLUMN, facts, plan, request

from pgembed import explaining
from pgembed.explaining import Asked

ASKED = Asked(vector="[1,0,0]", text=None, embedding=None, column_name=None)


def script(asked: Asked = ASKED, **changes: Any) -> list[str]:
    made = plan(100, facts())
    return explaining.script(COLUMN, request(**changes), asked, made).split("\n")


def arguments(lines: list[str]) -> list[str]:
    begin = next(place for place, line in enumerate(lines) if line.startswith("EXECUTE"))
    return [line.strip().rstrip(",") for line in lines[begin + 1 : lines.index(");")]]


def test_settings_are_for_the_transaction_and_values_are_quoted_where_they_must_be() -> None:
    pairs = ("hnsw.ef_search", "400", "hnsw.iterative_scan", "relaxed_order", "x.y", "a'; DROP TABLE t")
    assert list(explaining.settings(pairs)) == [
        "SET LOCAL hnsw.ef_search = 400;",
        "SET LOCAL hnsw.iterative_scan = relaxed_order;",
        "SET LOCAL x.y = 'a''; DROP TABLE t';",
    ]


def test_a_script_prepares_the_statement_and_gives_the_values() -> None:
    lines = script()
    assert lines[0] == "BEGIN;"
    assert "SET LOCAL jit = off;" in lines
    assert "PREPARE pgembed_search (jsonb, public.vector, int4) AS" in lines
    assert lines[-2:] == ["DEALLOCATE pgembed_search;", "COMMIT;"]
    assert arguments(lines) == ["NULL", "'[1,0,0]'", "10"]


def test_values_of_a_script_are_constants_that_read_back() -> None:
    given = arguments(script(params='{"a": "it\'s \\\\ $1"}', k=None, max_distance=0.1))
    assert given[:3] == ["""E'{"a": "it''s \\\\\\\\ $1"}'""", "'[1,0,0]'", "NULL"]


def test_a_text_is_embedded_by_the_script_itself() -> None:
    given = arguments(script(dataclasses.replace(ASKED, text="dogs' toys")))
    assert given[1] == """pgembed.embed_query('"public"."product"', 'dogs'' toys', 'e')"""


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("x6f", "'x6f'"),
        ("011", "'011'"),
        ("[1,2]", "'[1,2]'"),
        ("9" * 150, f"'{'9' * 100}'\n    '{'9' * 50}'"),
    ],
)
def test_long_constants_are_short_and_on_several_lines(text: str, sql: str) -> None:
    assert explaining.constant(text) == sql


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0169, "1.69 %"), (1.0, "100 %"), (0.0, "0 %"), (0.0000158, "0.00158 %"), (0.9999999, "100 %")]
)
def test_a_share_has_three_figures(share: float, shown: str) -> None:
    assert explaining.percent(share) == shown


def test_what_is_known_before_anything_is_run() -> None:
    made = dict(explaining.planned(facts(), plan(100, facts())))
    assert made["path"] == "exact"
    assert made["estimated rows"] == "100 (0.01 %)"
    assert made["expected recall"] == "1 (every row compared)"


def test_who_may_not_see_all_rows_is_not_told_what_was_reckoned_of_them() -> None:
    told = dict(explaining.planned(facts(secured=True), plan(100, facts(secured=True))))
    assert "estimated rows" not in told
    assert told["reason"] == "every row that passes is compared"
    assert "ms" not in told["options"]
