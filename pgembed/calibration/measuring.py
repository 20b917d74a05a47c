"""measuring: runs the planner's own statements over sampled queries, and makes curves and costs of what comes back."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from pgembed import planner, progress
from pgembed.calibration import asking, filtering, running, truth
from pgembed.calibration.filtering import Filter
from pgembed.calibration.running import Cell, Runner
from pgembed.calibration.truth import Truth
from pgembed.codes.catalogue import Code
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.models import threads
from pgembed.planner import costs, filters
from pgembed.planner.contract import Estimate, Path
from pgembed.planner.costs import Costs, Run
from pgembed.planner.curves import Point

K = 10
# Numbers of candidates; a factor of the square root of two apart, between which curves are interpolated.
OVER_CODES = (10, 15, 20, 30, 40, 50, 70, 100, 140, 200, 280, 400, 560, 800)
OVER_CODE_GRAPH = OVER_CODES[2:12]
OVER_GRAPH = (10, 15, 20, 30, 40, 60, 80)
SIZES = (40, 100, 200, 400, 800)  # of ef_search
SIZES_FILTERED = (40, 200, 800)
FILTERED_GRAPHS = 3
# A graph is not read further than this for a filter: another path is cheaper.
MOST_VISITED = 1_500
# Of one setting under one filter: after so many seconds of the processor some queries are enough, after three times as many fewer. Seconds
# of the clock pass faster on a busy machine, and fewer queries would prove less.
CELL_SECONDS = 1.6
# Without a filter all others are judged by it, and a few queries that a graph fails wholly make up most of what it misses.
UNFILTERED_SECONDS = 6.0
ENOUGH, LEAST = 60, 10
TELL_SECONDS = 5.0
# Times are medians over so many passes of so many queries, the passes a while apart, for what disturbs lasts a while.
PASSES, TIMED_QUERIES = 2, 8
# What takes so long is timed once.
LONG_MILLISECONDS = 300.0
# Standard errors, one-sided. Of a normal mean 1.645 were enough for 19 of 20; recalls lean to one side, for most queries miss nothing.
_SURE = 2.0
# As if one query more had been asked that misses a tenth: queries that all find everything prove no certainty.
_DOUBT = 0.9


@dataclass(frozen=True)
class Measured:
    """What was found of a column.

    Attributes:
        points: by path, filter and setting.
        queries: that were asked; rows: of the table, vectors or not.
        code: the codes that were measured; None for none.
    """

    points: list[Point]
    costs: Costs
    queries: int
    rows: int
    code: Code | None
    seconds: float


@dataclass
class _Progress:
    db: Database
    label: str
    told: float = field(default_factory=time.monotonic)

    def __call__(self, message: str) -> None:
        if time.monotonic() - self.told >= TELL_SECONDS:
            self.told = time.monotonic()
            self.db.notice(f"{self.label}: {message}")


def measure(db: Database, column: Column, given: tuple[str | None, str | None], most: int, seed: int) -> Measured:
    """Measure every path that searches of a column can take; see `pgembed.calibration`.

    Raises:
        errors.PgembedError: see `pgembed.calibration.calibrate`.
    """
    with threads.signals_blocked():
        import numpy as np

    begun = time.monotonic()
    facts = planner.look(db, column.table.sql, column.name)
    code = facts.code
    kinds = asking.asked(db, column, _dim(db, column), given, most, seed)
    asked = np.concatenate([kind.vectors for kind in kinds]).astype(np.float32)
    kind_of = [number for number, kind in enumerate(kinds) for _ in kind.rows]
    # so that whoever stops early has asked all kinds
    order = [at for some in zip_longest(*_parts(kind_of)) for at in some if at is not None]
    conditions = filtering.filters(db, column, code, seed)
    found = truth.find(db, column, conditions, asked, [row for kind in kinds for row in kind.rows], K)
    tell = _Progress(db, column.label)
    with running.Runner(db, facts, asked, found.own) as runner:
        cells = list(_cells(db, runner, conditions, found, facts.rows, code))
        points: list[Point] = []
        for number, cell in enumerate(cells):
            progress.tell(db, number, len(cells))
            ranks = _asked(runner, cell, found, order)
            points += _points(cell, found, ranks, kind_of, given=kinds[0].drawn == "given")
            tell(f"recall of {number + 1} of {len(cells)} settings")
        runs, points = _timed(db, runner, cells, conditions, found, points, order, facts.rows, tell)
    return Measured(
        points=points,
        costs=costs.fit(runs, toasted=facts.toasted),
        queries=len(asked),
        rows=found.rows,
        code=code,
        seconds=time.monotonic() - begun,
    )


def _dim(db: Database, column: Column) -> int:
    if column.dim is not None:
        return column.dim
    rows = db.execute(
        f"SELECT {column.vector_schema}.vector_dims({column.sql}) AS dim FROM {column.table.sql} WHERE {column.sql} IS NOT NULL LIMIT 1"
    )
    return int(rows[0]["dim"]) if rows else 1


def _parts(kind_of: Sequence[int]) -> list[list[int]]:
    return [[at for at, kind in enumerate(kind_of) if kind == wanted] for wanted in sorted(set(kind_of))]


def _cells(db: Database, runner: Runner, conditions: Sequence[Filter], found: Truth, held: float, code: Code | None) -> Iterator[Cell]:
    """What is to be measured."""
    column = runner.facts.column
    real = any(one.kind not in ("none", "random") for one in conditions)
    for number, one in enumerate(conditions):
        # rows at random are easier for codes than those that have a value in common
        if code is None or found.passing[number] <= K or (real and one.kind == "random"):
            continue
        estimate = filters.estimate(db, column.table, one.condition, None, held=held, code=code)
        if number == 0 or estimate.covered or runner.facts.toasted:
            path: Path = "covering" if estimate.covered else "scan"
            yield Cell(path, number, one, estimate, OVER_CODES, None)
    graphs: list[tuple[Path, tuple[int, ...]]] = []
    if code is not None and code.index_name is not None and code.index_method == "hnsw":
        graphs.append(("code", OVER_CODE_GRAPH))
    if column.index_name is not None and column.index_method == "hnsw":
        graphs.append(("index", OVER_GRAPH))
    for path, numbers in graphs:
        for number in [0, *filtered(conditions, found)]:
            one = conditions[number]
            estimate = filters.estimate(db, column.table, one.condition, None, held=held)
            share = found.passing[number] / found.passing[0]
            reached = tuple(size for size in numbers if size <= max(numbers[0], MOST_VISITED * share) and size < found.passing[number])
            if reached:
                for size in SIZES if number == 0 else SIZES_FILTERED:
                    yield Cell(path, number, one, estimate, reached, size)


def filtered(conditions: Sequence[Filter], found: Truth) -> list[int]:
    """Positions of the filters that graphs are measured with: real ones far apart in share, and one of rows at random."""
    real = [n for n, one in enumerate(conditions) if n and one.kind != "random" and found.passing[n] > 10 * K]
    chosen: list[int] = []
    # what most queries have no part in is hardest for a graph, and values are like that more than ranges
    for share, kind in ((0.1, "value"), (0.3, "range")):
        left = [n for n in real if n not in chosen]
        off = {n: abs(math.log(found.passing[n] / found.passing[0] / share)) for n in left}
        near = [n for n in left if conditions[n].kind.startswith(kind) and off[n] < math.log(3)] or left
        if near:
            chosen.append(min(near, key=off.__getitem__))
    random = [n for n, one in enumerate(conditions) if one.kind == "random" and found.passing[n] > 10 * K]
    # rows at random stand in for filters of the user's own, where there are none
    wanted = random[1 : 1 + max(1, FILTERED_GRAPHS - len(chosen))] or random
    return chosen + wanted[: FILTERED_GRAPHS - len(chosen)]


def _asked(runner: Runner, cell: Cell, found: Truth, order: Sequence[int]) -> dict[int, list[float]]:
    """By query, its recall at each number of candidates. As many queries as there is time for."""
    begun = time.process_time()
    made: dict[int, list[float]] = {}
    limit = CELL_SECONDS if cell.number else UNFILTERED_SECONDS
    for done, query in enumerate(order):
        spent = time.process_time() - begun
        if (spent > limit and done >= ENOUGH) or (spent > 3 * limit and done >= LEAST):
            break
        count = found.counted[cell.number][query]
        if not count:
            continue
        nearest = found.nearest[cell.number][query]
        places = runner.candidates(cell, query, cell.numbers[-1])
        hits = [place in nearest for place in places]
        # where a graph gives fewer than it was asked for, a search goes on by another path, and misses nothing by this one
        given = [number for number in cell.numbers if cell.ef_search is None or number <= len(places)]
        made[query] = [min(count, sum(hits[:number])) / count for number in given]
    return made


def _points(cell: Cell, found: Truth, recalls: dict[int, list[float]], kind_of: Sequence[int], *, given: bool) -> list[Point]:
    if not recalls:
        return []
    made = []
    share = found.passing[cell.number] / found.passing[0]
    for position, number in enumerate(cell.numbers):
        kinds: dict[int, list[float]] = {}
        for query, values in recalls.items():
            if position < len(values):
                kinds.setdefault(kind_of[query], []).append(values[position])
        asked = sum(map(len, kinds.values()))
        if asked < min(LEAST, len(recalls)):
            continue
        made.append(
            Point(
                path=cell.path,
                share=rounded(share),
                k=K,
                candidates=number,
                ef_search=cell.ef_search,
                # the kind of queries that is served worst counts
                recall=round(min(sum(values) / len(values) for values in kinds.values()), 4),
                low=round(min(map(surely, kinds.values())), 4),
                queries=asked,
                filter=cell.filter.kind,
                given=given,
            )
        )
    return made


def rounded(share: float) -> float:
    """Two digits: enough to choose by, and no count of anybody's rows."""
    return 1.0 if share >= 1 else float(f"{share:.2g}")


def surely(recalls: Sequence[float]) -> float:
    """What the mean recall of such queries is at least, 19 times of 20."""
    values = [*recalls, _DOUBT]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean - _SURE * math.sqrt(variance / len(values))


def _timed(
    db: Database,
    runner: Runner,
    cells: Sequence[Cell],
    conditions: Sequence[Filter],
    found: Truth,
    points: list[Point],
    order: Sequence[int],
    held: float,
    tell: _Progress,
) -> tuple[list[Run], list[Point]]:
    """Times of whole statements of each path, and the points with those of theirs."""
    column, code = runner.facts.column, runner.facts.code
    made: list[Run] = []
    times: dict[tuple[str, float, str, int, int | None], float] = {}
    # nothing at all, and every row looked at for nothing
    void = Estimate(0.0, 0.0, 0.0, False, 0.0, "")
    nothing = Cell("exact", 0, Filter("(false)", "none"), void, (0,), None)
    unseen = f"({column.table.alias}.{column.sql} IS NULL)"
    seen = Cell("exact", 0, Filter(unseen, "none"), replace(void, scanned=held), (0,), None)
    exact = [
        Cell("exact", number, one, filters.estimate(db, column.table, one.condition, None, held=held, code=code), (0,), None)
        for number, one in enumerate(conditions)
        # what makes rows random takes longer than all the rest
        if found.passing[number] and one.kind != "random"
    ]
    # how far a graph must go for a value is not told by its share
    known = [cell for cell in cells if cell.ef_search is None or cell.filter.kind in ("none", "random")]
    all_cells = [nothing, seen, *exact, *known]
    took_each = _usual_times(runner, [(cell, number) for cell in all_cells for number in _timed_numbers(cell)], order, tell)
    for cell in all_cells:
        share = found.passing[cell.number] / found.passing[0]
        rows = 0.0 if cell in (nothing, seen) else float(found.passing[cell.number])
        whole = cell.estimate.scanned >= 0.99 * held and cell is not nothing
        scanned = float(found.passing[0]) if whole else rows
        for number in _timed_numbers(cell):
            milliseconds = took_each[cell, number]
            view = cell.ef_search or 0
            beyond = max(0.0, number / share - view) if view else 0.0
            made.append(Run(cell.path, rows, scanned, number, view, beyond, cell.estimate.covered, milliseconds))
            if cell in (nothing, seen):
                continue
            times[cell.path, rounded(share), cell.filter.kind, number, cell.ef_search] = round(milliseconds, 3)
            if cell.path == "exact":
                points.append(Point("exact", rounded(share), K, 0, None, 1.0, 1.0, None, 0, cell.filter.kind))
    took = [times.get((point.path, point.share, point.filter, point.candidates, point.ef_search)) for point in points]
    return made, [replace(point, milliseconds=milliseconds) for point, milliseconds in zip(points, took, strict=True)]


def _usual_times(
    runner: Runner, settings: Sequence[tuple[Cell, int]], queries: Sequence[int], tell: _Progress
) -> dict[tuple[Cell, int], float]:
    """What each statement takes, in milliseconds.

    Each with queries of its own: what a graph reads for one lies in the processor's caches when it is asked for again, and people ask for
    something else.
    """
    took: dict[tuple[Cell, int], list[float]] = {setting: [] for setting in settings}
    turn = itertools.cycle(queries)
    for _ in range(PASSES):
        for cell, number in settings:
            found = took[cell, number]
            for query in itertools.islice(turn, TIMED_QUERIES):
                if found and min(found) > LONG_MILLISECONDS:
                    break
                found.append(runner.milliseconds(cell, query, number))
            tell("times")
    return {setting: statistics.median(found) for setting, found in took.items()}


def _timed_numbers(cell: Cell) -> list[int]:
    """The numbers of candidates with which a path is timed."""
    if cell.path == "exact":
        return [0]
    if cell.path in ("covering", "scan"):
        return [20, 100, 400]
    if cell.path == "code":
        return [number for number in (20, 200) if number in cell.numbers and cell.ef_search != SIZES[1]]
    return [cell.numbers[0], *([40] if 40 in cell.numbers else [])]
