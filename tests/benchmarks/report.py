"""What the benchmarks have in common: tables that are printed and, where PGEMBED_BENCH names a folder, kept for README.md and its plots."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Cell = str | float | int | None


def folder() -> Path | None:
    """Where results are kept; None where nobody asked for that."""
    place = os.environ.get("PGEMBED_BENCH")
    if not place:
        return None
    Path(place).mkdir(parents=True, exist_ok=True)
    return Path(place)


def show(name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> None:
    """Print a table and keep it as ``<name>.json``.

    Args:
        name: of the result; one of a later run takes its place.
        header: of the columns; the first one holds words, the rest numbers.
        note: a line below the table, such as what was asked for.
    """
    lines = [list(header), *([written(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"\n{title}")
    for line in lines:
        print("  " + line[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)))
    if note:
        print(f"  {note}")
    place = folder()
    if place:
        kept = {"title": title, "header": list(header), "rows": [list(row) for row in rows], "note": note}
        (place / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Promise:
    """What was asked for, and what came of it.

    Attributes:
        measured: None where it could not be.
        at_most: less is better.
        note: what belongs to the number, such as its interval.
    """

    what: str
    asked: float
    measured: float | None
    at_most: bool = False
    note: str = ""

    @property
    def is_kept(self) -> bool | None:
        """To as many digits as were asked for."""
        if self.measured is None:
            return None
        digits = max(len(f"{self.asked:g}".partition(".")[2]), 0 if abs(self.asked) >= 100 else 2)
        measured = round(self.measured, digits)
        return measured <= self.asked if self.at_most else measured >= self.asked


def promises(name: str, title: str, kept: Sequence[Promise], note: str = "") -> None:
    """A table of what was asked for beside what was measured."""
    said = {True: "yes", False: "no", None: "not measured"}
    if not kept:
        return
    rows: list[list[Cell]] = [
        [one.what, f"at {'most' if one.at_most else 'least'} {one.asked:g}", one.measured, said[one.is_kept], one.note] for one in kept
    ]
    show(name, title, ["", "asked", "measured", "kept", "and"], rows, note)


def written(cell: Cell) -> str:
    """A cell as people read it: three digits that count."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def kept(place: Path, name: str) -> dict[str, Any] | None:
    """A result of this or an earlier run; None where there is none."""
    path = place / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
