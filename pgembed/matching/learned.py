"""Decisions learned from labelled pairs: a small model over everything that is known of a pair, and honest about pairs it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed import boosting
from pgembed.errors import InvalidParameter
from pgembed.matching import competing, estimates, metric, unlabelled
from pgembed.matching.attributes import Features
from pgembed.matching.contract import MAPPINGS, Bools, Decision, Floats, Ints, MappingKind, Scored

Check = Callable[[], None]
Values = npt.NDArray[np.float32]

# Several partitions of the labels, so that what is said of a labelled pair is a mean of models, as is what is said of others.
FOLDS, PARTITIONS = 5, 3
# A prior is no surer than this: it has seen no label.
_CLOSEST = 0.03
# How strongly labels must speak before odds are shifted and scaled: one surprising label of ten must not make all other pairs likely.
_SHIFT, _SCALE = 10.0, 30.0
_FIRST = boosting.Settings()
_SECOND = boosting.Settings(trees=25)


# Measures of attributes by which a pair is also held against the others of its rows.
_COMPETED = ("words", "characters", "contained", "containing", "codes_found", "relative", "days", "overlap")


@dataclass(frozen=True)
class Labels:
    """Labelled pairs: positions on each side, and whether they are matches; arrays of one length. They are taken as facts."""

    left: Ints
    right: Ints
    is_match: Bools


@dataclass(frozen=True)
class Learned:
    """What was learned about candidates.

    Attributes:
        probability: of each candidate, calibrated; of a labelled one 1 or 0.
        seen: the same without what each labelled pair's own label says, for estimates.
        chosen: which candidates the mapping allows, labels being facts.
    """

    probability: Floats
    seen: estimates.Seen
    chosen: Bools


def decide(
    candidates: Scored,
    features: Features | None,
    labels: Labels,
    *,
    mapping: MappingKind = "many",
    precision: float | None = None,
    recall: float | None = None,
    prior: Floats | None = None,
    vectors: metric.Vectors | None = None,
    check: Check | None = None,
) -> Decision:
    """Which candidates are matches, by what labelled pairs look like.

    Args:
        candidates: pairs with their scores and similarities.
        features: their attributes compared, see `attributes.compare`; None where there are only texts or vectors.
        labels: any number; without any this is `unlabelled.decide`. Those of pairs that are no candidates count as missed matches, or not
            at all.
        mapping: many | one_to_one | mutual.
        precision, recall: share of true matches asked for; one of them at most. With neither, the best F1.
        prior: each candidate's probability without labels, from which learning starts; None is that of a one-to-one
            mapping by `unlabelled.decide`, which tells pairs apart best, and labels say where a row has more matches.
        vectors: of each side, (rows, d), a row by its position, NaN where a row has none; a metric is learned from those of labelled
            pairs. None where there are no vectors.
        check: called between the fits, may raise to interrupt.
    Returns:
        A decision. A labelled candidate is what its label says, unless the mapping has no room for two matches of one row. The same
        input, its labels in any order, gives the same result.
    Raises:
        InvalidParameter: an unknown mapping, both precision and recall, a share outside of (0, 1), labels that contradict each other.
    """
    for name, share in (("precision", precision), ("recall", recall)):
        if share is not None and not 0.0 < share < 1.0:
            raise InvalidParameter(f"{name} must be between 0 and 1, not {share:g}", hint="0.95 is usual.")
    if precision is not None and recall is not None:
        raise InvalidParameter("precision and recall are both given, but one threshold serves one of them", hint="Leave one of them out.")
    if not len(labels.left) and prior is None:
        return unlabelled.decide(candidates, features, mapping=mapping, precision=precision, recall=recall)
    result = learn(candidates, features, labels, mapping=mapping, prior=prior, vectors=vectors, check=check)
    curve = estimates.curve(result.seen)
    threshold = estimates.threshold(curve, precision, recall)
    is_match = result.chosen & (result.probability >= threshold)
    known = result.seen.labelled
    is_match[known] = result.chosen[known] & result.seen.truth
    return Decision(result.probability, is_match.astype(object), threshold, *estimates.at(curve, threshold))


def learn(
    candidates: Scored,
    features: Features | None,
    labels: Labels,
    *,
    mapping: MappingKind = "many",
    prior: Floats | None = None,
    vectors: metric.Vectors | None = None,
    check: Check | None = None,
) -> Learned:
    """Probabilities of candidates, see `decide`.

    Two models stand on each other. The first looks at a pair: its similarities, its attributes, and by how much they surpass those of
    the best other pair of either row. The second sees also what the first says of those other pairs, and what labels say of them: a row
    that has its match already needs no other. What either says of a labelled pair comes from models that were not told its label
    (cross-fitting), so the second learns from the first as it will be on pairs nobody has labelled: Wolpert, Stacked Generalization,
    Neural Networks 5, 1992, https://doi.org/10.1016/S0893-6080(05)80023-1.
    """
    if mapping not in MAPPINGS:
        raise InvalidParameter(f'unknown mapping "{mapping}"', hint=f"The mappings are {', '.join(MAPPINGS)}.")
    at, truth, missed = _placed(candidates, labels)
    if not len(candidates.left):
        return Learned(np.zeros(0), estimates.Seen(np.zeros(0), np.zeros(0, dtype=bool), at, truth, missed), np.zeros(0, dtype=bool))
    offset = _log_odds(unlabelled.decide(candidates, mapping="one_to_one").probability if prior is None else prior)
    odds, fold = _fitted(candidates, evidence(candidates, features), offset, at, truth, vectors, check)
    seen = _chance(odds)
    probability = seen.copy()
    probability[at] = truth
    chosen = competing.allowed(probability, candidates.left, candidates.right, mapping)
    unseen = chosen.copy()
    for number in range(int(fold.max(initial=-1)) + 1):
        mine = at[fold == number]
        untold = probability.copy()
        untold[mine] = seen[mine]
        unseen[mine] = competing.allowed(untold, candidates.left, candidates.right, mapping)[mine]
    return Learned(probability, estimates.Seen(seen, unseen, at, truth, missed), chosen)


def _fitted(
    candidates: Scored, values: Values, offset: Floats, at: Ints, truth: Bools, vectors: metric.Vectors | None, check: Check | None
) -> tuple[Floats, Ints]:
    """Log-odds of all candidates, those of labelled ones without their own label; and the folds of labels."""
    folds = [_folds(truth, seed) for seed in range(PARTITIONS)]
    if vectors is not None:
        values = np.hstack([values, _metric(candidates, vectors, offset, at, truth, folds[0], check)])
    bins = boosting.binned(values, at)
    first = _crossfit(bins, offset, at, truth, folds, _FIRST, check, scale=True)
    bins = bins.beside(boosting.binned(_competition(candidates, first, at, truth), at))
    odds = _crossfit(bins, first, at, truth, folds, _SECOND, check, scale=False)
    return _scaled(odds, at, truth, odds), folds[0]


def evidence(candidates: Scored, features: Features | None) -> Values:
    """Everything known of each candidate on its own and beside the others of its rows; float32, NaN where unknown."""
    columns: list[Floats | Ints] = []

    def beside(column: Floats, sign: int) -> None:
        columns.extend(sign * column - competing.best_of_others(sign * column, group) for group in (candidates.left, candidates.right))

    for name, column in {"score": candidates.score, **candidates.similarity}.items():
        columns.append(column)
        beside(column, 1)
        if name in ("score", "words"):
            columns.extend(competing.rank(column, group) for group in (candidates.left, candidates.right))
    if "dense" not in candidates.similarity:
        columns.append(candidates.distance)
        beside(candidates.distance, -1)
    if features is not None:
        for at, (name, sign) in enumerate(zip(features.names, features.signs, strict=True)):
            column = features.values[:, at].astype(np.float64)
            columns.append(column)
            if name.rpartition(".")[2] in _COMPETED:
                beside(column, sign)
    whole = np.column_stack(columns).astype(np.float32)
    whole[np.isinf(whole)] = np.nan
    return whole


def _placed(candidates: Scored, labels: Labels) -> tuple[Ints, Bools, int]:
    """Positions of the labelled candidates in order, their truth, and how many labelled matches are no candidates."""
    wide = int(max(candidates.right.max(initial=0), labels.right.max(initial=0))) + 1
    key, first = np.unique(labels.left * wide + labels.right, return_index=True)
    truth = labels.is_match[first].astype(bool)
    again = np.searchsorted(key, labels.left * wide + labels.right)
    against = np.flatnonzero(truth[again] != labels.is_match)
    if len(against):
        raise InvalidParameter(
            f"{len(np.unique(again[against]))} labelled pairs are labelled as a match and as none", hint="Keep one label of each pair."
        )
    place = candidates.left * wide + candidates.right
    order = np.argsort(place, kind="stable")
    at = np.minimum(np.searchsorted(place[order], key), max(0, len(place) - 1))
    known = place[order][at] == key if len(place) else np.zeros(len(key), dtype=bool)
    return order[at[known]] if len(place) else at[known], truth[known], int(truth[~known].sum())


def _log_odds(probability: Floats) -> Floats:
    """Log-odds; of what is unknown, even."""
    chance = np.clip(np.where(np.isnan(probability), 0.5, probability), _CLOSEST, 1.0 - _CLOSEST)
    return np.asarray(np.log(chance / (1.0 - chance)))


def _chance(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0))))


def _folds(truth: Bools, seed: int) -> Ints:
    """Which fold each labelled pair is in: as many matches in each as can be."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(truth), dtype=np.int64)
    for value in (False, True):
        these = np.flatnonzero(truth == value)
        fold[these] = rng.permutation(len(these)) % FOLDS
    return fold


def _crossfit(
    bins: boosting.Bins,
    offset: Floats,
    at: Ints,
    truth: Bools,
    folds: list[Ints],
    settings: boosting.Settings,
    check: Check | None,
    scale: bool,
) -> Floats:
    """Log-odds of all candidates: of a labelled one the mean of the models that did not see it, of others the mean of all models."""
    total, own, fits = np.zeros(len(offset)), np.zeros(len(at)), 0
    for seed, fold in enumerate(folds):
        for number in np.unique(fold):
            if check is not None:
                check()
            held = fold == number
            learning = at[~held]
            start = _scaled(offset, learning, truth[~held], offset) if scale else offset
            if truth[~held].any() and not truth[~held].all():
                trees = boosting.fit(bins.of(learning), truth[~held], start[learning], settings=settings, seed=seed * FOLDS + int(number))
                start = trees.log_odds(bins, start)
            total += start
            own[held] += start[at[held]]
            fits += 1
    if not fits:
        return offset.copy()
    total /= fits
    total[at] = own / len(folds)
    return total


def _metric(candidates: Scored, vectors: metric.Vectors, offset: Floats, at: Ints, truth: Bools, fold: Ints, check: Check | None) -> Values:
    """What a metric learned from labelled pairs says, cross-fitted: log-odds, what the vectors add, and the lead over rows' other pairs."""
    left, right = candidates.left, candidates.right
    vector = metric.compared(vectors, left[at], right[at])
    labelled = vector.of(left[at], right[at])
    known = ~np.isnan(labelled).any(1)
    starts, slopes = [], []
    for number in range(FOLDS):
        if check is not None:
            check()
        learning = (fold != number) & known
        start = _scaled(offset, at[learning], truth[learning], offset)
        some = truth[learning].any() and not truth[learning].all()
        starts.append(start)
        slopes.append(metric.slopes(labelled[learning], truth[learning], start[at[learning]]) if some else np.zeros(labelled.shape[1]))
    odds = np.column_stack(starts) + vector.log_odds(np.column_stack(slopes), left, right)
    said = odds.mean(1)
    said[at] = odds[at, fold]
    leads = [said - competing.best_of_others(said, group) for group in (left, right)]
    return np.column_stack([said, said - offset, *leads]).astype(np.float32)


def _scaled(odds: Floats, at: Ints, truth: Bools, every: Floats) -> Floats:
    """a + b * odds with a and b by the labels, drawn to 0 and 1: Platt, Probabilistic Outputs for Support Vector Machines, 1999."""
    if truth.all() or not truth.any():
        return every  # labels of one kind tell nothing apart
    x, a, b = odds[at], 0.0, 1.0

    def loss(a: float, b: float) -> float:
        z = a + b * x
        return float(np.logaddexp(0.0, np.where(truth, -z, z)).sum() + 0.5 * (_SHIFT * a**2 + _SCALE * (b - 1.0) ** 2))

    for _ in range(50):
        chance = _chance(a + b * x)
        curved = chance * (1.0 - chance)
        slope = np.array([(truth - chance).sum() - _SHIFT * a, ((truth - chance) * x).sum() - _SCALE * (b - 1.0)])
        bend = np.array([[curved.sum() + _SHIFT, (curved * x).sum()], [(curved * x).sum(), (curved * x * x).sum() + _SCALE]])
        step = np.linalg.solve(bend, slope)
        # Newton's step overshoots where nearly all pairs are surely one or the other.
        while loss(a + step[0], b + step[1]) > loss(a, b) and np.abs(step).max() > 1e-9:
            step /= 2.0
        a, b = a + step[0], b + step[1]
        if np.abs(step).max() < 1e-9:
            break
    # Odds that are turned upside down would say that likelier is less likely: few labels, or wrong ones.
    return a + max(b, 0.0) * every


def _competition(candidates: Scored, odds: Floats, at: Ints, truth: Bools) -> Values:
    """What is said of the other pairs of a pair's rows; labels where there are some."""
    chance = _chance(odds)
    told, known = chance.copy(), np.zeros(len(chance))
    told[at], known[at] = truth, truth
    columns = [odds]
    for group in (candidates.left, candidates.right):
        best = np.nan_to_num(competing.best_of_others(told, group))
        columns += [best, chance - best, competing.rank(chance, group).astype(np.float64)]
        columns += [competing.sum_of_others(told, group), competing.sum_of_others(known, group)]
    return np.column_stack(columns).astype(np.float32)
