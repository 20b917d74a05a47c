"""Recall by codes, against a plain computation of every rank."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pgembed import errors, rows
from pgembed.codecs.contract import Codec, Shape, Space
from pgembed.codes import measuring, queries, ranks
from pgembed.codes.measuring import CURVE
from pgembed.codes.queries import Queries
from pgembed.columns import Column, Table

DIM = 12
TABLE = 77


class Untrained(Codec):
    """What the codecs of these tests share: nothing is fitted."""

    @classmethod
    def train(cls, *_: Any) -> Untrained:
        raise NotImplementedError

    @classmethod
    def build(cls, space: Space, options: Any, arrays: Any) -> Untrained:
        return cls(space, options, arrays)


class Signs(Untrained):
    """A bit for each dimension."""

    method = "signs"
    shape = property(lambda self: Shape("bits", self.space.dim))

    def _encode(self, vectors: Any) -> Any:
        return np.packbits(vectors > 0, axis=1)

    def points(self, codes: Any) -> Any:
        return np.unpackbits(codes, axis=1)[:, : self.space.dim].astype(np.float32) * 2 - 1

    def _masked(self, queries: Any) -> Any:
        """Without the five least numbers."""
        sure = np.argsort(np.argsort(np.abs(queries), axis=1), axis=1) >= 5
        return np.packbits((queries > 0) & sure, axis=1), np.packbits(sure, axis=1)


class Rough(Untrained):
    """A byte for each dimension, of few values, so that points tie."""

    method = "rough"
    shape = property(lambda self: Shape("bytes", self.space.dim))

    def _encode(self, vectors: Any) -> Any:
        return (np.clip(np.round(vectors * 2), -8, 8) + 8).astype(np.uint8)

    def points(self, codes: Any) -> Any:
        return (codes.astype(np.float32) - 8) / 2


class Half(Untrained):
    """All dimensions as float16."""

    method = "half"
    shape = property(lambda self: Shape("halfvec", self.space.dim))

    def _encode(self, vectors: Any) -> Any:
        return vectors.astype(np.float16)

    def points(self, codes: Any) -> Any:
        return codes.astype(np.float32)


class Stored:
    """A database with one column of vectors, as `rows.pages` reads it."""

    def __init__(self, vectors: Any, sampled: float = 1.0) -> None:
        self._vectors = vectors
        self._sampled = sampled
        self._left: list[int] = []
        self.statements: list[str] = []

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[dict[str, Any]]:
        self.statements.append(statement)
        if statement.startswith("DECLARE"):
            chosen = np.random.default_rng(1).random(len(self._vectors)) < (self._sampled if "TABLESAMPLE" in statement else 1)
            self._left = np.flatnonzero(chosen).tolist()
            return []
        if statement.startswith("CLOSE"):
            return []
        count = int(statement.split()[1])
        page, self._left = self._left[:count], self._left[count:]
        head = struct.pack(">hh", self._vectors.shape[1], 0)
        return [{"o": TABLE, "c": f"(0,{at})", "sent": head + self._vectors[at].astype(">f4").tobytes()} for at in page]


def column(metric: str) -> Column:
    found = Table(TABLE, "public", "t", "r", "me", True, ())
    nothing: dict[str, Any] = dict.fromkeys(
        (
            "source",
            "source_function",
            "hash_column",
            "trigger_name",
            "trigger_function",
            "model",
            "fingerprint",
            "index_name",
            "index_method",
        )
    )
    return Column(
        table=found,
        name="e",
        metric=metric,
        sync="auto",
        adopted=True,
        type="vector",
        dim=DIM,
        vector_schema="public",
        renamed=False,
        **nothing,
    )


def space(metric: str) -> Space:
    return Space(DIM, metric, metric == "cosine")


def drawn_rows(count: int, seed: int = 3) -> Any:
    """Vectors of different lengths, some of them several times."""
    made = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32) + np.float32(0.3)
    if count > 100:
        made[5:9], made[40:43] = made[0], made[41]
    return made


def plain_distance(metric: str, query: Any, vectors: Any) -> Any:
    one, many = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(many - one, axis=1)
    if metric == "inner_product":
        return -(many @ one)
    return 1 - many @ one / np.linalg.norm(many, axis=1) / np.linalg.norm(one)


def plain_recall(codec: Codec, metric: str, asked: Any, vectors: Any, own: Sequence[int | None], most: int, scan: str) -> float:
    """The mean share of the 10 nearest that are among so many codes, ties at their share."""
    codes, found = codec.encode(vectors), []
    for query, left_out in zip(asked, own, strict=True):
        there = [at for at in range(len(vectors)) if at != left_out]
        exact = plain_distance(metric, query, vectors)
        near = sorted(there, key=lambda at: exact[at])[:10]
        if scan == "hamming":
            code = codec.encode(query[None, :])
            of_code = np.unpackbits(codes ^ code, axis=1).sum(axis=1).astype(np.float64)
        elif scan == "masked":
            sure = np.argsort(-np.abs(query), kind="stable")[: DIM - 5]
            of_code = ((vectors[:, sure] > 0) != (query[sure] > 0)).sum(axis=1).astype(np.float64)
        else:
            seen = codec.space.prepared(query[None, :])[0].astype(np.float64)
            # cosine is estimated by the inner product with a query of length 1
            of_code = plain_distance("inner_product" if metric == "cosine" else metric, seen, codec.points(codes))
        of_code = np.round(of_code, 5)
        for one in near:
            smaller = sum(of_code[at] < of_code[one] for at in there)
            ties = sum(of_code[at] == of_code[one] for at in there)
            found.append(min(max((most - smaller) / ties, 0.0), 1.0))
    return float(np.mean(found))


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("kind", [Signs, Rough, Half])
def test_recall_is_that_of_a_plain_computation(kind: type[Untrained], metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_PAGE_ROWS", 64)  # several pages, the last one short
    vectors = drawn_rows(403)
    own: list[int | None] = [1, 0, 399, 402, 64, *[None] * 10]
    asked = np.concatenate([vectors[[1, 0, 399, 402, 64]], drawn_rows(30, seed=9)[20:]])
    codec = kind(space(metric), {}, {})
    kinds = [
        Queries("held out", asked[:5], [(TABLE, f"(0,{at})") for at in own[:5]]),
        Queries("given", asked[5:], [None] * 10),
    ]
    held_out, given = measuring.compare(Stored(vectors), column(metric), [codec], kinds, lambda: None)[0]
    for most in CURVE:
        for result, part in ((held_out, slice(0, 5)), (given, slice(5, 15))):
            found = result.measured.asymmetric[most]
            assert found == pytest.approx(plain_recall(codec, metric, asked[part], vectors, own[part], most, "asymmetric"), abs=1e-6)
            for scan in ("hamming", "masked") if kind is Signs else ():
                plain = plain_recall(codec, metric, asked[part], vectors, own[part], most, scan)
                assert getattr(result.measured, scan)[most] == pytest.approx(plain, abs=1e-9)
    assert (held_out.measured.queries, given.measured.queries, given.measured.rows, given.measured.k) == (5, 10, 403, 10)
    bits_alone = (given.measured.hamming, given.measured.masked, given.measured.masked_rescore)
    assert [one is None for one in bits_alone] == [kind is not Signs] * 3
    assert given.measured.hamming is None or given.measured.hamming != given.measured.masked


def test_the_smallest_number_of_candidates_reaches_the_level() -> None:
    vectors, asked = drawn_rows(600), drawn_rows(25, seed=4)
    result = measuring.compare(
        Stored(vectors), column("cosine"), [Signs(space("cosine"), {}, {})], [Queries("given", asked, [None] * 25)], lambda: None
    )[0][0]
    for ranked, kept in (
        (result.hamming, result.measured.rescore),
        (result.masked, result.measured.masked_rescore),
        (result.asymmetric, result.measured.asymmetric_rescore),
    ):
        assert ranked is not None
        assert kept is not None
        for level in (0.95, 0.99):
            least = kept[str(level)]
            assert least is not None
            assert least > 10
            assert ranked.recall(least) >= level > ranked.recall(least - 1)


def test_what_cannot_be_reached_is_none() -> None:
    far = ranks.Ranks(np.full((4, 10), 1e6), np.ones((4, 10)))
    assert far.reaches(0.95, ranks.Ranks.recall) is None
    assert far.recall(800) == 0


def test_ranks_are_estimated_on_a_part_of_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = drawn_rows(4000), drawn_rows(60, seed=4)
    kinds = [Queries("given", asked, [None] * 60)]
    codec = Signs(space("cosine"), {}, {})

    def measured(stored: Stored) -> measuring.Measured:
        return measuring.compare(stored, column("cosine"), [codec], kinds, lambda: None)[0][0].measured

    whole = measured(Stored(vectors))
    monkeypatch.setattr(measuring, "MOST_RANKED", 1600)
    stored = Stored(vectors, sampled=0.4)
    part = measured(stored)
    assert any("TABLESAMPLE SYSTEM (40.0)" in statement for statement in stored.statements)
    assert part.rows == whole.rows == 4000
    for most in (50, 100, 200, 400):
        assert part.hamming[most] == pytest.approx(whole.hamming[most], abs=0.03)
        assert part.hamming[most] != whole.hamming[most]


def test_the_distortion_is_what_the_best_length_leaves() -> None:
    vectors, asked = drawn_rows(3000) - np.float32(0.3), drawn_rows(3)
    kinds = [Queries("given", asked, [None] * 3)]
    codecs = [Signs(space("l2"), {}, {}), Half(space("l2"), {}, {})]
    signs, half = (result[0].measured for result in measuring.compare(Stored(vectors), column("l2"), codecs, kinds, lambda: None))
    # the sign explains 2 / pi of a normal number's square, and all of it of a sum of one
    assert signs.distortion == pytest.approx(1 - (1 + (DIM - 1) * 2 / np.pi) / DIM, abs=0.01)
    assert half.distortion < 1e-6
    assert signs.encode_rate > 0


def test_of_several_kinds_of_queries_the_worst_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = drawn_rows(500)
    far = -vectors.mean(axis=0, keepdims=True) + np.random.default_rng(2).standard_normal((20, DIM)).astype(np.float32) * np.float32(0.1)
    kinds = [Queries("held out", vectors[:20], [(TABLE, f"(0,{at})") for at in range(20)]), Queries("parts of texts", far, [None] * 20)]
    monkeypatch.setattr(queries, "drawn", lambda *_: kinds)
    codec = Signs(space("cosine"), {}, {})
    each = [result.measured for result in measuring.compare(Stored(vectors), column("cosine"), [codec], kinds, lambda: None)[0]]
    chosen = measuring.measure(Stored(vectors), column("cosine"), [codec], None, lambda: None)[0]
    assert chosen.hamming[100] == min(each[0].hamming[100], each[1].hamming[100]) < max(each[0].hamming[100], each[1].hamming[100])


def test_the_last_of_many_given_queries_are_measured() -> None:
    vectors, many = drawn_rows(300), drawn_rows(queries.MOST + 50, seed=8)
    codec = Signs(space("l2"), {}, {})
    whole = measuring.measure(Stored(vectors), column("l2"), [codec], Queries("given", many, [None] * len(many)), lambda: None)[0]
    last = measuring.measure(Stored(vectors), column("l2"), [codec], Queries("given", many[50:], [None] * queries.MOST), lambda: None)[0]
    assert whole.queries == queries.MOST
    assert whole.asymmetric == last.asymmetric


def test_a_small_table_has_fewer_neighbours_and_an_empty_one_none() -> None:
    vectors = drawn_rows(4)
    codec = Half(space("cosine"), {}, {})
    held_out = Queries("held out", vectors, [(TABLE, f"(0,{at})") for at in range(4)])
    measured = measuring.measure(Stored(vectors), column("cosine"), [codec], held_out, lambda: None)[0]
    assert (measured.k, measured.asymmetric[10]) == (3, 1.0)
    alone = Queries("held out", vectors[:1], [(TABLE, "(0,0)")])
    with pytest.raises(errors.InvalidParameter, match=r"t\.e has 1 vectors"):
        measuring.measure(Stored(vectors[:1]), column("cosine"), [codec], alone, lambda: None)


def test_a_zero_vector_is_nobodys_neighbour_by_cosine() -> None:
    vectors = drawn_rows(30)
    vectors[7] = 0
    asked = drawn_rows(5, seed=6)
    measured = measuring.measure(
        Stored(vectors), column("cosine"), [Half(space("cosine"), {}, {})], Queries("given", asked, [None] * 5), lambda: None
    )[0]
    assert (measured.k, measured.asymmetric[20]) == (10, 1.0)


def test_what_is_kept_is_json() -> None:
    vectors = drawn_rows(300)
    measured = measuring.measure(
        Stored(vectors), column("l2"), [Signs(space("l2"), {}, {})], Queries("given", vectors[:9], [None] * 9), lambda: None
    )[0]
    read = json.loads(json.dumps(measured.to_json()))
    assert list(read["hamming"]) == list(read["masked"]) == [str(most) for most in CURVE]
    assert read["asymmetric"]["100"] == pytest.approx(measured.asymmetric[100], abs=1e-4)
    assert set(read["rescore"]) == set(read["asymmetric_rescore"]) == set(read["masked_rescore"]) == {"0.95", "0.99"}
    assert (read["drawn"], read["k"], read["queries"], read["rows"]) == ("given", 10, 9, 300)


def test_a_cancel_is_seen_in_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_PAGE_ROWS", 64)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    vectors = drawn_rows(640)
    codecs = [Signs(space("l2"), {}, {}), Half(space("l2"), {}, {})]
    measuring.measure(Stored(vectors), column("l2"), codecs, Queries("given", vectors[:9], [None] * 9), look)
    assert looks >= 10 + 2 * 10


def test_the_margin_holds_for_other_queries_of_the_same_kind() -> None:
    chance = np.random.default_rng(5)
    # one query in eight misses one to five of its neighbours
    lost = np.where(chance.random(20_000) < 0.125, chance.integers(1, 6, 20_000), 0)
    held, bounds = 0, []
    for _ in range(400):
        some, others = chance.choice(lost, 300), chance.choice(lost, 300)
        smaller = np.where(np.arange(10)[None, :] < some[:, None], 1e6, 0.0)
        bounds.append(ranks.Ranks(smaller, np.ones((300, 10))).surely(100))
        held += bounds[-1] <= 1 - others.mean() / 10
    assert held >= 0.95 * 400
    assert np.mean(bounds) > 1 - lost.mean() / 10 - 0.025, "a margin that is no use"
    sure = ranks.Ranks(np.zeros((300, 10)), np.ones((300, 10)))
    assert 0.998 < sure.surely(100) < 1 == sure.recall(100)


@pytest.mark.parametrize(
    ("content", "check"),
    [
        ("a b c d e f g h i j k l", lambda part: 3 <= len(part.split()) <= 8 and part in "a b c d e f g h i j k l"),
        ("rain  jacket", lambda part: part == "rain jacket"),
        ("x" * 30 + "y" * 30, lambda part: 6 <= len(part) <= 20 and part in "x" * 30 + "y" * 30),
        ("", lambda part: part == ""),
    ],
    ids=["words", "few", "no spaces", "nothing"],
)
def test_parts_of_texts_are_as_people_ask(content: str, check: Callable[[str], bool]) -> None:
    chance = random.Random(1)
    parts = [queries.part_of(content, chance) for _ in range(50)]
    assert all(map(check, parts))
    assert len(set(parts)) > 10 or len(content) < 13


def test_pages_are_read_by_one_cursor_each() -> None:
    stored = Stored(drawn_rows(150))
    read = list(rows.pages(stored, column("l2"), DIM, 64))
    assert [len(page) for _, page in read] == [64, 64, 22]
    assert read[1][0][0] == (TABLE, "(0,64)")
    assert sum(statement.startswith(("DECLARE", "CLOSE")) for statement in stored.statements) == 2
