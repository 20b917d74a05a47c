"""Fixtures of the tests of models: a folder to install, an endpoint on this machine, and a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import FakeEndpoint, Waits, described

from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.remote import Remote


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sentence-transformers folder of a small BERT with random weights."""
    small_models = pytest.importorskip("small_models", reason="needs what converts a model")
    return Path(small_models.write_folder(tmp_path / "source"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The directory of all models, which is not there yet."""
    return tmp_path / "models"


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
