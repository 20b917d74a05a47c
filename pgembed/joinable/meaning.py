"""meaning: how near the values of two columns are in a model's space, beyond what values of any columns are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pgembed.joinable.profiles import Profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models import Model

MOST_VALUES = 30  # of a column, that are embedded
MOST_CHARS = 200  # of a value
MOST_COLUMNS = 40  # whose values are compared one by one; of more, those whose descriptions are nearest


def described(profile: Profile) -> str:
    """A column as a text, in the form that served DeepJoin best: title, name, statistics, values, the frequent ones first."""
    count = f"{profile.distinct:.0f} values" if profile.distinct else "values"
    said = f" ({profile.comment})" if profile.comment else ""
    table, column = (name.replace("_", " ") for name in (profile.table, profile.column))
    return f"{table}. {column}{said} contains {count}: {', '.join(_values(profile)[:20])}"[:1000]


def _values(profile: Profile) -> list[str]:
    found = [value[:MOST_CHARS] for value in profile.values if value.strip()]
    if len(found) <= MOST_VALUES:
        return found
    # frequent ones and, evenly, quantiles: those in the order of the alphabet would be of one letter
    step = len(found) / MOST_VALUES
    return [found[int(i * step)] for i in range(MOST_VALUES)]


def similarities(
    own: Sequence[Profile], others: Sequence[Profile], model: Model, check: Callable[[], None]
) -> dict[tuple[int, int], tuple[float, float]]:
    """For pairs of columns of text, by their positions: how far the one's values have a near one among the other's.

    The first number is the mean, over the own values, of the best cosine among the other's values. Any thirty texts have a best one, so
    the second is the excess over what as many values of all columns together give, as a share of what is left to 1: 0 says nothing.
    """
    import numpy as np

    if not own or not others:
        return {}
    every = [*own, *others]
    texts = [text for profile in every for text in (described(profile), *_values(profile))]
    different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    ends = np.cumsum([1 + len(_values(profile)) for profile in every])

    def near(profiles: Sequence[Profile], first: int) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        found = []
        for place in range(first, first + len(profiles)):
            start = int(ends[place - 1]) if place else 0
            rows = made[[different[text] for text in texts[start : int(ends[place])]]]
            found.append((rows[0], rows[1:]))
        return found

    made = model.encode(list(different), check, "document").vectors.astype(np.float32)
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    mine, theirs = near(own, 0), near(others, len(own))
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for i, (own_text, own_values) in enumerate(mine):
        if not len(own_values):
            continue
        pool = np.concatenate([values for j, (_, values) in enumerate(theirs) if others[j] != own[i]] or [own_values[:0]])
        if not len(pool):
            continue
        rng = np.random.default_rng(1)
        drawn = pool[rng.permutation(len(pool))]
        draws = np.array_split(drawn, max(1, len(drawn) // MOST_VALUES))
        blind = float(np.mean([(own_values @ draw.T).max(axis=1).mean() for draw in draws]))
        nearest = np.argsort([-float(own_text @ text) for text, _ in theirs], kind="stable")[:MOST_COLUMNS]
        for j in nearest.tolist():
            values = theirs[j][1]
            if len(values) and others[j] != own[i]:
                best = float((own_values @ values.T).max(axis=1).mean())
                found[i, j] = best, max(0.0, (best - blind) / max(1e-6, 1 - blind))
        check()
    return found
