"""Embedding: bodies of ``sql/functions/embed.sql``."""

from __future__ import annotations

import time
from functools import lru_cache

from pgembed import columns, errors, models, text, vectors
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE
from pgembed.udf.embeddings import column_model
from pgembed.udf.models import default_model

# In ORDER BY embedding <=> embed_query(...) PostgreSQL calls a stable function once a row of a sequential scan, and does not say when a
# statement begins. What the registry said of a column is trusted for a moment that is short beside any statement which matters.
TRUST_SECONDS = 0.01
COLUMN_MODELS = 64
_column_models: dict[tuple[str | None, str | None], tuple[float, int, str, str]] = {}

ROLES = ("query", "document")


@boundary
def embed(content: str | None, model: str | None, role: str | None) -> bytes | None:
    """Body of `pgembed._embed`: image of the embedding of a text; NULL gives NULL."""
    _check_role(role)
    chosen = models.load(default_model() if model is None else model)
    return None if content is None else _image(chosen.info.name, chosen.info.fingerprint, content)


@boundary
def embed_many(content: list[str | None] | None, model: str | None, role: str | None, vector_type: int) -> bytes | None:
    """Body of `pgembed._embed_many`: image of the array of embeddings, in the order of the texts; NULL stays NULL, NULL for the array
    gives NULL."""
    _check_role(role)
    chosen = models.load(default_model() if model is None else model)
    if content is None:
        return None
    if any(isinstance(element, list) for element in content):
        raise errors.InvalidParameter("content must be a one-dimensional array", hint="unnest() and array_agg() flatten an array.")
    given = [position for position, element in enumerate(content) if element is not None]
    texts = [str(content[position]) for position in given]
    for position, element in zip(given, texts, strict=True):
        if text.is_empty(element):
            raise _empty(f"text {position + 1} of {len(content)}")
    made = chosen.encode(texts, DATABASE.check_interrupts)
    _tell_truncated(int(made.truncated.sum()), chosen)
    return vectors.to_array_image(made.vectors, [element is not None for element in content], vector_type)


@boundary
def embed_query(target: str | None, content: str | None, column_name: str | None) -> bytes | None:
    """Body of `pgembed._embed_query`: as `embed`, with the model that made the column."""
    now = time.monotonic()
    known = _column_models.get((target, column_name))
    if known is None or known[0] < now or known[1] != registry.generation():
        model = column_model(columns.column(DATABASE, target, column_name))
        if len(_column_models) >= COLUMN_MODELS:
            _column_models.clear()
        known = (now + TRUST_SECONDS, registry.generation(), model.info.name, model.info.fingerprint)
        _column_models[target, column_name] = known
    return None if content is None else _image(known[2], known[3], content)


@boundary
def token_count(content: str | None, model: str | None) -> int | None:
    """Body of `pgembed.token_count`: tokens of a text with the model's own marks, uncut; NULL gives NULL."""
    chosen = models.load(default_model() if model is None else model)
    return None if content is None else chosen.token_count(content)


@lru_cache(maxsize=256)
def _image(name: str, fingerprint: str, content: str) -> bytes:
    if text.is_empty(content):
        raise _empty("text")
    model = models.load(name, fingerprint)
    made = model.encode([content], DATABASE.check_interrupts)
    _tell_truncated(int(made.truncated.sum()), model)
    return vectors.to_images(made.vectors)[0]


def _empty(what: str) -> errors.PgembedError:
    return errors.InvalidParameter(
        f"{what} is empty, and nothing means nothing",
        hint="Pass NULL where there is no text, such as nullif(btrim(body), '').",
    )


def _tell_truncated(count: int, model: models.Model) -> None:
    if count:
        DATABASE.notice(
            f"{count} text{'s were' if count > 1 else ' was'} cut at the {model.info.max_tokens} tokens that {model.info.name} reads",
            hint="pgembed.token_count(text) tells a text's length; split longer texts into rows.",
        )


def _check_role(role: str | None) -> None:
    if role not in ROLES:
        raise errors.InvalidParameter(f"role must be query or document, not {role or 'NULL'}", hint="query is the default for one text.")
