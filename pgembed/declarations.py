"""declarations: what makes a table's column an embedded column, and what undoes it.

An embedded column is a vector column in the user's own table, a hash column beside it (see `pgembed.freshness` in SQL), a function that
computes the source text of a row, triggers that mark a row stale when that text has changed and see to its vector, and an index over the
rows that need one. All of them are ordinary objects of the table's owner in the table's schema; only the line in the registry is ours. A
column over chunks has its vectors in a table of its own instead (see `pgembed.chunked`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pgembed import chunked, columns, conditions, errors, expressions, following, naming
from pgembed.codes import adding
from pgembed.columns import Chunks, Column, RowFunction, Table, Writer, literal, quote
from pgembed.conditions import ModelLike
from pgembed.database import Database
from pgembed.following import Rules


@dataclass(frozen=True)
class Source:
    """What an embedded column is made of and how its rows are followed."""

    text: str
    function: RowFunction
    hash_column: str
    trigger_name: str
    trigger_function: str


def add(
    db: Database,
    write: Writer,
    target: str | None,
    source: str | None,
    model: ModelLike,
    column_name: str | None,
    sync: str | None,
    metric: str | None,
    limits: tuple[int, int] | None = None,
    by_hand: str | None = "mark",
) -> None:
    """Give a table an embedded column; see `pgembed.add_embedding` in SQL. Rows are embedded by refresh, not here.

    Args:
        limits: tokens and overlap of its chunks; None for one vector a row.
    Raises:
        errors.NullNotAllowed: target, source or column_name is NULL.
        errors.DuplicateObject: the column exists already.
        errors.InvalidTableDefinition: the table has no primary key, by which refresh finds rows again.
        errors.StatementRefused: the source is not one expression over the table.
    """
    found, known = columns.table(db, target)
    name = conditions.required(column_name, "column_name")
    if not name:
        raise errors.InvalidParameter("column_name is empty", hint="Leave it out for embedding, or name the new column.")
    rules = conditions.rules(sync, by_hand, model.kind)
    conditions.checked_choice("metric", metric, tuple(columns.OPERATORS))
    conditions.must_follow(db, found)
    conditions.must_tell(found, rules, over_chunks=limits is not None)
    if any(column.name == name for column in known):
        raise errors.DuplicateObject(
            f'column "{name}" of table "{found.name}" is an embedded column already',
            hint="pgembed.alter_embedding() changes it, pgembed.drop_embedding() drops it; another column_name adds a second one.",
        )
    if following.column_type(db, found, name) is not None:
        raise errors.DuplicateObject(
            f'column "{name}" of table "{found.name}" exists already',
            hint="Choose another column_name, or declare an existing vector column with pgembed.adopt_embedding().",
        )
    text = expressions.prove(db, found, conditions.required(source, "source"))
    with following.as_owner(db, found):
        schema = conditions.vector_schema(db)
        chunks, place = None, None
        if limits is None:
            db.execute(f"ALTER TABLE {found.sql} ADD COLUMN {quote(name)} {schema}.vector({model.dim})")
        else:
            chunks, place = chunked.create(db, found, name, limits, model.dim, schema)
        made = _follow(db, found, name, text, schema, rules, chunks=chunks)
        index = following.workindex.create(db, found, name, made.hash_column, over_chunks=chunks is not None)
    _register(write, found, name, made, model, metric, rules, index, chunks=chunks, place=place)
    if db.execute(f"SELECT EXISTS (SELECT FROM {found.sql}) AS yes")[0]["yes"]:
        db.notice(
            f"the rows of {found.shown} have no vector in {name} yet", hint=f"CALL pgembed.refresh({literal(found.shown)}) embeds them."
        )


def adopt(
    db: Database,
    write: Writer,
    target: str | None,
    column_name: str | None,
    model: ModelLike | None,
    source: str | None,
    metric: str | None,
    sync: str | None,
    by_hand: str | None = "mark",
) -> None:
    """Declare a column of vectors that exists; see `pgembed.adopt_embedding` in SQL. Its rows count as fresh, for nobody can know better.

    Raises:
        errors.UnknownColumn, errors.DatatypeMismatch: there is no such column, or it is not a vector column.
        errors.DimensionMismatch: the model makes vectors of another dimension.
    """
    found, known = columns.table(db, target)
    name = conditions.required(column_name, "column_name")
    if any(column.name == name for column in known):
        raise errors.DuplicateObject(
            f'column "{name}" of table "{found.name}" is an embedded column already',
            hint="pgembed.alter_embedding() changes it, pgembed.drop_embedding() forgets it.",
        )
    if found.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{found.name}" is not a table', hint="Adopt the column of the table behind it.")
    kind = following.column_type(db, found, name)
    if kind is None:
        raise errors.UnknownColumn(
            f'column "{name}" of table "{found.name}" does not exist', hint="pgembed.add_embedding() makes a new one."
        )
    if kind not in columns.VECTOR_TYPES:
        raise errors.DatatypeMismatch(
            f'column "{name}" of table "{found.name}" is of type {kind}, not vector or halfvec',
            hint="Adopt a column of one of pgvector's types vector and halfvec.",
        )
    rules = conditions.rules(sync, by_hand, model.kind if model is not None else None, adopted=True)
    chosen = metric or conditions.indexed_metric(db, found, name) or "cosine"
    conditions.checked_choice("metric", chosen, tuple(columns.OPERATORS))
    dim = conditions.stored_dim(db, found, name)
    if model is not None and dim is not None and dim != model.dim:
        raise errors.DimensionMismatch(
            f'column "{name}" holds vectors of {dim} dimensions, model "{model.name}" makes {model.dim}',
            hint="Name the model that made the column, or none: then queries are vectors.",
        )
    made, index = None, None
    if source is not None:
        if model is None:
            raise errors.NullNotAllowed(
                "a source needs a model that embeds it",
                hint="Name the model, or leave out the source and search with vectors.",
            )
        conditions.must_follow(db, found)
        conditions.must_tell(found, rules)
        text = expressions.prove(db, found, source)
        with following.as_owner(db, found):
            made = _follow(db, found, name, text, conditions.vector_schema(db), rules)
            index = following.workindex.create(db, found, name, made.hash_column)
    _register(write, found, name, made, model, chosen, rules, index)


def alter(
    db: Database,
    write: Writer,
    column: Column,
    source: str | None,
    model: ModelLike | None,
    metric: str | None,
    sync: str | None,
    limits: tuple[int, int] | None = None,
    by_hand: str | None = None,
) -> None:
    """Change what an embedded column is made of, and how it is kept true; what is None stays.

    A new source, or new limits of chunks, mark all rows stale: their vectors serve until refresh. A new model empties the column, because
    vectors of two models cannot be compared and a search meanwhile must not.
    """
    found = column.table
    name = column.name
    rules = conditions.rules(sync or column.sync, by_hand or column.by_hand, conditions.kind(db, column, model), adopted=column.adopted)
    conditions.checked_choice("metric", metric or column.metric, tuple(columns.OPERATORS))
    if source is not None:
        conditions.must_follow(db, found)
        expressions.prove(db, found, source)
        if column.model is None and model is None:
            raise errors.NullNotAllowed("a source needs a model that embeds it", hint="Name the model in the same call.")
    if source is not None or column.source is not None:
        conditions.must_tell(found, rules, over_chunks=column.chunks is not None)
    if metric not in (None, column.metric) or (model is not None and model.fingerprint != column.fingerprint):
        adding.must_have_none(db, column, "change model or metric of")
    made = _source_of(column)
    index = column.work_index
    other_model = model if model is not None and model.fingerprint != column.fingerprint else None
    if other_model is not None and made is None and source is None:
        raise errors.NotSupported(
            f"{column.label} has no source from which another model could embed it",
            hint="Give the source in the same call, or drop and adopt the column again with the model that made it.",
        )
    with following.as_owner(db, found):
        if made is not None:
            following.unfollow(db, column)  # its triggers hold the type of the column
        if other_model is not None:
            _retype(db, column, other_model)
        if source is not None:
            _drop_source(db, column)
            made = _follow(db, found, name, source, column.vector_schema, rules, column.hash_column, column.chunks)
            if column.hash_column is None:
                index = following.workindex.create(db, found, name, made.hash_column)
            _mark_all_stale(db, found, made.hash_column)
        elif made is not None:
            made = _follow_again(db, column, made, rules)
        if limits is not None and made is not None:
            # as if of another text: what has the same is cut anew too
            hashed = quote(made.hash_column)
            db.execute(
                f"UPDATE {found.sql} SET {hashed} = '\\x00'::pg_catalog.bytea || pg_catalog.decode(pg_catalog.repeat('00', 16), 'hex')"
                f" WHERE pg_catalog.octet_length({hashed}) >= 16"
            )
        if other_model is not None and made is not None:
            _empty(db, column, other_model, made)
    write(
        found,
        "UPDATE pgembed._embedding SET source = $3, source_function = $4, source_columns = $5, hash_column = $6, trigger_name = $7,"
        " trigger_function = $8, model = coalesce($9, model), fingerprint = coalesce($10, fingerprint), metric = coalesce($11, metric),"
        " sync = coalesce($12, sync), chunk_tokens = coalesce($13, chunk_tokens), chunk_overlap = coalesce($14, chunk_overlap),"
        " by_hand = $15, work_index = $16, last_error = NULL WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass"
        " AND column_name = $2",
        ["oid", "name", *SOURCE_TYPES, "text", "text", "text", "text", "int4", "int4", "text", "text"],
        [
            *(found.oid, name, *_source_values(made), model.name if model else None, model.fingerprint if model else None, metric, sync),
            *(limits or (None, None)),
            *(rules.by_hand, index),
        ],
    )


def realign(db: Database, write: Writer, column: Column) -> None:
    """After a column of the source was renamed: name it anew in the trigger's function and in the registry."""
    made = _source_of(column)
    if made is None:
        return
    with following.as_owner(db, column.table):
        following.unfollow(db, column)
        made = _follow_again(db, column, made, Rules(column.sync, column.by_hand, conditions.kind(db, column, None), column.adopted))
    write(
        column.table,
        "UPDATE pgembed._embedding SET source = $3, source_function = $4, source_columns = $5, hash_column = $6, trigger_name = $7,"
        " trigger_function = $8 WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name", *SOURCE_TYPES],
        [column.table.oid, column.name, *_source_values(made)],
    )


def drop(db: Database, write: Writer, target: str | None, column_name: str | None, keep_column: bool | None) -> None:
    """Undo `add` or `adopt`.

    Args:
        keep_column: keep the vectors, or the table of chunks; None keeps them only where the column was adopted.
    Raises:
        errors.UnknownObject: there is no such embedded column.
    """
    found, known = columns.table(db, target)
    gone = [column for column in known if column.name == column_name and column.type not in columns.VECTOR_TYPES]
    column = gone[0] if gone else columns.column(db, target, column_name)
    adding.must_have_none(db, column, "drop")
    keep = column.adopted if keep_column is None else keep_column
    with following.as_owner(db, found):
        _unfollow(db, column)
        dropped = [column.hash_column] if column.hash_column else []
        if not keep and column.chunks is not None:
            chunked.drop(db, column.chunks)
        elif not keep:
            dropped.append(column.name)
        for name in dropped:
            db.execute(f"ALTER TABLE {found.sql} DROP COLUMN IF EXISTS {quote(name)}")
    write(
        found,
        "DELETE FROM pgembed._embedding WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name"],
        [found.oid, column.name],
    )


def add_beside(
    db: Database, write: Writer, column: Column, name: str, hash_column: str, model: ModelLike, limits: tuple[int, int] | None = None
) -> None:
    """Follow the rows of a table in a second column of vectors, by the same rules as the first, and by its source function.

    What names in the source mean is not asked again.

    Args:
        name, hash_column: of the second one; both are there, and empty.
        limits: of its chunks, where the first one is over chunks: their table is made here.
    """
    found = column.table
    rules = Rules(column.sync, column.by_hand, model.kind)
    with following.as_owner(db, found):
        assert column.source is not None  # asked by whoever calls
        assert column.source_function is not None
        chunks, place = (None, None) if limits is None else chunked.create_beside(db, column, name, limits, model.dim)
        followed = following.follow(db, found, name, column.source_function, column.vector_schema, hash_column, chunks, rules)
        made = Source(column.source, column.source_function, *followed)
        index = following.workindex.create(db, found, name, hash_column, over_chunks=chunks is not None)
    _register(write, found, name, made, model, column.metric, rules, index, chunks=chunks, place=place)
    write(
        found,
        "UPDATE pgembed._embedding SET role = 'next', change_of = $3"
        " WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name", "name"],
        [found.oid, name, column.name],
    )


def _retype(db: Database, column: Column, model: ModelLike) -> None:
    """Give the column the dimension of another model; chunks are deleted."""
    if column.dim != model.dim:
        indexes = db.execute(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_index AS x"
            " JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)"
            " WHERE x.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass AND a.attname = $2",
            ["pg_catalog.text", "pg_catalog.name"],
            [column.place, columns.CHUNK_VECTOR if column.chunks else column.name],
        )
        for row in indexes:
            db.execute(f"DROP INDEX {row['name']}")
    if column.chunks is not None:
        chunked.empty(db, column, model.dim)
    elif column.dim != model.dim:
        db.execute(
            f"ALTER TABLE {column.table.sql} ALTER COLUMN {column.sql} TYPE {column.vector_schema}.{column.type}({model.dim}) USING NULL"
        )


def _empty(db: Database, column: Column, model: ModelLike, made: Source) -> None:
    """Take the vectors of the model of before away."""
    vector = f"{column.sql} = NULL, " if column.chunks is None else ""
    db.execute(f"UPDATE {column.table.sql} SET {vector}{quote(made.hash_column)} = NULL")
    db.notice(
        f"{column.label} is empty now: vectors of {column.model or 'an unknown model'} and {model.name} cannot be compared",
        hint=f"CALL pgembed.refresh('{column.table.shown}', '{column.name}') embeds its rows anew.",
    )


def _register(
    write: Writer,
    found: Table,
    name: str,
    made: Source | None,
    model: ModelLike | None,
    metric: str | None,
    rules: Rules,
    work_index: str | None,
    *,
    chunks: Chunks | None = None,
    place: int | None = None,
) -> None:
    write(
        found,
        "INSERT INTO pgembed._embedding (table_name, column_name, source, source_function, source_columns, hash_column, trigger_name,"
        " trigger_function, model, fingerprint, metric, sync, adopted, chunk_table, chunk_tokens, chunk_overlap, by_hand, work_index)"
        " VALUES ($1::oid::regclass, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::oid::regclass, $15, $16, $17, $18)",
        ["oid", "name", *SOURCE_TYPES, "text", "text", "text", "text", "bool", "oid", "int4", "int4", "text", "text"],
        [
            found.oid,
            name,
            *_source_values(made),
            model.name if model else None,
            model.fingerprint if model else None,
            metric,
            rules.sync,
            rules.adopted,
            place,
            chunks.tokens if chunks else None,
            chunks.overlap if chunks else None,
            rules.by_hand,
            work_index,
        ],
    )


SOURCE_TYPES = ("text", "text", "name[]", "name", "name", "text")


def _source_values(made: Source | None) -> tuple[object, ...]:
    """Values of source, source_function, source_columns, hash_column, trigger_name and trigger_function in the registry."""
    if made is None:
        return (None,) * len(SOURCE_TYPES)
    read = None if made.function.columns is None else list(made.function.columns)
    return made.text, made.function.name, read, made.hash_column, made.trigger_name, made.trigger_function


def _source_of(column: Column) -> Source | None:
    if column.source is None or column.source_function is None:
        return None
    # the four stand together in the registry, or none of them does
    return Source(column.source, column.source_function, str(column.hash_column), str(column.trigger_name), str(column.trigger_function))


def _follow(
    db: Database,
    found: Table,
    name: str,
    source: str,
    vector_schema: str,
    rules: Rules,
    hash_column: str | None = None,
    chunks: Chunks | None = None,
) -> Source:
    function = expressions.create(db, found, naming.clip(found.name, f"_{name}_source"), source, "pg_catalog.text", definer=True)
    db.execute(f"REVOKE ALL ON FUNCTION {function.name} FROM PUBLIC")
    return Source(source, function, *following.follow(db, found, name, function, vector_schema, hash_column, chunks, rules))


def _follow_again(db: Database, column: Column, made: Source, rules: Rules) -> Source:
    """Create the triggers anew, which are dropped, over the same source."""
    again = following.follow(db, column.table, column.name, made.function, column.vector_schema, made.hash_column, column.chunks, rules)
    return Source(made.text, made.function, *again)


def _unfollow(db: Database, column: Column) -> None:
    following.unfollow(db, column)
    _drop_source(db, column)


def _drop_source(db: Database, column: Column) -> None:
    made = column.source_function
    if made is None:
        return
    # while a model is being changed, two columns are made by one function
    others = [one for one in columns.table(db, str(column.table.oid))[1] if one.name != column.name]
    if not any(one.source_function is not None and one.source_function.name == made.name for one in others):
        expressions.drop(db, made)


def _mark_all_stale(db: Database, found: Table, hash_column: str) -> None:
    hashed = quote(hash_column)
    db.execute(f"UPDATE {found.sql} SET {hashed} = pgembed._hash_stale({hashed})")
