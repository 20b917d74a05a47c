"""completion: the command ``pgembed completion``, which prints a script for a shell, or lines for psql's.

The script is static: it is made once of the parsers, and pressing TAB starts no Python. That is why it is shtab's
(https://github.com/iterative/shtab) and not argcomplete's, which runs the program at each TAB.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from pgembed import errors
from pgembed.cli.parsing import Group, Parser

_SHELLS = ("bash", "zsh", "fish")
PSQLRC = "psqlrc"


def add_commands(commands: Group, make_parser: Callable[[], Parser]) -> None:
    """The command.

    Args:
        make_parser: makes the parser of the whole program, of which a script tells the shell.
    """
    parser = commands.verb(
        "completion",
        _completion,
        "print what makes a shell complete pgembed's commands, or lines for ~/.psqlrc",
        example=[
            "completion bash > ~/.local/share/bash-completion/completions/pgembed",
            "completion zsh > ~/.zfunc/_pgembed",
            "completion fish > ~/.config/fish/completions/pgembed.fish",
            "completion psqlrc >> ~/.psqlrc",
        ],
    )
    parser.add_argument("shell", choices=(*_SHELLS, PSQLRC), metavar="SHELL", help="%(choices)s")
    parser.set_defaults(make_parser=make_parser)


def _completion(options: argparse.Namespace) -> None:
    if options.shell == PSQLRC:
        from pgembed.guide import psqlrc

        print("\n".join(psqlrc()))
        return
    try:
        import shtab
    except ImportError as error:
        raise errors.NotReady(str(error), hint="Install it: pip install 'pgembed-extension[cli]'.") from None
    print(shtab.complete(options.make_parser(), shell=options.shell))
