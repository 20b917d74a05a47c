"""progressing: how far a long call is, as a bar where stderr is a terminal. Elsewhere nothing is drawn, and the server's own lines do.

A second session reads the view pgembed.progress, which tells what the first one's backend does.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgembed.clientdb import Session

_SECONDS = 0.3
# What is looked at: kind of call, target, done, total.
Seen = tuple[str, str, int, "int | None"]


@contextmanager
def bar(session: Session, url: str) -> Iterator[None]:
    """Show how far the session's calls are while a block runs."""
    made = _bar() if sys.stderr.isatty() else None
    if made is None:
        yield
        return
    from pgembed.clientdb import connected

    pid = session.connection.info.backend_pid
    done = threading.Event()
    say, session.say = session.say, made.write

    def follow() -> None:
        from pgembed import errors

        try:
            with connected(url) as connection:
                while not done.is_set():
                    row = connection.execute("SELECT what, target, done, total FROM pgembed.progress WHERE pid = %s", [pid]).fetchone()
                    if row is not None:
                        made.show(*row)
                    done.wait(_SECONDS)
        except errors.PgembedError:  # it is only a picture
            return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        made.close()
        session.say = say


class Bar:
    """A bar of tqdm's that starts anew with each call."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._now: Any = None
        self._of: tuple[str, str] | None = None

    def show(self, what: str, target: str, done: int, total: int | None) -> None:
        """Draw what is known."""
        if self._of != (what, target):
            self.close()
            self._of = (what, target)
            # a terminal that does not know its size would get no bar
            wide = {"dynamic_ncols": True} if os.get_terminal_size(sys.stderr.fileno()).columns else {"ncols": 79, "nrows": 24}
            self._now = self._make(total=total, desc=f"{what} {target}", unit="", leave=False, file=sys.stderr, **wide)
        if self._now.total != total:
            self._now.total = total
        self._now.update(done - self._now.n)
        self._now.refresh()

    def write(self, line: str) -> None:
        """A line above the bar."""
        self._make.write(f"pgembed: {line}", file=sys.stderr)

    def close(self) -> None:
        """Take it away."""
        if self._now is not None:
            self._now.close()
            self._now, self._of = None, None


def _bar() -> Bar | None:
    """None where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return Bar(tqdm)
