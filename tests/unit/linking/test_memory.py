"""What labels said of surfaces, and what words say of rows in a role."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from pgembed.linking.contract import NIL, Facts, Knowledge
from pgembed.linking.memory import RECALLED, SMOOTHING, Memory, Recall
from pgembed.linking.sayings import DOUBT, Said, Sayings


def knowledge(names: list[str], pairs: list[tuple[int, int, int]], relations: list[str]) -> Knowledge:
    n = len(names)
    row, relation, other = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True)) if pairs else [np.zeros(0, np.int64)] * 3
    facts = Facts(row, relation, other, [names[at] for at in other.tolist()])
    return Knowledge([f"k{at}" for at in range(n)], list(names), [()] * n, [()] * n, [None] * n, relations, facts)


def test_features_are_the_counts_of_labels_without_those_of_the_same_text() -> None:
    rng = random.Random(3)
    table = knowledge([f"row {at}" for at in range(6)], [], [])
    surfaces = ["alpha", "beta", "gamma"]
    labels = [(rng.randrange(8), rng.choice(surfaces), rng.choice([None, *table.keys])) for _ in range(80)]
    recall = Recall(Memory.of((surface, key) for _, surface, key in labels), table)
    labels.sort(key=lambda label: label[0])
    text = np.array([label[0] for label in labels])
    number = recall.numbers([label[1] for label in labels])
    row = np.array([NIL if key is None else table.keys.index(key) for _, _, key in labels])
    mention = np.repeat(np.arange(len(labels)), 6)
    asked = np.tile(np.arange(6), len(labels))
    values = recall.features(mention, asked, number, recall.own(text, number, row))
    for at, (m, r) in enumerate(zip(mention.tolist(), asked.tolist(), strict=True)):
        others = [label for label in labels if label[0] != labels[m][0]]
        of_surface = Counter(key for _, surface, key in others if surface == labels[m][1])
        said, total = of_surface[f"k{r}"], sum(of_surface.values())
        of_row = sum(key == f"k{r}" for _, _, key in others)
        expected = [said / (total + SMOOTHING) if total else np.nan, np.log1p(said), np.log1p(total - said), np.log1p(of_row)]
        assert values[at] == pytest.approx(expected, rel=1e-5, nan_ok=True), RECALLED


def test_rows_that_are_gone_hidden_or_forgotten_say_nothing() -> None:
    table = knowledge(["a", "b"], [], [])
    memory = Memory.of([("x", "k0"), ("x", "k1"), ("x", "k7"), ("x", None)])
    pair = np.zeros(2, np.int64), np.arange(2)
    whole = Recall(memory, table)
    assert whole.features(*pair, whole.numbers(["X"]))[:, 0] == pytest.approx([1 / 3.5, 1 / 3.5])
    assert whole.nil(whole.numbers(["x", "y"])) == pytest.approx([1 / 3.5, np.nan], nan_ok=True)
    for some in (Recall(memory, table, np.array([True, False])), Recall(memory.forget(["k0"]), table)):
        assert some.features(*pair, some.numbers(["x"]))[:, 0] == pytest.approx([0, 1 / 2.5])
        assert some.candidates(some.numbers(["x", "y"]))[1].tolist() == [1]


def test_words_say_of_a_row_what_was_said_of_others_in_its_role() -> None:
    # Rows 0..3 are led, 4..7 lead; "boss" was said of leaders 4, 5 and 6.
    table = knowledge([f"n{at}" for at in range(8)], [(at, 0, 4 + at) for at in range(4)], ["leader"])
    labels = [("the boss", "k4"), ("boss", "k5"), ("boss n6", "k6"), ("n6", "k6"), ("rare", "k4")]
    sayings = Sayings.of(labels, {key: [name or ""] for key, name in zip(table.keys, table.names, strict=True)})
    said = Said(sayings, table)
    values = said.features(["the boss", "boss", "rare", "n6"], np.array([1, 1, 1, 2, 3]), np.array([7, 4, 0, 7, 7]))
    usual = (4 + 1) / (8 + 2)
    of_seven = np.log((3 + DOUBT * usual) / (3 + DOUBT) / usual)  # three others were called boss, all of them lead
    of_four = np.log((2 + DOUBT * usual) / (2 + DOUBT) / usual)  # its own label does not count
    # Nobody ever described a row that is led, so that none was called boss says nothing.
    assert values[:3, 0] == pytest.approx([of_seven, of_four, 0.0], rel=1e-5)
    assert np.isnan(values[3:]).all()  # said of one row only; a name is not said of what it names


def test_words_say_nothing_of_roles_that_labels_never_met() -> None:
    # Rows 0 and 1 lead to 2 and 3 by "leader", 4 and 5 to 6 and 7 by "club"; only leaders were ever labelled.
    table = knowledge([f"n{at}" for at in range(8)], [(0, 0, 2), (1, 0, 3), (4, 1, 6), (5, 1, 7)], ["leader", "club"])
    labels = [("boss", "k2"), ("boss", "k3"), ("nation", "k0"), ("nation", "k1")]
    said = Said(Sayings.of(labels, {key: [name] for key, name in zip(table.keys, table.names, strict=True) if name}), table)
    values = said.features(["boss"], np.zeros(8, np.int64), np.arange(8))[:, 0]
    assert values[2] > 0 > values[0]
    assert values[4:] == pytest.approx(np.zeros(4))
