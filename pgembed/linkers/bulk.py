"""bulk: a table's texts linked into tables, a batch a transaction.

Which texts need it is asked once, of all of them: a hash of what the text was when it was linked, a hash of the linker, its revision and
the call's options, and the number of its links, are kept in a line for each text; where one of them is not as it was, the text is linked
again. So nothing is missed, neither after a restore nor where links have gone with the rows that they meant, and no trigger stands on the
source. The keys of such texts are a cursor that outlives transactions. What is written is of the text as the batch has read it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from pgembed import conditions, errors, faults, following, progress
from pgembed.columns import literal, unquoted
from pgembed.isolation import read_committed
from pgembed.linkers import layout as layouts
from pgembed.linkers import opening, registered, rendering, tables
from pgembed.linkers.keyed import IS
from pgembed.linkers.layout import IS_NOT, Layout

if TYPE_CHECKING:
    from pgembed.columns import Table, Writer
    from pgembed.database import Database, Row
    from pgembed.linking.contract import Bools, Link

BATCH = 256
# Bytes of text in a batch, but for one that is longer by itself.
MOST_BYTES = 4 << 20
# A row can be deleted between reading its text and writing its links, or between opening the linker and that.
_TRIES = 10
_GONE = "23503"  # foreign_key_violation
# Not a number that another program would choose.
_LOCK = 1_885_824_366
_cursors = count(1)


@dataclass(frozen=True)
class Wanted:
    """What a call asks for.

    Attributes:
        linker, source, text_column, into: as the caller names them.
        key: columns of the source, with commas between; None: its primary key.
        condition, params, precision, pronouns: as of `pgembed.link`.
        batch_size: texts in a transaction.
        relink: whether all texts are linked again, also those that have not changed.
        prove: raises where a condition is not one expression over a table, else returns it as it is to be run.
    """

    linker: str | None
    source: str | None
    text_column: str | None
    into: str | None
    key: str | None = None
    condition: str | None = None
    params: str | None = None
    precision: float | None = None
    pronouns: bool = False
    batch_size: int = BATCH
    relink: bool = False
    prove: Callable[[Table, str], str] = lambda table, condition: condition

    def hash(self, declared: str) -> str:
        """Of all by which the same text may get other links, in digits.

        Args:
            declared: what `_declared` says of the linker.
        """
        said = [self.linker, declared, self.condition, self.params, self.precision, self.pronouns]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


@dataclass
class Tally:
    """What a call has done so far, in texts and links."""

    texts: int = 0
    links: int = 0
    review: int = 0
    nil: int = 0
    empty: int = 0
    gone: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)


def link_table(db: Database, write: Writer, wanted: Wanted) -> Tally:
    """Link what needs it; see `pgembed.link_table` in SQL.

    Raises:
        errors.PgembedError: the linker, the source, its key or the destination are none; somebody else is at it.
    """
    if not 1 <= wanted.batch_size <= conditions.MOST_BATCH:
        raise errors.InvalidParameter(
            f"batch_size must be from 1 to {conditions.MOST_BATCH}, not {wanted.batch_size}", hint=f"Leave it out for {BATCH}."
        )
    rendering.wanted_precision(wanted.precision)
    results = tables.name_of(db, wanted.into)
    db.commit()
    with read_committed(db), _alone(db, results):
        layout = _prepared(db, write, wanted, results)
        db.commit()
        with progress.shown(db, "link_table", layout.shown):
            return _run(db, wanted, layout)


def _prepared(db: Database, write: Writer, wanted: Wanted, results: str) -> Layout:
    """The tables, made or brought up to the linker."""
    line = registered.read(db, wanted.linker)
    targets = [(target.number, target.table) for target in line.targets]
    if wanted.condition is not None:
        if len(targets) > 1:
            raise errors.NotSupported(
                f'linker "{line.name}" has {len(targets)} targets, and a filter is about the rows of one',
                hint="Leave filter out, or declare a linker of one table.",
            )
        wanted.prove(targets[0][1], wanted.condition)
    before = tables.line(db, results)
    key = _key(wanted.key) if wanted.key is not None or before is None else before["key_columns"]
    source = layouts.keyed_source(db, wanted.source, key)
    text = layouts.text_column(db, source, wanted.text_column)
    if before is None:
        layout = layouts.planned(db, line.name, targets, source, text, key, results)
        if tables.exists(db, results):
            return tables.adopt(db, write, layout)
        _must_have_keys(db, source, key)
        return tables.make(db, write, layout, ", ".join(table.shown for _, table in targets))
    layout = replace(layouts.read(db, before, targets), text=text)
    assert layout.owner is not None
    layout.owner.must_own()
    if before["linker"] != line.name or layout.source.table.oid != source.oid:
        raise errors.InvalidParameter(
            f"{layout.shown} has links of {layout.source.table.shown} by the linker {before['linker']},"
            f" not of {source.shown} by {line.name}",
            hint="Name another table, which is then made.",
        )
    if layout.key != (None if key is None else tuple(key)):
        raise errors.InvalidParameter(
            f"{layout.shown} refers to {source.shown} by {', '.join(unquoted(name) for name, _ in layout.source.table.keys)}",
            hint="Leave key out, or name another table, which is then made.",
        )
    tables.follow(db, write, layout, before)
    return layout


def _key(said: str | None) -> list[str] | None:
    return None if said is None else [name.strip() for name in said.split(",") if name.strip()]


def _must_have_keys(db: Database, source: Table, key: Sequence[str] | None) -> None:
    """Where the caller names a key, no index need vouch for it."""
    if key is None:
        return
    listed = ", ".join(f"s.{name}" for name, _ in source.keys)
    found = db.execute(
        f"SELECT {source.key_text('s')} AS key FROM {source.sql} AS s GROUP BY {listed}"
        " HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 LIMIT 1"
    )
    if found:
        raise errors.InvalidParameter(
            f'key {", ".join(key)} of "{source.name}" does not tell rows apart: several have {found[0]["key"]}',
            hint="Name columns whose values together are different in all rows.",
        )


@contextmanager
def _alone(db: Database, results: str) -> Iterator[None]:
    """One call at a time for each destination; the lock is the session's and dies with it."""
    types, values = ["pg_catalog.int4", "pg_catalog.text"], [_LOCK, results]
    key = "$1, pg_catalog.hashtext($2)"
    if not db.execute(f"SELECT pg_catalog.pg_try_advisory_lock({key}) AS got", types, values)[0]["got"]:
        raise errors.NotReady(
            f"another session is linking into {results}",
            hint="SELECT * FROM pgembed.progress shows how far it is; call again when it has ended.",
        )
    try:
        yield
    finally:
        db.execute(f"SELECT pg_catalog.pg_advisory_unlock({key})", types, values)


def _run(db: Database, wanted: Wanted, layout: Layout) -> Tally:
    tally = Tally()
    referred = tables.referred(db, layout.results)
    if layout.source.table.oid not in referred:
        tally.gone = _forget_gone(db, layout)
    hashed = wanted.hash(_declared(db, layout.linker))
    cursor = f"pgembed_link_table_{next(_cursors)}"
    db.execute(f"DECLARE {cursor} NO SCROLL CURSOR WITH HOLD FOR {_needy(layout, wanted, hashed, referred)}")
    db.commit()
    try:
        seen = 0
        for keys, total in _batches(db, cursor, wanted.batch_size):
            progress.tell(db, seen, total)
            _batch(db, wanted, layout, keys, tally)
            db.commit()
            seen += len(keys)
            progress.tell(db, seen, total)
            _tell_now_and_then(db, layout, tally, seen, total)
    finally:
        db.execute(f"CLOSE {cursor}")
    _tell_end(db, layout, tally)
    return tally


def _declared(db: Database, linker: str) -> str:
    """A text that changes with all that is declared of a linker, with its training and with the model of its context.

    Its revision alone would not do: a linker that is dropped and made anew begins again.
    """
    return str(
        db.execute(
            "SELECT pg_catalog.jsonb_build_array(l.revision, pg_catalog.date_part('epoch', l.trained_at),"
            " (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(t.number, t.names, t.aliases, t.types, t.context, e.fingerprint)"
            " ORDER BY t.number) FROM pgembed._linker_target AS t LEFT JOIN pgembed._embedding AS e"
            " ON e.table_name OPERATOR(pg_catalog.=) t.target AND e.column_name OPERATOR(pg_catalog.=) t.context_column"
            " WHERE t.linker OPERATOR(pg_catalog.=) l.name),"
            " (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(s.number, s.place, s.kind, s.label, s.names)"
            " ORDER BY s.number, s.place) FROM pgembed._linker_source AS s WHERE s.linker OPERATOR(pg_catalog.=) l.name)"
            ")::pg_catalog.text AS said FROM pgembed.linkers AS l WHERE l.name OPERATOR(pg_catalog.=) $1",
            ["pg_catalog.text"],
            [linker],
        )[0]["said"]
    )


def _needy(layout: Layout, wanted: Wanted, made_by: str, referred: frozenset[int]) -> str:
    """The query for keys of texts that must be linked, with their lengths and their number."""
    source = layout.source
    content = layout.content("s")
    reasons = [
        f"t.{source.columns[0]} IS NULL",
        f"t.linker_hash {IS_NOT} pg_catalog.decode({literal(made_by)}, 'hex')",
        f"t.text_hash {IS_NOT} {_hashed(content)}",
        f"t.links {IS_NOT} coalesce(l.links, 0)",
    ]
    reasons += [
        f"EXISTS (SELECT FROM {layout.results} AS r WHERE {source.same('r', 't')} AND {entity.known('r')}"
        f" AND NOT EXISTS (SELECT FROM {entity.keyed.table.sql} AS e WHERE {entity.keyed.is_row('r', 'e')}))"
        for entity in layout.present
        if entity.keyed is not None and entity.keyed.table.oid not in referred
    ]
    present = " AND ".join(f"s.{name} IS NOT NULL" for name, _ in source.table.keys)
    return (
        f"SELECT {source.table.key_text('s')} AS key, coalesce(pg_catalog.octet_length({content}), 0) AS size,"
        f" pg_catalog.count(*) OVER () AS total FROM {source.table.sql} AS s LEFT JOIN {layout.texts} AS t ON {source.is_row('t', 's')}"
        f" LEFT JOIN (SELECT {source.list('r')}, pg_catalog.count(*) AS links FROM {layout.results} AS r GROUP BY {source.list('r')}) AS l"
        f" ON {source.same('l', 't')}"
        f" WHERE {present} AND ({'true' if wanted.relink else ' OR '.join(reasons)})"
    )


def _hashed(content: str) -> str:
    """SQL of the hash of a text; the same of NULL and of an empty one."""
    hashed = f"pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({content}, 'UTF8')), 1, 16)"
    return f"(CASE WHEN {content} OPERATOR(pg_catalog.<>) '' THEN {hashed} ELSE ''::pg_catalog.bytea END)"


def _batches(db: Database, cursor: str, size: int) -> Iterator[tuple[list[str], int]]:
    """Keys of so many texts, or of fewer where these are long, and how many there are in all."""
    while rows := db.execute(f"FETCH {size} FROM {cursor}"):
        keys: list[str] = []
        room = MOST_BYTES
        for row in rows:
            if keys and row["size"] > room:
                yield keys, int(rows[0]["total"])
                keys, room = [], MOST_BYTES
            keys.append(row["key"])
            room -= row["size"]
        yield keys, int(rows[0]["total"])


def _batch(db: Database, wanted: Wanted, layout: Layout, keys: list[str], tally: Tally) -> None:
    """Link the texts of some keys; those whose rows are gone are left out."""
    for attempt in range(1, _TRIES + 1):
        try:
            with db.subtransaction():
                done = _linked(db, wanted, layout, keys)
            break
        except Exception as error:
            if faults.sqlstate_of(error) != _GONE or attempt == _TRIES:
                raise
        # a row went while its text was linked, or one that it means: all is looked at again, in a transaction that sees it
        db.commit()
    tally.texts += done.texts
    tally.links += done.links
    tally.review += done.review
    tally.nil += done.nil
    tally.empty += done.empty


def _linked(db: Database, wanted: Wanted, layout: Layout, keys: list[str]) -> Tally:
    opened = opening.open_linker(db, layout.linker)
    allowed = _allowed(db, wanted, opened)
    rows = _texts(db, layout, keys)
    spoken = [row for row in rows if row["content"]]
    found = opened.linker.link(
        [row["content"] for row in spoken],
        allowed=allowed,
        pronouns=wanted.pronouns,
        precision=wanted.precision,
        check=db.check_interrupts,
    )
    links = {row["key"]: _apart(mentions) for row, mentions in zip(spoken, found, strict=True)}
    assert layout.owner is not None
    with following.as_owner(db, layout.owner):
        _write(db, wanted, layout, opened, rows, links)
    every = [link for mentions in links.values() for link in mentions]
    return Tally(
        texts=len(rows),
        links=sum(link.decision == "link" for link in every),
        review=sum(link.decision == "review" for link in every),
        nil=sum(link.decision == "nil" for link in every),
        empty=len(rows) - len(spoken),
    )


def _allowed(db: Database, wanted: Wanted, opened: opening.Opened) -> Bools | None:
    """Of each row whether it may be meant; None: all."""
    if wanted.condition is None:
        return opened.allowed
    target = opened.targets[0]
    passing = rendering.passing(db, target.table, wanted.prove(target.table, wanted.condition), wanted.params)
    return opened.only(rendering.mask(opened, target.number, passing))


def _apart(mentions: Sequence[Link]) -> list[Link]:
    """One link for each place."""
    return list({(link.start_char, link.end_char): link for link in reversed(mentions)}.values())[::-1]


def _texts(db: Database, layout: Layout, keys: list[str]) -> list[Row]:
    source = layout.source
    content = layout.content("s")
    return db.execute(
        f"SELECT {source.table.key_text('s')} AS key, {content} AS content, pg_catalog.encode({_hashed(content)}, 'hex') AS hash"
        f" FROM {source.table.sql} AS s WHERE {source.rows_of_keys('s', '$1')}",
        ["pg_catalog.text[]"],
        [keys],
    )


def _write(db: Database, wanted: Wanted, layout: Layout, opened: opening.Opened, rows: Sequence[Row], links: dict[str, list[Link]]) -> None:
    """Put the links of some texts in place of those that they had."""
    source = layout.source
    keys = [row["key"] for row in rows]
    db.execute(f"DELETE FROM {layout.results} AS r WHERE {source.ours_of_keys('r', '$1')}", ["pg_catalog.text[]"], [keys])
    flat = [(key, link, _key_of(opened, link.row), _key_of(opened, link.runner_up)) for key, mentions in links.items() for link in mentions]
    names = [*source.columns, "mention", "start_char", "end_char", "mention_type"]
    values = [*source.typed("m.key"), "m.mention", "m.start_char", "m.end_char", "m.mention_type"]
    for entity in layout.present:
        assert entity.keyed is not None
        names += [*entity.columns, *entity.runner_up]
        for which in ("entity", "runner_up"):
            is_it = f"m.{which}_target {IS} {entity.number}"
            values += [f"CASE WHEN {is_it} THEN {value} END" for value in entity.keyed.typed(f"m.{which}")]
    names += ["score", "margin", "decision", "linker_revision"]
    values += ["m.score", "m.margin", "m.decision", "$12"]
    columns: list[tuple[str, str, list[object]]] = [
        ("key", "text[]", [key for key, *_ in flat]),
        ("mention", "text[]", [link.mention for _, link, *_ in flat]),
        ("start_char", "int4[]", [link.start_char for _, link, *_ in flat]),
        ("end_char", "int4[]", [link.end_char for _, link, *_ in flat]),
        ("mention_type", "text[]", [link.kind for _, link, *_ in flat]),
        ("entity_target", "int4[]", [None if place is None else place[0] for *_, place, _ in flat]),
        ("entity", "text[]", [None if place is None else place[1] for *_, place, _ in flat]),
        ("runner_up_target", "int4[]", [None if place is None else place[0] for *_, place in flat]),
        ("runner_up", "text[]", [None if place is None else place[1] for *_, place in flat]),
        ("score", "float8[]", [link.score for _, link, *_ in flat]),
        ("margin", "float8[]", [link.margin for _, link, *_ in flat]),
    ]
    # the decision comes behind the revision, so that every number above stands for itself
    arrays = [*(f"pg_catalog.unnest(${position})" for position in range(1, len(columns) + 1)), "pg_catalog.unnest($13)"]
    db.execute(
        f"INSERT INTO {layout.results} ({', '.join(names)}) SELECT {', '.join(values)}"
        f" FROM ROWS FROM ({', '.join(arrays)}) AS m ({', '.join(name for name, _, _ in columns)}, decision)",
        [*(f"pg_catalog.{kind}" for _, kind, _ in columns), "pg_catalog.int4", "pg_catalog.text[]"],
        [*(column for _, _, column in columns), opened.line.revision, [link.decision for _, link, *_ in flat]],
    )
    listed = ", ".join(source.columns)
    db.execute(
        f"INSERT INTO {layout.texts} AS t ({listed}, text_hash, linker_hash, links) SELECT {', '.join(source.typed('m.key'))},"
        " pg_catalog.decode(m.hash, 'hex'), pg_catalog.decode($4, 'hex'), m.links"
        " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS m (key, hash, links)"
        f" ON CONFLICT ({listed}) DO UPDATE SET text_hash = excluded.text_hash, linker_hash = excluded.linker_hash,"
        " links = excluded.links, linked_at = excluded.linked_at",
        ["pg_catalog.text[]", "pg_catalog.text[]", "pg_catalog.int4[]", "pg_catalog.text"],
        [keys, [row["hash"] for row in rows], [len(links.get(row["key"], ())) for row in rows], wanted.hash(_declared(db, layout.linker))],
    )


def _key_of(opened: opening.Opened, row: int | None) -> tuple[int, str] | None:
    return None if row is None else opened.key_of(row)


def _forget_gone(db: Database, layout: Layout) -> int:
    """Drop what is kept of rows that the source does not have any more, where no foreign key does."""
    source = layout.source
    gone = f"NOT EXISTS (SELECT FROM {source.table.sql} AS s WHERE {source.is_row('t', 's')})"
    keys = [row["key"] for row in db.execute(f"SELECT {source.text('t')} AS key FROM {layout.texts} AS t WHERE {gone}")]
    assert layout.owner is not None
    with following.as_owner(db, layout.owner):
        for start in range(0, len(keys), conditions.MOST_BATCH):
            part = keys[start : start + conditions.MOST_BATCH]
            for table in (layout.results, layout.texts):
                db.execute(f"DELETE FROM {table} AS r WHERE {source.ours_of_keys('r', '$1')}", ["pg_catalog.text[]"], [part])
    return len(keys)


def stale(db: Database, layout: Layout) -> int:
    """How many corrections are of words that their texts do not have there any more."""
    source = layout.source
    found = db.execute(
        f"SELECT pg_catalog.count(*) AS number FROM {layout.corrections} AS c LEFT JOIN {source.table.sql} AS s"
        f" ON {source.is_row('c', 's')} WHERE ({layout.stands('c', 's')}) IS NOT TRUE"
    )
    return int(found[0]["number"])


def _tell_now_and_then(db: Database, layout: Layout, tally: Tally, seen: int, total: int) -> None:
    now = time.monotonic()
    if now - tally.told < progress.NOTICE_SECONDS or seen >= total:
        return
    tally.told = now
    rate = seen / (now - tally.started)
    db.notice(f"{layout.shown}: {seen} of {total} texts, {rate:.0f} a second, about {(total - seen) / rate:.0f} s to go")


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _tell_end(db: Database, layout: Layout, tally: Tally) -> None:
    seconds = time.monotonic() - tally.started
    parts = [f"{_several(tally.texts, 'text')} linked" if tally.texts else "no text has changed"]
    parts += [f"{_several(tally.links, 'link')}, {tally.review} to review, {tally.nil} of no row"] if tally.texts else []
    parts += [f"{_several(tally.empty, 'text')} without words"] if tally.empty else []
    parts += [f"{tally.gone} forgotten, whose rows are gone"] if tally.gone else []
    db.notice(f"{layout.shown}: {', '.join(parts)} in {seconds:.1f} s")
    changed = stale(db, layout)
    if changed:
        db.notice(
            f"{layout.corrections}: {changed} corrections are of words that their texts do not have there any more; they are kept and not"
            " applied",
            hint=f"SELECT * FROM pgembed.link_corrections('{layout.shown}') WHERE is_stale.",
        )
