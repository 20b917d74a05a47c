"""Searches in which no vector of an older text decides: what is rendered and said."""

from __future__ import annotations

import dataclasses

import pytest
from planned import CHUNKED, COLUMN, REQUEST

from pgembed import errors
from pgembed.planner import consistent, rendering, shortage
from pgembed.planner.consistent import Now

HASHED = dataclasses.replace(COLUMN, hash_column="e_hash")
FRESH = dataclasses.replace(REQUEST, consistency="fresh")


def test_only_what_is_asked_for_is_rendered() -> None:
    assert rendering.where_row(HASHED, "(a)", REQUEST) == "(a)"
    assert rendering.where_row(COLUMN, "(a)", FRESH) == "(a)"  # without a source nothing is stale
    assert rendering.where_row(HASHED, "(a)", FRESH) == f"(a) AND {consistent.is_fresh(HASHED)}"
    assert rendering.where_row(HASHED, "true", FRESH) == consistent.is_fresh(HASHED)
    assert rendering.passes(HASHED, "(a)", FRESH) == "(a)"
    assert "$8" not in rendering.with_now(HASHED, "true", REQUEST, "(x)")
    assert "$8" in rendering.with_now(HASHED, "true", FRESH, "(x)")


def test_the_work_index_is_named_in_its_own_words() -> None:
    assert consistent.needs_work(HASHED) == f"{HASHED.freshness(HASHED.table.alias)} IN ('pending', 'stale')"
    over = dataclasses.replace(CHUNKED, hash_column="e_hash")
    assert 'pgembed.freshness("product"."e_hash")' in consistent.stale(over, "true")
    assert consistent.stale(HASHED, "true").endswith(f"LIMIT {consistent.FEW + 1}")


def test_what_lacks_a_present_vector_is_counted_apart() -> None:
    assert "e_hash" not in shortage.statement(HASHED, "true", REQUEST)
    assert "ALL ($6)" in shortage.statement(HASHED, "true", FRESH)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Now(left_out=1, why="it fails"), "1 row that passes has no vector of its present text, and is left out: it fails"),
        (
            Now(left_out=100, more=True, why="many"),
            "more than 100 rows that pass have no vector of their present text, and are left out: many",
        ),
    ],
)
def test_what_is_left_out_is_said(now: Now, said: str) -> None:
    assert consistent.said(now) == said


def test_a_view_must_show_what_vectors_are_of() -> None:
    view = dataclasses.replace(COLUMN, home=HASHED)
    with pytest.raises(errors.NotSupported, match="does not show"):
        consistent.must_know(view)
    consistent.must_know(dataclasses.replace(view, hash_column="made_of"))
    consistent.must_know(HASHED)


@pytest.mark.parametrize(("value", "kind"), [(None, errors.NullNotAllowed), ("strict", errors.InvalidParameter)])
def test_other_consistencies_are_refused(value: str | None, kind: type[errors.PgembedError]) -> None:
    with pytest.raises(kind):
        consistent.check(value)
