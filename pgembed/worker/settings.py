"""settings: what a worker is told when it is started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Attributes:
    url: libpq URL of the database, as a role that owns tables.
    name: which no other worker of the database has.
    host: of this machine, for people.
    table: the only one to work on, as somebody types it; None for all that the role owns.
    batch_size: rows in a claim; None for the usual number.
    poll: seconds between two looks while asleep, where no writer wakes the worker.
    awake: seconds that it stays awake after it has last found something to do.
    lease: seconds after which others may take over what a dead worker had claimed.
    once: end when nothing is left to do.
    threads: of a local model; None for what the database says.
    jobs: hands.
    indexes: build vector indexes, too.
    """

    url: str
    name: str
    host: str
    table: str | None = None
    batch_size: int | None = None
    poll: float = 5.0
    awake: float = 10.0
    lease: float = 60.0
    once: bool = False
    threads: int | None = None
    jobs: int = 2
    indexes: bool = True
