"""measured: what was measured or trained on rows and models that are others by now; codes that miss rows."""

from __future__ import annotations

from collections.abc import Iterator

from pgembed.columns import quote
from pgembed.database import Database
from pgembed.diagnosis.findings import ERROR, WARNING, Finding, text


def calibrations(db: Database) -> Iterator[Finding]:
    """Calibrations that a search no longer believes."""
    rows = db.execute(
        "SELECT c.table_name::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text AS shown, c.column_name,"
        " t.relname, pg_catalog.min(c.stale_because) AS why"
        " FROM pgembed.calibrations AS c JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name"
        " WHERE c.is_stale AND pg_catalog.pg_has_role(t.relowner, 'USAGE') GROUP BY t.relname, c.table_name, c.column_name ORDER BY 1, 2"
    )
    for row in rows:
        yield Finding(
            WARNING,
            f"{row['relname']}.{row['column_name']}",
            f"what calibrate() measured is not true any more: {row['why']}",
            f"CALL pgembed.calibrate({text(row['shown'])}, {text(row['column_name'])})",
        )


def adapters(db: Database) -> Iterator[Finding]:
    """Maps that no query goes through, because the column's vectors are of another model by now."""
    rows = db.execute(
        "SELECT pg_catalog.format('%I.%I', n.nspname, t.relname) AS named, t.relname, a.column_name, a.kind, a.model, a.column_model"
        " FROM pgembed.adapters AS a JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) a.table_name"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace"
        " WHERE NOT a.in_force AND pg_catalog.pg_has_role(t.relowner, 'USAGE') ORDER BY 1, 3"
    )
    for row in rows:
        yield Finding(
            WARNING,
            f"{row['relname']}.{row['column_name']}",
            f"its adapter, of kind {row['kind']} and for queries of model {row['model']}, is not in force: the vectors are of another model"
            f" now, {row['column_model']}, and queries are compared with them as that makes them",
            f"SELECT pgembed.drop_adapter({text(row['named'])}, {text(row['column_name'])})",
        )


def codecs(db: Database) -> Iterator[Finding]:
    """Codecs without what they were made of."""
    rows = db.execute(
        "SELECT c.name, t.oid IS NULL AS no_table, pg_catalog.to_regproc(c.encoder) IS NULL AS no_encoder, c.encoder,"
        " e.table_name IS NULL AS no_column, c.column_name,"
        " EXISTS (SELECT FROM pgembed._code AS k WHERE k.codec = c.name) AS is_used,"
        " t.oid::pg_catalog.regclass::pg_catalog.text AS shown"
        " FROM pgembed._codec AS c LEFT JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name"
        " LEFT JOIN pgembed._embedding AS e ON e.table_name OPERATOR(pg_catalog.=) c.table_name AND e.column_name = c.column_name"
        " WHERE t.oid IS NULL OR pg_catalog.pg_has_role(t.relowner, 'USAGE') ORDER BY 1"
    )
    for row in rows:
        drop = f"SELECT pgembed.drop_codec({text(row['name'])})"
        if row["no_table"]:
            yield Finding(WARNING, f"codec {row['name']}", "the table that it was trained on does not exist any more", drop)
        elif row["no_encoder"] and not row["is_used"]:
            yield Finding(ERROR, f"codec {row['name']}", f"its function {row['encoder']} does not exist any more", drop)
        elif row["no_column"] and not row["is_used"]:
            said = f"{row['shown']}.{row['column_name']}, which it was trained on, is not an embedded column any more"
            yield Finding(WARNING, f"codec {row['name']}", said, drop)


def codes(db: Database) -> Iterator[Finding]:
    """Columns of codes that are gone, or that searches do without."""
    rows = db.execute(
        "SELECT t.oid::pg_catalog.regclass::pg_catalog.text AS shown, t.relname, d.column_name, d.column_type, d.is_sound, d.is_generated,"
        " d.is_filled, d.trigger_name, k.codec, pg_catalog.to_regproc(c.encoder) IS NULL AS no_encoder,"
        " (SELECT g.tgenabled::pg_catalog.text FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = t.oid AND g.tgname = k.trigger_name)"
        " AS enabled, NOT EXISTS (SELECT FROM pgembed._embedding AS e WHERE e.table_name OPERATOR(pg_catalog.=) k.table_name"
        " AND e.column_name = k.embedding_column) AS no_column, k.embedding_column"
        " FROM pgembed._code AS k JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) k.table_name"
        " CROSS JOIN LATERAL pgembed._describe_codes(t.oid) AS d LEFT JOIN pgembed._codec AS c ON c.name = k.codec"
        " WHERE d.column_name = k.column_name AND pg_catalog.pg_has_role(t.relowner, 'USAGE') ORDER BY 1, 2"
    )
    for row in rows:
        call = f"{text(row['shown'])}, {text(row['column_name'])}"
        drop = f"SELECT pgembed.drop_code({call})"
        subject = f"{row['relname']}.{row['column_name']}"
        if row["column_type"] is None:
            yield Finding(ERROR, subject, "this column of codes does not exist any more", drop)
        elif row["no_column"]:
            yield Finding(ERROR, subject, f"it has codes of {row['embedding_column']}, which is not an embedded column any more", drop)
        elif row["no_encoder"]:
            yield Finding(ERROR, subject, f"the function of its codec {row['codec']} does not exist any more", drop)
        elif not row["is_sound"]:
            yield Finding(ERROR, subject, f"it is of type {row['column_type']}, not of that of codec {row['codec']}", drop)
        elif not row["is_generated"] and row["enabled"] is None:
            yield Finding(ERROR, subject, f'its trigger "{row["trigger_name"]}" does not exist: rows are written without codes', drop)
        elif not row["is_filled"]:
            if row["is_generated"] or row["enabled"] == "A":
                yield Finding(WARNING, subject, "rows may be without codes, so searches do without it", f"CALL pgembed.fill_code({call})")
            else:
                said = f'its trigger "{row["trigger_name"]}" is not enabled for all sessions, so searches do without it'
                yield Finding(WARNING, subject, said, f"ALTER TABLE {row['shown']} ENABLE ALWAYS TRIGGER {quote(row['trigger_name'])}")
