"""declaring: what makes a codec an object of a database, and what undoes it.

A codec is an ordinary function of the table's owner in the table's schema, which pg_dump carries and a restore can run; only its line
in the registry is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pgembed import columns, errors, following, progress
from pgembed.codes import catalogue, rendering, training
from pgembed.codes.catalogue import CodecRow
from pgembed.columns import Column, Table, Writer, quote
from pgembed.database import Database

if TYPE_CHECKING:
    from pgembed.codes.rendering import Objects
    from pgembed.codes.training import Trained

_T = TypeVar("_T")

SAMPLE_ROWS = 50_000
_MOST_RETRAINED = 1000
# SQLSTATEs of what cannot be dropped, for it is somebody else's by now, or of another kind.
_NOT_OURS = ("42501", "2BP01", "42809")
# Of what is said after training: recall@10 once this many candidates are rescored.
_SAID_RESCORE = 100


@dataclass(frozen=True)
class Request:
    """What a call of `pgembed.train_codec` asks for.

    Attributes:
        options: of the method; None for its default.
        queries: table, as regclass writes it, and its column; None for none.
        code_type: ``binvec`` or ``bit``, for codes of bits; None for binvec where the type exists.
    """

    name: str | None
    target: str | None
    method: str | None
    column_name: str | None
    options: Mapping[str, Any]
    queries: tuple[str | None, str | None]
    sample_rows: int | None
    seed: int | None
    code_type: str | None
    measure: bool


def train(db: Database, write: Writer, request: Request) -> str:
    """Fit a codec to an embedded column and create what encodes with it; the encoder, by name in SQL.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: an argument is missing, or is not what it may be; the column is empty.
        errors.DuplicateObject: a codec, a function or a type of the name exists.
        errors.InsufficientPrivilege: the caller does not own the table, or its owner may not create in its schema.
        errors.NotSupported: the column is over chunks.
    """
    name = _checked_name(request.name)
    method = _given(request.method, "method", "method => 'sign' is the smallest codec; pgembed.recommend_codec() compares all.")
    sample_rows = _given(request.sample_rows, "sample_rows", f"sample_rows => {SAMPLE_ROWS} is the default.")
    seed = _given(request.seed, "seed", "seed => 1 is the default.")
    column = columns.column(db, request.target, request.column_name)
    column.table.must_own()
    column.one_vector("a codec")
    _must_be_free(db, column.table, name)
    bits = _bits(db, request.code_type)
    with progress.shown(db, "train_codec", f"{name} of {column.label}"):
        trained = training.train(db, column, method, request.options, request.queries, sample_rows, seed)
        shape = trained.codec.shape
        if request.code_type is not None and shape.kind != "bits":
            raise errors.InvalidParameter(
                f"code_type is for codes of bits, and codes of {method} are {shape.kind}",
                hint="Leave code_type out: codes have one type.",
            )
        progress.tell(db, 1, 2)  # fitted; it is measured for as long
        measured = _measured(db, column, trained) if request.measure else None
    made = rendering.objects(trained.codec, column.table.schema, name, column.vector_schema, bits)
    described = f"{method} codec of {column.table.shown}.{column.name}"
    with following.as_owner(db, column.table):
        for statement in rendering.statements(trained.codec, made, described):
            db.execute(statement)
    _register(db, write, column, name, request, made, trained, measured)
    db.notice(said(name, column, trained, measured))
    return made.encoder


def retrain(db: Database, write: Writer, name: str | None, new_name: str | None) -> str:
    """Fit a codec of the same method and options to the column as it is now, beside the old one; the new encoder, by name in SQL.

    Args:
        new_name: None for the first of NAME_2, NAME_3, ... that is free.
    Raises:
        errors.UnknownObject: there is no such codec.
        errors.UnknownTable, errors.UnknownColumn: what it was trained on is gone.
    """
    old = catalogue.codec(db, name)
    found, _ = columns.table(db, str(old.table))
    found.must_own()
    asked = queries_of(db, old)
    everything = old.sample_rows >= old.table_rows
    return train(
        db,
        write,
        Request(
            name=new_name or _next_name(db, found, old.name),
            target=str(old.table),
            method=old.method,
            column_name=old.column_name,
            options=old.options,
            queries=asked,
            sample_rows=max(SAMPLE_ROWS, old.sample_rows) if everything else old.sample_rows,
            seed=old.seed,
            code_type=None if old.kind != "bits" else "bit" if old.code_type.startswith("bit(") else "binvec",
            measure=old.measured is not None,
        ),
    )


def drop(db: Database, write: Writer, name: str | None) -> None:
    """Undo `train`. What somebody has dropped by hand is not missed.

    Raises:
        errors.UnknownObject: there is no such codec.
        errors.DependentObjects: columns of codes are made with it.
        errors.InsufficientPrivilege: the caller does not own the table, or one of the objects.
    """
    codec = catalogue.codec(db, name)
    if not db.execute("SELECT FROM pg_catalog.pg_class WHERE oid = $1", ["pg_catalog.oid"], [codec.table]):
        forget_dropped(db)  # where no event trigger saw its table go
        return
    found, _ = columns.table(db, str(codec.table))
    found.must_own()
    uses = [(columns.table(db, str(use["table_oid"]))[0].shown, use["column_name"]) for use in _uses(db, codec.name)]
    if uses:
        raise errors.DependentObjects(
            f'codec "{codec.name}" is used by {len(uses)} column{"s" * (len(uses) > 1)} of codes',
            detail="\n".join(f"column {column} of table {shown}" for shown, column in uses),
            hint=f"SELECT pgembed.drop_code('{uses[0][0]}', '{uses[0][1]}') drops one; pgembed.use_code() lets searches use another first.",
        )
    existing = _existing(db, codec)
    for kind, called, owner in existing:
        _must_own(db, kind, called, owner)
    for kind, called, _ in existing:
        db.execute(f"DROP {kind} {called}")
    write(found, "DELETE FROM pgembed._codec WHERE name = $1", ["text"], [codec.name])


def said(name: str, column: Column, trained: Trained, measured: Mapping[str, Any] | None) -> str:
    """What training came to, in a line."""
    width = 2 if column.type == "halfvec" else 4
    parts = [f"{trained.codec.shape.bytes:,} bytes instead of {width * trained.codec.space.dim:,}"]
    recall = _recall(measured)
    if recall is not None:
        parts.append(f"recall@{(measured or {}).get('k', 10)} {recall:.3f} after rescoring {_SAID_RESCORE}".replace(" 0.", " ."))
    parts.append(f"trained on {trained.sample_rows:,} of {trained.table_rows:,} rows in {trained.seconds:.1f} s")
    return f"{name}: {', '.join(parts)}"


def _recall(measured: Mapping[str, Any] | None) -> float | None:
    if measured is None:
        return None
    for curve in (measured.get("hamming"), measured.get("asymmetric")):
        for rescored, recall in (curve or {}).items():
            if int(rescored) == _SAID_RESCORE:
                return float(recall)
    return None


def _measured(db: Database, column: Column, trained: Trained) -> dict[str, Any]:
    from pgembed.codes import measuring

    made: dict[str, Any] = measuring.measure(db, column, [trained.codec], trained.queries, db.check_interrupts)[0].to_json()
    return made


def _register(
    db: Database,
    write: Writer,
    column: Column,
    name: str,
    request: Request,
    made: Objects,
    trained: Trained,
    measured: Mapping[str, Any] | None,
) -> None:
    codec = trained.codec
    shape = codec.shape
    code_type = made.code_type
    if made.domain is not None:
        code_type = db.execute("SELECT pg_catalog.format_type($1::pg_catalog.regtype, NULL) AS shown", ["pg_catalog.text"], [made.domain])[
            0
        ]["shown"]
    write(
        column.table,
        "INSERT INTO pgembed._codec (name, table_name, column_name, method, options, dim, metric, model, fingerprint, kind, length,"
        " code_type, encoder, constants_function, domain, packed, queries, queries_column, seed, sample_rows, table_rows, measured)"
        " VALUES ($1, $2::oid::regclass, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
        [
            *("text", "oid", "name", "text", "jsonb", "int4", "text", "text", "text", "text", "int4"),
            *("text", "text", "text", "text", "bytea", "text", "name", "int4", "int8", "int8", "jsonb"),
        ],
        [
            *(name, column.table.oid, column.name, codec.method, json.dumps(codec.options), codec.space.dim, column.metric),
            *(column.model, column.fingerprint, shape.kind, shape.length),
            *(code_type, made.encoder, made.constants, made.domain, codec.packed),
            *(_queries_table(db, request.queries[0]), request.queries[1], request.seed, trained.sample_rows, trained.table_rows),
            None if measured is None else json.dumps(measured),
        ],
    )


def _queries_table(db: Database, target: str | None) -> str | None:
    return None if target is None else columns.table(db, target)[0].sql


def queries_of(db: Database, old: CodecRow) -> tuple[str | None, str | None]:
    """Where a codec's queries were: table, by OID, and column; the caller is told where they are gone."""
    row = db.execute(
        "SELECT queries, queries_column, pg_catalog.to_regclass(queries)::pg_catalog.oid AS oid FROM pgembed._codec WHERE name = $1",
        ["pg_catalog.text"],
        [old.name],
    )[0]
    if row["queries"] is None:
        return None, None
    if row["oid"] is None:
        db.warning(
            f'codec "{old.name}" was trained with the queries of {row["queries"]}, which does not exist any more',
            hint="The new one is trained without queries; pgembed.train_codec(..., queries => ...) names others.",
        )
        return None, None
    return str(row["oid"]), str(row["queries_column"])


def _uses(db: Database, name: str) -> list[Mapping[str, Any]]:
    """The columns of codes of a codec that still exist."""
    return list(
        db.execute(
            "SELECT c.table_name::pg_catalog.oid AS table_oid, c.column_name"
            " FROM pgembed._code AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) c.table_name"
            " AND a.attname = c.column_name"
            " AND NOT a.attisdropped WHERE c.codec = $1 ORDER BY 1, 2",
            ["pg_catalog.text"],
            [name],
        )
    )


def _existing(db: Database, codec: CodecRow) -> list[tuple[str, str, int]]:
    """The objects of a codec that exist: kind, name as DROP takes it, and owner, in an order in which they can be dropped."""
    before = codec.encoder[: -len(quote(codec.name)) - 1]
    now = db.execute(
        "SELECT n.nspname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1",
        ["pg_catalog.oid"],
        [codec.table],
    )
    for schema in dict.fromkeys([before, *(quote(row["nspname"]) for row in now)]):
        rows = db.execute(
            "SELECT 'FUNCTION' AS kind, p.oid::pg_catalog.regprocedure::pg_catalog.text AS called, p.proowner AS owner,"
            " 1 - p.pronargs AS turn FROM pg_catalog.pg_proc AS p WHERE p.oid IN (pg_catalog.to_regprocedure($2),"
            " (SELECT pg_catalog.to_regprocedure(pg_catalog.format('%s(%I.vector)', $1, n.nspname)) FROM pg_catalog.pg_extension AS x"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace WHERE x.extname = 'vector'))"
            " UNION ALL SELECT 'DOMAIN', t.oid::pg_catalog.regtype::pg_catalog.text, t.typowner, 2 FROM pg_catalog.pg_type AS t"
            " WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype($3) AND t.typtype = 'd' ORDER BY turn",
            ["pg_catalog.text"] * 3,
            [
                f"{schema}.{quote(codec.name)}",
                f"{schema}.{quote(codec.name + rendering.CONSTANTS)}()" if codec.constants_function else None,
                f"{schema}.{quote(codec.name + rendering.DOMAIN)}" if codec.domain else None,
            ],
        )
        if rows:
            return [(row["kind"], row["called"], row["owner"]) for row in rows]
    return []


def _must_own(db: Database, kind: str, called: str, owner: int) -> None:
    row = db.execute(
        "SELECT pg_catalog.pg_has_role(current_user, $1, 'USAGE') AS may, pg_catalog.pg_get_userbyid($1)::pg_catalog.text AS owner",
        ["pg_catalog.oid"],
        [owner],
    )[0]
    if not row["may"]:
        raise errors.InsufficientPrivilege(
            f"must be owner of {kind.lower()} {called}",
            hint=f'Its owner is the role "{row["owner"]}", as whom it was made; an administrator can ALTER {kind} ... OWNER TO another.',
        )


def forget_dropped(db: Database) -> None:
    """What pgembed._after_drop() does, where no event trigger has called it."""
    for row in db.execute("SELECT kind, called FROM pgembed._forget_dropped()"):
        try:
            with db.subtransaction():
                db.execute(f"DROP {row['kind']} IF EXISTS {row['called']}")
        except Exception as error:
            if getattr(error, "sqlstate", None) not in _NOT_OURS:
                raise


def _checked_name(name: str | None) -> str:
    if name is None or not name.strip():
        raise errors.NullNotAllowed("name is NULL or empty", hint="Give the codec a name; its function will have it.")
    size = len(name.encode())
    if size > rendering.MOST_NAME:
        raise errors.InvalidParameter(
            f"the name of a codec has at most {rendering.MOST_NAME} bytes, not {size}", hint="Names of what is made for it are longer."
        )
    return name


def _given(value: _T | None, what: str, hint: str) -> _T:
    if value is None:
        raise errors.NullNotAllowed(f"{what} is NULL", hint=hint)
    return value


def _must_be_free(db: Database, found: Table, name: str) -> None:
    """Raise where a codec of this name cannot be made.

    Raises:
        errors.DuplicateObject: the name is taken.
        errors.InsufficientPrivilege: the table's owner may not create in its schema.
    """
    if db.execute("SELECT FROM pgembed._codec WHERE name = $1", ["pg_catalog.text"], [name]):
        raise errors.DuplicateObject(
            f'codec "{name}" exists already',
            hint=f"Choose another name; pgembed.retrain_codec('{name}') makes one beside it, pgembed.drop_codec('{name}') drops it.",
        )
    functions, domain = [name, name + rendering.CONSTANTS], name + rendering.DOMAIN
    taken = db.execute(
        "SELECT 'function' AS kind, p.proname AS name FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n"
        " ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = ANY ($2) UNION ALL"
        " SELECT 'type', t.typname FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace"
        " WHERE n.nspname = $1 AND t.typname = $3",
        ["pg_catalog.name", "pg_catalog.name[]", "pg_catalog.name"],
        [found.schema, functions, domain],
    )
    if taken:
        raise errors.DuplicateObject(
            f'{taken[0]["kind"]} "{taken[0]["name"]}" of schema "{found.schema}" exists already, where one of this codec would be',
            hint="Choose another name.",
        )
    may = db.execute(
        "SELECT pg_catalog.has_schema_privilege($1::pg_catalog.name, $2, 'CREATE') AS may",
        ["pg_catalog.name", "pg_catalog.text"],
        [found.owner, found.schema],
    )
    if not may[0]["may"]:
        raise errors.InsufficientPrivilege(
            f'the owner of table "{found.name}" may not create in schema "{found.schema}", where its codec belongs',
            hint=f"GRANT CREATE ON SCHEMA {quote(found.schema)} TO {quote(found.owner)}.",
        )


def _next_name(db: Database, found: Table, name: str) -> str:
    """NAME_2, or the next that is free; of a codec that is itself a retrained one, by the name of the first."""
    counted = re.fullmatch(r"(.+)_([0-9]+)", name)
    known = {row["name"] for row in db.execute("SELECT name FROM pgembed._codec")}
    if counted and counted[1] in known:
        name = counted[1]
    for number in range(2, _MOST_RETRAINED):
        suffix = f"_{number}"
        made = name.encode()[: rendering.MOST_NAME - len(suffix)].decode(errors="ignore") + suffix
        try:
            _must_be_free(db, found, made)
        except errors.DuplicateObject:
            continue
        return made
    raise errors.LimitExceeded(f'codec "{name}" has a thousand successors', hint="Drop those that are not used, or give a new_name.")


def _bits(db: Database, code_type: str | None) -> str:
    """The type of codes of bits: what was asked for, or the better one of those that there are."""
    if code_type is not None and code_type not in rendering.BIT_TYPES:
        raise errors.InvalidParameter(
            f"code_type must be one of {', '.join(rendering.BIT_TYPES)}, not {code_type}", hint="binvec is the default where it exists."
        )
    exists = bool(db.execute("SELECT pg_catalog.to_regtype('pgembed.binvec') IS NOT NULL AS there")[0]["there"])
    if code_type == "binvec" and not exists:
        raise errors.NotReady("type pgembed.binvec does not exist in this database", hint="code_type => 'bit' works everywhere.")
    return code_type or ("binvec" if exists else "bit")
