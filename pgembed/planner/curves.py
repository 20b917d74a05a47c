"""curves: what a path needs to reach a recall on a column, from what was measured there, and before that from conservative defaults.

What counts of a measurement is not the mean that it found but what it is at least, at 95 % confidence; of several filters at about one
share the one that was served worst counts, for the next one may be like it. Between measured settings and shares the missed part is taken
to change as a power of them, which is how it falls on every column that was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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

# Filters whose shares differ by no more than this factor say the same.
_ALIKE = 1.6
# Less than this was missed by none: 1,000 queries could not tell.
_LEAST_MISSED = 1e-4
# Answers that are remembered.
_MOST_FOUND = 500
# What floating point leaves over.
_NOTHING = 1e-6
# How many times as much as questions that a calibration made up those may miss that come: people ask otherwise, as titles are asked for
# abstracts, and missed 1.4 to 2.3 times as much. Questions of people, given to a calibration, are of the kind that comes; yet of 500
# titles the first 200 missed up to twice as much as the other 300, by chance.
OTHER_QUESTIONS, OF_THE_KIND = 2.5, 2.0
# What a candidate costs beside a row that a graph visits: its row is found by key.
_RESCORED = 0.2
# Most candidates of a scan over codes; beyond, comparing every row costs no more.
MOST_CANDIDATES = 5_000


@dataclass(frozen=True)
class Point:
    """One measurement of a path on a column; see the table ``pgembed._calibration``.

    Attributes:
        share: of rows that pass the filter, 0 to 1; 1 for no filter.
        k: results that were asked for.
        ef_search: of the graph; None where there is none.
        recall: mean over the queries; low: what it is at least, at 95 % confidence.
        milliseconds: median; None where only the recall was measured.
        queries: how many; filter: what kind of, in a word.
        given: the queries are such as people ask; else calibration made them up, see `OTHER_QUESTIONS`.
    """

    path: Path
    share: float
    k: int
    candidates: int
    ef_search: int | None
    recall: float
    low: float
    milliseconds: float | None = None
    queries: int = 0
    filter: str = ""
    given: bool = False


# What is missed at most, by ef_search (0 where there is none) and candidates.
_Surface = dict[tuple[float, float], float]


class Points(tuple[Point, ...]):
    """Measurements of one column, which remember what was made of them."""

    _groups: dict[tuple[str, float], list[tuple[float, _Surface]]]
    _surfaces: dict[tuple[str, float, int], _Surface]
    _found: dict[tuple[str, float, float, int], tuple[float, float] | None]

    def __new__(cls, points: Iterable[Point] = ()) -> Points:
        made = super().__new__(cls, tuple(points))
        made._groups, made._surfaces, made._found = {}, {}, {}
        return made

    def surface(self, path: Path, share: float, harder: float = 1.0) -> _Surface:
        """What the settings of a path miss at a share; {} where none was measured.

        Args:
            harder: times as much as those measured, questions or filters that come may miss.
        """
        bucket = round(2 * math.log2(max(share, 1e-6)))
        found = self._surfaces.get((path, harder, bucket))
        if found is None:
            groups = self._groups.get((path, harder))
            if groups is None:
                # what codes miss is the same wherever they are read
                alike = ("covering", "scan") if path in ("covering", "scan") else (path,)
                groups = self._groups[path, harder] = _grouped([point for point in self if point.path in alike], harder)
            at = bucket / 2 * math.log(2)
            found = {
                place: math.exp(_line([(log, math.log(surface[place])) for log, surface in groups], at))
                for place in (groups[0][1] if groups else ())
            }
            self._surfaces[path, harder, bucket] = found
        return found

    def cheapest(self, path: Path, recall: float, share: float, harder: float = 1.0) -> tuple[float, float] | None:
        """Candidates and ef_search (0 for none) that reach a recall, with the fewest rows to visit; None where that was not measured."""
        key = (path, recall, harder, round(2 * math.log2(max(share, 1e-6))))
        if key not in self._found:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[key] = _cheapest(self.surface(path, share, harder), 1 - recall, share)
        return self._found[key]


def load(kept: Iterable[Mapping[str, Any]], k: int, stale: Collection[str] = ()) -> Points:
    """Points as the registry has them, but for paths of which they do not hold any more."""
    return Points(
        Point(
            path=one["path"],
            share=float(one["share"]),
            k=k,
            candidates=int(one["candidates"]),
            ef_search=one.get("ef_search"),
            recall=float(one["recall"]),
            low=float(one["low"]),
            milliseconds=one.get("milliseconds"),
            queries=int(one.get("queries", 0)),
            filter=str(one.get("filter", "")),
            given=bool(one.get("given", False)),
        )
        for one in kept
        if one["path"] not in stale
    )


def setting(
    points: Sequence[Point], path: Path, recall: float, k: int, share: float, codec: CodecRow | None = None, harder: float = 1.0
) -> Setting | None:
    """The cheapest setting of a path that is expected to reach a recall; None where none is known to.

    Args:
        points: measured on the column; () where nobody has.
        recall: share of the true k nearest, below 1.
        share: of rows that pass the filter.
        codec: of the codes that the path reads.
        harder: times as much as was measured may be missed, see `Points.surface`.
    """
    if points:
        measured = points if isinstance(points, Points) else Points(points)
        if measured.surface(path, share, harder):
            return _measured(measured.cheapest(path, recall, share, harder), measured[0].k, path, recall, k)
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


def _measured(found: tuple[float, float] | None, k_measured: int, path: Path, recall: float, k: int) -> Setting | None:
    if found is None:
        return None
    candidates, ef_search = found
    # Recall@k at R falls as k grows, a little slower than k / R: of 50 nearest 5 times as many were needed as of 10.
    number = max(k, math.ceil(candidates * max(1.0, k / k_measured) - _NOTHING))
    said = f"measured here: recall@{k_measured} of {recall:g} with 95 % confidence"
    if path in ("covering", "scan"):
        return None if number > MOST_CANDIDATES else Setting(number, None, recall, said)
    # a graph needs some more in view for each result that it is to give
    view = number if not ef_search else math.ceil(ef_search + CANDIDATES_PER_RESULT * max(0, k - k_measured) - _NOTHING)
    if number > EF_SEARCH_LIMIT or CANDIDATES_PER_RESULT * k > EF_SEARCH_LIMIT:
        return None
    return Setting(number, min(EF_SEARCH_LIMIT, view), recall, said)


def _cheapest(surface: _Surface, may_miss: float, share: float) -> tuple[float, float] | None:
    """Candidates and ef_search that miss no more, with the fewest rows to visit; None where that was not measured."""
    sizes = sorted({size for size, _ in surface})
    numbers = sorted({number for _, number in surface})
    found = []
    for size in sizes:
        number = _reached([(number, surface[size, number]) for number in numbers], may_miss)
        if number is not None:
            found.append((number, size))
    for number in numbers if len(sizes) > 1 else ():
        view = _reached([(size, surface[size, number]) for size in sizes], may_miss)
        if view is not None:
            found.append((number, view))
    return min(found, key=lambda one: max(one[1], one[0] / share if one[1] else 0.0) + _RESCORED * one[0], default=None)


def _grouped(points: Sequence[Point], harder: float) -> list[tuple[float, _Surface]]:
    """What filters of about one share miss at most, the worst of them: (logarithm of the share, what is missed by setting), by share.

    Two doubts, of which the greater counts: how much those queries miss that were not asked, and how much harder others are. Both at once
    would be paid for twice.
    """
    sizes = sorted({float(point.ef_search or 0) for point in points})
    numbers = sorted({float(point.candidates) for point in points})
    filters: dict[tuple[float, str], dict[float, list[tuple[float, float]]]] = {}
    for point in points:
        of_filter = filters.setdefault((point.share, point.filter), {})
        others = max(1.0, harder * OF_THE_KIND / OTHER_QUESTIONS) if point.given else harder
        may_miss = max(1 - point.low, others * (1 - point.recall))
        of_filter.setdefault(float(point.candidates), []).append((float(point.ef_search or 0), may_miss))
    groups: list[list[tuple[float, str]]] = []
    for place in sorted(filters):
        # no filter is a case of its own
        if groups and place[0] < 1 and place[0] <= groups[-1][0][0] * _ALIKE:
            groups[-1].append(place)
        else:
            groups.append([place])
    made = []
    for group in groups:
        surface = {}
        for size in sizes:
            for number in numbers:
                missed = [_power(filters[place].get(number, ()), size) for place in group]
                surface[size, number] = max(missed)
        made.append((sum(math.log(share) for share, _ in group) / len(group), surface))
    return made


def _power(curve: Sequence[tuple[float, float]], at: float) -> float:
    """What is missed at a size, between sizes where it was measured: it falls as a power of them, and never rises."""
    falling = _falling(curve)
    if not falling or at < falling[0][0]:
        return 1.0  # nobody looked
    if not at:
        return falling[0][1]
    return math.exp(_line([(math.log(size), math.log(missed)) for size, missed in falling], math.log(at)))


def _reached(curve: Sequence[tuple[float, float]], may_miss: float) -> float | None:
    """The least size that misses no more, between those that were measured."""
    before = None
    for size, missed in _falling(curve):
        if missed <= may_miss + _NOTHING:
            if before is None or before[1] >= 1 or not before[0]:
                return size
            part = math.log(before[1] / max(may_miss, _LEAST_MISSED)) / math.log(before[1] / missed)
            return float(before[0] * (size / before[0]) ** min(1.0, part))
        before = (size, missed)
    return None


def _falling(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    least, made = 1.0, []
    for size, missed in sorted(curve):
        least = max(_LEAST_MISSED, min(least, missed))
        made.append((size, least))
    return made


def _line(curve: Sequence[tuple[float, float]], at: float) -> float:
    """Linear between points, constant outside; by the first number of each, which rise."""
    if at <= curve[0][0]:
        return curve[0][1]
    for (left, low), (right, high) in pairwise(curve):
        if at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return curve[-1][1]


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
