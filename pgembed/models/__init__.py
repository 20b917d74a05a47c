"""Models: texts -> float32 (n, dim). ``load(name)`` gives one; each kind has a file of its own."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pgembed import errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DESCRIPTION = "model.json"

# Models that a session keeps in memory. Each costs tens of megabytes; a session that compares models holds two.
CACHED_MODELS = 3

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class ModelInfo:
    """An installed model, as its model.json describes it.

    ``max_tokens`` counts the special tokens too; ``normalized`` says that vectors have length 1; ``fingerprint`` is
    the SHA-256 over
    all that decides the vectors: two models of one fingerprint give the same ones.
    """

    name: str
    kind: str
    dim: int
    max_tokens: int
    normalized: bool
    precision: str
    source: str
    source_sha256: str
    revision: str
    fingerprint: str


@dataclass(frozen=True)
class Encoded:
    """What a model made of n texts.

    ``vectors``: float32, shape (n, dim), C-contiguous, row i for text i. ``truncated``: bool, shape (n,), True where
    the text was longer than the model reads, so that its end is not in the vector.
    """

    vectors: NDArray[np.float32]
    truncated: NDArray[np.bool_]


def no_check() -> None:
    """The ``check`` of callers who have no cancel to look for."""


class Model(Protocol):
    """What every kind of model does."""

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        ...

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check) -> Encoded:
        """Embed texts; a text's vector is the same, bit for bit, whatever texts are beside it.

        Args:
            texts: may be empty, which gives vectors of shape (0, dim). An empty text gets the vector that the model
                has for no words; whether it should get one is the caller's decision (``pgembed.text.is_empty``).
            check: called between sub-batches, some tens of milliseconds apart, so that PostgreSQL sees a cancel; what
                it raises passes through.
        """
        ...

    def token_count(self, text: str) -> int:
        """How many tokens the text has, special ones included, before any truncation."""
        ...


def models_dir() -> Path:
    """Where installed models are: ``share/pgembed/models`` of the environment that this package is installed in.

    Derived from this file's place, because PL/Python's sys.prefix is the system's; from sys.prefix only where the
    package runs from a checkout. Never from a setting or the environment: whoever chooses this path chooses what the
    server loads.
    """
    site = Path(__file__).parents[2]
    # <prefix>/lib/pythonX.Y/site-packages/pgembed/models/__init__.py
    prefix = site.parents[2] if site.name in ("site-packages", "dist-packages") else Path(sys.prefix)
    return prefix / "share" / "pgembed" / "models"


def installed() -> list[ModelInfo]:
    """All installed models, by name; [] where there are none.

    Raises:
        FileDamaged: a description can't be read.
    """
    # A name with a leading dot is a model that is being installed.
    places = sorted(p.parent for p in models_dir().glob(f"*/{DESCRIPTION}") if not p.parent.name.startswith("."))
    return [read_info(place) for place in places]


def info(name: str) -> ModelInfo:
    """The description of an installed model, from its files, without loading it.

    Raises:
        InvalidParameter: the name can't be one.
        UnknownObject: no such model is installed.
        FileMissing, FileDamaged: a file of it is missing or has not its size.
    """
    return read_info(_place(name))


def load(name: str, fingerprint: str | None = None) -> Model:
    """The model of that name, from the session's cache or from its files.

    Args:
        name: as in ``installed()``.
        fingerprint: the one that stored vectors were made with; None for whatever is installed.
    Raises:
        InvalidParameter: the name can't be one.
        UnknownObject: no such model is installed.
        FileMissing, FileDamaged: a file of it is missing or has not its size.
        NotReady: the installed model has another fingerprint than the one asked for.
    """
    model = _load(name)
    if fingerprint in (None, model.info.fingerprint):
        return model
    # It may have been replaced on disk since this session loaded it.
    if info(name).fingerprint != model.info.fingerprint:
        _load.cache_clear()
        model = _load(name)
    if fingerprint != model.info.fingerprint:
        raise errors.NotReady(
            f'model "{name}" has fingerprint {model.info.fingerprint[:12]}, expected {str(fingerprint)[:12]}',
            hint="Install the model that the vectors were made with, or embed the rows again with the installed one.",
        )
    return model


def check_name(name: str) -> None:
    """Refuse whatever is not a single, plain path component.

    Raises:
        InvalidParameter: the name has other characters than letters, digits, '.', '_', '-', begins with one of the
            last three, or is longer than 63.
    """
    if not _NAME.fullmatch(name):
        raise errors.InvalidParameter(
            f"invalid model name {json.dumps(name[:80])}",
            hint="A name has 1 to 63 letters, digits, dots, underscores and hyphens; a letter or digit comes first.",
        )


def read_info(place: Path) -> ModelInfo:
    """The description of the model in a directory, its files checked for presence and size.

    Checksums are verified when a model is installed; here they would cost more than loading it.

    Raises:
        FileMissing: the description, or a file that it names, is not there.
        FileDamaged: the description is not one, or a file has another size.
    """
    path = place / DESCRIPTION
    repair = "Install the model again."
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {str(file): int(facts["size"]) for file, facts in said["files"].items()}
        description = ModelInfo(**{field.name: said[field.name] for field in dataclasses.fields(ModelInfo)})
    except FileNotFoundError:
        raise errors.FileMissing(f'file "{path}" does not exist', hint=repair) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.FileDamaged(f'file "{path}" is not a model\'s description', detail=repr(error), hint=repair) from None
    for file, size in files.items():
        if not (place / file).is_file():
            raise errors.FileMissing(f'file "{place / file}" does not exist', hint=repair)
        found = (place / file).stat().st_size
        if found != size:
            raise errors.FileDamaged(f'file "{place / file}" has {found} bytes, expected {size}', hint=repair)
    return description


def _place(name: str) -> Path:
    check_name(name)
    place = models_dir() / name
    if not place.is_dir():
        known = ", ".join(model.name for model in installed())
        raise errors.UnknownObject(
            f'model "{name}" does not exist',
            hint=f"Installed models: {known}." if known else f'No model is installed in "{models_dir()}".',
        )
    return place


@lru_cache(maxsize=CACHED_MODELS)
def _load(name: str) -> Model:
    place = _place(name)
    found = read_info(place)
    if found.kind != "transformer":
        raise errors.NotSupported(f'model "{name}" is of kind "{found.kind}", expected "transformer"', hint="Update pgembed.")
    from pgembed.models.transformer import Transformer

    return Transformer(found, place)
