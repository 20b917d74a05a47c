"""Entity linking of one text: bodies of ``sql/functions/link.sql``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgembed import columns, errors
from pgembed.changing import pinning
from pgembed.linkers import opening, registered, rendering
from pgembed.planner import filters
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE

if TYPE_CHECKING:
    from pgembed.linkers.opening import Opened
    from pgembed.linking.contract import Bools, Link


@boundary
def passing(target: str | None, linker: str | None, condition: str | None, params: str | None) -> list[str] | None:
    """Body of `pgembed._filter_links`; None where there is no filter."""
    if condition is None or not condition.strip():
        return None
    mine = None if target is None else columns.table(DATABASE, target)[0]
    name = linker if mine is None else registered.of_table(DATABASE, mine, linker)
    line = registered.read(DATABASE, name)
    wanted = [one for one in line.targets if mine is None or one.table.oid == mine.oid]
    if len(wanted) > 1:
        raise errors.NotSupported(
            f'linker "{name}" has {len(wanted)} targets, and a filter is about the rows of one',
            hint=f"pgembed.link(NULL::{wanted[0].table.shown}, ..., filter => ...) links to one of them.",
        )
    table = wanted[0].table
    return rendering.passing(DATABASE, table, filters.proven(DATABASE, table, condition), params)


@boundary
def find(
    target: str,
    content: str | None,
    linker: str | None,
    spans: list[str | None] | None,
    passing: list[str] | None,
    precision: float | None,
    pronouns: bool | None,
) -> dict[str, Any]:
    """Body of `pgembed._find_links`; NULL or empty text has no mentions."""
    pinning.pin(DATABASE, target)
    table, _ = columns.table(DATABASE, target)
    opened = opening.open_linker(DATABASE, registered.of_table(DATABASE, table, linker))
    mine = next(one for one in opened.targets if one.table.oid == table.oid)
    allowed = opened.allowed if passing is None else opened.only(rendering.mask(opened, mine.number, passing))
    found = _link(opened, content or "", spans, allowed, precision, pronouns)
    # a row of another target is no row of this table, and neither is it none
    shown = [link for link in found if link.row is None or opened.key_of(link.row)[0] == mine.number]
    keys = [None if link.row is None else opened.key_of(link.row)[1] for link in shown]
    seconds = [None if link.runner_up is None else opened.key_of(link.runner_up) for link in shown]
    return {
        "mentions": [link.mention for link in shown],
        "starts": [link.start_char for link in shown],
        "ends": [link.end_char for link in shown],
        "keys": keys,
        "scores": [link.score for link in shown],
        "margins": [link.margin for link in shown],
        "decisions": [link.decision for link in shown],
        "seconds": [None if one is None or one[0] != mine.number else one[1] for one in seconds],
        "kinds": [link.kind for link in shown],
        "statement": rendering.statement(DATABASE, mine),
    }


@boundary
def keys(
    linker: str | None,
    content: str | None,
    spans: list[str | None] | None,
    passing: list[str] | None,
    precision: float | None,
    pronouns: bool | None,
) -> list[tuple[object, ...]]:
    """Body of `pgembed._link_keys`."""
    opened = opening.open_linker(DATABASE, linker)
    allowed = opened.allowed if passing is None else opened.only(rendering.mask(opened, opened.targets[0].number, passing))
    found = _link(opened, content or "", spans, allowed, precision, pronouns)
    return [
        (
            *(link.mention, link.start_char, link.end_char, *_place(opened, link.row), link.score, link.margin, link.decision),
            *(*_place(opened, link.runner_up), link.kind),
        )
        for link in found
    ]


@boundary
def explain(
    linker: str | None,
    content: str | None,
    start_char: int | None,
    end_char: int | None,
    k: int | None,
    passing: list[str] | None,
    pronouns: bool | None,
) -> list[tuple[object, ...]]:
    """Body of `pgembed._explain_link`."""
    if k is None or k < 1:
        raise errors.InvalidParameter(f"k must be at least 1, not {'NULL' if k is None else k}", hint="Leave it out for 3 candidates.")
    if (start_char is None) != (end_char is None):
        raise errors.NullNotAllowed(
            f"{'start_char' if start_char is None else 'end_char'} is NULL",
            hint="Give both ends of a place, or none for all that are found.",
        )
    opened = opening.open_linker(DATABASE, linker)
    allowed = opened.allowed if passing is None else opened.only(rendering.mask(opened, opened.targets[0].number, passing))
    text = content or ""
    found = _link(opened, text, None if start_char is None else [f"[{start_char},{end_char})"], allowed, None, pronouns)
    rows: list[tuple[object, ...]] = []
    spans = [(link.start_char, link.end_char) for link in found]
    told = opened.linker.explain(text, spans, allowed=allowed, pronouns=bool(pronouns), k=k, check=DATABASE.check_interrupts)
    for link, span, best in zip(found, spans, told, strict=True):
        for rank, (row, probability, evidence) in enumerate(best, 1):
            name = opened.linker.knowledge.names[row]
            words = [one.words for one in evidence]
            rows.append((link.mention, *span, rank, *_place(opened, row), name, probability, link.decision, words))
    return rows


def _link(
    opened: Opened, text: str, spans: list[str | None] | None, allowed: Bools | None, precision: float | None, pronouns: bool | None
) -> list[Link]:
    places = rendering.spans(spans, text)
    wanted = rendering.wanted_precision(precision)
    if not text.strip() or places == []:
        return []
    given = None if places is None else [places]
    return opened.linker.link([text], given, allowed=allowed, pronouns=bool(pronouns), precision=wanted, check=DATABASE.check_interrupts)[0]


def _place(opened: Opened, row: int | None) -> tuple[str | None, str | None]:
    """Table, as regclass reads it, and key of a row."""
    if row is None:
        return None, None
    number, key = opened.key_of(row)
    return str(opened.line.target(number).table.oid), key
