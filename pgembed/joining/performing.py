"""performing: a semantic join from its arguments to its pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pgembed import catalogue, errors, progress
from pgembed.asking import provenance
from pgembed.database import Database
from pgembed.joining import conditions, costs, deciding, execution, hubness, labels, loading, memory, rendering, sides, streaming
from pgembed.joining.candidates import LISTED, Asking, Search, corrected, passing, ranked, turned, united
from pgembed.joining.loading import Loaded
from pgembed.joining.options import Options
from pgembed.joining.prepared import Found, Prepared
from pgembed.joining.rendering import Result
from pgembed.joining.sides import Form, Side
from pgembed.joining.streaming import DEPTH

if TYPE_CHECKING:
    from pgembed import models
    from pgembed.joins.hubs import Correction, Hub
    from pgembed.joins.hybrid import Candidates
    from pgembed.joins.neighbours import Bools, Ints, Metric

# What a row's text takes with its terms, in bytes.
TEXT = 1_500
# How many partners a row may ask in a one-to-one mapping under a condition, where not all pairs are listed.
DEEP = 64


def prepare(db: Database, left: str | None, right: str | None, form: Form, options: Options) -> Prepared:
    """Look at both sides and at the condition; no row is read, but for values that an equality compares.

    Raises:
        errors.PgembedError: as `sides.look`, `conditions.apart`.
        errors.DimensionMismatch: the sides are of two models.
        errors.InvalidParameter: they have two metrics.
    """
    one, other = sides.look(db, left, "left", options, form), sides.look(db, right, "right", options, form)
    for side in (one, other):
        sides.check_rights(db, side, form, options)
    if options.labels is not None:
        labels.check(db, options.labels)
    if any(side.embedded is not None and side.embedded.dim is None for side in (one, other)):
        # PostgreSQL compares no row before its dimensions are known
        one, other = (replace(side, source=replace(side.source, column=None)) for side in (one, other))
    dense = options.candidates != "lexical"
    metric = _metric(one, other) if dense else "cosine"
    model = _model(db, one, other) if dense else None
    if (options.hubness is not None or options.hub_correction == "qb_norm") and metric != "cosine":
        raise errors.NotSupported(
            f"{one.label} is compared by {metric}, and hubness is measured by cosine",
            hint="Vectors of length 1 have the same order by cosine: pgembed.alter_embedding(..., metric => 'cosine').",
        )
    chunked = [side for side in (one, other) if side.source.chunks is not None]
    if chunked and (options.candidates == "hybrid" or options.not_equal):
        what = "candidates => 'hybrid'" if options.candidates == "hybrid" else "not_equal"
        raise errors.NotSupported(
            f"{chunked[0].label} is over chunks, and {what} needs one vector for each row",
            hint="Join by candidates => 'dense': rows are as near as their nearest chunks; or add a second column without chunk_tokens.",
        )
    if options.candidates != "dense":
        for side in (one, other):
            if side.words is None:
                raise errors.NotSupported(
                    f"nothing tells which text of {side.table.name} to compare word by word: {side.label} has no source of columns",
                    hint="""Say which columns are: attributes => '["name", "price"]'.""",
                )
    same = one.table.oid == other.table.oid and one.label == other.label
    names = [side.embedded.model or "" for side in (one, other) if side.embedded is not None]
    name = (names[0] if names else catalogue.default_model(db)) if dense else ""
    return Prepared(conditions.apart(db, one, other, options.condition, options.params), options, form, metric, same, model, name)


def strategies(db: Database, prepared: Prepared) -> list[tuple[str, str]]:
    """What a join of vectors could do, the cheapest first, for `pgembed.explain_join`."""
    if prepared.options.candidates != "dense":
        return []
    if any(side.source.chunks is not None for side in (prepared.left, prepared.right)):
        return [
            ("strategy", "product of all chunks, folded to the rows that they are of"),
            ("memory", f"{memory.SETTING} is {memory.shown(memory.bound(db))}"),
        ]
    found = execution.choices(db, streaming.request(db, prepared))
    told = []
    for place, one in enumerate(found):
        name = "strategy" if place == 0 and not one.note else "not chosen"
        reads = "once" if one.blocks <= 1 else f"{one.blocks} times"
        cost = f"about {one.milliseconds:.0f} ms, {memory.shown(one.bytes)}, the right side read {reads}"
        told.append((name, f"{one.strategy}: {one.note or cost}"))
    return [*told, ("memory", f"{memory.SETTING} is {memory.shown(memory.bound(db))}")]


def find(db: Database, prepared: Prepared, *, words: bool = False) -> Found:
    """Read both sides and find the candidates.

    Args:
        words: their texts are read also where they are not compared.
    """
    import numpy as np

    options, asked = prepared.options, prepared.conditions
    dense = options.candidates != "lexical"
    words = words or options.compares_texts
    encode = prepared.encode(db)
    # labels name rows by their keys
    keys = options.labels is not None
    for side in (prepared.left, prepared.right):
        if keys and side.key is None:
            raise side.no_key()
    words = words and all(side.words is not None for side in (prepared.left, prepared.right))
    _check_memory(db, prepared, words)
    left = loading.load(
        db, prepared.left, encode, dense=dense, words=words, kinds=prepared.kinds, keys=keys, whole=options.join_type != "inner"
    )
    alike = prepared.same and prepared.left.source.where == prepared.right.source.where == "" and prepared.left.source.group is None
    right = left if alike else loading.load(db, prepared.right, encode, dense=dense, words=words, kinds=prepared.kinds, keys=keys)
    _check_dimensions(prepared, left, right)
    is_same = prepared.same and left.places == right.places
    groups = _codes(left, right) if prepared.left.source.group is not None else None
    search = Search(
        left, right, prepared.metric, groups, is_same, options.not_equal, options.candidates, _hub(options), db.check_interrupts
    )
    plain, numbered = search, options.hubness is not None or options.hub_correction == "qb_norm"
    if numbered and len(left) and len(right):
        search = hubness.corrected(db, search, cast("Correction", options.hub_correction), prepared.right.label)
    asking = Asking(db, asked, left, right)
    itself = _itself(left, right) if prepared.same and not is_same else None

    def refused(found: Candidates) -> Bools:
        out = asking.refused(found.left, found.right)
        if itself is not None:
            out |= itself[found.left] == found.right
        if options.not_equal:
            out |= _equal(left, right, found.left, found.right)
        return out

    by_vectors = options.candidates == "dense"
    asks = bool(asked.rest) or itself is not None or (options.not_equal and (numbered or not by_vectors))
    depth = max(options.k or DEPTH, DEPTH)
    mutual: Bools | None = None
    if not len(left) or not len(right):
        return Found(search.nearest(1), left, right)
    if options.k is None:
        # what is decided looks at neighbours beyond the distance too
        near = united(search.nearest(DEPTH), search.nearest(None, max_distance=options.max_distance), len(right))
        return Found(ranked(near.where(~refused(near)) if asks else near), left, right)
    if asks:
        if options.mapping == "one_to_one":
            # whoever loses its partner to a nearer row asks the next one, however far that is
            depth = len(right) if len(left) * len(right) <= LISTED else DEEP
        candidates = passing(search, depth, refused, lambda rows: asking.listing(rows, groups))
    else:
        if options.mapping == "one_to_one" and search.is_folded:
            depth = len(right) if len(left) * len(right) <= LISTED else DEEP
        candidates = search.nearest(depth)
        if by_vectors and search.hub != "none":
            candidates = united(candidates, turned(search.turned().nearest(DEPTH)), len(right))
        elif by_vectors and options.mapping == "one_to_one" and not search.is_folded:
            candidates = united(candidates, search.mapped(), len(right))
    if by_vectors and search.hub != "none":
        candidates = corrected(candidates, len(right), search.hub)
    if options.mapping == "mutual":
        pairs = candidates.left * len(right) + candidates.right
        if asks:
            behind = asking.turned()
            back = passing(
                search.turned(),
                options.k,
                lambda found: refused(turned(found)),
                lambda rows: behind.listing(rows, None if groups is None else groups[::-1]),
            )
            mutual = (candidates.rank <= options.k) & np.isin(pairs, back.right * len(right) + back.left)
        elif by_vectors and search.hub == "none":
            mutual = np.isin(pairs, search.mutual(options.k))
    if plain is not search:
        candidates = hubness.told(plain, candidates)
    return Found(candidates, left, right, mutual)


def parts(db: Database, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """The result of a join in parts: of each the statement that makes rows of it, and the arrays that it takes."""
    left, right, form = prepared.left, prepared.right, prepared.form
    with progress.shown(db, "join", prepared.show):
        if not streaming.serves(prepared):
            result = perform(db, prepared)
        else:
            for window in streaming.windows(db, prepared):
                yield from rendering.parts(left, right, form, window.result)
            return
    yield from rendering.parts(left, right, form, result)


def perform(db: Database, prepared: Prepared) -> Result:
    """The pairs of a join, with what is said of them."""
    import numpy as np

    options = prepared.options
    found = find(db, prepared)
    said = deciding.decide(db, prepared, found)
    pairs = found.candidates.where(said.chosen)
    left, right = found.left, found.right
    at_left, at_right = pairs.left.tolist(), pairs.right.tolist()
    alone: list[str] = []
    if options.join_type != "inner":
        paired = set(at_left)
        alone = [place for i, place in enumerate(left.places) if i not in paired] + left.alone
    if options.join_type == "anti":
        at_left, at_right = [], []
    keep = np.arange(len(at_left))
    return Result(
        [left.places[i] for i in at_left],
        [right.places[j] for j in at_right],
        pairs.distance[keep],
        said.rank[keep],
        [None if one is None else bool(one) for one in said.is_match[keep]],
        said.probability[keep],
        [said.evidence[i] for i in keep.tolist()],
        alone,
    )


def _metric(left: Side, right: Side) -> Metric:
    metrics = {side.embedded.metric for side in (left, right) if side.embedded is not None}
    if len(metrics) > 1:
        raise errors.InvalidParameter(
            f"the columns have different metrics: {left.label} {left.embedded and left.embedded.metric},"
            f" {right.label} {right.embedded and right.embedded.metric}",
            hint="pgembed.alter_embedding(..., metric => ...) changes one of them.",
        )
    return cast("Metric", metrics.pop()) if metrics else "cosine"


def _model(db: Database, left: Side, right: Side) -> models.Model | None:
    """The model whose space both sides are in; None where no text is embedded on the fly."""
    made = [side.embedded for side in (left, right) if side.embedded is not None]
    if len(made) == 2:
        provenance.must_be_one(made[0], made[1], "Join columns of one model; pgembed.alter_embedding(..., model => ...) changes one.")
        return None
    if made:
        if made[0].model is None:
            raise errors.NotSupported(
                f"{made[0].label} was adopted without a model, so no text can be compared with it",
                hint="Adopt it again with the name of the model that made it.",
            )
        return catalogue.resolve(db, made[0].model, made[0].fingerprint, by_backend=True)
    return catalogue.resolve(db, None, by_backend=True)


def _check_memory(db: Database, prepared: Prepared, words: bool) -> None:
    """Raise before anything is read where both sides together would take far more than they may.

    Raises:
        errors.LimitExceeded: they would.
    """
    most = memory.bound(db)
    rows = [costs.estimated(db, replace(side.source, column=side.embedded)) for side in (prepared.left, prepared.right)]
    dims = [side.embedded.dim for side in (prepared.left, prepared.right) if side.embedded is not None and side.embedded.dim]
    rows = [max(one, side.lines) for one, side in zip(rows, (prepared.left, prepared.right), strict=True)]
    row = memory.ROW + (4 * (dims[0] if dims else costs.DIMENSIONS) if prepared.options.candidates != "lexical" else 0) + TEXT * words
    pairs = rows[0] * min(max(prepared.options.k or DEPTH, DEPTH), rows[1]) * memory.PAIR
    # statistics may be old, and a condition leaves fewer
    filtered = prepared.left.source.where or prepared.right.source.where
    if not filtered and sum(rows) * row + pairs > 2 * most:
        raise errors.LimitExceeded(
            f"this join holds {sum(rows):.0f} rows and their pairs in memory, about {memory.shown(sum(rows) * row + pairs)}, and"
            f" {memory.SETTING} is {memory.shown(most)}",
            hint=f"SET {memory.SETTING} to more, or join part of the rows: condition => 'l.id < 100000'. Joins by vectors alone, of mapping"
            " many and without labels, hold less.",
        )


def _check_dimensions(prepared: Prepared, left: Loaded, right: Loaded) -> None:
    if left.vectors is None or right.vectors is None or not any(left.has) or not any(right.has):
        return
    one, other = left.vectors.shape[1], right.vectors.shape[1]
    if one != other:
        raise errors.DimensionMismatch(
            f"{prepared.left.label} has vectors of {one} dimensions, {prepared.right.label} of {other}",
            hint="Join columns whose vectors are of one model.",
        )


def _codes(left: Loaded, right: Loaded) -> tuple[Ints, Ints]:
    import numpy as np

    known: dict[str, int] = {}
    one, other = (np.asarray([known.setdefault(name, len(known)) for name in side.groups], dtype=np.int64) for side in (left, right))
    return one, other


def _itself(left: Loaded, right: Loaded) -> Ints:
    """Of each left row the right row that is itself, -1 where there is none."""
    import numpy as np

    at = {place: position for position, place in enumerate(right.places)}
    return np.asarray([at.get(place, -1) for place in left.places], dtype=np.int64)


def _equal(left: Loaded, right: Loaded, at_left: Ints, at_right: Ints) -> Bools:
    """Which pairs are of equal vectors, or of equal texts where no vectors are compared."""
    import numpy as np

    if left.vectors is None or right.vectors is None:
        return np.asarray([left.texts[i] == right.texts[j] for i, j in zip(at_left.tolist(), at_right.tolist(), strict=True)], dtype=bool)
    out = np.zeros(len(at_left), dtype=bool)
    for start in range(0, len(out), 65_536):
        part = slice(start, start + 65_536)
        out[part] = (left.vectors[at_left[part]] == right.vectors[at_right[part]]).all(axis=1)
    return out


def _hub(options: Options) -> Hub:
    if options.hub_correction == "auto" or options.hubness is not None or options.hub_correction == "qb_norm":
        # numbers a row are taken off while candidates are looked for
        return "none" if options.candidates == "dense" else "soft"
    return cast("Hub", options.hub_correction)
