"""linkers: operations that declare linkers, change them and drop them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations

from pgembed import errors
from pgembed.alembic.contract import Operation, call, irreversible, regclass
from pgembed.sqlalchemy.declarations import literal

PARTS = ("key", "names", "aliases", "context", "relations", "types", "alias_tables")
_LISTS = ("relations", "alias_tables")


@Operations.register_operation("create_linker")
class CreateLinker(Operation):
    """See `create_linker`."""

    called = "create_linker"

    def __init__(self, name: str, targets: Sequence[Mapping[str, Any]]) -> None:
        if not targets:
            raise errors.NullNotAllowed("a linker has at least one target", hint="op.create_linker(name, table, names=...).")
        for target in targets:
            unknown = sorted(set(target) - {"table_name", "schema", *PARTS})
            if unknown or "table_name" not in target:
                raise errors.InvalidParameter(
                    f"a target of a linker has no {', '.join(unknown)}" if unknown else "a target of a linker names no table",
                    hint=f"A target has table_name, schema, {', '.join(PARTS)}.",
                )
        self.name = name
        self.targets = [{part: value for part, value in target.items() if value not in (None, (), [])} for target in targets]

    @classmethod
    def create_linker(
        cls,
        operations: Operations,
        name: str,
        table_name: str | None = None,
        *,
        key: str | None = None,
        names: str | None = None,
        aliases: str | None = None,
        context: str | None = None,
        relations: Sequence[Any] | None = None,
        types: str | None = None,
        alias_tables: Sequence[Any] | None = None,
        schema: str | None = None,
        targets: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Declare a linker with all its targets, as ``pgembed.create_linker`` and ``add_linker_target`` do.

        Args:
            name, key, names, aliases, context, relations, types, alias_tables: as of ``pgembed.create_linker``; relations and alias_tables
                as lists of texts and dicts.
            table_name, schema: of the only target.
            targets: instead, several: dicts with ``table_name`` and, where wanted, ``schema`` and the arguments above.
        Raises:
            errors.InvalidParameter: both table_name and targets are given, or a target has something else.
            errors.NullNotAllowed: neither is.
            sqlalchemy.exc.DBAPIError: what ``pgembed.create_linker`` raises.
        """
        values = dict(locals())
        single = {part: values[part] for part in ("table_name", "schema", *PARTS) if values[part] is not None}
        if targets is not None and single:
            raise errors.InvalidParameter(
                f"targets and {', '.join(single)} are both given", hint="With targets, each target says its own, as a dict."
            )
        if targets is None and table_name is None:
            raise errors.NullNotAllowed("a linker has at least one target", hint="op.create_linker(name, table, names=...).")
        operations.invoke(cls(name, [single] if targets is None else targets))

    def statements(self) -> Sequence[str]:
        made, later = [], []
        for place, target in enumerate(self.targets):
            function, head = ("add_linker_target", "linker") if place else ("create_linker", "name")
            said = {part: _spelled(part, target.get(part)) for part in PARTS}
            # a relation may lead to rows of a target that is yet to come, which names them
            named = any(said[part] is not None for part in ("names", "aliases", "alias_tables"))
            if said["relations"] is not None and named and place < len(self.targets) - 1:
                later.append(_alter(self.name, target, {"relations": said.pop("relations")}))
            heads = {head: literal(self.name), "target": regclass(target["table_name"], target.get("schema"))}
            made.append(call(function, heads, said))
        return made + later

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if len(self.targets) > 1:
            return [self.name], {"targets": self.targets}
        only = dict(self.targets[0])
        return [self.name, only.pop("table_name")], {part: only.get(part) for part in (*PARTS, "schema")}

    def reverse(self) -> MigrateOperation:
        return DropLinker(self.name, reversed_by=self)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.name)


@Operations.register_operation("drop_linker")
class DropLinker(Operation):
    """See `drop_linker`."""

    called = "drop_linker"

    def __init__(self, name: str, *, reversed_by: CreateLinker | None = None) -> None:
        self.name = name
        self.reversed_by = reversed_by

    @classmethod
    def drop_linker(cls, operations: Operations, name: str) -> None:
        """Drop the linker of a name and what it has learned, as ``pgembed.drop_linker`` does.

        Raises:
            sqlalchemy.exc.DBAPIError: there is no such linker (42704).
        """
        operations.invoke(cls(name))

    def statements(self) -> Sequence[str]:
        return [call("drop_linker", {"name": literal(self.name)}, {})]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        return [self.name], {}

    def reverse(self) -> MigrateOperation:
        if self.reversed_by is None:
            raise irreversible(self)
        return self.reversed_by

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.name)


@Operations.register_operation("alter_linker")
class AlterLinker(Operation):
    """See `alter_linker`."""

    called = "alter_linker"

    def __init__(
        self,
        name: str,
        table_name: str,
        *,
        changes: Mapping[str, Any],
        existing: Mapping[str, Any] | None = None,
        schema: str | None = None,
    ) -> None:
        self.name = name
        self.table_name = table_name
        self.changes = dict(changes)
        self.existing = dict(existing or {})
        self.schema = schema

    @classmethod
    def alter_linker(
        cls,
        operations: Operations,
        name: str,
        table_name: str,
        *,
        key: str | None = None,
        names: str | None = None,
        aliases: str | None = None,
        context: str | None = None,
        relations: Sequence[Any] | None = None,
        types: str | None = None,
        alias_tables: Sequence[Any] | None = None,
        existing_key: str | None = None,
        existing_names: str | None = None,
        existing_aliases: str | None = None,
        existing_context: str | None = None,
        existing_relations: Sequence[Any] | None = None,
        existing_types: str | None = None,
        existing_alias_tables: Sequence[Any] | None = None,
        schema: str | None = None,
    ) -> None:
        """Change a target of a linker, as ``pgembed.alter_linker`` does: what is None stays, an empty text or list means none.

        Args:
            name, key, names, aliases, context, relations, types, alias_tables: as of ``pgembed.alter_linker``.
            table_name, schema: of the target.
            existing_key, existing_names, existing_aliases, existing_context, existing_relations, existing_types, existing_alias_tables:
                what was there before, which the operation's reverse brings back; not used otherwise.
        Raises:
            sqlalchemy.exc.DBAPIError: what ``pgembed.alter_linker`` raises.
        """
        values = dict(locals())
        changes = {part: values[part] for part in PARTS if values[part] is not None}
        existing = {part: values[f"existing_{part}"] for part in PARTS if values[f"existing_{part}"] is not None}
        operations.invoke(cls(name, table_name, changes=changes, existing=existing, schema=schema))

    def statements(self) -> Sequence[str]:
        said = {part: _spelled(part, self.changes[part]) for part in PARTS if part in self.changes}
        return [_alter(self.name, {"table_name": self.table_name, "schema": self.schema}, said)]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        named = {part: self.changes[part] for part in PARTS if part in self.changes}
        before = {f"existing_{part}": self.existing[part] for part in PARTS if part in self.existing}
        return [self.name, self.table_name], {**named, **before, "schema": self.schema}

    def reverse(self) -> MigrateOperation:
        missing = [part for part in self.changes if self.existing.get(part) is None]
        if missing:
            raise ValueError(f"alter_linker is not reversible: existing_{missing[0]} is not known")
        before = {part: self.existing[part] for part in self.changes}
        return AlterLinker(self.name, self.table_name, changes=before, existing=self.changes, schema=self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.name, self.schema, self.table_name, tuple(self.changes))


def _alter(name: str, target: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    heads = {"name": literal(name), "target": regclass(target["table_name"], target.get("schema"))}
    return call("alter_linker", heads, said)


def _spelled(part: str, value: Any) -> Any:
    """An argument as pgembed's functions take it: lists as JSON."""
    return json.dumps(list(value), ensure_ascii=False) if part in _LISTS and value is not None else value
