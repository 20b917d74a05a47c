"""streaming: joins by vectors alone, in bounded memory: pairs are found, decided about and given a window of left rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgembed.database import Database
from pgembed.joining import deciding, execution, memory
from pgembed.joining.contract import Part, Request
from pgembed.joining.prepared import Prepared, Said
from pgembed.joining.rendering import Result

# What a decision looks at of each left row, whatever k is.
DEPTH = 10
# A window is so small a part of the memory: deciding about its pairs takes twice what they take themselves, and the join goes on beside it.
HELD = 12
# Of fewer left rows nothing can be decided, see `pgembed.matching.unlabelled`.
FEWEST = 10


@dataclass(frozen=True)
class Window:
    """Some left rows with all that was found for them.

    Attributes:
        left, right: places, by the numbers of the pairs.
        rows: places of all left rows of the window.
        candidates: how many pairs were looked at.
    """

    result: Result
    said: Said
    rows: int
    candidates: int


def serves(prepared: Prepared) -> bool:
    """Whether a join is of vectors alone, each left row for itself: no pair depends on what PostgreSQL or other left rows say."""
    options, asked = prepared.options, prepared.conditions
    itself = prepared.same and (asked.left.source.where != "" or asked.right.source.where != "")
    by_itself = options.mapping == "many" or (options.mapping == "mutual" and options.is_drawn)
    chunked = asked.left.source.chunks is not None or asked.right.source.chunks is not None
    plain = options.candidates == "dense" and not chunked and not options.compares_texts and options.hub_correction in ("auto", "none")
    # which rows of a side of texts take no part is known only when they are read
    whole = options.join_type == "inner" or asked.left.source.text is None
    return plain and by_itself and whole and not asked.rest and not itself and (options.k is not None or options.is_drawn)


def request(db: Database, prepared: Prepared) -> Request:
    """The join as its execution takes it."""
    options, asked = prepared.options, prepared.conditions
    drawn = options.is_drawn
    k = options.k if options.k is None or drawn else max(options.k, DEPTH)
    return Request(
        asked.left.source,
        asked.right.source,
        k,
        options.max_distance if drawn else None,
        prepared.metric,
        mutual=options.mapping == "mutual",
        same=prepared.same,
        not_equal=options.not_equal,
        search_recall=options.search_recall,
        memory=memory.bound(db),
        encode=prepared.encode(db),
        show=prepared.show,
        # nothing can be said of so few rows, so nothing is looked at for it
        few=0 if drawn else FEWEST,
        k_few=options.k or DEPTH,
    )


def windows(db: Database, prepared: Prepared) -> Iterator[Window]:
    """The pairs of a join, some left rows at a time."""
    asked = request(db, prepared)
    held: list[Part] = []
    size = 0
    for part in execution.run(db, asked):
        held.append(part)
        size += memory.GATHERED * len(part.left)
        if HELD * size > asked.memory:
            yield _window(db, prepared, held)
            held, size = [], 0
    if held:
        yield _window(db, prepared, held)
    if prepared.options.join_type != "inner":
        yield _others(db, prepared)


def _window(db: Database, prepared: Prepared, parts: Sequence[Part]) -> Window:
    import numpy as np

    from pgembed.joining.candidates import as_candidates
    from pgembed.joins.pairing import Pairs

    options = prepared.options
    at_left, at_right, distance, rank = (
        np.concatenate([getattr(part, of) for part in parts]) for of in ("left", "right", "distance", "rank")
    )
    left_places = [place for part in parts for place in part.left_places]
    right_places = [place for part in parts for place in part.right_places]
    every = as_candidates(Pairs(at_left, at_right, distance, rank), prepared.metric)
    said = deciding.choose(db, options, every, None, None)
    chosen = said.chosen.tolist()
    rows = [place for part in parts for place in part.rows]
    alone: list[str] = []
    if options.join_type != "inner":
        # rows of one place are equal in all, so all of them have a pair or none
        paired = {left_places[at] for at in chosen}
        alone = [place for place in rows if place not in paired]
    keep = chosen if options.join_type != "anti" else []
    places = np.asarray(keep, dtype=np.int64)
    result = Result(
        [left_places[at] for at in keep],
        [right_places[at] for at in keep],
        distance[places],
        said.rank[: len(keep)],
        [None if one is None else bool(one) for one in said.is_match[: len(keep)]],
        said.probability[: len(keep)],
        said.evidence[: len(keep)],
        alone,
    )
    return Window(result, said, len(rows), len(every))


def _others(db: Database, prepared: Prepared) -> Window:
    """The left rows that take no part."""
    import numpy as np

    source = prepared.left.source
    takes = " AND ".join(f"({one})" for one in (source.where, f"{source.vector} IS NOT NULL") if one)
    found = db.execute(
        f"SELECT pg_catalog.array_agg({source.place}) AS places FROM {source.relation} AS {source.alias} WHERE ({takes}) IS NOT TRUE",
        list(source.types),
        list(source.values),
    )[0]["places"]
    nothing = np.empty(0)
    result = Result([], [], nothing, nothing.astype(np.int64), [], nothing, [], list(found or ()))
    return Window(result, deciding.nothing(), 0, 0)
