"""Remote models whose endpoint fails: wrong answers, refused keys, retries and their waits, texts at fault."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_endpoint import (
    DIM,
    Behaviour,
    FakeEndpoint,
    Hang,
    Request,
    Waits,
    at_most,
    data,
    described,
    expected,
    hang,
    item,
    poisoned_by,
    raw,
    response,
    right,
    serving,
    status,
    vector,
)

from pgembed import errors
from pgembed.models import remote
from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.remote import Remote

pytestmark = pytest.mark.usefixtures("no_proxies")

KEY = "sk-live-0123456789abcdef"
TEXTS = [f"text number {n}" for n in range(10)]


Make = Callable[..., Remote]


# Answers that are none --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (data(lambda items: items[:-1]), "9 vectors for 10 texts"),
        (data(lambda items: [*items, item(10, vector("x"))]), "11 vectors for 10 texts"),
        (data(lambda items: [*items[:-1], item(0, vector("x"))]), "twice there"),
        (data(lambda items: [*items[:-1], item(10, vector("x"))]), "not from 0 to 9"),
        (data(lambda items: [{"embedding": i["embedding"]} for i in items]), "index that is missing"),
        (data(lambda items: {"0": items}), "without the list data"),
        (data(lambda items: [item(n, ["x"] * DIM) for n in range(10)]), "other things than numbers"),
        (raw(response(200, b"<html>please log in</html>", kind="text/html")), "not JSON: 26 bytes, text/html"),
        (raw(response(200, b'{"data": [{"index": 0, "embe')), "not JSON: 28 bytes, application/json"),
        (raw(response(200, b"\x1f\x8b\x08\x00", "Content-Encoding: gzip")), "not JSON"),
        (raw(response(204, b"")), "not JSON: 0 bytes"),
        (raw(b"hello\r\n\r\n"), "not HTTP"),
        (raw(response(200, b" " * 3_000_000)), "more than the 1053696 bytes expected"),
    ],
)
def test_a_wrong_answer_is_an_error_at_once(fake: FakeEndpoint, model: Make, waits: Waits, behaviour: Behaviour, message: str) -> None:
    fake.default = behaviour
    with pytest.raises(errors.RemoteRefused) as caught:
        model().encode(TEXTS)
    assert message in caught.value.message
    assert caught.value.message.startswith(f'endpoint 127.0.0.1:{fake.port} of model "far" ')
    assert caught.value.sqlstate == "38000"
    assert caught.value.hint
    assert "log in" not in f"{caught.value}{caught.value.detail}"
    assert (len(fake.requests), waits.seconds) == (1, [])


def test_other_dimensions_are_told_with_those_expected(fake: FakeEndpoint, model: Make) -> None:
    fake.default = serving(dim=5)
    with pytest.raises(errors.DimensionMismatch, match="vectors of 5 dimensions, expected 8") as caught:
        model().encode(TEXTS)
    assert caught.value.sqlstate == "22000"
    assert "another model" in str(caught.value.hint)


@pytest.mark.parametrize("status_code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(fake: FakeEndpoint, model: Make, monkeypatch: pytest.MonkeyPatch, status_code: int) -> None:
    monkeypatch.setenv("PGEMBED_TEST_KEY", KEY)
    with FakeEndpoint() as other:
        fake.default = status(status_code, "moved", f"Location: {other.url}/embeddings?key={KEY}")
        with pytest.raises(errors.RemoteRefused, match=f"HTTP {status_code}, a redirect, which is not followed") as caught:
            model(api_key="env:PGEMBED_TEST_KEY").encode(["a"])
        assert other.requests == []
        assert f"{other.url}/embeddings;" in str(caught.value.hint)
    assert KEY not in f"{caught.value}{caught.value.hint}{caught.value.detail}"


# Keys -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_is_told_at_once_by_its_place_and_never_shown(
    fake: FakeEndpoint, model: Make, waits: Waits, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setenv("PGEMBED_TEST_KEY", KEY)
    fake.default = status(code, f"Incorrect API key provided: {KEY}. You can find your key in your account.")
    with pytest.raises(errors.RemoteRefused, match=f"HTTP {code}: it does not accept the key") as caught:
        model(api_key="env:PGEMBED_TEST_KEY").encode(["a"])
    assert fake.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert (len(fake.requests), waits.seconds) == (1, [])
    assert 'environment variable "PGEMBED_TEST_KEY" of the server\'s process' in str(caught.value.hint)
    assert caught.value.detail == "It said: Incorrect API key provided: ***. You can find your key in your account."
    everything = f"{caught.value!r}{caught.value.__dict__}{caught.value.__cause__!r}{caught.value.__context__!r}"
    assert KEY not in everything


def test_a_key_file_may_change_between_calls(fake: FakeEndpoint, model: Make, tmp_path: Path) -> None:
    far = model(api_key=f"file:{tmp_path}/key")
    for key in ("first", "second"):
        (tmp_path / "key").write_text(key)
        far.encode(["a"])
    assert [request.headers["authorization"] for request in fake.requests] == ["Bearer first", "Bearer second"]
    (tmp_path / "key").unlink()
    with pytest.raises(errors.FileMissing, match="does not exist"):
        far.encode(["a"])
    assert len(fake.requests) == 2


def test_a_model_that_the_endpoint_does_not_have(fake: FakeEndpoint, model: Make) -> None:
    fake.default = status(404, 'model "the-model" not found, try pulling it first')
    with pytest.raises(errors.RemoteRefused, match="HTTP 404 at /v1/embeddings") as caught:
        model().encode(["a"])
    assert "/v1" in str(caught.value.hint)
    assert "the-model" in str(caught.value.hint)
    assert "try pulling it first" in str(caught.value.detail)


# Retries ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again_after_growing_waits(fake: FakeEndpoint, model: Make, waits: Waits, code: int) -> None:
    fake.script = [status(code, "not now")] * 3
    np.testing.assert_array_equal(model().encode(TEXTS).vectors, expected(TEXTS))
    assert waits.seconds == [0.5, 1.0, 2.0]
    assert fake.sizes == [10] * 4


def test_half_of_a_wait_is_chance(fake: FakeEndpoint, waits: Waits) -> None:
    fake.script = [status(503)] * 2
    endpoint = Endpoint(fake.url, "m")
    Remote(described(endpoint), endpoint, dataclasses.replace(waits.clock, chance=lambda: 0.0)).encode(["a"])
    assert waits.seconds == [0.25, 0.5]


@pytest.mark.parametrize(
    ("said", "waited"), [("7", 7.5), ("Sun, 09 Sep 2001 01:47:22 GMT", 42.5), ("Sun, 09 Sep 2001 01:00:00 GMT", 0.5), ("soon", 0.5)]
)
def test_retry_after_is_honoured(fake: FakeEndpoint, model: Make, waits: Waits, said: str, waited: float) -> None:
    fake.script = [status(429, "slow down", f"Retry-After: {said}")]
    model().encode(["a"])
    assert waits.seconds == [waited]


def test_a_wait_beyond_the_deadline_is_an_error_now(fake: FakeEndpoint, model: Make, waits: Waits) -> None:
    fake.default = status(429, "tomorrow", "Retry-After: 3600")
    with pytest.raises(errors.RemoteUnavailable, match="answered HTTP 429") as caught:
        model().encode(TEXTS)
    assert (waits.seconds, len(fake.requests)) == ([], 1)
    assert caught.value.hint == "It asks to wait 3600 s."
    assert caught.value.detail == "It said: tomorrow"
    assert caught.value.sqlstate == "58000"


def test_the_deadline_counts_from_the_last_success(fake: FakeEndpoint, model: Make, waits: Waits) -> None:
    late = status(429, "later", "Retry-After: 40")
    fake.script = [late, right, late, right, late, late]
    with pytest.raises(errors.RemoteUnavailable, match="HTTP 429, 2 times"):
        model(batch_size=4, deadline=60).encode(TEXTS)
    assert waits.seconds == [40.5, 40.5, 40.5]


@pytest.mark.parametrize("code", [429, 502])
def test_a_server_that_never_comes_back_is_given_up(fake: FakeEndpoint, model: Make, waits: Waits, code: int) -> None:
    fake.default = status(code, "no")
    with pytest.raises(errors.RemoteUnavailable, match=f"HTTP {code}, 4 times"):
        model(retries=3).encode(TEXTS)
    assert fake.sizes == [10] * 4
    assert waits.seconds == [0.5, 1.0, 2.0]


def test_a_server_that_fails_for_every_text_is_told_apart_from_a_text_at_fault(fake: FakeEndpoint, model: Make) -> None:
    fake.default = status(500, "broken")
    with pytest.raises(errors.RemoteUnavailable, match="HTTP 500, 3 times"):
        model(retries=2).encode(TEXTS)
    # Three times the batch, then one text that cannot be at fault.
    assert [request.texts for request in fake.requests] == [TEXTS] * 3 + [[remote.PROBE]]


def test_a_server_that_refuses_every_text_is_told_apart_from_a_text_at_fault(fake: FakeEndpoint, model: Make) -> None:
    fake.default = status(400, "this is no embedding model")
    with pytest.raises(errors.RemoteRefused, match="HTTP 400") as caught:
        model().encode(TEXTS)
    assert [request.texts for request in fake.requests] == [TEXTS, [remote.PROBE]]
    assert "no embedding model" in str(caught.value.detail)


def test_connections_that_break_are_made_again(fake: FakeEndpoint, model: Make, waits: Waits) -> None:
    fake.script = [raw(), raw(response(200, b"{", length=100))]
    np.testing.assert_array_equal(model().encode(TEXTS).vectors, expected(TEXTS))
    assert waits.seconds == [0.5, 1.0]
    fake.default = raw()
    with pytest.raises(errors.RemoteUnavailable, match="closed the connection before its answer was complete, 6 times"):
        model().encode(TEXTS)


def test_a_server_that_is_down_is_not_waited_for_long(waits: Waits) -> None:
    with FakeEndpoint() as gone:
        endpoint = Endpoint(gone.url, "m")
    with pytest.raises(errors.RemoteUnavailable, match="refuses connections, 3 times"):
        Remote(described(endpoint), endpoint, waits.clock).encode(["a"])
    assert waits.seconds == [0.5, 1.0]


def test_a_hang_is_a_timeout_and_tried_again(fake: FakeEndpoint, model: Make, waits: Waits) -> None:
    fake.script = [hang]
    np.testing.assert_array_equal(model(timeout=0.3).encode(["a"]).vectors, expected(["a"]))
    assert waits.seconds == [0.5]


def test_a_server_that_always_hangs_is_given_up(fake: FakeEndpoint, model: Make) -> None:
    fake.default = hang
    with pytest.raises(errors.RemoteUnavailable, match=r"gave no answer within 0\.2 s, 2 times"):
        model(timeout=0.2).encode(TEXTS)
    # A batch that is too slow is asked once more, and then something small.
    assert fake.sizes == [10, 10, 1]


# Texts at fault, and batches that are too large --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_batch_that_is_too_large_is_halved_once_and_for_all(fake: FakeEndpoint, model: Make, waits: Waits, code: int) -> None:
    fake.default = at_most(3, code)
    far = model()
    np.testing.assert_array_equal(far.encode(TEXTS).vectors, expected(TEXTS))
    asked = fake.sizes
    assert asked[:2] == [10, 1]
    assert len(asked) <= 10
    assert waits.seconds == []
    fake.requests.clear()
    np.testing.assert_array_equal(far.encode(TEXTS).vectors, expected(TEXTS))
    assert max(fake.sizes) <= 3


def test_a_batch_that_is_too_slow_is_halved(fake: FakeEndpoint, model: Make) -> None:
    def slow(request: Request) -> Iterator[bytes | Hang]:
        if len(request.texts) > 5:
            yield Hang()
        yield from right(request)

    fake.default = slow
    np.testing.assert_array_equal(model(timeout=0.3).encode(TEXTS).vectors, expected(TEXTS))
    assert fake.sizes == [10, 10, 1, 5, 5]


@pytest.mark.parametrize("code", [400, 500])
@pytest.mark.parametrize("place", range(10))
def test_a_text_that_is_refused_is_found(fake: FakeEndpoint, model: Make, code: int, place: int) -> None:
    fake.default = poisoned_by(f"number {place}", status(code, f"I do not like text number {place} at all"))
    far = model()
    with pytest.raises(errors.TextsRefused, match=f"no vector for text {place + 1} of 10: answered HTTP {code}$") as caught:
        far.encode(TEXTS)
    assert caught.value.positions == (place,)
    assert caught.value.sqlstate == "22023"
    assert "number" not in f"{caught.value.message}{caught.value.hint}{caught.value.detail}"
    # The others need not be paid for twice.
    fake.requests.clear()
    rest = [text for number, text in enumerate(TEXTS) if number != place]
    np.testing.assert_array_equal(far.encode(rest).vectors, expected(rest))
    assert fake.requests == []
    far.encode(rest)
    assert fake.sizes == [9]


def test_texts_at_fault_do_not_make_batches_smaller(fake: FakeEndpoint, model: Make) -> None:
    fake.default = poisoned_by("number 7", status(400, "no"))
    far = model()
    for _ in range(3):
        with pytest.raises(errors.TextsRefused):
            far.encode(TEXTS)
        far.encode([])
    far.encode(TEXTS[:7])
    assert fake.sizes[-1] == 7


def test_many_texts_at_fault_are_listed(fake: FakeEndpoint, model: Make) -> None:
    fake.default = poisoned_by("bad", status(422, "no"))
    texts = [f"bad {n}" if n % 3 == 0 else f"good {n}" for n in range(40)]
    with pytest.raises(errors.TextsRefused) as caught:
        model(batch_size=16).encode(texts)
    assert caught.value.positions == tuple(range(0, 40, 3))
    assert "14 of 40 texts, which are 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, ...: answered HTTP 422" in caught.value.message


def test_a_text_too_many_in_a_batch_and_one_at_fault_together(fake: FakeEndpoint, model: Make) -> None:
    def both(request: Request) -> Iterator[bytes | Hang]:
        yield from (at_most(4, 400) if len(request.texts) > 4 else poisoned_by("number 8", status(400, "no")))(request)

    fake.default = both
    with pytest.raises(errors.TextsRefused) as caught:
        model().encode(TEXTS)
    assert caught.value.positions == (8,)


def test_one_text_alone_is_refused_only_where_others_work(fake: FakeEndpoint, model: Make) -> None:
    fake.default = poisoned_by("bad", status(400, "too long"))
    with pytest.raises(errors.TextsRefused, match="text 1 of 1: answered HTTP 400") as caught:
        model().encode(["bad"])
    assert caught.value.detail == "It said: too long"


@pytest.mark.parametrize(("number", "reason"), [(math.nan, "NaN"), (math.inf, "infinity"), (None, "NaN"), (0.0, "zeros")])
def test_a_vector_that_is_none_is_its_texts_fault(fake: FakeEndpoint, model: Make, number: float | None, reason: str) -> None:
    fake.default = data(lambda items: [*items[:3], item(3, [number] * DIM), *items[4:]])
    with pytest.raises(errors.TextsRefused, match="text 4 of 10: its vector") as caught:
        model().encode(TEXTS)
    assert reason in caught.value.message
    assert caught.value.positions == (3,)


def test_the_endpoint_may_go_away_while_a_text_is_searched_for(fake: FakeEndpoint, model: Make) -> None:
    fake.script = [status(400, "no"), right, status(503), status(503)]
    with pytest.raises(errors.RemoteUnavailable, match="HTTP 503"):
        model(retries=1).encode(TEXTS)
