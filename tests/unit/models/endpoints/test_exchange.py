"""One request against a server that hangs, drips, lies, hangs up, or redirects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from fake_endpoint import Behaviour, FakeEndpoint, Hang, Request, as_json, raw, response, right, status

from pgembed.models.contract import no_check
from pgembed.models.endpoints import exchange
from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.endpoints.exchange import Answer, Line, Trouble

pytestmark = pytest.mark.usefixtures("no_proxies")

BODY = as_json({"model": "m", "input": ["a"]})


def post(endpoint: Endpoint, key: str | None = None, limit: int = 100_000) -> Answer:
    line = Line(endpoint, no_check)
    try:
        return line.post(BODY, key, limit)
    finally:
        line.close()


def trouble(fake: FakeEndpoint, behaviour: Behaviour, **options: float) -> Trouble:
    fake.default = behaviour
    with pytest.raises(Trouble) as caught:
        post(Endpoint(fake.url, "m", **({"timeout": 20.0} | options)))  # type: ignore[arg-type]
    return caught.value


def test_a_request_has_what_the_protocol_needs(fake: FakeEndpoint) -> None:
    answer = post(Endpoint(fake.url, "m"), "the-key")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    (request,) = fake.requests
    assert (request.method, request.target, request.body) == ("POST", "/v1/embeddings", BODY)
    assert request.headers["host"] == f"127.0.0.1:{fake.port}"
    assert request.headers["authorization"] == "Bearer the-key"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("pgembed/")


def test_without_a_key_there_is_no_authorization(fake: FakeEndpoint) -> None:
    post(Endpoint(fake.url, "m"))
    assert "authorization" not in fake.requests[0].headers


def test_a_line_keeps_its_connection_until_it_is_closed(fake: FakeEndpoint) -> None:
    line = Line(Endpoint(fake.url, "m"), no_check)
    for _ in range(3):
        assert line.post(BODY, None, 100_000).status == 200
    line.close()
    post(Endpoint(fake.url, "m"))
    assert [request.connection for request in fake.requests] == [1, 1, 1, 2]


def test_a_connection_that_was_closed_meanwhile_is_made_anew(fake: FakeEndpoint) -> None:
    fake.script = [right, raw()]
    line = Line(Endpoint(fake.url, "m"), no_check)
    line.post(BODY, None, 100_000)
    assert line.post(BODY, None, 100_000).status == 200  # the second was read, and answered by hanging up
    line.close()
    assert [request.connection for request in fake.requests] == [1, 1, 2]


def test_bytes_that_nobody_asked_for_are_not_the_next_answer(fake: FakeEndpoint) -> None:
    lying = response(200, b"{}", "Connection: keep-alive") + response(200, b'{"evil": 1}', "Connection: keep-alive")
    fake.script = [raw(lying)]
    line = Line(Endpoint(fake.url, "m"), no_check)
    assert line.post(BODY, None, 100_000).body == b"{}"
    assert b"evil" not in line.post(BODY, None, 100_000).body
    line.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(Hang()),
        raw(b"HTTP/1.1 200", Hang()),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n", Hang()),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", Hang()),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", Hang()),
        raw(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 50, Hang()),
    ],
    ids=["before anything", "status", "headers", "body", "chunk", "continue"],
)
def test_a_hang_ends_with_the_timeout(fake: FakeEndpoint, behaviour: Behaviour) -> None:
    found = trouble(fake, behaviour, timeout=0.3)
    assert (found.reason, found.slow) == ("gave no answer within 0.3 s", True)


def test_an_answer_in_drips_ends_with_the_timeout(fake: FakeEndpoint) -> None:
    drips = [piece for _ in range(1000) for piece in (b" ", Hang(0.02))]
    found = trouble(fake, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", *drips), timeout=0.3)
    assert found.slow


def test_endless_chatter_ends_with_the_timeout(fake: FakeEndpoint) -> None:
    # slow enough that http.client, which from Python 3.14 takes a hundred of these, is not the one that ends it
    chatter = [piece for _ in range(90) for piece in (b"HTTP/1.1 100 Continue\r\n\r\n", Hang(0.02))]
    assert trouble(fake, raw(*chatter), timeout=0.3).slow


def test_a_flood_of_chatter_ends(fake: FakeEndpoint) -> None:
    def flood(request: Request) -> Iterator[bytes]:
        while True:
            yield b"HTTP/1.1 100 Continue\r\n\r\n" * 1000

    found = trouble(fake, flood, timeout=0.3)
    assert found.slow or found.reason == "answered with something that is not HTTP"


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    ],
    ids=["at once", "body", "chunk", "no last chunk"],
)
def test_an_answer_that_is_cut_off_may_be_asked_for_again(fake: FakeEndpoint, behaviour: Behaviour) -> None:
    found = trouble(fake, behaviour)
    assert found.reason == "closed the connection before its answer was complete"
    assert found.tries > 100


@pytest.mark.parametrize(
    "piece",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46" * 10,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500,
    ],
    ids=["ssh", "tls", "no status", "too many headers"],
)
def test_what_is_not_http_is_told_without_being_quoted(fake: FakeEndpoint, piece: bytes) -> None:
    found = trouble(fake, raw(piece + b"\r\n"))
    assert (found.reason, found.tries) == ("answered with something that is not HTTP", 0)


def test_a_body_that_is_too_large_is_not_read(fake: FakeEndpoint) -> None:
    fake.default = raw(response(200, b"{}", length=10**15), Hang())
    with pytest.raises(Trouble, match="more than the 1000 bytes expected") as caught:
        post(Endpoint(fake.url, "m"), limit=1000)
    assert caught.value.tries == 0


@pytest.mark.parametrize("length", ["", "Content-Length: -5\r\n", "Content-Length: many\r\n"])
def test_a_body_without_end_is_read_up_to_the_limit(fake: FakeEndpoint, length: str) -> None:
    def endless(request: Request) -> Iterator[bytes]:
        yield f"HTTP/1.1 200 OK\r\n{length}\r\n".encode()
        while True:
            yield b"x" * 1000

    fake.default = endless
    with pytest.raises(Trouble, match="more than the 5000 bytes expected"):
        post(Endpoint(fake.url, "m"), limit=5000)


def test_an_answer_may_be_chunked_or_end_with_the_connection(fake: FakeEndpoint) -> None:
    fake.script = [
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", Hang(0.01), b"1;x=y\r\n}\r\n0\r\n\r\n"),
        raw(b"HTTP/1.0 200 OK\r\n\r\n{", Hang(0.01), b"}"),
    ]
    assert post(Endpoint(fake.url, "m")).body == b"{}"
    assert post(Endpoint(fake.url, "m")).body == b"{}"


def test_an_error_is_told_by_its_status_whatever_its_body(fake: FakeEndpoint) -> None:
    fake.script = [
        raw(b"HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nNo"),
        raw(b"HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nNo", Hang()),
        raw(response(401, b"x" * 1_000_000)),
    ]
    endpoint = Endpoint(fake.url, "m", timeout=0.5)
    assert [post(endpoint).status for _ in range(3)] == [401, 401, 401]


def test_a_refusal_before_all_of_the_request_was_read_is_seen(fake: FakeEndpoint) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = server.accept()
        connection.recv(1000)
        connection.sendall(response(413, b"{}"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass
        connection.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    line = Line(Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", "m"), no_check)
    assert line.post(b" " * 20_000_000, None, 1000).status == 413
    line.close()
    thread.join()
    server.close()


def test_a_redirect_is_an_answer_and_not_followed(fake: FakeEndpoint) -> None:
    with FakeEndpoint() as other:
        fake.default = status(307, "elsewhere", f"Location: {other.url}/embeddings")
        assert post(Endpoint(fake.url, "m"), "the-key").status == 307
        assert other.requests == []


def test_nobody_at_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Trouble, match="refuses connections") as caught:
        post(Endpoint(f"http://127.0.0.1:{port}", "m"))
    assert "running" in str(caught.value.hint)


def test_a_name_that_is_none() -> None:
    with pytest.raises(Trouble, match="name that cannot be resolved"):
        post(Endpoint("http://nowhere.invalid/v1", "m"))


def test_a_name_is_resolved(fake: FakeEndpoint) -> None:
    assert post(Endpoint(f"http://localhost:{fake.port}/v1", "m")).status == 200


def test_a_resolver_that_hangs_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *args: object, **options: int) -> object:
        if options.get("flags"):
            return real(host, *args, **options)  # type: ignore[arg-type]
        asked.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(Trouble, match="no answer within"):
        post(Endpoint("http://host.example/v1", "m", timeout=0.3))
    asked.set()


# Cancel -----------------------------------------------------------------------------------------------------------------------


class Cancelled(Exception):
    """What a check raises."""


class CancelledAsError(ConnectionResetError):
    """What a check raises that looks like an error of the network."""


@pytest.mark.parametrize("kind", [Cancelled, CancelledAsError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "behaviour",
    [
        raw(Hang()),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", Hang()),
        raw(b"HTTP/1.1 401 OK\r\nContent-Length: 10\r\n\r\n", Hang()),
    ],
    ids=["before headers", "in a body", "in an error's body"],
)
def test_a_cancel_passes_through_and_hangs_up(fake: FakeEndpoint, behaviour: Behaviour, kind: type[BaseException]) -> None:
    fake.default = behaviour
    before = threading.active_count()
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if fake.requests and looks > 3:
            raise kind

    line = Line(Endpoint(fake.url, "m", timeout=600), check)
    with pytest.raises(kind):
        line.post(BODY, None, 1000)
    while not fake.gone:  # the server sees that the client is gone: nothing is left that waits
        time.sleep(0.01)
    assert threading.active_count() <= before + 1  # the server's own, for this connection


def test_a_check_is_called_all_the_time(fake: FakeEndpoint) -> None:
    looks: list[int] = []
    fake.default = raw(b"HTTP/1.1 200 OK\r\n", Hang(0.5), b"Content-Length: 2\r\n\r\n", Hang(0.5), b"{}")
    line = Line(Endpoint(fake.url, "m"), lambda: looks.append(1))
    line.post(BODY, None, 1000)
    line.close()
    # A second of waiting, in tenths: fewer looks only where this machine was busy elsewhere.
    assert len(looks) >= 6


def test_a_pause_sees_a_cancel() -> None:
    looks: list[int] = []

    def check() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        exchange.pause(600, check)
