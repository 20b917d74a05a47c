"""server: a PostgreSQL server of our own, which needs no write into the system's folders. Standard library only.

It lives in one folder below the home of the installation::

    server-15/pgsql/                     the program: copies of the binaries, links to the rest, our extension's files
    server-15/data/                      the cluster
    server-15/run/                       its socket, where the path is short enough
    server-15/log/postgresql.log
    server-15/*.conf                     ours, outside of data: root writes nothing where the server's user may write
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from pgembed import __version__, errors, install, postgres

# A socket's path is at most 107 bytes on Linux (sun_path, with its terminating zero 108); the name is /.s.PGSQL.NNNNN.
SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.65535")
# Below those that Linux gives to outgoing connections, above those that services usually have; never 5432.
PORTS = range(20000, 32000)
START_SECONDS = 120
_NAME = re.compile(r"[A-Za-z0-9_-]+")
OTHERS = "Run this as its owner, or set PGEMBED_HOME to a folder of your own."

INITDB = ("-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=peer", "--auth-host=scram-sha-256")

HBA = """\
# Written once; yours to edit. Without a password only the system's users named in pg_ident.conf are let in, as postgres.
local  all  postgres              peer map=pgembed
local  all  all                   scram-sha-256
host   all  all      127.0.0.1/32  scram-sha-256
host   all  all      ::1/128       scram-sha-256
"""
HBA_ANYWHERE = "host   all  all      all           scram-sha-256\n"

# The event triggers are off because older ones may call functions that the newer package no longer has.
DROP_UNUSED = """
BEGIN;
DO $body$
DECLARE trigger name; known text; used boolean;
BEGIN
    FOR trigger IN
        SELECT t.evtname
        FROM pg_event_trigger AS t
        JOIN pg_depend AS d ON d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e'
        JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pgembed'
    LOOP
        EXECUTE format('ALTER EVENT TRIGGER %I DISABLE', trigger);
    END LOOP;
    -- Older definitions may lack any of today's tables: what stands in a column of type regclass is a relation in use.
    FOR known IN
        SELECT format('SELECT FROM %s AS k JOIN pg_class AS c ON c.oid = k.%I AND c.relnamespace IS DISTINCT FROM to_regnamespace(%L)',
                      a.attrelid::regclass, a.attname, 'demo')
        FROM pg_attribute AS a JOIN pg_class AS t ON t.oid = a.attrelid AND t.relkind = 'r'
        WHERE t.relnamespace = to_regnamespace('pgembed') AND a.atttypid = 'regclass'::regtype
        UNION ALL
        SELECT format('SELECT FROM %s', to_regclass('pgembed._model')) WHERE to_regclass('pgembed._model') IS NOT NULL
    LOOP
        EXECUTE format('SELECT EXISTS (%s)', known) INTO used;
        IF used THEN
            RAISE EXCEPTION 'somebody uses it';
        END IF;
    END LOOP;
END $body$;
DROP SCHEMA IF EXISTS demo CASCADE;
DROP EXTENSION pgembed;
COMMIT;
"""

CONF = "# Written at each start; settings of your own belong into data/postgresql.conf.\n"
UNSAFE = """\
# A server to be thrown away: nothing in it need survive a crash.
fsync = off
full_page_writes = off
synchronous_commit = off
# so that tests can replicate it
wal_level = logical
# a benchmark's table and its indexes; memory is taken as it is used
shared_buffers = 1GB
"""


def default_home() -> Path:
    """The folder of the installation: PGEMBED_HOME, else the one this Python is a part of, else the user's own."""
    given = os.environ.get("PGEMBED_HOME")
    if given:
        return Path(given).resolve()
    beside = Path(sys.prefix).parent
    if (beside / "postgresql-version").is_file():
        return beside
    if os.geteuid() == 0:
        return Path("/var/lib/pgembed")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "pgembed"


class Server:
    """A cluster of our own below ``home``; nothing is made before ``start``.

    Args:
        home: the folder of the installation.
        name: tells several clusters of one home apart; "" is the usual one.
        system: the installed PostgreSQL to run; by default the one docker/install chose, else the newest that will do.
    Raises:
        errors.InvalidParameter: the name is no part of a folder's name.
    """

    def __init__(self, home: Path | None = None, *, name: str = "", system: postgres.Postgres | None = None) -> None:
        if name and not _NAME.fullmatch(name):  # a path would lead out of home, and remove deletes what it leads to
            raise errors.InvalidParameter(f'invalid name of a server "{name}"', hint="A name has letters, digits, underscores and hyphens.")
        self.home = home or default_home()
        self.system = system or postgres.Postgres.find(self.home)
        self.folder = self.home / "-".join(filter(None, ("server", str(self.system.version), name)))
        self.data = self.folder / "data"
        self.log = self.folder / "log" / "postgresql.log"
        self.copy = self.system.private_copy(self.folder / "pgsql")

    def start(self, *, throw_away: bool = False, listen: str = "127.0.0.1") -> None:
        """Start the cluster, making it if need be; a running one is left alone.

        Args:
            throw_away: begin with a new, empty cluster that is fast and does not survive a crash.
            listen: TCP addresses as in listen_addresses.
        Raises:
            errors.NotReady: the server does not start; the detail has the end of its log.
        """
        with self._locked():
            if throw_away:
                self._stop("immediate")
                self._remove()
            elif self.running():
                return
            self.copy.build()
            install.write_extension(self.copy.extension)
            if not self.data.exists():
                self._create()
            self._configure(listen, UNSAFE if throw_away else "")
            postgres.own_folder(self.log.parent)
            status, said = self._run("pg_ctl", "start", "-D", self.data, "-l", self.log, "-w", "-t", str(START_SECONDS))
            if status != 0:
                end = self.log.read_text("utf-8", "replace").splitlines()[-10:] if self.log.exists() else [said]
                hint = f"Its log is {self.log}."
                raise errors.NotReady("the private server does not start", hint=hint, detail="\n".join(end))
            if self.query("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'") != str(self.copy.sharedir):
                self._stop("fast")
                raise errors.NotSupported(
                    f"this PostgreSQL {self.system.version} does not look for extensions relative to its executable",
                    hint="Put pgembed into a server of the system: pgembed install URL.",
                )

    def stop(self) -> bool:
        """Stop the server, ending its sessions; False if it was not running."""
        if not self.folder.exists():
            return False
        with self._locked():
            return self._stop("fast")

    def remove(self) -> None:
        """Stop the server and delete its cluster with all that is in it."""
        if self.folder.exists():
            with self._locked():
                self._stop("immediate")
                self._remove()
            shutil.rmtree(self.folder)

    def running(self) -> bool:
        """Whether the server runs."""
        self._check_owner()
        return self.data.exists() and self._run("pg_ctl", "status", "-D", self.data)[0] == 0

    def url(self, database: str = "postgres") -> str:
        """The libpq URL of the running server, for the superuser over the local socket.

        Raises:
            errors.NotReady: it does not run.
        """
        # What the server itself says, for ALTER SYSTEM may have changed the port.
        try:
            _, _, _, port, folder, *_ = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, ValueError):
            raise errors.NotReady("the private server is not running", hint="Start it: pgembed server start.") from None
        return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(folder, safe='')}&port={port}"

    def install_extension(self) -> bool:
        """Create or update the extension in the database ``postgres``.

        Its objects may be older ones of the same version, as after a pull of a checkout, or while somebody works on ``sql/``. Where nobody
        but the demo has used them they are made anew.

        Returns:
            False where older ones stay, for somebody's tables or models need them.
        """
        made = self.folder / "extension.sha256"
        script = hashlib.sha256(install.extension_script().encode()).hexdigest()
        with self._locked():
            install.write_extension(self.copy.extension)
            found = self.query("SELECT extversion FROM pg_extension WHERE extname = 'pgembed'")
            if found == __version__:
                if made.exists() and made.read_text() == script:
                    return True
                if not self._drop_unused():
                    return False
                self.query("CREATE EXTENSION pgembed CASCADE")
            elif found:
                self.query(f"ALTER EXTENSION pgembed UPDATE TO '{__version__}'")
            else:
                self.query("CREATE EXTENSION pgembed CASCADE")
            made.write_text(script)
            return True

    def query(self, statement: str) -> str:
        """Run one statement through psql and return what it prints, unaligned.

        Raises:
            errors.NotReady: the statement fails; the detail says what the server said.
        """
        command = [str(self.copy.bindir / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url()]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGOPTIONS": "-c client_min_messages=warning"}
        # Through its input: a command line, and a password on it, can be read by every user of the machine.
        result = subprocess.run(command, env=environment, input=statement, capture_output=True, text=True)
        if result.returncode != 0:
            raise errors.NotReady("the private server refused a statement", detail=result.stderr.strip())
        return result.stdout.strip()

    def psql(self, arguments: Sequence[str] = ()) -> NoReturn:
        """Become psql on the server."""
        os.execv(self.copy.bindir / "psql", ["psql", "-d", self.url(), *arguments])

    def run(self, *, listen: str = "127.0.0.1", port: int | None = None, password: str | None = None) -> NoReturn:
        """Become the server, in the foreground, with the extension installed: what a container runs.

        Args:
            listen: TCP addresses as in listen_addresses.
            port: the TCP port, where the usual choice of a free one is not wanted.
            password: of the role postgres, for connections over TCP.
        """
        self.start()
        self.install_extension()
        if password:
            escaped = password.replace("'", "''")
            self.query(f"SET standard_conforming_strings = on; ALTER ROLE postgres PASSWORD '{escaped}'")
        self.stop()
        self._configure(listen, port=port)
        if os.geteuid() == 0:
            user = postgres.account()
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        os.chdir("/")
        program = str(self.copy.bindir / "postgres")  # in full also as its own name: by that it finds its libraries
        os.execve(program, [program, "-D", str(self.data)], postgres.environment())

    def _drop_unused(self) -> bool:
        """Drop the extension and the demo's schema where nothing else uses them; False, and nothing dropped, where something does."""
        try:
            self.query(DROP_UNUSED)
        except errors.NotReady:
            return False
        return True

    def _create(self) -> None:
        # Made under another name, so that one cut short is never taken for a cluster.
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        postgres.own_folder(unfinished)
        status, said = self._run("initdb", "-D", unfinished, *INITDB)
        if status == 0:
            conf = unfinished / "postgresql.conf"
            status, said = postgres.run(Path("/usr/bin/tee"), "-a", conf, text="\ninclude '../pgembed.conf'\n")
        if status != 0:
            raise errors.NotReady("the private server's cluster could not be made", detail=said)
        unfinished.rename(self.data)

    def _configure(self, listen: str, more: str = "", *, port: int | None = None) -> None:
        """Write the settings that are ours, at each start: the port may be taken by now, the socket's folder gone."""
        conf = self.folder / "pgembed.conf"
        known = postgres.read_settings(conf)
        if port is None:
            port = int(known.get("port", 0))
            if port not in PORTS or not postgres.is_free(port):
                port = next(filter(postgres.is_free, random.sample(PORTS, len(PORTS))))
        values = {
            "port": str(port),
            "listen_addresses": listen,
            "unix_socket_directories": str(self._socket_folder(known.get("unix_socket_directories"))),
            "hba_file": str(self.folder / "pg_hba.conf"),
            "ident_file": str(self.folder / "pg_ident.conf"),
            "cluster_name": self.folder.name,
        }
        lines = (f"{name} = {postgres.quoted(value)}\n" for name, value in values.items())
        conf.write_text("".join((CONF, *lines, more)))
        hba, ident = self.folder / "pg_hba.conf", self.folder / "pg_ident.conf"
        rules = hba.read_text() if hba.exists() else HBA
        anywhere = listen not in ("127.0.0.1", "localhost", "") and HBA_ANYWHERE not in rules
        hba.write_text(rules + HBA_ANYWHERE * anywhere)
        if not ident.exists():
            users = sorted({postgres.account().pw_name, "root", pwd.getpwuid(os.geteuid()).pw_name})
            ident.write_text("".join(f'pgembed  "{user}"  postgres\n' for user in users))

    def _socket_folder(self, known: str | None) -> Path:
        folder = self.folder / "run"
        # A comma would end the path in the setting.
        if len(os.fsencode(folder)) > SOCKET_FOLDER_BYTES or "," in str(folder):
            if known and postgres.is_private(Path(known)):
                return Path(known)
            folder = Path(tempfile.mkdtemp(prefix="pgembed-", dir="/tmp"))
        postgres.own_folder(folder)
        return folder

    def _stop(self, mode: str) -> bool:
        if not self.running():
            return False
        status, said = self._run("pg_ctl", "stop", "-D", self.data, "-m", mode, "-w", "-t", str(START_SECONDS))
        if status != 0:
            raise errors.NotReady("the private server does not stop", detail=said)
        return True

    def _remove(self) -> None:
        folder = postgres.read_settings(self.folder / "pgembed.conf").get("unix_socket_directories")
        if folder and postgres.is_private(Path(folder)):
            shutil.rmtree(folder)
        for path in (self.data, self.log.parent):
            shutil.rmtree(path, ignore_errors=True)

    def _run(self, program: str, *arguments: str | Path) -> tuple[int, str]:
        return postgres.run(self.copy.bindir / program, *arguments)

    def _check_owner(self) -> None:
        if self.folder.exists() and self.folder.stat().st_uid != os.geteuid():
            raise errors.InsufficientPrivilege(f"{self.folder} belongs to another user", hint=OTHERS)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        mask = os.umask(0o022)  # the server's user must be able to read what root writes
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._check_owner()
            with open(self.folder / ".lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except PermissionError as error:
            raise errors.InsufficientPrivilege(f"{error.filename} may not be written by this user", hint=OTHERS) from None
        finally:
            os.umask(mask)
