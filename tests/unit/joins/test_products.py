"""The exact engine against all distances computed one by one: random cases with ties, duplicates, zero vectors, groups and odd sizes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from pgembed import errors
from pgembed.joins import METRICS, nearest, neighbours, pairing, prefixes, prepared, products

Pair = tuple[int, int]


def brute(left: Any, right: Any, k: int | None, options: dict[str, Any]) -> set[Pair]:
    """The pairs by sorting all n * m distances."""
    metric = options["metric"]
    far = np.array([pairing.exact(np.repeat(left[i : i + 1], len(right), 0), right, metric) for i in range(len(left))])
    far = far.reshape(len(left), len(right))
    if metric == "cosine":
        far[np.einsum("ij,ij->i", left, left) == 0] = np.nan
        far[:, np.einsum("ij,ij->i", right, right) == 0] = np.nan
    far[np.isnan(far)] = np.inf
    if options["same"]:
        np.fill_diagonal(far, np.inf)
    if options["not_equal"]:
        far[(left[:, None] == right[None]).all(-1)] = np.inf
    if options["codes"] is not None:
        mine, theirs = options["codes"]
        far[(mine[:, None] != theirs) | (mine[:, None] < 0)] = np.inf

    def top(table: Any) -> set[Pair]:
        every = ((i, int(j)) for i, row in enumerate(table) for j in np.argsort(row, kind="stable")[: k or len(row)])
        return {(i, j) for i, j in every if table[i, j] < np.inf}

    found = top(far)
    if options["mutual"] and k is not None:
        back = top(far.T)
        found = {(i, j) for i, j in found if (j, i) in back}
    limit = options["max_distance"]
    return found if limit is None else {(i, j) for i, j in found if far[i, j] <= limit}


def case(seed: int) -> tuple[Any, Any, int | None, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 20))

    def made(rows: int) -> Any:
        few = rng.integers(-1, 2, (rows, dim))  # full of duplicates and ties, and of zero vectors where dim is small
        return (few if rng.random() < 0.5 else rng.normal(size=(rows, dim)) * 10.0 ** rng.integers(-8, 8)).astype(np.float32)

    same = bool(rng.random() < 0.3)
    left = made(int(rng.integers(0, 60)))
    right = left if same else made(int(rng.integers(0, 60)))
    if not same and len(right) and rng.random() < 0.3:
        right[rng.integers(len(right))] *= np.float32(1e6)  # one vector that is longer than all others
    k = (None, 1, 2, 5, 100)[rng.integers(5)]
    codes = None
    if rng.random() < 0.4:
        codes = rng.integers(-1, 4, len(left)), rng.integers(-1, 4, len(right))
        codes = (codes[0], codes[0]) if same else codes
    return (
        left,
        right,
        k,
        {
            "metric": str(rng.choice(METRICS)),
            "max_distance": float(abs(rng.normal())) if k is None or rng.random() < 0.3 else None,
            "same": same,
            "not_equal": bool(rng.random() < 0.3),
            "mutual": bool(rng.random() < 0.3),
            "codes": codes,
        },
    )


@pytest.mark.parametrize("way", ["whole", "tiles", "threads", "prefixes", "small pool"])
def test_pairs_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way != "whole":
        monkeypatch.setattr(products, "HEIGHT", 4)
        monkeypatch.setattr(products, "WIDTH", 8)
        monkeypatch.setattr(neighbours, "LISTED", 16)
    if way == "threads":
        monkeypatch.setattr(products, "WORTH_THREADS", 0.0)
        monkeypatch.setattr(products.threads, "thread_count", lambda: 2)
    if way == "small pool":
        monkeypatch.setattr(products, "POOL", 20)
    if way == "prefixes":
        for name, value in {"LEAST_ROWS": 5, "SAMPLE": 2, "LENGTHS": (1, 2, 4, 8), "WORTH": 1e9, "WIDTH": 8, "COUNTED": 20}.items():
            monkeypatch.setattr(prefixes, name, value)
    for seed in range(80):
        left, right, k, options = case(seed)
        found = nearest(left, right, k, **options)
        got = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
        assert len(got) == len(set(got)), (seed, options)
        assert set(got) == brute(left, right, k, options), (seed, k, options)


def clustered(rows: int, seed: int, dim: int = 96) -> Any:
    """Vectors whose lengths are mostly in a few directions, as those of models are."""
    rng = np.random.default_rng(seed)
    spread = np.exp(-np.arange(dim) / 6)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    return ((rng.normal(size=(rows, dim)) * spread) @ rotation).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_prefixes_are_chosen_where_they_save_work_and_lose_nothing(monkeypatch: pytest.MonkeyPatch, metric: Any) -> None:
    left, right = clustered(5000, 1), clustered(20_000, 2)
    plans: list[Any] = []
    plan = prefixes.plan
    monkeypatch.setattr(prefixes, "plan", lambda *one, **other: plans.append(plan(*one, **other)) or plans[-1])
    found = nearest(left, right, 2, metric=metric)
    assert plans
    assert plans[0] is not None
    assert plans[0].axes.shape[1] < 96
    whole = products.near(*prepared.sides(left, right, metric), 2)[0]
    assert found.right.tolist() == whole.right.tolist()
    assert found.distance.tolist() == whole.distance.tolist()


def test_no_prefix_serves_vectors_without_a_direction() -> None:
    rng = np.random.default_rng(3)
    left, right = (rng.normal(size=(5000, 128)).astype(np.float32) for _ in range(2))
    sides = prepared.sides(left, right, "cosine")
    sample = np.arange(512)
    known = products.near(sides[0].part(sample), sides[1], 1)[0]
    assert prefixes.plan(*sides, sample, known, 1) is None


@pytest.mark.parametrize("recall", [0.9, 0.99])
def test_less_than_all_finds_as_many_as_asked(recall: float) -> None:
    left, right = clustered(9000, 4), clustered(6000, 5)
    every = nearest(left, right, 3)
    found = nearest(left, right, 3, recall=recall)
    pairs = [set(zip(one.left.tolist(), one.right.tolist(), strict=True)) for one in (every, found)]
    assert len(pairs[0] & pairs[1]) >= recall * len(pairs[0])


def test_how_many_may_be_missed_is_on_the_safe_side() -> None:
    assert prefixes.affordable(298, 0.99) < 0  # none missed of 298 says no more than .98995
    assert prefixes.affordable(300, 0.99) == 0
    assert prefixes.affordable(1050, 0.995) == 1


def test_an_error_in_a_thread_and_a_cancel_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WORTH_THREADS", 0.0)
    monkeypatch.setattr(products, "LOOK_SECONDS", 0.001)
    left, right = clustered(4000, 6), clustered(4000, 7)

    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    before = threading.active_count()
    with pytest.raises(Cancelled):
        products.near(*prepared.sides(left, right, "cosine"), 1, check=cancel, count=2, height=64)
    assert threading.active_count() == before

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(products.Run, "exact", broken)
    with pytest.raises(ZeroDivisionError):
        products.near(*prepared.sides(left, right, "cosine"), 1, count=2)
    assert threading.active_count() == before


def test_what_is_done_is_told() -> None:
    told: list[int] = []
    products.near(*prepared.sides(clustered(1500, 8), clustered(300, 9), "cosine"), 1, tell=told.append)
    assert told == sorted(told)
    assert told[-1] == 1500


def test_different_vectors_with_one_hash_stay_apart() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], dtype=np.float32)
    first, group = neighbours._told_apart(rows, np.array([True, True, True, False]), None)
    assert first.tolist() == [0, 1]
    assert group.tolist() == [0, 1, 0, -1]


def test_all_pairs_need_a_distance() -> None:
    with pytest.raises(errors.InvalidParameter):
        nearest(clustered(2, 1), clustered(2, 1), None)
