"""program: all commands of ``pgembed``, and how they end.

Results go to stdout, everything else to stderr. No error ends in a traceback: what is wrong is told with what to do about it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pgembed import errors
from pgembed.cli import codec, completion, embedding, linker, model, operating, private, report, searching, status, worker
from pgembed.cli.parsing import EXIT_CODES, Action, Group, Parser

# Statuses: see parsing.EXIT_CODES.
FAILED, INTERRUPTED, UNREAD = 1, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name; None: those of the process.
    Returns:
        The process's status, 0 where all went well.
    """
    parser = make_parser()
    options = argparse.Namespace(verbose=False)
    try:
        options, others = parser.parse_known_args(arguments)
        if others and options.action is not private.psql:
            parser.error(f"unrecognized arguments: {' '.join(others)}")
        options.others = others
        action: Action = options.action
        status = action(options) or 0
        sys.stdout.flush()
    except errors.PgembedError as error:
        _tell_error(error, verbose=options.verbose)
        return FAILED
    except KeyboardInterrupt:
        print("pgembed: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return status


def make_parser() -> Parser:
    """The parser of the whole program; its commands import what they need when they run."""
    parser = Parser(
        prog="pgembed",
        description="Embeddings, search by meaning, joins and links inside PostgreSQL.",
        epilog="example:\n  pgembed status postgresql://localhost/shop\n  pgembed search products 'something for rainy days' -k 5\n\n"
        'The database is named by --url URL, or by the first word: a URL, "host=... dbname=..." or service=NAME; else by PGHOST,\n'
        f"PGDATABASE, PGSERVICE and their like, as for psql; else it is the private server's.\n\n{EXIT_CODES}",
    )
    commands = Group(parser.add_subparsers(metavar="COMMAND", required=True))
    for each in (status, searching, embedding, linker, codec, model, worker, report, operating, private):
        each.add_commands(commands)
    completion.add_commands(commands, make_parser)
    return parser


def _tell_error(error: errors.PgembedError, *, verbose: bool) -> None:
    print(f"pgembed: {error.message}", file=sys.stderr)
    facts = [("detail", error.detail), ("hint", error.hint)] + ([("sqlstate", error.sqlstate)] if verbose else [])
    for label, text in facts:
        if text:
            print(f"{label}: {text}", file=sys.stderr)
