"""WebNLG for entity linking: the table, the texts, and the sets that linking is measured on.

A linker sees texts and spans only. Type of a mention, category and id of a text serve to split and to report, never as features.

(a) ``dev``: trained on all training texts, scored on the development texts.
(b) ``held_out(fold)``: ``default_rng(fold).random(1922) < .2`` of the entities lose every training mention; the training texts are cut
    into five by their set of gold entities (so that the texts of one set are never on both sides), one fifth is scored, on the mentions
    of those entities only. Folds 0 to 4 are reported; folds from 5 draw other entities and cut otherwise: they are for making choices.
(c) ``left_out(part)``: the training texts of some of the ten categories are scored, after training on those of the others.
(n) ``withheld``: ``default_rng(0).random(1922) < .2`` of the entities leave table, relations and labels; scored on the development texts.

>>> corpus = link_data.read()
>>> split = corpus.held_out(0)
>>> linker = Linker(split.knowledge, model=train(split.knowledge, split.examples))
>>> ranked = linker.ranked([text.content for text in split.texts], [text.spans for text in split.texts])
>>> link_data.accuracy(split, ranked)["all"].at(1)
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pgembed.linking.contract import Example, Facts, Knowledge, Ranking

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TYPES = ("name", "description", "demonstrative")
FOLDS = 5
# Categories by the alphabet, two or three at a time.
PARTS = (
    ("Airport", "Astronaut", "Building"),
    ("City", "ComicsCharacter"),
    ("Food", "Monument"),
    ("SportsTeam", "University", "WrittenWork"),
)
SHARE = 0.2  # of the entities that are held out, withheld, hidden
MISSPELT = 0.3  # share of the mentions
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DRAWS = 1_000  # of the bootstrap

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Text:
    """A text with its gold mentions, in their order.

    Attributes:
        spans: 1-based, end exclusive, as in `Link`.
        keys: the entity of each.
        kinds: name, description or demonstrative; for reports only.
        category: for splits only.
        others: spans that are annotated and not gold (literals, pronouns, entities that no row is of): neither right nor wrong where
            mentions are searched for.
    """

    content: str
    spans: tuple[tuple[int, int], ...]
    keys: tuple[str, ...]
    kinds: tuple[str, ...]
    category: str
    others: tuple[tuple[int, int], ...] = ()

    @property
    def group(self) -> frozenset[str]:
        """The set of its gold entities: texts of one set say the same in other words."""
        return frozenset(self.keys)

    def example(self, without: frozenset[str] | set[str] = frozenset()) -> Example:
        """As labels; mentions of some entities are left out, as if nobody had marked them."""
        kept = [at for at, key in enumerate(self.keys) if key not in without]
        return Example(self.content, [self.spans[at] for at in kept], [self.keys[at] for at in kept])


@dataclass(frozen=True)
class Split:
    """What to train on, and what to score.

    Attributes:
        name: of the set.
        knowledge: the table.
        examples: labels.
        texts: to link.
        scored: of each text's mentions which count; flat, in the order of the texts and of their mentions.
        row: of each mention the row that it means, -1 where the table has none; flat too.
    """

    name: str
    knowledge: Knowledge
    examples: list[Example] = field(repr=False)
    texts: list[Text] = field(repr=False)
    scored: Bools = field(repr=False)

    @cached_property
    def row(self) -> npt.NDArray[np.int64]:
        place = {key: row for row, key in enumerate(self.knowledge.keys)}
        return np.array([place.get(key, -1) for text in self.texts for key in text.keys], dtype=np.int64)

    @cached_property
    def text(self) -> npt.NDArray[np.int64]:
        """Of each mention the number of its text."""
        return np.repeat(np.arange(len(self.texts)), [len(text.keys) for text in self.texts])

    @cached_property
    def kind(self) -> npt.NDArray[np.str_]:
        return np.array([kind for text in self.texts for kind in text.kinds])

    @property
    def contents(self) -> list[str]:
        return [text.content for text in self.texts]

    @property
    def spans(self) -> list[tuple[tuple[int, int], ...]]:
        return [text.spans for text in self.texts]

    def some(self, texts: int) -> Split:
        """A part of the training and of the scored texts, for a quick look."""
        rng = random.Random(0)
        chosen = sorted(rng.sample(range(len(self.texts)), min(texts, len(self.texts))))
        kept = np.isin(self.text, chosen)
        examples = rng.sample(self.examples, min(4 * texts, len(self.examples)))
        return Split(self.name, self.knowledge, examples, [self.texts[at] for at in chosen], self.scored[kept])


@dataclass(frozen=True)
class Corpus:
    """All of it.

    Attributes:
        knowledge: 1,922 entities; what the triples say of them.
        train, dev: texts, those without a gold mention too.
    """

    knowledge: Knowledge
    train: list[Text] = field(repr=False)
    dev: list[Text] = field(repr=False)

    def on_dev(self) -> Split:
        """Set (a)."""
        return _split("dev", self.knowledge, self.train, self.dev)

    def held_out(self, fold: int) -> Split:
        """Set (b), one of its folds."""
        absent = self.drawn(fold)
        groups = sorted({text.group for text in self.train}, key=sorted)
        order = np.random.default_rng(10_000 + fold // FOLDS).permutation(len(groups))
        part = dict(zip(groups, (order % FOLDS).tolist(), strict=True))
        train = [text for text in self.train if part[text.group] != fold % FOLDS]
        test = [text for text in self.train if part[text.group] == fold % FOLDS and absent & text.group]
        return _split(f"held out {fold}", self.knowledge, train, test, absent)

    def left_out(self, part: int) -> Split:
        """Set (c), one of its four parts."""
        here = PARTS[part]
        train = [text for text in self.train if text.category not in here]
        return _split(", ".join(here), self.knowledge, train, [text for text in self.train if text.category in here])

    def withheld(self, seed: int = 0) -> Split:
        """Set (n): mentions of withheld entities have row -1 and count too; in the labels they are no mentions."""
        absent = self.drawn(seed)
        some = _split("withheld", without(self.knowledge, absent), self.train, self.dev, absent)
        return replace(some, scored=np.ones(len(some.scored), dtype=np.bool_))

    def some(self, train: int, dev: int) -> Corpus:
        """A few texts and the entities of theirs alone, for a quick look: time of training grows with the table."""
        rng = random.Random(0)
        kept, asked = rng.sample(self.train, train), rng.sample(self.dev, dev)
        named = {key for text in kept + asked for key in text.keys}
        return Corpus(without(self.knowledge, set(self.knowledge.keys) - named), kept, asked)

    def drawn(self, seed: int) -> set[str]:
        """A fifth of the entities."""
        chosen = np.random.default_rng(seed).random(len(self.knowledge)) < SHARE
        return {key for key, is_drawn in zip(self.knowledge.keys, chosen, strict=True) if is_drawn}


def _split(name: str, knowledge: Knowledge, train: list[Text], test: list[Text], absent: set[str] | None = None) -> Split:
    test = [text for text in test if text.keys]
    scored = [absent is None or key in absent for text in test for key in text.keys]
    return Split(name, knowledge, [text.example(absent or set()) for text in train], test, np.array(scored, dtype=np.bool_))


def without(knowledge: Knowledge, absent: set[str]) -> Knowledge:
    """A table that some entities are not in: no row, no alias, no fact with them."""
    kept = [row for row, key in enumerate(knowledge.keys) if key not in absent]
    place = {row: at for at, row in enumerate(kept)}
    place[-1] = -1
    facts = knowledge.facts
    these = [at for at in range(len(facts.text)) if int(facts.row[at]) in place and int(facts.other[at]) in place]
    return Knowledge(
        [knowledge.keys[row] for row in kept],
        [knowledge.names[row] for row in kept],
        [knowledge.aliases[row] for row in kept],
        [knowledge.types[row] for row in kept],
        [knowledge.context[row] for row in kept],
        knowledge.relations,
        Facts(
            np.array([place[int(facts.row[at])] for at in these], dtype=np.int64),
            facts.relation[these],
            np.array([place[int(facts.other[at])] for at in these], dtype=np.int64),
            [facts.text[at] for at in these],
        ),
    )


def folder(data: Path = DATA) -> Path:
    """Where the data lies; ends the part of the benchmark where it is absent."""
    if not (data / "webnlg").is_dir():
        print(f"skipped: needs WebNLG, and {data} has no webnlg")
        raise SystemExit(0)
    return data / "webnlg"


def read(data: Path = DATA) -> Corpus:
    """The table and the texts."""
    place = folder(data)
    return Corpus(_knowledge(place), _texts(place, "train"), _texts(place, "dev"))


def _knowledge(place: Path) -> Knowledge:
    def rows(name: str) -> Iterator[dict[str, str]]:
        with gzip.open(place / name, "rt", encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    entities = [row for row in rows("entities.csv.gz") if row["kind"] == "entity"]
    number = {row["entity"]: at for at, row in enumerate(entities)}
    names = [row["name"] for row in entities]
    n, relations = len(names), dict[str, int]()
    subject, relation, other, text = list[int](), list[int](), list[int](), list[str]()
    for triple in rows("kb_triples.csv.gz"):
        if triple["subject"] not in number:
            continue
        subject.append(number[triple["subject"]])
        relation.append(relations.setdefault(in_words(triple["predicate"]), len(relations)))
        other.append(number.get(triple["object"], -1))
        text.append(names[other[-1]] if other[-1] >= 0 else triple["object"].strip('"').replace("_", " "))
    facts = Facts(np.array(subject, dtype=np.int64), np.array(relation, dtype=np.int64), np.array(other, dtype=np.int64), text)
    return Knowledge([row["entity"] for row in entities], list(names), [()] * n, [()] * n, [None] * n, list(relations), facts)


def in_words(predicate: str) -> str:
    """leaderName: leader name."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", predicate).replace("_", " ").lower()


def _texts(place: Path, split: str) -> list[Text]:
    made = []
    with gzip.open(place / f"mentions_{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            read = json.loads(line)
            mentions = sorted(read["mentions"], key=lambda mention: mention["start"])
            gold = [mention for mention in mentions if mention["gold"]]
            made.append(
                Text(
                    read["text"],
                    tuple((mention["start"] + 1, mention["end"] + 1) for mention in gold),
                    tuple(mention["entity"] for mention in gold),
                    tuple(mention["type"] for mention in gold),
                    read["category"],
                    tuple((mention["start"] + 1, mention["end"] + 1) for mention in mentions if not mention["gold"]),
                )
            )
    return made


def misspelt(split: Split, seed: int = 0, share: float = MISSPELT) -> tuple[Split, Bools]:
    """The split with a share of its mentions misspelt, in the text itself, and which mentions differ: flat.

    Each word of three letters or more gets one random insertion, deletion, substitution or swap, above six letters two.
    """
    rng = random.Random(seed)
    texts, changed = [], list[bool]()
    for text in split.texts:
        parts, spans, at = list[str](), list[tuple[int, int]](), 0
        length = 0
        for start, end in text.spans:
            before, surface = text.content[at : start - 1], text.content[start - 1 : end - 1]
            said = re.sub(r"[^\W\d_]{3,}", lambda word: wrong(word.group(), rng), surface) if rng.random() < share else surface
            changed.append(said != surface)
            parts += [before, said]
            spans.append((length + len(before) + 1, length + len(before) + len(said) + 1))
            length += len(before) + len(said)
            at = end - 1
        parts.append(text.content[at:])
        texts.append(replace(text, content="".join(parts), spans=tuple(spans), others=()))
    return replace(split, texts=texts), np.array(changed, dtype=np.bool_)


def wrong(word: str, rng: random.Random) -> str:
    """A word with one typing error, with two if it has more than six letters."""
    for _ in range(2 if len(word) > 6 else 1):
        kind, at, letter = rng.choice(("insert", "delete", "substitute", "swap")), rng.randrange(len(word)), rng.choice(LETTERS)
        if kind == "insert":
            word = word[:at] + letter + word[at:]
        elif kind == "delete":
            word = word[:at] + word[at + 1 :]
        elif kind == "substitute":
            word = word[:at] + letter + word[at + 1 :]
        else:
            at = rng.randrange(len(word) - 1)
            word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word


@dataclass(frozen=True)
class Share:
    """A share, such as accuracy, with its 95 % interval by bootstrap over texts."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def share(of: Floats | Bools, among: Floats | Bools, text: npt.NDArray[np.int64], seed: int = 0) -> Share:
    """sum(of) / sum(among) over mentions, drawn again by texts.

    Args:
        of, among: of each mention what it adds to either sum.
        text: of each mention its text; texts may be of many splits, if their numbers differ.
    """
    _, number = np.unique(text, return_inverse=True)
    number = number.reshape(-1)
    above, below = np.bincount(number, of), np.bincount(number, among)
    n = len(above)
    if not n or not below.sum():
        return Share(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(DRAWS)])
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanpercentile((drawn @ above) / (drawn @ below), [2.5, 97.5])
    return Share(float(above.sum() / below.sum()), float(low), float(high), int(np.count_nonzero(among)))


@dataclass(frozen=True)
class Accuracy:
    """How often the right row is among the first, of the mentions of one kind."""

    rank: npt.NDArray[np.int64]
    text: npt.NDArray[np.int64]

    def at(self, k: int) -> Share:
        return share(self.rank < k, np.ones(len(self.rank)), self.text)


def ranks(split: Split, ranked: Sequence[Sequence[Ranking]]) -> npt.NDArray[np.int64]:
    """Of each mention the place of its row among its candidates, from 0; far behind where it is none of them. Flat."""
    flat = [candidates for of_text in ranked for candidates in of_text]
    place = [best.rows.index(row) if row in best.rows else 1_000_000 for best, row in zip(flat, split.row.tolist(), strict=True)]
    return np.array(place, dtype=np.int64)


def accuracy(split: Split, ranked: Sequence[Sequence[Ranking]], only: Bools | None = None) -> dict[str, Accuracy]:
    """Of ``all`` mentions that are scored (and ``only`` names) and of each kind that there is."""
    counts = split.scored if only is None else split.scored & only
    return by_kind(ranks(split, ranked)[counts], split.text[counts], split.kind[counts])


def by_kind(rank: npt.NDArray[np.int64], text: npt.NDArray[np.int64], kind: npt.NDArray[np.str_]) -> dict[str, Accuracy]:
    """Accuracy of all, and of each kind."""
    made = {"all": Accuracy(rank, text)}
    for each in TYPES:
        if (kind == each).any():
            made[each] = Accuracy(rank[kind == each], text[kind == each])
    return made


def together(parts: Sequence[dict[str, Accuracy]]) -> dict[str, Accuracy]:
    """Several splits as one."""
    made = {}
    for kind in ("all", *TYPES):
        found = [(number, part[kind]) for number, part in enumerate(parts) if kind in part]
        if found:
            rank = np.concatenate([one.rank for _, one in found])
            made[kind] = Accuracy(rank, np.concatenate([one.text + 1_000_000 * number for number, one in found]))
    return made
