"""Learning from labels: how the rows are called, and what to make of evidence about rows that no label names.

Trees that saw memory at its best would trust nothing else. So the labels are gone through several times, and each time a part of the rows
is hidden from memory and a part is not in the table at all (their mentions mean no row), and a part of the mentions is misspelt: the
trees meet each of these situations with its right answer. Every number that a later stage learns from is made by trees that did not see
the row that is meant.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed import boosting
from pgembed.errors import InvalidParameter
from pgembed.linking import learned, mapped, sense_labels
from pgembed.linking.contract import NIL, Bools, Check, Dense, Example, Floats, Ints, Knowledge, Vectors
from pgembed.linking.decisions import Knob, calibrated, probability
from pgembed.linking.detecting import Detector
from pgembed.linking.learned import Learned, Stage, starts
from pgembed.linking.mapped import Around
from pgembed.linking.memory import Memory
from pgembed.linking.model import Model
from pgembed.linking.passes import PASSES, Labelled, Pass, drawn, misspelt, read, without
from pgembed.linking.pipeline import Measured, Rows
from pgembed.linking.sayings import Sayings
from pgembed.linking.storing import Arrays

Progress = Callable[[str, int, int], None]

BATCH = 1_000  # texts
FOLDS = 2
FEWEST = 5  # labelled mentions
MOST = 36_000  # texts that are gone through in all passes together, drawn where there are more
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Gone:
    """What one pass made of the labels.

    Attributes:
        batches: measured, with the number of their first mention.
        row: of each mention the row it means in the pass's table, NIL for none.
        fold: of each mention.
        plain: nothing was hidden from memory, nothing misspelt.
    """

    batches: list[tuple[int, Measured]]
    row: Ints
    fold: Ints
    plain: bool


def go(
    knowledge: Knowledge,
    labels: Labelled,
    memory: Memory,
    sayings: Sayings,
    how: Pass,
    seed: int,
    tell: Callable[[int], None],
    check: Check | None,
    joint: Sequence[Arrays] = (),
) -> Gone:
    """One pass.

    Args:
        joint: of each fold the maps that no label of its rows is in.
    """
    rng = np.random.default_rng([seed, 7])
    absent = rng.random(len(knowledge)) < how.absent
    if absent.all():
        absent[:] = False
    table = without(knowledge, absent) if absent.any() else knowledge
    hidden = rng.random(len(table)) < how.hidden
    rows = Rows(table, memory, sayings, hidden, joint)
    spoilt = misspelt(labels, how.misspelt, random.Random(seed))
    place = {key: row for row, key in enumerate(table.keys)}
    row = np.array([NIL if key is None else place.get(key, NIL) for key in labels.keys], dtype=np.int64)
    batches = []
    begin = np.searchsorted(spoilt.text, np.arange(0, len(spoilt.texts) + BATCH, BATCH))
    for at, (first, last) in enumerate(zip(begin[:-1].tolist(), begin[1:].tolist(), strict=True)):
        if check:
            check()
        texts = spoilt.texts[at * BATCH : (at + 1) * BATCH]
        measured = rows.measure(
            texts,
            spoilt.text[first:last] - at * BATCH,
            spoilt.start[first:last],
            spoilt.end[first:last],
            meant=row[first:last],
            space=labels.fold[first:last],
        )
        batches.append((first, measured))
        tell(len(texts))
    return Gone(batches, row, labels.fold, not (how.hidden or how.misspelt))


@dataclass(frozen=True)
class Stacked:
    """The candidates of all passes, mentions numbered through.

    Attributes:
        mention, truth, begun: of each candidate.
        values: columns of COLUMNS.
        parts: of each batch which candidates are its.
        fold, row, nil: of each mention.
        plain: of each mention whether its pass is as linking is: nothing hidden from memory, nothing misspelt.
    """

    mention: Ints
    truth: Bools
    begun: Floats
    values: Vectors
    parts: list[tuple[slice, Measured]]
    fold: Ints
    row: Ints
    nil: Vectors
    plain: Bools


def stacked(passes: Sequence[Gone]) -> Stacked:
    """One behind the other."""
    mention, truth, at, base = list[Ints](), list[Bools](), 0, 0
    parts: list[tuple[slice, Measured]] = []
    for gone in passes:
        for first, measured in gone.batches:
            mention.append(measured.mention + base + first)
            truth.append(gone.row[first + measured.mention] == measured.row)
            parts.append((slice(at, at + len(measured.mention)), measured))
            at += len(measured.mention)
        base += len(gone.row)
    return Stacked(
        np.concatenate(mention),
        np.concatenate(truth),
        np.concatenate([measured.begun for _, measured in parts]),
        np.concatenate([measured.values for _, measured in parts]),
        parts,
        np.concatenate([gone.fold for gone in passes]),
        np.concatenate([gone.row for gone in passes]),
        np.concatenate([measured.nil for _, measured in parts]),
        np.concatenate([np.full(len(gone.row), gone.plain) for gone in passes]),
    )


def choice(
    data: Stacked,
    values: Vectors,
    offset: Floats,
    folds: int,
    settings: boosting.Settings,
    seed: int,
    check: Check | None,
    weight: Floats | None = None,
) -> tuple[Stage, Floats]:
    """A stage that chooses among candidates, fitted to the mentions that have the right one among several; and what it says of each mention
    if it is fitted to the other folds."""
    start = starts(data.mention)
    size = np.diff(start, append=len(data.mention))
    can = np.repeat((np.add.reduceat(data.truth.astype(np.int64), start) > 0) & (size > 1), size)
    borders = boosting.borders(values[can] if can.any() else values)
    bins = borders.bins(values)
    fold = data.fold[data.mention]

    def fitted(these: Bools, seed: int) -> boosting.Trees:
        begins, counts = starts(data.mention[these]), None if weight is None else weight[these]
        return boosting.fit(
            bins.of(these), data.truth[these], offset[these], start=begins, weight=counts, settings=settings, seed=seed, check=check
        )

    odds = offset.copy()
    for number in range(folds):
        there = fold == number
        odds[there] = fitted(can & ~there, seed + number).log_odds(bins.of(there), offset[there])
    return Stage(borders, fitted(can, seed + folds)), odds


def supported(data: Stacked, odds: Floats) -> tuple[Vectors, Floats]:
    """The second stage's values, and what the untrained ranking makes of support."""
    made, added = [], []
    for where, measured in data.parts:
        columns, more = learned.support(
            measured.prepared.graph, measured.at, odds[where], measured.values[:, learned.SHARE], measured.values[:, learned.LABELS]
        )
        made.append(columns)
        added.append(more)
    return learned.joined(data.values, np.concatenate(made)), np.concatenate(added)


def blended(data: Stacked, odds: Floats) -> Floats:
    """`learned.blended`."""
    made = [
        learned.blended(measured.prepared.graph, measured.at, odds[where], measured.begun, measured.values)
        for where, measured in data.parts
    ]
    return np.concatenate(made)


def scaled(data: Stacked, odds: Floats, added: Floats) -> float:
    """How much of the untrained support is best, drawn to all of it where there are few labels."""
    start = starts(data.mention)
    losses = []
    for scale in SCALES:
        chance = boosting.softmax(odds + scale * added, start)[data.truth]
        losses.append(-float(np.log(np.maximum(chance, 1e-9)).sum()) + 10.0 * (1.0 - scale) ** 2)
    return SCALES[int(np.argmin(losses))]


def fit(
    data: Stacked, folds: int, seed: int, check: Check | None = None, tell: Callable[[], None] = lambda: None
) -> tuple[Learned, Knob, dict[str, float]]:
    """All three stages, each learning from what the one before says of rows that it did not see."""
    first, odds = choice(data, data.values[:, : len(learned.EVIDENCE)], data.begun, folds, learned.TREES, seed, check)
    tell()
    values, added = supported(data, odds)
    scale = scaled(data, odds, added)
    start = starts(data.mention)
    unknown = np.add.reduceat((data.truth & (data.values[:, learned.KNOWN] == 0)).astype(np.int64), start) > 0
    weight = np.repeat(np.where(unknown, learned.UNKNOWN, 1.0), np.diff(start, append=len(data.mention)))
    offset = odds + scale * added
    second, odds = choice(data, learned.weighed(values), offset, folds, learned.AGAIN, seed + 100, check, weight / weight.mean())
    tell()
    odds = blended(data, odds)
    at, made, begins, _ = learned.third(values, data.mention, odds, data.nil[data.mention[starts(data.mention)]])
    truth, of, plain = data.truth[at], data.fold[data.mention[at]], data.plain[data.mention[at]]
    counts = np.where(plain, learned.PLAIN, 1.0)
    counts = counts / counts.mean() if len(counts) else counts
    borders = boosting.borders(made)
    bins = borders.bins(made)
    unseen = begins.copy()

    def fitted(these: Bools, number: int) -> boosting.Trees:
        settings = learned.SURE
        return boosting.fit(
            bins.of(these), truth[these], begins[these], weight=counts[these], settings=settings, seed=seed + 200 + number, check=check
        )

    for number in range(folds):
        there = of == number
        unseen[there] = fitted(~there, number).log_odds(bins.of(there), begins[there])
    trees = fitted(np.ones(len(truth), bool), folds)
    # What is misspelt or hidden is right more often than its score where scores are low: linking meets less of it than the passes do.
    line = calibrated(unseen[plain], truth[plain])
    score = probability(line(unseen))
    tell()
    exists = data.row[data.mention[at]] != NIL
    summary = {"held_out_accuracy": float(truth[exists].mean()) if exists.any() else float("nan")}
    return Learned(first, second, scale, Stage(borders, trees), line), Knob.of(score[plain], truth[plain]), summary


def train(
    knowledge: Knowledge,
    examples: Sequence[Example],
    dense: Dense | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    check: Check | None = None,
) -> Model:
    """`engine.train`."""
    rng = random.Random(seed)
    labels = read(examples, knowledge, FOLDS, rng)
    if len(labels.keys) < FEWEST:
        raise InvalidParameter(
            f"labelled mentions are too few to learn from: {len(labels.keys)}, of at least {FEWEST}",
            hint="Label more mentions, within the bounds of their texts.",
        )
    said = [(labels.surface(at), key) for at, key in enumerate(labels.keys)]
    called = zip(knowledge.keys, knowledge.names, knowledge.aliases, strict=True)
    memory = Memory.of(said)
    sayings = Sayings.of(said, {key: [name for name in (first, *others) if name] for key, first, others in called})
    habits = Detector(knowledge).learn(_whole(examples), seed=seed, check=check)
    each = [drawn(labels, MOST // len(PASSES), rng) for _ in PASSES]
    total, done = sum(len(part.texts) for part in each), 0

    def tell(texts: int) -> None:
        nonlocal done
        done += texts
        if progress:
            progress("reading", done, total)

    around = Around(knowledge)
    place = {key: row for row, key in enumerate(knowledge.keys)}
    row = np.array([NIL if key is None else place[key] for key in labels.keys], dtype=np.int64)
    # Maps of the folds as thorough as those that link: trees believe evidence as far as they saw it tell right from wrong.
    *spaces, joint = [
        mapped.learn(around, labels.texts, labels.text, labels.start, labels.end, meant, seed, check)
        for meant in (*(np.where(labels.fold == fold, NIL, row) for fold in range(FOLDS)), row)
    ]

    gone = [
        go(knowledge, part, memory, sayings, how, 10 * seed + at, tell, check, spaces)
        for at, (part, how) in enumerate(zip(each, PASSES, strict=True))
    ]
    stage = 0

    def fitted() -> None:
        nonlocal stage
        stage += 1
        if progress:
            progress("learning", stage, 3)

    data = stacked(gone)
    learnt, knob, summary = fit(data, FOLDS, seed, check, fitted) if len(data.mention) else (None, Knob(np.zeros(0), np.zeros(0)), {})
    summary = {"labels": float(len(labels.keys)), "texts": float(len(labels.texts)), **summary}
    where = labels.texts, labels.text, labels.start, labels.end
    senses = None if dense is None else sense_labels.learn(knowledge, *where, row, dense, seed=seed, check=check)
    space = None if dense is None or senses is None else dense.space
    summary = {name: value for name, value in summary.items() if value == value}
    return Model(space, summary, memory, sayings, learnt, knob, joint, habits, senses)


def _whole(examples: Sequence[Example]) -> list[Example]:
    """Examples without spans that are beyond their text."""
    made = []
    for example in examples:
        kept = [at for at, (a, b) in enumerate(example.spans) if 1 <= a < b <= len(example.content) + 1]
        made.append(Example(example.content, [example.spans[at] for at in kept], [example.keys[at] for at in kept]))
    return made
