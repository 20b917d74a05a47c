"""A compiled knowledge after a few rows changed: what was compiled stays, what changed is laid over it.

Lists of the things that changed are written anew behind the others; facts and forms that are gone are in no list any more. How rare a word
is, and what kind of thing it calls, is counted again for new words only: of many rows a few change little.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from pgembed.lexical.sparse import once
from pgembed.linking import letters, wording
from pgembed.linking.compiled import INITIALS, NEAR, Compiled, Forms, Lists, expand, expand_weighted, forms_of
from pgembed.linking.contract import Bools, Facts, Ints, Knowledge
from pgembed.mentions import ordinary

MOST_CHANGED = 0.1  # of the rows, since they were compiled; or of the facts at once


def changed(compiled: Compiled, knowledge: Knowledge, rows: Sequence[int]) -> Compiled | None:
    """The same with some rows changed; None where it takes as much to compile anew, or a relation or a type's word is new.

    Args:
        knowledge: as it is now: rows keep their number, new ones are behind them.
        rows: those whose names, types or facts changed, or are new.
    """
    these = np.unique(np.asarray(rows, np.int64))
    touched = compiled.changes + len(these)
    few = touched <= max(1, MOST_CHANGED * compiled.rows)
    if not few or knowledge.relations != compiled.knowledge.relations or len(knowledge) < compiled.rows:
        return None
    types = {row: [word for kind in knowledge.types[row] for word in wording.words(kind)] for row in these.tolist()}
    if any(word not in compiled.type_number for words in types.values() for word in words):
        return None
    made = copy.copy(compiled)
    made.knowledge, made.rows, made.changes = knowledge, len(knowledge), touched
    own = np.zeros(made.rows + 1, bool)  # the last one for NIL
    own[these] = True
    facts = knowledge.facts
    before, after = len(compiled.fact_row), np.flatnonzero(own[facts.row] | own[facts.other])
    standing = compiled.fact_row >= 0
    forward = standing & (compiled.fact_role % 2 == 0)
    owners = own.copy()
    owners[compiled.fact_row[forward & (own[compiled.fact_row] | own[compiled.fact_other])]] = True
    owners[facts.row[after]] = True
    owners[-1] = False
    gone = standing & np.where(compiled.fact_role % 2 == 0, owners[compiled.fact_row], owners[compiled.fact_other])
    new = np.flatnonzero(owners[facts.row])
    if len(new) + int(gone.sum()) > max(100, MOST_CHANGED * before):
        return None
    forms = _forms(made, knowledge, these)
    strings = _facts(made, compiled, facts, new, gone)
    _words(made, compiled, forms, strings, before)
    affected = np.unique(np.concatenate([these, compiled.fact_row[gone], made.fact_row[before:]]))
    _rows(made, compiled, affected, gone, before)
    return made


def _forms(made: Compiled, knowledge: Knowledge, rows: Ints) -> Ints:
    """How the rows are called now; returns the new forms."""
    some = rows.tolist()
    local, kind, texts = forms_of([knowledge.names[row] for row in some], [knowledge.aliases[row] for row in some])
    old = made.forms
    gone = np.isin(old.row, rows)
    number = dict(made.form_number)
    text = np.array([number.setdefault(one, len(number)) for one in texts], np.int64)
    fresh = list(number)[len(made.form_number) :]
    places = np.arange(len(old.row), len(old.row) + len(texts), dtype=np.int64)
    row = rows[local]
    made.forms = Forms(np.concatenate([np.where(gone, -1, old.row), row]), np.append(old.kind, kind), np.append(old.text, text))
    made.forms_of = made.forms_of.amended(old.text[gone], np.append(gone, np.zeros(len(texts), bool)), text, places, len(number))
    made.form_number, made.form_texts = number, [*made.form_texts, *fresh]
    keys = [one.replace(" ", "") for one in fresh]
    made.form_keys = [*made.form_keys, *keys]
    made.form_lengths = np.concatenate([made.form_lengths[:-1], np.array([*map(len, keys), 0], np.float32)])
    made.form_bags = np.concatenate([made.form_bags[:-1], letters.bags([*keys, ""])])
    first = np.full(max(1, made.rows), -1, np.int64)
    first[: len(made.first_text)] = made.first_text
    first[rows] = -1
    first[row[::-1]] = text[::-1]
    made.first_text = first
    if fresh:
        made.grams = made.grams.added(fresh)
    return places


def _facts(made: Compiled, base: Compiled, facts: Facts, new: Ints, gone: Bools) -> list[str]:
    """The new facts behind the others; returns the strings that were not known."""
    row, other, relation = facts.row[new], facts.other[new], facts.relation[new]
    leads = np.flatnonzero(other >= 0)

    def named(which: int) -> str:
        name = made.knowledge.names[which]
        return " ".join(wording.words(name)) if name else ""

    texts = [facts.text[at] for at in new.tolist()]
    told = [" ".join(wording.words(text)) if text or to < 0 else named(to) for text, to in zip(texts, other.tolist(), strict=True)]
    told += [named(which) for which in row[leads].tolist()]
    number = dict(base.string_number)
    string = np.array([number.setdefault(one, len(number)) for one in told], np.int64)
    fresh = list(number)[len(base.string_number) :]
    before = len(base.fact_row)
    made.string_number = number
    made.fact_row = np.concatenate([np.where(gone, -1, base.fact_row), row, other[leads]])
    made.fact_role = np.concatenate([base.fact_role, 2 * relation, 2 * relation[leads] + 1])
    made.fact_other = np.concatenate([base.fact_other, other, row[leads]])
    made.fact_string = np.concatenate([base.fact_string, string])
    made.fact_texts = [*base.fact_texts, *[""] * (before - len(base.fact_texts)), *texts]
    places = np.arange(before, len(made.fact_row), dtype=np.int64)
    dead = np.append(gone, np.zeros(len(places), bool))
    made.told = base.told.amended(base.fact_string[gone], dead, string, places, len(number))
    made.facts_of = base.facts_of.amended(base.fact_row[gone], dead, made.fact_row[before:], places, made.rows)
    return fresh


def _words(made: Compiled, base: Compiled, forms: Ints, strings: list[str], before: int) -> None:
    """The words of new forms and strings."""
    fresh = made.form_texts[len(base.form_texts) :]
    worded = np.zeros(len(made.form_texts), bool)
    worded[made.forms.text[forms][made.forms.kind[forms] != INITIALS]] = True
    cut = [text.split() if whole else [] for text, whole in zip(fresh, worded[len(base.form_texts) :].tolist(), strict=True)]
    cut_strings = [text.split() for text in strings]
    size = len(base.vocabulary.words)
    made.vocabulary = base.vocabulary.added(word for words in [*cut, *cut_strings] for word in words)
    now = len(made.vocabulary.words)
    more = made.vocabulary.words[size:]
    made.form_words = _behind(base.form_words, made, cut)
    made.strings = _behind(base.strings, made, cut_strings)
    # Rows that have the new words.
    rows = max(1, made.rows)
    text = made.forms.text[forms]
    at, word = expand(made.form_words, text)
    of_name = word * rows + made.forms.row[forms][at]
    places = np.arange(before, len(made.fact_row), dtype=np.int64)
    at, word = expand(made.strings, made.fact_string[places])
    of_fact = word * rows + made.fact_row[places][at]
    grammar = np.fromiter((word in ordinary.FUNCTION_WORDS for word in more), bool, len(more))
    weight = np.where(grammar, 0.2, 1.0)

    def rarity(keys: Ints) -> Ints:
        return np.bincount(once(keys) // rows, minlength=now)[size:]

    both, named = rarity(np.append(of_name, of_fact)), rarity(of_name)
    made.rarity = np.append(base.rarity, (np.log1p(rows / np.maximum(1, both)) * weight).astype(np.float32))
    made.name_rarity = np.append(base.name_rarity, (np.log1p(rows / np.maximum(1, named)) * weight).astype(np.float32))
    made.in_names = np.append(base.in_names, named > 0)
    made.in_names[of_name // rows] = True
    made.has_digit = np.append(base.has_digit, np.fromiter((any(map(str.isdigit, word)) for word in more), bool, len(more)))
    made.grammar = np.append(base.grammar, grammar)
    nothing = np.empty(0, np.int64)
    made.words_in_roles = base.words_in_roles.amended(nothing, np.zeros(0, bool), nothing, nothing, now)
    # The rarest word of each new string.
    number = np.arange(len(base.strings), len(made.strings), dtype=np.int64)
    at, word = expand(made.strings, number)
    total = np.bincount(at, made.rarity[word], len(number))
    made.string_total = np.append(base.string_total, total.astype(np.float32))
    order = np.lexsort((word, -made.rarity[word], at))
    first = order[np.flatnonzero(np.append(True, np.diff(at[order]) != 0))] if len(at) else order
    made.anchored = base.anchored.amended(nothing, np.zeros(len(made.strings), bool), word[first], number[at[first]], now)
    # Where the new words lead to by facts.
    kept = of_fact[(of_fact // rows >= size) & ~made.grammar[of_fact // rows]]
    key, count = np.unique(kept, return_counts=True)
    word, row = key // rows, key % rows
    share = ((count - 0.5) / np.maximum(1.0, np.bincount(word, count, now)[word])).astype(np.float32)
    order = np.lexsort((row, -share, word))
    order = order[_rank(word[order]) < NEAR]
    made.near = base.near.replaced(nothing, word[order], row[order], share[order], now)
    made.word_rows = once(of_name[of_name // rows >= size])


def _rows(made: Compiled, base: Compiled, affected: Ints, gone: Bools, before: int) -> None:
    """What the affected rows are related to, and what kind of thing they are."""
    rows, places = made.rows, np.arange(before, len(made.fact_row), dtype=np.int64)
    at, fact = expand(made.facts_of, affected)
    related = (made.fact_other[fact] >= 0) & (made.fact_other[fact] != affected[at])
    count = np.zeros(rows, np.int64)
    count[: len(base.edge_count)] = base.edge_count
    count[affected] = np.bincount(at[related], minlength=len(affected))
    made.edge_count = count
    between = places[(made.fact_other[places] >= 0) & (made.fact_other[places] != made.fact_row[places])]
    one, other = made.fact_row[between], made.fact_other[between]
    here = between[(count[one] < count[other]) | ((count[one] == count[other]) & (one < other))]
    dead = np.append(gone, np.zeros(len(places), bool))
    made.lean = base.lean.amended(base.fact_row[gone], dead, made.fact_row[here], here, rows)
    degree = np.zeros(rows, np.float32)
    degree[: len(base.degree)] = base.degree
    degree[affected] = np.log1p(made.facts_of.count[affected])
    made.degree = degree
    first = 2 * len(made.knowledge.relations)
    typed = np.array(
        [
            (row, first + made.type_number[word])
            for row in affected.tolist()
            for kind in made.knowledge.types[row]
            for word in wording.words(kind)
        ],
        np.int64,
    ).reshape(-1, 2)
    key = np.append(affected[at] * made.role_count + made.fact_role[fact] % made.role_count, typed[:, 0] * made.role_count)
    key[len(at) :] += typed[:, 1] % made.role_count
    key = once(key)
    row, role = key // made.role_count, key % made.role_count
    weight = made.role_rarity[role]
    norm = np.sqrt(np.bincount(row, weight.astype(np.float64) ** 2, max(1, rows)))
    made.roles = base.roles.replaced(affected, row, role, (weight / np.maximum(norm[row], 1e-9)).astype(np.float32), rows)
    # What kind of thing the new words of names call.
    size = max(1, rows)
    word, row = made.word_rows // size, made.word_rows % size
    at, role, share = expand_weighted(made.roles, row)
    key, back = np.unique(word[at] * made.role_count + role, return_inverse=True)
    total = np.bincount(back, share, len(key))
    word, role = key // made.role_count, key % made.role_count
    now = len(made.vocabulary.words)
    norm = np.sqrt(np.bincount(word, total**2, max(1, now)))
    share = (total / np.maximum(norm[word], 1e-9)).astype(np.float32)
    made.kinds = base.kinds.replaced(np.empty(0, np.int64), word, role, share, now)


def _behind(lists: Lists, made: Compiled, cut: Sequence[Sequence[str]]) -> Lists:
    """Lists of words with those of new texts behind them."""
    start, member, weight = made.vocabulary.read(cut)
    number = np.repeat(np.arange(len(cut), dtype=np.int64) + len(lists), np.diff(start))
    return lists.replaced(np.empty(0, np.int64), number, member, weight, len(lists) + len(cut))


def _rank(group: Ints) -> Ints:
    fresh = np.flatnonzero(np.append(True, np.diff(group) != 0)) if len(group) else np.empty(0, np.int64)
    return np.arange(len(group)) - np.repeat(fresh, np.diff(np.append(fresh, len(group))))
