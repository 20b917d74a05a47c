"""measuring: what a codec costs in recall, on the column that it is for.

Every row is compared with every query, once exactly and once by its code. What matters of a true neighbour is its rank in the order of
codes: whoever rescores the first R codes finds it if its rank is at most R. So two passes over the column give the recall of every R. Codes
tie, those of few bits often; a tie is counted as the share of its orders in which the neighbour is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pgembed import rows
from pgembed.codes import queries as asking
from pgembed.codes.queries import MOST, Drawn, Queries
from pgembed.codes.ranks import Ranks, Tally, Truth
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.codecs.contract import Codec

CURVE = (10, 20, 50, 100, 200, 400, 800)
LEVELS = (0.95, 0.99)
# Above so many rows ranks are estimated on so many of them; which the true neighbours are is always found among all.
MOST_RANKED = 200_000
TELL_SECONDS = 5.0

_PAGE_NUMBERS = 8 << 20  # float32 of the largest array of a page
_PAGE_ROWS = 4096


@dataclass(frozen=True)
class Measured:
    """What a codec costs, as it is kept in the registry.

    Attributes:
        k: how many neighbours of a query are looked for: 10, fewer in a table of fewer rows.
        queries, rows: how many there were of each.
        drawn: where the queries come from.
        hamming: recall@k by the number of candidates R that are rescored exactly, of bits compared with the query's own code; None for
            codes that are no bits. Without rescoring it is that of R = k.
        asymmetric: the same where the query is not compressed.
        masked: the same by Hamming distance without the bits that the query is unsure of, see `pgembed.codecs.contract.Codec.masked`.
        distortion: mean squared error of the codes' points, each at its best length, relative to the vectors' mean squared length; 0 is a
            copy, 1 a code that says nothing.
        encode_rate: vectors a second, in numpy.
        rescore: the smallest R whose recall is at least 0.95 and 0.99; None where that is more than 10,000. By Hamming distance where there
            is one.
        asymmetric_rescore, masked_rescore: the same of those distances.
        noise: standard error of recall@k at R = 100, by the queries' chance; of Hamming distance where there is one.
    """

    k: int
    queries: int
    rows: int
    drawn: Drawn
    hamming: dict[int, float] | None
    asymmetric: dict[int, float]
    distortion: float
    encode_rate: float
    rescore: dict[str, int | None]
    asymmetric_rescore: dict[str, int | None]
    noise: float
    masked: dict[int, float] | None = None
    masked_rescore: dict[str, int | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """Numbers and texts that JSON has: keys of dicts are texts, numbers are rounded to what they are worth."""
        made = asdict(self)
        for curve in ("hamming", "asymmetric", "masked"):
            if made[curve] is not None:
                made[curve] = {str(most): round(value, 4) for most, value in made[curve].items()}
        return {**made, "distortion": round(self.distortion, 5), "encode_rate": round(self.encode_rate), "noise": round(self.noise, 5)}


@dataclass(frozen=True)
class Result:
    """A codec measured with one kind of queries."""

    measured: Measured
    hamming: Ranks | None
    masked: Ranks | None
    asymmetric: Ranks

    @property
    def served(self) -> Ranks:
        """The ranks by which an index or a scan of the code's own type finds candidates."""
        return self.hamming or self.asymmetric


def measure(
    db: Database,
    column: Column,
    codecs: Sequence[Codec],
    queries: Queries | None,
    check: Callable[[], None],
    tell: Callable[[str], None] = lambda _: None,
) -> list[Measured]:
    """What codecs cost on a column as it is now, in their order.

    Args:
        codecs: for the column's vectors, at least one.
        queries: of more than 300 the last are taken. None draws them from the column itself; of several kinds each codec has the worst.
        check: called often; what it raises passes through.
        tell: called with progress every few seconds.
    Raises:
        errors.InvalidParameter: the column has too few vectors.
        errors.DimensionMismatch: a vector has other dimensions.
    """
    kinds = [_some(queries)] if queries is not None else asking.drawn(db, column, codecs[0].space.dim)
    return [worst(results).measured for results in compare(db, column, codecs, kinds, check, tell)]


def _some(queries: Queries) -> Queries:
    return replace(queries, vectors=queries.vectors[-MOST:], rows=queries.rows[-MOST:])


def worst(results: Sequence[Result]) -> Result:
    """The kind of queries that a codec serves worst, by recall at R = 100."""
    return min(results, key=lambda result: result.served.recall(100))


def compare(
    db: Database,
    column: Column,
    codecs: Sequence[Codec],
    kinds: Sequence[Queries],
    check: Callable[[], None],
    tell: Callable[[str], None] = lambda _: None,
) -> list[list[Result]]:
    """Each codec with each kind of queries, in two passes over the column; see `measure`."""
    with threads.signals_blocked():
        import numpy as np

    column.one_vector("a codec")
    space = codecs[0].space
    asked = np.concatenate([kind.vectors for kind in kinds]).astype(np.float32)
    left_out = [row for kind in kinds for row in kind.rows]
    widest = max([space.dim, len(asked), *(codec.shape.length for codec in codecs if codec.shape.kind == "bits")])
    size = max(64, min(_PAGE_ROWS, _PAGE_NUMBERS // widest))
    progress = _Progress(column, tell)

    truth = Truth(asked, left_out, space.metric)
    for places, page in rows.pages(db, column, space.dim, size):
        truth.add(places, page)
        progress(f"exact neighbours among {truth.rows} rows")
        check()
    neighbours = truth.end(column.label)

    tallies = []
    for codec in codecs:
        tallies.append(Tally(codec, asked, neighbours))
        check()
    part = f" TABLESAMPLE SYSTEM ({100 * MOST_RANKED / truth.rows}) REPEATABLE (1)" if truth.rows > MOST_RANKED else ""
    seen = np.zeros(len(asked))
    read = 0
    for places, page in rows.pages(db, column, space.dim, size, part):
        out = neighbours.out_of(places, left_out)
        seen += len(page) - np.bincount(out[0], minlength=len(asked))
        for tally in tallies:
            tally.add(page, out)
            check()
        read += len(page)
        progress(f"{len(codecs)} codecs on {read} rows")
    # Rows that were not read stand for others that were; where all were read this is 1.
    outside = truth.rows - neighbours.k - np.array([row is not None for row in left_out])
    scale = outside / np.maximum(seen, 1) if part else np.ones(len(asked))
    begins = np.cumsum([0, *(len(kind.vectors) for kind in kinds)])
    return [
        [_result(tally, kind, slice(begins[at], begins[at + 1]), truth.rows, neighbours.k, scale) for at, kind in enumerate(kinds)]
        for tally in tallies
    ]


@dataclass
class _Progress:
    column: Column
    tell: Callable[[str], None]
    told: float = field(default_factory=time.monotonic)

    def __call__(self, message: str) -> None:
        if time.monotonic() - self.told >= TELL_SECONDS:
            self.told = time.monotonic()
            self.tell(f"{self.column.label}: {message}")


def _result(tally: Tally, kind: Queries, part: slice, count: int, k: int, scale: NDArray[np.float64]) -> Result:
    ranks = tally.ranks(part, scale)
    hamming, masked, asymmetric = ranks.get("hamming"), ranks.get("masked"), ranks["asymmetric"]
    served = hamming or asymmetric
    measured = Measured(
        k=k,
        queries=len(kind.vectors),
        rows=count,
        drawn=kind.drawn,
        hamming=None if hamming is None else _curve(hamming),
        asymmetric=_curve(asymmetric),
        distortion=tally.distortion,
        encode_rate=tally.encode_rate,
        rescore=_rescore(served),
        asymmetric_rescore=_rescore(asymmetric),
        noise=served.noise(100),
        masked=None if masked is None else _curve(masked),
        masked_rescore=None if masked is None else _rescore(masked),
    )
    return Result(measured, hamming, masked, asymmetric)


def _curve(ranks: Ranks) -> dict[int, float]:
    return {most: ranks.recall(most) for most in CURVE}


def _rescore(ranks: Ranks) -> dict[str, int | None]:
    return {str(level): ranks.reaches(level, Ranks.recall) for level in LEVELS}
