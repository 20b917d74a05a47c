"""Likeness of two texts: what is only written differently agrees, what names another thing does not."""

from __future__ import annotations

import pytest

from pgembed.grouping import likeness

# other rows, so that words have weights
REST = ["panasonic turntable sl-1200", "bose speaker system am5", "canon eos camera 350d", "a lightweight jacket of wool", "blue jacket"]


def of(one: str, other: str) -> float:
    return likeness.Texts([one, other, *REST]).of(0, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sony KX-TG6700B phone", "sony  kxtg6700b  Phone"),
        ("sony kx tg 6700b phone", "phone sony kxtg6700b"),
        ("light weight jacket", "Lightweight jacket!"),
    ],
)
def test_what_is_only_written_apart_or_in_another_order_is_the_same(one: str, other: str) -> None:
    assert of(one, other) == of(other, one) == pytest.approx(1.0)


@pytest.mark.parametrize(("one", "other"), [("sony kxtg6700b phone", "sony kxtg6701b phone"), ("eos 350d", "eos 450d"), ("am5", "am 6")])
def test_another_number_is_another_thing(one: str, other: str) -> None:
    assert of(one, other) < 0.5


def test_a_slip_costs_less_than_another_word() -> None:
    assert 1.0 > of("panasonic turntable", "panasonic turntabel") > of("panasonic turntable", "panasonic loudspeaker")
