"""linked: autogenerate of linkers: those that the models declare are compared with the registry's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.operations import MigrateOperation
from sqlalchemy import Connection, Table, text

from pgembed.alembic import meaning
from pgembed.alembic.contract import Place, table_name
from pgembed.alembic.linkers import PARTS, AlterLinker, CreateLinker, DropLinker
from pgembed.alembic.present import Present, PresentSource, PresentTarget
from pgembed.sqlalchemy.declarations import table_name as declared_name

_TEXTS = ("names", "aliases", "types", "context")


def compare(
    connection: Connection,
    present: Present,
    wanted: Mapping[str, Any],
    dropped: set[Place],
    before: list[MigrateOperation],
    after: list[MigrateOperation],
) -> None:
    """Find what makes the database's linkers those of the models.

    Linkers that the models do not declare are dropped with a table that they link to, or where the models declare others: whoever
    declares no linker at all has made those in SQL.

    Args:
        wanted: what `linkers_of` returns.
        dropped: tables that the revision drops.
        before, after: are added to: what is done before tables change, and after.
    """
    comparison = _Comparison(connection, present, connection.dialect.default_schema_name)
    for name, linker in wanted.items():
        declared = [comparison.declared(target) for target in linker.targets]
        there = present.linkers.get(name)
        if there is None:
            after.append(CreateLinker(name, declared))
        elif [_place(target) for target in declared] != [target.place for target in there] or dropped & {one.place for one in there}:
            before.append(comparison.dropped(name))
            after.append(CreateLinker(name, declared))
        else:
            for new, old in zip(declared, there, strict=True):
                changes, was = comparison.differences(new, old)
                if changes:
                    after.append(AlterLinker(name, old.place[1], changes=changes, existing=was, schema=old.place[0]))
    undeclared = {name: {one.place for one in targets} for name, targets in present.linkers.items() if name not in wanted}
    gone = [name for name, places in undeclared.items() if wanted or dropped & places]
    # whatever there was before it goes first
    before[:0] = [comparison.dropped(name) for name in gone]


@dataclass
class _Comparison:
    connection: Connection
    present: Present
    default: str | None

    def declared(self, target: Any) -> dict[str, Any]:
        """A target of a declaration, as `CreateLinker` takes it."""
        schema = None if target.table.schema == self.default else target.table.schema
        made = {"table_name": str(target.table.name), "schema": schema} | {part: getattr(target, part) for part in PARTS}
        for part in ("relations", "alias_tables"):
            made[part] = [_plain(one) for one in made[part] or ()]
        return {part: value for part, value in made.items() if value not in (None, [])}

    def dropped(self, name: str) -> DropLinker:
        """The operation that drops a linker, and knows it."""
        return DropLinker(name, reversed_by=CreateLinker(name, [self._target(one) for one in self.present.linkers[name]]))

    def differences(self, new: Mapping[str, Any], old: PresentTarget) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is another thing in the model, and what it was; '' and [] for none."""
        was = self._target(old)
        changes: dict[str, Any] = {}
        for part in _TEXTS:
            if not self._same_text(old.place, part, new.get(part), was.get(part)):
                changes[part] = new.get(part) or ""
        key = _listed(new["key"]) if new.get("key") else self.present.primary_keys.get(old.place, old.key)
        if key != old.key:
            changes["key"] = ", ".join(key)
        for part, kinds in (("relations", ("column", "table")), ("alias_tables", ("alias",))):
            sources = [one for one in old.sources if one.kind in kinds]
            declared = new.get(part, [])
            if len(declared) != len(sources) or not all(
                self._same_source(one, source, old.place) for one, source in zip(declared, sources, strict=True)
            ):
                changes[part] = declared
        nothing: dict[str, Any] = dict.fromkeys(_TEXTS, "") | {"relations": [], "alias_tables": [], "key": ", ".join(old.key)}
        return changes, {part: was.get(part, nothing[part]) for part in changes}

    def _same_text(self, place: Place, part: str, new: str | None, old: str | None) -> bool:
        if part == "context" and (place, old) in self.present.embeddings:
            return new == old
        return meaning.same(self.connection, place, new, old)

    def _same_source(self, declared: Any, source: PresentSource, target: Place) -> bool:
        """Whether all that an element says is so; what it does not say, pgembed has found in the catalogs."""
        if isinstance(declared, str):
            if source.kind == "column":
                return [declared] == _columns(source)
            return self._is_table(declared, source.table)
        for said, value in declared.items():
            if said == "column":
                same = source.kind == "column" and _listed(value) == _columns(source)
            elif said == "table":
                same = source.kind != "column" and self._is_table(value, source.table)
            elif said == "references":
                same = source.other is not None and self._is_table(value, source.other)
            elif said in ("from", "to"):
                same = _listed(value) == (source.from_columns if said == "from" else source.to_columns)
            elif said in ("relation", "label"):
                same = value in (source.relation, source.label)
            elif said == "names":
                same = source.other is None or source.names is None or meaning.same(self.connection, source.other, value, source.names)
            else:
                same = value == source.value
            if not same:
                return False
        return True

    def _is_table(self, name: str, place: Place) -> bool:
        asked = "SELECT pg_catalog.to_regclass(:first) = pg_catalog.to_regclass(:second)"
        return bool(self.connection.scalar(text(asked), {"first": name, "second": table_name(place[1], place[0])}))

    def _target(self, target: PresentTarget) -> dict[str, Any]:
        schema, name = target.place
        made: dict[str, Any] = {"table_name": name, "schema": schema}
        if target.key != self.present.primary_keys.get(target.place):
            made["key"] = ", ".join(target.key)
        made |= {part: getattr(target, part) for part in _TEXTS}
        made["relations"] = [_spelled(one) for one in target.sources if one.kind != "alias"]
        made["alias_tables"] = [_spelled(one) for one in target.sources if one.kind == "alias"]
        return {part: value for part, value in made.items() if value not in (None, [])}


def _spelled(source: PresentSource) -> dict[str, Any]:
    """A source with all that can be said of it, as an element of relations or alias_tables."""
    made: dict[str, Any] = {}
    if source.kind == "alias":
        return {"table": table_name(source.table[1], source.table[0]), "from": source.from_columns, "alias": source.value}
    other = None if source.other is None else table_name(source.other[1], source.other[0])
    if source.kind == "column":
        made = {"column": source.to_columns or source.value, "label": source.label, "references": other}
    else:
        made = {"table": table_name(source.table[1], source.table[0]), "from": source.from_columns, "to": source.to_columns}
        made |= {"references": other, "value": source.value, "relation": source.relation, "label": source.label}
    made["names"] = source.names
    return {name: value for name, value in made.items() if value is not None}


def _columns(source: PresentSource) -> list[str]:
    """The columns of the target in which a relation stands."""
    return source.to_columns or ([] if source.value is None else [source.value])


def _place(target: Mapping[str, Any]) -> Place:
    return (target.get("schema"), target["table_name"])


def _listed(value: Any) -> list[str]:
    return [one.strip() for one in value.split(",")] if isinstance(value, str) else list(value)


def _plain(item: Any) -> Any:
    """An element of relations or alias_tables, with tables by their names."""
    item = getattr(item, "__table__", item)
    if isinstance(item, Table):
        return declared_name(item)
    if isinstance(item, Mapping):
        return {str(name): _plain(value) for name, value in item.items()}
    return list(item) if isinstance(item, Sequence) and not isinstance(item, str) else item
