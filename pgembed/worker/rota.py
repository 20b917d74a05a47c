"""rota: what the threads of a worker have in common: who rests, who looks next, what came of it, and whether it is time to go.

A hand that finds nothing rests until it is told to look. One that finds something has another one look too, so that all get up where
there is much to do, and one where there is little.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from pgembed import history
from pgembed.work.running import Interrupted

# A column that this worker cannot embed is left to others for so long; doubled each time.
FIRST_AVOIDED, LONGEST_AVOIDED = 1.0, 300.0
# The same words are not said again for so long.
QUIET_SECONDS = 30.0
# A column of which a worker has embedded so many rows was filled, rather than changed here and there.
FILLED_ROWS = 500


class Stopped(Interrupted):
    """The worker is told to end."""


@dataclass
class _Avoided:
    until: float
    seconds: float
    why: str


class Rota:
    """Shared by all threads of a worker; every method may be called by any of them.

    Args:
        name: of the worker.
        hands: how many there are.
    """

    def __init__(self, name: str, hands: int) -> None:
        self.name = name
        self.stopping = False
        self.crash: BaseException | None = None
        self.done = 0
        self.failed = 0
        self.has_paused = False
        self.last_found = time.monotonic()
        self._hands = hands
        self._resting = 0
        self._looks = 0
        self._doing: dict[int, str] = {}
        self._avoided: dict[tuple[int, str], _Avoided] = {}
        self._said: dict[str, float] = {}
        self._noted: dict[tuple[int, str], tuple[float, bool]] = {}
        self._to_note: set[tuple[int, str]] = set()
        self._embedded: dict[tuple[int, str], int] = {}
        self._changed = threading.Condition(threading.RLock())
        # Not blocking: who rings twice before anybody hears has still rung.
        self.bell, self.ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Let the main thread look around."""
        with suppress(BlockingIOError):
            os.write(self.ringer, b"\0")

    def hear(self) -> None:
        """Take note of all ringing."""
        try:
            while os.read(self.bell, 4096):
                pass
        except BlockingIOError:
            pass

    def stop(self, crash: BaseException | None = None) -> None:
        """Let all hands go home."""
        with self._changed:
            self.stopping = True
            self.crash = self.crash or crash
            self._changed.notify_all()
        self.ring()

    def check(self) -> None:
        """Raise `Stopped` where it is time to go."""
        if self.stopping:
            raise Stopped

    def rest(self) -> None:
        """Of a hand that has found nothing: wait until it is told to look again, or to go."""
        with self._changed:
            self._resting += 1
            if not self._looks:
                self.ring()
            self._changed.wait_for(lambda: self.stopping or self._looks > 0)
            self._resting -= 1
            self._looks = max(0, self._looks - 1)

    def pause(self, seconds: float) -> None:
        """Of a hand without a connection: wait, but not for long where it is time to go."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping, seconds)

    def found(self) -> None:
        """A hand has something to do; perhaps there is more."""
        with self._changed:
            self.last_found = time.monotonic()
            if self._resting > self._looks:
                self._looks += 1
                self._changed.notify()
        self.ring()

    def look(self) -> None:
        """Let one hand look; where it finds something, another one follows."""
        with self._changed:
            if not self._looks:
                self._looks = 1
                self._changed.notify()

    def is_idle(self) -> bool:
        """All hands have looked, and found nothing."""
        with self._changed:
            return self._resting == self._hands and not self._looks

    def tally(self, done: int, failed: int, column: tuple[int, str]) -> None:
        """Count rows of a column."""
        with self._changed:
            self.done += done
            self.failed += failed
            self._embedded[column] = self._embedded.get(column, 0) + done
            self._to_note.add(column)

    def notable(self, *, idle: bool) -> list[tuple[int, str]]:
        """Columns of which it is time to write down how fresh they are; they are taken to be noted now.

        Args:
            idle: the hand that asks finds nothing to do. Where the others rest, too, what was noted meanwhile is noted once more.
        """
        now = time.monotonic()
        with self._changed:
            if self.stopping:
                due = sorted(self._to_note)
                self._to_note.clear()
                return due
            idle = idle and self._resting >= self._hands - 1
            due = []
            for column in sorted(self._to_note):
                # of a short time only its end is told
                last, was_idle = self._noted.setdefault(column, (now, False))
                if now - last >= history.APART_SECONDS or (idle and not was_idle):
                    due.append(column)
                    self._noted[column] = (now, idle)
            self._to_note.difference_update(due)
            return due

    def filled(self) -> list[tuple[int, str]]:
        """The columns of which many rows were embedded since their index was last looked at."""
        with self._changed:
            return sorted(column for column, rows in self._embedded.items() if rows >= FILLED_ROWS)

    def is_indexed(self, column: tuple[int, str]) -> None:
        """A column needs no index, for now: rows are counted anew."""
        with self._changed:
            self._embedded.pop(column, None)

    def does(self, hand: int, what: str | None) -> None:
        """Say what a hand is at; None for nothing."""
        with self._changed:
            if what is None:
                self._doing.pop(hand, None)
            else:
                self._doing[hand] = what

    def doing(self) -> str | None:
        """What all hands are at."""
        with self._changed:
            return ", ".join(sorted(set(self._doing.values()))) or None

    def avoid(self, column: tuple[int, str], why: str, *, grows: bool = True) -> float:
        """Leave a column, by its table's OID and its name, to others for a while, which ``grows`` from time to time; how many seconds."""
        with self._changed:
            before = self._avoided.get(column) if grows else None
            seconds = min(before.seconds * 2, LONGEST_AVOIDED) if before else FIRST_AVOIDED
            self._avoided[column] = _Avoided(time.monotonic() + seconds, seconds, why)
            return seconds

    def worked(self, column: tuple[int, str]) -> None:
        """A column can be embedded (again)."""
        with self._changed:
            self._avoided.pop(column, None)

    def avoided(self) -> set[tuple[int, str]]:
        """The columns to leave to others now."""
        with self._changed:
            now = time.monotonic()
            return {column for column, found in self._avoided.items() if found.until > now}

    def problem(self) -> str | None:
        """Why columns are left to others."""
        with self._changed:
            return "; ".join(sorted({found.why for found in self._avoided.values()})) or None

    def say(self, message: str, hint: str | None = None) -> None:
        """A line, and perhaps a hint, to stderr; not the same one again and again."""
        with self._changed:
            now = time.monotonic()
            if now - self._said.get(message, -QUIET_SECONDS) < QUIET_SECONDS:
                return
            self._said = {said: when for said, when in self._said.items() if now - when < QUIET_SECONDS} | {message: now}
        print(f"pgembed worker {self.name}: {message}" + (f"\nhint: {hint}" if hint else ""), file=sys.stderr, flush=True)
