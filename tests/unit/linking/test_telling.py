"""What texts tell of rows, against counting."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from pgembed.linking import telling
from pgembed.linking.compiled import Compiled
from tests.unit.linking.small import drawn, read


@pytest.mark.parametrize("seed", range(4))
def test_as_counting_says(seed: int) -> None:
    table, texts, spans = drawn(seed)
    compiled = Compiled(table)
    words = read(compiled, texts, spans).context
    told = telling.tell(compiled, words)
    expected: dict[int, list[float]] = defaultdict(list)
    for text in range(len(words)):
        inside = slice(int(words.start[text]), int(words.start[text + 1]))
        here = dict(zip(words.member[inside].tolist(), words.weight[inside].tolist(), strict=True))
        for row, string in zip(compiled.fact_row.tolist(), compiled.fact_string.tolist(), strict=True):
            of = compiled.strings.member[compiled.strings.start[string] : compiled.strings.start[string + 1]].tolist()
            if not of:
                continue
            rarity = compiled.rarity.tolist()
            share = sum(rarity[w] * here.get(w, 0.0) for w in of) / sum(rarity[w] for w in of)
            anchor = min(of, key=lambda w: (-rarity[w], w))
            if share >= telling.NAMED and anchor in here:
                rare = np.log1p(compiled.rows / compiled.told.count[string]) / np.log1p(compiled.rows)
                expected[text * compiled.rows + row].append(share**2 * rare)
    assert told.key.tolist() == sorted(expected)
    assert told.total == pytest.approx([sum(expected[key]) for key in sorted(expected)], rel=1e-4)
    assert told.best == pytest.approx([max(expected[key]) for key in sorted(expected)], rel=1e-4)
    asked = np.array([*sorted(expected)[:2], 10**6], np.int64)
    assert told.of(asked)[1][-1] == 0
    assert told.of(asked)[0][0] == told.total[0]
