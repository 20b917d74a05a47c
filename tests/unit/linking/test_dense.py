"""What vectors say about candidates: with a model whose words are its dimensions, so that every cosine can be reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed import errors
from pgembed.linking import associations, sense_training, senses
from pgembed.linking.contract import Facts, Knowledge
from pgembed.linking.dense import Meaning

WORDS = ["bank", "money", "loan", "river", "water", "shore", "teller", "boat"]


class Words:
    """`linking.contract.Dense`: a dimension a word; counts what it is asked for."""

    space = "words"

    def __init__(self, contexts: list[str | None]) -> None:
        self._contexts = contexts
        self.embedded: list[str] = []
        self.fetched: list[int] = []

    def embed(self, texts: list[str]) -> np.ndarray:
        self.embedded += texts
        return np.array([[text.lower().split().count(word) for word in WORDS] for text in texts], np.float32).reshape(-1, len(WORDS))

    def vectors(self, rows: list[int]) -> np.ndarray:
        self.fetched += rows
        found = [[(self._contexts[row] or "").split().count(word) for word in WORDS] for row in rows]
        return np.array(found, np.float32).reshape(-1, len(WORDS))

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[int]]:
        return [[0, 1][:k] for _ in vectors]


CONTEXTS = ["bank money loan", "bank river water", "teller money", "boat river", None]


def knowledge(contexts: list[str | None] = CONTEXTS) -> Knowledge:
    rows = len(contexts)
    facts = Facts(np.array([2, 3]), np.array([0, 0]), np.array([0, 1]), ["bank", "bank"])
    return Knowledge([str(i) for i in range(rows)], ["bank"] * rows, [()] * rows, [("place",)] * rows, contexts, ["works at"], facts)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def measured(meaning: Meaning, text: str, rows: list[int]) -> np.ndarray:
    at = text.index("bank")
    return meaning.measure([text], ints(0), ints(at), ints(at + 4), np.zeros(len(rows), np.int64), np.array(rows))


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, senses.COLUMNS.index(name)]


def test_the_text_says_which_row_is_meant() -> None:
    meaning = Meaning(knowledge(), Words(CONTEXTS))
    for text, best in (("the bank gave a loan", 0), ("water below the bank", 1)):
        assert column(measured(meaning, text, [0, 1]), "sense").argmax() == best


def test_what_is_compared_is_what_its_name_says() -> None:
    values = measured(Meaning(knowledge(), Words(CONTEXTS)), "bank loan", [0, 1])
    q, s = np.array([1, 0, 1]) / 2**0.5, np.array([1, 0, 0])
    d = np.array([1, 1, 1]) / 3**0.5
    assert column(values, "context")[0] == pytest.approx(q @ d, abs=1e-3)
    assert column(values, "surface")[0] == pytest.approx(s @ d, abs=1e-3)
    lean = q - 0.3 * s
    assert column(values, "meaning")[0] == pytest.approx(lean @ d / np.linalg.norm(lean), abs=1e-3)
    flat = d - 0.3 * s
    assert column(values, "both")[0] == pytest.approx(lean @ flat / np.linalg.norm(lean) / np.linalg.norm(flat), abs=1e-3)


def test_neighbours_speak_for_a_row() -> None:
    values = measured(Meaning(knowledge(), Words(CONTEXTS)), "a boat at the bank", [0, 1])
    assert column(values, "near")[1] > column(values, "near")[0]
    assert column(values, "nearest")[1] == pytest.approx(0.5, abs=1e-3)  # of "boat bank" and "boat river"
    assert column(values, "overlap_near")[1] > 0 == column(values, "overlap_near")[0]


def test_each_text_and_surface_is_embedded_once_and_each_row_fetched_once() -> None:
    dense = Words(CONTEXTS)
    meaning = Meaning(knowledge(), dense)
    text = "a loan from the bank or the bank"
    first, second = text.index("bank"), text.rindex("bank")
    for _ in range(2):
        meaning.measure([text], ints(0, 0), ints(first, second), ints(first + 4, second + 4), ints(0, 0, 1, 1), ints(0, 1, 0, 1))
    assert dense.embedded == [text, "bank"]
    assert len(dense.fetched) == len(set(dense.fetched))


def test_a_mention_of_one_candidate_needs_no_model() -> None:
    dense = Words(CONTEXTS)
    values = measured(Meaning(knowledge(), dense), "the bank", [1])
    assert np.isnan(values).all()
    assert dense.embedded == []


def test_a_row_without_a_vector_is_unknown_and_no_evidence() -> None:
    values = measured(Meaning(knowledge(), Words(CONTEXTS)), "the bank gave a loan", [0, 1, 4])
    assert np.isnan(values[2]).all()
    assert not np.isnan(column(values, "sense")[:2]).any()


def test_no_mentions_at_all() -> None:
    nothing = ints()
    assert Meaning(knowledge(), Words(CONTEXTS)).measure([], nothing, nothing, nothing, nothing, nothing).shape == (0, len(senses.COLUMNS))


def test_a_linker_alone_or_in_a_batch_says_the_same() -> None:
    texts = ["the bank gave a loan", "water below the bank"]
    alone = np.concatenate([measured(Meaning(knowledge(), Words(CONTEXTS)), text, [0, 1]) for text in texts])
    start = np.array([text.index("bank") for text in texts])
    together = Meaning(knowledge(), Words(CONTEXTS)).measure(texts, ints(0, 1), start, start + 4, ints(0, 0, 1, 1), ints(0, 1, 0, 1))
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


def test_rows_near_to_the_text_are_proposed_for_each_of_its_mentions() -> None:
    mention, row = Meaning(knowledge(), Words(CONTEXTS)).proposed(["the bank"], ints(0, 0), 2)
    assert mention.tolist() == [0, 0, 1, 1]
    assert row.tolist() == [0, 1, 0, 1]


def made_up(seed: int = 0, mentions: int = 900, dim: int = 8) -> tuple[senses.Sides, np.ndarray]:
    """Mentions whose right row is the one whose vector is a certain turn of the text's: no cosine knows it, a map can learn it."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    text = senses.unit(rng.standard_normal((mentions, dim)))
    row = senses.unit(rng.standard_normal((3 * mentions, dim)))
    row[::3] = senses.unit(text @ turn + 0.3 * rng.standard_normal(text.shape))
    mention = np.repeat(np.arange(mentions), 3)
    zero = np.zeros(3 * mentions, np.float32)
    sides = senses.Sides(
        text, np.arange(mentions), np.zeros((1, dim), np.float32), np.zeros(mentions, np.int64), row, np.zeros_like(row),
        [("thing",)] * len(row), mention, np.arange(3 * mentions), zero, zero, np.zeros((0, dim), np.float32), ints(), ints(),
        associations.none(), *(np.zeros((many, 0), np.float32) for many in (mentions, 3 * mentions, 3 * mentions)),
    )  # fmt: skip
    return sides, np.arange(3 * mentions) % 3 == 0


SMALL = sense_training.Settings(maps=2, rank=8, epochs=30, batch=64, rate=1e-2, dropped=0.1)


def accuracy(score: np.ndarray, truth: np.ndarray) -> float:
    return float((score.reshape(-1, 3).argmax(1) == 0).mean())


def test_maps_learn_what_no_cosine_shows_and_know_it_of_other_rows() -> None:
    sides, truth = made_up()
    fold = np.arange(900) % 3
    _, odds = sense_training.crossed(sides, truth, fold, "s", np.zeros(8, np.float32), settings=SMALL)
    assert accuracy(senses.untrained(senses.parts(sides, senses.no_means(sides)), sides.mention), truth) < 0.5
    assert accuracy(odds, truth) > 0.7


def test_learning_is_the_same_for_the_same_seed_and_is_stored_without_loss() -> None:
    sides, truth = made_up()
    one, two = (sense_training.learn(sides, truth, "s", np.zeros(8, np.float32), settings=SMALL, seed=3) for _ in range(2))
    values = senses.parts(sides, one.means)
    np.testing.assert_array_equal(one.score(values, sides), two.score(values, sides))
    stored = {name: np.array(array) for name, array in one.arrays().items()}
    back = senses.Learned.from_arrays(stored)
    np.testing.assert_array_equal(back.score(values, sides), one.score(values, sides))
    other = sense_training.learn(sides, truth, "s", np.zeros(8, np.float32), settings=SMALL, seed=4)
    assert (other.score(values, sides) != one.score(values, sides)).any()


def test_few_labels_teach_weights_alone_and_none_leave_the_round_ones() -> None:
    sides, truth = made_up(mentions=30)
    assert sense_training.learn(sides, truth, "s", np.zeros(8, np.float32)).left is None
    nothing = sense_training.learn(sides, np.zeros_like(truth), "s", np.zeros(8, np.float32))
    values = senses.parts(sides, nothing.means)
    np.testing.assert_allclose(nothing.score(values, sides), senses.untrained(values, sides.mention))


def test_what_was_learned_with_other_vectors_is_refused() -> None:
    sides, truth = made_up(mentions=30)
    learned = sense_training.learn(sides, truth, "others", np.zeros(8, np.float32))
    with pytest.raises(errors.InvalidParameter, match='vectors of "others"'):
        Meaning(knowledge(), Words(CONTEXTS), learned)
    with pytest.raises(errors.InvalidParameter, match="another version"):
        senses.Learned.from_arrays({**learned.arrays(), "weight": np.zeros(3)})
