"""exchange: an HTTP request and its answer, during which a cancel is seen ten times a second."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pgembed
from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.endpoints.wire import LOOK, Late, Patience, Trouble, Wire, connect, proxy_of

if TYPE_CHECKING:
    import http.client

__all__ = ["Answer", "Line", "Trouble", "pause"]

# Of an answer that is an error, no more is read than its first words need.
ERROR_BYTES = 65_536
_CHUNK = 65_536


@dataclass(frozen=True)
class Answer:
    """Status, headers by their names in lower case, and the body: all of it, or the first ``ERROR_BYTES`` of an error's."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """Requests to one endpoint, one after the other, over one connection as long as it holds. To be closed.

    Args:
        check: called at least every 0.2 s; what it raises passes through.
    """

    def __init__(self, endpoint: Endpoint, check: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._patience = Patience(check)
        self._wire: Wire | None = None
        self._proxy = proxy_of(endpoint.address)

    def close(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire.sock.close()
            self._wire = None

    def post(self, body: bytes, key: str | None, limit: int) -> Answer:
        """Send JSON, and wait for the answer.

        Args:
            key: for the Authorization header; printable ASCII.
            limit: bytes of an answer's body, at most.
        Raises:
            Trouble: there is no answer.
        """
        self._patience.begin(self._endpoint.timeout)
        kept = self._wire is not None
        try:
            try:
                return self._exchange(body, key, limit)
            except ConnectionError:
                # The other side may close a connection between two requests; then the request was not read.
                if not kept or self._patience.stopped is not None:
                    raise
                self.close()
                return self._exchange(body, key, limit)
        except BaseException as error:
            self.close()
            if error is self._patience.stopped or not isinstance(error, Exception):
                raise
            trouble = self._trouble(error)
            if trouble is None:
                raise
            raise trouble from None

    def _exchange(self, body: bytes, key: str | None, limit: int) -> Answer:
        if self._wire is None:
            self._wire = connect(self._endpoint, self._proxy, self._patience)
        broken: ConnectionError | None = None
        try:
            self._wire.send(self._head(body, key) + body)
        except ConnectionError as error:
            if self._patience.stopped is not None:
                raise
            broken = error  # who refuses a request need not read all of it before saying so
        import http.client

        response = http.client.HTTPResponse(cast("socket.socket", self._wire), method="POST")
        try:
            response.begin()
        except ConnectionError as error:
            raise broken or error from None
        answer = _read(response, limit, self._patience)
        if broken or response.will_close or not response.isclosed() or not self._wire.is_quiet():
            self.close()
        return answer

    def _head(self, body: bytes, key: str | None) -> bytes:
        address = self._endpoint.address
        plain = self._proxy is not None and address.scheme == "http"
        lines = [
            f"POST {address if plain else address.path} HTTP/1.1",
            f"Host: {address.netloc}",
            f"User-Agent: pgembed/{pgembed.__version__}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Accept: application/json",
            "Accept-Encoding: identity",
        ]
        lines += [f"Authorization: Bearer {key}"] if key is not None else []
        lines += self._proxy[2] if self._proxy is not None and plain else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _trouble(self, error: Exception) -> Trouble | None:
        """What an error of the libraries means; None for one that means nothing here."""
        import http.client
        import ssl

        if isinstance(error, Trouble):
            return error
        if isinstance(error, Late):
            return Trouble(f"gave no answer within {self._endpoint.timeout:g} s", slow=True, hint="Its timeout is an option of the model.")
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = "The option ca_file names the certificates to trust, where it has one of its own."
            return Trouble(f"has a certificate that is not trusted: {error.verify_message}", hint=hint, tries=0)
        if isinstance(error, ConnectionRefusedError):
            return Trouble("refuses connections", hint="Is it running, and on that port?", tries=2)
        if isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError | http.client.IncompleteRead):
            return Trouble("closed the connection before its answer was complete")
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or "unknown reason").lower().replace("_", " ")
            return Trouble(f"does not speak TLS as expected: {reason}", hint="Is it http:// rather than https://?", tries=0)
        if isinstance(error, socket.gaierror):
            hint = "The name is looked up where the server runs."
            return Trouble("has a name that cannot be resolved", hint=hint, tries=0 if error.errno == socket.EAI_NONAME else 2)
        if isinstance(error, http.client.HTTPException):
            return Trouble("answered with something that is not HTTP", hint="Is it https:// rather than http://, or another port?", tries=0)
        if isinstance(error, OSError):
            return Trouble(f"cannot be reached: {(error.strerror or type(error).__name__).lower()}", tries=2)
        return None


def pause(seconds: float, check: Callable[[], None]) -> None:
    """Sleep, looking for a cancel."""
    end = time.monotonic() + seconds
    while True:
        check()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(LOOK, left))


def _read(response: http.client.HTTPResponse, limit: int, patience: Patience) -> Answer:
    import http.client

    headers = {name.lower(): value for name, value in response.getheaders()}
    refused = response.status >= 300
    if refused:
        limit = ERROR_BYTES
    total = response.length
    hint = "Does the endpoint's model have the dimensions that are registered?"
    too_large = Trouble(f"answered with more than the {limit} bytes expected", tries=0, hint=hint)
    if not refused and total is not None and total > limit:
        raise too_large
    body = bytearray()
    try:
        while len(body) <= limit and (chunk := response.read(min(_CHUNK, limit + 1 - len(body)))):
            body += chunk
        if response.length and len(body) <= limit:
            raise ConnectionError
    except (Late, OSError, http.client.HTTPException) as error:
        # Of an error the status says enough.
        if not refused or error is patience.stopped:
            raise
    if len(body) > limit and not refused:
        raise too_large
    return Answer(response.status, headers, bytes(body[:limit]))
