"""choosing: which way to answer costs least and keeps the promise.

Paths that look at every row that passes the filter (*exact*, *covering*, *scan*) cost what the estimate says; their recall does not
depend on it. A graph (*index*, *code*) costs by how many of the query's neighbours pass, which the estimate cannot know. So in the band
where both seem to cost the same, the safe one is taken.
"""

from __future__ import annotations

from pgembed.planner import curves
from pgembed.planner.contract import Estimate, Option, Path, Request, Setting
from pgembed.planner.facts import Facts

# A graph must be so much cheaper than what is safe.
BAND = 1.3
EXACT = Setting(0, None, 1.0, "every row compared")


def options(facts: Facts, request: Request, estimate: Estimate, local_share: float | None = None) -> list[Option]:
    """Every way that would reach the recall, cheapest first; never empty.

    Args:
        local_share: of passing rows among the query's unfiltered neighbours; None where nobody looked.
    """
    column, code, costs = facts.column, facts.code, facts.costs
    recall = curves.DEFAULT_RECALL if request.recall is None else request.recall
    share = estimate.share if local_share is None else local_share
    found = [Option("exact", EXACT, costs.exact(estimate, toasted=facts.toasted), None, "every row that passes is compared")]
    # without k every row within a distance is asked for
    if request.k is None or request.exact or recall >= 1:
        return found

    def setting(path: Path) -> Setting | None:
        assert request.k is not None
        return curves.setting(facts.points, path, recall, request.k, estimate.share, code.codec if code else None)

    if code is not None and request.query is not None and (estimate.covered or facts.toasted):
        path: Path = "covering" if estimate.covered else "scan"
        needed = setting(path)
        if needed is not None:
            where = "in an index" if estimate.covered else "in the table"
            said = f"codes {code.label} {where}, the nearest {needed.candidates} compared exactly"
            found.append(Option(path, needed, costs.codes(estimate, needed.candidates), None, f"{said} ({needed.source})"))
    if code is not None and request.query is not None and code.index_name is not None and code.index_method == "hnsw":
        needed = setting("code")
        if needed is not None and needed.ef_search is not None:
            said = f"hnsw index {code.index_name} on codes {code.label}, the nearest {needed.candidates} compared exactly"
            milliseconds = costs.over_code_graph(needed.candidates, needed.ef_search, share, estimate)
            found.append(Option("code", needed, milliseconds, code.index_name, f"{said} ({needed.source})"))
    if column.index_name is not None and request.k <= curves.EF_SEARCH_LIMIT:
        needed = setting("index")
        if needed is not None and needed.ef_search is not None:
            milliseconds = costs.over_graph(needed.candidates, needed.ef_search, share)
            found.append(Option("index", needed, milliseconds, column.index_name, f"{column.index_method} index {column.index_name}"))
    return sorted(found, key=_weight)


def _weight(option: Option) -> float:
    return option.milliseconds * (BAND if option.setting.ef_search is not None else 1.0)


def safe(found: list[Option]) -> Option:
    """The cheapest that misses nothing of its own accord."""
    return next(option for option in found if option.setting.ef_search is None)
