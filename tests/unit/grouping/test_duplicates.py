"""Duplicates: planted ones are found without labels, what is merely alike is not, and clusters are no chains."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from pgembed.grouping import duplicates, nearby
from pgembed.grouping.likeness import Texts
from pgembed.lexical.spelling import edits

SYLLABLES = ("ba", "ko", "ri", "ten", "mu", "sal", "dor", "fi", "gra", "pel", "zo", "lin", "wem", "cha", "tur")


def made(n: int, seed: int, share: float = 0.05) -> tuple[list[str], list[int]]:
    """Texts of six words, a twentieth of them twice, written differently; and of which row each is."""
    chance = random.Random(seed)
    vocabulary = ["".join(chance.choices(SYLLABLES, k=chance.choice((2, 3, 4)))) for _ in range(1_500)]
    texts = [" ".join(chance.choices(vocabulary, k=6)) for _ in range(n)]
    rows = list(range(n))
    for row in chance.sample(range(n), int(n * share)):
        words = texts[row].split()
        kind = chance.randrange(3)
        if kind == 0:
            at = chance.randrange(6)
            cut = chance.randrange(1, len(words[at]) - 1)
            words[at] = words[at][:cut] + words[at][cut + 1 :]
        elif kind == 1:
            words.append(words.pop(chance.randrange(5)))
        texts.append((", " if kind == 2 else " ").join(words).title())
        rows.append(row)
    return texts, rows


def scores(texts: list[str], rows: list[int], found: duplicates.Clusters) -> tuple[float, float]:
    """Pairwise precision and recall."""
    clusters: dict[int, list[int]] = {}
    for row, cluster in zip(found.row.tolist(), found.cluster.tolist(), strict=True):
        clusters.setdefault(cluster, []).append(rows[row])
    pairs = [(a, b) for members in clusters.values() for i, a in enumerate(members) for b in members[:i]]
    right = sum(a == b for a, b in pairs)
    return right / max(1, len(pairs)), right / (len(texts) - len(set(rows)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_duplicates_are_found_without_labels(seed: int) -> None:
    texts, rows = made(2_000, seed)
    precision, recall = scores(texts, rows, duplicates.deduplicate(texts))
    assert precision >= 0.95
    assert recall >= 0.95


def test_where_there_are_none_none_are_found() -> None:
    texts, _ = made(2_000, 3, share=0)
    assert len(duplicates.deduplicate(texts).row) <= 2


def test_versions_and_parts_are_not_the_same() -> None:
    chance = random.Random(5)
    names = ["".join(chance.choices(SYLLABLES, k=4)) for _ in range(600)]
    texts = [f"lib{name}{part}: reads {other} files" for name, other in pairwise(names) for part in ("1", "2", " dev", " doc")]
    texts += [text.upper() for text in texts[:100]]
    found = duplicates.deduplicate(texts)
    assert sorted(set(found.size.tolist())) == [2]
    assert len(found.row) == 200


def test_a_chain_of_steps_does_not_join_its_ends() -> None:
    words = [f"{a}{b}lor" for a in SYLLABLES for b in SYLLABLES]
    # each text differs from the next by one word in twenty, the first and the last in all
    chain = [" ".join(words[i : i + 20]) for i in range(0, 21)]
    found = duplicates._linked(np.arange(20), np.arange(1, 21), np.full(20, 0.9), Texts(chain).of, 0.6, set(), lambda: None)
    assert max(map(len, found)) < 12
    assert not any(0 in rows and 20 in rows for rows in found)
    assert sum(map(len, found)) >= 15


def test_labels_draw_the_line_and_are_obeyed() -> None:
    texts, rows = made(400, 1)
    twice = [(rows[i], i) for i in range(400, 420)]
    left, right = np.array([a for a, _ in twice] + [0, 2, 4]), np.array([b for _, b in twice] + [1, 3, 5])
    known = np.array([True] * 18 + [False] * 5)
    found = duplicates.deduplicate(texts, labels=(left, right, known))
    cluster = dict(zip(found.row.tolist(), found.cluster.tolist(), strict=True))
    assert all(cluster[a] == cluster[b] for a, b in twice[:18])
    assert all(cluster.get(a, -1) != cluster.get(b, -2) for a, b in twice[18:])
    same = duplicates.deduplicate(["one thing", "something else", "a third"], labels=(np.array([0]), np.array([2]), np.array([True])))
    assert same.row.tolist() == [0, 2]


def test_only_rows_of_one_group_are_duplicates() -> None:
    texts = ["the same words"] * 6
    found = duplicates.deduplicate(texts, groups=np.array([0, 1, 0, 1, 2, 2]))
    assert list(zip(found.row.tolist(), found.cluster.tolist(), strict=True)) == [(0, 0), (2, 0), (1, 1), (3, 1), (4, 4), (5, 4)]


def test_rows_added_later_rename_no_cluster() -> None:
    texts, _ = made(800, 2)
    before, after = duplicates.deduplicate(texts), duplicates.deduplicate([*texts, texts[0].upper(), "something quite new"])
    later = dict(zip(after.row.tolist(), after.cluster.tolist(), strict=True))
    assert {row: later[row] for row in before.row.tolist()} == dict(zip(before.row.tolist(), before.cluster.tolist(), strict=True))


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["?"], ["a", "b"]])
def test_too_little_gives_nothing(texts: list[str]) -> None:
    assert len(duplicates.deduplicate(texts).row) == 0


def test_thousands_of_equal_rows_are_one_cluster() -> None:
    found = duplicates.deduplicate(["the same words here"] * 3_000)
    assert found.size.tolist() == [3_000] * 3_000
    assert found.is_representative.sum() == 1


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("form", "form", 0),
        ("form", "from", 1),
        ("form", "fom", 1),
        ("form", "foxrm", 1),
        ("form", "farm", 1),
        ("forms", "frm", 2),
        ("a", "xyz", 3),
    ],
)
def test_edits(one: str, other: str, count: int) -> None:
    assert edits(one, other, 2) == edits(other, one, 2) == count


def test_likeness_of_order_punctuation_slips_and_numbers() -> None:
    texts = ["blue garden chair 45", "Chair, blue; GARDEN 45", "blue graden chair 45", "blue garden chair 46", "red office desk 12"]
    alike = Texts(texts)
    assert alike.of(0, 1) == 1.0
    assert 1.0 > alike.of(0, 2) > 0.9
    assert alike.of(0, 3) < 0.6
    assert alike.of(0, 4) == 0.0
    assert alike.of(3, 0) == alike.of(0, 3)


def test_pairs_that_share_nothing_rare_are_not_looked_at() -> None:
    left, right = nearby.pairs([f"word {i} and nothing" for i in range(200)], 5)
    assert len(left) < 200 * 199 / 2 / 10
    assert (left < right).all()
