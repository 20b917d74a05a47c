"""store: installed models as files. A model is a folder of revisions, each in a folder of its own that never changes once it is there.

    <models_dir>/<name>/<first 16 digits of the fingerprint>/model.json, and the files that it names
    <models_dir>/<name>/current -> the revision that the name points to

A session that mapped a revision keeps it: what is replaced or removed here keeps its pages until the last one lets go.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pgembed import errors
from pgembed.models.contract import ModelInfo

DESCRIPTION = "model.json"
CURRENT = "current"
_DIGITS = 16  # of a fingerprint, in the name of a revision's folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REPAIR = "Install the model again."

# Looked into after models_dir(), for known fingerprints only: where a server keeps what was registered from a folder.
_further_places: list[Path] = []


def models_dir() -> Path:
    """Where installed models are: ``share/pgembed/models`` of the environment that this package is installed in.

    Derived from this file's place, because PL/Python's sys.prefix is the system's; from sys.prefix only where the
    package runs from a checkout. Never from a setting or the environment: whoever chooses this path chooses what the
    server loads.
    """
    return _models_of(__file__, sys.prefix)


@cache  # it is asked for every text
def _models_of(file: str, prefix: str) -> Path:
    site = Path(file).parents[2]
    # <prefix>/lib/pythonX.Y/site-packages/pgembed/models/store.py
    found = site.parents[2] if site.name in ("site-packages", "dist-packages") else Path(prefix)
    return found / "share" / "pgembed" / "models"


def search_also(place: Path) -> None:
    """Let ``place_of`` look for fingerprints in one more directory of models; called by code that knows whose directory it is."""
    if place not in _further_places:
        _further_places.append(place)


def names(target: Path | None = None) -> list[str]:
    """Names of all models in a directory, ``models_dir()`` by default, whole or damaged."""
    # A name with a leading dot is a model that is being installed.
    return sorted(p.parent.name for p in (target or models_dir()).glob(f"*/{CURRENT}") if not p.parent.name.startswith("."))


def installed() -> list[ModelInfo]:
    """The current revision of every installed model, by name; [] where there are none.

    Raises:
        FileDamaged: a description can't be read.
    """
    return [read_info(models_dir() / name / CURRENT) for name in names() if (models_dir() / name / CURRENT / DESCRIPTION).exists()]


def place_of(name: str, fingerprint: str | None = None) -> Path:
    """The folder of a model's revision.

    Args:
        fingerprint: of the revision; None for the current one.
    Raises:
        InvalidParameter: the name can't be one.
        UnknownObject: no such model is installed.
        NotReady: the model is installed, and not in this revision.
    """
    check_name(name)
    places: list[Path] = [models_dir(), *(_further_places if fingerprint is not None else [])]
    homes = [place / name for place in places if (place / name / CURRENT).is_dir()]
    if not homes:
        known = ", ".join(names())
        raise errors.UnknownObject(
            f'model "{name}" does not exist',
            hint=f"Installed models: {known}." if known else f'No model is installed in "{models_dir()}".',
        )
    current = homes[0] / CURRENT
    if fingerprint is None:
        return current.resolve()
    found = [home / fingerprint[:_DIGITS] for home in homes if (home / fingerprint[:_DIGITS]).is_dir()]
    if not found:
        raise errors.NotReady(
            f'model "{name}" has fingerprint {current.resolve().name[:12]}, expected {fingerprint[:12]}',
            hint="Install the model that the vectors were made with, or embed the rows again with the installed one.",
        )
    return found[0]


def points_to(name: str) -> str | None:
    """The first digits of the fingerprint that the name of an installed model points to; None where there is no such model.

    Raises:
        InvalidParameter: the name can't be one.
    """
    check_name(name)
    try:
        return os.readlink(f"{models_dir()}/{name}/{CURRENT}")
    except OSError:
        return None


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
    """The description of the revision in a folder, its files checked for presence and size.

    Checksums are verified when a model is installed; here they would cost more than loading it.

    Args:
        place: the revision's folder.
    Raises:
        FileMissing: the description, or a file that it names, is not there.
        FileDamaged: the description is not one, or a file has another size.
    """
    path = place / DESCRIPTION
    said = read_description(place)
    try:
        files = {str(file): int(facts["size"]) for file, facts in said["files"].items()}
        description = ModelInfo(**{field.name: said[field.name] for field in dataclasses.fields(ModelInfo)})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.FileDamaged(f'file "{path}" is not a model\'s description', detail=repr(error), hint=_REPAIR) from None
    for file, size in files.items():
        if not (place / file).is_file():
            raise errors.FileMissing(f'file "{place / file}" does not exist', hint=_REPAIR)
        found = (place / file).stat().st_size
        if found != size:
            raise errors.FileDamaged(f'file "{place / file}" has {found} bytes, expected {size}', hint=_REPAIR)
    return description


def read_description(place: Path) -> dict[str, Any]:
    """model.json as it is: what ModelInfo has, and ``files``: name -> size, sha256.

    Raises:
        FileMissing, FileDamaged: it is not there, or not JSON.
    """
    path = place / DESCRIPTION
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise errors.FileMissing(f'file "{path}" does not exist', hint=_REPAIR) from None
    except ValueError as error:
        raise errors.FileDamaged(f'file "{path}" is not a model\'s description', detail=repr(error), hint=_REPAIR) from None
    if not isinstance(said, dict):
        raise errors.FileDamaged(f'file "{path}" is not a model\'s description', hint=_REPAIR)
    return said


def verify(place: Path) -> None:
    """Compare every file of a revision with its checksum.

    Raises:
        FileMissing, FileDamaged: a file is missing, or is not the one that was installed.
    """
    read_info(place)
    for file, said in read_description(place)["files"].items():
        found = sha256(place / file)
        if found != said["sha256"]:
            raise errors.FileDamaged(f'file "{place / file}" has SHA-256 {found[:16]}, expected {said["sha256"][:16]}', hint=_REPAIR)


def is_whole(place: Path, fingerprint: str) -> bool:
    """Whether the folder holds this very revision, undamaged."""
    try:
        verify(place)
        return read_info(place).fingerprint == fingerprint
    except (errors.PgembedError, OSError):
        return False


@contextmanager
def new_revision(target: Path, info: ModelInfo, needed: Collection[str] = ()) -> Iterator[Path | None]:
    """Install a revision: yields a folder to write its files into, and describes, checks and publishes it afterwards.

    Yields None where the revision is there already and whole: then the name is only pointed to it. A failure inside leaves
    everything as it was. ``info.revision`` is not used: the number is the next one that is free, or the one it has.

    Args:
        target: the directory of all models, made where it is missing.
        needed: names that a whole revision has among its own; one that an older version wrote may lack some.
    """
    check_name(info.name)
    home = target / info.name
    place = home / info.fingerprint[:_DIGITS]
    if is_whole(place, info.fingerprint) and set(needed) <= set(read_description(place)["files"]):
        yield None
        _point(home, place.name)
        return
    target.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{info.name}.", dir=target))
    try:
        yield work
        home.mkdir(exist_ok=True)
        home.chmod(0o755)
        described = dataclasses.replace(info, revision=_next_revision(home, place.name))
        files = {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in sorted(work.iterdir())}
        text = json.dumps({**dataclasses.asdict(described), "files": files}, indent=1) + "\n"
        (work / DESCRIPTION).write_text(text, encoding="utf-8")
        # The server runs as another user than the installer; mkdtemp and onnx make files that only their owner can read.
        for path in work.iterdir():
            path.chmod(0o644)
        work.chmod(0o755)
        _exchange(work, place)
        _point(home, place.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove(target: Path, name: str) -> None:
    """Delete a model with all its revisions; sessions that have it loaded run on.

    Raises:
        InvalidParameter, UnknownObject: the name can't be one, or no such model is there.
    """
    check_name(name)
    home = target / name
    if not home.is_dir():
        raise errors.UnknownObject(f'model "{name}" does not exist', hint="pgembed model list shows the models.")
    aside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target))
    os.rename(home, aside / "old")
    shutil.rmtree(aside)


def check_sha256(what: str, found: str, expected: str | None) -> None:
    """Compare a checksum with the one that somebody expects.

    Raises:
        FileDamaged: they differ.
    """
    if expected is not None and found != expected.lower():
        raise errors.FileDamaged(
            f"{what} have SHA-256 {found}, expected {expected.lower()}", hint="Fetch the model again, from where it is published."
        )


def sha256(path: Path) -> str:
    """A file's checksum in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _next_revision(home: Path, own: str) -> int:
    numbers = {}
    for path in home.glob(f"*/{DESCRIPTION}"):
        if path.parent.name != CURRENT:
            try:
                numbers[path.parent.name] = int(json.loads(path.read_text(encoding="utf-8"))["revision"])
            except (ValueError, KeyError, TypeError):  # a damaged one counts for nothing
                continue
    return numbers.get(own) or max(numbers.values(), default=0) + 1


def _exchange(work: Path, place: Path) -> None:
    """Put ``work`` at ``place``; files of a damaged one keep their inodes, so sessions that mapped them run on."""
    if not place.exists():
        os.rename(work, place)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    os.rename(place, aside / "old")
    os.rename(work, place)
    shutil.rmtree(aside)


def _point(home: Path, revision: str) -> None:
    """Let the name point to a revision, at once for everybody who looks."""
    link = home / CURRENT
    if link.is_symlink() and os.readlink(link) == revision:
        return
    new = home / f".{CURRENT}.{os.getpid()}"
    new.unlink(missing_ok=True)
    new.symlink_to(revision)
    new.replace(link)
