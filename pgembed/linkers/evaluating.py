"""evaluating: a linker against texts of which somebody has said what their mentions mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pgembed import progress
from pgembed.linkers import labels, opening
from pgembed.linking import evaluating
from pgembed.linking.contract import NIL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgembed.database import Database
    from pgembed.linkers.labels import Labels
    from pgembed.linkers.opening import Opened
    from pgembed.linking.contract import Ints, Link
    from pgembed.linking.evaluating import Figures

BATCH = 256
SETS = "entity set"
_NAMES = ("precision", "recall", "f1", "accuracy_at_1", "accuracy_at_10")


def evaluate(
    db: Database, name: str | None, gold: str | None, *, find_mentions: bool, precision: float | None, pronouns: bool, seed: int
) -> list[dict[str, Any]]:
    """Lines of `pgembed.evaluate_linker`: a type of mention each, then all; with `find_mentions` also the sets of rows of texts.

    Args:
        gold: a table as labels are, as regclass writes it; its column mention_type, where it has one, says the types.
        find_mentions: whether the linker finds the places itself.
        precision, pronouns: as of `pgembed.link`.
        seed: of the intervals.
    Raises:
        errors.PgembedError: the linker is none, or the gold no table of labels.
    """
    from pgembed import errors

    if gold is None:
        raise errors.NullNotAllowed("gold is NULL", hint="Name a table or view of labels, as pgembed.train_linker() reads it.")
    labels.check(db, gold)
    opened = opening.open_linker(db, name)
    found = labels.read(db, gold, opened)
    labels.tell(db, str(name), found)
    texts = [position for position, places in enumerate(found.places) if places]
    with progress.shown(db, "evaluate_linker", str(name)):
        if find_mentions:
            return _found(db, opened, found, texts, precision, pronouns, seed)
        return _given(db, opened, found, texts, precision, seed)


def _given(db: Database, opened: Opened, found: Labels, texts: Sequence[int], precision: float | None, seed: int) -> list[dict[str, Any]]:
    kinds: dict[str, int] = {}
    at: list[int] = []
    kind_of: list[int] = []
    gold: list[int] = []
    linked: list[int] = []
    place: list[int] = []
    for part in _parts(db, texts):
        contents = [found.content[text] for text in part]
        spans = [list(found.places[text]) for text in part]
        allowed = opened.allowed
        made = opened.linker.link(contents, spans, allowed=allowed, precision=precision, check=db.check_interrupts)
        ranked = opened.linker.ranked(contents, spans, allowed=allowed, check=db.check_interrupts)
        for text, links, asked, rankings in zip(part, made, spans, ranked, strict=True):
            by_place = {(link.start_char, link.end_char): link for link in links}
            for span, ranking in zip(asked, rankings, strict=True):
                link, row = by_place.get(span), found.places[text][span]
                at.append(text)
                kind_of.append(_kind(kinds, found.kinds[text].get(span) or (link.kind if link else "name")))
                gold.append(row)
                linked.append(_row(link))
                place.append(ranking.rows.index(row) if row in ranking.rows else -1)
    figures = evaluating.given(_numbered(_ints(at), texts), _ints(kind_of), _ints(gold), _ints(linked), _ints(place), len(texts), seed=seed)
    return _lines(kinds, figures)


def _found(
    db: Database, opened: Opened, found: Labels, texts: Sequence[int], precision: float | None, pronouns: bool, seed: int
) -> list[dict[str, Any]]:
    kinds: dict[str, int] = {}
    gold: dict[tuple[int, int, int, int], int] = {}
    made: dict[tuple[int, int, int, int], int] = {}
    for part in _parts(db, texts):
        contents = [found.content[text] for text in part]
        linked = opened.linker.link(contents, allowed=opened.allowed, precision=precision, pronouns=pronouns, check=db.check_interrupts)
        for text, links in zip(part, linked, strict=True):
            called = {(link.start_char, link.end_char): link.kind for link in links}
            for link in links:
                if _row(link) != NIL:
                    made[text, link.start_char, link.end_char, _row(link)] = _kind(kinds, link.kind)
            for (start, end), row in found.places[text].items():
                if row != NIL:
                    kind = found.kinds[text].get((start, end)) or called.get((start, end)) or "name"
                    gold[text, start, end, row] = _kind(kinds, kind)
    gold_text, made_text = (_numbered(_ints([key[0] for key in links]), texts) for links in (gold, made))
    figures = evaluating.found(
        gold_text,
        _ints(list(gold.values())),
        np.asarray([key in made for key in gold], dtype=np.bool_),
        made_text,
        _ints(list(made.values())),
        np.asarray([key in gold for key in made], dtype=np.bool_),
        len(texts),
        seed=seed,
    )
    of_sets = evaluating.sets(gold_text, _ints([key[3] for key in gold]), made_text, _ints([key[3] for key in made]), len(texts), seed=seed)
    return [*_lines(kinds, figures), _line(SETS, of_sets)]


def _parts(db: Database, texts: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(texts), BATCH):
        progress.tell(db, start, len(texts))
        yield texts[start : start + BATCH]


def _row(link: Link | None) -> int:
    return link.row if link is not None and link.decision == "link" and link.row is not None else NIL


def _kind(kinds: dict[str, int], name: str) -> int:
    return kinds.setdefault(name, len(kinds))


def _numbered(at: Ints, texts: Sequence[int]) -> Ints:
    """Numbers of texts that have labels, from 0."""
    made: Ints = np.searchsorted(_ints(texts), at).astype(np.int64)
    return made


def _ints(values: Sequence[int]) -> Ints:
    return np.asarray(values, dtype=np.int64)


def _lines(kinds: dict[str, int], figures: dict[int, Figures]) -> list[dict[str, Any]]:
    named = sorted((name, figures[number]) for name, number in kinds.items() if number in figures)
    return [*(_line(name, one) for name, one in named), _line("all", figures[evaluating.ALL])]


def _line(name: str, figures: Figures) -> dict[str, Any]:
    line: dict[str, Any] = {"mention_type": name, "mentions": figures.mentions}
    for what in _NAMES:
        figure = getattr(figures, what)
        for suffix, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
            line[what + suffix] = None if np.isnan(value) else float(value)
    return line
