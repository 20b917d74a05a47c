"""execution: how a dense join is run, chosen by cost, in bounded memory, with results in parts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgembed import errors
from pgembed.database import Database
from pgembed.joining import settings
from pgembed.joining.sources import Source

if TYPE_CHECKING:
    from pgembed.joins.pairing import Floats, Ints, Metric, Vectors

Strategy: TypeAlias = Literal["product", "index probes", "exact probes"]
# Texts, none of them blank -> float32 (n, dim) in the space of the other side.
Encode: TypeAlias = "Callable[[list[str]], Vectors]"


@dataclass(frozen=True)
class Request:
    """What is to be joined.

    Attributes:
        k: right rows for each left row; None: all within max_distance, which is then required.
        mutual: only pairs that are among the k nearest of both their rows (with k None: no difference).
        same: both sides are the same rows in the same order, and no row is its own neighbour.
        not_equal: a pair of equal vectors is none.
        search_recall: share of the k nearest that must be found, above 0; 1 is exact.
        memory: bytes for vectors, scores and results together, see `pgembed.joining.memory.bound`.
        encode: for a side of texts.
        show: what `pgembed.progress` tells, such as 'a.x ~ b.y'; '' shows nothing.
        few: where there are fewer left rows than that, k is k_few.
    """

    left: Source
    right: Source
    k: int | None = 1
    max_distance: float | None = None
    metric: Metric = "cosine"
    mutual: bool = False
    same: bool = False
    not_equal: bool = False
    search_recall: float = 1.0
    memory: int = 256 << 20
    encode: Encode | None = None
    show: str = ""
    few: int = 0
    k_few: int = 1


@dataclass(frozen=True)
class Part:
    """The pairs of some left rows, all of each: ordered by left row, then distance, then right row. Arrays and lists of one length.

    Attributes:
        left, right: numbers of the rows in the order in which they were read, the same through all parts of a run.
        left_places, right_places: as their `Source` writes them.
        distance: float64, pgvector's of the metric; rank: from 1 for each left row.
        rows: of the left side that this part answers for, also those without a pair: their places, in order.
    """

    left: Ints
    right: Ints
    distance: Floats
    rank: Ints
    left_places: list[str]
    right_places: list[str]
    rows: list[str]


@dataclass(frozen=True)
class Choice:
    """A strategy and what it is estimated to take.

    Attributes:
        milliseconds: estimated; bytes: of memory; blocks: how often the right side is read.
        note: why it is not possible, else ''.
    """

    strategy: Strategy
    milliseconds: float
    bytes: int
    blocks: int
    note: str = ""


def run(db: Database, request: Request) -> Iterator[Part]:
    """Join in parts; memory is bounded by `Request.memory` as long as the caller keeps no parts.

    Raises:
        errors.LimitExceeded: the pairs of a few left rows, or the places of the rows, do not fit into the memory.
        errors.DimensionMismatch: the sides' dimensions differ.
        errors.InvalidParameter: k, max_distance or search_recall is out of range.
    """
    from pgembed.models import threads

    check(request)
    if "pgembed.joining.blocks" not in sys.modules:
        with threads.signals_blocked():  # numpy begins threads when it is imported
            importlib.import_module("pgembed.joining.blocks")
    from pgembed.joining import blocks

    # a scan of a large table must begin with its first page, also where another one is under way: rows are known by their numbers
    with settings.changed(db, {"synchronize_seqscans": "off"}):
        join = blocks.Join(db, request)
        yield from join.mutual_parts() if request.mutual and request.k is not None else join.parts()


def gathered(db: Database, request: Request) -> Part:
    """All parts as one.

    Raises:
        errors.LimitExceeded: the pairs do not fit into the memory; where k and the sides say so before any work.
    """
    import numpy as np

    from pgembed.joining import costs, memory

    check(request)
    if request.k is not None and (request.left.rows >= 0 or request.left.column is not None):
        left, right = (costs.estimated(db, side) for side in (request.left, request.right))
        expected = left * min(request.k, right) * memory.GATHERED
        # statistics may be old, and a condition leaves fewer: what is certain is said below
        if not request.left.where and expected > 2 * request.memory:
            raise memory.too_many_pairs(left, request.k, expected, request.memory)
    parts: list[Part] = []
    held = rows = 0
    for part in run(db, request):
        parts.append(part)
        held, rows = held + memory.GATHERED * len(part.left), rows + len(part.rows)
        if held > request.memory:
            raise memory.too_many_pairs(rows, request.k, held, request.memory)
    at_left, at_right, distance, rank = (
        np.concatenate([getattr(part, of) for part in parts]) for of in ("left", "right", "distance", "rank")
    )
    names = [[one for part in parts for one in getattr(part, of)] for of in ("left_places", "right_places", "rows")]
    return Part(at_left, at_right, distance, rank, *names)


def check(request: Request) -> None:
    """Raise where a number is out of range."""
    if request.k is not None and request.k < 1:
        raise errors.InvalidParameter(f"k must be at least 1, not {request.k}", hint="k is the number of right rows for each left row.")
    if request.k is None and request.max_distance is None:
        raise errors.InvalidParameter(
            "k is NULL, and there is no max_distance", hint="All pairs within a distance need the distance; else give k."
        )
    if not 0 < request.search_recall <= 1:
        raise errors.InvalidParameter(
            f"search_recall must be above 0 and at most 1, not {request.search_recall:g}", hint="1, the default, finds all neighbours."
        )


def choices(db: Database, request: Request) -> Sequence[Choice]:
    """What could be done, the cheapest first, which `run` takes; nothing is read but what the sides are estimated to be.

    `run` decides again when it has read the left side and knows how many rows that has.
    """
    from pgembed.joining import costs

    left, right = (costs.estimated(db, side) for side in (request.left, request.right))
    return costs.choices(request, left, right, hidden=costs.hides(db, request.right))
