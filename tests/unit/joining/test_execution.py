"""Chunks, places, memory and the choice by cost, on a database that is a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from pgembed import errors
from pgembed.joining import costs, execution, memory, reading
from pgembed.joining.contract import Request
from pgembed.joining.sources import Source
from pgembed.joins import nearest


class Lists:
    """Answers each side's query with its rows."""

    def __init__(self, **sides: list[dict[str, Any]]) -> None:
        self.sides = sides
        self.streams = 0

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, keep: bool = False) -> list[Any]:
        if "pg_extension" in statement:
            return [{"schema": "public"}]
        return [{"value": "on", "name": "", "before": "on", "n": 0}]

    def stream(
        self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, size: int
    ) -> Iterator[list[dict[str, Any]]]:
        self.streams += 1
        rows = next(rows for name, rows in self.sides.items() if f"FROM {name} AS" in statement)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def check_interrupts(self) -> None:
        pass


def sent(vector: Any) -> bytes:
    return len(vector).to_bytes(2, "big") + b"\0\0" + np.asarray(vector, ">f4").tobytes()


def rows(matrix: Any, name: str, groups: Sequence[str | None] | None = None) -> list[dict[str, Any]]:
    made = [{"place": f"{name}ä{i}", "what": sent(vector)} for i, vector in enumerate(matrix)]
    return made if groups is None else [row | {"grp": group} for row, group in zip(made, groups, strict=True)]


def vectors(n: int, seed: int, dim: int = 40) -> Any:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


LEFT = Source("a", "l", "l.place", vector="l.v")
RIGHT = Source("b", "r", "r.place", vector="r.v")


def run(db: Any, **options: Any) -> list[tuple[str, str, int]]:
    made = execution.gathered(db, Request(**({"left": LEFT, "right": RIGHT} | options)))
    return list(zip(made.left_places, made.right_places, made.rank.tolist(), strict=True))


def expected(left: Any, right: Any, k: int | None, **options: Any) -> list[tuple[str, str, int]]:
    found = nearest(left, right, k, **options)
    return [(f"lä{i}", f"rä{j}", rank) for i, j, rank in zip(found.left.tolist(), found.right.tolist(), found.rank.tolist(), strict=True)]


@pytest.mark.parametrize("room", [1 << 30, 60_000, 12_000])
@pytest.mark.parametrize("k", [1, 5, None])
def test_chunks_give_the_same_pairs_as_one_piece(monkeypatch: pytest.MonkeyPatch, room: int, k: int | None) -> None:
    monkeypatch.setattr(memory, "THREAD", 0)
    monkeypatch.setattr(memory, "PAIR", 1)
    left, right = vectors(150, 1), vectors(170, 2)
    right[5] = right[100]  # a tie over two chunks
    db = Lists(a=rows(left, "l"), b=rows(right, "r"))
    monkeypatch.setattr(memory, "GATHERED", 0)
    limit = {"max_distance": 0.8} if k is None else {}
    assert run(db, k=k, memory=room, **limit) == expected(left, right, k, **limit)
    assert (db.streams > 2) == (room < 1 << 30)


@pytest.mark.parametrize("room", [1 << 30, 12_000])
def test_mutual_pairs_equal_vectors_and_groups_over_chunks(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(memory, "THREAD", 0)
    monkeypatch.setattr(memory, "PAIR", 0)
    monkeypatch.setattr(memory, "GATHERED", 0)
    left, right = vectors(120, 3, 30), vectors(130, 4, 30)
    right[:30] = left[:30]
    groups = [[None if i % 11 == 0 else f"g{i % 4}" for i in range(n)] for n in (120, 130)]
    codes = tuple(np.array([-1 if one is None else int(one[1]) for one in side]) for side in groups)
    plain = Lists(a=rows(left, "l"), b=rows(right, "r"))
    assert run(plain, k=2, mutual=True, memory=max(room, 40_000)) == expected(left, right, 2, mutual=True)
    assert run(plain, k=2, not_equal=True, memory=room) == expected(left, right, 2, not_equal=True)
    grouped = Lists(a=rows(left, "l", groups[0]), b=rows(right, "r", groups[1]))
    sides = {"left": Source("a", "l", "l.place", vector="l.v", group="g"), "right": Source("b", "r", "r.place", vector="r.v", group="g")}
    assert run(grouped, k=3, memory=room, **sides) == expected(left, right, 3, codes=codes)


def test_progress_never_goes_back_and_ends_with_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "THREAD", 0)
    monkeypatch.setattr(memory, "GATHERED", 0)
    told: list[tuple[int, int | None]] = []
    monkeypatch.setattr("pgembed.progress.tell", lambda db, done, total=None: told.append((done, total)))
    run(Lists(a=rows(vectors(150, 1), "l"), b=rows(vectors(170, 2), "r")), memory=30_000)
    assert len(told) > 4
    assert told == sorted(told, key=lambda one: one[0])
    assert told[-1] == (150, 150)


def test_a_side_joined_with_itself_pairs_no_row_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "THREAD", 0)
    monkeypatch.setattr(memory, "GATHERED", 0)
    both = vectors(90, 5)
    db = Lists(a=rows(both, "l"), b=rows(both, "r"))
    for room in (1 << 30, 20_000):
        assert run(db, k=2, same=True, memory=room) == expected(both, both, 2, same=True)


def test_texts_are_embedded_once_and_blank_ones_take_no_part() -> None:
    made: list[str] = []

    def encode(texts: list[str]) -> Any:
        made.extend(texts)
        return np.array([[len(one), 1.0] for one in texts], dtype=np.float32)

    texts = [{"place": f"t{i}", "what": one} for i, one in enumerate(["abc", "  ", "abc", "abcdef"])]
    db = Lists(a=texts, b=rows(np.array([[3, 1], [6, 1]], dtype=np.float32), "r"))
    source = Source("a", "l", "l.place", text="l.t")
    found = run(db, left=source, encode=encode)
    assert [(left, right) for left, right, _ in found] == [("t0", "rä0"), ("t2", "rä0"), ("t3", "rä1")]
    assert sorted(made) == ["abc", "abcdef"]


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_an_empty_side_has_no_pairs_but_its_rows_are_told(n: int, m: int) -> None:
    db = Lists(a=rows(vectors(n, 6), "l"), b=rows(vectors(m, 7), "r"))
    for mutual in (False, True):
        made = execution.gathered(db, Request(LEFT, RIGHT, mutual=mutual))  # type: ignore[arg-type]
        assert len(made.left) == 0
        assert len(made.rows) == n


def test_dimensions_that_differ_are_refused() -> None:
    with pytest.raises(errors.DimensionMismatch):
        run(Lists(a=rows(vectors(3, 8, 4), "l"), b=rows(vectors(3, 9, 5), "r")))
    with pytest.raises(errors.DimensionMismatch):
        run(Lists(a=[*rows(vectors(3, 8, 4), "l"), *rows(vectors(2, 8, 6), "x")], b=rows(vectors(3, 9, 4), "r")))


@pytest.mark.parametrize("options", [{"k": 0}, {"k": None}, {"search_recall": 0.0}, {"search_recall": 1.1}])
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameter):
        run(Lists(a=[], b=[]), **options)


def test_more_pairs_than_fit_are_refused_before_any_work() -> None:
    db = Lists(a=rows(vectors(1, 1), "l"), b=rows(vectors(1, 1), "r"))
    sides = {"left": Source("a", "l", "l.place", vector="l.v", rows=1e6), "right": Source("b", "r", "r.place", vector="r.v", rows=1e6)}
    with pytest.raises(errors.LimitExceeded) as caught:
        run(db, k=1000, **sides)
    assert "1000 nearest rows for each of 1000000" in caught.value.message
    assert db.streams == 0


def test_more_pairs_within_a_distance_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    left = vectors(300, 1)
    with pytest.raises(errors.LimitExceeded) as caught:
        run(Lists(a=rows(left, "l"), b=rows(left, "r")), k=None, max_distance=2.0, memory=1 << 20)
    assert "max_distance" in str(caught.value.hint)


def test_places_come_back_as_they_were() -> None:
    places = reading.Places()
    names = [f"{i}" * (i % 5) + "é" for i in range(100)]
    places.add(names[:40])
    places.add(names[40:41])
    places.add(names[41:])
    at = np.array([99, 0, 40, 41, 39, 0])
    assert places.at(at) == [names[i] for i in at]
    assert places.at(np.empty(0, np.int64)) == []


@pytest.mark.parametrize(
    ("written", "size"),
    [("64MB", 64 << 20), ("1.5 GB", 3 << 29), ("262144", 256 << 20), ("8192kB", 8 << 20), ("9000000 B", 9_000_000), (" 1TB ", 1 << 40)],
)
def test_memory_is_written_as_postgresql_writes_it(written: str, size: int) -> None:
    assert memory.parsed(written) == size


@pytest.mark.parametrize("written", ["", "many", "5mb", "5 PB", "-1", "1MB", "1e3kB"])
def test_what_is_no_memory_is_refused(written: str) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        memory.parsed(written)
    assert "256MB" in str(caught.value.hint)


def test_products_are_for_many_rows_and_what_cannot_be_done_says_why() -> None:
    request = Request(LEFT, RIGHT)
    choices = costs.choices(request, 10_000, 60_000)
    assert choices[0].strategy == "product"
    assert {choice.strategy for choice in choices if choice.note} == {"index probes", "exact probes"}
    assert costs.choices(Request(LEFT, RIGHT, memory=8 << 20), 1e6, 1e6)[0].blocks > 10


@pytest.mark.parametrize(("recall", "k", "least"), [(0.9, 1, 40), (0.98, 1, 100), (0.95, 10, 80), (0.95, 50, 200)])
def test_a_surer_look_at_a_graph_is_wider(recall: float, k: int, least: int) -> None:
    assert (costs.ef_search(recall, k) or 0) >= least
    assert costs.ef_search(1.0, k) is None
