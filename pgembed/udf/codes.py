"""Columns of codes: bodies of ``sql/functions/codes.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import columns, errors, progress
from pgembed.codes import adding, catalogue, filling, indexes
from pgembed.codes.catalogue import Code
from pgembed.columns import Column
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def add_code(
    target: str | None, codec: str | None, column_name: str | None, is_generated: bool | None, embedding_column: str | None
) -> None:
    """Body of `pgembed.add_code`."""
    adding.add(DATABASE, registry.write_for, target, codec, column_name, is_generated, embedding_column)


@boundary
def fill_code(target: str | None, column_name: str | None, batch_size: int | None) -> None:
    """Body of `pgembed.fill_code`: one column, or all that are not filled."""
    if column_name is None:
        found, _ = columns.table(DATABASE, target)
        names = [one.name for one in catalogue.codes(DATABASE, found) if not one.is_filled]
        if not names:
            names = [catalogue.code(DATABASE, found, None).name]
    else:
        names = [column_name]
    for name in names:
        code, column = _meant(target, name)
        with progress.shown(DATABASE, "fill_code", code.label):
            filling.fill(DATABASE, registry.write_for, code, column, batch_size)


@boundary
def use_code(target: str | None, column_name: str | None) -> None:
    """Body of `pgembed.use_code`."""
    adding.use(DATABASE, registry.write_for, target, column_name)


@boundary
def drop_code(target: str | None, column_name: str | None) -> None:
    """Body of `pgembed.drop_code`."""
    adding.drop(DATABASE, registry.write_for, target, column_name)


@boundary
def code_indexes(target: str | None, column_name: str | None, covering: list[str | None] | None) -> list[str]:
    """Body of `pgembed.code_indexes`."""
    code, column = _meant(target, column_name)
    if covering is not None and None in covering:
        raise errors.NullNotAllowed("covering has a NULL", hint="Name columns of the table: covering => '{section}'.")
    return indexes.missing(DATABASE, code, column, None if covering is None else [str(name) for name in covering])


@boundary
def code_missed(relation: int, column_name: str, said: str) -> None:
    """Body of `pgembed._code_missed`."""
    adding.missed(DATABASE, registry.write_for, relation, column_name, said)


@boundary
def states() -> list[dict[str, Any]]:
    """Body of `pgembed._codes`."""
    tables = DATABASE.execute(
        "SELECT DISTINCT t.oid FROM pgembed._code AS c JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name"
    )
    lines = []
    for row in tables:
        found, _ = columns.table(DATABASE, str(row["oid"]))
        for code in catalogue.codes(DATABASE, found):
            counts = filling.states(DATABASE, code)
            if counts is not None:
                lines.append({"table_name": str(found.oid), "column_name": code.name, **counts})
    return lines


def _meant(target: str | None, column_name: str | None) -> tuple[Code, Column]:
    """A column of codes and its embedded column."""
    found, _ = columns.table(DATABASE, target)
    code = catalogue.code(DATABASE, found, column_name)
    return code, columns.column(DATABASE, target, code.embedding_column)
