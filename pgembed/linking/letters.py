"""How many letters two strings differ by, for many pairs of strings at once.

Optimal string alignment, Damerau, 1964, https://doi.org/10.1145/363958.363994, as `lexical.spelling.edits` counts. Departs from it:
a line of the table is filled for all pairs together; insertions, which depend on the place before, are a running minimum of
cost less place (the idea is Hyyrö's and Myers' that a line is one operation; here it is one of numpy's).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pgembed.linking.contract import Ints

LONGEST = 64  # letters compared; of longer strings the rest counts as different, if it is
_PAIRS = 1 << 13


def distances(one: Sequence[str], other: Sequence[str]) -> Ints:
    """Of each pair the letters to insert, delete, replace or swap with their neighbour."""
    made = np.zeros(len(one), np.int64)
    differ = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(differ) < len(one):
        made[differ] = distances([one[at] for at in differ], [other[at] for at in differ])
        return made
    length = np.array([max(len(a), len(b)) for a, b in zip(one, other, strict=True)], np.int64)
    order = np.argsort(length, kind="stable")
    for begin in range(0, len(order), _PAIRS):
        some = order[begin : begin + _PAIRS]
        # Short ones first, so that a table is no wider than its pairs need.
        for part in np.split(some, np.searchsorted(length[some], [9, 17, 33])):
            if len(part):
                made[part] = _distances([one[at] for at in part.tolist()], [other[at] for at in part.tolist()])
    return made


def bags(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """How often each letter stands in each string, letters in 32 groups: uint8 (n, 32), at most 255 of each."""
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    cell = np.repeat(np.arange(len(texts), dtype=np.int64), length) * 32 + codes % 32
    return np.minimum(np.bincount(cell, minlength=32 * len(texts)), 255).astype(np.uint8).reshape(len(texts), 32)


def _distances(one: list[str], other: list[str]) -> Ints:
    a, a_length, a_rest = _table(one)
    b, b_length, b_rest = _table(other)
    pairs, width = b.shape
    place = np.arange(width + 1, dtype=np.int16)
    last = np.broadcast_to(place, (pairs, width + 1)).copy()
    before = last
    result = np.where(a_length == 0, b_length, 0).astype(np.int64)
    for at in range(a.shape[1]):
        same = b == a[:, at : at + 1]
        line = np.empty_like(last)
        line[:, 0] = at + 1
        np.minimum(last[:, 1:] + np.int16(1), last[:, :-1] + ~same, out=line[:, 1:])
        if at:
            swapped = same[:, :-1] & (b[:, 1:] == a[:, at - 1 : at])
            # a[at] stands at the place before in b, and the letter before it here
            found = np.where(swapped, before[:, :-2] + np.int16(1), np.int16(32000))
            np.minimum(line[:, 2:], found, out=line[:, 2:])
        line -= place
        np.minimum.accumulate(line, axis=1, out=line)
        line += place
        before, last = last, line
        done = np.flatnonzero(a_length == at + 1)
        result[done] = line[done, b_length[done]]
    differ = np.fromiter((x != y for x, y in zip(a_rest, b_rest, strict=True)), np.int64, pairs)
    rest = np.fromiter((max(len(x), len(y)) for x, y in zip(a_rest, b_rest, strict=True)), np.int64, pairs)
    return result + differ * rest


def _table(texts: list[str]) -> tuple[npt.NDArray[np.uint32], Ints, list[str]]:
    """Code points, a line each; lengths; and what is beyond the longest."""
    cut = [text[:LONGEST] for text in texts]
    length = np.fromiter(map(len, cut), np.int64, len(cut))
    table = np.zeros((len(cut), max(1, int(length.max(initial=0)))), np.uint32)
    codes = np.frombuffer("".join(cut).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    table[np.repeat(np.arange(len(cut)), length), np.arange(len(codes)) - np.repeat(np.cumsum(length) - length, length)] = codes
    return table, length, [text[LONGEST:] for text in texts]
