"""Declaring linkers, and what they read with the rights of the extension's owner: bodies of ``sql/functions/linker.sql``."""

from __future__ import annotations

from pgembed.linkers import declaring, following, models
from pgembed.linkers.declaring import Asked
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def create_linker(
    name: str | None,
    target: str | None,
    key: str | None,
    names: str | None,
    aliases: str | None,
    context: str | None,
    relations: str | None,
    types: str | None,
    alias_tables: str | None,
) -> None:
    """Body of `pgembed.create_linker`."""
    declaring.create(DATABASE, registry.write_for, name, target, Asked(key, names, aliases, context, relations, types, alias_tables))


@boundary
def add_linker_target(
    linker: str | None,
    target: str | None,
    key: str | None,
    names: str | None,
    aliases: str | None,
    context: str | None,
    relations: str | None,
    types: str | None,
    alias_tables: str | None,
) -> None:
    """Body of `pgembed.add_linker_target`."""
    declaring.add_target(DATABASE, registry.write_for, linker, target, Asked(key, names, aliases, context, relations, types, alias_tables))


@boundary
def alter_linker(
    name: str | None,
    target: str | None,
    key: str | None,
    names: str | None,
    aliases: str | None,
    context: str | None,
    relations: str | None,
    types: str | None,
    alias_tables: str | None,
) -> None:
    """Body of `pgembed.alter_linker`."""
    declaring.alter(DATABASE, registry.write_for, name, target, Asked(key, names, aliases, context, relations, types, alias_tables))


@boundary
def drop_linker_target(linker: str | None, target: str | None) -> None:
    """Body of `pgembed.drop_linker_target`."""
    declaring.drop_target(DATABASE, registry.write_for, linker, target)


@boundary
def drop_linker(name: str | None) -> None:
    """Body of `pgembed.drop_linker`."""
    declaring.drop(DATABASE, registry.write_for, name)


@boundary
def load_changes(tables: list[int]) -> None:
    """Body of `pgembed._load_linker_changes`."""
    following.load(DATABASE, tables)


@boundary
def load_model(linker: str) -> None:
    """Body of `pgembed._load_linker_model`."""
    models.read(DATABASE, linker)
