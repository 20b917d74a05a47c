"""revisions: the rows of the registry of models. Names point to revisions; a revision's vectors never change."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import catalogue, database, errors, models
from pgembed.database import Database, Row
from pgembed.models import store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.models.endpoints.endpoint import Endpoint

_TEXT = "pg_catalog.text"

# Each writer of the registry waits for the one before it; readers wait for nobody.
_LOCK = "LOCK TABLE pgembed._model IN SHARE ROW EXCLUSIVE MODE"
# Columns that are being made at this moment are seen, too.
_LOCK_COLUMNS = "LOCK TABLE pgembed._embedding IN SHARE MODE"

# Of what is inserted, in its order.
_INSERT_TYPES = (
    *("text", "int4", "text", "text", "text", "text", "int4", "int4", "bool", "text", "int4", "text", "text", "text", "bytea"),
    *("text", "text", "jsonb", "bool"),
)


@dataclass(frozen=True)
class Root:
    """What a model is made of, before options: files, or an endpoint."""

    info: models.ModelInfo
    source: str
    source_fingerprint: str
    endpoint: Endpoint | None = None

    def endpoint_of(self, info: models.ModelInfo) -> Endpoint | None:
        """The endpoint, as it is called for a model that may keep fewer of its dimensions."""
        if self.endpoint is None:
            return None
        return dataclasses.replace(self.endpoint, gives=self.info.dim if info.dim < self.info.dim else None)

    def recipe(self, info: models.ModelInfo) -> catalogue.Recipe:
        """How a model is made of it, with no basis."""
        there = self.endpoint_of(info)
        if there is not None:
            from pgembed.models.remote import Remote

            return catalogue.Recipe(info, endpoint=there, remote=Remote(info, there))
        layers = info.layers if info.layers != self.info.layers else None
        return catalogue.Recipe(info, self.source, self.source_fingerprint, layers)


def save(db: Database, info: models.ModelInfo, root: Root, matrix: NDArray[np.float32] | None) -> str:
    """Let the name point to what was made: a new revision, or one that is there."""
    from pgembed.models import basis

    lock(db)
    rows = catalogue.registered(db, info.name)
    same = [row for row in rows if row["fingerprint"] == info.fingerprint]
    if same:
        _point_to(db, info, root, same[0])
    else:
        revision = max((row["revision"] for row in rows), default=0) + 1
        _set_current(db, info.name, None)
        there = root.endpoint_of(info)
        values = {
            "name": info.name,
            "revision": revision,
            "fingerprint": info.fingerprint,
            "kind": info.kind,
            "source": root.source,
            "source_fingerprint": root.source_fingerprint,
            "dim": info.dim,
            "max_tokens": info.max_tokens,
            "normalized": info.normalized,
            '"precision"': info.precision,
            "layers": info.layers,
            "query_prompt": info.query_prompt,
            "document_prompt": info.document_prompt,
            "basis": info.basis,
            "basis_matrix": None if matrix is None else basis.to_bytes(matrix),
            "remote_model": there.model if there else None,
            "api_key": there.api_key if there else None,
            "options": json.dumps(there.options()) if there else None,
            # a grant is given to a name, and its revisions go to the same place
            "in_backends": any(row["is_current"] and row["in_backends"] and row["source"] == root.source for row in rows),
        }
        marks = ", ".join(f"${position}" for position in range(1, len(values) + 1))
        db.execute(f"INSERT INTO pgembed._model ({', '.join(values)}) VALUES ({marks})", _INSERT_TYPES, list(values.values()))
        if rows:
            db.notice(
                f'model "{info.name}" points to revision {revision} now; columns keep the revision that they were made with',
                hint=f"SELECT pgembed.alter_embedding('table', 'column', model => '{info.name}') gives a column the new one.",
            )
    _sweep(db)
    return info.fingerprint


def drop(db: Database, name: str | None) -> None:
    """Undo `register`, with all revisions of the name; see `pgembed.drop_model` in SQL.

    Raises:
        errors.InsufficientPrivilege: the caller is no superuser.
        errors.UnknownObject, errors.WrongObjectType: there is no such model, or it is installed and not registered.
        errors.DependentObjects: columns or models need it, or it is the default.
    """
    must_be_superuser(db, "drop a model")
    name = required(name, "name")
    lock(db)
    db.execute(_LOCK_COLUMNS)
    if not catalogue.registered(db, name):
        catalogue.describe(db, name)
        raise errors.WrongObjectType(
            f'model "{name}" is installed on this server, not registered in this database',
            hint=f"pgembed model remove {name}, in a shell of the server's machine, removes it from all databases.",
        )
    needing = dependents(db, name)
    if needing:
        raise errors.DependentObjects(
            f'cannot drop model "{name}" because {len(needing)} other thing{"s need" if len(needing) > 1 else " needs"} it',
            detail="\n".join(needing),
            hint="pgembed.alter_embedding(..., model => ...) gives a column another model, pgembed.drop_embedding() drops it,"
            " pgembed.drop_adapter() an adapter.",
        )
    _sweep(db)
    db.execute("DELETE FROM pgembed._model WHERE name OPERATOR(pg_catalog.=) $1", [_TEXT], [name])
    catalogue.forget()


def dependents(db: Database, name: str) -> list[str]:
    """What needs a model of this database, one line each; [] where nothing does."""
    columns = db.execute(
        "SELECT pg_catalog.format('column %s.%I', e.table_name, e.column_name) AS line FROM pgembed._embedding AS e"
        " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name WHERE e.model OPERATOR(pg_catalog.=) $1 ORDER BY 1",
        [_TEXT],
        [name],
    )
    adapters = db.execute(
        "SELECT pg_catalog.format('adapter of column %s.%I', a.table_name, a.column_name) AS line FROM pgembed._adapter AS a"
        " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) a.table_name WHERE a.model OPERATOR(pg_catalog.=) $1 ORDER BY 1",
        [_TEXT],
        [name],
    )
    derived = db.execute(
        "SELECT DISTINCT pg_catalog.format('model %s, which is made of it', name) AS line FROM pgembed._model"
        " WHERE source OPERATOR(pg_catalog.=) $1 AND name OPERATOR(pg_catalog.<>) $1 AND kind OPERATOR(pg_catalog.<>) 'remote' ORDER BY 1",
        [_TEXT],
        [name],
    )
    default = (
        ["the default model of this database, which pgembed.set_default_model() changes"] if catalogue.default_model(db) == name else []
    )
    return [*(str(row["line"]) for row in (*columns, *adapters, *derived)), *default]


def grant(db: Database, name: str | None, *, to_backends: bool) -> None:
    """Say whether embed() and searches with a text may call a remote model; refresh and the worker always may.

    Raises:
        errors.InsufficientPrivilege: the caller is no superuser.
        errors.WrongObjectType: the model is not a remote one.
    """
    must_be_superuser(db, "grant a model" if to_backends else "revoke a model")
    name = required(name, "model")
    if catalogue.describe(db, name).kind != "remote":
        raise errors.WrongObjectType(f'model "{name}" is not remote', hint="A model that runs in the server may be used by everybody.")
    # Of all revisions: older ones serve the same users' columns.
    db.execute(
        "UPDATE pgembed._model SET in_backends = $2 WHERE name OPERATOR(pg_catalog.=) $1", [_TEXT, "pg_catalog.bool"], [name, to_backends]
    )


def lock(db: Database) -> None:
    """Keep other writers of the registry away until the transaction ends."""
    db.execute(_LOCK)


def must_be_superuser(db: Database, what: str) -> None:
    rows = db.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user")
    if not rows or not rows[0]["rolsuper"]:
        raise errors.InsufficientPrivilege(
            f"must be superuser to {what}", hint="It decides which files and URLs the server opens; ask an administrator."
        )


def required(value: str | None, what: str) -> str:
    if value is None:
        raise errors.NullNotAllowed(f"{what} is NULL", hint=f"Give {what}.")
    return value


def _point_to(db: Database, info: models.ModelInfo, root: Root, row: Row) -> None:
    """The very model is there: let the name point to it, and its endpoint be called as it was said now."""
    there = root.endpoint_of(info)
    said = (there.url, there.api_key, there.options()) if there else None
    options = json.loads(row["options"]) if isinstance(row["options"], str) else row["options"]
    if said is not None and said != (row["source"], row["api_key"], options):
        db.execute(
            "UPDATE pgembed._model SET source = $3, api_key = $4, options = $5"
            " WHERE name OPERATOR(pg_catalog.=) $1 AND revision OPERATOR(pg_catalog.=) $2",
            [_TEXT, "pg_catalog.int4", _TEXT, _TEXT, "pg_catalog.jsonb"],
            [info.name, row["revision"], said[0], said[1], json.dumps(said[2])],
        )
        catalogue.forget()
        db.notice(f'model "{info.name}" is registered already; key and options of its endpoint are the new ones')
    elif row["is_current"]:
        db.notice(f'model "{info.name}" is registered already, revision {row["revision"]}')
    if not row["is_current"]:
        _set_current(db, info.name, row["revision"])
        db.notice(f'model "{info.name}" points to revision {row["revision"]} again, which is the same')


def _set_current(db: Database, name: str, revision: int | None) -> None:
    # In two steps: an index says that one revision at most is current, and looks at every row.
    where = "WHERE name OPERATOR(pg_catalog.=) $1"
    db.execute(f"UPDATE pgembed._model SET is_current = false {where} AND is_current", [_TEXT], [name])
    if revision is not None:
        number = "AND revision OPERATOR(pg_catalog.=) $2"
        db.execute(f"UPDATE pgembed._model SET is_current = true {where} {number}", [_TEXT, "pg_catalog.int4"], [name, revision])


def _sweep(db: Database) -> None:
    """Remove files of models that were registered from a folder and have no row any more.

    Never those of the row that is being dropped or made: a rollback brings back the one and takes away the other, and the registry's lock
    keeps away whoever else is at it. So the files of a dropped model go with the next call.
    """
    if database.server_folder is None:
        return
    place = catalogue.own_store(db)
    known = {str(row["name"]) for row in catalogue.registered(db)}
    for name in store.names(place):
        if name not in known:
            store.remove(place, name)
