"""Embedded columns: bodies of ``sql/functions/embeddings.sql``."""

from __future__ import annotations

from pgembed import catalogue, chunks, columns, declarations, errors, models
from pgembed.changing import catalogue as changes
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def add_embedding(
    target: str | None,
    source: str | None,
    model: str | None,
    column_name: str | None,
    sync: str | None,
    metric: str | None,
    chunk_tokens: int | None,
    chunk_overlap: int | None,
    by_hand: str | None,
) -> None:
    """Body of `pgembed.add_embedding`."""
    info = catalogue.describe(DATABASE, model)
    limits = None
    if chunk_tokens is not None:
        limits = _limits(info, chunk_tokens, chunk_overlap or 0)
    elif chunk_overlap is not None:
        raise errors.NullNotAllowed("chunk_overlap needs chunk_tokens", hint="chunk_tokens => 200 embeds a text in parts of 200 tokens.")
    declarations.add(DATABASE, registry.write_for, target, source, info, column_name, sync, metric, limits, by_hand)


@boundary
def adopt_embedding(
    target: str | None,
    column_name: str | None,
    model: str | None,
    source: str | None,
    metric: str | None,
    sync: str | None,
    by_hand: str | None,
) -> None:
    """Body of `pgembed.adopt_embedding`."""
    info = catalogue.describe(DATABASE, model) if model is not None else None
    declarations.adopt(DATABASE, registry.write_for, target, column_name, info, source, metric, sync, by_hand)


@boundary
def alter_embedding(
    target: str | None,
    column_name: str | None,
    source: str | None,
    model: str | None,
    metric: str | None,
    sync: str | None,
    chunk_tokens: int | None,
    chunk_overlap: int | None,
    by_hand: str | None,
) -> None:
    """Body of `pgembed.alter_embedding`."""
    changes.must_not_change(DATABASE, target, column_name, "alter")
    info = catalogue.describe(DATABASE, model) if model is not None else None
    column = columns.column(DATABASE, target, column_name)
    limits = None
    if chunk_tokens is not None or chunk_overlap is not None or (info is not None and column.chunks is not None):
        if column.chunks is None:
            raise errors.NotSupported(
                f"{column.label} has one vector for each row",
                hint="Drop it and add it again with chunk_tokens, or add a second column.",
            )
        asked = (
            column.chunks.tokens if chunk_tokens is None else chunk_tokens,
            column.chunks.overlap if chunk_overlap is None else chunk_overlap,
        )
        limits = _limits(info or catalogue.describe(DATABASE, column.model, column.fingerprint), *asked)
        if limits == (column.chunks.tokens, column.chunks.overlap):
            limits = None
    declarations.alter(DATABASE, registry.write_for, column, source, info, metric, sync, limits, by_hand)


@boundary
def drop_embedding(target: str | None, column_name: str | None, keep_column: bool | None) -> None:
    """Body of `pgembed.drop_embedding`."""
    changes.must_not_change(DATABASE, target, column_name, "drop")
    declarations.drop(DATABASE, registry.write_for, target, column_name, keep_column)


def _limits(info: models.ModelInfo, tokens: int, overlap: int) -> tuple[int, int]:
    """The limits of a column's chunks, within what its model reads.

    Raises:
        errors.InvalidParameter: they make no sense, or a chunk would be cut by the model.
    """
    limits = chunks.check_limits(tokens, overlap, ("chunk_tokens", "chunk_overlap"))
    room = room_of(info)
    if room is not None and tokens > room:
        raise errors.InvalidParameter(
            f"chunk_tokens must be from 1 to {room}, which is what {info.name} reads beside its own marks, not {tokens}",
            hint="Parts of some 200 tokens are found better than long ones.",
        )
    return limits


def room_of(info: models.ModelInfo) -> int | None:
    """How many tokens of a text a model reads beside its own marks and its prompt; None where that is not known."""
    if info.max_tokens is None:
        return None
    model = catalogue.resolve(DATABASE, info.name, info.fingerprint, by_backend=False)
    return info.max_tokens - model.token_count("") - len(model.token_spans(info.document_prompt))
