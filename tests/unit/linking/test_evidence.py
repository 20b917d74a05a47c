"""Reasons in words."""

from __future__ import annotations

import pytest

from pgembed.linking import untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.evidence import explain
from tests.unit.linking.small import europe, knowledge, marked, read


def reasons(text: str, mention: int, row: int) -> dict[str, list[str]]:
    compiled = Compiled(europe())
    plain, spans = marked(text)
    places = read(compiled, [plain], [spans])
    probability, pairs = untrained.rank(untrained.prepare(compiled, places))
    found: dict[str, list[str]] = {}
    made = explain(compiled, places, pairs, probability, mention, row)
    assert [abs(reason.value) for reason in made] == sorted((abs(reason.value) for reason in made), reverse=True)
    for reason in made:
        found.setdefault(reason.feature, []).append(reason.words)
    return found


@pytest.mark.parametrize(
    ("text", "mention", "row", "feature", "words"),
    [
        ("[Germany] and [Merkel]", 0, 0, "related", "the text also names Angela Merkel (Germany, leader name: Angela Merkel)"),
        ("[Germany] and [Merkel]", 1, 1, "related", "the text also names Germany (Germany, leader name: Angela Merkel)"),
        ("[Germany]", 0, 0, "name", 'it is called "Germany"'),
        ("[Germny]", 0, 0, "name", '"Germny" is spelt almost like "Germany"'),
        ("[NASA]", 0, 12, "name", '"NASA" are the first letters of "National Aeronautics and Space Administration"'),
        ("[Andra]", 0, 19, "name", '"Andra" is a part of its name, "Andra (singer)"'),
        (
            "[the airport], 3902 m long",
            0,
            10,
            "facts",
            f"the text also has 3902 ({'Leonardo da Vinci International Airport'}, runway length: 3902)",
        ),
        ("[Rome] ... [The capital]", 1, 9, "same", '"Rome" means Rome too'),
        ("the [Italian] of [Rome]", 0, 8, "near", '"Italian" recalls a fact (Italy, language: Italian language)'),
    ],
)
def test_reasons(text: str, mention: int, row: int, feature: str, words: str) -> None:
    assert words in reasons(text, mention, row).get(feature, [])


def test_no_candidate_has_no_reasons() -> None:
    assert reasons("[Germany]", 0, 16) == {}


def test_a_kind_is_told_where_words_say_it_or_where_it_tells_candidates_apart() -> None:
    def kinds(names: list[str], types: list[tuple[str, ...]], text: str) -> list[str]:
        compiled = Compiled(knowledge(list(names), [], types=types))
        plain, spans = marked(text)
        places = read(compiled, [plain], [spans])
        probability, pairs = untrained.rank(untrained.prepare(compiled, places))
        made = explain(compiled, places, pairs, probability, 0, 0)
        return [reason.words for reason in made if reason.feature == "kind"]

    names = ["statement timeout", "statement stats", "lock timeout"]
    # all candidates are settings, and "statement" does not say so
    assert kinds(names, [("setting",)] * 3, "a [statement timout] of ten minutes") == []
    assert kinds(names, [("setting",)] * 3, "the [timeout settings]") == [
        '"timeout settings" says what it is: statement timeout is a setting'
    ]
    mixed: list[tuple[str, ...]] = [("setting",), ("setting",), ("error",)]
    assert kinds(names, mixed, "a [statement timout] of ten minutes") == [
        'rows with words of "statement timout" in their names are mostly of a kind with statement timeout, a setting'
    ]
