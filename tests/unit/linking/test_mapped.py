"""The joint space beside a knowledge: rows mapped a few at a time, maps stored with the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pgembed.joint import maps, storing, zones
from pgembed.linking import mapped
from pgembed.linking.engine import Linker, Model, train
from pgembed.linking.mapped import JOINT, Around, Mapped

from .made import examples, world

WORLD = world()


def stored() -> mapped.Arrays:
    """Maps that nothing was learned for."""
    return storing.to_arrays(maps.untrained(Around(WORLD).inputs(np.arange(len(WORLD))), len(zones.FORM)))


def test_a_few_rows_are_what_they_are_among_all() -> None:
    around, some = Around(WORLD), np.array([len(WORLD) - 1, 0, 7])
    whole, few = around.inputs(np.arange(len(WORLD))), around.inputs(some)
    facts = WORLD.facts
    plain = zones.rows(
        WORLD.names, WORLD.aliases, WORLD.types, WORLD.context, WORLD.relations, facts.row, facts.relation, facts.other, facts.text
    )
    space = maps.untrained(whole, len(zones.FORM))
    assert space.right(whole) == pytest.approx(space.right(plain), abs=1e-5)
    assert space.right(few) == pytest.approx(space.right(plain)[some], abs=1e-5)


def test_rows_are_mapped_when_they_are_asked_for_and_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{WORLD.names[3]} met {WORLD.names[9]}."
    first, second = WORLD.names[3] or "", WORLD.names[9] or ""
    start = np.array([0, text.index(second)])
    end = np.array([len(first), text.index(second) + len(second)])
    places = zones.mentions([text], np.zeros(2, np.int64), start, end)
    mention, row = np.array([0, 0, 1, 1]), np.array([3, 9, 3, 9])
    at_once = Mapped(stored(), Around(WORLD))
    expected = at_once.features(at_once.left(places), mention, row)
    assert expected.shape == (4, len(JOINT))
    assert expected[0, 0] > expected[1, 0]
    assert expected[3, 0] > expected[2, 0]
    found, near = at_once.nearest(at_once.left(places))
    assert near[found == 0][0] == 3
    # Of many rows a few are mapped, and only so many are kept; how rare words are is counted over all of them here.
    monkeypatch.setattr(mapped, "KEPT", 3)
    lazily = Mapped(stored(), Around(WORLD))
    _ = lazily._maps  # counted before the table counts as large
    monkeypatch.setattr(mapped, "SMALL", 2)
    assert not lazily.searched
    left = lazily.left(places)
    for _ in range(3):
        assert lazily.features(left, mention, row) == pytest.approx(expected, abs=2e-4)
        lazily.features(left, np.zeros(3, np.int64), np.array([11, 12, 13]))
        assert lazily._space is not None
        assert len(lazily._space.rows) == 3


def test_after_a_change_only_what_is_near_it_is_mapped_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Mapped(stored(), Around(WORLD))
    _ = before._maps
    monkeypatch.setattr(mapped, "SMALL", 2)
    places = zones.mentions(["Ostrava met Zlin."], np.zeros(1, np.int64), np.array([0]), np.array([7]))
    rows = np.arange(len(WORLD))
    left, mention = before.left(places), np.zeros(len(WORLD), np.int64)
    old = before.features(left, mention, rows)
    renamed = replace(WORLD, names=["Zlin", *WORLD.names[1:]])
    after = Mapped(stored(), Around(renamed)).after(before, np.array([0]))
    assert after._slot[0] == -1
    assert (after._slot >= 0).any()
    fresh = Mapped(stored(), Around(renamed))
    fresh.__dict__["_maps"] = before._maps
    found = after.features(left, mention, rows)
    assert found == pytest.approx(fresh.features(left, mention, rows), abs=2e-4)
    assert abs(found[0] - old[0]).max() > 0.01


def test_a_model_has_its_maps_and_ranks_without_them() -> None:
    labels = examples(WORLD, 150)
    model = train(WORLD, labels)
    assert model.joint is not None
    again = Model.from_bytes(model.to_bytes())
    assert again.joint is not None
    assert set(again.joint) == set(model.joint)
    texts, spans = [one.content for one in labels[:20]], [one.spans for one in labels[:20]]
    linker = Linker(WORLD, model=model)
    assert linker.link(texts, spans) == Linker(WORLD, model=again).link(texts, spans)
    assert Linker(WORLD, model=replace(model, joint=None)).link(texts, spans)[0]
