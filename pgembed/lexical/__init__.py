"""Likeness of texts by what they are made of: words, character n-grams, and tokens with digits. Numpy only; see README.md."""

from __future__ import annotations

from pgembed.lexical.search import nearest, scores
from pgembed.lexical.sparse import Rows
from pgembed.lexical.tokens import fold, ngrams, numbers, words
from pgembed.lexical.weights import KINDS, Kind, rows

__all__ = ["KINDS", "Kind", "Rows", "fold", "nearest", "ngrams", "numbers", "rows", "scores", "words"]
