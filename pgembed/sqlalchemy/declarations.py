"""declarations: what models say of embedded columns and linkers, and the SQL that makes it so.

The one place where a declaration becomes SQL: ``metadata.create_all()`` runs these statements, and so do the operations of
``pgembed.alembic``. They are the calls that a person in psql would type. Nothing here listens to events or asks a database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Column, MetaData, Table, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapper
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from pgembed import errors
from pgembed.sqlalchemy.sources import PLAIN_DIALECT, Source, text_of

INFO = "pgembed"
"""Where a declaration hangs: ``column.info["pgembed"]``."""
LINKERS_INFO = "pgembed.linkers"
"""Where linkers hang: ``metadata.info["pgembed.linkers"]``, by name."""

_QUOTE = PLAIN_DIALECT.identifier_preparer
_CODEC_OPTIONS = ("bits", "dims", "bytes", "centered", "rotation", "residual_bits", "sample_rows", "seed", "code_type", "measure")


class Statement(ExecutableDDLElement):
    """A statement with all its values written out, which any connection executes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


@compiles(Statement)
def _render_statement(element: Statement, compiler: DDLCompiler, **_: Any) -> str:
    # a driver that looks for parameters reads %% as %
    sql: Any = compiler.sql_compiler
    return str(sql.post_process_text(element.text))


@dataclass(frozen=True)
class Code:
    """A codec trained on a column, and a column of codes made with it.

    Attributes:
        method: as ``pgembed.train_codec`` calls it, such as ``sign``.
        options: its other arguments: bits, dims, bytes, centered, rotation, residual_bits, sample_rows, seed, code_type, measure.
        name: of the codec, which is the name of a function in the table's schema; None for ``table_column_method``.
        column_name: of the column of codes; None for the codec's name.
        covering: columns of the table by which filtered searches choose; () for no covering index.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    column_name: str | None = None
    covering: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.options) - set(_CODEC_OPTIONS))
        if unknown:
            raise errors.InvalidParameter(
                f"codecs have no option {', '.join(unknown)}", hint=f"Options are {', '.join(_CODEC_OPTIONS)}; methods take some of them."
            )

    def __hash__(self) -> int:
        return hash((self.method, tuple(sorted(self.options.items())), self.name, self.column_name, self.covering))

    def codec_of(self, table: Table, column_name: str) -> str:
        """The codec's name, on a table's column: ``column_name`` is the embedded one."""
        return self.name or f"{table.name}_{column_name}_{self.method}"[:63]

    def column_of(self, table: Table, column_name: str) -> str:
        """Name of the column of codes, in a table; ``column_name`` is the embedded one."""
        return self.column_name or self.codec_of(table, column_name)


@dataclass(frozen=True)
class Embedding:
    """What is said of an embedded column.

    Attributes:
        source: SQL over the table's own columns, which are named without it, with its values written out.
        model, sync, metric, chunk_tokens, chunk_overlap, by_hand: as ``pgembed.add_embedding`` takes them; a model of None is the
            database's default model.
        code: codes of the column's vectors; None for none.
    """

    source: str
    model: str | None = None
    sync: str = "auto"
    metric: str = "cosine"
    chunk_tokens: int | None = None
    chunk_overlap: int | None = None
    by_hand: str = "mark"
    code: Code | None = None


@dataclass
class Declared:
    """What hangs at ``column.info["pgembed"]``: a declaration whose source may not be known yet.

    Attributes:
        source: as it was given.
        rest: all but the source.
        origin: the table that the declaration was written for; a copy of the table has it too.
    """

    source: Source
    rest: Embedding
    origin: Table | None = None

    def resolve(self, table: Table) -> Embedding:
        """The declaration with its source as text.

        Raises:
            errors.InvalidParameter, errors.NotSupported: the source is no expression over the table's own columns.
        """
        source = text_of(self.source, table, "the source of an embedded column", self.origin)
        others = {one.name: getattr(self.rest, one.name) for one in fields(Embedding) if one.name != "source"}
        return Embedding(source, **others)

    def __getstate__(self) -> dict[str, Any]:
        # a lambda cannot be pickled; its text can
        source = self.source if isinstance(self.source, str) or self.origin is None else self.resolve(self.origin).source
        return {"source": source, "rest": self.rest, "origin": self.origin}


def table_of(target: Any) -> Table:
    """The table of a mapped class, the one that is the class's own where it has several.

    Raises:
        errors.InvalidParameter: it is no class with a table.
    """
    if isinstance(target, Table):
        return target
    try:
        mapper = inspect(target)
    except NoInspectionAvailable:
        mapper = None
    if isinstance(mapper, Mapper) and isinstance(mapper.local_table, Table):
        return mapper.local_table
    raise errors.InvalidParameter(f"a mapped class or a Table is needed, not {target!r}", hint="Name the class itself.")


def declared(column: Column[Any]) -> Declared | None:
    """The declaration of a column; None where it has none."""
    found = column.info.get(INFO)
    return found if isinstance(found, Declared) else None


def embeddings_of(table: Table) -> dict[str, Embedding]:
    """The declarations of a table's embedded columns, by the columns' names; lambdas are evaluated now.

    Raises:
        errors.InvalidParameter, errors.NotSupported: a source is no expression over the table's own columns.
    """
    return {str(column.name): found.resolve(table) for column in table.columns if (found := declared(column)) is not None}


@dataclass(frozen=True)
class LinkerTarget:
    """A table whose rows a linker links to; all else is as ``pgembed.create_linker`` takes it, texts being SQL over the table's columns.

    Attributes:
        relations, alias_tables: names of tables or columns; Tables; or objects, whose "table" may be a Table.
    """

    table: Table
    key: str | None = None
    names: str | None = None
    aliases: str | None = None
    context: str | None = None
    relations: tuple[Any, ...] = ()
    types: str | None = None
    alias_tables: tuple[Any, ...] = ()


def linkers_of(metadata: MetaData) -> dict[str, Any]:
    """The linkers that are declared in a metadata, by name: each has ``.name`` and ``.targets``, a tuple of `LinkerTarget`."""
    return dict(metadata.info.get(LINKERS_INFO, {}))


def statement_of(table: Table, column_name: str, declaration: Embedding, schema: str | None = None) -> Statement:
    """``SELECT pgembed.add_embedding(...)``; arguments that are at their default are left out.

    Args:
        schema: of the table, where it is not the one that the Table has (a schema_translate_map).
    """
    said = {
        "source": declaration.source,
        "model": declaration.model,
        "column_name": None if column_name == "embedding" else column_name,
        "sync": None if declaration.sync == "auto" else declaration.sync,
        "metric": None if declaration.metric == "cosine" else declaration.metric,
        "chunk_tokens": declaration.chunk_tokens,
        "chunk_overlap": declaration.chunk_overlap,
        "by_hand": None if declaration.by_hand == "mark" else declaration.by_hand,
    }
    return call("add_embedding", regclass(table, schema), said)


def drop_statement_of(table: Table, column_name: str, schema: str | None = None) -> Statement:
    """``SELECT pgembed.drop_embedding(...)``, which takes the column or the table of chunks along."""
    return call("drop_embedding", regclass(table, schema), {"column_name": column_name})


def codec_statement_of(table: Table, column_name: str, code: Code, schema: str | None = None) -> Statement:
    """``SELECT pgembed.train_codec(...)``, which needs rows with vectors."""
    said = {
        "method": code.method,
        "column_name": column_name,
        **{name: code.options[name] for name in _CODEC_OPTIONS if name in code.options},
    }
    return _call("train_codec", [("name", literal(code.codec_of(table, column_name))), ("target", regclass(table, schema))], said)


def drop_codec_statement_of(table: Table, column_name: str, code: Code) -> Statement:
    """``SELECT pgembed.drop_codec(...)``."""
    return _call("drop_codec", [("name", literal(code.codec_of(table, column_name)))], {})


def code_statement_of(table: Table, column_name: str, code: Code, schema: str | None = None) -> Statement:
    """``SELECT pgembed.add_code(...)``, after the codec is trained."""
    said = {"codec": code.codec_of(table, column_name), "column_name": code.column_name, "embedding_column": column_name}
    return call("add_code", regclass(table, schema), said)


def drop_code_statement_of(table: Table, column_name: str, code: Code, schema: str | None = None) -> Statement:
    """``SELECT pgembed.drop_code(...)``."""
    return call("drop_code", regclass(table, schema), {"column_name": code.column_of(table, column_name)})


def fill_code_statement_of(table: Table, column_name: str, code: Code, schema: str | None = None) -> Statement:
    """``CALL pgembed.fill_code(...)``, which commits after each batch and so needs AUTOCOMMIT."""
    made = call("fill_code", regclass(table, schema), {"column_name": code.column_of(table, column_name)})
    return Statement(made.text.replace("SELECT", "CALL", 1))


def linker_statements_of(
    name: str,
    targets: Sequence[LinkerTarget],
    schemas: Mapping[Table, str | None] | None = None,
    which: Iterable[int] | None = None,
    *,
    is_there: bool = False,
) -> list[Statement]:
    """``SELECT pgembed.create_linker(...)``, and ``pgembed.add_linker_target(...)`` for each target but the first.

    Args:
        schemas: of tables, where these are not the ones that the Tables have.
        which: places of the targets meant; None for all.
        is_there: the linker has other targets already.
    """
    schemas = schemas or {}
    made: list[Statement] = []
    for target in targets if which is None else [targets[place] for place in which]:
        function, first = ("add_linker_target", "linker") if made or is_there else ("create_linker", "name")
        said = {
            "key": target.key,
            "names": target.names,
            "aliases": target.aliases,
            "context": target.context,
            "relations": _json(target.relations, schemas),
            "types": target.types,
            "alias_tables": _json(target.alias_tables, schemas),
        }
        heads = [(first, literal(name)), ("target", regclass(target.table, schemas.get(target.table)))]
        made.append(_call(function, heads, said))
    return made


def drop_linker_target_statement_of(name: str, table: Table, schema: str | None = None) -> Statement:
    """``SELECT pgembed.drop_linker_target(...)``; refused for the only target."""
    return _call("drop_linker_target", [("linker", literal(name)), ("target", regclass(table, schema))], {})


def drop_linker_statement_of(name: str) -> Statement:
    """``SELECT pgembed.drop_linker(...)``."""
    return _call("drop_linker", [("name", literal(name))], {})


def call(function: str, target: str, arguments: Mapping[str, Any]) -> Statement:
    """``SELECT pgembed.function(target => ..., ...)`` with those of the arguments that are not None.

    Args:
        target: SQL, as `regclass` makes it.
    """
    return _call(function, [("target", target)], arguments)


def _call(function: str, heads: Iterable[tuple[str, str]], arguments: Mapping[str, Any]) -> Statement:
    said = [f"{name} => {text}" for name, text in heads]
    said += [f"{name} => {literal(value)}" for name, value in arguments.items() if value is not None]
    return Statement(f"SELECT pgembed.{function}({', '.join(said)})")


def table_name(table: Table, schema: str | None = None) -> str:
    """A table as SQL writes it.

    Args:
        schema: None for the one that the Table has.
    """
    name = _QUOTE.quote(str(table.name))
    within = table.schema if schema is None else schema
    return str(name if within is None else f"{_QUOTE.quote(str(within))}.{name}")


def regclass(table: Table, schema: str | None = None) -> str:
    """A table as an argument: ``'shop.product'::regclass``."""
    return f"{literal(table_name(table, schema))}::regclass"


def literal(value: Any) -> str:
    """A value in SQL.

    Raises:
        errors.InvalidParameter: it is none of str, int, float, bool, None.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise errors.InvalidParameter(f"{value!r} is no text, number or boolean", hint="Give what pgembed's SQL functions take.")
    quoted = "'" + value.replace("'", "''") + "'"
    # a backslash is one in such a string, whatever standard_conforming_strings is
    return quoted if "\\" not in value else " E" + quoted.replace("\\", "\\\\")


def _json(items: Sequence[Any], schemas: Mapping[Table, str | None]) -> str | None:
    def plain(item: Any) -> Any:
        item = getattr(item, "__table__", item)
        if isinstance(item, Table):
            return table_name(item, schemas.get(item))
        if isinstance(item, Mapping):
            return {str(name): plain(value) for name, value in item.items()}
        return item

    return json.dumps([plain(item) for item in items], ensure_ascii=False) if items else None
