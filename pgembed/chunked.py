"""chunked: tables of chunks, which hold the vectors of a column that has several for each row.

Such a table is the table owner's, beside the table. A foreign key lets it follow its rows; refresh alone writes it. It shows what its
rows show: the privileges to read the table are copied when it is made, and a policy lets a chunk be seen exactly where its row is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import columns, errors, naming
from pgembed.columns import CHUNK_VECTOR, Chunks, Column, Table, quote
from pgembed.database import Database, Row

OWN_COLUMNS = ("ordinal", "start_char", "end_char", "content", CHUNK_VECTOR)
# Lines of a table of chunks that are written at a time.
PAGE = 1000


def create(db: Database, found: Table, name: str, limits: tuple[int, int], dim: int, vector_schema: str) -> tuple[Chunks, int]:
    """Create the table of chunks of an embedded column, as the table's owner; return what it is, and its OID.

    Args:
        limits: tokens and overlap of the chunks.
    Raises:
        errors.NotSupported: no foreign key could follow all rows of the table.
    """
    described = Chunks(found.schema, naming.free(db, found.schema, "tables", f"{found.name}_{name}", "_chunk"), _key_names(found), *limits)
    oid = _create(db, found, name, described, f"{vector_schema}.vector({dim})")
    _protect(db, found, described, oid)
    return described, oid


def create_beside(db: Database, column: Column, name: str, limits: tuple[int, int], dim: int) -> tuple[Chunks, int]:
    """Create a second table of chunks for a column of that name, which whoever may read the first one may read, and nobody else."""
    assert column.chunks is not None
    found, first = column.table, column.chunks
    described = Chunks(first.schema, naming.free(db, first.schema, "tables", f"{found.name}_{name}", "_chunk"), first.keys, *limits)
    oid = _create(db, found, name, described, f"{column.vector_schema}.{column.type}({dim})")
    _protect(db, found, described, oid)
    give_rights(db, first, described)
    stored = db.execute(
        "SELECT CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END AS called"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass AND a.attname = $2",
        ["pg_catalog.text", "pg_catalog.name"],
        [first.sql, CHUNK_VECTOR],
    )[0]["called"]
    db.execute(f"ALTER TABLE {described.sql} ALTER COLUMN {CHUNK_VECTOR} SET STORAGE {stored}")
    return described, oid


def _create(db: Database, found: Table, name: str, described: Chunks, kind: str) -> int:
    """Create the table, of which nothing is said yet but its columns; return its OID."""
    persistence = _persistence(db, found)
    kinds = _key_types(db, found)
    lines = [f"{key} {of_key} NOT NULL" for key, of_key in zip(described.keys, kinds, strict=True)]
    mine, theirs = ", ".join(described.keys), ", ".join(key for key, _ in found.keys)
    db.execute(
        f"CREATE {persistence}TABLE {described.sql} ({', '.join(lines)}, ordinal pg_catalog.int4 NOT NULL,"
        " start_char pg_catalog.int4 NOT NULL, end_char pg_catalog.int4 NOT NULL, content pg_catalog.text NOT NULL,"
        f" {CHUNK_VECTOR} {kind} NOT NULL,"
        f" PRIMARY KEY ({mine}, ordinal),"
        f" FOREIGN KEY ({mine}) REFERENCES {found.sql} ({theirs}) ON UPDATE CASCADE ON DELETE CASCADE)"
    )
    say(db, found, name, described)
    return int(db.execute("SELECT $1::pg_catalog.regclass::pg_catalog.oid AS oid", ["pg_catalog.text"], [described.sql])[0]["oid"])


def say(db: Database, found: Table, name: str, chunks: Chunks) -> None:
    """Say in the comment of a table of chunks what it is."""
    said = f"chunks of {found.name}.{name}, written by pgembed.refresh(); substr(source, start_char, end_char - start_char) = content"
    db.execute(f"COMMENT ON TABLE {chunks.sql} IS {columns.literal(said)}")


def _persistence(db: Database, found: Table) -> str:
    row = db.execute(
        "SELECT relpersistence::pg_catalog.text AS kind FROM pg_catalog.pg_class WHERE oid = $1", ["pg_catalog.oid"], [found.oid]
    )[0]
    if row["kind"] == "t":
        raise errors.NotSupported(f'table "{found.name}" is temporary', hint="Call pgembed.chunk() in a query over it.")
    return "UNLOGGED " if row["kind"] == "u" else ""


def _key_names(found: Table) -> tuple[str, ...]:
    """The names of the key's columns in the table of chunks: their own, unless that is one of its other columns."""
    taken = {quote(name) for name in OWN_COLUMNS}
    theirs = [key for key, _ in found.keys]
    names: list[str] = []
    for key in theirs:
        name = key[1:-1].replace('""', '"')
        while quote(name) in taken or (quote(name) != key and quote(name) in theirs):
            name = naming.clip("row_" + name, "")
        taken.add(quote(name))
        names.append(quote(name))
    return tuple(names)


def _key_types(db: Database, found: Table) -> list[str]:
    rows = db.execute(
        "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attcollation <> t.typcollation"
        " THEN pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname) ELSE '' END AS kind"
        " FROM pg_catalog.pg_index AS x CROSS JOIN pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (attnum, ordinality)"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = u.attnum"
        " JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation"
        " LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace"
        " WHERE x.indrelid = $1 AND x.indisprimary AND u.ordinality <= x.indnkeyatts ORDER BY u.ordinality",
        ["pg_catalog.oid"],
        [found.oid],
    )
    return [str(row["kind"]) for row in rows]


def _protect(db: Database, found: Table, chunks: Chunks, oid: int) -> None:
    """Let those read the chunks who may read the rows, and nobody else: default privileges may have said otherwise."""
    granted = (
        "SELECT DISTINCT coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC') AS role, g.is_grantable FROM pg_catalog.pg_class AS c"
        " CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS g LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee"
        " WHERE c.oid = $1 AND g.grantee <> c.relowner"
    )
    for row in db.execute(granted, ["pg_catalog.oid"], [oid]):
        db.execute(f"REVOKE ALL ON {chunks.sql} FROM {row['role']} CASCADE")
    for row in db.execute(f"{granted} AND g.privilege_type = 'SELECT'", ["pg_catalog.oid"], [found.oid]):
        db.execute(f"GRANT SELECT ON {chunks.sql} TO {row['role']}{' WITH GRANT OPTION' if row['is_grantable'] else ''}")
    seen = chunks.of_row(quote(chunks.name), "t", [key for key, _ in found.keys])
    db.execute(f"CREATE POLICY pgembed_rows ON {chunks.sql} USING (EXISTS (SELECT FROM {found.sql} AS t WHERE {seen}))")
    # That row security is given to the table later is seen by an event trigger.
    row = db.execute("SELECT relrowsecurity, relforcerowsecurity FROM pg_catalog.pg_class WHERE oid = $1", ["pg_catalog.oid"], [found.oid])[
        0
    ]
    if row["relrowsecurity"]:
        db.execute(f"ALTER TABLE {chunks.sql} ENABLE ROW LEVEL SECURITY")
    if row["relforcerowsecurity"]:
        db.execute(f"ALTER TABLE {chunks.sql} FORCE ROW LEVEL SECURITY")


def give_rights(db: Database, first: Chunks, second: Chunks) -> None:
    """Let the same roles read, or write, a table of chunks as another one, and nobody else."""
    oids = [
        int(db.execute("SELECT $1::pg_catalog.regclass::pg_catalog.oid AS oid", ["pg_catalog.text"], [one.sql])[0]["oid"])
        for one in (first, second)
    ]
    flags = db.execute(
        "SELECT relrowsecurity AS enabled, relforcerowsecurity AS forced FROM pg_catalog.pg_class WHERE oid = $1",
        ["pg_catalog.oid"],
        oids[:1],
    )[0]
    if flags["enabled"]:
        db.execute(f"ALTER TABLE {second.sql} ENABLE ROW LEVEL SECURITY")
    if flags["forced"]:
        db.execute(f"ALTER TABLE {second.sql} FORCE ROW LEVEL SECURITY")
    for row in _granted(db, oids[1]):
        db.execute(f"REVOKE ALL ON {second.sql} FROM {row['grantee']} CASCADE")
    for row in _granted(db, oids[0]):
        of = f" ({quote(row['attname'])})" if row["attname"] else ""
        more = " WITH GRANT OPTION" if row["grantable"] else ""
        db.execute(f"GRANT {row['privilege']}{of} ON {second.sql} TO {row['grantee']}{more}")


def _granted(db: Database, oid: int) -> Sequence[Row]:
    """Privileges on a table, and on its columns, of others than its owner."""
    return db.execute(
        "SELECT p.attname, g.privilege_type AS privilege, g.is_grantable AS grantable,"
        " CASE WHEN g.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'"
        " ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END AS grantee"
        " FROM (SELECT NULL::pg_catalog.name AS attname, c.relacl AS acl FROM pg_catalog.pg_class AS c WHERE c.oid = $1"
        " UNION ALL SELECT a.attname, a.attacl FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1 AND NOT a.attisdropped) AS p"
        " CROSS JOIN LATERAL pg_catalog.aclexplode(p.acl) AS g"
        " WHERE g.grantee <> (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = $1) ORDER BY 1, 2, 4",
        ["pg_catalog.oid"],
        [oid],
    )


def must_be_ours(db: Database, column: Column) -> None:
    """Raise where a table of chunks has got something from its owner that a second one beside it would not have.

    Raises:
        errors.NotSupported: policies of its own, which would not hide the same lines there.
    """
    assert column.chunks is not None
    chunks = column.chunks
    found = db.execute(
        "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(p.polname), ', ' ORDER BY p.polname) AS names FROM pg_catalog.pg_policy AS p"
        " WHERE p.polrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND NOT (p.polname = 'pgembed_rows'"
        " AND p.polpermissive AND p.polcmd = '*'"
        " AND p.polroles = '{0}')",
        ["pg_catalog.text"],
        [chunks.sql],
    )[0]["names"]
    if found is not None:
        raise errors.NotSupported(
            f"the table of chunks of {column.label} has policies of its own, which its second table would not have: {found}",
            hint=f"Policies on {column.table.sql} hide the chunks of the rows that they hide: move them there,"
            f" then DROP POLICY ... ON {chunks.sql}.",
        )


def must_not_be_embedded(db: Database, column: Column) -> None:
    """Raise where a table of chunks that is to be dropped was itself declared to have an embedded column.

    Raises:
        errors.DependentObjects: it was.
    """
    if column.chunks is None or not column.chunks.name:
        return
    adopted = adoptions(db, column.chunks)
    if adopted:
        raise errors.DependentObjects(
            f"cannot drop the chunks of {column.label}: they are an embedded column themselves, {adopted[0]}",
            hint=f"SELECT pgembed.drop_embedding({columns.literal(column.chunks.sql)}) forgets that.",
        )


def adoptions(db: Database, chunks: Chunks) -> list[str]:
    """The embedded columns that a table of chunks was declared to have."""
    rows = db.execute(
        "SELECT pg_catalog.format('%s.%s', c.relname, e.column_name) AS said FROM pgembed._embedding AS e"
        " JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) e.table_name"
        " WHERE e.table_name OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) ORDER BY 1",
        ["pg_catalog.text"],
        [chunks.sql],
    )
    return [str(row["said"]) for row in rows]


def dependents(db: Database, chunks: Chunks) -> list[str]:
    """What reads a table of chunks, or was made for it, and is not part of it; indexes of vectors are made for a second one, others not."""
    rows = db.execute(
        "SELECT DISTINCT CASE WHEN r.oid IS NOT NULL"
        " THEN pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, r.ev_class, 0)"
        " ELSE pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) END AS said"
        " FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
        " AND d.refobjid = c.oid OR d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass"
        " AND d.refobjid = c.reltype"
        " LEFT JOIN pg_catalog.pg_rewrite AS r"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid"
        " LEFT JOIN pg_catalog.pg_class AS i"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND i.oid = d.objid"
        " AND i.relkind = 'i' LEFT JOIN pg_catalog.pg_am AS m ON m.oid = i.relam"
        " LEFT JOIN pg_catalog.pg_trigger AS g"
        " ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass AND g.oid = d.objid"
        " WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND (d.deptype = 'n' OR d.deptype = 'a'"
        " AND (m.amname NOT IN ('hnsw', 'ivfflat')"
        " OR NOT g.tgisinternal OR d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_publication_rel'::pg_catalog.regclass))"
        # its own policies and foreign keys read it too
        " AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass"
        " AND EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.oid = d.objid AND p.polrelid = c.oid))"
        " AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass"
        " AND EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.oid = d.objid AND k.conrelid = c.oid))",
        ["pg_catalog.text"],
        [chunks.sql],
    )
    return sorted({*(str(row["said"]) for row in rows), *(f"embedded column {said}" for said in adoptions(db, chunks))})


def drop(db: Database, chunks: Chunks) -> None:
    """Drop a table of chunks, where it still exists."""
    if chunks.name:
        db.execute(f"DROP TABLE IF EXISTS {chunks.sql}")


def empty(db: Database, column: Column, dim: int) -> None:
    """Delete all chunks, because vectors of another model will come, of so many dimensions."""
    assert column.chunks is not None
    db.execute(f"DELETE FROM {column.chunks.sql}")
    if column.dim != dim:
        db.execute(f"ALTER TABLE {column.chunks.sql} ALTER COLUMN {column.sql} TYPE {column.vector_schema}.{column.type}({dim}) USING NULL")


def count(db: Database, chunks: Chunks) -> int | None:
    """How many chunks there are, as the caller sees them; None where the caller may not read them or sees some only."""
    allowed = db.execute(
        "SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid) AS yes"
        " FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass",
        ["pg_catalog.text"],
        [chunks.sql],
    )
    return int(db.execute(f"SELECT pg_catalog.count(*) AS n FROM {chunks.sql}")[0]["n"]) if allowed and allowed[0]["yes"] else None


def replace(
    db: Database,
    column: Column,
    keys: Sequence[Sequence[str]],
    made: Sequence[Sequence[tuple[int, int, str]]],
    images: Sequence[Sequence[bytes]],
) -> None:
    """Write the chunks of some rows in place of those that they have.

    The rows must be locked by this transaction: then nobody else writes chunks of theirs.

    Args:
        keys: of the rows, one text a key column.
        made: for each row its chunks: start and end in code points from 0, end exclusive, and content.
        images: for each row the images of its chunks' vectors.
    """
    assert column.chunks is not None
    described, chunks = column.table.keys, column.chunks
    parameters = range(1, len(described) + 1)
    names = [f"k{position}" for position in parameters]
    casts = [f"m.{name}::{kind}" for name, (_, kind) in zip(names, described, strict=True)]
    same = " AND ".join(f"c.{key} = {cast}" for key, cast in zip(chunks.keys, casts, strict=True))
    types = ["pg_catalog.text[]"] * len(described)
    arrays = [list(column_keys) for column_keys in zip(*keys, strict=True)]
    unnested = ", ".join(f"pg_catalog.unnest(${position})" for position in parameters)
    if not keys:
        return
    db.execute(f"DELETE FROM {chunks.sql} AS c USING ROWS FROM ({unnested}) AS m ({', '.join(names)}) WHERE {same}", types, arrays)
    lines = [
        (*key, ordinal, start + 1, end + 1, content, image)
        for key, parts, vectors in zip(keys, made, images, strict=True)
        for ordinal, ((start, end, content), image) in enumerate(zip(parts, vectors, strict=True), 1)
    ]
    own = ["pg_catalog.int4[]", "pg_catalog.int4[]", "pg_catalog.int4[]", "pg_catalog.text[]", "pg_catalog.bytea[]"]
    every = ", ".join(f"pg_catalog.unnest(${position})" for position in range(1, len(described) + len(own) + 1))
    cast = column.from_vector
    for at in range(0, len(lines), PAGE):
        db.check_interrupts()
        db.execute(
            f"INSERT INTO {chunks.sql} ({', '.join(chunks.keys)}, {', '.join(OWN_COLUMNS)})"
            f" SELECT {', '.join(casts)}, m.ordinal, m.start_char, m.end_char, m.content, pgembed._vector(m.image){cast}"
            f" FROM ROWS FROM ({every}) AS m ({', '.join(names)}, ordinal, start_char, end_char, content, image)",
            [*types, *own],
            [list(values) for values in zip(*lines[at : at + PAGE], strict=True)],
        )
