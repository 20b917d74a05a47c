"""Which pairs are matches, without labels: a probability learned from what the rows would be given if their partners were missing.

Every left row's pair competes with its decoy (`rivals.chosen`): the pair it would have if its partner were not there. That is exactly what
a row without a partner gets, so decoys are examples of wrong pairs, and no labels are needed to have thousands of them. The idea is the
target-decoy competition of mass spectrometry (Elias and Gygi, Nature Methods 2007, https://doi.org/10.1038/nmeth1019), and to learn from it
which evidence counts is Percolator's (Käll et al., Nature Methods 2007, https://doi.org/10.1038/nmeth1113). The mixture of matches and
others is that of Fellegi and Sunter (A Theory for Record Linkage, JASA 1969, https://doi.org/10.1080/01621459.1969.10501049), whose
parameters EM finds without labels; ZeroER (Wu et al., SIGMOD 2020, https://arxiv.org/abs/1908.06049) is that with Gaussians.

Departs from them: decoys are real rows, met under the real competition of the mapping; their weight is the probability that their row has a
partner (the second best of a row without one is too far off to stand for its best); and the evidence that is learned says which pair of
a row is the better one too, so that the mapping is made again with it. README.md has the figures and what else was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.errors import InvalidParameter
from pgembed.matching import rivals
from pgembed.matching.attributes import Features
from pgembed.matching.contract import MAPPINGS, Bools, Decision, Estimate, Floats, Ints, MappingKind, Scored
from pgembed.matching.curves import Logistic, probability, raised, rising, share
from pgembed.matching.rivals import Chosen, Leaning

# Fewer left rows with a pair, or fewer decoys, than this have no shape to speak of; then nothing is said.
FEWEST_ROWS = 10
FEWEST_DECOYS = 5
MAPPINGS_AGAIN = 2  # how often the mapping is made again by what was learned
ROUNDS = 8  # of estimating and learning in turn
RIDGE = 1.0
WIDEST_LEAD = 2.0  # in standard deviations of the score: a lead beyond this says no more
SURE = 0.9  # pairs as likely as this show how rows with a partner lean
LEAST_LEANING = 0.2
SLACK = 1.0  # standard errors that are granted to the bound on matches
# The decoys' quantiles below which pairs are counted to learn how many are false.
LOW = np.linspace(0.2, 0.6, 9)
# What an attribute is compared by: a text, an array, anything else.
AGREEMENT = (("words", "characters"), ("overlap", "contained"), ("equal",))
WHOLE = "record"  # what `attributes.compare` calls all texts as one
EVEN = 0.5  # no pair is a match that is more likely none


def decide(
    candidates: Scored,
    features: Features | None = None,
    *,
    mapping: MappingKind = "many",
    precision: float | None = None,
    recall: float | None = None,
) -> Decision:
    """How likely each candidate pair is a match, and which are.

    Args:
        candidates: some pairs of each left row, the more the better up to ten or so; with one alone a row's pair has no decoy. Pairs with
            a score that is not finite are none. Similarities that are not finite count as 0.
        features: the pairs' attributes compared, see `attributes.compare`: each attribute is one more similarity; what is unknown of a
            pair counts as the mean of what is known of others. None where there are only texts or vectors.
        mapping: 'many': a left row's best pair may be a match, and pairs as good as it. 'mutual': only pairs that are the best of both
            rows. 'one_to_one': each row in at most one.
        precision: wanted share of true pairs among the matches, between 0 and 1: the most matches of which that can be expected nine
            times of ten, the number of wrong pairs being known within a factor (`curves.raised`).
        recall: wanted share of the true pairs among the matches, between 0 and 1: the fewest matches of which that can be expected.
            Without both the threshold is where the expected F1 is largest, but at least one half.
    Returns:
        With ``precision`` the probabilities are the lower ones that count a row's second choice as a possible partner too. Without it
        they are not: that orders pairs best. The interval of an estimate covers both, and what a null known from so many decoys leaves
        open. Fewer than ten rows with pairs, or nearly none with a second: nothing is said, see `contract.Decision`.
    Raises:
        InvalidParameter: an unknown mapping, both a precision and a recall, or one outside of (0, 1).
    """
    _check(mapping, precision, recall)
    known = np.flatnonzero(np.isfinite(candidates.score))
    fitted = _fitted(candidates, features, known, mapping)
    likely, is_match = np.full(len(candidates.left), np.nan), np.full(len(candidates.left), None, dtype=object)
    if fitted is None:
        return Decision(likely, is_match, float("nan"), None, None)
    of_chosen = fitted.careful if precision is not None else fitted.likely
    threshold = _threshold(of_chosen, None if precision is None else raised(precision), recall)
    chosen = fitted.chosen.pairs
    likely[known] = fitted.others
    likely[known[chosen]] = of_chosen
    is_match[known] = False
    is_match[known[chosen]] = of_chosen >= threshold
    if mapping == "many":
        equal = np.flatnonzero(fitted.twin >= 0)
        likely[known[equal]] = of_chosen[fitted.twin[equal]]
        is_match[known[equal]] = of_chosen[fitted.twin[equal]] >= threshold
    return Decision(likely, is_match, threshold, *_estimates(fitted, of_chosen, of_chosen >= threshold))


@dataclass(frozen=True)
class _Fitted:
    """Of the chosen pairs their probabilities, likely and careful; of all pairs as such, and of which chosen pair they are the equal."""

    chosen: Chosen
    likely: Floats
    careful: Floats
    others: Floats
    twin: Ints
    decoys: int


def _check(mapping: str, precision: float | None, recall: float | None) -> None:
    if mapping not in MAPPINGS:
        raise InvalidParameter(f'mapping "{mapping}" does not exist', hint=f"Known mappings: {', '.join(MAPPINGS)}.")
    if precision is not None and recall is not None:
        raise InvalidParameter("precision and recall exclude each other", hint="Ask for one; the other is estimated.")
    for name, value in (("precision", precision), ("recall", recall)):
        if value is not None and not 0.0 < value < 1.0:
            raise InvalidParameter(f"{name} must be between 0 and 1, not {value:g}", hint="0.95 is a common choice.")


def _fitted(candidates: Scored, features: Features | None, known: Ints, mapping: MappingKind) -> _Fitted | None:
    """Mapping, learning, and mapping again by what was learned; None where there is too little to learn from."""
    if not len(known):
        return None
    left, right = candidates.left[known], candidates.right[known]
    evidence = _evidence(candidates, features, known)
    score = evidence[:, 0]
    leaning = rivals.leaning(left, score)
    standing = leaning
    for again in range(MAPPINGS_AGAIN + 1):
        chosen = rivals.chosen(left, right, score, mapping)
        if len(chosen.pairs) < FEWEST_ROWS or len(chosen.decoys) < FEWEST_DECOYS:
            return None
        decoys = evidence[chosen.decoys]
        rest = np.flatnonzero(chosen.rest)
        leads = np.full(len(left), np.nan)
        leads[rest] = _capped(rivals.lead(left[rest], evidence[rest, 0]), evidence[:, 0])
        decoys[:, 1] = leads[chosen.decoys]
        last = again == MAPPINGS_AGAIN
        learned = _learned(evidence[chosen.pairs], decoys, chosen.owner, (leaning, standing) if last else (leaning,), left[chosen.pairs])
        if not last:
            # What tells a row's pair from its others is learned from all of them; the lead on the left is the row's own outcome.
            is_match = np.zeros(len(left))
            is_match[chosen.pairs] = learned.likely
            with_others = np.delete(evidence, 1, axis=1)
            score = Logistic(with_others, is_match, np.ones(len(left)), RIDGE)(with_others)
            standing = rivals.leaning(left, score)
    any_match = _any_match(leaning, standing)
    others = learned.of(evidence)
    own_left, own_right = np.zeros(int(left.max()) + 1), np.zeros(int(right.max()) + 1)
    own_left[left[chosen.pairs]] = learned.likely
    if mapping != "many":
        own_right[right[chosen.pairs]] = learned.likely
    others = np.minimum(others, 1.0 - np.maximum(own_left[left], own_right[right]))
    twin = np.full(len(left), -1, dtype=np.int64)
    place = np.full(int(left.max()) + 1, -1, dtype=np.int64)
    place[left[chosen.pairs]] = np.arange(len(chosen.pairs))
    equal = ~chosen.rest
    twin[equal] = place[left[equal]]
    odds, second = learned.likely / (1.0 - learned.likely), np.zeros(len(chosen.pairs))
    second[chosen.owner] = learned.decoys / (1.0 - learned.decoys)
    careful = odds / (1.0 + odds + second)
    return _Fitted(chosen, any_match * learned.likely, any_match * careful, any_match * others, twin, len(chosen.decoys))


def _evidence(candidates: Scored, features: Features | None, known: Ints) -> Floats:
    """Of each pair its score, its lead over its left row's others and over its right row's, and its similarities; shape (n, 3 + d)."""
    score = candidates.score[known]
    leads = (_capped(rivals.lead(side[known], score), score) for side in (candidates.left, candidates.right))
    similar = (np.nan_to_num(candidates.similarity[name][known], nan=0.0, posinf=0.0, neginf=0.0) for name in sorted(candidates.similarity))
    return np.column_stack([score, *leads, *similar, *(column[known] for column in _by_attribute(features))])


def _by_attribute(features: Features | None) -> list[Floats]:
    """One similarity of each attribute: with many of them a few hundred rows would not tell which counts.

    The measures are those of `AGREEMENT`, the mean of the first that the attribute has; all texts as one are in the candidates already.
    """
    measured: dict[str, dict[str, Floats]] = {}
    for at, name in enumerate(features.names if features is not None else ()):
        attribute, _, measure = name.rpartition(".")
        measured.setdefault(attribute, {})[measure] = np.asarray(features.values[:, at], dtype=np.float64)  # type: ignore[union-attr]
    columns = []
    for attribute, by_measure in measured.items():
        several = next((kind for kind in AGREEMENT if set(kind) <= set(by_measure)), ())
        if attribute == WHOLE or not several:
            continue
        column = sum((by_measure[measure] for measure in several), np.zeros(1)) / len(several)
        there = np.isfinite(column)
        columns.append(np.where(there, column, column[there].mean() if there.any() else 0.0))
    return columns


def _capped(lead: Floats, score: Floats) -> Floats:
    widest = WIDEST_LEAD * float(score.std())
    return np.clip(lead, -widest, widest)


@dataclass(frozen=True)
class _Learned:
    """What evidence is worth: its logit, and the probability that goes with a logit; and those of the chosen pairs and of the decoys."""

    logit: Logistic
    calibrated: Logistic
    likely: Floats
    decoys: Floats

    def of(self, evidence: Floats) -> Floats:
        """Probabilities of pairs by their own evidence."""
        return probability(self.calibrated(self.logit(evidence)[:, None]))


def _learned(pairs: Floats, decoys: Floats, owner: Ints, leanings: tuple[Leaning, ...], left: Ints) -> _Learned:
    """Weigh the evidence such that it tells chosen pairs from decoys, in turn with how likely each chosen pair is a match.

    First without the leads: whose decoy is weak has a large lead, and would have to weigh most. The decoys' weights found so are kept.
    ``leanings`` are `rivals.leaning` of all left rows by one or two scores, ``left`` the left rows of the pairs.
    """
    n = len(pairs)
    weight, most = np.ones(len(decoys)), _Most(n, n)
    targets, wrong = pairs[:, 0], decoys[:, 0]
    for columns in (np.delete(np.arange(pairs.shape[1]), [1, 2]), np.arange(pairs.shape[1])):
        both = np.concatenate([pairs, decoys])[:, columns]
        logit: Logistic | None = None
        for _ in range(ROUNDS):
            _, likely, _ = _calibrated(targets, wrong, weight, most)
            if len(columns) < pairs.shape[1]:
                weight = likely[owner]
                most = _most(likely, leanings, left)
            is_match, counts = np.concatenate([likely, np.zeros(len(decoys))]), np.concatenate([np.ones(n), weight])
            logit = Logistic(both, is_match, counts, RIDGE, start=logit)
            targets, wrong = logit(pairs[:, columns]), logit(decoys[:, columns])
    assert logit is not None
    return _Learned(logit, *_calibrated(targets, wrong, weight, most))


def _calibrated(targets: Floats, wrong: Floats, weight: Floats, most: _Most) -> tuple[Logistic, Floats, Floats]:
    """Probabilities of the chosen pairs and of the decoys by their scores: a smooth curve through the local false discovery rate."""
    n, weight = len(targets), weight + 1e-6
    false = min(float(n), max(_false(targets, wrong, weight), n - most.likely))
    scores = np.concatenate([targets, wrong])
    is_target = np.concatenate([np.ones(n), np.zeros(len(wrong))])
    among = rising(scores, is_target, np.concatenate([np.ones(n), weight * (false / weight.sum())]))
    chance = np.clip(1.0 - (1.0 - among) / np.maximum(among, 1e-9), 0.0, 1.0)
    calibrated = Logistic(targets[:, None], chance[:n], np.ones(n), 1e-3)
    calibrated.limit(targets[:, None], most.ever)
    likely, of_wrong = (probability(calibrated(logits[:, None])) for logits in (targets, wrong))
    return calibrated, likely, np.minimum(of_wrong, chance[n:])


@dataclass(frozen=True)
class _Most:
    """How many matches there can be: so many at most when false ones are counted, and so many in any case."""

    likely: float
    ever: float


def _most(likely: Floats, leanings: tuple[Leaning, ...], left: Ints) -> _Most:
    """How many matches there can be by `rivals.leaning`: rows without a partner lean both ways alike, and all rows together so much.

    How much a row with a partner leans is seen where pairs are next to certain. Others lean less: for what there can be in any case it
    is the mean with that of all pairs by their probabilities, and the leaning is what is in excess at each size, which does not grow
    with the number of rows without a partner. By the score alone nothing is bound in any case, since other evidence may stand out.
    """
    sure = np.flatnonzero(likely >= SURE)
    if len(sure) < FEWEST_ROWS:
        sure = np.argsort(-likely, kind="stable")[:FEWEST_ROWS]
    in_all, ever = [], []
    for leaning in leanings:
        signs, excess = leaning.sign, float(leaning.excess().sum())
        of_sure, of_all = float(signs[left[sure]].mean()), float(np.average(signs[left], weights=likely + 1e-9))
        together = float(signs.sum()) + SLACK * float(np.abs(signs).sum()) ** 0.5
        in_all.append(max(0.0, together) / max(of_sure, LEAST_LEANING))
        ever.append((excess + SLACK * excess**0.5) / max((of_sure + of_all) / 2, LEAST_LEANING))
    return _Most(in_all[0], max(ever) if len(ever) > 1 else float(len(leanings[0].sign)))


def _any_match(*leanings: Leaning) -> float:
    """How likely any row has a partner at all, both being as likely beforehand; 1 where there is too little to tell."""
    logs = [log for log in (leaning.any_match() for leaning in leanings) if log is not None]
    if not logs:
        return 1.0
    return float(probability(np.logaddexp.reduce(np.array(logs), keepdims=True) - np.log(len(logs)))[0])


def _false(targets: Floats, wrong: Floats, weight: Floats) -> float:
    """How many of the chosen pairs are false: as many as it takes to have so many with low scores, where next to all are."""
    order = np.argsort(wrong, kind="stable")
    up_to = np.cumsum(weight[order]) / weight.sum()
    at = np.minimum(np.searchsorted(up_to, LOW), len(wrong) - 1)
    below = np.searchsorted(np.sort(targets), wrong[order][at], side="right")
    return min(float(len(targets)), float(np.median((below + 1) / up_to[at])))


def _threshold(likely: Floats, precision: float | None, recall: float | None) -> float:
    """The probability from which on chosen pairs are matches; above 1 where no pair may be one."""
    falling = np.sort(likely)[::-1]
    true, count = np.cumsum(falling), np.arange(1, len(falling) + 1)
    if precision is not None:
        good = np.flatnonzero(true >= precision * count)
        return float(falling[good[-1]]) if len(good) else float(np.nextafter(1.0, 2.0))
    if recall is not None:
        return float(falling[min(np.searchsorted(true, recall * true[-1]), len(falling) - 1)])
    return max(EVEN, float(falling[np.argmax(2.0 * true / (count + true[-1]))]))


def _estimates(fitted: _Fitted, likely: Floats, matched: Bools) -> tuple[Estimate | None, Estimate | None]:
    """Precision and recall of the matches by the probabilities that decided, with an interval over both kinds."""
    if not matched.any():
        return None, Estimate(0.0, 0.0, 1.0)
    precision, recall = [], []
    for p in (likely, fitted.likely, fitted.careful):
        precision.append(share(p[matched], float(matched.sum()), p[matched], fitted.decoys))
        recall.append(share(p[matched], max(float(p.sum()), 1e-9), p, fitted.decoys))
    return _spanned(precision), _spanned(recall)


def _spanned(several: list[Estimate]) -> Estimate:
    return Estimate(several[0].value, min(e.low for e in several), max(e.high for e in several))
