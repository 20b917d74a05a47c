"""A knowledge made ready: names by n-grams, facts by their words, who is related to whom, and what kind of thing each row is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.lexical.sparse import once
from pgembed.linking import letters, wording
from pgembed.linking.contract import Bools, Facts, Ints, Knowledge, Vectors
from pgembed.linking.grams import Grams
from pgembed.mentions import ordinary

FULL, SHORT, INITIALS = 0, 1, 2  # a name or alias; a part of one that may stand for it; its first letters
_PARENTHESIS = re.compile(r"\s*\([^()]*\)\s*")
MOST_ROLES = 4096
NEAR = 5  # rows that a word may lead to by their facts


@dataclass(frozen=True)
class Forms:
    """Ways in which rows are called; arrays and lists of one length, a form of a row each, ordered by text.

    Attributes:
        row: whose form it is.
        kind: FULL, SHORT or INITIALS.
        text: number of its text among the texts that `Names.grams` knows.
    """

    row: Ints
    kind: Ints
    text: Ints


class Lists:
    """Lists of numbers, one of each of n things, with a weight for each member.

    Args:
        of: which thing's list each member is in; any order.
    """

    def __init__(self, of: Ints, member: Ints, n: int, weight: Vectors | None = None) -> None:
        order = np.argsort(of, kind="stable")
        self.member = member[order]
        self.weight = np.ones(len(of), np.float32) if weight is None else weight[order].astype(np.float32)
        self.count = np.bincount(of, minlength=n).astype(np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.count)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.count)

    def replaced(self, things: Ints, of: Ints, member: Ints, weight: Vectors, n: int) -> Lists:
        """With other lists for some things, old or new, of n now; those that have none in `of` become empty."""
        made = Lists.__new__(Lists)
        order = np.argsort(of, kind="stable")
        made.member = np.concatenate([self.member, member[order]])
        made.weight = np.concatenate([self.weight, weight[order].astype(np.float32)])
        made.count, made.start = np.zeros(n, np.int64), np.zeros(n + 1, np.int64)
        made.count[: len(self)], made.start[: len(self)] = self.count, self.start[: len(self)]
        made.count[things] = 0
        fresh, first, count = np.unique(of[order], return_index=True, return_counts=True)
        made.count[fresh], made.start[fresh] = count, len(self.member) + first
        return made

    def amended(self, shorter: Ints, gone: Bools, of: Ints, member: Ints, n: int) -> Lists:
        """Without the members that are gone, which are in the lists of `shorter`, and with others; members have the weight 1."""
        things = np.unique(np.concatenate([shorter, of]))
        old = things[things < len(self)]
        at, kept = expand(self, old)
        here = ~gone[kept]
        both = np.concatenate([old[at[here]], of])
        return self.replaced(things, both, np.concatenate([kept[here], member]), np.ones(len(both), np.float32), n)


class Compiled:
    """What candidates and features are made from.

    Attributes:
        forms, form_texts, form_words: how rows are called; of each form's text its words (numbers in the vocabulary).
        grams: over `form_texts`.
        strings: of each different text among the facts its words.
        told: of each string the facts that it stands in: places in `fact_row`, `fact_role`.
        edge_count: of each row how many relations to others it has; `lean` which facts these are, each at one of the two rows.
        roles: of each row the roles that it stands in, weights of length 1.
        kinds: of each word the roles that rows called so stand in, weights of length 1.
        rarity: of each word, log(1 + rows / rows that have it in a name or fact).
        degree: log(1 + facts) of each row.
        changes: rows that changed since it was compiled (`overlay`).
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self.rows = len(knowledge)
        facts = _checked(knowledge.facts, self.rows)
        self.changes = 0
        self.word_rows = np.empty(0, np.int64)
        row, kind, texts = forms_of(knowledge.names, knowledge.aliases)
        number = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        self.form_texts = list(number)
        text = np.fromiter((number[t] for t in texts), np.int64, len(texts))
        self.forms = Forms(row, kind, text)
        self.forms_of = Lists(text, np.arange(len(text), dtype=np.int64), len(number))
        self.grams = Grams(self.form_texts)
        self.form_number = number
        self.form_keys = [form.replace(" ", "") for form in self.form_texts]
        self.form_lengths = np.array([*map(len, self.form_keys), 0], np.float32)  # of -1 nought
        self.form_bags = letters.bags([*self.form_keys, ""])
        self.first_text = np.full(max(1, self.rows), -1, np.int64)
        self.first_text[row[::-1]] = text[::-1]
        named = [" ".join(wording.words(name)) if name else "" for name in knowledge.names]
        # Most texts are names of neighbours, or stand in many facts.
        folded = {name: text for name, text in zip(knowledge.names, named, strict=True) if name}
        fact_text = []
        for t, other in zip(facts.text, facts.other.tolist(), strict=True):
            known = folded.get(t) if t or other < 0 else named[other]
            if known is None:
                known = folded[t] = " ".join(wording.words(t))
            fact_text.append(known)
        del folded
        relation_words = [wording.words(_split(name)) for name in knowledge.relations]
        type_words = [[word for kind in kinds for word in wording.words(kind)] for kinds in knowledge.types]
        strings = list(
            dict.fromkeys([*fact_text, *(named[r] for r, o in zip(facts.row.tolist(), facts.other.tolist(), strict=True) if o >= 0)])
        )
        # First letters are no words.
        worded = np.zeros(len(self.form_texts), bool)
        worded[text[kind != INITIALS]] = True
        cut = [t.split() if whole else [] for t, whole in zip(self.form_texts, worded.tolist(), strict=True)]
        cut_strings = [s.split() for s in strings]
        self.vocabulary = wording.Vocabulary(
            word for some in (cut, cut_strings, relation_words, type_words) for words in some for word in words
        )
        size = len(self.vocabulary.words)
        self.form_words = self._read(cut)
        self.strings = self._read(cut_strings)
        self._facts(facts, strings, fact_text, named)
        # Rows that have a word, for its rarity.
        at, member = expand(self.forms_of, np.repeat(np.arange(len(cut)), self.form_words.count))
        of_name = np.stack([self.form_words.member[at], self.forms.row[member]]) if len(at) else np.empty((2, 0), np.int64)
        at, member = expand(self.told, np.repeat(np.arange(len(strings)), self.strings.count))
        of_fact = np.stack([self.strings.member[at], self.fact_row[member]]) if len(at) else np.empty((2, 0), np.int64)
        both = np.concatenate([of_name, of_fact], 1)
        key = once(both[0] * max(1, self.rows) + both[1])
        self.rarity = np.log1p(self.rows / np.maximum(1, np.bincount(key // max(1, self.rows), minlength=size))).astype(np.float32)
        only_name = once(of_name[0] * max(1, self.rows) + of_name[1])
        name_rows = np.bincount(only_name // max(1, self.rows), minlength=size)
        self.name_rarity = np.log1p(self.rows / np.maximum(1, name_rows)).astype(np.float32)
        self.in_names = name_rows > 0
        self.has_digit = np.fromiter((any(map(str.isdigit, w)) for w in self.vocabulary.words), bool, size)
        self.grammar = np.fromiter((w in ordinary.FUNCTION_WORDS for w in self.vocabulary.words), bool, size)
        self.rarity[self.grammar] *= 0.2
        self.name_rarity[self.grammar] *= 0.2
        self._kinds(relation_words, type_words, only_name, size)
        self._anchor()
        typed = np.array(
            [(self.vocabulary.number[wording.stem(w)], at) for at, words in enumerate(type_words) for w in words], np.int64
        ).reshape(-1, 2)
        self._near(np.concatenate([of_fact, typed.T], 1))

    def is_name(self, text: str) -> bool:
        """Whether a folded text is a name or an alias, and not only a part or the first letters of one."""
        _, forms = (
            expand(self.forms_of, np.array([self.form_number[text]], np.int64)) if text in self.form_number else (None, self.forms.row[:0])
        )
        return bool((self.forms.kind[forms] == FULL).any())

    def _read(self, texts: Sequence[Sequence[str]]) -> Lists:
        start, member, weight = self.vocabulary.read(texts)
        return Lists(np.repeat(np.arange(len(texts), dtype=np.int64), np.diff(start)), member, len(texts), weight)

    def _facts(self, facts: Facts, strings: list[str], fact_text: list[str], named: list[str]) -> None:
        place = self.string_number = {s: at for at, s in enumerate(strings)}
        relation, other = facts.relation, facts.other
        leads = np.flatnonzero(other >= 0)
        self.fact_row = np.concatenate([facts.row, other[leads]])
        self.fact_role = np.concatenate([2 * relation, 2 * relation[leads] + 1])
        self.fact_other = np.concatenate([other, facts.row[leads]])
        self.fact_string = np.fromiter(
            (place[s] for s in [*fact_text, *(named[r] for r in facts.row[leads].tolist())]), np.int64, len(self.fact_row)
        )
        self.fact_texts = facts.text  # of the first as many: the others lead from neighbours
        number = np.arange(len(self.fact_row), dtype=np.int64)
        self.told = Lists(self.fact_string, number, len(strings))
        self.facts_of = Lists(self.fact_row, number, self.rows)
        between = np.flatnonzero((self.fact_other >= 0) & (self.fact_other != self.fact_row))
        self.edge_count = np.bincount(self.fact_row[between], minlength=self.rows)
        # Each relation once, at the one of the two that has fewer, so that looking for all of a text never reads a long list.
        few = self.edge_count[self.fact_row[between]], self.edge_count[self.fact_other[between]]
        here = (few[0] < few[1]) | ((few[0] == few[1]) & (self.fact_row[between] < self.fact_other[between]))
        lean = between[here]
        self.lean = Lists(self.fact_row[lean], lean, self.rows)
        self.degree = np.log1p(np.bincount(self.fact_row, minlength=self.rows)).astype(np.float32)

    def _kinds(self, relation_words: list[list[str]], type_words: list[list[str]], only_name: Ints, size: int) -> None:
        number = self.vocabulary.number
        types = self.type_number = {word: at for at, word in enumerate(dict.fromkeys(w for words in type_words for w in words))}
        base = 2 * len(relation_words)
        self.role_count = max(1, min(MOST_ROLES, base + len(types)))
        typed = [(row, base + types[w]) for row, words in enumerate(type_words) for w in words]
        typed_pairs = np.array(typed, np.int64).reshape(-1, 2)
        row = np.concatenate([self.fact_row, typed_pairs[:, 0]])
        role = np.concatenate([self.fact_role, typed_pairs[:, 1]]) % self.role_count
        key = once(row * self.role_count + role)
        row, role = key // self.role_count, key % self.role_count
        common = np.bincount(role, minlength=self.role_count)
        self.role_rarity = np.log1p(self.rows / np.maximum(1, common)).astype(np.float32)
        weight = self.role_rarity[role]
        norm = np.sqrt(np.bincount(row, weight.astype(np.float64) ** 2, max(1, self.rows)))
        self.roles = Lists(row, role, self.rows, (weight / np.maximum(norm[row], 1e-9)).astype(np.float32))
        # Words that tell what a row is: of its names, of its types, of the relations that lead to it.
        pairs = [np.stack([only_name // max(1, self.rows), only_name % max(1, self.rows)])]
        pairs.append(
            np.array([(number[wording.stem(w)], r) for r, words in enumerate(type_words) for w in words], np.int64).reshape(-1, 2).T
        )
        role_word = np.array(
            [(number[wording.stem(w)], 2 * at + 1) for at, words in enumerate(relation_words) for w in words], np.int64
        ).reshape(-1, 2)
        told = role_word[~self.grammar[role_word[:, 0]]] if len(role_word) else role_word
        self.words_in_roles = Lists(np.tile(told[:, 0], 2), np.concatenate([told[:, 1], told[:, 1] - 1]) % self.role_count, size)
        standing = Lists(role, row, self.role_count)
        at, member = expand(standing, role_word[:, 1])
        pairs.append(np.stack([role_word[at, 0], member]))
        both = np.concatenate(pairs, 1)
        key = once(both[0] * max(1, self.rows) + both[1])
        word, row = key // max(1, self.rows), key % max(1, self.rows)
        at, member, share = expand_weighted(self.roles, row)
        key = word[at] * self.role_count + member
        order = np.argsort(key, kind="stable")
        key, share = key[order], share[order]
        fresh = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, np.int64)
        total = np.add.reduceat(share, fresh) if len(fresh) else np.empty(0, np.float32)
        word, role = key[fresh] // self.role_count, key[fresh] % self.role_count
        norm = np.sqrt(np.bincount(word, total.astype(np.float64) ** 2, max(1, size)))
        self.kinds = Lists(word, role, size, (total / np.maximum(norm[word], 1e-9)).astype(np.float32))

    def _near(self, of_fact: Ints) -> None:
        """Of each word the rows that it leads to by their facts: "Italian" to Italy, whose people and language have it in their names."""
        rows = max(1, self.rows)
        content = ~self.grammar[of_fact[0]] if of_fact.size else np.empty(0, bool)
        key, count = np.unique((of_fact[0] * rows + of_fact[1])[content], return_counts=True)
        word, row = key // rows, key % rows
        total = np.bincount(word, count, max(1, len(self.vocabulary.words)))
        # A word of one fact leads to nobody in particular: a half is taken off.
        share = ((count - 0.5) / np.maximum(total[word], 1.0)).astype(np.float32)
        order = np.lexsort((row, -share, word))
        word, row, share = word[order], row[order], share[order]
        fresh = np.flatnonzero(np.concatenate([[True], word[1:] != word[:-1]])) if len(word) else np.empty(0, np.int64)
        rank = np.arange(len(word)) - np.repeat(fresh, np.diff(np.append(fresh, len(word))))
        kept = rank < NEAR
        self.near = Lists(word[kept], row[kept], len(self.vocabulary.words), share[kept])

    def _anchor(self) -> None:
        """The rarest word of each string: only texts that have it are asked for the others."""
        words = self.strings
        weight = self.rarity[words.member]
        string = np.repeat(np.arange(len(words), dtype=np.int64), words.count)
        self.string_total = np.bincount(string, weight, len(words)).astype(np.float32)
        order = np.lexsort((words.member, -weight, string))
        first = order[words.start[:-1][words.count > 0]]
        self.anchored = Lists(words.member[first], string[first], len(self.vocabulary.words))


def _checked(facts: Facts, rows: int) -> Facts:
    """Without those of rows that there are not."""
    good = (facts.row >= 0) & (facts.row < rows) & (facts.other < rows)
    if good.all():
        return facts
    kept = np.flatnonzero(good)
    return Facts(facts.row[kept], facts.relation[kept], facts.other[kept], [facts.text[at] for at in kept.tolist()])


def _split(relation: str) -> str:
    """Words of a relation's name: leaderName is leader Name, birth_place birth place."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", relation).replace("_", " ")


def forms_of(called: Sequence[str | None], others: Sequence[Sequence[str]]) -> tuple[Ints, Ints, list[str]]:
    """How rows are called: row, kind and text of each form."""
    row: list[int] = []
    kind: list[int] = []
    texts: list[str] = []
    for at, (name, aliases) in enumerate(zip(called, others, strict=True)):
        seen: set[str] = set()
        names = [one for one in (name, *aliases) if one]
        # All full names first: a part of one may be another.
        for level, form in [*((FULL, n) for n in names), *(part for n in names for part in _parts(n))]:
            text = " ".join(wording.bare(wording.words(form))) if level != INITIALS else form
            if text and text not in seen:
                seen.add(text)
                row.append(at)
                kind.append(level)
                texts.append(text)
    return np.array(row, np.int64), np.array(kind, np.int64), texts


def _parts(name: str) -> Iterator[tuple[int, str]]:
    plain = _PARENTHESIS.sub(" ", name).strip()
    if plain != name:
        yield SHORT, plain
    head = plain.split(",")[0]
    if head != plain:
        yield SHORT, head
    for text in {plain: None, head: None}:
        initials = [word[0] for word in wording.words(text) if word not in ordinary.FUNCTION_WORDS]
        if len(initials) > 1:
            yield INITIALS, "".join(initials)


def expand(lists: Lists, of: Ints) -> tuple[Ints, Ints]:
    """The members of the lists of some things: which of these each is of, and itself."""
    at, member, _ = expand_weighted(lists, of)
    return at, member


def expand_weighted(lists: Lists, of: Ints) -> tuple[Ints, Ints, Vectors]:
    count = lists.count[of]
    begin = np.cumsum(count) - count
    at = np.repeat(np.arange(len(of), dtype=np.int64), count)
    place = np.arange(len(at), dtype=np.int64) + np.repeat(lists.start[of] - begin, count)
    return at, lists.member[place], lists.weight[place]
