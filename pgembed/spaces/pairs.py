"""pairs: what maps between models are fitted to and measured with, drawn from an embedded column: texts like queries, and its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import columns, errors, sampling, text
from pgembed.codes import queries
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_SAMPLE = 20_000
# Texts that are kept back: nothing is fitted to them, they ask.
MOST_HELD, _HELD_SHARE = 300, 0.25
FEWEST_HELD = 10
# Rows that held-back queries are searched among: as many as fit here.
_POOL_BYTES = 128 << 20


@dataclass(frozen=True)
class Drawn:
    """Texts, and vectors to search.

    Attributes:
        fitting: texts to fit a map to, in random order.
        asking: held-back texts; none of them, nor another part of the same row, is among the others.
        wanted: the row in ``rows`` that each of ``asking`` is a part of; None where they are somebody's queries.
        rows: float32, shape (n, dim), vectors of the column, n at least 1.
    """

    fitting: list[str]
    asking: list[str]
    wanted: list[list[int]] | None
    rows: NDArray[np.float32]


def draw(db: Database, column: Column, dim: int, sample: int, asked: sampling.Where, seed: int) -> Drawn:
    """Draw texts and vectors of a column, the same ones while nobody writes the table.

    A text is some consecutive words of a row's source, for that is what queries are like. Where somebody's queries are given, half of these
    are held back in place of parts of texts, and a map is fitted to the other half, too.

    Args:
        column: one that the caller owns.
        dim: of its vectors.
        sample: rows whose texts are drawn.
        asked: a column of texts; both None for none.
    Raises:
        errors.InvalidParameter: sample is out of range, or there are too few texts.
        errors.NotSupported: neither a source nor queries have texts.
        errors.NotReady: the source fails, or would run with other rights than the owner's.
        errors.PgembedError: as `pgembed.sampling.texts`.
    """
    with threads.signals_blocked():
        import numpy as np

    if not 1 <= sample <= MOST_SAMPLE:
        raise errors.InvalidParameter(f"sample must be from 1 to {MOST_SAMPLE} rows, not {sample}", hint="2000 is the default.")
    if (asked.table is None) != (asked.column is None):
        raise errors.NullNotAllowed(
            "queries and queries_column go together, and one is NULL", hint="queries => 'log', queries_column => 'asked' names texts."
        )
    from random import Random

    chance = Random(seed)
    # each query is drawn once, however often it was asked
    given = sorted(set(sampling.texts(db, asked))) if asked.table is not None else []
    chance.shuffle(given)
    held = given[: min(MOST_HELD, len(given) // 2)]
    most = max(sample, _POOL_BYTES // (4 * dim))
    if column.chunks is not None:
        rows = sampling.stored(db, column, most, seed)[0]
        parts = [queries.part_of(found, chance) for found in _texts_of_chunked(db, column, sample, seed) if not text.is_empty(found)]
        places: list[int] | None = None
    else:
        at, rows = queries.sample(db, column, dim, most, seed)
        found = queries.texts_at(db, column, at[:sample]) if column.source_function is not None else []
        full = [(place, content) for place, content in enumerate(found) if content is not None and not text.is_empty(content)]
        parts, places = [queries.part_of(content, chance) for _, content in full], [place for place, _ in full]
    if not parts and not given:
        raise errors.NotSupported(
            f"{column.label} has no source, so there are no texts to learn from",
            hint="queries => 'table', queries_column => 'column' names texts; pgembed.alter_embedding(..., source => '...') declares some.",
        )
    sampling.must_be_moderate(column, rows)
    if asked.table is not None:
        return _sound(Drawn(_shuffled([*given[len(held) :], *parts], chance), held, None, np.ascontiguousarray(rows)))
    count = min(MOST_HELD, round(_HELD_SHARE * len(parts)))
    wanted = None if places is None else [[place] for place in places[:count]]
    # rows may share a text, and what is asked must not have been learnt
    asking = set(parts[:count])
    rest = [part for part in parts[count:] if part not in asking]
    return _sound(Drawn(rest, parts[:count], wanted, np.ascontiguousarray(rows)))


def _shuffled(texts: list[str], chance: object) -> list[str]:
    from random import Random

    assert isinstance(chance, Random)
    chance.shuffle(texts)
    return texts


def _sound(drawn: Drawn) -> Drawn:
    if len(drawn.asking) < FEWEST_HELD:
        raise errors.InvalidParameter(
            f"only {len(drawn.asking)} texts could be kept back to measure with, expected at least {FEWEST_HELD}",
            hint="A larger sample, a table with more rows, or more queries are needed.",
        )
    return drawn


def _texts_of_chunked(db: Database, column: Column, most: int, seed: int) -> list[str]:
    """Source texts of rows of a column over chunks, in random order; [] where it has no source."""
    if column.source_function is None:
        return []
    held = int(db.execute(f"SELECT pg_catalog.count(*) AS n FROM {column.table.sql}")[0]["n"])
    share = 1.5 * most / held if held else 1.0
    part = f" TABLESAMPLE BERNOULLI ({100 * share}) REPEATABLE ({seed})" if share < 1 else ""
    rows = db.execute(f"SELECT t.tableoid AS o, t.ctid::pg_catalog.text AS c FROM {column.table.sql} AS t{part}")
    from random import Random

    places = [(row["o"], row["c"]) for row in rows]
    Random(seed).shuffle(places)
    return [found for found in queries.texts_at(db, column, places[:most]) if found is not None]


def owned(db: Database, target: str | None, column_name: str | None) -> Column:
    """The embedded column of a call that evaluates its source and declares something of it.

    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.PgembedError: as `pgembed.columns.column`.
    """
    column = columns.column(db, target, column_name)
    column.table.must_own()
    return column
