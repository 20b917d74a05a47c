"""spelling: how many slips of the pen lie between two words."""

from __future__ import annotations


def edits(one: str, other: str, most: int | None = None) -> int:
    """Letters to insert, delete, replace or swap with their neighbour, to make one word of the other; most + 1 where it is more than that.

    Optimal string alignment, Damerau, 1964, https://doi.org/10.1145/363958.363994. With ``most`` it ends as soon as it can be no less.
    """
    if one == other:
        return 0
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    limit = len(one) + len(other) if most is None else most
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        line = [i, *[0] * len(other)]
        for j, b in enumerate(other, 1):
            line[j] = min(last[j] + 1, line[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                line[j] = min(line[j], before[j - 2] + 1)
        if min(line) > limit:
            return limit + 1
        before, last = last, line
    return min(limit + 1, last[-1])
