"""Learning from labels: what it must be good for, what it must survive."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from pgembed.errors import InvalidParameter
from pgembed.linking.contract import Example, Facts
from pgembed.linking.engine import Linker, Model, train
from pgembed.linking.passes import misspelt, read, without

from .made import examples, world

WORLD = world()
LABELS = examples(WORLD, 150)
OTHERS = examples(WORLD, 60, seed=1)


@pytest.fixture(scope="module")
def model() -> Model:
    return train(WORLD, LABELS)


def accuracy(linker: Linker, some: list[Example]) -> float:
    found = linker.ranked([one.content for one in some], [one.spans for one in some])
    keys = linker.knowledge.keys
    right = [
        bool(best.rows) and keys[best.rows[0]] == key
        for of_text, one in zip(found, some, strict=True)
        for best, key in zip(of_text, one.keys, strict=True)
    ]
    return float(np.mean(right))


def test_it_learns_and_a_stored_model_does_the_same(model: Model) -> None:
    trained = accuracy(Linker(WORLD, model=model), OTHERS)
    assert trained >= max(0.95, accuracy(Linker(WORLD), OTHERS))
    stored = model.to_bytes()
    again = Model.from_bytes(stored)
    assert again.to_bytes() == stored
    texts, spans = [one.content for one in OTHERS], [one.spans for one in OTHERS]
    assert Linker(WORLD, model=again).link(texts, spans) == Linker(WORLD, model=model).link(texts, spans)
    assert train(WORLD, LABELS).to_bytes() == stored


def test_bytes_that_are_no_model_are_refused(model: Model) -> None:
    stored = model.to_bytes()
    with pytest.raises(InvalidParameter, match="not a linker's model"):
        Model.from_bytes(b"something else")
    with pytest.raises(InvalidParameter, match="damaged"):
        Model.from_bytes(stored[:200] + bytes([stored[200] ^ 1]) + stored[201:])
    newer = stored[:16] + (99).to_bytes(4, "little") + stored[20:]
    with pytest.raises(InvalidParameter, match="version 99"):
        Model.from_bytes(newer)


def test_labels_name_rows_in_words_that_no_name_has() -> None:
    called = [Example(f"Old Smokey {verb}.", [(1, 11)], ["k3"]) for verb in ("sleeps", "grows", "burns", "shines", "waits", "falls")]
    linker = Linker(WORLD, model=train(WORLD, [*LABELS, *called]))
    (link,) = linker.link(["Yesterday Old Smokey sang."], [[(11, 21)]])[0]
    assert link.row == 3
    assert link.decision == "link"
    reasons = linker.explain("Yesterday Old Smokey sang.", [(11, 21)])[0][0]
    assert reasons[0] == 3
    assert any(reason.feature == "memory" and "6 of 6" in reason.words for reason in reasons[2])


def test_few_labels_change_little() -> None:
    before = accuracy(Linker(WORLD), OTHERS)
    for n in (3, 10, 40):
        assert accuracy(Linker(WORLD, model=train(WORLD, LABELS[:n])), OTHERS) >= before - 0.05
    with pytest.raises(InvalidParameter, match="learn from: 2, of at least 5"):
        train(WORLD, LABELS[:1])


def test_labels_of_every_kind_are_survived() -> None:
    strange = [
        Example("Ostrava is old.", [(1, 8)], ["gone"]),  # a key that the table does not have
        Example("Ostrava is old.", [(1, 8), (1, 8)], ["k1", "k0"]),  # contradictory
        Example("Ostrava is old.", [(1, 8), (1, 4), (5, 99), (0, 3), (4, 4)], ["k0", None, "k0", "k0", "k0"]),  # overlapping, beyond
        Example("", [], []),
        Example("\ud800 \U0001f600", [(1, 2)], [None]),
    ]
    model = train(WORLD, [*LABELS[:30], *strange])
    Linker(WORLD, model=Model.from_bytes(model.to_bytes())).link([one.content for one in strange])
    labels = read(strange, WORLD, 2, random.Random(0))
    assert [labels.surface(at) for at in range(len(labels.keys))] == ["Ostrava", "Ostrava", "Ost", "Ostrava", "\ud800"]
    assert labels.keys == [None, "k0", None, "k0", None]


def test_a_table_that_changed_since_training_is_linked_to_as_it_is_now(model: Model) -> None:
    absent = np.zeros(len(WORLD), bool)
    absent[[0, 17]] = True
    less = without(WORLD, absent)
    assert [less.names[int(at)] for at in less.facts.other] == less.facts.text
    kept = [one for one in OTHERS if not {"k0", "k17"} & set(one.keys)]
    assert accuracy(Linker(less, model=model), kept) >= 0.9
    facts = WORLD.facts
    more = replace(
        WORLD,
        relations=["founded", *WORLD.relations],
        facts=Facts(facts.row, facts.relation + 1, facts.other, facts.text),
    )
    assert accuracy(Linker(more, model=model), OTHERS) >= 0.9
    assert (
        Linker(
            replace(less, keys=[], names=[], aliases=[], types=[], context=[], facts=Facts(*[np.zeros(0, np.int64)] * 3, [])), model=model
        )
        .link(["Ostrava"], [[(1, 8)]])[0][0]
        .decision
        == "nil"
    )


def test_mentions_are_misspelt_in_their_texts_and_nothing_else_is() -> None:
    labels = read(LABELS, WORLD, 2, random.Random(0))
    wrong = misspelt(labels, 1.0, random.Random(1))
    assert wrong.texts != labels.texts
    for at in range(len(labels.keys)):
        assert wrong.surface(at)
    for before, after, which in zip(labels.texts, wrong.texts, range(len(labels.texts)), strict=True):
        here = np.flatnonzero(labels.text == which)
        pieces = [before[: int(labels.start[here[0]])], before[int(labels.end[here[0]]) : int(labels.start[here[1]])]]
        assert pieces[1] == after[int(wrong.end[here[0]]) : int(wrong.start[here[1]])]
        assert before[int(labels.end[here[1]]) :] == after[int(wrong.end[here[1]]) :]
