"""recommending: which codec is the smallest that finds enough, measured on the column itself.

A ladder of codecs is trained on a sample and measured in one pass, see `pgembed.codes.measuring`. What is asked for must hold for other
queries of the same kind too, so a recall counts less a margin for the chance of these.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import codecs, columns, errors, naming, sampling
from pgembed.codes import catalogue, measuring, training
from pgembed.codes import queries as asking
from pgembed.codes.measuring import Result
from pgembed.codes.ranks import Ranks
from pgembed.columns import Column, literal
from pgembed.database import Database
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.codecs.contract import Codec, Space

MIN_RECALL = 0.99
# More candidates cost a query more than a longer code does.
MOST_RESCORE = 200
SAMPLE_ROWS = 20_000
# What is fitted step by step has enough of so many, and takes long on more.
_HEAVY = {"opq": 8000, "pq": 12_000}
_HEAVY_ROTATION = 10_000  # rotation => learned
_KINDS = {"given": "given queries", "held out": "rows held out", "parts of texts": "parts of their texts"}
_LONGEST_NAME = "_constants"  # beside a codec's name, that of its function


@dataclass(frozen=True)
class Line:
    """A codec and one way to compare its codes.

    Attributes:
        scan: ``hamming``, ``halfvec`` (both of which pgvector's indexes know), ``masked`` or ``asymmetric`` (which need a scan).
        results: of each kind of queries.
        rescore: the smallest number of candidates whose recall is surely what was asked for, of every kind of queries.
    """

    codec: Codec
    scan: str
    results: Sequence[Result]
    rescore: int | None

    @property
    def is_served(self) -> bool:
        """Whether an index can serve it."""
        return self.scan in ("hamming", "halfvec")

    @property
    def is_sql(self) -> bool:
        """Whether PostgreSQL computes its codes without Python, some ten times as fast."""
        return self.codec.expression("v", "s") is not None

    @property
    def bytes(self) -> int:
        return self.codec.shape.bytes

    def _ranks(self, result: Result) -> Ranks:
        return ranks_of(result, self.scan)

    def recall(self, most: int) -> float:
        """Recall of so many candidates, of the kind of queries that it serves worst at 100."""
        return min((self._ranks(result) for result in self.results), key=lambda ranks: ranks.recall(100)).recall(most)

    def surely(self, most: int) -> float:
        """What it is not below for other queries."""
        return min(self._ranks(result).surely(most) for result in self.results)


def ranks_of(result: Result, scan: str) -> Ranks:
    """The ranks by one way to compare codes, see `Line`."""
    of_bits = {"hamming": result.hamming, "masked": result.masked}.get(scan)
    return of_bits or result.asymmetric


def ladder(dim: int, with_queries: bool) -> list[tuple[str, dict[str, Any]]]:
    """Methods and options to compare; at equal merit the earlier one is taken.

    Args:
        with_queries: there are queries to train with.
    """
    shorter = [most for most in dict.fromkeys((dim // 6, dim // 3, dim // 2)) if most >= 1]
    made: list[tuple[str, dict[str, Any]]] = [
        ("sign", {}),
        ("sign", {"rotation": "learned"}),
        ("thermometer", {"bits": 2, "dims": dim // 2, "rotation": "learned"}),  # the bits of signs, on the half that says more
        ("thermometer", {"bits": 3, "dims": 2 * dim // 3, "rotation": "learned"}),
        *(("thermometer", {"bits": bits}) for bits in (2, 3, 4)),
        ("thermometer", {"bits": 2, "rotation": "random"}),
        ("recurrent", {"bits": 2}),
        *(("pca", {"dims": dims}) for dims in shorter),
        *([("leanvec", {"dims": dim // 3})] if with_queries and dim >= 3 else []),
        ("matryoshka", {"dims": max(1, dim // 3)}),
        ("matryoshka", {"dims": dim}),  # half the numbers' bytes: what is left where nothing is smaller
        *(("rabitq", {"bits": bits}) for bits in (1, 2, 4)),
        *((method, {"bytes": dim // 8}) for method in ("pq", "opq") if dim >= 8),
        *([("opq", {"bytes": dim // 4})] if dim >= 4 else []),
        ("lvq", {"bits": 4}),
        ("int8", {}),
    ]
    return made


def recommend(
    db: Database,
    target: str | None,
    min_recall: float | None,
    max_bytes: int | None,
    column_name: str | None,
    queries: tuple[str | None, str | None],
    seed: int | None,
) -> list[dict[str, Any]]:
    """Compare codecs on an embedded column and recommend one; see `pgembed.recommend_codec` in SQL.

    Raises:
        errors.InvalidParameter: min_recall, max_bytes or seed is not what it may be; the column has too few vectors.
        errors.NotSupported: the column is over chunks; texts cannot be its queries.
    """
    if min_recall is not None and not 0 < min_recall < 1:
        raise errors.InvalidParameter(f"min_recall must be above 0 and below 1, not {min_recall}", hint="0.99 is the default.")
    if max_bytes is not None and max_bytes < 1:
        raise errors.InvalidParameter(f"max_bytes must be at least 1, not {max_bytes}", hint="Leave it out for no limit.")
    if seed is None or not 0 <= seed < 1 << 31:
        raise errors.InvalidParameter(f"seed must be from 0 to {(1 << 31) - 1}, not {seed}", hint="seed => 1 is the default.")
    column = columns.column(db, target, column_name)
    column.one_vector("a codec")
    with threads.signals_blocked():
        from pgembed.codecs.contract import Space

    began = time.monotonic()
    sample, _ = sampling.stored(db, column, SAMPLE_ROWS, seed)
    dim = sample.shape[1]
    asked = asking.given(db, column, dim, *queries, seed=seed, most=2 * asking.MOST)
    kinds, for_training = (asking.drawn(db, column, dim, seed), None) if asked is None else asking.halves(asked)
    space = Space(dim, column.metric, column.metric == "cosine" and not training.of_length_one(sample))
    made = _trained(db, column, sample, space, for_training, seed)
    results = measuring.compare(db, column, made, kinds, db.check_interrupts, db.notice)
    level = MIN_RECALL if min_recall is None else min_recall
    lines = [line for codec, of_codec in zip(made, results, strict=True) for line in lines_of(codec, of_codec, level)]
    chosen = choose(lines, level if min_recall is not None or max_bytes is None else None, max_bytes)
    measured = results[0][0].measured
    by = " and ".join(f"{len(kind.vectors)} {_KINDS[kind.drawn]}" for kind in kinds)
    db.notice(f"{column.label}: measured on {measured.rows} rows with {by}, in {time.monotonic() - began:.0f} s")
    _say(db, column, chosen, lines, level, min_recall, max_bytes)
    taken = {row.name for row in catalogue.all_codecs(db)}
    ordered = sorted(lines, key=lambda line: (line.bytes, -line.recall(100)))
    return [_row(line, column, column_name, queries, taken, line is chosen) for line in ordered]


def lines_of(codec: Codec, results: Sequence[Result], level: float) -> list[Line]:
    """The ways to compare a codec's codes, with what they need to reach a recall."""
    kind = codec.shape.kind
    scans = {"bits": ("hamming", "masked", "asymmetric"), "bytes": ("asymmetric",), "halfvec": ("halfvec",)}[kind]
    made = []
    for scan in scans:
        each = [ranks_of(result, scan).reaches(level, Ranks.surely) for result in results]
        found = [most for most in each if most is not None]
        made.append(Line(codec, scan, results, max(found) if len(found) == len(each) else None))
    return made


def choose(lines: Sequence[Line], min_recall: float | None, max_bytes: int | None) -> Line | None:
    """The line to recommend; None where none is good enough.

    With ``min_recall`` the fewest bytes that reach it with at most 200 candidates, of as many what SQL can compute, and compare; else the
    best recall of 100 candidates within ``max_bytes``. What an index can serve comes before what needs a scan.
    """
    within = [line for line in lines if max_bytes is None or line.bytes <= max_bytes]
    for served in (True, False):
        some = [line for line in within if line.is_served == served]
        if min_recall is not None:
            good = [line for line in some if line.rescore is not None and line.rescore <= MOST_RESCORE]
            if good:
                return min(good, key=lambda line: (line.bytes, not line.is_sql, line.scan == "asymmetric", line.rescore))
        elif some:
            return max(some, key=lambda line: (round(line.recall(100), 3), -line.bytes))
    if min_recall is not None and max_bytes is not None:
        return choose(lines, None, max_bytes)  # as good as that space allows
    return None


def _trained(
    db: Database, column: Column, sample: NDArray[np.float32], space: Space, queries: NDArray[np.float32] | None, seed: int
) -> list[Codec]:
    made: list[Codec] = []
    told = time.monotonic()
    wanted = ladder(space.dim, queries is not None)
    for at, (method, options) in enumerate(wanted):
        if time.monotonic() - told >= measuring.TELL_SECONDS:
            told = time.monotonic()
            db.notice(f"{column.label}: {at} of {len(wanted)} codecs trained, now {method}")
        most = min(_HEAVY.get(method, SAMPLE_ROWS), _HEAVY_ROTATION if options.get("rotation") == "learned" else SAMPLE_ROWS)
        # The sample is in the order of the table.
        some = sample[:: -(-len(sample) // most)]
        try:
            made.append(codecs.train(method, some, space, options, queries, seed, db.check_interrupts))
        except errors.InvalidParameter:
            continue  # not for so few dimensions, or so few rows
        db.check_interrupts()
    return made


def _say(
    db: Database, column: Column, chosen: Line | None, lines: Sequence[Line], level: float, min_recall: float | None, max_bytes: int | None
) -> None:
    """Tell the caller where what is recommended is not what was asked for."""
    limit = f" within {max_bytes} bytes" if max_bytes is not None else ""
    if chosen is None:
        smallest = min(line.bytes for line in lines)
        if max_bytes is not None and max_bytes < smallest:
            db.notice(
                f"{column.label}: no codec has codes of at most {max_bytes} bytes", hint=f"The smallest that was measured has {smallest}."
            )
            return
        db.notice(
            f"{column.label}: no codec reaches a recall of {level:g}{limit} with {MOST_RESCORE} candidates",
            hint="Search the vectors themselves, or ask for a lower min_recall.",
        )
        return
    asks = min_recall is not None or max_bytes is None
    if asks and (chosen.rescore is None or chosen.rescore > MOST_RESCORE):
        db.notice(
            f"{column.label}: no codec{limit} reaches a recall of {level:g} with {MOST_RESCORE} candidates; recommended is the best one,"
            f" with {chosen.recall(MOST_RESCORE):.3f}",
            hint="Ask for a lower min_recall, or allow more bytes.",
        )
    if not chosen.is_served:
        way = {
            "masked": "ORDER BY (code & mask) <~> bits, which pgembed.masked_query() tells of a query, compares such codes one by one",
            "asymmetric": "pgembed.scan_codes() compares such codes one by one",
        }[chosen.scan]
        db.notice(
            f"{column.label}: no codec{limit} that an index can serve is good enough; recommended is one for scans",
            hint=f"{way}; for an index on all rows keep the one on the vectors.",
        )


def _row(
    line: Line, column: Column, column_name: str | None, queries: tuple[str | None, str | None], taken: set[str], is_recommended: bool
) -> dict[str, Any]:
    measured = line.results[0].measured
    return {
        "method": line.codec.method,
        "options": json.dumps(line.codec.options),
        "bytes": line.bytes,
        "scan": line.scan,
        "recall": round(line.recall(10), 4),
        **{f"recall_{most}": round(line.recall(most), 4) for most in (20, 50, 100, 200)},
        "rescore": line.rescore,
        "distortion": measured.distortion,
        "encode_rate": measured.encode_rate,
        "is_recommended": is_recommended,
        "statement": statement(line.codec.method, line.codec.options, column, column_name, queries, taken),
    }


def statement(
    method: str,
    options: Mapping[str, Any],
    column: Column,
    column_name: str | None,
    queries: tuple[str | None, str | None],
    taken: set[str],
) -> str:
    """The call that makes a codec for good.

    Args:
        queries: table, as regclass writes it, and its column.
        taken: names of codecs that exist.
    """
    defaults = codecs.method(method).defaults
    chosen = {key: value for key, value in options.items() if value is not None and value != defaults.get(key)}
    suffix = f"_{method}" + "".join(f"_{value}" if isinstance(value, str) else str(int(value)) for value in chosen.values())
    name = _free(column.table.name, suffix, taken)
    parts = [literal(name), literal(column.table.shown), literal(method)]
    parts += [f"column_name => {literal(column_name)}"] if column_name is not None else []
    parts += [f"{key} => {_shown(value)}" for key, value in chosen.items()]
    parts += [f"{key} => {literal(str(value))}" for key, value in zip(("queries", "queries_column"), queries, strict=True) if value]
    return f"SELECT pgembed.train_codec({', '.join(parts)})"


def _shown(value: object) -> str:
    return literal(value) if isinstance(value, str) else str(value).lower()


def _free(stem: str, suffix: str, taken: set[str]) -> str:
    for number in itertools.count(1):
        end = suffix if number == 1 else f"{suffix}_{number}"
        name = naming.clip(stem, end + _LONGEST_NAME).removesuffix(_LONGEST_NAME)
        if name not in taken:
            break
    return name
