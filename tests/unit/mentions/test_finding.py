"""Mentions of many texts: names, what looks like one, descriptions; alone and in batches, after changes, in any script."""

from __future__ import annotations

import random
import re
import time

import numpy as np
import pytest

from pgembed.mentions import finding
from pgembed.mentions.dictionary import Dictionary, compile
from pgembed.mentions.found import KINDS, Mentions, settled
from pgembed.mentions.language import ENGLISH, written_small

NAMES = (
    "Cleveland", "Cleveland City Council", "New York", "New York City", "City Council", "Texas", "Angela Merkel", "1634: The Ram Rebellion",
    "Washington, D.C.", "O'Hare", "NASA", "Boeing 747", "Test pilot", "1907", "São Paulo", "東京", "St. Louis", "AIDS (journal)", "May",
)  # fmt: skip
NOUNS = ("city", "airport", "leader name", "capital")


def made(names: tuple[str, ...] = NAMES) -> Dictionary:
    return compile(list(enumerate(names)), nouns=NOUNS)


def said(texts: list[str], mentions: Mentions, dictionary: Dictionary | None = None) -> list[tuple[object, ...]]:
    """Mentions as tuples; with a dictionary the rows and names that they match, too."""
    listed: list[tuple[object, ...]] = []
    for at in range(len(mentions)):
        text, start, end = int(mentions.text[at]), int(mentions.start[at]), int(mentions.end[at])
        found = range(int(mentions.first[at]), int(mentions.first[at + 1]))
        names = sorted(
            (int(dictionary.row[n]), dictionary.text[n], round(float(mentions.similarity[i]), 5)) for i in found for n in [mentions.name[i]]
        ) if dictionary else []  # fmt: skip
        inside = int(mentions.inside[at])
        outer = (int(mentions.start[inside]), int(mentions.end[inside])) if inside >= 0 else None
        kind = KINDS[mentions.kind[at]]
        listed.append(
            (text, start, end, texts[text][start:end], kind, round(float(mentions.cover[at]), 5), bool(mentions.plain[at]), outer, *names)
        )
    return listed


def surfaces(content: str, dictionary: Dictionary | None = None, pronouns: bool = False, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """The preferred mentions of a text."""
    mentions = finding.find_many([content], made() if dictionary is None else dictionary, pronouns)
    return [
        content[a:b]
        for a, b, k, i in zip(mentions.start, mentions.end, mentions.kind, mentions.inside, strict=True)
        if i < 0 and KINDS[k] in kinds
    ]


PROSE = "the Cleveland city City Council New York Yrok may May Texas this airport its capital Angela Merkl 1634: The Ram Rebellion"
WORDS = [
    *PROSE.split(),
    *(
        "Washington,",
        "D.C.",
        "NASA",
        "747",
        "Boeing",
        "é",
        "São",
        "東京",
        "👩\u200d🚀",
        "(journal)",
        "AIDS",
        "it",
        "of",
        "University",
        "\n",
        "a_b",
    ),
    *("\u202b\u05e9\u05dc\u05d5\u05dd\u202c", '"New York"'),
]


@pytest.mark.parametrize("seed", range(4))
def test_a_text_has_the_same_mentions_alone_and_among_others(seed: int) -> None:
    rng, dictionary = random.Random(seed), made()
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 15))) for _ in range(40)]
    together = said(texts, finding.find_many(texts, dictionary, pronouns=True), dictionary)
    alone = [
        (at, *mention[1:])
        for at, text in enumerate(texts)
        for mention in said([text], finding.find_many([text], made(), pronouns=True), dictionary)
    ]
    assert together == alone
    assert len(together) > 50


def test_long_and_many_texts_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Angela Merkel saw Cleveland. " * n for n in (1, 0, 5, 2)]
    whole = said(texts, finding.find_many(texts, made()))
    monkeypatch.setattr(finding, "BATCH", 60)
    monkeypatch.setattr("pgembed.mentions.matching.CHUNK", 3)
    assert said(texts, finding.find_many(texts, made())) == whole
    assert len(whole) == 16


@pytest.mark.parametrize("seed", range(4))
def test_every_exact_name_is_found(seed: int) -> None:
    """Against a search for each name by itself; names are of made-up words, so that none is ordinary."""
    rng = random.Random(seed)
    syllables = ["ba", "ko", "zu", "mi", "té", "日", "غ"]
    words = ["".join(rng.choices(syllables[:5], k=3)) for _ in range(12)] + ["日日", "غغ"]
    names = tuple(dict.fromkeys(" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(30)))
    text = " ".join(rng.choices([*names, "rarara", "der"], k=60))
    dictionary = made(names)
    mentions = finding.find_many([text], dictionary)
    found = {
        (int(mentions.start[at]), int(mentions.end[at]), dictionary.text[mentions.name[i]])
        for at in range(len(mentions))
        for i in range(int(mentions.first[at]), int(mentions.first[at + 1]))
        if mentions.similarity[i] == 1
    }
    wanted = {(hit.start(), hit.end(), name) for name in names for hit in re.finditer(rf"(?<!\w)(?={re.escape(name)}(?!\w))", text)}
    wanted = {(a, a + len(name), name) for a, _, name in wanted}
    same_letters = {(a, b, name) for a, b, name in found if text[a:b] == name}
    assert same_letters == wanted


@pytest.mark.parametrize("seed", range(3))
def test_offsets_slice_the_text_whatever_is_in_it(seed: int) -> None:
    rng, dictionary = random.Random(seed), made()
    pieces = ["👩\u200d🚀", "e\u0301", "ﬁ", "İ", "\u200f", "\u05e9\u05dc\u05d5\u05dd", "日本", "\x00", "\ud800", "ก็", " ", ", ", "-"]
    for _ in range(50):
        before, after = ("".join(rng.choices(pieces, k=rng.randint(0, 8))) for _ in range(2))
        name = rng.choice(["Angela Merkel", "São Paulo", "Sa\u0303o Paulo", "東京", "ANGELA\u00a0MERKEL"])
        content = f"{before} {name} {after}"
        mentions = finding.find_many(["x", content], dictionary)
        places = {content[a:b] for t, a, b in zip(mentions.text, mentions.start, mentions.end, strict=True) if t == 1}
        assert name in places
        assert all(0 <= a < b <= len(content) for t, a, b in zip(mentions.text, mentions.start, mentions.end, strict=True) if t == 1)


def test_the_longest_name_is_preferred_and_the_others_are_alternatives() -> None:
    text = "the Cleveland City Council met"
    mentions = finding.find_many([text], made())
    places = [(text[a:b], i) for a, b, i in zip(mentions.start, mentions.end, mentions.inside.tolist(), strict=True)]
    assert places == [("Cleveland City Council", -1), ("Cleveland", 0), ("City Council", 0)]
    assert settled(mentions, np.array([True, True, True])).tolist() == [True, False, False]
    assert settled(mentions, np.array([False, True, True])).tolist() == [False, True, True]
    assert settled(mentions, np.array([False, False, False])).tolist() == [True, False, False]
    assert settled(mentions, np.array([False, False, True])).tolist() == [False, False, True]


def test_places_that_are_kept_never_overlap() -> None:
    rng, dictionary = random.Random(0), made()
    texts = [" ".join(rng.choices(WORDS, k=20)) for _ in range(100)]
    mentions = finding.find_many(texts, dictionary, pronouns=True)
    for linked in (np.array([rng.random() < 0.5 for _ in range(len(mentions))]), np.zeros(len(mentions), bool)):
        taken: dict[int, int] = {}
        kept = mentions.take(np.flatnonzero(settled(mentions, linked)))
        for text, start, end in zip(kept.text.tolist(), kept.start.tolist(), kept.end.tolist(), strict=True):
            assert start >= taken.get(text, 0)
            taken[text] = end


def test_a_name_within_an_unknown_longer_one_gives_way() -> None:
    text = "the University of Texas is old"
    mentions = finding.find_many([text], made())
    assert [(text[a:b], i) for a, b, i in zip(mentions.start, mentions.end, mentions.inside.tolist(), strict=True)] == [
        ("University of Texas", -1),
        ("Texas", 0),
    ]
    assert mentions.cover[1] < 0.5


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (
            "Cleveland lies near the lake; the city is old and its capital is not",
            [("the city", "description"), ("its capital", "description")],
        ),
        ("We saw this airport.", [("this airport", "demonstrative")]),
        ("That small city sleeps", [("That small city", "demonstrative")]),
        ("the city council room", []),
        ("a city", []),
        ("the city's mayor", [("the city", "description")]),
        ("the city Xanadu", []),
        ("THE CITY IS VERY OLD", [("THE CITY", "description")]),
    ],
)
def test_descriptions_are_found_by_what_rows_are(content: str, wanted: list[tuple[str, str]]) -> None:
    mentions = finding.find_many([content], made())
    found = [(content[a:b], KINDS[k]) for a, b, k in zip(mentions.start, mentions.end, mentions.kind, strict=True) if k]
    assert found == wanted


def test_pronouns_are_found_on_request() -> None:
    content = "Angela Merkel left; she was tired, and IT failed. It rained."
    assert surfaces(content, pronouns=True, kinds=("pronoun",)) == ["she", "It"]
    assert surfaces(content, kinds=("pronoun",)) == []


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("ANGELA MERKEL FLEW TO CLEVELAND AND MAY STAY", ["ANGELA MERKEL", "CLEVELAND"]),
        ("angela merkel flew to cleveland and may stay", ["angela merkel", "cleveland"]),
        ("Angela Merkel's plane", ["Angela Merkel"]),
        ("the \u201cCleveland\u201d (Texas)", ["Cleveland", "Texas"]),
        ("a Cleveland-based firm", ["Cleveland"]),
        ("near Washington, D.C., they met", ["Washington, D.C."]),
        ("1634: The Ram Rebellion is a book", ["1634: The Ram Rebellion"]),
        ("in 1907 or 1908", ["1907"]),
        ("the Boeing 747 and the Boeing 737", ["Boeing 747", "Boeing 737"]),
        ("in the U.S. Army. He left the U.S. He", ["U.S. Army", "U.S."]),
        ("AIDS (journal) and AIDS", ["AIDS (journal)", "AIDS"]),
        ("Angela Merkl and Clevland", ["Angela Merkl", "Clevland"]),
        ("he worked as a test pilot", ["test pilot"]),
        ("Felipe VI. Then he left for St. Louis.", ["Felipe VI", "St. Louis"]),
        ("they may, in May, say", ["May"]),
    ],
)
def test_names_as_people_write_them(content: str, wanted: list[str]) -> None:
    assert surfaces(content, kinds=("name",)) == wanted


def test_a_comma_that_no_name_has_separates_names() -> None:
    assert surfaces("from New, York", made(("New York",))) == ["New", "York"]


def test_changed_rows_are_as_if_all_had_been_compiled_again() -> None:
    rng = random.Random(1)
    names = [(row, f"{rng.choice(['Zorba', 'Kilimo', 'Vexu'])} {rng.choice(['Hill', 'Lake', 'Road'])} {row}") for row in range(300)]
    names[7] = (7, "Quorxa")
    dictionary = compile(names, nouns=NOUNS)
    now = dictionary
    held = dict(names)
    for step in range(3):
        rows = rng.sample(range(300), 5) if step else [7, 8]
        added = [(row, f"{rng.choice(['Plonk', 'Wirra'])} Lake {row} {step}") for row in rows[1:]] + [(300 + step, "Kilimo")]
        now = now.changed(rows, added)
        held = {row: name for row, name in held.items() if row not in rows} | dict(added)
        again = compile(list(held.items()), nouns=NOUNS)
        texts = [
            " and ".join(rng.sample([*held.values(), *(name for _, name in names), "Quorxa", "Wirrra Lake", "the Lake"], 12))
            for _ in range(30)
        ]
        assert said(texts, finding.find_many(texts, now), now) == said(texts, finding.find_many(texts, again), again)
        assert len(now) == len(again)
        assert len(now.layers) == 2, "nothing was compiled again"
    assert len(now.changed(range(100), ()).layers) == 1, "a third was"
    assert len(now.changed(range(400), ())) == 0
    assert surfaces("Quorxa", now) == ["Quorxa"], "it only looks like a name now"


def test_a_dictionary_may_be_empty() -> None:
    empty = compile([(0, None), (1, ""), (2, "...")])
    assert len(empty) == 0
    assert surfaces("Angela Merkel saw the city", empty) == ["Angela Merkel"]
    assert len(finding.find_many([], empty)) == len(finding.find_many(["", " "], empty)) == 0
    assert len(settled(finding.find_many([""], empty), np.empty(0, bool))) == 0
    assert surfaces("in Xanadu", empty.changed((), [(5, "Xanadu")])) == ["Xanadu"]


def test_the_same_name_of_a_row_is_one_and_of_two_rows_two() -> None:
    dictionary = compile([(0, "Foo Bar"), (1, "foo-bar"), (0, "FOO BAR")], [(0, "Foobar")])
    assert sorted(zip(dictionary.row.tolist(), dictionary.text, strict=True)) == [(0, "Foo Bar"), (0, "Foobar"), (1, "foo-bar")]
    mentions = finding.find_many(["Foo Bar"], dictionary)
    assert sorted(dictionary.row[mentions.name].tolist()) == [0, 0, 1]


def test_ordinary_words_are_learned_from_texts_of_any_language() -> None:
    rows = ["Die Halle", "Unter", "Essen"]
    texts = ["Der Weg führt unter der Brücke durch, unter dem Haus und unter der Stadt.", "Essen liegt an der Ruhr."]
    assert written_small(texts) == {"unter", "der"}
    german = compile(list(enumerate(rows)), language=ENGLISH.learned(texts))
    assert surfaces("sie stand unter dem Baum in Essen", compile(list(enumerate(rows)))) == ["unter", "Baum", "Essen"]
    assert surfaces("sie stand unter dem Baum in Essen", german) == ["Baum", "Essen"]
    assert ENGLISH.learned(["nothing new of that"]) is ENGLISH


@pytest.mark.parametrize(
    ("names", "content", "wanted"),
    [
        (("Flughafen München", "Deutsche Bahn"), "Am Flughafen Münchens hielt die Deutschen Bahn.", "Flughafen Münchens"),
        (("Boğaziçi Üniversitesi", "İstanbul"), "ISTANBUL'da Boğaziçi Üniversitesi var", "ISTANBUL"),
        (("Diyarbak\u0131r",), "DIYARBAKIR VE VAN ILLERI DE", "DIYARBAKIR"),
        (("東京タワー",), "昨日は東京タワーに行った", "東京タワー"),
        (
            ("\u0627\u0644\u0642\u0627\u0647\u0631\u0629",),
            "\u0632\u0627\u0631 \u0627\u0644\u0642\u0627\u0647\u0631\u0629 \u0623\u0645\u0633",
            "\u0627\u0644\u0642\u0627\u0647\u0631\u0629",
        ),
    ],
)
def test_names_of_other_languages(names: tuple[str, ...], content: str, wanted: str) -> None:
    assert wanted in surfaces(content, made(names))


def test_time_grows_with_the_text_and_not_with_its_square() -> None:
    dictionary = made()

    def seconds(n: int) -> float:
        content = "Angela Merkel saw the city, New Yrok and an Unknown Place. " * n
        start = time.process_time()
        finding.find_many([content], dictionary)
        return time.process_time() - start

    seconds(50)
    assert seconds(4_000) < 8 * max(seconds(1_000), 0.01)


def test_a_cancel_takes_effect_within_a_long_text() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finding.find_many(["Angela Merkel saw Cleveland. " * 40_000], made(), check=check)
