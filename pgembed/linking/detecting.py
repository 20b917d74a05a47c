"""Finding mentions with what a linker knows: its names, what its rows are called in general, and what labels took for a mention."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from pgembed.lexical.tokens import fold
from pgembed.linking.contract import Check, Example, Knowledge
from pgembed.mentions import dictionary, finding
from pgembed.mentions.found import Mentions
from pgembed.mentions.habits import Habits
from pgembed.mentions.language import ENGLISH, Language

# Candidates that are mentions with less probability than this are not even looked at; few of them are (2 in 100).
LEAST = 0.05
# Texts of rows that are read for the words that their language writes small.
MOST_READ = 20_000


class Detector:
    """Finds mentions; compiled from a knowledge.

    Args:
        habits: from `learn`; None: whatever is a name, looks like one or describes a row is a candidate.
        language: which words are ordinary, besides those that the rows' texts mostly write small, and that are no row's name.
    """

    def __init__(self, knowledge: Knowledge, habits: Habits | None = None, language: Language = ENGLISH) -> None:
        self.habits = habits
        self.dictionary = dictionary.compile(
            enumerate(knowledge.names),
            ((row, alias) for row, aliases in enumerate(knowledge.aliases) for alias in aliases),
            nouns(knowledge),
            _language(language, knowledge),
        )

    def changed(self, dropped: Collection[int], added: Iterable[tuple[int, str | None]]) -> Detector:
        """The detector after some rows changed; arguments as of `Dictionary.changed`."""
        other = Detector.__new__(Detector)
        other.habits, other.dictionary = self.habits, self.dictionary.changed(dropped, added)
        return other

    def find(self, texts: Sequence[str], pronouns: bool = False, check: Check | None = None) -> Mentions:
        """Candidates in texts; those that labels speak against are gone. `likely` is the probability that one is a mention."""
        found = finding.find_many(texts, self.dictionary, pronouns, self.habits, check)
        return found if self.habits is None else found.take(np.flatnonzero(found.likely >= LEAST))

    def learn(self, examples: Sequence[Example], seed: int = 0, check: Check | None = None) -> Habits:
        """Learn what is a mention from texts with all of their mentions."""
        texts, spans = [example.content for example in examples], [example.spans for example in examples]
        return finding.learn(texts, spans, self.dictionary, seed=seed, check=check)


def _language(language: Language, knowledge: Knowledge) -> Language:
    """With what the rows' texts say of it. They call rows by their names: one without a capital ("autovacuum") is not ordinary for that."""
    texts = list(islice((text for text in knowledge.context if text), MOST_READ))
    if not texts:
        return language
    learned = language.learned(texts)
    more = set(learned.ordinary - language.ordinary)
    for name, aliases in zip(knowledge.names, knowledge.aliases, strict=True):
        more.difference_update(fold(called) for called in (name, *aliases) if called and called.islower())
    return replace(learned, ordinary=language.ordinary | more)


def nouns(knowledge: Knowledge) -> list[str]:
    """What rows are, and what other rows call them: their types, and the relations that lead to rows."""
    leads = np.unique(knowledge.facts.relation[knowledge.facts.other >= 0]).tolist()
    return [*(knowledge.relations[at] for at in leads), *dict.fromkeys(kind for kinds in knowledge.types for kind in kinds)]
