"""Linking a text to the rows of a small table, from the text to the decision."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from pgembed.errors import InvalidParameter
from pgembed.linking.contract import Knowledge, Link
from pgembed.linking.engine import Linker
from tests.unit.linking.small import knowledge

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


def linker(names: Sequence[str | None], aliases: tuple[tuple[int, str], ...] = ()) -> Linker:
    n = len(names)
    others = [tuple(alias for of, alias in aliases if of == row) for row in range(n)]
    return Linker(Knowledge([str(row) for row in range(n)], list(names), others, [()] * n, [None] * n))


def links(names: Sequence[str | None], content: str) -> list[Link]:
    return linker(names).link([content])[0]


def link(names: tuple[str, ...], content: str, aliases: tuple[tuple[int, str], ...] = ()) -> list[tuple[str, str | None, str]]:
    """Mention, name of its row, and decision."""
    found = linker(names, aliases).link([content])[0]
    for each in found:
        # what the documentation promises of substr()
        assert content[each.start_char - 1 : each.end_char - 1] == each.mention
    return [(each.mention, None if each.row is None else names[each.row], each.decision) for each in found]


def linked(names: tuple[str, ...], content: str, aliases: tuple[tuple[int, str], ...] = ()) -> dict[str, str | None]:
    return {mention: name for mention, name, decision in link(names, content, aliases) if decision == "link"}


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
    assert linked(names, "a Boeing 747 and a Boeing 757") == {"Boeing 747": "Boeing 747"}


def test_a_part_of_a_longer_name_is_not_linked() -> None:
    assert linked(("Paris", "Texas"), "Paris Hilton left the University of Texas.") == {}
    assert linked(SETTINGS, "no work_mem_limit here") == {}
    # of places that mean the same row the longest
    assert linked(("Angela Merkel",), "then Chancellor Angela Merkel spoke") == {"Chancellor Angela Merkel": "Angela Merkel"}


def test_an_identifier_that_has_a_name_in_it_is_another() -> None:
    for written in ("max_connections_total", "pool.max_connections_total", "work_mem_limit", "autovacuum_max"):
        assert linked(SETTINGS, f"the {written} went up") == {}
    assert linked(SETTINGS, "pool.max_connections went up") == {"max_connections": "max_connections"}


@pytest.mark.parametrize("first", ["However", "Yesterday", "Meanwhile", "Reportedly"])
def test_a_word_that_owes_its_capital_to_the_sentence_is_no_part_of_a_name(first: str) -> None:
    assert linked(("Fabrikam", "Contoso"), f"{first} Fabrikam met Contoso.") == {"Fabrikam": "Fabrikam", "Contoso": "Contoso"}


def test_a_name_that_the_rows_texts_write_small_is_found_in_small_letters() -> None:
    about = [
        "time between autovacuum runs",
        "autovacuum workers",
        "starts the autovacuum process",
        "the port of the server",
        "a port",
        "port",
    ]
    names = ["autovacuum_naptime", "autovacuum_max_workers", "autovacuum", "port", "listen_addresses", "server_version"]
    n = len(names)
    ready = Linker(Knowledge([str(row) for row in range(n)], list(names), [()] * n, [()] * n, list(about)))
    (found,) = ready.link(["Someone had turned autovacuum off, and the port was busy."])
    assert [(link.mention, link.row, link.decision) for link in found] == [("autovacuum", 2, "link")]


def test_aliases_name_a_row_too() -> None:
    names = ("IBM", "Red Hat")
    assert linked(names, "Big Blue bought Red Hat", ((0, "Big Blue"),)) == {"Big Blue": "IBM", "Red Hat": "Red Hat"}


def test_homonyms_are_for_review_without_context() -> None:
    (found,) = links(["Mercury"] * 5, "We measured Mercury again.")
    assert (found.row, found.decision) == (0, "review")  # the first of equals, and five of them are no reason for nil
    assert found.margin == 0.0


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


def test_a_table_without_rows_links_nothing() -> None:
    (found,) = links([], "in Berlin")
    assert (found.mention, found.row, found.score, found.decision) == ("Berlin", None, 0.0, "nil")


def test_null_and_empty_names_are_skipped() -> None:
    (found,) = links([None, "", "---", "😀", "Berlin"], "in --- Berlin 😀")
    assert (found.mention, found.row, found.runner_up) == ("Berlin", 4, None)


def test_given_spans_are_linked_in_their_order() -> None:
    content = "He likes it: the shared buffers."
    (found,) = linker(SETTINGS).link([content], [[(14, 32), (1, 3)]])
    assert [(each.mention, each.row, each.decision) for each in found] == [("the shared buffers", 0, "link"), ("He", None, "nil")]


@pytest.mark.parametrize("span", [(0, 2), (2, 2), (1, 6), (3, 1)])
def test_a_span_outside_of_the_text_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        linker([]).link(["text"], [[span]])
    assert caught.value.sqlstate == "22023"


def test_scores_are_probabilities() -> None:
    content = "shared_bufers, work mem, Debian, port = 1 and effectiv_cach_siz"
    for found in links(SETTINGS, content):
        assert 0.0 <= found.margin <= found.score <= 1.0


def test_check_is_called() -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        linker(["work_mem"]).link(["work_mem"], check=cancel)


@pytest.mark.parametrize(
    "part", ["a_", "Aa Bb ", "a-", "' ", '"a', "`a", "漢字", "xX", "e\u0301", "Our shared_bufers and the work mem of Debian. "]
)
def test_time_grows_with_the_text_and_not_with_its_square(part: str) -> None:
    ready = linker(SETTINGS)

    def seconds(length: int) -> float:
        content = (part * length)[:length]
        start = time.perf_counter()
        ready.link([content])
        return time.perf_counter() - start

    seconds(1_000)
    # Sixteen times the text: linear is 16, square is 256. The addend is for what a busy machine does to milliseconds.
    assert seconds(160_000) < 64 * seconds(10_000) + 1.0


def test_who_was_spoken_of_is_described_again() -> None:
    table = knowledge(["IBM", "Red Hat", "Apple"], types=[("company",)] * 3)
    links = Linker(table).link(["Red Hat grew last year. The company has many friends. It was founded in 1993."], pronouns=True)[0]
    assert [(link.mention, link.row, link.decision) for link in links] == [
        ("Red Hat", 1, "link"), ("The company", 1, "link"), ("It", 1, "link"),
    ]  # fmt: skip
    assert [link.decision for link in Linker(table).link(["The company has many friends."])[0]] in ([], ["nil"])


def test_places_of_a_text_are_explained_together_as_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "we raised shared_bufers and work mem, and max_conections stays"
    ready = linker(SETTINGS)
    spans = [(found.start_char, found.end_char) for found in ready.link([content])[0]]
    assert len(spans) == 3
    alone = [ready.explain(content, [span], k=2)[0] for span in spans]
    ranked = []
    monkeypatch.setattr(ready, "_ranked", lambda *given, once=ready._ranked: ranked.append(given) or once(*given))
    assert ready.explain(content, spans, k=2) == alone
    assert len(ranked) == 1
    assert ready.explain(content, []) == []
