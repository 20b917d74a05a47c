"""columns: names and keys in SQL, and which embedded column a call means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pgembed import columns, errors
from pgembed.columns import Column, RowFunction, Table


def table(name: str = "product", schema: str = "public", keys: tuple[tuple[str, str], ...] = (('"id"', "integer"),)) -> Table:
    return Table(oid=1, schema=schema, name=name, relkind="r", owner="ann", may_own=True, keys=keys)


class Described:
    """A database whose only statement is the look at the catalogs, answered from a list of columns."""

    def __init__(self, *names: str, **changes: Any) -> None:
        common = {
            "vector_schema": "public",
            "table_oid": 7,
            "schema_name": "public",
            "table_name": "product",
            "relkind": "r",
            "owner": "ann",
            "may_own": True,
            "key_columns": ["id"],
            "key_types": ["integer"],
            "column_name": None,
            "source": None,
            "source_function": None,
            "source_columns": None,
            "trigger_columns": None,
            "hash_column": None,
            "trigger_name": None,
            "trigger_function": None,
            "model": None,
            "fingerprint": None,
            "metric": "cosine",
            "sync": "auto",
            "adopted": True,
            "column_type": "vector",
            "dim": 3,
            "index_name": None,
            "index_method": None,
            "reltuples": -1.0,
            **{"by_hand": "mark", "work_index": None, "role": "current", "change_of": None},
            **{"hash_now": None, "column_number": 2},
            **dict.fromkeys(("chunk_tokens", "chunk_overlap", "chunk_schema", "chunk_name", "chunk_keys", "chunk_lines")),
        }
        self.rows = [{**common, **changes, "column_name": name, "column_now": changes.get("chunk_now", name)} for name in names] or [
            {**common, **changes}
        ]

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Any]:
        assert "pgembed._describe" in statement
        return self.rows


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("id", '"id"'), ("Id", '"Id"'), ('a"b', '"a""b"'), ("select", '"select"'), ('"', '""""'), ("a b;--", '"a b;--"')],
)
def test_an_identifier_is_always_quoted(name: str, quoted: str) -> None:
    assert columns.quote(name) == quoted


@pytest.mark.parametrize(
    ("text", "literal"),
    [("", "''"), ("it's", "'it''s'"), ("a\\b", "E'a\\\\b'"), ("'\\'", "E'''\\\\'''"), ("$$", "'$$'"), ("a\nb", "'a\nb'")],
)
def test_a_literal_reads_back_whatever_the_setting_of_backslashes(text: str, literal: str) -> None:
    assert columns.literal(text) == literal


def test_a_table_is_qualified_in_sql_and_short_where_it_is_shown() -> None:
    assert table().sql == '"public"."product"'
    assert table().shown == "product"
    assert table("We'ird Table", "My Shop").shown == '"My Shop"."We\'ird Table"'
    assert table("thing", "shop").shown == "shop.thing"
    assert table("order").shown == '"order"'


def test_a_simple_key_is_its_text() -> None:
    assert table().key_text("t") == 't."id"::pg_catalog.text'
    assert table().key_matches("t", "$5") == 't."id" = $5::pg_catalog.text::integer'


def test_a_composite_key_is_a_json_array() -> None:
    both = table(keys=(('"a"', "integer"), ('"b"', "text")))
    assert both.key_text("t") == 'pg_catalog.jsonb_build_array(t."a", t."b")::pg_catalog.text'
    assert both.key_matches("t", "$5") == ('t."a" = ($5::pg_catalog.jsonb->>0)::integer AND t."b" = ($5::pg_catalog.jsonb->>1)::text')


def test_a_table_without_a_key_says_how_to_get_one() -> None:
    with pytest.raises(errors.InvalidTableDefinition) as caught:
        table("t", "My Shop", keys=()).key_text("t")
    assert caught.value.sqlstate == "42P16"
    assert caught.value.hint == 'ALTER TABLE "My Shop"."t" ADD PRIMARY KEY (...), then try again.'


def test_a_row_function_takes_its_columns_or_the_row() -> None:
    assert RowFunction("f", ("a", 'B"c')).call("t") == 'f(t."a", t."B""c")'
    assert RowFunction("f", None).call("NEW") == "f(NEW.*)"
    assert RowFunction("f", None).call("t", without=["it's"]) == """f(pg_catalog.jsonb_populate_record(t.*, '{"it''s": null}'))"""


def column(**changes: Any) -> Column:
    return columns.column(Described("embedding", **changes), "product", None)  # type: ignore[arg-type]


def test_the_operator_is_that_of_the_metric_in_pgvectors_schema() -> None:
    assert column(metric="l2", vector_schema='"Ext"').operator == 'OPERATOR("Ext".<->)'
    assert column(metric="inner_product").operator == "OPERATOR(public.<#>)"


def test_freshness_reads_the_vector_and_its_hash() -> None:
    followed = column(hash_column="embedding_hash")
    assert followed.freshness("t") == 'pgembed.freshness(t."embedding", t."embedding_hash")'
    assert column().freshness("t") == 'pgembed.freshness(t."embedding", NULL::pg_catalog.bytea)'


def test_the_only_column_needs_no_name() -> None:
    assert column().name == "embedding"


def test_a_named_column_is_found_among_several() -> None:
    assert columns.column(Described("a", "b"), "product", "b").name == "b"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("db", "target", "name", "error", "message", "hint"),
    [
        (Described(), None, None, errors.NullNotAllowed, "target is NULL", "Name a table"),
        (Described(), "product", None, errors.UnknownObject, 'table "product" has no embedded column', "add_embedding('product'"),
        (Described(), "product", "x", errors.UnknownObject, 'column "x" of table "product"', "add_embedding('product'"),
        (Described("a", "b"), "product", None, errors.AmbiguousColumn, "has 2 embedded columns: a, b", "column_name => 'a'"),
        (
            Described("a", "b"),
            "product",
            "x",
            errors.UnknownObject,
            'column "x" of table "product"',
            "Embedded columns of this table: a, b.",
        ),
        (
            Described("a", column_type=None),
            "product",
            "a",
            errors.UnknownColumn,
            "does not exist any more",
            "drop_embedding('product', 'a')",
        ),
    ],
    ids=["null", "none", "none of that name", "several", "not that one", "gone"],
)
def test_a_column_that_is_not_meant_clearly_is_refused(
    db: Any, target: str | None, name: str | None, error: type[errors.PgembedError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        columns.column(db, target, name)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_table_that_is_gone_is_told() -> None:
    gone = Described()
    gone.rows = []
    with pytest.raises(errors.UnknownTable, match="table with OID 42 does not exist"):
        columns.table(gone, "42")  # type: ignore[arg-type]


CHUNKED = {
    "chunk_tokens": 100,
    "chunk_overlap": 9,
    "chunk_schema": "s",
    "chunk_name": "before",
    "chunk_now": 'C"',
    "chunk_keys": ["of"],
    "chunk_lines": 7.0,
}


def test_a_column_over_chunks_has_its_vectors_elsewhere() -> None:
    found = column(hash_column="embedding_hash", **CHUNKED)
    assert (found.place, found.sql) == ('"s"."C"""', '"embedding"')
    assert found.freshness("t") == 'pgembed.freshness(t."embedding_hash")'
    assert found.chunks is not None
    assert (found.chunks.called, found.now) == ("before", None)
    assert found.embedded("t") == 'coalesce(pg_catalog.octet_length(t."embedding_hash") >= 16, false)'
    assert found.chunks.of_row("c", "t", ['"id"']) == 'c."of" = t."id"'
    with pytest.raises(errors.NotSupported) as caught:
        found.one_vector("this")
    assert "adopt_embedding" in str(caught.value.hint)
    column().one_vector("this")
    assert column().place == '"public"."product"'
    assert column().embedded("t") == '(t."embedding" IS NOT NULL)'


@pytest.mark.parametrize("changes", [{"chunk_keys": None}, {"chunk_keys": ["a", "b"]}, {"chunk_now": None}, {"column_type": None}])
def test_without_its_table_or_foreign_key_it_is_gone(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.UnknownColumn) as caught:
        column(hash_column="h", **{**CHUNKED, **changes})
    assert "table of chunks" in caught.value.message
