"""Finding mentions with what a linker knows of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed.linking import detecting
from pgembed.linking.contract import Example, Facts, Knowledge
from pgembed.linking.detecting import Detector, nouns
from pgembed.mentions.found import KINDS, reported

KNOWLEDGE = Knowledge(
    ["a", "b", "c"],
    ["Abilene Airport", "Abilene", None],
    [("ABI",), (), ()],
    [("public airport",), ("settlement",), ()],
    [None, None, None],
    ["city served", "runway length"],
    Facts(np.array([0, 0]), np.array([0, 1]), np.array([1, -1]), ["Abilene", "2194"]),
)


def found(content: str, detector: Detector, pronouns: bool = False) -> list[tuple[str, str]]:
    mentions = detector.find([content], pronouns)
    return [(content[a:b], KINDS[k]) for a, b, k in zip(mentions.start, mentions.end, mentions.kind, strict=True)]


def test_rows_are_described_by_types_and_by_relations_that_lead_to_rows() -> None:
    assert nouns(KNOWLEDGE) == ["city served", "public airport", "settlement"]
    mentions = found("The ABI, a large one: the airport, the city, this settlement and the length", Detector(KNOWLEDGE))
    assert mentions == [("ABI", "name"), ("the airport", "description"), ("the city", "description"), ("this settlement", "demonstrative")]


def test_changed_rows_are_found_by_their_new_names() -> None:
    detector = Detector(KNOWLEDGE).changed([0], [(0, "Dyess Base")])
    mentions = detector.find(["Dyess Base in Abilene"])
    assert detector.dictionary.row[mentions.name].tolist() == [0, 1]


def test_words_that_the_texts_of_rows_write_small_are_ordinary() -> None:
    small = Knowledge(["a"], ["Weiter"], [()], [()], ["Es geht weiter und weiter, und weiter geht es."])
    assert found("wie geht es weiter", Detector(small)) == []
    assert found("wie geht es weiter", Detector(Knowledge(["a"], ["Weiter"], [()], [()], [None]))) == [("weiter", "name")]


def test_what_labels_speak_against_is_not_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detecting, "LEAST", 0.2)
    contents = [f"Abilene has Serial Numbers {n}" for n in range(400)]
    detector = Detector(KNOWLEDGE)
    habits = detector.learn([Example(content, [(1, 8)], ["b"]) for content in contents])
    assert ("Serial Numbers", "name") in found("Abilene has Serial Numbers", detector)
    assert found("Abilene has Serial Numbers", Detector(KNOWLEDGE, habits)) == [("Abilene", "name")]


def test_descriptions_that_mean_nothing_are_not_reported_and_unknown_names_are() -> None:
    content = "Abilene Airport Road and Unknown Place near the city"
    mentions = Detector(KNOWLEDGE).find([content])
    surfaces = [content[a:b] for a, b in zip(mentions.start, mentions.end, strict=True)]
    none = reported(mentions, np.zeros(len(mentions), bool))
    assert "the city" in surfaces
    assert {surface for surface, said in zip(surfaces, none, strict=True) if said} >= {"Unknown Place"}
    assert "the city" not in {surface for surface, said in zip(surfaces, none, strict=True) if said}
    every = reported(mentions, np.ones(len(mentions), bool))
    assert [surface for surface, said in zip(surfaces, every, strict=True) if said] == ["Abilene Airport Road", "Unknown Place", "the city"]


def test_a_name_that_the_rows_texts_write_small_is_a_mention() -> None:
    said = ["the autovacuum daemon runs when the launcher says so", "a launcher starts autovacuum", "autovacuum needs the launcher"]
    rows = Knowledge(["1", "2", "3"], ["autovacuum", "Launcher", "Port"], [()] * 3, [()] * 3, list(said))
    found = Detector(rows).find(["we tuned autovacuum and the launcher"])
    assert [(int(a), int(b)) for a, b in zip(found.start, found.end, strict=True)] == [(9, 19)]
