"""worker: the command ``pgembed worker``."""

from __future__ import annotations

import argparse
import os
import socket

from pgembed import errors
from pgembed.cli.connecting import database, room
from pgembed.cli.parsing import Group

# Many hands compute one after another, and each has a connection.
MOST_JOBS = 64


def add_commands(commands: Group) -> None:
    """The command ``pgembed worker``."""
    parser = commands.verb(
        "worker",
        _work,
        "embed the rows that need it, until a signal says stop; any number of workers share the work",
        example=["worker service=shop --name worker-1", "worker --url postgresql://localhost/shop --once"],
        database="as a role that owns the tables, or as a superuser",
    )
    parser.add_argument("--name", help="what it is called in pgembed.workers (default: the machine's name and the process's number)")
    parser.add_argument("--table", metavar="TABLE", help="work on this table only: table or schema.table")
    parser.add_argument("--batch-size", type=int, metavar="ROWS", help="claim so many rows at a time (default: by the model)")
    parser.add_argument(
        "--poll", type=float, default=5.0, metavar="SECONDS", help="look so often where no writer wakes it (default: %(default)s)"
    )
    awake = "stay awake so long after the last work; meanwhile no writer has to notify it (default: %(default)s)"
    parser.add_argument("--awake", type=float, default=10.0, metavar="SECONDS", help=awake)
    lease = "what this worker has claimed may be taken over so long after it has died (default: %(default)s)"
    parser.add_argument("--lease", type=float, default=60.0, metavar="SECONDS", help=lease)
    parser.add_argument("--once", action="store_true", help="end when nothing is left to do; the status is 1 if rows have failed")
    parser.add_argument("--threads", type=int, metavar="N", help="of a local model (default: as pgembed.set_threads() says)")
    jobs = "batches at a time, each with a connection: one computes while others read and write (default: %(default)s)"
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help=jobs)
    indexes = "build no vector indexes (default: that of a new model, and the first one of a large column that was filled; concurrently)"
    parser.add_argument("--no-indexes", action="store_true", help=indexes)


def _work(options: argparse.Namespace) -> int:
    for label, value, least, most in (
        ("--batch-size", options.batch_size, 1, 100_000),
        ("--poll", options.poll, 0.05, 86_400),
        ("--awake", options.awake, 0, 86_400),
        ("--lease", options.lease, 1, 86_400),
        ("--threads", options.threads, 1, 1024),
        ("--jobs", options.jobs, 1, MOST_JOBS),
    ):
        if value is not None and not least <= value <= most:
            raise errors.InvalidParameter(f"{label} must be from {least} to {most}, not {value}")
    host = socket.gethostname()
    name = options.name or f"{host[:40]}-{os.getpid()}"
    if not name.isprintable() or len(name) > 63:
        raise errors.InvalidParameter("--name must be of 1 to 63 letters, digits and signs", hint="Such as: --name worker-1")
    worker = room("worker", "psycopg,server")
    status: int = worker.run(
        worker.Settings(
            url=database(options),
            name=name,
            host=host,
            table=options.table,
            batch_size=options.batch_size,
            poll=options.poll,
            awake=options.awake,
            lease=options.lease,
            once=options.once,
            threads=options.threads,
            jobs=options.jobs,
            indexes=not options.no_indexes,
        )
    )
    return status
