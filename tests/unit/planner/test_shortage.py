"""shortage: the words for each way in which an answer is short."""

from __future__ import annotations

from typing import Any

import pytest
from planned import CHUNKED, COLUMN, request

from pgembed.planner import shortage
from pgembed.planner.shortage import Short

REFRESH = "CALL pgembed.refresh('t') embeds what is pending."
ALL = "exact => true compares them all."


def said(found: int, passing: int, unembedded: int = 0, **changes: Any) -> tuple[str, str | None, bool]:
    given: dict[str, Any] = {
        "table": "v",
        "home": "t",
        "k": 10,
        "filtered": True,
        "max_distance": None,
        "approximate": False,
    }
    return shortage.said(Short(**(given | changes), found=found, passing=passing, unembedded=unembedded))


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"found": 3, "passing": 3}, "3 of 10 results: no more rows pass the filter", None),
        ({"found": 0, "passing": 0}, "0 of 10 results: no row passes the filter", None),
        ({"found": 3, "passing": 3, "filtered": False}, "3 of 10 results: v has no more rows", None),
        ({"found": 0, "passing": 0, "filtered": False}, "0 of 10 results: v has no rows", None),
        ({"found": 3, "passing": 8, "unembedded": 5}, "3 of 10 results: 5 more rows that pass the filter have no vector yet", REFRESH),
        ({"found": 0, "passing": 1, "unembedded": 1}, "0 of 10 results: 1 row that passes the filter has no vector yet", REFRESH),
        ({"found": 3, "passing": 4, "unembedded": 1, "filtered": False}, "3 of 10 results: 1 more row of v has no vector yet", REFRESH),
        ({"found": 3, "passing": 99, "max_distance": 0.3}, "3 of 10 results within max_distance 0.3: 99 rows pass the filter", None),
        ({"found": 0, "passing": 1, "max_distance": 1.0}, "0 of 10 results within max_distance 1: 1 row passes the filter", None),
        (
            {"found": 3, "passing": 99, "max_distance": 0.3, "approximate": True, "filtered": False},
            "3 of 10 results within max_distance 0.3: v has 99 rows",
            ALL,
        ),
        (
            {"found": 3, "passing": 10_001, "max_distance": 0.3},
            "3 of 10 results within max_distance 0.3: more than 10000 rows pass the filter",
            None,
        ),
        (
            {"found": 3, "passing": 9, "unembedded": 2, "max_distance": 0.3},
            "3 of 10 results within max_distance 0.3: 7 rows pass the filter, and 2 more rows that pass the filter have no vector yet",
            None,
        ),
        ({"found": 3, "passing": 3, "max_distance": 0.3}, "3 of 10 results: no more rows pass the filter", None),
    ],
)
def test_what_is_told(given: dict[str, Any], message: str, hint: str | None) -> None:
    assert said(**given) == (message, hint, False)


@pytest.mark.parametrize(
    ("found", "filtered", "message"),
    [
        (3, True, "3 of 10 results: 2 more rows pass the filter and were not found"),
        (4, True, "4 of 10 results: 1 more row passes the filter and was not found"),
        (4, False, "4 of 10 results: 1 more row of v was not found"),
    ],
)
def test_rows_that_were_missed_call_for_a_warning(found: int, filtered: bool, message: str) -> None:
    told, hint, is_missed = said(found, 6, 1, filtered=filtered)
    assert (told, is_missed) == (message, True)
    assert "exact => true" in str(hint)


def test_no_more_rows_are_counted_than_are_told_of() -> None:
    assert (shortage.most(10), shortage.most(20_000)) == (10_000, 20_000)
    statement = shortage.statement(COLUMN, "(size < 3\n)", request(leave_out="7"))
    assert "LIMIT $3" in statement
    assert """WHERE (size < 3\n) AND NOT ("product"."id" = $5::pg_catalog.text::integer)""" in statement
    assert '"product"."e" IS NULL AS bare' in statement


def test_a_row_without_chunks_has_no_vector() -> None:
    assert 'SELECT NOT EXISTS (SELECT FROM "public"."product_e_chunk"' in shortage.statement(CHUNKED, "true", request())
