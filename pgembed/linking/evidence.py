"""Why a candidate was preferred, in words that a person understands."""

from __future__ import annotations

import numpy as np

from pgembed.linking import telling, wording
from pgembed.linking.compiled import FULL, Compiled, Lists, expand
from pgembed.linking.contract import Evidence, Floats, Vectors
from pgembed.linking.features import FEATURES, Pairs
from pgembed.linking.places import Places
from pgembed.linking.untrained import WEIGHTS

MOST = 3  # facts, or related rows, that are told
_NAME = ("cosine", "gap", "written", "equal", "matched")
LONGEST = 80  # characters of a context that are shown
APART = 0.3  # difference of two candidates' kinds that tells them apart
PROBABLE = 0.3  # a row that another mention means with this probability is told of


def explain(compiled: Compiled, places: Places, pairs: Pairs, probability: Floats, mention: int, row: int) -> list[Evidence]:
    """The reasons for one candidate of one mention, the weightiest first.

    Args:
        pairs: with the features of both stages, as `untrained.rank` returns them.
        probability: of each of them.
        mention, row: a candidate; without reasons where it is none.
    """
    at = np.flatnonzero((pairs.mention == mention) & (pairs.row == row))
    if not len(at):
        return []
    value = dict(zip(FEATURES, np.nan_to_num(pairs.values[at[0]]).tolist(), strict=True))
    found = [
        _name(compiled, places, value, mention, row),
        _near(compiled, places, value, mention, row),
        _kind(compiled, places, pairs, value, mention, row),
        *_facts(compiled, places, value, mention, row),
        *_related(compiled, places, pairs, probability, mention, row),
        _same(compiled, places, pairs, probability, value, mention, row),
        _numbers(places, value, mention),
    ]
    return sorted((reason for reason in found if reason is not None), key=lambda reason: -abs(reason.value))


def context(compiled: Compiled, sense: Vectors, pairs: Pairs, mention: int, row: int) -> list[Evidence]:
    """What the context says of a candidate, against those that are about as good without it."""
    here = np.flatnonzero((pairs.mention == mention) & ~np.isnan(sense))
    at = here[pairs.row[here] == row]
    if not len(at) or len(here) < 2:
        return []
    value = float(sense[at[0]] - sense[here].mean())
    written = (compiled.knowledge.context[row] or "").strip()
    if len(written) > LONGEST:
        written = written[:LONGEST].rsplit(" ", 1)[0] + " ..."
    fits = "fits" if value > 0 else "fits less"
    about = f"what is said of {called(compiled, row)}" + (f': "{written}"' if written else "")
    return [Evidence("context", round(value, 3), f"the text {fits} {about}")]


def called(compiled: Compiled, row: int) -> str:
    """A row's name, or its key where it has none."""
    return compiled.knowledge.names[row] or f"row {compiled.knowledge.keys[row]}"


def _written(places: Places, mention: int) -> str:
    return places.texts[int(places.text[mention])][int(places.start[mention]) : int(places.end[mention])]


def _name(compiled: Compiled, places: Places, value: dict[str, float], mention: int, row: int) -> Evidence | None:
    weight = sum(WEIGHTS[name] * value[name] for name in _NAME if name != "gap")
    if value["cosine"] <= 0 and value["written"] <= 0:
        return None
    surface = places.surfaces[int(places.surface[mention])]
    forms = np.flatnonzero(compiled.forms.row == row).tolist()
    texts = [(compiled.form_texts[int(compiled.forms.text[form])], int(compiled.forms.kind[form])) for form in forms]
    said, name = _written(places, mention), called(compiled, row)
    if value["initials"]:
        words = f'"{said}" are the first letters of "{name}"'
    elif value["equal"]:
        kind = next((kind for text, kind in texts if text == surface), FULL)
        aliases = compiled.knowledge.aliases[row]
        words = f'it is called "{said}"' if kind == FULL else f'"{said}" is a part of its name, "{name}"'
        if kind == FULL and aliases and surface != compiled.form_texts[int(compiled.first_text[row])]:
            words = f'"{said}" is another name of "{name}"'
    elif value["written"] > 0.5:
        words = f'"{said}" is spelt almost like "{name}"'
    else:
        words = f'"{said}" has something in common with the name "{name}"'
    return Evidence("name", round(weight, 3), words)


def _near(compiled: Compiled, places: Places, value: dict[str, float], mention: int, row: int) -> Evidence | None:
    words = set(_known(places.words, int(places.surface[mention])))
    if value["near"] <= 0.05 or value["equal"]:
        return None
    for fact in _known(compiled.facts_of, row):
        if words & set(_known(compiled.strings, int(compiled.fact_string[fact]))):
            said = f'"{_written(places, mention)}" recalls a fact ({_fact(compiled, fact)})'
            return Evidence("near", round(WEIGHTS["near"] * value["near"], 3), said)
    return None


def _kind(compiled: Compiled, places: Places, pairs: Pairs, value: dict[str, float], mention: int, row: int) -> Evidence | None:
    if value["kind"] < 0.3 or value["equal"]:
        return None
    types = compiled.knowledge.types[row]
    named = [*types, *compiled.knowledge.relations]
    spoken = {wording.stem(word) for word in places.surfaces[int(places.surface[mention])].split()}
    if spoken & {wording.stem(word) for name in named for word in wording.words(name)}:
        is_a = f"is a {', '.join(types)}" if types else "has the relations of rows that are called so"
        words = f'"{_written(places, mention)}" says what it is: {called(compiled, row)} {is_a}'
    else:
        # the words are of names alone: where all candidates are of the kind that these have, it prefers none
        among = pairs.column("kind")[pairs.mention == mention]
        if float(among.max() - among.min()) < APART:
            return None
        of = f", a {', '.join(types)}" if types else ""
        words = f'rows with words of "{_written(places, mention)}" in their names are mostly of a kind with {called(compiled, row)}{of}'
    return Evidence("kind", round(WEIGHTS["kind"] * value["kind"], 3), words)


def _facts(compiled: Compiled, places: Places, value: dict[str, float], mention: int, row: int) -> list[Evidence]:
    """Values, and names that no mention stands for, that the text has too."""
    if value["told_best"] <= 0:
        return []
    passage = int(places.passage[mention])
    _, strings, share = telling.strings_in(compiled, _only(places.context, passage))
    named = dict(zip(strings.tolist(), share.tolist(), strict=True))
    facts = [fact for fact in _known(compiled.facts_of, row) if int(compiled.fact_string[fact]) in named and compiled.fact_other[fact] < 0]
    facts.sort(key=lambda fact: (-named[int(compiled.fact_string[fact])], compiled.told.count[compiled.fact_string[fact]], fact))
    weight = round(WEIGHTS["told_best"] * value["told_best"], 3)
    return [Evidence("facts", weight, f"the text also has {compiled.fact_texts[fact]} ({_fact(compiled, fact)})") for fact in facts[:MOST]]


def _related(compiled: Compiled, places: Places, pairs: Pairs, probability: Floats, mention: int, row: int) -> list[Evidence]:
    """Rows that other mentions probably mean and that this one is related to."""
    here = (places.passage[pairs.mention] == places.passage[mention]) & (pairs.mention != mention) & (probability >= PROBABLE)
    sure: dict[int, float] = {}
    for at in np.flatnonzero(here).tolist():
        other = int(pairs.row[at])
        sure[other] = max(sure.get(other, 0.0), float(probability[at]))
    told: dict[int, Evidence] = {}
    for fact in _known(compiled.facts_of, row):
        other = int(compiled.fact_other[fact])
        if other == row or other not in sure or other in told:
            continue
        said = f"the text also names {called(compiled, other)} ({_fact(compiled, fact)})"
        told[other] = Evidence("related", round(WEIGHTS["related_best"] * sure[other], 3), said)
    return sorted(told.values(), key=lambda reason: -reason.value)[:MOST]


def _same(
    compiled: Compiled, places: Places, pairs: Pairs, probability: Floats, value: dict[str, float], mention: int, row: int
) -> Evidence | None:
    here = (pairs.row == row) & (pairs.mention != mention) & (places.passage[pairs.mention] == places.passage[mention])
    others = np.flatnonzero(here & (probability >= PROBABLE))
    if not len(others):
        return None
    other = int(pairs.mention[others[np.argmax(probability[others])]])
    weight = round(WEIGHTS["again"] * value["again"], 3)
    return Evidence("same", weight, f'"{_written(places, other)}" means {called(compiled, row)} too')


def _numbers(places: Places, value: dict[str, float], mention: int) -> Evidence | None:
    if value["digits"] <= 0 or value["cosine"] <= 0:
        return None
    return Evidence("numbers", 0.0, f'the numbers of "{_written(places, mention)}" are not those of the name')


def _fact(compiled: Compiled, fact: int) -> str:
    """Germany, leader: Angela Merkel; from whichever of the two it is looked at."""
    row, other = int(compiled.fact_row[fact]), int(compiled.fact_other[fact])
    text = called(compiled, other) if other >= 0 else compiled.fact_texts[fact]
    relation = compiled.knowledge.relations[int(compiled.fact_role[fact]) // 2]
    one, two = (text, called(compiled, row)) if compiled.fact_role[fact] % 2 else (called(compiled, row), text)
    return f"{one}, {relation}: {two}"


def _known(lists: Lists, of: int) -> list[int]:
    _, members = expand(lists, np.array([of], np.int64))
    return [int(member) for member in members]


def _only(lists: Lists, of: int) -> Lists:
    """One of the lists, as the only one."""
    part = slice(int(lists.start[of]), int(lists.start[of + 1]))
    return Lists(np.zeros(part.stop - part.start, np.int64), lists.member[part], 1, lists.weight[part])


__all__ = ["called", "context", "explain"]
