"""A small HTTP server that speaks the OpenAI embeddings protocol, as well or as badly as a test tells it to; it runs in threads.

with FakeEndpoint() as fake:
    fake.script = [status(429), hang]  # the first two requests; all others are answered by fake.default
    Endpoint(fake.url, "some-model")
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pgembed.models.contract import ModelInfo
from pgembed.models.endpoints.endpoint import Endpoint, fingerprint
from pgembed.models.remote import Clock

DIM = 8


@dataclass(frozen=True)
class Request:
    """What a client sent; ``connection`` counts the connections."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def said(self) -> dict[str, Any]:
        """The body, read."""
        read: dict[str, Any] = json.loads(self.body)
        return read

    @property
    def texts(self) -> list[str]:
        """The input, in order."""
        read: list[str] = self.said["input"]
        return read


class Hang:
    """A piece of an answer that never comes, or comes after so many seconds."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds


# What is sent for a request: bytes, and waits between them. An answer without "Connection: keep-alive" is the last on its connection.
Behaviour: TypeAlias = Callable[[Request], Iterator[bytes | Hang]]


def vector(text: str, dim: int = DIM) -> list[float]:
    """The vector that this endpoint's model has for a text: of length 1, and another one for each text."""
    numbers: list[float] = []
    while len(numbers) < dim:
        numbers += [value / 2**31 - 1 for value in struct.unpack("<8I", hashlib.sha256(f"{len(numbers)} {text}".encode()).digest())]
    length = math.sqrt(sum(number * number for number in numbers[:dim]))
    return [number / length for number in numbers[:dim]]


def expected(texts: list[str]) -> NDArray[np.float32]:
    """The right vectors of texts, row by row."""
    return np.array([vector(text) for text in texts], np.float32)


def item(index: Any, embedding: Any) -> dict[str, Any]:
    """One line of an answer's data."""
    return {"object": "embedding", "index": index, "embedding": embedding}


def response(code: int, body: bytes, *headers: str, kind: str = "application/json", length: int | None = None) -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {code} Said", f"Content-Type: {kind}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def as_json(data: object) -> bytes:
    """JSON, NaN and infinity as Python writes them."""
    return json.dumps(data).encode()


def embeddings(request: Request, scale: float = 1.0, dim: int = DIM) -> list[dict[str, Any]]:
    """The right data for a request, scaled."""
    dim = request.said.get("dimensions", dim)
    return [item(index, [scale * number for number in vector(text, dim)]) for index, text in enumerate(request.texts)]


def right(request: Request) -> Iterator[bytes | Hang]:
    """The answer that was asked for."""
    yield response(200, as_json({"object": "list", "data": embeddings(request)}), "Connection: keep-alive")


def serving(**options: Any) -> Behaviour:
    """As `right`, with options of `embeddings`."""

    def behave(request: Request) -> Iterator[bytes | Hang]:
        yield response(200, as_json({"data": embeddings(request, **options)}), "Connection: keep-alive")

    return behave


def data(change: Callable[[list[dict[str, Any]]], object]) -> Behaviour:
    """The right answer, changed."""

    def behave(request: Request) -> Iterator[bytes | Hang]:
        yield response(200, as_json({"data": change(embeddings(request))}))

    return behave


def status(code: int, said: object = None, *headers: str) -> Behaviour:
    """An error in OpenAI's form, or whatever else is given as its body."""
    body = {"error": {"message": said}} if isinstance(said, str) else said

    def behave(request: Request) -> Iterator[bytes | Hang]:
        yield response(code, as_json(body), *headers)

    return behave


def raw(*pieces: bytes | Hang) -> Behaviour:
    """These bytes and waits, then the connection is closed."""

    def behave(request: Request) -> Iterator[bytes | Hang]:
        yield from pieces

    return behave


def hang(request: Request) -> Iterator[bytes | Hang]:
    """No answer, ever."""
    yield Hang()


def base64_of(numbers: list[float]) -> str:
    """A vector in the protocol's other encoding."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def at_most(count: int, code: int = 413) -> Behaviour:
    """Refuses more inputs than these."""

    def behave(request: Request) -> Iterator[bytes | Hang]:
        if len(request.texts) > count:
            yield from status(code, f"batch size {len(request.texts)} > maximum allowed batch size {count}")(request)
        else:
            yield from right(request)

    return behave


def poisoned_by(word: str, failing: Behaviour) -> Behaviour:
    """Fails in some way wherever a text has this word."""

    def behave(request: Request) -> Iterator[bytes | Hang]:
        yield from (failing if any(word in text for text in request.texts) else right)(request)

    return behave


class FakeEndpoint:
    """The server, while it is entered as a context.

    Attributes:
        script: how the next requests are answered, one each; taken from the front.
        default: how all others are.
        requests: those that came, in order.
        gone: how many clients have hung up while they were to wait.
    """

    def __init__(self, certificate: ssl.SSLContext | None = None) -> None:
        self.script: list[Behaviour] = []
        self.default: Behaviour = right
        self.requests: list[Request] = []
        self.gone = 0
        self._certificate = certificate
        self._stopping = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections = 0
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._server.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base that clients are told."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def sizes(self) -> list[int]:
        """How many texts each request had."""
        return [len(request.texts) for request in self.requests]

    def __enter__(self) -> FakeEndpoint:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # Closing alone does not wake up a thread that waits in accept().
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections += 1
            self._start(self._serve, connection, self._connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            connection.settimeout(5)
            if self._certificate:
                first = connection.recv(7, socket.MSG_PEEK)
                if first != b"CONNECT":
                    connection = self._secured(connection)
            connection.settimeout(0.05)
            while self._answer(connection, number):
                pass
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        assert self._certificate is not None
        connection.settimeout(5)
        secured = self._certificate.wrap_socket(connection, server_side=True)
        secured.settimeout(0.05)
        return secured

    def _answer(self, connection: socket.socket, number: int) -> bool:
        request = self._read(connection, number)
        if request is None:
            return False
        self.requests.append(request)
        if request.method == "CONNECT" and not self.script:
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            secured = self._secured(connection)
            while self._answer(secured, number):
                pass
            return False
        behave = self.script.pop(0) if self.script else self.default
        keep = False
        for piece in behave(request):
            if isinstance(piece, Hang):
                self._wait(connection, piece.seconds)
            else:
                connection.settimeout(5)
                connection.sendall(piece)
                connection.settimeout(0.05)
                keep = keep or b"keep-alive" in piece
        return keep

    def _wait(self, connection: socket.socket, seconds: float | None) -> None:
        if seconds is not None:
            self._stopping.wait(seconds)
            return
        while not self._stopping.is_set():
            try:
                if not connection.recv(1):
                    self.gone += 1
                    raise ConnectionError
            except TimeoutError:
                continue
        raise ConnectionError

    def _read(self, connection: socket.socket, number: int) -> Request | None:
        got = bytearray()

        def more() -> bool:
            while not self._stopping.is_set():
                try:
                    piece = connection.recv(65536)
                except TimeoutError:
                    continue
                got.extend(piece)
                return bool(piece)
            return False

        while b"\r\n\r\n" not in got:
            if not more():
                return None
        head, _, rest = bytes(got).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        got = bytearray(rest)
        while len(got) < int(headers.get("content-length", 0)):
            if not more():
                return None
        method, target, _ = first.split(" ")
        return Request(method, target, headers, bytes(got), number)


class Waits:
    """A clock whose pauses take no time, and are kept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds: list[float] = []

    def pause(self, seconds: float, check: Callable[[], None]) -> None:
        """As long as is said."""
        check()
        self.seconds.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        """For a `Remote`."""
        return Clock(steady=lambda: self.now, wall=lambda: 1_000_000_000.0 + self.now, pause=self.pause, chance=lambda: 1.0)


def described(endpoint: Endpoint, **changes: Any) -> ModelInfo:
    """What is registered of this server's model."""
    info = ModelInfo(
        name="far",
        kind="remote",
        dim=DIM,
        max_tokens=None,
        normalized=False,
        precision="remote",
        source=endpoint.url,
        source_sha256="",
        source_revision=endpoint.model,
        fingerprint=fingerprint(endpoint, DIM, False),
    )
    return dataclasses.replace(info, **changes)
