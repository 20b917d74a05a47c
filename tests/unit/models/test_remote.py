"""The remote kind against a server on this machine: batches, order, retries, texts at fault, and a cancel."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
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
    as_json,
    base64_of,
    data,
    described,
    expected,
    hang,
    item,
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
from pgembed.models.options import Adapted, Options, derive
from pgembed.models.remote import Remote, probe

pytestmark = pytest.mark.usefixtures("no_proxies")

KEY = "sk-live-0123456789abcdef"
TEXTS = [f"text number {n}" for n in range(10)]


Make = Callable[..., Remote]


# What is sent and what comes -------------------------------------------------------------------------------------------------------


def test_texts_become_vectors_in_their_order(fake: FakeEndpoint, model: Make) -> None:
    made = model().encode(TEXTS)
    np.testing.assert_array_equal(made.vectors, expected(TEXTS))
    assert made.vectors.dtype == np.float32
    assert made.vectors.flags.c_contiguous
    assert made.truncated.tolist() == [False] * len(TEXTS)
    assert made.truncated.dtype == np.bool_
    assert fake.requests[0].said == {"model": "the-model", "input": TEXTS, "encoding_format": "float"}


def test_no_texts_are_no_request(fake: FakeEndpoint, model: Make) -> None:
    made = model().encode([])
    assert (made.vectors.shape, made.truncated.shape) == ((0, DIM), (0,))
    assert fake.requests == []


def test_characters_of_all_kinds_arrive(fake: FakeEndpoint, model: Make) -> None:
    texts = ["größer", "漢字 \U0001f600", 'quotes " \\ and \n lines', "\x01\x7f", ""]
    np.testing.assert_array_equal(model().encode(texts).vectors, expected(texts))
    assert fake.requests[0].texts == texts


def test_a_lone_surrogate_becomes_a_question_mark(fake: FakeEndpoint, model: Make) -> None:
    model().encode(["a\ud800b"])
    assert fake.requests[0].texts == ["a?b"]


def test_batches_follow_each_other_over_one_connection(fake: FakeEndpoint, model: Make) -> None:
    np.testing.assert_array_equal(model(batch_size=4).encode(TEXTS).vectors, expected(TEXTS))
    assert [request.texts for request in fake.requests] == [TEXTS[:4], TEXTS[4:8], TEXTS[8:]]
    assert {request.connection for request in fake.requests} == {1}


def test_a_batch_is_bounded_in_characters_and_a_long_text_goes_alone(fake: FakeEndpoint, model: Make) -> None:
    texts = ["a" * 40, "b" * 40, "c" * 30, "d" * 500, "e" * 10]
    np.testing.assert_array_equal(model(batch_chars=100).encode(texts).vectors, expected(texts))
    assert fake.sizes == [2, 1, 1, 1]


def test_no_connection_outlives_the_call(fake: FakeEndpoint, model: Make) -> None:
    far = model()
    far.encode(["a"])
    far.encode(["a"])
    assert [request.connection for request in fake.requests] == [1, 2]


def test_the_order_of_the_answer_does_not_matter(fake: FakeEndpoint, model: Make) -> None:
    fake.default = data(lambda items: items[::-1])
    np.testing.assert_array_equal(model().encode(TEXTS).vectors, expected(TEXTS))


def test_base64_is_taken_too(fake: FakeEndpoint, model: Make) -> None:
    fake.default = data(lambda items: [item(i["index"], base64_of(i["embedding"])) for i in items])
    np.testing.assert_array_equal(model().encode(TEXTS).vectors, expected(TEXTS))


def test_vectors_come_as_they_are_or_of_length_one(fake: FakeEndpoint, waits: Waits) -> None:
    endpoint = Endpoint(fake.url, "m")
    for scale in (3.0, 1e-30, 1e30):
        fake.default = serving(scale=scale)
        plain = Remote(described(endpoint), endpoint, waits.clock).encode(TEXTS).vectors
        np.testing.assert_allclose(plain, scale * expected(TEXTS), rtol=1e-6)
        scaled = Remote(described(endpoint, normalized=True), endpoint, waits.clock).encode(TEXTS).vectors
        np.testing.assert_allclose(scaled, expected(TEXTS), rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(scaled.astype(np.float64), axis=1), 1, rtol=1e-6)


def test_dimensions_are_sent_where_the_endpoint_shortens_itself(fake: FakeEndpoint, waits: Waits) -> None:
    endpoint = Endpoint(fake.url, "m", dimensions=4)
    made = Remote(described(endpoint, dim=4), endpoint, waits.clock).encode(["a"])
    np.testing.assert_array_equal(made.vectors, np.array([vector("a", 4)], np.float32))
    assert fake.requests[0].said["dimensions"] == 4


def test_options_work_on_a_remote_model_as_on_any(fake: FakeEndpoint, waits: Waits) -> None:
    endpoint = Endpoint(fake.url, "m", gives=DIM)
    base = described(endpoint, normalized=True)
    wanted = derive(base, "far", Options(dim=3, query_prompt="query: ", document_prompt="passage: "))
    far = Adapted(Remote(wanted, endpoint, waits.clock), wanted)
    found = far.encode(["tent"], role="query").vectors
    first = np.array([vector("query: tent")[:3]])
    np.testing.assert_allclose(found, first / np.linalg.norm(first), rtol=1e-5)
    far.encode(["tent"])
    assert [request.texts for request in fake.requests] == [["query: tent"], ["passage: tent"]]


def test_a_model_has_no_more_dimensions_than_its_endpoint(fake: FakeEndpoint) -> None:
    endpoint = Endpoint(fake.url, "m", gives=4)
    with pytest.raises(errors.InvalidParameter, match="at most the 4"):
        Remote(described(endpoint), endpoint)


# Cancel -----------------------------------------------------------------------------------------------------------------------


class Cancelled(Exception):
    """What a check raises."""


@pytest.mark.parametrize(
    "behaviour",
    [hang, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", Hang()), status(503, "wait", "Retry-After: 600")],
    ids=["no answer", "half an answer", "a long wait"],
)
def test_a_cancel_passes_through_while_nothing_comes(fake: FakeEndpoint, behaviour: Behaviour) -> None:
    fake.default = behaviour
    endpoint = Endpoint(fake.url, "m", timeout=600, deadline=6000)
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks > 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        Remote(described(endpoint), endpoint).encode(TEXTS, check)
    assert fake.sizes == [10]


def test_a_cancel_while_the_second_batch_hangs(fake: FakeEndpoint, model: Make) -> None:
    fake.script = [right, hang]

    def check() -> None:
        if len(fake.requests) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        model(batch_size=4, timeout=600).encode(TEXTS, check)


# Registration -----------------------------------------------------------------------------------------------------------------


def test_a_probe_tells_the_dimensions(fake: FakeEndpoint, waits: Waits) -> None:
    fake.default = serving(dim=12)
    assert probe(Endpoint(fake.url, "m"), clock=waits.clock) == (12, False)
    assert probe(Endpoint(fake.url, "m", dimensions=12), clock=waits.clock) == (12, False)
    assert all("dimensions" not in request.said for request in fake.requests)


def test_a_probe_sees_whether_the_endpoint_shortens(fake: FakeEndpoint, waits: Waits) -> None:
    assert probe(Endpoint(fake.url, "m", dimensions=4), clock=waits.clock) == (4, True)
    assert [request.said.get("dimensions") for request in fake.requests] == [None, 4]


def ignoring_dimensions(request: Request) -> Iterator[bytes | Hang]:
    yield response(200, as_json({"data": [item(0, vector(request.texts[0]))]}))


@pytest.mark.parametrize("second", [status(400, "unknown parameter"), ignoring_dimensions])
def test_a_probe_sees_that_the_endpoint_does_not_shorten(fake: FakeEndpoint, waits: Waits, second: Behaviour) -> None:
    fake.script = [ignoring_dimensions, second]
    assert probe(Endpoint(fake.url, "m", dimensions=4), clock=waits.clock) == (DIM, False)
    assert len(fake.requests) == 2


def test_a_probe_refuses_more_dimensions_than_there_are(fake: FakeEndpoint, waits: Waits) -> None:
    fake.script = [serving(), status(400, "no")]
    with pytest.raises(errors.InvalidParameter, match="dim must be from 1 to 8"):
        probe(Endpoint(fake.url, "m", dimensions=9), clock=waits.clock)


def test_a_probe_refuses_what_postgresql_cannot_store(fake: FakeEndpoint, waits: Waits) -> None:
    fake.default = serving(dim=16_001)
    with pytest.raises(errors.LimitExceeded, match="16001 dimensions, expected at most 16000"):
        probe(Endpoint(fake.url, "m"), clock=waits.clock)


@pytest.mark.parametrize(
    ("behaviour", "kind", "message"),
    [
        (status(401, "who?"), errors.RemoteRefused, "does not accept the key"),
        (status(404, "what?"), errors.RemoteRefused, "HTTP 404"),
        (status(400, "no embedding model"), errors.RemoteRefused, "HTTP 400"),
        (status(500, "broken"), errors.RemoteUnavailable, "HTTP 500, 2 times"),
        (raw(response(200, b"<html>", kind="text/html")), errors.RemoteRefused, "not JSON"),
        (serving(scale=math.nan), errors.RemoteRefused, "the vector has NaN"),
        (hang, errors.RemoteUnavailable, "no answer within"),
    ],
)
def test_a_probe_says_what_is_wrong(
    fake: FakeEndpoint, waits: Waits, behaviour: Behaviour, kind: type[errors.PgembedError], message: str
) -> None:
    fake.default = behaviour
    with pytest.raises(kind) as caught:
        probe(Endpoint(fake.url, "m", timeout=0.5), clock=waits.clock)
    assert message in str(caught.value)
    assert len(fake.requests) <= 2


# Tokens -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n", []),
        ("a cat, 12345!", ["a", "cat", ",", "1", "2", "3", "4", "5", "!"]),
        ("internationalisation", ["inter", "natio", "nalis", "ation"]),
        ("größe", ["gr", "öß", "e"]),
        ("漢字です", ["漢", "字", "で", "す"]),
        ("\U0001f600x", ["\U0001f600", "x"]),
        ("snake_case", ["snake", "_", "case"]),
    ],
)
def test_tokens_are_estimated_from_words_and_marks(model: Make, text: str, pieces: list[str]) -> None:
    spans = model().token_spans(text)
    assert [text[start:end] for start, end in spans] == pieces
    assert model().token_count(text) == len(pieces) + 2


SCRIPT = """
import os
from pgembed.models import remote
from pgembed.models.contract import ModelInfo
try:
    remote.probe(remote.Endpoint("http://127.0.0.1:9", "m", retries=0))
except Exception as error:
    print(type(error).__name__)
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        for line in open(f"/proc/self/task/{task}/status"):
            if line.startswith("SigBlk"):
                print(line.split()[1])
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc to see the threads' signal masks")
def test_threads_that_numpy_starts_have_signals_blocked() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(remote.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    kind, *masks = run.stdout.split()
    assert kind == "RemoteUnavailable"
    wanted = sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM))
    assert [mask for mask in masks if int(mask, 16) & wanted != wanted] == []
