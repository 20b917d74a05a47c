"""Learning `sense`: weights of what is compared, and maps of mentions and rows into one space; `senses` says what they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pgembed.linking.contract import Bools, Check, Floats, Ints, Vectors
from pgembed.linking.senses import PARTS, WEIGHTS, Learned, Means, Sides, deviations, left_inputs, no_means, parts, right_inputs, starts

FEWEST = 500  # labels of mentions with several candidates from which on maps are learned; fewer teach weights alone
_TYPES = 256  # different ones that maps know, the most frequent
_RIDGE, _STEPS = 10.0, 12  # of the weights


@dataclass(frozen=True)
class Settings:
    """How maps are learned.

    Attributes:
        maps: how many are averaged.
        rank: dimensions of the space.
        epochs: times through the labels.
        batch: mentions a step.
        rate: of Adam, falling to 0.
        decay: of the matrices in a step, as a share of the rate.
        dropped: share of the inputs that a step does not see.
    """

    maps: int = 3
    rank: int = 128
    epochs: int = 20
    batch: int = 1024
    rate: float = 2e-3
    decay: float = 0.02
    dropped: float = 0.25


def learn(
    sides: Sides,
    truth: Bools,
    space: str,
    row_mean: Vectors,
    *,
    settings: Settings | None = None,
    seed: int = 0,
    check: Check | None = None,
) -> Learned:
    """Learn from labelled mentions; the same for the same seed.

    Args:
        truth: of each pair whether it is right. Mentions of which none is, or the only one, teach nothing.
    """
    settings = settings or Settings()
    useful = _useful(sides, truth)
    if not useful.any():
        dim = len(row_mean)
        weight = np.array([WEIGHTS.get(name, 0.0) for name in PARTS])
        return Learned(space, row_mean, Means(np.zeros(dim, np.float32), np.zeros(dim, np.float32)), weight, (), sides.words, None, None)
    used = np.unique(sides.mention[useful])
    means = Means(sides.text[np.unique(sides.text_of[used])].mean(0), sides.surface[np.unique(sides.surface_of[used])].mean(0))
    if len(used) < FEWEST:
        means = no_means(sides)
    mention, candidate, right = sides.mention[useful], sides.candidate[useful], truth[useful]
    measured = deviations(parts(sides, means)[useful], mention)
    weight = _weights(measured, mention, right)
    common = Counter(kind for row in np.unique(candidate).tolist() for kind in sides.types[row]).most_common(_TYPES)
    types = tuple(sorted(kind for kind, _ in common))
    if len(used) < FEWEST:
        return Learned(space, row_mean, means, weight, types, sides.words, None, None)
    left, rows = left_inputs(sides, means), right_inputs(sides, types)
    made = [_map(left, rows, mention, candidate, right, measured @ weight, settings, seed + at, check) for at in range(settings.maps)]
    share = np.float32(1 / settings.maps**0.5)
    # Both sides in half precision, as they are stored: a linker ranks alike before and after it was.
    halves = [np.concatenate([one[side] for one in made], axis=1) * share for side in (0, 1)]
    return Learned(space, row_mean, means, weight, types, sides.words, *(half.astype(np.float16).astype(np.float32) for half in halves))


def crossed(
    sides: Sides,
    truth: Bools,
    fold: Ints,
    space: str,
    row_mean: Vectors,
    *,
    settings: Settings | None = None,
    seed: int = 0,
    check: Check | None = None,
) -> tuple[Vectors, Floats]:
    """What a later stage learns from: parts and `sense` of each pair by what the labels of other folds taught.

    Args:
        fold: of each mention; those of a negative one are learned from, and told nothing about.
    """
    measured, odds = np.zeros((len(truth), len(PARTS)), np.float32), np.zeros(len(truth))
    of_pair = fold[sides.mention]
    for one in np.unique(of_pair[of_pair >= 0]).tolist():
        here = of_pair == one
        learned = learn(sides, truth & ~here, space, row_mean, settings=settings, seed=seed, check=check)
        values = parts(sides, learned.means)
        measured[here] = values[here]
        odds[here] = learned.score(values, sides)[here]
    return measured, odds


def _useful(sides: Sides, truth: Bools) -> Bools:
    fresh = starts(sides.mention)
    if not len(fresh):
        return np.zeros(0, bool)
    count = np.diff(fresh, append=len(truth))
    useful: Bools = np.repeat((np.add.reduceat(truth.astype(np.int64), fresh) == 1) & (count > 1), count)
    return useful


def _shares(odds: Floats, mention: Ints) -> Floats:
    fresh = starts(mention)
    count = np.diff(fresh, append=len(mention))
    grown = np.exp(odds - np.repeat(np.maximum.reduceat(odds, fresh), count))
    made: Floats = grown / np.repeat(np.add.reduceat(grown, fresh), count)
    return made


def _weights(measured: Floats, mention: Ints, truth: Bools) -> Floats:
    """A choice among candidates by a weighted sum (McFadden 1974), by Newton's method."""
    scale = measured.std(0)
    scale[scale == 0] = 1
    x, fresh = measured / scale, starts(mention)
    weight = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        share = _shares(x @ weight, mention)
        weighted = x * share[:, None]
        mean = np.add.reduceat(weighted, fresh)
        curve = x.T @ weighted - mean.T @ mean + _RIDGE * np.eye(len(weight))
        step = np.linalg.solve(curve, x.T @ (truth - share) - _RIDGE * weight)
        weight += step
        if np.abs(step).max() < 1e-5:
            break
    made: Floats = weight / scale
    return made


def _map(
    left: Vectors,
    right: Vectors,
    mention: Ints,
    candidate: Ints,
    truth: Bools,
    offset: Floats,
    settings: Settings,
    seed: int,
    check: Check | None,
) -> list[Vectors]:
    """One pair of matrices, by Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) with decoupled decay."""
    rng = np.random.default_rng(seed)
    first = starts(mention)
    size, owner = np.diff(first, append=len(mention)), mention[first]
    maps = [
        (rng.standard_normal((side.shape[1], settings.rank)) * (share / side.shape[1] ** 0.5)).astype(np.float32)
        for side, share in ((left, 1.0), (right, 0.3))
    ]
    moments = [(np.zeros_like(one), np.zeros_like(one)) for one in maps]
    steps, step = settings.epochs * -(-len(first) // settings.batch), 0
    for _ in range(settings.epochs):
        order = rng.permutation(len(first))
        for at in range(0, len(order), settings.batch):
            if check is not None:
                check()
            some = np.sort(order[at : at + settings.batch])
            many = size[some]
            begin = np.cumsum(many) - many
            which = np.repeat(np.arange(len(some)), many)
            pairs = np.repeat(first[some] - begin, many) + np.arange(int(many.sum()))
            x, y = _thinned(left[owner[some]], rng, settings.dropped), _thinned(right[candidate[pairs]], rng, settings.dropped)
            a, b = x @ maps[0], y @ maps[1]
            share = _shares(np.einsum("ij,ij->i", a[which], b) + offset[pairs], which)
            slope = ((share - truth[pairs]) / len(some)).astype(np.float32)[:, None]
            gradients = (x.T @ np.add.reduceat(slope * b, begin), y.T @ (slope * a[which]))
            step += 1
            rate = settings.rate * (1 - step / (steps + 1))
            for one, gradient, (mean, square) in zip(maps, gradients, moments, strict=True):
                mean += 0.1 * (gradient - mean)
                square += 0.01 * (gradient**2 - square)
                move = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
                one -= (rate * (move + settings.decay * one)).astype(np.float32)
    return maps


def _thinned(values: Vectors, rng: np.random.Generator, dropped: float) -> Vectors:
    kept = rng.integers(0, 256, values.shape, np.uint8) >= round(256 * dropped)  # a byte each: drawing them is a good part of the time
    made: Vectors = values * kept * np.float32(1 / (1 - dropped))
    return made
