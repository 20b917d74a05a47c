"""What every decision about pairs takes and gives, whether it was learned from labels or made without any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Objects: TypeAlias = npt.NDArray[np.object_]
MappingKind: TypeAlias = Literal["many", "one_to_one", "mutual"]

MAPPINGS = ("many", "one_to_one", "mutual")


class Scored(Protocol):
    """Pairs of a left and a right row with their scores, ordered by left row, then score, largest first; arrays of one length.

    ``joins.hybrid.Candidates`` is one. ``score`` is larger for better pairs; ``distance`` is the dense distance, NaN where a side has no
    vector; ``similarity`` has some of "dense", "words", "characters" and "numbers", about 0 to 1, NaN where there is nothing to compare.
    """

    @property
    def left(self) -> Ints: ...
    @property
    def right(self) -> Ints: ...
    @property
    def score(self) -> Floats: ...
    @property
    def distance(self) -> Floats: ...
    @property
    def similarity(self) -> Mapping[str, Floats]: ...


@dataclass(frozen=True)
class Estimate:
    """An estimated share, of precision or of recall, with its 95 % interval; all between 0 and 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Decision:
    """What is said of each candidate pair, in the candidates' order.

    Attributes:
        probability: that the two rows are the same thing, between 0 and 1; NaN where nothing can be said.
        is_match: True, False, or None where nothing can be said; dtype object.
        threshold: a pair that the mapping allows is a match where its probability is at least this; NaN where nothing can be said.
        precision: estimated share of true pairs among the matches; None where nothing can be said.
        recall: estimated share of the true pairs among the candidates that the matches are; None where nothing can be said.
    """

    probability: Floats
    is_match: Objects
    threshold: float
    precision: Estimate | None
    recall: Estimate | None
