"""Support between mentions, against a sum over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed.linking import untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.features import SUPPORT
from tests.unit.linking.small import drawn, knowledge, read


@pytest.mark.parametrize("seed", range(5))
def test_as_a_sum_over_all_pairs(seed: int) -> None:
    table, texts, spans = drawn(seed)
    compiled = Compiled(table)
    prepared = untrained.prepare(compiled, read(compiled, texts, spans))
    places, pairs = prepared.places, prepared.pairs
    chance = np.random.default_rng(seed).random(len(pairs.mention))
    made = dict(zip(SUPPORT, prepared.graph.support(chance).T, strict=True))
    related = {(int(a), int(b)) for a, b in zip(table.facts.row, table.facts.other, strict=True) if b >= 0 and a != b}
    related |= {(b, a) for a, b in related}
    for at, (mention, row) in enumerate(zip(pairs.mention.tolist(), pairs.row.tolist(), strict=True)):
        others = [
            other
            for other in range(len(pairs.mention))
            if places.passage[pairs.mention[other]] == places.passage[mention] and pairs.mention[other] != mention
        ]
        support: dict[int, float] = {}
        for other in others:
            support[int(pairs.row[other])] = support.get(int(pairs.row[other]), 0.0) + float(chance[other])
        flows = {other: min(1.0, mass) for other, mass in support.items() if (row, other) in related}
        assert made["related"][at] == pytest.approx(sum(flow / (1 + compiled.degree[o]) for o, flow in flows.items()), abs=1e-4)
        assert made["related_best"][at] == pytest.approx(max(flows.values(), default=0.0), abs=1e-4)
        assert made["same"][at] == pytest.approx(min(1.0, support.get(row, 0.0)), abs=1e-4)
        earlier = [other for other in others if pairs.mention[other] < mention and pairs.row[other] == row]
        assert made["before"][at] == pytest.approx(min(1.0, sum(float(chance[other]) for other in earlier)), abs=1e-4)
        last = max((int(pairs.mention[other]) for other in earlier if chance[other] > 0.5), default=None)
        assert made["since"][at] == pytest.approx(0.0 if last is None else 1 / (mention - last), abs=1e-5)
        likely = [int(pairs.mention[other]) for other in earlier if chance[other] > 0.5]
        opening = int(np.flatnonzero(places.passage == places.passage[mention])[0])
        assert made["first"][at] == pytest.approx(1 / (1 + min(likely) - opening) if likely else 0.0, abs=1e-5)
        assert made["chance"][at] == pytest.approx(np.log(max(chance[at], 1e-6)), abs=1e-4)


def test_a_relation_that_the_mention_names_counts_for_the_row_it_leads_to() -> None:
    compiled = Compiled(knowledge(["Germany", "Angela Merkel", "Berlin"], [(0, "leader name", 1), (0, "capital", 2)]))
    prepared = untrained.prepare(compiled, read(compiled, ["Germany and its capital"], [[(1, 8), (13, 24)]]))
    pairs = prepared.pairs
    role = prepared.graph.support(np.where(pairs.mention == 0, 1.0, 0.5))[:, SUPPORT.index("role")]
    assert {int(row): float(value) for row, value in zip(pairs.row[pairs.mention == 1], role[pairs.mention == 1], strict=True)}[2] == 1.0
    assert not role[(pairs.mention == 1) & (pairs.row != 2)].any()


def test_a_mention_does_not_support_itself() -> None:
    compiled = Compiled(knowledge(["Akita Prefecture", "Akita"], [(1, "is part of", 0)]))
    prepared = untrained.prepare(compiled, read(compiled, ["Akita"], [[(1, 6)]]))
    support = prepared.graph.support(np.ones(len(prepared.pairs.mention)))
    assert len(support) == 2
    assert not support[:, : SUPPORT.index("chance")].any()
