"""registration: how a superuser makes a name for a model in a database. ``revisions`` keeps it, ``catalogue`` reads it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgembed import catalogue, errors, models, sampling
from pgembed.database import Database
from pgembed.models import store, threads
from pgembed.models.basis import BASES
from pgembed.revisions import Root, lock, must_be_superuser, required, save

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models.conversion.graph import Precision
    from pgembed.models.endpoints.endpoint import Endpoint

WEIGHTS = ("fp32", "int8")


@dataclass(frozen=True)
class Request:
    """What register_model() was asked for; see its comment in SQL. None: not said."""

    name: str | None
    source: str | None
    options: models.Options
    basis: str | None
    corpus: sampling.Where
    queries: sampling.Where
    weights: str | None
    remote_model: str | None
    api_key: str | None
    remote_options: str | None


def register(db: Database, ask: Request) -> str:
    """Make a name for a model, or a new revision of one; see `pgembed.register_model` in SQL.

    Returns:
        The fingerprint that the name points to now.
    Raises:
        errors.InsufficientPrivilege: the caller is no superuser.
        errors.NullNotAllowed, errors.InvalidParameter, errors.NotSupported: an argument is not what it may be.
        errors.UnknownObject: the source is no known model.
        errors.DuplicateObject: the name is that of an installed model.
    """
    must_be_superuser(db, "register a model")
    name, source = required(ask.name, "name"), required(ask.source, "source")
    _check_name(name)
    _check_arguments(ask, source)
    known, root, inherited = _source(db, ask, name, source)
    wanted = dataclasses.replace(ask.options, basis=ask.basis if ask.basis != "none" else None)
    unturned = _canonical(root, models.derive(known, name, dataclasses.replace(wanted, basis=None)), name, inherited)
    matrix = inherited
    if wanted.basis is not None:
        models.derive(known, name, wanted)  # refuses a second basis before anything is fitted
        matrix = _fit(db, ask, wanted.basis, root, unturned)
        info = _canonical(root, dataclasses.replace(unturned, basis=wanted.basis), name, matrix)
    else:
        info = unturned
    return save(db, info, root, matrix)


def may_register(db: Database, name: str) -> None:
    """Raise where a model of that name can't be registered, before anything is computed for it.

    Raises:
        errors.InsufficientPrivilege, errors.InvalidParameter, errors.DuplicateObject: as `register`.
    """
    must_be_superuser(db, "register a model")
    _check_name(name)


def register_adapted(db: Database, name: str, model: models.ModelInfo, matrix: NDArray[np.float32]) -> str:
    """Make a name for a model whose vectors are another one's, documents and queries alike, times a matrix.

    Args:
        model: as a column has it; any revision.
        matrix: shape (dim, dim). Where the model has a basis or an adapter already, this comes after it.
    Returns:
        The fingerprint.
    Raises:
        errors.DimensionMismatch: the matrix cannot be undone.
        errors.PgembedError: as `register`.
    """
    from pgembed.models import basis

    may_register(db, name)
    root, before = _root_of(db, model, model.normalized)
    whole = basis.adapter(matrix if before is None else matrix @ before)
    return save(db, _canonical(root, dataclasses.replace(model, basis=basis.ADAPTER), name, whole), root, whole)


def _check_name(name: str) -> None:
    models.check_name(name)
    if name in store.names():
        raise errors.DuplicateObject(
            f'model "{name}" is installed on this server, for all its databases',
            hint=f"Choose another name: SELECT pgembed.register_model('{name}-2', '{name}', ...) makes one of it.",
        )


def _check_arguments(ask: Request, source: str) -> None:
    if ask.basis not in BASES:
        raise errors.InvalidParameter(f"basis must be one of {', '.join(BASES)}, not {ask.basis or 'NULL'}", hint="none is the default.")
    if ask.basis == "pca" and ask.corpus.table is None:
        raise errors.NullNotAllowed(
            "basis => 'pca' is fitted to a column, and corpus is NULL",
            hint="corpus => 'table', corpus_column => 'a column of text, or an embedded one'.",
        )
    for which, where in (("corpus", ask.corpus), ("queries", ask.queries)):
        if ask.basis != "pca" and (where.table is not None or where.column is not None):
            raise errors.InvalidParameter(f"{which} goes with basis => 'pca', not {ask.basis}", hint="Leave it out, or say basis => 'pca'.")
        if (where.table is None) != (where.column is None):
            raise errors.NullNotAllowed(
                f"{which} and {which}_column go together, and one is NULL",
                hint=f"Give both, or none: {which} => 'table', {which}_column => 'column'.",
            )
    if ask.weights is not None and ask.weights not in WEIGHTS:
        raise errors.InvalidParameter(f"weights must be fp32 or int8, not {ask.weights}", hint="fp32 is the default.")
    if ask.weights is not None and not source.startswith("/"):
        raise errors.InvalidParameter(
            "weights are chosen when a folder is converted",
            hint="Leave weights out; pgembed model add --weights int8 installs a model anew.",
        )
    if not is_url(source):
        for which, value in (("remote_model", ask.remote_model), ("api_key", ask.api_key), ("options", ask.remote_options)):
            if value is not None:
                raise errors.InvalidParameter(f"{which} is of a remote model, whose source is a URL", hint=f"Leave out {which}.")


def is_url(source: str) -> bool:
    """Whether a source names an HTTP endpoint."""
    return source.lower().startswith(("http://", "https://"))


def _source(db: Database, ask: Request, name: str, source: str) -> tuple[models.ModelInfo, Root, NDArray[np.float32] | None]:
    """What the source is: described with its own options, the root without any, and the basis that it has (None for none)."""
    if is_url(source):
        root = _remote_root(db, ask, name, source)
        return root.info, root, None
    if source.startswith("/"):
        root = _folder_root(db, ask, name, Path(source))
        return root.info, root, None
    if "/" in source:
        raise errors.InvalidParameter(
            f'"{source[:80]}" is no model\'s name, no URL and no folder named from the root',
            hint="A folder of the server's machine is named /like/this; pgembed model add in its shell takes any, and fetches from a hub.",
        )
    known = catalogue.describe(db, source)
    root, matrix = _root_of(db, known, known.normalized if ask.options.normalize is None else ask.options.normalize)
    return known, root, matrix


def _root_of(db: Database, known: models.ModelInfo, normalized: bool) -> tuple[Root, NDArray[np.float32] | None]:
    """What a model is made of, and its basis; ``normalized`` is for a remote one, which may give its vectors either way."""
    if all(row["fingerprint"] != known.fingerprint for row in catalogue.registered(db, known.name)):
        return Root(known, known.name, known.fingerprint), None
    recipe = catalogue.recipe(db, known.name, known.fingerprint)
    if recipe.endpoint is not None:
        return _root_at(recipe.endpoint, known.name, recipe.endpoint.gives or known.dim, normalized), recipe.basis
    return Root(models.info(recipe.source, recipe.source_fingerprint), recipe.source, recipe.source_fingerprint), recipe.basis


def _canonical(root: Root, wanted: models.ModelInfo, name: str, matrix: NDArray[np.float32] | None) -> models.ModelInfo:
    """The description, with the fingerprint that the same options of the same root always have, however they were arrived at."""
    from pgembed.models import basis

    digest = basis.digest(matrix) if matrix is not None else ""
    options = models.Options(
        dim=wanted.dim,
        layers=wanted.layers if root.info.layers else None,
        normalize=wanted.normalized,
        query_prompt=wanted.query_prompt,
        document_prompt=wanted.document_prompt,
        basis=wanted.basis,
    )
    return models.derive(root.info, name, options, digest)


def _folder_root(db: Database, ask: Request, name: str, folder: Path) -> Root:
    """A folder of the server's machine, turned into an installed model of this database."""
    with threads.signals_blocked():
        import numpy  # noqa: F401 what reads a folder imports it bare, and its threads would inherit open signals

        from pgembed.models import adding
    place = catalogue.own_store(db)
    # Until the row is there, another call would take the files for left behind.
    lock(db)

    def report(line: str) -> None:
        db.check_interrupts()

    precision: Precision = "int8" if ask.weights == "int8" else "fp32"
    try:
        info = adding.add_folder(folder, place, name, precision=precision, source_label=str(folder), report=report)
    except ModuleNotFoundError as error:
        raise errors.NotReady(
            f"package {error.name}, which converts a folder, is not installed in the server's environment",
            hint=f"pgembed model add {name} {folder}, in a shell of the server's machine, converts it there for all databases.",
        ) from None
    except PermissionError as error:
        raise errors.InsufficientPrivilege(
            f'file "{error.filename}" may not be read by the server\'s user', hint="Let it: chmod -R a+rX, and a+x the folders above."
        ) from None
    store.search_also(place)
    return Root(info, name, info.fingerprint)


def _remote_root(db: Database, ask: Request, name: str, url: str) -> Root:
    """An endpoint, asked for one vector to see that it works and what it gives, unless options say "probe": false."""
    from pgembed.models import remote
    from pgembed.models.endpoints import endpoint

    remote_model = required(ask.remote_model, "remote_model")
    read = json.loads(ask.remote_options) if ask.remote_options is not None else {}
    probe = read.pop("probe", True) if isinstance(read, dict) else True
    if not isinstance(probe, bool):
        raise errors.InvalidParameter(f"probe must be true or false, not {json.dumps(probe)[:80]}", hint="true is the default.")
    there = endpoint.Endpoint.parse(url, remote_model, ask.api_key, read)
    normalized = ask.options.normalize is not False
    if there.sends_key_in_clear:
        db.warning(f"the key of {there.host} is sent over an unencrypted connection", hint="Use a URL that begins with https://.")
    wanted = ask.options.dim
    if not probe:
        if wanted is None:
            raise errors.NullNotAllowed(
                "dim is NULL, and the endpoint is not to be asked", hint="Say how many dimensions its vectors have."
            )
        return _root_at(there, name, there.gives or wanted, normalized)
    if wanted is not None and wanted < 1:
        raise errors.InvalidParameter(f"dim must be at least 1, not {wanted}", hint="Leave it out for all that the endpoint gives.")
    stated = there.dimensions
    asked = dataclasses.replace(there, dimensions=stated or wanted, gives=None)
    dim, by_parameter = remote.probe(asked, db.check_interrupts)
    if stated is not None and dim != stated:
        raise errors.InvalidParameter(
            f"endpoint {there.host} gives {dim} dimensions, asked for {stated}", hint=f"dim => {stated} keeps the first of them here."
        )
    return _root_at(dataclasses.replace(asked, dimensions=asked.dimensions if by_parameter else None), name, dim, normalized)


def _root_at(there: Endpoint, name: str, dim: int, normalized: bool) -> Root:
    from pgembed.models.endpoints.endpoint import fingerprint

    info = models.ModelInfo(
        name=name,
        kind="remote",
        dim=dim,
        max_tokens=there.max_tokens,
        normalized=normalized,
        precision="remote",
        source=there.url,
        source_sha256="",
        source_revision=there.model,
        fingerprint=fingerprint(there, dim, normalized),
    )
    return Root(info, there.url, "", there)


def _fit(db: Database, ask: Request, kind: str, root: Root, info: models.ModelInfo) -> NDArray[np.float32]:
    """The basis that was asked for: float32 (dim, dim)."""
    from pgembed.models import basis

    if info.dim > basis.MOST_DIMENSIONS:
        raise errors.LimitExceeded(
            f"a basis is made for at most {basis.MOST_DIMENSIONS} dimensions, not {info.dim}", hint="Keep fewer with dim, or take no basis."
        )
    if kind == "rotation":
        return basis.rotation(info.dim, root.info.fingerprint)
    model = root.recipe(info).model()
    documents = sampling.vectors_of(db, model, ask.corpus, "document")
    queries = sampling.vectors_of(db, model, ask.queries, "query") if ask.queries.table is not None else None
    fitted = basis.pca(documents, queries, db.check_interrupts)
    needed = min(int((fitted.explained < 0.9).sum()) + 1, info.dim)
    mixed = f" and to {len(queries)} of queries, whose share is {fitted.beta:.2f}" if queries is not None else ""
    db.notice(f"fitted to {len(documents)} vectors{mixed}: the first {needed} of {info.dim} dimensions hold 0.9 of their length squared")
    return fitted.matrix
