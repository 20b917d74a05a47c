"""wire: a connection to an endpoint over a socket that never blocks, straight, by TLS, or through the environment's proxy.

All waiting is done here, in the caller's thread, and looks for a cancel ten times a second. A second thread would have been less code, but
one that a cancel leaves behind waits for the interpreter's lock, which an idle PostgreSQL backend keeps, and wakes 200 times a second to
ask for it. Only the resolver has a thread: there is no other way not to wait for it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from urllib.parse import unquote, urlsplit

from pgembed import errors
from pgembed.models import threads
from pgembed.models.endpoints.endpoint import Address, Endpoint

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer

T = TypeVar("T")

# Seconds between two looks for a cancel.
LOOK = 0.1
# A host that does not answer at all is not worth a whole timeout.
CONNECT_SECONDS = 10.0

# Host, port and headers.
Proxy: TypeAlias = tuple[str, int, list[str]]

_contexts: dict[tuple[str | None, int], ssl.SSLContext] = {}


class Trouble(Exception):
    """Why there is no answer.

    Args:
        reason: what happened, to be read after the endpoint's name; nothing that the endpoint has sent.
        hint: what the reader can do about it.
        tries: how often the same request may be sent again: 0 where that can't help.
        slow: the request was sent, and no answer came in time.
    """

    def __init__(self, reason: str, *, hint: str | None = None, tries: int = 1000, slow: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.tries = tries
        self.slow = slow


class Late(Exception):
    """The request's time is over."""


class Patience:
    """How long a request may take, and who is asked meanwhile whether it is still wanted."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._end = self._next = 0.0
        self.stopped: BaseException | None = None

    def begin(self, seconds: float) -> None:
        """A request begins, which may take so long."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def look(self) -> None:
        """Ask whether the request is still wanted, unless that was asked just now; `Late` where its time is over."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOOK
            try:
                self._check()
            except BaseException as error:
                self.stopped = error
                raise
        if now >= self._end:
            raise Late

    def wait(self, descriptor: int, event: int, seconds: float = float("inf")) -> bool:
        """Wait until a socket is ready; False where it is not within so many seconds."""
        poll = select.poll()
        poll.register(descriptor, event)
        end = time.monotonic() + seconds
        while True:
            self.look()
            most = max(0.0, min(LOOK, end - time.monotonic(), self.left()))
            if poll.poll(1 + int(most * 1000)):
                return True
            if time.monotonic() >= end:
                return False


class Wire:
    """A connected socket that waits with patience; as much of one as http.client needs to read an answer."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self.sock = sock
        self._patience = patience

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on."""
        self.sock = context.wrap_socket(self.sock, server_hostname=host, do_handshake_on_connect=False)
        self._retried(self.sock.do_handshake, select.POLLIN)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._retried(lambda: self.sock.send(rest), select.POLLOUT) :]  # noqa: B023  (called at once)
            self._patience.look()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes, at least one; 0 where the other side has hung up."""
        self._patience.look()  # an answer that comes byte by byte never waits below
        return self._retried(lambda: self.sock.recv_into(buffer), select.POLLIN)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return io.BufferedReader(_Reader(self))

    def is_quiet(self) -> bool:
        """Whether nothing has come that nobody asked for, such as more of the last answer, or its end."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def _retried(self, step: Callable[[], T], event: int) -> T:
        import ssl

        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._patience.wait(self.sock.fileno(), select.POLLIN)
            except ssl.SSLWantWriteError:
                self._patience.wait(self.sock.fileno(), select.POLLOUT)
            except BlockingIOError:
                self._patience.wait(self.sock.fileno(), event)


class _Reader(io.RawIOBase):
    """One answer's view of the wire, which stays open when the answer is closed."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._wire.readinto(buffer)


def connect(endpoint: Endpoint, proxy: Proxy | None, patience: Patience) -> Wire:
    """A connection over which requests may be sent.

    Raises:
        Trouble: a proxy refuses.
        Late, OSError, http.client.HTTPException: it can't be made.
        errors.FileMissing, errors.FileDamaged: the certificates to trust can't be read.
    """
    address = endpoint.address
    host, port, authorization = proxy or (address.host, address.port, [])
    wire = Wire(_connected(_resolve(host, port, patience), patience), patience)
    try:
        if address.scheme == "https":
            if proxy is not None:
                _tunnel(wire, address, authorization)
            wire.secure(_context(endpoint.ca_file), address.host)
    except BaseException:
        wire.sock.close()
        raise
    return wire


def _resolve(host: str, port: int, patience: Patience) -> list[Any]:
    """Addresses of a host, as getaddrinfo has them, in order of preference."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    import threading

    found: list[Any] = []
    failed: list[Exception] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            failed.append(error)
        done.set()

    with threads.signals_blocked():
        threading.Thread(target=look_up, daemon=True).start()
    while not done.wait(LOOK):
        patience.look()
    if failed:
        raise failed[0]
    return found


def _connected(places: list[Any], patience: Patience) -> socket.socket:
    """A connection to the first place that takes one."""
    refused: OSError = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    for position, (family, kind, protocol, _, place) in enumerate(places):
        seconds = max(0.0, min(CONNECT_SECONDS, patience.left() / (len(places) - position)))
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(place)
            if code == errno.EINPROGRESS:
                ready = patience.wait(sock.fileno(), select.POLLOUT, seconds)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if ready else errno.ETIMEDOUT
            if not code:
                return sock
            refused = OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise refused


def _context(ca_file: str | None) -> ssl.SSLContext:
    """How certificates are checked: read once a session, for the system's are some hundred files."""
    import ssl

    try:
        key = (ca_file, os.stat(ca_file).st_mtime_ns if ca_file else 0)
        if key not in _contexts:
            made = ssl.create_default_context(cafile=ca_file)
            _contexts.clear()
            _contexts[key] = made
    except FileNotFoundError:
        raise errors.FileMissing(f'file "{ca_file}" does not exist', hint="The option ca_file names the certificates to trust.") from None
    except (ssl.SSLError, PermissionError, IsADirectoryError) as error:
        raise errors.FileDamaged(
            f'file "{ca_file}" holds no certificates that can be read', detail=str(error), hint="ca_file must be a PEM file."
        ) from None
    return _contexts[key]


def proxy_of(address: Address) -> Proxy | None:
    """Host, port and headers of the proxy that the environment names for an address, by the rules of urllib; None for none."""
    from urllib.request import getproxies, proxy_bypass

    said = getproxies().get(address.scheme)
    if not said or proxy_bypass(address.netloc):
        return None
    parts = urlsplit(said if "://" in said else f"http://{said}")
    if parts.scheme.lower() != "http" or not parts.hostname:  # its URL may hold a password, and is not quoted
        raise errors.NotSupported(
            f"the environment's proxy for {address.scheme} has not the form http://host:port",
            hint=f"Change {address.scheme}_proxy of the server's environment, or put {address.host} into no_proxy.",
        )
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    headers = [f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}"] if login else []
    return parts.hostname, parts.port or 80, headers


def _tunnel(wire: Wire, address: Address, headers: list[str]) -> None:
    """Ask a proxy for a connection to an address."""
    import http.client

    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{address.port}"
    wire.send("\r\n".join([f"CONNECT {target} HTTP/1.1", f"Host: {target}", *headers, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(cast("socket.socket", wire), method="CONNECT")
    response.begin()
    if response.status != 200:
        raise Trouble(
            f"is behind a proxy that answered HTTP {response.status}",
            hint="The proxy is that of the server's environment: https_proxy, no_proxy.",
            tries=0 if response.status < 500 else 2,
        )
