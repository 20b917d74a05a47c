"""Strings that share rare character n-grams: an inverted index that is asked for many strings at once.

Cosine of TF-IDF vectors over the character n-grams of 2 to 4 characters, word borders marked: Cavnar and Trenkle, N-Gram-Based Text
Categorization, 1994, https://www.let.rug.nl/vannoord/TextCat/textcat.pdf, with the weights of Salton and Buckley, Term-weighting
approaches in automatic text retrieval, 1988, https://doi.org/10.1016/0306-4573(88)90021-0. Departs from them: n-grams are hashed into
buckets, so that neither compiling nor asking touches a Python object for each of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from pgembed.lexical.sparse import entries
from pgembed.linking.contract import Bools, Ints, Vectors

SIZES = (2, 3, 4)
# A lookup reads no list of more strings than this or this share of all: what so many share tells little apart.
LONGEST_LIST = 2000
LARGEST_SHARE = 0.02
LEAST = 0.2  # of the cosine of the most similar; what is less similar is not found
_CELLS = 1 << 22  # of the table of scores that is filled at a time
_STEP = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Grams:
    """The index over texts, referred to by position.

    Args:
        texts: folded words separated by single spaces; an empty one is like nothing.
        like: weighs n-grams for them; None: they do themselves.
    """

    def __init__(self, texts: Sequence[str], like: Grams | None = None) -> None:
        self._size = len(texts)
        self._after: list[str] = []
        self._more: Grams | None = None
        total = sum(map(len, texts)) * len(SIZES)
        self._bits: int = like._bits if like else min(22, max(16, total.bit_length() + 2))
        gram, text = self._grams(texts)
        key = np.sort(gram * max(1, self._size) + text)
        fresh = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, np.int64)
        count = np.diff(np.append(fresh, len(key)))
        gram, text = key[fresh] // max(1, self._size), key[fresh] % max(1, self._size)
        frequency = np.bincount(gram, minlength=1 << self._bits)
        self._start = np.concatenate([[0], np.cumsum(frequency)])
        self._rarity: Vectors = like._rarity if like else np.log1p(self._size / np.maximum(1, frequency)).astype(np.float32)
        weight = np.sqrt(count) * self._rarity[gram]
        norm = np.sqrt(np.bincount(text, weight.astype(np.float64) ** 2, max(1, self._size)))
        self._text = text.astype(np.int32)
        self._weight = (weight / np.maximum(norm[text], 1e-9)).astype(np.float32)
        self._read: Bools = like._read if like else frequency <= max(LONGEST_LIST, LARGEST_SHARE * self._size)

    def added(self, texts: Sequence[str]) -> Grams:
        """With more texts behind the others, which still say how rare n-grams are."""
        made = copy.copy(self)
        made._after = [*self._after, *texts]
        made._more = Grams(made._after, self)
        return made

    def similar(self, texts: Sequence[str], k: int) -> tuple[Ints, Ints, Vectors]:
        """Of each text the k most similar of the index: which text, position, cosine in (0, 1]; by text, the most similar first."""
        if self._more is None:
            return self._similar(texts, k)
        base, more = self._similar(texts, k), self._more._similar(texts, k)
        which = np.concatenate([base[0], more[0]])
        position, cosine = np.concatenate([base[1], more[1] + self._size]), np.concatenate([base[2], more[2]])
        order = np.lexsort((position, -cosine, which))
        which, position, cosine = which[order], position[order], cosine[order]
        begin = np.searchsorted(which, which)
        kept = (np.arange(len(which)) - begin < k) & (cosine > cosine[begin] * LEAST)
        return which[kept], position[kept], cosine[kept]

    def _similar(self, texts: Sequence[str], k: int) -> tuple[Ints, Ints, Vectors]:
        found: list[tuple[Ints, Ints, Vectors]] = []
        step = max(1, _CELLS // max(1, self._size))
        for begin in range(0, len(texts), step):
            which, position, cosine = self._part(texts[begin : begin + step], k)
            found.append((which + begin, position, cosine))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]), np.concatenate([f[2] for f in found])

    def _part(self, texts: Sequence[str], k: int) -> tuple[Ints, Ints, Vectors]:
        gram, text = self._grams(texts)
        key = np.sort(text << self._bits | gram)
        fresh = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, np.int64)
        count = np.diff(np.append(fresh, len(key)))
        text, gram = key[fresh] >> self._bits, key[fresh] & ((1 << self._bits) - 1)
        weight = np.sqrt(count) * self._rarity[gram]
        norm = np.sqrt(np.bincount(text, weight.astype(np.float64) ** 2, len(texts)))
        kept = self._read[gram]
        text, gram, weight = text[kept], gram[kept], weight[kept]
        at, begin = entries(self._start, gram)
        share = np.repeat(weight / np.maximum(norm[text], 1e-9), np.diff(begin)) * self._weight[at]
        cell = np.repeat(text * self._size, np.diff(begin)) + self._text[at]
        table = np.bincount(cell, share, len(texts) * self._size).reshape(len(texts), self._size).astype(np.float32)
        if not table.size:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        which, position = np.nonzero(table > np.maximum(table.max(1) * LEAST, 1e-6)[:, None])
        cosine = table[which, position]
        order = np.lexsort((position, -cosine, which))
        count = np.bincount(which, minlength=len(texts))
        rank = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        order = order[rank < k]
        return which[order], position[order], np.minimum(cosine[order], np.float32(1.0))

    def _grams(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """All n-grams of all texts as buckets, each text with a space at both ends, and which text each is of."""
        marked = [f" {text} " if text else "" for text in texts]
        length = np.fromiter(map(len, marked), dtype=np.int64, count=len(marked))
        codes = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64) + np.uint64(1)
        text = np.repeat(np.arange(len(texts), dtype=np.int64), length)
        shift = np.uint64(64 - self._bits)
        grams: list[Ints] = []
        of: list[Ints] = []
        rolling = codes.copy()
        for size in range(2, max(SIZES) + 1):
            if len(codes) < size:
                break
            rolling = rolling[:-1] * _STEP + codes[size - 1 :]
            if size in SIZES:
                within = np.flatnonzero(text[size - 1 :] == text[: len(text) - size + 1])
                gram = rolling[within]
                gram ^= gram >> np.uint64(31)  # so that neither neighbours nor permutations share a bucket
                grams.append(((gram * _MIX) >> shift).astype(np.int64))
                of.append(text[within])
        if not grams:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate(grams), np.concatenate(of)
