"""What a session is called while a long call runs."""

from __future__ import annotations

import re

import pytest

from pgembed import progress

# as sql/views/progress.sql reads it
READ = re.compile(r"^pgembed (\w+) (.*) (\d{1,18})/(\d{1,18}|\?) @([0-9a-z]{1,9})$")


@pytest.mark.parametrize(
    ("target", "done", "total"),
    [
        ("product.embedding", 1200, 20000),
        ("a table with spaces.embedding", 0, None),
        ("x" * 200, 10**9, 10**10),
        ("Größe.embedding", 1, 2),
        ("", 0, 0),
    ],
)
def test_a_name_fits_and_is_read_again(target: str, done: int, total: int | None) -> None:
    made = progress.name("train_codec", target, done, total, 1_763_747_000.9)
    assert len(made.encode()) <= progress.MOST
    found = READ.match(made)
    assert found is not None
    what, shown, *numbers, started = found.groups()
    assert what == "train_codec"
    assert numbers == [str(done), "?" if total is None else str(total)]
    assert int(started, 36) == 1_763_747_000
    assert shown.endswith("~") or shown == target.encode("ascii", "replace").decode()


def test_a_name_that_is_cut_says_so() -> None:
    assert progress.name("refresh", "p" * 60, 1, 2, 0) == "pgembed refresh " + "p" * 39 + "~ 1/2 @0"


class Session:
    """A database that knows settings alone, of a transaction and of the session."""

    def __init__(self) -> None:
        self.local: str | None = None

    @property
    def now(self) -> str:
        return self.local or "psql"

    def execute(self, statement: str, types: object = (), values: tuple[str, ...] | list[str] = (), **_: object) -> list[dict[str, str]]:
        if "set_config" in statement:
            assert statement.endswith("true)")
            (self.local,) = values
        return [{"name": self.now}]


def test_what_is_shown_goes_with_a_commit_and_is_shown_again() -> None:
    session = Session()
    with progress.shown(session, "change_model", "product"):
        assert session.now.startswith("pgembed change_model product 0/? @")
        with progress.shown(session, "refresh", "product.next"):
            progress.tell(session, 3, 9)
            session.local = None  # a commit
            progress.again(session)
            assert session.now.startswith("pgembed refresh product.next 3/9 @")
        assert session.now.startswith("pgembed change_model product 0/? @")
    assert session.now == "psql"
    progress.tell(session, 1, 2)
    progress.again(session)
    assert session.now == "psql"


def test_after_an_error_nothing_is_shown_any_more() -> None:
    session = Session()
    with pytest.raises(ValueError, match="x"), progress.shown(session, "refresh", "product"):
        raise ValueError("x")
    session.local = None  # the transaction is over
    progress.again(session)
    assert session.now == "psql"
