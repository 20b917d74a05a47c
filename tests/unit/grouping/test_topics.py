"""Topics: clusters are found again, are called by their words, and are the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed import errors
from pgembed.grouping import topics

THINGS = (("violin", "trumpet", "drum"), ("volcano", "granite", "river"), ("court", "contract", "judge"), ("goal", "tennis", "race"))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Vectors around six centres, all with one direction in common, and texts of four kinds."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(6, 80))
    topic = np.sort(rng.integers(0, 6, 900))
    vectors = centres[topic] + rng.normal(size=(900, 80)) * 0.7 + 3.0
    texts = [f"the {THINGS[t % 4][i % 3]} of {i}" for i, t in enumerate(topic.tolist())]
    return vectors.astype(np.float32), topic, texts


def test_clusters_are_found_and_their_number_is_chosen(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    vectors, truth, _ = rows
    found = topics.find(vectors)
    assert len(found.centres) == 6
    assert found.sizes.tolist() == sorted(np.bincount(truth).tolist(), reverse=True)
    assert all(len(set(truth[found.topic == topic].tolist())) == 1 for topic in range(6))
    assert (found.margin > 0).all()
    assert set(truth[found.nearest(0, 5)].tolist()) == {np.bincount(truth).argmax()}


def test_one_seed_gives_the_same_topics(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    one, same = topics.find(rows[0], 9, seed=4), topics.find(rows[0], 9, seed=4)
    assert one.topic.tolist() == same.topic.tolist()
    assert len(one.centres) == 9


def test_words_tell_a_topic_and_the_frequent_ones_do_not(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    _, truth, texts = rows
    named = topics.words(texts, truth % 4, 4, 3)
    assert [set(words) for words in named] == [set(things) for things in THINGS]


def test_few_rows_and_none() -> None:
    assert len(topics.find(np.empty((0, 4), dtype=np.float32)).centres) == 0
    zero = topics.find(np.zeros((3, 4), dtype=np.float32))
    assert zero.topic.tolist() == [-1, -1, -1]
    same = topics.find(np.ones((5, 4), dtype=np.float32) + np.arange(5)[:, None].astype(np.float32) * np.eye(5, 4, dtype=np.float32), 50)
    assert 1 <= len(same.centres) <= 5
    with pytest.raises(errors.InvalidParameter, match="n must be at least 1"):
        topics.find(np.ones((5, 4), dtype=np.float32), 0)
