"""What is learned from labels about what is a mention."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pgembed.mentions import finding
from pgembed.mentions.dictionary import compile
from pgembed.mentions.habits import Habits

NAMES = ("Alpha Bridge", "Beta Tower", "Gamma Hall", "Delta Works", "Water")
DICTIONARY = compile(list(enumerate(NAMES)), nouns=("tower",))


def labelled(n: int, seed: int = 0, article: bool = False) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Texts in which names are mentions but after "ISBN", "the tower" and "pastry" are, "Serial Number" never is."""
    rng = random.Random(seed)
    texts, spans = [], []
    for _ in range(n):
        parts: list[tuple[str, bool]] = []
        for _ in range(rng.randint(1, 3)):
            name = rng.choice(NAMES[:3])
            parts.append((("the " if article else "") + name, True) if rng.random() < 0.7 else (f"ISBN {name}", False))
            parts += rng.choice([[("Serial Number", False)], [("some pastry", True)], [("the tower", True)], []])
        content, places = "We saw ", []
        for words, is_mention in parts:
            skip = 5 if words.startswith("some ") else 0
            if is_mention:
                places.append((len(content) + 1 + skip, len(content) + 1 + len(words)))
            content += words + " and then "
        texts.append(content)
        spans.append(places)
    return texts, spans


def likely(content: str, habits: Habits) -> dict[str, float]:
    mentions = finding.find_many([content], DICTIONARY, habits=habits)
    return {content[a:b]: float(p) for a, b, p in zip(mentions.start, mentions.end, mentions.likely, strict=True)}


def test_surfaces_and_surroundings_are_learned() -> None:
    habits = finding.learn(*labelled(300), DICTIONARY)
    found = likely("We saw Alpha Bridge and then ISBN Beta Tower and then Serial Number and then some pastry and the tower", habits)
    assert found["Alpha Bridge"] > 0.9
    assert found["pastry"] > 0.9, "which nothing but the labels tells of"
    assert found["the tower"] > 0.9
    assert found["Serial Number"] < 0.1
    assert min(found.get("ISBN Beta Tower", 0.0), found.get("Beta Tower", 1.0)) < 0.1


def test_a_surface_without_labels_is_judged_by_its_form() -> None:
    found = likely("We saw Delta Works and then Unknown Thing", finding.learn(*labelled(300), DICTIONARY))
    assert found["Delta Works"] > 0.6
    assert found["Delta Works"] > found["Unknown Thing"]


@pytest.mark.parametrize("article", [True, False])
def test_the_article_is_part_of_a_mention_where_labels_say_so(article: bool) -> None:
    habits = finding.learn(*labelled(100, article=article), DICTIONARY)
    assert habits.articles is article
    wanted = "the Alpha Bridge" if article else "Alpha Bridge"
    assert wanted in likely("We saw the Alpha Bridge and then", habits)


def test_the_same_labels_give_the_same_habits_which_can_be_stored() -> None:
    texts, spans = labelled(200)
    one, two = finding.learn(texts, spans, DICTIONARY, seed=3), finding.learn(texts, spans, DICTIONARY, seed=3)
    stored = Habits.of(one.state())
    mentions = finding.find_many(texts, DICTIONARY, habits=one)
    for other in (two, stored):
        again = finding.find_many(texts, DICTIONARY, habits=other)
        assert np.array_equal(mentions.likely, again.likely)
        assert np.array_equal(mentions.start, again.start)


def test_probabilities_are_honest_about_texts_that_were_not_seen() -> None:
    habits = finding.learn(*labelled(400), DICTIONARY)
    texts, spans = labelled(200, seed=9)
    mentions = finding.find_many(texts, DICTIONARY, habits=habits)
    right = [(a + 1, b + 1) in spans[t] for t, a, b in zip(mentions.text, mentions.start, mentions.end, strict=True)]
    assert abs(float(mentions.likely.mean()) - np.mean(right)) < 0.05
    assert ((mentions.likely > 0.5) == right).mean() > 0.95


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_labels_drop_nothing(n: int) -> None:
    habits = finding.learn(*labelled(n), DICTIONARY)
    assert likely("We saw Alpha Bridge", habits)["Alpha Bridge"] >= 0.5


def test_labels_may_lie_anywhere() -> None:
    texts = ["Alpha Bridge, Beta Tower!"] * 30
    spans = [[(1, 6), (3, 9), (1, 26), (13, 14), (13, 15)]] * 30
    assert likely("Alpha Bridge", finding.learn(texts, spans, DICTIONARY))
