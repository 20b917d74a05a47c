"""trees: what PostgreSQL says of a statement of ours that it has run, read from EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON).

A statement is known by its shape, see `pgembed.planner.rendering`: candidates of a graph are a WITH query of a known name, all else is
nested LIMITs. What is not found is left out, for PostgreSQL may plan as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]

_NEAREST = "CTE pgembed nearest"
_REMOVED = ("Rows Removed by Filter", "Rows Removed by Index Recheck")


@dataclass(frozen=True)
class Scan:
    """Rows that were read in one way.

    Attributes:
        relation: the table.
        node: as PostgreSQL calls it.
        index: '' for none.
        rows: read, also those that did not pass; a vector index says only those that it gave.
        heap_fetches: rows of an index-only scan that had to be looked up in the table; None for other scans.
    """

    relation: str
    node: str
    index: str
    rows: int
    heap_fetches: int | None


def scans(top: Node) -> list[Scan]:
    """Every way in which a table was read, in the order of the tree; what never ran is left out."""
    found: dict[tuple[str, str, str], Scan] = {}
    for node in _nodes(top):
        if "Relation Name" not in node or not _ran(node):
            continue
        rows = round(sum(float(node.get(part, 0)) for part in ("Actual Rows", *_REMOVED)) * node["Actual Loops"])
        index = str(node.get("Index Name", "")) or " and ".join(_bitmaps(node))
        one = Scan(str(node["Relation Name"]), str(node["Node Type"]), index, rows, node.get("Heap Fetches"))
        key = (one.relation, one.node, one.index)
        if key in found:
            fetches = None if one.heap_fetches is None else one.heap_fetches + (found[key].heap_fetches or 0)
            one = Scan(*key, rows + found[key].rows, fetches)
        found[key] = one
    return list(found.values())


def went_on(top: Node) -> int | None:
    """How many candidates a graph gave, where they were so few that the statement went on by its safe path; None where it did not."""
    graph = _graph(top)
    if graph is None or not any(_ran(node) for branch in _branches(graph)[1:] for node in _nodes(branch) if "Relation Name" in node):
        return None
    nearest = _named(top, _NEAREST)
    return None if nearest is None else round(nearest["Actual Rows"])


def steps(top: Node) -> list[tuple[str, float]]:
    """What took how long, in milliseconds, in order."""
    whole = _milliseconds(top)
    graph, nearest = _graph(top), _named(top, _NEAREST)
    if graph is not None and nearest is not None:
        candidates, found = _milliseconds(nearest), _milliseconds(graph)
        safe = sum(_milliseconds(branch) for branch in _branches(graph)[1:])
        parts = [("candidates", candidates), ("ranking", found - candidates - safe)]
        if went_on(top) is not None:
            parts.append(("safe path", safe))
    else:
        limits = [node for node in _main(top) if node["Node Type"] == "Limit"]
        if not limits:
            return []
        found = _milliseconds(limits[0])
        if len(limits) == 1:
            parts = [("comparing", found)]
        else:
            candidates = _milliseconds(limits[1])
            parts = [("candidates", candidates), ("ranking", found - candidates)]
    return [(name, max(0.0, took)) for name, took in [*parts, ("fetching rows", whole - found)]]


def buffers(top: Node) -> tuple[int, int]:
    """Pages that were in PostgreSQL's memory, and pages that it had to ask the system for."""
    return int(top.get("Shared Hit Blocks", 0)), int(top.get("Shared Read Blocks", 0))


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _main(node: Node) -> Iterator[Node]:
    """Without subqueries of the filter and WITH queries."""
    yield node
    for below in node.get("Plans", ()):
        if below.get("Parent Relationship") not in ("SubPlan", "InitPlan"):
            yield from _main(below)


def _bitmaps(node: Node) -> list[str]:
    return [str(below["Index Name"]) for below in _nodes(node) if below["Node Type"] == "Bitmap Index Scan"]


def _ran(node: Node) -> bool:
    return bool(node.get("Actual Loops", 0))


def _milliseconds(node: Node) -> float:
    return float(node.get("Actual Total Time", 0.0)) * float(node.get("Actual Loops", 0))


def _named(top: Node, name: str) -> Node | None:
    return next((node for node in _nodes(top) if node.get("Subplan Name") == name), None)


def _graph(top: Node) -> Node | None:
    """The union of what a graph gave and of the safe path."""
    for node in _main(top):
        if node["Node Type"] in ("Append", "Merge Append") and any(_reads_candidates(below) for below in _nodes(_branches(node)[0])):
            return node
    return None


def _branches(append: Node) -> list[Node]:
    return [node for node in append["Plans"] if node.get("Parent Relationship") == "Member"]


def _reads_candidates(node: Node) -> bool:
    return node["Node Type"] == "CTE Scan" and str(node.get("CTE Name", "")).startswith("pgembed ")
