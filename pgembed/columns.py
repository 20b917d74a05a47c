"""columns: what is known of a table and its embedded columns, and how its names are written in SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgembed import errors
from pgembed.database import Database, Row

# Metric -> pgvector's operator and the stem of its operator classes.
OPERATORS = {"cosine": "<=>", "l2": "<->", "inner_product": "<#>"}
OPCLASSES = {"cosine": "cosine_ops", "l2": "l2_ops", "inner_product": "ip_ops"}
VECTOR_TYPES = ("vector", "halfvec")
# The column of vectors in a table of chunks.
CHUNK_VECTOR = "embedding"


_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
# What PostgreSQL 14 to 18 take for a name only in quotes, in pg_get_keywords() of category R or T.
_KEYWORDS = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column concurrently
constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user default
deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in initially inner intersect
into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps
placing primary references returning right select session_user similar some symmetric system_user table tablesample then to trailing true
union unique user using variadic verbose when where window with
"""
_RESERVED = frozenset(_KEYWORDS.split())


@dataclass(frozen=True)
class Table:
    """A table of the user's, as the catalogs describe it.

    Attributes:
        sql: the table in SQL, schema-qualified and quoted.
        alias: its own name, quoted: what expressions of the user's may call it.
        may_own: the caller is its owner, or a member of the owner, or a superuser.
        keys: (column quoted, type) of the primary key, in its order; () where there is none.
        called: what EXPLAIN calls a scan of it, where that is not its name: of a view.
    """

    oid: int
    schema: str
    name: str
    relkind: str
    owner: str
    may_own: bool
    keys: tuple[tuple[str, str], ...]
    called: str | None = None

    @property
    def sql(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def shown(self) -> str:
        """The table as a person would write it in a call: quotes only where they are needed."""
        parts = [self.name] if self.schema == "public" else [self.schema, self.name]
        return ".".join(part if _PLAIN.fullmatch(part) and part not in _RESERVED else quote(part) for part in parts)

    @property
    def alias(self) -> str:
        return quote(self.name)

    def key_text(self, alias: str, names: Sequence[str] = ()) -> str:
        """SQL for a row's key as text: the value of a simple key, a JSON array of a composite one.

        Args:
            names: what its columns are called there; () for their own names.
        """
        if not self.keys:
            raise self.no_key()
        columns = [f"{alias}.{column}" for column in names or [name for name, _ in self.keys]]
        if len(columns) == 1:
            return f"{columns[0]}::pg_catalog.text"
        # JSON writes an array as one of its own, which PostgreSQL does not read as an array again
        columns = [f"{one}::pg_catalog.text" if kind.endswith("[]") else one for one, (_, kind) in zip(columns, self.keys, strict=True)]
        return f"pg_catalog.jsonb_build_array({', '.join(columns)})::pg_catalog.text"

    def key_matches(self, alias: str, parameter: str) -> str:
        """SQL that is true for the row whose key is in a parameter of type text, as `key_text` writes it."""
        if not self.keys:
            raise self.no_key()
        if len(self.keys) == 1:
            column, kind = self.keys[0]
            return f"{alias}.{column} = {parameter}::pg_catalog.text::{kind}"
        return " AND ".join(
            f"{alias}.{column} = ({parameter}::pg_catalog.jsonb->>{position})::{kind}" for position, (column, kind) in enumerate(self.keys)
        )

    def must_own(self) -> None:
        """Raise where the caller is not the table's owner (or a member of it, or a superuser)."""
        if not self.may_own:
            raise errors.InsufficientPrivilege(
                f'must be owner of table "{self.name}"', hint=f'Its owner is the role "{self.owner}"; SET ROLE to it where you may.'
            )

    def no_key(self) -> errors.PgembedError:
        return errors.InvalidTableDefinition(
            f'table "{self.name}" has no primary key',
            hint=f"ALTER TABLE {self.sql} ADD PRIMARY KEY (...), then try again.",
        )


# Writes one statement on the registry, where the caller owns the table: (table, statement, types, values).
Writer = Callable[[Table, str, Sequence[str], Sequence[object]], None]


@dataclass(frozen=True)
class RowFunction:
    """A function made of an expression over a table's row.

    Attributes:
        name: in SQL, schema-qualified and quoted; no other function has it.
        columns: the columns that are its arguments, in order; None where it takes the whole row.
    """

    name: str
    columns: tuple[str, ...] | None

    def call(self, alias: str, *, without: Sequence[str] = ()) -> str:
        """SQL that calls it for the row of an alias.

        Args:
            without: columns that are NULL in the row where it takes the whole of it.
        """
        if self.columns is not None:
            arguments = ", ".join(f"{alias}.{quote(name)}" for name in self.columns)
        elif without:
            arguments = f"pg_catalog.jsonb_populate_record({alias}.*, {literal(json.dumps(dict.fromkeys(without)))})"
        else:
            arguments = f"{alias}.*"
        return f"{self.name}({arguments})"


@dataclass(frozen=True)
class Chunks:
    """Where the vectors of a column over chunks are: a table of its own, several lines for each row.

    Attributes:
        schema, name: of the table, as it is called at this moment; '' where it is gone.
        keys: its columns, quoted, that refer to the row's primary key, in the order of that.
        tokens, overlap: how a text is cut, as in `pgembed.chunks.split`.
        lines: in the table, as PostgreSQL last counted them; below 0 where it never has.
        called: its name as the snapshot sees it, which is another one where that is older than a renaming.
    """

    schema: str
    name: str
    keys: tuple[str, ...]
    tokens: int
    overlap: int
    lines: float = -1.0
    called: str = ""

    @property
    def sql(self) -> str:
        """The table in SQL, schema-qualified and quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    def of_row(self, alias: str, row: str, keys: Sequence[str]) -> str:
        """SQL that is true for the chunks of a row.

        Args:
            alias: of the table of chunks.
            row, keys: alias of the row, and the columns that have its key there.
        """
        return " AND ".join(f"{alias}.{mine} = {row}.{key}" for mine, key in zip(self.keys, keys, strict=True))


@dataclass(frozen=True)
class Column:
    """An embedded column, as the registry and the catalogs describe it.

    ``dim`` is None for a vector column without a dimension; ``renamed`` says that a column of the source has another name than when the
    source was declared; ``chunks`` is None where a row has one vector, in the table itself. Of a view (see `pgembed.viewed`) ``home`` is
    the column of the table under it, else None; ``apart`` says why no index serves through the view, or is ''. ``by_hand`` says what
    becomes of vectors that others write (mark, refuse); ``work_index`` is the index over the rows that need work, in SQL; ``role`` is
    next or previous while the model of the column ``change_of`` is being changed. ``now`` is the name that the column of vectors has at
    this moment, which statements must use; ``name`` and all else is what the snapshot sees, so that they differ where that is older than a
    renaming. ``number`` is that column's, None over chunks.
    """

    table: Table
    name: str
    source: str | None
    source_function: RowFunction | None
    hash_column: str | None
    trigger_name: str | None
    trigger_function: str | None
    model: str | None
    fingerprint: str | None
    metric: str
    sync: str
    adopted: bool
    type: str
    dim: int | None
    index_name: str | None
    index_method: str | None
    vector_schema: str
    renamed: bool
    chunks: Chunks | None = None
    rows: float = -1.0
    home: Column | None = None
    apart: str = ""
    by_hand: str = "mark"
    work_index: str | None = None
    role: str = "current"
    change_of: str | None = None
    now: str | None = None
    number: int | None = None

    @property
    def sql(self) -> str:
        """The name of the column of vectors, quoted, in the table that has it."""
        return quote(self.now or self.name if self.chunks is None else CHUNK_VECTOR)

    @property
    def place(self) -> str:
        """The table that has the vectors, in SQL."""
        return self.table.sql if self.chunks is None else self.chunks.sql

    @property
    def operator(self) -> str:
        """The metric's operator, schema-qualified: a caller's search_path may not contain pgvector's schema."""
        return f"OPERATOR({self.vector_schema}.{OPERATORS[self.metric]})"

    @property
    def to_vector(self) -> str:
        """What stands behind its value to make it a `vector`: a cast, or nothing where it is one."""
        return "" if self.type == "vector" else f"::{self.vector_schema}.vector"

    @property
    def from_vector(self) -> str:
        """What stands behind a `vector` to make it of the column's type: a cast, or nothing."""
        return "" if self.type == "vector" else f"::{self.vector_schema}.{self.type}"

    @property
    def label(self) -> str:
        """The column in messages."""
        return f"{self.table.name}.{self.name}"

    def freshness(self, alias: str) -> str:
        """SQL for the state of a row; only the two columns of ours are read, never the source."""
        hashed = f"{alias}.{quote(self.hash_column)}" if self.hash_column else "NULL::pg_catalog.bytea"
        return f"pgembed.freshness({hashed})" if self.chunks else f"pgembed.freshness({alias}.{self.sql}, {hashed})"

    def embedded(self, alias: str) -> str:
        """SQL that is true where a row has a vector, or chunks; only the two columns of ours are read."""
        if self.chunks is not None:
            return f"coalesce(pg_catalog.octet_length({alias}.{quote(str(self.hash_column))}) >= 16, false)"
        return f"({alias}.{self.sql} IS NOT NULL)"

    def one_vector(self, what: str) -> None:
        """Raise where a row has several vectors.

        Args:
            what: needs one.
        """
        if self.chunks is not None:
            raise errors.NotSupported(
                f"{self.label} is over chunks, and {what} needs one vector for each row",
                hint=f"Add a second column without chunk_tokens; or let the chunks be the rows: SELECT pgembed.adopt_embedding("
                f"'{self.chunks.sql}', '{CHUNK_VECTOR}', '{self.model}').",
            )


def quote(name: str) -> str:
    """An identifier in SQL, always quoted: right for every name, whatever the server's keywords are."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(name: str) -> str:
    """The identifier that `quote` has quoted."""
    return name[1:-1].replace('""', '"')


def literal(text: str) -> str:
    """A string constant in SQL, for the bodies of generated objects, where parameters cannot be."""
    escaped = text.replace("'", "''")
    return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in text else f"'{escaped}'"


def table(db: Database, target: str | None) -> tuple[Table, list[Column]]:
    """Look up a table and its embedded columns, by column name.

    Args:
        target: the table as regclass writes it.
    Raises:
        errors.NullNotAllowed: the target is NULL.
        errors.UnknownTable: there is no such table (any more).
    """
    if target is None:
        raise errors.NullNotAllowed("target is NULL", hint="Name a table: 'product' or 'schema.product'.")
    rows = db.execute("SELECT * FROM pgembed._describe($1)", ["pg_catalog.regclass"], [target])
    if not rows:
        raise errors.UnknownTable(f"table with OID {target} does not exist", hint="Was it dropped in the meantime?")
    first = rows[0]
    found = Table(
        oid=first["table_oid"],
        schema=first["schema_name"],
        name=first["table_name"],
        relkind=first["relkind"],
        owner=first["owner"],
        may_own=first["may_own"],
        keys=tuple(zip(map(quote, first["key_columns"] or ()), first["key_types"] or (), strict=True)),
    )
    return found, [_column(found, row) for row in rows if row["column_name"] is not None]


def column(db: Database, target: str | None, name: str | None) -> Column:
    """The embedded column that a call means.

    Args:
        name: its name; None where the table has only one.
    Raises:
        errors.UnknownObject: the table has no embedded column, or none of that name.
        errors.AmbiguousColumn: no name was given and there are several.
        errors.UnknownColumn: it is registered, but the table's column is gone or was renamed.
    """
    return chosen(*table(db, target), name)


def chosen(described: Table, columns: Sequence[Column], name: str | None) -> Column:
    """The same of a table that was looked up already, with its embedded columns."""
    names = ", ".join(known.name for known in columns)
    # beside a column whose model is being changed stands another, which is meant only where it is named
    current = [known for known in columns if known.role == "current"]
    if name is not None:
        found = [known for known in columns if known.name == name] or [known for known in columns if known.now == name]
        if not found:
            raise errors.UnknownObject(
                f'column "{name}" of table "{described.name}" is not an embedded column',
                hint=f"Embedded columns of this table: {names}." if names else _how_to_embed(described),
            )
    elif not columns:
        raise errors.UnknownObject(f'table "{described.name}" has no embedded column', hint=_how_to_embed(described))
    elif len(current) > 1:
        names = ", ".join(known.name for known in current)
        raise errors.AmbiguousColumn(
            f'table "{described.name}" has {len(current)} embedded columns: {names}',
            hint=f"Say which one is meant: column_name => '{current[0].name}'.",
        )
    else:
        found = current or list(columns)
    if found[0].type not in VECTOR_TYPES:
        or_hash = f' or "{found[0].hash_column}"' if found[0].hash_column else ""
        if found[0].chunks is not None:
            or_hash += ", or its table of chunks with the foreign key,"
        raise errors.UnknownColumn(
            f'column "{found[0].name}"{or_hash} of table "{described.name}" does not exist any more',
            hint=f"Was it renamed or dropped? SELECT pgembed.drop_embedding('{described.shown}', '{found[0].name}') forgets it.",
        )
    return found[0]


def _how_to_embed(found: Table) -> str:
    if found.relkind == "v":
        return "A view is there to be searched; for all else name the table under it."
    return (
        f"SELECT pgembed.add_embedding('{found.shown}', 'a source expression') adds one, "
        "pgembed.adopt_embedding() declares a vector column that exists already."
    )


def _column(found: Table, row: Row) -> Column:
    chunks = _chunks(row)
    whole = chunks is None or (chunks.name != "" and len(chunks.keys) == len(found.keys) > 0)
    return Column(
        table=found,
        name=row["column_name"],
        source=row["source"],
        source_function=_row_function(row),
        hash_column=row["hash_now"] or row["hash_column"],
        trigger_name=row["trigger_name"],
        trigger_function=row["trigger_function"],
        model=row["model"],
        fingerprint=row["fingerprint"],
        metric=row["metric"],
        sync=row["sync"],
        adopted=row["adopted"],
        # where it was dropped since, PostgreSQL has no name for it
        type=(row["column_type"] or "") if whole and (chunks is not None or row["column_now"]) else "",
        dim=row["dim"],
        index_name=row["index_name"],
        index_method=row["index_method"],
        vector_schema=row["vector_schema"],
        renamed=bool(row["trigger_columns"]) and row["trigger_columns"] != row["source_columns"],
        chunks=chunks,
        rows=row["reltuples"],
        by_hand=row["by_hand"],
        work_index=row["work_index"],
        role=row["role"],
        change_of=row["change_of"],
        now=row["column_now"] if chunks is None else None,
        number=row["column_number"],
    )


def _chunks(row: Row) -> Chunks | None:
    if row["chunk_tokens"] is None:
        return None
    return Chunks(
        schema=row["chunk_schema"] or "",
        # none where it was dropped since
        name=row["column_now"] or "",
        keys=tuple(map(quote, row["chunk_keys"] or ())),
        tokens=row["chunk_tokens"],
        overlap=row["chunk_overlap"],
        lines=-1.0 if row["chunk_lines"] is None else row["chunk_lines"],
        called=row["chunk_name"] or "",
    )


def _row_function(row: Row) -> RowFunction | None:
    if row["source_function"] is None:
        return None
    # The trigger lists the same columns in the same order and follows when one is renamed.
    read = row["trigger_columns"] or row["source_columns"]
    return RowFunction(row["source_function"], None if row["source_columns"] is None else tuple(read))
