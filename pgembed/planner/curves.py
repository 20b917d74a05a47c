"""curves: what a path needs to reach a recall on a column, from what was measured there, and before that from conservative defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pgembed.codes.catalogue import CodecRow
from pgembed.planner.contract import Path, Setting

# Candidates that an index scan keeps for a recall@10, measured over 30,000 package descriptions with questions that no row was made of:
# .923 at 100, .958 at 200, .978 at 400, .987 at 800.
EF_SEARCH = ((0.92, 100), (0.95, 200), (0.98, 400), (0.985, 800))
# The same over codes, which miss by themselves half of what may be missed, see `pgembed.planner.coded`.
CODE_EF_SEARCH = ((0.92, 100), (0.95, 200), (0.98, 400), (0.99, 600))
EF_SEARCH_LIMIT = 1000  # pgvector's own
CANDIDATES_PER_RESULT = 4
DEFAULT_RECALL = 0.98


@dataclass(frozen=True)
class Point:
    """One measurement of a path on a column; see the table ``pgembed._calibration``.

    Attributes:
        share: of rows that pass the filter, 0 to 1; 1 for no filter.
        k: results that were asked for.
        ef_search: of the graph; None where there is none.
        recall: mean over the queries; low: what it is at least, at 95 % confidence.
        milliseconds: median.
    """

    path: Path
    share: float
    k: int
    candidates: int
    ef_search: int | None
    recall: float
    low: float
    milliseconds: float


def setting(points: Sequence[Point], path: Path, recall: float, k: int, share: float, codec: CodecRow | None = None) -> Setting | None:
    """The cheapest setting of a path that is expected to reach a recall; None where none is known to.

    Args:
        points: measured on the column; () where nobody has.
        recall: share of the true k nearest, below 1.
        share: of rows that pass the filter.
        codec: of the codes that the path reads.
    """
    if path == "index":
        enough = next((size for reached, size in EF_SEARCH if recall <= reached), EF_SEARCH_LIMIT)
        return Setting(k, min(EF_SEARCH_LIMIT, max(enough, CANDIDATES_PER_RESULT * k)), recall, "default")
    assert codec is not None
    number, said = needed(codec, k, recall, filtered=share < 1, masked=path != "code")
    if number is None:
        return None
    if path == "code":
        enough = next((size for reached, size in CODE_EF_SEARCH if recall <= reached), EF_SEARCH_LIMIT)
        return Setting(number, min(EF_SEARCH_LIMIT, max(enough, CANDIDATES_PER_RESULT * k, number)), recall, said)
    return Setting(number, None, recall, said)


def needed(codec: CodecRow, k: int, recall: float, *, filtered: bool, masked: bool) -> tuple[int | None, str]:
    """How many candidates codes must give for a recall@k, and by what measure; None where none is known that is enough.

    Args:
        filtered: rows that pass a filter are nearer to each other than others, and codes tell them apart less well.
        masked: the query's unsure bits are left out, where codes are bits.
    """
    measured = codec.checked or codec.measured
    if measured is None:
        return None, f'the recall of codec "{codec.name}" was never measured: pgembed.check_codec() does'
    kind = ("masked" if masked else "hamming") if codec.kind == "bits" else "asymmetric"
    curve = measured.get(kind) or measured.get("hamming") or {}
    # the graph misses as much again as the codes do
    wanted = 1 - (1 - recall) / 2
    # recall@k at R falls as k grows, a little slower than k / R: of 50 nearest, 5 times as many were needed as of 10
    share = max(1.0, k / measured["k"]) * (2 if filtered else 1)
    for size, reached in sorted((int(size), float(reached)) for size, reached in curve.items()):
        number = max(math.ceil(size * share), CANDIDATES_PER_RESULT * k)
        if reached >= wanted and number <= EF_SEARCH_LIMIT:
            return number, f"measured recall@{measured['k']} {reached:.3f} at {size}"
    return None, f"no {EF_SEARCH_LIMIT} candidates were measured to contain {wanted:.3f} of the {k} nearest"
