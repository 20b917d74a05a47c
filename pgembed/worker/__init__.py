"""worker: the process ``pgembed worker``, which embeds rows that others have written, from outside of the server.

The main thread (``process``) tells the database of the worker, sleeps for it and is woken for it. Each hand (``hand``), a thread with a
connection of its own, claims a batch, embeds it outside of any transaction, and writes it. Local models compute for one hand at a time,
so with two hands one reads and writes while the model works for the other. What they have in common is the ``rota``. One more thread
(``builder``) builds indexes, concurrently.
"""

from __future__ import annotations

from pgembed.worker.process import run
from pgembed.worker.settings import Settings

__all__ = ["Settings", "run"]
