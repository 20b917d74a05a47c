"""costs: what a path takes on this server, in milliseconds, from a handful of constants that `pgembed.calibration` measures.

The defaults are of one core at 2.5 GHz with everything in memory, over 63,166 rows of 384 dimensions and codes of 768 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgembed.planner.contract import Estimate


@dataclass(frozen=True)
class Costs:
    """Attributes, all in milliseconds:
    statement: to plan and begin a statement.
    heap_row: to find a row in the table; seen_row: to pass over one.
    compare: of a vector with the query; detoast: before that, where vectors are kept apart from their rows.
    index_row: to read an entry of an index in order; code_row: to compare its code.
    rescore: of one candidate, its row found by key.
    graph, graph_row: to begin a search in HNSW over vectors, and for each row that it visits.
    code_graph_row: the same over codes.
    """

    statement: float = 0.15
    heap_row: float = 0.0004
    seen_row: float = 0.00015
    compare: float = 0.0003
    detoast: float = 0.004
    index_row: float = 0.00005
    code_row: float = 0.00016
    rescore: float = 0.0025
    graph: float = 0.5
    graph_row: float = 0.02
    code_graph_row: float = 0.012

    def exact(self, estimate: Estimate, *, toasted: bool) -> float:
        """Every row that passes, compared."""
        each = self.heap_row + self.compare + (self.detoast if toasted else 0.0)
        return self.statement + estimate.scanned * self.seen_row + estimate.rows * each

    def codes(self, estimate: Estimate, candidates: int) -> float:
        """The code of every row that passes, and some compared exactly."""
        read = self.index_row if estimate.covered else self.seen_row + self.heap_row
        return self.statement + estimate.scanned * read + estimate.rows * self.code_row + self.rescored(candidates, estimate)

    def over_graph(self, candidates: int, ef_search: int, share: float) -> float:
        """Rows from HNSW over the vectors until so many pass."""
        return self.statement + self.graph + max(ef_search, candidates / max(share, 1e-6)) * self.graph_row

    def over_code_graph(self, candidates: int, ef_search: int, share: float, estimate: Estimate) -> float:
        """The same over codes, compared exactly in the end."""
        visited = max(ef_search, candidates / max(share, 1e-6))
        return self.statement + self.graph + visited * self.code_graph_row + self.rescored(candidates, estimate)

    def rescored(self, candidates: int, estimate: Estimate) -> float:
        """Exact comparison of candidates."""
        return min(candidates, estimate.rows) * self.rescore
