"""Fixtures of the tests of remote models: a server on this machine, and a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_endpoint import FakeEndpoint, Waits, described

from pgembed.models.endpoint import Endpoint
from pgembed.models.remote import Remote


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies, if it has any, are not for servers of these tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def fake(no_proxies: None) -> Iterator[FakeEndpoint]:
    """The server."""
    with FakeEndpoint() as server:
        yield server


@pytest.fixture
def waits() -> Waits:
    """A clock whose pauses take no time."""
    return Waits()


@pytest.fixture
def model(fake: FakeEndpoint, waits: Waits) -> Callable[..., Remote]:
    """Make the model behind the server, with options of its endpoint."""

    def make(**options: Any) -> Remote:
        endpoint = Endpoint(fake.url, "the-model", **({"timeout": 20.0} | options))
        return Remote(described(endpoint), endpoint, waits.clock)

    return make
