from __future__ import annotations

import numpy as np

from pgembed.joint import features, zones
from tests.unit.joint.made import places, rows


def bag(side: features.Inputs, zone: str, thing: int) -> list[str]:
    of = side.zones[zone]
    return [side.words[word] for word in of.word[of.start[thing] : of.start[thing + 1]].tolist()]


def test_ngrams_are_those_of_a_plain_loop() -> None:
    words = ["a", "paris", "été", "東"]
    found = features.grams(words)
    for at, word in enumerate(words):
        marked = f" {word} "
        expected = sum(max(0, len(marked) - size + 1) for size in features.SIZES)
        assert found.start[at + 1] - found.start[at] == expected
    again = features.grams(["paris"])
    assert again.gram.tolist() == found.gram[found.start[1] : found.start[2]].tolist()
    assert again.whole[0] == found.whole[1] != found.whole[0]


def test_words_alike_share_ngrams_and_others_do_not() -> None:
    one, other, third = (set(features.grams([word]).gram.tolist()) for word in ("amsterdam", "amstredam", "zoology"))
    assert len(one & other) >= 6 > 1 >= len(one & third)


def test_hashes_are_the_same_everywhere() -> None:
    assert features.grams(["berlin"]).gram[:3].tolist() == [13077, 10998, 30027]


def test_sums_of_empty_stretches_are_zero() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert features.summed(values, np.array([0, 0, 2, 2, 3, 3])).tolist() == [[0, 0], [2, 4], [0, 0], [4, 5], [0, 0]]


def test_zones_of_places() -> None:
    left = places(["The mayor of Köln met Ada's friends in Bonn."], [(0, "The mayor"), (0, "Köln"), (0, "Ada's")])
    assert bag(left, "surface", 1) == ["koln"]
    assert bag(left, "before", 1) == ["the", "mayor", "of"]
    assert bag(left, "after", 1) == ["met", "ada", "s", "friends"]
    assert bag(left, "whole", 0) == ["mayor"]
    assert bag(left, "whole", 2) == ["ada"]
    assert bag(left, "others", 1) == ["the", "mayor", "ada", "s"]
    assert bag(left, "named", 1) == ["mayor", "ada"]
    assert bag(left, "previous", 0) == []
    assert bag(left, "previous", 2) == ["koln"]
    assert "koln" not in bag(left, "text", 1)
    form = dict(zip(zones.FORM, left.form.T, strict=True))
    assert form["article"].tolist() == [1, 0, 0]
    assert form["capital first"].tolist() == [0, 1, 1]


def test_places_of_two_texts_are_strangers() -> None:
    left = places(["Ada", "Bonn"], [(0, "Ada"), (1, "Bonn")])
    assert bag(left, "others", 0) == bag(left, "previous", 1) == []


def test_many_places_look_at_their_neighbours_only() -> None:
    text = " ".join(f"w{i}" for i in range(500))
    left = places([text], [(0, f"w{i} ") for i in range(100, 400)])
    assert len(bag(left, "others", 150)) == 2 * zones.OTHERS
    assert len(bag(left, "text", 150)) == 2 * zones.TEXT


def test_zones_of_rows() -> None:
    right = rows(
        ["Köln", "Ada (singer)", "Germany", None],
        [(0, "leaderName", 1, "Ada"), (0, "country", 2, "Germany"), (0, "founded", -1, "38 BC")],
        aliases=[("Cologne",), (), (), ()],
        types=[("city",), (), (), ()],
    )
    assert bag(right, "name", 0) == ["koln", "cologne"]
    assert bag(right, "whole", 1) == ["adasinger", "ada"]
    assert bag(right, "neighbours", 0) == ["ada", "germany", "38", "bc"]
    assert bag(right, "neighbours", 1) == ["koln"]
    assert bag(right, "stands", 1) == ["leader", "name"]
    assert bag(right, "has", 0) == ["leader", "name", "country", "founded"]
    assert bag(right, "beyond", 1) == ["germany"]
    assert bag(right, "stands", 0) == ["city"]
    assert bag(right, "name", 3) == []


def test_a_fact_to_itself_is_no_neighbour_two_facts_away() -> None:
    right = rows(["Ada"], [(0, "knows", 0, "Ada")])
    assert bag(right, "beyond", 0) == []
    assert right.form[0, 1] == 0


def test_things_can_be_taken() -> None:
    left = places(["Ada met Bob", ""], [(0, "Ada"), (0, "Bob")])
    some = left.take(np.array([1, 1]))
    assert bag(some, "surface", 0) == bag(some, "surface", 1) == ["bob"]
    assert len(some) == 2
