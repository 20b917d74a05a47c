"""writing: vectors and states of rows, where their source is still the text that was read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pgembed import chunked, errors, text
from pgembed.chunks import Chunk
from pgembed.columns import Column, quote
from pgembed.database import Database, Row
from pgembed.following import evaluating
from pgembed.work import reading
from pgembed.work.failures import Failure
from pgembed.work.reading import CUT, FAILED, HAND, STALE, STALE_CUT, STALE_HAND
from pgembed.work.tally import Tally


class Changed(Exception):
    """The column is another one now than when its rows were read: of another model or source, renamed, or gone."""


@dataclass
class Made:
    """A row and what was made of it: an image and whether the text was cut, for each chunk of a column over chunks."""

    row: Row
    images: list[bytes]
    cut: list[bool]
    chunks: list[Chunk]


@dataclass
class Batch:
    """Rows as they were read, by what is to be done with them.

    Attributes:
        broken: their sources fail.
        empty: they have no text.
        back: the text changed and changed back, so that the vectors are its own.
        changed: they are to be embedded.
    """

    broken: list[Row]
    empty: list[Row]
    back: list[Row]
    changed: list[Row]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Batch:
        """Sort rows."""
        good = [row for row in rows if not row.get("error")]
        full = [row for row in good if not text.is_empty(row["source"])]
        return cls(
            [row for row in rows if row.get("error")],
            [row for row in good if text.is_empty(row["source"])],
            [row for row in full if _is_back(row)],
            [row for row in full if not _is_back(row)],
        )


def hash_of(source: str) -> bytes:
    """What `pgembed._source_hash` makes of a text."""
    return hashlib.sha256(source.encode()).digest()[:16]


# What stands before the hash of a text that changed and changed back, and what did before.
_RESTORED = {STALE: b"", STALE_CUT: CUT, STALE_HAND: HAND}


def _is_back(row: Row) -> bool:
    stored = row["hash"]
    return stored is not None and len(stored) == 17 and stored[:1] in _RESTORED and bool(stored[1:] == hash_of(row["source"]))


def is_other(row: Row) -> bool:
    """Whether a fresh row, or one without a text, has another source text now than the one that its hash column knows."""
    if row.get("error"):
        return True
    stored = row["hash"]
    if stored is None:
        return False  # a vector adopted as it was: nobody knows of what
    if not stored:
        return not text.is_empty(row["source"])
    return text.is_empty(row["source"]) or bool(stored[-16:] != hash_of(row["source"]))


def stale(row: Row) -> bytes:
    """What the hash column of such a row says from now on, as `pgembed._hash_stale` makes it."""
    stored = row["hash"]
    if not stored or len(stored) < 16:
        return STALE
    return bytes((STALE_CUT if len(stored) == 17 and stored[:1] == CUT else STALE) + stored[-16:])


def check(db: Database, column: Column) -> None:
    """Make sure that the column is still what it was when it was described, and that it stays so until the transaction ends.

    Raises:
        Changed: it is not.
    """
    # Who changes what a column is made of locks the table against writers first. Only the table itself: partitions follow it.
    db.execute(f"LOCK TABLE ONLY {column.table.sql} IN ROW EXCLUSIVE MODE")
    same = db.execute(
        "SELECT FROM pgembed._embedding AS e JOIN pg_catalog.pg_attribute AS a"
        " ON a.attrelid OPERATOR(pg_catalog.=) e.table_name AND a.attname = e.hash_column"
        " WHERE e.table_name OPERATOR(pg_catalog.=) $1 AND e.column_name = $2 AND NOT a.attisdropped"
        " AND e.fingerprint IS NOT DISTINCT FROM $3"
        " AND e.source_function IS NOT DISTINCT FROM $4 AND e.hash_column IS NOT DISTINCT FROM $5"
        " AND (e.chunk_tokens, e.chunk_overlap) IS NOT DISTINCT FROM ($6, $7)",
        [
            "pg_catalog.oid",
            "pg_catalog.name",
            "pg_catalog.text",
            "pg_catalog.text",
            "pg_catalog.name",
            "pg_catalog.int4",
            "pg_catalog.int4",
        ],
        [
            *(column.table.oid, column.name, column.fingerprint),
            column.source_function.name if column.source_function else None,
            column.hash_column,
            *((column.chunks.tokens, column.chunks.overlap) if column.chunks else (None, None)),
        ],
    )
    if not same:
        raise Changed


def write(
    db: Database, column: Column, batch: Batch, made: Sequence[Made], refused: Sequence[tuple[Row, Failure]], tally: Tally
) -> tuple[list[str], list[Failure]]:
    """Write what was made of a batch, in the transaction of now, as the table's owner, after `check`.

    Args:
        refused: rows that no vector could be made of, and why.
    Returns:
        Keys of the rows that were not written, because they have changed meanwhile or something of the table's own undoes it; and
        those of which it was written that they failed.
    """
    missed: list[str] = []
    places = _write_chunks(db, column, made, tally) if column.chunks else _write_vectors(db, column, made)
    missed += _others(made, places)
    tally.embedded += len(places)
    tally.truncated += sum(any(made[at].cut) for at in places)
    hashes = [hash_of(row["source"]) for row in batch.back]
    restored = [_RESTORED[row["hash"][:1]] + known for row, known in zip(batch.back, hashes, strict=True)]
    backs = mark(db, column, batch.back, restored, hashes)
    nothing = [None if row["source"] is None else hash_of(row["source"]) for row in batch.empty]
    cleared = mark(db, column, batch.empty, [b""] * len(nothing), nothing, clear=True)
    keys = [row["key"] for row in batch.empty]
    if column.chunks is not None:
        chunked.replace(db, column, [split_key(db, column, keys[at]) for at in cleared], [[]] * len(cleared), [[]] * len(cleared))
    bad = [row for row, _ in refused]
    failed = [refused[at][1] for at in mark(db, column, bad, [FAILED] * len(bad), [hash_of(row["source"]) for row in bad])]
    if failed:
        tally.last_error = f"SQLSTATE {failed[-1].sqlstate}, {failed[-1].public}"
    why = [Failure(row["key"], row["sqlstate"], row["error"], "while the source was evaluated") for row in batch.broken]
    broken = [why[at] for at in mark(db, column, batch.broken, [FAILED] * len(why), None)]
    if broken:
        tally.last_error = f"SQLSTATE {broken[-1].sqlstate} {broken[-1].public}"
    failed += broken
    written = {failure.key for failure in failed}
    missed += [row["key"] for row in (*batch.broken, *bad) if row["key"] not in written]
    missed += [row["key"] for at, row in enumerate(batch.back) if at not in set(backs)]
    missed += [key for at, key in enumerate(keys) if at not in set(cleared)]
    tally.unchanged += len(backs)
    tally.null_source += len(cleared)
    tally.failed += len(failed)
    tally.overtaken += len(missed)
    return missed, failed


def _is_same(column: Column) -> str:
    """SQL that is true where the source of t is still the text of the hash in m. Written so that no join can be made by it: that would
    evaluate the sources of all rows of the table."""
    return f"(pgembed._source_hash({evaluating.source_call(column)}) = m.hash) IS TRUE"


def _others(made: Sequence[Made], places: Sequence[int]) -> list[str]:
    written = set(places)
    return [one.row["key"] for at, one in enumerate(made) if at not in written]


def _write_vectors(db: Database, column: Column, made: Sequence[Made]) -> list[int]:
    """Write vectors where the source is still the text they are made of; the places of the rows written."""
    if not made:
        return []
    hashed = quote(str(column.hash_column))
    cast = column.from_vector
    done = evaluating.evaluate(
        db,
        column,
        f"WITH made AS (SELECT * FROM {_unnest('$1', '$2', '$3', '$4', '$5')} AS m (key, image, hash, cut, position))"
        f" UPDATE {column.table.sql} AS t SET {column.sql} = pgembed._vector(m.image){cast}, {hashed} = m.cut || m.hash"
        f" FROM made AS m WHERE {column.table.key_matches('t', 'm.key')} AND {_is_same(column)}"
        # else somebody has written it meanwhile, perhaps by hand; a vector that comes with the hash of before would pass for one by hand
        f" AND {reading.is_in(column, 't', reading.NEEDY + ', ' + reading.quoted('failed'))} RETURNING m.position",
        ["pg_catalog.text[]", "pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.int4[]"],
        [
            [one.row["key"] for one in made],
            [one.images[0] for one in made],
            [hash_of(one.row["source"]) for one in made],
            [CUT if one.cut[0] else b"" for one in made],
            list(range(len(made))),
        ],
    )
    return sorted({row["position"] for row in done})


def _write_chunks(db: Database, column: Column, made: Sequence[Made], tally: Tally) -> list[int]:
    """As `_write_vectors`: the chunks of a row are replaced where its source is still the text that they are of."""
    hashes = [hash_of(one.row["source"]) for one in made]
    marks = [(CUT if any(one.cut) else b"") + known for one, known in zip(made, hashes, strict=True)]
    # The update locks the rows.
    places = mark(db, column, [one.row for one in made], marks, hashes)
    written = [made[at] for at in places]
    chunked.replace(
        db,
        column,
        [split_key(db, column, one.row["key"]) for one in written],
        [[(part.start, part.end, one.row["source"][part.start : part.end]) for part in one.chunks] for one in written],
        [one.images for one in written],
    )
    tally.chunks += sum(len(one.chunks) for one in written)
    return places


def split_key(db: Database, column: Column, key: str) -> list[str]:
    """A key as one text for each of its columns."""
    if len(column.table.keys) == 1:
        return [key]
    parts = ", ".join(f"$1::pg_catalog.jsonb->>{position}" for position in range(len(column.table.keys)))
    return list(db.execute(f"SELECT ARRAY[{parts}] AS parts", ["pg_catalog.text"], [key])[0]["parts"])


def mark(
    db: Database, column: Column, rows: Sequence[Row], hashes: Sequence[bytes], read: Sequence[bytes | None] | None, *, clear: bool = False
) -> list[int]:
    """Write the hash column where the source, and what the column said, are still what was read; return the positions of the rows written.

    Args:
        rows: as `pgembed.work.reading.rows` returns them.
        read: hashes of the sources as they were read; None where they are not evaluated again. Where one fails, the row must be untouched.
        clear: take the vectors away: they are of texts that the rows no longer have.
    """
    if not rows:
        return []
    hashed = quote(str(column.hash_column))
    vector = f", {column.sql} = NULL" if clear and column.chunks is None else ""
    still = f" AND pgembed._source_hash({evaluating.source_call(column)}) IS NOT DISTINCT FROM m.read" if read is not None else ""
    done = evaluating.evaluate(
        db,
        column,
        f"WITH made AS (SELECT * FROM {_unnest('$1', '$2', '$3', '$4', '$5', '$6')} AS m (key, hash, read, was, version, position))"
        f" UPDATE {column.table.sql} AS t SET {hashed} = m.hash{vector} FROM made AS m WHERE {column.table.key_matches('t', 'm.key')}"
        # a vector that somebody has written meanwhile keeps what is said of it
        f" AND CASE WHEN m.version IS NULL THEN t.{hashed} IS NOT DISTINCT FROM m.was ELSE t.xmin::pg_catalog.text = m.version END{still}"
        " RETURNING m.position",
        ["pg_catalog.text[]", "pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.bytea[]", "pg_catalog.text[]", "pg_catalog.int4[]"],
        [
            [row["key"] for row in rows],
            list(hashes),
            [None] * len(rows) if read is None else list(read),
            [row["hash"] for row in rows],
            [row.get("version") for row in rows],
            list(range(len(rows))),
        ],
    )
    return sorted({row["position"] for row in done})


def suppressed(db: Database, column: Column, missed: Sequence[str], made: Sequence[Made]) -> bool:
    """Whether rows that were not written have the very source that they were embedded from: something of the table's own undoes it."""
    hashes = {one.row["key"]: hash_of(one.row["source"]) for one in made}
    keys = [key for key in missed if key in hashes]
    if not keys:
        return False
    same = evaluating.evaluate(
        db,
        column,
        f"SELECT FROM {_unnest('$1', '$2')} AS m (key, hash) JOIN {column.table.sql} AS t ON {column.table.key_matches('t', 'm.key')}"
        f" WHERE {reading.is_in(column, 't', reading.NEEDY)} AND {_is_same(column)} LIMIT 1",
        ["pg_catalog.text[]", "pg_catalog.bytea[]"],
        [keys, [hashes[key] for key in keys]],
    )
    return bool(same)


def must_follow(column: Column) -> None:
    """Raise where there is nothing to embed.

    Raises:
        errors.NotSupported: the column has no source.
    """
    if column.source_function is None:
        raise errors.NotSupported(
            f"{column.label} has no source to embed",
            hint="It was adopted without one; pgembed.alter_embedding(..., source => '...') gives it one.",
        )
    if not column.table.keys:
        raise column.table.no_key()


def _unnest(*parameters: str) -> str:
    """Arrays side by side; the short form, unnest(a, b), is only there for the unqualified name."""
    return f"ROWS FROM ({', '.join(f'pg_catalog.unnest({parameter})' for parameter in parameters)})"
