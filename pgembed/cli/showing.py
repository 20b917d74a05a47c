"""showing: what commands print. Results go to stdout, as aligned rows or as one JSON document; everything else to stderr."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

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
    print(json.dumps(_plain(document), ensure_ascii=False, allow_nan=False, indent=2))


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
    shown = [[cell(row.get(name)) for name in names] for row in rows]
    for line in table([[name.upper() for name in names], *shown]):
        print(line)


def cell(value: object) -> str:
    """A value in a table; nothing for None."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    return "" if value is None else " ".join(str(value).split())


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned, two blanks between; cut to the width of a terminal, where there is one."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    most = _terminal_width()
    return lines if most is None else [line if len(line) <= most else line[: most - 1] + "…" for line in lines]


def _terminal_width() -> int | None:
    try:
        return max(_NARROWEST, shutil.get_terminal_size().columns) if os.isatty(sys.stdout.fileno()) else None
    except (OSError, ValueError):  # stdout is no file
        return None
