"""deciding: which candidates are pairs of the result, which of them are matches, and what speaks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from pgembed.database import Database
from pgembed.joining import labels, records
from pgembed.joining.options import Options
from pgembed.joining.prepared import Found, Prepared, Said

if TYPE_CHECKING:
    from pgembed.joins.hybrid import Candidates
    from pgembed.joins.neighbours import Bools, Floats, Ints, Vectors
    from pgembed.matching import Decision
    from pgembed.matching.attributes import Features
    from pgembed.matching.contract import MappingKind, Objects

# Of two rows whose numbers agree: the cosine of their tokens with digits, but for rounding.
AGREE = 0.999


def decide(db: Database, prepared: Prepared, found: Found) -> Said:
    """Choose the pairs, say which are matches, and what speaks for them."""
    features = _features(db, prepared, found)
    told = None if prepared.options.labels is None else _learned(db, prepared.options, found, features)
    return choose(db, prepared.options, found.candidates, features, told, found.mutual)


def choose(
    db: Database,
    options: Options,
    every: Candidates,
    features: Features | None,
    learned: tuple[Decision, str] | None,
    mutual: Bools | None = None,
) -> Said:
    """The same of candidates alone.

    Args:
        features: their attributes compared.
        learned: what labels say of them, and of whom that is.
        mutual: which are among the k nearest of both their rows, where more is known of that than the candidates tell.
    """
    import numpy as np

    if learned is not None:
        decision, by = learned
    elif options.is_drawn:
        decision, by = _undecided(len(every)), f"max_distance: each row's nearest within {options.max_distance:g}"
    else:
        decision, by = _unlabelled(every, options, features), "the shape of the distances"
    is_match = decision.is_match
    score = every.score if learned is None else np.where(np.isnan(decision.probability), -np.inf, decision.probability)
    rank = every.rank if learned is None else _rank(every.left, score, every.score)
    if options.mapping == "one_to_one":
        keep = _one_to_one(every, is_match, score)
        rank = np.ones(len(every), dtype=np.int64)
    elif mutual is not None:
        keep = mutual
    else:
        keep = np.ones(len(every), dtype=bool) if options.k is None else rank <= options.k
        if options.mapping == "mutual":
            keep &= _rank(every.right, score, every.score) <= (options.k or len(every))
    if options.max_distance is not None:
        # a pair without a distance is as far as can be
        keep = keep & (every.distance <= options.max_distance)
    if options.is_drawn:
        is_match = (rank == 1).astype(object)
    if options.matches_only:
        if len(every) and all(one is None for one in is_match):
            db.notice(
                "matches_only gives nothing: too few rows say nothing of which pairs are matches",
                hint="Give a max_distance: then each row's nearest within it is a match. Or labels.",
            )
        keep = keep & np.asarray([one is not None and bool(one) for one in is_match], dtype=bool)
    chosen = np.flatnonzero(keep)
    return Said(
        chosen,
        rank[chosen],
        is_match[chosen],
        decision.probability[chosen],
        _evidence(every, features, chosen),
        decision.threshold,
        decision.precision,
        decision.recall,
        by,
    )


def nothing() -> Said:
    """What is said of no pairs."""
    import numpy as np

    none = np.empty(0, dtype=np.int64)
    return Said(none, none, none.astype(object), none.astype(np.float64), [], float("nan"), None, None)


def _features(db: Database, prepared: Prepared, found: Found) -> Features | None:
    """The attributes of each candidate compared; None where there are none."""
    if not prepared.left.attributes:
        return None
    at = (found.candidates.left, found.candidates.right)
    return records.compared(prepared.left.attributes, prepared.kinds, found.left, found.right, at, db.check_interrupts)


def _learned(db: Database, options: Options, found: Found, features: Features | None) -> tuple[Decision, str]:
    """What labels say of each candidate, and how many there are."""
    assert options.labels is not None
    every = found.candidates
    from pgembed.matching import learned

    known = labels.read(db, options.labels, found.left, found.right)
    matches = int(known.is_match.sum())
    told = f"{len(known.left)} labelled pairs, {matches} of them matches"
    labels.tell(db, known)
    decision = learned.decide(
        every,
        features,
        learned.Labels(known.left, known.right, known.is_match),
        mapping=cast("MappingKind", options.mapping),
        precision=options.precision,
        recall=options.recall,
        vectors=_vectors(found),
        check=db.check_interrupts,
    )
    return decision, told


def _vectors(found: Found) -> tuple[Vectors, Vectors] | None:
    """The vectors of both sides, NaN for rows that have none; None where none are compared, or rows have several."""
    import numpy as np

    made = []
    for side in (found.left, found.right):
        if side.vectors is None or side.owners is not None:
            return None
        made.append(side.vectors if all(side.has) else np.where(np.asarray(side.has)[:, None], side.vectors, np.float32(np.nan)))
    return made[0], made[1]


def worth_labelling(db: Database, prepared: Prepared, found: Found, n: int) -> tuple[Ints, Floats, Sequence[str]]:
    """Places of the n candidates that are worth a label, their probabilities, and why."""
    import numpy as np

    from pgembed.matching import review

    options, every = prepared.options, found.candidates
    features = _features(db, prepared, found)
    told = np.zeros(len(every), dtype=bool)
    if options.labels is None:
        decision = _unlabelled(every, options, features)
    else:
        decision, _ = _learned(db, options, found, features)
        known = labels.read(db, options.labels, found.left, found.right)
        m = max(1, len(found.right))
        told = np.isin(every.left * m + every.right, known.left * m + known.right)
    values = None if features is None else features.values
    chosen = review.worth_labelling(every, decision.probability, n, values=values, labelled=told, threshold=decision.threshold)
    return chosen.at, decision.probability[chosen.at], chosen.reason


def _undecided(size: int) -> Decision:
    import numpy as np

    from pgembed.matching import Decision

    return Decision(np.full(size, np.nan), np.full(size, None, dtype=object), float("nan"), None, None)


def _unlabelled(every: Candidates, options: Options, features: Features | None) -> Decision:
    """What is said of each candidate without labels."""
    from pgembed.matching import unlabelled

    if len(set(every.left.tolist())) < unlabelled.FEWEST_ROWS:
        return _undecided(len(every))
    mapping = cast("MappingKind", options.mapping)
    return unlabelled.decide(every, features, mapping=mapping, precision=options.precision, recall=options.recall)


def _one_to_one(every: Candidates, is_match: Objects, score: Floats) -> Bools:
    """Every row in one pair at most: matches first, then the best pair of all that are left, and so on."""
    import numpy as np

    from pgembed.matching import competing

    matches = np.asarray([one is not None and bool(one) for one in is_match], dtype=bool)
    place = np.empty(len(every))
    # equal scores go to the smaller left, then the smaller right row
    place[np.lexsort((every.right, every.left, -every.score, -score, ~matches))] = -np.arange(len(every), dtype=np.float64)
    return competing.allowed(place, every.left, every.right, "one_to_one")


def _rank(group: Ints, score: Floats, then: Floats) -> Ints:
    """Of each pair its place among those of a row, from 1, by one score and then by another."""
    import numpy as np

    rank = np.empty(len(group), dtype=np.int64)
    order = np.lexsort((-then, -score, group))
    _, start, count = np.unique(group[order], return_index=True, return_counts=True)
    rank[order] = np.arange(len(group)) - np.repeat(start, count) + 1
    return rank


def _evidence(every: Candidates, features: Features | None, chosen: Ints) -> list[str]:
    """What speaks for each chosen pair, as PostgreSQL writes an array of text."""
    import numpy as np

    said: dict[str, Bools] = {}
    alike = every.similarity
    if "dense" in alike:
        said["dense"] = _best_of_left(every, np.where(np.isnan(every.distance), -np.inf, -every.distance))
    if "words" in alike:
        lexical = alike["words"] + alike.get("characters", 0.0)
        said["lexical"] = _best_of_left(every, lexical) & (lexical > 0)
        said["numbers"] = alike.get("numbers", np.zeros(len(every))) >= AGREE
    said["mutual"] = (every.rank == 1) & (_rank(every.right, every.score, -every.left.astype(np.float64)) == 1)
    if features is not None:
        said |= {f'"{_escaped(name)}"': agreed for name, agreed in features.agreed.items()}
    names = list(said)
    table = np.stack([said[name][chosen] for name in names]) if len(chosen) else np.zeros((len(names), 0), dtype=bool)
    codes = (table * (1 << np.arange(len(names)))[:, None]).sum(axis=0)
    texts = {int(code): "{" + ",".join(name for bit, name in enumerate(names) if int(code) >> bit & 1) + "}" for code in np.unique(codes)}
    return [texts[code] for code in codes.tolist()]


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _best_of_left(every: Candidates, score: Floats) -> Bools:
    """Which pairs have the best score of their left row."""
    import numpy as np

    best = np.full(int(every.left.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best, every.left, score)
    return np.asarray((score == best[every.left]) & np.isfinite(score))
