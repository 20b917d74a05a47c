"""Maps of both sides into one space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pgembed.errors import InvalidParameter
from pgembed.joint.features import Hashes, Inputs, Ints, Vectors, Zone, grams, summed
from pgembed.joint.words import Counts, Lexicon, counted, numbers, signs
from pgembed.lexical.sparse import once

_BAGS = 64  # that are summed at a time


@dataclass(frozen=True)
class Block:
    """Dimensions of the space: a zone of the right side, and what of the left side is compared with it.

    Attributes:
        zone: of the right side.
        size: dimensions.
        power: vectors of the right side are divided by their length to this power: 1 makes cosines, less lets a row of many words gain.
        exact: words are equal or not; otherwise they are as like as their n-grams.
    """

    zone: str
    size: int
    power: float = 1.0
    exact: bool = False


@dataclass(frozen=True)
class Plan:
    """What is compared with what.

    Attributes:
        blocks: of the space.
        pairs: zone of the left side, zone of the right side (that is a block's), weight as long as nothing is learned.
        left, right: zones of which words of the left side are associated with words of the right side, by learning alone.
        rank: dimensions of that association.
        known: (zone of the left side, block): how much of the zone's words rows have in the block, for the weights to depend on.
    """

    blocks: tuple[Block, ...]
    pairs: tuple[tuple[str, str, float], ...]
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    rank: int = 32
    known: tuple[tuple[str, str], ...] = ()


LINKING = Plan(
    blocks=(
        Block("name", 384),
        Block("whole", 96, power=0.0, exact=True),
        Block("neighbours", 256, power=0.6),
        Block("beyond", 64, power=0.7),
        Block("stands", 64),
        Block("has", 64),
        Block("context", 128),
    ),
    pairs=(
        ("surface", "name", 1.0),
        ("surface", "stands", 0.05),
        ("surface", "has", 0.0),
        ("surface", "neighbours", 0.0),
        ("whole", "whole", 0.3),
        ("named", "whole", 0.0),
        ("others", "name", 0.0),
        ("others", "neighbours", 0.15),
        ("others", "beyond", 0.0),
        ("previous", "name", 0.0),
        ("previous", "neighbours", 0.0),
        ("text", "name", 0.0),
        ("text", "neighbours", 0.1),
        ("text", "stands", 0.0),
        ("text", "has", 0.0),
        ("before", "stands", 0.0),
        ("after", "has", 0.0),
        ("surface", "context", 0.0),
        ("text", "context", 0.2),
    ),
    left=("surface", "before", "after"),
    right=("stands", "has"),
    known=(("surface", "name"), ("surface", "stands"), ("whole", "whole")),
)


@dataclass(frozen=True)
class Maps:
    """Two maps into one space: `left` and `right` of inputs, the inner product says how well they fit.

    f(m) has in block b the sum over its pairs (z, b) of w_zb(m) u_zb(m), g(t) has v_b(t): u and v are the sums of the words' vectors,
    weighted by their rarity among the rows and brought to unit length (v: divided by its length to the block's power). A word's vector is
    a random projection of its n-grams, of unit length. w(m) is linear in the form of m. To this come A'x(m) B'y(t), words of m associated
    with words of t; what the form of t says, such as how many facts it has; and dense inputs, (I + L) and (I + R) times theirs.

    Attributes:
        plan: what is compared with what.
        counts: of the rows.
        seed: of the projections.
        weights: float32 (form of the left side + known + 1, pairs + right form + 1 + dense; the 1 is the association), of which w(m) comes.
        left_words, right_words: hashed words with their zone, ascending, that have a vector.
        left_vectors, right_vectors: float32 (words, rank).
        dense: by name, (left, right) float32 (d, size) each.
    """

    plan: Plan
    counts: Counts
    seed: int
    weights: Vectors
    left_words: Ints
    left_vectors: Vectors
    right_words: Ints
    right_vectors: Vectors
    dense: Mapping[str, tuple[Vectors, Vectors]]

    @cached_property
    def lexicon(self) -> Lexicon:
        """Vectors of words, as long as the largest block's."""
        return Lexicon(self.counts.grams, max((block.size for block in self.plan.blocks), default=1), self.seed)

    @property
    def dim(self) -> int:
        """Dimensions of the space."""
        sizes = [block.size for block in self.plan.blocks] + [matrix.shape[1] for _, matrix in self.dense.values()]
        return sum(sizes) + self.plan.rank + self.forms

    @property
    def forms(self) -> int:
        """Columns of the right side's form that count."""
        columns: int = self.weights.shape[1]
        return columns - len(self.plan.pairs) - 1 - len(self.dense)

    def rounded(self) -> Maps:
        """As it is when stored: numbers of 16 bits."""
        dense = {name: (_half(a), _half(b)) for name, (a, b) in self.dense.items()}
        left, right = _half(self.left_vectors), _half(self.right_vectors)
        return replace(self, weights=_half(self.weights), left_vectors=left, right_vectors=right, dense=dense)

    def over(self, right: Inputs) -> Maps:
        """The same maps over other rows: words are as rare as they are there."""
        return replace(self, counts=counted(right, tuple(block.zone for block in self.plan.blocks)))

    def left(self, inputs: Inputs) -> Vectors:
        """float32 (n, dim) of the left side; zeros where a thing has nothing."""
        parts = left_parts(self, inputs)
        scale = parts.form @ self.weights
        pairs = len(self.plan.pairs)
        columns = []
        for block in self.plan.blocks:
            out = np.zeros((len(inputs), block.size), np.float32)
            for at, (name, of, _) in enumerate(self.plan.pairs):
                if of == block.zone:
                    out += scale[:, at : at + 1] * parts.pairs[name, of]
            columns.append(out)
        words = words_of(inputs, self.plan.left, self.left_words)
        last = self.weights.shape[1] - len(self.dense)
        columns.append(scale[:, last - 1 : last] * words.times(self.left_vectors))
        columns.append(scale[:, pairs : last - 1])
        for at, (name, (matrix, _)) in enumerate(self.dense.items(), last):
            columns.append(scale[:, at : at + 1] * (_given(inputs, name, matrix) @ matrix))
        return np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float32)

    def right(self, inputs: Inputs) -> Vectors:
        """float32 (n, dim) of the right side."""
        blocks = right_parts(self, inputs)
        columns = [blocks[block.zone] for block in self.plan.blocks]
        columns.append(words_of(inputs, self.plan.right, self.right_words).times(self.right_vectors))
        columns.append(inputs.form[:, 1:])
        columns += [_given(inputs, name, matrix) @ matrix for name, (_, matrix) in self.dense.items()]
        return np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float32)


def _half(matrix: Vectors) -> Vectors:
    return matrix.astype(np.float16).astype(np.float32)


def untrained(right: Inputs, left_form: int, plan: Plan = LINKING, seed: int = 0, dense: Mapping[str, float] | None = None) -> Maps:
    """The space before anything is learned: the weighted sum of the plain cosines.

    Args:
        right: rows, for how rare words are.
        left_form: columns of the left side's form; the first is 1 for each.
        dense: names of dense inputs, of one size on both sides, and their weights.
    """
    dense = dense or {}
    zones = tuple(block.zone for block in plan.blocks)
    forms = right.form.shape[1] - 1
    weights = np.zeros((left_form + 2 * len(plan.known) + 1, len(plan.pairs) + 1 + forms + len(dense)), np.float32)
    weights[0, : len(plan.pairs)] = [weight for _, _, weight in plan.pairs]
    weights[0, len(plan.pairs) + forms] = 1.0
    if dense:
        weights[0, -len(dense) :] = list(dense.values())
    nothing = np.empty(0, np.int64)
    none = np.empty((0, plan.rank), np.float32)
    matrices = {}
    for name in dense:
        size = right.dense[name].shape[1]
        matrices[name] = (np.eye(size, dtype=np.float32), np.eye(size, dtype=np.float32))
    return Maps(plan, counted(right, zones), seed, weights, nothing, none, nothing, none, matrices)


@dataclass(frozen=True)
class Left:
    """The left side before its weights: vectors by pair (n, size), and the form with what is known, (n, k)."""

    pairs: dict[tuple[str, str], Vectors]
    form: Vectors


def left_parts(maps: Maps, inputs: Inputs) -> Left:
    """Vectors of unit length (or zero) of each pair, and what their weights depend on."""
    plan = maps.plan
    whole, raw = maps.lexicon.of(inputs.words)
    pairs: dict[tuple[str, str], Vectors] = {}
    for block in plan.blocks:
        vectors = _words(maps, block, whole, raw)
        for name, of, _ in plan.pairs:
            if of == block.zone:
                pairs[name, of] = _unit(_bagged(inputs.zones[name], vectors), 1.0)
    columns = [inputs.form]
    for name, of in plan.known:
        weight, known = maps.counts.weights(of, whole)
        zone = inputs.zones[name]
        weights = weight[zone.word]
        total = np.bincount(zone.owner, weights, len(zone))
        share = np.bincount(zone.owner, weights * known[zone.word], len(zone)) / np.maximum(total, 1e-6)
        rarest = np.zeros(len(zone), np.float32)
        filled = np.flatnonzero(np.diff(zone.start))
        if len(filled):
            rarest[filled] = np.maximum.reduceat(weights, zone.start[filled])
        columns += [share[:, None].astype(np.float32), rarest[:, None] / np.float32(maps.counts.most)]
    alone = np.diff(inputs.zones["others"].start) == 0 if "others" in inputs.zones else np.zeros(len(inputs), bool)
    columns.append(alone[:, None].astype(np.float32))
    return Left(pairs, np.concatenate(columns, axis=1))


def right_parts(maps: Maps, inputs: Inputs) -> dict[str, Vectors]:
    """Vectors of each block (n, size)."""
    whole, raw = maps.lexicon.of(inputs.words)
    made = {}
    for block in maps.plan.blocks:
        made[block.zone] = _unit(_bagged(inputs.zones[block.zone], _words(maps, block, whole, raw)), block.power)
    return made


def _words(maps: Maps, block: Block, whole: Hashes, raw: Vectors) -> Vectors:
    """Vectors of words (words, size), as long as the words are rare; of length 1 in an exact block."""
    if block.exact:
        return _unit(signs(whole, block.size, maps.seed), 1.0)
    weight, _ = maps.counts.weights(block.zone, whole)
    return _unit(raw[:, : block.size], 1.0) * weight[:, None]


def _bagged(zone: Zone, vectors: Vectors) -> Vectors:
    """Sums of the vectors of the words of each bag; as matrix products of few bags, which share words."""
    out = np.zeros((len(zone), vectors.shape[1]), np.float32)
    for first in range(0, len(zone), _BAGS):
        last = min(len(zone), first + _BAGS)
        inside = slice(int(zone.start[first]), int(zone.start[last]))
        words, at = np.unique(zone.word[inside], return_inverse=True)
        if not len(words):
            continue
        owner = np.repeat(np.arange(last - first), np.diff(zone.start[first : last + 1]))
        amount = np.bincount(owner * len(words) + at, zone.weight[inside], (last - first) * len(words))
        out[first:last] = amount.reshape(last - first, len(words)).astype(np.float32) @ vectors[words]
    return out


def _unit(vectors: Vectors, power: float) -> Vectors:
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    if power == 0.0:
        return vectors
    return (vectors / np.where(length > 0, length, 1.0) ** np.float32(power)).astype(np.float32)


def _given(inputs: Inputs, name: str, matrix: Vectors) -> Vectors:
    if name not in inputs.dense or inputs.dense[name].shape != (len(inputs), matrix.shape[0]):
        found = inputs.dense[name].shape if name in inputs.dense else "none"
        raise InvalidParameter(f'dense inputs "{name}" have shape {found}, expected {(len(inputs), matrix.shape[0])}')
    return inputs.dense[name]


@dataclass(frozen=True)
class Words:
    """Bags over words that have a vector, of length 1 or less: bag i has the words ``at[start[i]:start[i + 1]]`` with ``weight``."""

    start: Ints
    at: Ints
    weight: Vectors

    def times(self, vectors: Vectors) -> Vectors:
        """Sums of (words, rank) vectors, one of each bag."""
        return summed(vectors[self.at] * self.weight[:, None], self.start)

    def take(self, bags: Ints) -> Words:
        """These bags, in this order."""
        chosen = Zone(self.start, self.at, self.weight).take(bags)
        return Words(chosen.start, chosen.word, chosen.weight)


def word_keys(inputs: Inputs, zones: tuple[str, ...]) -> tuple[Ints, Ints]:
    """Of each entry of some zones the thing, ascending, and the hash of its word and zone."""
    whole = grams(inputs.words).whole
    owners, keys = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for name in zones:
        if name in inputs.zones:
            zone = inputs.zones[name]
            tag = np.uint64(int.from_bytes(name.encode()[:7], "little") * 2 + 1)
            with np.errstate(over="ignore"):
                keys.append(numbers(whole[zone.word] * tag))
            owners.append(zone.owner)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return owner[order], np.concatenate(keys)[order]


def words_of(inputs: Inputs, zones: tuple[str, ...], known: Ints) -> Words:
    """The words of some zones that are known, each once in a bag."""
    owner, key = word_keys(inputs, zones)
    at = np.minimum(np.searchsorted(known, key), max(0, len(known) - 1))
    kept = known[at] == key if len(known) else np.zeros(len(key), bool)
    pairs = once(owner[kept] * np.int64(len(known) + 1) + at[kept])
    count = np.bincount(pairs // (len(known) + 1), minlength=len(inputs))
    start = np.zeros(len(inputs) + 1, np.int64)
    np.cumsum(count, out=start[1:])
    weight = np.repeat(1.0 / np.sqrt(np.maximum(count, 1)), count).astype(np.float32)
    return Words(start, pairs % (len(known) + 1), weight)
