"""k-means, against distances computed one by one in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pgembed.codecs import kmeans

Matrix = npt.NDArray[np.float32]


def vectors(n: int, dim: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def squares(rows: Matrix, centroids: Matrix) -> npt.NDArray[np.float64]:
    return np.asarray(((rows[:, None].astype(np.float64) - centroids[None]) ** 2).sum(-1))


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_each_row_belongs_to_the_nearest_centroid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "_BLOCK_BYTES", 4 * 30 * 16)  # blocks of 16 rows
    rows, centroids = vectors(500, 7, 1), vectors(30, 7, 2)
    labels, distances = kmeans.assign(rows, centroids)
    assert labels.tolist() == squares(rows, centroids).argmin(axis=1).tolist()
    assert np.allclose(distances, squares(rows, centroids).min(axis=1), rtol=1e-5, atol=1e-5)


def test_of_equal_centroids_the_first_is_the_nearest() -> None:
    centroids = np.array([[5, 5], [1, 0], [1, 0]], dtype=np.float32)
    assert kmeans.assign(np.array([[1, 0]], dtype=np.float32), centroids)[0].tolist() == [1]


def test_a_centroid_is_the_mean_of_its_rows() -> None:
    rows = vectors(100, 3, 3)
    labels = np.arange(100) % 4
    made = kmeans.update(rows, labels, np.zeros(100, dtype=np.float32), 4)
    assert np.allclose(made, np.stack([rows[labels == label].mean(axis=0) for label in range(4)]), atol=1e-6)


def test_a_cluster_without_rows_is_set_on_the_rows_that_are_worst_off() -> None:
    rows = vectors(6, 2, 4)
    distances = np.array([0, 3, 1, 9, 2, 0], dtype=np.float32)
    made = kmeans.update(rows, np.zeros(6, dtype=np.intp), distances, 3)
    assert np.array_equal(made[1:], rows[[3, 1]])
    assert np.allclose(made[0], rows.mean(axis=0), atol=1e-6)


def test_more_clusters_without_rows_than_there_are_rows() -> None:
    assert kmeans.update(vectors(2, 2, 4), np.zeros(2, dtype=np.intp), np.ones(2, dtype=np.float32), 5).shape == (5, 2)


def test_well_separated_clusters_are_found() -> None:
    centres = np.array([[0, 0], [100, 0], [0, 100], [100, 100]], dtype=np.float32)
    rows = (centres[np.arange(400) % 4] + vectors(400, 2, 5)).astype(np.float32)
    found = kmeans.kmeans(rows, 4, rng(), 20, begin=rows[:4])
    assert np.allclose(found, np.stack([rows[i::4].mean(axis=0) for i in range(4)]), atol=1e-4)


def test_a_round_never_makes_it_worse() -> None:
    rows = vectors(2000, 4, 6)
    totals = [float(kmeans.assign(rows, kmeans.kmeans(rows, 64, rng(), rounds))[1].sum()) for rounds in (0, 1, 2, 5, 20)]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < 0.8 * totals[0]


@pytest.mark.parametrize("n", [1, 5, 64])
def test_of_no_more_different_rows_than_centroids_nothing_is_lost(n: int) -> None:
    different = vectors(n, 3, 7)
    rows = different[np.arange(3 * n) % n]
    found = kmeans.kmeans(rows, 64, rng(), 10)
    assert found.shape == (64, 3)
    assert np.array_equal(np.unique(found, axis=0), np.unique(different, axis=0))


def test_many_equal_rows_do_not_hide_the_others() -> None:
    rows = np.concatenate([np.zeros((5000, 2), dtype=np.float32), vectors(40, 2, 8)])
    found = kmeans.kmeans(rows, 32, rng(), 10)
    assert len(np.unique(found, axis=0)) == 32


def test_dimensions_that_never_change_stay_as_they_are() -> None:
    rows = vectors(300, 3, 9)
    rows[:, 1] = 2
    assert np.array_equal(kmeans.kmeans(rows, 16, rng(), 10)[:, 1], np.full(16, 2, dtype=np.float32))


def test_a_seed_decides_the_centroids() -> None:
    rows = vectors(500, 3, 10)
    one, same = kmeans.kmeans(rows, 16, rng(), 3), kmeans.kmeans(rows, 16, rng(), 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, kmeans.kmeans(rows, 16, np.random.default_rng(12), 3))


def test_it_ends_where_nothing_changes_and_can_be_stopped() -> None:
    rounds: list[int] = []
    kmeans.kmeans(np.array([[0], [1]], dtype=np.float32), 2, rng(), 1000, check=lambda: rounds.append(1))
    assert len(rounds) == 2

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kmeans.kmeans(vectors(50, 2, 1), 4, rng(), 10, check=stop)
