"""naming: names that fit, and that are free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pgembed import errors, naming


class Taken:
    """A database in which some names are taken, or all."""

    def __init__(self, *names: str, every: bool = False) -> None:
        self.names, self.every = names, every

    def execute(self, statement: str, types: Sequence[str], values: Sequence[object]) -> list[Any]:
        assert values[0] == "public"
        return [{}] if self.every or values[1] in self.names else []


def taking(*names: str, every: bool = False) -> Any:
    return Taken(*names, every=every)


@pytest.mark.parametrize(
    ("taken", "suffix", "name"),
    [
        ((), "", "x"),
        (("x",), "", "x_1"),
        (("x", "x_1"), "", "x_2"),
        ((), "_work", "x_work"),
        (("x_work",), "_work", "x_work2"),
        (("x_work", "x_work2"), "_work", "x_work3"),
    ],
)
def test_the_first_name_that_is_free(taken: tuple[str, ...], suffix: str, name: str) -> None:
    assert naming.free(taking(*taken), "public", "indexes", "x", suffix) == name


def test_a_long_name_gives_way_to_its_suffix_at_a_whole_character() -> None:
    long = "ä" * 40
    assert naming.clip(long, "_work") == "ä" * 29 + "_work"
    full = naming.clip(long, "_work")
    assert naming.free(taking(full), "public", "tables", long, "_work") == "ä" * 28 + "_work2"


def test_a_schema_may_be_full() -> None:
    with pytest.raises(errors.LimitExceeded, match='schema "public" has a thousand functions named "x"'):
        naming.free(taking(every=True), "public", "functions", "x")
