"""consistent: searches in which no vector of an older text decides.

A row says itself whether its vector is of its present text (`pgembed.freshness` in SQL). ``consistency => 'fresh'`` compares stored
vectors of such rows alone. The others are found by their work index, as the caller. Where they are few, and the caller may evaluate the
source, they are embedded on the spot and ranked by their true distance; else they are left out, and a NOTICE says so. Nothing is written.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from pgembed import catalogue, errors, faults, following, text, vectors
from pgembed.columns import Column, quote
from pgembed.database import Database
from pgembed.planner.contract import Request

CONSISTENCY = ("any", "fresh")
# Rows up to which they are embedded while the search waits: four tenths of a second with a small transformer on two cores.
FEW = 100
# Vectors as text, None where the model refuses: a search that is asked again has the same stale rows.
_MADE: OrderedDict[tuple[str, bytes], str | None] = OrderedDict()
_MOST_MADE = 1000
# What a statement calls the rows that were embedded on the spot; in no scope that a filter sees.
_NOW, _ROW = quote("pgembed now"), quote("pgembed row")


@dataclass(frozen=True)
class Now:
    """Rows that were embedded for one search.

    Attributes:
        keys: as `Table.key_text` writes them; None for none.
        vectors: theirs, as pgvector writes them.
        left_out: rows that pass and are not among them, though they have a text; at least so many where ``more``.
        why: they are left out, in words that follow "because"; '' where none is.
        hint: what to do about it, or None.
    """

    keys: list[str] | None = None
    vectors: list[str] | None = None
    left_out: int = 0
    more: bool = False
    why: str = ""
    hint: str | None = None


NOTHING = Now()


def check(value: str | None) -> str:
    """The consistency that was asked for.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: there is no such.
    """
    if value is None:
        raise errors.NullNotAllowed("consistency is NULL", hint="'any' is the default, 'fresh' lets no vector of an older text decide.")
    if value not in CONSISTENCY:
        raise errors.InvalidParameter(
            f"consistency must be any or fresh, not {value}", hint="'any' is the default, 'fresh' lets no vector of an older text decide."
        )
    return value


def asked(request: Request) -> bool:
    """No vector of an older text may decide."""
    return request.consistency == "fresh"


def must_know(column: Column) -> None:
    """Raise where a view hides what its rows' vectors were made of.

    Raises:
        errors.NotSupported: it does.
    """
    if column.home is not None and column.home.hash_column is not None and column.hash_column is None:
        raise errors.NotSupported(
            f"consistency => 'fresh' needs the column \"{column.home.hash_column}\" of {column.home.table.name}, which view"
            f' "{column.table.name}" does not show',
            hint="Add it to the view as it is, by any name, or search the table itself.",
        )


def is_fresh(column: Column, alias: str | None = None) -> str:
    """SQL that is true for a row whose vector, if it has one, is of its present text; '' where nothing can be stale."""
    if column.hash_column is None:
        return ""
    at = alias or column.table.alias
    # The first part decides nearly always, and costs less. Written as it is, PostgreSQL expects nearly all rows to pass.
    return (
        f"(pg_catalog.octet_length({at}.{quote(column.hash_column)}) OPERATOR(pg_catalog.=) 16"
        f" OR {column.freshness(at)} OPERATOR(pg_catalog.<>) ALL ('{{pending,stale,failed,null_source}}'::pg_catalog.text[]))"
    )


def needs_work(column: Column) -> str:
    """SQL that is true for a row whose vector is to be made; so that PostgreSQL sees that the work index has them all."""
    return f"{column.freshness(column.table.alias)} IN ('pending', 'stale')"


def stale(column: Column, condition: str) -> str:
    """Keys of the rows that pass and need work, one more than are `FEW`; parameters ``$1`` params and ``$5``.

    Args:
        condition: what a row must pass, whatever its vectors are.
    """
    table = column.table
    key = table.key_text(table.alias) if table.keys else "NULL::pg_catalog.text"
    return f"SELECT {key} AS key FROM {table.sql} AS {table.alias}\nWHERE {condition} AND {needs_work(column)} LIMIT {FEW + 1}"


def embedded(column: Column, condition: str, places: Sequence[tuple[str, str]], distance: Callable[[str], str], *, bounded: bool) -> str:
    """The rows that were embedded on the spot, as key and distance; parameters ``$8`` keys and ``$9`` vectors as text, or NULL.

    They are found as they were when they were embedded; one that was written meanwhile is where its vector of now puts it.

    Args:
        condition: what a row must pass, whatever its vectors are.
        places: as `rendering.places`.
        distance: SQL of it, between a vector and the query.
        bounded: the distance is at most ``$4``.
    """
    table, alias = column.table, column.table.alias
    named = ", ".join(f"{alias}.{place} AS {name}" for name, place in places)
    cast = f"::{column.vector_schema}.vector" + column.from_vector
    measured = distance(f"{_NOW}.vector{cast}")
    near = f"\n    WHERE ({measured}) OPERATOR(pg_catalog.<=) $4" if bounded else ""
    return (
        f"SELECT {', '.join(f'{_ROW}.{name}' for name, _ in places)}, {measured} AS distance\n"
        f"    FROM (SELECT {named}, {table.key_text(alias)} AS key FROM {table.sql} AS {alias}\n"
        # where there are none the table is not even looked at
        f"        WHERE $8::pg_catalog.text[] IS NOT NULL AND {condition} AND {needs_work(column)}) AS {_ROW}\n"
        f"    JOIN ROWS FROM (pg_catalog.unnest($8::pg_catalog.text[]), pg_catalog.unnest($9::pg_catalog.text[])) AS {_NOW} (key, vector)\n"
        f"    ON {_NOW}.key OPERATOR(pg_catalog.=) {_ROW}.key{near}"
    )


def embed(db: Database, of: Callable[[], Column], statement: str, params: str | None, leave_out: str | None) -> Now:
    """Find the rows that pass and need work, as the caller, and embed them where that may be.

    Args:
        of: gives the column of the table or view that is searched; not asked where no row needs work.
        statement: as `stale` made it.
        params: JSON text.
        leave_out: a key.
    """
    types = ("pg_catalog.jsonb", "pg_catalog.text", "pg_catalog.text", "pg_catalog.text", "pg_catalog.text")
    found = db.execute(statement, types, [params, None, None, None, leave_out])
    if not found:
        return NOTHING
    keys = [row["key"] for row in found]
    column = of()
    home = column.home or column
    refresh = f"CALL pgembed.refresh('{home.table.shown}') embeds them"
    if len(keys) > FEW:
        return Now(left_out=FEW, more=True, why="they are too many to embed now", hint=f"{refresh}; {FEW} are embedded during a search.")
    if column.chunks is not None:
        return Now(left_out=len(keys), why="they would be embedded in chunks", hint=f"{refresh}.")
    if keys[0] is None:
        return Now(left_out=len(keys), why="the table has no primary key any more", hint=home.table.no_key().hint)
    try:
        sources, failed = _sources(db, home, keys)
    except errors.PgembedError as error:  # it may not, or nobody can: a column that the source reads is gone
        return Now(left_out=len(keys), why=error.message, hint=error.hint)
    try:
        made = _vectors(db, home, sources)
    except errors.PgembedError as error:
        return Now(left_out=len(sources) + failed, why=error.message, hint=error.hint or f"{refresh}.")
    good = [(key, vector) for (key, _), vector in zip(sources, made, strict=True) if vector is not None]
    left = failed + len(made) - len(good)
    return Now(
        keys=[key for key, _ in good] or None,
        vectors=[vector for _, vector in good] or None,
        left_out=left,
        why="their source fails, or the model refuses their text" if left else "",
        hint=f"CALL pgembed.refresh('{home.table.shown}') tells of it." if left else None,
    )


def tell(db: Database, now: Now) -> None:
    """Say that rows were left out."""
    if now.left_out:
        db.notice(said(now), hint=now.hint)


def said(now: Now) -> str:
    """How many rows were left out, and why."""
    number = f"more than {now.left_out}" if now.more else str(now.left_out)
    one = number == "1"
    return (
        f"{number} row{'' if one else 's'} that pass{'es' if one else ''} {'has' if one else 'have'} no vector of"
        f" {'its' if one else 'their'} present text, and {'is' if one else 'are'} left out: {now.why}"
    )


def image_of(db: Database, column: Column, key: str) -> bytes:
    """The image of the vector of one row's present text, which needs work.

    Raises:
        errors.NotReady: it cannot be made here.
    """
    home = column.home or column
    why, hint = "it is embedded in chunks", f"CALL pgembed.refresh('{home.table.shown}') embeds it."
    if column.chunks is None:
        try:
            sources, failed = _sources(db, home, [key])
            vector = next(iter(_vectors(db, home, sources)), None)
            if vector is not None:
                return vectors.to_image(vectors.from_text(vector))
            why = "its source fails, or the model refuses its text" if failed or sources else "it has no text any more"
            hint = hint if failed or sources else "Give it one, or search with another row, a text or a vector."
        except errors.PgembedError as error:
            why, hint = error.message, error.hint or hint
    raise errors.NotReady(f'the row of {column.table.name} with the key "{key}" has no vector of its present text: {why}', hint=hint)


def _sources(db: Database, column: Column, keys: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
    """Key and present text of rows, those without any left out, and how many rows have none because their source fails.

    Raises:
        errors.InsufficientPrivilege: the caller may not evaluate the source.
    """
    from pgembed.work import reading

    rights = _rights(db, column)
    try:
        with rights():
            found = reading.rows(db, column, keys, reading.NEEDY)
    except Exception as error:
        if isinstance(error, errors.PgembedError) or getattr(error, "sqlstate", None) != errors.InsufficientPrivilege.sqlstate:
            raise
        if column.table.may_own:
            raise errors.InsufficientPrivilege(
                f"the source of {column.label} may not do what it does: {faults.said(error)}",
                hint=f"It is evaluated with the rights of the table's owner, {column.table.owner}.",
            ) from None
        raise _no_right(column, granted=True) from None
    good = [row for row in found if not row.get("sqlstate")]
    return [(row["key"], row["source"]) for row in good if not text.is_empty(row["source"])], len(found) - len(good)


def _rights(db: Database, column: Column) -> Callable[[], AbstractContextManager[None]]:
    """With what rights the caller evaluates the source: the owner's, or its own where the owner has granted that.

    The function has the owner's rights whoever calls it, and gives text; so those whom the owner lets call it see no more than that lets
    them. What is read for it is read as the caller.
    """
    table, source = column.table, column.source_function
    if source is None:
        raise errors.InsufficientPrivilege(f"{column.label} has no source", hint=None)
    if table.may_own:
        return lambda: following.as_owner(db, table)
    granted = db.execute(
        "SELECT pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AS yes FROM pg_catalog.pg_proc AS p"
        " WHERE p.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regproc",
        ["pg_catalog.text"],
        [source.name],
    )
    if not granted or not granted[0]["yes"]:
        raise _no_right(column)
    return nullcontext


def _no_right(column: Column, *, granted: bool = False) -> errors.InsufficientPrivilege:
    """Why the caller may not evaluate the source.

    Args:
        granted: it may call the function, and not read on the table what that is called with; a view's rights to it are not the caller's.
    """
    table, source = column.table, column.source_function
    if granted and source is not None:
        read = None if source.columns is None else [*(name for name, _ in table.keys), *map(quote, source.columns)]
        held = [] if read is None else list(dict.fromkeys([*read, column.sql, quote(str(column.hash_column))]))
        listed = f" ({', '.join(held)})" if held else ""
        return errors.InsufficientPrivilege(
            f"this role may not read in {table.name} what the source of {column.label} is evaluated with",
            hint=f"The owner may allow it: GRANT SELECT{listed} ON {table.sql} TO ...; a view's right to read it is not enough.",
        )
    return errors.InsufficientPrivilege(
        f"this role may not evaluate the source of {column.label}",
        hint=f"The owner may allow it: GRANT EXECUTE ON FUNCTION {source.name if source else ''} TO ..., for those who may read what the"
        " source reads.",
    )


def _vectors(db: Database, column: Column, sources: Sequence[tuple[str, str]]) -> list[str | None]:
    """The vectors of texts, as pgvector writes them; None for a text that the model refuses.

    Raises:
        errors.PgembedError: the model is remote, is not there, or fails as a whole.
    """
    if not sources:
        return []
    if column.model is None or column.fingerprint is None:
        raise errors.NotSupported(f"{column.label} was adopted without a model", hint="Adopt it again with the model that made it.")
    if catalogue.describe(db, column.model, column.fingerprint).kind == "remote":
        raise errors.NotSupported(f"model {column.model} is called over the network, and a search does not wait for that")
    model = catalogue.resolve(db, column.model, column.fingerprint, by_backend=True)
    hashes = [hashlib.sha256(content.encode()).digest() for _, content in sources]
    fingerprint = column.fingerprint
    made = {key: _MADE[fingerprint, key] for key in hashes if (fingerprint, key) in _MADE}
    missing = {key: content for key, (_, content) in zip(hashes, sources, strict=True) if key not in made}
    while missing:
        try:
            encoded = model.encode(list(missing.values()), db.check_interrupts, "document")
        except errors.TextsRefused as refused:
            for key in [list(missing)[position] for position in refused.positions]:
                made[key] = None
                del missing[key]
            continue
        made |= {key: vectors.to_text(vector) for key, vector in zip(missing, encoded.vectors, strict=True)}
        break
    for key in hashes:
        _MADE[fingerprint, key] = made[key]
        _MADE.move_to_end((fingerprint, key))
    while len(_MADE) > _MOST_MADE:
        _MADE.popitem(last=False)
    return [made[key] for key in hashes]
