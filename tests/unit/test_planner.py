"""planner: which path a search takes, what its statement says, and what it refuses; the database is a list."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest

from pgembed import codepaths, errors, planner
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import Chunks, Column, Table

TABLE = Table(oid=1, schema="public", name="product", relkind="r", owner="ann", may_own=True, keys=(('"id"', "integer"),))
COLUMN = Column(
    table=TABLE,
    name="e",
    source=None,
    source_function=None,
    hash_column=None,
    trigger_name=None,
    trigger_function=None,
    renamed=False,
    model=None,
    fingerprint=None,
    metric="cosine",
    sync="auto",
    adopted=True,
    type="vector",
    dim=3,
    index_name="product_e_idx",
    index_method="hnsw",
    vector_schema="public",
)
REQUEST = planner.Request(query_dim=3, k=10, filter=None, params=None, max_distance=None, recall=None, exact=False, leave_out=None)


class Listed:
    """A database that estimates a fixed number of rows, refuses statements with a word in them, and keeps what it was asked."""

    def __init__(self, rows: float = 1e6, *, refuses: str | None = None, readable: bool = True) -> None:
        self.rows = rows
        self.refuses = refuses
        self.readable = readable
        self.executed: list[str] = []
        self.prepared: list[str] = []

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Any]:
        self.executed.append(statement)
        if statement.startswith("EXPLAIN"):
            return [{"QUERY PLAN": json.dumps([{"Plan": {"Plan Rows": self.rows}}])}]
        return [{"readable": self.readable, "coded": False}]

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        self.prepared.append(statement)
        if self.refuses is not None and self.refuses in statement:
            raise errors.StatementRefused("syntax error", sqlstate="42601")


def plan(rows: float = 1e6, column: Column = COLUMN, output: str = "item", **changes: Any) -> planner.Plan:
    return planner.plan(Listed(rows), column, output, dataclasses.replace(REQUEST, **changes))  # type: ignore[arg-type]


def altered(**changes: Any) -> Column:
    return dataclasses.replace(COLUMN, **changes)


@pytest.mark.parametrize(
    ("rows", "column", "changes", "path", "reason"),
    [
        (1e6, COLUMN, {}, "index", "hnsw index product_e_idx"),
        (planner.EXACT_ROWS + 1, COLUMN, {}, "index", "about 10001 rows pass"),
        (planner.EXACT_ROWS, COLUMN, {}, "exact", "about 10000 rows pass the filter"),
        (1e6, COLUMN, {"exact": True}, "exact", "exact => true"),
        (1e6, COLUMN, {"recall": 1.0}, "exact", "recall => 1"),
        (1e6, COLUMN, {"recall": 0.99}, "index", "rows pass"),
        (1e6, COLUMN, {"k": 1000}, "index", "rows pass"),
        (1e6, COLUMN, {"k": 1001}, "exact", "k is above 1000"),
        (1e6, altered(index_name=None, index_method=None, metric="l2"), {}, "exact", "no vector index on product.e serves its metric, l2"),
        (1e6, altered(index_method="ivfflat"), {}, "index", "ivfflat index"),
    ],
)
def test_the_path_follows_from_index_estimate_and_request(
    rows: float, column: Column, changes: dict[str, Any], path: str, reason: str
) -> None:
    made = plan(rows, column, **changes)
    assert made.path == path
    assert reason in made.reason
    assert made.estimated_rows == rows


def test_an_exact_plan_changes_no_settings() -> None:
    assert plan(10).settings == ()


@pytest.mark.parametrize(("k", "ef_search"), [(1, "400"), (100, "400"), (101, "404"), (240, "960"), (1000, "1000")])
def test_the_width_of_an_index_scan_grows_with_k_within_pgvectors_limit(k: int, ef_search: str) -> None:
    settings = plan(k=k).settings
    assert dict(zip(settings[::2], settings[1::2], strict=True))["hnsw.ef_search"] == ef_search


@pytest.mark.parametrize(("recall", "ef_search"), [(None, "400"), (0.9, "100"), (0.95, "200"), (0.98, "400"), (0.99, "1000")])
def test_the_width_of_an_index_scan_grows_with_the_recall_asked(recall: float | None, ef_search: str) -> None:
    settings = plan(recall=recall).settings
    assert dict(zip(settings[::2], settings[1::2], strict=True))["hnsw.ef_search"] == ef_search


def test_an_index_scan_goes_on_until_enough_rows_pass() -> None:
    hnsw = plan().settings
    assert dict(zip(hnsw[::2], hnsw[1::2], strict=True))["hnsw.iterative_scan"] == "relaxed_order"
    ivfflat = plan(column=altered(index_method="ivfflat")).settings
    assert dict(zip(ivfflat[::2], ivfflat[1::2], strict=True)) == {"ivfflat.iterative_scan": "relaxed_order", "jit": "off"}


def test_an_exact_statement_cannot_be_ordered_by_the_index() -> None:
    assert '("product"."e" OPERATOR(public.<=>) $2) + 0.0::pg_catalog.float8 AS distance' in plan(10).statement


def test_an_index_statement_orders_by_the_bare_operator_and_falls_back_to_the_exact_one() -> None:
    statement = plan().statement
    assert 'ORDER BY "product"."e" OPERATOR(public.<=>) $2 LIMIT $3' in statement
    assert "UNION ALL" in statement
    assert "+ 0.0::pg_catalog.float8" in statement


def test_rows_come_out_whole_and_keys_as_text() -> None:
    assert '("product".*)::"public"."product" AS answer' in plan().statement
    assert '"product"."id"::pg_catalog.text AS answer' in plan(output="key").statement


def test_a_query_is_cast_to_the_columns_type() -> None:
    assert "$2::public.halfvec" in plan(column=altered(type="halfvec")).statement


def test_rows_without_a_vector_are_left_out_and_can_be_counted() -> None:
    made = plan(filter="price < 80")
    assert '"product"."e" IS NOT NULL' in made.statement
    assert made.unembedded == (
        'SELECT pg_catalog.count(*) AS n FROM "public"."product" AS "product" WHERE (price < 80\n) AND "product"."e" IS NULL'
    )


def test_bounds_are_in_both_branches_of_the_statement() -> None:
    statement = plan(max_distance=0.5, leave_out="42").statement
    assert statement.count("OPERATOR(pg_catalog.<=) $4") == 2
    assert statement.count('NOT ("product"."id" = $5::pg_catalog.text::integer)') == 2


def test_values_never_become_part_of_the_statement() -> None:
    statement = plan(params='{"a": "secret"}', max_distance=0.123456, leave_out="secret", k=77).statement
    assert "secret" not in statement
    assert "0.123456" not in statement
    assert "77" not in statement


def test_a_filter_is_prepared_bare_and_in_parentheses_before_it_is_explained() -> None:
    db = Listed()
    planner.plan(db, COLUMN, "item", dataclasses.replace(REQUEST, filter="a -- b"))  # type: ignore[arg-type]
    assert [statement.partition(" WHERE ")[2] for statement in db.prepared] == ["a -- b", "(a -- b\n)"]


def test_a_refused_filter_is_not_explained_and_keeps_its_sqlstate() -> None:
    db = Listed(refuses="WHERE (nonsense")
    with pytest.raises(errors.StatementRefused) as caught:
        planner.plan(db, COLUMN, "item", dataclasses.replace(REQUEST, filter="nonsense"))  # type: ignore[arg-type]
    assert caught.value.sqlstate == "42601"
    assert caught.value.message == "filter is not a boolean expression over product: syntax error"
    assert "what stands after WHERE" in str(caught.value.hint)
    assert not [statement for statement in db.executed if statement.startswith("EXPLAIN")]


@pytest.mark.parametrize("condition", [None, "", "  \n"])
def test_no_filter_passes_every_row(condition: str | None) -> None:
    assert " WHERE true AND " in plan(filter=condition).statement.replace("\n    ", " ")


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
    assert plan(column=altered(dim=None), query_dim=99).path == "index"


def test_what_the_caller_may_not_read_is_told_before_anything_runs() -> None:
    db = Listed(readable=False)
    with pytest.raises(errors.InsufficientPrivilege) as caught:
        planner.plan(db, COLUMN, "item", REQUEST)  # type: ignore[arg-type]
    assert "search_keys()" in str(caught.value.hint)
    assert db.prepared == []


# A row in chunks -----------------------------------------------------------------------------------------------------------------

CHUNKS = Chunks(schema="public", name="product_e_chunk", keys=('"of"',), tokens=100, overlap=0, lines=5e6)
CHUNKED = dataclasses.replace(COLUMN, chunks=CHUNKS, rows=1e6)


@pytest.mark.parametrize(
    ("rows", "column", "changes", "path", "reason"),
    [
        (2000, CHUNKED, {}, "exact", "2000 rows with 5.0 chunks each"),
        (2001, CHUNKED, {}, "index", "2001 rows with 5.0 chunks each pass the filter: hnsw index"),
        (2500, dataclasses.replace(CHUNKED, chunks=dataclasses.replace(CHUNKS, lines=-1)), {}, "exact", "with 4.0 chunks"),
        (2501, dataclasses.replace(CHUNKED, rows=0), {}, "index", "with 4.0 chunks"),
        (1e6, CHUNKED, {"k": 100}, "index", "rows"),
        (1e6, CHUNKED, {"k": 101}, "exact", "k is above 100"),
        (1e6, CHUNKED, {"exact": True}, "exact", "exact => true"),
    ],
)
def test_chunks_are_counted_where_the_path_is_chosen(rows: float, column: Column, changes: dict[str, Any], path: str, reason: str) -> None:
    made = plan(rows, column, **changes)
    assert made.path == path
    assert reason in made.reason


@pytest.mark.parametrize("rows", [10, 1e6])
def test_a_filter_stands_where_only_its_table_is_seen(rows: float) -> None:
    statement = plan(rows, CHUNKED, filter="FILTER", leave_out="42").statement
    for part in statement.split("(FILTER\n)")[:-1]:
        assert part.rstrip().endswith(('FROM "public"."product" AS "product" WHERE', '"pgembed chunk"."of" = "product"."id" AND'))
    assert statement.count("FILTER") == statement.count('NOT ("product"."id" = $5::pg_catalog.text::integer)') == (1 if rows == 10 else 2)


def test_without_a_filter_the_index_is_read_alone_and_nothing_is_compiled() -> None:
    made = plan(column=CHUNKED)
    assert "EXISTS" not in made.statement
    assert "LIMIT 10::pg_catalog.int8 * $3" in made.statement
    assert dict(zip(made.settings[::2], made.settings[1::2], strict=True))["jit"] == "off"


def test_rows_without_chunks_can_be_counted() -> None:
    assert plan(column=CHUNKED, filter="price < 80").unembedded == (
        'SELECT pg_catalog.count(*) AS n FROM "public"."product" AS "product" WHERE (price < 80\n) AND NOT EXISTS'
        ' (SELECT FROM "public"."product_e_chunk" AS "pgembed chunk" WHERE "pgembed chunk"."of" = "product"."id")'
    )


@pytest.mark.parametrize(("output", "part"), [("item", ", content, start_char, end_char\n"), ("key", " AS rank\n")])
def test_keys_come_without_the_text(output: str, part: str) -> None:
    assert part in plan(10, CHUNKED, output).statement


# Codes ---------------------------------------------------------------------------------------------------------------------------


def only(described: type, **given: Any) -> Any:
    return described(**{field.name: None for field in dataclasses.fields(described)} | given)


def coded(table: Table = TABLE) -> Code:
    codec = only(CodecRow, name="c", kind="bits", length=4)
    made: Code = only(Code, table=table, name="bits", codec=codec)
    return made


CANDIDATES = codepaths.Candidates(code=coded(), number=120, query="0101", order="CODE DISTANCE", reason="codes")


def by_code(monkeypatch: pytest.MonkeyPatch, candidates: codepaths.Candidates, column: Column = COLUMN, **changes: Any) -> planner.Plan:
    monkeypatch.setattr(planner, "_candidates", lambda db, column, request: (candidates, ""))
    return plan(1e6, column, **changes)


def test_candidates_are_taken_by_code_and_compared_by_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    made = by_code(monkeypatch, CANDIDATES, filter="FILTER", max_distance=0.5, leave_out="42")
    assert (made.path, made.code) == ("code", "0101")
    scan, _, rest = made.statement.partition("\n)\nSELECT")
    assert "ORDER BY CODE DISTANCE LIMIT 120" in scan
    assert scan.count("(FILTER\n)") == rest.count("(FILTER\n)") == 1
    assert '"product"."bits" IS NOT NULL' in scan
    # the bound is not the scan's: the index would be read to its end
    assert "$4" not in scan
    assert 'distance OPERATOR(pg_catalog.<=) $4 ORDER BY distance, ROW(k0) LIMIT $3) AS "pgembed best"' in rest
    assert '(SELECT pg_catalog.count(*) FROM "pgembed nearest") OPERATOR(pg_catalog.>=) 120' in rest
    assert "+ 0.0::pg_catalog.float8" in rest


def test_rows_without_a_key_are_found_again_by_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    table = dataclasses.replace(TABLE, keys=())
    made = by_code(monkeypatch, dataclasses.replace(CANDIDATES, code=coded(table)), altered(table=table))
    assert 'ON "product".tableoid = "pgembed best".k0 AND "product".ctid = "pgembed best".k1' in made.statement


@pytest.mark.parametrize(
    ("number", "recall", "ef_search"), [(120, 0.92, "120"), (120, None, "400"), (120, 0.99, "600"), (700, None, "700")]
)
def test_the_scan_of_codes_is_as_wide_as_its_candidates(
    monkeypatch: pytest.MonkeyPatch, number: int, recall: float | None, ef_search: str
) -> None:
    settings = by_code(monkeypatch, dataclasses.replace(CANDIDATES, number=number), recall=recall).settings
    assert dict(zip(settings[::2], settings[1::2], strict=True))["hnsw.ef_search"] == ef_search


@pytest.mark.parametrize(
    ("curve", "k", "recall", "number"),
    [
        ({"50": 0.98, "100": 0.99, "200": 0.999}, 10, 0.98, 100),
        ({"50": 0.98, "100": 0.99, "200": 0.999}, 10, 0.96, 50),
        ({"50": 0.98, "100": 0.99, "200": 0.999}, 10, 0.99, 200),
        ({"50": 0.98, "100": 0.99, "200": 0.999}, 10, 0.999, None),
        ({"20": 0.999}, 10, 0.98, 40),
        ({"20": 0.999}, 1, 0.98, 20),
        ({"100": 0.999}, 50, 0.98, 500),
        ({"100": 0.999}, 101, 0.98, None),
        ({"20": 0.999}, 251, 0.98, None),
        ({}, 10, 0.98, None),
        (None, 10, 0.98, None),
    ],
)
def test_half_of_what_may_be_missed_is_the_codes(curve: dict[str, float] | None, k: int, recall: float, number: int | None) -> None:
    measured = None if curve is None else {"k": 10, "hamming": curve, "asymmetric": {"10": 1.0}}
    codec = dataclasses.replace(coded().codec, measured=measured)
    assert codepaths.needed(codec, k, recall)[0] == number
    assert codepaths.needed(dataclasses.replace(codec, measured={"k": 10, "hamming": {}}, checked=measured), k, recall)[0] == number
