"""What the kill suite kills, and on what: a server of its own, sessions that run long calls, worker processes.

Nothing here ends a process that it has not started: workers are children of the test, backends are children of the suite's own server.
"""

from __future__ import annotations

import ctypes
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgembed import postgres, server

Connection = psycopg.Connection[Any]

# kill -9 over the whole suite, and what its random numbers begin with; see tests/README.md.
KILLS = int(os.environ.get("PGEMBED_KILLS", "220"))
SEED = int(os.environ.get("PGEMBED_KILL_SEED", "1"))
SHARES = {"worker": 90, "call": 40, "writer": 30, "change": 34, "chunked": 6, "links": 10, "postmaster": 10}
PATIENCE = 60.0
# A worker's claims last so long after its death, where its backend does not end with it.
LEASE = 2
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

# As of a server that matters: what is committed survives the death of any process. Only a death of the machine is not provided for.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "restart_after_crash": "on",
    "wal_level": "replica",
    "deadlock_timeout": "200ms",
}


def portions(what: str, size: int) -> list[Any]:
    """Parameters (seed, kills) of the tests that kill one kind of process, so many times each."""
    left = math.ceil(KILLS * SHARES[what] / sum(SHARES.values()))
    made = []
    while left > 0:
        seed = 1000 * SEED + len(made)
        made.append(pytest.param(seed, min(size, left), id=f"seed {seed}, {min(size, left)} times"))
        left -= size
    return made


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what}: nothing happened for {PATIENCE:g} s"
        time.sleep(0.005)


def is_lost(error: psycopg.Error) -> bool:
    """Whether it is the connection that is gone, or the server."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "080")[:3] in ("080", "57P")


def parent(pid: int) -> int | None:
    """Of a process; None where there is none, or one that has ended and waits for somebody to take note."""
    try:
        state, number = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(number)


def children(pid: int) -> list[int]:
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [one for one in found if parent(one) == pid]


@contextmanager
def adopting() -> Iterator[None]:
    """Be the parent of processes that theirs has left, so that `bury` can take note of their end; whoever else does may take a second."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def bury(pids: Iterable[int]) -> None:
    """Take note of the end of children of ours: until then a server that is started takes them for alive."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


class Mortal:
    """A server that may be killed; ``db`` is a session on it, another one after each death."""

    def __init__(self, own: server.Server) -> None:
        self._own = own
        self.url = own.url()
        self._seen = 0
        self.db = self.connect()

    def connect(self, *, autocommit: bool = True) -> Connection:
        """A session, as soon as there can be one."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return psycopg.connect(self.url, autocommit=autocommit, prepare_threshold=None)
            except psycopg.OperationalError:
                assert time.monotonic() < end, "the server does not come back"
                time.sleep(0.01)

    def postmaster(self) -> int:
        return int((self._own.data / "postmaster.pid").read_text().split()[0])

    def is_backend(self, pid: int) -> bool:
        return parent(pid) == self.postmaster()

    def kill_backend(self, pid: int) -> None:
        """kill -9 of one of the server's processes, which ends all sessions; back when the server has recovered."""
        assert self.is_backend(pid), f"{pid} is no process of this server"
        os.kill(pid, signal.SIGKILL)
        wait_until(self._is_gone, "the death of a backend")
        self.db = self.connect()

    def kill_postmaster(self, *, alone: bool) -> None:
        """kill -9 of the server's first process, alone or with all others, and a start of it."""
        first = self.postmaster()
        others = children(first)
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + 10
        while any(parent(pid) is not None for pid in others):
            # they are its former children, and were seen to be
            if not alone or time.monotonic() > end:
                for pid in others:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            time.sleep(0.01)
        bury((first, *others))
        self.db.close()
        command = (self._own.copy.bindir / "pg_ctl", "start", "-D", self._own.data, "-l", self._own.log, "-w", "-t", "60")
        status, said = postgres.run(*command)
        while status != 0 and time.monotonic() < end:
            # the memory that processes share is still held by threads of one that has ended
            time.sleep(0.05)
            bury((first, *others))
            status, said = postgres.run(*command)
        assert status == 0, said
        self.db = self.connect()

    def must_be_well(self) -> None:
        """No process of the server has died but by our hand."""
        told = self._own.log.read_text("utf-8", "replace")
        new, self._seen = told[self._seen :], len(told)
        bad = [
            line
            for line in new.splitlines()
            if "PANIC" in line or "invalid page" in line or ("terminated by signal" in line and "signal 9" not in line)
        ]
        assert not bad, bad

    def _is_gone(self) -> bool:
        try:
            self.db.execute("SELECT")
        except psycopg.OperationalError:
            self.db.close()
            return True
        return False


class Caller(threading.Thread):
    """A session that runs a statement again and again, and comes back after each death of its backend."""

    def __init__(self, mortal: Mortal, statement: str) -> None:
        super().__init__(daemon=True)
        self._mortal = mortal
        self.statement = statement
        self._stop_asked = threading.Event()
        self.errors: list[str] = []
        self.pid = 0
        self.calls = 0
        self.is_calling = False
        self.start()

    def run(self) -> None:
        session: Connection | None = None
        while not self._stop_asked.is_set():
            try:
                if session is None:
                    session = self._mortal.connect()
                    self.pid = session.info.backend_pid
                self.is_calling = True
                session.execute(self.statement.encode())
                self.calls += 1
            except psycopg.Error as error:
                if not is_lost(error):
                    self.errors.append(f"{self.statement}: {error.sqlstate} {error}")
                if session is not None and session.closed:
                    session = None
            finally:
                self.is_calling = False
            time.sleep(0.005)
        if session is not None:
            session.close()

    def end(self) -> None:
        """Stop; it must not have met any error but deaths."""
        self._stop_asked.set()
        self.join(PATIENCE)
        assert not self.is_alive(), f"{self.statement} hangs"
        assert not self.errors, self.errors


class Worker:
    """A process ``pgembed worker``; what it says goes to a file."""

    def __init__(self, mortal: Mortal, log: Path, *arguments: str) -> None:
        self.log = log
        command = [sys.executable, "-P", "-m", "pgembed.cli", "worker", mortal.url, "--lease", str(LEASE), "--poll", "0.2", *arguments]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"it has ended by itself: {self.said()}"
        return ": ready" in self.said()

    def kill(self) -> None:
        assert self.process.poll() is None, f"it has ended by itself: {self.said()}"
        self.process.kill()
        assert self.process.wait(PATIENCE) == -signal.SIGKILL

    def stop(self) -> None:
        """Let it end, as it must."""
        assert self.process.poll() is None, f"it has ended by itself: {self.said()}"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.said()
        self.must_be_well()

    def must_be_well(self) -> None:
        """Deaths of others are no fault of a row, of a model or of its own."""
        said = self.said()
        for bad in ("Traceback", "is paused", "is left to others"):
            assert bad not in said, said

    def forget(self) -> None:
        """Make sure that it is gone, whatever the test has come to."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def pause(drawn: random.Random, longest: float, shortest: float = 0.0) -> float:
    """Sleep for a random time; the seconds."""
    seconds = drawn.uniform(shortest, longest)
    time.sleep(seconds)
    return seconds
