"""Models: bodies of ``sql/functions/models.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import catalogue, errors, registration, revisions
from pgembed import models as room
from pgembed.models import store
from pgembed.sampling import Where
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE

# Of ModelInfo, by the names that they have in the view.
_FIELDS = (
    *("name", "kind", "dim", "max_tokens", "normalized", "revision", "fingerprint", "layers", "query_prompt", "document_prompt"),
    *("basis", "source"),
)

MOST_THREADS = 256


@boundary
def models() -> list[dict[str, Any]]:
    """Body of `pgembed._models`: what each name means now, and older revisions that columns were made with."""
    default = catalogue.default_model(DATABASE)
    used = {
        (row["model"], row["fingerprint"])
        for row in DATABASE.execute(
            "SELECT DISTINCT e.model, e.fingerprint FROM pgembed._embedding AS e"
            " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name WHERE e.model IS NOT NULL"
        )
    }
    lines = []
    shown: set[tuple[str, str | None]] = set()
    registered = catalogue.registered(DATABASE)
    for row in registered:
        if row["is_current"] or (row["name"], row["fingerprint"]) in used:
            info = catalogue.info_of(row)
            open_to_all = info.kind != "remote" or row["in_backends"]
            is_default = row["is_current"] and info.name == default
            lines.append({**_facts(info), "in_backends": open_to_all, "is_default": is_default})
            shown.add((info.name, info.fingerprint))
    names = {row["name"] for row in registered}
    for name in store.names():
        if name not in names:
            line = _installed(name, None)
            lines.append({**line, "is_default": name == default})
            shown.add((name, line.get("fingerprint")))
    lines.extend({**_installed(name, fingerprint), "is_default": False} for name, fingerprint in sorted(used - shown))
    return sorted(lines, key=lambda line: (line["name"], line.get("revision") or 0))


def _facts(info: room.ModelInfo) -> dict[str, Any]:
    return {**{field: getattr(info, field) for field in _FIELDS}, "weights": info.precision, "in_backends": True, "problem": None}


def _installed(name: str, fingerprint: str | None) -> dict[str, Any]:
    """A model of the server's files; where they are damaged or gone, no more than the problem."""
    try:
        return _facts(room.info(name, fingerprint))
    except errors.PgembedError as error:
        nothing = dict.fromkeys((*_FIELDS, "weights", "in_backends"))
        return {**nothing, "name": name, "fingerprint": fingerprint, "problem": error.message}


@boundary
def set_default_model(model: str | None) -> None:
    """Body of `pgembed.set_default_model`."""
    if model is None:
        raise errors.NullNotAllowed("model is NULL", hint="SELECT name FROM pgembed.models lists the models.")
    info = catalogue.describe(DATABASE, model)
    DATABASE.execute(
        "INSERT INTO pgembed._setting (name, value) VALUES ('default_model', $1) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
        ["pg_catalog.text"],
        [info.name],
    )


@boundary
def set_threads(threads: int | None) -> None:
    """Body of `pgembed.set_threads`."""
    if threads is None:
        DATABASE.execute("DELETE FROM pgembed._setting WHERE name OPERATOR(pg_catalog.=) 'threads'")
        return
    if not 1 <= threads <= MOST_THREADS:
        raise errors.InvalidParameter(
            f"threads must be from 1 to {MOST_THREADS}, not {threads}", hint="NULL is the default: half of the server's cores, 8 at most."
        )
    DATABASE.execute(
        "INSERT INTO pgembed._setting (name, value) VALUES ('threads', $1) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
        ["pg_catalog.text"],
        [str(threads)],
    )


@boundary
def register_model(
    name: str | None,
    source: str | None,
    dim: int | None,
    layers: int | None,
    normalized: bool | None,
    query_prompt: str | None,
    document_prompt: str | None,
    basis: str | None,
    corpus: str | None,
    corpus_column: str | None,
    queries: str | None,
    queries_column: str | None,
    weights: str | None,
    remote_model: str | None,
    api_key: str | None,
    options: str | None,
) -> str:
    """Body of `pgembed.register_model`."""
    return registration.register(
        DATABASE,
        registration.Request(
            name,
            source,
            room.Options(dim, layers, normalized, query_prompt, document_prompt),
            basis,
            Where(corpus, corpus_column),
            Where(queries, queries_column),
            weights,
            remote_model,
            api_key,
            options,
        ),
    )


@boundary
def drop_model(name: str | None) -> None:
    """Body of `pgembed.drop_model`."""
    revisions.drop(DATABASE, name)
    registry.changed()


@boundary
def grant_model(model: str | None) -> None:
    """Body of `pgembed.grant_model`."""
    revisions.grant(DATABASE, model, to_backends=True)


@boundary
def revoke_model(model: str | None) -> None:
    """Body of `pgembed.revoke_model`."""
    revisions.grant(DATABASE, model, to_backends=False)
    registry.changed()
