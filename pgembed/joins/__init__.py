"""Semantic join: pairs of rows of two tables whose embeddings are near.

Pure functions over arrays: who fetches the rows, and with whose rights, is another room's business; `pgembed.matching` says which pairs are
the same thing.
"""

from __future__ import annotations

from pgembed.joins.mapping import one_to_one
from pgembed.joins.neighbours import METRICS, Metric, Pairs, nearest

__all__ = ["METRICS", "Metric", "Pairs", "nearest", "one_to_one"]
