"""program: all commands of ``pgembed``, and how they end.

Results go to stdout, everything else to stderr. No error ends in a traceback: what is wrong is told with what to do about it.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence

from pgembed import errors
from pgembed.cli import codec, completion, embedding, linker, model, operating, private, report, searching, status, worker
from pgembed.cli.parsing import EXIT_CODES, Action, Group, Parser
from pgembed.cli.showing import show_json

# Statuses: see parsing.EXIT_CODES.
FAILED, INTERRUPTED, UNREAD = 1, 130, 141
_SURROGATE = re.compile("[\udc80-\udcff]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name; None: those of the process.
    Returns:
        The process's status, 0 where all went well.
    """
    _ready_to_print()
    parser = make_parser()
    options = argparse.Namespace(verbose=False)
    try:
        try:
            options, others = parser.parse_known_args(_utf8(parser, sys.argv[1:] if arguments is None else arguments))
            if others and options.action is not private.psql:
                options.parser.unknown(others)
            options.others, options.done = others, []
            action: Action = options.action
            try:
                return action(options) or 0
            finally:
                if options.done:  # also where it went wrong later
                    show_json(options.done)
        finally:
            sys.stdout.flush()  # here, where what it meets is told
    except errors.PgembedError as error:
        _tell_error(error, verbose=options.verbose)
        return FAILED
    except KeyboardInterrupt:
        print("pgembed: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _print_no_more()
        return UNREAD
    except OSError as error:  # a full disk, a file that may not be written
        _print_no_more()
        said = error.strerror or str(error)
        print(f"pgembed: {said}: {error.filename}" if error.filename else f"pgembed: {said}", file=sys.stderr)
        return FAILED


def _ready_to_print() -> None:
    """A closed stream swallows what is printed; a letter that a terminal's encoding does not have is printed by its number."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_no_more() -> None:
    """Python flushes stdout once more at its end, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _utf8(parser: Parser, arguments: Sequence[str]) -> list[str]:
    """Words as the shell gave them: Python leaves bytes that are no letters in the locale, in C all beyond ASCII, as surrogates."""
    words = []
    for word in arguments:
        try:
            words.append(os.fsencode(word).decode("utf-8") if _SURROGATE.search(word) else word)
        except UnicodeDecodeError:
            parser.error(f"a word is not in UTF-8: {word!a}")
    return words


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
