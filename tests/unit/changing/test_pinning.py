"""Which column a name means while names change places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pgembed import errors
from pgembed.changing import catalogue, pinning

KEYS = {"table_oid": 5, "schema_name": "public", "table_name": "t", "relkind": "r", "owner": "o", "may_own": True, "reltuples": 9.0}
LINE = dict.fromkeys(
    (
        *("source", "source_function", "source_columns", "trigger_columns", "hash_column", "trigger_name", "trigger_function", "model"),
        *("index_name", "index_method", "chunk_tokens", "chunk_overlap", "chunk_schema", "chunk_name", "chunk_keys", "chunk_lines"),
        *("work_index", "change_of", "hash_now"),
    )
)


def line(name: str, now: str | None, number: int, role: str = "current", fingerprint: str = "f") -> dict[str, Any]:
    more = {"metric": "cosine", "sync": "auto", "adopted": False, "column_type": "vector", "dim": 3, "by_hand": "mark"}
    keys = {"vector_schema": "public", "key_columns": ["id"], "key_types": ["integer"]}
    place = {"column_name": name, "column_now": now, "column_number": number, "role": role, "fingerprint": fingerprint}
    return {**LINE, **KEYS, **keys, **more, **place, "change_of": None if role == "current" else "e"}


class Fake:
    """A database of one table, in a transaction of some isolation."""

    def __init__(self, *lines: dict[str, Any], level: str = "read committed") -> None:
        self.lines, self.level = lines, level
        self.pinned: list[str] = []

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), **_: object) -> Any:
        return [{"level": self.level}] if "transaction_isolation" in statement else list(self.lines)

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        self.pinned.append(statement)


BEFORE = (line("e", "e_previous", 2, fingerprint="old"), line("e_next", "e", 3, "next", "new"))


def test_a_search_follows_the_column_and_a_statement_the_name() -> None:
    db: Any = Fake(*BEFORE)
    seen, written = pinning.seen(db, "t", None), pinning.written(db, "t", None)
    assert (seen.number, seen.fingerprint, seen.sql) == (2, "old", '"e_previous"')
    assert (written.number, written.fingerprint, written.sql) == (3, "new", '"e"')
    assert (pinning.seen(db, "t", "e").number, pinning.written(db, "t", "e").number) == (2, 3)
    assert (pinning.seen(db, "t", "e_next").number, pinning.written(db, "t", "e_previous").number) == (3, 2)
    assert db.pinned[0] == "SELECT FROM t AS t WHERE false"


@pytest.mark.parametrize(("lines", "level"), [(BEFORE, "repeatable read"), (BEFORE, "serializable"), (BEFORE[:1], "read committed")])
def test_where_the_rows_of_a_name_are_not_seen_as_they_are_the_statement_is_refused(lines: Any, level: str) -> None:
    with pytest.raises(errors.Overtaken, match='"e" of table "t" holds vectors of another model') as caught:
        pinning.written(Fake(*lines, level=level), "t", None)
    assert caught.value.sqlstate == "40001"
    assert caught.value.hint
    assert pinning.seen(Fake(*lines, level=level), "t", None).number == 2


def chunked(name: str, called: str, now: str | None, role: str = "current", fingerprint: str = "f") -> dict[str, Any]:
    chunks = {"chunk_tokens": 9, "chunk_overlap": 0, "chunk_schema": "public", "chunk_name": called, "chunk_keys": ["id"]}
    return {**line(name, now, 0, role, fingerprint), **chunks, "column_number": None, "hash_column": f"{name}_hash"}


CHUNKED = (chunked("e", "t_e_chunk", "t_before", fingerprint="old"), chunked("e_next", "t_e_next_chunk", "t_e_chunk", "next", "new"))


def test_over_chunks_it_is_the_table_that_has_another_name() -> None:
    db: Any = Fake(*CHUNKED)
    seen, written = pinning.seen(db, "t", None), pinning.written(db, "t", None)
    assert (seen.fingerprint, seen.place, seen.sql) == ("old", '"public"."t_before"', '"embedding"')
    assert (written.fingerprint, written.place) == ("new", '"public"."t_e_chunk"')
    for lines, level in ((CHUNKED, "repeatable read"), (CHUNKED[:1], "read committed")):
        with pytest.raises(errors.Overtaken, match='table "t_e_chunk" holds vectors of another model'):
            pinning.written(Fake(*lines, level=level), "t", None)
        assert pinning.seen(Fake(*lines, level=level), "t", None).fingerprint == "old"
    with pytest.raises(errors.UnknownColumn, match="its table of chunks"):
        pinning.seen(Fake(chunked("e", "t_e_chunk", None)), "t", None)


def test_a_column_that_is_gone_by_now_is_no_column() -> None:
    with pytest.raises(errors.UnknownColumn, match="does not exist any more"):
        pinning.seen(Fake(line("e", None, 2)), "t", None)


def test_what_a_query_was_made_for_is_remembered_for_the_last_ones() -> None:
    for number in range(1030):
        pinning.remember(number.to_bytes(2), f"f{number}")
    pinning.remember(b"x", None)
    assert (pinning.made_for((3).to_bytes(2)), pinning.made_for(b"x")) == (None, None)
    assert pinning.made_for((1029).to_bytes(2)) == "f1029"


def test_neither_of_two_columns_of_a_change_is_dropped_or_altered() -> None:
    now: Any = Fake(line("e", "e", 2), line("e_next", "e_next", 3, "next"), line("z", "z", 4))
    for name in ("e", "e_next"):
        with pytest.raises(errors.DependentObjects, match=r"while the model of t\.e is being changed") as caught:
            catalogue.must_not_change(now, "t", name, "drop")
        assert "rollback_model('t', 'e')" in (caught.value.hint or "")
    catalogue.must_not_change(now, "t", "z", "drop")
