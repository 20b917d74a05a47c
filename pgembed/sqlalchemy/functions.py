"""functions: embeddings as expressions, of pgvector's own type and with its operators; texts cut and counted; distances."""

from __future__ import annotations

from typing import Any, overload

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import ARRAY, ColumnElement, Double, Integer, Text
from sqlalchemy.sql import coercions, roles

from pgembed import errors
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call
from pgembed.sqlalchemy.typed import Json, Key, Name, Number, Out, Relation, Rows, Words, arguments, rows, scalar


class Chunks(Rows):
    """Slices of a text, by `chunk`: number from 1, place in characters from 1 (the end exclusive), and the slice."""

    inherit_cache = True
    ordinal = Out(Integer)
    start_char = Out(Integer)
    end_char = Out(Integer)
    content = Out(Text)


def embed(content: Words, model: Words | None = None, role: Words = "query") -> ColumnElement[Any]:
    """The embedding of a text, as pgvector's VECTOR; NULL of NULL.

    Args:
        content: a text; an expression of an array of texts gives an array of vectors, as documents.
        model: its name; None takes the database's default. To compare with a column use `embed_query`, which knows the column's model.
        role: ``query`` or ``document``.
    Raises:
        errors.InvalidParameter: content is a list; batches belong into SQL, beside the rows that they are of.
    """
    if isinstance(content, list | tuple):
        raise errors.InvalidParameter("embed takes one text", hint="An array of texts is embedded in SQL: embed(func.array_agg(name)).")
    given = locals()
    many = not isinstance(content, str | None) and isinstance(coercions.expect(roles.ExpressionElementRole, content).type, ARRAY)
    return scalar(embed, given, ARRAY(VECTOR()) if many else VECTOR())


def embed_query(target: Relation, content: Words, column_name: Name | None = None) -> ColumnElement[Any]:
    """The embedding of a query with the model of an embedded column, as pgvector's VECTOR.

    ::

        select(Product).order_by(Product.embedding.cosine_distance(embed_query(Product.embedding, "rain gear"))).limit(10)

    Args:
        target: ``Model.attribute`` or ``table.c.column`` of the embedded column; or a mapped class or Table that has only one.
        content: the query's text; of NULL it is NULL.
        column_name: its name, where the target is a class or a Table with several.
    """
    return scalar(embed_query, locals(), VECTOR())


def token_count(content: Words, model: Words | None = None) -> ColumnElement[int]:
    """Number of tokens of a text, the content; above max_tokens of the model the rest is cut off."""
    return scalar(token_count, locals(), Integer())


def chunk(content: Words, max_tokens: Number = 200, overlap: Number = 0, model: Words | None = None) -> Chunks:
    """Cut a text at ends of paragraphs, sentences or words into slices of at most max_tokens.

    Args:
        content: the text; NULL has no slices.
        overlap: tokens that neighbouring slices share.
        model: whose tokens; None is the database's default.
    """
    return rows(Chunks, chunk, locals())


def text_array(values: Json) -> ColumnElement[list[str]]:
    """The values of a JSON array as an array of text; null in it is NULL, and so is null itself."""
    return scalar(text_array, locals(), ARRAY(Text()))


@overload
def distance(a: Any, b: Any, codec: Words | None = None) -> ColumnElement[float]: ...


@overload
def distance(
    target: Relation, key: Key, other: Relation, other_key: Key, column_name: Name | None = None, other_column: Name | None = None
) -> ColumnElement[float]: ...


def distance(*values: Any, **named: Any) -> ColumnElement[float]:
    """Distance of two codes, or of a code and a vector, by a codec's metric; or of two rows by their embedded columns, exact.

    ::

        select(distance(Product.code, embed_query(Product, "rain gear"), "product_sign"))
        select(distance(Product, 1, Product, 2))

    Args:
        a, b: codes, or a code and a vector.
        codec: its name, needed for bits and halfvec, which do not say it.
        target, other: tables, or their columns.
        key, other_key: primary keys, as `search_like` takes one.
        column_name, other_column: embedded columns, or columns of codes.
    Returns:
        In the metric of the codec or column; of rows NULL where one is not embedded yet.
    """
    return _distance_of_rows(*values, **named) if len(values) > 3 or "other_key" in named else _distance(*values, **named)


def _distance(a: Any, b: Any, codec: Words | None = None) -> ColumnElement[float]:
    given = {name: calls.value(name, one, None) for name, one in (("a", a), ("b", b))}
    if codec is not None:
        given["codec"] = calls.value("codec", codec, Text())
    return Call("distance", given, type_=Double())


def _distance_of_rows(
    target: Relation, key: Key, other: Relation, other_key: Key, column_name: Name | None = None, other_column: Name | None = None
) -> ColumnElement[float]:
    values, tables, _ = arguments(_distance_of_rows, locals())
    return Call("distance", values, regclasses=tables, type_=Double())
