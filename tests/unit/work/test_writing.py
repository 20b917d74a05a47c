"""What is to be done with rows, by source and stored hash; and which rows have another text than they were embedded from."""

from __future__ import annotations

import pytest

from pgembed.work.reading import CUT, STALE, STALE_CUT
from pgembed.work.writing import Batch, hash_of, is_other, stale

KNOWN = hash_of("tent")


def row(source: str | None, stored: bytes | None, **more: object) -> dict[str, object]:
    return {"key": "1", "source": source, "hash": stored, **more}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (row(None, None, error="no", sqlstate="22012"), "broken"),
        (row(None, None), "empty"),
        (row(" \n", STALE + KNOWN), "empty"),
        (row("tent", STALE + KNOWN), "back"),
        (row("tent", STALE_CUT + KNOWN), "back"),
        (row("boat", STALE + KNOWN), "changed"),
        (row("tent", STALE), "changed"),
        (row("tent", None), "changed"),
        (row("tent", b"\xff"), "changed"),
    ],
)
def test_a_row_is_of_one_kind(given: dict[str, object], kind: str) -> None:
    batch = Batch.of([given])
    assert {name for name in ("broken", "empty", "back", "changed") if getattr(batch, name)} == {kind}


@pytest.mark.parametrize(
    ("source", "stored", "other"),
    [
        ("tent", KNOWN, False),
        ("tent", CUT + KNOWN, False),
        ("boat", KNOWN, True),
        ("boat", CUT + KNOWN, True),
        (None, KNOWN, True),
        ("tent", b"", True),
        (None, b"", False),
        (" ", b"", False),
        ("tent", None, False),
    ],
)
def test_a_row_has_another_text_than_its_hash_knows(source: str | None, stored: bytes | None, other: bool) -> None:
    assert is_other(row(source, stored)) is other


@pytest.mark.parametrize(
    ("stored", "then"),
    [(KNOWN, STALE + KNOWN), (CUT + KNOWN, STALE_CUT + KNOWN), (b"", STALE), (None, STALE), (b"\x03" + KNOWN, STALE + KNOWN)],
)
def test_a_stale_row_keeps_the_hash_of_its_vector(stored: bytes | None, then: bytes) -> None:
    assert stale(row("boat", stored)) == then
