"""From scores to probabilities, and from probabilities to link, review or nil.

A probability is honest where of the mentions that get .9 nine in ten are right. Scores of mentions that nothing was learned from are
fitted to that with two numbers (Platt, Probabilistic Outputs for Support Vector Machines, 1999: a line through the log-odds, here drawn
to "as they are" by a ridge, so that few labels change little). What a precision costs is read from the same mentions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.linking.contract import Bools, Floats, Ints
from pgembed.linking.features import Pairs

# Without a precision being asked for: what is more likely right than wrong is linked; somebody looks at what nearly is.
LINK, REVIEW = 0.5, 0.45
STEPS = 200  # thresholds of which the precision is kept
Z = 1.645  # one-sided 95 %: the precision that is asked for is reached with that much certainty
LEAST = 50  # links that a precision is read from
DECISIONS = ("link", "review", "nil")


def log_odds(probability: Floats) -> Floats:
    """Of probabilities, as far as they are told apart from 0 and 1."""
    p = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p) - np.log1p(-p))


def probability(odds: Floats) -> Floats:
    """The inverse of `log_odds`."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0))))


@dataclass(frozen=True)
class Line:
    """Calibrated log-odds are slope * log-odds + shift."""

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, odds: Floats) -> Floats:
        return np.asarray(self.slope * odds + self.shift)


def calibrated(odds: Floats, truth: Bools, ridge: float = 2.0) -> Line:
    """The line that makes log-odds of mentions honest, by Newton's method; a slope stays positive."""
    if not len(odds):
        return Line()
    x = np.stack([odds, np.ones(len(odds))], axis=1)
    weights, start = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    for _ in range(30):
        p = probability(x @ weights)
        gradient = x.T @ (truth - p) - ridge * (weights - start)
        second = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(2)
        step = np.linalg.solve(second, gradient)
        weights = weights + np.clip(step, -1.0, 1.0)
        if float(np.abs(step).max()) < 1e-8:
            break
    return Line(max(0.05, float(weights[0])), float(weights[1]))


@dataclass(frozen=True)
class Knob:
    """Precision of links by the least probability that is linked, as labels showed it; empty: nobody showed it.

    Attributes:
        threshold: probabilities, ascending.
        precision: of the links with at least that probability, the lower end of its interval (Wilson, 1927): never falling.
    """

    threshold: Floats
    precision: Floats

    @classmethod
    def of(cls, score: Floats, truth: Bools) -> Knob:
        """From the probabilities of mentions that they were not learned from, and whether their best candidate was right."""
        if len(score) < LEAST:
            return cls(np.zeros(0), np.zeros(0))
        order = np.argsort(-score, kind="stable")
        at = np.unique(np.linspace(LEAST, len(score), STEPS).astype(np.int64)) - 1
        right, n = np.cumsum(truth[order])[at].astype(np.float64), (at + 1).astype(np.float64)
        share = right / n
        centre = share + Z**2 / (2 * n)
        low = (centre - Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))) / (1 + Z**2 / n)
        # The fewer links, the better they are: where it seems otherwise, that is chance.
        low = np.maximum.accumulate(low[::-1])
        threshold = score[order][at][::-1]
        first = np.append(True, np.diff(threshold) > 0)
        return cls(threshold[first].copy(), low[first].copy())

    def least(self, precision: float) -> float:
        """The probability from which links have a precision.

        Without labels: links that are each right with a probability of at least p have on average at least a precision of p. The same
        holds beyond what labels have shown, where it asks for more.
        """
        enough = np.flatnonzero(self.precision >= precision)
        if len(enough):
            return float(self.threshold[enough[0]])
        return max(precision, float(self.threshold[-1]) if len(self.threshold) else 0.0)


UNKNOWN = Knob(np.zeros(0), np.zeros(0))  # nobody has shown anything

# Log-odds that the best candidate is right, before anybody has said so: fitted by maximum likelihood on training texts of WebNLG with a
# fifth of the entities withheld, as they are and with misspelt mentions, and rounded; the last one on mentions that describe, pronouns too.
WEIGHTS = {"written": 3.5, "name_share": 1.5, "cosine": 1.5, "told_best": 1.0, "related_best": 1.0, "again_first": 5.0}
SHIFT = -3.0
# Judged: pronouns are asked for by those who want them, and in texts that tell no facts all they have is who was spoken of first.
PRONOUN = 1.0


def untrained(pairs: Pairs, shares: Floats) -> Floats:
    """Probabilities of candidates, given their shares among those of their mention.

    A row may be the best of those that there are and still not be meant: then it is called otherwise, and the text says nothing of it. So
    each share counts by what speaks for its own row. That others are like it has made the share less already.
    """
    if not len(shares):
        return shares
    evidence = np.full(len(shares), SHIFT)
    for name, weight in WEIGHTS.items():
        evidence += weight * np.nan_to_num(pairs.column(name)).astype(np.float64)
    evidence += PRONOUN * np.nan_to_num(pairs.column("first")).astype(np.float64) * (pairs.column("words") == 0)
    return np.asarray(shares * probability(evidence))


def decide(score: Floats, anything: Floats, precision: float | None, knob: Knob) -> Ints:
    """Of each mention the place of its decision in DECISIONS.

    Args:
        score: probability of the best candidate.
        anything: of all candidates together.
        precision: of links, that is asked for; None: the default setting.

    Several rows of one name share the probability of one: that is no reason to say that the mention means none of them, so somebody looks.
    """
    link, review = LINK, REVIEW
    if precision is not None:
        link = knob.least(precision)
        review = min(REVIEW, link)
    return np.where(score >= link, 0, np.where((score >= review) | (anything >= LINK), 1, 2)).astype(np.int64)
