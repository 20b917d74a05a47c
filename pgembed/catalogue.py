"""catalogue: which model a name means in a database. Names registered there come first, then those installed on the server.

A row of ``pgembed._model`` is complete: it says of which files or of which endpoint a model is made and with which options, so that none
but those files must be there to use it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgembed import database, errors, models
from pgembed.database import Database, Row
from pgembed.models import store, threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models.endpoints.endpoint import Endpoint
    from pgembed.models.remote import Remote

DEFAULT_MODEL = "all-minilm-l6-v2"

# A recipe is small, but for its basis: 0.6 MB at 384 dimensions, 4 MB at 1024.
CACHED_RECIPES = 8

# All that is needed to see that the session has the model already: one look at two small tables.
_FIND = (
    "SELECT (SELECT s.value::pg_catalog.int4 FROM pgembed._setting AS s WHERE s.name OPERATOR(pg_catalog.=) 'threads') AS threads,"
    " c.name, m.fingerprint, m.kind, m.in_backends, m.xmin::pg_catalog.text AS version FROM (SELECT coalesce($1,"
    " (SELECT s.value FROM pgembed._setting AS s WHERE s.name OPERATOR(pg_catalog.=) 'default_model'), $3) AS name) AS c"
    " LEFT JOIN pgembed._model AS m ON m.name OPERATOR(pg_catalog.=) c.name"
    " AND CASE WHEN $2 IS NULL THEN m.is_current ELSE m.fingerprint OPERATOR(pg_catalog.=) $2 END"
)
COLUMNS = (
    'name, revision, fingerprint, kind, source, source_fingerprint, dim, max_tokens, normalized, "precision", layers, query_prompt,'
    " document_prompt, basis, remote_model, api_key, options, in_backends, is_current"
)
_TEXT = "pg_catalog.text"


@dataclass(frozen=True)
class Recipe:
    """How a registered model is made.

    Attributes:
        info: what it is.
        source, source_fingerprint: the installed files that it is made of; '' where it is remote.
        layers: how many of the files' layers are run; None for all.
        basis: float32 (dim, dim), or None.
        endpoint, remote: for that kind, where it is, and what it gives.
        version: of the line in the registry; another one has another key or other limits of the endpoint.
    """

    info: models.ModelInfo
    source: str = ""
    source_fingerprint: str = ""
    layers: int | None = None
    basis: NDArray[np.float32] | None = None
    endpoint: Endpoint | None = None
    remote: Remote | None = None
    version: str = ""

    def model(self) -> models.Model:
        """The model; its files are in the session's cache, or are loaded now."""
        base = self.remote or models.load(self.source, self.source_fingerprint, self.layers, prompts=False)
        return models.Adapted(base, self.info, self.basis)


# None stands for a revision that is installed and not registered.
_recipes: OrderedDict[tuple[str, str], Recipe | None] = OrderedDict()


def default_model(db: Database) -> str:
    """The model that is taken where none is named: the database's choice, else the one that is installed with pgembed."""
    return str(_find(db, None, None)["name"])


def describe(db: Database, name: str | None, fingerprint: str | None = None) -> models.ModelInfo:
    """What a name means, without loading the model.

    Args:
        name: None for the database's default model.
        fingerprint: of the revision; None for the current one.
    Raises:
        errors.InvalidParameter, errors.UnknownObject: the name can't be one, or nothing has it.
        errors.NotReady: the model is not known with this fingerprint.
        errors.FileMissing, errors.FileDamaged: a file of an installed model is missing or has not its size.
    """
    found = _find(db, name, fingerprint)
    if found["fingerprint"] is None:
        return _installed(db, found["name"], fingerprint)
    return info_of(_row(db, found["name"], found["fingerprint"]))


def resolve(db: Database, name: str | None, fingerprint: str | None = None, *, by_backend: bool) -> models.Model:
    """The model that a name means, from the session's caches or loaded.

    Args:
        name: None for the database's default model.
        fingerprint: the one that stored vectors were made with; None for the current revision.
        by_backend: for a user's statement, such as embed() or a search with a text, rather than for refresh or the worker.
    Raises:
        errors.InvalidParameter, errors.UnknownObject, errors.NotReady, errors.FileMissing, errors.FileDamaged: as `describe`.
        errors.InsufficientPrivilege: it is called over the network, which no superuser has granted to backends.
    """
    if name is not None and fingerprint is not None and (name, fingerprint) in _recipes:
        # What a name and a fingerprint mean never changes, but for the grant of a remote model.
        known = _recipes[name, fingerprint]
        if known is None or known.remote is None:
            _recipes.move_to_end((name, fingerprint))
            return models.load(name, fingerprint) if known is None else known.model()
    found = _find(db, name, fingerprint)
    meant = str(found["name"])
    if found["fingerprint"] is None:
        try:
            model = models.load(meant, fingerprint)
        except errors.UnknownObject:
            raise _unknown(db, meant, fingerprint) from None
        if fingerprint is not None:
            _remember(meant, fingerprint, None)
        return model
    if by_backend and found["kind"] == "remote" and not found["in_backends"]:
        raise errors.InsufficientPrivilege(
            f'model "{meant}" is called over the network, which is not granted to backends',
            hint=f"Pass a vector instead of a text, or let a superuser run SELECT pgembed.grant_model('{meant}').",
        )
    return recipe(db, meant, found["fingerprint"], found["version"]).model()


def forget() -> None:
    """Let go of all recipes."""
    _recipes.clear()


def info_of(row: Row) -> models.ModelInfo:
    """The description that a line of the registry holds."""
    remote = row["kind"] == "remote"
    return models.ModelInfo(
        name=row["name"],
        kind=row["kind"],
        dim=row["dim"],
        max_tokens=row["max_tokens"],
        normalized=row["normalized"],
        precision=row["precision"],
        source=row["source"],
        source_sha256="",
        source_revision=row["remote_model"] if remote else row["source_fingerprint"][:12],
        fingerprint=row["fingerprint"],
        revision=row["revision"],
        layers=row["layers"],
        query_prompt=row["query_prompt"],
        document_prompt=row["document_prompt"],
        basis=row["basis"],
    )


def recipe_of(row: Row) -> Recipe:
    """How to make the model of a line of the registry; ``row`` has the column basis_matrix too."""
    info = info_of(row)
    matrix = None
    if info.basis != "none":
        from pgembed.models import basis

        matrix = basis.from_bytes(row["basis_matrix"], info.dim, info.basis)
    if info.kind == "remote":
        from pgembed.models import remote
        from pgembed.models.endpoints import endpoint

        there = endpoint.Endpoint.parse(row["source"], row["remote_model"], row["api_key"], row["options"])
        return Recipe(info, basis=matrix, endpoint=there, remote=remote.Remote(info, there), version=row["version"])
    source, fingerprint = row["source"], row["source_fingerprint"]
    whole = models.info(source, fingerprint).layers
    return Recipe(info, source, fingerprint, info.layers if info.layers != whole else None, matrix, version=row["version"])


def recipe(db: Database, name: str, fingerprint: str, version: str | None = None) -> Recipe:
    """How to make a registered model, from the session's cache or from the registry.

    Args:
        version: of the line, as the caller has just read it; None where it does not matter.
    """
    kept = _recipes.get((name, fingerprint))
    if kept is None or (version is not None and kept.version != version):
        _know_stores(db)
        kept = recipe_of(_row(db, name, fingerprint, with_basis=True))
        _remember(name, fingerprint, kept)
    return kept


def own_store(db: Database) -> Path:
    """Where files are kept that were registered from a folder: in the server's data directory, apart for each database.

    Raises:
        errors.NotSupported: this process is no backend of the server.
    """
    if database.server_folder is None:
        raise errors.NotSupported(
            "models that were registered from a folder are used inside the server only",
            hint="pgembed model add installs one for all processes.",
        )
    number = db.execute("SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()")[0]["oid"]
    return database.server_folder / "pgembed_models" / str(number)


def _know_stores(db: Database) -> None:
    """Look for files in this database's folder, and then in those of others: a database that was made as a copy of another has its registry
    and not its files. A fingerprint is of what is in the files, so wherever they are, they are the right ones."""
    if database.server_folder is None:
        return
    own = own_store(db)
    store.search_also(own)
    if own.parent.is_dir():
        for other in sorted(own.parent.iterdir()):
            store.search_also(other)


def registered(db: Database, name: str | None = None) -> list[Row]:
    """Lines of the registry, the basis left out, by name and revision.

    Args:
        name: only those of this name.
    """
    where = " WHERE name OPERATOR(pg_catalog.=) $1" if name is not None else ""
    order = " ORDER BY name, revision"
    return db.execute(f"SELECT {COLUMNS} FROM pgembed._model{where}{order}", [_TEXT] if where else [], [name] if where else [])


def _find(db: Database, name: str | None, fingerprint: str | None) -> Row:
    found = db.execute(_FIND, [_TEXT, _TEXT, _TEXT], [name, fingerprint, DEFAULT_MODEL])[0]
    threads.limit(found["threads"])
    return found


def _row(db: Database, name: str, fingerprint: str, *, with_basis: bool = False) -> Row:
    more = ", basis_matrix, xmin::pg_catalog.text AS version" if with_basis else ""
    return db.execute(
        f"SELECT {COLUMNS}{more} FROM pgembed._model WHERE name OPERATOR(pg_catalog.=) $1 AND fingerprint OPERATOR(pg_catalog.=) $2",
        [_TEXT, _TEXT],
        [name, fingerprint],
    )[0]


def _installed(db: Database, name: str, fingerprint: str | None) -> models.ModelInfo:
    try:
        return models.info(name, fingerprint)
    except errors.UnknownObject:
        raise _unknown(db, name, fingerprint) from None


def _unknown(db: Database, name: str, fingerprint: str | None) -> errors.PgembedError:
    rows = registered(db)
    if fingerprint is not None and any(row["name"] == name for row in rows):
        return errors.NotReady(
            f'model "{name}" has no revision with fingerprint {fingerprint[:12]}',
            hint="Register the model that the vectors were made with, or embed the rows again with the one of that name.",
        )
    known = sorted({*store.names(), *(str(row["name"]) for row in rows)})
    return errors.UnknownObject(
        f'model "{name}" does not exist',
        hint=f"Models known here: {', '.join(known)}." if known else "No model is installed: run docker/install, or pgembed model add.",
    )


def _remember(name: str, fingerprint: str, recipe: Recipe | None) -> None:
    while len(_recipes) >= CACHED_RECIPES:
        _recipes.popitem(last=False)
    _recipes[name, fingerprint] = recipe
