"""Which words go together: learned from contexts alone, and what it says of a mention whose text has no word of the right row's context."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pgembed import errors
from pgembed.linking import associations, sense_training, senses
from pgembed.linking.contract import Knowledge
from pgembed.linking.dense import Meaning

from .test_dense import SMALL, Words, made_up, measured


def topics(contexts: int = 1200, of: int = 300, seed: int = 0) -> list[str]:
    """Contexts of two topics in turn, ten of the topic's words each: "m17" are of the first, "r17" of the second."""
    rng = np.random.default_rng(seed)
    return [" ".join(f"{'mr'[at % 2]}{word}" for word in rng.choice(of, 10, replace=False)) for at in range(contexts)]


def learned(contexts: list[str]) -> associations.Associations:
    return associations.learn(associations.count(contexts))


def test_words_are_near_whose_contexts_have_the_same_words() -> None:
    known = learned(topics())
    first, other, second = known.of([["m1", "m2", "m3"], ["m4", "m5", "m6"], ["r1", "r2", "r3"]])
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert first @ other > first @ second + 0.3


def test_a_word_that_every_context_has_or_hardly_any_has_no_vector() -> None:
    known = learned([f"{context} always" + (" seldom" if at < associations.LEAST - 1 else "") for at, context in enumerate(topics())])
    assert "m1" in known.words
    assert not {"alway", "always", "seldom"} & set(known.words)
    assert not known.of([["always", "unheard"], []]).any()


def test_of_few_words_nothing_is_learned() -> None:
    known = learned(topics(of=100))
    assert known.words == ()
    assert known.of([["m1"], []]).shape == (2, 0)


def test_the_words_of_a_context_have_an_order_of_their_own() -> None:
    counted = associations.count(["banks zebra acre", None, "acre zebra"])
    assert counted.words == ["acr", "bank", "zebra"]
    assert counted.lengths.tolist() == [3, 0, 2]
    assert counted.contexts.tolist() == [2, 1, 2]


def test_of_many_pairs_every_second_or_third_context_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(associations, "PAIRS", 60_000)  # of 120,000
    monkeypatch.setattr(associations, "_PART", 700)
    # Every second context is of the first topic: of the second one nothing is known.
    first, second = learned(topics()).of([["m1", "m2"], ["r1", "r2"]])
    assert first.any()
    assert not second.any()


def test_parts_of_the_counting_are_together_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learned(topics())
    monkeypatch.setattr(associations, "_PART", 700)
    np.testing.assert_array_equal(learned(topics()).vectors, whole.vectors)


def test_it_is_stored_without_loss_and_what_does_not_fit_is_refused() -> None:
    known = learned(topics())
    back = associations.Associations.from_arrays({name: np.array(value) for name, value in known.arrays().items()})
    assert back.words == known.words
    np.testing.assert_array_equal(back.vectors, known.vectors)
    assert associations.Associations.from_arrays(associations.none().arrays()).words == ()
    with pytest.raises(ValueError, match="words have"):
        associations.Associations.from_arrays({**known.arrays(), "word_vectors": np.zeros((3, 4), np.float16)})


def bank(extra: list[str]) -> tuple[Knowledge, Words]:
    contexts: list[str | None] = ["bank m1 m2 m3", "bank r1 r2 r3", *extra]
    rows = len(contexts)
    return Knowledge([str(at) for at in range(rows)], ["bank"] * rows, [()] * rows, [()] * rows, contexts), Words(contexts)


def test_a_text_that_shares_no_word_with_its_row_is_understood_by_what_goes_together() -> None:
    for text, best in (("the bank of m40 and m50 m60", 0), ("the bank of r40 and r50 r60", 1)):
        sense = measured(Meaning(*bank(topics())), text, [0, 1])[:, senses.COLUMNS.index("sense")]
        assert sense.argmax() == best
        assert abs(sense[0] - sense[1]) > 1


def test_what_was_learned_keeps_its_associations() -> None:
    sides, truth = made_up(mentions=30)
    words = learned(topics())
    wide = np.zeros((30, words.vectors.shape[1]), np.float32)
    sides = replace(sides, words=words, said=wide, told=np.repeat(wide, 3, axis=0), told_near=np.repeat(wide, 3, axis=0))
    kept = sense_training.learn(sides, truth, "words", np.zeros(8, np.float32))
    text = "the bank of m40 and m50 m60"
    # Of these two rows alone no association could be learned.
    known = measured(Meaning(*bank([]), kept), text, [0, 1])[:, senses.COLUMNS.index("associated")]
    assert known[0] > known[1] + 0.3


def test_maps_are_given_the_associations_and_refused_where_these_are_missing() -> None:
    sides, truth = made_up()
    rng = np.random.default_rng(1)
    words = associations.Associations(("a", "b"), np.ones(2, np.float32), np.eye(2, 8, dtype=np.float32))
    turn = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    said = senses.unit(rng.standard_normal((900, 8)))
    told = senses.unit(rng.standard_normal((2700, 8)))
    told[::3] = senses.unit(said @ turn)
    # The vectors say nothing: what maps learn they learn of the words.
    blind = np.zeros_like(sides.row)
    sides = replace(sides, row=blind, words=words, said=said, told=told, told_near=np.zeros_like(told))
    _, odds = sense_training.crossed(sides, truth, np.arange(900) % 3, "s", np.zeros(8, np.float32), settings=SMALL)
    assert (odds.reshape(-1, 3).argmax(1) == 0).mean() > 0.7
    stored = sense_training.learn(sides, truth, "s", np.zeros(8, np.float32), settings=SMALL).arrays()
    assert senses.Learned.from_arrays(stored).words.words == ("a", "b")
    with pytest.raises(errors.InvalidParameter, match="another version"):
        senses.Learned.from_arrays({**stored, **associations.none().arrays()})


def test_a_row_without_associated_words_is_neither_near_nor_far() -> None:
    knowledge, dense = bank(topics())
    knowledge.context[1] = "bank"
    values = measured(Meaning(knowledge, dense), "the bank of m40 and m50", [0, 1])
    associated = values[:, senses.COLUMNS.index("associated")]
    assert np.isnan(associated).tolist() == [False, True]
    assert not np.isnan(values[:, -1]).any()


def test_a_former_objects_associations_are_taken_over() -> None:
    former = Meaning(*bank(topics()))
    assert former.words is None
    text = "the bank of m40 and m50 m60"
    before = measured(former, text, [0, 1])[:, senses.COLUMNS.index("associated")]
    after = measured(Meaning(*bank([]), words=former.words), text, [0, 1])[:, senses.COLUMNS.index("associated")]
    np.testing.assert_array_equal(after, before)
