"""Linking a text to the rows of a small table, from the text to the decision."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from pgembed import linking
from pgembed.errors import InvalidParameter

SETTINGS = (
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "synchronous_commit",
    "autovacuum",
    "autovacuum_max_workers",
    "max_connections",
    "random_page_cost",
    "effective_cache_size",
    "port",
    "DateStyle",
    "ssl_key_file",
)


def link(names: tuple[str, ...], content: str, aliases: tuple[tuple[int, str], ...] = ()) -> list[tuple[str, str | None, str]]:
    """Mention, name of its row, and decision."""
    found = linking.link(content, linking.compile(list(enumerate(names)), aliases))
    for each in found:
        # what the documentation promises of substr()
        assert content[each.start_char - 1 : each.end_char - 1] == each.mention
    return [(each.mention, None if each.row is None else names[each.row], each.decision) for each in found]


def linked(names: tuple[str, ...], content: str, aliases: tuple[tuple[int, str], ...] = ()) -> dict[str, str | None]:
    return {mention: name for mention, name, decision in link(names, content, aliases) if decision == "link"}


class Senses:
    """A context of one-hot senses: a text has the sense whose word occurs in it."""

    def __init__(self, senses: list[str], of_row: list[str]) -> None:
        self.senses = senses
        self.of_row = of_row

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return np.array([[sense in text for sense in self.senses] for text in texts], dtype=np.float32)

    def vectors(self, rows: list[int]) -> npt.NDArray[np.float32]:
        return self.embed([self.of_row[row] for row in rows])

    def nearest(self, vectors: npt.NDArray[np.float32], k: int) -> list[list[int]]:
        return [np.argsort(-(self.embed(self.of_row) @ vector), kind="stable")[:k].tolist() for vector in vectors]


def test_misspelt_settings_in_prose_are_linked_and_ordinary_words_are_not() -> None:
    content = (
        "Our nightly import got slow, so we raised shared_bufers and work mem, turned synchronous comit off, and gave autovacum more"
        " workers; max_conections stays at 100 and the random page costs were lowered for the SSD. effective cache size is fine."
    )
    assert linked(SETTINGS, content) == {
        "shared_bufers": "shared_buffers",
        "work mem": "work_mem",
        "synchronous comit": "synchronous_commit",
        "autovacum": "autovacuum",
        "max_conections": "max_connections",
        "random page costs": "random_page_cost",
        "effective cache size": "effective_cache_size",
    }
    assert ("SSD", None, "nil") in link(SETTINGS, content)


@pytest.mark.parametrize(
    "written", ["work_mem", "work mem", "work-mem", "workMem", "WORK_MEM", "Work Mem", "workmem", "`work_mem`", "work_mem=64MB"]
)
def test_separators_and_case_do_not_matter(written: str) -> None:
    assert [name for _, name, _ in link(SETTINGS, f"raise {written} now")][:1] == ["work_mem"]


def test_the_longest_name_wins() -> None:
    assert linked(SETTINGS, "autovacuum max workers and maintenance_work_mem") == {
        "autovacuum max workers": "autovacuum_max_workers",
        "maintenance_work_mem": "maintenance_work_mem",
    }


def test_an_ordinary_word_needs_to_be_written_as_a_name() -> None:
    assert link(SETTINGS, "the port was busy") == []
    assert linked(SETTINGS, "set `port` or port = 5433") == {"port": "port"}
    assert linked(("now",), "now we call now()") == {"now": "now"}
    assert linked(("US", "Apple"), "tell us of the apple tree") == {}
    assert linked(("US", "Apple"), "made by Apple in the US") == {"Apple": "Apple", "US": "US"}


def test_an_ordinary_word_at_the_head_of_a_sentence_is_for_review() -> None:
    assert link(("Apple",), "Apple trees bloom.") == [("Apple", "Apple", "review")]


def test_an_ordinary_word_is_no_misspelling() -> None:
    assert link(("work_mem", "import_path"), "the work men have an important path") == []


def test_numbers_are_not_misspelt() -> None:
    names = ("Boeing 737", "Boeing 747")
    assert link(names, "a Boeing 747 and a Boeing 757") == [("Boeing 747", "Boeing 747", "link"), ("Boeing 757", None, "nil")]


def test_a_part_of_a_longer_name_is_not_linked() -> None:
    assert linked(("Paris", "Texas"), "Paris Hilton left the University of Texas.") == {}
    assert linked(SETTINGS, "no work_mem_limit here") == {}
    assert linked(("Angela Merkel",), "then Chancellor Angela Merkel spoke") == {"Angela Merkel": "Angela Merkel"}


def test_aliases_name_a_row_too() -> None:
    names = ("IBM", "Red Hat")
    assert linked(names, "Big Blue bought Red Hat", ((0, "Big Blue"),)) == {"Big Blue": "IBM", "Red Hat": "Red Hat"}


def test_homonyms_are_for_review_without_context() -> None:
    dictionary = linking.compile([(7, "Mercury"), (3, "Mercury"), (5, "Mercury"), (4, "Mercury"), (9, "Mercury")])
    (found,) = linking.link("We measured Mercury again.", dictionary)
    assert (found.row, found.decision) == (3, "review")  # the first of equals, and five of them are no reason for nil
    assert found.margin == 0.0


def test_context_tells_homonyms_apart() -> None:
    dictionary = linking.compile([(0, "Mercury"), (1, "Mercury")])
    context = Senses(["planet", "metal"], ["a planet", "a metal"])
    for content, row in (("Mercury is a planet.", 0), ("The metal is called Mercury.", 1)):
        (found,) = linking.link(content, dictionary, context)
        assert (found.row, found.decision) == (row, "link")
        assert found.margin > 0.5


def test_context_finds_rows_that_no_name_leads_to_but_does_not_link_them() -> None:
    dictionary = linking.compile([(0, "Hydrargyrum"), (1, "Venus")])
    context = Senses(["planet", "metal"], ["a metal", "a planet"])
    (found,) = linking.link("The metal is called Quicksilver.", dictionary, context)
    assert found.decision != "link"
    assert found.score > linking.link("The metal is called Quicksilver.", dictionary)[0].score


def test_rows_without_vector_are_judged_by_name() -> None:
    class Nothing(Senses):
        def vectors(self, rows: list[int]) -> npt.NDArray[np.float32]:
            return np.full((len(rows), 2), np.nan, dtype=np.float32)

    dictionary = linking.compile([(0, "Mercury"), (1, "Mercury")])
    (found,) = linking.link("Mercury is a planet.", dictionary, Nothing(["planet", "metal"], ["", ""]))
    assert np.isfinite(found.score)
    assert found.decision == "review"


def test_unknown_names_are_nil() -> None:
    assert link(SETTINGS, 'PostgreSQL on Debian has no "fancy knob", warp_drive or hyperDrive.') == [
        ("PostgreSQL", None, "nil"),
        ("Debian", None, "nil"),
        ("fancy knob", None, "nil"),
        ("warp_drive", None, "nil"),
        ("hyperDrive", None, "nil"),
    ]


def test_an_identifier_with_several_wrong_letters_is_still_found() -> None:
    assert linked(SETTINGS, "see effectiv_cach_siz") == {"effectiv_cach_siz": "effective_cache_size"}


@pytest.mark.parametrize(
    ("name", "content", "mention"),
    [
        ("İstanbul", "in ISTANBUL", "ISTANBUL"),
        ("Istanbul", "in İSTANBUL today", "İSTANBUL"),
        ("Straße des 17. Juni", "die STRASSE DES 17. JUNI.", "STRASSE DES 17. JUNI"),
        ("Strasse Berlin", "die Straße Berlin 😀", "Straße Berlin"),
        ("Café Zoë", "😀😀 im cafe\u0301 zoe\u0308!", "cafe\u0301 zoe\u0308"),
        ("Office Depot", "an oﬃce depot", "oﬃce depot"),
        ("東京", "私は東京タワーに", "東京"),
        ("Ångström", "an A\u030angström unit", "A\u030angström"),
        ("हिन्दी", "in हिन्दी only", "हिन्दी"),
        ("Washington, D.C.", "from Washington, D.C. to", "Washington, D.C."),
        ("\U0001d400\U0001d401\U0001d402 Corp", "by ABC corp", "ABC corp"),
    ],
)
def test_offsets_are_of_the_original_text(name: str, content: str, mention: str) -> None:
    assert linked((name,), content) == {mention: name}


@pytest.mark.parametrize("content", ["", " ", "\n\n", "...", "😀", "\u0301\u0301", "a", "\ud800", "\x00"])
def test_a_text_without_words_has_no_mentions(content: str) -> None:
    assert link(SETTINGS, content) == []


def test_an_empty_dictionary_links_nothing() -> None:
    dictionary = linking.compile([])
    assert len(dictionary) == 0
    (found,) = linking.link("in Berlin", dictionary)
    assert (found.mention, found.row, found.score, found.decision) == ("Berlin", None, 0.0, "nil")


def test_null_and_empty_names_are_skipped() -> None:
    dictionary = linking.compile([(0, None), (1, ""), (2, "---"), (3, "😀"), (4, "Berlin"), (4, "BERLIN")], [(4, None)])
    assert [name.row for name in dictionary.names] == [4]
    assert linking.link("in Berlin", dictionary)[0].row == 4


def test_given_spans_are_linked_in_their_order() -> None:
    content = "He likes it: the shared buffers."
    dictionary = linking.compile(list(enumerate(SETTINGS)))
    found = linking.link(content, dictionary, spans=[(14, 32), (1, 3)])
    assert [(each.mention, each.row, each.decision) for each in found] == [("the shared buffers", 0, "link"), ("He", None, "nil")]


@pytest.mark.parametrize("span", [(0, 2), (2, 2), (1, 6), (3, 1)])
def test_a_span_outside_of_the_text_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        linking.link("text", linking.compile([]), spans=[span])
    assert caught.value.sqlstate == "22023"


def test_scores_are_probabilities() -> None:
    content = "shared_bufers, work mem, Debian, port = 1 and effectiv_cach_siz"
    for found in linking.link(content, linking.compile(list(enumerate(SETTINGS)))):
        assert 0.0 <= found.margin <= found.score <= 1.0


def test_check_is_called() -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        linking.link("work_mem", linking.compile([(0, "work_mem")]), check=cancel)


@pytest.mark.parametrize(
    "part", ["a_", "Aa Bb ", "a-", "' ", '"a', "`a", "漢字", "xX", "e\u0301", "Our shared_bufers and the work mem of Debian. "]
)
def test_time_grows_with_the_text_and_not_with_its_square(part: str) -> None:
    dictionary = linking.compile(list(enumerate(SETTINGS)))
    assert dictionary.trigrams
    assert dictionary.word_spellings

    def seconds(length: int) -> float:
        content = (part * length)[:length]
        start = time.perf_counter()
        linking.link(content, dictionary)
        return time.perf_counter() - start

    seconds(1_000)
    # Sixteen times the text: linear is 16, square is 256. The addend is for what a busy machine does to milliseconds.
    assert seconds(160_000) < 64 * seconds(10_000) + 1.0
