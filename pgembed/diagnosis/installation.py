"""installation: what can be wrong with pgembed's own objects and settings in a database."""

from __future__ import annotations

from collections.abc import Iterator

from pgembed import __version__
from pgembed.database import Database
from pgembed.diagnosis.findings import ERROR, WARNING, Finding, text

# And what is lost without them.
EVENT_TRIGGERS = {
    "pgembed_after_alter": "what is renamed is not followed, and chunks do not get the row security of their table",
    "pgembed_after_drop": "what is dropped leaves something behind",
    "pgembed_before_drop": "DROP EXTENSION pgembed does not say what it takes along",
}


def other_version(found: str) -> Finding | None:
    """Where pgembed's objects are not of the version of its package: then nothing else can be looked at."""
    if found == __version__:
        return None
    said = f"its objects in this database are of version {found}, its Python package on this server is of {__version__}"
    return Finding(ERROR, "pgembed", said, f"ALTER EXTENSION pgembed UPDATE TO {text(__version__)}")


def of(db: Database) -> Iterator[Finding]:
    """Whatever is not of one table."""
    yield from _event_triggers(db)
    yield from _debris(db)
    yield from _scan_settings(db)
    yield from _models(db)


def _event_triggers(db: Database) -> Iterator[Finding]:
    # only a superuser can enable them; where pgembed came by migrations without one, they may be missing, which nobody can mend
    rows = db.execute(
        "SELECT t.evtname FROM pg_catalog.pg_event_trigger AS t WHERE t.evtname = ANY ($1) AND t.evtenabled = 'D'"
        " AND pg_catalog.pg_has_role(t.evtowner, 'USAGE') ORDER BY 1",
        ["pg_catalog.text[]"],
        [list(EVENT_TRIGGERS)],
    )
    for row in rows:
        name = str(row["evtname"])
        yield Finding(WARNING, f"event trigger {name}", f"it is disabled: {EVENT_TRIGGERS[name]}", f"ALTER EVENT TRIGGER {name} ENABLE")


def _debris(db: Database) -> Iterator[Finding]:
    rows = db.execute(
        "SELECT pg_catalog.count(*) AS n FROM pgembed._embedding AS e"
        " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) e.table_name)"
    )
    if rows[0]["n"]:
        said = f"{rows[0]['n']} embedded columns are of tables that do not exist any more"
        yield Finding(WARNING, "registry", said, "SELECT * FROM pgembed.repair()")


def _scan_settings(db: Database) -> Iterator[Finding]:
    """Are plain queries of a session like this one protected, where a filter stands behind an approximate index?"""
    rows = db.execute(
        "SELECT m.amname::pg_catalog.text AS method, pg_catalog.count(*) AS n FROM pg_catalog.pg_index AS i"
        " JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am AS m ON m.oid = x.relam"
        " JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database() AND pg_catalog.pg_has_role(d.datdba, 'USAGE')"
        " WHERE m.amname IN ('hnsw', 'ivfflat') GROUP BY 1 ORDER BY 1"
    )
    if not rows:
        return
    schema = db.execute(
        "SELECT pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_extension AS e"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    )
    if schema:  # pgvector's settings exist once a vector has been read
        db.execute(f"SELECT '[0]'::{schema[0]['name']}.vector")
    for row in rows:
        setting = f"{row['method']}.iterative_scan"
        now = db.execute("SELECT pg_catalog.current_setting($1, true) AS value", ["pg_catalog.text"], [setting])[0]["value"] or "off"
        if now == "off":
            kept = db.execute(
                "SELECT FROM pg_catalog.pg_db_role_setting AS s JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase"
                " WHERE d.datname = pg_catalog.current_database() AND s.setrole = 0 AND EXISTS (SELECT FROM"
                " pg_catalog.unnest(s.setconfig) AS c WHERE c LIKE $1 || '=%' AND c NOT LIKE '%=off')",
                ["pg_catalog.text"],
                [setting],
            )
            if kept:
                continue  # sessions that begin from now on have it
            said = f"off, with {row['n']} {row['method']} indexes: in plain SQL a filter behind them loses rows"
            yield Finding(WARNING, setting, said, "SELECT * FROM pgembed.set_search_defaults()")


def _models(db: Database) -> Iterator[Finding]:
    """Registered models that cannot be used, which only a superuser can mend; models of columns are looked at with these."""
    rows = db.execute(
        "SELECT m.name, m.problem FROM pgembed.models AS m WHERE m.problem IS NOT NULL AND m.columns = 0"
        " AND EXISTS (SELECT FROM pgembed._model AS r WHERE r.name = m.name)"
        " AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) ORDER BY 1"
    )
    for row in rows:
        yield Finding(WARNING, f"model {row['name']}", str(row["problem"]), f"SELECT pgembed.drop_model({text(row['name'])})")
