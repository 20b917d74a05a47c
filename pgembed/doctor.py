"""doctor: look at an installation and at a database, and say what is wrong with them and what to do. It changes nothing.

What is inside of a database `pgembed.doctor()` looks at in SQL (see `pgembed.diagnosis`), for whoever has no shell on the server, too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pgembed import __version__, errors, install, models, server
from pgembed.models import store
from pgembed.postgres import Postgres

SERVER_PACKAGES = ("numpy", "onnxruntime", "tokenizers")
AGAIN = "Run docker/install again."


@dataclass(frozen=True)
class Check:
    """One thing looked at; a remedy says that it is wrong."""

    subject: str
    found: str
    remedy: str | None = None


def examine(url: str | None = None) -> Iterator[Check]:
    """Look at everything, in the order in which faults follow from each other.

    Args:
        url: a database to look into too.
    """
    yield Check("pgembed", f"{__version__} in {Path(__file__).parent}")
    for name in SERVER_PACKAGES:
        yield _package(name)
    yield _definitions()
    yield from _postgres()
    yield from _models()
    if url is not None:
        yield from _database(url)


def _package(name: str) -> Check:
    try:
        return Check(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "not installed", AGAIN)


def _definitions() -> Check:
    try:
        return Check("SQL definitions", f"{len(install.definitions())} files")
    except errors.PgembedError as error:
        return Check("SQL definitions", error.message, AGAIN)


def _postgres() -> Iterator[Check]:
    try:
        found = Postgres.find(server.default_home())
    except errors.PgembedError as error:
        yield Check("PostgreSQL", error.message, error.hint)
        return
    yield Check("PostgreSQL", f"{found.version} in {found.bindir}")
    vector = found.vector_version()
    new_enough = vector is not None and install.version_key(vector)[:2] >= (0, 8)
    yield Check("pgvector", vector or "not installed", None if new_enough else "0.8 or newer is needed. " + AGAIN)
    linked = subprocess.run(["ldd", found.pkglibdir / "plpython3.so"], capture_output=True, text=True).stdout
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    yield Check("Python", own, None if f"libpython{own}.so" in linked else f"The server embeds another Python. {AGAIN}")
    private = server.Server(system=found)
    yield Check("private server", f"{'runs' if private.running() else 'does not run'}, {private.folder}")


def _models() -> Iterator[Check]:
    known = store.names()
    if not known:
        yield Check("models", f"none in {store.models_dir()}", AGAIN)
    for name in known:
        try:
            store.verify(store.place_of(name))
            info = models.info(name)
        except errors.PgembedError as error:
            yield Check(f"model {name}", f"damaged: {error.message}", f"pgembed model remove {name}, then install it again. {AGAIN}")
        else:
            yield Check(f"model {name}", f"{info.kind}, {info.dim} dimensions, {info.precision}, checksums verified")


def _database(url: str) -> Iterator[Check]:
    import psycopg  # a client's package; all the rest is looked at without it

    from pgembed.clientdb import connect

    try:
        with connect(url) as connection:
            row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'pgembed'").fetchone()
            if row is None:
                yield Check("extension", "not in this database", "pgembed install URL.")
                return
            old = None if row[0] == __version__ else "pgembed install URL updates it."
            yield Check("extension", row[0], old)
            if old is None:  # else its functions may be other ones
                for severity, subject, finding, remedy in connection.execute("SELECT * FROM pgembed.doctor()").fetchall():
                    yield Check(subject, f"{severity}: {finding}", remedy)
            row = connection.execute("SELECT cardinality(pgembed.embed('hello')::real[])").fetchone()
            yield Check("pgembed.embed", f"a vector of {row[0] if row else 0} dimensions")
    except errors.NotReady as error:
        yield Check("database", error.detail or error.message, error.hint)
    except psycopg.Error as error:
        yield Check("database", str(error).strip(), "Read what the server says.")
