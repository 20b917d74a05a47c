"""Embedding the texts of a claim: what fails alone, what is the model's fault, what is passed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pgembed import errors
from pgembed.chunks import Chunk
from pgembed.work.failures import Unusable
from pgembed.work.running import Interrupted, embed_texts


class Picky:
    """An encoder whose image of a text is the text; ``fail`` raises what it does not like of a call."""

    def __init__(self, fail: Callable[[Sequence[str]], None]) -> None:
        self.fail = fail
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        self.calls.append(list(texts))
        check()
        self.fail(texts)
        return [text.encode() for text in texts], [len(text) > 3 for text in texts]

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[Chunk]:
        raise AssertionError("nothing is split here")


class Cancelled(Exception):
    sqlstate = "57014"


def nothing() -> None:
    """Nobody cancels."""


def test_all_texts_are_embedded_in_one_call() -> None:
    encoder = Picky(lambda texts: None)
    done = embed_texts(encoder, ["a", "long", "c"], nothing)
    assert done.images == {0: b"a", 1: b"long", 2: b"c"}
    assert done.cut == {0: False, 1: True, 2: False}
    assert done.failed == {}
    assert len(encoder.calls) == 1


def test_no_text_needs_no_model() -> None:
    encoder = Picky(lambda texts: None)
    assert embed_texts(encoder, [], nothing).images == {}
    assert encoder.calls == []


def test_texts_that_the_model_refuses_by_name_fail_alone() -> None:
    def fail(texts: Sequence[str]) -> None:
        bad = tuple(at for at, text in enumerate(texts) if "x" in text)
        if bad:
            raise errors.TextsRefused("no", positions=bad[:1], reason="too odd")

    done = embed_texts(Picky(fail), ["x", "a", "y", "xx"], nothing)
    assert sorted(done.images) == [1, 2]
    assert {at: (why.sqlstate, why.public) for at, why in done.failed.items()} == {
        0: ("22023", "the model has no vector for the text: too odd"),
        3: ("22023", "the model has no vector for the text: too odd"),
    }


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, {0, 1, 2, 3, 4, 5, 6, 7}])
def test_a_text_at_which_the_model_fails_is_found_by_splitting(bad: set[int]) -> None:
    texts = [f"{'poison ' if at in bad else ''}{at}" for at in range(8)]

    def fail(given: Sequence[str]) -> None:
        if any("poison" in text for text in given):
            raise ValueError(f"cannot read {given[0]}")

    encoder = Picky(fail)
    done = embed_texts(encoder, texts, nothing)
    assert set(done.failed) == bad
    assert set(done.images) == set(range(8)) - bad
    one = done.failed[min(bad)]
    assert one.error == f"ValueError: cannot read poison {min(bad)}"
    assert (one.sqlstate, one.public) == ("XX000", "the model failed with ValueError"), "the text is nobody's but the owner's"
    assert sum("whether the model works" in call[0] for call in encoder.calls) == 1


def test_a_batch_that_is_too_large_for_the_memory_is_split_and_no_text_fails() -> None:
    def fail(given: Sequence[str]) -> None:
        if len(given) > 2:
            raise MemoryError

    done = embed_texts(Picky(fail), list("abcdefgh"), nothing)
    assert len(done.images) == 8
    assert done.failed == {}


@pytest.mark.parametrize(
    "error", [errors.FileMissing("gone"), errors.RemoteUnavailable("down"), errors.NotReady("none"), errors.UnknownObject("who")]
)
def test_an_error_that_no_text_can_have_is_the_models_at_once(error: errors.PgembedError) -> None:
    def fail(given: Sequence[str]) -> None:
        raise error

    encoder = Picky(fail)
    with pytest.raises(Unusable) as caught:
        embed_texts(encoder, ["a", "b"], nothing)
    assert (caught.value.sqlstate, caught.value.message, caught.value.cause) == (error.sqlstate, error.message, error)
    assert len(encoder.calls) == 1


def test_a_model_that_fails_with_everything_is_to_blame_and_no_text() -> None:
    def fail(given: Sequence[str]) -> None:
        raise RuntimeError("the card is on fire")

    encoder = Picky(fail)
    with pytest.raises(Unusable, match="RuntimeError: the card is on fire"):
        embed_texts(encoder, list("abcdefgh"), nothing)
    assert len(encoder.calls) == 2


@pytest.mark.parametrize("error", [Cancelled("stop"), Interrupted("stop")])
def test_a_cancel_is_nobodys_fault(error: Exception) -> None:
    def check() -> None:
        raise error

    encoder = Picky(lambda texts: None)
    with pytest.raises(type(error)):
        embed_texts(encoder, ["a", "b"], check)
    assert len(encoder.calls) == 1
