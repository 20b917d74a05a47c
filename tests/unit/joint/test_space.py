from __future__ import annotations

import numpy as np
import pytest

from pgembed.joint import maps, space
from tests.unit.joint.made import PLAN, places, rows, world


def made(count: int, seed: int = 0) -> tuple[space.Space, np.ndarray]:
    _, right, _, _ = world(towns=4)
    plain = maps.untrained(right, 8, PLAN)
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(20, plain.dim))
    vectors = (rng.normal(size=(count, 20)) @ basis).astype(np.float32)
    return space.Space(plain, vectors), (rng.normal(size=(7, 20)) @ basis).astype(np.float32)


def test_nearest_are_those_of_a_full_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    some, asked = made(300)
    full = asked @ some.rows.T
    allowed = np.random.default_rng(1).random(300) < 0.5
    for part in (16_000_000, 700):
        monkeypatch.setattr(space, "_PART", part)
        found, score = some.nearest(asked, 5)
        assert found.tolist() == np.argsort(-full, axis=1)[:, :5].tolist()
        np.testing.assert_allclose(score, np.take_along_axis(full, found, 1), rtol=1e-4)
        only, _ = some.nearest(asked, 5, allowed)
        assert only.tolist() == np.argsort(np.where(allowed, -full, np.inf), axis=1)[:, :5].tolist()


def test_few_dimensions_choose_and_all_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("bdfgklmnprst")) + rng.choice(list("aeiou")) for _ in range(4)) for _ in range(800)]
    right = rows(list(names))
    plain = maps.untrained(right, 8)
    some = space.space(plain, right)
    left = plain.left(places([f"in {name} today" for name in names[:100]], [(at, name) for at, name in enumerate(names[:100])]))
    full, _ = some.nearest(left, 1)
    monkeypatch.setattr(space, "_FEW", 550)
    short, score = some.nearest(left, 1)
    assert (short == full).mean() > 0.98
    np.testing.assert_allclose(score[:, 0], (left * some.rows[short[:, 0]]).sum(1), rtol=1e-4)


def test_equal_rows_come_in_their_order() -> None:
    some, asked = made(4)
    doubled = space.Space(some.maps, np.concatenate([some.rows, some.rows]))
    found, _ = doubled.nearest(asked, 8)
    assert (found[:, ::2] + 4 == found[:, 1::2]).all()


def test_nothing_is_allowed() -> None:
    some, asked = made(4)
    assert some.nearest(asked, 3, np.zeros(4, bool))[0].shape == (7, 0)


def test_scores_of_pairs_by_part() -> None:
    left, right, pairs, _ = world(towns=6)
    plain = maps.untrained(right, left.form.shape[1], PLAN)
    some, vectors = space.space(plain, right), plain.left(left)
    scores = some.scores(vectors, pairs[:, 0], pairs[:, 1])
    assert some.parts == ["name", "whole", "neighbours", "association", "form"]
    assert scores.shape == (len(pairs), 1 + len(some.parts))
    np.testing.assert_allclose(scores[:, 0], (vectors @ some.rows.T)[pairs[:, 0], pairs[:, 1]], atol=1e-5)
    name = vectors[:, :128] @ some.rows[:, :128].T
    np.testing.assert_allclose(scores[:, 1], name[pairs[:, 0], pairs[:, 1]], atol=1e-5)


def test_rows_can_change() -> None:
    right = rows(["Amsterdam", "Utrecht"])
    plain = maps.untrained(right, 8, PLAN)
    before = space.space(plain, right)
    after = before.replaced(np.array([1, 2]), rows(["Delft", "Utrecht"]))
    assert len(after.rows) == 3
    np.testing.assert_array_equal(after.rows[0], before.rows[0])
    np.testing.assert_allclose(after.rows[2], before.rows[1], atol=1e-6)
    assert not np.allclose(after.rows[1], before.rows[1])
