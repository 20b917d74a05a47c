"""deploy: put the extension into a server of this machine that exists already.

Two things are written into the system: the extension's files into the server's own folder, and one ``.pth`` line which tells the
Python that PostgreSQL embeds where this installation's packages are. The line acts inside PostgreSQL only; other programs
see nothing of it. Root writes both, and no setting of the server says where Python code comes from.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from pgembed import __version__, errors, install
from pgembed.clientdb import connect
from pgembed.postgres import SUPPORTED

OLDEST_VECTOR = (0, 8)
PTH = "pgembed.pth"
SYSTEM_COMMAND = "/var/lib/pgembed/venv/bin/pgembed"  # where docker/install puts it as root

# Asked inside the server, for its interpreter may be another than the one this runs in.
PROBE = """
CREATE FUNCTION pg_temp.pgembed_probe() RETURNS text LANGUAGE plpython3u AS $python$
import json, os, site, sys
return json.dumps({
    "version": sys.version_info[:2],
    "folders": [path for path in site.getsitepackages() if os.path.isdir(path)],
})
$python$
"""


@dataclass(frozen=True)
class Target:
    """What a server says about itself."""

    extension: Path  # its folder of extensions
    python: tuple[int, int]
    site: Path  # where its Python looks for .pth files


def deploy(url: str) -> Iterator[str]:
    """Install the extension into the server and database that a libpq URL names, or update it; a line for each step.

    Raises:
        errors.InsufficientPrivilege: a superuser in the database and root on the machine are needed.
        errors.NotReady: something the server needs is not installed; the hint names it.
        errors.NotSupported: the server is too old, too new, or on another machine.
    """
    packages = Path(sysconfig.get_path("purelib"))
    try:
        with connect(url, application_name="pgembed install") as connection:
            target = examine(connection)
            _check_packages(packages, target)
            yield from _write(target, packages)
        # A backend starts its own Python, which reads the line then: a new connection is all that it takes, no restart.
        with connect(url, application_name="pgembed install") as connection:
            yield from _create(connection)
    except psycopg.Error as error:
        raise errors.NotReady("the server refused a step of the installation", detail=str(error).strip()) from None


def examine(connection: psycopg.Connection[Any]) -> Target:
    """Ask a server whether pgembed can be installed into it.

    Raises:
        errors.PgembedError: it cannot, see `deploy`.
    """
    version = connection.info.server_version // 10000
    if version not in SUPPORTED:
        supported = f"pgembed runs on {SUPPORTED[0]} to {SUPPORTED[-1]}."
        raise errors.NotSupported(f"the server is PostgreSQL {version}", hint=supported)
    if connection.info.parameter_status("is_superuser") != "on":
        role = _value(connection, "SELECT current_user")
        raise errors.InsufficientPrivilege(f'role "{role}" is not a superuser', hint="Name one in the URL.")
    extension = Path(_value(connection, "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")) / "extension"
    _check_place(connection.info.backend_pid, extension)
    _check_extensions(connection, version)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
            connection.execute(PROBE)
            said = json.loads(_value(connection, "SELECT pg_temp.pgembed_probe()"))
    except psycopg.Error as error:
        raise errors.NotReady("PL/Python does not work in this server", detail=str(error).strip()) from None
    if not said["folders"]:
        raise errors.NotReady("the server's Python has no folder for packages", hint="Install Debian's package python3.")
    return Target(extension, tuple(said["version"]), Path(said["folders"][0]))


def pth_line(packages: Path) -> str:
    """The line of the ``.pth`` file: it adds a folder to sys.path in a process whose program is ``postgres``, and only there.

    The program's name ends in " (deleted)" while a package upgrade has replaced it under a running server.
    """
    program = "os.path.basename(os.path.realpath('/proc/self/exe'))"
    return f"import os, sys; {program}.split(' ')[0] == 'postgres' and sys.path.append({str(packages)!r})\n"


def _value(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def _check_place(backend: int, extension: Path) -> None:
    # A server elsewhere may well use the same paths; but the process that serves us is not here too.
    process = Path(f"/proc/{backend}/comm")
    if not (extension.is_dir() and process.exists() and process.read_text().strip() == "postgres"):
        raise errors.NotSupported("the server does not run on this machine", hint="Run this on the server's machine, or in its container.")


def _check_extensions(connection: psycopg.Connection[Any], version: int) -> None:
    offered = dict(connection.execute("SELECT name, default_version FROM pg_available_extensions").fetchall())
    if "plpython3u" not in offered:
        raise errors.NotReady("PL/Python is not installed", hint=f"On Debian: apt-get install postgresql-plpython3-{version}.")
    vector = offered.get("vector", "0")
    if tuple(map(int, vector.split(".")[:2])) < OLDEST_VECTOR:
        found = f"is {vector}" if "vector" in offered else "is not installed"
        raise errors.NotReady(
            f"pgvector {found}, and 0.8 or newer is needed",
            hint=f"On Debian 13: apt-get install postgresql-{version}-pgvector. Elsewhere docker/install builds it.",
        )


def _check_packages(packages: Path, target: Target) -> None:
    if sys.version_info[:2] != target.python:
        wanted = ".".join(map(str, target.python))
        raise errors.NotSupported(
            f"the server embeds Python {wanted}, and this installation is for {sys.version_info[0]}.{sys.version_info[1]}",
            hint=f"Make a virtual environment with /usr/bin/python{wanted}; docker/install does.",
        )
    for folder in (packages, *packages.parents):
        found = folder.stat()
        others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid != 0 else 0)
        if found.st_uid != 0 or found.st_mode & others or not found.st_mode & stat.S_IXOTH:
            raise errors.InsufficientPrivilege(
                f"the server would run code from {packages}, but {folder} is not root's alone, or is closed to the server",
                hint=f"Install for the system: sudo docker/install, then sudo {SYSTEM_COMMAND} install URL.",
            )


def _write(target: Target, packages: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        hint = f"sudo {Path(sys.prefix) / 'bin' / 'pgembed'} install URL"
        raise errors.InsufficientPrivilege(f"only root may write into {target.extension}", hint=hint)
    mask = os.umask(0o022)
    try:
        written = install.write_extension(target.extension)
        yield f"wrote {len(written)} files of extension pgembed {__version__} into {target.extension}"
        line, path = pth_line(packages), target.site / PTH
        if not path.exists() or path.read_text() != line:
            path.write_text(line)
            yield f"wrote {path}: PostgreSQL's Python finds {packages}"
    finally:
        os.umask(mask)


def _create(connection: psycopg.Connection[Any]) -> Iterator[str]:
    found = _value(connection, "SELECT extversion FROM pg_extension WHERE extname = 'pgembed'")
    if found is None:
        connection.execute("CREATE EXTENSION pgembed CASCADE")
        yield f"created extension pgembed {__version__}"
    elif found != __version__:
        connection.execute(f"ALTER EXTENSION pgembed UPDATE TO '{__version__}'")
        yield f"updated extension pgembed from {found} to {__version__}"
    dim = _value(connection, "SELECT cardinality(pgembed.embed('hello')::real[])")
    yield f"pgembed.embed gives a vector of {dim} dimensions"
