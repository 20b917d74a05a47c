"""Whose an error is, by its SQLSTATE, and what it says."""

from __future__ import annotations

import pytest

from pgembed import errors, faults


class Raised(Exception):
    def __init__(self, sqlstate: str | None, told: str = "told") -> None:
        super().__init__(told)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "data", "server"),
    [
        (Raised("22012"), True, False),
        (Raised("P0001"), True, False),
        (Raised("40001"), False, True),
        (Raised("57014"), False, True),
        (Raised("40P01"), False, True),
        (Raised("53100"), False, True),
        (Raised("42P01"), False, False),
        (Raised(None), False, False),
        (ValueError("no SQLSTATE"), False, False),
        # ours says what is wrong with row, source or model, whatever its class
        (errors.NotReady("not yet"), False, False),
    ],
)
def test_whose_an_error_is(error: Exception, data: bool, server: bool) -> None:
    assert (faults.is_data_error(error), faults.is_servers(error)) == (data, server)


def test_names_that_are_lost() -> None:
    told = [Raised("42P01"), Raised("42703"), Raised("3F000"), Raised("42501"), Raised(None), errors.UnknownTable("gone")]
    assert [faults.is_lost_name(error) for error in told] == [True, True, True, False, False, True]


def test_what_an_error_says() -> None:
    assert faults.sqlstate_of(Raised("22012")) == "22012"
    assert faults.sqlstate_of(ValueError("x")) == "XX000"
    assert faults.said(Raised("22012", "division\x00by zero ")) == "division by zero"
    assert faults.said(ValueError("no number")) == "ValueError: no number"
    assert faults.said(ValueError()) == "ValueError:"
    assert len(faults.said(Raised("22012", "x" * 3000))) == 2000


def test_a_key_that_is_none_is_told_and_no_other_error_is_taken_for_one() -> None:
    with pytest.raises(errors.StatementRefused, match=r'^"x" is no key of t: told$') as caught, faults.keys_of("t", "x"):
        raise Raised("22P02")
    assert (caught.value.sqlstate, caught.value.hint) == ("22P02", faults.KEYS)
    with pytest.raises(errors.StatementRefused, match=r"^a key is none of t: told$"), faults.keys_of("t"):
        raise Raised("22003")
    ours = errors.InvalidParameter("of class 22, and of something else")
    for other in (Raised("42501"), Raised(None), ours):
        with pytest.raises(type(other)) as passed, faults.keys_of("t", "x"):
            raise other
        assert passed.value is other
