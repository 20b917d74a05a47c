"""pgembed.sqlalchemy without a server: what is rendered."""

from __future__ import annotations

import decimal
import subprocess
import sys
import uuid
from typing import Any

import numpy as np
import pytest
from mapped import Dog, Maker, Saw, Thing, Upper, compiled, rendered
from sqlalchemy import (
    ARRAY,
    CHAR,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    exists,
    func,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext import serializer
from sqlalchemy.orm import aliased

from pgembed import errors
from pgembed.sqlalchemy import embed, embed_query, link, search, search_keys, search_like, semantic_join


def test_search_is_one_function_call_that_names_columns_and_never_the_row() -> None:
    hits = search(Thing, "rain", k=5)
    statement, values = compiled(select(hits.entity, hits.rank).order_by(hits.rank))
    assert statement == (
        "SELECT anon_1.id, anon_1.name, anon_1.price, anon_1.distance, anon_1.maker_id, anon_1.rank "
        "FROM (SELECT (anon_2.item).id AS id, (anon_2.item).name AS name, (anon_2.item).price AS price, "
        "(anon_2.item).distance AS distance, (anon_2.item).maker_id AS maker_id, (anon_2.item).e AS e, "
        "anon_2.distance AS distance_, anon_2.rank AS rank, anon_2.chunk AS chunk, anon_2.start_char AS start_char, "
        "anon_2.end_char AS end_char "
        'FROM pgembed.search(NULL::shop."thing", query => %(query_1)s::VARCHAR, k => %(k_1)s::INTEGER) AS anon_2) AS anon_1 '
        "ORDER BY anon_1.rank"
    )
    assert values == {"query_1": "rain", "k_1": 5}


def test_options_appear_by_name_where_they_are_given() -> None:
    hits = search(Thing, [1, 0, 0], column_name=Thing.e, max_distance=0.5, recall=0.9, exact=True)
    statement, values = compiled(select(hits.rank))
    assert "query => CAST(%(query_1)s AS VECTOR)" in statement
    assert "column_name => %(column_name_1)s::VARCHAR, max_distance => %(max_distance_1)s, recall => %(recall_1)s" in statement
    assert "exact => %(exact_1)s" in statement
    assert (values["column_name_1"], values["max_distance_1"], values["recall_1"]) == ("e", 0.5, 0.9)


def test_filter_values_become_params_and_the_filter_has_places_for_them() -> None:
    hits = search(Thing, "x", filter=(Thing.price < decimal.Decimal("9.99")) & (Thing.title == "a'b"))
    statement, values = compiled(select(hits.rank))
    assert values["filter_1"] == "thing.price < ($1->>'p1')::NUMERIC AND thing.name = ($1->>'p2')::TEXT"
    assert (
        "params => pg_catalog.jsonb_object(ARRAY['p1', 'p2'], "
        "ARRAY[CAST(CAST(%(price_1)s AS NUMERIC) AS TEXT), CAST(%(name_1)s::VARCHAR AS TEXT)])" in statement
    )
    assert (values["price_1"], values["name_1"]) == (decimal.Decimal("9.99"), "a'b")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Thing.id.in_([1, 2]), "thing.id = ANY (($1->>'p1')::INTEGER[])"),
        (Thing.title.not_in(["a"]), "thing.name != ALL (($1->>'p1')::TEXT[])"),
        (Thing.title.like("50%"), "thing.name LIKE ($1->>'p1')::TEXT"),
        (Thing.id % 2 == 0, "thing.id % ($1->>'p1')::INTEGER = ($1->>'p2')::INTEGER"),
        (Thing.maker_id.is_(None), "thing.maker_id IS NULL"),
        (text("price < 80"), "price < 80"),
        (text("price < :top").bindparams(top=80), "price < ($1->>'p1')::INTEGER"),
        (
            Thing.maker.has(Maker.name == "m"),
            "EXISTS (SELECT 1 FROM maker WHERE maker.id = thing.maker_id AND maker.name = ($1->>'p1')::TEXT)",
        ),
        (
            Thing.price < select(func.avg(Thing.price)).scalar_subquery(),
            "thing.price < (SELECT avg(thing.price) AS avg_1 FROM shop.thing AS thing)",
        ),
        (exists().where(Maker.id == Thing.maker_id), "EXISTS (SELECT * FROM maker WHERE maker.id = thing.maker_id)"),
    ],
)
def test_filter_text(condition: Any, expected: str) -> None:
    assert " ".join(rendered(condition).replace("(EXISTS", "EXISTS").split()).removesuffix(")") == expected.removesuffix(")")


def test_no_length_or_precision_is_cast_to() -> None:
    # a cast to VARCHAR(20) would cut a longer value off, and find what was not asked for
    assert rendered(Thing.title == "a" * 21) == "thing.name = ($1->>'p1')::TEXT"
    assert rendered(Thing.price == decimal.Decimal("1.239")) == "thing.price = ($1->>'p1')::NUMERIC"
    table = Table(
        "t", MetaData(), Column("a", Upper()), Column("b", ARRAY(String(3))), Column("c", CHAR(3)), Column("d", postgresql.BIT(3))
    )
    table.append_column(Column("f", postgresql.CITEXT()))
    columns = table.c
    condition = (
        (columns.a.in_(["abcd"]))
        & (columns.b == ["abcd"])
        & (columns.c == "abcd")
        & (columns.d == literal("1010", postgresql.BIT(3)))
        & (columns.f == "A")
    )
    statement, values = compiled(select(search(table, "x", filter=condition).rank))
    assert values["filter_1"] == (
        "t.a = ANY (($1->>'p1')::TEXT[]) AND t.b = ($1->>'p2')::TEXT[] AND t.c = ($1->>'p3')::TEXT AND t.d = ($1->>'p4')::VARBIT "
        "AND t.f = ($1->>'p5')::CITEXT"
    )
    assert "%(param_1)s::TEXT[]" in statement


def test_a_filter_over_another_table_is_refused() -> None:
    with pytest.raises(errors.NotSupported, match="the filter reads another table: maker") as caught:
        compiled(select(search(Thing, "x", filter=Maker.name == "m").rank))
    assert caught.value.hint is not None
    assert "has(" in caught.value.hint
    hits = search(Thing, "x")
    with pytest.raises(errors.NotSupported, match="the filter reads another table: a subquery"):
        compiled(select(search(Thing, "x", filter=hits.entity.price < 3).rank))
    with pytest.raises(errors.NotSupported, match="the filter reads another table: an alias of thing"):
        compiled(select(search(Thing, "x", filter=aliased(Thing).price < 3).rank))


@pytest.mark.parametrize(
    ("query", "message"),
    [(5, "expected list or ndarray"), (b"x", "expected list or ndarray"), (["a", "b"], ""), (np.ones((1, 3)), "expected ndim to be 1")],
)
def test_what_is_neither_a_text_nor_a_vector_is_refused(query: Any, message: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"query is neither a text nor a vector: {message}") as caught:
        search(Thing, query)
    assert "list of numbers" in str(caught.value.hint)
    with pytest.raises(errors.InvalidParameter, match="has no key yet"):
        search_like(Thing, Thing(title="new"))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (func.f(Thing.title, object()), "no type that SQLAlchemy knows"),
        (tuple_(Thing.id, Thing.price).in_([(1, 2)]), "cannot compare tuples"),
    ],
)
def test_what_cannot_be_sent_is_refused(condition: Any, message: str) -> None:
    with pytest.raises(errors.NotSupported, match=message) as caught:
        compiled(select(search(Thing, "x", filter=condition).rank))
    assert caught.value.hint


def test_a_filter_is_an_expression_not_a_text() -> None:
    with pytest.raises(ArgumentError, match="explicitly declared as text"):
        search(Thing, "x", filter="price < 80")


def test_targets_that_are_no_table_are_refused() -> None:
    with pytest.raises(errors.InvalidParameter, match="a mapped class or a Table"):
        search("thing", "x")  # type: ignore[call-overload]
    with pytest.raises(errors.InvalidParameter, match="a mapped class or a Table"):
        search(aliased(Thing), "x")
    with pytest.raises(errors.NotSupported, match="Saw is not mapped to one table"):
        search(Saw, "x")
    with pytest.raises(errors.InvalidParameter, match="a column"):
        semantic_join("thing", Maker.name)
    with pytest.raises(errors.NullNotAllowed):
        search(Thing, None)
    with pytest.raises(errors.InvalidParameter, match="one text"):
        embed(["a", "b"])  # type: ignore[arg-type]


def test_a_subclass_in_one_table_is_part_of_the_filter() -> None:
    values = compiled(select(search(Dog, "x", filter=Dog.id > 3).entity))[1]
    assert values["filter_1"] == "animal.id > ($1->>'p1')::INTEGER AND animal.kind = ANY (($1->>'p2')::TEXT[])"


def test_names_that_would_be_read_as_types_are_quoted() -> None:
    table = Table("position", MetaData(), Column("id", Integer), Column("Odd Name", Integer))
    statement, values = compiled(select(search(table, "x", filter=table.c["Odd Name"] > 1)))
    assert 'NULL::"position"' in statement
    assert '(anon_2.item)."Odd Name" AS "Odd Name"' in statement
    assert values["filter_1"] == "position.\"Odd Name\" > ($1->>'p1')::INTEGER"


def test_functions() -> None:
    nearest = select(Thing.id).order_by(Thing.e.cosine_distance(embed_query(Thing.e, "rain"))).limit(3)
    assert (
        "ORDER BY shop.thing.e <=> pgembed.embed_query('shop.\"thing\"'::pg_catalog.regclass, content => %(content_1)s::VARCHAR, "
        "column_name => %(column_name_1)s::VARCHAR)" in compiled(nearest)[0]
    )
    statement, _ = compiled(select(embed("a", model="m", role="document")))
    assert "pgembed.embed(content => %(content_1)s::VARCHAR, model => %(model_1)s::VARCHAR, role => %(role_1)s::VARCHAR)" in statement
    assert "pgembed.search_keys('shop.\"thing\"'::pg_catalog.regclass, query =>" in compiled(select(search_keys(Thing, "x")))[0]
    assert 'pgembed.search_like(NULL::shop."thing", key => ' in compiled(select(search_like(Thing, 42)))[0]
    assert compiled(select(search_like(Thing, (1, uuid.UUID(int=0)))))[1]["key_1"] == '[1, "00000000-0000-0000-0000-000000000000"]'
    assert 'pgembed.link(NULL::"maker", content => ' in compiled(select(link(Maker, "IBM").entity))[0]


def test_semantic_join_names_both_sides() -> None:
    pairs = semantic_join(Thing.title, Maker.name, k=2, mapping="one_to_one", precision=0.9, condition=Thing.maker_id == Maker.id)
    statement, values = compiled(select(pairs.left, pairs.right, pairs.distance, pairs.is_match))
    assert statement.startswith("SELECT anon_1.left_id, anon_1.left_name,")
    assert 'pgembed.semantic_join(NULL::shop."thing", NULL::"maker", left_column => ' in statement
    assert '"precision" => ' in statement
    assert values["condition_1"] == "l.maker_id = r.id"
    assert (values["left_column_1"], values["right_column_1"], values["mapping_1"]) == ("name", "name", "one_to_one")
    itself = semantic_join(Thing.title, Thing.title)
    assert {"left_id", "right_id"} <= set(itself.c.keys())
    both, _ = compiled(select(itself.right.id, itself.left.id, itself.distance))
    assert both.startswith("SELECT anon_1.right_id, anon_1.left_id, anon_1.distance FROM (SELECT (anon_2.left_row).id AS left_id, ")
    assert both.count("pgembed.semantic_join(") == 1
    read_back = serializer.loads(serializer.dumps(select(itself.right.id, itself.left.id)), Thing.metadata)
    assert compiled(read_back)[0].count("pgembed.semantic_join(") == 1
    assert not hasattr(semantic_join(Thing.__table__, Thing), "left")
    with pytest.raises(errors.NotSupported, match="cannot tell"):
        semantic_join(Thing.title, Thing.title, condition=Thing.id > 3)


def test_semantic_join_takes_every_option_of_the_server() -> None:
    told = Table("told", MetaData(schema="shop"), Column("left_key", String), Column("right_key", String))
    pairs = semantic_join(
        Thing,
        Maker.name,
        k=None,
        max_distance=0.5,
        recall=0.9,
        labels=told,
        attributes={"name": "title"},
        candidates="hybrid",
        join_type="left",
        matches_only=True,
        not_equal=True,
        hub_correction="csls",
        search_recall=0.99,
        hubness="hub",
    )
    statement, values = compiled(select(pairs.left, pairs.right, pairs.probability, pairs.evidence))
    assert "left_column" not in statement
    for written in (
        "labels => 'shop.\"told\"'::pg_catalog.regclass",
        "k => CAST(NULL AS INTEGER)",
        "attributes => %(attributes_1)s::JSONB",
        "matches_only => %(matches_only_1)s",
    ):
        assert written in statement
    names = ("recall", "attributes", "candidates", "join_type", "not_equal", "hub_correction", "search_recall", "hubness")
    assert [values[f"{name}_1"] for name in names] == [0.9, {"name": "title"}, "hybrid", "left", True, "csls", 0.99, "hub"]
    plain = semantic_join(Thing, Maker, attributes=["name"])
    statement, values = compiled(select(plain.rank))
    assert values["attributes_1"] == ["name"]
    assert "candidates" not in statement


def test_cache_key_changes_with_the_shape_and_not_with_a_value() -> None:
    def key(condition: Any, query: Any = "x", **kw: Any) -> Any:
        made = select(search(Thing, query, filter=condition, **kw).rank)._generate_cache_key()
        assert made is not None
        return made.key

    assert key(Thing.price < 1) == key(Thing.price < 2, "y", k=3)
    assert key(Thing.id.in_([1])) == key(Thing.id.in_([1, 2, 3]))
    assert key(Thing.price < 1) != key(Thing.price > 1)
    assert key(Thing.price < 1) != key(Thing.distance < 1)
    assert key(None) != key(None, column_name="e")
    assert key(None) != key(None, query=[1, 2, 3])


def test_a_literal_percent_sign_is_sent_once() -> None:
    assert rendered(text("name LIKE '5%'")) == "name LIKE '5%'"


def test_statements_can_be_printed_for_any_dialect() -> None:
    assert "pgembed.search(" in str(select(search(Thing, "x", filter=Thing.price < 3)))


def test_importing_installs_no_listener_and_no_server_code() -> None:
    script = (
        "import sys, sqlalchemy, sqlalchemy.orm, pgvector.sqlalchemy\n"
        "from sqlalchemy.event import registry\n"
        "before = len(registry._key_to_collection)\n"
        "import pgembed.sqlalchemy\n"
        "assert len(registry._key_to_collection) == before\n"
        "assert not [name for name in sys.modules if name.startswith(('pgembed.udf', 'pgembed.models', 'onnxruntime', 'alembic'))]\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
