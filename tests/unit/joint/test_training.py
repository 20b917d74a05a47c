from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pgembed.errors import InvalidParameter
from pgembed.joint import maps, storing, training
from pgembed.joint.features import Inputs
from tests.unit.joint.made import PLAN, world


def with_dense(inputs: Inputs, size: int, seed: int) -> Inputs:
    vectors = np.random.default_rng(seed).normal(size=(len(inputs), size)).astype(np.float32)
    return Inputs(inputs.words, inputs.zones, inputs.form, {"model": vectors})


def prepared() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], training.Batch, training.Settings]:
    settings = training.Settings(negatives=5, support=2, softness=0.1, back=0.5)
    left, right, pairs, _ = world(towns=8)
    left, right = with_dense(left, 3, 0), with_dense(right, 3, 1)
    start = maps.untrained(right, left.form.shape[1], PLAN, 0, {"model": 0.3})
    rng = np.random.default_rng(0)
    made = training._associated(start, left, right, pairs[:, 1], settings, rng)
    data = training._mined(made, left, right, pairs[:, 1], settings, None)
    batch = training._batch(data, np.arange(12), pairs[:, 1], settings, rng)
    params = {name: matrix.astype(np.float64) for name, matrix in training._params(made).items()}
    params["left"], params["right"] = params["left"] * 20, params["right"] * 20
    params["weights"] += rng.normal(0, 0.2, params["weights"].shape)
    first = {name: matrix + 0.1 for name, matrix in params.items()}
    return params, first, replace(batch, products=batch.products.astype(np.float64)), settings


def test_the_gradient_is_that_of_finite_differences() -> None:
    params, first, batch, settings = prepared()
    assert len(batch.back) > 5
    _, gradient = training.loss(params, first, batch, ["model"], settings)
    rng = np.random.default_rng(1)
    for name, matrix in params.items():
        assert matrix.size, name
        for _ in range(12):
            at = tuple(int(rng.integers(size)) for size in matrix.shape)
            kept, step = matrix[at], 1e-5
            values = []
            for moved in (kept + step, kept - step):
                matrix[at] = moved
                values.append(training.loss(params, first, batch, ["model"], settings)[0])
            matrix[at] = kept
            assert abs((values[0] - values[1]) / (2 * step) - gradient[name][at]) < 1e-5, (name, at)


def test_the_score_of_the_loss_is_the_inner_product() -> None:
    left, right, pairs, _ = world(towns=8)
    left, right = with_dense(left, 3, 0), with_dense(right, 3, 1)
    settings = training.Settings(negatives=5, rounds=1, steps=20, batch=16, support=2)
    learned = training.fit(left, right, pairs, PLAN, settings=settings, dense={"model": 0.3})
    score = learned.left(left) @ learned.right(right).T
    data = training._mined(learned, left, right, pairs[:, 1], settings, None)
    hard = training.Settings(margin=0.1, softness=1e-4, decay=0.0, back=0.0, negatives=5)
    params = training._params(learned)
    value, _ = training.loss(params, params, data, ["model"], hard)
    of = np.take_along_axis(score, data.candidates, 1)
    expected = np.maximum(0.0, 0.1 - of[:, :1] + of[:, 1:]).sum(1).mean()
    assert abs(value - expected) < 1e-3


def test_hard_negatives_are_the_nearest_wrong_rows() -> None:
    left, right, pairs, _ = world(towns=8)
    plain = maps.untrained(right, left.form.shape[1], PLAN)
    data = training._mined(plain, left, right, pairs[:, 1], training.Settings(negatives=4), None)
    score = plain.left(left) @ plain.right(right).T
    for at, truth in enumerate(pairs[:, 1].tolist()):
        wrong = [row for row in np.argsort(-score[at], kind="stable").tolist() if row != truth][:4]
        assert data.candidates[at, 0] == truth
        assert min(score[at, data.candidates[at, 1:]]) >= min(score[at, wrong]) - 1e-6
        assert truth not in data.candidates[at, 1:]


def test_pairs_from_right_to_left_are_of_one_row() -> None:
    _, _, batch, _ = prepared()
    flat = batch.candidates.ravel()
    width = batch.candidates.shape[1]
    assert (flat[batch.back[:, 0]] == flat[batch.back[:, 1]]).all()
    assert (batch.back[:, 0] % width == 0).all()
    assert (batch.back[:, 1] % width > 0).all()


def test_the_loss_falls() -> None:
    left, right, pairs, _ = world()
    settings = training.Settings(rounds=1, steps=60, batch=64, negatives=20)
    before = maps.untrained(right, left.form.shape[1], PLAN)
    after = training.fit(left, right, pairs, PLAN, settings=settings)
    values = []
    for of in (before, after):
        data = training._mined(of, left, right, pairs[:, 1], settings, None)
        params = training._params(of)
        values.append(training.loss(params, params, data, [], settings)[0])
    assert values[1] < values[0] / 4


def test_a_word_of_few_things_has_no_vector() -> None:
    key, thing = np.array([7, 7, 7, 9, 9, 9, 9]), np.array([1, 1, 2, 1, 2, 3, 3])
    assert training._supported(key, thing, 3).tolist() == [9]
    assert training._supported(key, thing, 2).tolist() == [7, 9]
    assert training._supported(key[:0], thing[:0], 2).tolist() == []


def test_dense_inputs_alone() -> None:
    rng = np.random.default_rng(0)
    # what tells rows apart is drowned by what does not
    meaning, noise = rng.normal(size=(200, 6)), rng.normal(size=(400, 6))
    both = [np.hstack([meaning, part]).astype(np.float32) for part in (noise[:200], noise[200:])]
    left, right = (
        Inputs([], {}, np.ones((200, 1), np.float32), {"model": part / np.linalg.norm(part, axis=1, keepdims=True)}) for part in both
    )
    plan = maps.Plan(blocks=(), pairs=(), rank=2)
    pairs = np.stack([np.arange(200), np.arange(200)], axis=1)
    plain = maps.untrained(right, 1, plan, 0, {"model": 1.0})
    np.testing.assert_allclose(plain.left(left) @ plain.right(right).T, left.dense["model"] @ right.dense["model"].T, atol=1e-6)
    settings = training.Settings(rounds=1, steps=120, seen=80, batch=100, negatives=30)
    learned = training.fit(left, right, pairs[:150], plan, settings=settings, dense={"model": 1.0})

    def correct(of: maps.Maps) -> float:
        return float(((of.left(left) @ of.right(right).T).argmax(1) == np.arange(200))[150:].mean())

    assert correct(learned) > correct(plain) + 0.1
    with pytest.raises(InvalidParameter, match=r'"model" have shape none, expected \(200, 12\)'):
        learned.left(Inputs([], {}, np.ones((200, 1), np.float32)))
    assert storing.from_arrays(storing.to_arrays(learned), right).dim == learned.dim
