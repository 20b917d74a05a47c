"""What the tests of the command line share."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pgembed.cli import program


class Said(NamedTuple):
    """How a command ended: status, and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands, by the words that call them."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, each in group.choices.items():
            yield from leaves(each, (*words, name))


COMMANDS = dict(leaves(program.make_parser()))


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    """The command as a process of its own, which Ctrl-C reaches also where it does not reach the tests: in a shell's background."""
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored is inherited, what has a handler is not
    try:
        return subprocess.Popen([sys.executable, "-P", "-m", "pgembed.cli", *words], text=True, **options)
    finally:
        signal.signal(signal.SIGINT, heard)
