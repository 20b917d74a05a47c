"""adding: what gives a table a column of codes, which of them searches use, and what takes one away.

The column is an ordinary one of the user's own table. In a new table PostgreSQL computes it (a generated column); a table with rows would
be rewritten for that under an exclusive lock, all its indexes with it, so there it is a plain column that a trigger keeps and that
`pgembed.codes.filling` fills once. Trigger and function are the table owner's; only the line in the registry is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgembed import columns, errors, following, naming
from pgembed.codes import catalogue
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import Column, Table, literal, quote
from pgembed.database import Database, Row

if TYPE_CHECKING:
    from pgembed.columns import Writer

# PostgreSQL fires triggers in the order of their names. Any of them may change the vector, so this one should be the last.
_TRIGGER = "zz_pgembed_"


def add(
    db: Database,
    write: Writer,
    target: str | None,
    codec: str | None,
    column_name: str | None,
    is_generated: bool | None,
    embedding_column: str | None,
) -> None:
    """Give a table a column of codes; see `pgembed.add_code` in SQL.

    Args:
        column_name: None for the codec's name.
        is_generated: None where the table decides: one without rows gets a generated column.
        embedding_column: None for the one that the codec is for.
    Raises:
        errors.NullNotAllowed, errors.UnknownTable, errors.UnknownObject, errors.AmbiguousColumn: target or codec say nothing.
        errors.InsufficientPrivilege: the caller does not own the table, or somebody else owns the encoder.
        errors.WrongObjectType, errors.NotSupported: the table is a view, has children by inheritance, or keeps its vectors elsewhere.
        errors.DimensionMismatch: the codec is not for the column's vectors.
        errors.InvalidParameter: column_name is empty.
        errors.DuplicateObject: the column exists already.
    """
    row = catalogue.codec(db, codec)
    column = _embedded(db, target, row, embedding_column)
    found = column.table
    found.must_own()
    name = naming.clip(row.name, "") if column_name is None else column_name
    if not name:
        raise errors.InvalidParameter("column_name is empty", hint="Leave it out for the codec's name.")
    _must_hold_codes(db, column)
    row.must_fit(column)
    _must_trust(db, found, row)
    if following.column_type(db, found, name) is not None:
        raise errors.DuplicateObject(
            f'column "{name}" of table "{found.name}" exists already',
            hint="Choose another column_name; pgembed.drop_code() drops a column of codes.",
        )
    others = [one for one in catalogue.lines(db, found) if one["embedding_column"] == column.name]
    stale = [one["column_name"] for one in catalogue.lines(db, found) if one["column_name"] == name]
    if stale:
        raise errors.DuplicateObject(
            f'column "{name}" of table "{found.name}" was a column of codes and is gone',
            hint=f"SELECT pgembed.drop_code('{found.shown}', '{name}') forgets it.",
        )
    trigger, function = None, None
    with following.as_owner(db, found):
        generated = not _has_rows(db, found) if is_generated is None else is_generated
        made = f" GENERATED ALWAYS AS ({_encoded(column, row, column.sql)}) STORED" if generated else ""
        checks = [] if generated else _loosened(db, found, row)
        db.execute(f"ALTER TABLE {found.sql} ADD COLUMN {quote(name)} {row.code_type}{made}")
        for check in checks:
            db.execute(check)
        db.execute(f"COMMENT ON COLUMN {found.sql}.{quote(name)} IS {literal(f'code of {column.name}, by the codec {row.name}')}")
        if not generated:
            trigger, function = _keep(db, column, row, name)
    write(
        found,
        "INSERT INTO pgembed._code (table_name, column_name, embedding_column, codec, is_generated, trigger_name, trigger_function,"
        " is_active, is_filled) VALUES ($1::oid::regclass, $2, $3, $4, $5, $6, $7, $8, $5)",
        ["oid", "name", "name", "text", "bool", "name", "text", "bool"],
        [found.oid, name, column.name, row.name, generated, trigger, function, not any(one["is_active"] for one in others)],
    )
    if not generated:
        db.notice(
            f"{found.name}.{name} gets the codes of rows that are written from now on",
            hint=f"CALL pgembed.fill_code('{found.shown}', '{name}') gives the others theirs.",
        )


def use(db: Database, write: Writer, target: str | None, column_name: str | None) -> None:
    """Make a filled column of codes the one that searches use; see `pgembed.use_code` in SQL.

    Raises:
        errors.UnknownObject, errors.AmbiguousColumn: no column of codes is meant.
        errors.NotReady: it is not filled.
        errors.UnknownColumn, errors.DatatypeMismatch, errors.DimensionMismatch: it does not serve; see `Code.must_serve`.
    """
    found, _ = columns.table(db, target)
    _meant(db, found, column_name)
    code = catalogue.code(db, found, column_name)
    code.must_serve(columns.column(db, target, code.embedding_column))
    found.must_own()
    if not code.is_filled:
        raise errors.NotReady(
            f"{code.label} is not filled: a search of it would miss rows",
            hint=f"CALL pgembed.fill_code('{found.shown}', '{code.name}') fills it.",
        )
    types, values = ["oid", "name", "name"], [found.oid, code.embedding_column, code.name]
    # one after the other, for the index that allows only one looks at each line by itself; others see both or none
    for become in ("false WHERE is_active AND column_name <> $3", "true WHERE NOT is_active AND column_name = $3"):
        write(
            found,
            f"UPDATE pgembed._code SET is_active = {become} AND table_name OPERATOR(pg_catalog.=) $1::oid::regclass"
            " AND embedding_column = $2",
            types,
            values,
        )
    if code.index_name is None and code.codec.kind != "bytes":
        db.notice(
            f"{code.label} has no vector index yet", hint=f"SELECT pgembed.code_indexes('{found.shown}', '{code.name}') \\gexec builds it."
        )


def drop(db: Database, write: Writer, target: str | None, column_name: str | None) -> None:
    """Undo `add`, whatever of it is left; see `pgembed.drop_code` in SQL.

    Raises:
        errors.UnknownObject, errors.AmbiguousColumn: no column of codes is meant.
    """
    found, _ = columns.table(db, target)
    line = _meant(db, found, column_name)
    name = line["column_name"]
    with following.as_owner(db, found):
        if line["trigger_name"] is not None:
            following.drop_trigger(db, found, line["trigger_name"])
        if line["column_type"] is not None:
            db.execute(f"ALTER TABLE {found.sql} DROP COLUMN {quote(name)}")
        # its trigger went with the column that it reads, where that was dropped by CASCADE
        if line["trigger_function"] is not None and _exists(db, line["trigger_function"]):
            db.execute(f"DROP FUNCTION {line['trigger_function']}()")
    write(
        found,
        "DELETE FROM pgembed._code WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name"],
        [found.oid, name],
    )


def must_have_none(db: Database, column: Column, doing: str) -> None:
    """Raise where an embedded column has codes, which are of its vectors as they are.

    Args:
        doing: what would leave the codes without a meaning, such as ``drop it``.
    Raises:
        errors.DependentObjects: it has some.
    """
    names = [one["column_name"] for one in catalogue.lines(db, column.table) if one["embedding_column"] == column.name]
    if names:
        raise errors.DependentObjects(
            f"cannot {doing} {column.label} while there are codes of its vectors",
            detail="\n".join(f"column {column.table.name}.{name}" for name in names),
            hint=f"SELECT pgembed.drop_code('{column.table.shown}', '{names[0]}') drops one.",
        )


def missed(db: Database, write: Writer, relation: int, column_name: str, said: str) -> None:
    """The encoder has failed for a row, which is stored without a code: the column is not filled any more.

    Args:
        relation: OID of the table, or of a partition of it.
        said: by the encoder.
    """
    rows = db.execute(
        "SELECT c.table_name::pg_catalog.oid AS oid FROM pgembed._code AS c WHERE c.column_name = $2"
        " AND (c.table_name OPERATOR(pg_catalog.=) $1"
        " OR c.table_name IN (SELECT relid FROM pg_catalog.pg_partition_ancestors($1::pg_catalog.regclass)))",
        ["pg_catalog.oid", "pg_catalog.name"],
        [relation, column_name],
    )
    for row in rows:
        found, _ = columns.table(db, str(row["oid"]))
        write(
            found,
            "UPDATE pgembed._code SET is_filled = false WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass"
            " AND column_name = $2 AND is_filled",
            ["oid", "name"],
            [found.oid, column_name],
        )
        db.warning(
            f"rows of {found.name} may be without {column_name}: {said}",
            hint=f"Searches do without the codes until CALL pgembed.fill_code('{found.shown}', '{column_name}') has given it one.",
        )


def _embedded(db: Database, target: str | None, row: CodecRow, embedding_column: str | None) -> Column:
    found, known = columns.table(db, target)
    if embedding_column is not None or len(known) < 2:
        return columns.column(db, target, embedding_column)
    fitting = [one for one in known if (row.dim, row.fingerprint, row.metric) == (one.dim, one.fingerprint, one.metric)]
    own = [one for one in fitting if (found.oid, one.name) == (row.table, row.column_name)]
    if not own and len(fitting) > 1:
        raise errors.AmbiguousColumn(
            f'codec "{row.name}" is for {len(fitting)} embedded columns of "{found.name}": {", ".join(one.name for one in fitting)}',
            hint=f"Say which one is meant: embedding_column => '{fitting[0].name}'.",
        )
    return columns.column(db, target, (own or fitting or known)[0].name)


def _must_hold_codes(db: Database, column: Column) -> None:
    found = column.table
    if found.relkind not in "rp":
        raise errors.WrongObjectType(f'"{found.name}" is not a table', hint="Give the table behind it a column of codes.")
    column.one_vector("a column of codes")
    heirs = db.execute("SELECT FROM pg_catalog.pg_inherits WHERE inhparent = $1 LIMIT 1", ["pg_catalog.oid"], [found.oid])
    if heirs and found.relkind == "r":
        raise errors.NotSupported(
            f'"{found.name}" has children by inheritance, whose rows its triggers do not see',
            hint="Give each of them codes of its own, or partition the table.",
        )


def _must_trust(db: Database, found: Table, row: CodecRow) -> None:
    """Check that an encoder does nothing with the rights of the table's owner that its own owner could not do anyway."""
    row_of = "SELECT p.proowner AS owner FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regproc({})"
    listed = db.execute(
        "SELECT f.owner, f.owner::pg_catalog.regrole::pg_catalog.text AS role,"
        " pg_catalog.pg_has_role(f.owner, t.relowner, 'USAGE') AS trusted"
        f" FROM pg_catalog.pg_class AS t LEFT JOIN ({row_of.format('$2')} UNION ALL {row_of.format('$3')} UNION ALL"
        " SELECT y.typowner FROM pg_catalog.pg_type AS y"
        " WHERE y.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype($4)) AS f ON true WHERE t.oid = $1",
        ["pg_catalog.oid", "pg_catalog.text", "pg_catalog.text", "pg_catalog.text"],
        [found.oid, row.encoder, row.constants_function, row.domain],
    )
    expected = sum(one is not None for one in (row.encoder, row.constants_function, row.domain))
    if len(listed) != expected or any(one["owner"] is None for one in listed):
        raise errors.UnknownObject(
            f'the encoder {row.encoder} of codec "{row.name}", or what it needs, does not exist any more',
            hint="Train another codec: pgembed.retrain_codec().",
        )
    strange = [one["role"] for one in listed if not one["trusted"]]
    if strange:
        raise errors.InsufficientPrivilege(
            f'codec "{row.name}" is made of functions of {strange[0]}, which would run with the rights of {found.owner}',
            hint=f"Train one on this table: pgembed.train_codec('...', '{found.shown}', '{row.method}').",
        )


def _loosened(db: Database, found: Table, row: CodecRow) -> list[str]:
    """Take the checks from the domain of codes of bytes, for this transaction only; what puts them back.

    PostgreSQL rewrites a table, under an exclusive lock and with all its indexes, to add a column of a domain with a check, though it is
    NULL in every row. NOT VALID says only that nobody has read the old rows again: what is written is checked.
    """
    if row.domain is None or not _has_rows(db, found):
        return []
    checks = db.execute(
        "SELECT pg_catalog.quote_ident(k.conname) AS name, pg_catalog.pg_get_constraintdef(k.oid) AS definition, k.convalidated AS valid,"
        " pg_catalog.pg_has_role(y.typowner, 'USAGE') AS ours FROM pg_catalog.pg_type AS y"
        " JOIN pg_catalog.pg_constraint AS k ON k.contypid = y.oid WHERE y.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype($1)",
        ["pg_catalog.text"],
        [row.domain],
    )
    if not all(check["ours"] for check in checks):
        return []
    for check in checks:
        db.execute(f"ALTER DOMAIN {row.domain} DROP CONSTRAINT {check['name']}")
    end = " NOT VALID"
    return [
        f"ALTER DOMAIN {row.domain} ADD CONSTRAINT {check['name']} {str(check['definition']).removesuffix(end)}{end}" for check in checks
    ]


def _exists(db: Database, function: str) -> bool:
    return bool(db.execute("SELECT pg_catalog.to_regproc($1) IS NOT NULL AS there", ["pg_catalog.text"], [function])[0]["there"])


def _has_rows(db: Database, found: Table) -> bool:
    return bool(db.execute(f"SELECT EXISTS (SELECT FROM {found.sql}) AS some")[0]["some"])


def _encoded(column: Column, row: CodecRow, vector: str) -> str:
    given = vector if column.type == "vector" else f"{vector}::{column.vector_schema}.vector"
    return f"{row.encoder}({given})"


def _keep(db: Database, column: Column, row: CodecRow, name: str) -> tuple[str, str]:
    """Create the trigger that keeps a plain column of codes; its name, and its function's in SQL."""
    found = column.table
    function = f"{quote(found.schema)}.{quote(naming.free(db, found.schema, 'functions', naming.clip(found.name, f'_{name}_encode')))}"
    db.execute(_trigger_function(column, row, name, function))
    db.execute(f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC")
    trigger = naming.clip(f"{_TRIGGER}{name}", "")
    db.execute(
        # The condition spares rows that are not embedded yet; and by it neither column can be dropped without the trigger.
        f"CREATE TRIGGER {quote(trigger)} BEFORE INSERT OR UPDATE ON {found.sql} FOR EACH ROW"
        f" WHEN (NEW.{column.sql} IS NOT NULL OR NEW.{quote(name)} IS NOT NULL) EXECUTE FUNCTION {function}()"
    )
    # also for what arrives by logical replication, or from who says to be a replica: a search by codes would miss such rows in silence
    db.execute(f"ALTER TABLE {found.sql} ENABLE ALWAYS TRIGGER {quote(trigger)}")
    return trigger, function


def mend(db: Database, code: Code, column: Column, *, renamed: bool = False) -> None:
    """Write the trigger's function anew where it calls the encoder by the name of a schema that has another one by now.

    Args:
        renamed: a column of the table has another name, so do it in any case.
    """
    found = db.execute(
        "SELECT n.nspname, p.proname, p.prosrc FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE g.tgrelid = $1 AND g.tgname = $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [code.table.oid, code.trigger_name],
    )
    if not found:
        return
    body = found[0]["prosrc"]
    if not renamed and (f".{quote(code.codec.name)}(" not in body or f"{code.codec.encoder}(" in body):
        return
    _must_trust(db, code.table, code.codec)
    with following.as_owner(db, code.table):
        db.execute(_trigger_function(column, code.codec, code.name, f"{quote(found[0]['nspname'])}.{quote(found[0]['proname'])}"))


def _trigger_function(column: Column, row: CodecRow, name: str, function: str) -> str:
    found, code, vector = column.table, quote(name), column.sql
    same = (
        f"(OLD.{vector} IS NULL) = (NEW.{vector} IS NULL) AND coalesce(OLD.{vector} OPERATOR({column.vector_schema}.=) NEW.{vector}, true)"
    )
    lost = literal(f'column "{name}" or "{column.name}" of table "{found.name}" was renamed, and pgembed encodes the one into the other')
    hint = literal(f"Give it its old name, or SELECT pgembed.drop_code('{found.shown}', '{name}').")
    body = f"""
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.{code} IS NOT NULL AND {same} THEN
        IF OLD.{code} IS NOT NULL THEN
            NEW.{code} := OLD.{code};  -- a code is its vector's, whatever the writer says
        END IF;  -- else pgembed.fill_code() has brought it
        RETURN NEW;
    END IF;
    NEW.{code} := {_encoded(column, row, f"NEW.{vector}")};
    RETURN NEW;
EXCEPTION
    WHEN undefined_column THEN
        -- to go on would leave codes of other vectors behind
        RAISE undefined_column USING MESSAGE = {lost}, HINT = {hint}, DETAIL = SQLERRM;
    WHEN OTHERS THEN
        -- the row is worth more than its code; where the lack of it cannot be recorded either, a search would miss the row in silence
        NEW.{code} := NULL;
        IF to_regprocedure('pgembed._code_missed(oid, name, text)') IS NOT NULL THEN
            PERFORM pgembed._code_missed(TG_RELID, {literal(name)}, SQLERRM);
        END IF;  -- else DROP EXTENSION has taken away whatever would search
        RETURN NEW;
END
"""
    return (
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n"
        f"SET search_path = pg_catalog, pg_temp\nAS {literal(body)}"
    )


def _meant(db: Database, found: Table, name: str | None) -> Row:
    """The line of the registry that a call means: here nothing is changed that was not named where there are several."""
    known = catalogue.lines(db, found)
    listed = ", ".join(one["column_name"] for one in known)
    meant = [one for one in known if name in (None, one["column_name"])] or [one for one in known if one["codec"] == name]
    if len(meant) > 1:
        raise errors.AmbiguousColumn(f'table "{found.name}" has several columns of codes: {listed}', hint="Say which one is meant.")
    if not meant:
        raise errors.UnknownObject(
            f'table "{found.name}" has no column of codes' + (f' "{name}"' if name else ""),
            hint=f"Columns of codes of this table: {listed}." if known else f"pgembed.add_code('{found.shown}', codec) makes one.",
        )
    return meant[0]
