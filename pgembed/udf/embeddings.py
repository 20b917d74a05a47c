"""Embedded columns: bodies of ``sql/functions/embeddings.sql``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgembed import columns, declarations, errors, models, vectors
from pgembed import refresh as refreshing
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE
from pgembed.udf.models import default_model


@boundary
def add_embedding(
    target: str | None,
    source: str | None,
    model: str | None,
    column_name: str | None,
    sync: str | None,
    metric: str | None,
) -> None:
    """Body of `pgembed.add_embedding`."""
    info = models.info(default_model() if model is None else model)
    declarations.add(DATABASE, registry.write_for, target, source, info, column_name, sync, metric)


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
    info = models.info(model) if model is not None else None
    declarations.adopt(DATABASE, registry.write_for, target, column_name, info, source, metric, sync)


@boundary
def alter_embedding(
    target: str | None,
    column_name: str | None,
    source: str | None,
    model: str | None,
    metric: str | None,
    sync: str | None,
) -> None:
    """Body of `pgembed.alter_embedding`."""
    info = models.info(model) if model is not None else None
    column = columns.column(DATABASE, target, column_name)
    declarations.alter(DATABASE, registry.write_for, column, source, info, metric, sync)


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
        tally = refreshing.refresh(DATABASE, column, _encoder(column), batch_size, build_index=bool(build_index))
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


def _encoder(column: columns.Column) -> Callable[[Sequence[str], Callable[[], None]], tuple[list[bytes], int]]:
    def encode(texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], int]:
        if not texts:
            return [], 0
        made = column_model(column).encode(texts, check)
        return vectors.to_images(made.vectors), int(made.truncated.sum())

    return encode


def column_model(column: columns.Column) -> models.Model:
    """The model that made a column's vectors, and no other.

    Raises:
        errors.NotSupported: the column was adopted without a model.
    """
    if column.model is None:
        raise errors.NotSupported(
            f"{column.label} was adopted without a model, so only vectors can be compared with it",
            hint="Pass a vector as query, or adopt it again with the name of the model that made it.",
        )
    return models.load(column.model, column.fingerprint)
