"""models: models registered, shared and dropped, and the model of a column changed."""

from __future__ import annotations

import datetime

from sqlalchemy import ColumnElement, Text

from pgembed.sqlalchemy.typed import (
    Flag,
    Json,
    Name,
    Number,
    Out,
    Period,
    Procedure,
    Relation,
    Rows,
    Words,
    nothing,
    procedure,
    scalar,
    texts,
)


class Statements(Rows):
    """Statements to be run by themselves, outside of a transaction block, in order: ``.statement``."""

    inherit_cache = True
    statement = Out(Text)


def register_model(
    name: Words,
    source: Words,
    dim: Number | None = None,
    layers: Number | None = None,
    normalized: Flag | None = None,
    query_prompt: Words | None = None,
    document_prompt: Words | None = None,
    basis: Words = "none",
    corpus: Relation | None = None,
    corpus_column: Name | None = None,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    weights: Words | None = None,
    remote_model: Words | None = None,
    api_key: Words | None = None,
    options: Json | None = None,
) -> ColumnElement[str]:
    """Make a name for a model with options, for a folder of the server or for an HTTP endpoint; the fingerprint of its vectors.

    Args:
        source: a model's name, a folder, or the URL of an endpoint.
        dim: leading dimensions that are kept.
        layers: of the encoder that are run.
        normalized: whether vectors have length 1.
        query_prompt, document_prompt: put before the texts.
        basis: ``none``, or how the dimensions are ordered, for a ``dim`` that is smaller.
        corpus, queries, corpus_column, queries_column: tables, or their columns, with texts from which the basis is learned.
        weights: how these are kept.
        remote_model, api_key: of an endpoint: the model there, and the file on the server that has the key.
        options: a dict, sent as JSON.
    """
    return scalar(register_model, locals(), Text())


def set_default_model(model: Words) -> ColumnElement[None]:
    """Choose the model that `embed` and `add_embedding` take when none is named."""
    return nothing(set_default_model, locals())


def set_threads(threads: Number | None) -> ColumnElement[None]:
    """Choose how many threads a backend embeds with; None for half of the cores."""
    return nothing(set_threads, locals())


def grant_model(model: Words) -> ColumnElement[None]:
    """Let everybody's `embed` and searches with a text call a remote model."""
    return nothing(grant_model, locals())


def revoke_model(model: Words) -> ColumnElement[None]:
    """Undo `grant_model`."""
    return nothing(revoke_model, locals())


def drop_model(name: Words) -> ColumnElement[None]:
    """Undo `register_model`, with all revisions; refused while a column needs the model."""
    return nothing(drop_model, locals())


def change_model(
    target: Relation,
    model: Words,
    column_name: Name | None = None,
    wait: Flag = True,
    build_index: Flag = True,
    batch_size: Number | None = None,
    switch: Flag = True,
) -> Procedure:
    """CALL: give an embedded column another model while the table is in use; called again it goes on.

    Args:
        wait: embed all rows now; else workers do.
        build_index: as the old column has them.
        switch: let searches use the new column when all is there; else `switch_model` does.
    """
    return procedure(change_model, locals())


def switch_model(
    target: Relation, column_name: Name | None = None, allow_missing: Flag = False, timeout: Period = datetime.timedelta(seconds=10)
) -> ColumnElement[None]:
    """Let searches use the column of the new model, all at once.

    Args:
        allow_missing: although rows lack new vectors.
        timeout: for the lock of the table.
    """
    return nothing(switch_model, locals())


def rollback_model(
    target: Relation, column_name: Name | None = None, timeout: Period = datetime.timedelta(seconds=10)
) -> ColumnElement[None]:
    """Undo `switch_model` at once; before the switch: give up the change and drop the new column."""
    return nothing(rollback_model, locals())


def finish_model_change(
    target: Relation, column_name: Name | None = None, timeout: Period = datetime.timedelta(seconds=10)
) -> ColumnElement[None]:
    """After `switch_model`: drop what belongs to the old model; from then on there is no way back."""
    return nothing(finish_model_change, locals())


def model_change_indexes(target: Relation, column_name: Name | None = None, concurrently: Flag = True) -> Statements:
    """The CREATE INDEX statements that the column of the new model still lacks; concurrently, without blocking writers."""
    return texts(Statements, model_change_indexes, locals())
