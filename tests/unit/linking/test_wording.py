"""Words as linking compares them."""

from __future__ import annotations

import pytest

from pgembed.linking import wording
from pgembed.linking.wording import Vocabulary


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the U.S. Air Force's", ["the", "us", "air", "force"]),
        ("A.F.C. Blackpool", ["afc", "blackpool"]),
        ("J. V. Jones", ["jv", "jones"]),
        ("shared_buffers", ["shared", "buffers"]),
        ("Turkey\u2019s \u0130zmir", ["turkey", "izmir"]),
        ("\u6771\u4eac", ["\u6771", "\u4eac"]),
        ("---", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert wording.words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the airport", "airport"),
        ("hte airport", "airport"),
        ("this the city", "city"),
        ("The", "the"),
        ("a b c", "abc"),
        ("Ted Bundy", "ted bundy"),
    ],
)
def test_articles(text: str, expected: str) -> None:
    assert " ".join(wording.said(wording.words(text))) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("noodles", "noodle"), ("countries", "country"), ("paris", "paris"), ("texas", "texa"), ("us", "us"), ("glass", "glass")],
)
def test_stems(word: str, expected: str) -> None:
    assert wording.stem(word) == expected


def test_misspelt_words_are_read_as_known_ones() -> None:
    known = Vocabulary(["airport", "germany", "1907", "city", "cities"])
    assert known.words == ["airport", "germany", "1907", "city"]
    start, number, weight = known.read([["arprot", "germny", "xyz"], ["1908"], ["citys", "city"], []])
    assert start.tolist() == [0, 2, 2, 3, 3]
    assert number.tolist() == [0, 1, 3]
    assert weight[2] == 1.0
    assert 0.5 < weight[0] < weight[1] < 1.0  # two errors, one


def test_an_empty_vocabulary_knows_nothing() -> None:
    start, number, _ = Vocabulary([]).read([["airport"]])
    assert start.tolist() == [0, 0]
    assert not len(number)


def test_words_that_are_added_correct_others_too() -> None:
    known = Vocabulary(["berlin", "bremen"])
    assert known.read([["bremenn", "hamburk"]])[1].tolist() == [1]
    grown = known.added(["hamburg", "berlin"])
    assert grown.words == ["berlin", "bremen", "hamburg"]
    assert grown.read([["bremenn", "hamburk"]])[1].tolist() == [1, 2]
    assert known.read([["hamburk"]])[1].tolist() == []
