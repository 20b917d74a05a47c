"""A linker after rows changed links as one that is compiled anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pgembed.linking import overlay
from pgembed.linking.compiled import Compiled
from pgembed.linking.contract import NIL, Facts, Knowledge
from pgembed.linking.engine import Linker

CITIES = ["Ulm", "Kelheim", "Bonn", "Trier", "Mainz", "Worms", "Speyer", "Passau"]
SURNAMES = ["Abel", "Brandt", "Carver", "Dahl", "Ernst", "Fuchs", "Grimm", "Huber", "Iversen", "Jung"]
GIVEN = ["Anna", "Bela", "Cora", "Dora", "Emil", "Fritz"]


def knowledge(called: dict[int, str | None] | None = None, lives: dict[int, int] | None = None, more: tuple[str, ...] = ()) -> Knowledge:
    """Cities, and people who live there; some called or living otherwise, some more."""
    people = [f"{given} {surname}" for given in GIVEN for surname in SURNAMES]
    names: list[str | None] = [*CITIES, *people, *more]
    for row, name in (called or {}).items():
        names[row] = name
    home = {len(CITIES) + at: at % len(CITIES) for at in range(len(people) + len(more))} | (lives or {})
    said = [(row, city) for row, city in home.items() if names[row] and names[city]]
    facts = Facts(
        np.array([row for row, _ in said for _ in range(2)], np.int64),
        np.array([0, 1] * len(said), np.int64),
        np.array([other for _, city in said for other in (city, NIL)], np.int64),
        [text for row, city in said for text in (str(names[city]), str(1900 + row))],
    )
    types = [("city",) if row < len(CITIES) else ("person",) for row in range(len(names))]
    return Knowledge([str(row) for row in range(len(names))], names, [()] * len(names), types, [None] * len(names), ["home", "born"], facts)


TEXTS = [
    "Anna Abel of Ulm met Bela Brand in Kelheim.",
    "The city of Worms was visited by Xaver Quint, born in 1968.",
    "Zenobia Quint knew Dora Carver and Emil Dahl; both live in Neustadt.",
    "Trier, Mainz and Speyer are cities; Abel was born in 1908.",
    "Cora Fuchs wrote to Neustadt.",
]

CHANGES: dict[str, tuple[Knowledge, list[int]]] = {
    "another name": (knowledge({9: "Xaver Quint"}), [9]),
    "a new row": (knowledge(more=("Zenobia Quint",)), [68]),
    "a row is gone": (knowledge({8: None}), [8]),
    "a city is renamed": (knowledge({1: "Neustadt"}), [1]),
    "a relation leads elsewhere": (knowledge(lives={8: 5, 10: 3}), [8, 10]),
    "a city is gone": (knowledge({0: None}), [0]),
}


def links(linker: Linker, allowed: np.ndarray) -> list[list[tuple[object, ...]]]:
    """What each mention means, where that is clear: how rare words are is not counted again, so that scores differ a little."""
    found = linker.link(TEXTS, allowed=allowed)
    return [[(link.mention, link.row if link.score > 0.9 else None, pytest.approx(link.score, abs=0.2)) for link in some] for some in found]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "MOST_CHANGED", 0.5)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_links_as_if_compiled_anew(what: str) -> None:
    now, rows = CHANGES[what]
    allowed = np.array([name is not None for name in now.names])
    before = Linker(knowledge())
    first = links(before, np.ones(68, bool))
    assert overlay.changed(before._rows.compiled, now, rows) is not None
    assert links(before.changed(now, rows), allowed) == links(Linker(now), allowed)
    assert links(before, np.ones(68, bool)) == first


def test_changes_of_changes() -> None:
    linker, now = Linker(knowledge()), knowledge()
    for called, more, rows in (
        ({9: "Xaver Quint"}, (), [9]),
        ({9: "Xaver Quint", 1: "Neustadt"}, ("Zenobia Quint",), [1, 68]),
        ({9: None, 1: "Kelheim"}, ("Zenobia Quint",), [1, 9]),
    ):
        now = knowledge(called, more=more)
        assert overlay.changed(linker._rows.compiled, now, rows) is not None
        linker = linker.changed(now, rows)
        allowed = np.array([name is not None for name in now.names])
        assert links(linker, allowed) == links(Linker(now), allowed)


def test_nothing_is_left_of_what_is_gone() -> None:
    made = overlay.changed(Compiled(knowledge()), knowledge({0: None}), [0])
    assert made is not None
    assert 0 not in made.forms.row
    assert made.facts_of.count[0] == made.lean.count[0] == made.roles.count[0] - 1 == 0  # it is still a city
    assert made.fact_row[made.facts_of.member[made.facts_of.start[8] :][: made.facts_of.count[8]]].tolist() == []


def test_many_changes_and_new_relations_are_compiled_anew() -> None:
    base = Compiled(knowledge())
    assert overlay.changed(base, knowledge(), list(range(40))) is None
    assert overlay.changed(base, replace(knowledge(), relations=["home", "birth"]), [3]) is None
    assert overlay.changed(base, replace(knowledge(), types=[("village",)] * 68), [3]) is None
    links_ = Linker(knowledge()).changed(knowledge({9: "Xaver Quint"}), list(range(40))).link(["Xaver Quint is here."])
    assert [link.row for link in links_[0]] == [9]
