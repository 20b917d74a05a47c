"""Learning the maps from pairs that belong together, by a pairwise contrastive ranking loss in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pgembed.errors import InvalidParameter
from pgembed.joint.features import Inputs, Ints, Vectors, summed
from pgembed.joint.maps import LINKING, Maps, Plan, Words, left_parts, right_parts, untrained, word_keys, words_of

Check = Callable[[], None]
Params = dict[str, Vectors]


@dataclass(frozen=True)
class Settings:
    """How maps are learned.

    Attributes:
        margin: by which a right pair should win.
        softness: of the hinge, which is softness * log(1 + exp(x / softness)).
        negatives: nearest wrong rows of each left thing.
        back: weight of the direction from right to left.
        rounds: how often the negatives are mined from the space as it is.
        steps: of Adam, in each round, at most.
        seen: how often a pair is seen in a round, at most: a few labels are learned in a few steps.
        batch: pairs in a step.
        pairs: most pairs that are learned from; more are drawn from.
        rate: of Adam, for the weights; others have a half.
        decay: pulls what is learned towards the start.
        support: a word of the left side has a vector if it was said of so many different things of the right side.
    """

    margin: float = 0.1
    softness: float = 0.03
    negatives: int = 40
    back: float = 0.25
    rounds: int = 2
    steps: int = 250
    seen: int = 40
    batch: int = 1000
    pairs: int = 24_000
    rate: float = 0.02
    decay: float = 1e-3
    support: int = 3


@dataclass(frozen=True)
class Batch:
    """Pairs with their candidates, the right one first.

    Attributes:
        products: (n, 1 + negatives, columns) what the weights are multiplied with; of dense inputs nothing, 0.
        form: (n, k).
        candidates: (n, 1 + negatives) rows; -1 where there are fewer.
        words: of the left side.
        right: the words of all rows.
        dense: of each name the left vectors (n, d) and those of all rows.
        back: (pairs, 2) places in `candidates`, flat: first a right pair, second a wrong one of the same row.
    """

    products: Vectors
    form: Vectors
    candidates: Ints
    words: Words
    right: Words
    dense: dict[str, tuple[Vectors, Vectors]]
    back: Ints


def loss(params: Params, start: Params, batch: Batch, names: list[str], settings: Settings) -> tuple[float, Params]:
    """The contrastive ranking loss and its gradient.

    sum over pairs (m, t) of sum_k h(margin - s(m, t) + s(m, t_k)) + back * sum_k h(margin - s(m, t) + s(m_k, t)), over the number of
    pairs, with h the softened hinge, plus decay / 2 times the squared distance from the start.
    """
    weights = params["weights"]
    count = len(batch.candidates)
    columns = batch.products.shape[2]
    scale = batch.form @ weights
    place = np.maximum(batch.candidates, 0)
    left, right = batch.words.times(params["left"]), batch.right.times(params["right"])
    near = right[place]
    association = np.einsum("nr,nkr->nk", left, near)
    pairs = columns - 1 - len(names)  # the last columns of products are of the association and of dense inputs, filled here
    products = batch.products.copy()
    products[:, :, pairs] = association
    mapped = {}
    for at, name in enumerate(names, pairs + 1):
        x, y = batch.dense[name]
        f, g = x @ params[f"{name} left"], y @ params[f"{name} right"]
        mapped[name] = (f, g)
        products[:, :, at] = np.einsum("nd,nkd->nk", f, g[place])
    score = np.einsum("nkp,np->nk", products, scale)
    absent = batch.candidates < 0
    short = (settings.margin - score[:, :1] + score[:, 1:]) / settings.softness
    short = np.where(absent[:, 1:], -50.0, short)
    value = float(_hinge(short).sum()) * settings.softness / count
    share = _slope(short) / count
    slope: Vectors = np.concatenate([-share.sum(1, keepdims=True), share], axis=1)
    if len(batch.back):
        flat = score.ravel()
        behind = (settings.margin - flat[batch.back[:, 0]] + flat[batch.back[:, 1]]) / settings.softness
        value += settings.back * float(_hinge(behind).sum()) * settings.softness / count
        share = settings.back * _slope(behind) / count
        won, lost = (np.bincount(batch.back[:, side], share, score.size).reshape(score.shape) for side in (0, 1))
        slope += (lost - won).astype(slope.dtype)
    gradient: Params = {"weights": batch.form.T @ np.einsum("nk,nkp->np", slope, products)}
    to_left = slope * scale[:, pairs : pairs + 1]
    gradient["left"] = _scattered(batch.words, np.einsum("nk,nkr->nr", to_left, near), len(params["left"]))
    gradient["right"] = _scattered(batch.right, _by_row(place, to_left, left, len(right)), len(params["right"]))
    for at, name in enumerate(names, pairs + 1):
        (x, y), (f, g) = batch.dense[name], mapped[name]
        towards = slope * scale[:, at : at + 1]
        gradient[f"{name} left"] = x.T @ np.einsum("nk,nkd->nd", towards, g[place])
        gradient[f"{name} right"] = y.T @ _by_row(place, towards, f, len(y))
    for key, matrix in params.items():
        moved = matrix - start[key]
        value += settings.decay / 2 * float(np.einsum("ij,ij->", moved, moved, dtype=np.float64))
        gradient[key] = (gradient[key] + settings.decay * moved).astype(matrix.dtype)
    return value, gradient


def _hinge(x: Vectors) -> Vectors:
    hinge: Vectors = np.logaddexp(0.0, x)
    return hinge


def _slope(x: Vectors) -> Vectors:
    return (1.0 / (1.0 + np.exp(-np.clip(x, -50.0, 50.0)))).astype(x.dtype)


def _by_row(place: Ints, slope: Vectors, left: Vectors, rows: int) -> Vectors:
    """Of each row the sum of the left vectors, times their slopes."""
    order = np.argsort(place.ravel(), kind="stable")
    begin = np.searchsorted(place.ravel()[order], np.arange(rows + 1))
    return summed(left[order // place.shape[1]] * slope.ravel()[order, None], begin)


def _scattered(words: Words, slope: Vectors, count: int) -> Vectors:
    """The gradient of (count, rank) word vectors from that of the bags."""
    bag = np.repeat(np.arange(len(words.start) - 1), np.diff(words.start))
    order = np.argsort(words.at, kind="stable")
    begin = np.searchsorted(words.at[order], np.arange(count + 1))
    return summed(slope[bag[order]] * words.weight[order, None], begin)


def fit(
    left: Inputs,
    right: Inputs,
    pairs: Ints,
    plan: Plan = LINKING,
    *,
    settings: Settings | None = None,
    dense: dict[str, float] | None = None,
    seed: int = 0,
    check: Check | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Maps:
    """Maps that bring things of both sides together that belong together.

    Args:
        pairs: int64 (n, 2): a thing of the left side and one of the right side that belongs to it. None: the maps are untrained.
        dense: names of dense inputs, of one size on both sides, with their weight at the start.
        seed: the same maps for the same seed.
        check: called now and then, so that a cancel takes effect.
        progress: told (steps done, steps in all).
    Raises:
        errors.InvalidParameter: a pair names no thing of a side.
    """
    settings = settings or Settings()
    start = untrained(right, left.form.shape[1], plan, seed, dense)
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.min() < 0 or (pairs.max(0) >= [len(left), len(right)]).any()):
        raise InvalidParameter(f"pairs refer to {pairs.max(0).tolist()}, expected below {[len(left), len(right)]} and not negative")
    if not len(pairs) or len(right) < 2:
        return start
    rng = np.random.default_rng(seed)
    if len(pairs) > settings.pairs:
        pairs = pairs[np.sort(rng.permutation(len(pairs))[: settings.pairs])]
    left, truth = left.take(pairs[:, 0]), pairs[:, 1]
    maps = _associated(start, left, right, truth, settings, rng)
    first = {key: matrix.copy() for key, matrix in _params(start).items()}
    first["left"], first["right"] = np.zeros_like(maps.left_vectors), np.zeros_like(maps.right_vectors)
    steps = min(settings.steps, max(10, -(-settings.seen * len(truth) // settings.batch)))
    total = settings.rounds * steps
    for turn in range(settings.rounds):
        data = _mined(maps, left, right, truth, settings, check)
        params = _params(maps)
        moments = {key: (np.zeros_like(matrix), np.zeros_like(matrix)) for key, matrix in params.items()}
        for step in range(steps):
            if check:
                check()
            chosen = rng.integers(0, len(truth), settings.batch)
            _, gradient = loss(params, first, _batch(data, chosen, truth, settings, rng), list(maps.dense), settings)
            rate = settings.rate * (1.0 - (turn * steps + step) / total)
            _adam(params, gradient, moments, step + 1, rate)
            if progress and not step % 50:
                progress(turn * steps + step, total)
        maps = _with(maps, params)
    return maps.rounded()


def _adam(params: Params, gradient: Params, moments: dict[str, tuple[Vectors, Vectors]], step: int, rate: float) -> None:
    """Kingma and Ba, Adam, 2015, https://arxiv.org/abs/1412.6980."""
    for key, slope in gradient.items():
        mean, square = moments[key]
        mean += 0.1 * (slope - mean)
        square += 0.01 * (slope * slope - square)
        pace = rate if key == "weights" else rate / 2
        params[key] -= (pace * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)).astype(np.float32)


def _params(maps: Maps) -> Params:
    params = {"weights": maps.weights.copy(), "left": maps.left_vectors.copy(), "right": maps.right_vectors.copy()}
    for name, (a, b) in maps.dense.items():
        params[f"{name} left"], params[f"{name} right"] = a.copy(), b.copy()
    return params


def _with(maps: Maps, params: Params) -> Maps:
    dense = {name: (params[f"{name} left"], params[f"{name} right"]) for name in maps.dense}
    return replace(maps, weights=params["weights"], left_vectors=params["left"], right_vectors=params["right"], dense=dense)


def _associated(maps: Maps, left: Inputs, right: Inputs, truth: Ints, settings: Settings, rng: np.random.Generator) -> Maps:
    """Give vectors to the words that enough different things say."""
    plan = maps.plan
    owner, key = word_keys(left, plan.left)
    left_words = _supported(key, truth[owner], settings.support)
    owner, key = word_keys(right, plan.right)
    right_words = _supported(key, owner, 2)
    left_vectors = rng.normal(0, 1 / 30, (len(left_words), plan.rank)).astype(np.float32)
    right_vectors = rng.normal(0, 1 / 30, (len(right_words), plan.rank)).astype(np.float32)
    return replace(maps, left_words=left_words, left_vectors=left_vectors, right_words=right_words, right_vectors=right_vectors)


def _supported(key: Ints, thing: Ints, least: int) -> Ints:
    """The keys that occur with so many different things."""
    order = np.lexsort((thing, key))
    key, thing = key[order], thing[order]
    fresh = np.ones(len(key), bool)
    fresh[1:] = (np.diff(key) != 0) | (np.diff(thing) != 0)
    known, count = np.unique(key[fresh], return_counts=True)
    return known[count >= least]


def _mined(maps: Maps, left: Inputs, right: Inputs, truth: Ints, settings: Settings, check: Check | None) -> Batch:
    """The nearest wrong rows of each left thing in the space as it is, and the products of each pair."""
    rows = maps.right(right)
    found = maps.left(left)
    width = min(settings.negatives, len(right) - 1)
    candidates = np.empty((len(left), 1 + width), np.int64)
    candidates[:, 0] = truth
    step = max(1, 20_000_000 // len(right))
    for first in range(0, len(left), step):
        if check:
            check()
        score = found[first : first + step] @ rows.T
        score[np.arange(len(score)), truth[first : first + step]] = -np.inf
        nearest = np.argpartition(-score, width - 1, axis=1)[:, :width]
        candidates[first : first + step, 1:] = np.sort(nearest, axis=1)
    parts, blocks = left_parts(maps, left), right_parts(maps, right)
    columns = maps.weights.shape[1]
    products = np.zeros((len(left), 1 + width, columns), np.float32)
    for first in range(0, len(left), 500):
        here = candidates[first : first + 500]
        for at, (zone, of, _) in enumerate(maps.plan.pairs):
            products[first : first + 500, :, at] = np.einsum("nd,nkd->nk", parts.pairs[zone, of][first : first + 500], blocks[of][here])
        forms = right.form.shape[1] - 1
        begin = len(maps.plan.pairs)
        products[first : first + 500, :, begin : begin + forms] = right.form[here, 1:]
    words = words_of(left, maps.plan.left, maps.left_words)
    others = words_of(right, maps.plan.right, maps.right_words)
    dense = {name: (left.dense[name], right.dense[name]) for name in maps.dense}
    return Batch(products, parts.form, candidates, words, others, dense, np.empty((0, 2), np.int64))


def _batch(data: Batch, chosen: Ints, truth: Ints, settings: Settings, rng: np.random.Generator) -> Batch:
    """Some pairs of all, and which of them compete from right to left."""
    candidates = data.candidates[chosen]
    width = candidates.shape[1]
    # a wrong candidate of one pair is a wrong mention for the pair that the row belongs to
    row = truth[chosen]
    order = np.argsort(row, kind="stable")
    first = np.searchsorted(row[order], candidates[:, 1:].ravel())
    at = np.minimum(first, len(row) - 1)
    hit = np.flatnonzero(row[order][at] == candidates[:, 1:].ravel())
    wrong = hit // (width - 1) * width + 1 + hit % (width - 1)
    back = np.stack([order[at[hit]] * width, wrong], axis=1)
    dense = {name: (x[chosen], y) for name, (x, y) in data.dense.items()}
    return Batch(data.products[chosen], data.form[chosen], candidates, data.words.take(chosen), data.right, dense, back)
