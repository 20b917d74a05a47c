from __future__ import annotations

import numpy as np
import pytest

from pgembed.errors import InvalidParameter
from pgembed.joint import maps, space, storing, training, words
from tests.unit.joint.made import PLAN, places, rows, world

QUICK = training.Settings(rounds=2, steps=40, batch=64, negatives=12)


def naive(vectors: dict[str, np.ndarray], weight: dict[str, float], bag: list[str], size: int) -> np.ndarray:
    total = np.zeros(size)
    for word in bag:
        total += weight[word] * vectors[word] / np.linalg.norm(vectors[word])
    length = np.linalg.norm(total)
    return total / length if length else total


def test_untrained_is_the_weighted_sum_of_the_cosines() -> None:
    left, right, _, _ = world(towns=5)
    plan = maps.Plan(
        blocks=(maps.Block("name", 64), maps.Block("neighbours", 32)), pairs=(("surface", "name", 1.0), ("text", "neighbours", 0.25))
    )
    plain = maps.untrained(right, left.form.shape[1], plan)
    found = plain.left(left) @ plain.right(right).T
    table = words.table(64, 0).astype(float)
    expected = np.zeros_like(found)
    for block, zone, share in (("name", "surface", 1.0), ("neighbours", "text", 0.25)):
        size = 64 if block == "name" else 32
        bags = {
            side: [[inputs.words[w] for w in z.word[z.start[i] : z.start[i + 1]]] for i in range(len(inputs))]
            for side, inputs, z in (("left", left, left.zones[zone]), ("right", right, right.zones[block]))
        }
        weight, vectors = {}, {}
        for word in {*left.words, *right.words}:
            rows_with = sum(word in bag for bag in bags["right"])
            weight[word] = np.log((1 + len(right)) / (1 + rows_with)) + 0.3
            spelt = maps.grams([word])
            vectors[word] = (table[spelt.gram] * plain.counts.grams[spelt.gram, None]).sum(0)[:size]
        u = np.array([naive(vectors, weight, bag, size) for bag in bags["left"]])
        v = np.array([naive(vectors, weight, bag, size) for bag in bags["right"]])
        expected += share * u @ v.T
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_misspelt_name_is_nearest_to_its_row() -> None:
    right = rows(["Amsterdam", "Rotterdam", "Utrecht", "Groningen"])
    left = places(["in Amstredam today", "in Gronigen today"], [(0, "Amstredam"), (1, "Gronigen")])
    plain = maps.untrained(right, left.form.shape[1])
    assert space.space(plain, right).nearest(plain.left(left), 1)[0].ravel().tolist() == [0, 3]


def test_learning_finds_what_a_description_means() -> None:
    left, right, pairs, described = world()
    even = pairs[:, 1] % 40 < 20
    plain = maps.untrained(right, left.form.shape[1], PLAN)
    learned = training.fit(left, right, pairs[even], PLAN, settings=QUICK)

    def correct(of: maps.Maps) -> np.ndarray:
        return (of.left(left) @ of.right(right).T).argmax(1) == pairs[:, 1]

    assert correct(plain)[~even & described].mean() < 0.5
    # towns and mayors that no pair named
    assert correct(learned)[~even & described].mean() > 0.9
    assert correct(learned)[~even & ~described].mean() > 0.9


def test_the_same_seed_learns_the_same() -> None:
    left, right, pairs, _ = world()
    one, two, other = (training.fit(left, right, pairs, PLAN, settings=QUICK, seed=seed) for seed in (3, 3, 4))
    for name, stored in storing.to_arrays(one).items():
        np.testing.assert_array_equal(stored, storing.to_arrays(two)[name])
    assert not np.array_equal(one.weights, other.weights)


def test_stored_maps_are_the_same_maps() -> None:
    left, right, pairs, _ = world()
    learned = training.fit(left, right, pairs, PLAN, settings=QUICK)
    arrays = storing.to_arrays(learned)
    again = storing.from_arrays(arrays, right)
    np.testing.assert_array_equal(again.left(left), learned.left(left))
    np.testing.assert_array_equal(again.right(right), learned.right(right))
    assert sum(array.nbytes for array in arrays.values()) < 20_000


def test_what_is_stored_is_checked() -> None:
    right = rows(["Ada", "Bob"])
    arrays = storing.to_arrays(maps.untrained(right, 8, PLAN))
    with pytest.raises(InvalidParameter, match="lack weights"):
        storing.from_arrays({name: array for name, array in arrays.items() if name != "weights"}, right)
    with pytest.raises(InvalidParameter, match="cannot be read"):
        storing.from_arrays({**arrays, "head": np.frombuffer(b"{", np.uint8)}, right)
    with pytest.raises(InvalidParameter, match="version 99"):
        storing.from_arrays({**arrays, "head": np.frombuffer(b'{"version": 99}', np.uint8)}, right)
    with pytest.raises(InvalidParameter, match="expected 6 columns"):
        storing.from_arrays({**arrays, "weights": arrays["weights"][:, 1:]}, right)


def test_maps_go_over_to_other_rows() -> None:
    left, right, pairs, _ = world()
    learned = training.fit(left, right, pairs, PLAN, settings=QUICK)
    fresh = rows(["Quedlinburg", "Otto Krause"], [(0, "mayor", 1, "Otto Krause")])
    asked = places(["Yesterday the mayor spoke in Quedlinburg again"], [(0, "the mayor"), (0, "Quedlinburg")])
    over = learned.over(fresh)
    assert (over.left(asked) @ over.right(fresh).T).argmax(1).tolist() == [1, 0]


def test_no_pairs_leave_the_untrained_maps() -> None:
    left, right, _, _ = world(towns=5)
    learned = training.fit(left, right, np.empty((0, 2), np.int64), PLAN)
    np.testing.assert_array_equal(learned.weights, maps.untrained(right, left.form.shape[1], PLAN).weights)


def test_pairs_must_name_things() -> None:
    left, right, _, _ = world(towns=5)
    with pytest.raises(InvalidParameter, match="expected below"):
        training.fit(left, right, np.array([[0, 10]]), PLAN)
    with pytest.raises(InvalidParameter, match="not negative"):
        training.fit(left, right, np.array([[-1, 0]]), PLAN)


def test_nothing_at_all() -> None:
    none, right = places([], []), rows(["Ada"])
    plain = maps.untrained(right, none.form.shape[1])
    assert plain.left(none).shape == (0, plain.dim)
    empty = rows([])
    assert plain.over(empty).right(empty).shape == (0, plain.dim)
    found, score = space.space(plain.over(empty), empty).nearest(np.zeros((2, plain.dim), np.float32), 3)
    assert found.shape == score.shape == (2, 0)


def test_one_row_and_rows_and_places_without_words() -> None:
    right = rows(["Ada"])
    left = places(["Ada met --- there"], [(0, "Ada"), (0, "---")])
    learned = training.fit(left, right, np.array([[0, 0]]))
    vectors = learned.left(left)
    assert np.isfinite(vectors).all()
    assert space.space(learned, right).nearest(vectors, 5)[0].ravel().tolist() == [0, 0]
    blank = rows([None, "", "Ada"])
    assert np.isfinite(learned.over(blank).right(blank)).all()
    again = training.fit(left, blank, np.array([[0, 2], [1, 0]]), settings=QUICK)
    assert np.isfinite(again.weights).all()


def test_words_are_the_same_whether_kept_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.random.default_rng(0).random(words.BUCKETS).astype(np.float32)
    some = [f"word{i}" for i in range(50)]
    plain = words.Lexicon(weights, 16, 0).of(some)
    monkeypatch.setattr(words, "_KEPT", 30)
    kept = words.Lexicon(weights, 16, 0)
    for part in (some[:20], some[10:30], some[25:45], some):
        hashes, vectors = kept.of(part)
        at = [some.index(word) for word in part]
        np.testing.assert_array_equal(hashes, plain[0][at])
        np.testing.assert_allclose(vectors, plain[1][at], rtol=1e-6)


def test_exact_words_differ_wherever_hashes_do() -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 63, 200, dtype=np.uint64)
    signs = words.signs(hashes, 96, 0)
    cosine = signs @ signs.T / 96
    np.fill_diagonal(cosine, 0)
    assert np.abs(cosine).max() < 0.6
