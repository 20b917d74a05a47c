"""Embedding: bodies of ``sql/functions/embed.sql``."""

from __future__ import annotations

import time
from functools import lru_cache

from pgembed import asking, catalogue, errors, models, text, vectors
from pgembed.asking import adapters
from pgembed.changing import pinning
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE

# In ORDER BY embedding <=> embed_query(...) PostgreSQL calls a stable function once a row of a sequential scan, and does not say when a
# statement begins. What the registry said of a column is trusted within a statement of the client's, in which the table's lock keeps the
# names of columns, and for a moment only, for a savepoint may be rolled back and its locks with it.
TRUST_SECONDS = 0.01
COLUMN_MODELS = 64
_column_models: dict[tuple[str | None, str | None], tuple[float, int, float | None, asking.Way, str | None]] = {}


@boundary
def embed(content: str | None, model: str | None, role: str | None) -> bytes | None:
    """Body of `pgembed._embed`: image of the embedding of a text; NULL gives NULL."""
    chosen_role = _checked_role(role)
    if content is None:
        catalogue.describe(DATABASE, model)
        return None
    chosen = catalogue.resolve(DATABASE, model, by_backend=True).info
    return _image(chosen.name, chosen.fingerprint, chosen_role, content)


@boundary
def embed_many(content: list[str | None] | None, model: str | None, role: str | None, vector_type: int) -> bytes | None:
    """Body of `pgembed._embed_many`: image of the array of embeddings, in the order of the texts; NULL stays NULL, NULL for the array
    gives NULL."""
    chosen_role = _checked_role(role)
    if content is None:
        catalogue.describe(DATABASE, model)
        return None
    chosen = catalogue.resolve(DATABASE, model, by_backend=True)
    if any(isinstance(element, list) for element in content):
        raise errors.InvalidParameter("content must be a one-dimensional array", hint="unnest() and array_agg() flatten an array.")
    given = [position for position, element in enumerate(content) if element is not None]
    texts = [str(content[position]) for position in given]
    for position, element in zip(given, texts, strict=True):
        if text.is_empty(element):
            raise _empty(f"text {position + 1} of {len(content)}")
    try:
        made = chosen.encode(texts, DATABASE.check_interrupts, chosen_role)
    except errors.TextsRefused as refused:
        position = given[refused.positions[0]] + 1  # the model has not seen the NULLs
        raise errors.InvalidParameter(
            f"text {position} of {len(content)}: {refused.reason}", hint=refused.hint, detail=refused.detail
        ) from None
    _tell_truncated(int(made.truncated.sum()), chosen)
    return vectors.to_array_image(made.vectors, [element is not None for element in content], vector_type)


@boundary
def embed_query(target: str | None, content: str | None, column_name: str | None, moment: float | None) -> bytes | None:
    """Body of `pgembed._embed_query`: as `embed`, with the model that made the column, or that of the column's adapter.

    Args:
        moment: of the statement; None where a search asks, which knows the column by its number.
    """
    now = time.monotonic()
    known = _column_models.get((target, column_name))
    if known is None or moment is None or known[0] < now or known[1:3] != (registry.generation(), moment):
        column = (pinning.seen if moment is None else pinning.written)(DATABASE, target, column_name)
        by = asking.way(DATABASE, column)
        catalogue.resolve(DATABASE, by.model, by.fingerprint, by_backend=True)
        if len(_column_models) >= COLUMN_MODELS:
            _column_models.clear()
        known = (now + TRUST_SECONDS, registry.generation(), moment, by, column.fingerprint)
        _column_models[target, column_name] = known
    if content is None:
        return None
    image = _image(known[3].model, known[3].fingerprint, "query", content, known[3].adapter)
    pinning.remember(image, known[4])
    return image


@boundary
def token_count(content: str | None, model: str | None) -> int | None:
    """Body of `pgembed.token_count`: tokens of a text with the model's own marks, uncut; NULL gives NULL."""
    if content is None:
        catalogue.describe(DATABASE, model)
        return None
    # Of a remote model this is an estimate, for which nobody is called.
    return catalogue.resolve(DATABASE, model, by_backend=False).token_count(content)


@lru_cache(maxsize=256)
def _image(name: str, fingerprint: str, role: models.Role, content: str, adapter: str | None = None) -> bytes:
    if text.is_empty(content):
        raise _empty("text")
    model = catalogue.resolve(DATABASE, name, fingerprint, by_backend=True)
    made = model.encode([content], DATABASE.check_interrupts, role)
    _tell_truncated(int(made.truncated.sum()), model)
    return vectors.to_image((made.vectors if adapter is None else adapters.load(DATABASE, adapter).apply(made.vectors))[0])


def _empty(what: str) -> errors.PgembedError:
    return errors.InvalidParameter(
        f"{what} is empty, and nothing means nothing",
        hint="Give a text with a word in it; where a column has none, pass NULL: nullif(btrim(body), '').",
    )


def _tell_truncated(count: int, model: models.Model) -> None:
    if count:
        DATABASE.notice(
            f"{count} text{'s were' if count > 1 else ' was'} cut at the {model.info.max_tokens} tokens that {model.info.name} reads",
            hint="pgembed.token_count(text) tells a text's length; split longer texts into rows.",
        )


def _checked_role(role: str | None) -> models.Role:
    for known in models.ROLES:
        if role == known:
            return known
    raise errors.InvalidParameter(f"role must be query or document, not {role or 'NULL'}", hint="query is the default for one text.")
