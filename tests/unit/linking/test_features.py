"""Features against plain computations, one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed.lexical.spelling import edits
from pgembed.linking import features, telling, untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.features import CHANCE, FEATURES, FIRST
from pgembed.linking.wording import stem
from tests.unit.linking.small import drawn, europe, knowledge, read


def kinds_slowly(compiled: Compiled, words: list[tuple[int, float]], row: int) -> float:
    def roles(of: int) -> dict[int, float]:
        found = {int(role) for at, role in zip(compiled.fact_row, compiled.fact_role, strict=True) if at == of}
        weight = {role: float(np.log1p(compiled.rows / standing[role])) for role in found}
        norm = np.sqrt(sum(value**2 for value in weight.values())) or 1.0
        return {role: value / norm for role, value in weight.items()}

    standing: dict[int, int] = {}
    for _, role in {(int(a), int(b)) for a, b in zip(compiled.fact_row, compiled.fact_role, strict=True)}:
        standing[role] = standing.get(role, 0) + 1
    total: dict[int, float] = {}
    for word, weight in words:
        text = compiled.vocabulary.words[word]
        rows = set()
        for at in range(compiled.rows):
            forms = np.flatnonzero((compiled.forms.row == at) & (compiled.forms.kind < 2)).tolist()
            named = {w for form in forms for w in compiled.form_texts[int(compiled.forms.text[form])].split()}
            if text in {compiled.vocabulary.words[compiled.vocabulary.number[w]] for w in map(stem, named)}:
                rows.add(at)
            for relation, name in enumerate(compiled.knowledge.relations):
                if text in map(stem, name.split()) and 2 * relation + 1 in roles(at):
                    rows.add(at)
        mean: dict[int, float] = {}
        for at in rows:
            for role, value in roles(at).items():
                mean[role] = mean.get(role, 0.0) + value
        norm = np.sqrt(sum(value**2 for value in mean.values())) or 1.0
        for role, value in mean.items():
            total[role] = total.get(role, 0.0) + value / norm * weight * float(np.sqrt(compiled.rarity[word]))
    norm = np.sqrt(sum(value**2 for value in total.values())) or 1.0
    return sum(value / norm * roles(row).get(role, 0.0) for role, value in total.items())


@pytest.mark.parametrize("seed", range(3))
def test_as_plain_computations_say(seed: int) -> None:
    table, texts, spans = drawn(seed)
    compiled = Compiled(table)
    prepared = untrained.prepare(compiled, read(compiled, texts, spans))
    places, pairs = prepared.places, prepared.pairs
    told, own = telling.tell(compiled, places.context), telling.tell(compiled, places.words)
    value = {name: pairs.column(name) for name in FIRST}
    assert len(pairs.mention)
    assert not np.isnan(pairs.values[:, : len(FIRST)]).any()
    assert np.isnan(pairs.values[:, len(FIRST) :]).all()
    for at, (mention, row) in enumerate(zip(pairs.mention.tolist(), pairs.row.tolist(), strict=True)):
        number = int(places.surface[mention])
        surface = places.surfaces[number]
        forms = [compiled.form_texts[int(compiled.forms.text[form])] for form in np.flatnonzero(compiled.forms.row == row).tolist()]
        assert value["equal"][at] == (surface in forms)
        letters = surface.replace(" ", "")
        shares = []
        for form in forms:
            other = form.replace(" ", "")
            shares.append(1 - edits(letters, other) / max(len(letters), len(other), 1))
        possible = [0.0, *(max(0.0, share - CHANCE) / (1 - CHANCE) for share in shares)]
        assert any(value["written"][at] == pytest.approx(share, abs=1e-5) for share in possible)
        here = pairs.mention == mention
        for name, gap in (("cosine", "gap"), ("kind", "kind_gap"), ("told", "told_gap")):
            assert value[gap][at] == pytest.approx(value[name][at] - value[name][here].max(), abs=1e-6)
        key = np.array([places.passage[mention] * compiled.rows + row, number * compiled.rows + row])
        assert value["told"][at] == pytest.approx(max(0.0, told.of(key)[0][0] - own.of(key)[0][1]), abs=1e-5)
        facts = int(np.count_nonzero(table.facts.row == row) + np.count_nonzero(table.facts.other == row))
        assert value["degree"][at] == pytest.approx(np.log1p(facts))
        part = slice(int(places.words.start[number]), int(places.words.start[number + 1]))
        words = list(zip(places.words.member[part].tolist(), places.words.weight[part].tolist(), strict=True))
        assert value["kind"][at] == pytest.approx(kinds_slowly(compiled, words, row), abs=1e-4)
        assert bool(value["definite"][at]) == texts[places.text[mention]][places.start[mention] :].startswith("the ")


def test_columns_are_those_that_are_told_of() -> None:
    assert len(set(FEATURES)) == len(FEATURES)
    text = features.__doc__ or ""
    assert [name for name in FEATURES if f"    {name} " not in text and f", {name} " not in text and f"    {name}," not in text] == []


def test_kinds_of_many_surfaces_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table, texts, spans = drawn(1)
    compiled = Compiled(table)
    words = read(compiled, texts, spans).words
    rng = np.random.default_rng(0)
    surface, row = rng.integers(0, len(words), 200), rng.integers(0, compiled.rows, 200)
    whole = features.Kinds(compiled, words).fits(surface, row)
    monkeypatch.setattr(features, "_CELLS", 3 * compiled.role_count)
    monkeypatch.setattr(features, "_PAIRS", 7)
    assert features.Kinds(compiled, words).fits(surface, row) == pytest.approx(whole)
    assert whole.any()


def test_numbers_have_to_agree() -> None:
    compiled = Compiled(knowledge(["Apollo 11", "Apollo 12"]))
    pairs = untrained.prepare(compiled, read(compiled, ["Apollo 12 flew"], [[(1, 10)]])).pairs
    assert pairs.column("digits").tolist() == [2.0, 0.0]
    assert pairs.column("equal").tolist() == [0.0, 1.0]


def test_first_letters_and_parts_of_names() -> None:
    compiled = Compiled(europe())
    prepared = untrained.prepare(compiled, read(compiled, ["NASA, Aller"], [[(1, 5), (7, 12)]]))
    pairs = prepared.pairs
    assert pairs.row[pairs.column("initials") > 0].tolist() == [12]
    assert pairs.row[pairs.column("short") * pairs.column("equal") > 0].tolist() == [13, 14]


def test_gaps_of_nothing() -> None:
    assert not len(features.gaps(np.empty(0, np.int64), np.empty(0, np.float32)))
