"""Which rows mentions mean before anybody has said what is right."""

from __future__ import annotations

import numpy as np
import pytest

from pgembed.linking import untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.contract import Facts, Knowledge
from tests.unit.linking.small import best, drawn, europe, knowledge, marked, ranked, read

SINGER, AIRPORT = "Andra (singer)", "Leonardo da Vinci International Airport"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Germany] and [its leader], [Merkel]", ["Germany", "Angela Merkel", "Angela Merkel"]),
        ("[Angela Merkel] leads [the country]", ["Angela Merkel", "Germany"]),
        ("[Angla Merkle] of [Germny]", ["Angela Merkel", "Germany"]),
        ("[Paris] is in [Texas]", ["Paris, Texas", "Texas"]),
        ("[Paris] and [Macron]", ["Paris", "Emmanuel Macron"]),
        ("[NASA] flew", ["National Aeronautics and Space Administration"]),
        (f"[{AIRPORT}] serves Rome. [The airport] has a runway of 3902", [AIRPORT, AIRPORT]),
        ("Rome is served by [the airport]", [AIRPORT]),
        ("[the airport] of [Berlin]", ["Berlin Brandenburg Airport", "Berlin"]),
        ("[Aller] in [Asturias], [Aller] there", ["Aller (Asturias)", "Asturias", "Aller (Asturias)"]),
        ("the singer [Andra]", [SINGER]),
        ("[the man] who was born in 1907 in [Rome]", ["17", "Rome"]),
        ("[Mr. Merkel's]", ["Angela Merkel"]),
        ("[Rome] is the capital of [Italy]. [This city] has an airport", ["Rome", "Italy", "Rome"]),
        ("[Angela Merkel] leads [Germany]. [She] was born in 1954", ["Angela Merkel", "Germany", "Angela Merkel"]),
        ("[Germany] has [its] capital, [Berlin]", ["Germany", "Germany", "Berlin"]),
        ("an [Italian] dish of [Rome]", ["Italy", "Rome"]),
    ],
)
def test_mentions_of_each_kind(text: str, expected: list[str]) -> None:
    assert best(Compiled(europe()), text) == expected


def test_a_table_of_settings() -> None:
    compiled = Compiled(knowledge(["shared_buffers", "work_mem", "maintenance_work_mem", "port", "autovacuum_max_workers"]))
    assert best(compiled, "[shared_bufers], [maintainance_work_mem], [work mem], [the port]") == [
        "shared_buffers", "maintenance_work_mem", "work_mem", "port",
    ]  # fmt: skip


def test_a_name_may_be_written_like_a_pronoun() -> None:
    compiled = Compiled(knowledge(["It", "Stephen King", "Hook 'em"], [(0, "author", 1)]))
    assert best(compiled, "[It] is by [Stephen King]") == ["It", "Stephen King"]
    assert best(compiled, "[Stephen King]: [he]") == ["Stephen King", "Stephen King"]  # and not the first letters of a name


def test_words_of_types_describe() -> None:
    types = [("city",), ("river",), ("city",)]
    compiled = Compiled(knowledge(["Rome", "Tiber", "Paris"], types=types))
    assert best(compiled, "[The river] and [Rome]. [This city] is old") == ["Tiber", "Rome", "Rome"]


def test_a_type_of_all_rows_means_the_one_that_was_named() -> None:
    compiled = Compiled(knowledge(["IBM", "Red Hat", "Apple"], types=[("company",)] * 3))
    assert best(compiled, "[Red Hat] grew. [The company] has many friends") == ["Red Hat", "Red Hat"]


def test_aliases_are_names() -> None:
    compiled = Compiled(knowledge(["Deutschland", None], aliases=[("Germany", "BRD"), ("France",)]))
    assert best(compiled, "[Germany], [BRD], [France]") == ["Deutschland", "Deutschland", "1"]


@pytest.mark.parametrize(
    ("table", "text", "expected"),
    [
        (knowledge([]), "[Paris]", [None]),
        (knowledge([None, ""]), "[Paris]", [None]),
        (knowledge(["Paris"]), "[Paris] [London] [---] []", ["Paris", None, None, None]),
        (knowledge(["Paris", "Rome"], [(0, "twin", 0), (0, "", ""), (1, "x", "---")]), "[Paris] [x]", ["Paris", None]),
        (knowledge(["\u6771\u4eac", "\u5927\u962a"]), "\u79c1\u306f[\u6771\u4eac]\u306b\u4f4f\u3080", ["\u6771\u4eac"]),
        (knowledge(["\ud800x", "\U0001f642 cafe"]), "a [\U0001f642 caf\u00e9] \ud800", ["\U0001f642 cafe"]),
        (knowledge(["\u0130zmir", "Stra\u00dfe"]), "[IZMIR] [strasse]", ["\u0130zmir", "Stra\u00dfe"]),
    ],
)
def test_odd_tables(table: Knowledge, text: str, expected: list[str | None]) -> None:
    found = best(Compiled(table), text)
    assert [name for name, right in zip(found, expected, strict=True) if right] == [right for right in expected if right]
    assert len(found) == len(expected)
    assert len(table) > 1 or not table.keys or found[0] == expected[0]


def test_facts_of_rows_that_there_are_not_are_left_out() -> None:
    facts = Facts(np.array([0, 7, -1, 0]), np.zeros(4, np.int64), np.array([1, 0, 0, 9]), ["b", "a", "a", "z"])
    table = Knowledge(["a", "b"], ["anna", "bert"], [(), ()], [(), ()], [None, None], ["knows"], facts)
    compiled = Compiled(table)
    assert compiled.degree.tolist() == pytest.approx([np.log1p(1), np.log1p(1)])


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_as_one_by_one(seed: int) -> None:
    table, texts, spans = drawn(seed)
    compiled = Compiled(table)
    together, pairs = ranked(compiled, texts, spans)
    alone = [ranked(compiled, [text], [places]) for text, places in zip(texts, spans, strict=True)]
    assert pairs.row.tolist() == [row for _, some in alone for row in some.row.tolist()]
    assert together == pytest.approx(np.concatenate([probability for probability, _ in alone]), abs=1e-6)


def test_shares_add_up_to_one() -> None:
    table, texts, spans = drawn(4)
    probability, pairs = ranked(Compiled(table), texts, spans)
    assert np.bincount(pairs.mention, probability)[np.unique(pairs.mention)] == pytest.approx(1.0)
    with_nil = untrained.shares(np.array([0, 0, 1]), np.array([1.0, 1.0, 1000.0]), nil=1.0)
    assert with_nil == pytest.approx([1 / 3, 1 / 3, 1.0])


def test_only_allowed_rows_are_meant() -> None:
    compiled = Compiled(europe())
    plain, spans = marked("[Paris] in [Texas]")
    allowed = np.ones(compiled.rows, bool)
    allowed[6] = False
    pairs = untrained.prepare(compiled, read(compiled, [plain], [spans]), allowed=allowed).pairs
    assert 6 not in pairs.row.tolist()
    assert 5 in pairs.row.tolist()


def test_others_propose_too() -> None:
    compiled = Compiled(europe())
    places = read(compiled, ["Lutetia"], [[(1, 8)]])
    proposed = (np.array([0, 0]), np.array([5, 5]))
    pairs = untrained.prepare(compiled, places, others=[proposed]).pairs
    assert pairs.row.tolist().count(5) == 1
    assert np.all(np.diff(pairs.mention * compiled.rows + pairs.row) > 0)


def test_all_homonyms_are_candidates() -> None:
    compiled = Compiled(knowledge(["bank"] * 30 + ["banker"]))
    pairs = untrained.prepare(compiled, read(compiled, ["the bank"], [[(1, 9)]])).pairs
    assert set(range(30)) <= set(pairs.row.tolist())


def test_a_long_text_is_read_in_passages() -> None:
    compiled = Compiled(europe())
    parts = ["[Paris] and [Texas] "] + ["much else is said here "] * 400 + ["[Paris] and [Macron] [Paris] "] * 2000
    plain, spans = marked("".join(parts))
    probability, pairs = ranked(compiled, [plain], [spans])
    assert len(spans) == 6002
    meant = {int(m): int(pairs.row[pairs.mention == m][np.argmax(probability[pairs.mention == m])]) for m in (0, 2, 5999)}
    assert meant == {0: 6, 2: 5, 5999: 5}
