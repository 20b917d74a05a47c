"""encoding: the models of a worker. They are loaded in this process, once, and what it cannot load it leaves to others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from pgembed import catalogue, chunks, database, errors, vectors
from pgembed.columns import Column
from pgembed.models import threads
from pgembed.work.running import Interrupted

if TYPE_CHECKING:
    from pgembed.models import Model
    from pgembed.psycopgdb import PsycopgDatabase

# How often a hand that waits for the model looks whether it is time to go.
_LOOK_SECONDS = 0.05


class Unusable(Interrupted):
    """A column's model cannot be loaded here, which says nothing of other processes."""

    def __init__(self, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Models:
    """The models of all hands.

    Args:
        thread_count: of a local model; None for what the database says.
    """

    def __init__(self, thread_count: int | None) -> None:
        self._thread_count = thread_count
        self._computing = threading.Lock()
        self._loading = threading.Lock()

    def encoder(self, db: PsycopgDatabase, column: Column) -> Encoder:
        """`pgembed.sharing.Encoder` of a column's model, which is loaded now; ends the transaction.

        Raises:
            Unusable: this process cannot load the model; another one may.
        """
        # The caches of the catalogue are made for one thread.
        with self._loading:
            try:
                model = catalogue.resolve(db, column.model, column.fingerprint, by_backend=False)
            except (errors.PgembedError, OSError, ImportError) as error:
                raise self._unusable(db, column, error) from error
            if self._thread_count is not None:
                threads.limit(self._thread_count)
        db.commit()
        return Encoder(model, self)

    @contextmanager
    def turn(self, model: Model, check: Callable[[], None]) -> Iterator[None]:
        """Wait until the processor is free. An endpoint takes as many questions at a time as there are hands."""
        if model.info.kind == "remote":
            yield
            return
        while not self._computing.acquire(timeout=_LOOK_SECONDS):
            check()
        try:
            yield
        finally:
            self._computing.release()

    def _unusable(self, db: PsycopgDatabase, column: Column, error: Exception) -> Unusable:
        why = error.message if isinstance(error, errors.PgembedError) else str(error)
        hint = getattr(error, "hint", None)
        rows = db.execute(
            "SELECT source FROM pgembed._model WHERE name OPERATOR(pg_catalog.=) $1 AND fingerprint OPERATOR(pg_catalog.=) $2",
            ["pg_catalog.text", "pg_catalog.text"],
            [column.model, column.fingerprint],
        )
        if rows and database.server_folder is None:
            hint = (
                "Where it was registered from a folder, its files are in the server's data directory: run the worker on that machine as the"
                " server's user, or CALL pgembed.work(). Else install the model here: pgembed model add."
            )
        return Unusable(f'{column.label} is left to others: its model "{column.model}" cannot be loaded here: {why}', hint)


class Encoder:
    """`pgembed.sharing.Encoder` of a model that all hands share; ``fingerprint`` is the model's."""

    def __init__(self, model: Model, models: Models) -> None:
        self.fingerprint = model.info.fingerprint
        self._model = model
        self._models = models

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        """Images of the embeddings of texts, and which of them were cut."""
        if not texts:
            return [], []
        with self._models.turn(self._model, check):
            made = self._model.encode(texts, check, "document")
        return vectors.to_images(made.vectors), made.truncated.tolist()

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[chunks.Chunk]:
        """The chunks of a text."""
        return chunks.split(source, self._model.token_spans, tokens, overlap, check)


def find_server_folder(db: PsycopgDatabase) -> None:
    """Let models be used whose files are in the server's data directory, where this process may read there: on the same machine."""
    try:
        with db.subtransaction():
            # the role may not be told, as a rule
            place = Path(str(db.execute("SELECT pg_catalog.current_setting('data_directory') AS place")[0]["place"]))
            started = db.execute("SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS at")[0]["at"]
        # Another server's folder may be in the same place on another machine: the third line says when the server was started.
        said = (place / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        if abs(int(said[2]) - float(started)) <= 2:
            database.server_folder = place
    except (psycopg.Error, OSError, ValueError, IndexError):
        pass
