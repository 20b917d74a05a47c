"""drift: whether a codec still finds what it found, and whether a new one would find more.

Recall falls for two reasons: vectors are no longer as they were when the codec was fitted, which a new codec mends; and there are more of
them, which it does not. So a check fits one more codec of the same kind to the column as it is and measures both with the same queries.
"""

from __future__ import annotations

import json
import math
from typing import Any

from pgembed import codecs, columns, errors, sampling
from pgembed.codes import catalogue, declaring, measuring, training
from pgembed.codes import queries as asking
from pgembed.codes.catalogue import CodecRow
from pgembed.codes.measuring import Result
from pgembed.columns import Column, Writer
from pgembed.database import Database

# A change of recall that matters, if the queries' chance can't explain it.
MATTERS = 0.01
SAMPLE_ROWS = 20_000
_SURE = 1.645  # standard errors, one-sided: 19 of 20


def check(db: Database, write: Writer, name: str | None, queries: tuple[str | None, str | None]) -> dict[str, Any]:
    """Measure a codec again on the column as it is, and keep what was found; see `pgembed.check_codec` in SQL.

    Args:
        queries: table, as regclass writes it, and its column; None for those that it was trained with, if any.
    Raises:
        errors.UnknownObject: there is no such codec.
        errors.UnknownTable, errors.UnknownColumn: what it was trained on is gone.
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.InvalidParameter: the column has too few vectors.
    """
    row = catalogue.codec(db, name)
    column = columns.column(db, str(row.table), row.column_name)
    column.table.must_own()
    then = _served(row, row.measured)
    rows_then = None if row.measured is None else row.measured["rows"]
    said: dict[str, Any] = {"recall_100_then": then, "rows_then": rows_then}
    try:
        row.must_fit(column)
    except errors.DimensionMismatch as error:
        nothing = dict.fromkeys(("recall_100_now", "recall_100_retrained", "rows_now"))
        return {**said, **nothing, "needs_retraining": True, "reason": f"{error.message}: {_retrain(row)}"}
    codec = row.load(db)
    asked = asking.given(db, column, row.dim, *_queries(db, row, queries), seed=row.seed, most=training.MOST_QUERIES)
    kinds, for_training = (asking.drawn(db, column, row.dim, row.seed), None) if asked is None else asking.halves(asked)
    sample, _ = sampling.stored(db, column, min(SAMPLE_ROWS, max(row.sample_rows, 1)), row.seed)
    fresh = codecs.train(row.method, sample, codec.space, row.options, for_training, row.seed, db.check_interrupts)
    found = measuring.compare(db, column, [codec, fresh], kinds, db.check_interrupts, db.notice)
    at = _same_kind(found[0], row.measured)
    now, retrained = found[0][at], found[1][at]
    needs, reason = judge(row, column, now, retrained)
    kept = {
        **now.measured.to_json(),
        "recall_100_retrained": round(retrained.served.recall(100), 4),
        "needs_retraining": needs,
        "reason": reason,
    }
    write(
        column.table,
        "UPDATE pgembed._codec SET checked = $2 || jsonb_build_object('checked_at', now())"
        " WHERE name = $1 AND table_name OPERATOR(pg_catalog.=) $3::oid::regclass",
        ["text", "jsonb", "oid"],
        [row.name, json.dumps(kept), row.table],
    )
    return {
        **said,
        "recall_100_now": round(now.served.recall(100), 4),
        "recall_100_retrained": kept["recall_100_retrained"],
        "rows_now": now.measured.rows,
        "needs_retraining": needs,
        "reason": reason,
    }


def judge(row: CodecRow, column: Column, now: Result, retrained: Result) -> tuple[bool, str | None]:
    """Whether a new codec would be better, and what there is to say; None for nothing.

    A gain counts where it is more than 0.01 and more than the queries' chance, both codecs having answered the same ones.
    """
    found, other = now.served.found(100), retrained.served.found(100)
    gains = other - found
    gain = float(gains.mean())
    noise = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 1.0
    recall = now.served.recall(100)
    if gain > MATTERS and gain > _SURE * noise:
        return (
            True,
            f"recall@{now.measured.k} is {recall:.3f} after rescoring 100, and {recall + gain:.3f} with a new codec: {_retrain(row)}",
        )
    then = _served(row, row.measured)
    if then is None or row.measured is None:
        return False, None
    before = (float(row.measured.get("noise", 0)), now.measured.noise)
    if row.measured["drawn"] == now.measured.drawn and then - recall > MATTERS + _SURE * math.hypot(*before):
        least = now.measured.rescore["0.99"]
        enough = f"rescoring {least} finds 0.99" if least is not None else "no number of candidates finds 0.99"
        return False, (
            f"recall@{now.measured.k} after rescoring 100 fell from {then:.3f} to {recall:.3f}, and a new codec would not mend it:"
            f" {enough}; pgembed.recommend_codec({columns.literal(column.table.shown)}) looks for longer codes"
        )
    return False, None


def _queries(db: Database, row: CodecRow, given: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
    return declaring.queries_of(db, row) if given == (None, None) else given


def _same_kind(results: list[Result], measured: dict[str, Any] | None) -> int:
    """Which results can be compared with what was measured: those of the same kind of queries, else the worst."""
    kinds = [result.measured.drawn for result in results]
    if measured is not None and measured["drawn"] in kinds:
        return kinds.index(measured["drawn"])
    return results.index(measuring.worst(results))


def _served(row: CodecRow, measured: dict[str, Any] | None) -> float | None:
    """Recall after rescoring 100 of what was measured, by Hamming distance where codes are bits."""
    if measured is None:
        return None
    return float((measured["hamming"] or measured["asymmetric"])["100"])


def _retrain(row: CodecRow) -> str:
    return f"SELECT pgembed.retrain_codec({columns.literal(row.name)})"
