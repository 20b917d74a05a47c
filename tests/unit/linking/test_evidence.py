"""Reasons in words."""

from __future__ import annotations

import pytest

from pgembed.linking import untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.evidence import explain
from tests.unit.linking.small import europe, marked, read


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
