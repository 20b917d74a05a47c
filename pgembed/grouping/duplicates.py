"""duplicates: clusters of texts that are the same but for how they are written.

The line between duplicates and others is drawn without labels: among pairs that are near, likeness falls off quickly, and duplicates are a
heap of their own at its end. How fast it falls off before the heap says how many of the others to expect within it.

Clusters are no chains: two are joined only where their rows are alike on average, all with all (average linkage: Sokal and Michener, 1958).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.grouping import nearby
from pgembed.grouping.likeness import Texts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DEPTH = 10  # candidates of each row
PRECISION = 0.95
LEAST = 0.5  # what agrees less is no duplicate of anything
# Of likeness before the heap, in which the fall is measured: the narrower one where that has so many pairs, for the fall gets steeper.
WINDOWS = (0.12, 0.24)
MANY = 100
SAME = 1.0 - 1e-9
LOOKED_AT = 24  # rows of each of two clusters, whose mean likeness decides
HEAP = 0.5  # of what lies above must be more than the fall would leave there
FEWEST = 10  # pairs, of which a fall can be measured


@dataclass(frozen=True)
class Line:
    """Pairs of at least this likeness are duplicates; ``precision`` is the share of them that is expected to be right, None: unknown."""

    least: float
    precision: float | None


@dataclass(frozen=True)
class Clusters:
    """Rows that have duplicates, ordered by cluster, then row; all arrays are of one length.

    Attributes:
        row: position in the input.
        cluster: position of the cluster's first row, by which it is called.
        size: rows of the cluster.
        similarity: likeness to the cluster's representative, 1 for itself.
        is_representative: of the cluster's rows the one most like the others; of equal ones the first.
    """

    row: Ints
    cluster: Ints
    size: Ints
    similarity: Floats
    is_representative: npt.NDArray[np.bool_]
    line: Line


def deduplicate(
    texts: Sequence[str],
    *,
    precision: float | None = None,
    groups: Ints | None = None,
    labels: tuple[Ints, Ints, npt.NDArray[np.bool_]] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Clusters:
    """Find the rows that mean the same thing, written differently.

    Args:
        texts: one a row, in the order of their keys; '' is a duplicate of nothing.
        precision: wanted share of right pairs, between 0 and 1; None is 0.95.
        groups: a code of at least 0 of each row; only rows of one code can be duplicates.
        labels: known pairs, as positions, and whether they are duplicates. They are obeyed, and draw the line where there are some of
            both kinds.
        check: called between steps.
    """
    words = Texts(texts, check)
    left, right = nearby.pairs(texts, DEPTH, groups, check)
    alike = words.likeness(left, right, check)
    found = None if labels is None else labelled_line(words.likeness(labels[0], labels[1], check), labels[2], precision)
    found = found or line(alike, precision or PRECISION)
    keep = alike >= found.least
    left, right, alike = left[keep], right[keep], alike[keep]
    apart: set[tuple[int, int]] = set()
    if labels is not None:
        for i, j, is_match in zip(*(side.tolist() for side in labels), strict=True):
            if not is_match:
                apart.add((min(i, j), max(i, j)))
        same = labels[2] & (labels[0] != labels[1])
        left, right = np.concatenate([labels[0][same], left]), np.concatenate([labels[1][same], right])
        alike = np.concatenate([np.full(int(same.sum()), 2.0), alike])
    return _described(_linked(left, right, alike, words.of, found.least, apart, check), words.of, found)


def line(alike: Floats, precision: float) -> Line:
    """Where duplicates begin, from the likeness of the nearest pairs, each once."""
    inside = np.sort(alike[(alike > LEAST) & (alike < SAME)])
    if not len(inside):
        return Line(SAME, None)
    edges = np.linspace(LEAST, 1.0, 101)
    counts = np.histogram(inside, edges)[0].astype(np.float64)
    smooth = np.convolve(np.pad(counts, 4, mode="edge"), np.hanning(11)[1:-1], mode="valid") / np.hanning(11)[1:-1].sum()
    lowest = np.flatnonzero(smooth[:-6] <= smooth[:-6].min() + 1e-9)
    # of several as low, the middle of the longest run
    run = max(np.split(lowest, np.flatnonzero(np.diff(lowest) > 1) + 1), key=len)
    valley = float(edges[int(run[len(run) // 2])] + (edges[1] - edges[0]) / 2)
    for window in WINDOWS:
        first, second = (float(((alike >= valley - a) & (alike < valley - b)).sum()) for a, b in ((window, window / 2), (window / 2, 0.0)))
        if first + second >= MANY:
            break
    if first + second < FEWEST:
        return Line(valley, None)
    rate = np.log((first + 0.5) / (second + 0.5)) / (window / 2)
    if rate <= 0:
        return Line(SAME, None)
    # what lies in the second half of the window, and what of it would lie above
    whole = (second + 0.5) / (1 - np.exp(-rate * window / 2))
    tried = edges[(edges >= valley - window / 2) & (edges < 1)]
    above = np.array([float((alike >= at).sum()) for at in tried])
    right = 1 - whole * np.exp(-rate * (tried - valley + window / 2)) / np.maximum(above, 1e-9)
    enough = np.flatnonzero(right >= precision)
    # where it can't be had, the best there is, if that is a heap at all
    best = int(enough[0]) if len(enough) else int(np.argmax(right))
    return Line(float(tried[best]), float(right[best])) if right[best] > HEAP else Line(SAME, None)


def labelled_line(alike: Floats, is_match: npt.NDArray[np.bool_], precision: float | None) -> Line | None:
    """Where labelled pairs say that duplicates begin: the best F1, or the most pairs of the wanted precision; None of too few."""
    if is_match.sum() < 3 or (~is_match).sum() < 3:
        return None
    best: tuple[float, float, float] | None = None
    for at in np.unique(alike[is_match]):
        above = alike >= at
        right = float((above & is_match).sum())
        share, found = right / float(above.sum()), right / float(is_match.sum())
        worth = 2 * share * found / (share + found) if precision is None else (found if share >= precision else share - 1)
        if best is None or worth > best[0]:
            best = worth, float(at), share
    assert best is not None
    below = alike[(alike < best[1])]
    # in the middle between the last that is in and the first that is out
    return Line((best[1] + float(below.max())) / 2 if len(below) else best[1], best[2])


def _linked(
    left: Ints,
    right: Ints,
    alike: Floats,
    of: Callable[[int, int], float],
    least: float,
    apart: set[tuple[int, int]],
    check: Callable[[], None],
) -> list[list[int]]:
    """Clusters of at least two rows, each in order: the nearest are joined first, where all with all are near enough on average."""
    home: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    for number, place in enumerate(np.lexsort((right, left, -alike)).tolist()):
        a, b = int(left[place]), int(right[place])
        mine, theirs = home.setdefault(a, a), home.setdefault(b, b)
        if number % 1_000 == 0:
            check()
        if mine == theirs:
            continue
        one, other = members.setdefault(mine, [a]), members.setdefault(theirs, [b])
        told = alike[place] > 1.5
        if apart and any((min(i, j), max(i, j)) in apart for i in one for j in other):
            continue
        if not told and len(one) * len(other) > 1:
            near = [of(i, j) for i in _some(one) for j in _some(other)]
            if sum(near) / len(near) < least:
                continue
        if len(one) < len(other):
            mine, theirs, one, other = theirs, mine, other, one
        one += other
        for row in other:
            home[row] = mine
        del members[theirs]
    return sorted(sorted(rows) for rows in members.values() if len(rows) > 1)


def _some(rows: list[int]) -> list[int]:
    return rows if len(rows) <= LOOKED_AT else [rows[i * len(rows) // LOOKED_AT] for i in range(LOOKED_AT)]


def _described(clusters: list[list[int]], of: Callable[[int, int], float], found: Line) -> Clusters:
    rows: list[int] = []
    called: list[int] = []
    sizes: list[int] = []
    similar: list[float] = []
    chosen: list[bool] = []
    for members in clusters:
        some = _some(members)
        worth = [sum(of(row, other) for other in some if other != row) for row in some]
        best = some[int(np.argmax(worth))]
        rows += members
        called += [members[0]] * len(members)
        sizes += [len(members)] * len(members)
        similar += [1.0 if row == best else of(row, best) for row in members]
        chosen += [row == best for row in members]
    return Clusters(
        np.asarray(rows, dtype=np.int64),
        np.asarray(called, dtype=np.int64),
        np.asarray(sizes, dtype=np.int64),
        np.asarray(similar, dtype=np.float64),
        np.asarray(chosen, dtype=bool),
        found,
    )
