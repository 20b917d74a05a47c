"""installing: operations that put pgembed's objects into a database, keep them up to date, and take them out.

They run the statements from which the extension is made, verbatim, and are for those who want one history of their schema. Whoever has
``CREATE EXTENSION pgembed`` has the same objects already: there the operations leave them alone, so that one history serves the developer's
own database and that of an administrator. Either way pgembed's Python package belongs on the server (``pgembed install``).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pgembed import __version__, errors, install
from pgembed.alembic.contract import LOG
from pgembed.alembic.definitions import quote
from pgembed.sqlalchemy.declarations import literal

LEAST_PGVECTOR = (0, 8)
_SHOWN = 200  # characters of a script that are shown where it fails


@Operations.register_operation("install_pgembed")
class InstallPgembed(MigrateOperation):
    """See `install_pgembed`."""

    def __init__(self, *, vector_schema: str = "public") -> None:
        self.vector_schema = vector_schema

    @classmethod
    def install_pgembed(cls, operations: Operations, *, vector_schema: str = "public") -> None:
        """Make sure that pgembed's objects are in the database, in the version of this package.

        Creates the schema ``pgembed``, and the extensions vector and plpython3u where they are missing. Objects of this version or a
        newer one are left alone, older ones are updated: a revision on a fresh database installs what is current, whenever it was
        written. An extension is left alone in any version, for it is its administrator's; `update_pgembed` says which one is needed.

        Args:
            vector_schema: where pgvector is created if it is missing. With ``--sql`` it has to be where pgvector is.
        Raises:
            sqlalchemy.exc.DBAPIError: the role is no superuser (42501), or the server lacks an extension (58P01), pgvector 0.8 or this
                package (55000); or a script meets pgembed as an extension (42710). The message has a hint.
        """
        operations.invoke(cls(vector_schema=vector_schema))

    def reverse(self) -> MigrateOperation:
        return DropPgembed()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("install_pgembed", self.vector_schema)


@Operations.register_operation("update_pgembed")
class UpdatePgembed(MigrateOperation):
    """See `update_pgembed`."""

    def __init__(self, *, minimum: str, from_version: str | None = None, vector_schema: str = "public") -> None:
        self.minimum = minimum
        self.from_version = from_version
        self.vector_schema = vector_schema

    @classmethod
    def update_pgembed(
        cls, operations: Operations, *, minimum: str, from_version: str | None = None, vector_schema: str = "public"
    ) -> None:
        """Bring pgembed's objects to this package's version, unless they are of a minimal version already.

        A revision says what it needs, not what it changes: on a fresh database `install_pgembed` has installed that and more.

        Args:
            minimum: the version that this revision and those after it need.
            from_version: with ``--sql``, where it cannot be asked, the version that the database has.
            vector_schema: with ``--sql``, the schema of pgvector.
        Raises:
            errors.NotSupported: this package is older than the minimum, or has no update from the version found.
            errors.NotReady: pgembed is not in the database, or is there as an extension of an older version, which is not Alembic's to
                update.
            errors.InvalidParameter: ``--sql`` without from_version; or the minimum is no version.
        """
        operations.invoke(cls(minimum=minimum, from_version=from_version, vector_schema=vector_schema))

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("update_pgembed", self.minimum)


@Operations.register_operation("drop_pgembed")
class DropPgembed(MigrateOperation):
    """See `drop_pgembed`."""

    @classmethod
    def drop_pgembed(cls, operations: Operations) -> None:
        """Drop the schema ``pgembed``; the tables of users keep their vectors.

        Columns of codes and codecs, embedded columns and linkers are dropped first, as ``pgembed.drop_code``, ``drop_codec`` and
        ``drop_embedding(..., keep_column => true)`` do it: columns of vectors and their indexes stay; codes, which can be computed
        again, triggers, source functions and hash columns go, for they are of no use without pgembed. What else was built upon
        pgembed, such as a view or a column that calls an encoder, refuses the drop. The extensions vector and plpython3u stay; and where
        pgembed itself is an extension, nothing is dropped, for `install_pgembed` has made nothing there.

        Raises:
            sqlalchemy.exc.DBAPIError: other objects depend on pgembed (2BP01), or it is not in the database (3F000).
        """
        operations.invoke(cls())

    def reverse(self) -> MigrateOperation:
        return InstallPgembed()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("drop_pgembed",)


@Operations.implementation_for(InstallPgembed)
def _install(operations: Operations, operation: InstallPgembed) -> None:
    found = _look(operations, operation.vector_schema)
    version, vector_schema = found.version, found.vector_schema
    if found.is_extension:
        LOG.info("pgembed %s is an extension in this database, and is left alone", version)
    elif version is None:
        _run(operations, _prepare(vector_schema) + install.schema_script(vector_schema=quote(vector_schema)))
    elif install.version_key(version) < install.version_key(__version__):
        _run(operations, install.schema_script(version, vector_schema=quote(vector_schema)))


@Operations.implementation_for(UpdatePgembed)
def _update(operations: Operations, operation: UpdatePgembed) -> None:
    if not re.fullmatch(r"\d+(\.\d+)*", operation.minimum):
        raise errors.InvalidParameter(f"minimum is no version: {operation.minimum!r}", hint=f"This package is {__version__}.")
    if install.version_key(operation.minimum) > install.version_key(__version__):
        raise errors.NotSupported(
            f"this revision needs pgembed {operation.minimum}, the package is {__version__}",
            hint="Update the package: pip install -U pgembed-extension.",
        )
    found = _look(operations, operation.vector_schema)
    version = found.version
    if operations.migration_context.as_sql:
        version = operation.from_version
        if version is None:
            raise errors.InvalidParameter(
                "a script cannot ask the database for its version", hint="op.update_pgembed(minimum=..., from_version=...)."
            )
    elif version is None:
        raise errors.NotReady("pgembed is not in this database", hint="An earlier revision calls op.install_pgembed().")
    if install.version_key(version) >= install.version_key(operation.minimum):
        return
    if found.is_extension:
        raise errors.NotReady(
            f"this revision needs pgembed {operation.minimum}, the extension in this database is {version}",
            hint="ALTER EXTENSION pgembed UPDATE, by the administrator who has created it.",
        )
    _run(operations, install.schema_script(version, vector_schema=quote(found.vector_schema)))


@Operations.implementation_for(DropPgembed)
def _drop(operations: Operations, operation: DropPgembed) -> None:
    _run(operations, _DROP)


class _Found(NamedTuple):
    """What a database has: the version of pgembed, None without it, and the schema where pgvector is."""

    version: str | None
    vector_schema: str
    is_extension: bool


def _look(operations: Operations, vector_schema: str) -> _Found:
    """What is in the database; for a script, what is to be assumed."""
    if operations.migration_context.as_sql:
        return _Found(None, vector_schema, False)
    connection = operations.get_bind()
    rows = connection.execute(
        text(
            "SELECT x.extname, n.nspname, x.extversion FROM pg_catalog.pg_extension AS x"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace WHERE x.extname IN ('vector', 'pgembed')"
        )
    )
    extensions = {name: (schema, version) for name, schema, version in rows}
    vector_schema, _ = extensions.get("vector", (vector_schema, ""))
    if "pgembed" in extensions:
        return _Found(extensions["pgembed"][1], vector_schema, True)
    version = None
    if connection.scalar(text("SELECT pg_catalog.to_regprocedure('pgembed.version()') IS NOT NULL")):
        version = connection.scalar(text("SELECT pgembed.version()"))
    return _Found(version, vector_schema, False)


def _run(operations: Operations, script: str) -> None:
    """Send or write a script as it is: op.execute() takes a colon in a body for a parameter, or doubles its percent signs."""
    if operations.migration_context.as_sql:
        operations.migration_context.impl.static_output(script)
        return
    connection = operations.get_bind()
    if connection.dialect.driver == "asyncpg":  # which sends one statement at a time
        script = f"DO $pgembed_all$\nBEGIN\n    EXECUTE $pgembed_script${script}$pgembed_script$;\nEND\n$pgembed_all$"
    try:
        connection.exec_driver_sql(script, execution_options={"no_parameters": True})
    except DBAPIError as error:
        # all of it would hide what the server says
        error.statement = f"{script[:_SHOWN]} ... ({script.count(chr(10)):,} lines)" if len(script) > _SHOWN else script
        raise


def _prepare(vector_schema: str) -> str:
    """Statements that refuse a database into which the objects cannot go, and create the extensions that they need.

    In SQL rather than here, so that a script made with --sql is as careful.
    """
    least = ".".join(map(str, LEAST_PGVECTOR))
    least_parts = "{" + ",".join(map(str, LEAST_PGVECTOR)) + "}"
    return f"""\
DO $pgembed$
DECLARE
    needed text;
    found record;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RAISE insufficient_privilege USING MESSAGE = pg_catalog.format('role "%s" is not a superuser', current_user),
            HINT = 'pgembed has functions in plpython3u, which only a superuser can create. Run this one migration as a superuser.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pgembed') THEN
        RAISE duplicate_object USING MESSAGE = 'pgembed is an extension in this database',
            HINT = 'Whoever has created it keeps it up to date. Make the script from the revisions after the one that installs pgembed.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pgembed') THEN
        RAISE duplicate_schema USING MESSAGE = 'schema "pgembed" exists already',
            HINT = 'DROP EXTENSION leaves it behind empty: DROP SCHEMA pgembed.';
    END IF;
    FOREACH needed IN ARRAY ARRAY['vector', 'plpython3u'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = needed) THEN
            RAISE undefined_file USING MESSAGE = pg_catalog.format('the server does not have the extension "%s"', needed),
                HINT = 'pgembed needs vector and plpython3u on the server: see "What it needs" in its README.';
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'vector') THEN
        CREATE EXTENSION vector SCHEMA {quote(vector_schema)};
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'plpython3u') THEN
        CREATE EXTENSION plpython3u;
    END IF;
    SELECT x.extversion, n.nspname INTO found
    FROM pg_catalog.pg_extension AS x JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
    WHERE x.extname = 'vector';
    IF (pg_catalog.regexp_match(found.extversion, '^(\\d+)\\.(\\d+)'))::int[] < '{least_parts}' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('pgvector is %s, needed is {least} or newer', found.extversion),
            HINT = 'ALTER EXTENSION vector UPDATE.';
    END IF;
    IF found.nspname <> {literal(vector_schema)} THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('pgvector is in the schema "%s", not in "%s"', found.nspname, {literal(vector_schema)}),
            HINT = pg_catalog.format('op.install_pgembed(vector_schema=%L).', found.nspname);
    END IF;
END $pgembed$;

DO LANGUAGE plpython3u $pgembed$
try:
    from pgembed import __version__ as found
except ImportError:
    found = "missing"
if found != "{__version__}":
    plpy.error(
        f"pgembed's package for the server's Python is {{found}}, needed is {__version__}",
        hint="Install it on the server: pgembed install URL.",
        sqlstate="55000",
    )
$pgembed$;

"""


_DROP = """\
DO $pgembed$
DECLARE
    told text := pg_catalog.current_setting('client_min_messages');
    item record;
    listed text;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pgembed') THEN
        RAISE NOTICE 'pgembed is an extension in this database, and is left alone' USING HINT = 'DROP EXTENSION pgembed.';
        RETURN;
    END IF;
    IF pg_catalog.to_regnamespace('pgembed') IS NULL THEN
        RAISE invalid_schema_name USING MESSAGE = 'pgembed is not in this database', HINT = 'There is nothing to be dropped.';
    END IF;
    FOR item IN SELECT table_name, column_name FROM pgembed.codes LOOP
        PERFORM pgembed.drop_code(item.table_name, item.column_name);
    END LOOP;
    FOR item IN SELECT name FROM pgembed.codecs LOOP
        PERFORM pgembed.drop_codec(item.name);
    END LOOP;
    FOR item IN SELECT table_name, column_name FROM pgembed.embeddings LOOP
        PERFORM pgembed.drop_embedding(item.table_name, item.column_name, keep_column => true);
    END LOOP;
    FOR item IN SELECT name FROM pgembed.linkers LOOP
        PERFORM pgembed.drop_linker(item.name);
    END LOOP;
    -- DROP SCHEMA without CASCADE would refuse for its own content, and with it would take a user's view along
    WITH own AS (
        SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass AS class, p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'pgembed'::pg_catalog.regnamespace
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'pgembed'::pg_catalog.regnamespace
        UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid FROM pg_catalog.pg_type AS t
        WHERE t.typnamespace = 'pgembed'::pg_catalog.regnamespace
        UNION ALL
        -- nor does a cast; one between a type of ours and one of PostgreSQL's is ours
        SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid
        FROM pg_catalog.pg_cast AS c
        JOIN pg_catalog.pg_type AS s ON s.oid = c.castsource
        JOIN pg_catalog.pg_type AS t ON t.oid = c.casttarget
        LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = c.castfunc
        WHERE 'pgembed'::pg_catalog.regnamespace IN (s.typnamespace, t.typnamespace)
          AND s.typnamespace IN ('pgembed'::pg_catalog.regnamespace, 'pg_catalog'::pg_catalog.regnamespace)
          AND t.typnamespace IN ('pgembed'::pg_catalog.regnamespace, 'pg_catalog'::pg_catalog.regnamespace)
          AND (f.oid IS NULL OR f.pronamespace = 'pgembed'::pg_catalog.regnamespace)
    ), outside AS (
        SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS name
        FROM pg_catalog.pg_depend AS d
        JOIN own ON own.class = d.refclassid AND own.oid = d.refobjid
        -- rules, defaults, constraints and triggers are parts of a relation
        LEFT JOIN pg_catalog.pg_rewrite AS r ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid
        LEFT JOIN pg_catalog.pg_attrdef AS f ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
        LEFT JOIN pg_catalog.pg_constraint AS k ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = d.objid
        LEFT JOIN pg_catalog.pg_trigger AS g ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND g.oid = d.objid
        -- an event trigger lives in no schema; one that runs a function of ours is ours
        WHERE d.deptype = 'n' AND d.classid <> 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND NOT EXISTS (
            SELECT FROM own AS part
            WHERE part.class = d.classid AND part.oid = d.objid
               OR part.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND part.oid IN (r.ev_class, f.adrelid, k.conrelid, g.tgrelid)
        )
    )
    SELECT pg_catalog.string_agg(name, ', ' ORDER BY name) INTO listed FROM outside;
    IF listed IS NOT NULL THEN
        RAISE dependent_objects_still_exist USING MESSAGE = 'other objects depend on pgembed', DETAIL = listed,
            HINT = 'Drop them first.';
    END IF;
    -- no list of everything that goes
    PERFORM pg_catalog.set_config('client_min_messages', 'warning', true);
    DROP SCHEMA pgembed CASCADE;
    PERFORM pg_catalog.set_config('client_min_messages', told, true);
END $pgembed$;
"""
