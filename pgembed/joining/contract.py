"""contract: what a dense join is asked for, what it may take, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgembed.joining.sources import Source

if TYPE_CHECKING:
    from pgembed.joins.pairing import Floats, Ints, Metric, Vectors

Strategy: TypeAlias = Literal["product", "index probes", "exact probes"]
# Texts, none of them blank -> float32 (n, dim) in the space of the other side.
Encode: TypeAlias = "Callable[[list[str]], Vectors]"


@dataclass(frozen=True)
class Request:
    """What is to be joined.

    Attributes:
        k: right rows for each left row; None: all within max_distance, which is then required.
        mutual: only pairs that are among the k nearest of both their rows (with k None: no difference).
        same: both sides are the same rows in the same order, and no row is its own neighbour.
        not_equal: a pair of equal vectors is none.
        search_recall: share of the k nearest that must be found, above 0; 1 is exact.
        memory: bytes for vectors, scores and results together, see `pgembed.joining.memory.bound`.
        encode: for a side of texts.
        show: what `pgembed.progress` tells, such as 'a.x ~ b.y'; '' shows nothing.
        few: where there are fewer left rows than that, k is k_few.
    """

    left: Source
    right: Source
    k: int | None = 1
    max_distance: float | None = None
    metric: Metric = "cosine"
    mutual: bool = False
    same: bool = False
    not_equal: bool = False
    search_recall: float = 1.0
    memory: int = 256 << 20
    encode: Encode | None = None
    show: str = ""
    few: int = 0
    k_few: int = 1


@dataclass(frozen=True)
class Part:
    """The pairs of some left rows, all of each: ordered by left row, then distance, then right row. Arrays and lists of one length.

    Attributes:
        left, right: numbers of the rows in the order in which they were read, the same through all parts of a run.
        left_places, right_places: as their `Source` writes them.
        distance: float64, pgvector's of the metric; rank: from 1 for each left row.
        rows: of the left side that this part answers for, also those without a pair: their places, in order.
    """

    left: Ints
    right: Ints
    distance: Floats
    rank: Ints
    left_places: list[str]
    right_places: list[str]
    rows: list[str]


@dataclass(frozen=True)
class Choice:
    """A strategy and what it is estimated to take.

    Attributes:
        milliseconds: estimated; bytes: of memory; blocks: how often the right side is read.
        note: why it is not possible, else ''.
    """

    strategy: Strategy
    milliseconds: float
    bytes: int
    blocks: int
    note: str = ""
