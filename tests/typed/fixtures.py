"""fixtures: a project's own tests on pgembed's fixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import psycopg
import pytest

from pgembed.testing import MODEL, write_model


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def test_search(pgembed_postgresql: psycopg.Connection[Any], pgembed_url: str, pgembed_model: str) -> None:
    assert_type(MODEL, str)
    assert pgembed_model == MODEL
    pgembed_postgresql.execute("SELECT 1")
