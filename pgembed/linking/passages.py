"""What a model of vectors reads of a text: the whole of a short one, whole sentences around a mention of a longer one."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

import numpy as np

from pgembed.linking.contract import Ints

PASSAGE = 600  # characters: about as much as a model reads at once
# Full stops of Chinese and Japanese need no space behind them.
_END = re.compile("[.!?]+[\\s\"'\u201d\u2019)]+|\\n\\s*\\n|[\u3002\uff01\uff1f]")


def around(texts: Sequence[str], text: Ints, start: Ints, end: Ints) -> tuple[list[str], Ints, Ints, Ints]:
    """The passages of mentions, each once.

    Args:
        text, start, end: of each mention; 0-based, end exclusive.
    Returns:
        The different passages, and of each mention the number of its own and its place there, which ends with the passage.
    """
    number: dict[str, int] = {}
    cut: dict[int, list[int]] = {}
    of, first, last = np.empty_like(text), np.empty_like(text), np.empty_like(text)
    for at, (which, begin, stop) in enumerate(zip(text.tolist(), start.tolist(), end.tolist(), strict=True)):
        content = texts[which]
        if len(content) <= PASSAGE:
            low, high = 0, len(content)
        else:
            if which not in cut:
                cut[which] = borders(content)
            place = bisect.bisect_right(cut[which], begin)
            low, high = cut[which][place - 1], cut[which][place]
        of[at] = number.setdefault(content[low:high], len(number))
        first[at], last[at] = begin - low, min(stop, high) - low
    return list(number), of, first, last


def borders(content: str) -> list[int]:
    """Where the passages of a text begin, and its length: whole sentences, as many as fit, and parts of sentences that are too long."""
    found = [0]
    before = 0
    for end in [*(match.end() for match in _END.finditer(content)), len(content)]:
        if end - found[-1] > PASSAGE and before > found[-1]:
            found.append(before)
        while end - found[-1] > PASSAGE:
            found.append(found[-1] + PASSAGE)
        before = end
    if found[-1] < len(content):
        found.append(len(content))
    return found
