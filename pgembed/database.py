"""The port between our rooms and a database: what "run a query" means to code that knows no driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Row = Mapping[str, Any]

# The data directory, where this process is a backend of the server: its working directory. Said by the code that knows.
server_folder: Path | None = None


class Database(Protocol):
    """A connection, as core rooms see it.

    Statements carry PostgreSQL's own parameters (``$1``), with the type of each value in ``types``; values never become SQL text.
    """

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, keep: bool = False) -> list[Row]:
        """Run one statement and return its rows, each a mapping of column name to value; [] where it returns none.

        Args:
            keep: its plan for the session, also where there are no values.
        """
        ...

    def stream(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, size: int) -> Iterator[list[Row]]:
        """Run one query and give its rows in parts of at most ``size``, none of them empty, all of one snapshot; memory is that of a part.

        Other statements may run between two parts. Whoever stops before the last part closes the iterator.
        """
        ...

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        """Parse and analyse a statement without running any of it.

        Raises:
            Exception: whatever the database says of the statement.
        """
        ...

    def commit(self) -> bool:
        """Commit the transaction and begin the next; False where the caller's context does not allow it (nothing is lost)."""
        ...

    def subtransaction(self) -> AbstractContextManager[object]:
        """A savepoint around a block: left by an exception, what the block did is undone."""
        ...

    def check_interrupts(self) -> None:
        """Let a cancel or a timeout take effect; pure Python sees neither."""
        ...

    def notice(self, message: str, *, hint: str | None = None) -> None:
        """Tell the caller something that is not an error."""
        ...

    def warning(self, message: str, *, hint: str | None = None) -> None:
        """Tell the caller something that needs attention."""
        ...
