"""rendering: what the statement of a path says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from planned import COLUMN, SENT, TABLE, Listed, code, facts, plan

from pgembed.planner import coded
from pgembed.planner.contract import Plan
from pgembed.planner.facts import Facts


@pytest.fixture(autouse=True)
def query_as_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "asked", lambda *_, whole: coded.Asked("0101" if whole else "0001", "1111"))


def test_an_exact_statement_cannot_be_ordered_by_the_index() -> None:
    assert '("product"."e" OPERATOR(public.<=>) $2) + 0.0::pg_catalog.float8 AS distance' in plan(10).statement


def test_an_index_statement_orders_by_the_bare_operator_and_falls_back_to_the_exact_one() -> None:
    scan, _, rest = plan().statement.partition("\n)\nSELECT")
    assert 'ORDER BY "product"."e" OPERATOR(public.<=>) $2 LIMIT 10' in scan
    assert "UNION ALL" in rest
    assert '("product"."e" OPERATOR(public.<=>) $2) + 0.0::pg_catalog.float8 AS distance' in rest
    assert 'WHERE NOT (SELECT pg_catalog.count(*) FROM "pgembed nearest") OPERATOR(pg_catalog.>=) 10' in rest


def test_what_an_index_gave_is_sorted_again() -> None:
    """An index that goes on for more gives rows nearly in order; PostgreSQL 17 would take them for sorted."""
    assert 'ORDER BY "pgembed nearest".distance + 0.0::pg_catalog.float8, "pgembed nearest".k0 LIMIT $3' in plan().statement


def test_rows_come_out_whole_and_keys_as_text() -> None:
    assert '("product".*)::"public"."product" AS answer' in plan().statement
    assert '"pgembed best".k0::pg_catalog.text AS answer' in plan(output="key").statement


def test_a_query_is_cast_to_the_columns_type() -> None:
    assert "$2::public.halfvec" in plan(known=facts(dataclasses.replace(COLUMN, type="halfvec"))).statement


@pytest.mark.parametrize("rows", [10, 1e6])
def test_rows_without_a_vector_are_left_out(rows: float) -> None:
    statement = plan(rows, filter="price < 80").statement
    assert statement.count('(price < 80\n) AND "product"."e" IS NOT NULL') == (1 if rows == 10 else 2)


def test_bounds_are_in_both_branches_of_the_statement_but_not_in_the_scan() -> None:
    scan, _, rest = plan(max_distance=0.5, leave_out="42").statement.partition("\n)\nSELECT")
    assert "$4" not in scan
    assert rest.count("OPERATOR(pg_catalog.<=) $4") == 2
    assert scan.count('NOT ("product"."id" = $5::pg_catalog.text::integer)') == 1
    assert rest.count('NOT ("product"."id" = $5::pg_catalog.text::integer)') == 1


def by_code(known: Facts, rows: float = 1e6, **changes: Any) -> Plan:
    made = plan(rows, known, **changes)
    assert made.path == "code"
    return made


def test_candidates_are_taken_by_code_and_compared_by_vector() -> None:
    made = by_code(facts(code=code(curve={"120": 0.999})), filter="FILTER", max_distance=0.5, leave_out="42")
    assert (made.code, made.mask) == ("0101", "1111")
    scan, _, rest = made.statement.partition("\n)\nSELECT")
    assert 'ORDER BY "product"."bits" OPERATOR(public.<~>) $6::pg_catalog.text::pg_catalog.bit(4) LIMIT 120' in scan
    assert scan.count("(FILTER\n)") == rest.count("(FILTER\n)") == 1
    assert '"product"."bits" IS NOT NULL' in scan
    # the bound is not the scan's: the index would be read to its end
    assert "$4" not in scan
    assert rest.count("OPERATOR(pg_catalog.<=) $4") == 2
    assert '(SELECT pg_catalog.count(*) FROM "pgembed nearest") OPERATOR(pg_catalog.>=) 120' in rest
    assert "+ 0.0::pg_catalog.float8" in rest


def test_rows_without_a_key_are_found_again_by_their_place() -> None:
    table = dataclasses.replace(TABLE, keys=())
    made = by_code(facts(dataclasses.replace(COLUMN, table=table), code=code(table)))
    assert '"product".tableoid = "pgembed best".k0 AND "product".ctid = "pgembed best".k1' in made.statement


@pytest.mark.parametrize(
    ("number", "recall", "ef_search"), [(120, 0.92, "120"), (120, None, "400"), (120, 0.99, "600"), (700, None, "700")]
)
def test_the_scan_of_codes_is_as_wide_as_its_candidates(number: int, recall: float | None, ef_search: str) -> None:
    known = facts(dataclasses.replace(COLUMN, index_name=None, index_method=None), code=code(curve={str(number): 0.999}), indexes=())
    made = by_code(known, recall=recall)
    assert made.settings[:2] == ("hnsw.ef_search", ef_search)


def test_codes_in_an_index_are_compared_without_the_bits_that_are_unsure_and_in_no_graphs_order() -> None:
    covering = {"Node Type": "Index Only Scan", "Alias": "product", "Index Cond": "...", "Plan Rows": 20_000}
    made = plan(known=facts(code=code()), db=Listed(plan=covering), filter="x")
    assert (made.path, made.code, made.mask) == ("covering", "0001", "1111")
    query, mask = "$6::pg_catalog.text::pg_catalog.bit(4)", "$7::pg_catalog.text::pg_catalog.bit(4)"
    row = f'("product"."bits"::pg_catalog.bit OPERATOR(pg_catalog.&) {mask})'
    both = f"{row}\n        OPERATOR(public.<~>) ({query} OPERATOR(pg_catalog.&) {mask})"
    assert f"ORDER BY ({both}) + 0.0::pg_catalog.float8 LIMIT" in made.statement
    assert SENT.hex() not in made.statement
