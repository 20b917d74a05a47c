"""declared: autogenerate of what the models declare: embedded columns, their codes, and linkers.

Declarations (see `pgembed.sqlalchemy.declarations`) are compared with the registry in the database, once Alembic has compared the tables.
What is found is put around Alembic's own operations: what goes, goes before the tables change, and what comes, comes after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import DBAPIError

from pgembed import errors
from pgembed.alembic import contract, linked, meaning, owned, present
from pgembed.alembic.codecs import AddCode, DropCode, DropCodec, TrainCodec
from pgembed.alembic.contract import LOG, Place, table_name
from pgembed.alembic.definitions import quote, trial
from pgembed.alembic.embeddings import AdoptEmbedding, AlterEmbedding, CreateEmbedding, DropEmbedding
from pgembed.alembic.present import Present, PresentCode, PresentCodec, PresentEmbedding
from pgembed.sqlalchemy.declarations import Code, Embedding, embeddings_of, linkers_of

try:  # Alembic 1.18 or newer calls in the order of priorities, older ones in the order in which they were registered
    from alembic.util import DispatchPriority

    _LAST: dict[str, Any] = {"priority": DispatchPriority.LAST}
except ImportError:
    _LAST = {}


@dataclass
class Changes:
    """What is found: operations before Alembic's own, and after them; the latter's columns are there by then."""

    before: list[MigrateOperation] = field(default_factory=list)
    after: list[MigrateOperation] = field(default_factory=list)
    altered: set[Place] = field(default_factory=set)


@comparators.dispatch_for("schema", **_LAST)
def _compare(context: AutogenContext, upgrade: ops.UpgradeOps, schemas: set[str | None]) -> None:
    connection = context.connection
    if connection is None or connection.dialect.name != "postgresql":
        return
    default = connection.dialect.default_schema_name
    tables: dict[Place, Table] = {(None if t.schema == default else t.schema, str(t.name)): t for t in context.sorted_tables}
    wanted = {place: said for place, table in tables.items() if (said := embeddings_of(table))}
    linkers: dict[str, Any] = {}
    for metadata in _listed(context.metadata):
        linkers |= linkers_of(metadata)
    found = present.read(connection)
    if found is None:
        if not wanted and not linkers:
            return
        if present.is_closed(connection):  # what pgembed owns would look like what nobody wants
            raise errors.InsufficientPrivilege(
                "the models declare embeddings, and this role may not look into the schema pgembed",
                hint="GRANT USAGE ON SCHEMA pgembed TO the role that runs Alembic.",
            )
        LOG.warning("the models declare embeddings, and the database has no pgembed yet: op.install_pgembed() or CREATE EXTENSION pgembed")
        found = Present()
    unwanted = owned.hide(upgrade, found, default)
    changes = Changes()
    dropped = _tables(upgrade, ops.DropTableOp, default)
    _Columns(context, connection, found, tables, changes).compare(wanted, unwanted, schemas, upgrade, dropped)
    linked.compare(connection, found, linkers, dropped, changes.before, changes.after)
    _arrange(upgrade, changes, found, wanted, dropped, default)


@dataclass
class _Columns:
    context: AutogenContext
    connection: Connection
    present: Present
    tables: dict[Place, Table]
    changes: Changes

    def compare(
        self,
        wanted: dict[Place, dict[str, Embedding]],
        unwanted: set[tuple[Place, str]],
        schemas: Iterable[str | None],
        upgrade: ops.UpgradeOps,
        dropped: set[Place],
    ) -> None:
        created = _tables(upgrade, ops.CreateTableOp, self.connection.dialect.default_schema_name)
        there = [place for place in wanted if place not in created and place[0] in schemas and self._is_compared(place)]
        columns = present.columns(self.connection, there)
        for place, declared in wanted.items():
            for name, declaration in declared.items():
                old = self.present.embeddings.get((place, name))
                if place in created:
                    self._create(place, name, declaration)
                elif place not in there or not any(at == place for at, _ in columns):
                    continue  # the table is not compared
                elif old is not None:
                    self._compare(old, declaration, unwanted)
                elif (place, name) in columns:
                    self._adopt(place, name, declaration)
                else:
                    self._create(place, name, declaration)
        for (place, name), old in self.present.embeddings.items():
            if old.role != "current" or name in wanted.get(place, {}):
                continue
            gone = (place, name) in unwanted or (old.chunk_table is not None and (old.chunk_table, old.chunk_table[1]) in unwanted)
            if place in dropped or (place in self.tables and gone):
                # an adopted column is dropped by Alembic itself, which knows how to bring it back
                self._drop(old, keep=old.adopted and place not in dropped)

    def _is_compared(self, place: Place) -> bool:
        names: Any = {"schema_name": place[0]}
        table = self.tables[place]
        return self.context.run_name_filters(place[1], "table", names) and self.context.run_object_filters(
            table, place[1], "table", False, None
        )

    def _create(self, place: Place, name: str, declaration: Embedding) -> None:
        self.changes.after.append(_created(place, name, declaration))
        if declaration.code is not None:
            self.changes.after += _coded(self.tables[place], place, name, declaration.code)

    def _adopt(self, place: Place, name: str, declaration: Embedding) -> None:
        said = declaration
        if said.model is None:  # which would mean that nobody knows the model
            said = replace(said, model=present.default_model(self.connection))
        self.changes.after.append(_adopted(place, name, said))
        if declaration.code is not None:
            self.changes.after += _coded(self.tables[place], place, name, declaration.code)

    def _compare(self, old: PresentEmbedding, new: Embedding, unwanted: set[tuple[Place, str]]) -> None:
        if (old.declared.chunk_tokens is None) != (new.chunk_tokens is None):  # another place for the vectors
            self._drop(old, keep=False)
            self._create(old.place, old.column, new)
            return
        changes, before = self._differences(old, new)
        if len(before) < len(changes):  # adopted without a source, or a model, which no alter_embedding() brings back
            self._drop(old, keep=True)
            self._adopt(old.place, old.column, new)
            return
        anew = "model" in changes or "metric" in changes
        kept = self._codes(old, new.code, unwanted, anew)
        if changes:
            altered = AlterEmbedding(old.place[1], old.column, changes=changes, existing=before, schema=old.place[0])
            self.changes.after.append(altered)
            self.changes.altered.add(old.place)
        if new.code is not None and kept:
            self.changes.after += kept

    def _differences(self, old: PresentEmbedding, new: Embedding) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is another thing in the model, and what it was; what a model leaves to pgembed is as it is."""
        changes: dict[str, Any] = {}
        if not meaning.same(self.connection, old.place, old.source, new.source):
            changes["source"] = new.source
        for name in ("model", "chunk_tokens", "chunk_overlap"):
            if getattr(new, name) not in (None, getattr(old.declared, name)):
                changes[name] = getattr(new, name)
        for name in ("sync", "metric", "by_hand"):
            if getattr(new, name) != getattr(old.declared, name):
                changes[name] = getattr(new, name)
        before = {"source": old.source} | {name: getattr(old.declared, name) for name in changes if name != "source"}
        return changes, {name: before[name] for name in changes if before[name] is not None}

    def _codes(self, old: PresentEmbedding, code: Code | None, unwanted: set[tuple[Place, str]], anew: bool) -> list[MigrateOperation]:
        """Drop what codes are not wanted; return what makes those that are."""
        table = self.tables[old.place]
        here = [one for one in self.present.codes.values() if one.place == old.place and one.embedding_column == old.column]
        codec = None if code is None else self.present.codecs.get(code.codec_of(table, old.column))
        same = code is not None and codec is not None and _same_codec(codec, code, old)
        for one in here:
            declared = code is not None and one.codec == code.codec_of(table, old.column)
            replaced = declared and (not same or code is None or one.column != code.column_of(table, old.column))
            forgotten = not declared and (old.place, one.column) in unwanted and self._is_by_declaration(one)
            if anew or replaced or forgotten:
                self._drop_code(one, codec_too=not (declared and same) or anew)
        if code is None:
            return []
        if codec is not None and not same and not any(one.codec == codec.name for one in here):
            self.changes.before.append(_drop_codec(codec))
        column = code.column_of(table, old.column)
        filled = any(one.column == column and one.codec == code.codec_of(table, old.column) for one in here)
        if same and filled and not anew:
            return []
        made = _coded(table, old.place, old.column, code)
        if same and not anew:
            return made[1:]
        if codec is None and not self._has_vectors(old):
            LOG.info("the codec %s is trained once %s.%s has vectors", code.codec_of(table, old.column), old.place[1], old.column)
            return []
        return made

    def _is_by_declaration(self, code: PresentCode) -> bool:
        """Whether a codec is called as a declaration calls one; others were made by hand, and stay."""
        codec = self.present.codecs.get(code.codec)
        return codec is not None and codec.name == f"{code.place[1]}_{code.embedding_column}_{codec.method}"[:63]

    def _drop(self, old: PresentEmbedding, *, keep: bool) -> None:
        for one in self.present.codes.values():
            if one.place == old.place and one.embedding_column == old.column:
                self._drop_code(one, codec_too=True)
        made: CreateEmbedding | AdoptEmbedding
        if old.adopted:
            made = _adopted(old.place, old.column, old.declared, source=old.source)
        else:
            made = _created(old.place, old.column, old.declared)
        schema, name = old.place
        self.changes.before.append(DropEmbedding(name, old.column, keep_column=keep or None, schema=schema, reversed_by=made))

    def _drop_code(self, code: PresentCode, *, codec_too: bool) -> None:
        codec = self.present.codecs.get(code.codec)
        added = AddCode(
            code.place[1],
            code.codec,
            column_name=None if code.column == code.codec else code.column,
            is_generated=None,
            embedding_column=code.embedding_column,
            schema=code.place[0],
        )
        self.changes.before.append(DropCode(code.place[1], code.column, schema=code.place[0], reversed_by=added))
        others = any(one.codec == code.codec for one in self.present.codes.values() if one is not code)
        if codec is not None and codec_too and not others and codec.place == code.place:
            self.changes.before.append(_drop_codec(codec))

    def _has_vectors(self, old: PresentEmbedding) -> bool:
        if old.chunk_table is not None:
            return False  # of which no codec is made
        column = quote(old.column)
        asked = f"SELECT EXISTS (SELECT FROM {table_name(old.place[1], old.place[0])} WHERE {column} IS NOT NULL)"
        with trial(self.connection):
            try:
                return bool(self.connection.exec_driver_sql(asked, execution_options={"no_parameters": True}).scalar())
            except DBAPIError:  # the role may not read it
                return False


def _created(place: Place, name: str, declaration: Embedding) -> CreateEmbedding:
    return CreateEmbedding(
        place[1],
        declaration.source,
        column_name=name,
        model=declaration.model,
        sync=declaration.sync,
        metric=declaration.metric,
        chunk_tokens=declaration.chunk_tokens,
        chunk_overlap=declaration.chunk_overlap,
        by_hand=declaration.by_hand,
        schema=place[0],
    )


def _adopted(place: Place, name: str, declaration: Embedding, source: str | None = None) -> AdoptEmbedding:
    return AdoptEmbedding(
        place[1],
        name,
        model=declaration.model,
        source=source or declaration.source or None,
        metric=declaration.metric,
        sync=declaration.sync,
        by_hand=declaration.by_hand,
        schema=place[0],
    )


def _coded(table: Table, place: Place, name: str, code: Code) -> list[MigrateOperation]:
    codec = code.codec_of(table, name)
    return [
        TrainCodec(codec, place[1], code.method, column_name=name, schema=place[0], options=code.options),
        AddCode(
            place[1], codec, column_name=code.column_name, embedding_column=name, covering=list(code.covering) or None, schema=place[0]
        ),
    ]


def _same_codec(codec: PresentCodec, code: Code, old: PresentEmbedding) -> bool:
    """Whether a codec is what a declaration wants, as far as that says something."""
    said = dict(code.options)
    kind = said.pop("code_type", None)
    seed = said.pop("seed", codec.seed)
    for name in ("sample_rows", "measure", "queries", "queries_column"):  # of training, not of the codec
        said.pop(name, None)
    return (
        (codec.place, codec.column, codec.method) == (old.place, old.column, code.method)
        and seed == codec.seed
        and (kind is None or codec.code_type.startswith("bit(") == (kind == "bit"))
        and all(codec.options.get(name) == value for name, value in said.items() if value is not None)
    )


def _drop_codec(codec: PresentCodec) -> DropCodec:
    options = {name: value for name, value in codec.options.items() if value is not None} | {"seed": codec.seed}
    if codec.code_type.startswith("bit("):
        options["code_type"] = "bit"
    made = TrainCodec(codec.name, codec.place[1], codec.method, column_name=codec.column, schema=codec.place[0], options=options)
    return DropCodec(codec.name, reversed_by=made)


def _tables(upgrade: ops.UpgradeOps, kind: type[ops.CreateTableOp] | type[ops.DropTableOp], default: str | None) -> set[Place]:
    return {place for one in upgrade.ops if isinstance(one, kind) and (place := owned.place_of(one, default)) is not None}


def _arrange(
    upgrade: ops.UpgradeOps,
    changes: Changes,
    found: Present,
    wanted: dict[Place, dict[str, Embedding]],
    dropped: set[Place],
    default: str | None,
) -> None:
    """Put what was found around what Alembic has found, and leave to pgembed the columns that it makes."""
    for one in (*changes.before, *changes.after):
        LOG.info("Detected %s", " ".join(part for part in one.to_diff_tuple() if isinstance(part, str)))
    late_indexes: list[MigrateOperation] = []
    late_drops: list[MigrateOperation] = []
    for place, embeddings in wanted.items():
        codes = {
            code.column_of(contract.table(place[1], place[0]), name) for name, one in embeddings.items() if (code := one.code) is not None
        }
        ours = {*embeddings, *codes}
        missing = {name for name in codes if (place, name) not in found.codes}

        def keep(operation: ops.MigrateOperation, place: Place = place, ours: set[str] = ours, missing: set[str] = missing) -> bool:
            if owned.place_of(operation, default) != place:
                return True
            if isinstance(operation, ops.CreateTableOp):
                owned.leave_out(operation, ours)
            elif isinstance(operation, ops.AddColumnOp):
                return operation.column.name not in ours
            elif isinstance(operation, ops.AlterColumnOp | ops.DropColumnOp) and operation.column_name in ours:
                return False
            elif isinstance(operation, ops.CreateIndexOp) and _reads(operation, ours):
                # the codes may have to wait for vectors, and an index on them waits for the codes
                if not _reads(operation, missing):
                    late_indexes.append(operation)
                return False
            elif isinstance(operation, ops.DropColumnOp) and place in changes.altered:
                late_drops.append(operation)  # a source that reads it is changed first
                return False
            return True

        owned.sift(upgrade, keep)
    between: list[MigrateOperation] = []
    for one in upgrade.ops:
        at = owned.place_of(one, default)
        if isinstance(one, ops.DropTableOp) and at in dropped:
            between.append(owned.without(one, {name for table, name in found.owned_columns if table == at}))
        else:
            between.append(one)
    upgrade.ops[:] = [*changes.before, *between, *changes.after, *late_indexes, *late_drops]


def _reads(operation: ops.CreateIndexOp, names: set[str]) -> bool:
    """Whether an index is over one of some columns, which may stand in an expression."""
    said = [str(getattr(one, "name", None) or one) for one in operation.columns]
    said += [str(one) for name, one in operation.kw.items() if name in ("postgresql_include", "postgresql_where") and one is not None]
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names for text in said)


def _listed(metadata: MetaData | Sequence[MetaData] | None) -> Sequence[MetaData]:
    if metadata is None or isinstance(metadata, MetaData):
        return [] if metadata is None else [metadata]
    return metadata
