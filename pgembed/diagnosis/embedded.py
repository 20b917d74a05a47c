"""embedded: what can be wrong with an embedded column itself, its triggers, its functions, its model and its indexes."""

from __future__ import annotations

from collections.abc import Iterator

from pgembed import catalogue, columns, declared, errors, following, indexing, repairing
from pgembed.columns import VECTOR_TYPES, Column, quote
from pgembed.database import Database
from pgembed.diagnosis.findings import ERROR, NOTE, WARNING, Finding, named, text

_MOST_DIM = {"vector": 2000, "halfvec": 4000}  # of pgvector's indexes


def of(db: Database, column: Column) -> Iterator[Finding]:
    """What is wrong with a column, the worst first; where it is gone, only that."""
    call = f"{named(column.table)}, {text(column.name)}"
    if column.type not in VECTOR_TYPES:
        yield Finding(
            ERROR,
            column.label,
            _gone(db, column),
            f"SELECT pgembed.drop_embedding({call}, keep_column => true)",
        )
        return
    unfollowed = list(_unfollowed(db, column))
    if unfollowed:  # no trigger or function can be made anew then
        yield from unfollowed
        yield from _model(db, column)
        return
    yield from _functions(db, column)
    yield from _children(db, column)
    lost = repairing.missing(db, column)
    if lost:
        # as pg_restore --disable-triggers leaves it
        is_little = all("not enabled for all sessions" in one for one in lost)
        yield Finding(
            WARNING if is_little else ERROR,
            column.label,
            f"{' and '.join(lost)}: rows that change are not seen to be stale, or not found",
            f"SELECT * FROM pgembed.repair({named(column.table)})",
        )
    if column.renamed:
        yield Finding(
            WARNING,
            column.label,
            "a column of its source has another name, and its triggers call it by the old one",
            f"CALL pgembed.refresh({call})",
        )
    yield from _model(db, column)
    yield from _no_index(db, column)


def unregistered(db: Database) -> Iterator[Finding]:
    """Columns that only their triggers know of, as after a restore of a schema into a database whose registry is empty."""
    for oid in declared.tables(db):
        found, _ = columns.table(db, str(oid))
        for one in declared.unregistered(db, oid):
            yield Finding(
                ERROR,
                f"{found.name}.{one.column}",
                "it is embedded, as its triggers say, and not registered: a restore of the table alone leaves the registry behind",
                f"SELECT * FROM pgembed.repair({named(found)})",
            )


def invalid_indexes(db: Database) -> Iterator[Finding]:
    """Indexes of embedded tables that CREATE INDEX CONCURRENTLY or REINDEX has left unfinished, and that nobody is building."""
    rows = db.execute(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relname ~ '_cc(new|old)[0-9]*$' AS left_over,"
        " t.oid::pg_catalog.regclass::pg_catalog.text AS shown"
        " FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid AND c.relkind = 'i'"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid"
        " WHERE NOT (x.indisvalid AND x.indisready) AND x.indrelid IN (SELECT p.relid FROM pgembed._embedding AS e,"
        " LATERAL (SELECT e.table_name AS relid UNION SELECT e.chunk_table UNION SELECT q.relid"
        " FROM pg_catalog.pg_partition_tree(e.table_name) AS q) AS p) AND pg_catalog.pg_has_role(t.relowner, 'USAGE')"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS b WHERE b.index_relid = c.oid OR b.relid = t.oid)"
        " ORDER BY 1"
    )
    for row in rows:
        verb = "DROP INDEX CONCURRENTLY" if row["left_over"] else "REINDEX INDEX CONCURRENTLY"
        yield Finding(
            WARNING,
            str(row["name"]),
            f"index of {row['shown']} is not valid: its building was interrupted or failed; it costs every writer and serves nobody",
            f"{verb} {row['name']}",
        )


def _gone(db: Database, column: Column) -> str:
    if column.chunks is not None and not column.chunks.name:
        return "its table of chunks does not exist any more"
    names = [name for name in (column.name, column.hash_column) if name and following.column_type(db, column.table, name) is None]
    if column.chunks is not None:
        names = [name for name in names if name != column.name]
        if not names:
            return f"its table of chunks {column.chunks.sql} has no foreign key to the table any more, or its column is another one"
    if not names:
        return "its columns are of other types than vector or halfvec, and bytea"
    return f"column {' and '.join(quote(name) for name in names)} of the table does not exist any more"


def _unfollowed(db: Database, column: Column) -> Iterator[Finding]:
    """What the table has lost without which the column can't follow its rows; another declaration can, and so it says."""
    if column.source_function is None:
        return
    call = f"{named(column.table)}, {text(column.name)}"
    forget = f"SELECT pgembed.drop_embedding({call}, keep_column => true)"
    read = column.source_function.columns or ()
    gone = [name for name in read if following.column_type(db, column.table, name) is None]
    if gone:
        yield Finding(
            ERROR,
            column.label,
            f"its source reads {following.named(gone)}, which the table does not have any more: rows that change are not seen to be stale,"
            f" and none can be embedded. pgembed.alter_embedding({call}, source => ...) gives it another source; the remedy lets the"
            " vectors stay as they are",
            forget,
        )
    if not column.table.keys:
        yield Finding(
            ERROR,
            column.label,
            "the table has no primary key any more, by which rows are found again: none can be embedded. ALTER TABLE ... ADD PRIMARY KEY"
            f" and then pgembed.repair({named(column.table)}) give it back; the remedy lets the vectors stay as they are",
            forget,
        )


def _children(db: Database, column: Column) -> Iterator[Finding]:
    """Tables that have come to inherit from one that has no partitions."""
    if column.source_function is None or column.table.relkind != "r":
        return
    rows = db.execute(
        "SELECT i.inhrelid::pg_catalog.regclass::pg_catalog.text AS shown, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name"
        " FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE i.inhparent = $1 ORDER BY 2",
        ["pg_catalog.oid"],
        [column.table.oid],
    )
    for row in rows:
        yield Finding(
            ERROR,
            column.label,
            f"table {row['shown']} inherits from it, and no trigger reaches its rows: they are searched, and seem fresh when they change",
            f"ALTER TABLE {row['name']} NO INHERIT {column.table.sql}",
        )


def _functions(db: Database, column: Column) -> Iterator[Finding]:
    if column.source_function is None:
        return
    owner = quote(column.table.owner)
    again = f"SELECT pgembed.alter_embedding({named(column.table)}, {text(column.name)}, source => {text(column.source)})"
    for what, name in (("source", column.source_function.name), ("trigger's", column.trigger_function)):
        rows = db.execute(
            "SELECT p.proowner = t.relowner AS ours, p.prosecdef AS fenced, p.prokind::pg_catalog.text AS kind"
            " FROM pg_catalog.pg_proc AS p, pg_catalog.pg_class AS t"
            " WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regproc($1) AND t.oid = $2",
            ["pg_catalog.text", "pg_catalog.oid"],
            [name, column.table.oid],
        )
        if not rows:
            if what == "source":
                yield Finding(ERROR, column.label, f"its {what} function {name} does not exist any more", again)
        elif not rows[0]["ours"]:
            yield Finding(
                ERROR,
                column.label,
                f"its {what} function {name} is not the table owner's, so nothing evaluates it",
                f"ALTER ROUTINE {name} OWNER TO {owner}",
            )
        elif not rows[0]["fenced"]:
            yield Finding(
                ERROR,
                column.label,
                f"its {what} function {name} runs with the rights of whoever calls it, so nothing evaluates it",
                f"ALTER ROUTINE {name} SECURITY DEFINER",
            )


def _model(db: Database, column: Column) -> Iterator[Finding]:
    if column.model is None:
        return
    try:
        catalogue.describe(db, column.model, column.fingerprint)
        return
    except errors.PgembedError as error:
        said, hint = error.message, error.hint or ""
    remedy = f"pgembed model add {column.model}"
    if column.source is not None:
        try:
            catalogue.describe(db, column.model)
            remedy = f"SELECT pgembed.alter_embedding({named(column.table)}, {text(column.name)}, model => {text(column.model)})"
        except errors.PgembedError:
            pass
    hint = f". {hint}" if hint else ""
    yield Finding(ERROR, column.label, f"the model of its vectors is not there, so no text can be compared with them: {said}{hint}", remedy)


def _no_index(db: Database, column: Column) -> Iterator[Finding]:
    held = column.rows if column.chunks is None else column.chunks.lines
    if column.index_name is not None or held < indexing.INDEX_ROWS or not 0 < (column.dim or 0) <= _MOST_DIM[column.type]:
        return
    # with codes that have an index searches need none on the vectors
    served = db.execute(
        "SELECT FROM pgembed._describe_codes($1) AS c WHERE c.embedding_column = $2 AND c.is_active AND c.is_filled"
        " AND coalesce(c.index_name, c.covering_index) IS NOT NULL",
        ["pg_catalog.oid", "pg_catalog.text"],
        [column.table.oid, column.name],
    )
    if served:
        return
    partitioned = column.table.relkind == "p" and column.chunks is None
    # PostgreSQL builds none concurrently on a partitioned table
    how = "INDEX" if partitioned else "INDEX CONCURRENTLY"
    opclass = f"{column.vector_schema}.{column.type}_{columns.OPCLASSES[column.metric]}"
    yield Finding(
        NOTE,
        column.label,
        f"about {held:.0f} vectors and no index on them: every search compares them all",
        f"CREATE {how} ON {column.place} USING hnsw ({column.sql} {opclass})",
    )
