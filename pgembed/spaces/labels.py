"""labels: an adapter of low rank from a user's own pairs of a query and a row, with what it gains on queries that it has not seen.

It changes queries only, from one moment to the next, and rows stay as they are. Or it changes queries and rows, and becomes a model of its
own: then rows are compared with each other by what the labels say, too, and they have to be embedded anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import asking, columns, errors, faults, registration, sampling, text, vectors
from pgembed.asking import adapters
from pgembed.codes import queries
from pgembed.columns import Column, Table, Writer, quote
from pgembed.database import Database
from pgembed.models import threads
from pgembed.spaces import lowrank, measuring

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PAIRS = 50_000
FEWEST_QUERIES = 30
_HELD_SHARE, _MOST_HELD = 1 / 3, 1000
_POOL_BYTES = 64 << 20
K = 10


@dataclass(frozen=True)
class Request:
    """What a call asks for.

    Attributes:
        pairs: a table, as regclass writes it.
        query_column, key_column, label_column: of it: a text; the key of a row as text; whether the two belong together, a boolean or a
            number of which what is above 0 says yes. label_column is None where all do.
        new_model: name of the model that queries and rows are to be embedded with; None for an adapter of the queries.
    """

    pairs: str | None
    query_column: str | None
    key_column: str | None
    label_column: str | None
    rank: int | None
    seed: int | None
    new_model: str | None = None


@dataclass(frozen=True)
class Gain:
    """A measure on held-back queries: before, after, and how many queries; ``installed``: the adapter is in force, the model registered."""

    measure: str
    before: float
    after: float
    queries: int
    installed: bool


def fit(db: Database, write: Writer, column: Column, ask: Request) -> list[Gain]:
    """Fit an adapter, measure it, and put it in force, or make a model of it, where it helps; see `pgembed.fit_adapter` in SQL.

    It helps where the mean gain in MRR on held-back queries is greater than its standard error and recall does not fall.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: an argument is out of range, or there are too few labelled queries.
        errors.NotSupported: the column is over chunks, or was adopted without a model.
        errors.DuplicateObject: the column has an adapter; or new_model is installed.
        errors.InsufficientPrivilege: only a superuser makes models.
        errors.UnknownColumn, errors.DatatypeMismatch, errors.WrongObjectType, errors.StatementRefused: pairs is no such table.
    """
    with threads.signals_blocked():
        import numpy as np

    for name in ("pairs", "query_column", "key_column", "rank", "seed"):
        if getattr(ask, name) is None:
            raise errors.NullNotAllowed(f"{name} is NULL", hint="pairs is a table with a column query of texts and a column key of keys.")
    column.one_vector("fit_adapter()")
    model = asking.column_model(db, column, by_backend=True)
    dim = model.info.dim
    assert ask.rank is not None
    assert ask.seed is not None
    if not 1 <= ask.rank <= dim:
        raise errors.InvalidParameter(f"rank must be from 1 to {dim}, not {ask.rank}", hint="8 is the default; few labels bear few ranks.")
    adapters.must_be_free(db, column)
    both = ask.new_model is not None
    if ask.new_model is not None:
        registration.may_register(db, ask.new_model)
    labelled = _labelled(db, column, ask, model.info.dim)
    order = np.random.default_rng(ask.seed).permutation(len(labelled.asked)).tolist()
    count = min(_MOST_HELD, round(_HELD_SHARE * len(order)))
    made = [
        model.encode(labelled.asked[start : start + 256], db.check_interrupts, "query").vectors
        for start in range(0, len(labelled.asked), 256)
    ]
    whole = lowrank.Labelled(np.concatenate(made), labelled.rows, labelled.near, labelled.far)
    held, training = whole.some(order[:count]), whole.some(order[count:])
    normalized = model.info.normalized
    found = lowrank.fit(training, ask.rank, column.metric, ask.seed, normalized=normalized, both=both, check=db.check_interrupts)
    before, after = (
        measuring.ranks(asked, measuring.Rows(rows, column.metric), held.near, db.check_interrupts)
        for asked, rows in ((held.queries, held.rows), (found.apply(held.queries), found.apply(held.rows) if both else held.rows))
    )
    recalls = [float(measuring.recalls(one, K).mean()) for one in (before, after)]
    rises = measuring.reciprocals(after, K) - measuring.reciprocals(before, K)
    means = [float(measuring.reciprocals(one, K).mean()) for one in (before, after)]
    helps = float(rises.mean()) > float(rises.std(ddof=1)) / count**0.5 and recalls[1] >= recalls[0]
    if helps and ask.new_model is not None:
        registration.register_adapted(db, ask.new_model, model.info, found.whole())
        db.notice(
            f"model {ask.new_model} gives what {model.info.name} gives, changed as the labels say",
            hint=f"CALL pgembed.change_model('{column.table.shown}', '{ask.new_model}', '{column.name}') embeds the rows of {column.label}"
            " with it, and shows what moves before it switches.",
        )
    elif helps:
        measured: dict[str, object] = {
            "queries": count,
            "rows": len(held.rows),
            "recall_10_before": recalls[0],
            "recall_10": recalls[1],
            "mrr_10_before": means[0],
            "mrr_10": means[1],
        }
        adapters.save(db, write, column, found, "low_rank", "softmax", (model.info.name, model.info.fingerprint), measured)
        db.notice(
            f"queries of {column.label} go through the adapter from now on",
            hint=f"SELECT pgembed.drop_adapter('{column.table.shown}', '{column.name}') takes it back.",
        )
    else:
        what = "model is not made" if both else "adapter is not installed"
        db.warning(
            f"the {what}: on {count} held-back queries it gains nothing that could not be chance",
            hint="More labelled queries, or a smaller rank, may help.",
        )
    return [Gain("recall@10", recalls[0], recalls[1], count, helps), Gain("MRR@10", means[0], means[1], count, helps)]


@dataclass(frozen=True)
class _Pairs:
    """Texts of queries, and the rows that belong to each, as `lowrank.Labelled` has them."""

    asked: list[str]
    rows: NDArray[np.float32]
    near: list[list[int]]
    far: list[list[int]]


def _labelled(db: Database, column: Column, ask: Request, dim: int) -> _Pairs:
    import numpy as np

    read = _read(db, ask)
    keys = sorted({key for _, key, _ in read})
    found = _vectors(db, column, keys)
    places = {key: place for place, key in enumerate(key for key in keys if found.get(key) is not None)}
    near: dict[str, set[int]] = {}
    far: dict[str, set[int]] = {}
    for query, key, label in read:
        if key in places:
            (near if label else far).setdefault(query, set()).add(places[key])
    lost = sum(key not in places for _, key, _ in read)
    if lost:
        db.notice(f"{lost} of {len(read)} pairs are left out: no row of {column.table.name} that has a vector has their key")
    asked = sorted(near)
    if len(asked) < FEWEST_QUERIES:
        raise errors.InvalidParameter(
            f"only {len(asked)} queries have a row that should be near, expected at least {FEWEST_QUERIES}",
            hint="Pairs count where the row has a vector, the query has words, and the label is true or above 0.",
        )
    labelled = np.stack([vectors.from_send(found[key] or b"", dim) for key in places])
    # the rest of the table: rows that a query must not be nearer to
    others = queries.sample(db, column, dim, max(1000, _POOL_BYTES // (4 * dim)), ask.seed or 0)[1]
    known = {row.tobytes() for row in labelled}
    rows = np.concatenate([labelled, *([row[None, :] for row in others if row.tobytes() not in known])])
    sampling.must_be_moderate(column, rows)
    # what is labelled both ways is near
    return _Pairs(asked, rows, [sorted(near[one]) for one in asked], [sorted(far.get(one, set()) - near[one]) for one in asked])


def _read(db: Database, ask: Request) -> list[tuple[str, str, bool]]:
    """The pairs: query, key, and whether they belong together; those without words, key or label are left out."""
    found, _ = columns.table(db, ask.pairs)
    if found.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{found.name}" is not a table', hint="Name the table behind it, or a materialized view.")
    query, key = (_column(db, found, name, kind) for name, kind in ((ask.query_column, "S"), (ask.key_column, "SNU")))
    label = "true"
    if ask.label_column is not None:
        name = _column(db, found, ask.label_column, "BN")
        label = f"pg_catalog.coalesce({name}::pg_catalog.text IN ('true', 't'), false)"
        if _category(db, found, ask.label_column) == "N":
            label = f"{name} OPERATOR(pg_catalog.>) 0"
        label = f"CASE WHEN {name} IS NOT NULL THEN {label.replace('pg_catalog.coalesce', 'coalesce')} END"
    rows = db.execute(
        f"SELECT pg_catalog.left({query}::pg_catalog.text, {sampling.MOST_CHARS}) AS query, {key}::pg_catalog.text AS key, {label} AS label"
        f" FROM {found.sql} AS t WHERE {query} IS NOT NULL AND {key} IS NOT NULL LIMIT {MOST_PAIRS}"
    )
    return [(row["query"], row["key"], row["label"]) for row in rows if row["label"] is not None and not text.is_empty(row["query"])]


def _category(db: Database, found: Table, name: str) -> str | None:
    """The category of a column's type, where it is one of PostgreSQL's own: the cast of another may run somebody's code; else ''."""
    rows = db.execute(
        "SELECT CASE WHEN y.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace THEN y.typcategory::pg_catalog.text"
        " ELSE '' END AS kind FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attname OPERATOR(pg_catalog.=) $2 AND a.attnum OPERATOR(pg_catalog.>) 0"
        " AND NOT a.attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    return rows[0]["kind"] if rows else None


def _column(db: Database, found: Table, name: str | None, kinds: str) -> str:
    """A column of the table of pairs, in SQL; its type must be of one of some categories."""
    kind = _category(db, found, str(name))
    if kind is None:
        raise errors.UnknownColumn(
            f'column "{name}" of table "{found.name}" does not exist',
            hint="query_column, key_column and label_column say what the columns of pairs are called.",
        )
    if not kind or kind not in kinds:
        wanted = {"S": "text", "SNU": "a key: text, a number, uuid or jsonb", "BN": "boolean or a number"}[kinds]
        raise errors.DatatypeMismatch(f'column "{name}" of table "{found.name}" is not {wanted}', hint="Cast it in a table of its own.")
    return f"t.{quote(str(name))}"


def _vectors(db: Database, column: Column, keys: list[str]) -> dict[str, bytes | None]:
    """What vector_send() makes of the vectors of the rows that have these keys."""
    cast = column.to_vector
    with faults.keys_of(column.table.name), db.subtransaction():
        rows = db.execute(
            f"SELECT p.key, {column.vector_schema}.vector_send(t.{column.sql}{cast}) AS sent FROM pg_catalog.unnest($1) AS p (key)"
            f" JOIN {column.table.sql} AS t ON {column.table.key_matches('t', 'p.key')}",
            ["pg_catalog.text[]"],
            [keys],
        )
    return {row["key"]: row["sent"] for row in rows}
