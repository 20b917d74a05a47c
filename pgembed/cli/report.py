"""report: the command ``pgembed report``: one page on an embedded column."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from pgembed.cli import connecting
from pgembed.cli.parsing import Group, column_option, table_word
from pgembed.cli.showing import show_json


def add_commands(commands: Group) -> None:
    """The command, where its room is there."""
    if find_spec("pgembed.report") is None:
        return
    report = commands.verb(
        "report",
        _report,
        "write one page on an embedded column: recall, latency and size, freshness, a map of its rows",
        example="report service=shop product -o product.html --color-by category",
        database="",
        json=True,
    )
    table_word(report, "target")
    report.add_argument("-o", "--output", default="report.html", metavar="FILE", help="the page to write (default: %(default)s)")
    column_option(report)
    report.add_argument("--color-by", metavar="COLUMN", help="colour the map by this column")
    report.add_argument("--compare", metavar="COLUMN", help="another embedded column of the table to compare with")
    report.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    report.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")
    report.add_argument("--sample", type=int, metavar="N", help="rows on the map at most (default: 3000)")
    report.add_argument("--seed", type=int, metavar="N", help="the same one draws the same rows (default: 0)")
    report.add_argument("--seconds", type=float, metavar="N", help="measure searches for so long at most (default: 30)")


def _report(options: argparse.Namespace) -> None:
    names = ("color_by", "compare", "queries", "queries_column", "sample", "seed", "seconds")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    room = connecting.room("report", "report")
    shows = sys.stderr.isatty()

    def say(message: str) -> None:
        if shows:
            print(f"\r\x1b[K{message}"[:120], end="", file=sys.stderr, flush=True)

    made = room.write(connecting.database(options), options.target, column_name=options.column, output=options.output, say=say, **given)
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if options.json:
        show_json(vars(made))
        return
    print(made.path)
    for said in made.left_out:
        print(f"left out: {said}", file=sys.stderr)
