"""Models: bodies of ``sql/functions/models.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import errors
from pgembed import models as room
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE

DEFAULT_MODEL = "all-minilm-l6-v2"


def default_model() -> str:
    """The model that is taken where none is named: the database's choice, else the one that is installed with pgembed."""
    rows = DATABASE.execute("SELECT value FROM pgembed._setting WHERE name OPERATOR(pg_catalog.=) 'default_model'")
    return str(rows[0]["value"]) if rows else DEFAULT_MODEL


@boundary
def models() -> list[dict[str, Any]]:
    """Body of `pgembed._models`."""
    chosen = default_model()
    return [
        {
            "name": info.name,
            "kind": info.kind,
            "dim": info.dim,
            "max_tokens": info.max_tokens,
            "normalized": info.normalized,
            "weights": info.precision,
            "revision": info.revision,
            "fingerprint": info.fingerprint,
            "is_default": info.name == chosen,
        }
        for info in room.installed()
    ]


@boundary
def set_default_model(model: str | None) -> None:
    """Body of `pgembed.set_default_model`."""
    if model is None:
        raise errors.NullNotAllowed("model is NULL", hint="SELECT name FROM pgembed.models lists what is installed.")
    info = room.info(model)
    DATABASE.execute(
        "INSERT INTO pgembed._setting (name, value) VALUES ('default_model', $1) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
        ["pg_catalog.text"],
        [info.name],
    )
