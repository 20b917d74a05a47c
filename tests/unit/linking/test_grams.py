"""Cosines of n-grams against dictionaries of n-grams."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from pgembed.linking import grams
from pgembed.linking.grams import LEAST, SIZES, Grams


def counted(text: str) -> Counter[str]:
    marked = f" {text} " if text else ""
    return Counter(marked[at : at + size] for size in SIZES for at in range(len(marked) - size + 1))


def slowly(texts: list[str], asked: str) -> dict[int, float]:
    known = [counted(text) for text in texts]
    frequency = Counter(gram for count in known for gram in count)

    def weights(count: Counter[str]) -> dict[str, float]:
        made = {gram: math.sqrt(n) * math.log1p(len(texts) / max(1, frequency[gram])) for gram, n in count.items()}
        norm = math.sqrt(sum(weight**2 for weight in made.values())) or 1.0
        return {gram: weight / norm for gram, weight in made.items()}

    here = weights(counted(asked))
    cosine = {at: sum(w * here.get(gram, 0.0) for gram, w in weights(count).items()) for at, count in enumerate(known)}
    return {at: value for at, value in cosine.items() if value > 0}


def test_as_dictionaries_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "_CELLS", 90)  # several parts
    rng = random.Random(3)
    texts = [
        " ".join("".join(rng.choice("abc") for _ in range(rng.randrange(1, 6))) for _ in range(rng.randrange(1, 3))) for _ in range(30)
    ]
    asked = [*texts[:5], "abcab", "zzz", "", "b"]
    which, position, cosine = Grams(texts).similar(asked, 100)
    for at, text in enumerate(asked):
        expected = slowly(texts, text)
        most = max(expected.values(), default=0.0)
        found = {int(p): float(c) for w, p, c in zip(which, position, cosine, strict=True) if w == at}
        for key, value in expected.items():
            if value > LEAST * most + 0.01:
                assert found[key] == pytest.approx(value, abs=0.02)  # buckets may be shared
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert "zzz" not in {asked[at] for at in which.tolist()}


def test_the_k_best_come_first() -> None:
    index = Grams(["paris", "paris texas", "pariser platz", "london"])
    which, position, _ = index.similar(["paris", "london"], 2)
    assert which.tolist() == [0, 0, 1]
    assert position.tolist()[0] == 0
    assert position.tolist()[2] == 3


def test_nothing() -> None:
    for texts in ([], [""], ["a"]):
        which, _, _ = Grams(texts).similar(["", "xyz"], 5)
        assert not len(which)
    assert not len(Grams(["a"]).similar([], 5)[0])


def test_texts_that_are_added_are_found_as_if_they_had_been_there() -> None:
    texts = [f"name{at} town{at % 7}" for at in range(200)]
    grown = Grams(texts).added(["vereinigte staaten"]).added(["name3 townhall"])
    for asked in ("vereinigten staaten", "name3 townhal"):
        at, position, cosine = grown.similar([asked], 5)
        again = Grams([*texts, "vereinigte staaten", "name3 townhall"]).similar([asked], 5)
        assert position[0] == again[1][0] >= 200
        assert cosine[0] == pytest.approx(again[2][0], abs=0.02)
        assert (at == 0).all()
    assert 200 not in Grams(texts).similar(["vereinigte staaten"], 5)[1]
