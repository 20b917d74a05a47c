"""planner.plan: what a search refuses, and what it hands to PostgreSQL."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from planned import CHUNKED, COLUMN, REQUEST, Listed, code, facts, plan, settings

from pgembed import errors, planner
from pgembed.planner import coded
from pgembed.planner.contract import Option, Path, Setting
from pgembed.planner.facts import Facts
from pgembed.planner.partial import VectorIndex

BARE = dataclasses.replace(COLUMN, index_name=None, index_method=None)


@pytest.mark.parametrize(
    ("rows", "known", "changes", "path", "reason"),
    [
        (1e6, facts(), {}, "index", "about 1000000 rows pass the filter: hnsw index product_e_idx"),
        (100, facts(), {}, "exact", "about 100 rows pass the filter: every row that passes is compared"),
        (1e6, facts(), {"exact": True}, "exact", "exact => true"),
        (1e6, facts(), {"recall": 1.0}, "exact", "recall => 1"),
        (1e6, facts(), {"recall": 0.99}, "index", "rows pass"),
        (1e6, facts(), {"k": 1000}, "index", "rows pass"),
        (1e6, facts(), {"k": 1001}, "exact", "rows pass"),
        (1e6, facts(), {"k": None, "max_distance": 0.5}, "exact", "rows pass"),
        (1e6, facts(BARE, indexes=(), but="codes x: why"), {}, "exact", "; codes x: why"),
        (1e6, facts(code=code()), {}, "code", "hnsw index product_bits_idx on codes product.bits, the nearest 50 compared exactly"),
    ],
)
def test_the_path_follows_from_facts_estimate_and_request(
    rows: float, known: Facts, changes: dict[str, Any], path: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coded, "asked", lambda *_, whole: coded.Asked("0101", "1111"))
    made = plan(rows, known, **changes)
    assert made.path == path
    assert reason in made.reason
    assert made.estimated_rows == rows


def test_an_exact_plan_changes_no_settings_of_an_index_and_compiles_nothing() -> None:
    assert plan(10).settings == ("jit", "off", "max_parallel_workers_per_gather", "0")


@pytest.mark.parametrize(("k", "ef_search"), [(1, "400"), (100, "400"), (101, "404"), (240, "960"), (1000, "1000")])
def test_the_width_of_an_index_scan_grows_with_k_within_pgvectors_limit(k: int, ef_search: str) -> None:
    assert settings(plan(k=k))["hnsw.ef_search"] == ef_search


@pytest.mark.parametrize(("recall", "ef_search"), [(None, "400"), (0.9, "100"), (0.95, "200"), (0.98, "400"), (0.99, "1000")])
def test_the_width_of_an_index_scan_grows_with_the_recall_asked(recall: float | None, ef_search: str) -> None:
    assert settings(plan(recall=recall))["hnsw.ef_search"] == ef_search


def test_an_index_scan_goes_on_until_enough_rows_pass_or_its_limit_is_reached() -> None:
    made = plan()
    assert made.option is not None
    assert settings(made)["hnsw.iterative_scan"] == "relaxed_order"
    assert settings(made)["hnsw.max_scan_tuples"] == str(made.option.max_scan_tuples)


def test_ivfflat_reads_more_lists_for_a_higher_recall_and_goes_on() -> None:
    index = VectorIndex("product_e_idx", "ivfflat", False, True, 1e6, 1000)
    known = facts(dataclasses.replace(COLUMN, index_method="ivfflat"), indexes=(index,))
    probes = []
    for recall in (0.9, 0.95, 0.98, 0.99):
        given = settings(plan(1e6, known, recall=recall))
        assert set(given) == {"ivfflat.iterative_scan", "ivfflat.probes", "jit", "max_parallel_workers_per_gather"}
        assert given["ivfflat.iterative_scan"] == "relaxed_order"
        probes.append(int(given["ivfflat.probes"]))
    assert probes == [32, 47, 79, 126]
    few = facts(known.column, indexes=(dataclasses.replace(index, lists=4),))
    assert settings(plan(1e6, few))["ivfflat.probes"] == "4"


@pytest.mark.parametrize("path", ["exact", "index"])
def test_a_path_can_be_forced_where_it_can_answer(path: Path) -> None:
    for rows in (100, 1e6):
        assert plan(rows, path=path).path == path
    with pytest.raises(errors.NotSupported) as caught:
        plan(path="covering")
    assert caught.value.message == 'path "covering" cannot answer this search'
    assert "index, exact" in str(caught.value.hint)


def test_a_forced_path_is_neither_probed_nor_cut_short() -> None:
    db = Listed(3e5)
    made = plan(db=db, path="index", filter="x")
    assert not [statement for statement in db.executed if "AS looked" in statement]
    assert settings(made)["hnsw.max_scan_tuples"] == "100000"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"query_dim": None}, errors.NullNotAllowed, "query is NULL"),
        ({"k": None}, errors.NullNotAllowed, "k is NULL"),
        ({"k": 0}, errors.InvalidParameter, "k must be at least 1, not 0"),
        ({"recall": 0.0}, errors.InvalidParameter, "recall must be above 0 and at most 1, not 0"),
        ({"recall": 1.5}, errors.InvalidParameter, "not 1.5"),
        ({"recall": float("nan")}, errors.InvalidParameter, "not nan"),
        ({"max_distance": float("nan")}, errors.InvalidParameter, "max_distance must be a number"),
        ({"query_dim": 4}, errors.DimensionMismatch, "query has 4 dimensions, product.e has 3"),
    ],
)
def test_bad_requests_are_refused_with_a_hint(changes: dict[str, Any], error: type[errors.PgembedError], message: str) -> None:
    with pytest.raises(error) as caught:
        plan(**changes)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_column_of_no_fixed_dimension_takes_queries_of_any() -> None:
    assert plan(known=facts(dataclasses.replace(COLUMN, dim=None)), query_dim=99).path == "index"


def test_what_the_caller_may_not_read_is_told_before_anything_runs() -> None:
    db = Listed(readable=False)
    with pytest.raises(errors.InsufficientPrivilege) as caught:
        planner.plan(db, facts(readable=False), "item", REQUEST)
    assert "search_keys()" in str(caught.value.hint)
    assert db.prepared == []


def test_a_refused_filter_is_neither_explained_nor_run() -> None:
    db = Listed(3e5, refuses="WHERE (nonsense")
    with pytest.raises(errors.StatementRefused):
        plan(db=db, filter="nonsense")
    assert db.executed == []


def test_values_never_become_part_of_the_statement() -> None:
    statement = plan(params='{"a": "secret"}', max_distance=0.123456, leave_out="secret", k=77).statement
    assert "secret" not in statement
    assert "0.123456" not in statement
    # but how many candidates a graph gives is a number of ours
    assert "77" not in re.sub(r"(LIMIT|>=\)) 77\b", "", statement)


# A row in chunks -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "column", "changes", "path", "reason"),
    [
        (2000, CHUNKED, {}, "exact", "2000 rows with 5.0 chunks each"),
        (2001, CHUNKED, {}, "index", "2001 rows with 5.0 chunks each pass the filter: hnsw index"),
        (2500, dataclasses.replace(CHUNKED, chunks=dataclasses.replace(CHUNKED.chunks, lines=-1)), {}, "exact", "with 4.0 chunks"),
        (2501, dataclasses.replace(CHUNKED, rows=0), {}, "index", "with 4.0 chunks"),
        (1e6, CHUNKED, {"k": 100}, "index", "rows"),
        (1e6, CHUNKED, {"k": 101}, "exact", "k is above 100"),
        (1e6, CHUNKED, {"exact": True}, "exact", "exact => true"),
        (1e6, CHUNKED, {"k": None, "max_distance": 1.0}, "exact", ""),
    ],
)
def test_chunks_are_counted_where_the_path_is_chosen(rows: float, column: Any, changes: dict[str, Any], path: str, reason: str) -> None:
    made = plan(rows, facts(column, indexes=()), **changes)
    assert made.path == path
    assert reason in made.reason


@pytest.mark.parametrize("rows", [10, 1e6])
def test_a_filter_over_chunks_stands_where_only_its_table_is_seen(rows: float) -> None:
    statement = plan(rows, facts(CHUNKED, indexes=()), filter="FILTER", leave_out="42").statement
    for part in statement.split("(FILTER\n)")[:-1]:
        assert part.rstrip().endswith(('FROM "public"."product" AS "product" WHERE', '"pgembed chunk"."of" = "product"."id" AND'))
    assert statement.count("FILTER") == statement.count('NOT ("product"."id" = $5::pg_catalog.text::integer)') == (1 if rows == 10 else 2)


def test_without_a_filter_the_index_of_chunks_is_read_alone_and_nothing_is_compiled() -> None:
    made = plan(known=facts(CHUNKED, indexes=()))
    assert "EXISTS" not in made.statement
    assert "LIMIT 10::pg_catalog.int8 * $3" in made.statement
    assert settings(made)["jit"] == "off"
    assert settings(made)["hnsw.iterative_scan"] == "relaxed_order"


def test_an_ivfflat_index_of_chunks_goes_on_too() -> None:
    made = plan(known=facts(dataclasses.replace(CHUNKED, index_method="ivfflat"), indexes=()))
    assert settings(made) == {"ivfflat.iterative_scan": "relaxed_order", "jit": "off", "max_parallel_workers_per_gather": "0"}


@pytest.mark.parametrize(("output", "part"), [("item", ", content, start_char, end_char\n"), ("key", " AS rank\n")])
def test_keys_of_rows_in_chunks_come_without_the_text(output: str, part: str) -> None:
    assert part in plan(10, facts(CHUNKED, indexes=()), output).statement


def test_workers_beside_begin_only_for_work_that_is_worth_it() -> None:
    long = plan(1e6, exact=True, known=facts(indexes=()))
    assert "max_parallel_workers_per_gather" not in settings(long)


def test_a_graph_that_is_left_after_its_first_rows_is_not_scanned_on() -> None:
    option = Option("index", Setting(20, 400, 0.98, "default"), 1.0, "product_e_idx", "", method="hnsw", max_scan_tuples=9, goes_on=False)
    made = dict(zip(*[iter(planner.settings_of(facts(), option))] * 2, strict=True))
    assert made["hnsw.iterative_scan"] == "off"
    assert "hnsw.max_scan_tuples" not in made
