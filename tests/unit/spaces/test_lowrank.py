"""Adapters of low rank: slopes against differences, and labels whose rule is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgembed.spaces import lowrank, measuring
from pgembed.spaces.lowrank import Labelled


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def task(n: int = 240, dim: int = 24, noise: float = 0.1) -> Labelled:
    """Queries whose own row lies in a turned direction: two of the query's dimensions are exchanged."""
    rng = np.random.default_rng(1)
    rows = unit(rng.standard_normal((n, dim)))
    asked = rows.copy()
    asked[:, [0, 1]] = -6 * rows[:, [1, 0]]
    asked = unit(asked + noise * rng.standard_normal((n, dim)))
    return Labelled(asked, rows, [[place] for place in range(n)], [[] for _ in range(n)])


@pytest.mark.parametrize("both", [False, True], ids=["queries", "both"])
def test_slopes_are_those_of_the_loss(both: bool) -> None:
    labelled = task(30, 6)
    labelled = Labelled(labelled.queries, labelled.rows, [[place, (place + 1) % 30] for place in range(30)], [[5]] * 30)
    rng = np.random.default_rng(2)
    left, right = rng.standard_normal((6, 2)) * 0.3, rng.standard_normal((6, 2))
    queries, rows = labelled.queries.astype(np.float64), labelled.rows.astype(np.float64)
    batch = np.arange(10)

    def slopes(a: Any, b: Any) -> Any:
        return lowrank._slopes(labelled, queries, rows, batch, a, b, np.random.default_rng(3), both=both)

    def turned(x: Any, a: Any, b: Any) -> Any:
        made = x + (x @ b) @ a.T
        return made / np.linalg.norm(made, axis=-1, keepdims=True)

    def loss(a: Any, b: Any) -> float:
        # the same draws: own rows first, then all 30 as others
        chance, total = np.random.default_rng(3), 0.0
        own = [labelled.near[at][int(chance.integers(2))] for at in batch]
        compared = turned(rows, a, b) if both else rows
        for at, mine in zip(batch, own, strict=True):
            asked = turned(queries[at], a, b)
            near = [row for row in range(30) if row == mine or row not in labelled.near[at]]
            logits = np.array([asked @ compared[row] for row in near]) / lowrank._TEMPERATURE
            total -= logits[near.index(mine)] - np.log(np.exp(logits).sum())
        return total / len(batch)

    found = slopes(left, right)
    for which, array in enumerate((left, right)):
        for place in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[place] = 1e-5
            up, down = ([left + step, right], [left - step, right]) if which == 0 else ([left, right + step], [left, right - step])
            assert found[which][place] == pytest.approx((loss(*up) - loss(*down)) / 2e-5, rel=1e-3, abs=1e-6)


def test_a_rule_of_low_rank_is_learnt_and_holds_for_new_queries() -> None:
    labelled = task()
    training, held = labelled.some(range(160)), labelled.some(range(160, 240))
    found = lowrank.fit(training, 2, "cosine", 1)
    rows = measuring.Rows(held.rows, "cosine")
    before = measuring.ranks(held.queries, rows, held.near)
    after = measuring.ranks(found.apply(held.queries), rows, held.near)
    assert measuring.recalls(before).mean() < 0.8
    assert measuring.recalls(after).mean() > 0.9
    assert found.rank == 2


def test_a_change_of_both_sides_lets_what_is_labelled_be_near() -> None:
    """Half of the dimensions say nothing of what belongs together: they are made small in queries and rows alike."""
    rng = np.random.default_rng(5)
    said = rng.standard_normal((240, 8))
    noise = [3 * rng.standard_normal((240, 4)) for _ in range(2)]
    rows, asked = (unit(np.concatenate([said, each], axis=1)) for each in noise)
    labelled = Labelled(asked, rows, [[place] for place in range(240)], [[] for _ in range(240)])
    training, held = labelled.some(range(160)), labelled.some(range(160, 240))
    found = lowrank.fit(training, 4, "cosine", 1, both=True)
    before = measuring.recalls(measuring.ranks(held.queries, measuring.Rows(rows, "cosine"), held.near)).mean()
    turned = measuring.Rows(found.apply(rows), "cosine")
    after = measuring.recalls(measuring.ranks(found.apply(held.queries), turned, held.near)).mean()
    assert before < 0.5
    assert after > before + 0.2
    whole = found.whole()
    assert np.abs(unit(rows @ whole.T) - found.apply(rows)).max() < 1e-5


def test_the_same_seed_gives_the_same_map() -> None:
    one, two = (lowrank.fit(task(60), 3, "cosine", 4) for _ in range(2))
    assert one.digest() == two.digest()


def test_where_nothing_is_to_be_learnt_nothing_changes() -> None:
    labelled = task(60)
    exact = Labelled(labelled.rows, labelled.rows, labelled.near, labelled.far)
    found = lowrank.fit(exact, 4, "cosine", 1)
    assert np.array_equal(found.apply(exact.queries), exact.queries) or np.abs(found.apply(exact.queries) - exact.queries).max() < 1e-6
    assert np.abs(found.matrix).max() == 0


def test_a_cancel_ends_it() -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lowrank.fit(task(40), 2, "cosine", 1, check=cancel)
