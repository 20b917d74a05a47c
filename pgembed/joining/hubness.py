"""hubness: hubs put back by one number a right row, which is computed or was kept in a column.

A number is taken off the products of its row by one more dimension: so all that looks for candidates looks by what is corrected, under
conditions, in groups, one to one and over chunks too, and finds exactly the best.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgembed.database import Database
from pgembed.joining.candidates import Search, ranked

if TYPE_CHECKING:
    from pgembed.joining.loading import Loaded
    from pgembed.joins.hubs import Correction
    from pgembed.joins.hybrid import Candidates
    from pgembed.joins.neighbours import Floats, Ints, Vectors


def corrected(db: Database, search: Search, method: Correction, label: str) -> Search:
    """The search by similarities less what is taken off; its scores are these.

    Args:
        search: by cosine.
        method: csls: half of a row's number. qb_norm: ln |number| / 20, for the left rows whose nearest row is a hub; see `joins.hubs`.
        label: of the right side, in messages.
    """
    import numpy as np

    from pgembed.joins import folding, hubs

    left, right = search.left, search.right
    assert left.vectors is not None
    assert right.vectors is not None
    numbers = right.hubness
    if numbers is None:
        made = hubs.hubness(right.vectors, left.vectors, method, same=search.same and not search.is_folded, check=search.check)
        order = np.lexsort((made if method == "csls" else np.abs(made), made > 0))
        order = order[~np.isnan(made[order])]
        numbers = np.full(len(right), np.nan)
        # of several chunks the one that is most of a hub, which comes last
        numbers[right.rows[order]] = made[order]
    known = ~np.isnan(numbers)
    missing = int((~known).sum())
    if right.hubness is not None and missing:
        db.notice(
            f"{missing} of {len(right)} rows of {label} have no hubness, and are corrected as the others are on average",
            hint="Fill the column again from pgembed.hubness().",
        )
    taken = np.zeros(len(right))
    taken[known] = hubs.taken_off(numbers[known], method)
    taken[~known] = taken[known].mean() if known.any() else 0.0
    asks = np.ones(len(left))
    if method == "qb_norm":
        first = folding.nearest(left.vectors, right.vectors, (left.rows, right.rows), 1, same=search.same, check=search.check)
        asks[:] = 0.0
        asks[first.left] = known[first.right] & (numbers[first.right] > 0)
    groups = search.groups or (np.zeros(len(left), dtype=np.int64), np.zeros(len(right), dtype=np.int64))
    made_left, made_right = _longer(left, asks), _longer(right, -taken)
    groups = (_with_direction(left, groups[0]), _with_direction(right, groups[1]))
    plain = search.groups is None and all((one >= 0).all() for one in groups)
    return replace(
        search,
        left=made_left,
        right=made_right,
        metric="inner_product",
        groups=None if plain else groups,
        not_equal=False,
        hub="none",
    )


def told(search: Search, found: Candidates) -> Candidates:
    """What a corrected search has found, with cosine distances; ranks and scores stay.

    Args:
        search: as it was before.
    """
    import numpy as np

    if not len(found):
        return found
    plain = search.nearest(None, (found.left, found.right))
    m = len(search.right)
    keys = plain.left * m + plain.right
    order = np.argsort(keys)
    found = ranked(found.where(np.isin(found.left * m + found.right, keys)))
    distance = plain.distance[order][np.searchsorted(keys[order], found.left * m + found.right)]
    return replace(found, distance=distance, similarity={"dense": 1 - distance})


def _with_direction(side: Loaded, groups: Ints) -> Ints:
    """The rows' groups, but for zero vectors, which have no cosine and are compared with none."""
    import numpy as np

    assert side.vectors is not None
    directed = np.zeros(len(side), dtype=bool)
    directed[side.rows[side.vectors.any(axis=1)]] = True
    return np.where(directed, groups, -1)


def _longer(side: Loaded, last: Floats) -> Loaded:
    """A side of unit vectors with one more number each."""
    import numpy as np

    given = side.vectors
    assert given is not None
    norm = np.sqrt(np.einsum("ij,ij->i", given, given, dtype=np.float64))
    made: Vectors = np.empty((len(given), given.shape[1] + 1), dtype=np.float32)
    made[:, :-1] = given / np.where(norm > 0, norm, 1.0)[:, None]
    made[:, -1] = last[side.rows]
    return replace(side, vectors=made)
