"""postgres: an installed PostgreSQL, a private copy of it, and how its programs are run.

Standard library only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pgembed import errors

SUPPORTED = range(14, 19)
PACKAGED = Path("/usr/lib/postgresql")  # where Debian and Ubuntu put one folder for each major version


@dataclass(frozen=True)
class Postgres:
    """The folders of one PostgreSQL, as its pg_config tells them."""

    version: int
    bindir: Path
    sharedir: Path
    pkglibdir: Path

    @classmethod
    def find(cls, home: Path | None = None) -> Postgres:
        """The installed PostgreSQL that the installation in ``home`` chose, else the newest with PL/Python.

        Raises:
            errors.FileMissing: there is none.
        """
        choice = home / "postgresql-version" if home else None
        chosen = [choice.read_text().strip()] if choice and choice.is_file() else []
        for version in [*chosen, *map(str, reversed(SUPPORTED))]:
            programs = PACKAGED / version / "bin"
            if (programs / "postgres").is_file() and (programs.parent / "lib" / "plpython3.so").is_file():
                return cls.at(programs / "pg_config")
        raise errors.FileMissing(f"no PostgreSQL {SUPPORTED[0]} to {SUPPORTED[-1]} with PL/Python is installed", hint="Run docker/install.")

    @classmethod
    def at(cls, pg_config: Path) -> Postgres:
        """The PostgreSQL that a pg_config belongs to."""
        command = [str(pg_config), "--version", "--bindir", "--sharedir", "--pkglibdir"]
        version, *folders = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return cls(int(version.split()[1].split(".")[0]), *map(Path, folders))

    @property
    def extension(self) -> Path:
        """Where the server looks for extensions."""
        return self.sharedir / "extension"

    def vector_version(self) -> str | None:
        """The version of pgvector that CREATE EXTENSION would take; None where there is none."""
        control = self.extension / "vector.control"
        if not control.is_file():
            return None
        values = (line.partition("=") for line in control.read_text().splitlines())
        return next((value.strip(" '\"") for name, _, value in values if name.strip() == "default_version"), None)

    def private_copy(self, folder: Path) -> PrivateCopy:
        """The same PostgreSQL below a folder of ours; nothing is made before its ``build``."""
        return PrivateCopy(self, folder)


class PrivateCopy:
    """A PostgreSQL that is the system's but for its folder of extensions.

    The server finds its folders relative to its own executable, links resolved. So the binaries are copies, the rest are
    links, and ``extension`` is a real folder of links in which there is room for our files.
    """

    def __init__(self, system: Postgres, folder: Path) -> None:
        self.system = system
        # What the folders have in common is what may differ (make_relative_path in PostgreSQL's src/port/path.c).
        root = Path(os.path.commonpath([system.bindir, system.sharedir, system.pkglibdir]))
        self.bindir = folder / system.bindir.relative_to(root)
        self.sharedir = folder / system.sharedir.relative_to(root)
        self.pkglibdir = folder / system.pkglibdir.relative_to(root)
        self.extension = self.sharedir / "extension"

    def build(self) -> None:
        """Make the copy, or bring it up to date with the system's: a package may have been upgraded since."""
        for folder in (self.bindir, self.extension, self.pkglibdir.parent):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for program in self.system.bindir.iterdir():
            _copy_if_other(program.resolve(), self.bindir / program.name)
        _link(self.pkglibdir, self.system.pkglibdir)
        _mirror(self.sharedir, self.system.sharedir, apart=lambda name: name == "extension")
        # The system may have a pgembed of its own, of another version.
        _mirror(self.extension, self.system.extension, apart=_is_ours)


def account() -> pwd.struct_passwd:
    """The user as whom servers run: the caller, or ``postgres`` when root calls, for PostgreSQL refuses root.

    Raises:
        errors.NotReady: there is no such user.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise errors.NotReady("there is no user postgres to run a server as", hint="Run docker/install.") from None


def environment() -> dict[str, str]:
    """All that our servers see of an environment: another Python on the caller's PATH would confuse theirs."""
    return {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PYTHONNOUSERSITE": "1",
    }


def run(program: Path, *arguments: str | Path, text: str = "") -> tuple[int, str]:
    """Run a program as the servers' user with ``text`` as input; its status, and what it said."""
    user = account()
    other = os.geteuid() == 0
    # Files, not pipes: the server that pg_ctl leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as source:
        source.write(text)
        source.seek(0)
        result = subprocess.run(
            [program, *arguments],
            env=environment(),
            cwd="/",
            user=user.pw_uid if other else None,
            group=user.pw_gid if other else None,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid) if other else None,
            umask=0o077,
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        output.seek(0)
        return result.returncode, output.read().strip()


def is_free(port: int) -> bool:
    """Whether a server could listen on a TCP port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_private(folder: Path) -> bool:
    """Whether a folder is the servers' user's and nobody else may enter it; no link to one."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == account().pw_uid and not found.st_mode & 0o077


def own_folder(folder: Path) -> None:
    """Make a folder that only the servers' user may enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, account().pw_uid, account().pw_gid, follow_symlinks=False)


def quoted(value: str) -> str:
    """A value as it is written in a configuration file."""
    return "'" + value.replace("'", "''") + "'"


def read_settings(conf: Path) -> dict[str, str]:
    """What a configuration file says that was written with `quoted`; {} where there is none."""
    if not conf.is_file():
        return {}
    pairs = (line.partition(" = ") for line in conf.read_text().splitlines() if not line.startswith("#"))
    return {name: value.removeprefix("'").removesuffix("'").replace("''", "'") for name, _, value in pairs}


def _copy_if_other(source: Path, target: Path) -> None:
    new = source.stat()
    if target.exists():
        old = target.stat()
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return
    part = target.with_name(target.name + ".part")
    shutil.copy2(source, part)
    part.replace(target)  # a program that runs can be replaced, but not written to


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _mirror(folder: Path, source: Path, *, apart: Callable[[str], bool]) -> None:
    wanted = {path.name for path in source.iterdir() if not apart(path.name)}
    for path in folder.iterdir():
        if path.name not in wanted and not apart(path.name):
            path.unlink()
    for name in wanted:
        _link(folder / name, source / name)


def _is_ours(name: str) -> bool:
    return name == "pgembed.control" or name.startswith("pgembed--")
