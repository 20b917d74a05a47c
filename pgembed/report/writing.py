"""writing: asks the database, and writes the page. Nothing is written in the database but a line of how fresh the column is now."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from pgembed import __version__, columns, errors, faults
from pgembed.clientdb import FIND_TABLE, HOW_TABLES_ARE_WRITTEN, connected
from pgembed.columns import Column
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.report import chapters, comparing, page, reading
from pgembed.report.chapters import Chapters
from pgembed.report.reading import Sample

Say = Callable[[str], None]

SAMPLE, SEED, SECONDS, QUERIES = 3000, 0, 30.0, 40
MOST_SAMPLE = 20_000


@dataclass
class Summary:
    """What a report says, in short.

    Attributes:
        path: of the page; bytes: its size.
        table, column: as SQL writes them.
        rows, fresh: None where the caller may not count.
        sampled: rows that the plots are made of.
        dim: of the vectors; None where there are none.
        points: settings of searches that were measured; filters: that were planned.
        left_out: what the page does not have, and why, each in a sentence.
        seconds: that it took.
    """

    path: str
    bytes: int
    table: str
    column: str
    rows: int | None
    fresh: int | None
    sampled: int
    dim: int | None
    points: int
    filters: int
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0


def write(
    url: str,
    target: str,
    *,
    column_name: str | None = None,
    output: str | os.PathLike[str] = "report.html",
    color_by: str | None = None,
    compare: str | None = None,
    queries: str | None = None,
    queries_column: str | None = None,
    sample: int = SAMPLE,
    seed: int = SEED,
    seconds: float = SECONDS,
    say: Say | None = None,
) -> Summary:
    """Write a page on an embedded column; it needs no network, neither to be made nor to be read.

    Args:
        url: libpq URL of the database, as any role; what it may not read is left out, and said to be.
        target: schema.table, or a table of the role's own schema or of public.
        column_name: the embedded column; None where there is only one.
        output: the file, which is replaced.
        color_by: the column that colours the map at first; any other can be chosen on the page.
        compare: another embedded column of the table; None: one that replaces it, or has the same source, if there is one.
        queries, queries_column: a table and its column of texts, or vectors, as people ask them; None asks with rows of the column.
        sample: rows for plots and measures, 10 to 20,000, drawn at random; seed: the same one draws the same rows.
        seconds: that searches are measured for, at most, about.
        say: is told how far it is, now and then.
    Raises:
        errors.InvalidParameter: sample or seconds is no such number.
        errors.NotReady: there is no connection, or a Python package is missing.
        errors.UnknownTable, errors.UnknownObject, errors.UnknownColumn, errors.AmbiguousColumn: there is no such table, or column.
        errors.StatementRefused: what PostgreSQL says.
    """
    if not 10 <= sample <= MOST_SAMPLE:
        raise errors.InvalidParameter(f"sample must be from 10 to {MOST_SAMPLE}, not {sample}", hint=f"{SAMPLE} is the default.")
    if not 0 <= seconds <= 86_400:
        raise errors.InvalidParameter(f"seconds must be from 0 to 86400, not {seconds:g}", hint=f"{SECONDS:g} is the default.")
    _must_have_packages()
    begun = time.monotonic()
    with connected(url) as connection:
        connection.execute("SET default_transaction_read_only = on")
        db = PsycopgDatabase(connection)
        table, known = columns.table(db, _resolved(db, target))
        column = columns.chosen(table, known, column_name)
        _note(connection, db, column)
        made = _read(
            db,
            column,
            known,
            color_by=color_by,
            compare=compare,
            sample=sample,
            seed=seed,
            given=(queries, queries_column),
            seconds=seconds,
            say=say or (lambda _: None),
        )
    text = made.page(f"pgembed {__version__}, {time.strftime('%Y-%m-%d %H:%M %Z')}, seed {seed}, {time.monotonic() - begun:.0f} s")
    path = Path(output)
    _replace(path, text)
    return Summary(
        path=str(path),
        bytes=len(text.encode()),
        table=table.shown,
        column=column.name,
        rows=made.facts.get("rows"),
        fresh=made.facts.get("fresh"),
        sampled=len(made.sample),
        dim=made.sample.vectors.shape[1] if len(made.sample) else column.dim,
        points=len(made.points),
        filters=made.filters,
        left_out=made.left_out,
        seconds=time.monotonic() - begun,
    )


def _read(
    db: PsycopgDatabase,
    column: Column,
    known: list[Column],
    *,
    color_by: str | None,
    compare: str | None,
    sample: int,
    seed: int,
    given: tuple[str | None, str | None],
    seconds: float,
    say: Say,
) -> Chapters:
    plain = reading.plain_columns(db, column)
    ours = {one.name for one in known} | {one.hash_column for one in known}
    plain = [one for one in plain if one.name not in ours]
    valued = reading.valued_columns(plain, column, color_by)
    other = comparing.choose(db, column, known, compare)
    left_out = []
    drawn = Sample(vectors=_none(column))
    try:
        drawn = reading.sample(db, column, sample, seed, reading.text_columns(column, plain), valued, [other] if other is not None else [])
    except psycopg.Error as error:
        if db.connection.closed:
            raise
        left_out.append(f"The vectors cannot be read, so what is made of them is left out: {faults.said(error)}.")
    say(f"{len(drawn)} rows of {column.label} read")
    made = Chapters(db, column, drawn, plain, seed, say)
    made.left_out += left_out
    for chapter, run in (
        ("what is said of the column", made.overview),
        ("searches", lambda: made.searches(given, chapters.QUERIES, 0.65 * seconds)),
        ("filters", lambda: made.filtered(valued, 0.35 * seconds)),
        ("freshness", made.freshness),
        ("the map", lambda: made.map(valued, color_by)),
        ("the space", made.space),
        ("models", lambda: made.models(other)),
    ):
        say(chapter)
        try:
            run()
        except psycopg.Error as error:
            # of a role that may not read something: the rest of the page is still worth having
            if db.connection.closed or faults.sqlstate_of(error)[:2] == "57":
                raise
            made.lost(chapter, faults.said(error))
    return made


def _none(column: Column) -> Any:
    import numpy as np

    return np.empty((0, column.dim or 1), dtype=np.float32)


def _resolved(db: PsycopgDatabase, target: str) -> str:
    try:
        found = db.execute(FIND_TABLE.format("$1"), ["pg_catalog.text"], [target])
    except psycopg.errors.InvalidParameterValue:
        found = []
    if not found:
        raise errors.UnknownTable(f'table "{target}" does not exist', hint=HOW_TABLES_ARE_WRITTEN)
    return str(found[0]["oid"])


def _note(connection: psycopg.Connection[Any], db: PsycopgDatabase, column: Column) -> None:
    """Write down how fresh the column is, where the caller owns the table and the server takes writes."""
    if not column.table.may_own:
        return
    with suppress(psycopg.Error):
        connection.execute("SET default_transaction_read_only = off")
        db.execute(
            "SELECT pgembed._note_freshness($1, $2)", ["pg_catalog.regclass", "pg_catalog.name"], [str(column.table.oid), column.name]
        )
    connection.execute("SET default_transaction_read_only = on")


def _must_have_packages() -> None:
    try:
        import numpy
        import plotly
        import sklearn
    except ImportError as error:
        raise errors.NotReady(f"a report needs {error.name}", hint="Install it: pip install 'pgembed-extension[report]'.") from None
    del numpy, plotly, sklearn


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise errors.FileMissing(f"{path} cannot be written: {error.strerror}", hint="Name another file: -o FILE.") from None


__all__ = ["Summary", "page", "write"]
