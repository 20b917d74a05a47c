"""creating: what ``create_all()``, ``drop_all()`` and their like run beside CREATE TABLE and DROP TABLE, for tables that declare.

Listeners stand on the tables and MetaData that declare, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Connection, Index, MetaData, Table, event, text

from pgembed import errors
from pgembed.sqlalchemy import declarations
from pgembed.sqlalchemy.declarations import LINKERS_INFO, Embedding, LinkerTarget, Statement
from pgembed.sqlalchemy.sources import Source, text_of

# The table that a connection creates now, once its embedded columns are there.
_MADE: WeakKeyDictionary[Any, Table] = WeakKeyDictionary()
_INSTALLED = text("SELECT pg_catalog.to_regclass('pgembed._embedding') IS NOT NULL")


class Linker:
    """A linker that ``create_all()`` makes after its tables, and ``drop_all()`` drops before them.

    ::

        Linker("places", Town, names=lambda: Town.name, relations=["mayor_id"]).also(Country, names=lambda: Country.name)

    Args:
        name: of the linker, in the database.
        target: mapped class or Table whose rows it links to; its MetaData has the declaration from now on.
        key: columns, with commas between; None for the primary key.
        names, aliases, context, types: each an SQL expression over the target's columns, as `embedded` takes one; ``context`` may be the
            name of an embedded column.
        relations, alias_tables: lists as ``pgembed.create_linker`` takes them; tables in them may be mapped classes or Tables.
    Raises:
        errors.DuplicateObject: the MetaData has a linker of the name.
        errors.InvalidParameter: the target is neither a mapped class nor a Table.
    """

    def __init__(
        self,
        name: str,
        target: Any,
        *,
        key: str | None = None,
        names: Source | None = None,
        aliases: Source | None = None,
        context: Source | None = None,
        relations: Collection[Any] = (),
        types: Source | None = None,
        alias_tables: Collection[Any] = (),
    ) -> None:
        self.name = name
        self.metadata: MetaData = declarations.table_of(target).metadata
        self._targets: list[tuple[Table, dict[str, Any]]] = []
        known = self.metadata.info.setdefault(LINKERS_INFO, {})
        if name in known:
            raise errors.DuplicateObject(f'linker "{name}" is declared already', hint="Linker.also() adds a target to it.")
        self.also(
            target, key=key, names=names, aliases=aliases, context=context, relations=relations, types=types, alias_tables=alias_tables
        )
        known[name] = self
        for when, what in (("after_create", _create_linkers), ("before_drop", _drop_linkers)):
            if not event.contains(self.metadata, when, what):
                event.listen(self.metadata, when, what)

    def also(
        self,
        target: Any,
        *,
        key: str | None = None,
        names: Source | None = None,
        aliases: Source | None = None,
        context: Source | None = None,
        relations: Collection[Any] = (),
        types: Source | None = None,
        alias_tables: Collection[Any] = (),
    ) -> Linker:
        """Let it link to rows of one more table too.

        Args:
            target: a mapped class or a Table.
            key, names, aliases, context, relations, types, alias_tables: as of the linker's first one.
        Returns:
            The linker itself.
        """
        table = declarations.table_of(target)
        given = {"key": key, "names": names, "aliases": aliases, "context": context, "types": types}
        self._targets.append((table, {**given, "relations": tuple(relations), "alias_tables": tuple(alias_tables)}))
        listen(table)
        return self

    @property
    def targets(self) -> tuple[LinkerTarget, ...]:
        """What it links to, in order; lambdas are evaluated now."""
        made = []
        for table, given in self._targets:
            texts = {
                name: text_of(given[name], table, f'{name} of linker "{self.name}"')
                for name in ("names", "aliases", "context", "types")
                if given[name] is not None
            }
            made.append(LinkerTarget(table, **{**given, **texts}))
        return tuple(made)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables whose rows it links to."""
        return tuple(table for table, _ in self._targets)


def listen(table: Table) -> None:
    """Let a table's CREATE and DROP take its declarations along. Twice is as once; a table that was pickled needs it anew."""
    for when, what in (("before_create", _before_create), ("after_create", _after_create), ("before_drop", _before_drop)):
        if not event.contains(table, when, what):
            event.listen(table, when, what)


def complete(connection: Connection, target: Any) -> list[str]:
    """Finish what ``create_all()`` had to leave.

    That is: the embedded columns that a table lacks which was there before its class declared them; and the declared codecs, which are
    trained on vectors, with their columns of codes, which are filled and indexed. To be called once the column has vectors; again, it goes
    on where it stopped, and does nothing where all is there. Rows are embedded by `refresh` or a worker.

    Args:
        connection: in AUTOCOMMIT (``engine.connect().execution_options(isolation_level="AUTOCOMMIT")``), since filling commits after each
            batch and indexes are built without blocking writers.
        target: mapped class or Table.
    Returns:
        The statements that were run.
    Raises:
        errors.NotReady: the connection is in a transaction.
        errors.UnknownTable: the table is not there.
        sqlalchemy.exc.DBAPIError: the server refuses; SQLSTATE 22023 where a codec is declared and no row has a vector yet.
    """
    table = declarations.table_of(target)
    if not getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise errors.NotReady(
            "completing a table commits, and the connection is in a transaction",
            hint='with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection: ...',
        )
    _must_be_installed(connection)
    schema = connection.schema_for_object(table)
    ran: list[str] = []

    def run(statement: Statement) -> None:
        connection.execute(statement)
        ran.append(str(statement))

    if _oid(connection, table) is None:
        raise errors.UnknownTable(
            f"table {declarations.table_name(table, schema)} does not exist", hint="metadata.create_all(engine) makes it."
        )
    for column_name, declaration in declarations.embeddings_of(table).items():
        code = declaration.code
        state = _state(connection, table, schema)
        if column_name not in state["embeddings"]:
            run(declarations.statement_of(table, column_name, declaration, schema))
        if code is None:
            continue
        if code.codec_of(table, column_name) not in state["codecs"]:
            run(declarations.codec_statement_of(table, column_name, code, schema))
        name = code.column_of(table, column_name)
        if name not in state["codes"]:
            run(declarations.code_statement_of(table, column_name, code, schema))
        where = {"target": declarations.table_name(table, schema), "name": name}
        if not connection.execute(_IS_FILLED, where).scalar_one():
            run(declarations.fill_code_statement_of(table, column_name, code, schema))
        indexes = connection.execute(_CODE_INDEXES, {**where, "covering": list(code.covering) or None}).scalars().all()
        for index in indexes:
            run(Statement(str(index)))
    return ran


def _must_be_installed(connection: Any) -> None:
    if not _is_real(connection):
        return
    if connection.dialect.name != "postgresql":
        raise errors.NotSupported(
            f"embedded columns and linkers are PostgreSQL's, not {connection.dialect.name}'s", hint="Create the tables in PostgreSQL."
        )
    if not connection.execute(_INSTALLED).scalar_one():
        raise errors.NotReady(
            "the database has no extension pgembed, which embedded columns and linkers need",
            hint="CREATE EXTENSION pgembed CASCADE, as an administrator of the database.",
        )


def _is_real(connection: Any) -> bool:
    """Whether there is a database behind a connection, and not only somebody who writes statements down."""
    return isinstance(connection, Connection)


def _before_create(table: Table, connection: Any, **_: Any) -> None:
    if connection is not None:
        _MADE.pop(connection, None)  # of a CREATE TABLE that failed
    if any(declarations.declared(column) is not None for column in table.columns):
        _must_be_installed(connection)
        declarations.embeddings_of(table)  # before there is a table that lacks its column
    for index in table.indexes:
        embeds = any(isinstance(one, Column) and declarations.declared(one) is not None for one in index.columns)
        if embeds and not event.contains(index, "before_create", _before_index):
            event.listen(index, "before_create", _before_index)


def _before_index(index: Index, connection: Any, **_: Any) -> None:
    """An index on an embedded column comes right after CREATE TABLE, and so before what is done when the table is there."""
    if index.table is not None:
        _add_embeddings(index.table, connection)


def _after_create(table: Table, connection: Any, **_: Any) -> None:
    if connection is not None:
        _add_embeddings(table, connection)
        _MADE.pop(connection, None)


def _add_embeddings(table: Table, connection: Any) -> None:
    # None: Alembic writes statements down, and create_embedding is one of its own
    if connection is None or _MADE.get(connection) is table:
        return
    _MADE[connection] = table
    schema = connection.schema_for_object(table)
    for column_name, declaration in declarations.embeddings_of(table).items():
        connection.execute(declarations.statement_of(table, column_name, declaration, schema))


def _before_drop(table: Table, connection: Any, _is_metadata_operation: bool = False, **_: Any) -> None:
    """What is on a table is dropped by name: not every server tells of a DROP TABLE, for that takes a superuser's event trigger."""
    if connection is None:
        return
    if not _is_metadata_operation:  # drop_all() has dropped them already
        _drop_linkers_of(connection, table.metadata, [table])
    declared = _declared(table)
    if not declared:
        return
    schema = connection.schema_for_object(table)
    state = _state(connection, table, schema) if _is_real(connection) else None
    for column_name, declaration in declared.items():
        code = declaration.code
        if code is not None and state is not None:
            if code.column_of(table, column_name) in state["codes"]:
                connection.execute(declarations.drop_code_statement_of(table, column_name, code, schema))
            if code.codec_of(table, column_name) in state["codecs"]:
                connection.execute(declarations.drop_codec_statement_of(table, column_name, code))
        if state is None or column_name in state["embeddings"]:
            connection.execute(declarations.drop_statement_of(table, column_name, schema))


def _declared(table: Table) -> dict[str, Embedding]:
    """Declarations without their sources, which nothing that drops needs."""
    return {str(column.name): found.rest for column in table.columns if (found := declarations.declared(column)) is not None}


_STATE = text("""
    SELECT t.kind, t.name FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL (
        SELECT 'embeddings' AS kind, e.column_name::pg_catalog.text AS name FROM pgembed._embedding AS e WHERE e.table_name = c.oid
        UNION ALL SELECT 'codes', k.column_name::pg_catalog.text FROM pgembed._code AS k WHERE k.table_name = c.oid
        UNION ALL SELECT 'codecs', d.name FROM pgembed._codec AS d WHERE d.table_name = c.oid
    ) AS t WHERE c.oid = pg_catalog.to_regclass(CAST(:target AS pg_catalog.text))
""")
_IS_FILLED = text(
    "SELECT k.is_filled FROM pgembed._code AS k"
    " WHERE k.table_name = CAST(CAST(:target AS pg_catalog.text) AS pg_catalog.regclass) AND k.column_name = CAST(:name AS pg_catalog.text)"
)
_CODE_INDEXES = text(
    "SELECT pgembed.code_indexes(CAST(CAST(:target AS pg_catalog.text) AS pg_catalog.regclass), CAST(:name AS pg_catalog.text),"
    " CAST(CAST(:covering AS pg_catalog.text[]) AS pg_catalog.name[]))"
)
_LINKER_TARGETS = text(
    "SELECT l.name, t.target::pg_catalog.oid FROM pgembed._linker AS l LEFT JOIN pgembed._linker_target AS t ON t.linker = l.name"
)
_LINK_TABLES = text(
    "SELECT k.source::pg_catalog.oid, k.entities::pg_catalog.text, k.corrections::pg_catalog.text, k.texts::pg_catalog.text,"
    " k.destination::pg_catalog.text FROM pgembed._link_table AS k WHERE k.linker = ANY (CAST(:linkers AS pg_catalog.text[]))"
)
_OID = text("SELECT pg_catalog.to_regclass(CAST(:target AS pg_catalog.text))::pg_catalog.oid")


def _state(connection: Connection, table: Table, schema: str | None) -> Mapping[str, set[str]]:
    """Names of the embedded columns, the columns of codes and the codecs that a table has in the database."""
    found: dict[str, set[str]] = {"embeddings": set(), "codes": set(), "codecs": set()}
    if not connection.execute(_INSTALLED).scalar_one():
        return found
    for kind, name in connection.execute(_STATE, {"target": declarations.table_name(table, schema)}):
        found[kind].add(name)
    return found


def _linkers_known(connection: Connection) -> dict[str, set[int]]:
    """The linkers of the database, with the OIDs of their targets."""
    found: dict[str, set[int]] = {}
    if connection.execute(_INSTALLED).scalar_one():
        for name, target in connection.execute(_LINKER_TARGETS):
            found.setdefault(name, set()).add(target)
    return found


def _create_linkers(metadata: MetaData, connection: Any, **_: Any) -> None:
    """A linker is made once all its tables are there; one that is there gets the targets that it lacks."""
    declared: dict[str, Linker] = declarations.linkers_of(metadata)
    if connection is None or not declared:
        return
    _must_be_installed(connection)
    known = _linkers_known(connection) if _is_real(connection) else {}
    schemas = {table: connection.schema_for_object(table) for table in metadata.tables.values()}
    for name, linker in declared.items():
        missing = list(range(len(linker.tables)))
        if _is_real(connection):
            there = [_oid(connection, table) for table in linker.tables]
            if None in there:
                continue  # create_all(tables=...) of some of them
            missing = [place for place, oid in enumerate(there) if oid not in known.get(name, set())]
        for statement in declarations.linker_statements_of(name, linker.targets, schemas, missing, is_there=name in known):
            connection.execute(statement)


def _oid(connection: Connection, table: Table) -> int | None:
    name = declarations.table_name(table, connection.schema_for_object(table))
    found: int | None = connection.execute(_OID, {"target": name}).scalar_one()
    return found


def _drop_linkers(metadata: MetaData, connection: Any, tables: Any = None, **_: Any) -> None:
    _drop_linkers_of(connection, metadata, metadata.tables.values() if tables is None else tables)


def _drop_linkers_of(connection: Any, metadata: MetaData, tables: Any) -> None:
    """Drop the linkers to tables that go; one that links to others too keeps these, and what it has learned."""
    gone = set(tables)
    declared = [linker for linker in declarations.linkers_of(metadata).values() if gone & set(linker.tables)]
    if connection is None or not declared:
        return
    known = _linkers_known(connection) if _is_real(connection) else None
    if known is not None:
        _drop_link_tables(connection, [linker.name for linker in declared if linker.name in known], gone)
    for linker in declared:
        if known is None:
            connection.execute(declarations.drop_linker_statement_of(linker.name))
            continue
        if linker.name not in known:
            continue
        oids = {_oid(connection, table): table for table in linker.tables if table in gone}
        going = known[linker.name] & set(oids)
        if going == known[linker.name]:
            connection.execute(declarations.drop_linker_statement_of(linker.name))
            continue
        for oid in sorted(going):
            table = oids[oid]
            connection.execute(declarations.drop_linker_target_statement_of(linker.name, table, connection.schema_for_object(table)))


def _drop_link_tables(connection: Connection, linkers: list[str], gone: set[Any]) -> None:
    """Drop what ``link_table`` keeps of texts that go: its foreign keys would not let go of their table."""
    oids = {_oid(connection, table) for table in gone}
    for source, *relations in connection.execute(_LINK_TABLES, {"linkers": linkers}).all():
        if source in oids:
            for kind, relation in zip(("VIEW", "TABLE", "TABLE", "TABLE"), relations, strict=True):
                connection.execute(Statement(f"DROP {kind} IF EXISTS {relation}"))
