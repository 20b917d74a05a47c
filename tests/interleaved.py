"""Interleavings: sessions in threads that go on one step at a time, in every order that there is, as PostgreSQL's isolationtester does it.

https://github.com/postgres/postgres/blob/master/src/test/isolation/README. A session's body says where a step begins by calling its gate.
A step that waits for another session's lock is left alone, and goes on when that lock is free; who waits has no next step, so that only
those orders are tried that can be. Each order is a run from the start: what was chosen before is chosen again, then something else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from support import PATIENCE, Connection

# Begins a step, once it is this session's turn. One that only looks again whether others have gone on comes when nobody else can.
Gate = Callable[..., None]

# For how long a step is left in peace before the server is asked what it waits for, and between two such questions; in seconds.
_FIRST, _NEXT = 0.003, 0.001


class Abandoned(BaseException):
    """Raised in a session whose run is over."""


@dataclass
class Session:
    """One of those that go on at the same time.

    Attributes:
        body: runs in a thread of its own; its first step begins with its first call of the gate.
        pid: of its backend.
        errors: what its body has to say of the run; an exception that leaves the body ends the run.
    """

    name: str
    pid: int
    body: Callable[[Gate], None]
    errors: list[str] = field(default_factory=list)


class _Tree:
    """What has been chosen where, so that the next run chooses something else."""

    def __init__(self) -> None:
        self.strayed = 0
        self._path: list[tuple[list[int], int]] = []  # what there was to choose from, and what was chosen
        self._at = 0
        self._is_lost = False

    def begin(self) -> None:
        self._at, self._is_lost = 0, False

    def choose(self, options: list[int]) -> int:
        if self._is_lost:
            return options[0]
        if self._at == len(self._path):
            self._path.append((options, options[0]))
        chosen = self._path[self._at][1]
        if chosen not in options:
            # something has waited longer, or shorter, than the last time; what is behind this is not looked for any more
            del self._path[self._at + 1 :]
            self._is_lost = True
            self.strayed += 1
            return options[0]
        self._at += 1
        return chosen

    def has_more(self) -> bool:
        while self._path:
            options, chosen = self._path.pop()
            if chosen != options[-1]:
                self._path.append((options, options[options.index(chosen) + 1]))
                return True
        return False


class _Thread(threading.Thread):
    """A session that runs, or stands before a gate."""

    def __init__(self, session: Session, changed: threading.Condition) -> None:
        super().__init__(name=session.name, daemon=True)
        self.session = session
        self.crash: BaseException | None = None
        self.state = "running"  # then ready, looks, ended
        self.step = ""
        self.is_over = False
        self._changed = changed

    def gate(self, step: str, *, looks: bool = False) -> None:
        with self._changed:
            self.step, self.state = step, "looks" if looks else "ready"
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.state == "running" or self.is_over)
            if self.is_over:
                raise Abandoned

    def run(self) -> None:
        try:
            self.session.body(self.gate)
        except Abandoned:
            pass
        except BaseException as error:  # said by whoever waits for it
            self.crash = error
        with self._changed:
            self.state = "ended"
            self._changed.notify_all()


class Explorer:
    """All orders of the steps of some sessions.

    Args:
        watching: a connection in autocommit mode that no session uses.
        first: the number of the only session that may begin, where they are all alike.
    Attributes:
        runs: how many orders have been tried.
        strayed: how many of them took another way than before, because something has waited longer, or shorter.
    """

    def __init__(self, watching: Connection, *, first: int | None = None) -> None:
        self._watching = watching
        self._first = first
        self._tree = _Tree()
        self._told: list[str] = []
        self.runs = 0

    @property
    def strayed(self) -> int:
        return self._tree.strayed

    @property
    def story(self) -> str:
        """The steps of this run."""
        return "the steps were:\n  " + "\n  ".join(self._told)

    def orders(self, make: Callable[[], Sequence[Session]], after_step: Callable[[], None] | None = None) -> Iterator[list[Session]]:
        """Run the sessions in every order, one run for each turn of the caller's loop, and yield them when they have ended.

        Args:
            make: the sessions, from the same start each time.
            after_step: called when a step has ended or waits.
        Raises:
            AssertionError: a session crashed, or everything waits; with the steps so far.
        """
        while True:
            self._told = []
            self._tree.begin()
            sessions = list(make())
            self._run(sessions, after_step)
            self.runs += 1
            yield sessions
            if not self._tree.has_more():
                return

    def _run(self, sessions: Sequence[Session], after_step: Callable[[], None] | None) -> None:
        changed = threading.Condition()
        threads = [_Thread(session, changed) for session in sessions]
        for thread in threads:
            thread.start()
        try:
            while (chosen := self._next(threads, changed, after_step)) is not None:
                self._told.append(f"{chosen.name}: {chosen.step}")
                with changed:
                    chosen.state = "running"
                    changed.notify_all()
        finally:
            self._end(threads, changed)
        for thread in threads:
            if thread.crash is not None:
                raise AssertionError(f"{thread.name} crashed: {thread.crash!r}\n{self.story}") from thread.crash

    def _next(self, threads: Sequence[_Thread], changed: threading.Condition, after_step: Callable[[], None] | None) -> _Thread | None:
        """Whose turn it is; None where all have ended."""
        while True:
            self._settle(threads, changed)
            if after_step is not None and self._told:
                after_step()
            states = [thread.state for thread in threads]
            for wanted in ("ready", "looks"):
                options = [number for number, state in enumerate(states) if state == wanted]
                if not self._told and self._first is not None:
                    options = [self._first]
                if options:
                    return threads[self._tree.choose(options)]
            if "running" not in states:
                return None
            # everybody waits for everybody, and PostgreSQL ends that
            with changed:
                if not changed.wait_for(lambda before=states: [thread.state for thread in threads] != before, PATIENCE):
                    raise AssertionError(f"all sessions wait\n{self.story}")

    def _settle(self, threads: Sequence[_Thread], changed: threading.Condition) -> None:
        """Wait until everybody stands before a gate, has ended, or waits for another session's lock."""
        end = time.monotonic() + PATIENCE
        wait = _FIRST
        while True:
            with changed:
                changed.wait_for(lambda: not any(thread.state == "running" for thread in threads), wait)
                running = [thread.session.pid for thread in threads if thread.state == "running"]
            if not running or (wait != _FIRST and self._are_blocked(running, [thread.session.pid for thread in threads])):
                return
            wait = _NEXT
            if time.monotonic() > end:
                raise AssertionError(f"a step neither ends nor waits for another session\n{self.story}")

    def _are_blocked(self, running: list[int], everybody: list[int]) -> bool:
        row = self._watching.execute(
            "SELECT bool_and(pg_isolation_test_session_is_blocked(pid, %s)) FROM unnest(%s::int[]) AS r (pid)", [everybody, running]
        ).fetchone()
        return row == (True,)

    def _end(self, threads: Sequence[_Thread], changed: threading.Condition) -> None:
        with changed:
            left = [thread for thread in threads if thread.state != "ended"]
            for thread in left:
                thread.is_over = True
            changed.notify_all()
        for thread in left:
            if thread.state == "running":
                self._watching.execute("SELECT pg_cancel_backend(%s)", [thread.session.pid])
            thread.join(PATIENCE)
