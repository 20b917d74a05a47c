"""execution: how a dense join is run, chosen by cost, in bounded memory, with results in parts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence

from pgembed import errors
from pgembed.database import Database
from pgembed.joining import settings
from pgembed.joining.contract import Choice, Part, Request


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
