"""queries: what a codec's recall is measured with. Given ones, or drawn from the column itself.

A held-out row asks as rows do. People ask in fewer words, which are harder for codes: on 63,000 Debian packages the sign code finds .977
of the neighbours of a description within its first 100, and .909 of those of a bare name. So where the column has a source and a model that
a backend can run, some consecutive words of held-out rows ask as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pgembed import asking, catalogue, columns, errors, faults, following, sampling, text, vectors
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.following import evaluating
from pgembed.models import threads

if TYPE_CHECKING:
    from random import Random

    import numpy as np
    from numpy.typing import NDArray

Drawn = Literal["given", "held out", "parts of texts"]
Place = tuple[int, str]  # of a row: its table's OID, and its ctid as text

MOST = 300
# Of what is drawn at random a part is kept: the rest is drawn in case that PostgreSQL's share of the rows falls short.
_SURPLUS = 1.5
_WORDS = (3, 8)
# Of a text that is written without spaces.
_CHARS = (6, 20)


@dataclass(frozen=True)
class Queries:
    """Vectors to search for.

    Attributes:
        vectors: float32, shape (m, dim); none is zero.
        rows: the row that each was drawn from, which no search for it finds; None for none.
    """

    drawn: Drawn
    vectors: NDArray[np.float32]
    rows: list[Place | None]


def sample(db: Database, column: Column, dim: int, most: int, seed: int) -> tuple[list[Place], NDArray[np.float32]]:
    """Rows of a column that have a vector, drawn at random, in random order: places, and float32 (n, dim) with n at most ``most``.

    Args:
        seed: the same one draws the same rows while nobody writes the table.
    Raises:
        errors.InvalidParameter: no row has a vector.
        errors.DimensionMismatch: a vector has other dimensions.
    """
    with threads.signals_blocked():
        import numpy as np

    held = int(db.execute(f"SELECT pg_catalog.count({column.sql}) AS n FROM {column.table.sql}")[0]["n"])
    if not held:
        raise errors.InvalidParameter(
            f"{column.label} has no vectors, so there is nothing to measure on", hint=f"CALL pgembed.refresh('{column.table.shown}') first."
        )
    share = _SURPLUS * most / held
    part = f" TABLESAMPLE BERNOULLI ({100 * share}) REPEATABLE ({seed})" if share < 1 else ""
    cast = column.to_vector
    found = db.execute(
        "SELECT pg_catalog.array_agg(o) AS tables, pg_catalog.array_agg(c) AS places,"
        " pg_catalog.string_agg(b, ''::pg_catalog.bytea) AS sent"
        " FROM (SELECT t.tableoid AS o, t.ctid::pg_catalog.text AS c,"
        f" {column.vector_schema}.vector_send(t.{column.sql}{cast}) AS b"
        f" FROM {column.table.sql} AS t{part} WHERE t.{column.sql} IS NOT NULL) AS v"
    )[0]
    places = list(zip(found["tables"] or (), found["places"] or (), strict=True))
    chosen = np.random.default_rng(seed).permutation(len(places))[:most]
    made = vectors.from_send_many(found["sent"] or b"", len(places), dim)[chosen]
    return [places[at] for at in chosen], made


def drawn(db: Database, column: Column, dim: int, seed: int = 1, most: int = MOST) -> list[Queries]:
    """Queries from the column itself: held-out rows, and parts of their texts where they can be had.

    Nobody else's source is evaluated: parts of texts are for whoever owns the table. No remote model is called.

    Raises:
        errors.InvalidParameter: no row has a vector other than zero.
        errors.DimensionMismatch: a vector has other dimensions.
    """
    with threads.signals_blocked():
        import numpy as np

    # Not the rows that a codec was trained on with this seed, as far as there are others.
    places, rows = sample(db, column, dim, most, seed + 1)
    whole = np.flatnonzero(np.any(rows != 0, axis=1))
    if not len(whole):
        raise errors.InvalidParameter(f"all vectors of {column.label} are zero", hint="Codecs are measured on vectors with a direction.")
    places, rows = [places[at] for at in whole], rows[whole]
    made = [Queries("held out", rows, list(places))]
    parts = _parts(db, column, places, seed)
    return made if parts is None else [*made, parts]


def given(db: Database, column: Column, dim: int, table: str | None, name: str | None, seed: int = 1, most: int = MOST) -> Queries | None:
    """Queries of somebody's column, which are texts or vectors; None where no table is named.

    Args:
        table: a regclass as text.
        name: of the column.
        most: how many are drawn, where there are more.
    Raises:
        errors.NullNotAllowed: a table without a column, or a column without a table.
        errors.UnknownTable, errors.UnknownColumn, errors.WrongObjectType, errors.DatatypeMismatch: it is no such column.
        errors.InvalidParameter: it is empty, or a number is too great; see `sampling.must_be_moderate`.
        errors.NotSupported: texts cannot be embedded as queries here.
        errors.DimensionMismatch: vectors have other dimensions than the column's.
    """
    if table is None and name is None:
        return None
    if table is None or name is None:
        lacks, has = ("queries", "queries_column") if table is None else ("queries_column", "queries")
        raise errors.NullNotAllowed(
            f"{has} needs {lacks}", hint="queries => 'log', queries_column => 'asked' names a column of texts or vectors."
        )
    with threads.signals_blocked():
        import numpy as np

    found, _ = columns.table(db, table)
    if found.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{found.name}" is not a table', hint="Name the table behind it, or a materialized view.")
    kind = following.column_type(db, found, name)
    if kind in columns.VECTOR_TYPES:
        asked = replace(column, table=found, name=name, now=None, type=kind, chunks=None)
        _, made = sample(db, asked, dim, most, seed)
        sampling.must_be_moderate(asked, made)
        made = made[np.any(made != 0, axis=1)]
        if not len(made):
            raise errors.InvalidParameter(f"all vectors of {asked.label} are zero", hint="Name a column of queries.")
    else:
        contents = sampling.texts(db, sampling.Where(table, name), 2 * most)
        order = np.random.default_rng(seed).permutation(len(contents))[:most]
        made = _embedded(db, column, [contents[at] for at in order])
    return Queries("given", made, [None] * len(made))


def halves(asked: Queries) -> tuple[list[Queries], NDArray[np.float32] | None]:
    """Queries to measure with, and others to train with where there are so many."""
    count = max(len(asked.vectors) // 2, min(len(asked.vectors), MOST))
    kept = Queries("given", asked.vectors[-count:], asked.rows[-count:])
    others = asked.vectors[:-count]
    return [kept], others if len(others) else None


def _embedded(db: Database, column: Column, contents: list[str]) -> NDArray[np.float32]:
    if column.model is None or _is_remote(db, column):
        why = "was adopted without a model" if column.model is None else "has a remote model, which is not called for this"
        raise errors.NotSupported(
            f"{column.label} {why}, so texts can't be its queries", hint="Name a column of vectors as queries, or leave them out."
        )
    return asking.query_vectors(db, column, contents)


def _is_remote(db: Database, column: Column) -> bool:
    by = asking.way(db, column)
    return catalogue.describe(db, by.model, by.fingerprint).kind == "remote"


def _parts(db: Database, column: Column, places: list[Place], seed: int) -> Queries | None:
    """Some consecutive words of the texts of rows, as queries; None where the caller or the server can't have them."""
    if column.source_function is None or column.model is None or not column.table.may_own:
        return None
    try:
        if _is_remote(db, column):
            return None
        texts = texts_at(db, column, places)
        from random import Random

        chance = Random(seed)
        asked = [(place, part_of(found, chance)) for place, found in zip(places, texts, strict=True) if not text.is_empty(found or "")]
        if not asked:
            return None
        made = _embedded(db, column, [part for _, part in asked])
    except errors.PgembedError as error:
        db.notice(f"{column.label}: no queries of parts of texts: {error.message}", hint=error.hint)
        return None
    return Queries("parts of texts", made, [place for place, _ in asked])


def part_of(content: str | None, chance: Random) -> str:
    """Three to eight consecutive words of a text, or all where there are fewer; of a text without spaces some characters."""
    words = (content or "").split()
    if len(words) < _WORDS[0] and max(map(len, words), default=0) > _CHARS[1]:
        longest = max(words, key=len)
        size = chance.randint(*_CHARS)
        at = chance.randint(0, len(longest) - size)
        return longest[at : at + size]
    size = min(len(words), chance.randint(*_WORDS))
    at = chance.randint(0, len(words) - size)
    return " ".join(words[at : at + size])


def texts_at(db: Database, column: Column, places: list[Place]) -> list[str | None]:
    """Source texts of rows, evaluated as refresh does it: with the rights of the table's owner, whom the caller may be.

    Raises:
        errors.NotReady: the source would run with other rights, or fails for a row.
    """
    statement = (
        f"SELECT p.position, pg_catalog.left({evaluating.source_call(column)}, {sampling.MOST_CHARS}) AS source"
        " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2::pg_catalog.tid[])) WITH ORDINALITY AS p (o, c, position)"
        f" JOIN {column.table.sql} AS t ON t.ctid OPERATOR(pg_catalog.=) p.c AND t.tableoid OPERATOR(pg_catalog.=) p.o"
    )
    values = [[table for table, _ in places], [place for _, place in places]]
    try:
        with following.as_owner(db, column.table), db.subtransaction():
            found = evaluating.evaluate(db, column, statement, ["pg_catalog.oid[]", "pg_catalog.text[]"], values)
    except errors.PgembedError:
        raise
    except Exception as error:
        if not faults.is_data_error(error):
            raise
        raise errors.NotReady(
            f"the source fails for a row (SQLSTATE {faults.sqlstate_of(error)})",
            hint=f"CALL pgembed.refresh('{column.table.shown}') says which rows.",
        ) from None
    texts: list[str | None] = [None] * len(places)
    for row in found:
        texts[row["position"] - 1] = row["source"]
    return texts
