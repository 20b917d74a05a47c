"""Models: texts -> float32 (n, dim). ``load(name)`` gives an installed one; each kind has a file of its own.

``contract`` says what a model is, ``store`` keeps installed ones as files, ``options`` makes one of another, ``basis`` makes bases.
Names that a database knows beside the installed ones are the business of ``pgembed.catalogue``.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from pathlib import Path

from pgembed import errors
from pgembed.models import store
from pgembed.models.contract import ROLES, Encoded, Model, ModelInfo, Role, no_check
from pgembed.models.options import Adapted, Options, derive
from pgembed.models.store import check_name, installed, models_dir, place_of, read_info

__all__ = [
    "ROLES", "Encoded", "Model", "ModelInfo", "Role", "no_check", "check_name", "installed", "models_dir", "read_info", "info", "load",
    "forget", "Adapted", "Options", "derive",
]  # fmt: skip

# Models that a session keeps in memory, the least used of which goes first. Each costs up to tens of megabytes of its own; a session
# that compares models holds two.
CACHED_MODELS = 3
# As the kind gives it, without prompts, and the description with them.
_cache: OrderedDict[tuple[str, int | None], tuple[Model, ModelInfo]] = OrderedDict()


def info(name: str, fingerprint: str | None = None) -> ModelInfo:
    """The description of an installed model, from its files, without loading it.

    Args:
        fingerprint: of the revision; None for the current one.
    Raises:
        InvalidParameter: the name can't be one.
        UnknownObject: no such model is installed.
        NotReady: it is installed, and not with this fingerprint.
        FileMissing, FileDamaged: a file of it is missing or has not its size.
    """
    return read_info(place_of(name, fingerprint))


def load(name: str, fingerprint: str | None = None, layers: int | None = None, *, prompts: bool = True) -> Model:
    """An installed model, from the session's cache or from its files.

    Args:
        name: as in ``installed()``.
        fingerprint: the one that stored vectors were made with; None for the current revision.
        layers: of a transformer, how many to run; None for all that it was installed with.
        prompts: put the prompts before texts that the model was installed with; False is for what adds others in their place.
    Raises:
        InvalidParameter: the name can't be one.
        UnknownObject: no such model is installed.
        NotReady: it is installed, and not with this fingerprint.
        FileMissing, FileDamaged: a file of it is missing or has not its size.
    """
    # A look at one link says what a name points to; all else is looked at once a session.
    meant = store.points_to(name) if fingerprint is None else fingerprint
    kept = _kept(meant, layers) if meant is not None else None
    if kept is None:
        place = place_of(name, fingerprint)
        # A revision never changes, so its folder's name says as much as its fingerprint.
        kept = _kept(place.name, layers)
        if kept is None:
            kept = _open(read_info(place), place, layers)
            while len(_cache) >= CACHED_MODELS:
                _cache.popitem(last=False)
            _cache[_key(place.name, layers)] = kept
    plain, described = kept
    return Adapted(plain, described) if prompts and plain.info != described else plain


def forget() -> None:
    """Let go of all loaded models."""
    _cache.clear()


def _key(fingerprint: str, layers: int | None) -> tuple[str, int | None]:
    return fingerprint[:16], layers


def _kept(fingerprint: str, layers: int | None) -> tuple[Model, ModelInfo] | None:
    key = _key(fingerprint, layers)
    found = _cache.get(key)
    if found is not None:
        _cache.move_to_end(key)
    return found


def _open(found: ModelInfo, place: Path, layers: int | None) -> tuple[Model, ModelInfo]:
    if layers is not None and layers != found.layers:
        found = derive(found, found.name, Options(layers=layers))
    return _open_kind(dataclasses.replace(found, query_prompt="", document_prompt=""), place), found


def _open_kind(found: ModelInfo, place: Path) -> Model:
    if found.kind == "transformer":
        from pgembed.models.transformer import Transformer

        return Transformer(found, place)
    if found.kind == "static":
        from pgembed.models.static import Static

        return Static(found, place)
    raise errors.NotSupported(f'model "{found.name}" is of kind "{found.kind}", expected transformer or static', hint="Update pgembed.")
