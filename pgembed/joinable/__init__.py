"""joinable: which columns of a database could be joined with a column, by equal values or by meaning.

What PostgreSQL's statistics say of each column is enough for a first answer, so that nothing is scanned: the most frequent values, some
quantiles, the number of different values, beside names, comments, types and foreign keys. Kinds of evidence are weighed together, for
each alone misleads (https://arxiv.org/abs/2510.24599); of columns that are joined by meaning, their values' embeddings are compared
as in DeepJoin (https://arxiv.org/abs/2212.07588).
"""

from __future__ import annotations

from pgembed.joinable.finding import Joinable, find

__all__ = ["Joinable", "find"]
