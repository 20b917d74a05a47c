"""Embedded columns: bodies of ``sql/functions/embeddings.sql``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgembed import catalogue, chunks, columns, declarations, errors, models, vectors
from pgembed import refresh as refreshing
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
) -> None:
    """Body of `pgembed.add_embedding`."""
    info = catalogue.describe(DATABASE, model)
    limits = None
    if chunk_tokens is not None:
        limits = _limits(info, chunk_tokens, chunk_overlap or 0)
    elif chunk_overlap is not None:
        raise errors.NullNotAllowed("chunk_overlap needs chunk_tokens", hint="chunk_tokens => 200 embeds a text in parts of 200 tokens.")
    declarations.add(DATABASE, registry.write_for, target, source, info, column_name, sync, metric, limits)


@boundary
def adopt_embedding(
    target: str | None,
    column_name: str | None,
    model: str | None,
    source: str | None,
    metric: str | None,
    sync: str | None,
) -> None:
    """Body of `pgembed.adopt_embedding`."""
    info = catalogue.describe(DATABASE, model) if model is not None else None
    declarations.adopt(DATABASE, registry.write_for, target, column_name, info, source, metric, sync)


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
) -> None:
    """Body of `pgembed.alter_embedding`."""
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
    declarations.alter(DATABASE, registry.write_for, column, source, info, metric, sync, limits)


@boundary
def drop_embedding(target: str | None, column_name: str | None, keep_column: bool | None) -> None:
    """Body of `pgembed.drop_embedding`."""
    declarations.drop(DATABASE, registry.write_for, target, column_name, keep_column)


@boundary
def refresh(target: str | None, column_name: str | None, batch_size: int | None, build_index: bool | None) -> None:
    """Body of `pgembed.refresh`: one column, or all that the table has."""
    if column_name is None:
        _, known = columns.table(DATABASE, target)
        chosen = [column for column in known if column.source_function is not None and column.type in columns.VECTOR_TYPES]
        if not chosen:
            chosen = [columns.column(DATABASE, target, None)]
        names = [column.name for column in chosen]
    else:
        names = [column_name]
    for name in names:
        column = columns.column(DATABASE, target, name)
        column.table.must_own()
        if column.renamed:
            declarations.realign(DATABASE, registry.write_for, column)
        tally = refreshing.refresh(DATABASE, column, _Encoder(column), batch_size, build_index=bool(build_index))
        registry.write_for(
            column.table,
            "UPDATE pgembed._embedding SET last_error = $3 WHERE table_name = $1::oid::regclass AND column_name = $2"
            " AND last_error IS DISTINCT FROM $3",
            ["oid", "name", "text"],
            [column.table.oid, column.name, tally.last_error],
        )


@boundary
def states() -> list[dict[str, Any]]:
    """Body of `pgembed._embeddings`."""
    tables = DATABASE.execute(
        # by number: to name a table of a schema that the caller may not enter is an error
        "SELECT DISTINCT t.oid FROM pgembed._embedding AS e JOIN pg_catalog.pg_class AS t ON t.oid = e.table_name"
    )
    described = [column for row in tables for column in columns.table(DATABASE, str(row["oid"]))[1]]
    lines = []
    for column in described:
        if column.type not in columns.VECTOR_TYPES:
            continue
        counts = refreshing.states(DATABASE, column)
        if counts is not None:
            lines.append({"table_name": str(column.table.oid), "column_name": column.name, **counts})
    return lines


class _Encoder:
    """`pgembed.sharing.Encoder` of a column's model, which is loaded when it is first needed."""

    def __init__(self, column: columns.Column) -> None:
        self._column = column

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        """Images of the embeddings of texts, and which of them were cut."""
        if not texts:
            return [], []
        made = column_model(self._column, by_backend=False).encode(texts, check, "document")
        return vectors.to_images(made.vectors), made.truncated.tolist()

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[chunks.Chunk]:
        """The chunks of a text."""
        return chunks.split(source, column_model(self._column, by_backend=False).token_spans, tokens, overlap, check)


def _limits(info: models.ModelInfo, tokens: int, overlap: int) -> tuple[int, int]:
    """The limits of a column's chunks, within what its model reads.

    Raises:
        errors.InvalidParameter: they make no sense, or a chunk would be cut by the model.
    """
    limits = chunks.check_limits(tokens, overlap, ("chunk_tokens", "chunk_overlap"))
    if info.max_tokens is not None:
        model = catalogue.resolve(DATABASE, info.name, info.fingerprint, by_backend=False)
        room = info.max_tokens - model.token_count("") - len(model.token_spans(info.document_prompt))
        if tokens > room:
            raise errors.InvalidParameter(
                f"chunk_tokens must be from 1 to {room}, which is what {info.name} reads beside its own marks, not {tokens}",
                hint="Parts of some 200 tokens are found better than long ones.",
            )
    return limits


def column_model(column: columns.Column, *, by_backend: bool) -> models.Model:
    """The model that made a column's vectors, and no other.

    Args:
        by_backend: as of `pgembed.catalogue.resolve`.
    Raises:
        errors.NotSupported: the column was adopted without a model.
    """
    if column.model is None:
        raise errors.NotSupported(
            f"{column.label} was adopted without a model, so only vectors can be compared with it",
            hint="Pass a vector as query, or adopt it again with the name of the model that made it.",
        )
    return catalogue.resolve(DATABASE, column.model, column.fingerprint, by_backend=by_backend)
