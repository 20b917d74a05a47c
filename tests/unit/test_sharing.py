"""Equal texts share one computation, in one call and later; what is counted, forgotten and refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from pgembed import errors
from pgembed.chunks import Chunk
from pgembed.sharing import Shared


class Model:
    """A model that remembers what it was asked; the image of a text is its digest, texts of more than 5 characters are cut."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self.calls: list[list[str]] = []
        self.bad = bad

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        self.calls.append(list(texts))
        check()
        refused = tuple(at for at, text in enumerate(texts) if text in self.bad)
        if refused:
            raise errors.TextsRefused("texts refused", positions=refused, reason="bad", hint="h", detail="d")
        return [image(text) for text in texts], [len(text) > 5 for text in texts]

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[Chunk]:
        raise NotImplementedError


def image(text: str) -> bytes:
    return hashlib.md5(text.encode()).digest()


def encode(shared: Shared, *texts: str) -> None:
    """Encode texts, and see that each has its own image and mark."""
    images, cut = shared.encode(texts, lambda: None)
    assert images == [image(text) for text in texts]
    assert cut == [len(text) > 5 for text in texts]


def test_equal_texts_of_a_call_are_embedded_once_in_the_order_of_their_first() -> None:
    model = Model()
    shared = Shared(model, 100)
    encode(shared, "b", "a", "b", "longer", "a", "b")
    assert model.calls == [["b", "a", "longer"]]
    assert (shared.texts, shared.sharing) == (2, 5)


def test_equal_texts_of_later_calls_are_not_embedded_again() -> None:
    model = Model()
    shared = Shared(model, 100)
    encode(shared, "a", "b")
    assert (shared.texts, shared.sharing) == (0, 0)
    encode(shared, "b", "c", "longer")
    encode(shared, "a", "c", "b", "longer")
    encode(shared)
    assert model.calls == [["a", "b"], ["c", "longer"]]
    assert (shared.texts, shared.sharing) == (4, 9)


def test_nothing_is_shared_where_nothing_is_equal() -> None:
    model = Model()
    shared = Shared(model, 100)
    encode(shared, "a", "A", "a ", " a", "\uff41", "\u00e1", "a\u0301")
    assert [len(call) for call in model.calls] == [7]
    assert (shared.texts, shared.sharing) == (0, 0)


def test_the_model_is_given_a_page_at_a_time() -> None:
    model = Model()
    encode(Shared(model, 2), "a", "a", "b", "c", "b", "d", "e")
    assert model.calls == [["a", "b"], ["c", "d"], ["e"]]


def test_what_is_remembered_has_a_limit_and_the_longest_unused_goes_first() -> None:
    model = Model()
    shared = Shared(model, 100, most_bytes=2 * (16 + 400))
    encode(shared, "a", "b")
    encode(shared, "a")
    encode(shared, "c")  # in the place of b
    encode(shared, "a", "c")
    assert model.calls == [["a", "b"], ["c"]]
    encode(shared, "b")
    assert model.calls[-1] == ["b"]


def test_a_call_is_answered_though_its_own_texts_have_no_room() -> None:
    model = Model()
    shared = Shared(model, 2, most_bytes=1)
    encode(shared, "a", "b", "a", "c", "b")
    assert model.calls == [["a", "b"], ["c"]]
    encode(shared, "a")
    assert model.calls[-1] == ["a"]
    assert (shared.texts, shared.sharing) == (2, 4)


def test_refused_texts_are_refused_wherever_they_stand_and_the_rest_is_kept() -> None:
    model = Model(bad=["x", "y"])
    shared = Shared(model, 2)
    texts = ["a", "b", "x", "a", "y", "x", "c"]
    with pytest.raises(errors.TextsRefused) as caught:
        shared.encode(texts, lambda: None)
    error = caught.value
    assert error.positions == (2, 4, 5)
    assert (error.message, error.reason, error.hint, error.detail) == ("texts refused", "bad", "h", "d")
    assert (shared.texts, shared.sharing) == (0, 0)
    encode(shared, *(text for at, text in enumerate(texts) if at not in error.positions))
    assert model.calls == [["a", "b"], ["x", "y"], ["c"]]
    assert (shared.texts, shared.sharing) == (1, 2)
    with pytest.raises(errors.TextsRefused):  # asked again: an endpoint may have changed its mind
        shared.encode(["x"], lambda: None)


def test_a_cancel_passes_through() -> None:
    def cancelled() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Shared(Model(), 10).encode(["a"], cancelled)
