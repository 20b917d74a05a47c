"""compensating: queries of a new model, searched for in a column that an older one made.

For tables too large to be embedded anew at once. What the new model makes of a query is mapped to what the old one would have made of it;
the map is fitted to texts that both have embedded. How much of the old searches is kept is measured first, on texts that were kept back:
a map can't know what the old model did not see, so a new model's better judgement is lost on the way. See `pgembed.spaces.fitting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, get_args

from pgembed import asking, catalogue, errors, models, sampling
from pgembed.asking import adapters
from pgembed.asking.mapping import Map
from pgembed.columns import Column, Writer
from pgembed.database import Database
from pgembed.spaces import fitting, measuring, pairs
from pgembed.spaces.fitting import Method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 10
LEAST_KEPT = 0.9
_PAGE = 256  # texts that a model is given at a time


@dataclass(frozen=True)
class Request:
    """What a call asks for.

    Attributes:
        model: the new one, by name; its current revision.
        sample: rows whose texts are drawn.
        queries: a column of texts; both None for parts of the column's own texts.
        seed: the same one draws the same texts while nobody writes the table.
    """

    model: str | None
    sample: int | None
    queries: sampling.Where
    seed: int | None


@dataclass(frozen=True)
class Line:
    """What a method keeps of the searches of the old model.

    Attributes:
        method: of `fitting.METHODS`, or ``none``: queries of the new model as they are.
        pairs: texts that the map was fitted to.
        queries: held-back texts that it was measured with.
        rows: that were searched.
        recall_10_kept: mean share of the 10 rows that the old model finds which are found with mapped queries.
        cosine: mean cosine of mapped queries and the old model's.
        own_row, own_row_before: share of queries that find the row which they are a part of among 10, mapped and by the old model; None
            where queries were given.
        advice: what to do.
    """

    method: str
    pairs: int
    queries: int
    rows: int
    recall_10_kept: float
    cosine: float
    own_row: float | None
    own_row_before: float | None
    advice: str


@dataclass(frozen=True)
class Measured:
    """Lines, the best map first, each with its map (None of ``none``), and the model that they are for."""

    lines: list[tuple[Line, Map | None]]
    model: models.ModelInfo


def report(db: Database, column: Column, ask: Request, methods: Sequence[Method] = fitting.METHODS) -> Measured:
    """Fit maps of some methods, and measure what each keeps.

    Args:
        column: one that the caller owns.
    Raises:
        errors.NotSupported: the column was adopted without a model, or there are no texts to learn from.
        errors.InvalidParameter: the new model is the column's own, or there are too few texts.
        errors.PgembedError: as `pairs.draw`, and as both models.
    """
    if ask.model is None or ask.sample is None or ask.seed is None:
        lacking = next(name for name in ("model", "sample", "seed") if getattr(ask, name) is None)
        raise errors.NullNotAllowed(f"{lacking} is NULL", hint="Give the new model's name; leave out the others for their defaults.")
    old = asking.column_model(db, column, by_backend=True)
    new = catalogue.resolve(db, ask.model, by_backend=True)
    if new.info.fingerprint == old.info.fingerprint:
        raise errors.InvalidParameter(
            f"{column.label} is of model {new.info.name} already, in this very revision", hint="Name the model that queries shall be of."
        )
    drawn = pairs.draw(db, column, old.info.dim, ask.sample, ask.queries, ask.seed)
    x, y = (_encoded(db, model, drawn.fitting) for model in (new, old))
    queries, wanted = (_encoded(db, model, drawn.asking) for model in (new, old))
    rows = measuring.Rows(drawn.rows, column.metric)
    truth = measuring.nearest(wanted, rows, K, db.check_interrupts)

    def own(asked: NDArray[np.float32]) -> float | None:
        if drawn.wanted is None:
            return None
        found = measuring.ranks(asked, rows, drawn.wanted, db.check_interrupts)
        return float(measuring.recalls(found, K).mean())

    before = own(wanted)

    def line(method: str, made: NDArray[np.float32]) -> Line:
        share = measuring.kept(truth, measuring.nearest(made, rows, K, db.check_interrupts))
        cosine = float(fitting.cosines(made, wanted).mean())
        fitted = 0 if method == "none" else len(drawn.fitting)
        return Line(method, fitted, len(queries), len(drawn.rows), share, cosine, own(made), before, _advice(method, share))

    lines: list[tuple[Line, Map | None]] = []
    for method in methods:
        made = fitting.fit(method, x, y, normalized=old.info.normalized, check=db.check_interrupts)
        lines.append((line(method, made.apply(queries)), made))
    lines.sort(key=lambda both: -both[0].recall_10_kept)
    if new.info.dim == old.info.dim:
        lines.append((line("none", queries), None))
    return Measured(lines, new.info)


def compensate(db: Database, write: Writer, column: Column, ask: Request, method: str | None, min_recall: float | None) -> float:
    """Let searches of a column with a text embed it by another model, and map it; see `pgembed.compensate` in SQL.

    Returns:
        `Line.recall_10_kept`.
    Raises:
        errors.NotReady: less than ``min_recall`` is kept.
        errors.DuplicateObject: the column has an adapter.
        errors.PgembedError: as `report`.
    """
    if method is None or min_recall is None:
        raise errors.NullNotAllowed(
            f"{'method' if method is None else 'min_recall'} is NULL", hint=f"auto and {LEAST_KEPT} are the defaults."
        )
    if not 0 <= min_recall <= 1:
        raise errors.InvalidParameter(f"min_recall must be from 0 to 1, not {min_recall:g}", hint=f"{LEAST_KEPT} is the default.")
    adapters.must_be_free(db, column)
    chosen = [known for known in get_args(Method) if method in ("auto", known)]
    if not chosen:
        raise errors.InvalidParameter(
            f"method must be auto, {', '.join(fitting.METHODS[:-1])} or {fitting.METHODS[-1]}, not {method}",
            hint="auto takes the one that keeps the most.",
        )
    found = report(db, column, ask, chosen)
    best, made = found.lines[0]
    assert made is not None
    told = (
        f"{best.method} keeps {best.recall_10_kept:.3f} of the 10 rows that {column.model} finds for a query, measured with"
        f" {best.queries} held-back queries among {best.rows} rows"
    )
    if best.own_row is not None:
        told += f"; {best.own_row:.3f} find the row that they are a part of, {best.own_row_before:.3f} by {column.model}"
    if best.recall_10_kept < min_recall:
        raise errors.NotReady(
            f"{told}, and at least {min_recall:g} is wanted",
            hint=f"Embed {column.label} anew: pgembed.change_model('{column.table.shown}', '{found.model.name}'). A larger sample may help;"
            " a lower min_recall => puts up with the loss.",
        )
    measured = {name: value for name, value in asdict(best).items() if name not in ("method", "advice")}
    model = (found.model.name, found.model.fingerprint)
    adapters.save(db, write, column, made, "compensation", best.method, model, measured)
    db.notice(
        f"queries of {column.label} are embedded by {found.model.name} from now on and mapped into the space of {column.model}: {told}",
        hint=f"SELECT pgembed.drop_adapter('{column.table.shown}', '{column.name}') takes it back.",
    )
    return best.recall_10_kept


def _advice(method: str, share: float) -> str:
    if method == "none":
        return "never: vectors of two models cannot be compared"
    if share < LEAST_KEPT:
        return f"do not use it: below {LEAST_KEPT} of the results are kept; change the model and embed the rows anew"
    return "good until the rows are embedded anew"


def _encoded(db: Database, model: models.Model, texts: Sequence[str]) -> NDArray[np.float32]:
    """Texts as queries, float32 (n, dim)."""
    import numpy as np

    made = [model.encode(texts[start : start + _PAGE], db.check_interrupts, "query").vectors for start in range(0, len(texts), _PAGE)]
    return np.concatenate(made) if made else np.empty((0, model.info.dim), np.float32)
