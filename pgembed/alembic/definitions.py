"""definitions: what an index or a column is to PostgreSQL, read from its catalogue, and from a model by way of an empty copy of the table.

A model says ``CAST(embedding AS HALFVEC(384))`` and PostgreSQL ``(embedding)::halfvec(384)``. Which of two such texts mean the same only
the server knows. So a model's columns and indexes are created on an empty temporary table, inside a savepoint that is rolled back, and what
the catalogue then says of them is compared with what it says of the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

# Base types and domains of vectors and codes, and arrays and domains of those.
_VECTOR_TYPES = """
    WITH RECURSIVE found AS (
        SELECT t.oid FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
        WHERE t.typtype = 'b' AND (t.typname IN ('vector', 'halfvec', 'sparsevec') OR n.nspname = 'pgembed' AND t.typname = 'binvec'
            OR n.nspname = 'pg_catalog' AND t.typname IN ('bit', 'varbit'))
        UNION
        SELECT t.oid FROM pg_catalog.pg_type AS t JOIN found AS f ON f.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END
        WHERE t.typtype = 'd' OR t.typcategory = 'A'
    )
    SELECT array_agg(oid::bigint) FROM found
"""

_TABLE = """
    SELECT c.oid::bigint AS oid, n.nspname::text AS schema
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name
"""

_COLUMNS = """
    SELECT a.attrelid::bigint AS relation, a.attname::text AS name, a.atttypid::bigint AS type_oid, a.atttypmod AS modifier,
        pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.atttypid::bigint = ANY (:vectors) AS vector,
        CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS default_value,
        CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS generated
    FROM pg_catalog.pg_attribute AS a
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid::bigint = ANY (:tables) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""

# A key's text has all that makes it what it is: operator class unless it is the default one, collation unless it is the column's, order.
_INDEXES = """
    SELECT i.indrelid::bigint AS relation, c.relname::text AS name, i.indisunique AS is_unique, m.amname::text AS method,
        k.keys, k.columns, k.classes, k.include,
        coalesce(c.reloptions, '{}') AS options, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS condition,
        coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct,
        k.vector OR EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indrelid
                AND a.atttypid::bigint = ANY (:vectors)
        ) AS vector,
        ARRAY(
            SELECT a.attname::text FROM pg_catalog.pg_depend AS d
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indrelid
        ) AS uses
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
    CROSS JOIN LATERAL (
        SELECT
            array_agg(
                concat_ws(' ',
                    pg_catalog.pg_get_indexdef(i.indexrelid, n.n, false),
                    'COLLATE ' || (
                        SELECT quote_ident(s.nspname) || '.' || quote_ident(l.collname)
                        FROM pg_catalog.pg_collation AS l JOIN pg_catalog.pg_namespace AS s ON s.oid = l.collnamespace
                        WHERE l.oid = i.indcollation[n.n - 1] AND l.oid <> a.attcollation AND l.collname <> 'default'
                    ),
                    o.name,
                    CASE i.indoption[n.n - 1] & 3 WHEN 1 THEN 'DESC NULLS LAST' WHEN 2 THEN 'NULLS FIRST' WHEN 3 THEN 'DESC' END
                ) ORDER BY n.n
            ) FILTER (WHERE n.n <= i.indnkeyatts) AS keys,
            array_agg(CASE WHEN i.indoption[n.n - 1] & 3 = 0 THEN a.attname::text END ORDER BY n.n)
                FILTER (WHERE n.n <= i.indnkeyatts) AS columns,
            array_agg(o.name ORDER BY n.n) FILTER (WHERE n.n <= i.indnkeyatts) AS classes,
            coalesce(array_agg(a.attname::text ORDER BY n.n) FILTER (WHERE n.n > i.indnkeyatts), '{}') AS include,
            bool_or(own.atttypid::bigint = ANY (:vectors)) AS vector
        FROM pg_catalog.generate_series(1, i.indnatts) AS n (n)
        JOIN pg_catalog.pg_attribute AS own ON own.attrelid = i.indexrelid AND own.attnum = n.n
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n.n - 1] AND a.attnum > 0
        LEFT JOIN LATERAL (
            SELECT CASE WHEN p.opcdefault AND own.attoptions IS NULL THEN NULL
                ELSE CASE WHEN pg_catalog.pg_opclass_is_visible(p.oid) THEN '' ELSE quote_ident(s.nspname) || '.' END
                    || quote_ident(p.opcname) || coalesce('(' || array_to_string(own.attoptions, ', ') || ')', '') END AS name
            FROM pg_catalog.pg_opclass AS p JOIN pg_catalog.pg_namespace AS s ON s.oid = p.opcnamespace
            WHERE p.oid = i.indclass[n.n - 1] AND n.n <= i.indnkeyatts
        ) AS o ON true
    ) AS k
    WHERE i.indrelid::bigint = ANY (:tables) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint AS s WHERE s.conindid = i.indexrelid AND s.contype IN ('p', 'u', 'x')
    )
"""


@dataclass(frozen=True)
class ColumnDefinition:
    """A column as the catalogue has it; default and expression as PostgreSQL writes them out, None without one."""

    name: str
    type_oid: int
    modifier: int
    type: str
    vector: bool
    default: str | None
    generated: str | None

    def same_type(self, other: ColumnDefinition) -> bool:
        """Whether both are of one type, length included."""
        return (self.type_oid, self.modifier) == (other.type_oid, other.modifier)


@dataclass(frozen=True)
class IndexDefinition:
    """An index as the catalogue has it.

    Attributes:
        keys: SQL of each key with operator class and order, where those are not the default.
        columns: the name of a key's column, None for an expression and for an order of its own.
        classes: a key's operator class, None for the default.
        condition: of a partial index, in SQL.
        vector: whether a vector or a code is in it, as key, included or in an expression.
        uses: columns of the table that it depends on.
    """

    name: str = field(compare=False)
    unique: bool
    method: str
    keys: tuple[str, ...]
    columns: tuple[str | None, ...] = field(compare=False)
    classes: tuple[str | None, ...] = field(compare=False)
    include: tuple[str, ...]
    options: frozenset[tuple[str, str]]
    condition: str | None
    nulls_not_distinct: bool
    vector: bool = field(compare=False)
    uses: frozenset[str] = field(compare=False)

    def statement(self) -> str:
        """What follows the table in its CREATE INDEX."""
        parts = [f"USING {quote(self.method)} ({', '.join(self.keys)})"]
        if self.include:
            parts.append(f"INCLUDE ({', '.join(map(quote, self.include))})")
        if self.nulls_not_distinct:
            parts.append("NULLS NOT DISTINCT")
        if self.options:
            parts.append(f"WITH ({', '.join(f'{name} = {value}' for name, value in sorted(self.options))})")
        if self.condition:
            parts.append(f"WHERE {self.condition}")
        return " ".join(parts)


class Catalogue:
    """Reads definitions of one database.

    Attributes:
        autocommit: whether each statement of the connection is a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.autocommit = is_autocommit(connection)
        self._vectors: list[int] = list(connection.scalar(text(_VECTOR_TYPES)) or [])

    def table(self, schema: str | None, name: str) -> tuple[int, str] | None:
        """The oid of a table and its schema; None without one.

        Args:
            schema: None is SQLAlchemy's default schema.
            name: of the table.
        """
        values = {"schema": schema or self.connection.dialect.default_schema_name, "name": name}
        row = self.connection.execute(text(_TABLE), values).one_or_none()
        return row and (row[0], row[1])

    def columns(self, *tables: int) -> list[dict[str, ColumnDefinition]]:
        """All columns of each of some tables, in its order."""
        found: dict[int, dict[str, ColumnDefinition]] = {table: {} for table in tables}
        for row in self._rows(_COLUMNS, tables):
            found[row[0]][row[1]] = ColumnDefinition(*row[1:])
        return list(found.values())

    def indexes(self, *tables: int) -> list[dict[str, IndexDefinition]]:
        """All indexes of each of some tables but those of its constraints."""
        found: dict[int, dict[str, IndexDefinition]] = {table: {} for table in tables}
        for row in self._rows(_INDEXES, tables):
            found[row.relation][row.name] = IndexDefinition(
                name=row.name,
                unique=row.is_unique,
                method=row.method,
                keys=tuple(row.keys),
                columns=tuple(row.columns),
                classes=tuple(row.classes),
                include=tuple(row.include),
                options=frozenset((name, value) for name, _, value in (option.partition("=") for option in row.options)),
                condition=row.condition,
                nulls_not_distinct=row.nulls_not_distinct,
                vector=row.vector,
                uses=frozenset(row.uses),
            )
        return list(found.values())

    def _rows(self, statement: str, tables: tuple[int, ...]) -> Any:
        return self.connection.execute(text(statement), {"tables": list(tables), "vectors": self._vectors}).all()


class Copy:
    """An empty temporary table with the name of a real one, to try what a model declares.

    Attributes:
        table: its oid.
        refused: what could not be created, by its name ("index i" for an index), and what the server said.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = f"pg_temp.{quote(name)}"
        self.table = 0
        self.refused: dict[str, str] = {}

    def fill(self, columns: Mapping[str, str], indexes: Mapping[str, tuple[bool, str]]) -> None:
        """Add columns and indexes, each of which may be refused.

        Args:
            columns: SQL after the name of a column; generated ones last.
            indexes: whether one is unique, and its statement from USING on. A temporary table's schema has no other names.
        """
        statements = {name: f"ALTER TABLE {self._name} ADD COLUMN {quote(name)} {said}" for name, said in columns.items()}
        for name, (unique, said) in indexes.items():
            # an index may have the name of a column
            statements[f"index {name}"] = f"CREATE {'UNIQUE ' if unique else ''}INDEX {quote(name)} ON {self._name} {said}"
        if statements and self._refusal(";\n".join(statements.values())) is None:
            return
        for name, statement in statements.items():
            refusal = self._refusal(statement)
            if refusal is not None:
                self.refused[name] = refusal

    def alters(self, column: str, before: str, after: str, using: str | None) -> bool:
        """Whether PostgreSQL knows how to turn one type into another: ``ALTER COLUMN ... TYPE after USING using``."""
        trial = "pg_temp.pgembed_trial"
        alter = f"ALTER TABLE {trial} ALTER COLUMN {quote(column)} TYPE {after}" + (f" USING {using}" if using else "")
        nested = self._connection.begin_nested()
        try:
            _run(self._connection, f"CREATE TEMPORARY TABLE pgembed_trial ({quote(column)} {before})")
            _run(self._connection, alter)
        except DBAPIError:
            return False
        finally:
            nested.rollback()
        return True

    def _refusal(self, statement: str) -> str | None:
        """What the server says of a statement that it refuses. (Some drivers refuse more than one at once.)"""
        nested = self._connection.begin_nested()
        try:
            _run(self._connection, statement)
        except DBAPIError as error:
            nested.rollback()
            return str(error.orig).strip().partition("\n")[0]
        nested.commit()
        return None


@contextmanager
def copied(catalogue: Catalogue, schema: str, name: str, columns: list[str]) -> Iterator[Copy]:
    """An empty temporary copy of a table with some of its columns, gone at the end of the block; the transaction is as it was.

    Raises:
        sqlalchemy.exc.DBAPIError: the role may not create temporary tables or read this one (42501), the transaction is read-only (25006).
    """
    connection = catalogue.connection
    with trial(connection, autocommit=catalogue.autocommit):
        names = ", ".join(map(quote, columns))
        _run(
            connection,
            f"CREATE TEMPORARY TABLE {quote(name)} AS SELECT {names} FROM {quote(schema)}.{quote(name)} WITH NO DATA",
        )
        copy = Copy(connection, name)
        copy.table = connection.scalar(text("SELECT CAST(CAST(:name AS pg_catalog.regclass) AS bigint)"), {"name": copy._name}) or 0
        yield copy


@contextmanager
def trial(connection: Connection, *, autocommit: bool | None = None) -> Iterator[None]:
    """A savepoint to which the end of the block rolls back, also where each statement is a transaction.

    Args:
        autocommit: what `is_autocommit` says, if it was asked before.
    """
    begun = is_autocommit(connection) if autocommit is None else autocommit
    if begun:  # a savepoint needs a transaction
        _run(connection, "BEGIN")
    try:
        nested = connection.begin_nested()
        try:
            yield
        finally:
            nested.rollback()
    finally:
        if begun:
            _run(connection, "ROLLBACK")


def is_autocommit(connection: Connection) -> bool:
    """Whether each statement of a connection is a transaction."""
    # its isolation level is that of the server's next transaction, whichever way the driver begins one
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


def quote(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
