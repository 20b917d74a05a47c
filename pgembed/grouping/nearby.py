"""nearby: pairs of texts of one table that may be the same but for how they are written, without comparing all with all.

Texts that are the same but for slips share something rare: a word or n-gram that few texts have, or all words but one. Only pairs that do
are looked at, so that the work grows with the rows and not with their square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from pgembed import lexical

Ints = npt.NDArray[np.int64]

MOST_HAVING = 40  # rows that may have a thing that counts as rare
KEPT = 32  # rare things of a row: the rarest
PART = 4 << 20  # pairs that are sorted at a time
WHOLE = 40  # words of a text of which every one is left out once; of longer ones n-grams say enough


def pairs(texts: Sequence[str], k: int, groups: Ints | None = None, check: Callable[[], None] = lambda: None) -> tuple[Ints, Ints]:
    """Of each text the k others that share most rare things with it.

    Args:
        texts: '' is like nothing.
        groups: a code of at least 0 of each text; only texts of one code are paired. None: all may be.
        check: called now and then.
    Returns:
        Positions, the left one smaller than the right one, each pair once, in order. Rows of which more than MOST_HAVING have the same
        words are paired in a circle: each with the next.
    """
    n = len(texts)
    if n < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    term, row = _rare(texts, groups, check)
    left, right, weight = _meeting(term, row, n, check)
    keep = np.zeros(len(left), dtype=bool)
    for side in (left, right):
        order = np.lexsort((-weight, side))
        _, start, size = np.unique(side[order], return_index=True, return_counts=True)
        keep[order[np.arange(len(order)) - np.repeat(start, size) < k]] = True
    both = np.unique(np.concatenate([left[keep] * n + right[keep], _equal(texts, groups)]))
    return both // n, both % n


def _rare(texts: Sequence[str], groups: Ints | None, check: Callable[[], None]) -> tuple[Ints, Ints]:
    """Things that two to MOST_HAVING texts of a group have, and who has them, in order of thing, then row."""
    kinds = []
    offset = 0
    for rows in _terms(texts, check):
        term, row = rows
        width = int(term.max(initial=-1)) + 1
        # what one text has alone pairs nothing: most is dropped before anything is sorted
        shared = np.bincount(term, minlength=1)[term] > 1
        once = np.unique(term[shared] * len(texts) + row[shared])
        kinds.append((once // len(texts) + offset, once % len(texts)))
        offset += width
    term, row = (np.concatenate([kind[side] for kind in kinds]) for side in (0, 1))
    if groups is not None:
        _, term = np.unique(np.stack([groups[row], term]), axis=1, return_inverse=True)
        term = term.reshape(-1).astype(np.int64)
    having = np.bincount(term) if len(term) else np.zeros(1, dtype=np.int64)
    rare = (having[term] >= 2) & (having[term] <= MOST_HAVING)
    term, row = term[rare], row[rare]
    order = np.lexsort((term, having[term], row))
    term, row = term[order], row[order]
    _, start, size = np.unique(row, return_index=True, return_counts=True)
    kept = np.arange(len(row)) - np.repeat(start, size) < KEPT
    order = np.lexsort((row[kept], term[kept]))
    return term[kept][order], row[kept][order]


def _terms(texts: Sequence[str], check: Callable[[], None]) -> Iterator[tuple[Ints, Ints]]:
    rows = lexical.rows(texts, [], check)
    for kind in ("words", "characters"):
        held = rows.pop(kind)[0]
        yield held.term.astype(np.int64), np.repeat(np.arange(len(texts), dtype=np.int64), held.counts)
    yield _signatures(texts, check)


def _signatures(texts: Sequence[str], check: Callable[[], None]) -> tuple[Ints, Ints]:
    """Numbers of what few texts have although its words are frequent, and who has it.

    A text's words without one of them: two texts with one slip have one in common. And two words that stand next to each other, or have
    one between them, in any order.
    """
    numbered: defaultdict[str, int] = defaultdict(count().__next__)
    parts: list[Ints] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    found: list[int] = []
    for place, text in enumerate(texts):
        held = [numbered[word] for word in lexical.words(lexical.fold(text))]
        words = sorted(set(held))
        before = len(found)
        if 1 < len(words) <= WHOLE:
            # hashes of numbers are the same in every session
            found.extend(hash(tuple(words[:out] + words[out + 1 :])) for out in range(len(words)))
        for step in (1, 2):
            found.extend(hash((a, b) if a < b else (b, a)) for a, b in zip(held, held[step:], strict=False))
        lengths[place] = len(found) - before
        if place % 5_000 == 4_999 or place == len(texts) - 1:
            parts.append(np.asarray(found, dtype=np.int64))
            found = []
            check()
    hashed = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    _, signature = np.unique(hashed, return_inverse=True)
    return signature.reshape(-1).astype(np.int64), np.repeat(np.arange(len(texts), dtype=np.int64), lengths)


def _equal(texts: Sequence[str], groups: Ints | None) -> Ints:
    """Rows of the same words, each with the next one, as left * n + right."""
    last: dict[tuple[int, tuple[str, ...]], int] = {}
    found = []
    for place, text in enumerate(texts):
        key = (0 if groups is None else int(groups[place]), tuple(sorted(lexical.words(lexical.fold(text)))))
        if key[1] and key in last:
            found.append(last[key] * len(texts) + place)
        last[key] = place
    return np.asarray(found, dtype=np.int64)


def _meeting(term: Ints, row: Ints, n: int, check: Callable[[], None]) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Pairs of rows that have a thing in common, each once, and how much: a thing that few have counts more."""
    codes: list[Ints] = []
    weights: list[npt.NDArray[np.float64]] = []
    _, start, having = np.unique(term, return_index=True, return_counts=True)
    made = np.cumsum(having * (having - 1) // 2)
    first = 0
    while first < len(having):
        done = int(made[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(made, done + PART, side="right")))
        part: list[Ints] = []
        much: list[npt.NDArray[np.float64]] = []
        for size in np.unique(having[first:last]).tolist():
            if size < 2:
                continue
            members = row[start[first:last][having[first:last] == size][:, None] + np.arange(size)]
            a, b = np.triu_indices(size, 1)
            pair = (members[:, a] * n + members[:, b]).reshape(-1)
            part.append(pair)
            much.append(np.full(len(pair), 1 / np.log2(1 + size)))
        if part:
            code, at = np.unique(np.concatenate(part), return_inverse=True)
            codes.append(code)
            weights.append(np.bincount(at.reshape(-1), np.concatenate(much)).astype(np.float64))
        first = last
        check()
    if not codes:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    code, at = np.unique(np.concatenate(codes), return_inverse=True)
    weight = np.bincount(at.reshape(-1), np.concatenate(weights)).astype(np.float64)
    return code // n, code % n, weight
