"""functions: embeddings as expressions, of pgvector's own type and with its operators."""

from __future__ import annotations

from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import ColumnElement, Table, Text

from pgembed import errors
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call, Target


def embed(content: str | ColumnElement[str], model: str | None = None, role: str | None = None) -> ColumnElement[Any]:
    """The embedding of a text, as pgvector's VECTOR.

    Args:
        model: its name; None takes the database's default. To compare with a column use `embed_query`, which knows the column's model.
        role: ``query`` or ``document``; None is ``query``.
    Raises:
        errors.InvalidParameter: content is a list; batches belong into SQL, beside the rows that they are of.
    """
    if isinstance(content, list | tuple):
        raise errors.InvalidParameter("embed takes one text", hint="An array of texts is embedded in SQL: pgembed.embed(array_agg(name)).")
    arguments = {"content": calls.value("content", content, Text())}
    if model is not None:
        arguments["model"] = calls.value("model", model, Text())
    if role is not None:
        arguments["role"] = calls.value("role", role, Text())
    return Call("embed", arguments, type_=VECTOR())


def embed_query(target: Any, content: str | ColumnElement[str], column_name: str | None = None) -> ColumnElement[Any]:
    """The embedding of a query with the model of an embedded column, as pgvector's VECTOR.

    ::

        select(Product).order_by(Product.embedding.cosine_distance(embed_query(Product.embedding, "rain gear"))).limit(10)

    Args:
        target: ``Model.attribute`` or ``table.c.column`` of the embedded column; or a mapped class or Table that has only one.
        column_name: its name, where the target is a class or a Table with several.
    """
    if not isinstance(target, Table | type):
        target, column_name = calls.column_of(target)
    arguments = {"content": calls.value("content", content, Text())}
    if column_name is not None:
        arguments["column_name"] = calls.value("column_name", column_name, Text())
    return Call("embed_query", arguments, regclass=Target.of(target).table, type_=VECTOR())
