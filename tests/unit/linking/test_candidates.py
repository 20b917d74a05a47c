"""Names by their trigrams."""

from __future__ import annotations

import pytest

from pgembed.linking.candidates import Trigrams


def test_an_equal_text_has_cosine_one() -> None:
    found, cosines = Trigrams(["work mem", "shared buffers", "wal level"]).similar("shared buffers", 3)
    assert found[0] == 1
    assert cosines[0] == pytest.approx(1.0)
    assert (cosines[1:] < 0.5).all()


def test_highest_first_and_equals_in_order() -> None:
    found, cosines = Trigrams(["berlin", "berlin", "bern", "paris"]).similar("berlin", 10)
    assert found.tolist() == [0, 1, 2]
    assert cosines.tolist() == sorted(cosines.tolist(), reverse=True)


def test_k_limits_the_candidates() -> None:
    assert Trigrams(["berlin"] * 5).similar("berlin", 2)[0].tolist() == [0, 1]


def test_rare_trigrams_count_for_more() -> None:
    names = [*(f"airport {city}" for city in ("aaa", "bbb", "ccc", "ddd")), "aarhus"]
    assert Trigrams(names).similar("airport aarhus", 1)[0].tolist() == [4]


def test_what_shares_nothing_is_no_candidate() -> None:
    found, cosines = Trigrams(["berlin"]).similar("tokyo", 5)
    assert len(found) == len(cosines) == 0


def test_trigrams_do_not_reach_across_texts() -> None:
    assert len(Trigrams(["ab", "cd"]).similar("b c", 5)[0]) == 0
