"""How many of the matches are true, how many of the true are matched, and the threshold for as many as are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.matching.contract import Bools, Estimate, Floats, Ints

# As many labelled pairs count the model's own probabilities: labels overrule them, and where there are few they are all there is.
PRIOR = 10.0
# As many matches count the probabilities where the line of the best F1 is sought: what labels say there jumps from pair to pair.
SMOOTH = 300.0
# A share that is asked for is promised where it is this sure: a threshold is chosen among many, and the luckiest looks best.
SURE = 2 / 3
_QUANTILE = 0.4307272992954576  # of the normal distribution, at SURE
# Probabilities between which labelled pairs are taken to be picked by chance, where so many of them lie there.
_STRATA = (0.003, 0.01, 0.03, 0.08, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
_FEWEST = 15


@dataclass(frozen=True)
class Seen:
    """Candidate pairs as a model sees them that was not told their labels.

    Attributes:
        probability: of each candidate, calibrated; that of a labelled one from a model that did not learn from it.
        chosen: which candidates the mapping lets be matches.
        labelled: positions of the labelled candidates.
        truth: whether each of them is a match.
        missed: labelled matches that are no candidates.
    """

    probability: Floats
    chosen: Bools
    labelled: Ints
    truth: Bools
    missed: int = 0


@dataclass(frozen=True)
class Curve:
    """Shares at each threshold, the highest first.

    Attributes:
        threshold: distinct probabilities of the chosen pairs, descending.
        precision, recall: estimated shares.
        counted, found: effective number of labelled pairs that each of the two rests on, `PRIOR` included.
        plain, told: precision and number where every label counts alike.
        f1: the estimated harmonic mean, from unweighted labels.
    """

    threshold: Floats
    precision: Floats
    recall: Floats
    counted: Floats
    found: Floats
    plain: Floats
    told: Floats
    f1: Floats


def weights(probability: Floats, labelled: Ints) -> Floats:
    """What each labelled pair stands for, on average 1: the candidates as likely as it, over the labelled ones as likely.

    Labels are rarely a plain sample: hard pairs were picked, or those that a review listed. Among pairs of about one probability they are
    taken to be picked by chance, whatever their truth (post-stratification: Holt and Smith, Post Stratification, Journal of the Royal
    Statistical Society A 142, 1979, https://doi.org/10.2307/2344652). Strata are narrow where pairs are uncertain: nearly all unlabelled
    pairs are sure to be none, and must not speak for the few uncertain ones of a wider stratum.
    """
    told = np.sort(probability[labelled])
    inner: list[float] = []
    used = 0
    for border in _STRATA:
        below = int(np.searchsorted(told, border))
        if below - used >= _FEWEST and len(told) - below >= _FEWEST:
            inner.append(border)
            used = below
    if not inner:
        return np.ones(len(labelled))
    of_all, of_labelled = (np.searchsorted(inner, values, side="right") for values in (probability, probability[labelled]))
    many = np.bincount(of_all, minlength=len(inner) + 1)
    weight = many[of_labelled] / np.bincount(of_labelled, minlength=len(inner) + 1)[of_labelled]
    return np.asarray(weight / weight.mean())


def curve(seen: Seen) -> Curve:
    """Precision and recall at every threshold.

    Each is what the labelled pairs say, and as if `PRIOR` more of them said what the probabilities of all chosen candidates do on average.
    Precision weighs labels by `weights`, and counts them by Kish's effective number, (sum w)^2 / sum w^2. Recall takes the labelled
    matches as a plain sample of all true pairs, those that are no candidates included.
    """
    value, labelled = seen.probability, seen.labelled
    order = np.flatnonzero(seen.chosen & ~np.isnan(value))
    order = order[np.argsort(-value[order], kind="stable")]
    weight = np.zeros((4, len(value)))  # weight, its square, labelled matches by weight, labelled matches
    told = weights(np.nan_to_num(value), labelled)
    weight[0, labelled], weight[1, labelled] = told, told**2
    weight[2, labelled], weight[3, labelled] = told * seen.truth, seen.truth
    plain = np.zeros(len(value))
    plain[labelled] = 1.0
    last = np.flatnonzero(np.diff(value[order], append=-1.0) != 0.0)
    many, square, right, hits = (np.cumsum(part[order])[last] for part in weight)
    asked, sure = np.cumsum(plain[order])[last], np.cumsum(value[order])[last]
    size = np.arange(1, len(order) + 1)[last]
    effective = np.where(square > 0.0, many**2 / np.where(square > 0.0, square, 1.0), 0.0)
    share = right / np.where(many > 0.0, many, 1.0)
    whole = max(float(np.nansum(value)), 1e-9)
    matches = float(seen.truth.sum() + seen.missed)
    scale = SMOOTH / max(whole, SMOOTH)
    return Curve(
        threshold=value[order][last],
        precision=(effective * share + PRIOR * sure / size) / (effective + PRIOR),
        recall=(hits + PRIOR * sure / whole) / (matches + PRIOR),
        counted=effective + PRIOR,
        found=np.full(len(last), matches + PRIOR),
        plain=(hits + PRIOR * sure / size) / (asked + PRIOR),
        told=asked + PRIOR,
        f1=2.0 * (hits + scale * sure) / (asked + scale * size + matches + scale * whole),
    )


def threshold(curve: Curve, precision: float | None = None, recall: float | None = None) -> float:
    """The probability from which on a chosen pair is a match.

    Args:
        precision: the least threshold whose precision is at least this, with confidence `SURE`; where none is so sure, the least whose
            estimate is; where none is, infinite: nothing can be promised, and nothing matches.
        recall: the greatest threshold whose recall is at least this, with the same confidence; where none is, the least of all.
        With neither, the threshold of the greatest estimated F1, drawn to even odds as if `PRIOR` matches more stood there: few labels
        do not know where it is, and a line far too low takes in next to all pairs.
    """
    if not len(curve.threshold):
        return np.inf
    if precision is not None:
        for least in (lower(curve.precision, curve.counted), curve.precision):
            good = np.flatnonzero(least >= precision)
            if len(good):
                return float(curve.threshold[good[-1]])
        return np.inf
    if recall is not None:
        good = np.flatnonzero(lower(curve.recall, curve.found) >= recall)
        return float(curve.threshold[good[0] if len(good) else -1])
    best = float(np.clip(curve.threshold[curve.f1.argmax()], 1e-6, 1.0 - 1e-6))
    matches = float(curve.found[0]) - PRIOR
    return float(1.0 / (1.0 + (1.0 / best - 1.0) ** (matches / (matches + PRIOR))))


def at(curve: Curve, threshold: float) -> tuple[Estimate, Estimate]:
    """Precision and recall at a threshold, with 95 % intervals.

    Precision's covers both readings of the labels, weighed and each alike, because nobody says how they were picked.
    """
    within = int(np.searchsorted(-curve.threshold, -threshold, side="right")) - 1
    if within < 0:
        return Estimate(1.0, 0.0, 1.0), Estimate(0.0, 0.0, 1.0)
    weighed = interval(float(curve.precision[within]), float(curve.counted[within]))
    alike = interval(float(curve.plain[within]), float(curve.told[within]))
    precision = Estimate(weighed.value, min(weighed.low, alike.low), max(weighed.high, alike.high))
    return precision, interval(float(curve.recall[within]), float(curve.found[within]))


def lower(share: Floats, many: Floats) -> Floats:
    """The share that is exceeded with confidence `SURE`: Wilson's bound of `many` trials.

    Wilson, Probable Inference, the Law of Succession, and Statistical Inference, Journal of the American Statistical Association 22,
    1927, https://doi.org/10.1080/01621459.1927.10502953.
    """
    z = _QUANTILE
    spread = z * np.sqrt(share * (1.0 - share) / many + z**2 / (4.0 * many**2))
    return np.asarray((share + z**2 / (2.0 * many) - spread) / (1.0 + z**2 / many))


def interval(share: float, many: float) -> Estimate:
    """A share seen in so many trials with the interval of Clopper and Pearson, which covers at least 95 %.

    Clopper and Pearson, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial, Biometrika 26, 1934,
    https://doi.org/10.1093/biomet/26.4.404; with trials that need not be whole.
    """
    hits, misses = share * many, (1.0 - share) * many
    low = 0.0 if hits < 1e-9 else beta_quantile(0.025, hits, misses + 1.0)
    high = 1.0 if misses < 1e-9 else beta_quantile(0.975, hits + 1.0, misses)
    return Estimate(share, min(low, share), max(high, share))


def beta_quantile(level: float, a: float, b: float) -> float:
    """The quantile of the Beta distribution, by summing its density (2e-5 of error at most for the levels used here)."""
    # Equal steps of the angle whose squared sine is x are fine near both ends, where the density piles up.
    angle = (np.arange(40_000) + 0.5) / 40_000 * (np.pi / 2)
    x = np.sin(angle) ** 2
    log = (a - 0.5) * np.log(x) + (b - 0.5) * np.log1p(-x)  # the density by angle, up to a constant
    total = np.cumsum(np.exp(log - log.max()))
    return float(np.interp(level, total / total[-1], np.sin(angle + np.pi / 160_000) ** 2))
