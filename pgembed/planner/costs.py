"""costs: what a path takes on this server, in milliseconds, from a handful of constants that `pgembed.calibration` measures.

The defaults are of one core at 2.5 GHz with everything in memory, over 63,166 rows of 384 dimensions and codes of 768 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from pgembed.planner.contract import Estimate, Path

# Rows so few that their vectors stay in a core's caches from one search to the next: of 384 dimensions up to 1,100 took .5 us each, 2,300
# and more 1.4 us. Calibration measures the others, with more rows.
CACHED_ROWS, CACHED_BYTES, CACHED = 2_000, 2_000_000, 0.5


@dataclass(frozen=True)
class Costs:
    """Attributes, all in milliseconds:
    statement: to plan and begin a statement.
    heap_row: to find a row in the table; seen_row: to pass over one.
    compare: of a vector with the query; detoast: before that, where vectors are kept apart from their rows.
    index_row: to read an entry of an index in order; code_row: to compare its code.
    rescore: of one candidate, its row found by key.
    encode: to write the query as a code and plan a statement with it, beyond what another statement takes.
    graph, graph_row: to begin a search in HNSW over vectors, and for each row of ef_search.
    graph_next_row: for each row beyond, for which an iterative scan goes on: several times as much.
    code_graph_row, code_graph_next_row: the same over codes.
    """

    statement: float = 0.15
    heap_row: float = 0.0004
    seen_row: float = 0.00015
    compare: float = 0.0003
    detoast: float = 0.004
    index_row: float = 0.00005
    code_row: float = 0.00016
    rescore: float = 0.0025
    encode: float = 0.2
    graph: float = 0.5
    graph_row: float = 0.02
    graph_next_row: float = 0.03
    code_graph_row: float = 0.012
    code_graph_next_row: float = 0.015

    def exact(self, estimate: Estimate, *, toasted: bool, dim: int | None = None) -> float:
        """Every row that passes, compared."""
        each = self.heap_row + self.compare + (self.detoast if toasted else 0.0)
        if dim is not None and estimate.scanned <= CACHED_ROWS and 4 * dim * estimate.scanned < CACHED_BYTES:
            return self.statement + (estimate.scanned * self.seen_row + estimate.rows * each) * CACHED
        return self.statement + estimate.scanned * self.seen_row + estimate.rows * each

    def codes(self, estimate: Estimate, candidates: int) -> float:
        """The code of every row that passes, and some compared exactly."""
        read = self.index_row if estimate.covered else self.seen_row + self.heap_row
        begun = self.statement + self.encode
        return begun + estimate.scanned * read + estimate.rows * self.code_row + self.rescored(candidates, estimate)

    def over_graph(self, candidates: int, ef_search: int, share: float) -> float:
        """Rows from HNSW over the vectors until so many pass."""
        beyond = max(0.0, candidates / max(share, 1e-6) - ef_search)
        return self.statement + self.graph + ef_search * self.graph_row + beyond * self.graph_next_row

    def over_code_graph(self, candidates: int, ef_search: int, share: float, estimate: Estimate) -> float:
        """The same over codes, compared exactly in the end."""
        beyond = max(0.0, candidates / max(share, 1e-6) - ef_search)
        visited = ef_search * self.code_graph_row + beyond * self.code_graph_next_row
        return self.statement + self.encode + self.graph + visited + self.rescored(candidates, estimate)

    def rescored(self, candidates: int, estimate: Estimate) -> float:
        """Exact comparison of candidates."""
        return min(candidates, estimate.rows) * self.rescore


@dataclass(frozen=True)
class Run:
    """What a statement of a path took on this server.

    Attributes:
        rows: that passed the filter; scanned: that were looked at, see `Estimate`.
        candidates: that were compared exactly, at most; 0 where all were.
        ef_search: of a graph; 0 where there was none. beyond: rows that it gave after so many.
        covered: codes were read in an index alone.
        milliseconds: at rest: the least of repetitions, the median of queries.
    """

    path: Path
    rows: float
    scanned: float
    candidates: int
    ef_search: float
    beyond: float
    covered: bool
    milliseconds: float


# A constant that comes out so far from what others say was measured while something else went on.
_MOST_OFF = 20.0
# What a run may take more or less than is explained, of its time.
_BADLY = 0.2


def fit(runs: Sequence[Run], *, toasted: bool) -> Costs:
    """Constants of this server: for each path the ones, none negative, whose times differ least from those measured, in proportion.

    What no run tells is the default, times what the others are of theirs.

    Args:
        toasted: vectors are kept apart from their rows.
    """
    default = Costs()
    made = {"statement": _statement(runs, default), "encode": default.encode}
    begin = made["statement"]
    coded = begin + default.encode
    exact = [run for run in runs if run.path == "exact" and run.scanned > 0]
    each = default.heap_row + default.compare + (default.detoast if toasted else 0.0)
    found = _least([((run.scanned, run.rows), run.milliseconds - begin, run.milliseconds) for run in exact])
    if found is not None:
        seen, compared = found
        made["seen_row"] = seen
        made |= {name: compared * getattr(default, name) / each for name in ("heap_row", "compare", *(("detoast",) if toasted else ()))}
    covering = [run for run in runs if run.path == "covering"]
    read = default.index_row + default.code_row
    found = _least([((run.scanned, min(run.candidates, run.rows)), run.milliseconds - coded, run.milliseconds) for run in covering])
    if found is not None:
        made |= {"index_row": found[0] * default.index_row / read, "code_row": found[0] * default.code_row / read, "rescore": found[1]}
    scan = [run for run in runs if run.path == "scan"]
    if found is None and scan:
        rows = made.get("seen_row", default.seen_row) + made.get("heap_row", default.heap_row)
        known = [
            ((run.rows, min(run.candidates, run.rows)), run.milliseconds - coded - rows * run.scanned, run.milliseconds) for run in scan
        ]
        found = _least(known)
        if found is not None:
            made |= {"code_row": found[0], "rescore": found[1]}
    rescore = made.get("rescore", default.rescore)
    made |= _graph([run for run in runs if run.path == "index"], begin, 0.0, "graph_row", "graph_next_row")
    code = _graph([run for run in runs if run.path == "code"], coded, rescore, "code_graph_row", "code_graph_next_row")
    # one constant begins both graphs
    made |= {name: max(value, made.get(name, 0.0)) if name == "graph" else value for name, value in code.items()}
    return _complete(made, default)


def load(said: Mapping[str, object] | None) -> Costs:
    """Constants as `kept` wrote them; what is not there, or is no cost, is the default."""
    known = {field.name for field in fields(Costs)}
    found = {
        name: float(value)
        for name, value in (said or {}).items()
        if name in known and isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    }
    return replace(Costs(), **found)


def kept(costs: Costs) -> dict[str, float]:
    """Constants as they are kept, in milliseconds."""
    return {name: float(f"{value:.3g}") for name, value in asdict(costs).items()}


def _graph(runs: Sequence[Run], begin: float, rescore: float, row: str, next_row: str) -> dict[str, float]:
    """Constants of a graph: first by the runs that were not continued, then by the others."""
    left = {run: run.milliseconds - begin - rescore * min(run.candidates, run.rows) for run in runs}
    found = _least([((1.0, run.ef_search), left[run], run.milliseconds) for run in runs if not run.beyond])
    if found is None:
        return {}
    made = {"graph": found[0], row: found[1]}
    slopes = sorted((left[run] - found[0] - found[1] * run.ef_search) / run.beyond for run in runs if run.beyond >= run.ef_search)
    return made | ({next_row: slopes[len(slopes) // 2]} if slopes else {})


def _statement(runs: Sequence[Run], default: Costs) -> float:
    empty = [run.milliseconds for run in runs if run.path == "exact" and run.scanned == 0]
    return min(empty) if empty else min((run.milliseconds for run in runs), default=default.statement)


def _complete(made: Mapping[str, float], default: Costs) -> Costs:
    """Constants that came out as nothing, or of another order than the rest, are what the rest says."""
    ratios = sorted(value / getattr(default, name) for name, value in made.items() if value > 0)
    speed = ratios[len(ratios) // 2] if ratios else 1.0
    found = {}
    for name, value in asdict(default).items():
        usual = value * speed
        given = made.get(name, 0.0)
        found[name] = given if usual / _MOST_OFF <= given <= usual * _MOST_OFF else usual
    return Costs(**found)


def _least(runs: Sequence[tuple[tuple[float, float], float, float]]) -> tuple[float, float] | None:
    """Two factors, not negative, of (features, milliseconds to explain, milliseconds in all); None where runs do not tell them.

    Errors count in proportion to the whole. One run of six, that which fits worst, is left out where it fits badly: something else went on.
    """
    found = _squares(runs)
    if found is None or len(runs) < 4:
        return found

    def off(run: tuple[tuple[float, float], float, float]) -> float:
        return abs(found[0] * run[0][0] + found[1] * run[0][1] - run[1]) / run[2]

    ordered = sorted(runs, key=off)
    if off(ordered[-1]) <= _BADLY:
        return found
    again = _squares(ordered[: len(runs) - max(1, len(runs) // 6)])
    # it may have been the only one that tells one of both
    return found if again is None or min(again) <= 0 else again


def _squares(runs: Sequence[tuple[tuple[float, float], float, float]]) -> tuple[float, float] | None:
    if len(runs) < 2:
        return None
    rows = [((x / whole, y / whole), spent / whole) for (x, y), spent, whole in runs if whole > 0]
    xx, yy, xy = (sum(a[i] * a[j] for a, _ in rows) for i, j in ((0, 0), (1, 1), (0, 1)))
    xb, yb = (sum(a[i] * b for a, b in rows) for i in (0, 1))
    tried = [(max(0.0, xb / xx) if xx else 0.0, 0.0), (0.0, max(0.0, yb / yy) if yy else 0.0)]
    determinant = xx * yy - xy * xy
    if determinant > 1e-9 * xx * yy:
        both = ((yy * xb - xy * yb) / determinant, (xx * yb - xy * xb) / determinant)
        if min(both) >= 0:
            return both
    return min(tried, key=lambda one: sum((one[0] * a[0] + one[1] * a[1] - b) ** 2 for a, b in rows))
