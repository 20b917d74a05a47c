"""Labels: rows find the label that describes them, also where rows and descriptions are of different kinds."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed import errors
from pgembed.grouping import labels

RNG = np.random.default_rng(3)


def test_rows_draw_the_labels_to_where_they_are() -> None:
    """Rows lie around centres that descriptions only point at: nearest description alone is worse."""
    rng = np.random.default_rng(1)
    centres = labels.unit(rng.normal(size=(6, 64)))
    truth = rng.integers(0, 6, 3_000)
    rows = labels.unit(centres[truth] + rng.normal(size=(3_000, 64)) * 0.18)
    words = [labels.unit(centre + rng.normal(size=(3, 64)) * 0.22) for centre in centres]
    found = labels.classify(rows, words)
    plain = (rows @ labels.unit(np.stack([labels.unit(w).mean(axis=0) for w in words])).T).argmax(axis=1)
    assert (found.label == truth).mean() > (plain == truth).mean()
    sure = found.is_confident
    assert (found.label[sure] == truth[sure]).mean() > (found.label == truth).mean()
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    assert (found.second != found.label).all()
    assert (found.margin >= 0).all()


def test_a_row_without_direction_has_no_label() -> None:
    rows = np.array([[1, 0], [0, 0], [0, 2]], dtype=np.float32)
    found = labels.classify(rows, [np.array([[1, 0]], dtype=np.float32), np.array([[0, 1]], dtype=np.float32)])
    assert found.label.tolist() == [0, -1, 1]
    assert np.isnan(found.score[1])
    assert not found.is_confident[1]


def test_nothing_to_classify_and_too_few_labels() -> None:
    one = np.ones((1, 2), dtype=np.float32)
    assert len(labels.classify(np.empty((0, 2), dtype=np.float32), [one, -one]).label) == 0
    with pytest.raises(errors.InvalidParameter, match="1 labels, and at least 2"):
        labels.classify(one, [one])
