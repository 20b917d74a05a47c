"""showing: what commands print. Results go to stdout, as aligned rows or as one JSON document; everything else to stderr."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Below that a terminal shows nothing of use.
_NARROWEST = 40


def tell(line: str) -> None:
    """A line of progress, or what the server says meanwhile."""
    print(f"pgembed: {line.removeprefix('pgembed: ')}", file=sys.stderr)


def show(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]], fields: tuple[str, ...] = ()) -> None:
    """Rows: all their columns in JSON, else a table of ``fields``, without columns of which all are NULL."""
    if options.json:
        show_json([dict(row) for row in rows])
    else:
        print_rows(rows, fields)


def done(options: argparse.Namespace, name: str, what: str, said: str = "", **facts: Any) -> None:
    """What a command has done to something: a line at once, or in JSON an object of the one array that `main` prints at the end.

    Args:
        what: in a word.
        said: what the line says instead, where there are facts.
    """
    if options.json:
        options.done.append({"name": name, "done": what, **facts})
    else:
        print(f"{name}: {said or what}")


def show_parts(options: argparse.Namespace, parts: Mapping[str, tuple[Sequence[Mapping[str, Any]], tuple[str, ...]]]) -> None:
    """Several tables: in JSON an object with an array each; else one under the other, empty ones left out but for the first."""
    if options.json:
        show_json({name: [dict(row) for row in rows] for name, (rows, _) in parts.items()})
        return
    for number, (rows, fields) in enumerate(parts.values()):
        if rows or not number:
            if number:
                print()
            print_rows(rows, fields)


def show_json(document: object) -> None:
    """One JSON document: dates as ISO 8601, numbers as numbers, NULL, NaN and infinity as null."""
    # elsewhere letters by their numbers, which JSON has for it
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(_plain(document), ensure_ascii=not unicode, allow_nan=False, indent=2))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def print_rows(rows: Sequence[Mapping[str, Any]], fields: tuple[str, ...] = ()) -> None:
    """Rows as a table, their names above; columns of which all are NULL are left out."""
    names = [name for name in (fields or (rows[0] if rows else ())) if not rows or any(row.get(name) is not None for row in rows)]
    if not names:
        return
    shown = [[cell(row.get(name)) for name in names] for row in rows]
    for line in table([[name.upper() for name in names], *shown]):
        print(line)


def cell(value: object) -> str:
    """A value in a table; nothing for None."""
    if isinstance(value, bool):
        return "t" if value else "f"  # as psql
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    if isinstance(value, Mapping):
        value = json.dumps(_plain(value), ensure_ascii=False)
    elif isinstance(value, bytes):
        value = f"\\x{value.hex()}"
    # what a row holds must not steer the terminal
    return "" if value is None else _CONTROL.sub(lambda found: ascii(found[0])[1:-1], " ".join(str(value).split()))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned, two blanks between; cut to the width of a terminal, where there is one."""
    widths = [max(_width(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    most = _terminal_width()
    return lines if most is None else [_cut(line, most) for line in lines]


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: two for a letter of Chinese or an emoji, none for an accent that is put over another."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(letter) in ("Mn", "Me", "Cf") else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _cut(line: str, most: int) -> str:
    if _width(line) <= most:
        return line
    line = line[: most - 1]
    while _width(line) > most - 1:
        line = line[:-1]
    return line + "…"


def _terminal_width() -> int | None:
    try:
        return max(_NARROWEST, shutil.get_terminal_size().columns) if os.isatty(sys.stdout.fileno()) else None
    except (OSError, ValueError):  # stdout is no file
        return None
