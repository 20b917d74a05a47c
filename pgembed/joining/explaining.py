"""explaining: how a join is gone about, and how good its matches are estimated to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgembed.database import Database
from pgembed.joining import deciding, performing, streaming
from pgembed.joining.options import Options
from pgembed.joining.prepared import Prepared, Said
from pgembed.joining.sides import Side

if TYPE_CHECKING:
    from pgembed.matching import Estimate


def explain(db: Database, left: str | None, right: str | None, options: Options, *, execute: bool) -> list[tuple[str, str]]:
    """Properties of a join and their values, in the order of reading.

    Args:
        execute: it is run too, which is what tells of its matches; else no row is read.
    """
    prepared = performing.prepare(db, left, right, "rows", options)
    told = [("left", _side(prepared.left)), ("right", _side(prepared.right)), ("metric", prepared.metric)]
    told += [("model", prepared.model_name)] if prepared.model_name else []
    told += [("candidates", options.candidates), ("mapping", options.mapping), ("hub_correction", _hubs(prepared, options))]
    told += _condition(prepared)
    told += performing.strategies(db, prepared)
    if not execute:
        return told
    if streaming.serves(prepared):
        windows = [(one.rows, one.candidates, one.said) for one in streaming.windows(db, prepared)]
        rows = [("left rows", str(sum(one for one, _, _ in windows)))]
        candidates = sum(one for _, one, _ in windows)
        # all windows but the last have as many rows, and each is decided for itself
        said = windows[0][2] if windows else deciding.nothing()
        every = [one for _, _, one in windows]
    else:
        found = performing.find(db, prepared)
        rows = [("left rows", str(len(found.left))), ("right rows", str(len(found.right)))]
        candidates = len(found.candidates)
        said = deciding.decide(db, prepared, found)
        every = [said]
    told += [
        *rows,
        ("candidate pairs", str(candidates)),
        ("pairs", str(sum(len(one.chosen) for one in every))),
        ("matches", _matches(every)),
        ("decided by", said.by),
    ]
    if not math.isnan(said.threshold):
        told.append(("threshold", f"probability of at least {said.threshold:.3f}"))
    told += [("estimated precision", _estimate(said.precision)), ("estimated recall", _estimate(said.recall))]
    return [*told, *said.notes]


def _side(side: Side) -> str:
    made = "vectors are stored" if side.embedded is not None else "texts are embedded on the fly"
    place = {"key": "named by keys", "ctid": "named by ctid", "row": "named by the whole row"}
    named = place["key" if side.source.place == side.key else "ctid" if side.by_ctid else "row"]
    rows = f", about {side.source.rows:.0f} rows" if side.source.rows >= 0 else ""
    return f"{side.word} {side.table.shown}: {side.label}, {made}{rows}, {named}"


def _hubs(prepared: Prepared, options: Options) -> str:
    by = "" if options.hubness is None else f", by {prepared.right.table.name}.{options.hubness}"
    return f"{options.hub_correction}{by}"


def _condition(prepared: Prepared) -> list[tuple[str, str]]:
    asked = prepared.conditions
    told = [("condition on the left", piece) for piece in asked.of_left]
    told += [("condition on the right", piece) for piece in asked.of_right]
    told += [("compared only where", piece) for piece in asked.equal]
    return told + ([("asked of PostgreSQL pair by pair", asked.rest)] if asked.rest else [])


def _matches(every: Sequence[Said]) -> str:
    decided = [bool(one) for said in every for one in said.is_match if one is not None]
    return str(sum(decided)) if decided or not any(len(said.chosen) for said in every) else "cannot be said"


def _estimate(estimate: Estimate | None) -> str:
    return "cannot be said" if estimate is None else f"{estimate.value:.3f}, from {estimate.low:.3f} to {estimate.high:.3f} with 95 %"
