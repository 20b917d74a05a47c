"""endpoint: where a remote model is, and what may be sent there; read from the registry, checked, and without any secret in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pgembed import errors

# pgvector's own limit of a vector.
MOST_DIMENSIONS = 16_000

_KEY_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_KEY_FILE = re.compile(r"file:(/.+)")
# What an Authorization header can hold; a line break would end the header, and an error of the HTTP library would quote the key.
_KEY = re.compile(r"[!-~]+")
_KEY_BYTES = 16_384
_PRINTABLE = re.compile(r"[!-~]+")
_PORTS = {"http": 80, "https": 443}

# The registry's jsonb, and what its values may be: type, least, most.
_LIMITS: dict[str, tuple[type, float, float]] = {
    "batch_size": (int, 1, 2048),
    "batch_chars": (int, 1, 10_000_000),
    "timeout": (float, 0.05, 3600),
    "retries": (int, 0, 20),
    "deadline": (float, 0.05, 86_400),
    "dimensions": (int, 1, MOST_DIMENSIONS),
    "gives": (int, 1, MOST_DIMENSIONS),
    "max_tokens": (int, 1, 10_000_000),
}
_OPTIONS = (*_LIMITS, "ca_file")


class Address(NamedTuple):
    """An URL in its parts, canonical: lower case, port named, path ending in /embeddings."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self) -> str:
        """Host, and the port where it is not the scheme's own; as a Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


@dataclass(frozen=True)
class Endpoint:
    """An HTTP endpoint that speaks the OpenAI embeddings protocol; valid once it is made.

    Attributes:
        url: its base, such as https://api.openai.com/v1, or all of it up to /embeddings.
        model: what the endpoint calls the model.
        api_key: env:NAME or file:/path, of the process that calls; None sends no key.
        batch_size: texts in a request, at most.
        batch_chars: characters in a request, at most; a longer text goes by itself.
        timeout: seconds for one request, from connecting to the answer's last byte.
        retries: how often a request is sent again that failed for a reason that passes.
        deadline: seconds without any success after which retries and waits end.
        dimensions: sent along, for endpoints that shorten vectors themselves; None sends nothing.
        gives: dimensions of the vectors as they arrive, where the model keeps only the first of them; None where it keeps all.
        max_tokens: what the endpoint reads of a text, which it can't be asked for; None where nobody has said it.
        ca_file: certificates to trust, PEM, in place of the system's.
    Raises:
        errors.InvalidParameter: a value is not one of those.
    """

    url: str
    model: str
    api_key: str | None = None
    batch_size: int = 64
    batch_chars: int = 100_000
    timeout: float = 30.0
    retries: int = 5
    deadline: float = 180.0
    dimensions: int | None = None
    gives: int | None = None
    max_tokens: int | None = None
    ca_file: str | None = None

    def __post_init__(self) -> None:
        _address(self.url)
        if not isinstance(self.model, str) or not self.model or len(self.model) > 300 or not self.model.isprintable():
            raise errors.InvalidParameter(
                "remote_model must be 1 to 300 printable characters", hint="It is the name that the endpoint itself uses for the model."
            )
        if self.api_key is not None and not (_KEY_ENV.fullmatch(self.api_key) or _KEY_FILE.fullmatch(self.api_key)):
            # Never quoted: it may be the key itself.
            raise errors.InvalidParameter(
                "api_key must be env:NAME or file:/absolute/path, which say where the key is, and not the key itself",
                hint="If it was the key: the statement may stand in the server's log, so have the key replaced.",
            )
        for name in _LIMITS:
            _check_limit(name, getattr(self, name))
        if self.ca_file is not None and not (isinstance(self.ca_file, str) and self.ca_file.startswith("/") and self.ca_file.isprintable()):
            raise errors.InvalidParameter(
                "ca_file must be an absolute path", hint="It is a PEM file that the server's user can read; leave it out for the system's."
            )

    @classmethod
    def parse(cls, url: str, model: str, api_key: str | None = None, options: Mapping[str, object] | str | None = None) -> Endpoint:
        """An endpoint from the registry's columns.

        Args:
            options: the other attributes by name, all optional; JSON text, or read already.
        Raises:
            errors.InvalidParameter: a value or the name of an option is not one of those described above.
        """
        given: object = json.loads(options) if isinstance(options, str) else options
        if given is not None and not isinstance(given, Mapping):
            raise errors.InvalidParameter(f"options must be a JSON object, not {json.dumps(given)[:80]}", hint='Such as {"timeout": 60}.')
        known: dict[str, Any] = {}
        for name, value in (given or {}).items():
            if name not in _OPTIONS:
                raise errors.InvalidParameter(f"unknown option {json.dumps(str(name)[:80])}", hint=f"Options are {', '.join(_OPTIONS)}.")
            if value is not None:
                known[name] = value
        return cls(url, model, api_key, **known)

    def options(self) -> dict[str, object]:
        """What ``parse`` takes as options: all that are not the default's."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name in _OPTIONS and getattr(self, field.name) != field.default
        }

    @cached_property
    def address(self) -> Address:
        """Where requests go."""
        return _address(self.url)

    @property
    def host(self) -> str:
        """How errors name the endpoint."""
        return self.address.netloc

    @property
    def sends_key_in_clear(self) -> bool:
        """Whether the key would leave this machine unencrypted."""
        local = self.address.host in ("localhost", "::1") or self.address.host.startswith("127.")
        return self.api_key is not None and self.address.scheme == "http" and not local

    @property
    def key_place(self) -> str:
        """Where the key is, in words."""
        if self.api_key is None:
            return "nowhere: the model is registered without api_key"
        kind, _, name = self.api_key.partition(":")
        return f'in the environment variable "{name}" of the server\'s process' if kind == "env" else f'in the file "{name}" on the server'

    def key(self) -> str | None:
        """The key as it is now. It must not be kept longer than the request.

        Raises:
            errors.NotReady, errors.FileMissing: it is not where it should be, or is none; nothing of it is quoted.
        """
        if self.api_key is None:
            return None
        kind, _, name = self.api_key.partition(":")
        found = os.environ.get(name) if kind == "env" else _read_key(Path(name))
        if found is None:
            raise errors.NotReady(
                f'environment variable "{name}" with the key of {self.host} is not set in the server\'s process',
                hint="Set it where the server is started (for systemd: an Environment= line of its unit) and restart the server;"
                " a key in a file, api_key => 'file:/path', needs no restart.",
            )
        found = found.strip()
        if not _KEY.fullmatch(found):
            said = "is empty" if not found else "has characters that a key can't have"
            raise errors.NotReady(
                f"the key of {self.host} {said}", hint=f"It is read {self.key_place}: one line of printable ASCII without blanks."
            )
        return found


def fingerprint(endpoint: Endpoint, dim: int, normalized: bool) -> str:
    """SHA-256 over all that is known to decide the vectors: whose they are, and in which form. Prompts and the like are added by
    ``pgembed.models.derive``; keys, timeouts and batches change nothing.

    Args:
        dim: of the vectors as the endpoint gives them.
        normalized: whether they are scaled to length 1 here.
    """
    said = {
        "kind": "remote",
        "url": str(endpoint.address),
        "model": endpoint.model,
        "dimensions": endpoint.dimensions,
        "dim": dim,
        "normalized": normalized,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _address(url: str) -> Address:
    """The parts of a URL. What is wrong is said without quoting it: it may hold a secret."""
    hint = "Such as https://api.openai.com/v1, or http://localhost:11434/v1 for Ollama."
    if not isinstance(url, str) or not _PRINTABLE.fullmatch(url) or set(url) & set('\\"<>^`{|}'):
        raise errors.InvalidParameter("the URL must be printable ASCII without blanks", hint=hint)
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise errors.InvalidParameter("the URL is none that can be read", hint=hint) from None
    if scheme not in _PORTS:
        raise errors.InvalidParameter("the URL must begin with http:// or https://", hint=hint)
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise errors.InvalidParameter(
            "the URL must have no user, password, query or fragment",
            hint="The URL can be read by everybody, secrets included; a key is named by api_key => 'env:NAME' or 'file:/path'.",
        )
    if not host or port == 0:
        raise errors.InvalidParameter("the URL names no host, or port 0", hint=hint)
    path = parts.path.rstrip("/")
    return Address(scheme, host.lower(), port or _PORTS[scheme], path if path.endswith("/embeddings") else f"{path}/embeddings")


def _check_limit(name: str, value: object) -> None:
    kind, least, most = _LIMITS[name]
    if value is None and name in ("dimensions", "gives", "max_tokens"):
        return
    fits = isinstance(value, int) or (kind is float and isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not fits or not least <= value <= most:  # type: ignore[operator]  # a number, once it fits
        expected = "a whole number" if kind is int else "a number"
        raise errors.InvalidParameter(
            f"{name} must be {expected} from {least} to {most}, not {json.dumps(value, default=str)[:80]}",
            hint="Leave it out for the default.",
        )


def _read_key(path: Path) -> str:
    hint = "The server's own user must be able to read it: a plain file with nothing but the key."
    try:
        # A pipe or a terminal would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise errors.FileMissing(f'file "{path}" does not exist', hint=hint) from None
    except OSError as error:
        raise errors.NotReady(f'file "{path}" with a key cannot be read: {error.strerror}', hint=hint) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise errors.NotReady(f'"{path}" with a key is not a plain file', hint=hint)
        read = os.read(descriptor, _KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(read) > _KEY_BYTES:
        raise errors.NotReady(f'file "{path}" has more than {_KEY_BYTES} bytes, and is no key', hint=hint)
    return read.decode("ascii", "replace")
