"""Small fits that a decision is made of: logistic regression with a ridge, isotonic regression, shares that follow from probabilities."""

from __future__ import annotations

import numpy as np

from pgembed.matching.contract import Estimate, Floats

STEPS = 30
BINS = 2_000  # an isotonic fit of more points is one of so many means
PRECISE = 1e-7  # of the loss
FAR = 30.0  # a logit beyond which a probability is 0 or 1
# The number of wrong pairs that decoys tell is true within such a factor, 95 times of 100: a decoy is not quite what a wrong pair is.
WITHIN = 2.0


class Logistic:
    """A logistic regression with soft targets and weights: Newton's method, ridge penalty on the standardized slopes.

    Args:
        features: shape (n, d), finite. targets: between 0 and 1, shape (n,). weights: at least 0, shape (n,). ridge: above 0.
        start: a fit of the same features, from whose slopes the search begins; it changes how long that takes and no more.
    """

    def __init__(self, features: Floats, targets: Floats, weights: Floats, ridge: float = 1.0, start: Logistic | None = None) -> None:
        weights = weights + 1e-9
        self.mean = np.average(features, axis=0, weights=weights)
        self.spread = np.sqrt(np.average((features - self.mean) ** 2, axis=0, weights=weights)) + 1e-9
        self.slopes = np.zeros(features.shape[1] + 1)
        if start is not None and len(start.slopes) == len(self.slopes):
            self.slopes[:-1] = start.slopes[:-1] / start.spread * self.spread
            self.slopes[-1] = start.slopes[-1] + start.slopes[:-1] @ ((self.mean - start.mean) / start.spread)
        design = self._design(features)
        penalty = np.full(len(self.slopes), ridge)
        penalty[-1] = 1e-6
        loss = self._loss(design, targets, weights, penalty, self.slopes)
        for _ in range(STEPS):
            p = probability(design @ self.slopes)
            gradient = design.T @ (weights * (p - targets)) + penalty * self.slopes
            hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + np.diag(penalty)
            step = np.linalg.solve(hessian, gradient)
            before = loss
            # what a whole step would gain, where it is right; less cannot be told from rounding, and halving would go on in vain
            if gradient @ step < PRECISE * abs(before):
                break
            for _ in range(STEPS):
                loss = self._loss(design, targets, weights, penalty, self.slopes - step)
                if loss <= before:
                    self.slopes = self.slopes - step
                    break
                step = step / 2
            if not loss < before:
                break

    def __call__(self, features: Floats) -> Floats:
        """Logits, shape (n,)."""
        logits: Floats = self._design(features) @ self.slopes
        return logits

    def limit(self, features: Floats, most: float) -> None:
        """Take so much off all logits that the probabilities of these add up to no more than this."""
        logits = self(features)
        low, high = 0.0, 2.0 * FAR + float(np.abs(logits).max(initial=0.0))
        if probability(logits).sum() <= most:
            return
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if probability(logits - middle).sum() > most else (low, middle)
        self.slopes[-1] -= high

    def _design(self, features: Floats) -> Floats:
        return np.column_stack([(features - self.mean) / self.spread, np.ones(len(features))])

    @staticmethod
    def _loss(design: Floats, targets: Floats, weights: Floats, penalty: Floats, slopes: Floats) -> float:
        logits = design @ slopes
        return float(weights @ (np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits))) - targets * logits) + 0.5 * penalty @ slopes**2)


def probability(logits: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -FAR, FAR))))


def rising(x: Floats, y: Floats, weights: Floats) -> Floats:
    """The nondecreasing function of x that is nearest to y in weighted squares, at each x; equal x have equal values.

    Pool adjacent violators: Ayer et al., An Empirical Distribution Function for Sampling with Incomplete Information, Annals of
    Mathematical Statistics 1955, https://doi.org/10.1214/aoms/1177728423.
    """
    values, at = np.unique(x, return_inverse=True)
    if len(values) > BINS:
        at = at * BINS // len(values)
    weight = np.bincount(at, weights)
    mean = np.bincount(at, weights * y) / np.maximum(weight, 1e-12)
    mass, size = weight + 1e-12, np.ones(len(mean), dtype=np.int64)
    # Neighbours that do not rise are pooled in any order; so all runs of them at once, until none is left.
    while True:
        start = np.flatnonzero(np.r_[True, mean[1:] > mean[:-1]])
        if len(start) >= len(mean):
            return np.repeat(mean, size)[at]
        both = np.add.reduceat(mass, start)
        mean, mass, size = np.add.reduceat(mean * mass, start) / both, both, np.add.reduceat(size, start)


def share(part: Floats, whole: float, spread: Floats, decoys: int) -> Estimate:
    """Of a sum of probabilities its share in a whole, with what chance, a null of so many decoys and the model itself leave open.

    Args:
        part: probabilities whose sum is the share's numerator. whole: its denominator, above 0.
        spread: the probabilities that are uncertain: each adds p (1 - p) of variance.
        decoys: how many the null is known from.
    The part that is missing is only known within a factor of `WITHIN`, and as many decoys allow.
    """
    value = min(1.0, float(part.sum()) / whole)
    missing = 1.0 - value
    known = (float((spread * (1 - spread)).sum()) / whole**2 + missing**2 / (decoys + 1.0)) * 1.96**2
    low, high = (known + (missing * by) ** 2 for by in (WITHIN - 1.0, 1.0 - 1.0 / WITHIN))
    return Estimate(value, max(0.0, value - low**0.5), min(1.0, value + high**0.5))


def raised(wanted: float) -> float:
    """The share to aim for so that, with what the model leaves open, nine times of ten the one wanted is reached."""
    odds = wanted / (1.0 - wanted) * float(np.exp(np.log(WITHIN) * 1.28 / 1.96))
    return odds / (1.0 + odds)
