"""Figures of links against a plain computation, mention by mention and draw by draw."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pgembed.linking import evaluating
from pgembed.linking.contract import NIL
from pgembed.linking.evaluating import ALL, Figure

TEXTS = 12


def close(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, abs_tol=1e-12)


def plainly(measure: Callable[[list[int]], float | None], seed: int, texts: int = TEXTS) -> Figure:
    """A figure of all texts and its interval, with lists of texts in place of sums."""
    whole = measure(list(range(texts)))
    drawn = []
    for part in evaluating.draws(texts, seed):
        for counts in part:
            value = measure([text for text in range(texts) for _ in range(int(counts[text]))])
            if value is not None:
                drawn.append(value)
    if whole is None:
        return Figure()
    drawn.sort()

    def percentile(q: float) -> float:
        at = q / 100 * (len(drawn) - 1)
        low = int(at)
        high = min(low + 1, len(drawn) - 1)
        return drawn[low] + (drawn[high] - drawn[low]) * (at - low)

    return Figure(whole, percentile(2.5), percentile(97.5))


def agree(one: Figure, other: Figure) -> None:
    assert close(one.value, other.value), (one, other)
    assert close(one.low, other.low), (one, other)
    assert close(one.high, other.high), (one, other)


@pytest.fixture
def places() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    n = 40
    gold = rng.integers(-1, 6, n)
    linked = np.where(rng.random(n) < 0.6, gold, rng.integers(-1, 6, n))
    return {
        "text": rng.integers(0, TEXTS - 1, n),  # the last text has none
        "kind": rng.integers(0, 2, n),
        "gold": gold,
        "linked": linked,
        "place": np.where(linked == gold, 0, rng.integers(-1, 15, n)),
    }


@pytest.mark.parametrize("kind", [0, 1, ALL])
def test_given_places_as_a_plain_count_has_them(places: dict[str, np.ndarray], kind: int) -> None:
    rows = [dict(zip(places, values, strict=True)) for values in zip(*(column.tolist() for column in places.values()), strict=True)]
    rows = [row for row in rows if kind in (ALL, row["kind"])]

    def of(texts: list[int], part: Callable[[dict[str, int]], bool], whole: Callable[[dict[str, int]], bool]) -> float | None:
        chosen = [row for text in texts for row in rows if row["text"] == text and whole(row)]
        return sum(part(row) for row in chosen) / len(chosen) if chosen else None

    def right(row: dict[str, int]) -> bool:
        return row["gold"] != NIL and row["gold"] == row["linked"]

    def known(row: dict[str, int]) -> bool:
        return row["gold"] != NIL

    def f1(texts: list[int]) -> float | None:
        precision, recall = of(texts, right, lambda row: row["linked"] != NIL), of(texts, right, known)
        if precision is None or recall is None:
            # one of the two counts nothing: as 2 right / (made + known)
            return None if precision is None and recall is None else 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    figures = evaluating.given(**places, texts=TEXTS, seed=3)[kind]
    assert figures.mentions == len(rows)
    agree(figures.precision, plainly(lambda texts: of(texts, right, lambda row: row["linked"] != NIL), 3))
    agree(figures.recall, plainly(lambda texts: of(texts, right, known), 3))
    agree(figures.f1, plainly(f1, 3))
    agree(figures.accuracy_at_1, plainly(lambda texts: of(texts, lambda row: row["place"] == 0, known), 3))
    agree(figures.accuracy_at_10, plainly(lambda texts: of(texts, lambda row: 0 <= row["place"] < 10, known), 3))


@pytest.mark.parametrize("kind", [0, 1, ALL])
def test_found_links_as_a_plain_count_has_them(kind: int) -> None:
    rng = np.random.default_rng(6)
    gold = {(int(rng.integers(TEXTS)), int(rng.integers(9)), int(rng.integers(4))): int(rng.integers(2)) for _ in range(30)}
    made = {at: int(rng.integers(2)) for at in gold if rng.random() < 0.6}
    made |= {(int(rng.integers(TEXTS)), int(rng.integers(9)), int(rng.integers(4))): int(rng.integers(2)) for _ in range(12)}

    def count(texts: list[int], links: dict[tuple[int, int, int], int], other: dict[tuple[int, int, int], int]) -> float | None:
        chosen = [at for text in texts for at, which in links.items() if at[0] == text and kind in (ALL, which)]
        return sum(at in other for at in chosen) / len(chosen) if chosen else None

    def f1(texts: list[int]) -> float | None:
        precision, recall = count(texts, made, gold), count(texts, gold, made)
        if precision is None or recall is None:
            return None
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    figures = evaluating.found(
        np.asarray([at[0] for at in gold]),
        np.asarray(list(gold.values())),
        np.asarray([at in made for at in gold]),
        np.asarray([at[0] for at in made]),
        np.asarray(list(made.values())),
        np.asarray([at in gold for at in made]),
        TEXTS,
        seed=4,
    )[kind]
    agree(figures.precision, plainly(lambda texts: count(texts, made, gold), 4))
    agree(figures.recall, plainly(lambda texts: count(texts, gold, made), 4))
    agree(figures.f1, plainly(f1, 4))
    assert math.isnan(figures.accuracy_at_1.value)


def test_sets_are_compared_text_by_text() -> None:
    gold = [(0, 1), (0, 2), (0, 2), (1, 3), (3, 1)]
    made = [(0, 1), (0, 1), (1, 3), (1, 4), (4, 2)]
    columns = [np.asarray(column) for pairs in (gold, made) for column in zip(*pairs, strict=True)]

    def f1(texts: list[int]) -> float:
        total = 0.0
        for text in texts:
            one, other = {row for at, row in gold if at == text}, {row for at, row in made if at == text}
            total += 1.0 if not one and not other else 2 * len(one & other) / (len(one) + len(other))
        return total / len(texts)

    figures = evaluating.sets(*columns, 5, seed=1)
    agree(figures.f1, plainly(f1, 1, 5))
    # texts 0, 1 and 4 have links, 0, 1 and 3 have gold
    assert close(figures.precision.value, (1 + 1 / 2 + 0) / 3)
    assert close(figures.recall.value, (1 / 2 + 1 + 0) / 3)
    assert figures.mentions == 4


def test_nothing_to_count_is_nan_and_no_error() -> None:
    nothing = np.empty(0, dtype=np.int64)
    none = evaluating.given(nothing, nothing, nothing, nothing, nothing, 0)[ALL]
    assert none.mentions == 0
    assert math.isnan(none.f1.value)
    figures = evaluating.given(*(np.asarray([value]) for value in (0, 0, NIL, NIL, -1)), texts=1)[ALL]
    assert math.isnan(figures.precision.value)
    assert math.isnan(figures.accuracy_at_1.value)


def test_a_link_where_there_is_no_row_costs_precision_alone() -> None:
    gold, linked = np.asarray([1, NIL]), np.asarray([1, 2])
    figures = evaluating.given(np.asarray([0, 1]), np.asarray([0, 0]), gold, linked, np.asarray([0, -1]), 2)[ALL]
    assert (figures.precision.value, figures.recall.value, figures.accuracy_at_1.value) == (0.5, 1.0, 1.0)


def test_the_same_seed_gives_the_same_interval(places: dict[str, np.ndarray]) -> None:
    one, again, other = (evaluating.given(**places, texts=TEXTS, seed=seed)[ALL].f1 for seed in (1, 1, 2))
    assert one == again
    assert one != other
