"""doctor: look at an installation, and say what is wrong with it and what to do."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pgembed import __version__, errors, install, server
from pgembed.postgres import Postgres

SERVER_PACKAGES = ("numpy", "onnxruntime", "tokenizers", "safetensors")
AGAIN = "Run docker/install again."


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    subject: str
    found: str
    sound: bool
    remedy: str = ""


def examine(url: str | None = None) -> Iterator[Check]:
    """Look at everything that can be looked at without changing anything, in the order in which faults follow from each other."""
    yield Check("pgembed", f"{__version__} in {Path(__file__).parent}", True)
    yield from _look_at_packages()
    yield _look_at_definitions()
    yield from _look_at_postgres()
    if url:
        yield from _look_at_database(url)


def _look_at_packages() -> Iterator[Check]:
    for name in SERVER_PACKAGES:
        try:
            yield Check(name, metadata.version(name), True)
        except metadata.PackageNotFoundError:
            yield Check(name, "not installed", False, AGAIN)


def _look_at_definitions() -> Check:
    try:
        return Check("SQL definitions", f"{len(install.definitions())} files", True)
    except errors.PgembedError as error:
        return Check("SQL definitions", error.message, False, AGAIN)
