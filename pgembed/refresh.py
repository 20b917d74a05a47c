"""refresh: embeds what is pending, stale or failed, batch by batch, and counts the states of rows.

One pass over the table in the order of its key. A batch is read, embedded with no lock held, and written where the source is still the
text that was embedded; then the transaction is committed, so that an interruption loses one batch at the most. Of a column over chunks a
batch is as many rows as have so many chunks together.
"""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from pgembed import chunked, errors, following, indexing, text
from pgembed.chunks import Chunk
from pgembed.columns import Column, quote
from pgembed.database import Database, Row
from pgembed.sharing import Encoder, Shared

PROGRESS_SECONDS = 5.0
BATCH_LIMIT = 100_000
# What stands before a hash in the hash column; see sql/functions/freshness.sql.
STALE, CUT, STALE_CUT, FAILED = b"\x00", b"\x01", b"\x02", b"\xff"
# Rows of a column over chunks that are read at a time: their texts are long, and stay in memory until they are embedded.
LONG_ROWS = 50


@dataclass
class Tally:
    """What a refresh has done so far, in rows; ``sharing`` are rows, or chunks, with ``texts`` that others have, too."""

    seen: int = 0
    embedded: int = 0
    unchanged: int = 0
    null_source: int = 0
    failed: int = 0
    overtaken: int = 0
    truncated: int = 0
    chunks: int = 0
    texts: int = 0
    sharing: int = 0
    last_error: str | None = None
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)


def refresh(db: Database, column: Column, encode: Encoder, batch_size: int | None, *, build_index: bool = True) -> Tally:
    """Bring an embedded column up to date; see `pgembed.refresh` in SQL.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: batch_size is no number of rows.
        errors.NotSupported: the column has no source to embed.
        errors.InsufficientPrivilege: the caller is not the owner, with whose rights the source is evaluated.
    """
    if batch_size is None:
        raise errors.NullNotAllowed("batch_size is NULL", hint="Leave it out for the default.")
    if not 1 <= batch_size <= BATCH_LIMIT:
        raise errors.InvalidParameter(f"batch_size must be from 1 to {BATCH_LIMIT}, not {batch_size}", hint="1000 is the default.")
    if column.source_function is None:
        raise errors.NotSupported(
            f"{column.label} has no source to embed",
            hint="It was adopted without one; pgembed.alter_embedding(..., source => '...') gives it one.",
        )
    commits = db.commit()
    if not commits:
        db.notice(
            "refresh runs inside a transaction block or a function: all batches become one transaction",
            hint="CALL pgembed.refresh() by itself commits after each batch.",
        )
    with following.as_owner(db, column.table):
        total = _count(db, column)
    tally = Tally()
    shared = Shared(encode, chunked.PAGE if column.chunks else batch_size)
    after: list[str] | None = None
    limit = batch_size if column.chunks is None else min(batch_size, LONG_ROWS)
    while True:
        with following.as_owner(db, column.table):
            rows = _read(db, column, after, limit)
        for batch in _batches(db, column, shared, rows, batch_size):
            with following.as_owner(db, column.table):
                _embed_and_write(db, column, shared, batch, tally)
            tally.seen += len(batch)
            if commits:
                db.commit()
            _tell_progress(db, column, tally, total)
        if len(rows) < limit:
            break
        after = list(rows[-1]["key"])
    if build_index:
        with following.as_owner(db, column.table):
            indexing.build(db, column)
    tally.texts, tally.sharing = shared.texts, shared.sharing
    _tell_end(db, column, tally)
    return tally


def source_call(column: Column) -> str:
    """SQL for the source text of the row t."""
    assert column.source_function is not None  # checked when refresh begins
    return column.source_function.call("t", without=[column.name, str(column.hash_column)])


def _needs_work(column: Column, alias: str) -> str:
    return f"{column.freshness(alias)} IN ('pending', 'stale', 'failed')"


def _count(db: Database, column: Column) -> int:
    statement = f"SELECT pg_catalog.count(*) AS n FROM {column.table.sql} AS t WHERE {_needs_work(column, 't')}"
    return int(db.execute(statement)[0]["n"])


def _read(db: Database, column: Column, after: list[str] | None, limit: int) -> list[Row]:
    """The next rows in need of work: key (one text a column), source, stored hash. A row whose source fails has its SQLSTATE instead."""
    keys = column.table.keys
    names = ", ".join(f"t.{name}" for name, _ in keys)
    texts = ", ".join(f"t.{name}::pg_catalog.text" for name, _ in keys)
    beyond = ", ".join(f"$1[{position}]::{kind}" for position, (_, kind) in enumerate(keys, 1))

    def chosen(source: str) -> str:
        return (
            f"SELECT ARRAY[{texts}] AS key, t.{quote(str(column.hash_column))} AS hash, {source} AS source"
            f" FROM {column.table.sql} AS t WHERE {_needs_work(column, 't')}"
        )

    order = f" ORDER BY {names} LIMIT {limit}"
    evaluated = chosen(source_call(column))
    page = f" AND ({names}) > ({beyond})" if after is not None else ""
    types, values = (["pg_catalog.text[]"], [after]) if after is not None else ([], [])
    try:
        with db.subtransaction():
            return evaluate(db, column, evaluated + page + order, types, values)
    except Exception as error:
        if not is_data_error(error):
            raise
    # Some row's source fails: the page is read without sources, then each row's by itself.
    rows = db.execute(chosen("NULL") + page + order, types, values)
    return [_read_one(db, column, evaluated, row) for row in rows]


def _read_one(db: Database, column: Column, evaluated: str, row: Row) -> Row:
    keys = column.table.keys
    same = " AND ".join(f"t.{name} = $1[{position}]::{kind}" for position, (name, kind) in enumerate(keys, 1))
    try:
        with db.subtransaction():
            found = evaluate(db, column, f"{evaluated} AND {same}", ["pg_catalog.text[]"], [row["key"]])
            return found[0] if found else {**row, "gone": True}
    except Exception as error:
        if not is_data_error(error):
            raise
        return {**row, "error": getattr(error, "sqlstate", None)}


def evaluate(db: Database, column: Column, statement: str, types: Sequence[str], values: Sequence[object]) -> list[Row]:
    """Run a statement that evaluates the source, where that has no rights but the table owner's.

    Having become the owner is not enough: what runs under SET ROLE may RESET it, but not inside of a SECURITY DEFINER function. The
    owner could have changed the function, also while an earlier statement evaluated it.
    """
    assert column.source_function is not None
    found = db.execute(
        "SELECT p.prosecdef AND p.proowner = t.relowner AS fenced FROM pg_catalog.pg_proc AS p, pg_catalog.pg_class AS t"
        " WHERE p.oid = $1::pg_catalog.regproc AND t.oid = $2",
        ["pg_catalog.text", "pg_catalog.oid"],
        [column.source_function.name, column.table.oid],
    )
    if not found or not found[0]["fenced"]:
        raise errors.NotReady(
            f"the source of {column.label} would not be evaluated with the rights of the table's owner",
            hint=f"After a change of owner: ALTER ROUTINE {column.source_function.name} OWNER TO {quote(column.table.owner)}, and so for"
            f" {column.trigger_function}. Else pgembed.alter_embedding(..., source => '...') makes the function anew.",
        )
    return db.execute(statement, types, values)


def is_data_error(error: Exception) -> bool:
    """An error of the row's data or of the source's own code, not of the server, a lock, a limit or a cancel."""
    sqlstate = getattr(error, "sqlstate", None)
    return isinstance(sqlstate, str) and sqlstate[:2] in ("22", "23", "38", "39", "P0", "2F", "21")


def _batches(db: Database, column: Column, encode: Encoder, rows: list[Row], size: int) -> Iterator[list[Row]]:
    """Rows that are embedded and written together: those of a column over chunks have their chunks with them."""
    if column.chunks is None:
        yield from [rows] if rows else []
        return
    batch: list[Row] = []
    parts = 0
    for row in rows:
        made: list[Chunk] = []
        if not text.is_empty(row["source"]) and not _is_back(row):
            made = encode.split(row["source"], column.chunks.tokens, column.chunks.overlap, db.check_interrupts)
        if batch and parts + len(made) > size:
            yield batch
            batch, parts = [], 0
        batch.append({**row, "chunks": made})
        parts += len(made)
    if batch:
        yield batch


def _is_back(row: Row) -> bool:
    """A text that changed and changed back: its vectors are its own."""
    stored = row["hash"]
    return stored is not None and len(stored) == 17 and stored[:1] in (STALE, STALE_CUT) and bool(stored[1:] == _hash(row["source"]))


def _embed_and_write(db: Database, column: Column, encode: Encoder, rows: list[Row], tally: Tally) -> None:
    bad = [row for row in rows if row.get("error")]
    good = [row for row in rows if not row.get("error") and not row.get("gone")]
    empty = [row for row in good if text.is_empty(row["source"])]
    full = [row for row in good if not text.is_empty(row["source"])]
    back = [row for row in full if _is_back(row)]
    changed = [row for row in full if not _is_back(row)]
    written, truncated, refused = _write_all(db, column, encode, changed, tally)
    hashes = [_hash(row["source"]) for row in back]
    restored = [(CUT if row["hash"][:1] == STALE_CUT else b"") + made for row, made in zip(back, hashes, strict=True)]
    backs = len(_mark(db, column, [row["key"] for row in back], restored, hashes))
    nothing = [None if row["source"] is None else _hash(row["source"]) for row in empty]
    cleared = _mark(db, column, [row["key"] for row in empty], [b""] * len(empty), nothing, clear=True)
    if column.chunks is not None:
        chunked.replace(db, column, [empty[at]["key"] for at in cleared], [[]] * len(cleared), [[]] * len(cleared))
    nulls = len(cleared)
    _mark(db, column, [row["key"] for row in bad], [FAILED] * len(bad), None)
    tally.embedded += written
    tally.overtaken += len(changed) - written - refused + len(back) - backs + len(empty) - nulls
    tally.unchanged += backs
    tally.null_source += nulls
    tally.failed += len(bad) + refused
    tally.truncated += truncated
    if bad:
        tally.last_error = f"SQLSTATE {bad[-1]['error']} while the source was evaluated"


def _write_all(db: Database, column: Column, encode: Encoder, rows: list[Row], tally: Tally) -> tuple[int, int, int]:
    """Embed and write all rows but those whose texts the model refuses, which fail.

    Returns:
        How many rows were written, how many of the texts were cut, and how many rows failed.
    """
    write = _write if column.chunks is None else _write_chunks
    try:
        return (*write(db, column, encode, rows, tally), 0)
    except errors.TextsRefused as refused:
        failed = [rows[at] for at in refused.positions]
        rest = [row for at, row in enumerate(rows) if at not in set(refused.positions)]
        tally.last_error = f"SQLSTATE {refused.sqlstate}, the model has no vector for the text: {refused.reason}"
    _mark(db, column, [row["key"] for row in failed], [FAILED] * len(failed), [_hash(row["source"]) for row in failed])
    written, cut, more = _write_all(db, column, encode, rest, tally)
    return written, cut, len(failed) + more


def _write(db: Database, column: Column, encode: Encoder, rows: list[Row], _: Tally) -> tuple[int, int]:
    """Embed rows, and write the vectors where the source is still the text they are made of.

    Returns:
        How many rows were written, and how many of the texts were cut.
    """
    if not rows:
        return 0, 0
    images, cut = encode.encode([row["source"] for row in rows], db.check_interrupts)
    hashes = [_hash(row["source"]) for row in rows]
    hashed = quote(str(column.hash_column))
    types, arrays, named, join = _key_arrays(column, [row["key"] for row in rows], 4)
    cast = "" if column.type == "vector" else f"::{column.vector_schema}.{column.type}"
    done = evaluate(
        db,
        column,
        f"WITH made AS (SELECT * FROM {_unnest('$1', '$2', '$3', *named[0])} AS m (image, hash, cut, {', '.join(named[1])})),"
        f" written AS (UPDATE {column.table.sql} AS t SET {column.sql} = pgembed._vector(m.image){cast}, {hashed} = m.cut || m.hash"
        f" FROM made AS m WHERE {join} AND pgembed._source_hash({source_call(column)}) = m.hash RETURNING 1)"
        " SELECT pg_catalog.count(*) AS n FROM written",
        ["pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.bytea[]", *types],
        [images, hashes, [CUT if is_cut else b"" for is_cut in cut], *arrays],
    )
    return int(done[0]["n"]), sum(cut)


def _write_chunks(db: Database, column: Column, encode: Encoder, rows: list[Row], tally: Tally) -> tuple[int, int]:
    """As `_write`, of rows with their chunks: the chunks of a row are replaced where its source is still the text they are of."""
    if not rows:
        return 0, 0
    texts = [[row["source"][chunk.start : chunk.end] for chunk in row["chunks"]] for row in rows]
    flat = [one for of_row in texts for one in of_row]
    try:
        images, cut = encode.encode(flat, db.check_interrupts)
    except errors.TextsRefused as refused:
        ends = list(accumulate(map(len, texts)))
        of_rows = sorted({bisect_right(ends, position) for position in refused.positions})
        raise errors.TextsRefused(refused.message, positions=tuple(of_rows), reason=refused.reason, hint=refused.hint) from None
    ends = [0, *accumulate(map(len, texts))]
    row_cut = [any(cut[begin:end]) for begin, end in pairwise(ends)]
    hashes = [_hash(row["source"]) for row in rows]
    hashed = quote(str(column.hash_column))
    types, arrays, named, join = _key_arrays(column, [row["key"] for row in rows], 4)
    done = evaluate(
        db,
        column,
        f"WITH made AS (SELECT * FROM {_unnest('$1', '$2', '$3', *named[0])} AS m (hash, cut, position, {', '.join(named[1])}))"
        f" UPDATE {column.table.sql} AS t SET {hashed} = m.cut || m.hash FROM made AS m"
        f" WHERE {join} AND pgembed._source_hash({source_call(column)}) = m.hash RETURNING m.position",
        ["pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.int4[]", *types],
        [hashes, [CUT if is_cut else b"" for is_cut in row_cut], list(range(len(rows))), *arrays],
    )
    # The update has locked the rows.
    places = sorted(row["position"] for row in done)
    chunked.replace(
        db,
        column,
        [rows[at]["key"] for at in places],
        [[(part.start, part.end, content) for part, content in zip(rows[at]["chunks"], texts[at], strict=True)] for at in places],
        [images[ends[at] : ends[at + 1]] for at in places],
    )
    tally.chunks += sum(len(texts[at]) for at in places)
    return len(places), sum(row_cut)


def _mark(
    db: Database, column: Column, keys: list[list[str]], hashes: list[bytes], read: Sequence[bytes | None] | None, *, clear: bool = False
) -> list[int]:
    """Write the hash column where the source is still what was read; return the positions of the rows written, among the keys.

    Args:
        read: hashes of the sources as they were read; None where they fail, which is not tried again.
        clear: take the vectors away: they are of texts that the rows no longer have.
    """
    if not keys:
        return []
    hashed = quote(str(column.hash_column))
    types, arrays, named, join = _key_arrays(column, keys, 4)
    vector = f", {column.sql} = NULL" if clear and column.chunks is None else ""
    still = f" AND pgembed._source_hash({source_call(column)}) IS NOT DISTINCT FROM m.read" if read is not None else ""
    rows = evaluate(
        db,
        column,
        f"WITH made AS (SELECT * FROM {_unnest('$1', '$2', '$3', *named[0])} AS m (hash, read, position, {', '.join(named[1])}))"
        f" UPDATE {column.table.sql} AS t SET {hashed} = m.hash{vector} FROM made AS m WHERE {join}{still} RETURNING m.position",
        ["pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.int4[]", *types],
        [hashes, [None] * len(keys) if read is None else list(read), list(range(len(keys))), *arrays],
    )
    return sorted(row["position"] for row in rows)


def _hash(source: str) -> bytes:
    """What `pgembed._source_hash` makes of a text."""
    return hashlib.sha256(source.encode()).digest()[:16]


def _key_arrays(column: Column, keys: list[list[str]], first: int) -> tuple[list[str], list[list[str]], tuple[list[str], list[str]], str]:
    """Keys as one array of texts a key column: types, values, (parameters, names) and the join condition between t and m."""
    described = column.table.keys
    types = ["pg_catalog.text[]"] * len(described)
    arrays = [[key[position] for key in keys] for position in range(len(described))]
    parameters = [f"${first + position}" for position in range(len(described))]
    names = [f"k{position}" for position in range(len(described))]
    join = " AND ".join(f"t.{name} = m.k{position}::{kind}" for position, (name, kind) in enumerate(described))
    return types, arrays, (parameters, names), join


def _unnest(*parameters: str) -> str:
    """Arrays side by side; the short form, unnest(a, b), is only there for the unqualified name."""
    return f"ROWS FROM ({', '.join(f'pg_catalog.unnest({parameter})' for parameter in parameters)})"


def _tell_progress(db: Database, column: Column, tally: Tally, total: int) -> None:
    now = time.monotonic()
    if now - tally.told < PROGRESS_SECONDS or tally.seen >= total:
        return
    tally.told = now
    rate = tally.seen / (now - tally.started)
    left = (total - tally.seen) / rate if rate else 0.0
    db.notice(f"{column.label}: {tally.seen} of {total} rows, {rate:.0f} rows a second, about {left:.0f} s to go")


def _tell_end(db: Database, column: Column, tally: Tally) -> None:
    seconds = time.monotonic() - tally.started
    shared = (
        f" ({tally.sharing} of them share {tally.texts} text{'s, each' if tally.texts > 1 else ','} embedded once)" if tally.texts else ""
    )
    parts = [f"{tally.embedded} rows embedded" + (f" in {tally.chunks} chunks" if column.chunks else "") + shared]
    parts += [f"{tally.unchanged} had their old text again"] if tally.unchanged else []
    parts += [f"{tally.null_source} without text"] if tally.null_source else []
    parts += [f"{tally.overtaken} changed meanwhile and are still stale"] if tally.overtaken else []
    db.notice(f"{column.label}: {', '.join(parts)} in {seconds:.1f} s")
    if tally.truncated:
        db.notice(
            f"{column.label}: {tally.truncated} texts were longer than the model reads; their ends are not in the vectors",
            hint="pgembed.token_count(text) tells a text's length, pgembed.models.max_tokens the limit; add_embedding(..., chunk_tokens =>"
            f" 200) embeds a text in parts. Rows where pgembed.truncated({quote(str(column.hash_column))}).",
        )
    if tally.failed:
        db.warning(
            f"{column.label}: {tally.failed} rows failed, the last with {tally.last_error}",
            hint=f"Rows where {column.freshness('t').replace('t.', '')} = 'failed'; mend them and refresh again.",
        )


def states(db: Database, column: Column) -> Row | None:
    """Counts of a column's rows by state, as the caller sees them; None where the caller may not read them.

    Where row security is active for the caller nothing is counted: neither would hidden rows be told apart, nor should a policy of
    somebody else's run because a view of ours was read.
    """
    found = column.table
    hashed = [column.hash_column] if column.hash_column else []
    allowed = db.execute(
        "SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND c.relispopulated"
        " AND NOT pg_catalog.row_security_active(c.oid)"
        " AND (SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = ANY ($2)) AS yes"
        " FROM pg_catalog.pg_class AS c WHERE c.oid = $1",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [found.oid, [*hashed] if column.chunks else [column.name, *hashed]],
    )
    if not allowed or not allowed[0]["yes"]:
        return None
    state = column.freshness("t")
    counts = ", ".join(
        f"pg_catalog.count(*) FILTER (WHERE s = '{name}') AS {name}" for name in ("fresh", "stale", "pending", "failed", "null_source")
    )
    is_cut = f"pgembed.truncated(t.{quote(column.hash_column)})" if column.hash_column else "false"
    inner = f"SELECT {state} AS s, {is_cut} AS c FROM {found.sql} AS t OFFSET 0"
    counted = dict(
        db.execute(
            f"SELECT pg_catalog.count(*) AS rows, {counts}, pg_catalog.count(*) FILTER (WHERE c) AS truncated FROM ({inner}) AS counted"
        )[0]
    )
    counted["chunks"] = None if column.chunks is None else chunked.count(db, column.chunks)
    return counted
